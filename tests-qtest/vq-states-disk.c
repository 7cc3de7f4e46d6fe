/*
 * A disk that is driven at random, and what its guest knows of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqos/pci.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "vq-states-disk.h"

#define RING_SIZE 64
#define PAGE 4096
#define TIMEOUT_US (60 * G_USEC_PER_SEC)

typedef struct Request {
    struct virtio_blk_outhdr hdr;
    uint8_t data[VQ_STATES_SECTOR];
    uint8_t status;
} Request;

static const VqRingLayout layout = {
    .size = RING_SIZE, .slots = VQ_STATES_DEPTH, .max_segments = 3,
};

static uint64_t request_addr(const VqStatesQueue *queue, unsigned id)
{
    return queue->addr + ROUND_UP(vq_ring_bytes(&layout), PAGE) +
           id * sizeof(Request);
}

static Request *get_request(VqStatesDisk *disk, const VqStatesQueue *queue,
                            unsigned id)
{
    return (Request *)(disk->ram + request_addr(queue, id));
}

void vq_states_disk_init(VqStatesDisk *disk, QTestState *qts, QPCIBus *pcibus,
                         QGuestAllocator *alloc, void *ram)
{
    size_t bytes = ROUND_UP(vq_ring_bytes(&layout), PAGE) +
                   ROUND_UP(VQ_STATES_DEPTH * sizeof(Request), PAGE);
    uint64_t addr = guest_alloc(alloc, VQ_STATES_QUEUES * bytes + PAGE);

    memset(disk, 0, sizeof(*disk));
    disk->qts = qts;
    disk->pcibus = pcibus;
    disk->ram = ram;
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        disk->queues[i].addr = ROUND_UP(addr, PAGE) + i * bytes;
    }
}

void vq_states_disk_found(VqStatesDisk *disk, VqStatesContents *contents)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(VQ_STATES_SLOT, 0) };

    /* libqos gives out addresses for ever; take them back later */
    disk->mmio_alloc_ptr = disk->pcibus->mmio_alloc_ptr;
    disk->pio_alloc_ptr = disk->pcibus->pio_alloc_ptr;
    disk->contents = contents;
    disk->pci = virtio_pci_new(disk->pcibus, &addr);
    g_assert_nonnull(disk->pci);
    qvirtio_pci_device_enable(disk->pci);
}

/* The device does not touch the ring of @queue any more */
static void forget_queue(VqStatesDisk *disk, unsigned vq)
{
    VqStatesQueue *queue = &disk->queues[vq];

    if (!queue->enabled) {
        return;
    }
    vq_states_disk_reap(disk, vq);
    for (unsigned id = 0; id < VQ_STATES_DEPTH; id++) {
        VqStatesSlot *slot = &queue->slots[id];
        VqStatesBlock *block = &disk->contents->blocks[slot->block];

        if (slot->busy) {
            slot->busy = block->busy = false;
            if (slot->write) {
                block->values[block->num++] = slot->value;
            }
            disk->dropped++;
        }
    }
    queue->busy = queue->added = 0;
    queue->enabled = false;
    vq_ring_cleanup(&queue->ring);
}

void vq_states_disk_gone(VqStatesDisk *disk)
{
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        forget_queue(disk, i);
    }
    qvirtio_pci_destructor(&disk->pci->obj);
    g_free(disk->pci);
    disk->pci = NULL;
    disk->pcibus->mmio_alloc_ptr = disk->mmio_alloc_ptr;
    disk->pcibus->pio_alloc_ptr = disk->pio_alloc_ptr;
}

static uint64_t common_cfg(VqStatesDisk *disk, size_t offset)
{
    return disk->pci->common_cfg_offset + offset;
}

void vq_states_disk_enable_queue(VqStatesDisk *disk, unsigned vq)
{
    VqStatesQueue *queue = &disk->queues[vq];
    QVirtQueue *qvq = &queue->vqpci.vq;
    QVirtioPCIDevice *pci = disk->pci;
    uint16_t notify_off;

    g_assert_false(queue->enabled);
    vq_ring_init(&queue->ring, &layout, disk->ram + queue->addr, queue->addr);
    qvq->vdev = &pci->vdev;
    qvq->index = vq;
    qvq->vdev->bus->queue_select(qvq->vdev, vq);
    qpci_io_writew(pci->pdev, pci->bar,
                   common_cfg(disk, offsetof(struct virtio_pci_common_cfg,
                                             queue_size)), RING_SIZE);
    qvq->desc = queue->ring.desc_addr;
    qvq->avail = queue->ring.driver_addr;
    qvq->used = queue->ring.device_addr;
    qvq->vdev->bus->set_queue_address(qvq->vdev, qvq);
    notify_off =
        qpci_io_readw(pci->pdev, pci->bar,
                      common_cfg(disk, offsetof(struct virtio_pci_common_cfg,
                                                queue_notify_off)));
    queue->vqpci.notify_offset = pci->notify_cfg_offset +
                                 notify_off * pci->notify_off_multiplier;
    qpci_io_writew(pci->pdev, pci->bar,
                   common_cfg(disk, offsetof(struct virtio_pci_common_cfg,
                                             queue_enable)), 1);
    queue->enabled = true;
}

