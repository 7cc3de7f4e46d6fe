/*
 * VirtIOBlkQueue: a virtqueue of a disk and all that serving it touches
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "hw/block/virtio-blk/queue.h"
#include "hw/block/virtio-blk/remap.h"
#include "hw/virtio/virtio-blk.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "trace.h"

void virtio_blk_queues_new(VirtIOBlock *s)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    BlockBackend *blk = s->conf.conf.blk;
    unsigned num = s->owners->num_vqs;
    size_t size = sizeof(*s->queues) + num * sizeof(s->queues->q[0]);

    s->queues = qemu_memalign(VQ_CACHE_LINE, size);
    memset(s->queues, 0, size);
    qemu_mutex_init(&s->queues->lock);
    s->queues->num = num;
    for (unsigned i = 0; i < num; i++) {
        VirtIOBlkQueue *q = &s->queues->q[i];

        q->dev = s;
        q->vq = virtio_get_queue(vdev, i);
        q->index = i;
        q->ctx = vq_owners_get_aio_context(s->owners, i);
        virtio_queue_set_memory(q->vq, &q->memory);
        virtio_blk_fast_init(&q->fast, blk);
        block_acct_add_part(blk_get_stats(blk), &q->acct);
    }
}

void virtio_blk_queues_free(VirtIOBlock *s)
{
    BlockBackend *blk = s->conf.conf.blk;

    assert(!virtio_blk_queues_busy(s));
    for (unsigned i = 0; i < s->queues->num; i++) {
        VirtIOBlkQueue *q = &s->queues->q[i];

        assert(q->state == VQ_CLOSED);
        block_acct_remove_part(blk_get_stats(blk), &q->acct);
        virtio_blk_fast_cleanup(&q->fast);
        virtio_queue_set_memory(q->vq, NULL);
        vq_memory_cleanup(&q->memory);
    }
    qemu_mutex_destroy(&s->queues->lock);
    qemu_vfree(s->queues);
    s->queues = NULL;
}

/*
 * While anybody is serving, nothing is queued by the block layer; that is why
 * virtio_blk_drained_poll() can wait for it. Context: lock held.
 */
static void virtio_blk_queues_count_serving(VirtIOBlock *s, int n)
{
    bool before = s->queues->num_serving > 0;

    s->queues->num_serving += n;
    if (before != (s->queues->num_serving > 0)) {
        blk_set_disable_request_queuing(s->conf.conf.blk, !before);
    }
}

void virtio_blk_queues_add_serving(VirtIOBlock *s, int n)
{
    QEMU_LOCK_GUARD(&s->queues->lock);
    virtio_blk_queues_count_serving(s, n);
}

void virtio_blk_queue_step(VirtIOBlkQueue *q, VqCause cause)
{
    VqState old_state = q->state;
    VqState state = vq_state_next(old_state, cause);

    assert(state != VQ_FORBIDDEN);
    if (state == old_state) {
        return;
    }
    trace_virtio_blk_queue_state(q->dev->owners->name, q->index,
                                 vq_state_name(old_state),
                                 vq_state_name(state));
    qatomic_set(&q->state, state);
    virtio_blk_queues_count_serving(q->dev, vq_state_is_serving(state) -
                                            vq_state_is_serving(old_state));
}

void virtio_blk_queue_set_owner(VirtIOBlkQueue *q, VqOwner *owner)
{
    assert(!vq_state_is_serving(q->state));
    vq_owners_set(q->dev->owners, q->index, owner);
    q->ctx = vq_owner_get_aio_context(owner);
}

/* Have @ctx run @cb, which ends with virtio_blk_queues_done() */
static void virtio_blk_queues_schedule(VirtIOBlock *s, AioContext *ctx,
                                       QEMUBHFunc *cb, void *opaque)
{
    qatomic_inc(&s->queues->num_bhs);
    aio_bh_schedule_oneshot(ctx, cb, opaque);
}

