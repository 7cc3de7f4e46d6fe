/*
 * Guests that do what no driver does, on a disk served by several IOThreads
 *
 * Whatever is in the rings, the device may break for the guest but never for
 * the host: QEMU lives, answers the monitor, and after a reset each virtqueue
 * is served again by its own IOThread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "vq-hostile.h"

/* Instead of a request's status */
#define BREAKS 0x100    /* the device needs a reset */
#define WHATEVER 0x101  /* it may break or not */

#define SPLIT 1
#define PACKED 2
#define BOTH (SPLIT | PACKED)

#define MAX_DESC 8

/* One request that is wrong in one way */
typedef struct Attack {
    const char *name;
    unsigned rings;
    unsigned status;        /* what comes of it */
    Desc desc[MAX_DESC];
    Desc table[MAX_DESC];   /* at TABLE */
    uint32_t type;
    uint64_t sector;
    struct virtio_blk_discard_write_zeroes range; /* at DATA */
    unsigned repeat;        /* so many of the last descriptor but one */
    uint16_t head;
    uint16_t jump;
} Attack;

typedef struct AttackCase {
    const Attack *attack;
    bool packed;
} AttackCase;

static const Attack attacks[] = {
    /* The ring */
    { "head-out-of-range", SPLIT, BREAKS, { HDR, IN(20), ST },
      .head = RING_SIZE },
    { "head-huge", SPLIT, BREAKS, { HDR, IN(20), ST }, .head = 0xffff },
    { "next-out-of-range", SPLIT, BREAKS,
      { HDR, { DATA, 20, NEXT | WRITE, RING_SIZE }, ST } },
    { "next-huge", SPLIT, BREAKS,
      { HDR, { DATA, 20, NEXT | WRITE, 0xffff }, ST } },
    { "loop/in", SPLIT, BREAKS, { HDR, { DATA, 20, NEXT | WRITE, 1 } } },
    { "loop/out", SPLIT, BREAKS, { HDR, { DATA, 20, NEXT, 1 } } },
    { "no-end", PACKED, BREAKS, { HDR, IN(1), IN(1) }, .repeat = 59 },
    /* More requests at once than the ring has descriptors */
    { "avail/one-too-many", SPLIT, BREAKS, { HDR, IN(512), ST },
      .jump = RING_SIZE },
    { "avail/half-way", SPLIT, BREAKS, { HDR, IN(512), ST }, .jump = 0x8000 },
    { "avail/backwards", SPLIT, BREAKS, { HDR, IN(512), ST }, .jump = 0xfffe },
    /* 65535 requests that are never in flight */
    { "avail/backwards-get-id", SPLIT, WHATEVER, { HDR, IN(20), ST },
      .type = VIRTIO_BLK_T_GET_ID, .jump = 0xfffe },
    /* The same request as often as the ring has places */
    { "avail/full", SPLIT, VIRTIO_BLK_S_OK, { HDR, IN(20), ST },
      .type = VIRTIO_BLK_T_GET_ID, .jump = RING_SIZE - 1 },

    /* Indirect tables */
    { "indirect/good", BOTH, VIRTIO_BLK_S_OK, { TAB(48) },
      { HDR, IN(20), ST }, .type = VIRTIO_BLK_T_GET_ID },
    { "indirect/most", BOTH, VIRTIO_BLK_S_OK, { TAB(1024 * 16) },
      { HDR, IN(1), ST }, .type = VIRTIO_BLK_T_GET_ID, .repeat = 1022 },
    { "indirect/too-many", BOTH, BREAKS, { TAB(1025 * 16) },
      { HDR, IN(1), ST }, .type = VIRTIO_BLK_T_GET_ID, .repeat = 1023 },
    { "indirect/far-too-many", BOTH, BREAKS, { TAB(4096 * 16) },
      { HDR, OUT(1), ST }, .repeat = 4094 },
    { "indirect/zero-length", BOTH, BREAKS, { TAB(0) }, { HDR, ST } },
    { "indirect/odd-length", BOTH, BREAKS, { TAB(33) }, { HDR, ST } },
    { "indirect/half-a-descriptor", BOTH, BREAKS, { TAB(8) }, { HDR, ST } },
    { "indirect/in-indirect", BOTH, WHATEVER, { TAB(32) },
      { { TABLE, 32, INDIRECT | NEXT }, ST } },
    { "indirect/itself", BOTH, BREAKS, { TAB(16) }, { TAB(16) } },
    { "indirect/loop", SPLIT, BREAKS, { TAB(32) },
      { HDR, { DATA, 20, NEXT | WRITE, 1 } } },
    { "indirect/next-out-of-range", SPLIT, BREAKS, { TAB(32) },
      { { HEADER, 16, NEXT, 2 }, ST } },
    { "indirect/and-next", BOTH, WHATEVER,
      { { TABLE, 32, INDIRECT | NEXT }, ST }, { HDR, ST } },
    { "indirect/and-write", BOTH, WHATEVER,
      { { TABLE, 32, INDIRECT | WRITE } }, { HDR, ST } },
    { "indirect/nowhere", BOTH, WHATEVER, { { NOWHERE, 32, INDIRECT } } },
    { "indirect/end-of-ram", BOTH, BREAKS,
      { { RAM_SIZE - 16, 48, INDIRECT } } },
    { "indirect/wraps", BOTH, BREAKS, { { -16ull, 48, INDIRECT } } },
    { "indirect/4g", BOTH, BREAKS, { { TABLE, 0xfffffff0, INDIRECT } },
      { HDR, ST } },

    /* The request's parts */
    { "no-status", BOTH, BREAKS, { { HEADER, 16, 0 } } },
    { "no-header", BOTH, BREAKS, { ST } },
    { "header/short", BOTH, BREAKS, { { HEADER, 15, NEXT }, ST } },
    { "header/byte", BOTH, BREAKS, { { HEADER, 1, NEXT }, ST } },
    { "header/in-pieces", BOTH, VIRTIO_BLK_S_OK,
      { { HEADER, 3, NEXT }, { HEADER + 3, 13, NEXT }, IN(20), ST },
      .type = VIRTIO_BLK_T_GET_ID },
    { "order/in-first", BOTH, BREAKS,
      { { STATUS, 1, NEXT | WRITE }, { HEADER, 16, 0 } } },
    { "order/mixed", BOTH, BREAKS, { HDR, IN(20), OUT(20), ST } },
    { "zero-length/header", BOTH, BREAKS, { { HEADER, 0, NEXT }, ST } },
    { "zero-length/data", BOTH, BREAKS, { HDR, IN(0), ST } },
    { "zero-length/status", BOTH, BREAKS, { HDR, { STATUS, 0, WRITE } } },

    /* Where the buffers are */
    { "buffer/header-nowhere", BOTH, WHATEVER, { { NOWHERE, 16, NEXT }, ST } },
    { "buffer/status-nowhere", BOTH, WHATEVER, { HDR, { NOWHERE, 1, WRITE } } },
    { "buffer/in-nowhere", BOTH, WHATEVER,
      { HDR, { NOWHERE, 512, NEXT | WRITE }, ST } },
    { "buffer/out-nowhere", BOTH, WHATEVER,
      { HDR, { NOWHERE, 512, NEXT }, ST }, .type = VIRTIO_BLK_T_OUT },
    { "buffer/firmware", BOTH, WHATEVER,
      { HDR, { 0xfffff000, 512, NEXT | WRITE }, ST } },
    { "buffer/ioapic", BOTH, WHATEVER,
      { HDR, { 0xfec00000, 512, NEXT | WRITE }, ST } },
    { "buffer/end-of-ram", BOTH, WHATEVER,
      { HDR, { RAM_SIZE - 256, 512, NEXT | WRITE }, ST } },
    { "buffer/wraps", BOTH, WHATEVER,
      { HDR, { -256ull, 512, NEXT | WRITE }, ST } },
    { "buffer/4g", BOTH, WHATEVER,
      { HDR, { DATA, 0xfffffe00, NEXT | WRITE }, ST } },
    { "buffer/many-4g", BOTH, WHATEVER,
      { HDR, { DATA, 32 * MiB, NEXT | WRITE }, ST }, .repeat = 50 },
    /* A SCSI request's errors go there, but only one byte of them may */
    { "buffer/scsi-end-of-ram", BOTH, WHATEVER,
      { HDR, OUT(16), IN(1), { RAM_SIZE - 1, 1, NEXT | WRITE }, ST },
      .type = VIRTIO_BLK_T_SCSI_CMD },

    /* Types, which know nothing of rings */
    { "type/unknown", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, ST }, .type = 0x7e },
    { "type/all-ones", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, ST }, .type = -1 },
    { "type/flush-data", SPLIT, VIRTIO_BLK_S_OK, { HDR, OUT(512), IN(99), ST },
      .type = VIRTIO_BLK_T_FLUSH, .sector = -1 },
    { "type/scsi", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, ST },
      .type = VIRTIO_BLK_T_SCSI_CMD },
    { "type/scsi-full", SPLIT, VIRTIO_BLK_S_UNSUPP,
      { HDR, OUT(16), IN(96), { DATA + 96, 16, NEXT | WRITE }, ST },
      .type = VIRTIO_BLK_T_SCSI_CMD },
    { "type/zone-report", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, IN(512), ST },
      .type = VIRTIO_BLK_T_ZONE_REPORT },
    { "type/zone-report-short", SPLIT, BREAKS, { HDR, IN(100), ST },
      .type = VIRTIO_BLK_T_ZONE_REPORT },
    { "type/zone-open", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, ST },
      .type = VIRTIO_BLK_T_ZONE_OPEN, .sector = -1 },
    { "type/zone-reset-all", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, ST },
      .type = VIRTIO_BLK_T_ZONE_RESET_ALL },
    { "type/zone-append", SPLIT, VIRTIO_BLK_S_UNSUPP,
      { HDR, OUT(512), IN(8), ST }, .type = VIRTIO_BLK_T_ZONE_APPEND },

    { "get-id/0", SPLIT, VIRTIO_BLK_S_OK, { HDR, ST },
      .type = VIRTIO_BLK_T_GET_ID },
    { "get-id/1", SPLIT, VIRTIO_BLK_S_OK, { HDR, IN(1), ST },
      .type = VIRTIO_BLK_T_GET_ID },
    { "get-id/19", SPLIT, VIRTIO_BLK_S_OK, { HDR, IN(19), ST },
      .type = VIRTIO_BLK_T_GET_ID },
    { "get-id/21", SPLIT, VIRTIO_BLK_S_OK, { HDR, IN(21), ST },
      .type = VIRTIO_BLK_T_GET_ID },
    { "get-id/in-pieces", SPLIT, VIRTIO_BLK_S_OK, { HDR, IN(1), ST },
      .type = VIRTIO_BLK_T_GET_ID, .repeat = 40 },

    { "read/nothing", SPLIT, VIRTIO_BLK_S_OK, { HDR, ST } },
    { "read/half-a-sector", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, IN(256), ST } },
    { "read/sector-and-a-half", SPLIT, VIRTIO_BLK_S_IOERR,
      { HDR, IN(768), ST } },
    { "read/across-end", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, IN(1024), ST },
      .sector = VQ_TEST_DISK_SIZE / 512 - 1 },
    { "read/behind-end", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, IN(512), ST },
      .sector = VQ_TEST_DISK_SIZE / 512 },
    { "read/last-sector", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, IN(512), ST },
      .sector = -1 },
    { "read/offset-wraps", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, IN(512), ST },
      .sector = 1ull << 55 },
    { "write/nothing", SPLIT, VIRTIO_BLK_S_OK, { HDR, IN(512), ST },
      .type = VIRTIO_BLK_T_OUT },

    { "discard/nothing", SPLIT, BREAKS, { HDR, ST },
      .type = VIRTIO_BLK_T_DISCARD },
    { "discard/short", SPLIT, BREAKS, { HDR, OUT(15), ST },
      .type = VIRTIO_BLK_T_DISCARD },
    { "discard/long", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, OUT(17), ST },
      .type = VIRTIO_BLK_T_DISCARD },
    { "discard/two", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, OUT(32), ST },
      .type = VIRTIO_BLK_T_DISCARD },
    { "discard/not-out", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, OUT(16), ST },
      .type = VIRTIO_BLK_T_DISCARD & ~VIRTIO_BLK_T_OUT },
    { "discard/behind-end", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, OUT(16), ST },
      .type = VIRTIO_BLK_T_DISCARD, .range = { 1ull << 30, 8 } },
    { "discard/wraps", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, OUT(16), ST },
      .type = VIRTIO_BLK_T_DISCARD, .range = { -1, 1 } },
    { "discard/huge", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, OUT(16), ST },
      .type = VIRTIO_BLK_T_DISCARD, .range = { 0, -1 } },
    { "discard/unmap", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, OUT(16), ST },
      .type = VIRTIO_BLK_T_DISCARD, .range = { 0, 8, 1 } },
    { "discard/flags", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, OUT(16), ST },
      .type = VIRTIO_BLK_T_DISCARD, .range = { 0, 8, 0x80000000 } },
    { "write-zeroes/short", SPLIT, BREAKS, { HDR, OUT(8), ST },
      .type = VIRTIO_BLK_T_WRITE_ZEROES },
    { "write-zeroes/two", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, OUT(32), ST },
      .type = VIRTIO_BLK_T_WRITE_ZEROES },
    { "write-zeroes/wraps", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, OUT(16), ST },
      .type = VIRTIO_BLK_T_WRITE_ZEROES, .range = { 1ull << 55, 8 } },
    { "write-zeroes/huge", SPLIT, VIRTIO_BLK_S_IOERR, { HDR, OUT(16), ST },
      .type = VIRTIO_BLK_T_WRITE_ZEROES, .range = { 0, 0x800000 } },
    { "write-zeroes/flags", SPLIT, VIRTIO_BLK_S_UNSUPP, { HDR, OUT(16), ST },
      .type = VIRTIO_BLK_T_WRITE_ZEROES, .range = { 0, 8, 2 } },
};

