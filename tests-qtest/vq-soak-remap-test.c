/*
 * A disk under verified load whose virtqueues are moved all the time, while
 * whatever else can happen to it and to its IOThreads does happen
 *
 * With -m slow this runs until VQ_SOAK_REQUESTS requests and VQ_SOAK_MOVES
 * moves are done. --seed repeats a run.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "vq-load/load.h"
#include "vq-plug.h"
#include "vq-remap.h"
#include "vq-soak-disk.h"
#include "vq-soak-state.h"
#include "vq-watchdog.h"

#define QUEUES 16
/* Those that are always there, and those that come and go */
#define IOTHREADS 4
#define EXTRA 2
#define MAIN_LOOP (-1)
#define SLOT 5
/* Between two stops of the load, which are what a stop of the VM needs */
#define ACTIONS 200
/* Let the load have its share of time */
#define PAUSE_US 1000
#define LONG_PAUSE_US 20000
/*
 * malloc() needs a while until it has seen the worst that can come, which the
 * few rounds of a short run are not
 */
#define LONG_RSS_PERCENT 10

typedef struct Soak {
    VqLoadConfig config;
    VqLoad *load;
    unsigned pause_us;              /* after each action */
    QTestState *qts;
    VqSoakDisk disk;
    bool plugged;
    uint64_t pio, mmio;             /* libqos's allocators, before the plug */
    int owners[QUEUES];             /* of the loaded disk: MAIN_LOOP, or 0... */
    int disk_owner;                 /* of the other's */
    bool extra[EXTRA];
    char *overlay;                  /* file over the image, or NULL */

    uint64_t requests;
    uint64_t moves;
    uint64_t actions[8];
} Soak;

/* In memory, if that can be: it is not the host's disk that is tested */
static const char *image_dir(void)
{
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : g_get_tmp_dir();
}

/* Id of an IOThread; those from IOTHREADS on come and go. To be freed. */
static char *iothread_id(int index)
{
    return g_strdup_printf("iothread%d", index);
}

static int random_iothread(Soak *s)
{
    int index;

    do {
        index = g_test_rand_int_range(0, IOTHREADS + EXTRA);
    } while (index >= IOTHREADS && !s->extra[index - IOTHREADS]);
    return index;
}

static void remap(Soak *s, const char *device, const int *owners, unsigned num)
{
    g_autofree char *mapping =
        owners[0] == MAIN_LOOP ? NULL : vq_remap_mapping(owners, num);
    VqRemapResult result;

    vq_remap(s->qts, device, mapping, &result);
    g_assert_cmpstr(result.node, !=, "in-use");
    s->moves += result.num;
}

static void remap_loaded(Soak *s)
{
    unsigned kind = g_test_rand_int_range(0, 20);

    if (kind == 0) {
        for (unsigned vq = 0; vq < QUEUES; vq++) {
            s->owners[vq] = MAIN_LOOP;
        }
    } else if (kind <= 2 || s->owners[0] == MAIN_LOOP) {
        for (unsigned vq = 0; vq < QUEUES; vq++) {
            s->owners[vq] = random_iothread(s);
        }
    } else {
        /* Mostly one that the block node does not go with */
        s->owners[g_test_rand_int_range(kind == 3 ? 0 : 1, QUEUES)] =
            random_iothread(s);
    }
    remap(s, "disk0", s->owners, QUEUES);
}

static void plug_or_unplug(Soak *s)
{
    VqGuest *guest = vq_load_guest(s->load);

    if (s->plugged) {
        vq_soak_disk_begin_unplug(&s->disk);
        vq_soak_disk_end_unplug(&s->disk);
        /* libqos would use up the addresses of the BARs */
        guest->pcibus->pio_alloc_ptr = s->pio;
        guest->pcibus->mmio_alloc_ptr = s->mmio;
    } else {
        s->pio = guest->pcibus->pio_alloc_ptr;
        s->mmio = guest->pcibus->mmio_alloc_ptr;
        vq_soak_disk_plug(&s->disk, "\"x-iothreads\":2");
        vq_soak_disk_check(&s->disk);
        s->disk_owner = MAIN_LOOP;
    }
    s->plugged = !s->plugged;
}

static void remap_plugged(Soak *s)
{
    if (s->plugged) {
        int owners[VQ_SOAK_QUEUES];

        s->disk_owner = random_iothread(s);
        for (unsigned vq = 0; vq < VQ_SOAK_QUEUES; vq++) {
            owners[vq] = s->disk_owner;
        }
        remap(s, "plugged5", owners, VQ_SOAK_QUEUES);
        vq_soak_disk_check(&s->disk);
    }
}

