/*
 * qtests of virtqueues that are moved from IOThread to IOThread under load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "libqmp.h"
#include "vq-load/load.h"
#include "vq-queues.h"
#include "vq-remap.h"
#include "vq-watchdog.h"

#define NUM_QUEUES 8
#define NUM_IOTHREADS 4
#define MAIN_LOOP (-1)
#define DISK "disk0"

typedef struct Case {
    const char *name;
    const char *options;    /* as on vq-load's command line */
    unsigned moves;         /* at least, in the fast mode */
} Case;

/* A load, and who serves it */
typedef struct Run {
    VqLoadConfig config;
    VqLoad *load;
    QTestState *qts;
    uint32_t seed;
    GRand *rand;
    int owners[NUM_QUEUES];
    GArray *times;          /* that virtqueues were away */
    char *node;             /* at the top of the disk, if it is another one */
} Run;

static VqLoadConfig parse(const char *options)
{
    g_autofree char *line = g_strdup_printf(
        "--qemu %s --queues %u --stall 30 %s",
        g_getenv("QTEST_QEMU_BINARY"), NUM_QUEUES, options);

    return vq_load_config_parse_line(line);
}

/* The answer has those whose owner is another one now, and only these */
static void assert_moves(const VqRemapResult *result, const int *before,
                         const int *after)
{
    unsigned n = 0;

    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_autofree char *to = g_strdup_printf("iothread%d", after[vq]);

        if (before[vq] == after[vq]) {
            continue;
        }
        g_assert_cmpuint(n, <, result->num);
        g_assert_cmpuint(result->moves[n].index, ==, vq);
        g_assert_cmpstr(result->moves[n].to, ==,
                        after[vq] == MAIN_LOOP ? "" : to);
        g_assert_cmpint(result->moves[n].unserved_ns, >, 0);
        n++;
    }
    g_assert_cmpuint(n, ==, result->num);
    g_assert_cmpstr(result->node, !=, "in-use");
}

/* Each virtqueue goes on, in the thread that it was given */
static void assert_served(QTestState *qts, const int *owners)
{
    gint64 deadline = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    VqQueues before, after;
    unsigned vq = 0;

    vq_queues_query(qts, DISK, &before);
    while (vq < NUM_QUEUES) {
        g_autofree char *name = g_strdup_printf("iothread%d", owners[vq]);

        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(qts, DISK, &after);
        g_assert_cmpstr(after.vq[vq].iothread, ==,
                        owners[vq] == MAIN_LOOP ? "" : name);
        if (vq_queues_requests(&after.vq[vq]) >
            vq_queues_requests(&before.vq[vq])) {
            vq++;
        }
    }
}

static void new_owners(GRand *rand, int *owners)
{
    switch (g_rand_int_range(rand, 0, 8)) {
    case 0:
        for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
            owners[vq] = MAIN_LOOP;
        }
        break;
    case 1:
        for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
            owners[vq] = vq % NUM_IOTHREADS;
        }
        break;
    case 2:
    case 3:
        for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
            owners[vq] = g_rand_int_range(rand, 0, NUM_IOTHREADS);
        }
        break;
    default:
        if (owners[0] == MAIN_LOOP) {
            for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
                owners[vq] = 0;
            }
        }
        /* One of those that the block node does not go with */
        owners[g_rand_int_range(rand, 1, NUM_QUEUES)] =
            g_rand_int_range(rand, 0, NUM_IOTHREADS);
    }
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static Run *run_begin(const char *options)
{
    Run *run = g_new0(Run, 1);
    g_autofree char *error = NULL;

    run->config = parse(options);
    run->seed = g_test_rand_int();
    run->rand = g_rand_new_with_seed(run->seed);
    run->times = g_array_new(false, false, sizeof(int64_t));
    run->load = vq_load_new(&run->config, &error);
    g_assert_cmpstr(error, ==, NULL);
    run->qts = vq_load_guest(run->load)->qts;
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        run->owners[vq] = vq % NUM_IOTHREADS;
    }
    vq_load_start(run->load);
    vq_load_count(run->load);
    return run;
}

/* Give virtqueues to run->owners, who were @old */
static void run_move_from(Run *run, const int *old)
{
    g_autofree char *mapping = run->owners[0] == MAIN_LOOP
        ? NULL : vq_remap_mapping(run->owners, NUM_QUEUES);
    VqRemapResult result;

    vq_remap(run->qts, DISK, mapping, &result);
    assert_moves(&result, old, run->owners);
    for (unsigned i = 0; i < result.num; i++) {
        g_array_append_val(run->times, result.moves[i].unserved_ns);
    }
}

