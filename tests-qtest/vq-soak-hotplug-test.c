/*
 * Disks with iothread-vq-mapping that come and go beside one under load
 *
 * With -m slow this runs for minutes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-load/load.h"
#include "vq-plug.h"
#include "vq-soak-disk.h"
#include "vq-soak-state.h"

/*
 * Disks that are plugged at a time. RCU callbacks, which free unplugged
 * devices, run at once when there are many, but late when there are few.
 */
#define DISKS 8
#define FIRST_SLOT 5

/*
 * malloc() needs a while until it has seen the worst that the load can bring.
 * Forgetting one device in each round costs 100 KiB a round.
 */
typedef struct SoakCase {
    const char *path;
    unsigned warmup;        /* rounds */
    unsigned rounds;
    unsigned rss_percent;   /* by which the resident set may grow */
} SoakCase;

static const SoakCase soak_short = { "/vq-soak-hotplug/short", 64, 64, 10 };
static const SoakCase soak_long = { "/vq-soak-hotplug/long", 1000, 10000, 1 };

typedef struct Soak {
    VqLoadConfig config;
    VqLoad *load;
    VqGuest *guest;
    QTestState *qts;
    VqSoakDisk disks[DISKS];
    unsigned round;
} Soak;

/* iothread0 and iothread1 serve the disk under load too, extra0 does not */
static const char *const mappings[] = {
    "\"iothread-vq-mapping\":[{\"iothread\":\"iothread0\"},"
    "{\"iothread\":\"extra0\"}]",
    "\"iothread-vq-mapping\":[{\"iothread\":\"extra0\",\"vqs\":[0]},"
    "{\"iothread\":\"iothread1\",\"vqs\":[1]}]",
    "\"iothread-vq-mapping\":[{\"iothread\":\"extra0\",\"vqs\":[1,0]}]",
    "\"iothread\":\"extra0\"",
    "\"x-iothreads\":2",
};

static void add_extra_iothread(Soak *s)
{
    qtest_qmp_assert_success(s->qts, "{'execute': 'object-add', 'arguments':"
                             " {'qom-type': 'iothread', 'id': 'extra0'}}");
}

static void soak_init(Soak *s)
{
    g_autofree char *error = NULL;

    s->config = vq_load_config_default();
    s->config.qemu = g_getenv("QTEST_QEMU_BINARY");
    s->config.backend = "raw";
    s->config.dir = g_get_tmp_dir();
    s->config.disk_size = 8 * 1024 * 1024;
    s->config.queues = 2;
    s->config.iothreads = 2;
    s->config.depth = 8;
    s->config.mix[VQ_LOAD_READ] = 1;
    s->config.mix[VQ_LOAD_WRITE] = 1;
    s->config.verify = true;
    s->config.stall = 180;
    s->load = vq_load_new(&s->config, &error);
    g_assert_cmpstr(error, ==, NULL);
    s->guest = vq_load_guest(s->load);
    s->qts = s->guest->qts;
    for (unsigned i = 0; i < s->config.queues; i++) {
        /* Else generators would use the qtest socket, which we do */
        g_assert_cmpint(s->guest->queues[i].notifier, >=, 0);
    }
    for (unsigned i = 0; i < DISKS; i++) {
        vq_soak_disk_init(&s->disks[i], s->guest, FIRST_SLOT + i);
    }
    add_extra_iothread(s);
    qtest_qmp_assert_success(s->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'spare'}}");
}

static void soak_cleanup(Soak *s)
{
    for (unsigned i = 0; i < DISKS; i++) {
        vq_soak_disk_cleanup(&s->disks[i]);
    }
    vq_load_free(s->load);
}

/* Plug and unplug DISKS disks, and try what is refused meanwhile */
static void run_batch(Soak *s)
{
    uint64_t pio = s->guest->pcibus->pio_alloc_ptr;
    uint64_t mmio = s->guest->pcibus->mmio_alloc_ptr;
    g_autofree char *refused = NULL;
    g_autofree char *in_use = NULL;
    g_autofree char *unused = NULL;

    g_assert_false(vq_load_is_over(s->load));
    for (unsigned i = 0; i < DISKS; i++) {
        vq_soak_disk_plug(&s->disks[i],
                          mappings[s->round++ % ARRAY_SIZE(mappings)]);
    }
    for (unsigned i = 0; i < DISKS; i++) {
        vq_soak_disk_check(&s->disks[i]);
    }

    refused = vq_plug_try(s->qts, "{\"driver\":\"virtio-blk-pci\",\"drive\":"
                          "\"spare\",\"iothread-vq-mapping\":["
                          "{\"iothread\":\"iothread0\"},"
                          "{\"iothread\":\"nope\"}]}");
    g_assert_cmpstr(refused, ==, "IOThread \"nope\" object does not exist");
    in_use = vq_plug_object_del(s->qts, "extra0");
    g_assert_nonnull(in_use);

    for (unsigned i = 0; i < DISKS; i++) {
        vq_soak_disk_begin_unplug(&s->disks[i]);
    }
    for (unsigned i = 0; i < DISKS; i++) {
        vq_soak_disk_end_unplug(&s->disks[i]);
    }
    unused = vq_plug_object_del(s->qts, "extra0");
    g_assert_cmpstr(unused, ==, NULL);
    add_extra_iothread(s);

    /* libqos would use up the addresses of the BARs */
    s->guest->pcibus->pio_alloc_ptr = pio;
    s->guest->pcibus->mmio_alloc_ptr = mmio;
}

static void run_rounds(Soak *s, unsigned rounds)
{
    g_autofree char *error = NULL;

    vq_load_start(s->load);
    vq_load_count(s->load);
    for (unsigned i = 0; i < rounds; i += DISKS) {
        run_batch(s);
    }
    error = vq_load_stop(s->load);
    g_assert_cmpstr(error, ==, NULL);
}

static void test_soak(const void *opaque)
{
    const SoakCase *c = opaque;
    g_autofree Soak *s = g_new0(Soak, 1);
    VqSoakState before;
    int64_t start_us;
    double seconds;

    soak_init(s);
    run_rounds(s, c->warmup);
    before = vq_soak_state_get(s->qts);
    start_us = g_get_monotonic_time();
    run_rounds(s, c->rounds);
    seconds = (g_get_monotonic_time() - start_us) / 1e6;

    g_test_message("%u rounds in %.1f s, %.0f a second; %" PRIu64 " requests "
                   "of the other disk", c->rounds, seconds, c->rounds / seconds,
                   vq_load_stats(s->load, 0)->requests +
                   vq_load_stats(s->load, 1)->requests);
    vq_soak_state_assert(s->qts, &before, c->rss_percent);
    soak_cleanup(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vq_soak_state_prepare();
    qtest_add_data_func(soak_short.path, &soak_short, test_soak);
    if (g_test_slow()) {
        qtest_add_data_func(soak_long.path, &soak_long, test_soak);
    }
    return g_test_run();
}
