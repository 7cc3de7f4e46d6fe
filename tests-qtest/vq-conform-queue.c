/*
 * Conformance cases for a virtio-blk-pci device: registers of virtqueues
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-conform.h"

#define VICTIM 1
#define RING_RESET (1ull << VIRTIO_F_RING_RESET)

static const Desc read_20[] = { HDR, IN(20), ST };

/* One value that is written to one register */
typedef struct Op {
    const char *name;
    const char *section;
    unsigned reg;
    uint64_t value;
    uint64_t with;      /* a feature that is negotiated */
    bool enable;        /* and then queue_enable is 1 again */
    bool anywhere;      /* also of a virtqueue that does not exist */
    bool harmless;      /* the virtqueue goes on, unless the device breaks */
    bool must_read_no_vector;
    Verdict cold, live; /* inside */
    Verdict outside;
} Op;

static const Op ops[] = {
    { "reset-1", "2.6.1.1", CF(Q_RESET), 1, .anywhere = true,
      .cold = PASSED, .live = PASSED, .outside = REFUSED },
    { "negotiated-reset-1", "2.6.1.1", CF(Q_RESET), 1, .with = RING_RESET,
      .anywhere = true, .cold = PASSED, .live = PASSED, .outside = REFUSED },
    { "reset-0", "2.6.1.1", CF(Q_RESET), 0, .with = RING_RESET,
      .harmless = true, .cold = PASSED, .live = PASSED },
    { "reset-2", "2.6.1.1", CF(Q_RESET), 2, .with = RING_RESET,
      .anywhere = true, .harmless = true, .cold = REFUSED, .live = REFUSED,
      .outside = REFUSED },
    { "enable-0", "4.1.4.3.2", CF(Q_ENABLE), 0, .anywhere = true,
      .cold = REFUSED, .live = REFUSED, .outside = REFUSED },
    { "enable-2", "4.1.4.3.2", CF(Q_ENABLE), 2, .anywhere = true,
      .cold = REFUSED, .live = REFUSED, .outside = REFUSED },
    { "enable-1-again", "4.1.4.3.2", CF(Q_ENABLE), 1, .anywhere = true,
      .harmless = true, .cold = PASSED, .live = PASSED, .outside = PASSED },
    { "size-0", "4.1.4.3.2", CF(Q_SIZE), 0, .anywhere = true,
      .harmless = true, .cold = REFUSED, .live = REFUSED,
      .outside = PASSED },
    { "size-3", "4.1.4.3.2", CF(Q_SIZE), 3, .anywhere = true,
      .cold = FAILED, .live = REFUSED, .outside = REFUSED },
    { "size-128", "4.1.4.3", CF(Q_SIZE), 128, .cold = PASSED,
      .live = PASSED },
    { "size-2048", "4.1.4.3", CF(Q_SIZE), 2048, .harmless = true,
      .cold = REFUSED, .live = REFUSED },
    { "size-0x8000", "4.1.4.3", CF(Q_SIZE), 0x8000, .harmless = true,
      .cold = REFUSED, .live = REFUSED },
    { "size-0xffff", "4.1.4.3", CF(Q_SIZE), 0xffff, .anywhere = true,
      .harmless = true, .cold = REFUSED, .live = REFUSED,
      .outside = REFUSED },
    { "size-16", "4.1.4.3.2", CF(Q_SIZE), 16, .anywhere = true,
      .cold = PASSED, .live = PASSED, .outside = REFUSED },
    { "vector-1", "4.1.5.1.3", CF(Q_MSIX), 1, .anywhere = true,
      .harmless = true, .cold = PASSED, .live = PASSED, .outside = PASSED },
    { "vector-above-table", "4.1.5.1.2.1", CF(Q_MSIX), VECTORS,
      .anywhere = true, .harmless = true, .must_read_no_vector = true,
      .cold = REFUSED, .live = REFUSED, .outside = REFUSED },
    { "vector-0x7ff", "4.1.5.1.2.1", CF(Q_MSIX), 0x7ff, .anywhere = true,
      .harmless = true, .must_read_no_vector = true,
      .cold = REFUSED, .live = REFUSED, .outside = REFUSED },
    { "vector-0xfffe", "4.1.5.1.2.1", CF(Q_MSIX), 0xfffe,
      .harmless = true, .must_read_no_vector = true,
      .cold = REFUSED, .live = REFUSED },
    { "notify-off-write", "4.1.4.3.2", CF(Q_NOFF), 7, .anywhere = true,
      .harmless = true, .cold = REFUSED, .live = REFUSED,
      .outside = REFUSED },
    { "desc-change-without-enable", "4.1.4.3.2", CF(Q_DESCLO), TABLE,
      .harmless = true, .cold = PASSED, .live = PASSED },
};

