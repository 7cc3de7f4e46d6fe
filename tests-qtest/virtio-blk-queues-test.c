/*
 * qtests of the counters of virtqueues
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_blk.h"
#include "vq-queues.h"
#include "vq-test-util.h"

#define NUM_QUEUES 4
#define TIMEOUT_US (60 * G_USEC_PER_SEC)
#define DISK_SECTORS (VQ_TEST_DISK_SIZE / VQ_TEST_SECTOR)

typedef struct Shape {
    const char *name;
    const VqTestDevice *device;
    const char *properties;
} Shape;

#define VQS \
    ",\"iothread-vq-mapping\":[" \
    "{\"iothread\":\"iothread1\",\"vqs\":[3,0,1]}," \
    "{\"iothread\":\"iothread0\",\"vqs\":[2]}]"

static const Shape shapes[] = {
    { "pci/main-loop", &vq_test_blk_pci, "" },
    { "pci/iothread", &vq_test_blk_pci, ",\"iothread\":\"iothread1\"" },
    { "pci/round-robin", &vq_test_blk_pci,
      ",\"iothread-vq-mapping\":[{\"iothread\":\"iothread0\"},"
      "{\"iothread\":\"iothread1\"}]" },
    { "pci/vqs", &vq_test_blk_pci, VQS },
    { "mmio/main-loop", &vq_test_blk_mmio, "" },
    { "mmio/vqs", &vq_test_blk_mmio, VQS },
};

static VqTest *new_disk(const VqTestDevice *device, const char *properties)
{
    return vq_test_new(device, 2, NUM_QUEUES, properties);
}

static void query(VqTest *t, VqQueues *queues)
{
    vq_queues_query(t->qts, "disk0", queues);
}

/* Have virtqueue @vq handle one request of @type; returns its status */
static uint8_t request(VqTest *t, unsigned vq, uint32_t type, uint64_t sector)
{
    struct {
        struct virtio_blk_outhdr hdr;
        union {
            uint8_t data[VQ_TEST_SECTOR];
            struct virtio_blk_discard_write_zeroes range;
        };
    } out = {
        .hdr.type = cpu_to_le32(type),
        .hdr.sector = cpu_to_le64(sector),
    };
    uint8_t in[VQ_TEST_SECTOR + 1];
    size_t out_len = sizeof(out.hdr), in_len = 1;

    switch (type) {
    case VIRTIO_BLK_T_OUT:
        out_len = sizeof(out);
        break;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        out.range.sector = cpu_to_le64(sector);
        out.range.num_sectors = cpu_to_le32(type == VIRTIO_BLK_T_DISCARD ?
                                            8 : 16);
        out_len += sizeof(out.range);
        break;
    case VIRTIO_BLK_T_IN:
        in_len += VQ_TEST_SECTOR;
        break;
    case VIRTIO_BLK_T_GET_ID:
        in_len += VIRTIO_BLK_ID_BYTES;
        break;
    }
    vq_test_request(t, vq, &out, out_len, in, in_len);
    return in[in_len - 1];
}

static const struct {
    uint32_t type;
    VqQueuesKind kind;
    uint64_t bytes;
} kinds[] = {
    { VIRTIO_BLK_T_IN, VQ_QUEUES_READ, VQ_TEST_SECTOR },
    { VIRTIO_BLK_T_OUT, VQ_QUEUES_WRITE, VQ_TEST_SECTOR },
    { VIRTIO_BLK_T_FLUSH, VQ_QUEUES_FLUSH, 0 },
    { VIRTIO_BLK_T_DISCARD, VQ_QUEUES_DISCARD, 8 * VQ_TEST_SECTOR },
    { VIRTIO_BLK_T_WRITE_ZEROES, VQ_QUEUES_WRITE_ZEROES, 16 * VQ_TEST_SECTOR },
    { VIRTIO_BLK_T_GET_ID, VQ_QUEUES_OTHER, 0 },
};

