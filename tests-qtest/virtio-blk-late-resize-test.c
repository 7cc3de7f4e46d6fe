/*
 * qtest of a disk that is unplugged when its node has been resized and its
 * guest has not been told yet
 *
 * Two disks share the node. Each leaves the interrupt to a bottom half of the
 * main loop; that of the first disk goes, as a guest may have it, to where it
 * switches off the slot of the second. The bottom half of the second finds a
 * disk that is on no bus any more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_pci.h"
#include "vq-plug.h"
#include "vq-test-util.h"
#include "vq-watchdog.h"

#define WATCHDOG_SECONDS 120
#define ROUNDS 3
#define CONFIG_VECTOR 0
#define PORT_DEVFN QPCI_DEVFN(5, 0)
/* Device 0 of bus 1, as libqos counts */
#define SECOND_SLOT 32
#define SECOND_MMIO 0xe4000000
/* Of the PCI host bridge: where all configuration space is in memory */
#define PCIEXBAR 0x60
#define ECAM_BASE 0xb0000000
#define ECAM_64M_ENABLE 5
#define SLOT_ON PCI_EXP_SLTCTL_PWR_IND_ON
#define SLOT_OFF (PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PWR_IND_OFF)
#define SECOND_DISK "{\"driver\":\"virtio-blk-pci\",\"id\":\"disk1\"," \
    "\"bus\":\"port0\",\"drive\":\"node0\",\"share-rw\":true%s}"

/* Give the bus behind the port its number and some addresses */
static void setup_port(QPCIDevice *port)
{
    qpci_config_writel(port, PCI_PRIMARY_BUS, 1 << 8 | 1 << 16);
    qpci_config_writel(port, PCI_MEMORY_BASE, SECOND_MMIO >> 16 |
                       ((SECOND_MMIO + 0xfff00) & 0xfff00000));
    qpci_config_writew(port, PCI_COMMAND, PCI_COMMAND_MEMORY |
                       PCI_COMMAND_MASTER);
}

static uint8_t slot_control(QPCIDevice *port)
{
    return qpci_find_capability(port, PCI_CAP_ID_EXP, 0) + PCI_EXP_SLTCTL;
}

/* Have the interrupt of a changed configuration write to Slot Control */
static void aim_interrupt(VqTest *t, QPCIDevice *port)
{
    QPCIDevice *host = qpci_device_find(t->pcibus, 0);
    QPCIDevice *disk = t->pci->pdev;
    uint64_t entry;

    g_assert_nonnull(host);
    qpci_config_writel(host, PCIEXBAR, ECAM_BASE | ECAM_64M_ENABLE);
    g_free(host);

    qpci_msix_enable(disk);
    entry = disk->msix_table_off + CONFIG_VECTOR * PCI_MSIX_ENTRY_SIZE;
    qpci_io_writel(disk, disk->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_LOWER_ADDR, ECAM_BASE + (PORT_DEVFN << 12) +
                   slot_control(port));
    qpci_io_writel(disk, disk->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_UPPER_ADDR, 0);
    qpci_io_writel(disk, disk->msix_table_bar, entry + PCI_MSIX_ENTRY_DATA,
                   SLOT_OFF);
    qpci_io_writel(disk, disk->msix_table_bar, entry +
                   PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    qpci_io_writew(disk, t->pci->bar, t->pci->common_cfg_offset +
                   offsetof(struct virtio_pci_common_cfg, msix_config),
                   CONFIG_VECTOR);
}

static void test_late_resize(const void *opaque)
{
    g_autofree char *json = g_strdup_printf(SECOND_DISK, (char *)opaque);
    VqTestDevice device = vq_test_blk_pci;
    VqWatchdog *dog;
    QPCIDevice *port;
    VqTest *t;

    device.machine = "q35";
    device.more_traces =
        "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off "
        "-device pcie-root-port,id=port0,addr=05.0,chassis=1,slot=1";
    t = vq_test_new(&device, 1, 1, ",\"share-rw\":true");
    dog = vq_watchdog_begin(qtest_pid(t->qts), WATCHDOG_SECONDS);
    vq_test_setup_driver(t, 1);
    port = qpci_device_find(t->pcibus, PORT_DEVFN);
    g_assert_nonnull(port);
    aim_interrupt(t, port);
    setup_port(port);
    qvirtio_set_driver_ok(t->vdev);
    vq_test_read(t, 0);

    for (unsigned i = 0; i < ROUNDS; i++) {
        VqTest *disk;

        vq_plug(t->qts, json);
        qpci_config_writew(port, slot_control(port), SLOT_ON);
        t->pcibus->mmio_alloc_ptr = SECOND_MMIO;
        disk = vq_test_start_plugged(t, SECOND_SLOT, 1);
        vq_test_read(disk, 0);

        qtest_qmp_assert_success(t->qts, "{'execute': 'block_resize',"
                                 " 'arguments': {'node-name': 'node0',"
                                 " 'size': %d}}",
                                 VQ_TEST_DISK_SIZE - (i + 1) * 65536);
        vq_plug_wait_gone(t->qts, "disk1");
        vq_test_stop_plugged(t, disk);
        vq_test_read(t, 0);
    }

    g_free(port);
    qpci_msix_disable(t->pci->pdev);
    vq_test_free(t);
    vq_watchdog_end(dog);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_data_func("/virtio-blk-late-resize/no-ioeventfd",
                        ",\"ioeventfd\":false", test_late_resize);
    qtest_add_data_func("/virtio-blk-late-resize/main-loop", "",
                        test_late_resize);
    return g_test_run();
}