/* Addresses of a virtqueue's parts, in wrong places */
static const struct {
    const char *name;
    unsigned reg;
    uint64_t unaligned;
} parts[] = {
    { "desc", CF(Q_DESCLO), DESC(VICTIM) + 3 },
    { "driver", CF(Q_AVAILLO), DRIVER(VICTIM) + 1 },
    { "device", CF(Q_USEDLO), DEVICE(VICTIM) + 2 },
};

static const Op places[] = {
    { "unaligned", "2.7.1", .cold = PASSED, .live = PASSED },
    { "nowhere", "2.7", .value = NOWHERE, .anywhere = true, .cold = REFUSED,
      .live = REFUSED, .outside = PASSED },
    { "in-mmio", "2.7", .value = IOAPIC, .cold = REFUSED, .live = REFUSED },
    { "at-end-of-ram", "2.7", .value = RAM_SIZE - 16, .cold = REFUSED,
      .live = REFUSED },
    { "wraps", "2.7", .value = -16ull, .cold = REFUSED, .live = REFUSED },
    { "0", "2.7", .cold = PASSED, .live = PASSED },
};

static bool is_wide(unsigned reg)
{
    return reg >= CF(Q_DESCLO) && reg <= CF(Q_USEDHI);
}

/* The parts of the victim as the device may have them now */
static void allow_new_parts(Conform *c, const Op *op)
{
    if (op->reg == CF(Q_USEDLO)) {
        cf_may_change(c, op->value, 6 + RING_SIZE * 8);
    }
}

static Verdict check_victim(Conform *c, const Op *op)
{
    uint32_t len;

    if (!op->harmless) {
        return PASSED;
    }
    if (c->k->live && !cf_wait_used(c, VICTIM, &len)) {
        return FAILED;
    }
    return cf_verify(c, VICTIM) ? PASSED : FAILED;
}

static Verdict run_op(Conform *c)
{
    const Op *op = c->k->data;
    bool inside = c->k->select < QUEUES, ignored = false;
    uint64_t read;
    uint32_t len;
    Verdict verdict;

    if (!cf_negotiate(c)) {
        return cf_note(c, FAILED, "features are refused");
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_queue_setup(c, q, RING_SIZE);
    }
    if (c->k->live) {
        cf_driver_ok(c);
        cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
        for (unsigned q = 0; q < QUEUES; q++) {
            cf_post(c, q, read_20, ARRAY_SIZE(read_20));
            cf_kick(c, q);
        }
    }

    /* QEMU keeps what was selected before if it does not know the index */
    cf_select(c, inside ? 0 : QUEUES);
    cf_select(c, c->k->select);
    allow_new_parts(c, op);
    if (is_wide(op->reg)) {
        cf_wr64(c, op->reg, op->value);
        read = cf_rd32(c, op->reg) | (uint64_t)cf_rd32(c, op->reg + 4) << 32;
    } else {
        cf_wr16(c, op->reg, op->value);
        read = cf_rd16(c, op->reg);
    }
    ignored = read != op->value && op->reg != CF(Q_RESET);
    if (op->enable) {
        cf_wr16(c, CF(Q_ENABLE), 1);
    }
    if (op->reg == CF(Q_RESET) && inside) {
        bool enabled = cf_rd16(c, CF(Q_ENABLE));

        if (read || (op->value == 1 && enabled)) {
            return cf_note(c, FAILED, "queue_reset is %u, queue_enable %u",
                           (unsigned)read, enabled);
        }
        ignored = op->value > 1;
    } else if (op->must_read_no_vector && read != VIRTIO_MSI_NO_VECTOR) {
        return cf_note(c, FAILED, "the vector reads as 0x%x", (unsigned)read);
    } else if (op->reg == CF(Q_SIZE) && !c->packed && (read & (read - 1))) {
        return cf_note(c, FAILED, "queue_size reads as %u", (unsigned)read);
    }
    if (!inside) {
        cf_select(c, c->k->select);
        if (cf_rd16(c, CF(Q_SIZE))) {
            return cf_note(c, FAILED, "queue_size reads as %u",
                           cf_rd16(c, CF(Q_SIZE)));
        }
        ignored = ignored || op->reg == CF(Q_RESET);
    }

    if (!c->k->live) {
        cf_driver_ok(c);
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_kick(c, q);
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        if (inside && q == VICTIM) {
            continue;
        }
        if ((c->k->live && !cf_wait_used(c, q, &len)) || !cf_verify(c, q)) {
            return cf_broken(c) ? cf_note(c, REFUSED, "DEVICE_NEEDS_RESET")
                                : FAILED;
        }
    }
    verdict = inside ? check_victim(c, op) : PASSED;
    if (cf_broken(c)) {
        return cf_note(c, REFUSED, "DEVICE_NEEDS_RESET");
    }
    return verdict == PASSED && ignored ? REFUSED : verdict;
}

