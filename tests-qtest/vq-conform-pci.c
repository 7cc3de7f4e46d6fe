/*
 * Conformance cases for a virtio-blk-pci device: PCI, and the legacy interface
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "qemu/bswap.h"
#include "vq-conform.h"

static const Desc read_20[] = { HDR, IN(20), ST };

/* Capabilities */

static Verdict run_caps(Conform *c)
{
    static const uint8_t types[] = {
        VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG,
        VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_CAP_DEVICE_CFG,
        VIRTIO_PCI_CAP_PCI_CFG
    };

    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        uint8_t cap = cf_find_cap(c, types[i]);

        if (!cap) {
            return cf_note(c, FAILED, "no capability %u", types[i]);
        }
        if (types[i] != VIRTIO_PCI_CAP_PCI_CFG &&
            qpci_config_readl(c->pci, cap + VIRTIO_PCI_CAP_OFFSET) % 4) {
            return cf_note(c, FAILED, "capability %u is unaligned", types[i]);
        }
    }
    return PASSED;
}

/* arg: the type of a capability, whose fields are not to be written */
static Verdict run_write_cap(Conform *c)
{
    uint8_t cap = cf_find_cap(c, c->k->arg);
    uint32_t before[4];

    cf_up(c);
    for (unsigned i = 0; i < 4; i++) {
        before[i] = qpci_config_readl(c->pci, cap + i * 4);
        qpci_config_writel(c->pci, cap + i * 4, 0xffffffff);
        if (qpci_config_readl(c->pci, cap + i * 4) != before[i]) {
            return cf_note(c, FAILED, "dword %u has changed", i);
        }
    }
    return cf_survives(c) == PASSED ? REFUSED : FAILED;
}

static uint8_t window(Conform *c, uint8_t bar, uint32_t offset,
                      uint32_t length)
{
    uint8_t cap = cf_find_cap(c, VIRTIO_PCI_CAP_PCI_CFG);

    qpci_config_writeb(c->pci, cap + VIRTIO_PCI_CAP_BAR, bar);
    qpci_config_writel(c->pci, cap + VIRTIO_PCI_CAP_OFFSET, offset);
    qpci_config_writel(c->pci, cap + VIRTIO_PCI_CAP_LENGTH, length);
    return cap + sizeof(struct virtio_pci_cap);
}

static Verdict run_window(Conform *c)
{
    QVirtioPCIDevice *pci = c->t->pci;
    uint8_t data;
    uint32_t len;

    cf_up(c);
    data = window(c, pci->bar_idx, pci->common_cfg_offset + CF(NUMQ), 2);
    if (qpci_config_readw(c->pci, data) != QUEUES) {
        return cf_note(c, FAILED, "num_queues is wrong");
    }
    data = window(c, pci->bar_idx, pci->common_cfg_offset + CF(STATUS), 1);
    if (qpci_config_readb(c->pci, data) != cf_rd8(c, CF(STATUS))) {
        return cf_note(c, FAILED, "status is wrong");
    }
    data = window(c, pci->bar_idx, pci->device_cfg_offset, 4);
    if (qpci_config_readl(c->pci, data) != VQ_TEST_DISK_SIZE / 512) {
        return cf_note(c, FAILED, "capacity is wrong");
    }
    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    cf_post(c, 1, read_20, ARRAY_SIZE(read_20));
    data = window(c, pci->bar_idx, pci->notify_cfg_offset +
                  pci->notify_off_multiplier, 2);
    qpci_config_writew(c->pci, data, 1);
    if (!cf_wait_used(c, 1, &len)) {
        return cf_note(c, FAILED, "a notification is lost");
    }
    data = window(c, pci->bar_idx, pci->common_cfg_offset + CF(STATUS), 1);
    qpci_config_writeb(c->pci, data, 0);
    return cf_rd8(c, CF(STATUS)) ? cf_note(c, FAILED, "no reset") : PASSED;
}

/* A window that is none: read and write through it */
typedef struct Window {
    uint8_t bar;        /* 0xfe: the right one */
    uint32_t offset, length;
} Window;

static Verdict run_bad_window(Conform *c)
{
    const Window *w = c->k->data;
    uint8_t data;

    cf_up(c);
    data = window(c, w->bar == 0xfe ? c->t->pci->bar_idx : w->bar, w->offset,
                  w->length);
    for (unsigned i = 0; i < 3; i++) {
        qpci_config_readl(c->pci, data);
        qpci_config_readw(c->pci, data);
        qpci_config_readb(c->pci, data + i);
        qpci_config_writel(c->pci, data, 0xf);
        qpci_config_writew(c->pci, data + 1, 0xf);
        qpci_config_writeb(c->pci, data + 3, 0xf);
    }
    window(c, c->t->pci->bar_idx, 0, 0);
    return cf_survives(c) == PASSED ? REFUSED : FAILED;
}