/* Give them to others */
static void run_move(Run *run)
{
    int old[NUM_QUEUES];

    memcpy(old, run->owners, sizeof(old));
    new_owners(run->rand, run->owners);
    run_move_from(run, old);
}

/* And see that all go on */
static void run_move_served(Run *run)
{
    VqWatchdog *dog = vq_watchdog_begin(vq_load_guest(run->load)->pid, 60);

    run_move(run);
    assert_served(run->qts, run->owners);
    vq_watchdog_end(dog);
    g_assert_false(vq_load_is_over(run->load));
}

static void run_end(Run *run)
{
    g_autofree char *error = vq_load_stop(run->load);
    uint64_t requests = 0;

    g_assert_cmpstr(error, ==, NULL);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        requests += vq_load_stats(run->load, vq)->requests;
    }
    g_array_sort(run->times, compare_times);
    g_test_message("%u moves, away for us: p50 %.1f p99 %.1f max %.1f; "
                   "%" PRIu64 " requests; seed %u", run->times->len,
                   g_array_index(run->times, int64_t,
                                 run->times->len / 2) / 1e3,
                   g_array_index(run->times, int64_t,
                                 run->times->len * 99 / 100) / 1e3,
                   g_array_index(run->times, int64_t,
                                 run->times->len - 1) / 1e3,
                   requests, run->seed);
    vq_load_free(run->load);
    g_array_free(run->times, true);
    g_rand_free(run->rand);
    g_free(run->node);
    g_free(run);
}

static void test_load(const void *opaque)
{
    const Case *c = opaque;
    unsigned wanted = c->moves * (g_test_slow() ? 20 : 1);
    Run *run = run_begin(c->options);

    while (run->times->len < wanted) {
        run_move_served(run);
    }
    run_end(run);
}

#define VERIFIED "--iothreads 4 --backend raw --aio io_uring --depth 32 " \
    "--verify --disk-size 8388608 "

/*
 * While a job copies the disk into a snapshot of it. The guest's requests do
 * so as well, so that each job is a short one.
 */
static void test_stream(void)
{
    Run *run = run_begin(VERIFIED "--mix read=4,write=4,flush=1");
    unsigned rounds = g_test_slow() ? 300 : 15;
    unsigned during = 0;

    for (unsigned i = 0; i < rounds; i++) {
        g_autofree char *file = g_build_filename(g_get_tmp_dir(),
                                                 "vq-remap.XXXXXX", NULL);
        g_autofree char *node = g_strdup_printf("overlay%u", i);
        QDict *event = NULL;
        int fd = g_mkstemp(file);

        g_assert_cmpint(fd, >=, 0);
        close(fd);
        qtest_qmp_assert_success(
            run->qts, "{'execute': 'blockdev-snapshot-sync', 'arguments':"
            " {'node-name': %s, 'snapshot-node-name': %s, 'format': 'qcow2',"
            "  'snapshot-file': %s}}", i ? run->node : "disk", node, file);
        g_unlink(file);
        g_free(run->node);
        run->node = g_steal_pointer(&node);
        qtest_qmp_assert_success(run->qts, "{'execute': 'block-stream',"
                                 " 'arguments': {'job-id': 'stream',"
                                 "  'device': %s, 'speed': 1048576}}",
                                 run->node);
        while (!event) {
            run_move_served(run);
            during++;
            event = qtest_qmp_event_ref(run->qts, "BLOCK_JOB_COMPLETED");
        }
        g_assert_false(qdict_haskey(qdict_get_qdict(event, "data"), "error"));
        qobject_unref(event);
    }
    g_test_message("%u jobs, %u mappings while one ran", rounds, during);
    run_end(run);
}

static bool is_status(QDict *event, const char *status)
{
    QDict *data = qdict_get_qdict(event, "data");
    bool is = g_str_equal(qdict_get_str(data, "status"), status);

    qobject_unref(event);
    return is;
}

/* Has the job come to @status since the last call? */
static bool mirror_has_status(QTestState *qts, const char *status)
{
    QDict *event;

    while ((event = qtest_qmp_event_ref(qts, "JOB_STATUS_CHANGE"))) {
        if (is_status(event, status)) {
            return true;
        }
    }
    return false;
}

