/*
 * Block layer tests with requests from several IOThreads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block_int.h"
#include "block/blockjob_int.h"
#include "block/graph-lock.h"
#include "qapi/error.h"
#include "qemu/defer-call.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "iothread.h"
#include "block-test-util.h"

#define DISK_SIZE (1 * MiB)
#define NUM_THREADS 4

typedef struct CoStart {
    CoroutineEntry *fn;
    void *opaque;
} CoStart;

static void co_start_bh(void *opaque)
{
    CoStart *s = opaque;

    qemu_coroutine_enter(qemu_coroutine_create(s->fn, s->opaque));
}

/* Run a new coroutine in @iothread up to where it first yields */
static void co_start(IOThread *iothread, CoroutineEntry *fn, void *opaque)
{
    CoStart s = { fn, opaque };

    aio_wait_bh_oneshot(iothread_get_aio_context(iothread), co_start_bh, &s);
}

/* Leave the event loop a chance to run something else */
static void coroutine_fn co_yield_to_loop(void)
{
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

typedef struct TestState {
    int reads;              /* calls of the read function, atomic */
} TestState;

static int coroutine_fn test_co_preadv(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       BdrvRequestFlags flags)
{
    TestState *s = bs->opaque;

    qatomic_inc(&s->reads);
    return 0;
}

/* Like drivers that look their request up to make it serialising */
static int coroutine_fn test_co_pwritev(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        BdrvRequestFlags flags)
{
    BdrvTrackedRequest *req;

    co_yield_to_loop();
    req = bdrv_co_get_self_request(bs);
    g_assert_nonnull(req);
    g_assert(req->co == qemu_coroutine_self());
    return 0;
}

static BlockDriver bdrv_test = {
    .format_name        = "test",
    .instance_size      = sizeof(TestState),
    .bdrv_co_preadv     = test_co_preadv,
    .bdrv_co_pwritev    = test_co_pwritev,
};

static BlockBackend *no_coroutine_fn test_blk_new(void)
{
    BlockBackend *blk;
    BlockDriverState *bs;

    blk = blk_new(qemu_get_aio_context(), BLK_PERM_ALL, BLK_PERM_ALL);
    bs = bdrv_new_open_driver(&bdrv_test, "test-node", BDRV_O_RDWR,
                              &error_abort);
    bs->total_sectors = DISK_SIZE >> BDRV_SECTOR_BITS;
    blk_insert_bs(blk, bs, &error_abort);
    bdrv_unref(bs);
    return blk;
}

typedef struct ReadData {
    BlockBackend *blk;
    bool done;              /* atomic */
    int ret;                /* valid once @done */
} ReadData;

static void coroutine_fn read_entry(void *opaque)
{
    ReadData *d = opaque;
    uint8_t buf[BDRV_SECTOR_SIZE];

    d->ret = blk_co_pread(d->blk, 0, sizeof(buf), buf, 0);
    qatomic_store_release(&d->done, true);
}

/*
 * bs->tracked_requests may be walked by one thread while others add and remove
 * requests.
 */
typedef struct WriterData {
    BlockBackend *blk;
    bool *stop;             /* atomic */
    int *running;           /* atomic */
} WriterData;

/* What became of a request's place on the stack, once it is gone */
static void __attribute__((noinline)) clobber_stack(void)
{
    uint8_t buf[4 * KiB];

    memset(buf, 0, sizeof(buf));
    /* Keep the compiler from removing the memset() */
    asm volatile("" : : "r" (buf) : "memory");
}

static void coroutine_fn writer_entry(void *opaque)
{
    WriterData *d = opaque;
    uint8_t buf[BDRV_SECTOR_SIZE] = { 0 };

    while (!qatomic_read(d->stop)) {
        blk_co_pwrite(d->blk, 0, sizeof(buf), buf, 0);
        clobber_stack();
        co_yield_to_loop();
    }
    qatomic_dec(d->running);
}

static void test_self_request(void)
{
    enum { NUM_WRITERS = 64 };
    IOThread *iothread[NUM_THREADS];
    bool stop = false;
    int running = NUM_THREADS * NUM_WRITERS;
    WriterData d = { test_blk_new(), &stop, &running };

    for (int i = 0; i < NUM_THREADS; i++) {
        iothread[i] = iothread_new();
        for (int j = 0; j < NUM_WRITERS; j++) {
            co_start(iothread[i], writer_entry, &d);
        }
    }

    g_usleep(1000 * MS);
    qatomic_set(&stop, true);
    while (qatomic_read(&running)) {
        aio_poll(qemu_get_aio_context(), false);
    }

    for (int i = 0; i < NUM_THREADS; i++) {
        iothread_join(iothread[i]);
    }
    blk_unref(d.blk);
}

/*
 * A request that waits for the end of a drained section must not run in the
 * next one, even if its thread was too busy to resume it in between.
 */
static void busy_bh(void *opaque)
{
    qatomic_set((bool *)opaque, true);
    g_usleep(200 * MS);
}

static void test_drain_resumed(void)
{
    IOThread *iothread = iothread_new();
    AioContext *ctx = iothread_get_aio_context(iothread);
    ReadData d = { test_blk_new() };
    BlockDriverState *bs = blk_bs(d.blk);
    TestState *s = bs->opaque;
    bool busy = false;
    int reads;

    bdrv_drained_begin(bs);
    co_start(iothread, read_entry, &d);
    g_assert_cmpint(qatomic_read(&s->reads), ==, 0);

    aio_bh_schedule_oneshot(ctx, busy_bh, &busy);
    g_assert(wait_flag(&busy, 60000));
    bdrv_drained_end(bs);

    bdrv_drained_begin(bs);
    reads = qatomic_read(&s->reads);
    g_usleep(400 * MS);
    g_assert_cmpint(qatomic_read(&s->reads), ==, reads);
    bdrv_drained_end(bs);

    g_assert(wait_flag(&d.done, 60000));
    g_assert_cmpint(d.ret, ==, 0);
    g_assert_cmpint(qatomic_read(&s->reads), ==, 1);
    iothread_join(iothread);
    blk_unref(d.blk);
}

/*
 * A request may find the disk drained and be about to queue itself at the very
 * moment when a drained section that does not wait for requests ends.  The
 * hook stops it in front of the queue's lock.
 */
static QemuMutexLockFunc real_mutex_lock;
static __thread bool stop_at_lock;
static bool at_lock, leave_lock;    /* atomic */

static void mutex_lock_hook(QemuMutex *mutex, const char *file, int line)
{
    if (stop_at_lock) {
        stop_at_lock = false;
        qatomic_set(&at_lock, true);
        wait_flag(&leave_lock, 60000);
    }
    real_mutex_lock(mutex, file, line);
}

static void coroutine_fn read_stop_at_lock_entry(void *opaque)
{
    ReadData *d = opaque;

    stop_at_lock = true;
    read_entry(d);
}

static void test_drain_nopoll(void)
{
    IOThread *iothread = iothread_new();
    ReadData d = { test_blk_new() };
    Coroutine *co = qemu_coroutine_create(read_stop_at_lock_entry, &d);

    real_mutex_lock = qemu_mutex_lock_func;
    qatomic_set(&qemu_mutex_lock_func, mutex_lock_hook);

    bdrv_drain_all_begin_nopoll();
    aio_co_enter(iothread_get_aio_context(iothread), co);
    g_assert(wait_flag(&at_lock, 60000));
    bdrv_drain_all_end();
    qatomic_set(&leave_lock, true);

    g_assert(wait_flag(&d.done, 60000));
    g_assert_cmpint(d.ret, ==, 0);

    qatomic_set(&qemu_mutex_lock_func, real_mutex_lock);
    iothread_join(iothread);
    blk_unref(d.blk);
}

typedef struct CountingJob {
    BlockJob common;
    int turns;              /* atomic */
    bool stop;              /* atomic */
} CountingJob;

static int coroutine_fn counting_job_run(Job *job, Error **errp)
{
    CountingJob *s = container_of(job, CountingJob, common.job);

    while (!qatomic_read(&s->stop)) {
        qatomic_inc(&s->turns);
        job_sleep_ns(job, SCALE_MS);
    }
    return 0;
}

static const BlockJobDriver counting_job_driver = {
    .job_driver = {
        .instance_size = sizeof(CountingJob),
        .free          = block_job_free,
        .user_resume   = block_job_user_resume,
        .run           = counting_job_run,
    },
};

static bool job_rests(Job *job)
{
    JOB_LOCK_GUARD();
    return job->paused;
}

static bool job_is_over(Job *job)
{
    JOB_LOCK_GUARD();
    return job_is_completed_locked(job);
}

typedef struct Holdup {
    QemuSemaphore entered, leave;
} Holdup;

static void holdup_bh(void *opaque)
{
    Holdup *holdup = opaque;

    qemu_sem_post(&holdup->entered);
    qemu_sem_wait(&holdup->leave);
}

/*
 * A job that is resumed, and paused again before its thread has come to run it,
 * must not run: who has paused it sees that it is paused already.
 */
static void test_job_paused_again(void)
{
    IOThread *iothread = iothread_new();
    AioContext *ctx = iothread_get_aio_context(iothread);
    BlockBackend *blk = test_blk_new();
    CountingJob *s;
    Holdup holdup;
    Job *job;
    int turns;

    qemu_sem_init(&holdup.entered, 0);
    qemu_sem_init(&holdup.leave, 0);
    blk_set_aio_context(blk, ctx, &error_abort);
    s = block_job_create("counting", &counting_job_driver, NULL, blk_bs(blk), 0,
                         BLK_PERM_ALL, 0, 0, NULL, NULL, &error_abort);
    job = &s->common.job;
    WITH_JOB_LOCK_GUARD() {
        job_ref_locked(job);
    }
    job_start(job);
    while (qatomic_read(&s->turns) < 3) {
        aio_poll(qemu_get_aio_context(), true);
    }
    WITH_JOB_LOCK_GUARD() {
        job_pause_locked(job);
    }
    while (!job_rests(job)) {
        aio_poll(qemu_get_aio_context(), false);
    }

    turns = qatomic_read(&s->turns);
    aio_bh_schedule_oneshot(ctx, holdup_bh, &holdup);
    qemu_sem_wait(&holdup.entered);
    WITH_JOB_LOCK_GUARD() {
        job_resume_locked(job);
        job_pause_locked(job);
    }
    g_assert_true(job_rests(job));
    qemu_sem_post(&holdup.leave);
    g_usleep(50 * MS);
    g_assert_cmpint(qatomic_read(&s->turns), ==, turns);
    g_assert_true(job_rests(job));

    qatomic_set(&s->stop, true);
    WITH_JOB_LOCK_GUARD() {
        job_resume_locked(job);
    }
    while (!job_is_over(job)) {
        aio_poll(qemu_get_aio_context(), true);
    }
    WITH_JOB_LOCK_GUARD() {
        job_unref_locked(job);
    }
    blk_set_aio_context(blk, qemu_get_aio_context(), &error_abort);
    blk_unref(blk);
    iothread_join(iothread);
    qemu_sem_destroy(&holdup.entered);
    qemu_sem_destroy(&holdup.leave);
}

/*
 * The last reader of the graph that leaves must wake a writer, even if nothing
 * else happens in the main loop.
 */
static void coroutine_fn graph_reader_entry(void *opaque)
{
    bdrv_graph_co_rdlock();
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 200 * SCALE_MS);
    bdrv_graph_co_rdunlock();
}

