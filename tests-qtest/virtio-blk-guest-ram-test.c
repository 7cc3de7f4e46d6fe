/*
 * qtests of disks in a guest whose RAM comes, goes and moves
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qapi/error.h"
#include "qapi/qapi-visit-machine.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_config.h"
#include "vq-fast.h"
#include "vq-plug.h"

#define RAM_SIZE (128 * MiB)
#define DIMM_SIZE (16 * MiB)
#define MAX_DIMMS 4
#define SLOT_OTHER 5
#define SLOTS " -m slots=4,maxmem=1G"
/* Has data, and takes so few requests a second that they are in flight then */
#define THROTTLED_TO(iops) \
    " -object throttle-group,id=group,x-iops-total=" iops \
    " -blockdev throttle,node-name=throttled,throttle-group=group,file=node0"
#define THROTTLED THROTTLED_TO("20")

/* ACPI memory hotplug of "pc" (docs/specs/acpi_mem_hotplug) */
#define MHP_ADDR 0xa00
#define MHP_FLAGS 0x14
#define MHP_EJECT 8

static VqFast *new_disk(const char *drive, const char *options)
{
    return vq_fast_new(&vq_test_blk_pci, VQ_FAST_MAPPED, drive, options);
}

static char *dimm_path(VqFast *f, unsigned i)
{
    return g_strdup_printf("%s.dimm%u", f->t->log, i);
}

/* Where a pc-dimm is, and that the guest can use it now */
static uint64_t find_dimm(VqFast *f, const char *id)
{
    QDict *reply = qtest_qmp(f->t->qts, "{'execute':"
                             " 'query-memory-devices'}");
    Visitor *v = qobject_input_visitor_new(qdict_get(reply, "return"));
    g_autoptr(MemoryDeviceInfoList) list = NULL;
    uint64_t addr = 0;

    visit_type_MemoryDeviceInfoList(v, NULL, &list, &error_abort);
    for (MemoryDeviceInfoList *l = list; l; l = l->next) {
        PCDIMMDeviceInfo *info = l->value->u.dimm.data;

        if (g_str_equal(info->id, id)) {
            g_assert_cmpint(info->size, ==, DIMM_SIZE);
            addr = info->addr;
        }
    }
    visit_free(v);
    qobject_unref(reply);
    g_assert_cmphex(addr, >=, 4 * GiB);
    return addr;
}

/* Plug memory that is in a file, whose name shows whether QEMU has it mapped */
static uint64_t plug_dimm(VqFast *f, unsigned i)
{
    g_autofree char *path = dimm_path(f, i);
    g_autofree char *mem = g_strdup_printf("mem%u", i);
    g_autofree char *id = g_strdup_printf("dimm%u", i);
    g_autofree char *json = g_strdup_printf("{\"driver\":\"pc-dimm\","
                                            "\"id\":\"%s\",\"memdev\":\"%s\"}",
                                            id, mem);

    qtest_qmp_assert_success(f->t->qts, "{'execute': 'object-add',"
                             " 'arguments': {'qom-type':"
                             "  'memory-backend-file', 'id': %s, 'size': %d,"
                             "  'mem-path': %s, 'share': true}}",
                             mem, (int)DIMM_SIZE, path);
    vq_plug(f->t->qts, json);
    return find_dimm(f, id);
}

static void remove_dimms(VqFast *f)
{
    for (unsigned i = 0; i < MAX_DIMMS; i++) {
        g_autofree char *path = dimm_path(f, i);

        g_unlink(path);
    }
}

static void free_disk(VqFast *f)
{
    remove_dimms(f);
    vq_fast_free(f);
}

/* Does QEMU have the dimm's file mapped? */
static bool is_mapped(VqFast *f, unsigned i)
{
    g_autofree char *path = dimm_path(f, i);
    g_autofree char *maps =
        g_strdup_printf("/proc/%d/maps", (int)qtest_pid(f->t->qts));
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(maps, &text, NULL, NULL));
    return strstr(text, path) != NULL;
}

/* Write to the disk from guest memory at @addr, and read into it */
static void assert_works(VqFast *f, uint64_t addr, uint8_t pattern)
{
    for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
        uint64_t sector = 4000 + 16 * vq;
        uint64_t before = vq_fast_count(f);
        VqFastRequest req;

        req = vq_fast_submit(f, vq, VIRTIO_BLK_T_OUT, sector, VQ_FAST_LEN,
                             pattern + vq, addr, true);
        g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_OK);
        vq_fast_check_file(f, sector, VQ_FAST_LEN, pattern + vq);
        req = vq_fast_submit(f, (vq + 1) % VQ_FAST_QUEUES, VIRTIO_BLK_T_IN,
                             sector, VQ_FAST_LEN, pattern + vq, addr, true);
        g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_OK);
        /* Those of vq_fast_begin() may not have been counted before */
        g_assert_cmpuint(vq_fast_count(f), >=, before + 2);
    }
}

