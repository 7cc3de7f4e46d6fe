/*
 * virtio-blk virtqueues as the monitor sees them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/find.h"
#include "hw/block/virtio-blk/ioeventfd.h"
#include "hw/block/virtio-blk/remap.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-virtio-blk-queues.h"

static VirtioBlkRequestStats *query_requests(const VqStats *stats,
                                             VqRequestKind kind)
{
    VirtioBlkRequestStats *info = g_new0(VirtioBlkRequestStats, 1);

    info->requests = vq_stats_read(stats, kind, &info->bytes);
    return info;
}

/* The schema has the states in the same order */
QEMU_BUILD_BUG_ON((int)VIRTIO_BLK_QUEUE_STATE_CLOSED != (int)VQ_CLOSED);
QEMU_BUILD_BUG_ON((int)VIRTIO_BLK_QUEUE_STATE_ATTACHED != (int)VQ_ATTACHED);
QEMU_BUILD_BUG_ON((int)VIRTIO_BLK_QUEUE_STATE_LEAVING != (int)VQ_LEAVING);
QEMU_BUILD_BUG_ON((int)VIRTIO_BLK_QUEUE_STATE_QUIET != (int)VQ_QUIET);
QEMU_BUILD_BUG_ON((int)VIRTIO_BLK_QUEUE_STATE__MAX != (int)VQ_NUM_STATES);

static VirtioBlkQueueState query_state(const VirtIOBlkQueue *q)
{
    return (VirtioBlkQueueState)qatomic_read(&q->state);
}

static VirtioBlkQueue *query_vq(VirtIOBlock *s, uint16_t i)
{
    VirtIOBlkQueue *q = &s->queues->q[i];
    const VqOwner *owner = s->owners->of_vq[i];
    const VqStats *stats = &q->stats;
    VirtioBlkQueue *info = g_new0(VirtioBlkQueue, 1);
    VirtQueueEvents events;

    info->index = i;
    info->enabled = virtio_blk_has_ring(s, i);
    info->iothread = owner ? g_strdup(owner->name) : NULL;
    info->thread_id = vq_owner_get_thread_id(owner);
    info->state = query_state(q);
    info->remap = virtio_blk_remap_query(q);

    info->in_flight = qatomic_read(&q->in_flight);
    info->waiting = MAX(qatomic_read(&q->waiting), 0);
    info->max_in_flight = qatomic_read(&stats->max_in_flight);
    info->read = query_requests(stats, VQ_REQUEST_READ);
    info->write = query_requests(stats, VQ_REQUEST_WRITE);
    info->flush = query_requests(stats, VQ_REQUEST_FLUSH);
    info->discard = query_requests(stats, VQ_REQUEST_DISCARD);
    info->write_zeroes = query_requests(stats, VQ_REQUEST_WRITE_ZEROES);
    info->other = query_requests(stats, VQ_REQUEST_OTHER);
    info->failed = qatomic_read_u64(&stats->failed);
    info->batches = qatomic_read_u64(&stats->batches);
    info->max_batch = qatomic_read(&stats->max_batch);
    info->fast_requests = qatomic_read_u64(&stats->fast_requests);

    virtio_queue_get_events(virtio_get_queue(VIRTIO_DEVICE(s), i), &events);
    info->notifications = events.notifications;
    info->polls = events.polls;
    info->interrupts = events.interrupts;
    return info;
}

static VirtioBlkQueues *query_disk(VirtIOBlock *s)
{
    VirtioBlkQueues *info = g_new0(VirtioBlkQueues, 1);
    VirtioBlkQueueList **tail = &info->queues;

    info->id = g_strdup(vq_owners_get_device(VIRTIO_DEVICE(s))->id);
    info->path = object_get_canonical_path(OBJECT(s));
    info->num_queues = s->conf.num_queues;
    info->ioeventfd_started = s->ioeventfd_started;
    info->remapping = s->move != NULL;
    for (unsigned i = 0; i < s->conf.num_queues; i++) {
        QAPI_LIST_APPEND(tail, query_vq(s, i));
    }
    return info;
}

static int query_child(Object *obj, void *opaque)
{
    VirtioBlkQueuesList ***tail = opaque;
    VirtIOBlock *s = virtio_blk_cast(obj);

    if (s) {
        QAPI_LIST_APPEND(*tail, query_disk(s));
    }
    return 0;
}

VirtioBlkQueuesList *qmp_query_virtio_blk_queues(const char *id,
                                                 Error **errp)
{
    VirtioBlkQueuesList *list = NULL;
    VirtioBlkQueuesList **tail = &list;

    if (id) {
        VirtIOBlock *s = virtio_blk_find(id, errp);

        if (s) {
            QAPI_LIST_APPEND(tail, query_disk(s));
        }
    } else {
        object_child_foreach_recursive(object_get_root(), query_child, &tail);
    }
    return list;
}
