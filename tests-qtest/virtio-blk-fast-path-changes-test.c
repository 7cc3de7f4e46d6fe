/*
 * qtests of the fast path: what comes and goes while requests are handled
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qapi/error.h"
#include "qapi/qapi-visit-block-core.h"
#include "qapi/qobject-input-visitor.h"
#include "vq-fast.h"
#include "vq-plug.h"

#define RAW " -blockdev raw,node-name=raw,file=node0"
#define TIMES 3
#define COMMAND(name, arguments) \
    "{\"execute\":\"" name "\",\"arguments\":{" arguments "}}"

static VqFast *new_file(const char *drive)
{
    return vq_fast_new(&vq_test_blk_pci, VQ_FAST_MAPPED, drive,
                       g_str_equal(drive, "raw") ? RAW : "");
}

/* On null-co, where a request takes long enough to be in flight */
static VqFast *new_slow(void)
{
    VqFast *f = vq_fast_new(&vq_test_blk_pci, VQ_FAST_MAPPED, "slow",
                            VQ_FAST_SLOW);

    f->keeps_data = false;
    f->path = NULL;
    return f;
}

/* What a pair of commands does to the fast path in between */
typedef struct Change {
    const char *name;
    const char *drive;
    const char *begin;
    const char *end;
    unsigned fast;
    const char *event;      /* that has to come after @end, or NULL */
} Change;

#define LIMITS(iops) COMMAND("block_set_io_throttle", \
    "\"id\":\"/machine/peripheral/disk0/virtio-backend\",\"bps\":0," \
    "\"bps_rd\":0,\"bps_wr\":0,\"iops\":" iops ",\"iops_rd\":0," \
    "\"iops_wr\":0")
#define TRACE(event, enable) COMMAND("trace-event-set-state", \
    "\"name\":\"" event "\",\"enable\":" enable)
#define EXPORT(node) COMMAND("block-export-add", \
    "\"id\":\"exp0\",\"type\":\"nbd\",\"node-name\":\"" node "\"," \
    "\"writable\":false")
#define UNEXPORT COMMAND("block-export-del", "\"id\":\"exp0\"")
#define BITMAP(what, more) COMMAND("block-dirty-bitmap-" what, \
    "\"node\":\"node0\",\"name\":\"bitmap0\"" more)
#define REOPEN(more) COMMAND("blockdev-reopen", "\"options\":[{" \
    "\"driver\":\"raw\",\"node-name\":\"raw\",\"file\":\"node0\"" more "}]")
#define ADD(more) COMMAND("blockdev-add", more)
#define DEL(node) COMMAND("blockdev-del", "\"node-name\":\"" node "\"")

static const Change changes[] = {
    { "io-limits/file", "node0", LIMITS("100000"), LIMITS("0"), FAST_NONE },
    { "io-limits/raw", "raw", LIMITS("100000"), LIMITS("0"), FAST_NONE },
    { "bitmap/file", "node0", BITMAP("add", ""), BITMAP("remove", ""),
      FAST_READS },
    { "bitmap/below-raw", "raw", BITMAP("add", ""), BITMAP("remove", ""),
      FAST_READS },
    { "export/file", "node0", EXPORT("node0"), UNEXPORT, FAST_NONE,
      "BLOCK_EXPORT_DELETED" },
    { "export/raw", "raw", EXPORT("raw"), UNEXPORT, FAST_NONE,
      "BLOCK_EXPORT_DELETED" },
    { "export/below-raw", "raw", EXPORT("node0"), UNEXPORT, FAST_NONE,
      "BLOCK_EXPORT_DELETED" },
    { "other-parent", "raw",
      ADD("\"driver\":\"raw\",\"node-name\":\"other\",\"file\":\"node0\","
          "\"read-only\":true"), DEL("other"), FAST_NONE },
    { "reopen/offset", "raw", REOPEN(",\"offset\":0,\"size\":8388608"),
      REOPEN(""), FAST_NONE },
    { "reopen/detect-zeroes", "raw", REOPEN(",\"detect-zeroes\":\"on\""),
      REOPEN(""), FAST_NONE },
    { "iothread", "node0",
      COMMAND("virtio-blk-set-iothread-vq-mapping", "\"id\":\"disk0\","
              "\"iothread-vq-mapping\":[{\"iothread\":\"iothread1\"}]"),
      COMMAND("virtio-blk-set-iothread-vq-mapping", "\"id\":\"disk0\","
              "\"main-loop\":true"),
      FAST_BOTH },
    { "resize", "raw",
      COMMAND("block_resize", "\"node-name\":\"raw\",\"size\":8388608"),
      COMMAND("block_resize", "\"node-name\":\"raw\",\"size\":16777216"),
      FAST_BOTH },
};

