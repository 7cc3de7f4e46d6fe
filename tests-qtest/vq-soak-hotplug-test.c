/*
 * Disks with iothread-vq-mapping that come and go beside one under load
 *
 * With -m slow this runs for minutes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_blk.h"
#include "vq-load/load.h"
#include "vq-plug.h"
#include "vq-test-util.h"

/*
 * Disks that are plugged at a time. RCU callbacks, which free unplugged
 * devices, run at once when there are many, but late when there are few.
 */
#define DISKS 8
#define FIRST_SLOT 5
#define QUEUES 2
#define MAX_RING 1024 /* 10.0 takes no other size from a legacy driver */
#define SECTOR 512
#define SECTORS 128
#define TIMEOUT_US (20 * G_USEC_PER_SEC)

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

static const SoakCase soak_short = { "/vq-soak-hotplug/short", 64, 64, 5 };
static const SoakCase soak_long = { "/vq-soak-hotplug/long", 1000, 10000, 1 };

/* The only request of a virtqueue, in shared memory */
typedef struct SoakRequest {
    struct virtio_blk_outhdr hdr;
    uint8_t data[SECTOR];
    uint8_t status;
} SoakRequest;

typedef struct SoakQueue {
    VqRing ring;
    uint64_t ring_addr;         /* guest physical, as all of them */
    uint64_t request_addr;
    SoakRequest *request;
} SoakQueue;

typedef struct SoakDisk {
    unsigned index;
    char *image;
    QVirtioPCIDevice *pci;
    SoakQueue queues[QUEUES];
} SoakDisk;

/* What must not grow */
typedef struct SoakState {
    unsigned threads;
    unsigned fds;
    unsigned rss_kib;
    unsigned pool_size;
} SoakState;

typedef struct Soak {
    VqLoadConfig config;
    VqLoad *load;
    VqGuest *guest;
    QTestState *qts;
    uint64_t memory;
    SoakDisk disks[DISKS];
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
    "\"iothreads\":2",
};

static VqRingLayout ring_layout(unsigned size)
{
    VqRingLayout layout = { .size = size, .slots = 1, .max_segments = 3 };

    return layout;
}

static void add_extra_iothread(Soak *s)
{
    qtest_qmp_assert_success(s->qts, "{'execute': 'object-add', 'arguments':"
                             " {'qom-type': 'iothread', 'id': 'extra0'}}");
}

static void soak_disk_init(Soak *s, unsigned index)
{
    VqRingLayout layout = ring_layout(MAX_RING);
    size_t ring_bytes = vq_ring_bytes(&layout);
    size_t bytes = ring_bytes + ROUND_UP(sizeof(SoakRequest), 4096);
    SoakDisk *disk = &s->disks[index];
    uint64_t addr = s->memory + index * QUEUES * bytes;
    int fd = g_file_open_tmp("vq-soak.XXXXXX", &disk->image, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, SECTORS * SECTOR), ==, 0);
    close(fd);
    disk->index = index;
    for (unsigned i = 0; i < QUEUES; i++) {
        disk->queues[i].ring_addr = addr + i * bytes;
        disk->queues[i].request_addr = addr + i * bytes + ring_bytes;
        disk->queues[i].request = s->guest->ram +
                                  disk->queues[i].request_addr;
    }
}

static void soak_init(Soak *s)
{
    VqRingLayout layout = ring_layout(MAX_RING);
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
    s->config.stall = 30;
    s->load = vq_load_new(&s->config, &error);
    g_assert_cmpstr(error, ==, NULL);
    s->guest = vq_load_guest(s->load);
    s->qts = s->guest->qts;
    for (unsigned i = 0; i < s->config.queues; i++) {
        /* Else generators would use the qtest socket, which we do */
        g_assert_cmpint(s->guest->queues[i].notifier, >=, 0);
    }
    s->memory = guest_alloc(&s->guest->alloc, DISKS * QUEUES *
                            (vq_ring_bytes(&layout) +
                             ROUND_UP(sizeof(SoakRequest), 4096)));
    for (unsigned i = 0; i < DISKS; i++) {
        soak_disk_init(s, i);
    }
    add_extra_iothread(s);
}

static void soak_cleanup(Soak *s)
{
    for (unsigned i = 0; i < DISKS; i++) {
        g_unlink(s->disks[i].image);
        g_free(s->disks[i].image);
    }
    guest_free(&s->guest->alloc, s->memory);
    vq_load_free(s->load);
}

