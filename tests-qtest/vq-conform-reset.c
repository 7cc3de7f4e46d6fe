/*
 * Conformance cases for a virtio-blk-pci device: reset of a virtqueue
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-conform.h"

#define VICTIM 1
#define RING_RESET (1ull << VIRTIO_F_RING_RESET)

static const Desc read_20[] = { HDR, IN(20), ST };

static void reset_queue(Conform *c, unsigned q)
{
    cf_select(c, q);
    cf_wr16(c, CF(Q_RESET), 1);
}

/* Is it reset, by what its registers say? */
static bool is_reset(Conform *c, unsigned q)
{
    cf_select(c, q);
    if (cf_rd16(c, CF(Q_RESET)) || cf_rd16(c, CF(Q_ENABLE))) {
        cf_note(c, FAILED, "queue_reset is %u, queue_enable %u",
                cf_rd16(c, CF(Q_RESET)), cf_rd16(c, CF(Q_ENABLE)));
        return false;
    }
    return true;
}

static Verdict run_registers(Conform *c)
{
    cf_up(c);
    if (!cf_verify(c, VICTIM)) {
        return FAILED;
    }
    reset_queue(c, VICTIM);
    return is_reset(c, VICTIM) ? PASSED : FAILED;
}

static Verdict run_defaults(Conform *c)
{
    cf_negotiate(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_queue_setup(c, q, 16);
    }
    cf_driver_ok(c);
    cf_select(c, VICTIM);
    cf_wr16(c, CF(Q_MSIX), 2);
    reset_queue(c, VICTIM);
    if (cf_rd16(c, CF(Q_SIZE)) != c->max_size) {
        return cf_note(c, FAILED, "queue_size is %u", cf_rd16(c, CF(Q_SIZE)));
    }
    if (cf_rd16(c, CF(Q_MSIX)) != VIRTIO_MSI_NO_VECTOR) {
        return cf_note(c, FAILED, "the vector is %u", cf_rd16(c, CF(Q_MSIX)));
    }
    return PASSED;
}

/* arg: its size then; 0: as before, and at other addresses */
static Verdict run_enable_again(Conform *c)
{
    cf_up(c);
    for (unsigned i = 0; i < 3; i++) {
        if (!cf_verify_all(c)) {
            return FAILED;
        }
        reset_queue(c, VICTIM);
        if (!is_reset(c, VICTIM)) {
            return FAILED;
        }
        if (c->k->arg) {
            cf_queue_setup(c, VICTIM, c->k->arg);
        } else {
            uint64_t where = TABLE + i * 16 * KiB;

            cf_fill(c, where, 0, 16 * KiB);
            cf_queue_enable(c, VICTIM, RING_SIZE, where, where + 4 * KiB,
                            where + 8 * KiB);
        }
    }
    return cf_survives(c);
}

/* Only queue_enable is written; the registers have kept the rest, or not */
static Verdict run_enable_bare(Conform *c)
{
    cf_up(c);
    reset_queue(c, VICTIM);
    cf_fill(c, DESC(VICTIM), 0, 16 * KiB);
    cf_wr16(c, CF(Q_ENABLE), 1);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_kick(c, q);
        if (q != VICTIM && !cf_verify(c, q)) {
            return FAILED;
        }
    }
    return PASSED;
}

static void begin_reads(Conform *c, unsigned q)
{
    for (unsigned i = 0; i < c->q[q].size / 3; i++) {
        const Desc desc[] = {
            HDR, { DATA + (q * 21 + i) * 32 * KiB, 32 * KiB, NEXT | WRITE },
            { STATUS + q, 1, WRITE }
        };

        cf_post(c, q, desc, ARRAY_SIZE(desc));
    }
    cf_kick(c, q);
}

/* Nothing of it changes any more, and others go on */
static Verdict run_in_flight(Conform *c)
{
    cf_up(c);
    cf_write_header(c, VIRTIO_BLK_T_IN, 0);
    begin_reads(c, VICTIM);
    reset_queue(c, VICTIM);
    if (!is_reset(c, VICTIM)) {
        return FAILED;
    }
    cf_intact(c);
    g_array_set_size(c->may_change, 0);
    for (unsigned i = 0; i < 3; i++) {
        cf_kick(c, VICTIM);
        g_usleep(5 * 1000);
    }
    if (!cf_intact(c)) {
        return FAILED;
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        if (q != VICTIM) {
            cf_may_change(c, DEVICE(q), 6 + RING_SIZE * 8);
            cf_may_change(c, DESC(q), c->packed ? RING_SIZE * 16 : 0);
            if (!cf_verify(c, q)) {
                return FAILED;
            }
        }
    }
    return PASSED;
}

/* Others have requests in flight, which complete */
static Verdict run_others_in_flight(Conform *c)
{
    uint32_t len;

    cf_up(c);
    cf_write_header(c, VIRTIO_BLK_T_IN, 0);
    for (unsigned q = 0; q < QUEUES; q++) {
        begin_reads(c, q);
    }
    reset_queue(c, VICTIM);
    cf_queue_setup(c, VICTIM, RING_SIZE);
    for (unsigned q = 0; q < QUEUES; q++) {
        for (unsigned i = 0; q != VICTIM && i < RING_SIZE / 3; i++) {
            if (!cf_wait_used(c, q, &len)) {
                return cf_note(c, FAILED, "virtqueue %u has lost one", q);
            }
        }
    }
    return cf_survives(c);
}

