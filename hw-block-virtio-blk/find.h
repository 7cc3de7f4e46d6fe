/*
 * virtio-blk disks by what the user calls them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_FIND_H
#define HW_BLOCK_VIRTIO_BLK_FIND_H

#include "hw/virtio/virtio-blk.h"

/**
 * virtio_blk_cast:
 * @obj: an object or NULL
 *
 * Returns: @obj as a disk that is realized, or NULL.
 *
 * Context: BQL held.
 */
VirtIOBlock *virtio_blk_cast(Object *obj);

/**
 * virtio_blk_find:
 * @device: a disk's id or path, or the path of the virtio device inside it
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns: the disk, which is realized, or NULL with @errp set.
 *
 * Context: BQL held.
 */
VirtIOBlock *virtio_blk_find(const char *device, Error **errp);

#endif /* HW_BLOCK_VIRTIO_BLK_FIND_H */
