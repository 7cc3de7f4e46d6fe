/*
 * virtio-blk: give virtqueues to other IOThreads while the VM runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block_int.h"
#include "hw/block/virtio-blk/find.h"
#include "hw/block/virtio-blk/ioeventfd.h"
#include "hw/block/virtio-blk/node-jobs.h"
#include "hw/block/virtio-blk/remap.h"
#include "hw/block/virtio-blk/requests.h"
#include "hw/block/virtio-blk/vq-plan.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-virtio-blk-queues.h"
#include "qapi/qapi-events-virtio-blk-queues.h"
#include "qapi/qapi-visit-iothread-vq-mapping.h"
#include "qemu/timer.h"
#include "trace.h"

/*
 * The node follows in a drained section, which keeps the guest's requests
 * waiting. It is given up if it does not get the node to itself so soon.
 */
#define NODE_TIMEOUT_NS (1 * NANOSECONDS_PER_SECOND)

/* And if the node's jobs do not pause so soon */
#define JOBS_TIMEOUT_NS (10 * NANOSECONDS_PER_SECOND)

/* Of one virtqueue */
typedef struct VqMoveQueue {
    bool pending;           /* is it not with @goal yet? */
    VqOwner *goal;          /* counted reference while pending */
    bool listed;            /* did it leave an owner? then: */
    char *from;             /* its owner before, NULL for the main loop */
    uint64_t unserved_ns;   /* under VirtIOBlkQueues.lock */
} VqMoveQueue;

typedef enum VqMovePhase {
    VQ_MOVE_QUEUES,         /* some have not arrived */
    VQ_MOVE_JOBS,           /* the jobs of the node are being paused */
    VQ_MOVE_NODE,           /* the node is being drained */
} VqMovePhase;

/* Protected by the BQL where not said otherwise */
struct VqMove {
    VirtIOBlock *s;
    VqMovePhase phase;
    QEMUTimer timer;        /* in phases other than QUEUES: look again */
    int64_t deadline_ns;    /* of the phase */
    unsigned entered;       /* how often the event loop is run on its behalf */
    bool ended;             /* and has the remap ended in there? */
    bool again;             /* are there other goals than at the last check? */
    GSList *jobs;           /* of the node, paused */
    BlockDriverState *bs;   /* quiesced; counted reference */
    VqMoveQueue queues[];
};

static void remap_check(VirtIOBlock *s);

/* Context: BH, BQL held */
static void remap_check_bh(void *opaque)
{
    VirtIOBlock *s = opaque;

    remap_check(s);
    object_unref(OBJECT(s));
}

/* Look soon whether all have arrived. Context: any thread */
static void remap_check_later(VirtIOBlock *s)
{
    object_ref(OBJECT(s));
    aio_bh_schedule_oneshot(qemu_get_aio_context(), remap_check_bh, s);
}

/* Context: lock held */
static void remap_count_unserved(VirtIOBlkQueue *q)
{
    VqMove *move = q->dev->move;

    if (move && q->left_at_ns) {
        move->queues[q->index].unserved_ns += get_clock() - q->left_at_ns;
    }
    q->left_at_ns = 0;
}

void virtio_blk_remap_obeyed(VirtIOBlkQueue *q)
{
    if (q->dev->move) {
        if (q->state == VQ_ATTACHED) {
            remap_count_unserved(q);
        }
        remap_check_later(q->dev);
    }
}

/* It is with its goal. Context: BQL and lock held, @q not served by an owner */
static void remap_set_owner(VqMove *move, VirtIOBlkQueue *q)
{
    VqMoveQueue *mq = &move->queues[q->index];

    virtio_blk_queue_set_owner(q, mq->goal);
    mq->goal = NULL;
    mq->pending = false;
}

void virtio_blk_remap_arrive(VirtIOBlkQueue *q)
{
    VirtIOBlock *s = q->dev;

    WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
        remap_set_owner(s->move, q);
        virtio_blk_queue_step(q, VQ_ARRIVE);
        if (!s->queues->attach) {
            remap_count_unserved(q);
        }
    }
    if (s->queues->attach) {
        virtio_blk_queues_attach(s);
    }
    virtio_blk_restart_waiting(s);
    remap_check_later(s);
}

