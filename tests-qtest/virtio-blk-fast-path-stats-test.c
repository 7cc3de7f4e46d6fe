/*
 * qtests of the fast path: what nodes and disks count of a request
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include "qapi/error.h"
#include "qapi/qapi-visit-block-core.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/units.h"
#include "vq-fast.h"
#include "vq-remap.h"

#define RAW " -blockdev raw,node-name=raw,file=node0"
/* With qtest, each request takes so long */
#define LATENCY_NS 1000000
#define QOM_PATH "/machine/peripheral/disk0/virtio-backend"

static VqFast *new_disk(const char *drive, const char *properties)
{
    g_autofree char *all = g_strconcat(VQ_FAST_MAPPED, properties, NULL);
    VqFast *f = vq_fast_new(&vq_test_blk_pci, all, drive,
                            g_str_equal(drive, "raw") ? RAW : "");

    /* At 0, nothing is taken for idle */
    qtest_clock_step(f->t->qts, LATENCY_NS);
    return f;
}

/* Statistics of the disk, to be freed with all of the list that it is in */
static BlockStatsList *query_stats(VqFast *f)
{
    QDict *reply = qtest_qmp(f->t->qts, "{'execute': 'query-blockstats'}");
    Visitor *v = qobject_input_visitor_new(qdict_get(reply, "return"));
    BlockStatsList *list;

    visit_type_BlockStatsList(v, NULL, &list, &error_abort);
    visit_free(v);
    qobject_unref(reply);
    g_assert_nonnull(list);
    g_assert_null(list->next);
    g_assert_cmpstr(list->value->qdev, ==, QOM_PATH);
    return list;
}

typedef struct Wanted {
    int64_t ops[2];     /* reads, writes */
    int64_t bytes[2];
    int64_t merged[2];
    int64_t failed[2];
    int64_t invalid[2];
    int64_t flushes;
    int64_t idle;       /* ns */
} Wanted;

/* How many requests have been counted at their end */
static int64_t count_ended(const BlockDeviceStats *s)
{
    return s->rd_operations + s->wr_operations + s->failed_rd_operations +
           s->failed_wr_operations + s->flush_operations;
}

/* The guest may see a request complete before it is counted */
static BlockStatsList *wait_ended(VqFast *f, int64_t n)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;
    BlockStatsList *list = query_stats(f);

    while (count_ended(list->value->stats) < n) {
        qapi_free_BlockStatsList(list);
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
        list = query_stats(f);
    }
    return list;
}

static void assert_stats(VqFast *f, const Wanted *w)
{
    int64_t n = w->ops[0] + w->ops[1] + w->failed[0] + w->failed[1] +
                w->flushes;
    g_autoptr(BlockStatsList) list = wait_ended(f, n);
    const BlockDeviceStats *s = list->value->stats;

    g_assert_cmpint(s->rd_operations, ==, w->ops[0]);
    g_assert_cmpint(s->wr_operations, ==, w->ops[1]);
    g_assert_cmpint(s->rd_bytes, ==, w->bytes[0]);
    g_assert_cmpint(s->wr_bytes, ==, w->bytes[1]);
    g_assert_cmpint(s->rd_merged, ==, w->merged[0]);
    g_assert_cmpint(s->wr_merged, ==, w->merged[1]);
    g_assert_cmpint(s->failed_rd_operations, ==, w->failed[0]);
    g_assert_cmpint(s->failed_wr_operations, ==, w->failed[1]);
    g_assert_cmpint(s->invalid_rd_operations, ==, w->invalid[0]);
    g_assert_cmpint(s->invalid_wr_operations, ==, w->invalid[1]);
    g_assert_cmpint(s->flush_operations, ==, w->flushes);
    g_assert_cmpint(s->rd_total_time_ns, ==,
                    (w->ops[0] + w->failed[0]) * LATENCY_NS);
    g_assert_cmpint(s->wr_total_time_ns, ==,
                    (w->ops[1] + w->failed[1]) * LATENCY_NS);
    g_assert_cmpint(s->has_idle_time_ns, ==, w->ops[0] + w->ops[1] > 0);
    if (s->has_idle_time_ns) {
        g_assert_cmpint(s->idle_time_ns, ==, w->idle);
    }
}

/* As vq_fast_round(), noted in @w */
static void do_round(VqFast *f, unsigned fast, Wanted *w)
{
    vq_fast_round(f, fast);
    for (unsigned i = 0; i < 2; i++) {
        w->ops[i] += VQ_FAST_QUEUES;
        w->bytes[i] += VQ_FAST_QUEUES * VQ_FAST_LEN;
    }
    w->idle = 0;
    assert_stats(f, w);
}

