/*
 * virtio-blk requests: count them
 *
 * virtio-blk.c calls these functions where a request begins and ends. They are
 * on the path of every request, and inline for that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_REQUESTS_H
#define HW_BLOCK_VIRTIO_BLK_REQUESTS_H

#include "hw/block/virtio-blk/vq-table.h"
#include "hw/virtio/virtio-blk.h"

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
    vq_stats_end(req->stats, req->kind, req->bytes,
                 status != VIRTIO_BLK_S_OK);
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
    VqEntry *entry = container_of(req->stats, VqEntry, stats);
    BlockAcctStats *all = blk_get_stats(req->dev->blk);

    if (unlikely(qatomic_read(&all->intervals.slh_first) ||
                 qatomic_read(&all->latency_histogram[req->acct.type].bins))) {
        return all;
    }
    return &entry->acct;
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
 * virtio_blk_park:
 * @req: a request that is to be tried again when the VM continues
 *
 * Context: the thread that serves @req's virtqueue.
 */
static inline void virtio_blk_park(VirtIOBlockReq *req)
{
    VirtIOBlock *s = req->dev;

    WITH_QEMU_LOCK_GUARD(&s->rq_lock) {
        req->next = s->rq;
        s->rq = req;
    }
    vq_stats_park(req->stats);
}

/**
 * virtio_blk_free_request:
 * @req: a request that is complete
 *
 * Context: the thread that serves @req's virtqueue.
 */
static inline void virtio_blk_free_request(VirtIOBlockReq *req)
{
    VqEntry *entry = container_of(req->stats, VqEntry, stats);

    vq_memory_free(&entry->memory, req, req->elem.kept);
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
    vq_stats_drop(req->stats);
    virtio_blk_free_request(req);
}

#endif /* HW_BLOCK_VIRTIO_BLK_REQUESTS_H */