/* Send so many of each kind to virtqueue @vq, and note them in @expected */
static void send_kinds(VqTest *t, unsigned vq, VqQueues *expected)
{
    uint64_t *totals = expected->vq[vq].totals;

    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        /* libqos does not use descriptors twice, so there cannot be many */
        for (unsigned n = 0; n <= (i + vq) % 3; n++) {
            uint8_t status = request(t, vq, kinds[i].type, 64 * n);

            g_assert_cmpuint(status, ==, VIRTIO_BLK_S_OK);
            totals[VQ_QUEUES_REQUESTS(kinds[i].kind)]++;
            totals[VQ_QUEUES_BYTES(kinds[i].kind)] += kinds[i].bytes;
            totals[VQ_QUEUES_BATCHES]++;
        }
    }
}

static void assert_counted(VqTest *t, const VqQueues *expected)
{
    VqQueues queues;

    query(t, &queues);
    g_assert_cmpuint(queues.num, ==, NUM_QUEUES);
    for (unsigned vq = 0; vq < queues.num; vq++) {
        vq_queues_assert_requests(&queues.vq[vq], &expected->vq[vq]);
    }
}

/* Each kind on each virtqueue, through whatever happens to the VM */
static void test_kinds(const void *opaque)
{
    const Shape *shape = opaque;
    VqTest *t = new_disk(shape->device, shape->properties);
    VqQueues expected = { 0 };

    assert_counted(t, &expected);
    vq_test_start_driver(t);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        send_kinds(t, vq, &expected);
        assert_counted(t, &expected);
    }

    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
    assert_counted(t, &expected);
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
    assert_counted(t, &expected);
    send_kinds(t, 2, &expected);
    assert_counted(t, &expected);

    vq_test_stop_driver(t);
    assert_counted(t, &expected);
    vq_test_start_driver(t);
    send_kinds(t, 0, &expected);
    assert_counted(t, &expected);
    qtest_qmp_assert_success(t->qts, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(t->qts, "RESET");
    assert_counted(t, &expected);
    vq_test_free(t);
}

/* What goes wrong is counted as failed, with no bytes */
static void test_failed(void)
{
    VqTest *t = new_disk(&vq_test_blk_pci, VQS);
    VqQueues expected = { 0 };
    uint64_t *totals = expected.vq[1].totals;

    vq_test_start_driver(t);
    g_assert_cmpuint(request(t, 1, VIRTIO_BLK_T_IN, DISK_SECTORS), ==,
                     VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(request(t, 1, VIRTIO_BLK_T_DISCARD, DISK_SECTORS), ==,
                     VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(request(t, 1, 0x1234, 0), ==, VIRTIO_BLK_S_UNSUPP);
    totals[VQ_QUEUES_REQUESTS(VQ_QUEUES_READ)] = 1;
    totals[VQ_QUEUES_REQUESTS(VQ_QUEUES_DISCARD)] = 1;
    totals[VQ_QUEUES_REQUESTS(VQ_QUEUES_OTHER)] = 1;
    totals[VQ_QUEUES_FAILED] = 3;
    totals[VQ_QUEUES_BATCHES] = 3;
    assert_counted(t, &expected);
    vq_test_free(t);
}

static void set_iothread0(VqTest *t, const char *property, int64_t value)
{
    qtest_qmp_assert_success(t->qts, "{'execute': 'qom-set', 'arguments':"
                             " {'path': '/objects/iothread0', 'property': %s,"
                             "  'value': %" PRId64 "}}", property, value);
}

/* Wait until of a batch of virtqueue @vq @n requests are in flight */
static void wait_in_flight(VqTest *t, unsigned vq, unsigned n,
                           VqQueues *queues)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        query(t, queues);
    } while (queues->vq[vq].totals[VQ_QUEUES_BATCHES] == 0 ||
             queues->vq[vq].in_flight != n);
}