/* arg: bits of the command register that go and come back, with requests */
static Verdict run_command(Conform *c)
{
    uint16_t command = qpci_config_readw(c->pci, PCI_COMMAND);

    cf_up(c);
    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_post(c, q, read_20, ARRAY_SIZE(read_20));
        cf_kick(c, q);
    }
    for (unsigned i = 0; i < 3; i++) {
        qpci_config_writew(c->pci, PCI_COMMAND, command & ~c->k->arg);
        for (unsigned q = 0; q < QUEUES; q++) {
            cf_kick(c, q);
        }
        qpci_config_writew(c->pci, PCI_COMMAND, command);
    }
    return PASSED;
}

static const Window bar_5 = { 5, 20, 1 }, bar_255 = { 255, 20, 1 },
                    length_0 = { 0xfe, 20, 0 }, length_3 = { 0xfe, 20, 3 },
                    length_8 = { 0xfe, 32, 8 },
                    length_4g = { 0xfe, 0, 0xffffffff },
                    beyond = { 0xfe, 0x4000, 4 },
                    last_bytes = { 0xfe, 0x3ffe, 4 },
                    all_ones = { 0xfe, 0xffffffff, 4 },
                    unaligned = { 0xfe, 21, 4 };

/* The legacy interface, in I/O BAR 0 of a transitional device */

static void legacy_map(Conform *c)
{
    if (!c->legacy_mapped) {
        c->legacy = qpci_iomap(c->pci, 0, NULL);
        c->legacy_mapped = true;
    }
}

static void legacy_wr16(Conform *c, unsigned reg, uint16_t value)
{
    qpci_io_writew(c->pci, c->legacy, reg, value);
}

static uint16_t legacy_rd16(Conform *c, unsigned reg)
{
    return qpci_io_readw(c->pci, c->legacy, reg);
}

static void legacy_status(Conform *c, uint8_t value)
{
    qpci_io_writeb(c->pci, c->legacy, VIRTIO_PCI_STATUS, value);
}

static void legacy_pfn(Conform *c, unsigned q, uint32_t pfn)
{
    legacy_wr16(c, VIRTIO_PCI_QUEUE_SEL, q);
    qpci_io_writel(c->pci, c->legacy, VIRTIO_PCI_QUEUE_PFN, pfn);
}

/* Table and available ring, and the used ring in pages of its own */
static void legacy_queue_setup(Conform *c, unsigned q)
{
    uint64_t at = DATA + 1 * MiB + q * 64 * KiB, driver, device;
    unsigned size;

    legacy_wr16(c, VIRTIO_PCI_QUEUE_SEL, q);
    size = legacy_rd16(c, VIRTIO_PCI_QUEUE_NUM);
    driver = at + size * sizeof(struct vring_desc);
    device = ROUND_UP(driver + 6 + size * 2, VIRTIO_PCI_VRING_ALIGN);
    cf_fill(c, at, 0, 64 * KiB);
    cf_may_change(c, device, 6 + size * sizeof(struct vring_used_elem));
    c->q[q] = (Queue) {
        .size = size, .desc = at, .driver = driver, .device = device,
        .avail_wrap = true, .used_wrap = true,
    };
    legacy_pfn(c, q, at >> VIRTIO_PCI_QUEUE_ADDR_SHIFT);
}

