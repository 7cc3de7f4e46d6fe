/*
 * qtests of virtio-blk-set-iothread-vq-mapping: virtqueues that are given to
 * other IOThreads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqmp.h"
#include "standard-headers/linux/virtio_blk.h"
#include "vq-monitor.h"
#include "vq-plug.h"
#include "vq-queues.h"
#include "vq-refusals.h"
#include "vq-remap.h"
#include "vq-test-util.h"
#include "vq-watchdog.h"

#define NUM_QUEUES 4
#define NUM_IOTHREADS 3
#define SLOT_DISK0 4
#define T(i) "{\"iothread\":\"iothread" #i "\"}"
#define TV(i, vqs) "{\"iothread\":\"iothread" #i "\",\"vqs\":[" vqs "]}"
#define PROPERTY(list) ",\"iothread-vq-mapping\":" list

/* What a disk begins with, and what it goes to; '-' is the main loop */
typedef struct Way {
    const char *name;
    const VqTestDevice *device;
    const char *properties;
    const char *owners;     /* a digit per virtqueue, '-': the main loop */
    const char *mapping;    /* NULL: the main loop */
    const char *new_owners;
} Way;

static const Way ways[] = {
    { "pci/main-loop/one", &vq_test_blk_pci, "", "----", "[" T(1) "]",
      "1111" },
    { "pci/main-loop/round-robin", &vq_test_blk_pci, "", "----",
      "[" T(2) "," T(0) "]", "2020" },
    { "pci/iothread/vqs", &vq_test_blk_pci, ",\"iothread\":\"iothread0\"",
      "0000", "[" TV(1, "3,1") "," TV(0, "0") "," TV(2, "2") "]", "0121" },
    { "pci/iothread/main-loop", &vq_test_blk_pci,
      ",\"iothread\":\"iothread0\"", "0000", NULL, "----" },
    { "pci/vqs/one-moves", &vq_test_blk_pci,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011",
      "[" TV(0, "0,1,2") "," TV(1, "3") "]", "0001" },
    { "pci/vqs/swap", &vq_test_blk_pci,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011",
      "[" TV(1, "0,1") "," TV(0, "2,3") "]", "1100" },
    { "pci/vqs/main-loop", &vq_test_blk_pci,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011", NULL, "----" },
    { "pci/vqs/same", &vq_test_blk_pci,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011",
      "[" TV(1, "3,2") "," TV(0, "1,0") "]", "0011" },
    { "mmio/main-loop/one", &vq_test_blk_mmio, "", "----", "[" T(1) "]",
      "1111" },
    { "mmio/vqs/swap", &vq_test_blk_mmio,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011",
      "[" TV(1, "0,1") "," TV(0, "2,3") "]", "1100" },
};

static VqTest *new_disk(const char *properties)
{
    return vq_test_new(&vq_test_blk_pci, NUM_IOTHREADS, NUM_QUEUES,
                       properties);
}

/* The thread that serves a request, and what the query says of it */
static void assert_owners(VqTest *t, const char *owners)
{
    VqQueues queues;

    vq_queues_query(t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_autofree char *name = vq_remap_owner_name(owners[vq]);

        g_assert_cmpint(vq_test_read(t, vq), ==, vq_test_thread_id(t, name));
        g_assert_cmpstr(queues.vq[vq].iothread, ==, name ?: "");
    }
}

/* IOThreads that have no virtqueue can be deleted at once, others cannot */
static void delete_unused(VqTest *t, const char *owners)
{
    for (unsigned i = 0; i < NUM_IOTHREADS; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);
        g_autofree char *error = vq_plug_object_del(t->qts, name);

        g_assert_cmpint(error == NULL, ==, !strchr(owners, '0' + i));
        g_assert_cmpint(vq_test_has_iothread(t, name), ==, error != NULL);
    }
}

/* How often the notifier of virtqueue @vq was detached, by any thread */
static unsigned count_detached(VqTest *t, unsigned vq)
{
    g_autofree char *needle = g_strdup_printf("device disk0 vq %u ", vq);

    return vq_test_count_event(t, "vq_entry_detach", needle);
}

