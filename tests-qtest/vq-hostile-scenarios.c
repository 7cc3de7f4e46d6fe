/*
 * Hostile guests that need more than one request
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_config.h"
#include "vq-hostile.h"

/* In the common configuration of virtio 1.2, section 4.1.4.3 */
#define QUEUE_RESET 58

/* Something that is more than one request */
typedef struct Scenario {
    const char *name;
    void (*run)(Guest *g);
    bool packed;
    bool slow;
    bool shared;
} Scenario;

/* Every descriptor says that another one follows */
static void run_packed_loop(Guest *g)
{
    Desc desc[RING_SIZE];

    for (unsigned i = 0; i < RING_SIZE; i++) {
        desc[i] = (Desc) { DATA, 20, NEXT };
    }
    post(g, 1, desc, RING_SIZE, 0, 0);
    kick(g, 1);
    wait_broken(g);
}

/* Also when the device is broken already */
static void set_driver_ok(Guest *g)
{
    QVirtioDevice *vdev = g->t->vdev;

    vdev->bus->set_status(vdev, vdev->bus->get_status(vdev) |
                          VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Ring addresses that are no RAM */
static void run_ring_nowhere(Guest *g)
{
    negotiate(g);
    for (unsigned i = 0; i < QUEUES; i++) {
        queue_setup(g, i);
    }
    queue_enable(g, 1, RING_SIZE, NOWHERE, DRIVER(1), DEVICE(1));
    queue_enable(g, 2, RING_SIZE, DESC(2), NOWHERE, DEVICE(2));
    queue_enable(g, 3, RING_SIZE, DESC(3), DRIVER(3), NOWHERE);
    set_driver_ok(g);
    for (unsigned i = 0; i < QUEUES; i++) {
        begin_read(g, i, DATA);
    }
    g_usleep(100 * 1000);
}

static void run_ring_end_of_ram(Guest *g)
{
    negotiate(g);
    queue_setup(g, 0);
    queue_enable(g, 1, RING_SIZE, RAM_SIZE - 16, DRIVER(1), DEVICE(1));
    queue_enable(g, 2, RING_SIZE, DESC(2), RAM_SIZE - 4, DEVICE(2));
    queue_enable(g, 3, RING_SIZE, DESC(3), DRIVER(3), RAM_SIZE - 4);
    set_driver_ok(g);
    for (unsigned i = 0; i < QUEUES; i++) {
        kick(g, i);
    }
    wait_broken(g);
}

static void run_ring_wraps(Guest *g)
{
    negotiate(g);
    queue_enable(g, 1, RING_SIZE, -16ull, -4ull, -4ull);
    set_driver_ok(g);
    kick(g, 1);
    wait_broken(g);
}

static void run_half_of_queues(Guest *g)
{
    negotiate(g);
    queue_setup(g, 0);
    queue_setup(g, 1);
    qvirtio_set_driver_ok(g->t->vdev);
    g->rings[2].notify = 2 * g->rings[1].notify - g->rings[0].notify;
    g->rings[3].notify = 3 * g->rings[1].notify - 2 * g->rings[0].notify;
    for (unsigned i = 0; i < 10; i++) {
        kick(g, 2);
        kick(g, 3);
        good_request(g, i % 2);
    }
    /* One of them comes late */
    queue_setup(g, 3);
    good_request(g, 3);
    good_request(g, 0);
}

static void run_desc_zero(Guest *g)
{
    negotiate(g);
    queue_setup(g, 0);
    queue_enable(g, 1, RING_SIZE, 0, 0, 0);
    queue_enable(g, 2, RING_SIZE, 0, DRIVER(2), DEVICE(2));
    qvirtio_set_driver_ok(g->t->vdev);
    kick(g, 1);
    kick(g, 2);
    good_request(g, 0);
}

/* Sizes that are no power of two, or that the device does not have */
static void run_odd_sizes(Guest *g)
{
    negotiate(g);
    queue_setup(g, 0);
    queue_enable(g, 1, 3, DESC(1), DRIVER(1), DEVICE(1));
    queue_enable(g, 2, 0, DESC(2), DRIVER(2), DEVICE(2));
    queue_enable(g, 3, 0xffff, DESC(3), DRIVER(3), DEVICE(3));
    qvirtio_set_driver_ok(g->t->vdev);
    for (unsigned i = 0; i < 4; i++) {
        kick(g, 2);
        kick(g, 3);
        good_request(g, 0);
    }
}

static void run_no_such_queue(Guest *g)
{
    QVirtioPCIDevice *pci = g->t->pci;
    static const unsigned queues[] = { QUEUES, 1023, 1024, 0xffff };

    for (unsigned i = 0; i < ARRAY_SIZE(queues); i++) {
        queue_enable(g, queues[i], RING_SIZE, DESC(0), DRIVER(0), DEVICE(0));
        /* The address says which, the value is not looked at */
        qpci_io_writew(pci->pdev, pci->bar, pci->notify_cfg_offset +
                       MIN(queues[i], 1023) * pci->notify_off_multiplier,
                       queues[i]);
        qpci_io_writew(pci->pdev, pci->bar, g->rings[0].notify, queues[i]);
    }
    good_request(g, 0);
}

static void run_ok_without_queues(Guest *g)
{
    negotiate(g);
    qvirtio_set_driver_ok(g->t->vdev);
}

static void run_ok_twice(Guest *g)
{
    for (unsigned i = 0; i < 5; i++) {
        set_driver_ok(g);
        good_request(g, i % QUEUES);
    }
}

/* Bits of the status come and go as no driver lets them */
static void run_status(Guest *g)
{
    QVirtioDevice *vdev = g->t->vdev;
    static const uint8_t values[] = {
        0x04, 0x0b, 0x0f, 0x01, 0x0f, 0x80, 0x0f, 0x02, 0x4f, 0xff, 0x40, 0x0f
    };

    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        vdev->bus->set_status(vdev, values[i]);
        kick(g, i % QUEUES);
    }
    good_request(g, 1);
}

/* Before the driver says that it is there, it kicks */
static void run_early_kick(Guest *g)
{
    QVirtioDevice *vdev = g->t->vdev;

    qvirtio_reset(vdev);
    vdev->bus->set_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    for (unsigned i = 0; i < QUEUES; i++) {
        queue_setup(g, i);
        kick(g, i);
    }
    vdev->bus->set_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE |
                                VIRTIO_CONFIG_S_DRIVER);
    for (unsigned i = 0; i < QUEUES; i++) {
        kick(g, i);
    }
}

