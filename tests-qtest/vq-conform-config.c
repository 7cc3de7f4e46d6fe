/*
 * Conformance cases for a virtio-blk-pci device: registers, configuration
 * space, notifications
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "vq-conform.h"

#define CONFIG(field) offsetof(struct virtio_blk_config, field)
/* To write_zeroes_may_unmap, and its padding */
#define CONFIG_SIZE 57
#define CONFIG_PADDED_SIZE 60
#define SECTORS (VQ_TEST_DISK_SIZE / 512)

static const Desc read_20[] = { HDR, IN(20), ST };

static uint64_t config_at(Conform *c, unsigned offset)
{
    return c->t->pci->device_cfg_offset + offset;
}

static uint8_t config_rd8(Conform *c, unsigned offset)
{
    return qpci_io_readb(c->pci, c->bar, config_at(c, offset));
}

static uint32_t config_rd32(Conform *c, unsigned offset)
{
    return qpci_io_readl(c->pci, c->bar, config_at(c, offset));
}

static Verdict run_read_early(Conform *c)
{
    if (c->k->arg) {
        cf_wr8(c, CF(STATUS), c->k->arg);
    }
    return config_rd32(c, CONFIG(capacity)) == SECTORS &&
           config_rd32(c, CONFIG(capacity) + 4) == 0 &&
           config_rd8(c, CONFIG(num_queues)) == QUEUES ? PASSED :
           cf_note(c, FAILED, "capacity is %u",
                   config_rd32(c, CONFIG(capacity)));
}

static Verdict run_widths(Conform *c)
{
    for (unsigned i = 0; i + 4 <= CONFIG_SIZE; i += 4) {
        uint32_t whole = config_rd32(c, i), parts = 0, halves = 0;

        for (unsigned j = 0; j < 4; j++) {
            parts |= (uint32_t)config_rd8(c, i + j) << 8 * j;
        }
        for (unsigned j = 0; j < 4; j += 2) {
            halves |= (uint32_t)qpci_io_readw(c->pci, c->bar,
                                              config_at(c, i + j)) << 8 * j;
        }
        if (whole != parts || whole != halves) {
            return cf_note(c, FAILED, "offset %u differs by width", i);
        }
    }
    return PASSED;
}

static Verdict run_padding(Conform *c)
{
    for (unsigned i = CONFIG_SIZE; i < CONFIG_PADDED_SIZE; i++) {
        if (config_rd8(c, i)) {
            return cf_note(c, FAILED, "byte %u is %u", i, config_rd8(c, i));
        }
    }
    return config_rd8(c, 33) ? FAILED : PASSED;
}

/* arg: the width in bytes */
static Verdict run_write_all(Conform *c)
{
    uint8_t before[CONFIG_SIZE];

    cf_up(c);
    for (unsigned i = 0; i < CONFIG_SIZE; i++) {
        before[i] = config_rd8(c, i);
    }
    for (unsigned i = 0; i < CONFIG_SIZE; i += c->k->arg) {
        if (i <= CONFIG(wce) && CONFIG(wce) < i + c->k->arg) {
            continue;
        }
        switch (c->k->arg) {
        case 1:
            qpci_io_writeb(c->pci, c->bar, config_at(c, i), 0xee);
            break;
        case 2:
            qpci_io_writew(c->pci, c->bar, config_at(c, i), 0xeeee);
            break;
        default:
            qpci_io_writel(c->pci, c->bar, config_at(c, i), 0xeeeeeeee);
        }
    }
    for (unsigned i = 0; i < CONFIG_SIZE; i++) {
        if (config_rd8(c, i) != before[i]) {
            return cf_note(c, FAILED, "byte %u has changed", i);
        }
    }
    return cf_survives(c) == PASSED ? REFUSED : FAILED;
}

/* arg: what is written to writeback; select: what it then reads as */
static Verdict run_writeback(Conform *c)
{
    uint8_t read;

    cf_up(c);
    qpci_io_writeb(c->pci, c->bar, config_at(c, CONFIG(wce)), c->k->arg);
    read = config_rd8(c, CONFIG(wce));
    qpci_io_writeb(c->pci, c->bar, config_at(c, CONFIG(wce)), 1);
    if (cf_survives(c) != PASSED) {
        return FAILED;
    }
    if (c->k->arg > 1) {
        return cf_note(c, REFUSED, "reads as %u", read);
    }
    return read == c->k->arg ? PASSED : cf_note(c, FAILED, "reads as %u",
                                                read);
}

