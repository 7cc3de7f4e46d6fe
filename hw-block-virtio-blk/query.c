/*
 * virtio-blk virtqueues as the monitor sees them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/find.h"
#include "hw/block/virtio-blk/ioeventfd.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-virtio-blk-queues.h"

static VirtioBlkRequestStats *query_requests(const VqStats *stats,
                                             VqRequestKind kind)
{
    VirtioBlkRequestStats *info = g_new0(VirtioBlkRequestStats, 1);

    info->requests = vq_stats_read(stats, kind, &info->bytes);
    return info;
}

static VirtioBlkQueue *query_vq(VirtIOBlock *s, uint16_t i)
{
    const VqStats *stats = vq_table_get_stats(s->vq_table, i);
    VirtioBlkQueue *info = g_new0(VirtioBlkQueue, 1);
    VirtQueueEvents events;
    int thread_id;

    info->index = i;
    info->enabled = virtio_blk_has_ring(s, i);
    info->iothread = g_strdup(vq_table_get_thread(s->vq_table, i, &thread_id));
    info->thread_id = thread_id;

    info->in_flight = vq_stats_in_flight(stats);
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

    info->id = g_strdup(vq_table_get_device(VIRTIO_DEVICE(s))->id);
    info->path = object_get_canonical_path(OBJECT(s));
    info->num_queues = s->conf.num_queues;
    info->ioeventfd_started = s->ioeventfd_started;
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

VirtioBlkQueuesList *qmp_query_virtio_blk_queues(const char *device,
                                                 Error **errp)
{
    VirtioBlkQueuesList *list = NULL;
    VirtioBlkQueuesList **tail = &list;

    if (device) {
        VirtIOBlock *s = virtio_blk_find(device, errp);

        if (s) {
            QAPI_LIST_APPEND(tail, query_disk(s));
        }
    } else {
        object_child_foreach_recursive(object_get_root(), query_child, &tail);
    }
    return list;
}