/* Memory that has been plugged can be used at once, and across its borders */
static void test_plug(void)
{
    VqFast *f = new_disk("node0", SLOTS);
    uint64_t addr[MAX_DIMMS];

    vq_fast_round(f, FAST_BOTH);
    for (unsigned i = 0; i < MAX_DIMMS; i++) {
        vq_fast_begin(f);
        addr[i] = plug_dimm(f, i);
        assert_works(f, addr[i], 16 * i);
        vq_fast_end(f);
        assert_works(f, addr[i] + DIMM_SIZE - VQ_FAST_LEN, 16 * i + 4);
        vq_fast_round(f, FAST_BOTH);
    }
    for (unsigned i = 1; i < MAX_DIMMS; i++) {
        g_assert_cmphex(addr[i], ==, addr[i - 1] + DIMM_SIZE);
        assert_works(f, addr[i] - 512, 100 + 16 * i);
        assert_works(f, addr[i] - 1, 104 + 16 * i);
    }
    free_disk(f);
}

#define IN_FLIGHT 4

/* Reads and writes that take a while, with their data at @addr or anywhere */
static void begin_slow(VqFast *f, VqFastRequest reqs[IN_FLIGHT], uint64_t addr,
                       unsigned number)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        bool is_write = i % 2;

        reqs[i] = vq_fast_submit(
            f, (number + i) % VQ_FAST_QUEUES,
            is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
            8 * (IN_FLIGHT * number + i), VQ_FAST_LEN,
            is_write ? 0x80 + 16 * number + i : 0,
            addr ? addr + i * VQ_FAST_LEN : 0, true);
    }
}

static void end_slow(VqFast *f, VqFastRequest reqs[IN_FLIGHT])
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        g_assert_cmpuint(vq_fast_complete(f, &reqs[i]), ==, VIRTIO_BLK_S_OK);
        if (reqs[i].type == VIRTIO_BLK_T_OUT) {
            vq_fast_check_file(f, reqs[i].sector, reqs[i].len,
                               reqs[i].pattern);
        }
    }
}

/* How many requests are in flight, once @n have been taken from the rings */
static uint64_t count_in_flight(VqFast *f, uint64_t n)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;
    uint64_t taken, in_flight;
    VqQueues queues;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(f->t->qts, "disk0", &queues);
        taken = in_flight = 0;
        for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
            in_flight += queues.vq[vq].in_flight;
            taken += vq_queues_requests(&queues.vq[vq]);
        }
        taken += in_flight;
    } while (taken < n);
    return in_flight;
}

/* Each with another RAM, all at the same time */
static void test_plug_in_flight(void)
{
    VqFast *f = new_disk("throttled", SLOTS THROTTLED);
    VqFastRequest reqs[MAX_DIMMS + 1][IN_FLIGHT];
    uint64_t addr = 0;

    for (unsigned i = 0; i <= MAX_DIMMS; i++) {
        begin_slow(f, reqs[i], addr, i);
        g_assert_cmpuint(count_in_flight(f, (i + 1) * IN_FLIGHT), >, 0);
        if (i < MAX_DIMMS) {
            addr = plug_dimm(f, i);
        }
    }
    for (unsigned i = 0; i <= MAX_DIMMS; i++) {
        end_slow(f, reqs[i]);
    }
    free_disk(f);
}

/* Do what a guest does that was asked to give up dimm @i, in slot @i */
static void unplug_dimm(VqFast *f, unsigned i)
{
    g_autofree char *id = g_strdup_printf("dimm%u", i);
    g_autofree char *mem = g_strdup_printf("mem%u", i);

    qtest_qmp_device_del_send(f->t->qts, id);
    qtest_outl(f->t->qts, MHP_ADDR, i);
    qtest_outb(f->t->qts, MHP_ADDR + MHP_FLAGS, MHP_EJECT);
    vq_plug_wait_gone(f->t->qts, id);
    g_assert_null(vq_plug_object_del(f->t->qts, mem));
}

static void wait_unmapped(VqFast *f, unsigned i)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;

    while (is_mapped(f, i)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
        qtest_qmp_assert_success(f->t->qts, "{'execute': 'query-name'}");
    }
}

/* Memory is let go when it is unplugged and no request is in flight to it */
static void test_unplug(void)
{
    VqFast *f = new_disk("node0", SLOTS);

    for (unsigned i = 0; i < 3; i++) {
        uint64_t addr = plug_dimm(f, 0);

        g_assert_true(is_mapped(f, 0));
        assert_works(f, addr, 16 * i);
        unplug_dimm(f, 0);
        wait_unmapped(f, 0);
        vq_fast_round(f, FAST_BOTH);
    }
    free_disk(f);
}