static Verdict run_writeback_live(Conform *c)
{
    cf_up(c);
    for (unsigned i = 0; i < 40; i++) {
        qpci_io_writeb(c->pci, c->bar, config_at(c, CONFIG(wce)), i % 2);
        if (!cf_verify(c, i % QUEUES)) {
            return FAILED;
        }
    }
    return PASSED;
}

/* CONFIG_WCE without FLUSH: the cache is write-through at first */
static Verdict run_writeback_without_flush(Conform *c)
{
    cf_up(c);
    return config_rd8(c, CONFIG(wce)) ?
           cf_note(c, FAILED, "writeback is %u",
                   config_rd8(c, CONFIG(wce))) : PASSED;
}

static Verdict run_beyond_end(Conform *c)
{
    static const unsigned offsets[] = {
        CONFIG_SIZE - 1, CONFIG_SIZE, CONFIG_SIZE + 2, 0x5c, 0x7e, 0xfc,
        0xffc, 0xffe
    };

    cf_up(c);
    for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
        uint64_t at = config_at(c, offsets[i]);

        if (c->k->arg) {
            qpci_io_writel(c->pci, c->bar, at, 0xeeeeeeee);
            qpci_io_writew(c->pci, c->bar, at, 0xeeee);
            qpci_io_writeb(c->pci, c->bar, at, 0xee);
        } else {
            qpci_io_readl(c->pci, c->bar, at);
            qpci_io_readw(c->pci, c->bar, at);
            qpci_io_readb(c->pci, c->bar, at);
        }
    }
    return cf_survives(c) == PASSED ? REFUSED : FAILED;
}

static void resize(Conform *c, uint64_t size)
{
    qtest_qmp_assert_success(c->t->qts, "{'execute': 'block_resize',"
                             " 'arguments': {'node-name': 'node0',"
                             "               'size': %" PRIu64 "}}", size);
}

/* arg: 0: the generation changes, 1: it does not, 2: the driver is told */
static Verdict run_change(Conform *c)
{
    QVirtioPCIDevice *pci = c->t->pci;
    uint8_t before, after, isr = 0;
    bool seen;

    cf_up(c);
    config_rd32(c, CONFIG(capacity));
    before = cf_rd8(c, CF(CFGGENERATION));
    qpci_io_readb(c->pci, c->bar, pci->isr_cfg_offset);
    if (c->k->arg != 1) {
        resize(c, VQ_TEST_DISK_SIZE + 1 * MiB);
    }
    for (unsigned i = 0; i < 20000 && !(isr & 2) && c->k->arg == 2; i++) {
        isr |= qpci_io_readb(c->pci, c->bar, pci->isr_cfg_offset);
        g_usleep(500);
    }
    seen = config_rd32(c, CONFIG(capacity)) != SECTORS;
    after = cf_rd8(c, CF(CFGGENERATION));
    resize(c, VQ_TEST_DISK_SIZE);
    if (seen != (c->k->arg != 1)) {
        return cf_note(c, FAILED, "the capacity is wrong");
    }
    switch (c->k->arg) {
    case 0:
        return before != after ? cf_survives(c) :
               cf_note(c, FAILED, "the generation has stayed %u", before);
    case 1:
        return before == after ? cf_survives(c) :
               cf_note(c, FAILED, "the generation has changed");
    default:
        return isr & 2 ? cf_survives(c) :
               cf_note(c, FAILED, "no configuration interrupt");
    }
}

/* arg: a read-only register of the common configuration, or one beyond it */
static Verdict run_read_only_register(Conform *c)
{
    uint32_t before, after;

    cf_up(c);
    cf_wr32(c, CF(DFSELECT), 0);
    cf_select(c, 1);
    before = cf_rd16(c, c->k->arg);
    cf_wr16(c, c->k->arg, 0xeeee);
    after = cf_rd16(c, c->k->arg);
    if (before != after && c->k->arg < CF(Q_NDATA)) {
        return cf_note(c, FAILED, "0x%x becomes 0x%x", before, after);
    }
    return cf_survives(c) == PASSED ? REFUSED : FAILED;
}

