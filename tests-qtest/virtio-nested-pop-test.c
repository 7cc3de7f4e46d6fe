/*
 * qtests of a virtqueue_pop() within another one, of another device: mapping a
 * buffer has the IOMMU report a fault through its event queue, and a mistake
 * raises an interrupt whose address the guest may choose
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_iommu.h"
#include "vq-hostile.h"

#define DISK_SLOT 4
#define OTHER_SLOT 5
#define DOMAIN 1
#define WATCHDOG_SECONDS 120
#define CONFIG_VECTOR 0
/* Of the IOAPIC, where a device reads zeroes: the header of a read */
#define MMIO_ADDRESS 0xfec00000
/* Which virtqueue of the other disk is used, so that no ring is used twice */
#define OTHER_VQ 1
#define FAULT_BUFFERS 16

typedef struct Case {
    const char *name;
    bool packed;
    bool indirect;
} Case;

static const Case cases[] = {
    { "split/direct", false, false },
    { "split/indirect", false, true },
    { "packed/direct", true, false },
    { "packed/indirect", true, true },
};

typedef struct Iommu {
    QVirtioPCIDevice *pci;
    QVirtQueue *requests;
    QVirtQueue *events;
} Iommu;

/* A disk that the main loop serves */
static Guest *new_guest(const Case *c, const char *machine,
                        const char *more_traces, const char *properties)
{
    Guest *g = g_new0(Guest, 1);
    g_autofree char *all = g_strdup_printf("%s%s", properties, c->packed ?
                                           ",\"packed\":true" : "");

    g->packed = c->packed;
    g->device = vq_test_blk_pci;
    g->device.machine = machine;
    g->device.more_traces = more_traces;
    g->t = vq_test_new(&g->device, 0, 1, all);
    g->dog = vq_watchdog_begin(qtest_pid(g->t->qts), WATCHDOG_SECONDS);
    return g;
}

static void start_one(Guest *g, unsigned vq)
{
    negotiate(g);
    queue_setup(g, vq);
    qvirtio_set_driver_ok(g->t->vdev);
}

static void post_request(Guest *g, unsigned vq, const Desc *desc, unsigned n,
                         bool indirect)
{
    const Desc table = TAB(n * sizeof(struct vring_desc));

    if (indirect) {
        write_table(g, desc, n);
        post(g, vq, &table, 1, 0, 0);
    } else {
        post(g, vq, desc, n, 0, 0);
    }
}

static void iommu_request(VqTest *t, Iommu *iommu, const void *req, size_t size)
{
    size_t out_len = size - sizeof(struct virtio_iommu_req_tail);
    uint64_t addr = guest_alloc(&t->alloc, size);
    uint32_t head;

    qtest_memwrite(t->qts, addr, req, size);
    head = qvirtqueue_add(t->qts, iommu->requests, addr, out_len, false, true);
    qvirtqueue_add(t->qts, iommu->requests, addr + out_len, size - out_len,
                   true, false);
    qvirtqueue_kick(t->qts, &iommu->pci->vdev, iommu->requests, head);
    qvirtio_wait_used_elem(t->qts, &iommu->pci->vdev, iommu->requests, head,
                           NULL, TIMEOUT_US);
    g_assert_cmpuint(qtest_readb(t->qts, addr + out_len), ==,
                     VIRTIO_IOMMU_S_OK);
    guest_free(&t->alloc, addr);
}

/* Guest RAM is where it is for the disk, and there is nothing else */
static void iommu_map(VqTest *t, Iommu *iommu)
{
    struct virtio_iommu_req_attach attach = {
        .head.type = VIRTIO_IOMMU_T_ATTACH,
        .domain = cpu_to_le32(DOMAIN),
        .endpoint = cpu_to_le32(QPCI_DEVFN(DISK_SLOT, 0)),
    };
    struct virtio_iommu_req_map map = {
        .head.type = VIRTIO_IOMMU_T_MAP,
        .domain = cpu_to_le32(DOMAIN),
        .virt_end = cpu_to_le64(RAM_SIZE - 1),
        .flags = cpu_to_le32(VIRTIO_IOMMU_MAP_F_READ |
                             VIRTIO_IOMMU_MAP_F_WRITE),
    };

    iommu_request(t, iommu, &attach, sizeof(attach));
    iommu_request(t, iommu, &map, sizeof(map));
}

static void iommu_start(VqTest *t, Iommu *iommu)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(OTHER_SLOT, 0) };
    QVirtioDevice *vdev;

    iommu->pci = virtio_pci_new(t->pcibus, &addr);
    g_assert_nonnull(iommu->pci);
    qvirtio_pci_device_enable(iommu->pci);
    vdev = &iommu->pci->vdev;
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) &
                         ~(QVIRTIO_F_BAD_FEATURE |
                           (1ull << VIRTIO_RING_F_INDIRECT_DESC) |
                           (1ull << VIRTIO_RING_F_EVENT_IDX)));
    iommu->requests = qvirtqueue_setup(vdev, &t->alloc, 0);
    iommu->events = qvirtqueue_setup(vdev, &t->alloc, 1);
    qvirtio_set_driver_ok(vdev);

    for (unsigned i = 0; i < FAULT_BUFFERS; i++) {
        size_t size = sizeof(struct virtio_iommu_fault);
        uint64_t buffer = guest_alloc(&t->alloc, size);
        uint32_t head;

        qtest_memset(t->qts, buffer, 0, size);
        head = qvirtqueue_add(t->qts, iommu->events, buffer, size, true, false);
        qvirtqueue_kick(t->qts, vdev, iommu->events, head);
    }
    iommu_map(t, iommu);
}

