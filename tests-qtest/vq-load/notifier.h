/*
 * The host notifier of a virtqueue, taken from a running QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_NOTIFIER_H
#define TESTS_QTEST_VQ_LOAD_NOTIFIER_H

/* File descriptors of process @pid that are eventfds, in ascending order */
GArray *vq_notifier_list(pid_t pid);

/*
 * A test whether an eventfd, which the caller has here as @fd, is the one that
 * is looked for: write to it, and see whether a request is served that was not
 * before
 */
typedef bool VqNotifierProbe(int fd, void *opaque);

/*
 * Look for the eventfd of process @pid, which must be a child, that @probe says
 * yes to. Those in the sorted @known are left out; what is found is added to
 * it. As QEMU opens the host notifiers of all virtqueues in their order, after
 * everything else, the search begins with the first of the last @left that are
 * not known.
 * Returns: a duplicate in this process, or -1 if there is none or if this
 * kernel or sandbox does not let us have it
 */
int vq_notifier_find(pid_t pid, GArray *known, unsigned left,
                     VqNotifierProbe *probe, void *opaque);

#endif /* TESTS_QTEST_VQ_LOAD_NOTIFIER_H */