/* An access of a width that its register does not have */
static Verdict run_access(Conform *c)
{
    QVirtioPCIDevice *pci = c->t->pci;
    uint64_t at = pci->common_cfg_offset + c->k->arg;

    cf_up(c);
    cf_select(c, 0);
    switch (c->k->select) {
    case 1:
        qpci_io_readb(c->pci, c->bar, at);
        qpci_io_writeb(c->pci, c->bar, at, 0x40);
        break;
    case 2:
        qpci_io_readw(c->pci, c->bar, at);
        qpci_io_writew(c->pci, c->bar, at, 0x4040);
        break;
    case 4:
        qpci_io_readl(c->pci, c->bar, at);
        qpci_io_writel(c->pci, c->bar, at, 0x10040);
        break;
    default:
        qpci_io_readq(c->pci, c->bar, at);
        qpci_io_writeq(c->pci, c->bar, at, DESC(0));
    }
    for (unsigned q = 1; q < QUEUES; q++) {
        if (!cf_verify(c, q)) {
            return cf_broken(c) ?
                   cf_note(c, REFUSED, "DEVICE_NEEDS_RESET") : FAILED;
        }
    }
    return PASSED;
}

/* arg: offset in the notify structure; select: the width of the access */
static Verdict notify(Conform *c, uint64_t at, uint32_t value)
{
    at += c->t->pci->notify_cfg_offset;
    switch (c->k->select) {
    case 1:
        qpci_io_writeb(c->pci, c->bar, at, value);
        break;
    case 4:
        qpci_io_writel(c->pci, c->bar, at, value);
        break;
    case 8:
        qpci_io_writeq(c->pci, c->bar, at, value);
        break;
    default:
        qpci_io_writew(c->pci, c->bar, at, value);
    }
    return PASSED;
}

/* Virtqueue 1 has a request, and gets a notification that is not quite one */
static Verdict run_notify(Conform *c)
{
    cf_up(c);
    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    cf_post(c, 1, read_20, ARRAY_SIZE(read_20));
    notify(c, c->t->pci->notify_off_multiplier + (c->k->arg & 3),
           c->k->live ? c->k->arg >> 8 : 1);
    if (!cf_settle(c, 1)) {
        cf_kick(c, 1);
        return cf_settle(c, 1) && cf_survives(c) == PASSED ? REFUSED : FAILED;
    }
    return cf_survives(c);
}

/* For a virtqueue that does not exist */
static Verdict run_notify_outside(Conform *c)
{
    cf_up(c);
    for (unsigned i = 0; i < 10; i++) {
        notify(c, (uint64_t)c->t->pci->notify_off_multiplier * c->k->arg,
               c->k->arg);
        if (!cf_verify_all(c)) {
            return FAILED;
        }
    }
    return REFUSED;
}

static Verdict run_notify_read(Conform *c)
{
    QVirtioPCIDevice *pci = c->t->pci;

    cf_up(c);
    for (unsigned i = 0; i < QUEUES * pci->notify_off_multiplier; i++) {
        qpci_io_readb(c->pci, c->bar, pci->notify_cfg_offset + i);
    }
    return cf_survives(c);
}

