/*
 * Virtqueue plan: which IOThread serves which virtqueue
 *
 *     iothread-vq-mapping --+
 *                           +--> vq_plan_new() --> IOThread of each virtqueue
 *     number of virtqueues -+          |
 *                                      +--> or an Error: the property path,
 *                                           the value, what would be valid
 *
 * A plan is pure data. It knows no device, takes no lock and keeps no
 * reference, so a unit test can check it alone, and whoever maps virtqueues
 * (realize today) gets the same answer and the same messages.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_VQ_PLAN_H
#define HW_BLOCK_VIRTIO_BLK_VQ_PLAN_H

#include "qapi/qapi-types-iothread-vq-mapping.h"

/**
 * VqPlanResolve:
 * @name: an item's @iothread
 *
 * Returns: what identifies the IOThread called @name, or NULL if there is
 * none. Two names of one IOThread must give the same pointer.
 */
typedef void *VqPlanResolve(const char *name);

typedef struct VqPlan {
    size_t num_iothreads;   /* items in the list */
    void **iothreads;       /* per item, what its name resolved to; borrowed */
    uint16_t num_vqs;
    size_t *iothread_of_vq; /* per virtqueue, an index into @iothreads */
} VqPlan;

/**
 * vq_plan_check_list:
 * @path: name of the property or argument that holds @list, for messages
 * @list: an IOThreadVirtQueueMappingList as the user gave it
 * @errp: pointer to a NULL-initialized error object
 *
 * Refuse lists that are wrong whatever the device is: no item at all, or an
 * item with an empty @vqs. A caller that treats NULL as "not set" must call
 * this while it can still tell the two apart.
 *
 * Returns: true if the shape of @list is valid, false with @errp set if not.
 *
 * Context: any thread.
 */
bool vq_plan_check_list(const char *path,
                        const IOThreadVirtQueueMappingList *list,
                        Error **errp);

/**
 * vq_plan_new:
 * @path: name of the property or argument that holds @list, for messages
 * @list: the mapping, not empty or @errp says so
 * @num_vqs: number of virtqueues to map, at least 1
 * @resolve: tells which IOThread a name stands for; called once per item
 * @errp: pointer to a NULL-initialized error object
 *
 * Decide which IOThread serves each of @num_vqs virtqueues: the one whose
 * @vqs holds its index, or round-robin when no item has @vqs.
 *
 * Returns: a plan that the caller frees with vq_plan_free(), or NULL with
 * @errp set when @list maps no, or not every, virtqueue to one IOThread.
 *
 * Context: that of @resolve.
 */
VqPlan *vq_plan_new(const char *path, const IOThreadVirtQueueMappingList *list,
                    uint16_t num_vqs, VqPlanResolve *resolve, Error **errp);

/**
 * vq_plan_idle_names:
 * @plan: a plan made from @list
 * @list: the list it was made from
 *
 * Returns: the names of the IOThreads that @plan gives no virtqueue, joined
 * with ", ", or NULL if each of them has one. The caller frees the string.
 *
 * Context: any thread.
 */
char *vq_plan_idle_names(const VqPlan *plan,
                         const IOThreadVirtQueueMappingList *list);

/**
 * vq_plan_append_ranges:
 * @text: what to append to
 * @indices: of virtqueues, or of host CPUs
 *
 * Append @indices as people write them, with ranges: "0,2-4".
 *
 * Context: any thread.
 */
void vq_plan_append_ranges(GString *text, const uint16List *indices);

/**
 * vq_plan_parse_range:
 * @text: decimal, "3" or "4-7"
 * @tail: end of the list to append to
 *
 * Returns: whether @text is one of both; if not, @tail is as it was.
 *
 * Context: any thread.
 */
bool vq_plan_parse_range(const char *text, uint16List ***tail);

/**
 * vq_plan_list_to_text:
 * @list: a mapping or NULL
 *
 * Returns: @list as people write it, "t0:0-3,t1:4,6", or "t0,t1" if no item
 * has @vqs; to be freed by the caller.
 *
 * Context: any thread.
 */
char *vq_plan_list_to_text(const IOThreadVirtQueueMappingList *list);

/**
 * vq_plan_list_from_text:
 * @text: what vq_plan_list_to_text() writes
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns: the mapping, to be freed by the caller, or NULL with @errp set if
 * @text has not the form of one.
 *
 * Context: any thread.
 */
IOThreadVirtQueueMappingList *vq_plan_list_from_text(const char *text,
                                                     Error **errp);

/**
 * vq_plan_free:
 * @plan: a plan or NULL
 *
 * Context: any thread.
 */
void vq_plan_free(VqPlan *plan);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VqPlan, vq_plan_free)

#endif /* HW_BLOCK_VIRTIO_BLK_VQ_PLAN_H */
