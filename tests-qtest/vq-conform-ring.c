/*
 * Conformance cases for a virtio-blk-pci device: descriptors and rings
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "vq-conform.h"

#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT_DESC (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define BAD (GETS_IOERR | GETS_UNSUPP | GETS_BROKEN | GETS_IGNORED)

static const Desc read_20[] = { HDR, IN(20), ST };

/* So many requests that indices, or wrap counters, begin anew */
static Verdict run_many(Conform *c)
{
    unsigned batch = c->packed ? 21 : RING_SIZE / 3;
    unsigned n = c->k->arg;
    uint32_t len;

    cf_up(c);
    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    for (unsigned done = 0; done < n; done += batch) {
        if (!c->packed) {
            c->q[1].free = 0;
        }
        for (unsigned i = 0; i < batch; i++) {
            cf_post(c, 1, read_20, ARRAY_SIZE(read_20));
        }
        cf_kick(c, 1);
        for (unsigned i = 0; i < batch; i++) {
            if (!cf_wait_used(c, 1, &len)) {
                return cf_note(c, FAILED, "no answer after %u", done + i);
            }
        }
        g_array_set_size(c->may_change, 0);
        cf_may_change(c, DATA, 20);
        cf_may_change(c, STATUS, 1);
        cf_may_change(c, DEVICE(1), 6 + RING_SIZE * 8);
        cf_may_change(c, DESC(1), c->packed ? RING_SIZE * 16 : 0);
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_may_change(c, DEVICE(q), 6 + RING_SIZE * 8);
        cf_may_change(c, DESC(q), c->packed ? RING_SIZE * 16 : 0);
    }
    return cf_survives(c);
}

/* Each buffer is used once, by the id that it was given */
static Verdict run_ids(Conform *c)
{
    uint16_t heads[8];
    bool seen[8] = {};
    uint32_t id, len;

    cf_up(c);
    cf_write_header(c, VIRTIO_BLK_T_IN, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
        Desc desc[] = {
            HDR, { DATA + i * 4 * KiB, 4096, NEXT | WRITE }, ST
        };

        if (c->packed) {
            /* Any number, and the same in each descriptor */
            heads[i] = 0xfff0 + i;
            for (unsigned j = 0; j < ARRAY_SIZE(desc); j++) {
                desc[j].next = heads[i];
            }
        }
        if (c->packed) {
            cf_place(c, 1, desc, ARRAY_SIZE(desc));
            /* cf_pop_used() skips as many */
            c->q[1].count[heads[i] % RING_SIZE] = ARRAY_SIZE(desc);
        } else {
            heads[i] = cf_place(c, 1, desc, ARRAY_SIZE(desc));
            cf_expose(c, 1, heads[i], 0);
        }
    }
    cf_kick(c, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
        int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
        unsigned j;

        while (!cf_pop_used(c, 1, &id, &len)) {
            if (g_get_monotonic_time() > deadline) {
                return cf_note(c, FAILED, "only %u are used", i);
            }
            g_usleep(50);
        }
        j = 0;
        while (j < ARRAY_SIZE(heads) && heads[j] != id) {
            j++;
        }
        if (j == ARRAY_SIZE(heads) || seen[j]) {
            return cf_note(c, FAILED, "id %u is used", id);
        }
        seen[j] = true;
    }
    return cf_survives(c);
}

/* The id of a chain is that of its last descriptor; others have none */
static Verdict run_chain_id(Conform *c)
{
    const Desc desc[] = {
        { HEADER, 16, NEXT, 0x1111 }, { DATA, 512, NEXT | WRITE, 0x2222 },
        { STATUS, 1, WRITE, 0x3333 }
    };
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    uint32_t id, len;

    cf_up(c);
    cf_write_header(c, VIRTIO_BLK_T_IN, 0);
    cf_place(c, 1, desc, ARRAY_SIZE(desc));
    cf_kick(c, 1);
    while (!cf_pop_used(c, 1, &id, &len)) {
        if (cf_broken(c) || g_get_monotonic_time() > deadline) {
            return cf_note(c, FAILED, "no answer");
        }
        g_usleep(50);
    }
    return id == 0x3333 ? PASSED : cf_note(c, FAILED, "id 0x%x is used", id);
}

