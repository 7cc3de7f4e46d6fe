/*
 * qtests of virtqueues that are moved from IOThread to IOThread under load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
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
        g_assert_cmpint(result->moves[n].away_ns, >, 0);
        n++;
    }
    g_assert_cmpuint(n, ==, result->num);
    g_assert_false(result->node_stays);
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

static void test_load(const void *opaque)
{
    const Case *c = opaque;
    VqLoadConfig config = parse(c->options);
    g_autoptr(GArray) times = g_array_new(false, false, sizeof(int64_t));
    uint32_t seed = g_test_rand_int();
    GRand *rand = g_rand_new_with_seed(seed);
    unsigned wanted = c->moves * (g_test_slow() ? 20 : 1);
    int owners[NUM_QUEUES];
    g_autofree char *error = NULL;
    uint64_t requests = 0;
    QTestState *qts;
    VqLoad *load;

    load = vq_load_new(&config, &error);
    g_assert_cmpstr(error, ==, NULL);
    qts = vq_load_guest(load)->qts;
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        owners[vq] = vq % NUM_IOTHREADS;
    }

    vq_load_start(load);
    vq_load_count(load);
    while (times->len < wanted) {
        g_autofree char *mapping = NULL;
        int old[NUM_QUEUES];
        VqRemapResult result;
        VqWatchdog *dog;

        memcpy(old, owners, sizeof(old));
        new_owners(rand, owners);
        mapping = owners[0] == MAIN_LOOP
                  ? NULL : vq_remap_mapping(owners, NUM_QUEUES);
        dog = vq_watchdog_begin(vq_load_guest(load)->pid, 60);
        vq_remap(qts, DISK, mapping, &result);
        assert_moves(&result, old, owners);
        assert_served(qts, owners);
        vq_watchdog_end(dog);
        for (unsigned i = 0; i < result.num; i++) {
            g_array_append_val(times, result.moves[i].away_ns);
        }
        g_assert_false(vq_load_is_over(load));
    }
    error = vq_load_stop(load);
    g_assert_cmpstr(error, ==, NULL);

    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        requests += vq_load_stats(load, vq)->requests;
    }
    g_array_sort(times, compare_times);
    g_test_message("%u moves, away for us: p50 %.1f p99 %.1f max %.1f; "
                   "%" PRIu64 " requests; seed %u", times->len,
                   g_array_index(times, int64_t, times->len / 2) / 1e3,
                   g_array_index(times, int64_t, times->len * 99 / 100) / 1e3,
                   g_array_index(times, int64_t, times->len - 1) / 1e3,
                   requests, seed);
    vq_load_free(load);
    g_rand_free(rand);
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
    return g_test_run();
}