static void test_change(const void *opaque)
{
    const Change *c = opaque;
    VqFast *f = new_file(c->drive);
    g_autofree char *path = g_strconcat(f->t->log, ".nbd", NULL);

    qtest_qmp_assert_success(f->t->qts, "{'execute': 'nbd-server-start',"
                             " 'arguments': {'addr': {'type': 'unix',"
                             " 'data': {'path': %s}}}}", path);
    vq_fast_round(f, FAST_BOTH);
    for (unsigned i = 0; i < TIMES; i++) {
        vq_fast_meanwhile(f, c->begin);
        vq_fast_round(f, c->fast);
        vq_fast_round(f, c->fast);
        vq_fast_meanwhile(f, c->end);
        if (c->event) {
            qobject_unref(vq_fast_wait_event(f, c->event));
        }
        vq_fast_round(f, FAST_BOTH);
    }
    vq_fast_free(f);
    g_unlink(path);
}

/* Traces of the general path show all that there is, while they are on */
static void test_trace(const void *opaque)
{
    const char *name = opaque;
    g_autofree char *on = g_strdup_printf(TRACE("%s", "true"), name);
    g_autofree char *off = g_strdup_printf(TRACE("%s", "false"), name);
    uint8_t pattern = 0;
    VqFast *f = new_file("raw");

    vq_fast_round(f, FAST_BOTH);
    g_assert_cmpuint(vq_test_count_event(f->t, name, ""), ==, 0);
    for (unsigned i = 0; i < TIMES; i++) {
        uint64_t before;
        unsigned lines;

        vq_fast_meanwhile(f, on);
        before = vq_fast_count(f);
        lines = vq_test_count_event(f->t, name, "");
        vq_fast_do(f, i, VIRTIO_BLK_T_OUT, 8000, VQ_FAST_LEN, ++pattern);
        vq_fast_do(f, i, VIRTIO_BLK_T_IN, 8000, VQ_FAST_LEN, pattern);
        /* The general path goes through each node */
        g_assert_cmpuint(vq_test_count_event(f->t, name, ""), >, lines);
        g_assert_cmpuint(vq_fast_count(f), <, before + 2);

        vq_fast_meanwhile(f, off);
        lines = vq_test_count_event(f->t, name, "");
        vq_fast_round(f, FAST_BOTH);
        g_assert_cmpuint(vq_test_count_event(f->t, name, ""), ==, lines);
    }
    vq_fast_free(f);
}

/* How many bytes are dirty in the node's only bitmap */
static int64_t query_dirty(VqFast *f)
{
    QDict *reply = qtest_qmp(f->t->qts, "{'execute': 'query-block'}");
    Visitor *v = qobject_input_visitor_new(qdict_get(reply, "return"));
    g_autoptr(BlockInfoList) list = NULL;
    int64_t n = -1;

    visit_type_BlockInfoList(v, NULL, &list, &error_abort);
    for (BlockInfoList *l = list; l; l = l->next) {
        BlockDeviceInfo *inserted = l->value->inserted;

        if (inserted && inserted->has_dirty_bitmaps) {
            g_assert_cmpint(n, ==, -1);
            g_assert_null(inserted->dirty_bitmaps->next);
            n = inserted->dirty_bitmaps->value->count;
        }
    }
    visit_free(v);
    qobject_unref(reply);
    return n;
}

