/*
 * qtests of what an IOThread does when the guest makes a mistake: the device
 * asks for a reset (virtio 1.2, 2.1.2), with an interrupt, and never waits for
 * the main loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqmp.h"
#include "libqos/virtio-pci.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "vq-fault-util.h"
#include "vq-monitor.h"
#include "vq-watchdog.h"

#define TIMEOUT_US (60 * G_USEC_PER_SEC)
#define WATCHDOG_S 120
#define CONFIG_VECTOR 0
/* Index register of the IOAPIC: what is written there changes nothing */
#define MMIO_ADDRESS 0xfec00000
#define MSI_DATA 0x4321
/* ISR status: an interrupt, because of the configuration */
#define ISR_BOTH 3
#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)

typedef enum Interrupt {
    INTX,
    MSIX_TO_RAM,
    MSIX_TO_MMIO,
} Interrupt;

static void set_message(VqTest *t, uint64_t address, uint32_t data)
{
    QPCIDevice *pdev = t->pci->pdev;
    uint64_t entry = pdev->msix_table_off +
                     CONFIG_VECTOR * PCI_MSIX_ENTRY_SIZE;

    qpci_io_writel(pdev, pdev->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_LOWER_ADDR, address);
    qpci_io_writel(pdev, pdev->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_UPPER_ADDR, address >> 32);
    qpci_io_writel(pdev, pdev->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_DATA, data);
    qpci_io_writel(pdev, pdev->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

static VqTest *start_disk(Interrupt interrupt)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 2,
                            ",\"iothread\":\"iothread0\"");

    if (interrupt != INTX) {
        qpci_msix_enable(t->pci->pdev);
    }
    vq_test_setup_driver(t, 2);
    if (interrupt != INTX) {
        qvirtio_pci_set_msix_configuration_vector(t->pci, &t->alloc,
                                                  CONFIG_VECTOR);
    }
    if (interrupt == MSIX_TO_MMIO) {
        set_message(t, MMIO_ADDRESS, 0);
    }
    qvirtio_set_driver_ok(t->vdev);
    return t;
}

/* A request without a header: the device cannot go on */
static void submit_mistake(VqTest *t, unsigned vq)
{
    uint64_t addr = guest_alloc(&t->alloc, 1);
    uint32_t head = qvirtqueue_add(t->qts, t->vq[vq], addr, 1, true, false);

    qvirtqueue_kick(t->qts, t->vdev, t->vq[vq], head);
}

static bool needs_reset(VqTest *t)
{
    return t->vdev->bus->get_status(t->vdev) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void wait_needs_reset(VqTest *t)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (!needs_reset(t)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}

static void assert_works(VqTest *t)
{
    vq_test_reset(t);
    for (unsigned vq = 0; vq < 2; vq++) {
        g_assert_cmpint(vq_test_read(t, vq), ==,
                        vq_test_thread_id(t, "iothread0"));
    }
    g_assert_false(needs_reset(t));
}

static void test_interrupt(const void *opaque)
{
    VqTest *t = start_disk(GPOINTER_TO_UINT(opaque));

    vq_test_read(t, 0);
    submit_mistake(t, 1);
    wait_needs_reset(t);
    t->vdev->bus->wait_config_isr_status(t->vdev, TIMEOUT_US);
    assert_works(t);
    vq_test_free(t);
}

static uint8_t read_isr(VqTest *t)
{
    return qpci_io_readb(t->pci->pdev, t->pci->bar, t->pci->isr_cfg_offset);
}

static uint8_t generation(VqTest *t)
{
    return qpci_io_readb(t->pci->pdev, t->pci->bar,
                         t->pci->common_cfg_offset + COMMON(config_generation));
}

static void set_config_vector(VqTest *t, uint16_t vector)
{
    qpci_io_writew(t->pci->pdev, t->pci->bar,
                   t->pci->common_cfg_offset + COMMON(msix_config), vector);
}

/* Read until they are there, which clears them, and no more often */
static void wait_isr(VqTest *t, uint8_t bits)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;
    uint8_t isr = 0;

    while ((isr |= read_isr(t)) != bits) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}

/* The interrupt, all of it, once; the other virtqueue makes none any more */
static void test_all_of_it(void)
{
    VqTest *t = start_disk(INTX);
    uint8_t old = generation(t);

    vq_test_read(t, 0);
    wait_isr(t, 1);
    submit_mistake(t, 1);
    wait_needs_reset(t);
    wait_isr(t, ISR_BOTH);
    g_assert_cmpuint(generation(t), ==, (uint8_t)(old + 1));
    submit_mistake(t, 0);
    qtest_qmp_assert_success(t->qts, "{'execute': 'query-block'}");
    g_assert_cmpuint(read_isr(t), ==, 0);
    assert_works(t);
    vq_test_free(t);
}

