/*
 * Conformance cases for a virtio-blk-pci device: interrupts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "qemu/bswap.h"
#include "vq-conform.h"

#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define NONE VIRTIO_MSI_NO_VECTOR
#define VICTIM 1

static uint8_t read_isr(Conform *c)
{
    QVirtioPCIDevice *pci = c->t->pci;

    return qpci_io_readb(c->pci, c->bar, pci->isr_cfg_offset);
}

/* What has completed until now has interrupted, if it does */
static void settle_interrupts(Conform *c)
{
    for (unsigned i = 0; i < 2; i++) {
        qobject_unref(qtest_qmp(c->t->qts, "{'execute': 'query-status'}"));
        g_usleep(1000);
    }
}

static bool wait_isr(Conform *c, uint8_t bit)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (!(read_isr(c) & bit)) {
        if (g_get_monotonic_time() > deadline) {
            return false;
        }
        g_usleep(100);
    }
    return true;
}

static bool has_msi(Conform *c, unsigned v)
{
    return ldl_le_p(c->ram + MSI(v)) == MSI_DATA(v);
}

static bool wait_msi(Conform *c, unsigned v)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (!has_msi(c, v)) {
        if (g_get_monotonic_time() > deadline) {
            cf_note(c, FAILED, "no interrupt on vector %u", v);
            return false;
        }
        g_usleep(100);
    }
    cf_fill(c, MSI(v), 0, 4);
    return true;
}

static bool set_vector(Conform *c, unsigned q, uint16_t vector)
{
    unsigned reg = q < QUEUES ? CF(Q_MSIX) : CF(MSIX);

    if (q < QUEUES) {
        cf_select(c, q);
    }
    cf_wr16(c, reg, vector);
    if (cf_rd16(c, reg) != vector) {
        cf_note(c, FAILED, "vector %u reads as %u", vector, cf_rd16(c, reg));
        return false;
    }
    return true;
}

static bool msix_pending(Conform *c, unsigned v)
{
    return qpci_io_readl(c->pci, c->pci->msix_pba_bar,
                         c->pci->msix_pba_off) & 1u << v;
}

static bool breaks(Conform *c)
{
    static const Desc bad[] = { { HEADER, 1, 0 } };

    cf_post(c, VICTIM, bad, 1);
    cf_kick(c, VICTIM);
    cf_settle(c, VICTIM);
    return cf_broken(c);
}

/* Without MSI-X */

static Verdict run_isr_queue(Conform *c)
{
    cf_up(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        settle_interrupts(c);
        read_isr(c);
        if (!cf_good(c, q) || !wait_isr(c, 1)) {
            return cf_note(c, FAILED, "virtqueue %u does not interrupt", q);
        }
    }
    settle_interrupts(c);
    read_isr(c);
    return read_isr(c) ? cf_note(c, FAILED, "it is not 0 after a read")
                       : PASSED;
}

static Verdict run_isr_status_bit(Conform *c)
{
    cf_up(c);
    read_isr(c);
    if (qpci_config_readw(c->pci, PCI_STATUS) & PCI_STATUS_INTERRUPT) {
        return cf_note(c, FAILED, "the status bit is set");
    }
    if (!cf_good(c, 0)) {
        return FAILED;
    }
    settle_interrupts(c);
    if (!(qpci_config_readw(c->pci, PCI_STATUS) & PCI_STATUS_INTERRUPT)) {
        return cf_note(c, FAILED, "the status bit is not set");
    }
    read_isr(c);
    return qpci_config_readw(c->pci, PCI_STATUS) & PCI_STATUS_INTERRUPT ?
           cf_note(c, FAILED, "the status bit stays set") : PASSED;
}

static Verdict run_isr_write(Conform *c)
{
    QVirtioPCIDevice *pci = c->t->pci;

    cf_up(c);
    settle_interrupts(c);
    read_isr(c);
    qpci_io_writeb(c->pci, c->bar, pci->isr_cfg_offset, 0xff);
    if (read_isr(c)) {
        return cf_note(c, FAILED, "it has been written");
    }
    return cf_survives(c) == PASSED ? REFUSED : FAILED;
}

static Verdict run_isr_reset(Conform *c)
{
    cf_up(c);
    cf_good(c, 0);
    settle_interrupts(c);
    cf_reset(c);
    return read_isr(c) ? cf_note(c, FAILED, "it is not 0 after a reset")
                       : PASSED;
}