/*
 * The device has written at least as much as it says; arg: bytes of data.
 * select: the type of the request; with a sector that is none it fails.
 */
static Verdict used_len(Conform *c, uint64_t sector)
{
    const Desc with_data[] = { HDR, IN(c->k->arg), ST };
    const Desc without[] = { HDR, ST };
    uint32_t len = 0;
    unsigned n = 0;

    cf_up(c);
    cf_fill(c, DATA, 0xa5, c->k->arg);
    cf_write_header(c, c->k->select, sector);
    if (c->k->arg) {
        cf_post(c, 1, with_data, ARRAY_SIZE(with_data));
    } else {
        cf_post(c, 1, without, ARRAY_SIZE(without));
    }
    cf_kick(c, 1);
    if (!cf_wait_used(c, 1, &len)) {
        return cf_note(c, FAILED, "no answer");
    }
    while (n < c->k->arg && c->ram[DATA + n] != 0xa5) {
        n++;
    }
    if (len > n + (n == c->k->arg)) {
        return cf_note(c, FAILED, "len is %u, %u of %u bytes are written",
                       len, n, c->k->arg);
    }
    return PASSED;
}

static Verdict run_used_len(Conform *c)
{
    return used_len(c, 0);
}

static Verdict run_used_len_error(Conform *c)
{
    return used_len(c, 1ull << 40);
}

/* Without anything new in the ring, and more often than needed */
static Verdict run_spurious_kicks(Conform *c)
{
    cf_up(c);
    for (unsigned i = 0; i < 500; i++) {
        cf_kick(c, i % QUEUES);
    }
    return cf_survives(c);
}

/* arg: flags of the available ring, or of the driver's event suppression */
static Verdict run_driver_flags(Conform *c)
{
    uint16_t flags = cpu_to_le16(c->k->arg);

    cf_up(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_write(c, DRIVER(q) + (c->packed ? 2 : 0), &flags, sizeof(flags));
    }
    return cf_survives(c);
}

/* used_event, or the event offset, is beyond the ring */
static Verdict run_event_offset(Conform *c)
{
    uint16_t off = cpu_to_le16(c->k->arg), flags = cpu_to_le16(2);

    cf_up(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        if (c->packed) {
            cf_write(c, DRIVER(q), &off, sizeof(off));
            cf_write(c, DRIVER(q) + 2, &flags, sizeof(flags));
        } else {
            cf_write(c, DRIVER(q) + 4 + 2 * RING_SIZE, &off, sizeof(off));
        }
    }
    return cf_survives(c);
}

/* With EVENT_IDX, the device leaves the flags of the used ring alone */
static Verdict run_used_flags(Conform *c)
{
    Verdict verdict;

    cf_up(c);
    for (unsigned i = 0; i < 20; i++) {
        verdict = cf_survives(c);
        if (verdict != PASSED) {
            return verdict;
        }
        for (unsigned q = 0; q < QUEUES; q++) {
            unsigned flags = lduw_le_p(c->ram + DEVICE(q));

            if (flags > !(c->k->with & EVENT_IDX)) {
                return cf_note(c, FAILED, "flags are 0x%x", flags);
            }
        }
    }
    return PASSED;
}