static void test_graph_lock(void)
{
    IOThread *iothread;

    if (!run_in_child()) {
        return;
    }

    iothread = iothread_new();
    co_start(iothread, graph_reader_entry, NULL);
    bdrv_graph_wrlock();
    bdrv_graph_wrunlock();
    iothread_join(iothread);
}

/*
 * The QMP dispatcher is a coroutine of the I/O handlers' AioContext, which only
 * the outermost event loop runs, but its commands must be of the main one.
 */
static BlockDriverState *cmd_bs;
static bool cmd_entered, cmd_done;

static void coroutine_fn qmp_test_cmd(QDict *args, QObject **ret, Error **errp)
{
    AioContext *old_ctx;

    cmd_entered = true;
    if (!cmd_bs) {
        g_assert(qemu_coroutine_get_aio_context(qemu_coroutine_self()) ==
                 qemu_get_aio_context());
        return;
    }
    old_ctx = bdrv_co_enter(cmd_bs);
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 200 * SCALE_MS);
    bdrv_co_leave(cmd_bs, old_ctx);
    cmd_done = true;
}

static void coroutine_fn dispatcher_entry(void *opaque)
{
    QmpCommandList cmds = QTAILQ_HEAD_INITIALIZER(cmds);
    QDict *req = qdict_new();

    g_assert(qemu_coroutine_get_aio_context(qemu_coroutine_self()) ==
             iohandler_get_aio_context());
    qmp_register_command(&cmds, "test", qmp_test_cmd, QCO_COROUTINE, 0);
    qdict_put_str(req, "execute", "test");
    qobject_unref(qmp_dispatch(&cmds, QOBJECT(req), false, NULL));
    qobject_unref(req);
}

