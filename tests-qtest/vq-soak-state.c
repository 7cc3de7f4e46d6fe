/*
 * What must not grow in a QEMU that runs for long
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-soak-state.h"
#include "vq-test-util.h"

#define PERIOD_US (100 * 1000)
/* Devices and IOThreads are freed by RCU, which a busy host may delay */
#define TIMEOUT_US (180 * G_USEC_PER_SEC)
/* An unchanged state is one that was seen so often in a row */
#define TIMES 20
/* To wait for events with, and to submit I/O with */
#define RINGS_PER_CONTEXT 2

static char *proc_path(QTestState *qts, const char *what)
{
    return g_strdup_printf("/proc/%d/%s", (int)qtest_pid(qts), what);
}

/*
 * Worker threads, QEMU's and the kernel's, come and go with the load: those of
 * QEMU end when they have had nothing to do for 10 s.
 */
static void count_threads(QTestState *qts, VqSoakState *state)
{
    g_autofree char *path = proc_path(qts, "task");
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    g_assert_nonnull(dir);
    state->threads = 0;
    state->contexts = 1;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, "comm", NULL);
        g_autofree char *comm = NULL;

        /* One that has just ended does not count */
        if (g_file_get_contents(file, &comm, NULL, NULL) &&
            !g_str_has_prefix(comm, "worker") &&
            !g_str_has_prefix(comm, "iou-")) {
            state->threads++;
            state->contexts += g_str_has_prefix(comm, "IO ");
        }
    }
}

/*
 * An AioContext gets a ring when it first submits something, which the main
 * loop may not have done before
 */
static void count_fds(QTestState *qts, VqSoakState *state)
{
    g_autofree char *path = proc_path(qts, "fd");
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    g_assert_nonnull(dir);
    state->fds = 0;
    state->rings = 0;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(file, NULL);

        if (target && strstr(target, "[io_uring]")) {
            state->rings++;
        } else if (target) {
            state->fds++;
        }
    }
}

static unsigned rss_kib(QTestState *qts)
{
    g_autofree char *path = proc_path(qts, "status");
    g_autofree char *status = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    line = strstr(status, "\nVmRSS:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(line + strlen("\nVmRSS:"), NULL, 10);
}

static VqSoakState look(QTestState *qts)
{
    VqTest t = { .qts = qts };
    VqSoakState state = { };

    count_threads(qts, &state);
    count_fds(qts, &state);
    state.rss_kib = rss_kib(qts);
    state.pool_size = vq_test_peek(&t, "global_pool_max_size");
    return state;
}

static bool is_same(const VqSoakState *a, const VqSoakState *b)
{
    return a->threads == b->threads && a->fds == b->fds &&
           a->rings == b->rings && a->pool_size == b->pool_size;
}

VqSoakState vq_soak_state_get(QTestState *qts)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    VqSoakState state = look(qts);
    unsigned rss_kib = state.rss_kib;

    for (unsigned times = 1; times < TIMES; times++) {
        VqSoakState next;

        g_usleep(PERIOD_US);
        next = look(qts);
        if (!is_same(&state, &next)) {
            g_assert_cmpint(g_get_monotonic_time(), <, deadline);
            state = next;
            rss_kib = state.rss_kib;
            times = 0;
        }
        rss_kib = MIN(rss_kib, next.rss_kib);
    }
    state.rss_kib = rss_kib;
    return state;
}

void vq_soak_state_prepare(void)
{
    g_autofree char *asan_options =
        g_strconcat(g_getenv("ASAN_OPTIONS") ?: "", ":quarantine_size_mb=4",
                    NULL);

    /*
     * It keeps what a thread frees from the others, and megabytes from the host
     */
    g_setenv("MALLOC_ARENA_MAX", "1", true);
    g_setenv("MALLOC_TRIM_THRESHOLD_", "131072", true);
    g_setenv("MALLOC_MMAP_THRESHOLD_", "65536", true);
    /* And if that is ASan's, 256 MiB of what was freed */
    g_setenv("ASAN_OPTIONS", asan_options, true);
}

static bool has_grown(const VqSoakState *before, const VqSoakState *after,
                      unsigned rss_percent)
{
    return after->threads > before->threads || after->fds > before->fds ||
           after->rings > RINGS_PER_CONTEXT * after->contexts ||
           after->pool_size != before->pool_size ||
           after->rss_kib > (uint64_t)before->rss_kib *
                            (100 + rss_percent) / 100;
}

void vq_soak_state_assert(QTestState *qts, const VqSoakState *before,
                          unsigned rss_percent)
{
    int64_t start = g_get_monotonic_time();
    VqSoakState after;
    bool grown;

    /* TSan remembers every thread that there was */
    if (!rss_percent || g_getenv("TSAN_OPTIONS")) {
        rss_percent = 1000000;
    }
    while (after = look(qts), grown = has_grown(before, &after, rss_percent),
           grown && g_get_monotonic_time() - start < TIMEOUT_US) {
        g_usleep(PERIOD_US);
    }
    g_test_message("threads %u, then %u; fds %u, %u; io_uring %u, %u; "
                   "RSS %u KiB, %u; coroutine pool %u, %u; after %.1f s",
                   before->threads, after.threads, before->fds, after.fds,
                   before->rings, after.rings, before->rss_kib, after.rss_kib,
                   before->pool_size, after.pool_size,
                   (g_get_monotonic_time() - start) / 1e6);
    if (grown) {
        g_assert_cmpuint(after.threads, <=, before->threads);
        g_assert_cmpuint(after.fds, <=, before->fds);
        g_assert_cmpuint(after.rings, <=, RINGS_PER_CONTEXT * after.contexts);
        g_assert_cmpuint(after.pool_size, ==, before->pool_size);
        g_assert_cmpuint(after.rss_kib, <=, before->rss_kib);
    }
}