/* A descriptor that is neither available nor used */
static Verdict run_not_available(Conform *c)
{
    struct vring_packed_desc desc[] = {
        { cpu_to_le64(HEADER), cpu_to_le32(16), 0, cpu_to_le16(NEXT) },
        { cpu_to_le64(STATUS), cpu_to_le32(1), 0, cpu_to_le16(WRITE) },
    };
    uint16_t flags = c->k->arg << VRING_PACKED_DESC_F_AVAIL |
                     c->k->arg << VRING_PACKED_DESC_F_USED;

    cf_up(c);
    cf_write_header(c, VIRTIO_BLK_T_FLUSH, 0);
    for (unsigned i = 0; i < 2; i++) {
        desc[i].flags |= cpu_to_le16(flags);
    }
    cf_write(c, DESC(1), desc, sizeof(desc));
    cf_kick(c, 1);
    cf_good(c, 3);
    cf_good(c, 3);
    if (c->ram[STATUS] != 0xff) {
        return cf_note(c, FAILED, "it is used");
    }
    return cf_verify(c, 0) && cf_verify(c, 2) && cf_verify(c, 3) ? REFUSED
                                                                 : FAILED;
}

/* A list that goes across the end of the ring */
static Verdict run_packed_wrap(Conform *c)
{
    cf_up(c);
    for (unsigned i = 0; i < RING_SIZE * 2; i++) {
        if (!cf_good(c, 1)) {
            return cf_note(c, FAILED, "no answer to %u", i);
        }
    }
    return PASSED;
}

/* Every descriptor says that another one follows */
static Verdict run_packed_endless(Conform *c)
{
    Desc desc[RING_SIZE];

    cf_up(c);
    for (unsigned i = 0; i < RING_SIZE; i++) {
        desc[i] = (Desc) { DATA, 20, NEXT };
    }
    cf_place(c, 1, desc, RING_SIZE);
    cf_kick(c, 1);
    cf_settle(c, 1);
    return cf_broken(c) ? cf_note(c, REFUSED, "DEVICE_NEEDS_RESET") : FAILED;
}

#define REQUEST(...) .run = cf_run_request, \
    .data = &(const ConformRequest) { __VA_ARGS__ }
#define GET_ID .type = VIRTIO_BLK_T_GET_ID

