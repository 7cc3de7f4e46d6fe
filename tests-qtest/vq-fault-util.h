/*
 * For tests of faults: make QEMU run out of file descriptors, and stop one of
 * its threads in the middle of a request
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_FAULT_UTIL_H
#define TESTS_QTEST_VQ_FAULT_UTIL_H

#include "vq-test-util.h"

/* How many file descriptors QEMU has open */
unsigned vq_fault_count_fds(VqTest *t);

/*
 * Let QEMU open no more than @more file descriptors until
 * vq_fault_unlimit_fds(). Returns: false if this host does not allow that, and
 * then the test has been skipped.
 */
bool vq_fault_limit_fds(VqTest *t, unsigned more);
void vq_fault_unlimit_fds(VqTest *t);

/*
 * Stop, from freeze to thaw, each thread of QEMU that handles a request: its
 * next trace line goes into a pipe that is full.
 */
typedef struct VqFaultFreezer {
    char *path;
    int fd;
} VqFaultFreezer;

void vq_fault_freeze(VqTest *t, VqFaultFreezer *freezer);
void vq_fault_thaw(VqFaultFreezer *freezer);

/* Wait until thread @tid has stopped there. */
void vq_fault_wait_frozen(VqTest *t, pid_t tid);

#endif /* TESTS_QTEST_VQ_FAULT_UTIL_H */
