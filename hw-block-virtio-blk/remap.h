/*
 * virtio-blk: give virtqueues to other IOThreads while the VM runs
 *
 * virtio-blk-set-iothread-vq-mapping validates a mapping, tells the owners, and
 * returns. Each virtqueue that gets another owner then goes by itself:
 *
 *     old owner    detach the host notifier; when none of the virtqueue's
 *                  requests is in flight, say so
 *     main loop    set the new owner
 *     new owner    attach
 *
 * When all have arrived, the disk's block node follows virtqueue 0, as at a
 * start, and VIRTIO_BLK_REMAPPED says what has become of it. Nothing in
 * QEMU waits for any of that: a virtqueue whose requests do not complete stays
 * with its old owner, and another mapping, the old one say, can take that back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_REMAP_H
#define HW_BLOCK_VIRTIO_BLK_REMAP_H

#include "hw/block/virtio-blk/queue.h"
#include "qapi/qapi-types-virtio-blk-queues.h"

struct VirtIOBlock;

/* A remap under way. See remap.c. */
typedef struct VqMove VqMove;

/**
 * virtio_blk_remap_arrive:
 * @q: a virtqueue that is leaving, with no request in flight but those that
 *     wait for a restart
 *
 * Context: BQL held.
 */
void virtio_blk_remap_arrive(VirtIOBlkQueue *q);

/**
 * virtio_blk_remap_obeyed:
 * @q: a virtqueue whose owner has done what it was told
 *
 * Context: owner's thread, VirtIOBlkQueues.lock held.
 */
void virtio_blk_remap_obeyed(VirtIOBlkQueue *q);

/**
 * virtio_blk_remap_released:
 * @q: a virtqueue that has just been closed
 *
 * If a remap gives it another owner, it has that from now on.
 *
 * Context: BQL held.
 */
void virtio_blk_remap_released(VirtIOBlkQueue *q);

/**
 * virtio_blk_remap_interrupt:
 * @s: the disk, which is about to be stopped, reset or unplugged
 *
 * Have a remap under way let go of the block node and its jobs. It goes on
 * later.
 *
 * Context: BQL held.
 */
void virtio_blk_remap_interrupt(struct VirtIOBlock *s);

/**
 * virtio_blk_remap_cancel:
 * @s: the disk, stopped, which is being unplugged
 *
 * End a remap under way. Virtqueues that are not with their new owner stay
 * where they are.
 *
 * Context: BQL held.
 */
void virtio_blk_remap_cancel(struct VirtIOBlock *s);

/**
 * virtio_blk_remap_query:
 * @q: a virtqueue
 *
 * Returns: where a remap under way takes it, and why it has not arrived; or
 * NULL if it has, or none is under way. The caller frees it.
 *
 * Context: BQL held.
 */
VirtioBlkQueueRemap *virtio_blk_remap_query(VirtIOBlkQueue *q);

#endif /* HW_BLOCK_VIRTIO_BLK_REMAP_H */
