/*
 * qtests of the counters of virtqueues under load, with several readers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "libqmp.h"
#include "qemu/thread.h"
#include "vq-load/load.h"
#include "vq-monitor.h"
#include "vq-queues.h"

#define NUM_QUEUES 16
#define NUM_READERS 4
#define PERIOD_US 10000
#define MIN_SAMPLES 10      /* of each load */
#define DEPTH 32
#define RING_SIZE 128     /* what vq-load asks for, at that depth */
#define BLOCK 4096
#define DISK "/machine/peripheral/disk0/virtio-backend"

typedef struct Reader {
    QemuThread thread;
    char *socket;
    const VqQueues *first;  /* before the load, constant */
    unsigned samples;       /* atomic, written by @thread */
    bool stop;              /* atomic */
} Reader;

typedef struct Case {
    const char *name;
    const char *options;    /* as on vq-load's command line */
} Case;

static VqLoadConfig parse(const char *options, const Reader *readers)
{
    g_autoptr(GString) qmp = g_string_new(NULL);
    g_autofree char *line = NULL;

    for (unsigned i = 0; i < NUM_READERS; i++) {
        g_string_append_printf(qmp, " -qmp unix:%s,server=on,wait=off",
                               readers[i].socket);
    }
    line = g_strdup_printf("--qemu %s --backend null-co --queues %u "
                           "--depth %u --block-size %u --qemu-args '%s' "
                           "--mix read=8,write=4,flush=1,discard=1,"
                           "write-zeroes=1 --stall 30 %s",
                           g_getenv("QTEST_QEMU_BINARY"), NUM_QUEUES, DEPTH,
                           BLOCK, qmp->str, options);
    return vq_load_config_parse_line(line);
}

/*
 * What must hold between two samples of a virtqueue, one after the other;
 * @first is from before there was a load of blocks of one size
 */
static void assert_follows(const VqQueue *first, const VqQueue *before,
                           const VqQueue *after)
{
    static const VqQueuesKind moving[] = { VQ_QUEUES_READ, VQ_QUEUES_WRITE };

    for (unsigned i = 0; i < VQ_QUEUES_TOTALS; i++) {
        g_assert_cmpuint(after->totals[i], >=, before->totals[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(moving); i++) {
        unsigned requests = VQ_QUEUES_REQUESTS(moving[i]);
        unsigned all_bytes = VQ_QUEUES_BYTES(moving[i]);
        uint64_t n = after->totals[requests] - first->totals[requests];
        uint64_t bytes = after->totals[all_bytes] - first->totals[all_bytes];
        uint64_t bytes_before =
            before->totals[all_bytes] - first->totals[all_bytes];

        /* Bytes count just before their request does, and are read after */
        g_assert_cmpuint(bytes, >=, n * BLOCK);
        g_assert_cmpuint(bytes % BLOCK, ==, 0);
        g_assert_cmpuint(bytes_before, <=, (n + 1) * BLOCK);
    }
    g_assert_cmpuint(after->in_flight, <=, DEPTH);
    g_assert_cmpuint(after->totals[VQ_QUEUES_MAX_IN_FLIGHT], <=, DEPTH);
    /* The guest may refill the ring while the batch goes on */
    g_assert_cmpuint(after->totals[VQ_QUEUES_MAX_BATCH], <=, RING_SIZE);
    g_assert_cmpuint(after->totals[VQ_QUEUES_FAILED], ==, 0);
}

static void *reader_run(void *opaque)
{
    Reader *reader = opaque;
    g_autofree VqQueues *queues = g_new0(VqQueues, 2);
    int fd = vq_monitor_open(reader->socket);

    queues[0] = *reader->first;

    while (!qatomic_read(&reader->stop)) {
        VqQueues *before = &queues[reader->samples % 2];
        VqQueues *after = &queues[(reader->samples + 1) % 2];

        vq_queues_query_fd(fd, DISK, after);
        g_assert_cmpuint(after->num, ==, NUM_QUEUES);
        for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
            assert_follows(&reader->first->vq[vq], &before->vq[vq],
                           &after->vq[vq]);
        }
        qatomic_set(&reader->samples, reader->samples + 1);
        g_usleep(PERIOD_US);
    }
    close(fd);
    return NULL;
}

/*
 * With nothing in flight the counters are exact: the used index of a virtqueue
 * is the number of its requests, modulo 65536
 */
static void assert_exact(VqLoad *load, const VqQueues *first)
{
    VqGuest *guest = vq_load_guest(load);
    VqQueues queues;

    vq_queues_query(guest->qts, DISK, &queues);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        uint64_t *totals = queues.vq[vq].totals;
        uint64_t n = vq_queues_requests(&queues.vq[vq]);

        g_assert_cmpuint(n % 65536, ==, guest->queues[vq].ring.last_used);
        g_assert_cmpuint(n, >=, vq_load_stats(load, vq)->requests);
        g_assert_cmpuint(queues.vq[vq].in_flight, ==, 0);
        for (unsigned i = 0; i < VQ_QUEUES_OTHER; i++) {
            const uint64_t *old = first->vq[vq].totals;
            uint64_t bytes = i == VQ_QUEUES_FLUSH ? 0 : BLOCK;

            g_assert_cmpuint(totals[VQ_QUEUES_BYTES(i)] -
                             old[VQ_QUEUES_BYTES(i)], ==,
                             (totals[VQ_QUEUES_REQUESTS(i)] -
                              old[VQ_QUEUES_REQUESTS(i)]) * bytes);
        }
    }
}