static void reset_plugged(Soak *s)
{
    if (s->plugged) {
        vq_soak_disk_reset(&s->disk);
        vq_soak_disk_check(&s->disk);
    }
}

static bool is_used(Soak *s, int iothread)
{
    bool used = s->plugged && s->disk_owner == iothread;

    for (unsigned vq = 0; vq < QUEUES; vq++) {
        used |= s->owners[vq] == iothread;
    }
    return used;
}

static void add_or_delete(Soak *s)
{
    int i = g_test_rand_int_range(0, EXTRA);
    g_autofree char *id = iothread_id(IOTHREADS + i);

    if (s->extra[i]) {
        g_autofree char *error = vq_plug_object_del(s->qts, id);

        g_assert_cmpint(error != NULL, ==, is_used(s, IOTHREADS + i));
        s->extra[i] = error != NULL;
    } else {
        qtest_qmp_assert_success(s->qts, "{'execute': 'object-add',"
                                 " 'arguments': {'qom-type': 'iothread',"
                                 "  'id': %s}}", id);
        s->extra[i] = true;
    }
}

/* A snapshot, which goes back into the image by a mirror of what changes */
static void snapshot_or_commit(Soak *s)
{
    if (!s->overlay) {
        int fd;

        s->overlay = g_strdup_printf("%s/vq-soak.XXXXXX", image_dir());
        fd = g_mkstemp(s->overlay);
        g_assert_cmpint(fd, >=, 0);
        close(fd);
        qtest_qmp_assert_success(s->qts, "{'execute': 'blockdev-snapshot-sync',"
                                 " 'arguments': {'node-name': 'disk',"
                                 "  'snapshot-node-name': 'overlay',"
                                 "  'format': 'qcow2', 'snapshot-file': %s}}",
                                 s->overlay);
        return;
    }
    qtest_qmp_assert_success(s->qts, "{'execute': 'block-commit', 'arguments':"
                             " {'job-id': 'commit', 'device': 'overlay'}}");
    remap_loaded(s);
    qtest_qmp_eventwait(s->qts, "BLOCK_JOB_READY");
    remap_loaded(s);
    qtest_qmp_assert_success(s->qts, "{'execute': 'job-complete', 'arguments':"
                             " {'id': 'commit'}}");
    remap_loaded(s);
    qtest_qmp_eventwait(s->qts, "BLOCK_JOB_COMPLETED");
    g_unlink(s->overlay);
    g_clear_pointer(&s->overlay, g_free);
}

/* How often of 100 actions, beside remapping the disk under load */
static const struct {
    unsigned percent;
    const char *name;
    void (*act)(Soak *s);
} kinds[] = {
    { 84, "remap", remap_loaded },
    { 2, "plug", plug_or_unplug },
    { 4, "remap-plugged", remap_plugged },
    { 2, "reset-plugged", reset_plugged },
    { 7, "iothread", add_or_delete },
    { 1, "snapshot", snapshot_or_commit },
};

static void act(Soak *s)
{
    int left = g_test_rand_int_range(0, 100);
    unsigned i = 0;

    while (left >= (int)kinds[i].percent) {
        left -= kinds[i++].percent;
    }
    kinds[i].act(s);
    s->actions[i]++;
    g_assert_false(vq_load_is_over(s->load));
}

static bool has_notifiers(const VqGuest *guest)
{
    for (unsigned vq = 0; vq < QUEUES; vq++) {
        if (guest->queues[vq].notifier < 0) {
            return false;
        }
    }
    return true;
}

/*
 * Without one, a generator would use the qtest socket, which we do. A host that
 * is busy may take too long to answer when they are looked for.
 */
static void find_notifiers(VqGuest *guest)
{
    for (unsigned tries = 0; !has_notifiers(guest); tries++) {
        g_assert_cmpuint(tries, <, 50);
        vq_guest_restart(guest);
    }
}