/* A batch through virtqueue @vq, of which the disk makes fewer requests */
static void do_batch(VqFast *f, unsigned vq, bool is_write, Wanted *w)
{
    static const uint64_t sectors[] = { 30, 31, 32, 33, 50, 51, 60 };
    const unsigned parts = 3;
    VqFastRequest reqs[ARRAY_SIZE(sectors)];
    uint64_t before = vq_fast_count(f);

    for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
        reqs[i] = vq_fast_submit(f, vq, is_write ? VIRTIO_BLK_T_OUT :
                                 VIRTIO_BLK_T_IN, sectors[i], 512, 100 + i, 0,
                                 i == ARRAY_SIZE(reqs) - 1);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
        g_assert_cmpuint(vq_fast_complete(f, &reqs[i]), ==, VIRTIO_BLK_S_OK);
    }
    g_assert_cmpuint(vq_fast_count(f), ==, before + ARRAY_SIZE(reqs));
    w->ops[is_write] += ARRAY_SIZE(reqs);
    w->bytes[is_write] += ARRAY_SIZE(reqs) * 512;
    w->merged[is_write] += ARRAY_SIZE(reqs) - parts;
    assert_stats(f, w);
}

/* Wait until all owners have seen the notification of the start */
static void wait_started(VqFast *f)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;
    VqQueues queues;
    unsigned n;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(f->t->qts, "disk0", &queues);
        n = 0;
        for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
            n += queues.vq[vq].totals[VQ_QUEUES_NOTIFICATIONS] > 0;
        }
    } while (n < VQ_FAST_QUEUES);
}

/* Exactly what was done, wherever the virtqueues are */
static void test_counters(const void *opaque)
{
    VqFast *f = new_disk(opaque, "");
    const uint64_t end = VQ_TEST_DISK_SIZE / VQ_TEST_SECTOR;
    VqFastRequest req;
    Wanted w = { 0 };

    vq_fast_no_polling(f);
    wait_started(f);
    assert_stats(f, &w);
    do_round(f, FAST_BOTH, &w);
    for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
        do_batch(f, vq, true, &w);
        do_batch(f, vq, false, &w);
        vq_fast_do(f, vq, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
        w.flushes++;
        assert_stats(f, &w);
    }
    for (unsigned i = 0; i < 2; i++) {
        req = vq_fast_submit(f, i, i ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
                             end, 512, 0, 0, true);
        g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_IOERR);
        w.invalid[i]++;
    }
    assert_stats(f, &w);

    vq_remap(f->t->qts, "disk0", "[{\"iothread\":\"iothread1\"},"
             "{\"iothread\":\"iothread0\"}]", NULL);
    assert_stats(f, &w);
    do_round(f, FAST_BOTH, &w);
    qtest_clock_step(f->t->qts, 12345);
    w.idle = 12345;
    assert_stats(f, &w);
    vq_remap(f->t->qts, "disk0", NULL, NULL);
    assert_stats(f, &w);
    do_round(f, FAST_BOTH, &w);

    vq_fast_reset(f);
    assert_stats(f, &w);
    do_round(f, FAST_BOTH, &w);
    vq_fast_free(f);
}

/* How many requests a histogram has, or -1 if there is none */
static int64_t count_bins(const BlockLatencyHistogramInfo *info)
{
    const uint64List *l;
    int64_t n = 0;

    if (!info) {
        return -1;
    }
    for (l = info->bins; l; l = l->next) {
        n += l->value;
    }
    return n;
}

static void assert_histograms(VqFast *f, int64_t reads, int64_t writes)
{
    g_autoptr(BlockStatsList) list = query_stats(f);
    const BlockDeviceStats *s = list->value->stats;

    g_assert_cmpint(count_bins(s->rd_latency_histogram), ==, reads);
    g_assert_cmpint(count_bins(s->wr_latency_histogram), ==, writes);
}