/* The bitmap has exactly what was written after it was added */
static void test_dirty(void)
{
    VqFast *f = new_file("node0");

    for (unsigned i = 0; i < TIMES; i++) {
        uint64_t before;

        vq_fast_round(f, FAST_BOTH);
        g_assert_cmpint(query_dirty(f), ==, -1);
        qtest_qmp_assert_success(f->t->qts, "{'execute':"
                                 " 'block-dirty-bitmap-add', 'arguments':"
                                 " {'node': 'node0', 'name': 'bitmap0',"
                                 "  'granularity': 512}}");
        g_assert_cmpint(query_dirty(f), ==, 0);
        before = vq_fast_count(f);
        for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
            vq_fast_do(f, vq, VIRTIO_BLK_T_OUT, 5000 + 10 * vq, 512, 7);
            vq_fast_do(f, vq, VIRTIO_BLK_T_OUT, 5000 + 10 * vq + 1, 1024, 7);
            vq_fast_do(f, vq, VIRTIO_BLK_T_OUT, 5000 + 10 * vq + 1, 512, 8);
        }
        g_assert_cmpuint(vq_fast_count(f), ==, before);
        g_assert_cmpint(query_dirty(f), ==, VQ_FAST_QUEUES * 1536);
        for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
            vq_fast_do(f, vq, VIRTIO_BLK_T_IN, 5001 + 10 * vq, 512, 8);
        }
        g_assert_cmpuint(vq_fast_count(f), ==, before + VQ_FAST_QUEUES);
        g_assert_cmpint(query_dirty(f), ==, VQ_FAST_QUEUES * 1536);
        vq_fast_meanwhile(f, BITMAP("remove", ""));
    }
    vq_fast_free(f);
}

/* A bitmap that is added has what is written at the same time, or after */
static void test_dirty_in_flight(void)
{
    VqFast *f = new_slow();

    vq_fast_begin(f);
    vq_fast_wait_in_flight(f);
    qtest_qmp_assert_success(f->t->qts, "{'execute': 'block-dirty-bitmap-add',"
                             " 'arguments': {'node': 'slow', 'name': 'b',"
                             "  'granularity': 512}}");
    vq_fast_end(f);
    /* As on the general path: those that had begun */
    g_assert_cmpint(query_dirty(f), ==, VQ_FAST_QUEUES * VQ_FAST_LEN);
    vq_fast_free(f);
}

static void add_target(VqFast *f, const char *path)
{
    qtest_qmp_assert_success(f->t->qts, "{'execute': 'blockdev-add',"
                             " 'arguments': {'driver': 'raw', 'node-name':"
                             " 'target', 'file': {'driver': 'file',"
                             " 'filename': %s}}}", path);
}

