/*
 * Conformance cases for a virtio-blk-pci device: status and features
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-conform.h"

#define ACK VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRV (ACK | VIRTIO_CONFIG_S_DRIVER)
#define FEAT (DRV | VIRTIO_CONFIG_S_FEATURES_OK)
#define OK VIRTIO_CONFIG_S_DRIVER_OK
#define LIVE (FEAT | OK)

static const Desc read_20[] = { HDR, IN(20), ST };

static void setup_queues(Conform *c)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        cf_queue_setup(c, i, RING_SIZE);
    }
}

static Verdict run_starts_as_0(Conform *c)
{
    uint8_t status = cf_rd8(c, CF(STATUS));

    return status ? cf_note(c, FAILED, "status is 0x%x", status) : PASSED;
}

static Verdict run_bits_read_back(Conform *c)
{
    static const uint8_t steps[] = { ACK, DRV, FEAT, LIVE };

    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        if (i == 2) {
            cf_wr_features(c, c->features);
        } else if (i == 3) {
            setup_queues(c);
        }
        cf_wr8(c, CF(STATUS), steps[i]);
        if (cf_rd8(c, CF(STATUS)) != steps[i]) {
            return cf_note(c, FAILED, "status 0x%x reads as 0x%x", steps[i],
                           cf_rd8(c, CF(STATUS)));
        }
    }
    return cf_survives(c);
}

static Verdict run_reset(Conform *c)
{
    cf_up(c);
    if (!cf_verify_all(c)) {
        return FAILED;
    }
    for (unsigned i = 0; i < c->k->arg; i++) {
        cf_wr8(c, CF(STATUS), 0);
    }
    if (cf_rd8(c, CF(STATUS))) {
        return cf_note(c, FAILED, "status is 0x%x", cf_rd8(c, CF(STATUS)));
    }
    for (unsigned i = 0; i < QUEUES; i++) {
        cf_select(c, i);
        if (cf_rd16(c, CF(Q_ENABLE))) {
            return cf_note(c, FAILED, "queue_enable of %u is 1", i);
        }
    }
    return PASSED;
}

/* As many reads as there is room for, on all virtqueues */
static void begin_reads(Conform *c)
{
    cf_write_header(c, VIRTIO_BLK_T_IN, 0);
    for (unsigned q = 0; q < QUEUES; q++) {
        for (unsigned i = 0; i < RING_SIZE / 3; i++) {
            const Desc desc[] = {
                HDR, { DATA + (q * 21 + i) * 32 * KiB, 32 * KiB,
                       NEXT | WRITE }, { STATUS + q, 1, WRITE }
            };

            cf_post(c, q, desc, ARRAY_SIZE(desc));
        }
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_kick(c, q);
    }
}

/* After a reset, neither a ring nor a buffer changes any more */
static Verdict run_reset_in_flight(Conform *c)
{
    cf_up(c);
    begin_reads(c);
    if (c->k->arg) {
        qtest_qmp_assert_success(c->t->qts, "{'execute': 'system_reset'}");
        qtest_qmp_eventwait(c->t->qts, "RESET");
        cf_enable_pci(c);
        if (cf_rd8(c, CF(STATUS))) {
            return cf_note(c, FAILED, "status is not 0");
        }
    } else {
        cf_reset(c);
    }
    cf_intact(c);
    g_array_set_size(c->may_change, 0);
    g_usleep(20 * 1000);
    return cf_intact(c) ? PASSED : FAILED;
}

/* Requests without the steps that ought to come before; arg: the status */
static Verdict run_status_only(Conform *c)
{
    setup_queues(c);
    cf_wr8(c, CF(STATUS), c->k->arg);
    return cf_survives(c);
}

static Verdict kick_early(Conform *c, const char *when)
{
    uint32_t id, len;

    cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
    cf_post(c, 1, read_20, ARRAY_SIZE(read_20));
    cf_kick(c, 1);
    /* No virtqueue can tell that time has passed */
    for (unsigned i = 0; i < 100; i++) {
        if (cf_pop_used(c, 1, &id, &len)) {
            return cf_note(c, FAILED, "a buffer is used %s", when);
        }
        g_usleep(1000);
    }
    /* What is there already, the device has to find now */
    cf_driver_ok(c);
    cf_kick(c, 1);
    return cf_settle(c, 1) && cf_verify_all(c) ? REFUSED : FAILED;
}