void virtio_blk_remap_released(VirtIOBlkQueue *q)
{
    VirtIOBlock *s = q->dev;

    if (!s->move) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
        if (s->move->queues[q->index].pending) {
            remap_set_owner(s->move, q);
        }
        remap_count_unserved(q);
    }
    remap_check_later(s);
}

VirtioBlkQueueRemap *virtio_blk_remap_query(VirtIOBlkQueue *q)
{
    VqMove *move = q->dev->move;
    VirtioBlkQueueRemap *info;
    int32_t requests;

    if (!move || !move->queues[q->index].pending) {
        return NULL;
    }
    requests = qatomic_read(&q->in_flight) - qatomic_read(&q->waiting);
    info = g_new0(VirtioBlkQueueRemap, 1);
    info->iothread = move->queues[q->index].goal ?
                     g_strdup(move->queues[q->index].goal->name) : NULL;
    info->requests = MAX(requests, 0);
    return info;
}

/*
 * Around what runs the event loop, in which another command, a stop or an
 * unplug can end the remap. Returns: false if it has, and @move is gone.
 */
static void remap_enter(VqMove *move)
{
    move->entered++;
}

static bool remap_leave(VqMove *move)
{
    if (--move->entered == 0 && move->ended) {
        g_free(move);
        return false;
    }
    return true;
}

/*
 * Let go of the node and its jobs, and of time. These may be the last
 * references to them, and their end runs the event loop. Returns: as
 * remap_leave().
 */
static bool remap_release_node(VqMove *move)
{
    timer_del(&move->timer);
    move->phase = VQ_MOVE_QUEUES;
    remap_enter(move);
    if (move->bs) {
        BlockDriverState *bs = g_steal_pointer(&move->bs);

        bdrv_drained_end(bs);
        bdrv_unref(bs);
    }
    node_jobs_resume(g_steal_pointer(&move->jobs));
    return remap_leave(move);
}

void virtio_blk_remap_interrupt(VirtIOBlock *s)
{
    if (s->move) {
        remap_release_node(s->move);
        remap_check_later(s);
    }
}

static void remap_free(VirtIOBlock *s)
{
    VqMove *move = s->move;

    WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
        s->move = NULL;
    }
    for (unsigned i = 0; i < s->queues->num; i++) {
        vq_owners_release(move->queues[i].goal);
        g_free(move->queues[i].from);
    }
    move->ended = true;
    remap_release_node(move);
}

void virtio_blk_remap_cancel(VirtIOBlock *s)
{
    if (s->move) {
        remap_free(s);
    }
}

static VirtioBlkRemappedQueueList *remap_list_queues(VqMove *move)
{
    VirtIOBlock *s = move->s;
    VirtioBlkRemappedQueueList *list = NULL;
    VirtioBlkRemappedQueueList **tail = &list;

    for (unsigned i = 0; i < s->queues->num; i++) {
        const VqMoveQueue *mq = &move->queues[i];
        const VqOwner *owner = s->owners->of_vq[i];
        VirtioBlkRemappedQueue *info;

        if (!mq->listed) {
            continue;
        }
        info = g_new0(VirtioBlkRemappedQueue, 1);
        info->index = i;
        info->from = g_strdup(mq->from);
        info->to = owner ? g_strdup(owner->name) : NULL;
        info->unserved_ns = mq->unserved_ns;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

/* Say what has become of it, and forget it */
static void remap_end(VqMove *move, VirtioBlkRemapNode node)
{
    VirtIOBlock *s = move->s;
    g_autofree char *path = object_get_canonical_path(OBJECT(s));
    g_autoptr(VirtioBlkRemappedQueueList) queues = NULL;
    g_autofree char *id =
        g_strdup(vq_owners_get_device(VIRTIO_DEVICE(s))->id);

    WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
        for (unsigned i = 0; i < s->queues->num; i++) {
            /* Arrived in a drained section that has begun since */
            remap_count_unserved(&s->queues->q[i]);
        }
    }
    queues = remap_list_queues(move);
    trace_virtio_blk_remap_end(s->owners->name, VirtioBlkRemapNode_str(node));
    remap_free(s);
    qapi_event_send_virtio_blk_remapped(id, path, queues, node);
}

static void remap_enter_phase(VqMove *move, VqMovePhase phase,
                              int64_t timeout_ns)
{
    move->phase = phase;
    move->deadline_ns = get_clock() + timeout_ns;
}

/* Look again in a millisecond. Context: BQL held */
static void remap_check_timed(VqMove *move)
{
    timer_mod(&move->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + 1);
}

static bool remap_is_late(const VqMove *move)
{
    return get_clock() > move->deadline_ns;
}

/* Is the block node not where a start would put it? */
static bool remap_node_follows(VirtIOBlock *s)
{
    return s->ioeventfd_started && blk_bs(s->conf.conf.blk) &&
           blk_get_aio_context(s->conf.conf.blk) !=
           vq_owners_get_aio_context(s->owners, 0);
}

/* Begin a drained section of the node, and wait for nothing */
static void remap_quiesce_node(VqMove *move)
{
    move->bs = blk_bs(move->s->conf.conf.blk);
    bdrv_ref(move->bs);
    bdrv_do_drained_begin_quiesce(move->bs, NULL);
}

static bool remap_node_is_busy(VqMove *move)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    return bdrv_drain_poll(move->bs, NULL, false);
}