static const ConformCase cases[] = {
    { "config/read-before-acknowledge", "2.5.2", run_read_early },
    { "config/read-before-features-ok", "2.5.2", run_read_early, .arg = 3 },
    { "config/widths", "4.1.3.2", run_widths },
    { "config/padding", "5.2.5.2", run_padding, FAILED,
      "the structure ends before its padding, as in stock" },
    { "config/write-8-bit", "5.2.4", run_write_all, REFUSED, .arg = 1 },
    { "config/write-16-bit", "5.2.4", run_write_all, REFUSED, .arg = 2 },
    { "config/write-32-bit", "5.2.4", run_write_all, REFUSED, .arg = 4 },
    { "config/writeback-0", "5.2.6.1", run_writeback },
    { "config/writeback-1", "5.2.6.1", run_writeback, .arg = 1 },
    { "config/writeback-255", "5.2.6.1", run_writeback, REFUSED, .arg = 255 },
    { "config/writeback-live", "5.2.6.1", run_writeback_live, .rings = BOTH },
    { "config/writeback-without-flush", "5.2.5.2",
      run_writeback_without_flush, FAILED,
      "writeback is as the disk's cache mode, as in stock",
      .without = 1ull << VIRTIO_BLK_F_FLUSH },
    { "config/read-beyond-end", "2.5.1", run_beyond_end, REFUSED },
    { "config/write-beyond-end", "2.5.1", run_beyond_end, REFUSED, .arg = 1 },
    { "config/generation-changes", "4.1.4.3.1", run_change },
    { "config/generation-stays", "4.1.4.3.1", run_change, .arg = 1 },
    { "config/change-notifies", "3.2.1", run_change, .arg = 2 },

    { "common/write-device-feature", "4.1.4.3.2", run_read_only_register,
      REFUSED, .arg = CF(DF) },
    { "common/write-num-queues", "4.1.4.3.2", run_read_only_register,
      REFUSED, .arg = CF(NUMQ) },
    { "common/write-notify-off", "4.1.4.3.2", run_read_only_register,
      REFUSED, .arg = CF(Q_NOFF) },
    { "common/write-notify-data", "4.1.4.3.2", run_read_only_register,
      REFUSED, .arg = CF(Q_NDATA) },
    { "common/write-beyond-end", "4.1.4.3", run_read_only_register, REFUSED,
      .arg = 0x40 },
    { "common/write-far-beyond-end", "4.1.4.3", run_read_only_register,
      REFUSED, .arg = 0xffe },
    { "common/8-bit-queue-size", "4.1.3.1", run_access,
      .arg = CF(Q_SIZE), .select = 1 },
    { "common/8-bit-queue-enable-high", "4.1.3.1", run_access,
      .arg = CF(Q_ENABLE) + 1, .select = 1 },
    { "common/16-bit-status", "4.1.3.1", run_access, REFUSED,
      .arg = CF(STATUS), .select = 2, .either = true },
    { "common/16-bit-queue-desc", "4.1.3.1", run_access,
      .arg = CF(Q_DESCLO) + 2, .select = 2 },
    { "common/32-bit-queue-size", "4.1.3.1", run_access,
      .arg = CF(Q_SIZE), .select = 4 },
    { "common/32-bit-queue-enable", "4.1.3.1", run_access, REFUSED,
      .arg = CF(Q_ENABLE), .select = 4 },
    { "common/unaligned-queue-enable", "4.1.3.1", run_access, REFUSED,
      .arg = CF(Q_ENABLE) - 1, .select = 2 },
    { "common/unaligned-queue-desc", "4.1.3.1", run_access,
      .arg = CF(Q_DESCLO) + 1, .select = 4 },
    { "common/64-bit-queue-desc", "4.1.3.1", run_access,
      .arg = CF(Q_DESCLO), .select = 8 },

    { "notify/8-bit", "4.1.5.2", run_notify, .select = 1 },
    { "notify/32-bit", "4.1.5.2", run_notify, .select = 4 },
    { "notify/64-bit", "4.1.5.2", run_notify, .select = 8 },
    { "notify/unaligned", "4.1.5.2", run_notify, .arg = 1 },
    { "notify/second-half", "4.1.5.2", run_notify, .arg = 2 },
    { "notify/other-index", "4.1.5.2", run_notify, .arg = 3 << 8,
      .live = true },
    { "notify/index-0xffff", "4.1.5.2", run_notify, .arg = 0xffff << 8,
      .live = true },
    { "notify/outside/4", "4.1.4.4.1", run_notify_outside, REFUSED,
      .arg = QUEUES },
    { "notify/outside/1023", "4.1.4.4.1", run_notify_outside, REFUSED,
      .arg = 1023 },
    { "notify/outside/1024", "4.1.4.4.1", run_notify_outside, REFUSED,
      .arg = 1024 },
    { "notify/read", "4.1.4.4", run_notify_read },
};

void conform_add_config(GArray *all)
{
    conform_add_cases(all, cases, ARRAY_SIZE(cases));
}
