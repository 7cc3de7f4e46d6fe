/*
 * A disk whose requests may take the fast path, for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqos/virtio.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_ring.h"
#include "vq-fast.h"

#define WATCHDOG_S 120
/* Rounds begin again at the start of the disk, which may be small */
#define REGION_SECTORS 4096
#define STRIDE 16
#define NO_STATUS 0xff

VqFast *vq_fast_new(const VqTestDevice *device, const char *properties,
                    const char *drive, const char *nodes)
{
    VqFast *f = g_new0(VqFast, 1);
    g_autofree char *json = g_strdup_printf(",\"drive\":\"%s\"", drive);

    f->device = *device;
    f->device.drive = json;
    f->device.more_args = nodes;
    f->t = vq_test_new(&f->device, VQ_FAST_IOTHREADS, VQ_FAST_QUEUES,
                       properties);
    f->device.drive = f->device.more_args = NULL;
    f->dog = vq_watchdog_begin(qtest_pid(f->t->qts), WATCHDOG_S);
    f->keeps_data = true;
    f->path = f->t->image;
    vq_test_start_driver(f->t);
    return f;
}

void vq_fast_free(VqFast *f)
{
    vq_test_free(f->t);
    vq_watchdog_end(f->dog);
    g_free(f);
}

VqFastRequest vq_fast_submit(VqFast *f, unsigned vq, uint32_t type,
                             uint64_t sector, size_t len, uint8_t pattern,
                             uint64_t data, bool kick)
{
    QTestState *qts = f->t->qts;
    QVirtQueue *q = f->t->vq[vq];
    struct virtio_blk_outhdr hdr = {
        .type = cpu_to_le32(type), .sector = cpu_to_le64(sector),
    };
    VqFastRequest req = {
        .vq = vq, .type = type, .sector = sector, .len = len,
        .pattern = pattern, .data = data, .frees_data = !data && len,
        .header = guest_alloc(&f->t->alloc, sizeof(hdr) + 1),
    };
    bool is_write = type == VIRTIO_BLK_T_OUT;
    uint64_t idx_addr = q->avail + offsetof(struct vring_avail, idx);
    uint16_t idx;

    if (req.frees_data) {
        req.data = guest_alloc(&f->t->alloc, len);
    }
    if (len) {
        qtest_memset(qts, req.data, is_write ? pattern : (uint8_t)~pattern,
                     len);
    }
    qtest_memwrite(qts, req.header, &hdr, sizeof(hdr));
    qtest_writeb(qts, req.header + sizeof(hdr), NO_STATUS);

    /* libqos does not use descriptors twice */
    if (f->in_flight[vq] == 0) {
        q->free_head = 0;
        q->num_free = q->size;
    }
    g_assert_cmpuint(q->num_free, >=, 3);
    req.head = qvirtqueue_add(qts, q, req.header, sizeof(hdr), false, true);
    if (len) {
        qvirtqueue_add(qts, q, req.data, len, !is_write, true);
    }
    qvirtqueue_add(qts, q, req.header + sizeof(hdr), 1, true, false);
    f->done[vq] &= ~(1ull << req.head);
    f->in_flight[vq]++;

    if (kick) {
        qvirtqueue_kick(qts, f->t->vdev, q, req.head);
    } else {
        idx = qtest_readw(qts, idx_addr);
        qtest_writew(qts, q->avail + offsetof(struct vring_avail, ring) +
                     sizeof(uint16_t) * (idx % q->size), req.head);
        qtest_writew(qts, idx_addr, idx + 1);
    }
    return req;
}

bool vq_fast_is_done(VqFast *f, const VqFastRequest *req)
{
    uint32_t head;

    while (qvirtqueue_get_buf(f->t->qts, f->t->vq[req->vq], &head, NULL)) {
        g_assert_cmpuint(head, <, 64);
        g_assert_false(f->done[req->vq] & (1ull << head));
        f->done[req->vq] |= 1ull << head;
        g_assert_cmpuint(f->in_flight[req->vq], >, 0);
        f->in_flight[req->vq]--;
    }
    return f->done[req->vq] & (1ull << req->head);
}