static Verdict run_kick_early(Conform *c)
{
    if (c->k->arg >= FEAT) {
        cf_negotiate(c);
    }
    setup_queues(c);
    if (c->k->arg) {
        cf_wr8(c, CF(STATUS), c->k->arg);
    }
    return kick_early(c, "before DRIVER_OK");
}

static Verdict run_clear_bit(Conform *c)
{
    cf_up(c);
    cf_wr8(c, CF(STATUS), LIVE & ~c->k->arg);
    if (c->k->arg == OK) {
        return kick_early(c, "without DRIVER_OK");
    }
    return cf_survives(c);
}

static Verdict run_set_bits(Conform *c)
{
    cf_up(c);
    cf_wr8(c, CF(STATUS), LIVE | c->k->arg);
    cf_wr8(c, CF(STATUS), LIVE);
    return cf_survives(c);
}

static Verdict run_failed_set(Conform *c)
{
    cf_up(c);
    cf_wr8(c, CF(STATUS), LIVE | VIRTIO_CONFIG_S_FAILED);
    if (c->k->arg) {
        /* It is reset before it is used again, as it has to be */
        cf_reset(c);
        cf_up(c);
    }
    return cf_survives(c);
}

static Verdict run_every_value(Conform *c)
{
    cf_negotiate(c);
    setup_queues(c);
    for (unsigned i = 1; i < 0x100; i++) {
        cf_wr8(c, CF(STATUS), i);
        cf_kick(c, i % QUEUES);
    }
    cf_wr8(c, CF(STATUS), LIVE);
    return cf_survives(c);
}

static bool breaks(Conform *c, unsigned q)
{
    static const Desc bad[] = { { HEADER, 1, 0 } };

    cf_write_header(c, VIRTIO_BLK_T_IN, 0);
    cf_post(c, q, bad, 1);
    cf_kick(c, q);
    cf_settle(c, q);
    return cf_broken(c);
}

/* Broken, the device answers nothing; arg: the status that is written then */
static Verdict run_use_broken(Conform *c)
{
    uint32_t id, len;

    cf_up(c);
    if (!breaks(c, 1)) {
        return cf_note(c, FAILED, "a bad request does not break it");
    }
    if (c->k->arg) {
        cf_wr8(c, CF(STATUS), c->k->arg);
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_write_header(c, VIRTIO_BLK_T_GET_ID, 0);
        cf_post(c, q, read_20, ARRAY_SIZE(read_20));
        cf_kick(c, q);
    }
    g_usleep(20 * 1000);
    for (unsigned q = 0; q < QUEUES; q++) {
        if (cf_pop_used(c, q, &id, &len)) {
            return cf_note(c, PASSED, "it goes on");
        }
    }
    return cf_note(c, REFUSED, "DEVICE_NEEDS_RESET");
}

static Verdict run_needs_reset_notifies(Conform *c)
{
    QVirtioPCIDevice *pci = c->t->pci;

    cf_up(c);
    qpci_io_readb(c->pci, c->bar, pci->isr_cfg_offset);
    if (!breaks(c, 1)) {
        return cf_note(c, FAILED, "a bad request does not break it");
    }
    for (unsigned i = 0; i < 1000; i++) {
        if (qpci_io_readb(c->pci, c->bar, pci->isr_cfg_offset) & 2) {
            return PASSED;
        }
        g_usleep(1000);
    }
    return cf_note(c, FAILED, "no configuration interrupt");
}

static const char early_reason[] =
    "requests are served without DRIVER_OK, for the sake of old drivers, as "
    "in stock";