static void start_command(void)
{
    Coroutine *co = qemu_coroutine_create(dispatcher_entry, NULL);

    aio_co_enter(iohandler_get_aio_context(), co);
    while (!cmd_entered) {
        main_loop_wait(false);
    }
}

static void test_qmp_context(void)
{
    if (run_in_child()) {
        start_command();
    }
}

/* Drain a node while a command works on it in the node's IOThread */
static void test_qmp_drain(void)
{
    IOThread *iothread;
    BlockBackend *blk;

    if (!run_in_child()) {
        return;
    }

    iothread = iothread_new();
    blk = test_blk_new();
    cmd_bs = blk_bs(blk);
    blk_set_aio_context(blk, iothread_get_aio_context(iothread), &error_abort);

    start_command();
    bdrv_drained_begin(cmd_bs);
    g_assert(cmd_done);
    bdrv_drained_end(cmd_bs);

    blk_set_aio_context(blk, qemu_get_aio_context(), &error_abort);
    iothread_join(iothread);
    blk_unref(blk);
}

/*
 * Requests that are completed as soon as they are submitted, each of which lets
 * its coroutine submit the next one.
 */
typedef struct InstantData {
    BlockBackend *blk;
    bool done;              /* atomic */
} InstantData;

static void coroutine_fn instant_entry(void *opaque)
{
    enum { NUM_REQUESTS = 40000 };
    InstantData *d = opaque;
    size_t size = 4 * KiB;
    g_autofree void *buf = NULL;
    void *p;

    buf = g_malloc(2 * size);
    p = QEMU_ALIGN_PTR_UP(buf, size);
    for (int i = 0; i < NUM_REQUESTS; i++) {
        g_assert_cmpint(blk_co_pread(d->blk, 0, size, p, 0), ==, 0);
    }
    qatomic_set(&d->done, true);
}