static const ConformCase cases[] = {
    { "ring/many", "2.7.13", run_many, PASSED, .arg = 1000 },
    { "ring/index-wraps", "2.7.6", run_many, PASSED, .arg = 66000 },
    { "packed/wrap-counters", "2.8.1", run_many, PASSED, .rings = PACKED,
      .arg = 3000 },
    { "packed/list-across-the-end", "2.8.1", run_packed_wrap, PASSED,
      .rings = PACKED },
    { "packed/chain-id", "2.8.6", run_chain_id, PASSED, .rings = PACKED },
    { "packed/endless", "2.8.17", run_packed_endless, REFUSED,
      .rings = PACKED },
    { "packed/not-available-0", "2.8.15", run_not_available, REFUSED,
      .rings = PACKED },
    { "packed/not-available-1", "2.8.15", run_not_available, REFUSED,
      .rings = PACKED, .arg = 1 },
    { "used/ids", "2.7.8", run_ids, PASSED, .rings = BOTH },
    { "used/len-read", "2.7.8.2", run_used_len, PASSED, .rings = BOTH,
      .arg = 4096, .select = VIRTIO_BLK_T_IN },
    { "used/len-nothing", "2.7.8.2", run_used_len, PASSED, .rings = BOTH,
      .select = VIRTIO_BLK_T_IN },
    { "used/len-error", "2.7.8.2", run_used_len_error, FAILED,
      "a request that fails has the length of all its buffers, as in stock",
      .rings = BOTH, .arg = 512, .select = VIRTIO_BLK_T_IN },
    { "used/len-get-id", "2.7.8.2", run_used_len, FAILED,
      "a short serial number is not padded, as in stock",
      .rings = BOTH, .arg = 20, .select = VIRTIO_BLK_T_GET_ID },
    { "used/len-unknown-type", "2.7.8.2", run_used_len, FAILED,
      "a request that fails has the length of all its buffers, as in stock",
      .rings = BOTH, .arg = 512, .select = 0x7e },
    { "used/flags", "2.7.10.2", run_used_flags, PASSED },
    { "used/flags-with-event-idx", "2.7.10.2", run_used_flags, PASSED,
      .with = EVENT_IDX },
    { "avail/spurious-kicks", "2.7.10.2", run_spurious_kicks, PASSED,
      .rings = BOTH },
    { "avail/event-idx", "2.7.10", run_spurious_kicks, PASSED, .rings = BOTH,
      .with = EVENT_IDX },
    { "avail/flags-1", "2.7.7.1", run_driver_flags, PASSED, .rings = BOTH,
      .arg = 1 },
    { "avail/flags-3", "2.7.7.1", run_driver_flags, PASSED, .rings = BOTH,
      .arg = 3 },
    { "avail/flags-all", "2.7.7.1", run_driver_flags, PASSED, .rings = BOTH,
      .arg = 0xffff },
    { "avail/flags-1-with-event-idx", "2.7.7.1", run_driver_flags, PASSED,
      .with = EVENT_IDX, .arg = 1 },
    { "avail/event-beyond-ring", "2.7.7.2", run_event_offset, PASSED,
      .rings = BOTH, .with = EVENT_IDX, .arg = 0x7fff },
    { "avail/event-with-wrap", "2.8.14", run_event_offset, PASSED,
      .rings = PACKED, .with = EVENT_IDX, .arg = 0x8000 | RING_SIZE },
    { "avail/head-beyond-ring", "2.7.6", .rings = SPLIT, .expect = REFUSED,
      REQUEST({ HDR, IN(20), ST }, GET_ID, .must = BAD, .head = RING_SIZE) },
    { "avail/head-0xffff", "2.7.6", .rings = SPLIT, .expect = REFUSED,
      REQUEST({ HDR, IN(20), ST }, GET_ID, .must = BAD, .head = 0xffff) },
    { "avail/one-more-than-ring", "2.7.6.1", .expect = PASSED,
      REQUEST({ HDR, IN(20), ST }, GET_ID, .jump = RING_SIZE,
              .lost = true) },
    { "avail/half-way-round", "2.7.6.1", .expect = PASSED,
      REQUEST({ HDR, IN(20), ST }, GET_ID, .jump = 0x8000, .lost = true) },
    { "avail/backwards", "2.7.6.1", .expect = PASSED,
      REQUEST({ HDR, IN(20), ST }, GET_ID, .jump = 0xfffe, .lost = true) },

    { "desc/next-beyond-ring", "2.7.5", .expect = REFUSED,
      REQUEST({ HDR, { DATA, 20, NEXT | WRITE, RING_SIZE }, ST }, GET_ID,
              .must = BAD) },
    { "desc/next-0xffff", "2.7.5", .expect = REFUSED,
      REQUEST({ HDR, { DATA, 20, NEXT | WRITE, 0xffff }, ST }, GET_ID,
              .must = BAD) },
    { "desc/loop-readable", "2.7.5.2", .expect = REFUSED,
      REQUEST({ HDR, { DATA, 20, NEXT, 1 } }, .must = BAD) },
    { "desc/loop-writable", "2.7.5.2", .expect = REFUSED,
      REQUEST({ HDR, { DATA, 20, NEXT | WRITE, 1 } }, .must = BAD) },
    { "desc/longer-than-4g", "2.7.5.2", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, { DATA, 0xfffffe00, NEXT | WRITE },
                { DATA, 0xfffffe00, NEXT | WRITE }, ST }, .must = BAD) },
    { "desc/4g", "2.7.5.2", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, { DATA, 0xfffffe00, NEXT | WRITE }, ST }, .must = BAD) },
    { "desc/writable-first", "2.7.4.2", .expect = REFUSED, .rings = BOTH,
      REQUEST({ { STATUS, 1, NEXT | WRITE }, { HEADER, 16, 0 } }) },
    { "desc/readable-after-writable", "2.7.4.2", .expect = REFUSED,
      .rings = BOTH, REQUEST({ HDR, IN(512), OUT(512), ST }) },
    { "desc/zero-length-header", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ { HEADER, 0, NEXT }, ST }, .must = BAD) },
    { "desc/zero-length-data", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, IN(0), ST }) },
    { "desc/zero-length-status", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, { STATUS, 0, WRITE } }, .must = BAD) },
    { "desc/reserved-flags", "2.7.5", .expect = PASSED,
      REQUEST({ HDR, { DATA, 20, NEXT | WRITE | 0x7f78 }, ST }, GET_ID) },
    { "desc/header-in-pieces", "2.7.4.1", .expect = PASSED, .rings = BOTH,
      REQUEST({ { HEADER, 3, NEXT }, { HEADER + 3, 13, NEXT }, IN(512), ST },
              .must = GETS_OK) },
    { "desc/header-byte-by-byte", "2.7.4.1", .expect = PASSED, .rings = BOTH,
      REQUEST({ { HEADER, 12, NEXT }, { HEADER + 12, 1, NEXT },
                { HEADER + 13, 1, NEXT }, { HEADER + 14, 1, NEXT },
                { HEADER + 15, 1, NEXT }, IN(512), ST }, .must = GETS_OK) },
    { "desc/header-with-data", "2.7.4.1", .expect = PASSED, .rings = BOTH,
      REQUEST({ { DATA - 16, 16 + 512, NEXT }, ST }, .type = 1,
              .must = GETS_OK, .writes = 1) },
    { "desc/data-with-status", "2.7.4.1", .expect = PASSED, .rings = BOTH,
      REQUEST({ HDR, { STATUS - 512, 513, WRITE } }, .must = GETS_OK) },
    { "desc/data-in-pieces", "2.7.4.1", .expect = PASSED, .rings = BOTH,
      REQUEST({ HDR, IN(1), IN(511), IN(300), IN(212), ST },
              .must = GETS_OK) },
    { "desc/60-pieces", "2.7.4.1", .expect = PASSED, .rings = BOTH,
      REQUEST({ HDR, IN(512), ST }, .must = GETS_OK, .repeat = 60) },
    { "desc/read-into-readable", "2.7.5.1", .expect = PASSED, .rings = BOTH,
      REQUEST({ HDR, OUT(512), ST }) },
    { "desc/write-from-writable", "2.7.5.1", .expect = PASSED, .rings = BOTH,
      REQUEST({ HDR, IN(512), ST }, .type = VIRTIO_BLK_T_OUT) },
    { "desc/data-nowhere", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, { NOWHERE, 512, NEXT | WRITE }, ST }) },
    { "desc/data-in-mmio", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, { IOAPIC, 512, NEXT | WRITE }, ST }) },
    { "desc/data-in-firmware", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, { 0xfffff000, 512, NEXT | WRITE }, ST }) },
    { "desc/data-at-end-of-ram", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, { RAM_SIZE - 256, 512, NEXT | WRITE }, ST }) },
    { "desc/data-wraps", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, { -256ull, 512, NEXT | WRITE }, ST }) },
    { "desc/header-nowhere", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ { NOWHERE, 16, NEXT }, ST }) },
    { "desc/status-nowhere", "2.7.5", .expect = REFUSED, .rings = BOTH,
      REQUEST({ HDR, { NOWHERE, 1, WRITE } }) },

    { "indirect/table", "2.7.5.3", .expect = PASSED, .rings = BOTH,
      REQUEST({ TAB(48) }, { HDR, IN(512), ST }, .must = GETS_OK) },
    { "indirect/not-negotiated", "2.7.5.3.1", .expect = PASSED,
      .rings = BOTH, .without = INDIRECT_DESC,
      REQUEST({ TAB(48) }, { HDR, IN(512), ST }) },
    { "indirect/writable", "2.7.5.3.2", .expect = PASSED, .rings = BOTH,
      REQUEST({ { TABLE, 48, INDIRECT | WRITE } }, { HDR, IN(512), ST },
              .must = GETS_OK) },
    { "indirect/after-normal", "2.7.5.3.2", .expect = FAILED,
      .reason = "an indirect table after other descriptors is taken for a "
      "buffer, as in stock",
      REQUEST({ HDR, TAB(32) }, { IN(512), ST }, .must = GETS_OK) },
    { "indirect/and-next/split", "2.7.5.3.1", .expect = PASSED,
      REQUEST({ { TABLE, 48, INDIRECT | NEXT }, ST }, { HDR, IN(512), ST }) },
    { "indirect/and-next/packed", "2.8.19", .expect = REFUSED,
      .rings = PACKED,
      REQUEST({ { TABLE, 48, INDIRECT | NEXT }, ST }, { HDR, IN(512), ST }) },
    { "indirect/in-table", "2.7.5.3.1", .expect = REFUSED, .rings = BOTH,
      REQUEST({ TAB(32) }, { { TABLE, 32, INDIRECT | NEXT }, ST }) },
    { "indirect/itself", "2.7.5.3.1", .expect = REFUSED, .rings = BOTH,
      REQUEST({ TAB(16) }, { TAB(16) }, .must = BAD) },
    { "indirect/longer-than-ring", "2.7.5.3.1", .expect = PASSED,
      .rings = BOTH,
      REQUEST({ TAB(16 * 202) }, { HDR, IN(512), ST }, .repeat = 200) },
    { "indirect/1025", "2.7.5.3.1", .expect = REFUSED, .rings = BOTH,
      REQUEST({ TAB(16 * 1025) }, { HDR, IN(1), ST }, .repeat = 1023) },
    { "indirect/length-0", "2.7.5.3", .expect = REFUSED, .rings = BOTH,
      REQUEST({ TAB(0) }, { HDR, ST }, .must = BAD) },
    { "indirect/length-8", "2.7.5.3", .expect = REFUSED, .rings = BOTH,
      REQUEST({ TAB(8) }, { HDR, ST }, .must = BAD) },
    { "indirect/length-33", "2.7.5.3", .expect = REFUSED, .rings = BOTH,
      REQUEST({ TAB(33) }, { HDR, ST }, .must = BAD) },
    { "indirect/length-4g", "2.7.5.3", .expect = REFUSED, .rings = BOTH,
      REQUEST({ { TABLE, 0xfffffff0, INDIRECT } }, { HDR, ST }) },
    { "indirect/loop", "2.7.5.3", .expect = REFUSED,
      REQUEST({ TAB(32) }, { HDR, { DATA, 20, NEXT | WRITE, 1 } },
              .must = BAD) },
    { "indirect/next-beyond-table", "2.7.5.3", .expect = REFUSED,
      REQUEST({ TAB(32) }, { { HEADER, 16, NEXT, 2 }, ST }, .must = BAD) },
    { "indirect/packed-ignores-next", "2.8.7", .expect = PASSED,
      .rings = PACKED,
      REQUEST({ TAB(48) }, { { HEADER, 16, 0 }, { DATA, 512, WRITE }, ST },
              .must = GETS_OK) },
    { "indirect/packed-ignores-id", "2.8.7", .expect = PASSED,
      .rings = PACKED,
      REQUEST({ TAB(48) }, { { HEADER, 16, 0, 0xffff },
                             { DATA, 512, WRITE, 0x1234 },
                             { STATUS, 1, WRITE, 0xffff } },
              .must = GETS_OK) },
    { "indirect/nowhere", "2.7.5.3", .expect = REFUSED, .rings = BOTH,
      REQUEST({ { NOWHERE, 48, INDIRECT } }) },
    { "indirect/at-end-of-ram", "2.7.5.3", .expect = REFUSED, .rings = BOTH,
      REQUEST({ { RAM_SIZE - 16, 48, INDIRECT } }, .must = BAD) },
    { "indirect/wraps", "2.7.5.3", .expect = REFUSED, .rings = BOTH,
      REQUEST({ { -16ull, 48, INDIRECT } }, .must = BAD) },
};

void conform_add_ring(GArray *all)
{
    conform_add_cases(all, cases, ARRAY_SIZE(cases));
}
