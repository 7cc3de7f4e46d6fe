/*
 * Conformance cases for a virtio-blk-pci device: requests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "vq-conform.h"

#define VICTIM 1
#define SECTORS (VQ_TEST_DISK_SIZE / 512)
#define ANY_ERROR (GETS_IOERR | GETS_UNSUPP | GETS_BROKEN | GETS_IGNORED)
/* Where requests write; what they must not write is everywhere else */
#define HERE 4096

/*
 * The request's descriptors, where the last but one stands for many.
 * Returns: how many there are in @all.
 */
static unsigned expand(const Desc *desc, unsigned repeat, Desc *all)
{
    unsigned n = 0;

    while (n < MAX_DESC && (desc[n].addr || desc[n].len)) {
        n++;
    }
    memcpy(all, desc, n * sizeof(*desc));
    if (n > 1 && repeat) {
        for (unsigned i = 1; i < repeat; i++) {
            all[n - 2 + i] = desc[n - 2];
        }
        all[n - 2 + repeat] = desc[n - 1];
        n += repeat - 1;
    }
    return n;
}

static unsigned outcome_bit(unsigned outcome)
{
    switch (outcome) {
    case BROKE:
        return GETS_BROKEN;
    case IGNORED:
        return GETS_IGNORED;
    case VIRTIO_BLK_S_OK ... VIRTIO_BLK_S_UNSUPP:
        return 1 << outcome;
    default:
        return 0;
    }
}

static Verdict judge(Conform *c, const ConformRequest *r, unsigned outcome)
{
    static const char *const names[] = { "OK", "IOERR", "UNSUPP" };
    unsigned bit = outcome_bit(outcome);

    if (outcome < ARRAY_SIZE(names)) {
        cf_note(c, FAILED, "%s", names[outcome]);
    } else if (outcome == BROKE) {
        cf_note(c, FAILED, "DEVICE_NEEDS_RESET");
    } else if (outcome == IGNORED) {
        cf_note(c, FAILED, "ignored");
    } else {
        return cf_note(c, FAILED, "status is 0x%x", outcome);
    }
    if (r->must && !(r->must & bit)) {
        return FAILED;
    }
    return outcome == VIRTIO_BLK_S_OK ? PASSED : REFUSED;
}

static bool others_work(Conform *c, bool lost)
{
    for (unsigned q = 0; q < QUEUES; q++) {
        if (!(lost && q == VICTIM) && !cf_verify(c, q)) {
            return false;
        }
    }
    return true;
}

static void prepare_data(Conform *c, const ConformRequest *r)
{
    struct virtio_blk_discard_write_zeroes range = {
        cpu_to_le64(r->range.sector), cpu_to_le32(r->range.num_sectors),
        cpu_to_le32(r->range.flags),
    };

    cf_fill(c, DATA, 0x5a, 64 * KiB);
    if (r->range.num_sectors || r->range.sector || r->range.flags) {
        /* Another one after it, for requests that have two */
        cf_write(c, DATA, &range, sizeof(range));
        cf_write(c, DATA + sizeof(range), &range, sizeof(range));
    }
    if (r->writes && c->disk) {
        cf_disk_has(c, r->sector, 0x5a, r->writes);
    }
}

/* Have a range that is no zeroes, which a request then makes so */
static bool prepare_zeroes(Conform *c, const ConformRequest *r)
{
    const Desc desc[] = { HDR, OUT(r->zeroes * 512), ST };

    if (r->zeroes) {
        cf_fill(c, DATA, 0x77, r->zeroes * 512);
        cf_disk_has(c, r->range.sector, 0x77, r->zeroes);
        if (cf_request(c, VICTIM, VIRTIO_BLK_T_OUT, r->range.sector, desc,
                       ARRAY_SIZE(desc)) != VIRTIO_BLK_S_OK) {
            return false;
        }
        cf_disk_has(c, r->range.sector, 0, r->zeroes);
    }
    return true;
}

