/*
 * Owners: which thread serves which virtqueue of a device
 *
 *     vq_owners_new()     resolve names once, hold the IOThreads
 *         |
 *     vq_owners_set()     a virtqueue has another owner from now on
 *         |
 *     vq_owners_free()    release the IOThreads
 *
 * The owner of a virtqueue is the thread that runs its AioContext: an IOThread,
 * or the main loop. An IOThread is held by a counted reference and never by its
 * name, so that no later look-up can come to another answer, and cannot be
 * deleted while it is held.
 *
 * Nothing here knows what a virtqueue does: virtio-scsi uses this file and
 * nothing else of the module.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_OWNERS_H
#define HW_BLOCK_VIRTIO_BLK_OWNERS_H

#include "hw/block/virtio-blk/compat.h"
#include "hw/virtio/virtio.h"
#include "qapi/qapi-types-iothread-vq-mapping.h"

typedef struct VqOwners VqOwners;

/* An IOThread that is held for virtqueues of a device; NULL: the main loop */
typedef struct VqOwner {
    IOThreadUser user;      /* holds the IOThread */
    const VqOwners *owners; /* constant */
    char *name;             /* the IOThread's id, constant */

    /* Protected by the BQL */
    unsigned refs;
    QLIST_ENTRY(VqOwner) next;
} VqOwner;

struct VqOwners {
    /* Constant */
    VirtIODevice *vdev;     /* outlives this */
    char *name;             /* what the user calls the device */
    uint16_t num_vqs;

    /* Protected by the BQL */
    QLIST_HEAD(, VqOwner) list;
    VqOwner *of_vq[];       /* counted references, NULL for the main loop */
};

/**
 * vq_owners_check_device:
 * @vdev: the device, plugged into its bus
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns: true if IOThreads can serve @vdev's virtqueues, false with @errp set
 * if not.
 *
 * Context: BQL held.
 */
bool vq_owners_check_device(VirtIODevice *vdev, Error **errp);

/**
 * vq_owners_new:
 * @vdev: the device, after virtio_init(); its virtqueues need not exist yet
 * @num_vqs: number of virtqueues that have an owner, at least 1
 * @iothread: the device's "iothread" property or NULL
 * @list: the device's "iothread-vq-mapping" property or NULL
 * @errp: pointer to a NULL-initialized error object
 *
 * Find each virtqueue's owner: what @list says, or @iothread for all of them,
 * or the main loop when both are NULL. Warns, once, if an item of @list gets no
 * virtqueue.
 *
 * Returns: the owners, which the caller frees with vq_owners_free(), or NULL
 * with @errp set and nothing changed.
 *
 * Context: BQL held.
 */
VqOwners *vq_owners_new(VirtIODevice *vdev, uint16_t num_vqs,
                        IOThread *iothread,
                        const IOThreadVirtQueueMappingList *list, Error **errp);

/**
 * vq_owners_free:
 * @owners: the owners, or NULL; what vq_owners_hold() returned is released
 *
 * Context: BQL held.
 */
void vq_owners_free(VqOwners *owners);

/**
 * vq_owners_plan:
 * @owners: the owners
 * @list: a mapping, or NULL for the main loop
 * @errp: pointer to a NULL-initialized error object
 *
 * Validate @list for the device, and change nothing.
 *
 * Returns: for each virtqueue the IOThread that @list gives it, NULL for the
 * main loop, to be freed by the caller; or NULL with @errp set.
 *
 * Context: BQL held.
 */
IOThread **vq_owners_plan(const VqOwners *owners,
                          const IOThreadVirtQueueMappingList *list,
                          Error **errp);

/**
 * vq_owners_hold:
 * @owners: the owners
 * @iothread: an IOThread, or NULL for the main loop
 *
 * Returns: a counted reference for vq_owners_release() or vq_owners_set(), NULL
 * for the main loop.
 *
 * Context: BQL held.
 */
VqOwner *vq_owners_hold(VqOwners *owners, IOThread *iothread);

/**
 * vq_owners_release:
 * @owner: a counted reference, or NULL
 *
 * Context: BQL held.
 */
void vq_owners_release(VqOwner *owner);

/**
 * vq_owners_set:
 * @owners: the owners
 * @i: index of a virtqueue
 * @owner: its owner from now on; takes the reference
 *
 * Context: BQL held.
 */
void vq_owners_set(VqOwners *owners, uint16_t i, VqOwner *owner);

/**
 * vq_owner_get_aio_context:
 * @owner: an owner, or NULL for the main loop
 *
 * Context: any thread.
 */
AioContext *vq_owner_get_aio_context(const VqOwner *owner);

/**
 * vq_owner_get_name:
 * @owner: an owner, or NULL for the main loop
 *
 * Returns: what traces call it.
 *
 * Context: any thread.
 */
const char *vq_owner_get_name(const VqOwner *owner);

/**
 * vq_owner_get_thread_id:
 * @owner: an owner, or NULL for the main loop
 *
 * Returns: the host's id of the thread.
 *
 * Context: the main loop's thread, BQL held.
 */
int vq_owner_get_thread_id(const VqOwner *owner);

/**
 * vq_owners_get_aio_context:
 * @owners: the owners
 * @i: index of a virtqueue
 *
 * Returns: the AioContext of the virtqueue's owner.
 *
 * Context: BQL held.
 */
AioContext *vq_owners_get_aio_context(const VqOwners *owners, uint16_t i);

/**
 * vq_owners_get_mapping:
 * @owner_of_vq: for each virtqueue an owner, or NULL for the main loop
 * @num_vqs: how many these are
 *
 * Returns: for each IOThread among them which virtqueues it has, NULL if the
 * main loop has all of them. The caller frees the list.
 *
 * Context: BQL held.
 */
IOThreadVirtQueueMappingList *vq_owners_get_mapping(VqOwner *const *owner_of_vq,
                                                    uint16_t num_vqs);

/**
 * vq_owners_get_device:
 * @vdev: a virtio device
 *
 * Returns: the device that the user has named or plugged: the transport's, if
 * it comes with one, or @vdev itself.
 *
 * Context: BQL held.
 */
DeviceState *vq_owners_get_device(VirtIODevice *vdev);

#endif /* HW_BLOCK_VIRTIO_BLK_OWNERS_H */