static void instant_bh(void *opaque)
{
    /* As in a device's queue handler */
    defer_call_begin();
    qemu_coroutine_enter(qemu_coroutine_create(instant_entry, opaque));
    defer_call_end();
}

static BlockBackend *no_coroutine_fn open_file(const char *path,
                                               const char *aio, Error **errp)
{
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "file");
    qdict_put_str(options, "filename", path);
    qdict_put_str(options, "aio", aio);
    qdict_put_str(options, "locking", "off");
    qdict_put_str(options, "cache.direct", "on");
    return blk_new_open(NULL, NULL, options, BDRV_O_RDWR, errp);
}

static void test_instant_completion(const void *opaque)
{
    const char *aio = opaque;
    g_autofree char *path = NULL;
    Error *err = NULL;
    IOThread *iothread;
    InstantData d = { 0 };
    int fd;

    if (!run_in_child()) {
        return;
    }

    /* A hole needs no I/O even where direct I/O goes to a disk */
    fd = g_file_open_tmp("test-block-multi-iothread-XXXXXX", &path, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, DISK_SIZE), ==, 0);
    close(fd);
    d.blk = open_file(path, aio, &err);
    unlink(path);
    if (!d.blk) {
        g_test_skip(error_get_pretty(err));
        error_free(err);
        return;
    }

    iothread = iothread_new();
    aio_bh_schedule_oneshot(iothread_get_aio_context(iothread), instant_bh, &d);
    while (!qatomic_read(&d.done)) {
        aio_poll(qemu_get_aio_context(), false);
    }
    iothread_join(iothread);
    blk_unref(d.blk);
}

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    bdrv_init();
    g_test_init(&argc, &argv, NULL);

#define ADD(path, fn) g_test_add_func("/block-multi-iothread/" path, fn)
    ADD("self-request", test_self_request);
    ADD("drain/resumed", test_drain_resumed);
    ADD("drain/nopoll", test_drain_nopoll);
    ADD("job/paused-again", test_job_paused_again);
    ADD("graph-lock", test_graph_lock);
    ADD("qmp-command/context", test_qmp_context);
    ADD("qmp-command/drain", test_qmp_drain);
#undef ADD
#ifdef CONFIG_LINUX_AIO
    g_test_add_data_func("/block-multi-iothread/instant-completion/native",
                         "native", test_instant_completion);
#endif
#ifdef CONFIG_LINUX_IO_URING
    g_test_add_data_func("/block-multi-iothread/instant-completion/io_uring",
                         "io_uring", test_instant_completion);
#endif

    return g_test_run();
}
