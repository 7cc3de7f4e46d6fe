/*
 * Throttle group tests with requests from several IOThreads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block_int.h"
#include "block/throttle-groups.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "iothread.h"
#include "block-test-util.h"

#define NUM_THREADS 4
#define NUM_COROUTINES 64   /* in each thread */

static IOThread *iothread[NUM_THREADS];
static bool stop;           /* atomic */
static int running;         /* coroutines, atomic */

static void create_threads(void)
{
    for (int i = 0; i < NUM_THREADS; i++) {
        iothread[i] = iothread_new();
    }
}

/* Start coroutines that loop until stop_coroutines() in the first @n threads */
static void start_coroutines(int n, CoroutineEntry *fn, void *opaque)
{
    qatomic_set(&stop, false);
    qatomic_set(&running, n * NUM_COROUTINES);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < NUM_COROUTINES; j++) {
            Coroutine *co = qemu_coroutine_create(fn, opaque);

            aio_co_schedule(iothread_get_aio_context(iothread[i]), co);
        }
    }
}

static void stop_coroutines(void)
{
    qatomic_set(&stop, true);
    while (qatomic_read(&running)) {
        aio_poll(qemu_get_aio_context(), false);
    }
}

static void join_threads(void)
{
    for (int i = 0; i < NUM_THREADS; i++) {
        iothread_join(iothread[i]);
    }
}

static void tgm_set_limit(ThrottleGroupMember *tgm, BucketType type, int avg)
{
    ThrottleConfig cfg;

    throttle_config_init(&cfg);
    cfg.buckets[type].avg = avg;
    throttle_group_config(tgm, &cfg);
}

/* As for a disk in a drained section */
static void tgm_ignore_limits(ThrottleGroupMember *tgm)
{
    qatomic_inc(&tgm->io_limits_disabled);
    throttle_group_restart_tgm(tgm);
}

/* What happens to a pending timer is for one test only: test_unregister() */
static void wait_timer(ThrottleGroupMember *tgm)
{
    while (timer_pending(tgm->throttle_timers.timers[THROTTLE_WRITE])) {
        g_usleep(1 * MS);
    }
}

static void coroutine_fn intercept_entry(void *opaque)
{
    ThrottleGroupMember *tgm = opaque;

    while (!qatomic_read(&stop)) {
        throttle_group_co_io_limits_intercept(tgm, 512, THROTTLE_WRITE);
    }
    qatomic_dec(&running);
}

/*
 * Requests of several threads enter and leave the queue of a disk at the same
 * time when it is drained.
 */
static void test_queue(void)
{
    ThrottleGroupMember tgm = { 0 };

    if (!run_in_child()) {
        return;
    }

    create_threads();
    throttle_group_register_tgm(&tgm, "group",
                                iothread_get_aio_context(iothread[0]));
    tgm_set_limit(&tgm, THROTTLE_BPS_TOTAL, 1);
    start_coroutines(NUM_THREADS, intercept_entry, &tgm);

    for (int i = 0; i < 10; i++) {
        /* Each restart makes one more request run that wakes the next one */
        tgm_ignore_limits(&tgm);
        for (int j = 0; j < NUM_COROUTINES; j++) {
            throttle_group_restart_tgm(&tgm);
        }
        g_usleep(50 * MS);
        qatomic_dec(&tgm.io_limits_disabled);
        g_usleep(10 * MS);
    }

    tgm_ignore_limits(&tgm);
    stop_coroutines();
    wait_timer(&tgm);
    throttle_group_unregister_tgm(&tgm);
    join_threads();
}

/*
 * A hook for QEMU's locks.  It learns which one belongs to the group, stops a
 * thread in front of it, or slows a thread down so that others see its changes
 * half done.
 */
static QemuMutexLockFunc real_mutex_lock;
static __thread bool learn_lock, slow_locks;
static QemuMutex *group_lock;
static AioContext *stop_ctx;            /* to stop once, or NULL; atomic */
static bool at_lock, leave_lock;        /* atomic */

