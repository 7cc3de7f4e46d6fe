/*
 * Migration between disks with other mappings of virtqueues to IOThreads
 *
 * The mapping is the host's affair: a guest may go from any to any, with
 * requests in all states, and back. Each request completes exactly once, in
 * the thread that owns its virtqueue there, and the data is right.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-migration.h"
#include "vq-queues.h"
#include "vq-remap.h"

static const Shape shapes[] = {
    { "main-loop", 0, "", { -1, -1, -1, -1 } },
    { "iothread", 1, ",\"iothread\":\"iothread0\"", { 0, 0, 0, 0 } },
    { "round-robin", 2,
      ",\"iothread-vq-mapping\":[{\"iothread\":\"iothread0\"},"
      "{\"iothread\":\"iothread1\"}]", { 0, 1, 0, 1 } },
    { "vqs", 4,
      ",\"iothread-vq-mapping\":["
      "{\"iothread\":\"iothread0\",\"vqs\":[3]},"
      "{\"iothread\":\"iothread1\",\"vqs\":[2]},"
      "{\"iothread\":\"iothread2\",\"vqs\":[1]},"
      "{\"iothread\":\"iothread3\",\"vqs\":[0]}]", { 3, 2, 1, 0 } },
};

typedef struct Case {
    const Shape *from;
    const Shape *to;
    void (*run)(const struct Case *c);
    Backend backend;
} Case;

/* Migrate under load, with requests in all states at the end */
static void migrate_loaded(Guest *g, const Shape *shape)
{
    VqTest *to = migrate_begin(g, shape, BACKEND_FILE);

    for (unsigned i = 0; i < 4; i++) {
        submit_writes(g, 4);
        kick_all(g);
        reap(g, true);
    }
    wait_in_flight(g, 0, true);
    /* These may be in flight, those nobody has been told of */
    submit_writes(g, 4);
    kick_all(g);
    submit_writes(g, 4);
    migrate_end(g, to, shape, "running");
    wait_in_flight(g, 0, true);
    submit_writes(g, 4);
    kick_all(g);
}

static void run_load(const Case *c)
{
    Guest *g = guest_start(c->from, BACKEND_FILE);

    submit_writes(g, 4);
    kick_all(g);
    migrate_loaded(g, c->to);
    check_data(g);
    migrate_loaded(g, c->from);
    check_data(g);
    guest_end(g);
}

/* With requests certainly in flight, and the VM stopped by the user or not */
static void run_in_flight(const Case *c)
{
    Guest *g = guest_start(c->from, BACKEND_SLOW);
    VqTest *to = migrate_begin(g, c->to, BACKEND_SLOW);

    submit_writes(g, 8);
    kick_all(g);
    migrate_end(g, to, c->to, "running");
    wait_in_flight(g, 0, false);

    submit_writes(g, 8);
    kick_all(g);
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'stop'}");
    wait_in_flight(g, 0, false);
    submit_writes(g, 8);
    to = migrate_begin(g, c->from, BACKEND_SLOW);
    migrate_end(g, to, c->from, "paused");
    g_assert_cmpuint(count_in_flight(g), ==, 8 * QUEUES);
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'cont'}");
    wait_in_flight(g, 0, false);
    guest_end(g);
}

/*
 * What kicks of all virtqueues at once would do, so that none comes when an
 * error has stopped the VM: after a drain, owners look at their rings. The
 * node cannot be resized, but is drained first.
 */
static void look_at_rings(Guest *g)
{
    qobject_unref(qtest_qmp(g->t->qts, "{'execute': 'block_resize',"
                            " 'arguments': {'node-name': 'disk',"
                            "               'size': %d}}", VQ_TEST_DISK_SIZE));
}

/*
 * Submit what fails among what does not, and wait until that has stopped the
 * VM. What fails later is parked too, and what was not looked at yet waits.
 * The last kicks may be taken by the thread that stops the virtqueues.
 */