/* Flags, or used_event, say that the driver wants no interrupt */
static Verdict run_isr_suppressed(Conform *c)
{
    uint16_t flags = cpu_to_le16(1), far_away = cpu_to_le16(0x4000);

    cf_up(c);
    settle_interrupts(c);
    read_isr(c);
    if (c->k->with & EVENT_IDX) {
        cf_write(c, DRIVER(0) + 4 + 2 * RING_SIZE, &far_away, 2);
        /* The first one tells, as nothing is known of what was told before */
        cf_good(c, 0);
        settle_interrupts(c);
        read_isr(c);
    } else {
        cf_write(c, DRIVER(0) + (c->packed ? 2 : 0), &flags, 2);
    }
    for (unsigned i = 0; i < 3; i++) {
        if (!cf_good(c, 0)) {
            return FAILED;
        }
    }
    settle_interrupts(c);
    return read_isr(c) & 1 ? cf_note(c, FAILED, "an interrupt") : PASSED;
}

/* used_event says which buffer is to interrupt: the third */
static Verdict run_isr_event(Conform *c)
{
    uint16_t event = cpu_to_le16(2);

    cf_up(c);
    cf_write(c, DRIVER(0) + 4 + 2 * RING_SIZE, &event, 2);
    cf_good(c, 0);
    settle_interrupts(c);
    read_isr(c);
    cf_good(c, 0);
    settle_interrupts(c);
    if (read_isr(c) & 1) {
        return cf_note(c, FAILED, "one too early");
    }
    cf_good(c, 0);
    return wait_isr(c, 1) ? PASSED : cf_note(c, FAILED, "no interrupt");
}

/* With MSI-X */

static Verdict run_table_size(Conform *c)
{
    unsigned n = qpci_msix_table_size(c->pci);

    return n >= 2 && n <= 0x800 ? PASSED : cf_note(c, FAILED, "%u", n);
}

static Verdict run_map(Conform *c)
{
    unsigned n = qpci_msix_table_size(c->pci);

    cf_msix_enable(c);
    for (unsigned q = 0; q <= QUEUES; q++) {
        for (unsigned v = 0; v < n; v++) {
            if (!set_vector(c, q, v)) {
                return FAILED;
            }
        }
        if (!set_vector(c, q, NONE)) {
            return FAILED;
        }
    }
    return PASSED;
}

/* arg: the vector for configuration changes, which the table does not have */
static Verdict run_config_outside(Conform *c)
{
    cf_msix_enable(c);
    cf_up(c);
    cf_wr16(c, CF(MSIX), c->k->arg);
    if (cf_rd16(c, CF(MSIX)) != NONE) {
        return cf_note(c, FAILED, "reads as %u", cf_rd16(c, CF(MSIX)));
    }
    return breaks(c) ? REFUSED : FAILED;
}

static Verdict run_unmapped_by_reset(Conform *c)
{
    cf_msix_enable(c);
    cf_up(c);
    for (unsigned q = 0; q <= QUEUES; q++) {
        if (!set_vector(c, q, q)) {
            return FAILED;
        }
    }
    cf_reset(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_select(c, q);
        if (cf_rd16(c, CF(Q_MSIX)) != NONE) {
            return cf_note(c, FAILED, "virtqueue %u is mapped", q);
        }
    }
    return cf_rd16(c, CF(MSIX)) == NONE ? PASSED : FAILED;
}

static bool msix_up(Conform *c, uint16_t vector)
{
    cf_msix_enable(c);
    c->vector = vector;
    cf_up(c);
    return set_vector(c, QUEUES, QUEUES);
}

static Verdict run_each_its_own(Conform *c)
{
    if (!msix_up(c, NONE)) {
        return FAILED;
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        if (!set_vector(c, q, q)) {
            return FAILED;
        }
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        if (!cf_good(c, q) || !wait_msi(c, q)) {
            return FAILED;
        }
        for (unsigned v = 0; v < VECTORS; v++) {
            if (has_msi(c, v)) {
                return cf_note(c, FAILED, "virtqueue %u uses vector %u", q,
                               v);
            }
        }
    }
    return PASSED;
}