/* The kind of the rings changes when they are there already */
static void run_late_features(Guest *g)
{
    QVirtioDevice *vdev = g->t->vdev;
    uint64_t packed = 1ull << VIRTIO_F_RING_PACKED;
    uint64_t features = qvirtio_get_features(vdev) &
                        ~(QVIRTIO_F_BAD_FEATURE |
                          1ull << VIRTIO_RING_F_EVENT_IDX);

    for (unsigned i = 0; i < 2; i++) {
        qvirtio_reset(vdev);
        vdev->bus->set_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE |
                                    VIRTIO_CONFIG_S_DRIVER);
        vdev->bus->set_features(vdev, i ? features : features & ~packed);
        for (unsigned j = 0; j < QUEUES; j++) {
            queue_setup(g, j);
            qtest_memset(g->t->qts, DESC(j), 0x80, 64);
            qtest_memset(g->t->qts, DRIVER(j), 1, 4);
        }
        vdev->bus->set_features(vdev, i ? features & ~packed : features);
        vdev->bus->set_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE |
                                    VIRTIO_CONFIG_S_DRIVER |
                                    VIRTIO_CONFIG_S_DRIVER_OK);
        for (unsigned j = 0; j < QUEUES; j++) {
            kick(g, j);
        }
        g_usleep(50 * 1000);
    }
}

/* Neither a ring nor a buffer changes any more, whatever was in flight */
static void check_silence(Guest *g)
{
    QTestState *qts = g->t->qts;
    size_t size = QUEUES * 128 * KiB;
    g_autofree uint8_t *before = g_malloc(size);
    g_autofree uint8_t *after = g_malloc(size);

    qtest_memset(qts, DATA, 0x55, QUEUES * 512);
    qtest_memset(qts, STATUS, 0x55, 1);
    qtest_memread(qts, DESC(0), before, size);
    g_usleep(2 * LATENCY_US);
    qtest_memread(qts, DESC(0), after, size);
    g_assert_cmpmem(before, size, after, size);
    qtest_memread(qts, DATA, after, QUEUES * 512);
    for (unsigned i = 0; i < QUEUES * 512; i++) {
        g_assert_cmphex(after[i], ==, 0x55);
    }
    g_assert_cmphex(qtest_readb(qts, STATUS), ==, 0x55);
}

static void run_reset(Guest *g)
{
    for (unsigned i = 0; i < 2; i++) {
        begin_read_each(g);
        qvirtio_reset(g->t->vdev);
        check_silence(g);
        start_driver(g);
    }
    begin_read_each(g);
}

