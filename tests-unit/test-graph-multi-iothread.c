/*
 * The graph lock, with readers in IOThreads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block.h"
#include "block/block_int-global-state.h"
#include "block/blockjob_int.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/processor.h"
#include "iothread.h"
#include "block-test-util.h"

#define TIMEOUT_US (60 * G_USEC_PER_SEC)
#define READERS 2
#define IDLE_CONTEXTS 100

typedef struct GraphCase {
    const char *name;
    void (*run)(void);
} GraphCase;

static int coroutine_fn test_co_preadv(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       BdrvRequestFlags flags)
{
    return 0;
}

/* Part of a graph change: give readers the time to find the graph locked */
static void test_set_perm(BlockDriverState *bs, uint64_t perm, uint64_t shared)
{
    g_usleep(20 * 1000);
}

static BlockDriver bdrv_test = {
    .format_name = "test",
    .instance_size = 1,
    .bdrv_co_preadv = test_co_preadv,
    .bdrv_set_perm = test_set_perm,
};

/* Uses the graph until it is cancelled, and pauses in between */
static int coroutine_fn reader_job_run(Job *job, Error **errp)
{
    while (!job_is_cancelled(job)) {
        bdrv_graph_co_rdlock();
        bdrv_graph_co_rdunlock();
        if (qemu_in_main_thread()) {
            job_sleep_ns(job, SCALE_MS);    /* not the only one here */
        } else {
            job_pause_point(job);
        }
    }
    return 0;
}

static const BlockJobDriver reader_job_driver = {
    .job_driver = {
        .instance_size = sizeof(BlockJob),
        .free = block_job_free,
        .user_resume = block_job_user_resume,
        .run = reader_job_run,
    },
};

static BlockBackend *new_user(AioContext *ctx, BlockDriverState *bs)
{
    BlockBackend *blk = blk_new(ctx, 0, BLK_PERM_ALL);

    blk_set_allow_aio_context_change(blk, true);
    blk_insert_bs(blk, bs, &error_abort);
    return blk;
}

/*
 * The node moves to the main AioContext when its user goes away. That is in
 * the middle of a graph change, and the job that it waits for needs the graph.
 */
static void run_remove_beside_job(void)
{
    IOThread *iothread = iothread_new();
    AioContext *ctx = iothread_get_aio_context(iothread);
    BlockDriverState *bs = bdrv_new_open_driver(&bdrv_test, "bs", BDRV_O_RDWR,
                                                &error_abort);
    BlockBackend *blk = new_user(ctx, bs);
    BlockJob *job = block_job_create("job", &reader_job_driver, NULL, bs, 0,
                                     BLK_PERM_ALL, 0, JOB_DEFAULT, NULL, NULL,
                                     &error_abort);

    g_assert_true(bdrv_get_aio_context(bs) == ctx);
    job_start(&job->job);
    blk_unref(blk);
    g_assert_true(bdrv_get_aio_context(bs) == qemu_get_aio_context());

    WITH_JOB_LOCK_GUARD() {
        job_cancel_sync_locked(&job->job, true);
    }
    bdrv_unref(bs);
    iothread_join(iothread);
}

typedef struct Reader {
    IOThread *iothread;
    BlockBackend *blk;  /* or NULL: only the lock */
    unsigned rounds;    /* atomic */
    bool stop;          /* atomic */
    bool ended;         /* atomic */
} Reader;

/*
 * A reader may call what is a reader again: mirror's active writes do so, by
 * way of a driver's callback, where TSA does not see it.
 */
static void coroutine_fn TSA_NO_TSA nested_reader_entry(void *opaque)
{
    Reader *reader = opaque;

    while (!qatomic_read(&reader->stop)) {
        bdrv_graph_co_rdlock();
        bdrv_graph_co_rdlock();
        bdrv_graph_co_rdunlock();
        bdrv_graph_co_rdunlock();
        qatomic_inc(&reader->rounds);
        /* Writers have to find a time without any reader */
        for (unsigned i = 0; i < 200; i++) {
            cpu_relax();
        }
    }
    qatomic_set(&reader->ended, true);
    aio_wait_kick();
}