static void start_driver(Soak *s, SoakDisk *disk)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(FIRST_SLOT + disk->index, 0) };
    QVirtioDevice *vdev;

    disk->pci = virtio_pci_new(s->guest->pcibus, &addr);
    g_assert_nonnull(disk->pci);
    vdev = &disk->pci->vdev;
    qvirtio_pci_device_enable(disk->pci);
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, 1ull << VIRTIO_BLK_F_MQ);

    for (unsigned i = 0; i < QUEUES; i++) {
        SoakQueue *queue = &disk->queues[i];
        QVirtQueue vq = { .vdev = vdev, .index = i, .align = 4096 };
        VqRingLayout layout;

        vdev->bus->queue_select(vdev, i);
        layout = ring_layout(vdev->bus->get_queue_size(vdev));
        g_assert_cmpuint(layout.size, <=, MAX_RING);
        vq_ring_init(&queue->ring, &layout, s->guest->ram + queue->ring_addr,
                     queue->ring_addr);
        vq.desc = queue->ring_addr;
        vdev->bus->set_queue_address(vdev, &vq);
    }
    qvirtio_set_driver_ok(vdev);
}

static void plug(Soak *s, SoakDisk *disk)
{
    const char *mapping = mappings[s->round % ARRAY_SIZE(mappings)];
    g_autofree char *node = g_strdup_printf("node%u", disk->index);
    g_autofree char *json = g_strdup_printf(
        "{\"driver\":\"virtio-blk-pci\",\"id\":\"plugged%u\",\"addr\":"
        "\"%02x.0\",\"drive\":\"%s\",\"num-queues\":%d,\"disable-modern\":"
        "true,\"disable-legacy\":\"off\",%s}", disk->index,
        FIRST_SLOT + disk->index, node, QUEUES, mapping);

    qtest_qmp_assert_success(s->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'file', 'node-name': %s,"
                             " 'filename': %s}}", node, disk->image);
    vq_plug(s->qts, json);
    start_driver(s, disk);
    s->round++;
}

/* Have virtqueue @index handle its request */
static void submit(SoakDisk *disk, unsigned index, uint32_t type,
                   uint64_t sector)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    QVirtioDevice *vdev = &disk->pci->vdev;
    SoakQueue *queue = &disk->queues[index];
    QVirtQueue vq = { .vdev = vdev, .index = index };
    uint64_t addr = queue->request_addr;
    VqRingSegment segments[] = {
        { .addr = addr + offsetof(SoakRequest, hdr),
          .len = sizeof(queue->request->hdr) },
        { .addr = addr + offsetof(SoakRequest, data), .len = SECTOR,
          .device_writes = type == VIRTIO_BLK_T_IN },
        { .addr = addr + offsetof(SoakRequest, status), .len = 1,
          .device_writes = true },
    };
    unsigned id;
    uint32_t len;

    queue->request->hdr.type = cpu_to_le32(type);
    queue->request->hdr.sector = cpu_to_le64(sector);
    queue->request->status = 0xff;
    vq_ring_add(&queue->ring, 0, segments, ARRAY_SIZE(segments));
    vq_ring_publish(&queue->ring);
    vdev->bus->virtqueue_kick(vdev, &vq);
    while (!vq_ring_reap(&queue->ring, &id, &len)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(20);
    }
    g_assert_cmpuint(queue->request->status, ==, VIRTIO_BLK_S_OK);
}

/* What each virtqueue writes, another reads */
static void check_disk(Soak *s, SoakDisk *disk)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        SoakQueue *reader = &disk->queues[(i + 1) % QUEUES];
        uint64_t sector = (s->round + i) % SECTORS;
        uint8_t pattern = s->round + disk->index * QUEUES + i;

        memset(disk->queues[i].request->data, pattern, SECTOR);
        submit(disk, i, VIRTIO_BLK_T_OUT, sector);
        memset(reader->request->data, ~pattern, SECTOR);
        submit(disk, (i + 1) % QUEUES, VIRTIO_BLK_T_IN, sector);
        for (unsigned byte = 0; byte < SECTOR; byte++) {
            g_assert_cmphex(reader->request->data[byte], ==, pattern);
        }
    }
}

static void begin_unplug(Soak *s, SoakDisk *disk)
{
    g_autofree char *id = g_strdup_printf("plugged%u", disk->index);

    qtest_qmp_device_del_send(s->qts, id);
    vq_plug_eject(s->qts, FIRST_SLOT + disk->index);
}