static void mutex_lock_hook(QemuMutex *mutex, const char *file, int line)
{
    if (learn_lock) {
        learn_lock = false;
        group_lock = mutex;
    }
    if (slow_locks) {
        g_usleep(100);
    }
    if (mutex == group_lock && qatomic_read(&stop_ctx) &&
        qatomic_read(&stop_ctx) == qemu_get_current_aio_context()) {
        qatomic_set(&stop_ctx, NULL);
        qatomic_set(&at_lock, true);
        wait_flag(&leave_lock, 60000);
    }
    real_mutex_lock(mutex, file, line);
}

static void set_mutex_lock_hook(void)
{
    real_mutex_lock = qemu_mutex_lock_func;
    qatomic_set(&qemu_mutex_lock_func, mutex_lock_hook);
}

/*
 * A thread that works for another disk of the group may arm the timer of a disk
 * while the timer's callback runs.
 */
static void test_timer(void)
{
    ThrottleGroupMember tgm = { 0 };
    ThrottleGroupMember other = { 0 };
    ThrottleConfig cfg;
    AioContext *ctx;
    Coroutine *co;

    if (!run_in_child()) {
        return;
    }

    set_mutex_lock_hook();
    create_threads();
    ctx = iothread_get_aio_context(iothread[0]);
    throttle_group_register_tgm(&tgm, "group", ctx);
    throttle_group_register_tgm(&other, "group", qemu_get_aio_context());
    tgm_set_limit(&tgm, THROTTLE_OPS_TOTAL, 10);
    learn_lock = true;
    throttle_group_get_config(&tgm, &cfg);

    /* Wait for the end of the restart by tgm_set_limit() */
    while (qatomic_read(&tgm.restart_pending)) {
        aio_poll(qemu_get_aio_context(), false);
    }

    qatomic_set(&running, 1);
    co = qemu_coroutine_create(intercept_entry, &tgm);
    aio_co_enter(ctx, co);
    while (!timer_pending(tgm.throttle_timers.timers[THROTTLE_WRITE])) {
        g_usleep(1 * MS);
    }
    qatomic_set(&stop_ctx, ctx);
    g_assert(wait_flag(&at_lock, 60000));

    /* A drained disk's requests do not wait, so this lets the timer expire */
    qatomic_inc(&tgm.io_limits_disabled);
    throttle_group_restart_tgm(&other);
    qatomic_set(&leave_lock, true);

    stop_coroutines();
    wait_timer(&tgm);
    throttle_group_unregister_tgm(&tgm);
    throttle_group_unregister_tgm(&other);
    join_threads();
}

/* A hook for a timer's callback, which stops in front of it once */
static QEMUTimerCB *real_timer_cb;
static bool stop_timer, at_timer, leave_timer;      /* atomic */

static void timer_cb_hook(void *opaque)
{
    if (qatomic_xchg(&stop_timer, false)) {
        qatomic_set(&at_timer, true);
        wait_flag(&leave_timer, 5000);
    }
    real_timer_cb(opaque);
}

static void set_timer_hook(ThrottleGroupMember *tgm)
{
    QEMUTimer *t = tgm->throttle_timers.timers[THROTTLE_WRITE];

    real_timer_cb = t->cb;
    t->cb = timer_cb_hook;
    qatomic_set(&stop_timer, true);
}

typedef struct Request {
    ThrottleGroupMember *tgm;
    int64_t bytes;
} Request;

static int passed;          /* requests, atomic */

static void coroutine_fn request_entry(void *opaque)
{
    Request *r = opaque;

    throttle_group_co_io_limits_intercept(r->tgm, r->bytes, THROTTLE_WRITE);
    qatomic_inc(&passed);
    qatomic_dec(&running);
}

static void begin_request(AioContext *ctx, Request *r)
{
    qatomic_inc(&running);
    aio_co_enter(ctx, qemu_coroutine_create(request_entry, r));
}

/*
 * The timer of a disk fires for a request.  Before its callback runs, another
 * thread arms it again, or runs the request, because the disk is drained there;
 * then a request of another disk passes, and the timer is armed for the next
 * one.  That must not pass with the first one, but wait.
 */