/* A request into memory that is gone ends as if it was there */
static void test_unplug_in_flight(void)
{
    VqFast *f = new_disk("throttled", SLOTS THROTTLED);
    VqFastRequest reqs[4][IN_FLIGHT];
    uint64_t addr = plug_dimm(f, 0);

    begin_slow(f, reqs[0], 0, 0);
    begin_slow(f, reqs[1], 0, 1);
    begin_slow(f, reqs[2], 0, 2);
    begin_slow(f, reqs[3], addr, 3);
    g_assert_cmpuint(count_in_flight(f, 4 * IN_FLIGHT), >, 0);
    unplug_dimm(f, 0);
    g_assert_false(vq_fast_is_done(f, &reqs[3][IN_FLIGHT - 1]));
    g_assert_true(is_mapped(f, 0));

    for (unsigned i = 0; i < 3; i++) {
        end_slow(f, reqs[i]);
    }
    /* What was read is in nobody's memory; what was written is in the file */
    f->keeps_data = false;
    end_slow(f, reqs[3]);
    f->keeps_data = true;
    wait_unmapped(f, 0);

    addr = plug_dimm(f, 1);
    begin_slow(f, reqs[0], addr, 4);
    end_slow(f, reqs[0]);
    free_disk(f);
}

/*
 * Another device with memory of its own, plugged since QEMU started, goes at
 * once: holding RAM does not hold it
 */
static void test_unplug_other(const void *opaque)
{
    bool in_flight = GPOINTER_TO_UINT(opaque);
    VqFast *f = new_disk(in_flight ? "throttled" : "node0",
                         SLOTS THROTTLED_TO("1") " -device pci-testdev,"
                         "id=other,addr=05.0");
    QPCIDevice *other = qpci_device_find(f->t->pcibus,
                                         QPCI_DEVFN(SLOT_OTHER, 0));
    VqFastRequest reqs[IN_FLIGHT];

    g_assert_nonnull(other);
    qpci_iomap(other, 0, NULL);
    qpci_device_enable(other);
    g_free(other);

    /* There is a new map, when the other device's memory is there */
    plug_dimm(f, 0);
    if (in_flight) {
        begin_slow(f, reqs, 0, 0);
    }
    vq_plug_unplug(f->t->qts, "other", SLOT_OTHER);
    if (in_flight) {
        g_assert_false(vq_fast_is_done(f, &reqs[IN_FLIGHT - 1]));
        end_slow(f, reqs);
    }
    free_disk(f);
}

/*
 * A buffer that is not all in RAM: the request may fail or break the disk, as
 * without a map, and after a reset all is well
 */
static void test_nowhere(void)
{
    VqFast *f = new_disk("node0", SLOTS);
    uint64_t addr = plug_dimm(f, 0);
    const uint64_t bad[] = {
        addr + DIMM_SIZE - 512, addr + DIMM_SIZE, RAM_SIZE - 512, RAM_SIZE,
        UINT64_MAX - VQ_FAST_LEN + 1,
    };

    for (unsigned i = 0; i < ARRAY_SIZE(bad) * 2; i++) {
        int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;
        QVirtioDevice *vdev = f->t->vdev;
        VqFastRequest req;

        vq_fast_begin(f);
        req = vq_fast_submit(f, i % VQ_FAST_QUEUES,
                             i % 2 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 0,
                             VQ_FAST_LEN, 1, bad[i / 2], true);
        while (!vq_fast_is_done(f, &req) &&
               !(vdev->bus->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
            g_assert_cmpint(g_get_monotonic_time(), <, deadline);
            g_usleep(1000);
        }
        vq_fast_reset(f);
        vq_fast_round(f, FAST_BOTH);
        assert_works(f, addr, i);
    }
    free_disk(f);
}

/* What the guest cannot write it can write to the disk, as without a map */
static void test_rom(void)
{
    const uint64_t rom = 4 * GiB - 64 * KiB;
    VqFast *f = new_disk("node0", "");
    g_autofree uint8_t *wanted = g_malloc(VQ_FAST_LEN);
    g_autofree uint8_t *data = g_malloc(VQ_FAST_LEN);

    qtest_memread(f->t->qts, rom, wanted, VQ_FAST_LEN);
    for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
        VqFastRequest req = vq_fast_submit(f, vq, VIRTIO_BLK_T_OUT, 16 * vq,
                                           VQ_FAST_LEN, 0, rom, true);
        int fd = open(f->path, O_RDONLY);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_OK);
        g_assert_cmpint(pread(fd, data, VQ_FAST_LEN, 16 * vq * VQ_TEST_SECTOR),
                        ==, VQ_FAST_LEN);
        close(fd);
        g_assert_cmpmem(data, VQ_FAST_LEN, wanted, VQ_FAST_LEN);
    }
    vq_fast_round(f, FAST_BOTH);
    free_disk(f);
}