static const char size_3_reason[] =
    "a size that is no power of two is taken, as in stock; the virtqueue "
    "that has it is the guest's own";

static void add_op(GArray *all, const Op *op, unsigned select, bool live)
{
    ConformCase k = {
        .section = op->section, .run = run_op, .data = op, .select = select,
        .live = live, .with = op->with, .rings = SPLIT,
        /* A virtqueue with a wrong ring may break the device, or be left out */
        .either = select < QUEUES && !op->harmless,
        .expect = select >= QUEUES ? op->outside : live ? op->live : op->cold,
    };

    k.name = g_strdup_printf("queue/%s/select-%u/%s", op->name, select,
                             live ? "live" : "cold");
    if (k.expect == FAILED) {
        k.reason = size_3_reason;
    }
    g_array_append_val(all, k);
}

/* What is selected is not there, and has no size. select: what was before */
static Verdict run_read_outside(Conform *c)
{
    cf_up(c);
    cf_select(c, c->k->arg);
    cf_select(c, c->k->select);
    if (cf_rd16(c, CF(Q_SIZE))) {
        return cf_note(c, FAILED, "queue_size is %u, queue_select reads as %u",
                       cf_rd16(c, CF(Q_SIZE)), cf_rd16(c, CF(Q_SELECT)));
    }
    return cf_rd16(c, CF(Q_ENABLE)) ? FAILED : cf_survives(c);
}

static Verdict run_numbers(Conform *c)
{
    uint8_t cap = cf_find_cap(c, VIRTIO_PCI_CAP_NOTIFY_CFG);
    uint32_t length = qpci_config_readl(c->pci, cap + VIRTIO_PCI_CAP_LENGTH);
    uint32_t mult = c->t->pci->notify_off_multiplier;

    if (cf_rd16(c, CF(NUMQ)) != QUEUES) {
        return cf_note(c, FAILED, "num_queues is %u", cf_rd16(c, CF(NUMQ)));
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        unsigned size;

        cf_select(c, q);
        size = cf_rd16(c, CF(Q_SIZE));
        if (!size || (size & (size - 1)) || size > 0x8000) {
            return cf_note(c, FAILED, "queue_size of %u is %u", q, size);
        }
        if (cf_rd16(c, CF(Q_NOFF)) * mult + 2 > length) {
            return cf_note(c, FAILED, "queue_notify_off of %u is %u", q,
                           cf_rd16(c, CF(Q_NOFF)));
        }
        if (cf_rd16(c, CF(Q_ENABLE))) {
            return cf_note(c, FAILED, "queue_enable of %u is 1", q);
        }
    }
    return PASSED;
}

static Verdict run_enable_reads_1(Conform *c)
{
    cf_up(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_select(c, q);
        if (cf_rd16(c, CF(Q_ENABLE)) != 1) {
            return cf_note(c, FAILED, "queue_enable of %u is 0", q);
        }
    }
    return cf_survives(c);
}

/* Others work, whatever becomes of the one that is not set up */
static Verdict others_work(Conform *c, unsigned but)
{
    for (unsigned i = 0; i < 3; i++) {
        cf_kick(c, but);
        for (unsigned q = 0; q < QUEUES; q++) {
            if (q != but && !cf_verify(c, q)) {
                return cf_broken(c) ?
                       cf_note(c, REFUSED, "DEVICE_NEEDS_RESET") : FAILED;
            }
        }
    }
    return PASSED;
}