/* While the disk is served; virtqueue 0 takes all along as the node moves */
static void test_running(const void *opaque)
{
    const Way *way = opaque;
    VqTest *t = vq_test_new(way->device, NUM_IOTHREADS, NUM_QUEUES,
                            way->properties);
    VqRemapResult result;

    vq_test_start_driver(t);
    assert_owners(t, way->owners);
    vq_remap(t->qts, "disk0", way->mapping, &result);
    vq_remap_assert_moves(&result, way->owners, way->new_owners, true);
    assert_owners(t, way->new_owners);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        if (way->owners[0] == way->new_owners[0]) {
            g_assert_cmpint(count_detached(t, vq) > 0, ==,
                            way->owners[vq] != way->new_owners[vq]);
        }
    }

    /* It is the mapping from there on */
    vq_test_reset(t);
    assert_owners(t, way->new_owners);
    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
    assert_owners(t, way->new_owners);
    delete_unused(t, way->new_owners);
    vq_test_free(t);
}

/* Before the driver is up, while the VM is stopped, and after a reset */
static void test_idle(const void *opaque)
{
    const Way *way = opaque;
    VqTest *t = vq_test_new(way->device, NUM_IOTHREADS, NUM_QUEUES,
                            way->properties);
    VqRemapResult result;

    vq_remap(t->qts, "disk0", "[" T(2) "]", &result);
    vq_remap_assert_moves(&result, way->owners, "2222", false);
    vq_test_start_driver(t);
    assert_owners(t, "2222");

    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
    vq_remap(t->qts, "disk0", "[" T(1) "," T(0) "]", &result);
    vq_remap_assert_moves(&result, "2222", "1010", false);
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
    assert_owners(t, "1010");

    vq_test_stop_driver(t);
    vq_remap(t->qts, "disk0", way->mapping, &result);
    vq_remap_assert_moves(&result, "1010", way->new_owners, false);
    vq_test_start_driver(t);
    assert_owners(t, way->new_owners);
    delete_unused(t, way->new_owners);
    vq_test_free(t);
}

/* Some virtqueues are set up, the others are with their first kick */
static void test_unused(void)
{
    VqTest *t = new_disk("");
    VqRemapResult result;

    vq_test_setup_driver(t, 2);
    qvirtio_set_driver_ok(t->vdev);
    vq_remap(t->qts, "disk0", "[" T(0) "," T(1) "]", &result);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpint(result.moves[vq].away_ns > 0, ==, vq < 2);
    }
    for (unsigned vq = 0; vq < 2; vq++) {
        g_autofree char *name = g_strdup_printf("iothread%u", vq);

        g_assert_cmpint(vq_test_read(t, vq), ==, vq_test_thread_id(t, name));
    }
    vq_test_reset(t);
    assert_owners(t, "0101");
    vq_test_free(t);
}

/* Out of IOThreads that the disk has made for itself, and back */
static void test_own_iothreads(void)
{
    VqTest *t = new_disk(",\"iothreads\":2");
    g_autofree char *error = NULL;

    vq_test_start_driver(t);
    vq_remap(t->qts, "disk0", "[" T(1) "]", NULL);
    assert_owners(t, "1111");
    g_assert_true(vq_test_has_iothread(t, "disk0.0"));
    error = vq_plug_object_del(t->qts, "disk0.0");
    g_assert_cmpstr(error, ==, "object 'disk0.0' is in use, can not be "
                    "deleted: device 'disk0' made it");

    vq_remap(t->qts, "disk0", "[{\"iothread\":\"disk0.1\"}]", NULL);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpint(vq_test_read(t, vq), ==,
                        vq_test_thread_id(t, "disk0.1"));
    }
    qtest_qmp_device_del_send(t->qts, "disk0");
    vq_plug_eject(t->qts, SLOT_DISK0);
    vq_plug_wait_gone(t->qts, "disk0");
    g_assert_false(vq_test_has_iothread(t, "disk0.0"));
    g_assert_false(vq_test_has_iothread(t, "disk0.1"));
    vq_test_free(t);
}