/* Requests that are in the ring at once are a batch, and in flight together */
static void test_in_flight(void)
{
    VqTestDevice device = vq_test_blk_pci;
    VqTestRequest requests[5];
    VqQueues queues, after;
    uint8_t in[VQ_TEST_SECTOR + 1];
    VqTest *t;

    device.drive = ",\"drive\":\"slow\"";
    device.more_args = " -blockdev null-co,node-name=slow,size=16777216,"
                       "latency-ns=500000000";
    t = new_disk(&device, VQS);
    set_iothread0(t, "poll-max-ns", 0);
    vq_test_start_driver(t);
    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        g_autofree char *needle = NULL;

        requests[i] = vq_test_prepare_read(t, 2, &needle);
        vq_test_submit(t, &requests[i], i == ARRAY_SIZE(requests) - 1);
    }
    wait_in_flight(t, 2, ARRAY_SIZE(requests), &queues);
    g_assert_cmpuint(vq_queues_requests(&queues.vq[2]), ==, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        vq_test_complete(t, &requests[i], in);
    }
    query(t, &after);
    g_assert_cmpuint(after.vq[2].in_flight, ==, 0);
    g_assert_cmpuint(vq_queues_requests(&after.vq[2]), ==,
                     ARRAY_SIZE(requests));
    g_assert_cmpuint(after.vq[2].totals[VQ_QUEUES_BATCHES], ==, 1);
    g_assert_cmpuint(after.vq[2].totals[VQ_QUEUES_MAX_BATCH], ==,
                     ARRAY_SIZE(requests));
    g_assert_cmpuint(after.vq[2].totals[VQ_QUEUES_MAX_IN_FLIGHT], ==,
                     ARRAY_SIZE(requests));
    g_assert_cmpuint(after.vq[0].totals[VQ_QUEUES_MAX_IN_FLIGHT], ==, 0);
    vq_test_free(t);
}

/*
 * A request that an error has parked is in flight until it is retried, when it
 * counts once, or until the guest resets the disk, when it does not count
 */
static void test_parked(const void *opaque)
{
    bool reset = GPOINTER_TO_UINT(opaque);
    VqTestDevice device = vq_test_blk_pci;
    VqQueues queues, expected = { 0 };
    VqTestRequest req;
    g_autofree char *needle = NULL;
    VqTest *t;

    device.drive = ",\"drive\":\"bad\",\"rerror\":\"stop\"";
    device.more_args = " -blockdev '{\"driver\":\"blkdebug\","
        "\"node-name\":\"bad\",\"image\":\"node0\",\"inject-error\":["
        "{\"event\":\"none\",\"iotype\":\"read\",\"sector\":2,"
        "\"once\":true}]}'";
    t = new_disk(&device, VQS);
    vq_test_start_driver(t);
    req = vq_test_prepare_read(t, 3, &needle);
    vq_test_submit(t, &req, true);
    qtest_qmp_eventwait(t->qts, "STOP");

    query(t, &queues);
    g_assert_cmpuint(queues.vq[3].in_flight, ==, 1);
    g_assert_cmpuint(vq_queues_requests(&queues.vq[3]), ==, 0);
    g_assert_cmpuint(queues.vq[3].totals[VQ_QUEUES_FAILED], ==, 0);
    expected.vq[3].totals[VQ_QUEUES_BATCHES] = 1;
    if (reset) {
        vq_test_stop_driver(t);
    } else {
        uint64_t *totals = expected.vq[3].totals;

        qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
        vq_test_complete_read(t, &req);
        totals[VQ_QUEUES_REQUESTS(VQ_QUEUES_READ)] = 1;
        totals[VQ_QUEUES_BYTES(VQ_QUEUES_READ)] = VQ_TEST_SECTOR;
    }
    assert_counted(t, &expected);
    vq_test_free(t);
}

/* A request that breaks the device is not in flight */
static void test_broken(void)
{
    VqTest *t = new_disk(&vq_test_blk_pci, VQS);
    VqQueues queues;
    VqTestRequest req;

    vq_test_start_driver(t);
    /* A header of one byte */
    req = vq_test_prepare(t, 0, "", 1, "", 1);
    vq_test_submit(t, &req, true);
    wait_in_flight(t, 0, 0, &queues);
    g_assert_cmpuint(queues.vq[0].totals[VQ_QUEUES_BATCHES], ==, 1);
    g_assert_cmpuint(vq_queues_requests(&queues.vq[0]), ==, 0);
    vq_test_free(t);
}