static void legacy_up(Conform *c)
{
    legacy_map(c);
    legacy_status(c, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    legacy_status(c, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    qpci_io_writel(c->pci, c->legacy, VIRTIO_PCI_GUEST_FEATURES,
                   1u << VIRTIO_BLK_F_FLUSH);
    for (unsigned q = 0; q < QUEUES; q++) {
        legacy_queue_setup(c, q);
    }
    legacy_status(c, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                  VIRTIO_CONFIG_S_DRIVER_OK);
}

static bool legacy_good(Conform *c, unsigned q)
{
    uint32_t len;

    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    cf_post(c, q, read_20, ARRAY_SIZE(read_20));
    legacy_wr16(c, VIRTIO_PCI_QUEUE_NOTIFY, q);
    if (c->k->either) {
        /* The device may be broken, and then has no way to say so */
        for (unsigned i = 0; i < 300; i++) {
            uint32_t id;

            if (cf_pop_used(c, q, &id, &len)) {
                return true;
            }
            g_usleep(1000);
        }
        return false;
    }
    return cf_wait_used(c, q, &len) && c->ram[STATUS] == VIRTIO_BLK_S_OK &&
           !memcmp(c->ram + DATA, "0123456789", 10);
}

static Verdict legacy_survives(Conform *c, unsigned but)
{
    for (unsigned q = 0; q < QUEUES; q++) {
        if (q != but && !legacy_good(c, q)) {
            return c->k->either ?
                   cf_note(c, REFUSED, "no answer until a reset") :
                   cf_note(c, FAILED, "virtqueue %u does not work", q);
        }
    }
    return PASSED;
}

static Verdict run_legacy(Conform *c)
{
    legacy_up(c);
    for (unsigned i = 0; i < 3; i++) {
        if (legacy_survives(c, QUEUES) != PASSED) {
            return FAILED;
        }
    }
    legacy_status(c, 0);
    return qpci_io_readb(c->pci, c->legacy, VIRTIO_PCI_STATUS) ? FAILED
                                                               : PASSED;
}

/* arg: what is selected, which has no size */
static Verdict run_legacy_select(Conform *c)
{
    legacy_up(c);
    legacy_wr16(c, VIRTIO_PCI_QUEUE_SEL, 1);
    legacy_wr16(c, VIRTIO_PCI_QUEUE_SEL, c->k->arg);
    if (legacy_rd16(c, VIRTIO_PCI_QUEUE_NUM)) {
        return cf_note(c, FAILED, "the size is %u",
                       legacy_rd16(c, VIRTIO_PCI_QUEUE_NUM));
    }
    return legacy_survives(c, QUEUES);
}

/* arg: the virtqueue; data: the page */
static Verdict run_legacy_pfn(Conform *c)
{
    const uint32_t *pfn = c->k->data;

    legacy_up(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        legacy_wr16(c, VIRTIO_PCI_QUEUE_NOTIFY, q);
    }
    legacy_wr16(c, VIRTIO_PCI_QUEUE_SEL, QUEUES);
    legacy_pfn(c, c->k->arg, *pfn);
    for (unsigned i = 0; i < 3; i++) {
        legacy_wr16(c, VIRTIO_PCI_QUEUE_NOTIFY, c->k->arg);
    }
    if (!*pfn) {
        /* That is how legacy drivers give a virtqueue up */
        return PASSED;
    }
    return legacy_survives(c, c->k->arg);
}

static Verdict run_legacy_notify(Conform *c)
{
    legacy_up(c);
    for (unsigned i = 0; i < 5; i++) {
        legacy_wr16(c, VIRTIO_PCI_QUEUE_NOTIFY, c->k->arg);
    }
    return legacy_survives(c, QUEUES) == PASSED ? REFUSED : FAILED;
}

/* arg: bits that legacy drivers must not accept, or are not offered */
static Verdict run_legacy_features(Conform *c)
{
    legacy_map(c);
    legacy_status(c, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    qpci_io_writel(c->pci, c->legacy, VIRTIO_PCI_GUEST_FEATURES, c->k->arg);
    for (unsigned q = 0; q < QUEUES; q++) {
        legacy_queue_setup(c, q);
    }
    legacy_status(c, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                  VIRTIO_CONFIG_S_DRIVER_OK);
    return legacy_survives(c, QUEUES);
}

/* Some legacy drivers do that, and are served */
static Verdict run_legacy_early(Conform *c)
{
    legacy_map(c);
    legacy_status(c, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    qpci_io_writel(c->pci, c->legacy, VIRTIO_PCI_GUEST_FEATURES, 0);
    for (unsigned q = 0; q < QUEUES; q++) {
        legacy_queue_setup(c, q);
    }
    return legacy_survives(c, QUEUES);
}

/* A modern driver has the device, and legacy registers are written */
static Verdict run_legacy_beside_modern(Conform *c)
{
    legacy_map(c);
    cf_up(c);
    legacy_pfn(c, 1, DESC(1) >> VIRTIO_PCI_QUEUE_ADDR_SHIFT);
    qpci_io_writel(c->pci, c->legacy, VIRTIO_PCI_GUEST_FEATURES, -1);
    for (unsigned q = 0; q < QUEUES; q++) {
        legacy_wr16(c, VIRTIO_PCI_QUEUE_NOTIFY, q);
    }
    return cf_verify(c, 0) && cf_verify(c, 2) && cf_verify(c, 3) ? PASSED :
           cf_broken(c) ? cf_note(c, REFUSED, "DEVICE_NEEDS_RESET") : FAILED;
}

static const uint32_t pfn_0 = 0, pfn_all = 0xffffffff,
                      pfn_nowhere = NOWHERE >> VIRTIO_PCI_QUEUE_ADDR_SHIFT,
                      pfn_end = (RAM_SIZE >> VIRTIO_PCI_QUEUE_ADDR_SHIFT) - 1,
                      pfn_mmio = IOAPIC >> VIRTIO_PCI_QUEUE_ADDR_SHIFT;

static const ConformCase pci_cases[] = {
    { "pci/capabilities", "4.1.4", run_caps },
    { "pci/write-common-capability", "4.1.4.1", run_write_cap, REFUSED,
      .arg = VIRTIO_PCI_CAP_COMMON_CFG },
    { "pci/write-notify-capability", "4.1.4.1", run_write_cap, REFUSED,
      .arg = VIRTIO_PCI_CAP_NOTIFY_CFG },
    { "pci/window", "4.1.4.9.1", run_window },
    { "pci/window/bar-5", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &bar_5 },
    { "pci/window/bar-255", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &bar_255 },
    { "pci/window/length-0", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &length_0 },
    { "pci/window/length-3", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &length_3 },
    { "pci/window/length-8", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &length_8 },
    { "pci/window/length-4g", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &length_4g },
    { "pci/window/beyond-bar", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &beyond },
    { "pci/window/across-end-of-bar", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &last_bytes },
    { "pci/window/offset-all-ones", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &all_ones },
    { "pci/window/unaligned", "4.1.4.9.2", run_bad_window, REFUSED,
      .data = &unaligned },
    { "pci/bus-master-off-and-on", "4.1.1", run_command, .rings = BOTH,
      .arg = PCI_COMMAND_MASTER },
    { "pci/memory-off-and-on", "4.1.1", run_command, .rings = BOTH,
      .arg = PCI_COMMAND_MEMORY },
};

static const ConformCase legacy_cases[] = {
    { "legacy/init-and-requests", "3.1.2", run_legacy },
    { "legacy/request-before-driver-ok", "3.1.2", run_legacy_early },
    { "legacy/feature-bit-30", "2.2.3", run_legacy_features,
      .arg = 1 << 30 },
    { "legacy/features-all", "2.2.3", run_legacy_features,
      .arg = 0xffffffff & ~(1u << VIRTIO_RING_F_EVENT_IDX) },
    { "legacy/select/4", "4.1.4.10", run_legacy_select, .arg = 4 },
    { "legacy/select/1023", "4.1.4.10", run_legacy_select, .arg = 1023 },
    { "legacy/select/1024", "4.1.4.10", run_legacy_select, FAILED,
      "queue_select ignores an index above 1023, as in stock: the virtqueue "
      "selected before stays selected", .arg = 1024 },
    { "legacy/select/65535", "4.1.4.10", run_legacy_select, FAILED,
      "queue_select ignores an index above 1023, as in stock: the virtqueue "
      "selected before stays selected", .arg = 65535 },
    { "legacy/page-0", "4.1.5.1.3", run_legacy_pfn, .arg = 1,
      .data = &pfn_0 },
    { "legacy/page-nowhere", "2.7.2", run_legacy_pfn, .arg = 1,
      .data = &pfn_nowhere, .either = true },
    { "legacy/page-in-mmio", "2.7.2", run_legacy_pfn, .arg = 1,
      .data = &pfn_mmio, .either = true },
    { "legacy/page-at-end-of-ram", "2.7.2", run_legacy_pfn, .arg = 1,
      .data = &pfn_end, .either = true },
    { "legacy/page-all-ones", "2.7.2", run_legacy_pfn, .arg = 1,
      .data = &pfn_all, .either = true },
    { "legacy/page-of-queue-4", "4.1.5.1.3", run_legacy_pfn, .arg = 4,
      .data = &pfn_nowhere },
    { "legacy/page-of-queue-1023", "4.1.5.1.3", run_legacy_pfn, .arg = 1023,
      .data = &pfn_nowhere },
    { "legacy/page-of-queue-65535", "4.1.5.1.3", run_legacy_pfn,
      .arg = 65535, .data = &pfn_nowhere },
    { "legacy/notify/4", "4.1.5.2", run_legacy_notify, REFUSED, .arg = 4 },
    { "legacy/notify/1023", "4.1.5.2", run_legacy_notify, REFUSED,
      .arg = 1023 },
    { "legacy/notify/1024", "4.1.5.2", run_legacy_notify, REFUSED,
      .arg = 1024 },
    { "legacy/notify/65535", "4.1.5.2", run_legacy_notify, REFUSED,
      .arg = 65535 },
    { "legacy/beside-modern", "4.1.4.10", run_legacy_beside_modern },
};

void conform_add_pci(GArray *all)
{
    conform_add_cases(all, pci_cases, ARRAY_SIZE(pci_cases));
}

void conform_add_legacy(GArray *all)
{
    conform_add_cases(all, legacy_cases, ARRAY_SIZE(legacy_cases));
}
