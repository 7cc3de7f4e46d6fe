/*
 * A watchdog for tests of a QEMU that may hang
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_WATCHDOG_H
#define TESTS_QTEST_VQ_WATCHDOG_H

typedef struct VqWatchdog VqWatchdog;

/*
 * From begin to end, kill process @pid if that takes more than @seconds, which
 * fails the test in whatever it waits for.
 */
VqWatchdog *vq_watchdog_begin(pid_t pid, unsigned seconds);
void vq_watchdog_end(VqWatchdog *dog);

#endif /* TESTS_QTEST_VQ_WATCHDOG_H */
