/*
 * What must not grow in a QEMU that runs for long
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-soak-state.h"
#include "vq-test-util.h"

/*
 * Entries of a directory in /proc. Worker threads, who come and go with the
 * load, do not count.
 */
static unsigned count_entries(QTestState *qts, const char *what)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s",
                                            (int)qtest_pid(qts), what);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    unsigned n = 0;

    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, "comm", NULL);
        g_autofree char *comm = NULL;

        if (!g_file_get_contents(file, &comm, NULL, NULL) ||
            !(g_str_has_prefix(comm, "worker") ||
              g_str_has_prefix(comm, "iou-wrk"))) {
            n++;
        }
    }
    return n;
}

static unsigned rss_kib(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status",
                                            (int)qtest_pid(qts));
    g_autofree char *status = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    line = strstr(status, "\nVmRSS:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(line + strlen("\nVmRSS:"), NULL, 10);
}

VqSoakState vq_soak_state_get(QTestState *qts)
{
    VqTest t = { .qts = qts };
    VqSoakState state = { .rss_kib = UINT_MAX };

    /* The RCU thread gives memory back to the host when it becomes idle */
    for (unsigned i = 0; i < 10; i++) {
        g_usleep(100 * 1000);
        state.rss_kib = MIN(state.rss_kib, rss_kib(qts));
    }
    state.threads = count_entries(qts, "task");
    state.fds = count_entries(qts, "fd");
    state.pool_size = vq_test_peek(&t, "global_pool_max_size");
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

void vq_soak_state_assert(const VqSoakState *before, const VqSoakState *after,
                          unsigned rss_percent)
{
    g_test_message("threads %u, then %u; fds %u, %u; RSS %u KiB, %u; "
                   "coroutine pool %u, %u", before->threads, after->threads,
                   before->fds, after->fds, before->rss_kib, after->rss_kib,
                   before->pool_size, after->pool_size);
    g_assert_cmpuint(after->threads, ==, before->threads);
    g_assert_cmpuint(after->fds, ==, before->fds);
    g_assert_cmpuint(after->pool_size, ==, before->pool_size);
    /* TSan remembers every thread that there was */
    if (!g_getenv("TSAN_OPTIONS")) {
        g_assert_cmpuint(after->rss_kib, <=,
                         before->rss_kib * (100 + rss_percent) / 100);
    }
}