/* Many times, with requests in flight, each then enabled again */
static Verdict run_many(Conform *c)
{
    cf_up(c);
    cf_write_header(c, VIRTIO_BLK_T_IN, 0);
    for (unsigned i = 0; i < 40; i++) {
        unsigned q = i % QUEUES;

        begin_reads(c, q);
        reset_queue(c, q);
        if (!is_reset(c, q)) {
            return FAILED;
        }
        cf_queue_setup(c, q, RING_SIZE >> i % 3);
    }
    return cf_survives(c);
}

static Verdict run_all(Conform *c)
{
    cf_up(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        reset_queue(c, q);
        cf_kick(c, q);
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        if (!is_reset(c, q)) {
            return FAILED;
        }
        cf_queue_setup(c, q, RING_SIZE);
    }
    return cf_survives(c);
}

static Verdict run_twice(Conform *c)
{
    cf_up(c);
    reset_queue(c, VICTIM);
    reset_queue(c, VICTIM);
    cf_queue_setup(c, VICTIM, RING_SIZE);
    return cf_survives(c);
}

/* arg: the status bits that it has then, from DRIVER_OK to nothing */
static Verdict run_in_status(Conform *c)
{
    cf_wr8(c, CF(STATUS), c->k->arg);
    if (c->k->arg) {
        cf_negotiate(c);
    }
    cf_queue_setup(c, VICTIM, RING_SIZE);
    reset_queue(c, VICTIM);
    if (!is_reset(c, VICTIM)) {
        return FAILED;
    }
    cf_reset(c);
    cf_up(c);
    return cf_survives(c);
}

static Verdict run_never_enabled(Conform *c)
{
    cf_negotiate(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        if (q != VICTIM) {
            cf_queue_setup(c, q, RING_SIZE);
        }
    }
    cf_driver_ok(c);
    reset_queue(c, VICTIM);
    cf_queue_setup(c, VICTIM, RING_SIZE);
    return cf_survives(c);
}

/* A broken device: only the reset of the whole device helps */
static Verdict run_while_broken(Conform *c)
{
    static const Desc bad[] = { { HEADER, 1, 0 } };

    cf_up(c);
    cf_post(c, VICTIM, bad, 1);
    cf_kick(c, VICTIM);
    cf_settle(c, VICTIM);
    reset_queue(c, VICTIM);
    cf_queue_setup(c, VICTIM, RING_SIZE);
    cf_post(c, VICTIM, read_20, ARRAY_SIZE(read_20));
    cf_kick(c, VICTIM);
    return cf_broken(c) ? cf_note(c, REFUSED, "DEVICE_NEEDS_RESET") :
           cf_survives(c);
}

/* The ring is not reset, so what is in there is available once more */
static Verdict run_old_ring(Conform *c)
{
    cf_up(c);
    for (unsigned i = 0; i < 5; i++) {
        if (!cf_good(c, VICTIM)) {
            return FAILED;
        }
    }
    reset_queue(c, VICTIM);
    cf_queue_enable(c, VICTIM, RING_SIZE, DESC(VICTIM), DRIVER(VICTIM),
                    DEVICE(VICTIM));
    cf_may_change(c, ARENA, ARENA_SIZE);
    cf_kick(c, VICTIM);
    cf_settle(c, VICTIM);
    return cf_broken(c) ? cf_note(c, REFUSED, "DEVICE_NEEDS_RESET") :
           cf_verify(c, 0) && cf_verify(c, 2) && cf_verify(c, 3) ? PASSED
                                                                 : FAILED;
}

static const ConformCase cases[] = {
    { "queue-reset/registers", "4.1.4.3.1", run_registers, PASSED,
      .rings = BOTH },
    { "queue-reset/defaults", "2.6.1.1.1", run_defaults, PASSED,
      .rings = BOTH },
    { "queue-reset/enable-again", "2.6.1.2.1", run_enable_again, PASSED,
      .rings = BOTH, .arg = RING_SIZE },
    { "queue-reset/enable-smaller", "2.6.1.2.1", run_enable_again, PASSED,
      .rings = BOTH, .arg = 16 },
    { "queue-reset/enable-elsewhere", "2.6.1.2.1", run_enable_again, PASSED,
      .rings = BOTH },
    { "queue-reset/enable-without-set-up", "2.6.1.2.2", run_enable_bare,
      PASSED, .rings = BOTH },
    { "queue-reset/in-flight", "2.6.1.1.1", run_in_flight, PASSED,
      .rings = BOTH },
    { "queue-reset/others-in-flight", "2.6.1.1.1", run_others_in_flight,
      PASSED, .rings = BOTH },
    { "queue-reset/many", "2.6.1.1.1", run_many, PASSED, .rings = BOTH },
    { "queue-reset/all", "2.6.1.1.1", run_all, PASSED, .rings = BOTH },
    { "queue-reset/twice", "2.6.1.1.2", run_twice, PASSED, .rings = BOTH },
    { "queue-reset/before-features-ok", "2.6.1", run_in_status, PASSED },
    { "queue-reset/before-driver-ok", "2.6.1", run_in_status, PASSED,
      .arg = VIRTIO_CONFIG_S_ACKNOWLEDGE },
    { "queue-reset/never-enabled", "2.6.1.1.1", run_never_enabled, PASSED,
      .rings = BOTH },
    { "queue-reset/while-broken", "2.6.1.1.1", run_while_broken, REFUSED,
      .rings = BOTH },
    { "queue-reset/old-ring", "2.6.1.2.2", run_old_ring, PASSED,
      .rings = BOTH },
};

void conform_add_queue_reset(GArray *all)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        ConformCase k = cases[i];

        k.with |= RING_RESET;
        conform_add_cases(all, &k, 1);
    }
}