/* As for the property, and nothing has changed */
static void test_refused(const void *opaque)
{
    const VqRefusal *r = opaque;
    const char *mapping = strchr(r->properties, ':') + 1;
    VqTest *t = vq_test_new(&vq_test_blk_pci, 2, NUM_QUEUES,
                            ",\"iothread\":\"iothread1\"");
    g_autofree char *error = NULL;

    vq_test_start_driver(t);
    error = vq_remap_try(t->qts, "disk0", mapping, NULL);
    g_assert_cmpstr(error, ==, r->message);
    assert_owners(t, "1111");
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpuint(count_detached(t, vq), ==, 0);
    }
    g_assert_null(vq_plug_object_del(t->qts, "iothread0"));
    vq_test_free(t);
}

static void test_no_device(void)
{
    QTestState *qts = qtest_init(
        "-M pc -nodefaults -object iothread,id=iothread0 "
        "-blockdev driver=null-co,node-name=node0 "
        "-device virtio-blk-pci,drive=node0,id=disk0,ioeventfd=off "
        "-device virtio-scsi-pci,id=scsi0");
    static const struct {
        const char *device, *message;
    } rows[] = {
        { "nope", "Device 'nope' not found" },
        { "iothread0", "Device 'iothread0' not found" },
        { "scsi0", "Device 'scsi0' is not a virtio-blk disk" },
        { "disk0", "ioeventfd is required for iothread" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *error = vq_remap_try(qts, rows[i].device,
                                              "[" T(0) "]", NULL);

        g_assert_cmpstr(error, ==, rows[i].message);
    }
    /* The main loop serves it anyway */
    vq_remap(qts, "disk0", NULL, NULL);
    g_assert_null(vq_plug_object_del(qts, "iothread0"));
    qtest_quit(qts);
}

/* Requests on virtqueue 2 that take the backend half a second or more */
typedef struct Slow {
    VqTestDevice device;
    VqTest *t;
    VqTestRequest requests[4];
    int fd;         /* of a QMP monitor */
    int human;      /* of one for people */
} Slow;

static void slow_submit(Slow *slow, const char *more_args)
{
    gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    g_autofree char *human_args = NULL;
    g_autofree char *args = NULL;
    g_autofree char *greeting = NULL;
    VqQueues queues;
    uint64_t taken;

    slow->human = vq_monitor_new_human(&human_args);
    args = g_strconcat(more_args, human_args, NULL);
    slow->device = vq_test_blk_pci;
    slow->device.drive = ",\"drive\":\"slow\"";
    slow->device.more_args = args;
    slow->t = vq_test_new(&slow->device, NUM_IOTHREADS, NUM_QUEUES,
                          PROPERTY("[" T(0) "]"));
    vq_test_start_driver(slow->t);
    slow->fd = vq_monitor_open(slow->t->monitor);
    greeting = vq_monitor_receive_human(slow->human);
    for (unsigned i = 0; i < ARRAY_SIZE(slow->requests); i++) {
        g_autofree char *needle = NULL;

        slow->requests[i] = vq_test_prepare_read(slow->t, 2, &needle);
        vq_test_submit(slow->t, &slow->requests[i], true);
    }
    /* Some may be complete by now, when they are throttled */
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(slow->t->qts, "disk0", &queues);
        taken = queues.vq[2].in_flight + vq_queues_requests(&queues.vq[2]);
    } while (taken < ARRAY_SIZE(slow->requests));
    g_assert_cmpuint(queues.vq[2].in_flight, >, 0);
}

/* And its move to iothread1, which waits for them */
static void slow_begin(Slow *slow, const char *more_args)
{
    slow_submit(slow, more_args);
    vq_remap_send_fd(slow->fd, "disk0",
                     "[" TV(0, "0,1,3") "," TV(1, "2") "]");
    g_assert_false(vq_monitor_poll(slow->fd, 50));
}