static void mirror_wait(QTestState *qts, const char *status)
{
    while (!is_status(qtest_qmp_eventwait_ref(qts, "JOB_STATUS_CHANGE"),
                      status)) {
        ;
    }
}

/* A mirror that has nothing to copy but what the guest writes, until "ready" */
static void mirror_start(QTestState *qts, bool auto_finalize)
{
    qtest_qmp_assert_success(qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'copy',"
                             "  'size': 8388608}}");
    qtest_qmp_assert_success(qts, "{'execute': 'blockdev-mirror', 'arguments':"
                             " {'job-id': 'mirror', 'device': 'disk',"
                             "  'target': 'copy', 'sync': 'none',"
                             "  'copy-mode': 'write-blocking',"
                             "  'auto-finalize': %i}}", auto_finalize);
    mirror_wait(qts, "ready");
}

/* Let it end, and not have the disk use the copy */
static void mirror_end(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{'execute': 'block-job-cancel',"
                             " 'arguments': {'device': 'mirror'}}");
}

static void mirror_forget(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{'execute': 'blockdev-del', 'arguments':"
                             " {'node-name': 'copy'}}");
}

/* Requests of all virtqueues; none is in flight */
static uint64_t count_idle(QTestState *qts)
{
    uint64_t requests = 0;
    VqQueues queues;

    vq_queues_query(qts, DISK, &queues);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpuint(queues.vq[vq].in_flight, ==, 0);
        requests += vq_queues_requests(&queues.vq[vq]);
    }
    return requests;
}

/*
 * Within a drained section. A mirror begins it before it looks for the last
 * time whether all is copied, and ends it when it is finalized.
 */
static void test_drained(void)
{
    Run *run = run_begin(VERIFIED);

    for (unsigned i = 0; i < (g_test_slow() ? 200 : 10); i++) {
        VqWatchdog *dog = vq_watchdog_begin(vq_load_guest(run->load)->pid, 60);
        uint64_t requests;

        mirror_start(run->qts, false);
        mirror_end(run->qts);
        mirror_wait(run->qts, "pending");
        requests = count_idle(run->qts);
        for (unsigned moves = g_rand_int_range(run->rand, 1, 4); moves > 0;
             moves--) {
            run_move(run);
        }
        g_usleep(10 * 1000);
        g_assert_cmpuint(count_idle(run->qts), ==, requests);

        qtest_qmp_assert_success(run->qts, "{'execute': 'job-finalize',"
                                 " 'arguments': {'id': 'mirror'}}");
        mirror_wait(run->qts, "null");
        assert_served(run->qts, run->owners);
        mirror_forget(run->qts);
        vq_watchdog_end(dog);
        g_assert_false(vq_load_is_over(run->load));
    }
    run_end(run);
}

/*
 * While jobs end. A mirror does so within a drained section of its own, in
 * which it cannot be paused, when the block node is to go to another thread.
 */
static void test_jobs_end(void)
{
    Run *run = run_begin("--iothreads 4 --backend null-co --depth 8 "
                         "--latency-ns 5000000 --disk-size 8388608");

    for (unsigned i = 0; i < (g_test_slow() ? 1000 : 50); i++) {
        VqWatchdog *dog = vq_watchdog_begin(vq_load_guest(run->load)->pid, 60);

        mirror_start(run->qts, true);
        mirror_end(run->qts);
        do {
            int old[NUM_QUEUES];

            memcpy(old, run->owners, sizeof(old));
            run->owners[0] = (run->owners[0] + 1) % NUM_IOTHREADS;
            run_move_from(run, old);
        } while (!mirror_has_status(run->qts, "null"));
        mirror_forget(run->qts);
        vq_watchdog_end(dog);
        g_assert_false(vq_load_is_over(run->load));
    }
    run_end(run);
}

static const Case cases[] = {
    { "null-co", "--iothreads 4 --backend null-co --depth 64", 400 },
    { "null-co/no-polling",
      "--iothreads 4 --backend null-co --depth 64 --poll-max-ns 0", 400 },
    { "verified", "--iothreads 4 --backend raw --aio io_uring --depth 32 "
      "--verify --mix read=4,write=4,flush=1,discard=1,write-zeroes=1", 200 },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("vq-remap-load/%s",
                                                cases[i].name);

        qtest_add_data_func(path, &cases[i], test_load);
    }
    qtest_add_func("vq-remap-load/stream", test_stream);
    qtest_add_func("vq-remap-load/drained", test_drained);
    qtest_add_func("vq-remap-load/jobs-end", test_jobs_end);
    return g_test_run();
}
