/*
 * virtio-blk virtqueues in HMP
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/compat.h"
#include "hw/block/virtio-blk/hmp.h"
#include "hw/block/virtio-blk/vq-plan.h"
#include "monitor/hmp.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-virtio-blk-queues.h"

#define MAIN_LOOP "(main loop)"

/* For it in virtio_blk_remap; QMP has an IOThread of that name */
#define MAIN_LOOP_WORD "main-loop"

static void hmp_print_vq(Monitor *mon, const VirtioBlkQueue *vq, int width)
{
    uint64_t others = vq->flush->requests + vq->discard->requests +
                      vq->write_zeroes->requests + vq->other->requests;

    monitor_printf(mon, "%4u  %-*s  %8" PRId64, vq->index, width,
                   vq->iothread ?: MAIN_LOOP, vq->thread_id);
    if (!vq->enabled) {
        monitor_printf(mon, "  not set up by the guest\n");
        return;
    }
    monitor_printf(mon, " %9u %5u %11" PRIu64 " %11" PRIu64 " %9" PRIu64
                   " %7" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64
                   " %10" PRIu64 "\n",
                   vq->in_flight, vq->max_in_flight, vq->read->requests,
                   vq->write->requests, others, vq->failed,
                   vq->notifications, vq->polls, vq->batches,
                   vq->interrupts);
}

/* Why a remap takes its time */
static void hmp_print_remap(Monitor *mon, const VirtioBlkQueue *vq)
{
    if (vq->remap) {
        monitor_printf(mon,
                       "      remapped to %s, %s, waits for %u request%s\n",
                       vq->remap->iothread ?: MAIN_LOOP,
                       VirtioBlkQueueState_str(vq->state), vq->remap->requests,
                       vq->remap->requests == 1 ? "" : "s");
    }
}

static void hmp_print_disk(Monitor *mon, const VirtioBlkQueues *disk)
{
    int width = strlen(MAIN_LOOP);

    for (VirtioBlkQueueList *l = disk->queues; l; l = l->next) {
        if (l->value->iothread) {
            width = MAX(width, strlen(l->value->iothread));
        }
    }

    monitor_printf(mon, "%s: %u virtqueue%s, %s\n", disk->id ?: disk->path,
                   disk->num_queues, disk->num_queues == 1 ? "" : "s",
                   disk->ioeventfd_started ? "ioeventfd started" :
                   "ioeventfd not started, served by the main loop");
    monitor_printf(mon, "%4s  %-*s  %8s %9s %5s %11s %11s %9s %7s %9s %9s %9s"
                   " %10s\n", "vq", width, "iothread", "thread", "in-flight",
                   "max", "reads", "writes", "others", "failed", "notified",
                   "polls", "batches", "interrupts");
    for (VirtioBlkQueueList *l = disk->queues; l; l = l->next) {
        hmp_print_vq(mon, l->value, width);
        hmp_print_remap(mon, l->value);
    }
}

void hmp_info_virtio_blk_queues(Monitor *mon, const QDict *qdict)
{
    const char *id = qdict_get_try_str(qdict, "id");
    g_autoptr(VirtioBlkQueuesList) disks = NULL;
    Error *err = NULL;

    disks = qmp_query_virtio_blk_queues(id, &err);
    if (hmp_handle_error(mon, err)) {
        return;
    }
    if (!disks) {
        monitor_printf(mon, "No virtio-blk disks\n");
    }
    for (VirtioBlkQueuesList *l = disks; l; l = l->next) {
        hmp_print_disk(mon, l->value);
    }
}

void hmp_virtio_blk_remap(Monitor *mon, const QDict *qdict)
{
    const char *text = qdict_get_str(qdict, "mapping");
    bool main_loop = !strcmp(text, MAIN_LOOP_WORD);
    g_autoptr(IOThreadVirtQueueMappingList) list = NULL;
    Error *err = NULL;

    if (!main_loop) {
        list = vq_plan_list_from_text(text, &err);
    }
    if (!err) {
        qmp_virtio_blk_set_iothread_vq_mapping(qdict_get_str(qdict, "id"),
                                               !main_loop, list, main_loop,
                                               main_loop, &err);
    }
    hmp_handle_error(mon, err);
}