Verdict cf_run_request(Conform *c)
{
    const ConformRequest *r = c->k->data;
    g_autofree Desc *all = g_new0(Desc, MAX_DESC + 4096);
    unsigned n, in_table, outcome;
    uint32_t len;
    bool used;
    uint16_t head;
    Verdict verdict;

    cf_up(c);
    if (!cf_good(c, VICTIM) || !prepare_zeroes(c, r)) {
        return cf_note(c, FAILED, "the device does not work");
    }
    prepare_data(c, r);
    cf_write_header(c, r->type, r->sector);
    if (r->desc[0].addr == DATA - 16) {
        struct virtio_blk_outhdr header = {
            .type = cpu_to_le32(r->type), .sector = cpu_to_le64(r->sector),
        };

        cf_write(c, DATA - 16, &header, sizeof(header));
    }
    in_table = expand(r->table, r->repeat, all);
    cf_write_table(c, all, in_table);
    n = expand(r->desc, in_table ? 0 : r->repeat, all);
    /* Indices in the table of descriptors count from its beginning */
    c->q[VICTIM].free = 0;
    head = cf_place(c, VICTIM, all, n);
    cf_expose(c, VICTIM, r->head ?: head, r->jump);
    cf_kick(c, VICTIM);
    used = r->must == GETS_OK ? cf_wait_used(c, VICTIM, &len)
                              : cf_settle(c, VICTIM);
    outcome = used ? c->ram[STATUS] : cf_broken(c) ? BROKE : IGNORED;

    if (outcome == 0xff) {
        /* Used without a status, where it has none: an error of a kind */
        outcome = IGNORED;
    }
    verdict = judge(c, r, outcome);
    if (verdict != FAILED && !cf_broken(c)) {
        g_autofree char *note = g_strdup(c->note);

        if (!others_work(c, r->lost || outcome == IGNORED)) {
            return cf_broken(c) ? cf_note(c, REFUSED, "DEVICE_NEEDS_RESET")
                                : FAILED;
        }
        cf_note(c, verdict, "%s", note);
    }
    return verdict;
}

/* A string, padded with zeroes up to 20 bytes */
static Verdict run_get_id(Conform *c)
{
    const Desc desc[] = { HDR, IN(20), ST };
    static const char id[20] = "0123456789";

    cf_up(c);
    cf_fill(c, DATA, 0, 20);
    if (cf_request(c, VICTIM, VIRTIO_BLK_T_GET_ID, 0, desc,
                   ARRAY_SIZE(desc)) != VIRTIO_BLK_S_OK) {
        return cf_note(c, FAILED, "no success");
    }
    return memcmp(c->ram + DATA, id, sizeof(id)) ?
           cf_note(c, FAILED, "wrong id") : cf_survives(c);
}

/* What has been written is read through another virtqueue */
static Verdict run_write_then_read(Conform *c)
{
    const Desc out[] = { HDR, OUT(64 * KiB), ST };
    const Desc in[] = {
        HDR, { DATA + 128 * KiB, 64 * KiB, NEXT | WRITE }, ST
    };
    const Desc flush[] = { HDR, ST };
    unsigned n = 64 * KiB / 512;

    cf_up(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_fill(c, DATA, 0x10 + q, 64 * KiB);
        cf_disk_has(c, HERE + q * n, 0x10 + q, n);
        if (cf_request(c, q, VIRTIO_BLK_T_OUT, HERE + q * n, out, 3) ||
            cf_request(c, q, VIRTIO_BLK_T_FLUSH, 0, flush, 2) ||
            cf_request(c, (q + 1) % QUEUES, VIRTIO_BLK_T_IN, HERE + q * n,
                       in, 3)) {
            return cf_note(c, FAILED, "no success");
        }
        if (memcmp(c->ram + DATA, c->ram + DATA + 128 * KiB, 64 * KiB)) {
            return cf_note(c, FAILED, "wrong data");
        }
    }
    return PASSED;
}

#define REQUEST(...) .run = cf_run_request, \
    .data = &(const ConformRequest) { __VA_ARGS__ }