static void slow_free(Slow *slow)
{
    close(slow->fd);
    close(slow->human);
    vq_test_free(slow->t);
}

static void slow_end(Slow *slow, const char *owners)
{
    uint8_t in[VQ_TEST_SECTOR + 1];

    for (unsigned i = 0; i < ARRAY_SIZE(slow->requests); i++) {
        vq_test_complete(slow->t, &slow->requests[i], in);
        g_assert_cmpuint(in[VQ_TEST_SECTOR], ==, VIRTIO_BLK_S_OK);
    }
    assert_owners(slow->t, owners);
    slow_free(slow);
}

#define NULL_SLOW " -blockdev null-co,node-name=slow,size=16777216," \
    "latency-ns=500000000"
#define THROTTLED " -object throttle-group,id=group,x-iops-total=2 " \
    "-blockdev driver=throttle,node-name=slow,throttle-group=group,file=node0"

/* It waits for its own requests, and the main loop does not wait with it */
static void test_slow(const void *opaque)
{
    Slow slow;
    VqRemapResult result;
    g_autofree char *error = NULL;
    QTestState *qts;
    unsigned polls = 0;

    slow_begin(&slow, opaque);
    qts = slow.t->qts;
    while (!vq_monitor_poll(slow.fd, 0)) {
        g_autofree uint8_t *byte = g_malloc(1);

        /* qtest's commands are the main loop's */
        qtest_memread(qts, 0, byte, 1);
        polls++;
    }
    error = vq_remap_receive_fd(slow.fd, &result);
    g_assert_cmpstr(error, ==, NULL);
    g_assert_cmpuint(polls, >, 100);
    g_assert_cmpuint(result.num, ==, 1);
    g_assert_cmpint(result.moves[0].away_ns, >, 100 * 1000 * 1000);
    slow_end(&slow, "0010");
}

/* Who asks next is served next */
static void test_slow_twice(void)
{
    Slow slow;
    VqRemapResult results[2];
    g_autofree char *error = NULL;

    slow_begin(&slow, NULL_SLOW);
    vq_remap(slow.t->qts, "disk0",
             "[" TV(0, "0,1,3") "," TV(2, "2") "]", &results[1]);
    error = vq_remap_receive_fd(slow.fd, &results[0]);
    g_assert_cmpstr(error, ==, NULL);
    g_assert_cmpuint(results[0].num, ==, 1);
    g_assert_cmpstr(results[0].moves[0].to, ==, "iothread1");
    g_assert_cmpuint(results[1].num, ==, 1);
    g_assert_cmpstr(results[1].moves[0].from, ==, "iothread1");
    g_assert_cmpstr(results[1].moves[0].to, ==, "iothread2");
    slow_end(&slow, "0020");
}

/* A human does not wait in a queue of commands, but is told at once */
static void test_slow_human(void)
{
    Slow slow;
    g_autofree char *refused = NULL;
    g_autofree char *later = NULL;
    g_autofree char *error = NULL;

    slow_begin(&slow, NULL_SLOW);
    vq_monitor_send_human(slow.human, "virtio_blk_map_queues disk0 iothread2");
    refused = vq_monitor_receive_human(slow.human);
    g_assert_nonnull(strstr(refused, "Error: Device 'disk0' is being mapped to "
                            "other IOThreads already\r\n"));
    g_assert_false(vq_monitor_poll(slow.fd, 0));
    error = vq_remap_receive_fd(slow.fd, NULL);
    g_assert_cmpstr(error, ==, NULL);

    /* Nothing has come of it, and nothing is in the way any more */
    vq_monitor_send_human(slow.human, "virtio_blk_map_queues disk0 "
                          "iothread0:0,1,3,iothread2:2");
    later = vq_monitor_receive_human(slow.human);
    g_assert_nonnull(strstr(later, "virtqueue 2: from iothread1 to iothread2, "
                            "away for "));
    slow_end(&slow, "0020");
}

