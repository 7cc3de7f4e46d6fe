/*
 * What tests of the block layer with many IOThreads share: headers that 10.0
 * has given other names, and tests that may crash or hang
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_BLOCK_TEST_UTIL_H
#define TESTS_UNIT_BLOCK_TEST_UTIL_H

#if QEMU_VERSION_MAJOR >= 10
#include "system/block-backend.h"
#include "qobject/qdict.h"
#include "qapi/qmp-registry.h"
#else
#include "sysemu/block-backend.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/dispatch.h"
#endif

#define MS 1000             /* in microseconds, for g_usleep() */
#define HANG_TIMEOUT (60 * G_TIME_SPAN_SECOND)

/*
 * Run this test in a child process, which fails if it crashes or hangs.
 * Returns: whether this is the child
 */
static inline bool run_in_child(void)
{
    sigset_t set;

    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, HANG_TIMEOUT, 0);
        g_test_trap_assert_passed();
        return false;
    }

    /* GLib's way to end a child, but QEMU's main loop has blocked it */
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return true;
}

/* Wait until *flag, at most @ms milliseconds, and return it */
static inline bool wait_flag(bool *flag, int ms)
{
    while (!qatomic_read(flag) && ms--) {
        g_usleep(1 * MS);
    }
    return qatomic_read(flag);
}

#endif /* TESTS_UNIT_BLOCK_TEST_UTIL_H */
