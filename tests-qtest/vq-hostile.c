/*
 * A guest that writes into its rings what it likes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/mman.h>
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_config.h"
#include "vq-hostile.h"

/* A test that takes longer than that hangs */
#define WATCHDOG_S 120

#define PROPERTIES                                                      \
    ",\"serial\":\"0123456789\",\"iothread-vq-mapping\":["              \
    "{\"iothread\":\"iothread0\"},{\"iothread\":\"iothread1\"},"        \
    "{\"iothread\":\"iothread2\"},{\"iothread\":\"iothread3\"}]"

static void map_ram(Guest *g)
{
    int fd = g_file_open_tmp("vq-hostile.XXXXXX", &g->ram_path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, RAM_SIZE), ==, 0);
    g->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(g->ram != MAP_FAILED);
    close(fd);
}

Guest *hostile_new(bool packed, bool slow, bool shared)
{
    Guest *g = g_new0(Guest, 1);
    g_autoptr(GString) args = g_string_new(vq_test_blk_pci.more_traces);

    g->device = vq_test_blk_pci;
    g->packed = packed;
    g->slow = slow;
    if (slow) {
        g_string_append_printf(args, " -blockdev driver=null-co,"
                               "node-name=slow,size=%d,latency-ns=%d",
                               VQ_TEST_DISK_SIZE, LATENCY_US * 1000);
        g->device.drive = ",\"drive\":\"slow\"";
    }
    if (shared) {
        map_ram(g);
        g_string_append_printf(args, " -object memory-backend-file,id=ram,"
                               "share=on,size=128M,mem-path=%s", g->ram_path);
        g->device.machine = "pc,memory-backend=ram";
    }
    g->device.more_traces = args->str;
    g->t = vq_test_new(&g->device, QUEUES, QUEUES,
                       packed ? PROPERTIES ",\"packed\":true" : PROPERTIES);
    g->device.more_traces = NULL;
    /* Far from the sectors that are asked for here */
    g->t->next_sector = 10000;

    g->dog = vq_watchdog_begin(qtest_pid(g->t->qts), WATCHDOG_S);
    return g;
}

void hostile_free(Guest *g)
{
    vq_test_free(g->t);
    vq_watchdog_end(g->dog);
    if (g->ram) {
        munmap(g->ram, RAM_SIZE);
        g_unlink(g->ram_path);
        g_free(g->ram_path);
    }
    g_free(g);
}

void common_write(Guest *g, size_t field, uint16_t value)
{
    QVirtioPCIDevice *pci = g->t->pci;

    qpci_io_writew(pci->pdev, pci->bar, pci->common_cfg_offset + field, value);
}

void queue_enable(Guest *g, unsigned index, unsigned size, uint64_t desc,
                  uint64_t driver, uint64_t device)
{
    QVirtioPCIDevice *pci = g->t->pci;
    QVirtQueue vq = {
        .vdev = &pci->vdev, .index = index,
        .desc = desc, .avail = driver, .used = device,
    };
    uint16_t notify_off;

    pci->vdev.bus->queue_select(&pci->vdev, index);
    common_write(g, COMMON(queue_size), size);
    pci->vdev.bus->set_queue_address(&pci->vdev, &vq);
    notify_off = qpci_io_readw(pci->pdev, pci->bar, pci->common_cfg_offset +
                               COMMON(queue_notify_off));
    common_write(g, COMMON(queue_enable), 1);
    if (index < QUEUES) {
        g->rings[index].next = 0;
        g->rings[index].notify = pci->notify_cfg_offset +
                                 notify_off * pci->notify_off_multiplier;
    }
}

void queue_setup(Guest *g, unsigned index)
{
    qtest_memset(g->t->qts, DESC(index), 0, 128 * KiB);
    queue_enable(g, index, RING_SIZE, DESC(index), DRIVER(index),
                 DEVICE(index));
}

void negotiate(Guest *g)
{
    QVirtioDevice *vdev = g->t->vdev;
    uint64_t refused = QVIRTIO_F_BAD_FEATURE |
                       (1ull << VIRTIO_RING_F_EVENT_IDX);

    qvirtio_start_device(vdev);
    if (!g->packed) {
        refused |= 1ull << VIRTIO_F_RING_PACKED;
    }
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) & ~refused);
}

void start_driver(Guest *g)
{
    negotiate(g);
    for (unsigned i = 0; i < QUEUES; i++) {
        queue_setup(g, i);
    }
    qvirtio_set_driver_ok(g->t->vdev);
}

static void write_desc(Guest *g, uint64_t addr, Desc d)
{
    struct vring_desc split = {
        .addr = cpu_to_le64(d.addr), .len = cpu_to_le32(d.len),
        .flags = cpu_to_le16(d.flags), .next = cpu_to_le16(d.next),
    };
    struct vring_packed_desc packed = {
        .addr = cpu_to_le64(d.addr), .len = cpu_to_le32(d.len),
        .flags = cpu_to_le16(d.flags), .id = cpu_to_le16(d.next),
    };

    QEMU_BUILD_BUG_ON(sizeof(split) != sizeof(packed));
    qtest_memwrite(g->t->qts, addr, g->packed ? (void *)&packed : &split,
                   sizeof(split));
}