/* Context: BH, which touches the disk no more */
static void virtio_blk_queues_done(VirtIOBlock *s)
{
    /*
     * A reader of the new value also sees what the bottom half has done; the
     * disk may be gone from here on. Pairs with load-acquire in
     * virtio_blk_queues_busy().
     */
    qatomic_dec(&s->queues->num_bhs);
    aio_wait_kick();
}

bool virtio_blk_queues_busy(VirtIOBlock *s)
{
    /* Pairs with qatomic_dec() in virtio_blk_queues_done() */
    return qatomic_load_acquire(&s->queues->num_bhs) > 0;
}

/* Context: BQL held. Runs the event loop. */
static void virtio_blk_queues_wait(VirtIOBlock *s)
{
    AIO_WAIT_WHILE_UNLOCKED(NULL, virtio_blk_queues_busy(s));
}

/* Context: owner's thread, lock held */
static void virtio_blk_queue_attach(VirtIOBlkQueue *q)
{
    VqOwners *owners = q->dev->owners;

    trace_virtio_blk_queue_attach(owners->name, q->index,
                                  vq_owner_get_name(owners->of_vq[q->index]));
    virtio_blk_fast_open(&q->fast);
    virtio_queue_aio_attach_host_notifier(q->vq, q->ctx);
    virtio_blk_queue_step(q, VQ_OWNER);
}

/* Context: owner's thread, lock held */
static void virtio_blk_queue_detach(VirtIOBlkQueue *q)
{
    VqOwners *owners = q->dev->owners;

    trace_virtio_blk_queue_detach(owners->name, q->index,
                                  vq_owner_get_name(owners->of_vq[q->index]));
    virtio_queue_aio_detach_host_notifier(q->vq, q->ctx);
    virtio_blk_fast_close(&q->fast);
    if (q->state == VQ_EVICTING) {
        q->left_at_ns = get_clock();
    }
    virtio_blk_queue_step(q, VQ_OWNER);
}

/* Is nothing of it in flight but what waits for a restart? */
static bool virtio_blk_queue_is_idle(const VirtIOBlkQueue *q)
{
    return qatomic_read(&q->in_flight) == qatomic_read(&q->waiting);
}

/* Context: BH in the main loop, BQL held */
static void virtio_blk_queue_arrive_bh(void *opaque)
{
    VirtIOBlkQueue *q = opaque;
    VirtIOBlock *s = q->dev;

    /* It may have stayed, or been closed, in between */
    if (q->state == VQ_LEAVING && virtio_blk_queue_is_idle(q)) {
        virtio_blk_remap_arrive(q);
    }
    virtio_blk_queues_done(s);
}

/*
 * Do what the owner was told. Context: owner's thread, not in the handler, lock
 * held
 */
static void virtio_blk_queue_obey(VirtIOBlkQueue *q)
{
    VirtIOBlock *s = q->dev;

    if (vq_state_is_handled(q->state) && q->state != VQ_ATTACHED) {
        virtio_blk_queue_detach(q);
        if (s->queues->attach) {
            /* A drained section that has ended already */
            virtio_blk_queue_step(q, VQ_ATTACH);
        }
    }
    if (q->state == VQ_ATTACHING) {
        virtio_blk_queue_attach(q);
    }
    if (q->state == VQ_LEAVING && virtio_blk_queue_is_idle(q)) {
        virtio_blk_queues_schedule(s, qemu_get_aio_context(),
                                   virtio_blk_queue_arrive_bh, q);
    }
    virtio_blk_remap_obeyed(q);
}

/* Context: BH in the owner's thread */
static void virtio_blk_queue_obey_bh(void *opaque)
{
    VirtIOBlkQueue *q = opaque;
    VirtIOBlock *s = q->dev;

    WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
        if (q->ctx == qemu_get_current_aio_context()) {
            virtio_blk_queue_obey(q);
        }
    }
    virtio_blk_queues_done(s);
}

/* Context: BQL and lock held */
static void virtio_blk_queue_tell(VirtIOBlkQueue *q)
{
    if (q->ctx == qemu_get_current_aio_context()) {
        virtio_blk_queue_obey(q);
    } else {
        virtio_blk_queues_schedule(q->dev, q->ctx, virtio_blk_queue_obey_bh, q);
    }
}