static const ConformCase status_cases[] = {
    { "status/starts-as-0", "2.1", run_starts_as_0, PASSED },
    { "status/bits-read-back", "2.1", run_bits_read_back, PASSED,
      .rings = BOTH },
    { "status/reset", "2.4.1", run_reset, PASSED, .rings = BOTH, .arg = 1 },
    { "status/reset-twice", "2.4.1", run_reset, PASSED, .arg = 2 },
    { "status/reset-in-flight", "2.4.1", run_reset_in_flight, PASSED,
      .rings = BOTH },
    { "status/system-reset-in-flight", "2.4.1", run_reset_in_flight, PASSED,
      .rings = BOTH, .arg = 1 },
    { "status/driver-ok-before-features", "3.1.1", run_status_only, PASSED,
      .arg = DRV | OK },
    { "status/driver-ok-alone", "3.1.1", run_status_only, PASSED,
      .arg = OK },
    { "status/features-ok-alone-and-driver-ok", "3.1.1", run_status_only,
      PASSED, .arg = VIRTIO_CONFIG_S_FEATURES_OK | OK },
    { "status/no-driver-bit", "3.1.1", run_status_only, PASSED,
      .arg = LIVE & ~VIRTIO_CONFIG_S_DRIVER },
    { "status/kick-before-acknowledge", "3.1.1", run_kick_early, FAILED,
      early_reason },
    { "status/kick-before-driver", "3.1.1", run_kick_early, FAILED,
      early_reason, .arg = ACK },
    { "status/kick-before-features-ok", "2.1.2", run_kick_early, FAILED,
      early_reason, .arg = DRV },
    { "status/kick-before-driver-ok", "2.1.2", run_kick_early, FAILED,
      early_reason, .rings = BOTH, .arg = FEAT },
    { "status/clear-driver-ok", "2.1.2", run_clear_bit, FAILED,
      early_reason, .rings = BOTH, .arg = OK },
    { "status/clear-driver", "2.1.1", run_clear_bit, PASSED,
      .arg = VIRTIO_CONFIG_S_DRIVER },
    { "status/clear-acknowledge", "2.1.1", run_clear_bit, PASSED,
      .arg = VIRTIO_CONFIG_S_ACKNOWLEDGE },
    { "status/clear-features-ok", "2.1.1", run_clear_bit, PASSED,
      .arg = VIRTIO_CONFIG_S_FEATURES_OK },
    { "status/driver-ok-again", "2.1.1", run_set_bits, PASSED },
    { "status/driver-sets-needs-reset", "2.1.1", run_set_bits, PASSED,
      .arg = VIRTIO_CONFIG_S_NEEDS_RESET },
    { "status/reserved-bits", "2.1", run_set_bits, PASSED, .arg = 0x30 },
    { "status/every-value", "2.1.1", run_every_value, PASSED, .rings = BOTH },
    { "status/failed-and-go-on", "2.1.1", run_failed_set, PASSED },
    { "status/failed-and-reset", "2.1.1", run_failed_set, PASSED, .arg = 1 },
    { "status/use-while-broken", "2.1.1", run_use_broken, REFUSED,
      .rings = BOTH },
    { "status/driver-ok-while-broken", "2.1.1", run_use_broken, REFUSED,
      .arg = LIVE },
    { "status/clear-all-but-acknowledge-while-broken", "2.1.1",
      run_use_broken, REFUSED, .arg = ACK },
    { "status/needs-reset-notifies", "2.1.2", run_needs_reset_notifies,
      PASSED, .rings = BOTH },
};

static Verdict run_accept(Conform *c)
{
    if (!cf_negotiate(c)) {
        return cf_note(c, REFUSED, "FEATURES_OK does not stay set");
    }
    setup_queues(c);
    cf_driver_ok(c);
    return cf_survives(c);
}

static Verdict run_accept_all(Conform *c)
{
    uint64_t skip = 1ull << VIRTIO_RING_F_EVENT_IDX;

    if (!c->packed) {
        skip |= 1ull << VIRTIO_F_RING_PACKED;
    }
    c->features = c->offered & ~skip;
    return run_accept(c);
}

static Verdict run_accept_none(Conform *c)
{
    c->features = c->k->with;
    return run_accept(c);
}

/* arg: a bit that is not offered */
static Verdict run_unoffered(Conform *c)
{
    uint64_t bit = 1ull << c->k->arg;

    if (c->offered & bit) {
        return cf_note(c, PASSED, "is offered");
    }
    c->features |= bit;
    if (!cf_negotiate(c)) {
        return cf_note(c, REFUSED, "FEATURES_OK does not stay set");
    }
    setup_queues(c);
    cf_driver_ok(c);
    if (cf_survives(c) == FAILED) {
        return FAILED;
    }
    return cf_note(c, FAILED, "FEATURES_OK stays set");
}