static void iommu_stop(VqTest *t, Iommu *iommu)
{
    qvirtio_reset(&iommu->pci->vdev);
    qvirtqueue_cleanup(iommu->pci->vdev.bus, iommu->requests, &t->alloc);
    qvirtqueue_cleanup(iommu->pci->vdev.bus, iommu->events, &t->alloc);
    qvirtio_pci_destructor(&iommu->pci->obj);
    g_free(iommu->pci);
}

/*
 * A read whose data goes where the IOMMU has no mapping: the header, which has
 * been mapped before, must still be the header afterwards
 */
static void test_iommu_fault(const void *opaque)
{
    static const Desc desc[] = { HDR, { NOWHERE, 512, NEXT | WRITE }, ST };
    const Case *c = opaque;
    Guest *g = new_guest(c, "q35", "-device virtio-iommu-pci,addr=05.0",
                         ",\"disable-legacy\":\"on\",\"iommu_platform\":true");
    uint32_t fault, len;
    Iommu iommu;

    iommu_start(g->t, &iommu);
    start_one(g, 0);
    good_request(g, 0);
    g_assert_false(qvirtqueue_get_buf(g->t->qts, iommu.events, &fault, &len));

    write_header(g, VIRTIO_BLK_T_IN, 0);
    post_request(g, 0, desc, ARRAY_SIZE(desc), c->indirect);
    kick(g, 0);
    wait_done(g, 0, c->indirect ? 1 : ARRAY_SIZE(desc));

    g_assert_true(qvirtqueue_get_buf(g->t->qts, iommu.events, &fault, &len));
    g_assert_cmpuint(len, ==, sizeof(struct virtio_iommu_fault));
    g_assert_false(is_broken(g));
    g_assert_cmpuint(qtest_readb(g->t->qts, STATUS), ==, VIRTIO_BLK_S_OK);
    good_request(g, 0);
    check_host(g);

    qvirtio_reset(g->t->vdev);
    iommu_stop(g->t, &iommu);
    hostile_free(g);
}

static void set_msix_message(QPCIDevice *dev, unsigned vector, uint64_t address,
                             uint32_t data)
{
    uint64_t entry = dev->msix_table_off + vector * PCI_MSIX_ENTRY_SIZE;

    qpci_io_writel(dev, dev->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_LOWER_ADDR, address);
    qpci_io_writel(dev, dev->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_UPPER_ADDR, address >> 32);
    qpci_io_writel(dev, dev->msix_table_bar, entry + PCI_MSIX_ENTRY_DATA, data);
    qpci_io_writel(dev, dev->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

/*
 * A request that breaks the disk when part of it has been mapped. The interrupt
 * has another disk pop a request, whose header is in a bounce buffer: that must
 * not be unmapped in place of what was mapped here.
 */
static void test_interrupt(const void *opaque)
{
    static const Desc mistake[] = { HDR, IN(0), ST };
    static const Desc read[] = {
        { MMIO_ADDRESS, 16, NEXT }, { DATA, 512, NEXT | WRITE }, ST
    };
    const Case *c = opaque;
    QPCIAddress addr = { .devfn = QPCI_DEVFN(OTHER_SLOT, 0) };
    g_autofree char *args = g_strdup_printf(
        "-blockdev null-co,node-name=node1,size=1048576,latency-ns=1000000,"
        "read-zeroes=on "
        "-device virtio-blk-pci,drive=node1,addr=05.0,num-queues=2,"
        "ioeventfd=off%s", c->packed ? ",packed=on" : "");
    Guest *g = new_guest(c, "pc", args, "");
    Guest *other = g_new0(Guest, 1);
    VqTest *t = g_new(VqTest, 1);
    QPCIDevice *pdev = g->t->pci->pdev;

    *t = *g->t;
    t->pci = virtio_pci_new(t->pcibus, &addr);
    g_assert_nonnull(t->pci);
    qvirtio_pci_device_enable(t->pci);
    t->vdev = &t->pci->vdev;
    other->t = t;
    other->packed = c->packed;
    start_one(other, OTHER_VQ);

    qpci_msix_enable(pdev);
    negotiate(g);
    queue_setup(g, 0);
    set_msix_message(pdev, CONFIG_VECTOR, t->pci->bar.addr +
                     other->rings[OTHER_VQ].notify, OTHER_VQ);
    common_write(g, COMMON(msix_config), CONFIG_VECTOR);
    qvirtio_set_driver_ok(g->t->vdev);

    write_header(g, VIRTIO_BLK_T_IN, 0);
    post_request(other, OTHER_VQ, read, ARRAY_SIZE(read), false);
    post_request(g, 0, mistake, ARRAY_SIZE(mistake), c->indirect);
    kick(g, 0);
    wait_broken(g);

    wait_done(other, OTHER_VQ, ARRAY_SIZE(read));
    g_assert_false(is_broken(other));
    g_assert_cmpuint(qtest_readb(t->qts, STATUS), ==, VIRTIO_BLK_S_OK);
    good_request(other, OTHER_VQ);
    check_host(g);

    qvirtio_reset(t->vdev);
    qvirtio_pci_destructor(&t->pci->obj);
    g_free(t->pci);
    g_free(t);
    g_free(other);
    qpci_msix_disable(pdev);
    hostile_free(g);
}

static void add_cases(const char *name, GTestDataFunc func)
{
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/virtio-nested-pop/%s/%s",
                                                name, cases[i].name);

        qtest_add_data_func(path, &cases[i], func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add_cases("iommu-fault", test_iommu_fault);
    add_cases("interrupt", test_interrupt);
    return g_test_run();
}
