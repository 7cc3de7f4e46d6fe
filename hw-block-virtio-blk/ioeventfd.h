/*
 * virtio-blk ioeventfd: serve virtqueues in the threads that own them
 *
 * virtio-blk.c calls these functions from realize and unrealize and registers
 * the others as virtio and block callbacks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_IOEVENTFD_H
#define HW_BLOCK_VIRTIO_BLK_IOEVENTFD_H

#include "hw/block/virtio-blk/queue.h"
#include "hw/virtio/virtio-blk.h"

/**
 * virtio_blk_ioeventfd_init:
 * @s: the disk, after virtio_init() and with s->conf complete
 * @errp: pointer to a NULL-initialized error object
 *
 * Make s->owners and s->queues from the disk's properties.
 *
 * Returns: true, and the caller calls virtio_blk_ioeventfd_cleanup() later;
 * or false with @errp set and nothing to clean up.
 *
 * Context: BQL held.
 */
bool virtio_blk_ioeventfd_init(VirtIOBlock *s, Error **errp);

/**
 * virtio_blk_ioeventfd_cleanup:
 * @s: the disk, stopped
 *
 * Context: BQL held.
 */
void virtio_blk_ioeventfd_cleanup(VirtIOBlock *s);

/**
 * virtio_blk_start_ioeventfd:
 * @vdev: the disk
 *
 * VirtioDeviceClass.start_ioeventfd: route the guest's notifications (virtio
 * 1.2, 2.3) into host notifiers, attach each in its virtqueue's AioContext,
 * and prepare interrupts that any thread can raise. On failure everything is
 * undone, what is in the rings is handled, and the disk is served by the main
 * loop until a later start succeeds.
 *
 * Returns: 0, or a negative errno value.
 *
 * Context: BQL held.
 */
int virtio_blk_start_ioeventfd(VirtIODevice *vdev);

/**
 * virtio_blk_stop_ioeventfd:
 * @vdev: the disk
 *
 * VirtioDeviceClass.stop_ioeventfd: the reverse of start. No request is in
 * flight and no IOThread touches the disk when it returns.
 *
 * Context: BQL held. Runs the event loop.
 */
void virtio_blk_stop_ioeventfd(VirtIODevice *vdev);

/**
 * virtio_blk_has_ring:
 * @s: the disk
 * @i: index of a virtqueue
 *
 * Returns: has the guest set up the virtqueue?
 *
 * Context: BQL held.
 */
bool virtio_blk_has_ring(VirtIOBlock *s, uint16_t i);

/**
 * virtio_blk_add_vq:
 * @s: the disk
 * @vq: a virtqueue that the guest has kicked
 *
 * Only the virtqueues that the guest had set up when ioeventfd was started
 * have a host notifier. The others get theirs with their first kick, which
 * their owner then handles; if that fails, ioeventfd is stopped and all are
 * handled in the main loop.
 *
 * Returns: false if there is nothing to do: the caller handles @vq.
 *
 * Context: BQL held, or the thread that owns @vq.
 */
bool virtio_blk_add_vq(VirtIOBlock *s, VirtQueue *vq);

/**
 * virtio_blk_reset_vq:
 * @vdev: the disk
 * @i: index of a virtqueue, whatever the guest has written
 *
 * VirtioDeviceClass.queue_reset (virtio 1.2, 2.6.1): no request of the
 * virtqueue is in flight and its owner does not touch it when this returns.
 * Nothing happens if the disk has no virtqueue @i.
 *
 * Context: BQL held. Runs the event loop.
 */
void virtio_blk_reset_vq(VirtIODevice *vdev, uint32_t i);

/**
 * virtio_blk_handle_later:
 * @s: the disk
 * @vq: a virtqueue that may have requests left
 *
 * Have @vq handled again by the thread that handles it now, after what else
 * that thread's event loop has to do.
 *
 * Context: the thread that handles @vq.
 */
void virtio_blk_handle_later(VirtIOBlock *s, VirtQueue *vq);

/**
 * virtio_blk_drained_begin:
 * virtio_blk_drained_poll:
 * virtio_blk_drained_end:
 * @opaque: the disk
 *
 * BlockDevOps: no virtqueue is looked at from the moment that begin has been
 * called and poll has returned false until end.
 *
 * Context: BQL held.
 */
void virtio_blk_drained_begin(void *opaque);
bool virtio_blk_drained_poll(void *opaque);
void virtio_blk_drained_end(void *opaque);

#endif /* HW_BLOCK_VIRTIO_BLK_IOEVENTFD_H */
