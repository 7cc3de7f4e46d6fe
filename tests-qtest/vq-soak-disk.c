/*
 * A disk that comes and goes beside one under load, with a request at a time in
 * each virtqueue
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_blk.h"
#include "vq-plug.h"
#include "vq-soak-disk.h"

#define MAX_RING 1024 /* 10.0 takes no other size from a legacy driver */
#define SECTOR 512
#define SECTORS 128
#define TIMEOUT_US (180 * G_USEC_PER_SEC)

struct VqSoakRequest {
    struct virtio_blk_outhdr hdr;
    uint8_t data[SECTOR];
    uint8_t status;
};

static VqRingLayout ring_layout(unsigned size)
{
    VqRingLayout layout = { .size = size, .slots = 1, .max_segments = 3 };

    return layout;
}

void vq_soak_disk_init(VqSoakDisk *disk, VqGuest *guest, unsigned slot)
{
    VqRingLayout layout = ring_layout(MAX_RING);
    size_t ring_bytes = vq_ring_bytes(&layout);
    size_t bytes = ring_bytes + ROUND_UP(sizeof(VqSoakRequest), 4096);
    int fd = g_file_open_tmp("vq-soak.XXXXXX", &disk->image, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, SECTORS * SECTOR), ==, 0);
    close(fd);
    disk->guest = guest;
    disk->slot = slot;
    disk->memory = guest_alloc(&guest->alloc, VQ_SOAK_QUEUES * bytes);
    for (unsigned i = 0; i < VQ_SOAK_QUEUES; i++) {
        VqSoakQueue *queue = &disk->queues[i];

        queue->ring_addr = disk->memory + i * bytes;
        queue->request_addr = queue->ring_addr + ring_bytes;
        queue->request = guest->ram + queue->request_addr;
    }
}

void vq_soak_disk_cleanup(VqSoakDisk *disk)
{
    g_unlink(disk->image);
    g_free(disk->image);
    guest_free(&disk->guest->alloc, disk->memory);
}

static void start_driver(VqSoakDisk *disk)
{
    QVirtioDevice *vdev = &disk->pci->vdev;

    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, 1ull << VIRTIO_BLK_F_MQ);

    for (unsigned i = 0; i < VQ_SOAK_QUEUES; i++) {
        VqSoakQueue *queue = &disk->queues[i];
        QVirtQueue vq = { .vdev = vdev, .index = i, .align = 4096 };
        VqRingLayout layout;

        vdev->bus->queue_select(vdev, i);
        layout = ring_layout(vdev->bus->get_queue_size(vdev));
        g_assert_cmpuint(layout.size, <=, MAX_RING);
        vq_ring_init(&queue->ring, &layout,
                     disk->guest->ram + queue->ring_addr, queue->ring_addr);
        vq.desc = queue->ring_addr;
        vdev->bus->set_queue_address(vdev, &vq);
    }
    qvirtio_set_driver_ok(vdev);
}

void vq_soak_disk_plug(VqSoakDisk *disk, const char *properties)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(disk->slot, 0) };
    g_autofree char *node = g_strdup_printf("node%u", disk->slot);
    g_autofree char *json = g_strdup_printf(
        "{\"driver\":\"virtio-blk-pci\",\"id\":\"plugged%u\",\"addr\":"
        "\"%02x.0\",\"drive\":\"%s\",\"num-queues\":%d,\"disable-modern\":"
        "true,\"disable-legacy\":\"off\",%s}", disk->slot, disk->slot, node,
        VQ_SOAK_QUEUES, properties);

    qtest_qmp_assert_success(disk->guest->qts, "{'execute': 'blockdev-add',"
                             " 'arguments': {'driver': 'file',"
                             "  'node-name': %s, 'filename': %s}}", node,
                             disk->image);
    vq_plug(disk->guest->qts, json);
    disk->pci = virtio_pci_new(disk->guest->pcibus, &addr);
    g_assert_nonnull(disk->pci);
    qvirtio_pci_device_enable(disk->pci);
    start_driver(disk);
}

/* Have virtqueue @index handle its request */
static void submit(VqSoakDisk *disk, unsigned index, uint32_t type,
                   uint64_t sector)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    QVirtioDevice *vdev = &disk->pci->vdev;
    VqSoakQueue *queue = &disk->queues[index];
    QVirtQueue vq = { .vdev = vdev, .index = index };
    uint64_t addr = queue->request_addr;
    VqRingSegment segments[] = {
        { .addr = addr + offsetof(VqSoakRequest, hdr),
          .len = sizeof(queue->request->hdr) },
        { .addr = addr + offsetof(VqSoakRequest, data), .len = SECTOR,
          .device_writes = type == VIRTIO_BLK_T_IN },
        { .addr = addr + offsetof(VqSoakRequest, status), .len = 1,
          .device_writes = true },
    };
    unsigned id;
    uint32_t len;

    queue->request->hdr.type = cpu_to_le32(type);
    queue->request->hdr.sector = cpu_to_le64(sector);
    queue->request->status = 0xff;
    vq_ring_add(&queue->ring, 0, segments, ARRAY_SIZE(segments));
    vq_ring_publish(&queue->ring);
    vdev->bus->virtqueue_kick(vdev, &vq);
    while (!vq_ring_reap(&queue->ring, &id, &len)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(20);
    }
    g_assert_cmpuint(queue->request->status, ==, VIRTIO_BLK_S_OK);
}

void vq_soak_disk_check(VqSoakDisk *disk)
{
    disk->round++;
    for (unsigned i = 0; i < VQ_SOAK_QUEUES; i++) {
        unsigned other = (i + 1) % VQ_SOAK_QUEUES;
        VqSoakQueue *reader = &disk->queues[other];
        uint64_t sector = (disk->round + i) % SECTORS;
        uint8_t pattern = disk->round * VQ_SOAK_QUEUES + disk->slot + i;

        memset(disk->queues[i].request->data, pattern, SECTOR);
        submit(disk, i, VIRTIO_BLK_T_OUT, sector);
        memset(reader->request->data, ~pattern, SECTOR);
        submit(disk, other, VIRTIO_BLK_T_IN, sector);
        for (unsigned byte = 0; byte < SECTOR; byte++) {
            g_assert_cmphex(reader->request->data[byte], ==, pattern);
        }
    }
}

void vq_soak_disk_begin_unplug(VqSoakDisk *disk)
{
    g_autofree char *id = g_strdup_printf("plugged%u", disk->slot);

    qtest_qmp_device_del_send(disk->guest->qts, id);
    vq_plug_eject(disk->guest->qts, disk->slot);
}

static void cleanup_rings(VqSoakDisk *disk)
{
    for (unsigned i = 0; i < VQ_SOAK_QUEUES; i++) {
        vq_ring_cleanup(&disk->queues[i].ring);
    }
}

void vq_soak_disk_end_unplug(VqSoakDisk *disk)
{
    g_autofree char *id = g_strdup_printf("plugged%u", disk->slot);
    g_autofree char *node = g_strdup_printf("node%u", disk->slot);

    vq_plug_wait_gone(disk->guest->qts, id);
    qtest_qmp_assert_success(disk->guest->qts, "{'execute': 'blockdev-del',"
                             " 'arguments': {'node-name': %s}}", node);
    cleanup_rings(disk);
    qvirtio_pci_destructor(&disk->pci->obj);
    g_free(disk->pci);
}

void vq_soak_disk_reset(VqSoakDisk *disk)
{
    qvirtio_reset(&disk->pci->vdev);
    cleanup_rings(disk);
    start_driver(disk);
}