/* The node is drained, so this waits for nothing but who reads the graph */
static void remap_move_node(VqMove *move)
{
    VirtIOBlock *s = move->s;
    int r;

    if (blk_bs(s->conf.conf.blk) != move->bs) {
        remap_end(move, VIRTIO_BLK_REMAP_NODE_BUSY);
        return;
    }
    remap_enter(move);
    r = blk_set_aio_context(s->conf.conf.blk,
                            vq_owners_get_aio_context(s->owners, 0), NULL);
    if (!remap_leave(move)) {
        return;
    }
    if (move->phase != VQ_MOVE_NODE || move->again) {
        /* Interrupted, or other goals have come */
        remap_check_later(s);
        return;
    }
    remap_end(move, r == 0 ? VIRTIO_BLK_REMAP_NODE_MOVED
                           : VIRTIO_BLK_REMAP_NODE_IN_USE);
}

/*
 * All virtqueues have arrived: have the node follow, step by step, because each
 * may have to wait for the storage
 */
static void remap_check_node(VqMove *move)
{
    VirtIOBlock *s = move->s;

    if (!remap_node_follows(s)) {
        remap_end(move, VIRTIO_BLK_REMAP_NODE_SAME);
        return;
    }
    if (s->ioeventfd_stopping) {
        /* The end of that calls remap_check() */
        return;
    }

    if (move->phase == VQ_MOVE_QUEUES) {
        remap_enter_phase(move, VQ_MOVE_JOBS, JOBS_TIMEOUT_NS);
    }
    if (move->phase == VQ_MOVE_JOBS &&
        node_jobs_try_pause(s->conf.conf.blk, &move->jobs)) {
        remap_enter_phase(move, VQ_MOVE_NODE, NODE_TIMEOUT_NS);
        remap_quiesce_node(move);
    }
    if (move->phase == VQ_MOVE_NODE && !remap_node_is_busy(move)) {
        remap_move_node(move);
    } else if (remap_is_late(move)) {
        remap_end(move, VIRTIO_BLK_REMAP_NODE_BUSY);
    } else {
        remap_check_timed(move);
    }
}

/* Has @q nothing to do for the remap any more? Context: BQL and lock held */
static bool remap_queue_arrived(VqMove *move, VirtIOBlkQueue *q)
{
    return !move->queues[q->index].pending &&
           !(move->queues[q->index].listed &&
             (q->state == VQ_ATTACHING || q->state == VQ_DETACHING));
}

/* Context: BQL held, in the main loop */
static void remap_check(VirtIOBlock *s)
{
    VqMove *move = s->move;
    bool arrived = true;

    /* Whoever runs the event loop looks again */
    if (!move || move->entered) {
        return;
    }
    if (move->again) {
        move->again = false;
        if (!remap_release_node(move)) {
            return;
        }
    }
    WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
        for (unsigned i = 0; i < s->queues->num; i++) {
            arrived &= remap_queue_arrived(move, &s->queues->q[i]);
        }
    }
    if (arrived) {
        remap_check_node(move);
    }
}

static void remap_timer_cb(void *opaque)
{
    VqMove *move = opaque;
    VirtIOBlock *s = move->s;

    object_ref(OBJECT(s));
    remap_check(s);
    object_unref(OBJECT(s));
}