static void coroutine_fn request_entry(void *opaque)
{
    Reader *reader = opaque;

    while (!qatomic_read(&reader->stop)) {
        QEMUIOVector qiov = { };

        blk_co_preadv(reader->blk, 0, 0, &qiov, 0);
        qatomic_inc(&reader->rounds);
    }
    qatomic_set(&reader->ended, true);
    aio_wait_kick();
}

static void start_reader(Reader *reader, IOThread *iothread,
                         CoroutineEntry *entry)
{
    aio_co_enter(iothread_get_aio_context(iothread),
                 qemu_coroutine_create(entry, reader));
    while (!qatomic_read(&reader->rounds)) {
        g_usleep(100);
    }
}

static void stop_reader(Reader *reader)
{
    qatomic_set(&reader->stop, true);
    AIO_WAIT_WHILE_UNLOCKED(NULL, !qatomic_read(&reader->ended));
}

/* As above, beside another user's requests */
static void run_remove_beside_requests(void)
{
    IOThread *iothread = iothread_new();
    AioContext *ctx = iothread_get_aio_context(iothread);
    BlockDriverState *bs = bdrv_new_open_driver(&bdrv_test, "bs", BDRV_O_RDWR,
                                                &error_abort);
    Reader reader = { .blk = new_user(ctx, bs) };

    start_reader(&reader, iothread, request_entry);
    for (unsigned i = 0; i < 5; i++) {
        BlockBackend *blk = new_user(bdrv_get_aio_context(bs), bs);

        blk_set_aio_context(blk, ctx, &error_abort);
        blk_unref(blk);
        g_assert_true(bdrv_get_aio_context(bs) == qemu_get_aio_context());
    }
    stop_reader(&reader);
    blk_unref(reader.blk);
    bdrv_unref(bs);
    iothread_join(iothread);
}

/*
 * The writer finds a reader that came in just before it. There are many
 * AioContexts so that it takes the writer a while to look for readers.
 */
static void run_nested_readers(void)
{
    Reader readers[READERS] = { };
    AioContext *idle[IDLE_CONTEXTS];
    int64_t end = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;

    for (unsigned i = 0; i < READERS; i++) {
        readers[i].iothread = iothread_new();
        start_reader(&readers[i], readers[i].iothread, nested_reader_entry);
    }
    for (unsigned i = 0; i < IDLE_CONTEXTS; i++) {
        idle[i] = aio_context_new(&error_abort);
    }
    while (g_get_monotonic_time() < end) {
        bdrv_graph_wrlock();
        bdrv_graph_wrunlock();
    }
    for (unsigned i = 0; i < READERS; i++) {
        stop_reader(&readers[i]);
        iothread_join(readers[i].iothread);
    }
    for (unsigned i = 0; i < IDLE_CONTEXTS; i++) {
        aio_context_unref(idle[i]);
    }
}

static const GraphCase cases[] = {
    { "remove-beside-job", run_remove_beside_job },
    { "remove-beside-requests", run_remove_beside_requests },
    { "nested-readers", run_nested_readers },
};

/* A deadlock ends with the subprocess */
static void test_case(const void *opaque)
{
    const GraphCase *c = opaque;

    if (g_test_subprocess()) {
        /* Blocked by qemu_init_main_loop(), and sent at the timeout */
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGALRM);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        c->run();
        return;
    }
    g_test_trap_subprocess(NULL, TIMEOUT_US, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_assert_false(g_test_trap_reached_timeout());
    g_test_trap_assert_passed();
}

int main(int argc, char **argv)
{
    bdrv_init();
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/graph-multi-iothread/%s",
                                                cases[i].name);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    return g_test_run();
}