static void park(Guest *g, bool is_write)
{
    const unsigned n = NUM_BAD_SECTORS;
    unsigned handled[MAX_REQUESTS] = { 0 };

    for (unsigned i = 0; i < 2 * n; i++) {
        g_assert_true(submit(g, i % QUEUES, is_write, 2 * i));
    }
    g->num_requests = 2 * n;
    g->may_be_main = true;
    look_at_rings(g);
    wait_status(g->t->qts, "io-error");
    reap(g, true);
    g_assert_cmpuint(count_in_flight(g), >, 0);

    read_trace(g, handled);
    for (unsigned i = 0; is_write && i < n; i++) {
        Request *r = &g->requests[bad_sectors[i] / 2];

        g_assert_true(r->in_flight);
        r->wanted += handled[bad_sectors[i] / 2];
    }
}

static Guest *start_parked(const Case *c)
{
    Guest *g = guest_start(c->from, c->backend);

    if (c->backend == BACKEND_READS_FAIL) {
        int fd = open(g->image, O_WRONLY);

        for (unsigned i = 0; i < 4 * NUM_BAD_SECTORS; i++) {
            char data[512];

            memset(data, pattern_of(i), sizeof(data));
            g_assert_cmpint(write(fd, data, sizeof(data)), ==, sizeof(data));
        }
        close(fd);
    }
    park(g, c->backend == BACKEND_WRITES_FAIL);
    return g;
}

/* Here, where the error was; there may be others when the VM goes on */
static void run_parked_cont(const Case *c)
{
    Guest *g = start_parked(c);
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    for (unsigned i = 0; i < NUM_BAD_SECTORS; i++) {
        Request *r = &g->requests[bad_sectors[i] / 2];

        r->wanted = 2 * r->is_write;
    }
    while (count_in_flight(g)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        if (has_status(g->t->qts, "io-error")) {
            qtest_qmp_assert_success(g->t->qts, "{'execute': 'cont'}");
        }
        reap(g, true);
    }
    check_data(g);
    guest_end(g);
}

/* There, and with a second migration on the way */
static void run_parked_migrate(const Case *c)
{
    Guest *g = start_parked(c);
    unsigned waiting = count_in_flight(g);
    VqTest *to = migrate_begin(g, c->to, BACKEND_FILE);

    migrate_end(g, to, c->to, "io-error");
    reap(g, true);
    g_assert_cmpuint(count_in_flight(g), ==, waiting);
    if (c->backend == BACKEND_READS_FAIL) {
        to = migrate_begin(g, c->from, BACKEND_FILE);
        migrate_end(g, to, c->from, "io-error");
    }
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'cont'}");
    wait_in_flight(g, 0, true);
    check_data(g);
    guest_end(g);
}

/* Virtqueues count from 0 in a QEMU that a guest has migrated to */
static void run_counts(const Case *c)
{
    Guest *g = guest_start(c->from, BACKEND_FILE);
    VqQueues queues;
    VqTest *to;

    submit_writes(g, 4);
    kick_all(g);
    wait_in_flight(g, 0, true);
    vq_queues_query(g->t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < QUEUES; vq++) {
        g_assert_cmpuint(vq_queues_requests(&queues.vq[vq]), >=, 4);
    }

    to = migrate_begin(g, c->to, BACKEND_FILE);
    migrate_end(g, to, c->to, "running");
    for (unsigned i = 0; i < 2; i++) {
        vq_queues_query(g->t->qts, "disk0", &queues);
        for (unsigned vq = 0; vq < QUEUES; vq++) {
            const uint64_t *totals = queues.vq[vq].totals;

            g_assert_cmpuint(totals[VQ_QUEUES_REQUESTS(VQ_QUEUES_WRITE)], ==,
                             3 * i);
            g_assert_cmpuint(vq_queues_requests(&queues.vq[vq]), ==, 3 * i);
            g_assert_cmpuint(queues.vq[vq].in_flight, ==, 0);
        }
        submit_writes(g, 3);
        kick_all(g);
        wait_in_flight(g, 0, true);
    }
    guest_end(g);
}