static void assert_pattern(const uint8_t *data, size_t len, uint8_t pattern)
{
    for (size_t i = 0; i < len; i++) {
        g_assert_cmphex(data[i], ==, pattern);
    }
}

uint8_t vq_fast_complete(VqFast *f, VqFastRequest *req)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;
    uint8_t status;

    while (!vq_fast_is_done(f, req)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(100);
    }
    status = qtest_readb(f->t->qts,
                         req->header + sizeof(struct virtio_blk_outhdr));
    if (req->type == VIRTIO_BLK_T_IN && status == VIRTIO_BLK_S_OK &&
        f->keeps_data) {
        g_autofree uint8_t *data = g_malloc(req->len);

        qtest_memread(f->t->qts, req->data, data, req->len);
        assert_pattern(data, req->len, req->pattern);
    }
    if (req->frees_data) {
        guest_free(&f->t->alloc, req->data);
    }
    guest_free(&f->t->alloc, req->header);
    return status;
}

void vq_fast_do(VqFast *f, unsigned vq, uint32_t type, uint64_t sector,
                size_t len, uint8_t pattern)
{
    VqFastRequest req = vq_fast_submit(f, vq, type, sector, len, pattern, 0,
                                       true);

    g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_OK);
}

void vq_fast_check_file(VqFast *f, uint64_t sector, size_t len,
                        uint8_t pattern)
{
    g_autofree uint8_t *data = g_malloc(len);
    int fd;

    if (!f->path) {
        return;
    }
    fd = open(f->path, O_RDONLY);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pread(fd, data, len, f->offset + sector * VQ_TEST_SECTOR),
                    ==, len);
    close(fd);
    assert_pattern(data, len, pattern);
}

uint64_t vq_fast_count(VqFast *f)
{
    VqQueues queues;
    uint64_t n = 0;

    vq_queues_query(f->t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < queues.num; vq++) {
        n += queues.vq[vq].fast_requests;
    }
    return n;
}

/* Where the next round begins, and with what */
static uint64_t next_round(VqFast *f, uint8_t *pattern)
{
    unsigned n = f->rounds++;

    *pattern = n % 250 + 1;
    return (uint64_t)n * 2 * VQ_FAST_QUEUES * STRIDE % REGION_SECTORS;
}

/* One request of each virtqueue, all at once */
static void do_each(VqFast *f, uint32_t type, uint64_t sector, unsigned shift,
                    uint8_t pattern)
{
    VqFastRequest reqs[VQ_FAST_QUEUES];

    for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
        unsigned i = (vq + shift) % VQ_FAST_QUEUES;

        reqs[vq] = vq_fast_submit(f, vq, type, sector + i * STRIDE,
                                  VQ_FAST_LEN, pattern + i, 0, true);
    }
    for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
        g_assert_cmpuint(vq_fast_complete(f, &reqs[vq]), ==, VIRTIO_BLK_S_OK);
    }
}

void vq_fast_round(VqFast *f, unsigned fast)
{
    uint64_t before = vq_fast_count(f), after;
    uint8_t pattern;
    uint64_t sector = next_round(f, &pattern);

    do_each(f, VIRTIO_BLK_T_OUT, sector, 0, pattern);
    after = vq_fast_count(f);
    g_assert_cmpuint(after - before, ==,
                     fast & FAST_WRITES ? VQ_FAST_QUEUES : 0);
    for (unsigned i = 0; i < VQ_FAST_QUEUES; i++) {
        vq_fast_check_file(f, sector + i * STRIDE, VQ_FAST_LEN, pattern + i);
    }

    before = after;
    do_each(f, VIRTIO_BLK_T_IN, sector, 1, pattern);
    after = vq_fast_count(f);
    g_assert_cmpuint(after - before, ==,
                     fast & FAST_READS ? VQ_FAST_QUEUES : 0);
}

