/*
 * virtio-blk: give virtqueues to other IOThreads while the VM runs
 *
 *     QMP command, a coroutine
 *       --> remap_begin_bh()  validate, plan, hold the IOThreads, tell the
 *                             owners
 *       --> remap_end()       when all virtqueues have arrived: release the
 *                             old IOThreads, have the block node follow
 *
 * The main loop goes on in between, so whatever happens to a disk can happen:
 * it is drained, stopped, reset or unplugged. Whoever waits for the virtqueue
 * table then waits for the virtqueues on their way as well.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/find.h"
#include "hw/block/virtio-blk/ioeventfd.h"
#include "hw/block/virtio-blk/node-jobs.h"
#include "hw/block/virtio-blk/vq-plan.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-virtio-blk-queues.h"
#include "qapi/qapi-visit-iothread-vq-mapping.h"
#include "qemu/coroutine.h"
#include "qemu/timer.h"

typedef struct Remap {
    const char *device;
    const IOThreadVirtQueueMappingList *list;   /* NULL: to the main loop */
    Coroutine *co;

    VirtIOBlock *s;         /* counted reference, NULL before there is one */
    VqTable *table;         /* the one that s had */
    VirtioBlkRemap *result;
    Error *err;

    /* For the node to follow, once all have arrived */
    GSList *jobs;           /* of the node, paused */
    QEMUTimer timer;        /* to look again whether they are */
} Remap;

/* The properties say from now on what the user has asked for */
static void remap_set_properties(VirtIOBlock *s,
                                 const IOThreadVirtQueueMappingList *list)
{
    VirtIOBlkConf *conf = &s->conf;

    qapi_free_IOThreadVirtQueueMappingList(conf->iothread_vq_mapping_list);
    conf->iothread_vq_mapping_list =
        QAPI_CLONE(IOThreadVirtQueueMappingList,
                   (IOThreadVirtQueueMappingList *)list);

    /* What the link holds could not be deleted */
    object_unref(OBJECT(conf->iothread));
    conf->iothread = NULL;

    qapi_free_IOThreadVirtQueueMappingList(s->iothread_vq_mapping_resolved);
    s->iothread_vq_mapping_resolved = vq_table_get_mapping(s->vq_table);
}

static void remap_end(void *opaque);

/* Returns: true if the move has begun, false with @errp set if nothing has */
static bool remap_begin(Remap *remap, Error **errp)
{
    g_autofree IOThread **owners = NULL;
    VirtIOBlock *s = virtio_blk_find(remap->device, errp);
    VirtIODevice *vdev;

    if (!s) {
        return false;
    }
    vdev = VIRTIO_DEVICE(s);
    if (vq_table_get_device(vdev)->pending_deleted_event) {
        error_setg(errp, "Device %s is already in the process of unplug",
                   remap->device);
        return false;
    }
    if (vq_table_is_moving(s->vq_table)) {
        error_setg(errp, "Device '%s' is being mapped to other IOThreads "
                   "already", remap->device);
        return false;
    }

    owners = vq_table_plan(s->vq_table, vdev, remap->list, errp);
    if (!owners ||
        (remap->list && !compat_blk_may_use_iothread(s->conf.conf.blk, errp))) {
        return false;
    }

    /* What a start, or the end of a drained section, has set off */
    vq_table_quiesce(s->vq_table);

    object_ref(OBJECT(s));
    remap->s = s;
    remap->table = s->vq_table;
    vq_table_move(s->vq_table, owners, remap_end, remap);
    remap_set_properties(s, remap->list);
    return true;
}

/* Context: BH, BQL held */
static void remap_begin_bh(void *opaque)
{
    Remap *remap = opaque;

    if (!remap_begin(remap, &remap->err)) {
        aio_co_wake(remap->co);
    }
}

static VirtioBlkMoveList *remap_list_moves(VqTable *table)
{
    VirtioBlkMoveList *list = NULL;
    VirtioBlkMoveList **tail = &list;

    for (unsigned i = 0; i < table->num_vqs; i++) {
        const VqEntry *entry = &table->entries[i];
        VirtioBlkMove *info;

        if (!entry->moved) {
            continue;
        }
        info = g_new0(VirtioBlkMove, 1);
        info->index = i;
        info->from = g_strdup(entry->old_user ? entry->old_user->name : NULL);
        info->to = g_strdup(entry->user ? entry->user->name : NULL);
        info->away_ns = entry->away_ns;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

/* Is the block node not where a start would put it? */
static bool remap_node_follows(VirtIOBlock *s)
{
    return s->ioeventfd_started && blk_get_aio_context(s->conf.conf.blk) !=
           vq_table_get_aio_context(s->vq_table, 0);
}

/*
 * Have it go there, for its jobs and other users. Returns: why it cannot, to
 * be freed by the caller, or NULL
 */
static char *remap_node(VirtIOBlock *s)
{
    Error *local_err = NULL;
    char *reason;

    if (!remap_node_follows(s) ||
        blk_set_aio_context(s->conf.conf.blk,
                            vq_table_get_aio_context(s->vq_table, 0),
                            &local_err) == 0) {
        return NULL;
    }
    reason = g_strdup(error_get_pretty(local_err));
    error_free(local_err);
    return reason;
}

/* Context: BH or timer in the main loop, BQL held */
static void remap_end(void *opaque)
{
    Remap *remap = opaque;
    VirtIOBlock *s = remap->s;

    if (s->vq_table != remap->table) {
        error_setg(&remap->err, "Device '%s' was unplugged", remap->device);
    } else if (remap_node_follows(s) &&
               !node_jobs_try_pause(s->conf.conf.blk, &remap->jobs)) {
        /* A timer that also runs while somebody waits for this to end */
        aio_timer_init(qemu_get_aio_context(), &remap->timer,
                       QEMU_CLOCK_REALTIME, SCALE_MS, remap_end, remap);
        timer_mod(&remap->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + 1);
        return;
    } else {
        remap->result = g_new0(VirtioBlkRemap, 1);
        remap->result->moved = remap_list_moves(s->vq_table);
        vq_table_end_move(s->vq_table);
        remap->result->node_stays = remap_node(s);
    }
    node_jobs_resume(remap->jobs);
    object_unref(OBJECT(s));
    aio_co_wake(remap->co);
}

VirtioBlkRemap *coroutine_fn
qmp_virtio_blk_set_iothread_vq_mapping(const char *device,
                                       bool has_iothread_vq_mapping,
                                       IOThreadVirtQueueMappingList *list,
                                       Error **errp)
{
    Remap remap = {
        .device = device,
        .list = list,
        .co = qemu_coroutine_self(),
    };

    if (has_iothread_vq_mapping &&
        !vq_plan_check_list("iothread-vq-mapping", list, errp)) {
        return NULL;
    }

    /* What it does is not for coroutines: it waits, and drains the node */
    aio_bh_schedule_oneshot(qemu_get_aio_context(), remap_begin_bh, &remap);
    qemu_coroutine_yield();
    error_propagate(errp, remap.err);
    return remap.result;
}