/* A histogram has what was done after it was set */
static void test_histogram(const void *opaque)
{
    VqFast *f = new_disk(opaque, "");
    Wanted w = { 0 };

    do_round(f, FAST_BOTH, &w);
    assert_histograms(f, -1, -1);
    for (unsigned i = 0; i < 2; i++) {
        qtest_qmp_assert_success(f->t->qts, "{'execute':"
                                 " 'block-latency-histogram-set', 'arguments':"
                                 " {'id': %s, 'boundaries': [1000, 1000000,"
                                 "  10000000]}}", QOM_PATH);
        assert_histograms(f, 0, 0);
        do_round(f, FAST_BOTH, &w);
        do_round(f, FAST_BOTH, &w);
        assert_histograms(f, 2 * VQ_FAST_QUEUES, 2 * VQ_FAST_QUEUES);
    }
    vq_remap(f->t->qts, "disk0", "[{\"iothread\":\"iothread1\"}]", NULL);
    do_round(f, FAST_BOTH, &w);
    assert_histograms(f, 3 * VQ_FAST_QUEUES, 3 * VQ_FAST_QUEUES);

    /* For reads only, then none */
    qtest_qmp_assert_success(f->t->qts, "{'execute':"
                             " 'block-latency-histogram-set', 'arguments':"
                             " {'id': %s}}", QOM_PATH);
    qtest_qmp_assert_success(f->t->qts, "{'execute':"
                             " 'block-latency-histogram-set', 'arguments':"
                             " {'id': %s, 'boundaries-read': [1000000]}}",
                             QOM_PATH);
    do_round(f, FAST_BOTH, &w);
    assert_histograms(f, VQ_FAST_QUEUES, -1);
    qtest_qmp_assert_success(f->t->qts, "{'execute':"
                             " 'block-latency-histogram-set', 'arguments':"
                             " {'id': %s}}", QOM_PATH);
    do_round(f, FAST_BOTH, &w);
    assert_histograms(f, -1, -1);
    vq_fast_free(f);
}

/* An interval's latencies are those of the requests therein */
static void test_interval(void)
{
    VqFast *f = vq_fast_new(&vq_test_blk_pci, VQ_FAST_MAPPED, "d",
                            " -drive if=none,id=d,driver=raw,"
                            "file.driver=null-co,file.size=16777216,"
                            "stats-intervals.0=3600");
    g_autoptr(BlockStatsList) list = NULL;
    const BlockDeviceTimedStatsList *timed;

    f->keeps_data = false;
    f->path = NULL;
    qtest_clock_step(f->t->qts, LATENCY_NS);
    vq_fast_round(f, FAST_BOTH);
    list = wait_ended(f, 2 * VQ_FAST_QUEUES);
    timed = list->value->stats->timed_stats;
    g_assert_nonnull(timed);
    g_assert_cmpint(timed->value->interval_length, ==, 3600);
    g_assert_cmpint(timed->value->min_rd_latency_ns, ==, LATENCY_NS);
    g_assert_cmpint(timed->value->avg_wr_latency_ns, ==, LATENCY_NS);
    vq_fast_free(f);
}

/* What the host fails is counted as failed */
static void test_failed(void)
{
    VqFast *f;
    struct rlimit limit, old;
    Wanted w = { 0 };
    pid_t pid;

    /* QEMU inherits that, and gets EFBIG instead */
    signal(SIGXFSZ, SIG_IGN);
    f = new_disk("raw", ",\"werror\":\"report\"");
    pid = qtest_pid(f->t->qts);
    do_round(f, FAST_BOTH, &w);
    g_assert_cmpint(prlimit(pid, RLIMIT_FSIZE, NULL, &old), ==, 0);
    limit = old;
    limit.rlim_cur = 0;
    g_assert_cmpint(prlimit(pid, RLIMIT_FSIZE, &limit, NULL), ==, 0);
    for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
        uint64_t before = vq_fast_count(f);
        VqFastRequest req = vq_fast_submit(f, vq, VIRTIO_BLK_T_OUT, 0, 512, 9,
                                           0, true);

        g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_IOERR);
        g_assert_cmpuint(vq_fast_count(f), ==, before + 1);
        w.failed[1]++;
        assert_stats(f, &w);
    }
    g_assert_cmpint(prlimit(pid, RLIMIT_FSIZE, &old, NULL), ==, 0);
    do_round(f, FAST_BOTH, &w);
    vq_fast_free(f);
}

static void assert_highest(VqFast *f, int64_t highest)
{
    g_autoptr(BlockStatsList) list = query_stats(f);
    const BlockStats *s = list->value;

    g_assert_cmpint(s->stats->wr_highest_offset, ==, highest);
    if (s->parent) {
        g_assert_cmpint(s->parent->stats->wr_highest_offset, ==, highest);
    }
}

/* How far a node has been written, and the one below */
static void test_highest(const void *opaque)
{
    VqFast *f = new_disk(opaque, "");
    uint64_t before;

    assert_highest(f, 0);
    vq_fast_do(f, 0, VIRTIO_BLK_T_IN, 2000, 512, 0);
    assert_highest(f, 0);
    before = vq_fast_count(f);
    vq_fast_do(f, 1, VIRTIO_BLK_T_OUT, 1000, 1024, 1);
    assert_highest(f, 1002 * 512);
    vq_fast_do(f, 2, VIRTIO_BLK_T_OUT, 10, 512, 1);
    assert_highest(f, 1002 * 512);
    vq_fast_do(f, 3, VIRTIO_BLK_T_OUT, 5000, 512, 1);
    assert_highest(f, 5001 * 512);
    g_assert_cmpuint(vq_fast_count(f), ==, before + 3);
    vq_fast_free(f);
}

