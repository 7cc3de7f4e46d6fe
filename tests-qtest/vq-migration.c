/*
 * A guest with requests to a virtio-blk disk that goes from QEMU to QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "standard-headers/linux/virtio_ring.h"
#include "vq-migration.h"

#define RING_SIZE 64
#define WATCHDOG_S 180
#define LATENCY_US (300 * 1000)

/* Guest RAM: libqos allocates from its beginning */
#define BASE (64 * MiB)
#define DESC(vq) (BASE + (vq) * 128 * KiB)
#define AVAIL(vq) (DESC(vq) + 32 * KiB)
#define USED(vq) (DESC(vq) + 64 * KiB)
#define SLOT(vq, i) (BASE + 1 * MiB + ((vq) * SLOTS + (i)) * 4 * KiB)
#define HEADER(vq, i) SLOT(vq, i)
#define STATUS(vq, i) (SLOT(vq, i) + 64)
#define DATA(vq, i) (SLOT(vq, i) + 1 * KiB)
/* Behind all of these */
#define FILL_START (96 * MiB)
#define FILL_SIZE (32 * MiB)

const unsigned bad_sectors[NUM_BAD_SECTORS] = { 2, 4, 6, 8, 10, 12 };

static void append_blkdebug(GString *args, const char *type)
{
    g_string_append_printf(args, " -blockdev '{\"driver\":\"blkdebug\","
                           "\"node-name\":\"disk\",\"image\":\"image\","
                           "\"inject-error\":[");
    for (unsigned i = 0; i < NUM_BAD_SECTORS; i++) {
        g_string_append_printf(args, "%s{\"event\":\"none\",\"once\":true,"
                               "\"iotype\":\"%s\",\"sector\":%u,"
                               "\"errno\":28}",
                               i ? "," : "", type, bad_sectors[i]);
    }
    g_string_append(args, "]}'");
}

/* Start a QEMU for the guest; @incoming: to which it will migrate */
static VqTest *start_qemu(Guest *g, const Shape *shape, Backend backend,
                          bool incoming)
{
    g_autoptr(GString) args = g_string_new("-trace virtio_blk_handle_write");
    g_autofree char *properties =
        g_strdup_printf("%s,\"werror\":\"stop\",\"rerror\":\"stop\"",
                        shape->properties);
    VqTest *t;

    g_string_append_printf(args, " -blockdev driver=file,node-name=image,"
                           "locking=off,filename=%s", g->image);
    g->device = vq_test_blk_pci;
    g->device.drive = ",\"drive\":\"disk\",\"share-rw\":true";
    switch (backend) {
    case BACKEND_FILE:
        g->device.drive = ",\"drive\":\"image\",\"share-rw\":true";
        break;
    case BACKEND_SLOW:
        g_string_append_printf(args, " -blockdev driver=null-co,"
                               "node-name=disk,size=%d,latency-ns=%d",
                               VQ_TEST_DISK_SIZE, LATENCY_US * 1000);
        break;
    case BACKEND_WRITES_FAIL:
        append_blkdebug(args, "write");
        break;
    case BACKEND_READS_FAIL:
        append_blkdebug(args, "read");
        break;
    }
    if (incoming) {
        g_string_append(args, " -incoming defer");
    }
    g->device.more_traces = args->str;
    t = vq_test_new(&g->device, shape->num_iothreads, QUEUES, properties);
    g->device.more_traces = NULL;
    g->dogs[incoming] = vq_watchdog_begin(qtest_pid(t->qts), WATCHDOG_S);
    return t;
}

static void enable_queue(Guest *g, unsigned vq)
{
    QVirtioPCIDevice *pci = g->t->pci;
    uint32_t common = pci->common_cfg_offset;
    QVirtQueue q = {
        .vdev = &pci->vdev, .index = vq,
        .desc = DESC(vq), .avail = AVAIL(vq), .used = USED(vq),
    };

    qtest_memset(g->t->qts, DESC(vq), 0, 128 * KiB);
    pci->vdev.bus->queue_select(&pci->vdev, vq);
    qpci_io_writew(pci->pdev, pci->bar, common +
                   offsetof(struct virtio_pci_common_cfg, queue_size),
                   RING_SIZE);
    pci->vdev.bus->set_queue_address(&pci->vdev, &q);
    g->notify[vq] = pci->notify_cfg_offset + pci->notify_off_multiplier *
                    qpci_io_readw(pci->pdev, pci->bar, common +
                                  offsetof(struct virtio_pci_common_cfg,
                                           queue_notify_off));
    qpci_io_writew(pci->pdev, pci->bar, common +
                   offsetof(struct virtio_pci_common_cfg, queue_enable), 1);
}