void vq_states_disk_start(VqStatesDisk *disk, unsigned vqs)
{
    const uint64_t wanted = 1ull << VIRTIO_F_VERSION_1 |
                            1ull << VIRTIO_F_RING_RESET |
                            1ull << VIRTIO_BLK_F_MQ |
                            1ull << VIRTIO_BLK_F_FLUSH;
    QVirtioDevice *vdev = &disk->pci->vdev;

    qvirtio_set_acknowledge(vdev);
    qvirtio_set_driver(vdev);
    g_assert_cmphex(qvirtio_get_features(vdev) & wanted, ==, wanted);
    qvirtio_set_features(vdev, wanted);
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        if (vqs & (1u << i)) {
            vq_states_disk_enable_queue(disk, i);
        }
    }
    qvirtio_set_driver_ok(vdev);
}

void vq_states_disk_reset(VqStatesDisk *disk)
{
    qvirtio_reset(&disk->pci->vdev);
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        forget_queue(disk, i);
    }
}

void vq_states_disk_reset_queue(VqStatesDisk *disk, unsigned vq)
{
    uint64_t reset = common_cfg(disk, VIRTIO_PCI_COMMON_Q_RESET);
    QVirtioPCIDevice *pci = disk->pci;
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    pci->vdev.bus->queue_select(&pci->vdev, vq);
    qpci_io_writew(pci->pdev, pci->bar, reset, 1);
    while (qpci_io_readw(pci->pdev, pci->bar, reset)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
    forget_queue(disk, vq);
}

static void fill(uint8_t *data, uint32_t value)
{
    for (unsigned i = 0; i < VQ_STATES_SECTOR; i += sizeof(value)) {
        stl_le_p(data + i, value);
    }
}

bool vq_states_disk_add(VqStatesDisk *disk, unsigned vq, unsigned block,
                        bool write)
{
    VqStatesQueue *queue = &disk->queues[vq];
    VqRingSegment segments[3];
    Request *request;
    uint64_t addr;
    unsigned id = 0;

    g_assert_false(disk->contents->blocks[block].busy);
    while (id < VQ_STATES_DEPTH && queue->slots[id].busy) {
        id++;
    }
    if (id == VQ_STATES_DEPTH) {
        return false;
    }
    queue->slots[id] = (VqStatesSlot) {
        .busy = true, .write = write, .block = block,
        .value = write ? ++disk->next_value : 0,
    };
    disk->contents->blocks[block].busy = true;
    queue->busy++;
    queue->added++;
    disk->submitted++;

    request = get_request(disk, queue, id);
    addr = request_addr(queue, id);
    request->hdr = (struct virtio_blk_outhdr) {
        .type = cpu_to_le32(write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN),
        .sector = cpu_to_le64(block),
    };
    fill(request->data, write ? disk->next_value : 0xdeadbeef);
    request->status = 0xff;
    segments[0] = (VqRingSegment) {
        addr + offsetof(Request, hdr), sizeof(request->hdr), false
    };
    segments[1] = (VqRingSegment) {
        addr + offsetof(Request, data), sizeof(request->data), !write
    };
    segments[2] = (VqRingSegment) { addr + offsetof(Request, status), 1, true };
    vq_ring_add(&queue->ring, id, segments, ARRAY_SIZE(segments));
    return true;
}

bool vq_states_disk_kick(VqStatesDisk *disk, unsigned vq)
{
    VqStatesQueue *queue = &disk->queues[vq];
    bool kick = queue->added && vq_ring_publish(&queue->ring);

    queue->added = 0;
    if (kick) {
        disk->pci->vdev.bus->virtqueue_kick(&disk->pci->vdev,
                                            &queue->vqpci.vq);
    }
    return kick;
}

/* A read has returned @data, or a write has ended */
static void complete(VqStatesDisk *disk, const VqStatesSlot *slot,
                     const Request *request)
{
    VqStatesBlock *block = &disk->contents->blocks[slot->block];
    uint32_t value = slot->value;

    g_assert_cmpuint(request->status, ==, VIRTIO_BLK_S_OK);
    block->busy = false;
    if (!disk->contents->keeps_data) {
        value = 0;
    }
    if (!slot->write) {
        bool known = false;

        value = ldl_le_p(request->data);
        for (unsigned i = 0; i < VQ_STATES_SECTOR; i += sizeof(value)) {
            g_assert_cmphex(ldl_le_p(request->data + i), ==, value);
        }
        for (unsigned i = 0; i < block->num; i++) {
            known |= block->values[i] == value;
        }
        if (!known) {
            g_error("sector %u is 0x%x, which must be 0x%x (of %u)",
                    slot->block, value, block->values[0], block->num);
        }
    }
    block->values[0] = value;
    block->num = 1;
}

void vq_states_disk_reap(VqStatesDisk *disk, unsigned vq)
{
    VqStatesQueue *queue = &disk->queues[vq];
    uint32_t len;
    unsigned id;

    while (queue->enabled && vq_ring_reap(&queue->ring, &id, &len)) {
        VqStatesSlot *slot = &queue->slots[id];

        g_assert_cmpuint(id, <, VQ_STATES_DEPTH);
        /* Else it is complete twice, or never was submitted */
        g_assert_true(slot->busy);
        g_assert_cmpuint(len, ==, slot->write ? 1 : VQ_STATES_SECTOR + 1);
        complete(disk, slot, get_request(disk, queue, id));
        slot->busy = false;
        queue->busy--;
        disk->completed++;
    }
}