static void soak_init(Soak *s)
{
    g_autofree char *error = NULL;

    s->config = vq_load_config_default();
    s->config.qemu = g_getenv("QTEST_QEMU_BINARY");
    s->config.backend = "raw";
    s->config.aio = "io_uring";
    s->config.dir = image_dir();
    s->config.disk_size = 8 * 1024 * 1024;
    s->config.queues = QUEUES;
    s->config.iothreads = IOTHREADS;
    s->config.depth = 16;
    s->config.poll_max_ns = 0;
    s->config.mix[VQ_LOAD_READ] = 8;
    s->config.mix[VQ_LOAD_WRITE] = 8;
    s->config.mix[VQ_LOAD_FLUSH] = 1;
    s->config.verify = true;
    s->config.stall = 60;
    s->load = vq_load_new(&s->config, &error);
    g_assert_cmpstr(error, ==, NULL);
    s->qts = vq_load_guest(s->load)->qts;
    find_notifiers(vq_load_guest(s->load));
    for (unsigned vq = 0; vq < QUEUES; vq++) {
        s->owners[vq] = vq % IOTHREADS;
    }
    vq_soak_disk_init(&s->disk, vq_load_guest(s->load), SLOT);
}

/* Back to where a comparison makes sense */
static void settle(Soak *s)
{
    if (s->plugged) {
        plug_or_unplug(s);
    }
    if (s->overlay) {
        snapshot_or_commit(s);
    }
    for (unsigned vq = 0; vq < QUEUES; vq++) {
        s->owners[vq] = vq % IOTHREADS;
    }
    remap(s, "disk0", s->owners, QUEUES);
    for (unsigned i = 0; i < EXTRA; i++) {
        if (s->extra[i]) {
            g_autofree char *id = iothread_id(IOTHREADS + i);

            g_assert_null(vq_plug_object_del(s->qts, id));
            s->extra[i] = false;
        }
    }
}

static void run_round(Soak *s)
{
    VqGuest *guest = vq_load_guest(s->load);
    VqWatchdog *dog = vq_watchdog_begin(guest->pid, 600);
    g_autofree char *error = NULL;

    vq_load_start(s->load);
    vq_load_count(s->load);
    for (unsigned i = 0; i < ACTIONS; i++) {
        act(s);
        g_usleep(s->pause_us);
    }
    error = vq_load_stop(s->load);
    g_assert_cmpstr(error, ==, NULL);
    for (unsigned vq = 0; vq < QUEUES; vq++) {
        s->requests += vq_load_stats(s->load, vq)->requests;
    }
    /* It looks for the only notifiers that are new */
    if (s->plugged) {
        plug_or_unplug(s);
    }
    vq_guest_restart(guest);
    find_notifiers(guest);
    vq_watchdog_end(dog);
}

static uint64_t wanted(const char *variable, uint64_t otherwise)
{
    const char *text = g_getenv(variable);

    return text ? g_ascii_strtoull(text, NULL, 10) : otherwise;
}

static void test_soak(const void *opaque)
{
    bool is_long = GPOINTER_TO_INT(opaque);
    uint64_t requests = is_long ? wanted("VQ_SOAK_REQUESTS", 100000000) : 1;
    uint64_t moves = is_long ? wanted("VQ_SOAK_MOVES", 20000) : 1;
    unsigned warmup = is_long ? 10 : 1;
    g_autofree Soak *s = g_new0(Soak, 1);
    int64_t start_us = g_get_monotonic_time();
    VqSoakState before;

    soak_init(s);
    s->pause_us = is_long ? LONG_PAUSE_US : PAUSE_US;
    for (unsigned i = 0; i < warmup; i++) {
        run_round(s);
    }
    settle(s);
    before = vq_soak_state_get(s->qts);
    for (unsigned i = 1; i <= warmup || s->requests < requests ||
                         s->moves < moves; i++) {
        run_round(s);
        if (i % 20 == 0) {
            g_test_message("%.0f s: %" PRIu64 " requests, %" PRIu64 " moves",
                           (g_get_monotonic_time() - start_us) / 1e6,
                           s->requests, s->moves);
        }
    }
    settle(s);

    g_test_message("%" PRIu64 " requests verified and %" PRIu64 " moves in "
                   "%.0f s", s->requests, s->moves,
                   (g_get_monotonic_time() - start_us) / 1e6);
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        g_test_message("%s: %" PRIu64, kinds[i].name, s->actions[i]);
    }
    vq_soak_state_assert(s->qts, &before, is_long ? LONG_RSS_PERCENT : 0);
    vq_soak_disk_cleanup(&s->disk);
    vq_load_free(s->load);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vq_soak_state_prepare();
    qtest_add_data_func("/vq-soak-remap/short", GINT_TO_POINTER(false),
                        test_soak);
    if (g_test_slow()) {
        qtest_add_data_func("/vq-soak-remap/long", GINT_TO_POINTER(true),
                            test_soak);
    }
    return g_test_run();
}
