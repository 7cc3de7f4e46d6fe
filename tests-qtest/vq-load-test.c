/*
 * Tests of the load generator, and of disks under its load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-load/load.h"

typedef struct LoadCase {
    const char *name;
    const char *options;    /* as on vq-load's command line */
} LoadCase;

static void test_histogram(void)
{
    g_autofree VqHistogram *h = g_new0(VqHistogram, 1);
    g_autofree VqHistogram *sum = g_new0(VqHistogram, 1);
    static const uint64_t values[] = {
        1, 255, 256, 257, 1000000, 1ull << 40, UINT64_MAX
    };

    g_assert_cmpuint(vq_histogram_percentile(h, 50), ==, 0);
    for (unsigned i = 1; i <= 200; i++) {
        vq_histogram_add(h, i);
    }
    g_assert_cmpuint(vq_histogram_percentile(h, 50), ==, 100);
    g_assert_cmpuint(vq_histogram_percentile(h, 99), ==, 198);
    g_assert_cmpuint(vq_histogram_percentile(h, 99.9), ==, 200);
    g_assert_cmpuint(h->sum, ==, 20100);

    /* Every value is in a bucket that does not exaggerate it by 1 % */
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        uint64_t p;

        memset(h, 0, sizeof(*h));
        vq_histogram_add(h, values[i]);
        h->max = UINT64_MAX;
        p = vq_histogram_percentile(h, 100);
        g_assert_cmpuint(p, >=, values[i]);
        g_assert_cmpuint(p - values[i], <=, values[i] / 100);
        h->max = values[i];
        vq_histogram_merge(sum, h);
    }
    g_assert_cmpuint(sum->count, ==, ARRAY_SIZE(values));
    g_assert_cmpuint(vq_histogram_percentile(sum, 50), >=, 257);
    g_assert_cmpuint(vq_histogram_percentile(sum, 50), <=, 260);
    g_assert_cmpuint(vq_histogram_percentile(sum, 100), ==, UINT64_MAX);
}

/* Begin and end a read of @block that returns @data */
static char *model_read(VqLoadModel *model, uint64_t block, const void *data)
{
    uint64_t poisoned[512];

    vq_load_model_begin(model, VQ_LOAD_READ, block, poisoned);
    g_assert_true(vq_load_model_is_busy(model, block));
    return vq_load_model_end(model, VQ_LOAD_READ, block, data ?: poisoned);
}

/* The model tells right data from data of another write, block or place */
static void test_model(void)
{
    uint64_t first[512], second[512], zeroes[512] = { 0 };
    VqLoadModel *model = vq_load_model_new(7, 16, sizeof(first), true);
    g_autofree char *nothing = model_read(model, 3, NULL);
    g_autofree char *old = NULL, *other = NULL, *part = NULL;

    g_assert_nonnull(nothing);
    g_assert_false(vq_load_model_is_busy(model, 3));
    g_assert_null(model_read(model, 3, zeroes));

    vq_load_model_begin(model, VQ_LOAD_WRITE, 3, first);
    g_assert_null(vq_load_model_end(model, VQ_LOAD_WRITE, 3, first));
    vq_load_model_begin(model, VQ_LOAD_WRITE, 3, second);
    g_assert_null(vq_load_model_end(model, VQ_LOAD_WRITE, 3, second));
    g_assert_null(model_read(model, 3, second));
    old = model_read(model, 3, first);
    g_assert_nonnull(old);
    other = model_read(model, 4, second);
    g_assert_nonnull(other);
    second[300]++;
    part = model_read(model, 3, second);
    g_assert_true(g_str_has_prefix(part, "byte 2400 and on is 0x"));

    vq_load_model_begin(model, VQ_LOAD_WRITE_ZEROES, 3, NULL);
    g_assert_null(vq_load_model_end(model, VQ_LOAD_WRITE_ZEROES, 3, NULL));
    g_assert_null(model_read(model, 3, zeroes));
    vq_load_model_free(model);
}

static VqLoadConfig parse(const char *options)
{
    g_autofree char *line =
        g_strdup_printf("--qemu %s --backend raw --aio threads "
                        "--dir %s --disk-size 8388608 --queues 4 "
                        "--iothreads 2 --depth 8 --verify --requests 500 "
                        "--stall 30 --mix read=10,write=10,flush=1,"
                        "discard=1,write-zeroes=1 %s",
                        g_getenv("QTEST_QEMU_BINARY"), g_get_tmp_dir(),
                        options);

    return vq_load_config_parse_line(line);
}

static VqLoad *start_load(const VqLoadConfig *config)
{
    g_autofree char *error = NULL;
    VqLoad *load = vq_load_new(config, &error);

    g_assert_cmpstr(error, ==, NULL);
    vq_load_start(load);
    vq_load_count(load);
    return load;
}

/* Returns: NULL, or what went wrong */
static char *wait_for_load(VqLoad *load)
{
    for (unsigned i = 0; !vq_load_is_over(load); i++) {
        g_assert_cmpuint(i, <, 100 * 1000);
        g_usleep(1000);
    }
    return vq_load_stop(load);
}