static Verdict run_renegotiate(Conform *c)
{
    for (unsigned i = 0; i < 5; i++) {
        cf_reset(c);
        if (!cf_negotiate(c)) {
            return cf_note(c, FAILED, "refused after reset %u", i);
        }
        setup_queues(c);
        cf_driver_ok(c);
        if (!cf_verify_all(c)) {
            return FAILED;
        }
    }
    return PASSED;
}

static Verdict run_change_after_reset(Conform *c)
{
    uint64_t packed = 1ull << VIRTIO_F_RING_PACKED;

    for (unsigned i = 0; i < 4; i++) {
        cf_reset(c);
        c->packed = i % 2;
        c->features = (c->features & ~packed) | (c->packed ? packed : 0);
        cf_up(c);
        if (!cf_verify_all(c)) {
            return FAILED;
        }
    }
    return PASSED;
}

static Verdict run_read_back(Conform *c)
{
    uint64_t features;

    cf_wr8(c, CF(STATUS), DRV);
    cf_wr_features(c, c->features);
    features = cf_rd_features(c, CF(GFSELECT));
    return features == c->features ? PASSED :
           cf_note(c, FAILED, "0x%" PRIx64 " reads as 0x%" PRIx64,
                   c->features, features);
}

/* What is written after FEATURES_OK has no effect. arg: DRIVER_OK is set */
static Verdict run_late(Conform *c)
{
    uint64_t late = c->features ^ (1ull << VIRTIO_F_RING_PACKED |
                                   1ull << VIRTIO_RING_F_EVENT_IDX |
                                   1ull << VIRTIO_F_VERSION_1 |
                                   1ull << VIRTIO_BLK_F_CONFIG_WCE);

    if (c->k->arg) {
        cf_up(c);
        for (unsigned q = 0; q < QUEUES; q++) {
            cf_kick(c, q);
        }
        cf_wr_features(c, late);
    } else {
        cf_negotiate(c);
        cf_wr_features(c, late);
        setup_queues(c);
        cf_driver_ok(c);
    }
    return cf_survives(c) == PASSED ? REFUSED : FAILED;
}

/* FEATURES_OK is taken back, and other features are chosen */
static Verdict run_late_after_clear(Conform *c)
{
    cf_up(c);
    cf_wr8(c, CF(STATUS), DRV | OK);
    cf_wr_features(c, c->features ^ 1ull << VIRTIO_F_RING_PACKED);
    cf_wr8(c, CF(STATUS), LIVE);
    return cf_survives(c);
}

/* The kind of the rings changes when they are there already */
static Verdict run_late_with_rings(Conform *c)
{
    cf_wr8(c, CF(STATUS), DRV);
    cf_wr_features(c, c->features);
    setup_queues(c);
    cf_wr_features(c, c->features ^ 1ull << VIRTIO_F_RING_PACKED);
    cf_wr8(c, CF(STATUS), FEAT);
    cf_driver_ok(c);
    for (unsigned q = 0; q < QUEUES; q++) {
        cf_kick(c, q);
    }
    g_usleep(5 * 1000);
    return cf_broken(c) ? cf_note(c, REFUSED, "DEVICE_NEEDS_RESET") : PASSED;
}

static Verdict run_device_select(Conform *c)
{
    cf_wr32(c, CF(DFSELECT), c->k->arg);
    return cf_rd32(c, CF(DF)) == 0 ? PASSED :
           cf_note(c, FAILED, "device_feature is 0x%x", cf_rd32(c, CF(DF)));
}

static Verdict run_driver_select(Conform *c)
{
    cf_wr8(c, CF(STATUS), DRV);
    cf_wr_features(c, c->features);
    cf_wr32(c, CF(GFSELECT), c->k->arg);
    cf_wr32(c, CF(GF), 0xffffffff);
    if (cf_rd_features(c, CF(GFSELECT)) != c->features) {
        return cf_note(c, FAILED, "other features are changed");
    }
    cf_wr8(c, CF(STATUS), FEAT);
    setup_queues(c);
    cf_driver_ok(c);
    return cf_survives(c) == PASSED ? REFUSED : FAILED;
}

/* arg: a bit that is offered only if the one in select is */
static Verdict run_offers(Conform *c)
{
    uint64_t bit = 1ull << c->k->arg, needs = 1ull << c->k->select;

    return !(c->offered & bit) || (c->offered & needs) ? PASSED :
           cf_note(c, FAILED, "offers 0x%" PRIx64, c->offered);
}