/* Nor is a human disturbed who is first: QMP waits */
static void test_slow_human_first(void)
{
    Slow slow;
    VqRemapResult result;
    g_autofree char *first = NULL;
    g_autofree char *error = NULL;

    slow_submit(&slow, NULL_SLOW);
    vq_monitor_send_human(slow.human, "virtio_blk_map_queues disk0 "
                          "iothread0:0,1,3,iothread1:2");
    while (count_detached(slow.t, 2) == 0) {
        g_usleep(1000);
    }
    vq_remap_send_fd(slow.fd, "disk0", "[" TV(0, "0,1,3") "," TV(2, "2") "]");
    first = vq_monitor_receive_human(slow.human);
    g_assert_nonnull(strstr(first, "virtqueue 2: from iothread0 to iothread1, "
                            "away for "));
    error = vq_remap_receive_fd(slow.fd, &result);
    g_assert_cmpstr(error, ==, NULL);
    g_assert_cmpuint(result.num, ==, 1);
    g_assert_cmpstr(result.moves[0].from, ==, "iothread1");
    slow_end(&slow, "0020");
}

/* The guest resets the disk meanwhile */
static void test_slow_reset(const void *opaque)
{
    Slow slow;
    VqRemapResult result;
    g_autofree char *error = NULL;
    VqWatchdog *dog;

    slow_begin(&slow, opaque);
    dog = vq_watchdog_begin(qtest_pid(slow.t->qts), 20);
    vq_test_reset(slow.t);
    error = vq_remap_receive_fd(slow.fd, &result);
    g_assert_cmpstr(error, ==, NULL);
    g_assert_cmpuint(result.num, ==, 1);
    assert_owners(slow.t, "0010");
    vq_watchdog_end(dog);
    slow_free(&slow);
}

/* The guest gives the disk up meanwhile */
static void test_slow_unplug(void)
{
    Slow slow;
    VqRemapResult result;
    g_autofree char *error = NULL;
    VqWatchdog *dog;

    slow_begin(&slow, NULL_SLOW);
    dog = vq_watchdog_begin(qtest_pid(slow.t->qts), 20);
    vq_plug_eject(slow.t->qts, SLOT_DISK0);
    error = vq_remap_receive_fd(slow.fd, &result);
    /* The requests have ended before the disk did, or with it */
    if (error) {
        g_assert_cmpstr(error, ==, "Device 'disk0' was unplugged");
    } else {
        g_assert_cmpuint(result.num, ==, 1);
    }
    vq_plug_wait_gone(slow.t->qts, "disk0");
    delete_unused(slow.t, "----");
    vq_watchdog_end(dog);
    slow_free(&slow);
}

/* What waits until the VM continues does so in the new thread */
static void test_parked(void)
{
    VqTestDevice device = vq_test_blk_pci;
    g_autofree char *needle = NULL;
    uint8_t in[VQ_TEST_SECTOR + 1];
    pid_t tids[2] = {};
    VqTestRequest req;
    VqRemapResult result;
    VqTest *t;

    device.drive = ",\"drive\":\"node1\",\"rerror\":\"stop\"";
    device.more_args = " -blockdev driver=blkdebug,node-name=node1,"
                       "image=node0,inject-error.0.event=none,"
                       "inject-error.0.sector=2,inject-error.0.once=on";
    t = vq_test_new(&device, NUM_IOTHREADS, NUM_QUEUES, PROPERTY("[" T(0) "]"));
    vq_test_start_driver(t);
    req = vq_test_prepare_read(t, 1, &needle);
    vq_test_submit(t, &req, true);
    qtest_qmp_eventwait(t->qts, "STOP");

    vq_remap(t->qts, "disk0", "[" T(1) "]", &result);
    vq_remap_assert_moves(&result, "0000", "1111", false);
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
    vq_test_complete(t, &req, in);
    g_assert_cmpuint(in[VQ_TEST_SECTOR], ==, VIRTIO_BLK_S_OK);
    g_assert_cmpuint(vq_test_traced_threads(t, needle, tids, 2), ==, 2);
    g_assert_cmpint(tids[0], ==, vq_test_thread_id(t, "iothread0"));
    g_assert_cmpint(tids[1], ==, vq_test_thread_id(t, "iothread1"));

    /* It is not waited for any more */
    vq_remap(t->qts, "disk0", "[" T(2) "]", NULL);
    assert_owners(t, "2222");
    vq_test_free(t);
}