static void test_load(const void *opaque)
{
    const LoadCase *c = opaque;
    VqLoadConfig config = parse(c->options);
    VqLoad *load = start_load(&config);

    g_assert_cmpstr(wait_for_load(load), ==, NULL);
    for (unsigned i = 0; i < config.queues; i++) {
        const VqLoadStats *stats = vq_load_stats(load, i);

        g_assert_cmpuint(stats->requests, >=, config.requests);
        g_assert_cmpuint(stats->requests, ==, stats->latency.count);
        g_assert_cmpuint(stats->failed, ==, 0);
    }
    vq_load_free(load);
}

static const LoadCase load_cases[] = {
    { "split/indirect", "" },
    { "split/direct", "--no-indirect --segments 2" },
    { "split/no-event-idx", "--no-event-idx" },
    { "split/msix", "--msix" },
    { "packed/indirect", "--packed" },
    { "packed/direct", "--packed --no-indirect --segments 2" },
    { "packed/no-event-idx", "--packed --no-event-idx --msix" },
    { "packed/msix", "--packed --msix" },
    { "legacy/indirect", "--legacy" },
    { "legacy/msix", "--legacy --msix --no-indirect" },
    { "q35", "--machine q35" },
    { "qtest-kicks", "--qtest-kicks" },
    { "main-loop", "--iothreads 0" },
    { "no-polling", "--poll-max-ns 0" },
    { "sequential/merged", "--pattern sequential --mix read=1,write=1" },
    { "sequential/unmerged",
      "--pattern sequential --mix read=1,write=1 --merge off" },
    { "large", "--block-size 65536 --segments 16" },
    { "wave", "--wave --threads 2" },
    { "depth-1", "--depth 1" },
    { "hot", "--hot 1,3 --cold-ns 10000" },
    { "io_uring", "--aio io_uring" },
    { "buffered", "--aio io_uring --buffered" },
    { "null-co", "--backend null-co" },
    { "latency", "--backend null-co --latency-ns 100000" },
};

static void test_consumer(void)
{
    VqLoadConfig config = parse("");
    VqLoad *load;

    config.qemu = NULL;
    config.verify = false;
    load = start_load(&config);
    g_assert_cmpstr(wait_for_load(load), ==, NULL);
    vq_load_free(load);
}

/* Data that somebody else has changed is found out */
static void test_wrong_data(void)
{
    VqLoadConfig config = parse("--requests 0 --mix read=1,write=1");
    VqLoad *load = start_load(&config);
    const char *image = vq_load_guest(load)->image;
    g_autofree char *error = NULL;

    /* Until something that was written is read again */
    while (!vq_load_is_over(load)) {
        g_assert_cmpint(truncate(image, 0), ==, 0);
        g_assert_cmpint(truncate(image, config.disk_size), ==, 0);
        g_usleep(1000);
    }
    error = wait_for_load(load);
    g_assert_nonnull(strstr(error, "(read of 4096 bytes at sector "));
    g_assert_nonnull(strstr(error, "is 0x0000000000000000 instead of 0x"));
    vq_load_free(load);
}

/* A request that is not served is named, and in bounded time */
static void test_stall(void)
{
    VqLoadConfig config = parse("--requests 0 --stall 0.2");
    VqLoad *load = start_load(&config);
    g_autofree char *error = NULL;

    g_usleep(50 * 1000);
    qtest_qmp_assert_success(vq_load_guest(load)->qts, "{'execute': 'stop'}");
    error = wait_for_load(load);
    g_assert_true(g_str_has_prefix(error, "virtqueue "));
    g_assert_nonnull(strstr(error, ": not completed after "));
    vq_load_free(load);
}

/* Kicks go to the right virtqueue, and interrupts come from it */
static void test_counts(void)
{
    VqLoadConfig config = parse("--msix --poll-max-ns 0 --depth 1");
    VqLoad *load = start_load(&config);

    g_assert_cmpstr(wait_for_load(load), ==, NULL);
    for (unsigned i = 0; i < config.queues; i++) {
        const VqLoadStats *stats = vq_load_stats(load, i);

        g_assert_cmpint(vq_load_guest(load)->queues[i].notifier, >=, 0);
        /* Nobody polls, so that almost each request needs one of each */
        g_assert_cmpuint(stats->kicks, >, config.requests / 2);
        g_assert_cmpuint(stats->interrupts, >, config.requests / 10);
    }
    vq_load_free(load);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("vq-load/histogram", test_histogram);
    qtest_add_func("vq-load/model", test_model);
    for (unsigned i = 0; i < ARRAY_SIZE(load_cases); i++) {
        g_autofree char *path = g_strdup_printf("vq-load/%s",
                                                load_cases[i].name);

        qtest_add_data_func(path, &load_cases[i], test_load);
    }
    qtest_add_func("vq-load/consumer", test_consumer);
    qtest_add_func("vq-load/wrong-data", test_wrong_data);
    qtest_add_func("vq-load/stall", test_stall);
    qtest_add_func("vq-load/counts", test_counts);
    return g_test_run();
}