/* Wait until @vq's interrupts, which are counted last, have become @n */
static void wait_interrupts(VqTest *t, unsigned vq, uint64_t n,
                            VqQueues *queues)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        query(t, queues);
    } while (queues->vq[vq].totals[VQ_QUEUES_INTERRUPTS] < n);
    g_assert_cmpuint(queues->vq[vq].totals[VQ_QUEUES_INTERRUPTS], ==, n);
}

/* Wait until virtqueue @vq's owner has seen the notification of its start */
static void wait_started(VqTest *t, unsigned vq, VqQueues *queues)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        query(t, queues);
    } while (queues->vq[vq].totals[VQ_QUEUES_NOTIFICATIONS] == 0);
}

/* How a thread is told of requests, and tells that they are complete */
static void test_notifications(void)
{
    const unsigned n = 7;
    VqTest *t = new_disk(&vq_test_blk_pci, VQS);
    VqQueues before, after;

    set_iothread0(t, "poll-max-ns", 0);
    vq_test_start_driver(t);
    wait_started(t, 2, &before);
    for (unsigned i = 1; i <= n; i++) {
        vq_test_read(t, 2);
        wait_interrupts(t, 2, i, &after);
    }
    g_assert_cmpuint(after.vq[2].totals[VQ_QUEUES_NOTIFICATIONS], ==,
                     before.vq[2].totals[VQ_QUEUES_NOTIFICATIONS] + n);
    g_assert_cmpuint(after.vq[2].totals[VQ_QUEUES_POLLS], ==, 0);
    g_assert_cmpuint(after.vq[0].totals[VQ_QUEUES_INTERRUPTS], ==, 0);
    vq_test_free(t);
}

/* One that polls needs no notification */
static void test_polls(void)
{
    const unsigned n = 7;
    VqTest *t = new_disk(&vq_test_blk_pci, VQS);
    VqQueues before, after;

    set_iothread0(t, "poll-max-ns", 2000000000);
    set_iothread0(t, "poll-grow", 2000000000);
    vq_test_start_driver(t);
    /* The second one that it did not poll long enough for makes it poll */
    for (unsigned i = 1; i <= 4; i++) {
        vq_test_read(t, 2);
        wait_interrupts(t, 2, i, &before);
    }
    for (unsigned i = 1; i <= n; i++) {
        g_autofree char *needle = NULL;
        VqTestRequest req = vq_test_prepare_read(t, 2, &needle);

        vq_test_submit(t, &req, false);
        vq_test_complete_read(t, &req);
        wait_interrupts(t, 2, 4 + i, &after);
    }
    g_assert_cmpuint(after.vq[2].totals[VQ_QUEUES_NOTIFICATIONS], ==,
                     before.vq[2].totals[VQ_QUEUES_NOTIFICATIONS]);
    g_assert_cmpuint(after.vq[2].totals[VQ_QUEUES_POLLS], ==,
                     before.vq[2].totals[VQ_QUEUES_POLLS] + n);
    vq_test_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        g_autofree char *path =
            g_strdup_printf("/virtio-blk-queues/kinds/%s", shapes[i].name);

        qtest_add_data_func(path, &shapes[i], test_kinds);
    }
    qtest_add_func("/virtio-blk-queues/failed", test_failed);
    qtest_add_func("/virtio-blk-queues/in-flight", test_in_flight);
    qtest_add_data_func("/virtio-blk-queues/parked/cont",
                        GUINT_TO_POINTER(false), test_parked);
    qtest_add_data_func("/virtio-blk-queues/parked/reset",
                        GUINT_TO_POINTER(true), test_parked);
    qtest_add_func("/virtio-blk-queues/broken", test_broken);
    qtest_add_func("/virtio-blk-queues/notifications", test_notifications);
    qtest_add_func("/virtio-blk-queues/polls", test_polls);
    return g_test_run();
}
