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
#include "vq-fault-util.h"
#include "vq-monitor.h"
#include "vq-watchdog.h"

#define TIMEOUT_US (30 * G_USEC_PER_SEC)
#define CONFIG_VECTOR 0
/* Index register of the IOAPIC: what is written there changes nothing */
#define MMIO_ADDRESS 0xfec00000

typedef enum Interrupt {
    INTX,
    MSIX_TO_RAM,
    MSIX_TO_MMIO,
} Interrupt;

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
        qpci_io_writel(t->pci->pdev, t->pci->pdev->msix_table_bar,
                       t->pci->pdev->msix_table_off + CONFIG_VECTOR * 16 +
                       PCI_MSIX_ENTRY_LOWER_ADDR, MMIO_ADDRESS);
        qpci_io_writel(t->pci->pdev, t->pci->pdev->msix_table_bar,
                       t->pci->pdev->msix_table_off + CONFIG_VECTOR * 16 +
                       PCI_MSIX_ENTRY_DATA, 0);
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

/*
 * The IOThread finds the mistake while the main loop, with the BQL held, waits
 * for it. The interrupt goes to a device, which only the BQL's owner may touch.
 */
static void test_main_loop_waits(void)
{
    VqTest *t = start_disk(MSIX_TO_MMIO);
    VqWatchdog *dog = vq_watchdog_begin(qtest_pid(t->qts), 10);
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
    qtest_add_func("/virtio-error/main-loop-waits", test_main_loop_waits);
    return g_test_run();
}
