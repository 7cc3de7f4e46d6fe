/*
 * VirtIOBlkQueue: a virtqueue of a disk and all that serving it touches
 *
 * Only the thread that serves a virtqueue writes what its requests touch, so
 * that needs no lock and shares no cache line with another virtqueue. Who that
 * is: the virtqueue's owner (see owners.h) in the states in which it has one
 * (see queue-state.h), else the main loop. A virtqueue passes from one to the
 * other when no request is in flight, with a bottom half or a wait in between
 * that orders them.
 *
 * The owner attaches and detaches the host notifier itself, in a bottom half.
 * That is why no handler can be running once the bottom half has been waited
 * for: the owner cannot be in both at once.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_QUEUE_H
#define HW_BLOCK_VIRTIO_BLK_QUEUE_H

#include "block/accounting.h"
#include "hw/block/virtio-blk/fast-path.h"
#include "hw/block/virtio-blk/owners.h"
#include "hw/block/virtio-blk/queue-state.h"
#include "hw/block/virtio-blk/vq-memory.h"
#include "hw/block/virtio-blk/vq-stats.h"

typedef struct VirtIOBlkQueue {
    /* Constant */
    struct VirtIOBlock *dev;
    VirtQueue *vq;
    uint16_t index;

    /*
     * Written with VirtIOBlkQueues.lock held, by virtio_blk_queue_step(); the
     * thread that serves the virtqueue and the main loop may read it without
     */
    VqState state;

    /*
     * The owner's. Written with the BQL and VirtIOBlkQueues.lock held, while no
     * owner serves the virtqueue.
     */
    AioContext *ctx;

    /* When it was detached to leave its owner, or 0; VirtIOBlkQueues.lock */
    int64_t left_at_ns;

    /* Requests taken and not complete; written by the thread that serves it */
    int32_t in_flight;

    /* How many of these wait for a restart (werror, rerror=stop); atomic */
    int32_t waiting;

    /* Shall they be restarted as soon as that can be? Protected by the BQL. */
    bool restart;

    /* Elements in the used ring not flushed yet; by who serves it */
    unsigned filled;

    /* By the thread that serves the virtqueue, see there */
    VqMemory memory;
    FastPath fast;

    /* What the virtqueue adds to the disk's statistics */
    BlockAcctStats acct;

    /* In cache lines of its own; see there for who writes and reads it */
    VqStats stats;
} VirtIOBlkQueue;

/* The virtqueues of a disk */
typedef struct VirtIOBlkQueues {
    /* For transitions; no request takes it */
    QemuMutex lock;

    /* Shall owners attach what is detached? @lock; written with the BQL */
    bool attach;

    /* Who may submit now: virtqueues in a serving state and restarts; @lock */
    unsigned num_serving;

    /* Bottom halves under way in owners and for them, atomic */
    unsigned num_bhs;

    unsigned num;           /* constant */
    VirtIOBlkQueue q[];
} VirtIOBlkQueues;

/**
 * virtio_blk_queues_new:
 * @s: the disk, with s->owners set
 *
 * Make s->queues, all of them closed.
 *
 * Context: BQL held.
 */
void virtio_blk_queues_new(struct VirtIOBlock *s);

/**
 * virtio_blk_queues_free:
 * @s: the disk, all virtqueues closed and no request in flight
 *
 * Context: BQL held.
 */
void virtio_blk_queues_free(struct VirtIOBlock *s);

/**
 * virtio_blk_queue_step:
 * @q: a virtqueue
 * @cause: what happens to it
 *
 * Bring it to the state that queue-state.h says. Whoever calls this does what
 * makes the new state true.
 *
 * Context: VirtIOBlkQueues.lock held; the owner's thread for VQ_OWNER, else
 * BQL held.
 */
void virtio_blk_queue_step(VirtIOBlkQueue *q, VqCause cause);

/**
 * virtio_blk_queue_set_owner:
 * @q: a virtqueue that no owner serves
 * @owner: its owner from now on; takes the reference
 *
 * Context: BQL and VirtIOBlkQueues.lock held.
 */
void virtio_blk_queue_set_owner(VirtIOBlkQueue *q, VqOwner *owner);

/**
 * virtio_blk_queues_attach:
 * @s: the disk, not in a drained section
 *
 * Have each owner attach its virtqueue's host notifier and look at the ring
 * once, so that no kick from before is lost; those that arrive later at another
 * owner as well, until virtio_blk_queues_detach() or
 * virtio_blk_queues_close_all().
 * Does not wait.
 *
 * Context: BQL held.
 */
void virtio_blk_queues_attach(struct VirtIOBlock *s);

/**
 * virtio_blk_queues_detach:
 * @s: the disk
 *
 * Have each owner detach its virtqueue's host notifier. Does not wait: an owner
 * may be in its virtqueue's handler until virtio_blk_queues_busy() is false.
 *
 * Context: BQL held.
 */
void virtio_blk_queues_detach(struct VirtIOBlock *s);

/**
 * virtio_blk_queues_close:
 * @s: the disk
 * @first: index of the first virtqueue
 * @end: index of the last one, plus 1
 *
 * Have owners detach these virtqueues for good, and wait for it. They are QUIET
 * or CLOSED then, and nothing but releasing their host notifiers changes that.
 *
 * Context: BQL held. Runs the event loop until the owners have done it, which
 * does not depend on requests in flight.
 */