static char *create_image(off_t size)
{
    char *path;
    int fd = g_file_open_tmp("vq-fast.XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    return path;
}

/* A mirror that is cancelled, and one that the disk goes to */
static void test_mirror(const void *opaque)
{
    bool completes = GPOINTER_TO_UINT(opaque);
    g_autofree char *path = create_image(VQ_TEST_DISK_SIZE);
    VqFast *f = new_file("raw");

    add_target(f, path);
    vq_fast_round(f, FAST_BOTH);
    vq_fast_meanwhile(f, completes ?
        COMMAND("blockdev-mirror", "\"job-id\":\"job0\",\"device\":\"raw\","
                "\"target\":\"target\",\"sync\":\"full\"") :
        COMMAND("blockdev-mirror", "\"job-id\":\"job0\",\"device\":\"raw\","
                "\"target\":\"target\",\"sync\":\"full\",\"speed\":1"));
    vq_fast_round(f, FAST_NONE);
    if (completes) {
        qobject_unref(vq_fast_wait_event(f, "BLOCK_JOB_READY"));
        vq_fast_round(f, FAST_NONE);
        vq_fast_meanwhile(f, COMMAND("job-complete", "\"id\":\"job0\""));
        qobject_unref(vq_fast_wait_event(f, "BLOCK_JOB_COMPLETED"));
        f->path = path;
    } else {
        vq_fast_meanwhile(f, COMMAND("block-job-cancel",
                                     "\"device\":\"job0\",\"force\":true"));
        qobject_unref(vq_fast_wait_event(f, "BLOCK_JOB_CANCELLED"));
    }
    vq_fast_wait(f);
    vq_fast_round(f, FAST_BOTH);
    vq_fast_begin(f);
    vq_fast_end(f);
    vq_fast_free(f);
    g_unlink(path);
}

/* A backup's filter looks at each write first */
static void test_backup(void)
{
    g_autofree char *path = create_image(VQ_TEST_DISK_SIZE);
    VqFast *f = new_file("raw");
    g_autofree uint8_t *old = g_malloc(VQ_FAST_LEN);
    int fd;

    add_target(f, path);
    vq_fast_do(f, 1, VIRTIO_BLK_T_OUT, 30000, VQ_FAST_LEN, 0x11);
    vq_fast_meanwhile(f, COMMAND(
        "blockdev-backup", "\"job-id\":\"job0\",\"device\":\"raw\","
        "\"target\":\"target\",\"sync\":\"full\",\"speed\":1"));
    vq_fast_round(f, FAST_NONE);
    vq_fast_do(f, 2, VIRTIO_BLK_T_OUT, 30000, VQ_FAST_LEN, 0x22);
    vq_fast_check_file(f, 30000, VQ_FAST_LEN, 0x22);

    /* What was there when the backup began */
    fd = open(path, O_RDONLY);
    g_assert_cmpint(pread(fd, old, VQ_FAST_LEN, 30000 * VQ_TEST_SECTOR), ==,
                    VQ_FAST_LEN);
    close(fd);
    for (unsigned i = 0; i < VQ_FAST_LEN; i++) {
        g_assert_cmphex(old[i], ==, 0x11);
    }

    vq_fast_meanwhile(f, COMMAND("block-job-cancel",
                                 "\"device\":\"job0\",\"force\":true"));
    qobject_unref(vq_fast_wait_event(f, "BLOCK_JOB_CANCELLED"));
    vq_fast_wait(f);
    vq_fast_round(f, FAST_BOTH);
    vq_fast_free(f);
    g_unlink(path);
}

/* An overlay, and back to what is below it */
static void test_snapshot(void)
{
    g_autofree char *path = create_image(0);
    VqFast *f = new_file("raw");

    vq_fast_round(f, FAST_BOTH);
    vq_fast_begin(f);
    qtest_qmp_assert_success(f->t->qts, "{'execute':"
                             " 'blockdev-snapshot-sync', 'arguments':"
                             " {'node-name': 'raw', 'snapshot-file': %s,"
                             "  'snapshot-node-name': 'overlay'}}", path);
    f->path = NULL;
    vq_fast_end(f);
    vq_fast_round(f, FAST_NONE);
    vq_fast_meanwhile(f, COMMAND("block-commit", "\"job-id\":\"job0\","
                                 "\"device\":\"overlay\""));
    qobject_unref(vq_fast_wait_event(f, "BLOCK_JOB_READY"));
    vq_fast_round(f, FAST_NONE);
    vq_fast_meanwhile(f, COMMAND("job-complete", "\"id\":\"job0\""));
    qobject_unref(vq_fast_wait_event(f, "BLOCK_JOB_COMPLETED"));
    f->path = f->t->image;
    vq_fast_wait(f);
    vq_fast_round(f, FAST_BOTH);
    vq_fast_free(f);
    g_unlink(path);
}

/* The guest turns the write cache off, and on again */
static void test_write_cache(void)
{
    VqFast *f = new_file("raw");
    QVirtioPCIDevice *pci = f->t->pci;
    uint64_t wce = pci->device_cfg_offset +
                   offsetof(struct virtio_blk_config, wce);

    g_assert_cmphex(f->t->vdev->features & (1ull << VIRTIO_BLK_F_CONFIG_WCE),
                    !=, 0);
    for (unsigned i = 0; i < TIMES; i++) {
        vq_fast_round(f, FAST_BOTH);
        vq_fast_begin(f);
        qpci_io_writeb(pci->pdev, pci->bar, wce, 0);
        vq_fast_end(f);
        vq_fast_round(f, FAST_READS);
        vq_fast_begin(f);
        qpci_io_writeb(pci->pdev, pci->bar, wce, 1);
        vq_fast_end(f);
    }
    vq_fast_round(f, FAST_BOTH);
    vq_fast_free(f);
}

/* What waits for the requests that are in flight */
typedef struct Drain {
    const char *name;
    const char *command;
    const char *undo;       /* or NULL */
    bool fails;             /* but drains the node first */
} Drain;

#define SIMPLE(name) "{\"execute\":\"" name "\"}"

static const Drain drains[] = {
    { "stop", SIMPLE("stop"), SIMPLE("cont") },
    { "export", EXPORT("slow"), UNEXPORT },
    { "other-parent",
      ADD("\"driver\":\"raw\",\"node-name\":\"other\",\"file\":\"slow\","
          "\"read-only\":true"), DEL("other") },
    { "io-limits", LIMITS("100000"), LIMITS("0") },
    { "backup", COMMAND("blockdev-backup", "\"job-id\":\"job0\","
                        "\"device\":\"slow\",\"target\":\"target\","
                        "\"sync\":\"none\""),
      COMMAND("block-job-cancel", "\"device\":\"job0\",\"force\":true") },
    { "mirror", COMMAND("blockdev-mirror", "\"job-id\":\"job0\","
                        "\"device\":\"slow\",\"target\":\"target\","
                        "\"sync\":\"none\""),
      COMMAND("block-job-cancel", "\"device\":\"job0\",\"force\":true") },
    { "resize", COMMAND("block_resize",
                        "\"node-name\":\"slow\",\"size\":33554432"), NULL,
      true },
    { "reopen", COMMAND("blockdev-reopen", "\"options\":[{\"driver\":"
                        "\"null-co\",\"node-name\":\"slow\",\"size\":16777216,"
                        "\"latency-ns\":200000000,\"detect-zeroes\":"
                        "\"unmap\"}]"), NULL, true },
};

/* Send @command; its answer comes when all requests are complete */
static void test_drain(const void *opaque)
{
    const Drain *d = opaque;
    VqFast *f = new_slow();
    QTestState *qts = f->t->qts;
    g_autofree char *path = g_strconcat(f->t->log, ".nbd", NULL);
    uint64_t before = vq_fast_count(f);
    QDict *answer;

    qtest_qmp_assert_success(qts, "{'execute': 'nbd-server-start',"
                             " 'arguments': {'addr': {'type': 'unix',"
                             " 'data': {'path': %s}}}}", path);
    qtest_qmp_assert_success(qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'target',"
                             "  'size': 16777216}}");
    vq_fast_begin(f);
    vq_fast_wait_in_flight(f);
    g_assert_cmpuint(vq_fast_count(f), ==, before + 3 * VQ_FAST_QUEUES);
    qtest_qmp_send_raw(qts, "%s", d->command);
    answer = qtest_qmp_receive(qts);
    g_assert_cmpint(qdict_haskey(answer, "error"), ==, d->fails);
    qobject_unref(answer);
    vq_fast_assert_all_done(f);

    if (d->undo) {
        qtest_qmp_send_raw(qts, "%s", d->undo);
        answer = qtest_qmp_receive(qts);
        g_assert_true(qdict_haskey(answer, "return"));
        qobject_unref(answer);
    }
    vq_fast_end(f);
    vq_fast_wait(f);
    vq_fast_round(f, FAST_BOTH);
    vq_fast_free(f);
    g_unlink(path);
}

static void assert_none_in_flight(VqFast *f)
{
    VqQueues queues;

    vq_queues_query(f->t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
        g_assert_cmpuint(queues.vq[vq].in_flight, ==, 0);
    }
}

/* The driver resets the disk under its requests */
static void test_reset(void)
{
    VqFast *f = new_slow();

    for (unsigned i = 0; i < TIMES; i++) {
        vq_fast_begin(f);
        vq_fast_wait_in_flight(f);
        qvirtio_reset(f->t->vdev);
        assert_none_in_flight(f);
        vq_fast_assert_all_done(f);
        vq_fast_reset(f);
        vq_fast_round(f, FAST_BOTH);
    }
    vq_fast_free(f);
}

/* The machine is reset under them */
static void test_system_reset(void)
{
    VqFast *f = new_slow();

    vq_fast_begin(f);
    vq_fast_wait_in_flight(f);
    qtest_qmp_assert_success(f->t->qts, "{'execute': 'system_reset'}");
    qobject_unref(vq_fast_wait_event(f, "RESET"));
    assert_none_in_flight(f);
    vq_fast_assert_all_done(f);
    vq_fast_free(f);
}

/* The guest gives it up under its requests, and QEMU ends under others */
static void test_unplug(const void *opaque)
{
    bool quits = GPOINTER_TO_UINT(opaque);
    VqFast *f = new_slow();

    vq_fast_begin(f);
    vq_fast_wait_in_flight(f);
    if (!quits) {
        qtest_qmp_device_del_send(f->t->qts, "disk0");
        vq_plug_eject(f->t->qts, VQ_FAST_SLOT);
        vq_plug_wait_gone(f->t->qts, "disk0");
        vq_fast_assert_all_done(f);
        for (unsigned i = 0; i < VQ_FAST_IOTHREADS; i++) {
            g_autofree char *id = g_strdup_printf("iothread%u", i);

            g_assert_null(vq_plug_object_del(f->t->qts, id));
        }
        qtest_qmp_assert_success(f->t->qts, "{'execute': 'blockdev-del',"
                                 " 'arguments': {'node-name': 'slow'}}");
    }
    vq_fast_free(f);
}

static void add(const char *name, const char *what, const void *data,
                GTestDataFunc func)
{
    g_autofree char *path =
        g_strdup_printf("/virtio-blk-fast-path-changes/%s/%s", name, what);

    qtest_add_data_func(path, data, func);
}

int main(int argc, char **argv)
{
    static const char *const traces[] = {
        "blk_co_preadv", "blk_co_pwritev", "bdrv_co_preadv_part",
        "bdrv_co_pwritev_part",
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
        add("meanwhile", changes[i].name, &changes[i], test_change);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(traces); i++) {
        add("trace", traces[i], traces[i], test_trace);
    }
    qtest_add_func("/virtio-blk-fast-path-changes/dirty/exact", test_dirty);
    qtest_add_func("/virtio-blk-fast-path-changes/dirty/in-flight",
                   test_dirty_in_flight);
    add("mirror", "cancelled", GUINT_TO_POINTER(false), test_mirror);
    add("mirror", "completed", GUINT_TO_POINTER(true), test_mirror);
    qtest_add_func("/virtio-blk-fast-path-changes/backup", test_backup);
    qtest_add_func("/virtio-blk-fast-path-changes/snapshot", test_snapshot);
    qtest_add_func("/virtio-blk-fast-path-changes/write-cache",
                   test_write_cache);
    for (unsigned i = 0; i < ARRAY_SIZE(drains); i++) {
        add("drain", drains[i].name, &drains[i], test_drain);
    }
    qtest_add_func("/virtio-blk-fast-path-changes/reset", test_reset);
    qtest_add_func("/virtio-blk-fast-path-changes/system-reset",
                   test_system_reset);
    add("unplug", "eject", GUINT_TO_POINTER(false), test_unplug);
    add("unplug", "quit", GUINT_TO_POINTER(true), test_unplug);
    return g_test_run();
}