static void test_fired(const void *opaque)
{
    bool armed_again = GPOINTER_TO_INT(opaque);
    ThrottleGroupMember tgm = { 0 };
    ThrottleGroupMember other = { 0 };
    Request first = { .tgm = &tgm, .bytes = 1 };
    Request next = { .tgm = &tgm, .bytes = 60 };
    Request others = { .tgm = &other, .bytes = 60 };
    AioContext *ctx;

    if (!run_in_child()) {
        return;
    }

    create_threads();
    ctx = iothread_get_aio_context(iothread[0]);
    throttle_group_register_tgm(&tgm, "group", ctx);
    throttle_group_register_tgm(&other, "group", qemu_get_aio_context());
    tgm_set_limit(&tgm, THROTTLE_BPS_TOTAL, 1);
    while (qatomic_read(&tgm.restart_pending)) {
        aio_poll(qemu_get_aio_context(), false);
    }
    set_timer_hook(&tgm);

    /* The next one may run a second after the first one; then it is a minute */
    begin_request(ctx, &first);
    while (qatomic_read(&passed) < 1) {
        g_usleep(1 * MS);
    }
    for (int i = 0; i < 3; i++) {
        begin_request(ctx, &next);
    }
    g_assert(wait_flag(&at_timer, 5000));
    g_assert_cmpint(qatomic_read(&passed), ==, 1);

    qatomic_inc(&tgm.io_limits_disabled);
    if (armed_again) {
        throttle_group_restart_tgm(&other);
    }
    throttle_group_restart_tgm(&tgm);
    qatomic_dec(&tgm.io_limits_disabled);
    begin_request(qemu_get_aio_context(), &others);
    qatomic_set(&leave_timer, true);
    g_usleep(500 * MS);

    /* The first one, the one that was drained, and another when it was time */
    g_assert_cmpint(qatomic_read(&passed), ==, 3);

    tgm_ignore_limits(&tgm);
    tgm_ignore_limits(&other);
    while (qatomic_read(&running)) {
        throttle_group_restart_tgm(&tgm);
        throttle_group_restart_tgm(&other);
        aio_poll(qemu_get_aio_context(), false);
    }
    wait_timer(&tgm);
    throttle_group_unregister_tgm(&tgm);
    throttle_group_unregister_tgm(&other);
    join_threads();
}

/* The timer is armed again before its callback runs, and nothing else */
static void test_armed(void)
{
    ThrottleGroupMember tgm = { 0 };
    ThrottleGroupMember other = { 0 };
    AioContext *ctx;

    if (!run_in_child()) {
        return;
    }

    create_threads();
    ctx = iothread_get_aio_context(iothread[0]);
    throttle_group_register_tgm(&tgm, "group", ctx);
    throttle_group_register_tgm(&other, "group", qemu_get_aio_context());
    tgm_set_limit(&tgm, THROTTLE_OPS_TOTAL, 10);
    while (qatomic_read(&tgm.restart_pending)) {
        aio_poll(qemu_get_aio_context(), false);
    }
    set_timer_hook(&tgm);

    qatomic_set(&running, 1);
    aio_co_enter(ctx, qemu_coroutine_create(intercept_entry, &tgm));
    g_assert(wait_flag(&at_timer, 5000));
    qatomic_inc(&tgm.io_limits_disabled);
    throttle_group_restart_tgm(&other);
    g_assert_true(timer_pending(tgm.throttle_timers.timers[THROTTLE_WRITE]));
    qatomic_set(&leave_timer, true);

    stop_coroutines();
    wait_timer(&tgm);
    throttle_group_unregister_tgm(&tgm);
    throttle_group_unregister_tgm(&other);
    join_threads();
}

/*
 * A request may run while the timer that was armed for it is still pending,
 * because the thread of the timer is busy.
 */
typedef struct Busy {
    int ms;
    bool begun;             /* atomic */
    bool over;              /* atomic */
} Busy;

static void busy_bh(void *opaque)
{
    Busy *busy = opaque;

    qatomic_set(&busy->begun, true);
    g_usleep(busy->ms * MS);
    qatomic_set(&busy->over, true);
}

static void make_busy(AioContext *ctx, Busy *busy)
{
    aio_bh_schedule_oneshot(ctx, busy_bh, busy);
    g_assert_true(wait_flag(&busy->begun, 60000));
}

