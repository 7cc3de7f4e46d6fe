/*
 * virtio-blk requests: complete them in batches
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
static void virtio_blk_flush(VqEntry *entry)
{
    virtqueue_flush(entry->vq, entry->filled);
    entry->filled = 0;
}

static void virtio_blk_flush_and_notify(void *opaque)
{
    VqEntry *entry = opaque;

    WITH_RCU_READ_LOCK_GUARD() {
        if (entry->filled) {
            virtio_blk_flush(entry);
        }
    }
    if (qemu_in_iothread()) {
        virtio_notify_irqfd(entry->table->vdev, entry->vq);
    } else {
        virtio_notify(entry->table->vdev, entry->vq);
    }
}

void virtio_blk_push(VirtIOBlockReq *req)
{
    VqEntry *entry = container_of(req->stats, VqEntry, stats);

    WITH_RCU_READ_LOCK_GUARD() {
        virtqueue_fill(entry->vq, &req->elem, req->in_len, entry->filled++);
        if (entry->filled > MAX_FILLED) {
            virtio_blk_flush(entry);
        }
    }
    if (entry->filled <= 1) {
        defer_call(virtio_blk_flush_and_notify, entry);
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