/* RAM below 1 MiB that the chipset hides and shows */
static void test_pam(void)
{
    const uint64_t addr = 0xd0000;
    const uint8_t reg = 0x5c, read_write = 0x33, read_only = 0x11;
    VqFast *f = new_disk("node0", "");
    QPCIDevice *host = qpci_device_find(f->t->pcibus, QPCI_DEVFN(0, 0));
    uint8_t wanted;

    for (unsigned i = 0; i < 5; i++) {
        VqFastRequest req;

        vq_fast_begin(f);
        qpci_config_writeb(host, reg, read_write);
        assert_works(f, addr, 8 * i);
        vq_fast_end(f);

        vq_fast_begin(f);
        qpci_config_writeb(host, reg, read_only);
        req = vq_fast_submit(f, i % VQ_FAST_QUEUES, VIRTIO_BLK_T_OUT, 9000,
                             VQ_FAST_LEN, 0x70 + i, addr, true);
        g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_OK);
        /* QEMU lets devices, and qtest, write it: a flag of an alias */
        wanted = qtest_readb(f->t->qts, addr);
        vq_fast_check_file(f, 9000, VQ_FAST_LEN, wanted);
        qpci_config_writeb(host, reg, 0);
        vq_fast_end(f);
        vq_fast_round(f, FAST_BOTH);
    }
    g_free(host);
    free_disk(f);
}

/* The guest takes the disk's access to memory away, and gives it back */
static void test_bus_master(const void *opaque)
{
    bool slow = GPOINTER_TO_UINT(opaque);
    VqFast *f = slow ? new_disk("slow", VQ_FAST_SLOW) : new_disk("node0", "");
    QVirtioDevice *vdev = f->t->vdev;
    QPCIDevice *pdev = f->t->pci->pdev;

    if (slow) {
        f->keeps_data = false;
        f->path = NULL;
    }
    for (unsigned i = 0; i < 4; i++) {
        uint16_t command = qpci_config_readw(pdev, PCI_COMMAND);
        VqQueues queues;

        vq_fast_round(f, FAST_BOTH);
        vq_fast_begin(f);
        if (slow) {
            vq_fast_wait_in_flight(f);
        } else {
            vq_fast_end(f);
        }
        qpci_config_writew(pdev, PCI_COMMAND, command & ~PCI_COMMAND_MASTER);
        vq_queues_query(f->t->qts, "disk0", &queues);
        g_assert_false(queues.started);
        for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
            g_assert_cmpuint(queues.vq[vq].in_flight, ==, 0);
        }
        qpci_config_writew(pdev, PCI_COMMAND, command | PCI_COMMAND_MASTER);
        if (slow || i % 2) {
            /* What was in flight could not tell the guest */
            vq_fast_reset(f);
        } else {
            vdev->bus->set_status(vdev, vdev->bus->get_status(vdev) |
                                  VIRTIO_CONFIG_S_DRIVER_OK);
        }
        vq_fast_round(f, FAST_BOTH);
    }
    free_disk(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/virtio-blk-guest-ram/plug/file", test_plug);
    qtest_add_func("/virtio-blk-guest-ram/plug/in-flight",
                   test_plug_in_flight);
    qtest_add_func("/virtio-blk-guest-ram/unplug/idle", test_unplug);
    qtest_add_func("/virtio-blk-guest-ram/unplug/in-flight",
                   test_unplug_in_flight);
    qtest_add_data_func("/virtio-blk-guest-ram/unplug/other/idle",
                        GUINT_TO_POINTER(false), test_unplug_other);
    qtest_add_data_func("/virtio-blk-guest-ram/unplug/other/in-flight",
                        GUINT_TO_POINTER(true), test_unplug_other);
    qtest_add_func("/virtio-blk-guest-ram/nowhere", test_nowhere);
    qtest_add_func("/virtio-blk-guest-ram/rom", test_rom);
    qtest_add_func("/virtio-blk-guest-ram/pam", test_pam);
    qtest_add_data_func("/virtio-blk-guest-ram/bus-master/file",
                        GUINT_TO_POINTER(false), test_bus_master);
    qtest_add_data_func("/virtio-blk-guest-ram/bus-master/in-flight",
                        GUINT_TO_POINTER(true), test_bus_master);
    return g_test_run();
}
