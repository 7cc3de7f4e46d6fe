/*
 * Fast path: from a virtqueue to the host's AIO in one step
 *
 * Where nothing sits between the disk and a node that reads and writes a host's
 * file or block device (or nothing at all, null-co), a request need not walk
 * down the block graph, be tracked and be counted in flight in each node on the
 * way, which all virtqueues do in the same cache lines. The virtqueue calls the
 * node's driver itself then, from a coroutine that it keeps for the next one.
 *
 * What the graph would do for the request stays exact:
 * - Drain: the virtqueue is one of the things that a drained section of the
 *   node waits for, see virtio_blk_drained_poll(). Its owner hands in no more
 *   once it has detached the host notifier, and virtio_blk_fast_in_flight()
 *   counts what is on its way.
 * - Whatever changes the graph, or a node's options, drains. So it is looked at
 *   when the host notifier has been attached, and holds until it is detached.
 * - What can change without a drain is looked at for each batch of requests:
 *   throttling, copy-on-read, serialising requests, dirty bitmaps, the write
 *   cache, trace events of the general path.
 * - The node has no other parent. If the guest cannot write less than what the
 *   driver can write at once, no request is ever in the middle of a
 *   read-modify-write cycle that other writes would have to wait for; else only
 *   reads take the fast path, to which such a cycle does not matter.
 * - Others who issue requests through the disk's own BlockBackend, which is the
 *   monitor's qemu-io, may write less than that. From its first command on, the
 *   disk has no fast path: see virtio_blk_fast_keep_out().
 * - A write is noted in each node as bdrv_co_pwritev() does it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_FAST_PATH_H
#define HW_BLOCK_VIRTIO_BLK_FAST_PATH_H

#include "block/block-common.h"
#include "block/throttle-groups.h"
#include "qemu/coroutine.h"
#include "qemu/queue.h"

struct VirtIOBlock;
struct VirtIOBlockReq;

/* Coroutines that a virtqueue keeps; QEMU keeps more, for the whole thread */
#define FAST_PATH_MAX_IDLE 4

/* Written by the thread that serves the virtqueue */
typedef struct FastPath {
    bool open;              /* is the host notifier attached? */
    bool known;             /* has the graph been looked at since attaching? */
    bool quit;
    bool keep_out;          /* is there another user? atomic, set for good */
    const ThrottleGroupMember *tgm;     /* the BlockBackend's, constant */
    unsigned num_nodes;     /* 0: there is no fast path */
    BlockDriverState *nodes[2];     /* what the disk is on, and its file */
    bool writes;            /* or is it for reads only? */
    uint32_t align;         /* bytes; other requests go the general way */
    uint32_t max_transfer;  /* bytes */
    QSIMPLEQ_HEAD(, VirtIOBlockReq) queue;      /* to be begun */
    unsigned in_flight;     /* read by any thread */
    unsigned num_idle;
    Coroutine *idle[FAST_PATH_MAX_IDLE];
} FastPath;

/**
 * virtio_blk_fast_init:
 * @fast: of a virtqueue, zeroed
 * @blk: the disk's BlockBackend
 *
 * Context: BQL held.
 */
void virtio_blk_fast_init(FastPath *fast, BlockBackend *blk);

/**
 * virtio_blk_fast_submit:
 * @req: a request to read or write, maybe with others merged into it
 * @flags: BDRV_REQ_REGISTERED_BUF or 0
 *
 * Hand in requests, if that can be done on the fast path. They begin with
 * virtio_blk_fast_run(), and end with virtio_blk_rw_complete().
 *
 * Returns: false if they have to go the general way.
 *
 * Context: the thread that serves the virtqueue.
 */
bool virtio_blk_fast_submit(struct VirtIOBlockReq *req,
                            BdrvRequestFlags flags);

/**
 * virtio_blk_fast_run:
 * @fast: of the virtqueue
 *
 * Begin what virtio_blk_fast_submit() was given.
 *
 * Context: the thread that serves the virtqueue.
 */
void virtio_blk_fast_run(FastPath *fast);

/**
 * virtio_blk_fast_open:
 * virtio_blk_fast_close:
 * @fast: of a virtqueue
 *
 * The host notifier is about to be attached, or has been detached: requests may
 * take the fast path only in between.
 *
 * Context: the virtqueue's owner.
 */
void virtio_blk_fast_open(FastPath *fast);
void virtio_blk_fast_close(FastPath *fast);

/**
 * virtio_blk_fast_in_flight:
 * @s: the disk, realized
 *
 * For AIO_WAIT_WHILE() and .drained_poll(), which are woken when it becomes
 * false.
 *
 * Returns: whether requests of any virtqueue are on the fast path.
 *
 * Context: any thread.
 */
bool virtio_blk_fast_in_flight(struct VirtIOBlock *s);

/**
 * virtio_blk_fast_keep_out:
 * @opaque: the device, a VirtIOBlock with a table
 *
 * Requests that are not the device's own are about to come through its
 * BlockBackend, at any time from now on. No request is on the fast path any
 * more when this returns: if the disk has used it, what is in flight is waited
 * for, once.
 *
 * Context: BQL held, main loop.
 */
void virtio_blk_fast_keep_out(void *opaque);

/**
 * virtio_blk_fast_cleanup:
 * @fast: of a virtqueue with no request in flight
 *
 * Context: the thread that serves the virtqueue.
 */
void virtio_blk_fast_cleanup(FastPath *fast);

/* In virtio-blk.c: to be called when @req and those merged into it end */
void virtio_blk_rw_complete(void *req, int ret);

#endif /* HW_BLOCK_VIRTIO_BLK_FAST_PATH_H */