/* Context: BQL and lock held */
static void virtio_blk_queue_step_and_tell(VirtIOBlkQueue *q, VqCause cause)
{
    VqState old_state = q->state;

    virtio_blk_queue_step(q, cause);
    if (q->state != old_state) {
        virtio_blk_queue_tell(q);
    }
}

void virtio_blk_queues_attach(VirtIOBlock *s)
{
    QEMU_LOCK_GUARD(&s->queues->lock);
    s->queues->attach = true;
    for (unsigned i = 0; i < s->queues->num; i++) {
        virtio_blk_queue_step_and_tell(&s->queues->q[i], VQ_ATTACH);
    }
}

void virtio_blk_queues_detach(VirtIOBlock *s)
{
    QEMU_LOCK_GUARD(&s->queues->lock);
    s->queues->attach = false;
    for (unsigned i = 0; i < s->queues->num; i++) {
        virtio_blk_queue_step_and_tell(&s->queues->q[i], VQ_DETACH);
    }
}

void virtio_blk_queues_close(VirtIOBlock *s, unsigned first, unsigned end)
{
    WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
        for (unsigned i = first; i < end; i++) {
            virtio_blk_queue_step_and_tell(&s->queues->q[i], VQ_CLOSE);
        }
    }
    virtio_blk_queues_wait(s);
}

void virtio_blk_queues_close_all(VirtIOBlock *s)
{
    WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
        s->queues->attach = false;
    }
    virtio_blk_queues_close(s, 0, s->queues->num);
}

/* Context: BH in the owner's thread */
static void virtio_blk_queue_final_poll_bh(void *opaque)
{
    VirtIOBlkQueue *q = opaque;

    virtio_queue_host_notifier_read(virtio_queue_get_host_notifier(q->vq));
    virtio_blk_queues_done(q->dev);
}

void virtio_blk_queues_final_poll(VirtIOBlock *s)
{
    for (unsigned i = 0; i < s->queues->num; i++) {
        VirtIOBlkQueue *q = &s->queues->q[i];

        if (q->state == VQ_QUIET) {
            virtio_blk_queues_schedule(s, q->ctx,
                                       virtio_blk_queue_final_poll_bh, q);
        }
    }
    virtio_blk_queues_wait(s);
}

/* Context: BH in the owner's thread */
static void virtio_blk_queues_done_bh(void *opaque)
{
    virtio_blk_queues_done(opaque);
}

void virtio_blk_queues_sync(VirtIOBlock *s)
{
    VqOwner *owner;

    QLIST_FOREACH(owner, &s->owners->list, next) {
        virtio_blk_queues_schedule(s, vq_owner_get_aio_context(owner),
                                   virtio_blk_queues_done_bh, s);
    }
    virtio_blk_queues_wait(s);
}

void virtio_blk_queue_leave(VirtIOBlkQueue *q)
{
    VqState old_state = q->state;

    virtio_blk_queue_step(q, VQ_LEAVE);
    if (q->state == old_state) {
        return;
    }
    if (q->state == VQ_LEAVING) {
        q->left_at_ns = get_clock();
    }
    /* Not at once, even in the main loop: it may be in the handler's caller */
    virtio_blk_queues_schedule(q->dev, q->ctx, virtio_blk_queue_obey_bh, q);
}

void virtio_blk_queue_stay(VirtIOBlkQueue *q)
{
    VqState old_state = q->state;

    virtio_blk_queue_step(q, VQ_STAY);
    if (q->state != old_state && q->state == VQ_DETACHED &&
        q->dev->queues->attach) {
        virtio_blk_queue_step_and_tell(q, VQ_ATTACH);
    }
}

void virtio_blk_queue_request_left(VirtIOBlkQueue *q)
{
    if (virtio_blk_queue_is_idle(q)) {
        /* The main loop may have taken it, before a drained section's end */
        virtio_blk_queues_schedule(q->dev, q->ctx, virtio_blk_queue_obey_bh, q);
    }
}