static VqMove *remap_new(VirtIOBlock *s)
{
    VqMove *move = g_malloc0(sizeof(*move) +
                             s->queues->num * sizeof(move->queues[0]));

    move->s = s;
    /* Runs also where somebody polls the main loop's AioContext */
    aio_timer_init(qemu_get_aio_context(), &move->timer, QEMU_CLOCK_REALTIME,
                   SCALE_MS, remap_timer_cb, move);
    return move;
}

/* Give @q to @goal, whose reference this takes. Context: BQL and lock held */
static void remap_queue(VqMove *move, VirtIOBlkQueue *q, VqOwner *goal)
{
    VqMoveQueue *mq = &move->queues[q->index];
    VqOwner *owner = q->dev->owners->of_vq[q->index];

    vq_owners_release(mq->goal);
    mq->goal = goal;
    mq->pending = owner != goal;
    if (!mq->pending) {
        vq_owners_release(goal);
        mq->goal = NULL;
        virtio_blk_queue_stay(q);
        if (q->state == VQ_DETACHED) {
            remap_count_unserved(q);
        }
        return;
    }
    if (!mq->listed) {
        mq->listed = true;
        mq->from = owner ? g_strdup(owner->name) : NULL;
    }
    if (vq_state_is_owned(q->state)) {
        virtio_blk_queue_leave(q);
    } else {
        remap_set_owner(move, q);
    }
}

/* The properties say from now on what the user has asked for */
static void remap_set_properties(VirtIOBlock *s, IOThread *const *iothreads,
                                 const IOThreadVirtQueueMappingList *list)
{
    VirtIOBlkConf *conf = &s->conf;
    g_autofree VqOwner **goals = g_new(VqOwner *, s->queues->num);

    qapi_free_IOThreadVirtQueueMappingList(conf->iothread_vq_mapping_list);
    conf->iothread_vq_mapping_list =
        QAPI_CLONE(IOThreadVirtQueueMappingList,
                   (IOThreadVirtQueueMappingList *)list);

    /* What the link holds could not be deleted */
    object_unref(OBJECT(conf->iothread));
    conf->iothread = NULL;

    for (unsigned i = 0; i < s->queues->num; i++) {
        goals[i] = vq_owners_hold(s->owners, iothreads[i]);
    }
    qapi_free_IOThreadVirtQueueMappingList(s->iothread_vq_mapping_resolved);
    s->iothread_vq_mapping_resolved = vq_owners_get_mapping(goals,
                                                            s->queues->num);
    for (unsigned i = 0; i < s->queues->num; i++) {
        vq_owners_release(goals[i]);
    }
}

void qmp_virtio_blk_set_iothread_vq_mapping(const char *id,
                                            bool has_iothread_vq_mapping,
                                            IOThreadVirtQueueMappingList *list,
                                            bool has_main_loop, bool main_loop,
                                            Error **errp)
{
    g_autofree IOThread **iothreads = NULL;
    VirtIOBlock *s;

    if (has_iothread_vq_mapping == (has_main_loop && main_loop)) {
        error_setg(errp, "Exactly one of 'iothread-vq-mapping' and "
                   "'main-loop': true must be given");
        return;
    }
    if (has_iothread_vq_mapping &&
        !vq_plan_check_list("iothread-vq-mapping", list, errp)) {
        return;
    }
    s = virtio_blk_find(id, errp);
    if (!s) {
        return;
    }
    iothreads = vq_owners_plan(s->owners, list, errp);
    if (!iothreads ||
        (list && !compat_blk_may_use_iothread(s->conf.conf.blk, errp))) {
        return;
    }

    trace_virtio_blk_remap(s->owners->name, s->move != NULL);
    if (s->move) {
        s->move->again = true;
    } else {
        VqMove *move = remap_new(s);

        WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
            s->move = move;
        }
    }
    /* First, so that no IOThread is released and held again */
    remap_set_properties(s, iothreads, list);
    WITH_QEMU_LOCK_GUARD(&s->queues->lock) {
        for (unsigned i = 0; i < s->queues->num; i++) {
            remap_queue(s->move, &s->queues->q[i],
                        vq_owners_hold(s->owners, iothreads[i]));
        }
    }
    virtio_blk_restart_waiting(s);
    remap_check_later(s);
}