static Verdict run_one_for_all(Conform *c)
{
    if (!msix_up(c, 0) || !set_vector(c, QUEUES, 0)) {
        return FAILED;
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        if (!cf_good(c, q) || !wait_msi(c, 0)) {
            return FAILED;
        }
    }
    settle_interrupts(c);
    cf_fill(c, MSI(0), 0, 4);
    return breaks(c) && wait_msi(c, 0) ? PASSED : FAILED;
}

/* No vector, no interrupt. arg: a reset gives it none, not the driver */
static Verdict run_no_vector(Conform *c)
{
    if (!msix_up(c, NONE) || !cf_verify_all(c)) {
        return FAILED;
    }
    if (!set_vector(c, QUEUES, NONE) || !breaks(c)) {
        return FAILED;
    }
    settle_interrupts(c);
    for (unsigned v = 0; v < VECTORS; v++) {
        if (has_msi(c, v)) {
            return cf_note(c, FAILED, "an interrupt on vector %u", v);
        }
    }
    return PASSED;
}

/* arg: the whole function, not the vector */
static Verdict run_masked(Conform *c)
{
    if (!msix_up(c, 1)) {
        return FAILED;
    }
    if (c->k->arg) {
        cf_msix_control(c, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    } else {
        cf_msix_entry(c, 1, MSI(1), MSI_DATA(1), true);
    }
    if (!cf_verify_all(c)) {
        return FAILED;
    }
    settle_interrupts(c);
    if (has_msi(c, 1)) {
        return cf_note(c, FAILED, "an interrupt while masked");
    }
    if (!msix_pending(c, 1)) {
        return cf_note(c, FAILED, "nothing is pending");
    }
    cf_msix_control(c, PCI_MSIX_FLAGS_ENABLE);
    cf_msix_entry(c, 1, MSI(1), MSI_DATA(1), false);
    return wait_msi(c, 1) ? PASSED : FAILED;
}

static Verdict run_config_vector(Conform *c)
{
    if (!msix_up(c, 1)) {
        return FAILED;
    }
    return breaks(c) && wait_msi(c, QUEUES) ? PASSED : FAILED;
}

/* Vectors change while IOThreads interrupt */
static Verdict run_change_live(Conform *c)
{
    if (!msix_up(c, 0)) {
        return FAILED;
    }
    for (unsigned i = 0; i < 60; i++) {
        unsigned q = i % QUEUES;

        if (!set_vector(c, q, i % 3 ? i % VECTORS : NONE) ||
            !cf_verify(c, q)) {
            return FAILED;
        }
    }
    settle_interrupts(c);
    cf_fill(c, MSI(0), 0, 4 * VECTORS);
    for (unsigned q = 0; q < QUEUES; q++) {
        if (!set_vector(c, q, q) || !cf_good(c, q) || !wait_msi(c, q)) {
            return FAILED;
        }
    }
    return PASSED;
}

/* MSI-X is switched off and on again while IOThreads interrupt */
static Verdict run_toggle_live(Conform *c)
{
    if (!msix_up(c, 1)) {
        return FAILED;
    }
    for (unsigned i = 0; i < 40; i++) {
        cf_msix_control(c, i % 2 ? PCI_MSIX_FLAGS_ENABLE : 0);
        if (!cf_verify(c, i % QUEUES)) {
            return FAILED;
        }
    }
    settle_interrupts(c);
    cf_fill(c, MSI(1), 0, 4);
    return cf_good(c, 0) && wait_msi(c, 1) ? PASSED : FAILED;
}

/* Interrupts are written where nobody takes them. data: the address */
static Verdict run_address(Conform *c)
{
    uint64_t addr = *(const uint64_t *)c->k->data;

    if (!msix_up(c, 1)) {
        return FAILED;
    }
    cf_may_change(c, addr, 4);
    cf_msix_entry(c, 1, addr, MSI_DATA(1), false);
    return cf_survives(c);
}

/* Interrupts notify the disk itself. arg: which virtqueue, of others */
static Verdict run_own_notify(Conform *c)
{
    uint64_t at = c->bar.addr + c->t->pci->notify_cfg_offset +
                  c->k->arg * c->t->pci->notify_off_multiplier;

    if (!msix_up(c, 1)) {
        return FAILED;
    }
    cf_msix_entry(c, 1, at, c->k->arg, false);
    cf_msix_entry(c, QUEUES, at, c->k->arg, false);
    for (unsigned i = 0; i < 10; i++) {
        if (!cf_verify_all(c)) {
            return FAILED;
        }
    }
    return breaks(c) ? REFUSED : FAILED;
}

/* Interrupts write the disk's own status register: with 0, a reset */
static Verdict run_own_status(Conform *c)
{
    uint64_t at = c->bar.addr + c->t->pci->common_cfg_offset + CF(STATUS);

    if (!msix_up(c, 1)) {
        return FAILED;
    }
    cf_msix_entry(c, 1, at, c->k->arg, false);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_kick(c, q);
    }
    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    for (unsigned q = 0; q < QUEUES; q++) {
        static const Desc read_20[] = { HDR, IN(20), ST };

        cf_post(c, q, read_20, ARRAY_SIZE(read_20));
        cf_kick(c, q);
    }
    settle_interrupts(c);
    return PASSED;
}