/* arg: 1: it is enabled without addresses, 2: it comes after DRIVER_OK */
static Verdict run_not_set_up(Conform *c)
{
    Verdict verdict;

    cf_negotiate(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        if (q != VICTIM) {
            cf_queue_setup(c, q, RING_SIZE);
        } else if (c->k->arg == 1) {
            cf_select(c, q);
            cf_wr16(c, CF(Q_ENABLE), 1);
        }
    }
    cf_driver_ok(c);
    verdict = others_work(c, VICTIM);
    if (verdict == PASSED && c->k->arg == 2) {
        cf_queue_setup(c, VICTIM, RING_SIZE);
        verdict = cf_verify_all(c) ? PASSED : FAILED;
    }
    return verdict;
}

static Verdict run_none_enabled(Conform *c)
{
    cf_negotiate(c);
    cf_driver_ok(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_kick(c, q);
    }
    return cf_broken(c) ? REFUSED : PASSED;
}

static Verdict run_before_features_ok(Conform *c)
{
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_queue_setup(c, q, RING_SIZE);
    }
    cf_negotiate(c);
    cf_driver_ok(c);
    return cf_survives(c);
}

/* arg: the size of all virtqueues, with an indirect table if it is small */
static Verdict run_size(Conform *c)
{
    static const Desc table[] = { HDR, IN(512), ST };
    static const Desc desc[] = { TAB(48) };
    unsigned rounds = c->k->arg * 3 + 2;
    uint32_t len;

    cf_negotiate(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_queue_setup(c, q, c->k->arg);
        cf_select(c, q);
        if (cf_rd16(c, CF(Q_SIZE)) != c->k->arg) {
            return cf_note(c, FAILED, "queue_size reads as %u",
                           cf_rd16(c, CF(Q_SIZE)));
        }
    }
    cf_driver_ok(c);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned q = i % QUEUES;

        cf_write_header(c, VIRTIO_BLK_T_IN, 0);
        cf_write_table(c, table, ARRAY_SIZE(table));
        cf_post(c, q, desc, 1);
        cf_kick(c, q);
        if (!cf_wait_used(c, q, &len) || c->ram[STATUS]) {
            return cf_note(c, FAILED, "request %u has no answer", i);
        }
    }
    return PASSED;
}

/* Two virtqueues have the same rings. Nobody knows who serves what. */
static Verdict run_shared_rings(Conform *c)
{
    cf_negotiate(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_queue_setup(c, q, RING_SIZE);
    }
    cf_queue_enable(c, 2, RING_SIZE, DESC(VICTIM), DRIVER(VICTIM),
                    DEVICE(VICTIM));
    cf_driver_ok(c);
    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    for (unsigned i = 0; i < 50; i++) {
        cf_post(c, VICTIM, read_20, ARRAY_SIZE(read_20));
        cf_kick(c, VICTIM);
        cf_kick(c, 2);
    }
    g_usleep(5 * 1000);
    if (cf_broken(c)) {
        return cf_note(c, REFUSED, "DEVICE_NEEDS_RESET");
    }
    return cf_verify(c, 0) && cf_verify(c, 3) ? PASSED : FAILED;
}

/* The device writes its part of a ring over the driver's parts */
static Verdict run_overlapping_parts(Conform *c)
{
    cf_negotiate(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_queue_setup(c, q, RING_SIZE);
    }
    cf_queue_enable(c, VICTIM, RING_SIZE, DESC(VICTIM), DESC(VICTIM),
                    DESC(VICTIM));
    cf_driver_ok(c);
    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    for (unsigned i = 0; i < 20; i++) {
        cf_place(c, VICTIM, read_20, ARRAY_SIZE(read_20));
        cf_kick(c, VICTIM);
    }
    g_usleep(5 * 1000);
    return cf_broken(c) ? cf_note(c, REFUSED, "DEVICE_NEEDS_RESET") :
           others_work(c, VICTIM);
}