static void run_system_reset(Guest *g)
{
    begin_read_each(g);
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(g->t->qts, "RESET");
    /* The firmware, which would do this, does not run */
    qvirtio_pci_device_enable(g->t->pci);
    check_silence(g);
}

/* The device may no longer reach its memory, or no longer be reached */
static void run_bus_master(Guest *g)
{
    QPCIDevice *pdev = g->t->pci->pdev;
    uint16_t command = qpci_config_readw(pdev, PCI_COMMAND);

    for (unsigned i = 0; i < 3; i++) {
        begin_read_each(g);
        qpci_config_writew(pdev, PCI_COMMAND,
                           command & (i ? ~PCI_COMMAND_MEMORY
                                        : ~PCI_COMMAND_MASTER));
        g_usleep(2 * LATENCY_US);
        qpci_config_writew(pdev, PCI_COMMAND, command);
        qvirtio_reset(g->t->vdev);
        start_driver(g);
    }
}

/* One virtqueue is reset, and there again, with its requests in flight */
static void run_queue_reset(Guest *g)
{
    for (unsigned i = 0; i < 3; i++) {
        begin_read_each(g);
        g->t->vdev->bus->queue_select(g->t->vdev, 1);
        common_write(g, QUEUE_RESET, 1);
        queue_setup(g, 1);
        kick(g, 1);
    }
    g_usleep(2 * LATENCY_US);
}

/* One virtqueue breaks the device while the others have requests in flight */
static void run_break_in_flight(Guest *g)
{
    static const Desc bad[] = { { HEADER, 1, 0 } };

    begin_read_each(g);
    post(g, 1, bad, 1, 0, 0);
    kick(g, 1);
    wait_broken(g);
    for (unsigned i = 0; i < QUEUES; i++) {
        kick(g, i);
    }
}

/* All virtqueues do so at once, in their threads */
static void run_break_all(Guest *g)
{
    static const Desc bad[] = { { HEADER, 1, 0 } };

    for (unsigned i = 0; i < QUEUES; i++) {
        post(g, i, bad, 1, 0, 0);
    }
    for (unsigned i = 0; i < QUEUES; i++) {
        kick(g, i);
    }
    wait_broken(g);
}

/* The IOThread wants the BQL to write there, while a reset waits for it */
static void run_reset_nowhere(Guest *g)
{
    begin_read(g, 1, NOWHERE);
    g_usleep(LATENCY_US / 4);
    qvirtio_reset(g->t->vdev);
}

static void run_stop_nowhere(Guest *g)
{
    begin_read(g, 1, NOWHERE);
    g_usleep(LATENCY_US / 4);
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'cont'}");
}

/* Rings where each access wants the BQL, while a reset holds it */
static void run_reset_ring_nowhere(Guest *g)
{
    for (unsigned i = 0; i < 20; i++) {
        run_ring_nowhere(g);
        for (unsigned j = 0; j < 100; j++) {
            kick(g, 1 + j % 3);
        }
        qvirtio_reset(g->t->vdev);
    }
}

/*
 * A flood: the guest keeps a ring full of requests that the device answers
 * without any I/O, each with as many descriptors as there can be.
 */
typedef struct Flood {
    Guest *g;
    GThread *thread;
    bool over;          /* atomic */
} Flood;

static uint16_t *flood_word(Flood *f, uint64_t addr)
{
    return f->g->ram + addr;
}

static uint16_t flood_used(Flood *f)
{
    return le16_to_cpu(qatomic_read(flood_word(f, DEVICE(1) +
                       offsetof(struct vring_used, idx))));
}

static void *flood_run(void *opaque)
{
    Flood *f = opaque;
    uint16_t *avail = flood_word(f, DRIVER(1) +
                                 offsetof(struct vring_avail, idx));

    while (!qatomic_read(&f->over)) {
        /* Work for seconds, so that a ring that is served is never empty */
        qatomic_set(avail, cpu_to_le16(flood_used(f) + 0x8000));
        g_usleep(1000);
    }
    return NULL;
}

static Flood *flood_begin(Guest *g)
{
    Flood *f = g_new0(Flood, 1);
    g_autofree Desc *table = g_new0(Desc, 1024);
    static const Desc desc[] = { { TABLE, 1024 * 16, INDIRECT } };

    table[0] = (Desc) HDR;
    for (unsigned i = 1; i < 1023; i++) {
        table[i] = (Desc) IN(64 * KiB);
    }
    table[1023] = (Desc) ST;
    write_header(g, 0x7e, 0);
    write_table(g, table, 1024);
    f->g = g;
    /* All places of the avail ring say 0 */
    post(g, 1, desc, 1, 0, 0x7fff);
    f->thread = g_thread_new("flood", flood_run, f);
    kick(g, 1);
    return f;
}