#define READ(len, at, ...) \
    REQUEST({ HDR, IN(len), ST }, .sector = at, ## __VA_ARGS__)
#define WRITES(len, at, ...) \
    REQUEST({ HDR, OUT(len), ST }, .type = VIRTIO_BLK_T_OUT, .sector = at, \
            ## __VA_ARGS__)
#define RANGE(t, len, s, n, f, ...) \
    REQUEST({ HDR, OUT(len), ST }, .type = VIRTIO_BLK_T_##t, \
            .range = { s, n, f }, ## __VA_ARGS__)
#define PLAIN(t, ...) REQUEST({ HDR, ST }, .type = t, ## __VA_ARGS__)
#define TYPED(t, ...) \
    REQUEST({ HDR, IN(512), ST }, .type = t, ## __VA_ARGS__)

static const ConformCase cases[] = {
    { "blk/write-then-read", "5.2.6", run_write_then_read, PASSED,
      .rings = BOTH },
    { "blk/get-id", "5.2.6", run_get_id, PASSED, .rings = BOTH },

    { "blk/read", "5.2.6", .rings = BOTH, READ(4096, 8, .must = GETS_OK) },
    { "blk/read/nothing", "5.2.6", PLAIN(VIRTIO_BLK_T_IN) },
    { "blk/read/half-a-sector", "5.2.6.1", .expect = REFUSED,
      READ(256, 0, .must = ANY_ERROR) },
    { "blk/read/sector-and-a-half", "5.2.6.1", .expect = REFUSED,
      READ(768, 0, .must = ANY_ERROR) },
    { "blk/read/last-sector", "5.2.6.1",
      READ(512, SECTORS - 1, .must = GETS_OK) },
    { "blk/read/across-capacity", "5.2.6.1", .expect = REFUSED,
      READ(1024, SECTORS - 1, .must = ANY_ERROR) },
    { "blk/read/at-capacity", "5.2.6.1", .expect = REFUSED,
      READ(512, SECTORS, .must = ANY_ERROR) },
    { "blk/read/sector-all-ones", "5.2.6.1", .expect = REFUSED,
      READ(512, -1, .must = ANY_ERROR) },
    { "blk/read/offset-wraps", "5.2.6.1", .expect = REFUSED,
      READ(512, 1ull << 55, .must = ANY_ERROR) },
    { "blk/read/sum-wraps", "5.2.6.1", .expect = REFUSED,
      READ(1024, -1ull, .must = ANY_ERROR) },
    { "blk/read/2g", "5.2.6.1", .expect = REFUSED,
      REQUEST({ HDR, IN(32 * MiB), ST }, .must = ANY_ERROR, .repeat = 60) },
    { "blk/write", "5.2.6", .rings = BOTH,
      WRITES(4096, HERE, .must = GETS_OK, .writes = 8) },
    { "blk/write/nothing", "5.2.6", PLAIN(VIRTIO_BLK_T_OUT) },
    { "blk/write/half-a-sector", "5.2.6.1", .expect = REFUSED,
      WRITES(256, HERE, .must = ANY_ERROR) },
    { "blk/write/across-capacity", "5.2.6.1", .expect = REFUSED,
      WRITES(1024, SECTORS - 1, .must = ANY_ERROR) },
    { "blk/write/at-capacity", "5.2.6.1", .expect = REFUSED,
      WRITES(512, SECTORS, .must = ANY_ERROR) },
    { "blk/write/offset-wraps", "5.2.6.1", .expect = REFUSED,
      WRITES(512, 1ull << 55, .must = ANY_ERROR) },
    { "blk/write/sector-all-ones", "5.2.6.1", .expect = REFUSED,
      WRITES(512, -1, .must = ANY_ERROR) },
    { "blk/flush", "5.2.6", .rings = BOTH,
      PLAIN(VIRTIO_BLK_T_FLUSH, .must = GETS_OK) },
    { "blk/flush/sector", "5.2.6.1",
      PLAIN(VIRTIO_BLK_T_FLUSH, .sector = 77) },
    { "blk/flush/data", "5.2.6.1",
      REQUEST({ HDR, OUT(512), IN(512), ST }, .type = VIRTIO_BLK_T_FLUSH) },
    { "blk/flush/not-negotiated", "5.2.5.1",
      PLAIN(VIRTIO_BLK_T_FLUSH),
      .without = 1ull << VIRTIO_BLK_F_FLUSH |
                 1ull << VIRTIO_BLK_F_CONFIG_WCE },
    { "blk/get-id/0-bytes", "5.2.6.1", PLAIN(VIRTIO_BLK_T_GET_ID) },
    { "blk/get-id/1-byte", "5.2.6.1",
      REQUEST({ HDR, IN(1), ST }, .type = VIRTIO_BLK_T_GET_ID) },
    { "blk/get-id/512-bytes", "5.2.6.1", TYPED(VIRTIO_BLK_T_GET_ID) },
    { "blk/get-lifetime", "5.2.6", .expect = REFUSED,
      TYPED(10, .must = GETS_UNSUPP) },

    { "blk/discard", "5.2.6", .rings = BOTH,
      RANGE(DISCARD, 16, HERE, 8, 0, .must = GETS_OK) },
    { "blk/discard/not-negotiated", "5.2.3", RANGE(DISCARD, 16, HERE, 8, 0),
      .without = 1ull << VIRTIO_BLK_F_DISCARD },
    { "blk/discard/nothing", "5.2.6.1", .expect = REFUSED,
      PLAIN(VIRTIO_BLK_T_DISCARD, .must = ANY_ERROR) },
    { "blk/discard/0-sectors", "5.2.6", RANGE(DISCARD, 16, HERE, 0, 0) },
    { "blk/discard/15-bytes", "5.2.6.1", .expect = REFUSED,
      RANGE(DISCARD, 15, HERE, 8, 0, .must = ANY_ERROR) },
    { "blk/discard/17-bytes", "5.2.6.1", .expect = REFUSED,
      RANGE(DISCARD, 17, HERE, 8, 0, .must = ANY_ERROR) },
    { "blk/discard/2-segments", "5.2.6.1", .expect = REFUSED,
      RANGE(DISCARD, 32, HERE, 8, 0, .must = ANY_ERROR) },
    { "blk/discard/unmap", "5.2.6.2", .expect = REFUSED,
      RANGE(DISCARD, 16, HERE, 8, 1, .must = GETS_UNSUPP) },
    { "blk/discard/unknown-flag", "5.2.6.2", .expect = REFUSED,
      RANGE(DISCARD, 16, HERE, 8, 2, .must = GETS_UNSUPP) },
    { "blk/discard/flag-31", "5.2.6.2", .expect = REFUSED,
      RANGE(DISCARD, 16, HERE, 8, 0x80000000, .must = GETS_UNSUPP) },
    { "blk/discard/unknown-flag-and-beyond-capacity", "5.2.6.2",
      .expect = FAILED,
      .reason = "the range is looked at before the flags, as in stock",
      RANGE(DISCARD, 16, SECTORS, 8, 2, .must = GETS_UNSUPP) },
    { "blk/discard/beyond-capacity", "5.2.6.1", .expect = REFUSED,
      RANGE(DISCARD, 16, SECTORS, 8, 0, .must = ANY_ERROR) },
    { "blk/discard/across-capacity", "5.2.6.1", .expect = REFUSED,
      RANGE(DISCARD, 16, SECTORS - 4, 8, 0, .must = ANY_ERROR) },
    { "blk/discard/too-many-sectors", "5.2.6.1", .expect = REFUSED,
      RANGE(DISCARD, 16, 0, -1, 0, .must = ANY_ERROR) },
    { "blk/discard/sector-all-ones", "5.2.6.1", .expect = REFUSED,
      RANGE(DISCARD, 16, -1, 1, 0, .must = ANY_ERROR) },
    { "blk/discard/without-direction", "5.2.6", .expect = REFUSED,
      RANGE(DISCARD & ~VIRTIO_BLK_T_OUT, 16, HERE, 8, 0) },

    { "blk/write-zeroes", "5.2.6.2", .rings = BOTH,
      RANGE(WRITE_ZEROES, 16, HERE, 16, 0, .must = GETS_OK,
            .zeroes = 16) },
    { "blk/write-zeroes/unmap", "5.2.6.2", .rings = BOTH,
      RANGE(WRITE_ZEROES, 16, HERE, 16, 1, .must = GETS_OK,
            .zeroes = 16) },
    { "blk/write-zeroes/unaligned", "5.2.6.2",
      RANGE(WRITE_ZEROES, 16, HERE + 3, 5, 0, .must = GETS_OK,
            .zeroes = 5) },
    { "blk/write-zeroes/nothing", "5.2.6.1", .expect = REFUSED,
      PLAIN(VIRTIO_BLK_T_WRITE_ZEROES, .must = ANY_ERROR) },
    { "blk/write-zeroes/8-bytes", "5.2.6.1", .expect = REFUSED,
      RANGE(WRITE_ZEROES, 8, HERE, 8, 0, .must = ANY_ERROR) },
    { "blk/write-zeroes/2-segments", "5.2.6.1", .expect = REFUSED,
      RANGE(WRITE_ZEROES, 32, HERE, 8, 0, .must = ANY_ERROR) },
    { "blk/write-zeroes/unknown-flag", "5.2.6.2", .expect = REFUSED,
      RANGE(WRITE_ZEROES, 16, HERE, 8, 2, .must = GETS_UNSUPP) },
    { "blk/write-zeroes/beyond-capacity", "5.2.6.1", .expect = REFUSED,
      RANGE(WRITE_ZEROES, 16, SECTORS, 8, 0, .must = ANY_ERROR) },
    { "blk/write-zeroes/offset-wraps", "5.2.6.1", .expect = REFUSED,
      RANGE(WRITE_ZEROES, 16, 1ull << 55, 8, 0, .must = ANY_ERROR) },
    { "blk/write-zeroes/too-many-sectors", "5.2.6.1", .expect = REFUSED,
      RANGE(WRITE_ZEROES, 16, 0, 0x800000, 0, .must = ANY_ERROR) },
    { "blk/secure-erase", "5.2.6", .expect = REFUSED,
      RANGE(SECURE_ERASE, 16, HERE, 8, 0, .must = GETS_UNSUPP) },

    { "blk/scsi-command", "5.2.6", .expect = REFUSED,
      PLAIN(VIRTIO_BLK_T_SCSI_CMD, .must = ANY_ERROR) },
    { "blk/scsi-command-whole", "5.2.6", .expect = REFUSED,
      REQUEST({ HDR, OUT(16), IN(96), IN(16), ST },
              .type = VIRTIO_BLK_T_SCSI_CMD, .must = ANY_ERROR) },
    { "blk/barrier-flag", "5.2.6",
      REQUEST({ HDR, IN(512), ST }, .type = 0x80000000) },
    { "blk/type-0x7e", "5.2.6", .expect = REFUSED,
      TYPED(0x7e, .must = GETS_UNSUPP) },
    { "blk/type-all-ones", "5.2.6", .expect = REFUSED,
      TYPED(-1, .must = GETS_UNSUPP) },
    { "blk/type-3", "5.2.6", .expect = REFUSED,
      TYPED(3, .must = GETS_UNSUPP | GETS_IOERR) },
    { "blk/zone-append", "5.2.6", .expect = REFUSED,
      REQUEST({ HDR, OUT(512), IN(8), ST }, .type = VIRTIO_BLK_T_ZONE_APPEND,
              .must = ANY_ERROR) },
    { "blk/zone-report", "5.2.6", .expect = REFUSED,
      TYPED(VIRTIO_BLK_T_ZONE_REPORT, .must = ANY_ERROR) },
    { "blk/zone-report-short", "5.2.6", .expect = REFUSED,
      REQUEST({ HDR, IN(16), ST }, .type = VIRTIO_BLK_T_ZONE_REPORT,
              .must = ANY_ERROR) },
    { "blk/zone-open", "5.2.6", .expect = REFUSED,
      PLAIN(VIRTIO_BLK_T_ZONE_OPEN, .must = ANY_ERROR) },
    { "blk/zone-reset-all", "5.2.6", .expect = REFUSED,
      PLAIN(VIRTIO_BLK_T_ZONE_RESET_ALL, .must = ANY_ERROR) },

    { "blk/no-status", "5.2.6", .expect = REFUSED, .rings = BOTH,
      REQUEST({ { HEADER, 16, 0 } }, .must = ANY_ERROR) },
    { "blk/no-header", "5.2.6", .expect = REFUSED, .rings = BOTH,
      REQUEST({ ST }, .must = ANY_ERROR) },
    { "blk/header-15-bytes", "5.2.6", .expect = REFUSED, .rings = BOTH,
      REQUEST({ { HEADER, 15, NEXT }, ST }, .must = ANY_ERROR) },

    { "blk/read-only/offers-ro", "5.2.6.2", READ(512, 0, .must = GETS_OK),
      .read_only = true },
    { "blk/read-only/write", "5.2.6.2", .expect = REFUSED, .rings = BOTH,
      WRITES(512, 0, .must = GETS_IOERR), .read_only = true },
    { "blk/read-only/write-zeroes", "5.2.6.2", .expect = REFUSED,
      RANGE(WRITE_ZEROES, 16, 0, 8, 0, .must = ANY_ERROR),
      .read_only = true },
    { "blk/read-only/discard", "5.2.6.2",
      RANGE(DISCARD, 16, 0, 8, 0), .read_only = true },
    { "blk/read-only/flush", "5.2.6",
      PLAIN(VIRTIO_BLK_T_FLUSH, .must = GETS_OK), .read_only = true },
};

void conform_add_request(GArray *all)
{
    conform_add_cases(all, cases, ARRAY_SIZE(cases));
}