static void test_unregister(void)
{
    ThrottleGroupMember tgm = { 0 };
    ThrottleGroupMember other = { 0 };
    Busy timer_busy = { .ms = 500 }, request_busy = { .ms = 200 };
    AioContext *timer_ctx, *request_ctx;

    if (!run_in_child()) {
        return;
    }

    create_threads();
    timer_ctx = iothread_get_aio_context(iothread[0]);
    request_ctx = iothread_get_aio_context(iothread[1]);
    throttle_group_register_tgm(&tgm, "group", timer_ctx);
    throttle_group_register_tgm(&other, "group", qemu_get_aio_context());
    tgm_set_limit(&tgm, THROTTLE_BPS_TOTAL, 1);

    /* A request that waits, and will be the last one */
    qatomic_set(&running, 1);
    aio_co_enter(request_ctx, qemu_coroutine_create(intercept_entry, &tgm));
    while (!timer_pending(tgm.throttle_timers.timers[THROTTLE_WRITE])) {
        g_usleep(1 * MS);
    }
    qatomic_set(&stop, true);

    /* Wake it, but it does not run at once */
    make_busy(request_ctx, &request_busy);
    tgm_ignore_limits(&tgm);
    while (qatomic_read(&tgm.restart_pending)) {
        g_usleep(1 * MS);
    }

    /* Arm a timer for it, which does not run at once either */
    make_busy(timer_ctx, &timer_busy);
    throttle_group_restart_tgm(&other);
    while (qatomic_read(&running)) {
        g_usleep(1 * MS);
    }

    throttle_group_unregister_tgm(&tgm);
    throttle_group_unregister_tgm(&other);
    while (!qatomic_read(&timer_busy.over)) {
        g_usleep(1 * MS);
    }
    join_threads();
}

/* Limits are switched on and off while requests come from all threads */
static int coroutine_fn test_co_preadv(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       BdrvRequestFlags flags)
{
    return 0;
}

static BlockDriver bdrv_test = {
    .format_name        = "test",
    .bdrv_co_preadv     = test_co_preadv,
};

static void coroutine_fn read_entry(void *opaque)
{
    BlockBackend *blk = opaque;
    uint8_t buf[BDRV_SECTOR_SIZE];

    while (!qatomic_read(&stop)) {
        blk_co_pread(blk, 0, sizeof(buf), buf, 0);
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    qatomic_dec(&running);
}

static void test_toggle(void)
{
    BlockBackend *blk;
    BlockDriverState *bs;
    ThrottleConfig cfg;

    if (!run_in_child()) {
        return;
    }

    set_mutex_lock_hook();
    create_threads();
    blk = blk_new(qemu_get_aio_context(), BLK_PERM_ALL, BLK_PERM_ALL);
    bs = bdrv_new_open_driver(&bdrv_test, "test-node", BDRV_O_RDWR,
                              &error_abort);
    bs->total_sectors = 1;
    blk_insert_bs(blk, bs, &error_abort);
    bdrv_unref(bs);

    start_coroutines(1, read_entry, blk);
    throttle_config_init(&cfg);
    cfg.buckets[THROTTLE_OPS_TOTAL].avg = 1000000;
    for (int i = 0; i < 20; i++) {
        slow_locks = true;
        blk_io_limits_enable(blk, "group");
        slow_locks = false;
        blk_set_io_limits(blk, &cfg);
        g_usleep(5 * MS);
        blk_io_limits_disable(blk);
    }
    stop_coroutines();
    blk_unref(blk);
    join_threads();
}

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    bdrv_init();
    module_call_init(MODULE_INIT_QOM);
    g_test_init(&argc, &argv, NULL);

#define ADD(path, fn) g_test_add_func("/throttle-multi-iothread/" path, fn)
    ADD("queue", test_queue);
    ADD("timer", test_timer);
    ADD("timer-armed", test_armed);
    g_test_add_data_func("/throttle-multi-iothread/timer-fired",
                         GINT_TO_POINTER(false), test_fired);
    g_test_add_data_func("/throttle-multi-iothread/timer-fired-and-armed",
                         GINT_TO_POINTER(true), test_fired);
    ADD("unregister", test_unregister);
    ADD("toggle", test_toggle);
#undef ADD

    return g_test_run();
}