/*
 * Have the load go on for @seconds, and, if all threads share few CPUs, until
 * each reader has seen enough of it
 */
static void wait_for_readers(Reader *readers, unsigned seconds)
{
    gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    unsigned wanted[NUM_READERS];

    for (unsigned i = 0; i < NUM_READERS; i++) {
        wanted[i] = qatomic_read(&readers[i].samples) + MIN_SAMPLES;
    }
    g_usleep(seconds * G_USEC_PER_SEC);
    for (unsigned i = 0; i < NUM_READERS; i++) {
        while (qatomic_read(&readers[i].samples) < wanted[i]) {
            g_assert_cmpint(g_get_monotonic_time(), <, deadline);
            g_usleep(PERIOD_US);
        }
    }
}

static void test_readers(const void *opaque)
{
    const Case *c = opaque;
    Reader readers[NUM_READERS] = {};
    g_autofree char *dir = g_dir_make_tmp("vq-queues.XXXXXX", NULL);
    g_autofree char *error = NULL;
    unsigned seconds = g_test_slow() ? 30 : 1;
    VqLoadConfig config;
    VqQueues first;
    VqLoad *load;

    for (unsigned i = 0; i < NUM_READERS; i++) {
        readers[i].socket = g_strdup_printf("%s/%u", dir, i);
    }
    config = parse(c->options, readers);
    load = vq_load_new(&config, &error);
    g_assert_cmpstr(error, ==, NULL);
    vq_queues_query(vq_load_guest(load)->qts, DISK, &first);
    for (unsigned i = 0; i < NUM_READERS; i++) {
        readers[i].first = &first;
        qemu_thread_create(&readers[i].thread, "reader", reader_run,
                           &readers[i], QEMU_THREAD_JOINABLE);
    }

    /* Twice: the counters go on from where they were */
    for (unsigned i = 0; i < 2; i++) {
        vq_load_start(load);
        vq_load_count(load);
        wait_for_readers(readers, seconds);
        error = vq_load_stop(load);
        g_assert_cmpstr(error, ==, NULL);
        assert_exact(load, &first);
    }

    for (unsigned i = 0; i < NUM_READERS; i++) {
        qatomic_set(&readers[i].stop, true);
        qemu_thread_join(&readers[i].thread);
        g_test_message("reader %u: %u samples", i, readers[i].samples);
        g_unlink(readers[i].socket);
        g_free(readers[i].socket);
    }
    vq_load_free(load);
    g_rmdir(dir);
}

static const Case cases[] = {
    { "main-loop", "--iothreads 0" },
    { "one", "--iothreads 1" },
    { "two", "--iothreads 2" },
    { "one-to-one", "--iothreads 16" },
    { "one-to-one/no-polling", "--iothreads 16 --poll-max-ns 0" },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path =
            g_strdup_printf("vq-queues-load/%s", cases[i].name);

        qtest_add_data_func(path, &cases[i], test_readers);
    }
    return g_test_run();
}