/*
 * As with KVM, where the config notifier, if QEMU sets it, goes straight to the
 * kernel and no handler of QEMU's hears of it. No vector is in use when the
 * disk starts, or QEMU would talk to KVM.
 */
static void test_irqfd(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 2,
                            ",\"iothread\":\"iothread0\"");
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;
    uint64_t message = guest_alloc(&t->alloc, 4);
    uint8_t old;

    qtest_writel(t->qts, message, 0);
    qpci_msix_enable(t->pci->pdev);
    set_message(t, message, MSI_DATA);
    vq_test_poke(t, "kvm_msi_via_irqfd_allowed", true);
    vq_test_setup_driver(t, 2);
    qvirtio_set_driver_ok(t->vdev);
    vq_test_read(t, 0);
    wait_isr(t, 1);
    set_config_vector(t, CONFIG_VECTOR);
    old = generation(t);

    submit_mistake(t, 1);
    wait_needs_reset(t);
    wait_isr(t, ISR_BOTH);
    g_assert_cmpuint(generation(t), ==, (uint8_t)(old + 1));
    while (qtest_readl(t->qts, message) != MSI_DATA) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }

    set_config_vector(t, VIRTIO_MSI_NO_VECTOR);
    assert_works(t);
    qpci_msix_disable(t->pci->pdev);
    vq_test_free(t);
}

/* A broken device is silent, but for the error: also when its disk grows */
static void test_silent_afterwards(void)
{
    VqTest *t = start_disk(MSIX_TO_RAM);

    submit_mistake(t, 1);
    wait_needs_reset(t);
    t->vdev->bus->wait_config_isr_status(t->vdev, TIMEOUT_US);
    qtest_writel(t->qts, t->pci->config_msix_addr, 0);
    qtest_qmp_assert_success(t->qts, "{'execute': 'block_resize', 'arguments':"
                             " {'node-name': 'node0', 'size': %d}}",
                             VQ_TEST_DISK_SIZE * 2);
    qtest_qmp_assert_success(t->qts, "{'execute': 'query-block'}");
    g_assert_cmpuint(qtest_readl(t->qts, t->pci->config_msix_addr), ==, 0);
    assert_works(t);
    vq_test_free(t);
}

/*
 * The IOThread finds the mistake while the main loop, with the BQL held, waits
 * for it. The interrupt goes to a device, which only the BQL's owner may touch.
 */
static void test_main_loop_waits(void)
{
    VqTest *t = start_disk(MSIX_TO_MMIO);
    VqWatchdog *dog = vq_watchdog_begin(qtest_pid(t->qts), WATCHDOG_S);
    int qmp = vq_monitor_open(t->monitor);
    g_autofree char *needle = NULL;
    VqFaultFreezer freezer;
    VqTestRequest req;

    vq_test_read(t, 0);
    vq_test_read(t, 1);

    vq_fault_freeze(t, &freezer);
    req = vq_test_prepare_read(t, 0, &needle);
    vq_test_submit(t, &req, true);
    vq_fault_wait_frozen(t, vq_test_thread_id(t, "iothread0"));

    submit_mistake(t, 1);
    qmp_fd_send(qmp, "{'execute': 'stop'}");
    g_assert_false(vq_monitor_poll(qmp, 300));
    vq_fault_thaw(&freezer);
    vq_monitor_assert_success(qmp);

    /* A read that is not complete before the mistake never is */
    g_assert_true(needs_reset(t));
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");

    close(qmp);
    vq_watchdog_end(dog);
    vq_test_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_data_func("/virtio-error/interrupt/intx",
                        GUINT_TO_POINTER(INTX), test_interrupt);
    qtest_add_data_func("/virtio-error/interrupt/msix",
                        GUINT_TO_POINTER(MSIX_TO_RAM), test_interrupt);
    qtest_add_func("/virtio-error/interrupt/all-of-it", test_all_of_it);
    qtest_add_func("/virtio-error/interrupt/irqfd", test_irqfd);
    qtest_add_func("/virtio-error/silent-afterwards", test_silent_afterwards);
    qtest_add_func("/virtio-error/main-loop-waits", test_main_loop_waits);
    return g_test_run();
}
