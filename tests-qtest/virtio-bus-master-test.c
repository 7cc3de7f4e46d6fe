/*
 * qtests of a guest that clears Bus Master, as Linux does before kexec, and
 * sets it again: the device has no memory in between, which must not break it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "vq-hostile.h"

#define WATCHDOG_SECONDS 120
#define ROUNDS 3
/* Only with this does a device lose its memory */
#define PLATFORM ",\"disable-legacy\":\"on\",\"iommu_platform\":true"
#define IOTHREADS ",\"iothread-vq-mapping\":["                          \
    "{\"iothread\":\"iothread0\"},{\"iothread\":\"iothread1\"},"        \
    "{\"iothread\":\"iothread2\"},{\"iothread\":\"iothread3\"}]"

typedef struct Case {
    const char *name;
    const char *machine;
    bool packed;
    bool iothreads;
    const char *properties;
} Case;

static const Case cases[] = {
    { "pc/main-loop", "pc", false, false, PLATFORM },
    { "pc/iothreads", "pc", false, true, PLATFORM },
    { "pc/packed", "pc", true, true, PLATFORM },
    { "pc/no-platform", "pc", false, true, "" },
    { "pc/no-flag", "pc", false, true, PLATFORM
      ",\"use-disabled-flag\":false" },
    { "q35/main-loop", "q35", false, false, PLATFORM },
    { "q35/iothreads", "q35", false, true, PLATFORM },
};

static Guest *new_guest(const Case *c)
{
    Guest *g = g_new0(Guest, 1);
    g_autofree char *node = g_strdup_printf(
        "-blockdev driver=null-co,node-name=slow,size=%d,latency-ns=%d",
        VQ_TEST_DISK_SIZE, LATENCY_US * 1000);
    g_autofree char *properties = g_strconcat(
        c->properties, c->iothreads ? IOTHREADS : "",
        c->packed ? ",\"packed\":true" : "", NULL);

    g->packed = c->packed;
    g->slow = true;
    g->device = vq_test_blk_pci;
    g->device.machine = c->machine;
    g->device.drive = ",\"drive\":\"slow\"";
    g->device.more_traces = node;
    g->t = vq_test_new(&g->device, QUEUES, QUEUES, properties);
    g->device.more_traces = NULL;
    g->t->next_sector = 10000;
    g->dog = vq_watchdog_begin(qtest_pid(g->t->qts), WATCHDOG_SECONDS);
    return g;
}

static void set_bus_master(Guest *g, bool on)
{
    QPCIDevice *pdev = g->t->pci->pdev;
    uint16_t command = qpci_config_readw(pdev, PCI_COMMAND);

    qpci_config_writew(pdev, PCI_COMMAND, on ? command | PCI_COMMAND_MASTER
                                             : command & ~PCI_COMMAND_MASTER);
}

static void assert_served(Guest *g, const Case *c)
{
    vq_test_reset(g->t);
    g_assert_false(is_broken(g));
    for (unsigned i = 0; i < QUEUES; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);

        g_assert_cmpint(vq_test_read(g->t, i), ==,
                        vq_test_thread_id(g->t, c->iothreads ? name : NULL));
    }
}

static void finish(Guest *g, const Case *c)
{
    check_host(g);
    assert_served(g, c);
    hostile_free(g);
}

/* Nothing is lost of what was in flight, and the next requests are served */
static void test_in_flight(const void *opaque)
{
    const Case *c = opaque;
    Guest *g = new_guest(c);

    start_driver(g);
    for (unsigned round = 0; round < ROUNDS; round++) {
        begin_read_each(g);
        g_usleep(LATENCY_US / 4);
        set_bus_master(g, false);
        set_bus_master(g, true);
        g_assert_false(is_broken(g));
        for (unsigned i = 0; i < QUEUES; i++) {
            wait_done(g, i, 3);
        }
        g_assert_false(is_broken(g));
        g_assert_cmpuint(qtest_readb(g->t->qts, STATUS), ==, VIRTIO_BLK_S_OK);
    }
    finish(g, c);
}

/* Where requests had been completed before, and none is now */
static void test_idle(const void *opaque)
{
    const Case *c = opaque;
    Guest *g = new_guest(c);

    start_driver(g);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < QUEUES; i++) {
            good_request(g, i);
        }
        set_bus_master(g, false);
        g_assert_false(is_broken(g));
        set_bus_master(g, true);
        g_assert_false(is_broken(g));
    }
    finish(g, c);
}

/*
 * Requests that are made in between are seen when bus mastering is on again,
 * with the next kick
 */
static void test_kick_between(const void *opaque)
{
    static const Desc desc[] = {
        { HEADER, 16, NEXT }, { DATA, 20, NEXT | WRITE }, { STATUS, 1, WRITE }
    };
    const Case *c = opaque;
    Guest *g = new_guest(c);

    start_driver(g);
    for (unsigned i = 0; i < QUEUES; i++) {
        good_request(g, i);
    }
    set_bus_master(g, false);
    write_header(g, VIRTIO_BLK_T_GET_ID, 0);
    for (unsigned i = 0; i < QUEUES; i++) {
        post(g, i, desc, ARRAY_SIZE(desc), 0, 0);
        kick(g, i);
    }
    g_usleep(50 * 1000);
    g_assert_cmpuint(qtest_readb(g->t->qts, STATUS), ==, 0xff);
    g_assert_false(is_broken(g));
    set_bus_master(g, true);
    for (unsigned i = 0; i < QUEUES; i++) {
        kick(g, i);
        wait_done(g, i, ARRAY_SIZE(desc));
    }
    g_assert_false(is_broken(g));
    g_assert_cmpuint(qtest_readb(g->t->qts, STATUS), ==, VIRTIO_BLK_S_OK);
    finish(g, c);
}

/* The next kernel finds bus mastering off, and resets the device later */
static void test_kexec(const void *opaque)
{
    const Case *c = opaque;
    Guest *g = new_guest(c);

    start_driver(g);
    for (unsigned round = 0; round < ROUNDS; round++) {
        begin_read_each(g);
        set_bus_master(g, false);
        g_assert_false(is_broken(g));
        qtest_memset(g->t->qts, BASE, 0xa5, 1 * MiB);
        set_bus_master(g, true);
        g_assert_false(is_broken(g));
        qvirtio_reset(g->t->vdev);
        start_driver(g);
        for (unsigned i = 0; i < QUEUES; i++) {
            good_request(g, i);
        }
    }
    finish(g, c);
}

/* Firmware may set up the rings first */
static void test_rings_first(const void *opaque)
{
    const Case *c = opaque;
    Guest *g = new_guest(c);

    set_bus_master(g, false);
    negotiate(g);
    for (unsigned i = 0; i < QUEUES; i++) {
        queue_setup(g, i);
    }
    g_assert_false(is_broken(g));
    set_bus_master(g, true);
    qvirtio_set_driver_ok(g->t->vdev);
    for (unsigned i = 0; i < QUEUES; i++) {
        good_request(g, i);
    }
    finish(g, c);
}

static void add_cases(const char *name, GTestDataFunc func, bool all)
{
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/virtio-bus-master/%s/%s",
                                                name, cases[i].name);

        /* Without the flag, a device that finds no ring breaks, as ever */
        if (all || !strstr(cases[i].name, "no-flag")) {
            qtest_add_data_func(path, &cases[i], func);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add_cases("in-flight", test_in_flight, true);
    add_cases("idle", test_idle, true);
    add_cases("kick-between", test_kick_between, false);
    add_cases("kexec", test_kexec, true);
    add_cases("rings-first", test_rings_first, true);
    return g_test_run();
}