static void set_threshold(VqFast *f, const char *node, int64_t threshold)
{
    qtest_qmp_assert_success(f->t->qts, "{'execute':"
                             " 'block-set-write-threshold', 'arguments':"
                             " {'node-name': %s, 'write-threshold': %" PRId64
                             "}}", node, threshold);
}

static void assert_no_event(VqFast *f)
{
    /* Receives what events there are */
    qtest_qmp_assert_success(f->t->qts, "{'execute': 'query-name'}");
    g_assert_null(qtest_qmp_event_ref(f->t->qts, "BLOCK_WRITE_THRESHOLD"));
}

static void assert_event(VqFast *f, const char *node, int64_t threshold,
                         int64_t exceeded)
{
    QDict *data = vq_fast_wait_event(f, "BLOCK_WRITE_THRESHOLD");

    g_assert_cmpstr(qdict_get_str(data, "node-name"), ==, node);
    g_assert_cmpint(qdict_get_int(data, "write-threshold"), ==, threshold);
    g_assert_cmpint(qdict_get_int(data, "amount-exceeded"), ==, exceeded);
    qobject_unref(data);
}

/* An event, once, when a write reaches behind the threshold of a node */
static void test_threshold(void)
{
    static const char *const nodes[] = { "raw", "node0" };
    VqFast *f = new_disk("raw", "");

    for (unsigned i = 0; i < ARRAY_SIZE(nodes); i++) {
        uint64_t before = vq_fast_count(f);

        set_threshold(f, nodes[i], MiB);
        vq_fast_do(f, 0, VIRTIO_BLK_T_OUT, 2046, 1024, 1);
        vq_fast_do(f, 1, VIRTIO_BLK_T_IN, 4096, 512, i);
        assert_no_event(f);
        vq_fast_do(f, 2, VIRTIO_BLK_T_OUT, 2046, 2048, 1);
        assert_event(f, nodes[i], MiB, 1024);
        vq_fast_do(f, 3, VIRTIO_BLK_T_OUT, 4096, 512, i + 1);
        assert_no_event(f);
        g_assert_cmpuint(vq_fast_count(f), ==, before + 4);
    }
    vq_fast_free(f);
}

/* A flush reaches the host's file if there was a write, else not */
static void test_flush(const void *opaque)
{
    VqFast *f = new_disk(opaque, "");
    /* 9.0 and 10.0 have different names for it */
    static const char *const names[] = {
        "thread_pool_submit", "thread_pool_submit_aio"
    };
    const char *name;

    qtest_qmp_assert_success(f->t->qts, "{'execute': 'trace-event-set-state',"
                             " 'arguments': {'name': 'thread_pool_submit*',"
                             " 'enable': true, 'ignore-unavailable': true}}");
    vq_fast_do(f, 0, VIRTIO_BLK_T_OUT, 0, 512, 1);
    name = names[vq_test_count_event(f->t, names[1], "") > 0];
    g_assert_cmpuint(vq_test_count_event(f->t, name, ""), ==, 1);
    for (unsigned i = 0; i < VQ_FAST_QUEUES; i++) {
        unsigned n = vq_test_count_event(f->t, name, "");
        uint64_t before = vq_fast_count(f);

        vq_fast_do(f, i, VIRTIO_BLK_T_OUT, 100, 512, i);
        vq_fast_do(f, (i + 1) % VQ_FAST_QUEUES, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
        g_assert_cmpuint(vq_test_count_event(f->t, name, ""), ==, n + 2);
        vq_fast_do(f, i, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
        vq_fast_do(f, i, VIRTIO_BLK_T_IN, 100, 512, i);
        vq_fast_do(f, i, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
        g_assert_cmpuint(vq_test_count_event(f->t, name, ""), ==, n + 3);
        vq_fast_check_file(f, 100, 512, i);
        g_assert_cmpuint(vq_fast_count(f), ==, before + 2);
    }
    vq_fast_free(f);
}

static void add_both(const char *name, GTestDataFunc func)
{
    static const struct {
        const char *name, *drive;
    } rows[] = {
        { "file", "node0" }, { "raw", "raw" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *path =
            g_strdup_printf("/virtio-blk-fast-path-stats/%s/%s", name,
                            rows[i].name);

        qtest_add_data_func(path, rows[i].drive, func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_both("counters", test_counters);
    add_both("histogram", test_histogram);
    add_both("highest-offset", test_highest);
    add_both("flush", test_flush);
    qtest_add_func("/virtio-blk-fast-path-stats/interval", test_interval);
    qtest_add_func("/virtio-blk-fast-path-stats/failed", test_failed);
    qtest_add_func("/virtio-blk-fast-path-stats/write-threshold",
                   test_threshold);
    return g_test_run();
}