void vq_fast_wait(VqFast *f)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;
    uint64_t before = vq_fast_count(f);
    bool kept = f->keeps_data;

    f->keeps_data = false;
    while (vq_fast_count(f) == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_fast_do(f, 0, VIRTIO_BLK_T_IN, 0, VQ_FAST_LEN, 0);
    }
    f->keeps_data = kept;
}

/* Requests that QEMU has taken from the rings, complete or not */
static uint64_t count_taken(VqFast *f)
{
    VqQueues queues;
    uint64_t n = 0;

    vq_queues_query(f->t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
        n += queues.vq[vq].in_flight + vq_queues_requests(&queues.vq[vq]);
    }
    return n;
}

void vq_fast_begin(VqFast *f)
{
    uint8_t pattern;
    uint64_t sector = next_round(f, &pattern);

    do_each(f, VIRTIO_BLK_T_OUT, sector, 0, pattern);
    f->taken = count_taken(f);
    for (unsigned i = 0; i < ARRAY_SIZE(f->pending); i++) {
        unsigned vq = i % VQ_FAST_QUEUES;

        /* A read of what is there, then a write of what is to be there */
        f->pending[i] = vq_fast_submit(
            f, vq, i < VQ_FAST_QUEUES ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
            sector + i * STRIDE, VQ_FAST_LEN, pattern + i, 0, true);
    }
}

void vq_fast_end(VqFast *f)
{
    for (unsigned i = 0; i < ARRAY_SIZE(f->pending); i++) {
        g_assert_cmpuint(vq_fast_complete(f, &f->pending[i]), ==,
                         VIRTIO_BLK_S_OK);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(f->pending); i++) {
        VqFastRequest *r = &f->pending[i];

        vq_fast_do(f, (r->vq + 1) % VQ_FAST_QUEUES, VIRTIO_BLK_T_IN,
                   r->sector, r->len, r->pattern);
        vq_fast_check_file(f, r->sector, r->len, r->pattern);
    }
}

void vq_fast_wait_in_flight(VqFast *f)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;

    /* A request that ends in between may be counted twice, or not at all */
    while (count_taken(f) < f->taken + ARRAY_SIZE(f->pending)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

void vq_fast_assert_all_done(VqFast *f)
{
    for (unsigned i = 0; i < ARRAY_SIZE(f->pending); i++) {
        g_assert_true(vq_fast_is_done(f, &f->pending[i]));
    }
}

void vq_fast_meanwhile(VqFast *f, const char *command)
{
    QDict *answer;

    vq_fast_begin(f);
    qtest_qmp_send_raw(f->t->qts, "%s", command);
    answer = qtest_qmp_receive(f->t->qts);
    if (qdict_haskey(answer, "error")) {
        g_error("%s: %s", command,
                qdict_get_str(qdict_get_qdict(answer, "error"), "desc"));
    }
    qobject_unref(answer);
    vq_fast_end(f);
}

QDict *vq_fast_wait_event(VqFast *f, const char *event)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;
    QDict *response, *data;

    while (!(response = qtest_qmp_event_ref(f->t->qts, event))) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
        /* Receives what events there are */
        qtest_qmp_assert_success(f->t->qts, "{'execute': 'query-name'}");
    }
    data = qdict_get_qdict(response, "data");
    if (data) {
        qobject_ref(data);
    }
    qobject_unref(response);
    return data;
}

void vq_fast_reset(VqFast *f)
{
    vq_test_reset(f->t);
    memset(f->in_flight, 0, sizeof(f->in_flight));
}

void vq_fast_no_polling(VqFast *f)
{
    for (unsigned i = 0; i < VQ_FAST_IOTHREADS; i++) {
        g_autofree char *path = g_strdup_printf("/objects/iothread%u", i);

        qtest_qmp_assert_success(f->t->qts, "{'execute': 'qom-set',"
                                 " 'arguments': {'path': %s, 'property':"
                                 " 'poll-max-ns', 'value': 0}}", path);
    }
}