Guest *guest_start(const Shape *shape, Backend backend)
{
    Guest *g = g_new0(Guest, 1);
    int fd = g_file_open_tmp("vq-migration.XXXXXX", &g->image, NULL);
    QVirtioDevice *vdev;

    g_assert_cmpint(ftruncate(fd, VQ_TEST_DISK_SIZE), ==, 0);
    close(fd);
    g->shape = shape;
    g->t = start_qemu(g, shape, backend, false);
    memset(g->slots, 0xff, sizeof(g->slots));

    vdev = g->t->vdev;
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) &
                         ~(QVIRTIO_F_BAD_FEATURE |
                           1ull << VIRTIO_RING_F_EVENT_IDX));
    for (unsigned i = 0; i < QUEUES; i++) {
        enable_queue(g, i);
    }
    qvirtio_set_driver_ok(vdev);
    return g;
}

uint8_t pattern_of(unsigned sector)
{
    return sector * 37 + sector / 256 + 1;
}

static void write_desc(QTestState *qts, uint64_t addr, uint64_t data,
                       uint32_t len, uint16_t flags, uint16_t next)
{
    struct vring_desc desc = {
        .addr = cpu_to_le64(data), .len = cpu_to_le32(len),
        .flags = cpu_to_le16(flags), .next = cpu_to_le16(next),
    };

    qtest_memwrite(qts, addr, &desc, sizeof(desc));
}

bool submit(Guest *g, unsigned vq, bool is_write, unsigned sector)
{
    QTestState *qts = g->t->qts;
    Request *r = &g->requests[sector / 2];
    struct virtio_blk_outhdr header = {
        .type = cpu_to_le32(is_write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN),
        .sector = cpu_to_le64(sector),
    };
    unsigned i = 0;
    uint64_t desc;

    while (i < SLOTS && g->slots[vq][i] >= 0) {
        i++;
    }
    if (i == SLOTS) {
        return false;
    }
    g_assert_cmpuint(sector / 2, <, MAX_REQUESTS);
    g_assert_false(r->in_flight);
    r->vq = vq;
    r->is_write = is_write;
    r->in_flight = true;
    r->wanted += is_write;
    g->slots[vq][i] = sector;

    qtest_memwrite(qts, HEADER(vq, i), &header, sizeof(header));
    qtest_memset(qts, DATA(vq, i), is_write ? pattern_of(sector) : 0, 512);
    qtest_writeb(qts, STATUS(vq, i), 0xff);
    desc = DESC(vq) + 3 * i * sizeof(struct vring_desc);
    write_desc(qts, desc, HEADER(vq, i), 16, VRING_DESC_F_NEXT, 3 * i + 1);
    write_desc(qts, desc + sizeof(struct vring_desc), DATA(vq, i), 512,
               VRING_DESC_F_NEXT | (is_write ? 0 : VRING_DESC_F_WRITE),
               3 * i + 2);
    write_desc(qts, desc + 2 * sizeof(struct vring_desc), STATUS(vq, i), 1,
               VRING_DESC_F_WRITE, 0);
    qtest_writew(qts, AVAIL(vq) + 4 + g->avail_idx[vq]++ % RING_SIZE * 2,
                 3 * i);
    qtest_writew(qts, AVAIL(vq) + 2, g->avail_idx[vq]);
    return true;
}

static void kick(Guest *g, unsigned vq)
{
    qpci_io_writew(g->t->pci->pdev, g->t->pci->bar, g->notify[vq], vq);
}

void kick_all(Guest *g)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        kick(g, i);
    }
}

void submit_writes(Guest *g, unsigned n)
{
    for (unsigned i = 0; i < n * QUEUES; i++) {
        g->num_requests += submit(g, i % QUEUES, true, g->num_requests * 2);
    }
}

void reap(Guest *g, bool keeps_data)
{
    QTestState *qts = g->t->qts;

    for (unsigned vq = 0; vq < QUEUES; vq++) {
        uint16_t idx = qtest_readw(qts, USED(vq) + 2);

        g_assert_cmpuint((uint16_t)(idx - g->used_idx[vq]), <=, SLOTS);
        while (g->used_idx[vq] != idx) {
            unsigned id = qtest_readl(qts, USED(vq) + 4 +
                                      g->used_idx[vq]++ % RING_SIZE * 8);
            uint8_t data[512];
            int sector;

            g_assert_cmpuint(id % 3, ==, 0);
            id /= 3;
            g_assert_cmpuint(id, <, SLOTS);
            sector = g->slots[vq][id];
            g_assert_cmpint(sector, >=, 0);
            g_assert_cmpuint(qtest_readb(qts, STATUS(vq, id)), ==,
                             VIRTIO_BLK_S_OK);
            qtest_memread(qts, DATA(vq, id), data, sizeof(data));
            for (unsigned i = 0; keeps_data && i < sizeof(data); i++) {
                g_assert_cmphex(data[i], ==, pattern_of(sector));
            }
            g->slots[vq][id] = -1;
            g->requests[sector / 2].in_flight = false;
        }
    }
}