/* The virtqueue is served */
static void flood_check(Flood *f)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    uint16_t before = flood_used(f);

    while ((uint16_t)(flood_used(f) - before) < 2 * RING_SIZE) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}

static void flood_end(Flood *f)
{
    qatomic_set(&f->over, true);
    g_thread_join(f->thread);
    g_assert_false(is_broken(f->g));
    /* What is left of it would take seconds */
    qvirtio_reset(f->g->t->vdev);
    g_free(f);
}

static void run_flood_drain(Guest *g)
{
    Flood *f = flood_begin(g);

    for (unsigned i = 0; i < 3; i++) {
        flood_check(f);
        qtest_qmp_assert_success(g->t->qts, "{'execute': 'block_resize',"
                                 " 'arguments': {'node-name': 'node0',"
                                 "               'size': %d}}",
                                 VQ_TEST_DISK_SIZE);
    }
    flood_check(f);
    flood_end(f);
}

static void run_flood_stop(Guest *g)
{
    Flood *f = flood_begin(g);

    for (unsigned i = 0; i < 3; i++) {
        flood_check(f);
        qtest_qmp_assert_success(g->t->qts, "{'execute': 'stop'}");
        qtest_qmp_assert_success(g->t->qts, "{'execute': 'cont'}");
    }
    flood_check(f);
    flood_end(f);
}

static void run_flood_reset(Guest *g)
{
    Flood *f = flood_begin(g);

    flood_check(f);
    qvirtio_reset(g->t->vdev);
    flood_end(f);
}

static const Scenario scenarios[] = {
    { "split/ring/nowhere", run_ring_nowhere },
    { "packed/ring/nowhere", run_ring_nowhere, .packed = true },
    { "split/ring/end-of-ram", run_ring_end_of_ram },
    { "packed/ring/end-of-ram", run_ring_end_of_ram, .packed = true },
    { "split/ring/wraps", run_ring_wraps },
    { "packed/ring/loop", run_packed_loop, .packed = true },
    { "split/ring/odd-sizes", run_odd_sizes },
    { "packed/ring/odd-sizes", run_odd_sizes, .packed = true },
    { "split/ring/desc-zero", run_desc_zero },
    { "packed/ring/desc-zero", run_desc_zero, .packed = true },
    { "split/ring/half", run_half_of_queues },
    { "packed/ring/half", run_half_of_queues, .packed = true },
    { "split/ring/no-such-queue", run_no_such_queue },
    { "status/ok-without-queues", run_ok_without_queues },
    { "status/ok-twice", run_ok_twice },
    { "status/any", run_status },
    { "status/early-kick", run_early_kick },
    { "status/late-features", run_late_features, .packed = true },
    { "split/break/in-flight", run_break_in_flight, .slow = true },
    { "packed/break/in-flight", run_break_in_flight, .packed = true,
      .slow = true },
    { "split/break/all", run_break_all },
    { "packed/break/all", run_break_all, .packed = true },
    { "split/reset/device", run_reset, .slow = true },
    { "packed/reset/device", run_reset, .packed = true, .slow = true },
    { "split/reset/system", run_system_reset, .slow = true },
    { "split/reset/bus-master", run_bus_master, .slow = true },
    { "split/reset/queue", run_queue_reset, .slow = true },
    { "packed/reset/queue", run_queue_reset, .packed = true, .slow = true },
    { "split/nowhere/reset", run_reset_nowhere, .slow = true },
    { "split/nowhere/stop", run_stop_nowhere, .slow = true },
    { "split/nowhere/ring-reset", run_reset_ring_nowhere },
    { "flood/drain", run_flood_drain, .shared = true },
    { "flood/stop", run_flood_stop, .shared = true },
    { "flood/reset", run_flood_reset, .shared = true },
};

static void test_scenario(const void *opaque)
{
    const Scenario *s = opaque;
    Guest *g = hostile_new(s->packed, s->slow, s->shared);

    start_driver(g);
    s->run(g);
    check_host(g);
    check_reset(g);
    hostile_free(g);
}

void add_scenarios(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/virtio-blk-hostile/%s",
                                                scenarios[i].name);

        qtest_add_data_func(path, &scenarios[i], test_scenario);
    }
}