/* Requests that an error has parked are in flight there, too */
static void run_counts_parked(const Case *c)
{
    Guest *g = start_parked(c);
    VqTest *to = migrate_begin(g, c->to, BACKEND_FILE);
    VqQueues queues;
    unsigned parked = 0;

    vq_queues_query(g->t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < QUEUES; vq++) {
        parked += queues.vq[vq].in_flight;
    }
    g_assert_cmpuint(parked, >, 0);
    migrate_end(g, to, c->to, "io-error");
    vq_queues_query(g->t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < QUEUES; vq++) {
        g_assert_cmpuint(vq_queues_requests(&queues.vq[vq]), ==, 0);
        parked -= queues.vq[vq].in_flight;
    }
    g_assert_cmpuint(parked, ==, 0);

    qtest_qmp_assert_success(g->t->qts, "{'execute': 'cont'}");
    wait_in_flight(g, 0, true);
    vq_queues_query(g->t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < QUEUES; vq++) {
        g_assert_cmpuint(queues.vq[vq].in_flight, ==, 0);
        g_assert_cmpuint(queues.vq[vq].totals[VQ_QUEUES_FAILED], ==, 0);
    }
    guest_end(g);
}

/* The source's virtqueues move while it migrates; the target's do not */
static void run_remap(const Case *c)
{
    static const Shape moved = { .owner = { 1, 1, 0, 0 } };
    Guest *g = guest_start(c->from, BACKEND_FILE);
    VqTest *to = migrate_begin(g, c->to, BACKEND_FILE);

    vq_remap(g->t->qts, "disk0", "[{\"iothread\":\"iothread0\",\"vqs\":[2,3]},"
             "{\"iothread\":\"iothread1\",\"vqs\":[0,1]}]", NULL);
    g->shape = &moved;
    submit_writes(g, 4);
    kick_all(g);
    wait_in_flight(g, 0, true);
    submit_writes(g, 4);
    kick_all(g);
    submit_writes(g, 4);
    migrate_end(g, to, c->to, "running");
    wait_in_flight(g, 0, true);
    check_data(g);
    guest_end(g);
}

static void test_case(const void *opaque)
{
    const Case *c = opaque;

    c->run(c);
}

static void add_case(const char *name, void (*run)(const Case *c),
                     const Shape *from, const Shape *to, Backend backend)
{
    g_autofree char *path =
        g_strdup_printf("/virtio-blk-migration/%s/%s%s%s", name, from->name,
                        to ? "/" : "", to ? to->name : "");
    Case *c = g_new(Case, 1);

    c->from = from;
    c->to = to;
    c->run = run;
    c->backend = backend;
    qtest_add_data_func_full(path, c, test_case, g_free);
}

int main(int argc, char **argv)
{
    const unsigned n = ARRAY_SIZE(shapes);

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < n; i++) {
        const Shape *from = &shapes[i], *next = &shapes[(i + 1) % n];

        /* These go there and back */
        for (unsigned j = i; j < n; j++) {
            add_case("load", run_load, from, &shapes[j], BACKEND_FILE);
        }
        add_case("in-flight", run_in_flight, from, next, BACKEND_SLOW);
        add_case("in-flight", run_in_flight, from, from, BACKEND_SLOW);

        add_case("write-error/cont", run_parked_cont, from, NULL,
                 BACKEND_WRITES_FAIL);
        add_case("read-error/cont", run_parked_cont, from, NULL,
                 BACKEND_READS_FAIL);
        for (unsigned j = 0; j < n; j++) {
            add_case("write-error/migrate", run_parked_migrate, from,
                     &shapes[j], BACKEND_WRITES_FAIL);
        }
        add_case("read-error/migrate", run_parked_migrate, from, next,
                 BACKEND_READS_FAIL);
        if (from->num_iothreads >= 2) {
            add_case("remap", run_remap, from, next, BACKEND_FILE);
            add_case("remap", run_remap, from, from, BACKEND_FILE);
        }
        add_case("counts/requests", run_counts, from, next, BACKEND_FILE);
        add_case("counts/parked", run_counts_parked, from, next,
                 BACKEND_WRITES_FAIL);
    }
    return g_test_run();
}
