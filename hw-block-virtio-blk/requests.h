/*
 * virtio-blk requests: from their virtqueue and back
 *
 * virtio-blk.c calls these functions where a request begins and ends. They are
 * on the path of every request, and inline for that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_REQUESTS_H
#define HW_BLOCK_VIRTIO_BLK_REQUESTS_H

#include "hw/block/virtio-blk/queue.h"
#include "hw/virtio/virtio-blk.h"

/**
 * virtio_blk_get_queue:
 * @s: the disk, realized
 * @vq: a virtqueue of it
 *
 * Context: any thread.
 */
static inline VirtIOBlkQueue *virtio_blk_get_queue(VirtIOBlock *s,
                                                   VirtQueue *vq)
{
    return &s->queues->q[virtio_get_queue_index(vq)];
}

/**
 * virtio_blk_count_type:
 * @req: a request whose header has just been read
 * @type: its type; what of it counts is what virtio_blk_handle_request() looks
 *        at (virtio 1.2, 5.2.6)
 *
 * Context: the thread that serves @req's virtqueue.
 */
static inline void virtio_blk_count_type(VirtIOBlockReq *req, uint32_t type)
{
    req->bytes = 0;
    switch (type & ~(VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_BARRIER)) {
    case VIRTIO_BLK_T_IN:
        req->kind = type & VIRTIO_BLK_T_OUT ? VQ_REQUEST_WRITE
                                            : VQ_REQUEST_READ;
        break;
    case VIRTIO_BLK_T_FLUSH:
        req->kind = VQ_REQUEST_FLUSH;
        break;
    case VIRTIO_BLK_T_DISCARD & ~VIRTIO_BLK_T_OUT:
        req->kind = VQ_REQUEST_DISCARD;
        break;
    case VIRTIO_BLK_T_WRITE_ZEROES & ~VIRTIO_BLK_T_OUT:
        req->kind = VQ_REQUEST_WRITE_ZEROES;
        break;
    default:
        req->kind = VQ_REQUEST_OTHER;
    }
}

/**
 * virtio_blk_count_end:
 * @req: a request that the guest is about to see complete
 * @status: a VIRTIO_BLK_S_* value (virtio 1.2, 5.2.6)
 *
 * Context: the thread that serves @req's virtqueue.
 */
static inline void virtio_blk_count_end(VirtIOBlockReq *req, uint8_t status)
{
    vq_stats_end(&req->queue->stats, req->kind, req->bytes,
                 status != VIRTIO_BLK_S_OK);
    virtio_blk_queue_drop(req->queue);
}

/**
 * virtio_blk_push:
 * @req: a request whose status has been written
 *
 * Put it into the used ring. The guest sees it, and is told, at the end of the
 * thread's defer_call() section, together with others; at once if there is no
 * section. The request can be freed.
 *
 * Context: the thread that serves @req's virtqueue.
 */
void virtio_blk_push(VirtIOBlockReq *req);

/**
 * virtio_blk_get_stats:
 * @req: a request that is complete, or merged
 *
 * Returns: where block_acct_done() and block_acct_merge_done() count it: in the
 * virtqueue's part of the disk's statistics, which no other virtqueue writes,
 * if the disk has neither intervals nor histograms.
 *
 * Context: the thread that serves @req's virtqueue.
 */
static inline BlockAcctStats *virtio_blk_get_stats(VirtIOBlockReq *req)
{
    BlockAcctStats *all = blk_get_stats(req->dev->blk);

    if (unlikely(qatomic_read(&all->intervals.slh_first) ||
                 qatomic_read(&all->latency_histogram[req->acct.type].bins))) {
        return all;
    }
    return &req->queue->acct;
}

/**
 * virtio_blk_sort:
 * @reqs: requests
 * @n: how many, up to VIRTIO_BLK_MAX_MERGE_REQS
 *
 * Sort by sector, those of the same sector stay in order.
 *
 * Context: any thread.
 */
void virtio_blk_sort(VirtIOBlockReq **reqs, unsigned n);

/**
 * virtio_blk_wait_for_restart:
 * @req: a request that is to be tried again when the VM continues
 *
 * Context: the thread that serves @req's virtqueue.
 */
void virtio_blk_wait_for_restart(VirtIOBlockReq *req);

/**
 * virtio_blk_set_restart:
 * @s: the disk
 * @restart: whether the VM has continued; false: it has stopped
 *
 * Have the requests that wait for a restart tried again, or not any more.
 *
 * Context: BQL held.
 */
void virtio_blk_set_restart(VirtIOBlock *s, bool restart);

/**
 * virtio_blk_restart_waiting:
 * @s: the disk
 *
 * Do what virtio_blk_set_restart() has asked for and could not be done then.
 * Each virtqueue's requests are tried again by the thread that serves it, but
 * not in a drained section, and not those of a virtqueue that is leaving its
 * owner or being closed: whatever ends that calls this again.
 *
 * Context: BQL held.
 */
void virtio_blk_restart_waiting(VirtIOBlock *s);

/**
 * virtio_blk_drop_waiting:
 * @s: the disk
 * @vq: a virtqueue that no owner serves, or NULL for all of them
 *
 * Forget requests that wait for a restart.
 *
 * Context: BQL held.
 */
void virtio_blk_drop_waiting(VirtIOBlock *s, VirtQueue *vq);

/* In virtio-blk.c: try a list of requests again; BH in who serves them */
void virtio_blk_dma_restart_bh(void *opaque);

/**
 * virtio_blk_free_request:
 * @req: a request that is complete
 *
 * Context: the thread that serves @req's virtqueue.
 */
static inline void virtio_blk_free_request(VirtIOBlockReq *req)
{
    vq_memory_free(&req->queue->memory, req, req->elem.kept);
}

/**
 * virtio_blk_drop_req:
 * @req: a request that the guest gets no answer to; it is freed
 *
 * Context: the thread that serves @req's virtqueue.
 */
static inline void virtio_blk_drop_req(VirtIOBlockReq *req)
{
    virtqueue_detach_element(req->vq, &req->elem, 0);
    virtio_blk_queue_drop(req->queue);
    virtio_blk_free_request(req);
}

#endif /* HW_BLOCK_VIRTIO_BLK_REQUESTS_H */