static Verdict run_offers_version_1(Conform *c)
{
    return c->offered & 1ull << VIRTIO_F_VERSION_1 ? PASSED : FAILED;
}

static const char unoffered_reason[] =
    "what is not offered is ignored, and FEATURES_OK stays set, as in stock";

static const ConformCase feature_cases[] = {
    { "features/all-offered", "2.2.2", run_accept_all, PASSED, .rings = BOTH },
    { "features/default", "2.2.2", run_accept, PASSED, .rings = BOTH },
    { "features/only-version-1", "2.2.2", run_accept_none, PASSED,
      .with = 1ull << VIRTIO_F_VERSION_1 },
    { "features/none", "6.1", run_accept_none, PASSED },
    { "features/no-version-1", "6.1", run_accept, PASSED,
      .without = 1ull << VIRTIO_F_VERSION_1 },
    { "features/packed-without-version-1", "2.2.1", run_accept, PASSED,
      .rings = PACKED, .without = 1ull << VIRTIO_F_VERSION_1 },
    { "features/unoffered/bit-63", "2.2.2", run_unoffered, FAILED,
      unoffered_reason, .arg = 63 },
    { "features/unoffered/bit-30", "2.2.2", run_unoffered, FAILED,
      unoffered_reason, .arg = 30 },
    { "features/unoffered/read-only", "2.2.2", run_unoffered, FAILED,
      unoffered_reason, .arg = VIRTIO_BLK_F_RO },
    { "features/unoffered/secure-erase", "2.2.2", run_unoffered, FAILED,
      unoffered_reason, .arg = VIRTIO_BLK_F_SECURE_ERASE },
    { "features/unoffered/lifetime", "2.2.2", run_unoffered, FAILED,
      unoffered_reason, .arg = 15 },
    { "features/unoffered/access-platform", "2.2.2", run_unoffered, FAILED,
      unoffered_reason, .arg = VIRTIO_F_ACCESS_PLATFORM },
    { "features/unoffered/in-order", "2.2.2", run_unoffered, FAILED,
      unoffered_reason, .arg = VIRTIO_F_IN_ORDER },
    { "features/unoffered/sr-iov", "2.2.2", run_unoffered, FAILED,
      unoffered_reason, .arg = VIRTIO_F_SR_IOV },
    { "features/same-again", "2.2.2", run_renegotiate, PASSED,
      .rings = BOTH },
    { "features/others-after-reset", "2.2.2", run_change_after_reset,
      PASSED },
    { "features/read-back", "4.1.4.3.1", run_read_back, PASSED,
      .rings = BOTH },
    { "features/late", "3.1.1", run_late, REFUSED, .rings = BOTH },
    { "features/late-and-live", "3.1.1", run_late, REFUSED, .rings = BOTH,
      .arg = 1 },
    { "features/late-with-features-ok-cleared", "3.1.1",
      run_late_after_clear, PASSED, .rings = BOTH, .either = true },
    { "features/late-with-rings", "3.1.1", run_late_with_rings, PASSED,
      .rings = BOTH },
    { "features/device-select-2", "4.1.4.3.1", run_device_select, PASSED,
      .arg = 2 },
    { "features/device-select-0x80000000", "4.1.4.3.1", run_device_select,
      PASSED, .arg = 0x80000000 },
    { "features/device-select-0xffffffff", "4.1.4.3.1", run_device_select,
      PASSED, .arg = 0xffffffff },
    { "features/driver-select-2", "4.1.4.3.1", run_driver_select, REFUSED,
      .arg = 2 },
    { "features/driver-select-0xffffffff", "4.1.4.3.1", run_driver_select,
      REFUSED, .arg = 0xffffffff },
    { "features/offers-flush", "5.2.5.2", run_offers, PASSED,
      .arg = VIRTIO_BLK_F_CONFIG_WCE, .select = VIRTIO_BLK_F_FLUSH },
    { "features/offers-version-1", "6.2", run_offers_version_1, PASSED },
};

void conform_add_status(GArray *all)
{
    conform_add_cases(all, status_cases, ARRAY_SIZE(status_cases));
}

void conform_add_features(GArray *all)
{
    conform_add_cases(all, feature_cases, ARRAY_SIZE(feature_cases));
}