void write_table(Guest *g, const Desc *desc, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        Desc d = desc[i];

        d.next = g->packed ? 0 : d.next ?: i + 1;
        write_desc(g, TABLE + i * sizeof(struct vring_desc), d);
    }
}

void kick(Guest *g, unsigned vq)
{
    qpci_io_writew(g->t->pci->pdev, g->t->pci->bar, g->rings[vq].notify, vq);
}

void post(Guest *g, unsigned vq, const Desc *desc, unsigned n, uint16_t head,
          uint16_t jump)
{
    QTestState *qts = g->t->qts;
    Ring *ring = &g->rings[vq];

    if (g->packed) {
        g_assert_cmpuint(ring->next + n, <=, RING_SIZE);
        /* The first one last: it makes the others available */
        for (unsigned i = n; i-- > 0;) {
            Desc d = desc[i];

            d.flags |= 1 << VRING_PACKED_DESC_F_AVAIL;
            write_desc(g, DESC(vq) + (ring->next + i) * sizeof(struct
                       vring_packed_desc), d);
        }
        ring->next += n;
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        Desc d = desc[i];

        d.next = d.next ?: i + 1;
        write_desc(g, DESC(vq) + i * sizeof(struct vring_desc), d);
    }
    qtest_writew(qts, DRIVER(vq) + offsetof(struct vring_avail, ring) +
                 ring->next % RING_SIZE * sizeof(uint16_t), head);
    ring->next += 1 + jump;
    qtest_writew(qts, DRIVER(vq) + offsetof(struct vring_avail, idx),
                 ring->next);
}

/* Is everything used that was made available? @n: descriptors of the last */
static bool is_done(Guest *g, unsigned vq, unsigned n)
{
    QTestState *qts = g->t->qts;
    Ring *ring = &g->rings[vq];

    if (g->packed) {
        return qtest_readw(qts, DESC(vq) + (ring->next - n) *
                           sizeof(struct vring_packed_desc) +
                           offsetof(struct vring_packed_desc, flags)) &
               (1 << VRING_PACKED_DESC_F_USED);
    }
    return qtest_readw(qts, DEVICE(vq) + offsetof(struct vring_used, idx)) ==
           ring->next;
}

bool is_broken(Guest *g)
{
    return g->t->vdev->bus->get_status(g->t->vdev) &
           VIRTIO_CONFIG_S_NEEDS_RESET;
}

void wait_broken(Guest *g)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (!is_broken(g)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}

void wait_done(Guest *g, unsigned vq, unsigned n)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (!is_done(g, vq, n) && !is_broken(g)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}

void write_header(Guest *g, uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr header = {
        .type = cpu_to_le32(type), .sector = cpu_to_le64(sector),
    };

    qtest_memwrite(g->t->qts, HEADER, &header, sizeof(header));
    qtest_writeb(g->t->qts, STATUS, 0xff);
}

void good_request(Guest *g, unsigned vq)
{
    static const Desc desc[] = {
        { HEADER, 16, NEXT }, { DATA, 20, NEXT | WRITE }, { STATUS, 1, WRITE }
    };

    write_header(g, VIRTIO_BLK_T_GET_ID, 0);
    post(g, vq, desc, ARRAY_SIZE(desc), 0, 0);
    kick(g, vq);
    wait_done(g, vq, ARRAY_SIZE(desc));
    g_assert_false(is_broken(g));
    g_assert_cmpuint(qtest_readb(g->t->qts, STATUS), ==, VIRTIO_BLK_S_OK);
}

void begin_read(Guest *g, unsigned vq, uint64_t data)
{
    Desc desc[] = {
        { HEADER, 16, NEXT }, { data, 512, NEXT | WRITE }, { STATUS, 1, WRITE }
    };

    write_header(g, VIRTIO_BLK_T_IN, 0);
    post(g, vq, desc, ARRAY_SIZE(desc), 0, 0);
    kick(g, vq);
}

void begin_read_each(Guest *g)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        begin_read(g, i, DATA + i * 512);
    }
}

void check_host(Guest *g)
{
    QTestState *qts = g->t->qts;
    QDict *response = qtest_qmp(qts, "{'execute': 'query-status'}");

    g_assert_true(qdict_get_bool(qdict_get_qdict(response, "return"),
                                 "running"));
    qobject_unref(response);
    response = qtest_qmp(qts, "{'execute': 'block_resize', 'arguments':"
                         " {'node-name': %s, 'size': %d}}",
                         g->slow ? "slow" : "node0", VQ_TEST_DISK_SIZE);
    /* null-co cannot be resized, but is drained first as well */
    qobject_unref(response);
    qtest_qmp_assert_success(qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(qts, "{'execute': 'cont'}");
}

void check_reset(Guest *g)
{
    vq_test_reset(g->t);
    g_assert_false(is_broken(g));
    for (unsigned i = 0; i < QUEUES; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);

        g_assert_cmpint(vq_test_read(g->t, i), ==,
                        vq_test_thread_id(g->t, name));
    }
}