static void test_pending_unplug(void)
{
    VqTest *t = new_disk("");
    g_autofree char *error = NULL;

    vq_test_start_driver(t);
    qtest_qmp_device_del_send(t->qts, "disk0");
    error = vq_remap_try(t->qts, "disk0", "[" T(0) "]", NULL);
    g_assert_cmpstr(error, ==, "Device disk0 is already in the process of "
                    "unplug");
    vq_plug_eject(t->qts, SLOT_DISK0);
    vq_plug_wait_gone(t->qts, "disk0");
    delete_unused(t, "----");
    vq_test_free(t);
}

/* Another device keeps the node where it is, which is said */
static void test_node_stays(void)
{
    VqTestDevice device = vq_test_blk_pci;
    VqRemapResult result;
    g_autofree char *error = NULL;
    VqTest *t;

    device.drive = ",\"drive\":\"node0\",\"share-rw\":true";
    device.more_args = " -device virtio-blk-pci,drive=node0,share-rw=on,"
                       "id=disk1,iothread=iothread2";
    t = vq_test_new(&device, NUM_IOTHREADS, NUM_QUEUES, PROPERTY("[" T(0) "]"));
    vq_test_start_driver(t);
    vq_remap(t->qts, "disk0", "[" T(1) "]", &result);
    g_assert_true(result.node_stays);
    assert_owners(t, "1111");
    g_assert_null(vq_plug_object_del(t->qts, "iothread0"));
    vq_test_free(t);
}

static void add_ways(const char *name, GTestDataFunc func)
{
    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        g_autofree char *path = g_strdup_printf("/virtio-blk-remap/%s/%s",
                                                name, ways[i].name);

        qtest_add_data_func(path, &ways[i], func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_ways("running", test_running);
    add_ways("idle", test_idle);
    for (unsigned i = 0; i < ARRAY_SIZE(vq_refusals); i++) {
        const VqRefusal *r = &vq_refusals[i];
        g_autofree char *path = g_strdup_printf("/virtio-blk-remap/refused/%s",
                                                r->name);

        if (g_str_has_prefix(r->properties, ",\"iothread-vq-mapping\"")) {
            qtest_add_data_func(path, r, test_refused);
        }
    }
    qtest_add_func("/virtio-blk-remap/no-device", test_no_device);
    qtest_add_func("/virtio-blk-remap/unused", test_unused);
    qtest_add_func("/virtio-blk-remap/own-iothreads", test_own_iothreads);
    qtest_add_data_func("/virtio-blk-remap/slow/backend", NULL_SLOW, test_slow);
    qtest_add_data_func("/virtio-blk-remap/slow/throttled", THROTTLED,
                        test_slow);
    qtest_add_func("/virtio-blk-remap/slow/twice", test_slow_twice);
    qtest_add_func("/virtio-blk-remap/slow/human", test_slow_human);
    qtest_add_func("/virtio-blk-remap/slow/human-first", test_slow_human_first);
    qtest_add_data_func("/virtio-blk-remap/slow/reset", NULL_SLOW,
                        test_slow_reset);
    qtest_add_data_func("/virtio-blk-remap/slow/reset-throttled", THROTTLED,
                        test_slow_reset);
    qtest_add_func("/virtio-blk-remap/slow/unplug", test_slow_unplug);
    qtest_add_func("/virtio-blk-remap/parked", test_parked);
    qtest_add_func("/virtio-blk-remap/pending-unplug", test_pending_unplug);
    qtest_add_func("/virtio-blk-remap/node-stays", test_node_stays);
    return g_test_run();
}
