/*
 * File descriptor monitoring while another thread adds and removes handlers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "qapi/error.h"
#include "qemu/event_notifier.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"

#define TIMEOUT_US (60 * G_USEC_PER_SEC)
#define NOTIFIERS 16
#define RUN_US (2 * G_USEC_PER_SEC)

typedef struct Poller {
    QemuThread thread;
    AioContext *ctx;
    bool stop;      /* atomic */
} Poller;

static void *poller_run(void *opaque)
{
    Poller *poller = opaque;

    qemu_set_current_aio_context(poller->ctx);
    while (!qatomic_read(&poller->stop)) {
        aio_poll(poller->ctx, true);
    }
    return NULL;
}

static void notifier_ready(EventNotifier *notifier)
{
}

/*
 * A handler may be removed at the moment when its file descriptor becomes
 * ready. AioContexts that no GSource was made of may use io_uring for this.
 */
static void run_remove_handlers(void)
{
    Poller poller = { .ctx = aio_context_new(&error_abort) };
    EventNotifier notifiers[NOTIFIERS];
    int64_t end = g_get_monotonic_time() + RUN_US;

    for (unsigned i = 0; i < NOTIFIERS; i++) {
        g_assert_cmpint(event_notifier_init(&notifiers[i], true), ==, 0);
    }
    qemu_thread_create(&poller.thread, "poller", poller_run, &poller,
                       QEMU_THREAD_JOINABLE);
    while (g_get_monotonic_time() < end) {
        for (unsigned i = 0; i < NOTIFIERS; i++) {
            aio_set_event_notifier(poller.ctx, &notifiers[i], notifier_ready,
                                   NULL, NULL);
        }
        for (unsigned i = 0; i < NOTIFIERS; i++) {
            aio_set_event_notifier(poller.ctx, &notifiers[i], NULL, NULL,
                                   NULL);
        }
    }
    qatomic_set(&poller.stop, true);
    aio_notify(poller.ctx);
    qemu_thread_join(&poller.thread);
    for (unsigned i = 0; i < NOTIFIERS; i++) {
        event_notifier_cleanup(&notifiers[i]);
    }
    aio_context_unref(poller.ctx);
}

/* A crash or an endless list ends with the subprocess */
static void test_remove_handlers(void)
{
    if (g_test_subprocess()) {
        /* Blocked by qemu_init_main_loop(), and sent at the timeout */
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGALRM);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        run_remove_handlers();
        return;
    }
    /* Overwrite what is freed, so that its use does not go unnoticed */
    g_setenv("MALLOC_PERTURB_", "165", true);
    g_test_trap_subprocess(NULL, TIMEOUT_US, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_assert_false(g_test_trap_reached_timeout());
    g_test_trap_assert_passed();
}

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fdmon-multi-thread/remove-handlers",
                    test_remove_handlers);
    return g_test_run();
}