/* Everything about a virtqueue changes while its IOThread serves it */
static Verdict run_change_all_live(Conform *c)
{
    cf_up(c);
    cf_may_change(c, ARENA, ARENA_SIZE);
    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    for (unsigned i = 0; i < 300; i++) {
        cf_post(c, VICTIM, read_20, ARRAY_SIZE(read_20));
        cf_kick(c, VICTIM);
        cf_select(c, VICTIM);
        cf_wr16(c, CF(Q_SIZE), 1 << i % 7);
        cf_wr16(c, CF(Q_MSIX), i % (VECTORS + 1));
        cf_wr64(c, CF(Q_DESCLO), i % 3 ? DESC(VICTIM) : NOWHERE);
        cf_wr64(c, CF(Q_AVAILLO), i % 5 ? DRIVER(VICTIM) : RAM_SIZE - 6);
        cf_wr64(c, CF(Q_USEDLO), i % 7 ? DEVICE(VICTIM) : RAM_SIZE - 4096);
        cf_wr16(c, CF(Q_ENABLE), 1);
        if (i % 4 == 0) {
            cf_kick(c, VICTIM);
            cf_driver_ok(c);
        }
    }
    cf_may_change(c, RAM_SIZE - 4096, 4096);
    return cf_broken(c) ? cf_note(c, REFUSED, "DEVICE_NEEDS_RESET") : PASSED;
}

static const ConformCase queue_cases[] = {
    { "queue/numbers", "4.1.4.3.1", run_numbers, PASSED },
    { "queue/enable-reads-1", "4.1.4.3", run_enable_reads_1, PASSED,
      .rings = BOTH },
    { "queue/read-outside/4", "4.1.4.3.1", run_read_outside, PASSED,
      .arg = 1, .select = 4 },
    { "queue/read-outside/1023", "4.1.4.3.1", run_read_outside, PASSED,
      .arg = 1, .select = 1023 },
    { "queue/read-outside/1024", "4.1.4.3.1", run_read_outside, FAILED,
      "queue_select ignores an index above 1023, as in stock: the virtqueue "
      "selected before stays selected", .arg = 1, .select = 1024 },
    { "queue/read-outside/65535", "4.1.4.3.1", run_read_outside, FAILED,
      "queue_select ignores an index above 1023, as in stock: the virtqueue "
      "selected before stays selected", .arg = 1, .select = 65535 },
    { "queue/not-enabled", "4.1.4.3", run_not_set_up, PASSED, .rings = BOTH },
    { "queue/enabled-without-addresses", "4.1.4.3.2", run_not_set_up, PASSED,
      .rings = BOTH, .arg = 1 },
    { "queue/enabled-after-driver-ok", "3.1.1", run_not_set_up, PASSED,
      .rings = BOTH, .arg = 2 },
    { "queue/none-enabled", "3.1.1", run_none_enabled, PASSED },
    { "queue/before-features-ok", "3.1.1", run_before_features_ok, PASSED },
    { "queue/size-is-1", "2.7", run_size, PASSED, .rings = BOTH, .arg = 1 },
    { "queue/size-is-2", "2.7", run_size, PASSED, .rings = BOTH, .arg = 2 },
    { "queue/size-is-32", "2.7", run_size, PASSED, .rings = BOTH, .arg = 32 },
    { "queue/packed-size-is-5", "2.8.10.1", run_size, PASSED,
      .rings = PACKED, .arg = 5 },
    { "queue/packed-size-is-63", "2.8.10.1", run_size, PASSED,
      .rings = PACKED, .arg = 63 },
    { "queue/shared-rings", "2.7", run_shared_rings, PASSED, .either = true },
    { "queue/overlapping-parts", "2.7", run_overlapping_parts, PASSED,
      .rings = BOTH, .either = true },
    { "queue/everything-changes-live", "4.1.4.3.2", run_change_all_live,
      PASSED, .rings = BOTH, .either = true },
};

static void add_op_everywhere(GArray *all, const Op *op)
{
    static const unsigned outside[] = { QUEUES, 1023, 1024, 65535 };

    add_op(all, op, VICTIM, false);
    add_op(all, op, VICTIM, true);
    for (unsigned i = 0; op->anywhere && i < ARRAY_SIZE(outside); i++) {
        add_op(all, op, outside[i], false);
        add_op(all, op, outside[i], true);
    }
}

void conform_add_queue(GArray *all)
{
    conform_add_cases(all, queue_cases, ARRAY_SIZE(queue_cases));
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        add_op_everywhere(all, &ops[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(places); j++) {
            /* As long as the cases, which is for ever */
            Op *op = g_memdup2(&places[j], sizeof(*op));

            op->name = g_strdup_printf("%s-%s", parts[i].name,
                                       places[j].name);
            op->reg = parts[i].reg;
            op->enable = true;
            if (g_str_equal(places[j].name, "unaligned")) {
                op->value = parts[i].unaligned;
            }
            add_op_everywhere(all, op);
        }
    }
}