unsigned count_in_flight(Guest *g)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MAX_REQUESTS; i++) {
        n += g->requests[i].in_flight;
    }
    return n;
}

void wait_in_flight(Guest *g, unsigned n, bool keeps_data)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    for (reap(g, keeps_data); count_in_flight(g) > n; reap(g, keeps_data)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
    g_assert_cmpuint(count_in_flight(g), ==, n);
}

void check_data(Guest *g)
{
    unsigned sector = 0;

    wait_in_flight(g, 0, true);
    while (sector < 2 * g->num_requests) {
        unsigned vq = sector / 2 % QUEUES;

        if (submit(g, vq, false, sector)) {
            kick(g, vq);
            sector += 2;
        } else {
            reap(g, true);
        }
    }
    wait_in_flight(g, 0, true);
}

void read_trace(Guest *g, unsigned handled[MAX_REQUESTS])
{
    g_autofree char *log = NULL;
    g_auto(GStrv) lines = NULL;
    pid_t owner[QUEUES];

    for (unsigned i = 0; i < QUEUES; i++) {
        int n = g->shape->owner[i];
        g_autofree char *name =
            n < 0 ? NULL : g_strdup_printf("iothread%d", n);

        owner[i] = vq_test_thread_id(g->t, name);
    }
    g_assert_true(g_file_get_contents(g->t->log, &log, NULL, NULL));
    lines = g_strsplit(log, "\n", -1);
    for (char **line = lines; *line; line++) {
        const char *sector = strstr(*line, " sector ");
        unsigned i;

        if (strstr(*line, ":virtio_blk_handle_write ") && sector) {
            i = atoi(sector + strlen(" sector ")) / 2;
            g_assert_cmpuint(i, <, MAX_REQUESTS);
            handled[i]++;
            if (!g->may_be_main || atoi(*line) != qtest_pid(g->t->qts)) {
                g_assert_cmpint(atoi(*line), ==, owner[g->requests[i].vq]);
            }
        }
    }
}

/* Before this QEMU ends */
static void note_trace(Guest *g)
{
    unsigned handled[MAX_REQUESTS] = { 0 };

    read_trace(g, handled);
    for (unsigned i = 0; i < MAX_REQUESTS; i++) {
        g->requests[i].handled += handled[i];
    }
}

void guest_end(Guest *g)
{
    note_trace(g);
    for (unsigned i = 0; i < MAX_REQUESTS; i++) {
        g_assert_cmpuint(g->requests[i].handled, ==, g->requests[i].wanted);
    }
    vq_test_free(g->t);
    vq_watchdog_end(g->dogs[0]);
    g_unlink(g->image);
    g_free(g->image);
    g_free(g);
}

static void set_bandwidth(Guest *g, int64_t value)
{
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'migrate-set-parameters',"
                             " 'arguments': {'max-bandwidth': %" PRId64 "}}",
                             value);
}

static bool is_migrated(QTestState *qts)
{
    QDict *response = qtest_qmp_assert_success_ref(
        qts, "{'execute': 'query-migrate'}");
    bool done;

    g_assert_cmpstr(qdict_get_try_str(response, "status"), !=, "failed");
    done = !g_strcmp0(qdict_get_try_str(response, "status"), "completed");
    qobject_unref(response);
    return done;
}

bool has_status(QTestState *qts, const char *status)
{
    QDict *response = qtest_qmp_assert_success_ref(
        qts, "{'execute': 'query-status'}");
    bool has = g_str_equal(qdict_get_str(response, "status"), status);

    qobject_unref(response);
    return has;
}

void wait_status(QTestState *qts, const char *status)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (!has_status(qts, status)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}

VqTest *migrate_begin(Guest *g, const Shape *shape, Backend backend)
{
    VqTest *to = start_qemu(g, shape, backend, true);
    g_autofree char *uri = g_strdup_printf("unix:%s.sock", g->image);

    qtest_qmp_assert_success(to->qts, "{'execute': 'migrate-incoming',"
                             " 'arguments': {'uri': %s}}", uri);
    /* Zeroes would be through in a second, whatever the bandwidth */
    qtest_memset(g->t->qts, FILL_START, 0x5a, FILL_SIZE);
    set_bandwidth(g, 4096);
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'migrate',"
                             " 'arguments': {'uri': %s}}", uri);
    return to;
}

void migrate_end(Guest *g, VqTest *to, const Shape *shape,
                 const char *status)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    g_autofree char *sock = g_strdup_printf("%s.sock", g->image);

    g_assert_false(is_migrated(g->t->qts));
    set_bandwidth(g, INT64_MAX);
    while (!is_migrated(g->t->qts)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
    wait_status(to->qts, status);
    note_trace(g);
    vq_test_free(g->t);
    g_unlink(sock);
    g->t = to;
    g->shape = shape;
    g->may_be_main = false;
    vq_watchdog_end(g->dogs[0]);
    g->dogs[0] = g->dogs[1];
}