static const uint64_t addr_nowhere = NOWHERE, addr_end = RAM_SIZE - 2,
                      addr_odd = MSI(1) + 2, addr_high = 1ull << 63,
                      addr_ioapic = IOAPIC;

static const ConformCase cases[] = {
    { "isr/virtqueue", "4.1.4.5.1", run_isr_queue, .rings = BOTH },
    { "isr/pci-status-bit", "4.1.4.5.1", run_isr_status_bit },
    { "isr/write", "4.1.4.5", run_isr_write, REFUSED },
    { "isr/reset", "2.4.1", run_isr_reset },
    { "isr/suppressed-by-flags", "2.7.7.2", run_isr_suppressed,
      .rings = BOTH },
    { "isr/suppressed-by-used-event", "2.7.7.2", run_isr_suppressed,
      .with = EVENT_IDX },
    { "isr/used-event", "2.7.7.2", run_isr_event, .with = EVENT_IDX },
    { "msix/table-size", "4.1.5.1.2.1", run_table_size },
    { "msix/map-and-unmap", "4.1.5.1.2.1", run_map },
    { "msix/config-vector-above-table", "4.1.5.1.2.1", run_config_outside,
      REFUSED, .arg = VECTORS },
    { "msix/config-vector-0x7ff", "4.1.5.1.2.1", run_config_outside, REFUSED,
      .arg = 0x7ff },
    { "msix/config-vector-0xfffe", "4.1.5.1.2.1", run_config_outside,
      REFUSED, .arg = 0xfffe },
    { "msix/unmapped-by-reset", "4.1.5.1.2.1", run_unmapped_by_reset },
    { "msix/each-its-own", "4.1.5.3", run_each_its_own, .rings = BOTH },
    { "msix/one-for-all", "4.1.5.4.2", run_one_for_all, .rings = BOTH },
    { "msix/no-vector", "4.1.5.3.1", run_no_vector, .rings = BOTH },
    { "msix/masked", "4.1.5.3", run_masked, .rings = BOTH },
    { "msix/function-masked", "4.1.5.3", run_masked, .arg = 1 },
    { "msix/config-change", "4.1.5.4", run_config_vector, .rings = BOTH },
    { "msix/vectors-change-live", "4.1.5.1.2", run_change_live,
      .rings = BOTH },
    { "msix/off-and-on-live", "4.1.5.1.2", run_toggle_live, .rings = BOTH },
    { "msix/address-nowhere", "4.1.5.1.2", run_address,
      .data = &addr_nowhere },
    { "msix/address-at-end-of-ram", "4.1.5.1.2", run_address,
      .data = &addr_end },
    { "msix/address-unaligned", "4.1.5.1.2", run_address,
      .data = &addr_odd },
    { "msix/address-above-everything", "4.1.5.1.2", run_address,
      .data = &addr_high },
    { "msix/address-in-mmio", "4.1.5.1.2", run_address,
      .data = &addr_ioapic },
    { "msix/address-of-own-notify", "4.1.5.1.2", run_own_notify, REFUSED },
    { "msix/address-of-no-virtqueue", "4.1.5.1.2", run_own_notify, REFUSED,
      .arg = 9 },
    { "msix/address-of-own-status", "4.1.5.1.2", run_own_status },
    { "msix/address-of-own-status-features-only", "4.1.5.1.2",
      run_own_status, .arg = 11 },
};

void conform_add_interrupt(GArray *all)
{
    conform_add_cases(all, cases, ARRAY_SIZE(cases));
}