static void end_unplug(Soak *s, SoakDisk *disk)
{
    g_autofree char *id = g_strdup_printf("plugged%u", disk->index);
    g_autofree char *node = g_strdup_printf("node%u", disk->index);

    vq_plug_wait_gone(s->qts, id);
    qtest_qmp_assert_success(s->qts, "{'execute': 'blockdev-del', 'arguments':"
                             " {'node-name': %s}}", node);
    for (unsigned i = 0; i < QUEUES; i++) {
        vq_ring_cleanup(&disk->queues[i].ring);
    }
    qvirtio_pci_destructor(&disk->pci->obj);
    g_free(disk->pci);
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
        plug(s, &s->disks[i]);
    }
    for (unsigned i = 0; i < DISKS; i++) {
        check_disk(s, &s->disks[i]);
    }

    refused = vq_plug_try(s->qts, "{\"driver\":\"virtio-blk-pci\",\"drive\":"
                          "\"node0\",\"iothread-vq-mapping\":["
                          "{\"iothread\":\"iothread0\"},"
                          "{\"iothread\":\"nope\"}]}");
    g_assert_nonnull(refused);
    in_use = vq_plug_object_del(s->qts, "extra0");
    g_assert_nonnull(in_use);

    for (unsigned i = 0; i < DISKS; i++) {
        begin_unplug(s, &s->disks[i]);
    }
    for (unsigned i = 0; i < DISKS; i++) {
        end_unplug(s, &s->disks[i]);
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

/*
 * Entries of a directory in /proc. Worker threads, who come and go with the
 * load, do not count.
 */
static unsigned count_entries(Soak *s, const char *what)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", s->guest->pid,
                                            what);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    unsigned n = 0;

    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, "comm", NULL);
        g_autofree char *comm = NULL;

        if (!g_file_get_contents(file, &comm, NULL, NULL) ||
            !(g_str_has_prefix(comm, "worker") ||
              g_str_has_prefix(comm, "iou-wrk"))) {
            n++;
        }
    }
    return n;
}

static unsigned rss_kib(Soak *s)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", s->guest->pid);
    g_autofree char *status = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    line = strstr(status, "\nVmRSS:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(line + strlen("\nVmRSS:"), NULL, 10);
}

static SoakState get_state(Soak *s)
{
    VqTest t = { .qts = s->qts };
    SoakState state = { .rss_kib = UINT_MAX };

    /* The RCU thread gives memory back to the host when it becomes idle */
    for (unsigned i = 0; i < 10; i++) {
        g_usleep(100 * 1000);
        state.rss_kib = MIN(state.rss_kib, rss_kib(s));
    }
    state.threads = count_entries(s, "task");
    state.fds = count_entries(s, "fd");
    state.pool_size = vq_test_peek(&t, "global_pool_max_size");
    return state;
}

static void test_soak(const void *opaque)
{
    const SoakCase *c = opaque;
    g_autofree Soak *s = g_new0(Soak, 1);
    SoakState before, after;
    int64_t start_us;
    double seconds;

    soak_init(s);
    run_rounds(s, c->warmup);
    before = get_state(s);
    start_us = g_get_monotonic_time();
    run_rounds(s, c->rounds);
    seconds = (g_get_monotonic_time() - start_us) / 1e6;
    after = get_state(s);

    g_test_message("%u rounds in %.1f s, %.0f a second; %" PRIu64 " requests "
                   "of the other disk", c->rounds, seconds, c->rounds / seconds,
                   vq_load_stats(s->load, 0)->requests +
                   vq_load_stats(s->load, 1)->requests);
    g_test_message("threads %u, then %u; fds %u, %u; RSS %u KiB, %u; "
                   "coroutine pool %u, %u", before.threads, after.threads,
                   before.fds, after.fds, before.rss_kib, after.rss_kib,
                   before.pool_size, after.pool_size);
    g_assert_cmpuint(after.threads, ==, before.threads);
    g_assert_cmpuint(after.fds, ==, before.fds);
    g_assert_cmpuint(after.pool_size, ==, before.pool_size);
    /* TSan remembers every thread that there was */
    if (!g_getenv("TSAN_OPTIONS")) {
        g_assert_cmpuint(after.rss_kib, <=,
                         before.rss_kib * (100 + c->rss_percent) / 100);
    }
    soak_cleanup(s);
}

int main(int argc, char **argv)
{
    g_autofree char *asan_options =
        g_strconcat(g_getenv("ASAN_OPTIONS") ?: "", ":quarantine_size_mb=4",
                    NULL);

    g_test_init(&argc, &argv, NULL);
    /*
     * For QEMU, whose malloc() otherwise keeps what a thread frees from the
     * others, and megabytes from the host
     */
    g_setenv("MALLOC_ARENA_MAX", "1", true);
    g_setenv("MALLOC_TRIM_THRESHOLD_", "131072", true);
    g_setenv("MALLOC_MMAP_THRESHOLD_", "65536", true);
    /* And if that is ASan's, 256 MiB of what was freed */
    g_setenv("ASAN_OPTIONS", asan_options, true);
    qtest_add_data_func(soak_short.path, &soak_short, test_soak);
    if (g_test_slow()) {
        qtest_add_data_func(soak_long.path, &soak_long, test_soak);
    }
    return g_test_run();
}