void virtio_blk_queues_close(struct VirtIOBlock *s, unsigned first,
                             unsigned end);

/**
 * virtio_blk_queues_close_all:
 * @s: the disk
 *
 * virtio_blk_queues_close() for all virtqueues, and none is attached before the
 * next virtio_blk_queues_attach().
 *
 * Context: as above.
 */
void virtio_blk_queues_close_all(struct VirtIOBlock *s);

/**
 * virtio_blk_queues_final_poll:
 * @s: the disk, after virtio_blk_queues_close_all()
 *
 * Have each owner look at its host notifier once more, so that requests kicked
 * before the call have been submitted when it returns.
 *
 * Context: BQL held. Runs the event loop, as above.
 */
void virtio_blk_queues_final_poll(struct VirtIOBlock *s);

/**
 * virtio_blk_queues_sync:
 * @s: the disk
 *
 * Wait until each owner has come back to its event loop. A request is no longer
 * in flight when its completion is put into the ring; telling the guest waits
 * for the end of the owner's defer_call() section.
 *
 * Context: BQL held. Runs the event loop, as above.
 */
void virtio_blk_queues_sync(struct VirtIOBlock *s);

/**
 * virtio_blk_queues_busy:
 * @s: the disk
 *
 * For AIO_WAIT_WHILE() and .drained_poll(), which are woken when it changes.
 *
 * Returns: whether an owner has yet to do what it was told last.
 *
 * Context: any thread.
 */
bool virtio_blk_queues_busy(struct VirtIOBlock *s);

/**
 * virtio_blk_queue_leave:
 * @q: a virtqueue
 *
 * Have it leave its owner. virtio_blk_remap_arrive() is called when none of its
 * requests is in flight any more, but for those that wait for a restart.
 * Nothing happens to one that no owner serves. Does not wait.
 *
 * Context: BQL and VirtIOBlkQueues.lock held.
 */
void virtio_blk_queue_leave(VirtIOBlkQueue *q);

/**
 * virtio_blk_queue_stay:
 * @q: a virtqueue
 *
 * Take virtio_blk_queue_leave() back. Does not wait.
 *
 * Context: BQL and VirtIOBlkQueues.lock held.
 */
void virtio_blk_queue_stay(VirtIOBlkQueue *q);

/**
 * virtio_blk_queues_add_serving:
 * @s: the disk
 * @n: 1 before, -1 after
 *
 * Who restarts requests may submit them while a drained section begins, as the
 * owners may: the section waits for them. In the block layer's queue instead,
 * such a request would be in flight for as long as the section lasts, and end
 * when the disk may be stopped, or the virtqueue another owner's. That queue is
 * for those who submit when the owners have detached.
 *
 * Context: any thread.
 */
void virtio_blk_queues_add_serving(struct VirtIOBlock *s, int n);

/* See virtio_blk_queue_drop(): have the owner look whether it is idle now */
void virtio_blk_queue_request_left(VirtIOBlkQueue *q);

static inline void virtio_blk_queue_add_in_flight(VirtIOBlkQueue *q, int n)
{
    int32_t in_flight = q->in_flight + n;

    qatomic_set(&q->in_flight, in_flight);
    if (in_flight > q->stats.max_in_flight) {
        qatomic_set(&q->stats.max_in_flight, in_flight);
    }
}

/**
 * virtio_blk_queue_begin:
 * @q: a virtqueue
 * @n: which request of its batch it is, from 1
 *
 * Count a request as taken from the ring, and in flight.
 *
 * Context: the thread that serves the virtqueue.
 */
static inline void virtio_blk_queue_begin(VirtIOBlkQueue *q, uint32_t n)
{
    vq_stats_begin(&q->stats, n);
    virtio_blk_queue_add_in_flight(q, 1);
}

/**
 * virtio_blk_queue_drop:
 * @q: a virtqueue
 *
 * Count a request as no longer in flight.
 *
 * Context: the thread that serves the virtqueue.
 */
static inline void virtio_blk_queue_drop(VirtIOBlkQueue *q)
{
    qatomic_set(&q->in_flight, q->in_flight - 1);
    if (unlikely(qatomic_read(&q->state) == VQ_LEAVING)) {
        virtio_blk_queue_request_left(q);
    }
}

/**
 * virtio_blk_queue_wait:
 * @q: a virtqueue
 *
 * A request waits for a restart: it is in flight and does not end.
 *
 * Context: the thread that serves the virtqueue.
 */
static inline void virtio_blk_queue_wait(VirtIOBlkQueue *q)
{
    qatomic_inc(&q->waiting);
    if (unlikely(qatomic_read(&q->state) == VQ_LEAVING)) {
        virtio_blk_queue_request_left(q);
    }
}

/**
 * virtio_blk_queue_unwait:
 * @q: a virtqueue
 *
 * A request that waited is about to be tried again, or dropped.
 *
 * Context: BQL held, and @q not leaving its owner.
 */
static inline void virtio_blk_queue_unwait(VirtIOBlkQueue *q)
{
    qatomic_dec(&q->waiting);
}

#endif /* HW_BLOCK_VIRTIO_BLK_QUEUE_H */