/*
 * The attack's descriptors, where the last but one stands for many
 * Returns: how many there are in @all
 */
static unsigned expand(const Desc *desc, unsigned repeat, Desc *all)
{
    unsigned n = 0;

    while (n < MAX_DESC && (desc[n].addr || desc[n].len)) {
        n++;
    }
    memcpy(all, desc, n * sizeof(*desc));
    if (n && repeat) {
        for (unsigned i = 1; i < repeat; i++) {
            all[n - 2 + i] = desc[n - 2];
        }
        all[n - 2 + repeat] = desc[n - 1];
        n += repeat - 1;
    }
    return n;
}

static void test_attack(const void *opaque)
{
    const AttackCase *c = opaque;
    const Attack *a = c->attack;
    Guest *g = hostile_new(c->packed, false, false);
    g_autofree Desc *all = g_new0(Desc, MAX_DESC + 4096);
    struct virtio_blk_discard_write_zeroes range = {
        cpu_to_le64(a->range.sector), cpu_to_le32(a->range.num_sectors),
        cpu_to_le32(a->range.flags),
    };
    unsigned n, in_table;

    start_driver(g);
    good_request(g, 1);

    write_header(g, a->type, a->sector);
    qtest_memwrite(g->t->qts, DATA, &range, sizeof(range));
    in_table = expand(a->table, a->repeat, all);
    write_table(g, all, in_table);
    n = expand(a->desc, in_table ? 0 : a->repeat, all);
    post(g, 1, all, n, a->head, a->jump);
    kick(g, 1);

    if (a->status == BREAKS) {
        wait_broken(g);
    } else {
        wait_done(g, 1, n);
    }
    if (a->status != BREAKS && a->status != WHATEVER) {
        g_assert_false(is_broken(g));
        g_assert_cmpuint(qtest_readb(g->t->qts, STATUS), ==, a->status);
    }
    if (!is_broken(g)) {
        good_request(g, 2);
    }
    check_host(g);
    check_reset(g);
    hostile_free(g);
}

static void add_attack(const Attack *attack, bool packed)
{
    g_autofree char *path = g_strdup_printf("/virtio-blk-hostile/%s/%s",
                                            packed ? "packed" : "split",
                                            attack->name);
    AttackCase *c = g_new(AttackCase, 1);

    c->attack = attack;
    c->packed = packed;
    qtest_add_data_func_full(path, c, test_attack, g_free);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
        if (attacks[i].rings & SPLIT) {
            add_attack(&attacks[i], false);
        }
        if (attacks[i].rings & PACKED) {
            add_attack(&attacks[i], true);
        }
    }
    add_scenarios();
    return g_test_run();
}
