/*
 * Sets of host CPUs, and threads that choose theirs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_CPU_SET_H
#define HW_BLOCK_VIRTIO_BLK_CPU_SET_H

#include "qapi/qapi-builtin-types.h"
#include "qemu/thread.h"

typedef struct CpuSet {
    unsigned long nbits;
    unsigned long bits[];   /* bitmap */
} CpuSet;

/**
 * cpu_set_parse:
 * @text: numbers of host CPUs as QEMU, taskset and the kernel have them,
 * "0-3,8"
 *
 * Returns: the set, which the caller frees with g_free(), or NULL if @text is
 * no such list or names no CPU.
 *
 * Context: any thread.
 */
CpuSet *cpu_set_parse(const char *text);

/**
 * cpu_set_check_list:
 * @path: name of the property that holds @list, for messages
 * @list: texts for cpu_set_parse()
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns: true if @list is not empty and each of its items is a set, false
 * with @errp set if not.
 *
 * Context: any thread.
 */
bool cpu_set_check_list(const char *path, const strList *list, Error **errp);

/**
 * cpu_set_apply:
 * @set: where @thread shall run from now on
 * @thread: a thread that exists
 * @path: where @set comes from, for messages
 * @errp: pointer to a NULL-initialized error object
 *
 * The host's kernel would drop CPUs that it has not, or that QEMU may not use,
 * in silence, and take the others.
 *
 * Returns: true, or false with @errp set and @thread left anywhere.
 *
 * Context: any thread.
 */
bool cpu_set_apply(const CpuSet *set, QemuThread *thread, const char *path,
                   Error **errp);

/**
 * cpu_set_count_own:
 *
 * Returns: the number of host CPUs that the calling thread may run on.
 *
 * Context: any thread.
 */
unsigned cpu_set_count_own(void);

#endif /* HW_BLOCK_VIRTIO_BLK_CPU_SET_H */
