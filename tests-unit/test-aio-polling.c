/*
 * Adaptive polling of an AioContext with a fast and a slow handler
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/timerfd.h>
#include "block/aio.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"

#define POLL_MAX_NS 100000
#define FAST_NS 20000       /* within what is polled for */
#define SLOW_NS 400000      /* beyond */
#define EVENTS 500

/* A busy host delays events beyond what is polled for */
#define ATTEMPTS 100

/* Something that happens at a time, and both polling and its fd can tell */
typedef struct Source {
    AioContext *ctx;
    int fd;
    int64_t due_ns;         /* 0: it is not to happen */
    unsigned polls;         /* how often it was polled */
    unsigned polled;        /* how often polling told */
    unsigned woken;         /* how often the fd did */
} Source;

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

static void source_read(void *opaque)
{
    Source *source = opaque;
    uint64_t count;

    G_GNUC_UNUSED ssize_t len = read(source->fd, &count, sizeof(count));
    if (source->due_ns) {
        source->woken++;
        source->due_ns = 0;
    }
}

static bool source_poll(void *opaque)
{
    Source *source = opaque;

    source->polls++;
    return source->due_ns && now_ns() >= source->due_ns;
}

static void source_poll_ready(void *opaque)
{
    Source *source = opaque;

    const struct itimerspec never = { };

    /* Its fd must not become readable later */
    g_assert_cmpint(timerfd_settime(source->fd, 0, &never, NULL), ==, 0);
    source->polled++;
    source->due_ns = 0;
}

static void source_init(Source *source, AioContext *ctx)
{
    *source = (Source) {
        .ctx = ctx,
        .fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
    };
    g_assert_cmpint(source->fd, >=, 0);
    aio_set_fd_handler(ctx, source->fd, source_read, NULL, source_poll,
                       source_poll_ready, source);
}

static void source_cleanup(Source *source)
{
    aio_set_fd_handler(source->ctx, source->fd, NULL, NULL, NULL, NULL, NULL);
    close(source->fd);
}

/* Have it happen in @ns, and wait for that */
static void source_wait(Source *source, int64_t ns)
{
    struct itimerspec timer = { .it_value.tv_nsec = ns };

    g_assert_cmpint(timerfd_settime(source->fd, 0, &timer, NULL), ==, 0);
    source->due_ns = now_ns() + ns;
    while (source->due_ns) {
        aio_poll(source->ctx, true);
    }
}

/*
 * A virtqueue whose guest needs little time from one request to the next, on a
 * backend that needs much: the virtqueue is polled, the backend is not.
 */
static void test_slow_backend(void)
{
    AioContext *ctx = qemu_get_aio_context();
    Source virtqueue, backend;
    bool found = false;

    aio_context_set_poll_params(ctx, POLL_MAX_NS, 0, 0, &error_abort);
    source_init(&virtqueue, ctx);
    source_init(&backend, ctx);

    for (unsigned attempt = 0; attempt < ATTEMPTS && !found; attempt++) {
        virtqueue.polled = backend.woken = 0;
        for (unsigned i = 0; i < EVENTS; i++) {
            source_wait(&virtqueue, FAST_NS);
            source_wait(&backend, SLOW_NS);
        }
        g_test_message("of %u events: %u of the virtqueue by polling, %u of "
                       "the backend without", EVENTS, virtqueue.polled,
                       backend.woken);
        found = virtqueue.polled > EVENTS / 2 && backend.woken > EVENTS / 2;
    }
    g_assert_true(found);

    source_cleanup(&virtqueue);
    source_cleanup(&backend);
    aio_context_set_poll_params(ctx, 0, 0, 0, &error_abort);
}

/* Nobody polls for a virtqueue that has become idle */
static void test_idle(void)
{
    AioContext *ctx = qemu_get_aio_context();
    Source virtqueue, backend;

    aio_context_set_poll_params(ctx, POLL_MAX_NS, 0, 0, &error_abort);
    source_init(&virtqueue, ctx);
    source_init(&backend, ctx);

    for (unsigned i = 0; i < EVENTS; i++) {
        source_wait(&virtqueue, FAST_NS);
    }
    g_assert_cmpuint(virtqueue.polls, >, EVENTS);
    for (unsigned i = 0; i < EVENTS; i++) {
        if (i == EVENTS / 2) {
            virtqueue.polls = 0;
        }
        source_wait(&backend, SLOW_NS);
    }
    g_assert_cmpuint(virtqueue.polls, <, EVENTS / 2);

    source_cleanup(&virtqueue);
    source_cleanup(&backend);
    aio_context_set_poll_params(ctx, 0, 0, 0, &error_abort);
}

/* Nor for any when polling is switched off */
static void test_off(void)
{
    AioContext *ctx = qemu_get_aio_context();
    Source virtqueue;

    aio_context_set_poll_params(ctx, POLL_MAX_NS, 0, 0, &error_abort);
    source_init(&virtqueue, ctx);
    for (unsigned i = 0; i < EVENTS; i++) {
        source_wait(&virtqueue, FAST_NS);
    }
    g_assert_cmpuint(virtqueue.polls, >, EVENTS);

    aio_context_set_poll_params(ctx, 0, 0, 0, &error_abort);
    /* Ends what has begun */
    source_wait(&virtqueue, FAST_NS);
    virtqueue.polls = 0;
    for (unsigned i = 0; i < EVENTS; i++) {
        source_wait(&virtqueue, FAST_NS);
    }
    g_assert_cmpuint(virtqueue.polls, ==, 0);
    source_cleanup(&virtqueue);
}

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/aio-polling/slow-backend", test_slow_backend);
    g_test_add_func("/aio-polling/idle", test_idle);
    g_test_add_func("/aio-polling/off", test_off);
    return g_test_run();
}
