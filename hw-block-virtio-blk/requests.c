/*
 * virtio-blk requests: from their virtqueue and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/requests.h"
#include "qemu/defer-call.h"

/*
 * The guest sees completions at least in such steps. More of them would save
 * next to nothing, and have the guest wait while it could prepare requests.
 */
#define MAX_FILLED 16

/* Context: the thread that serves the virtqueue, in an RCU critical section */
static void virtio_blk_flush(VirtIOBlkQueue *q)
{
    virtqueue_flush(q->vq, q->filled);
    q->filled = 0;
}

static void virtio_blk_flush_and_notify(void *opaque)
{
    VirtIOBlkQueue *q = opaque;

    WITH_RCU_READ_LOCK_GUARD() {
        if (q->filled) {
            virtio_blk_flush(q);
        }
    }
    if (qemu_in_iothread()) {
        virtio_notify_irqfd(&q->dev->parent_obj, q->vq);
    } else {
        virtio_notify(&q->dev->parent_obj, q->vq);
    }
}

void virtio_blk_push(VirtIOBlockReq *req)
{
    VirtIOBlkQueue *q = req->queue;

    WITH_RCU_READ_LOCK_GUARD() {
        virtqueue_fill(q->vq, &req->elem, req->in_len, q->filled++);
        if (q->filled > MAX_FILLED) {
            virtio_blk_flush(q);
        }
    }
    if (q->filled <= 1) {
        defer_call(virtio_blk_flush_and_notify, q);
    }
}

/* Insertion: they are few, and in order already if anything can be merged */
void virtio_blk_sort(VirtIOBlockReq **reqs, unsigned n)
{
    int64_t sectors[VIRTIO_BLK_MAX_MERGE_REQS];

    for (unsigned i = 0; i < n; i++) {
        VirtIOBlockReq *req = reqs[i];
        int64_t sector = req->sector_num;
        unsigned j;

        for (j = i; j > 0 && sectors[j - 1] > sector; j--) {
            sectors[j] = sectors[j - 1];
            reqs[j] = reqs[j - 1];
        }
        sectors[j] = sector;
        reqs[j] = req;
    }
}

void virtio_blk_wait_for_restart(VirtIOBlockReq *req)
{
    VirtIOBlock *s = req->dev;
    VirtIOBlkQueue *q = req->queue;

    WITH_QEMU_LOCK_GUARD(&s->rq_lock) {
        req->next = s->rq;
        s->rq = req;
        /* The last that the owner does with it, see VQ_LEAVING */
        virtio_blk_queue_wait(q);
    }
}

/*
 * Not while another owner is about to take it over, nor while the main loop is
 * about to give it away or to close it
 */
static bool virtio_blk_may_restart(const VirtIOBlkQueue *q)
{
    return q->state == VQ_CLOSED ||
           (vq_state_is_owned(q->state) && !vq_state_is_leaving(q->state) &&
            q->state != VQ_CLOSING && q->state != VQ_QUIET);
}

/* Take the requests of @q off the list, in the order in which it is */
static VirtIOBlockReq *virtio_blk_take_waiting(VirtIOBlkQueue *q)
{
    VirtIOBlock *s = q->dev;
    VirtIOBlockReq **link = &s->rq;
    VirtIOBlockReq *list = NULL;

    QEMU_LOCK_GUARD(&s->rq_lock);
    while (*link) {
        VirtIOBlockReq *req = *link;

        if (req->queue != q) {
            link = &req->next;
            continue;
        }
        *link = req->next;
        virtio_blk_queue_unwait(q);
        req->next = list;
        list = req;
    }
    return list;
}

void virtio_blk_set_restart(VirtIOBlock *s, bool restart)
{
    for (unsigned i = 0; i < s->queues->num; i++) {
        s->queues->q[i].restart = restart;
    }
    virtio_blk_restart_waiting(s);
}

void virtio_blk_restart_waiting(VirtIOBlock *s)
{
    BlockBackend *blk = s->conf.conf.blk;

    if (blk_in_drain(blk)) {
        return;
    }
    for (unsigned i = 0; i < s->queues->num; i++) {
        VirtIOBlkQueue *q = &s->queues->q[i];
        VirtIOBlockReq *reqs = NULL;

        if (q->restart && virtio_blk_may_restart(q)) {
            q->restart = false;
            reqs = virtio_blk_take_waiting(q);
        }
        if (reqs) {
            /* Both are taken back in virtio_blk_dma_restart_bh() */
            blk_inc_in_flight(blk);
            virtio_blk_queues_add_serving(s, 1);
            aio_bh_schedule_oneshot(q->state == VQ_CLOSED
                                    ? qemu_get_aio_context() : q->ctx,
                                    virtio_blk_dma_restart_bh, reqs);
        }
    }
}

void virtio_blk_drop_waiting(VirtIOBlock *s, VirtQueue *vq)
{
    for (unsigned i = 0; i < s->queues->num; i++) {
        VirtIOBlkQueue *q = &s->queues->q[i];
        VirtIOBlockReq *req;

        if (vq && q->vq != vq) {
            continue;
        }
        q->restart = false;
        req = virtio_blk_take_waiting(q);
        while (req) {
            VirtIOBlockReq *next = req->next;

            virtio_blk_drop_req(req);
            req = next;
        }
    }
}
