/*
 * qtests of virtio-blk-set-iothread-vq-mapping on a storage that is slow, or
 * does not answer at all
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "libqmp.h"
#include "standard-headers/linux/virtio_blk.h"
#include "vq-monitor.h"
#include "vq-plug.h"
#include "vq-queues.h"
#include "vq-remap.h"
#include "vq-test-util.h"
#include "vq-watchdog.h"

#define NUM_QUEUES 4
#define NUM_IOTHREADS 3
#define SLOT_DISK0 4
#define WAIT_S 60
#define T(i) "{\"iothread\":\"iothread" #i "\"}"
#define TV(i, vqs) "{\"iothread\":\"iothread" #i "\",\"vqs\":[" vqs "]}"

/* A request takes half a second, or an hour: more than anybody waits */
#define NULL_NODE(ns) " -blockdev null-co,node-name=slow,size=16777216," \
    "latency-ns=" ns
#define SLOW NULL_NODE("500000000")
#define DEAD NULL_NODE("3600000000000")
#define THROTTLED " -object throttle-group,id=group,x-iops-total=2 " \
    "-blockdev driver=throttle,node-name=slow,throttle-group=group,file=node0"

/* Requests on one virtqueue, that all began in iothread0 */
typedef struct Slow {
    VqTestDevice device;
    VqTest *t;
    VqTestRequest requests[4];
    int qmp;        /* another QMP monitor */
    int hmp;        /* and one for HMP */
} Slow;

static void slow_query(Slow *slow, VqQueues *queues)
{
    vq_queues_query(slow->t->qts, "disk0", queues);
}

static void slow_begin(Slow *slow, const char *more_args, unsigned vq)
{
    gint64 deadline = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
    g_autofree char *hmp_args = NULL;
    g_autofree char *args = NULL;
    g_autofree char *greeting = NULL;
    VqQueues queues;
    uint64_t taken;

    slow->hmp = vq_monitor_new_human(&hmp_args);
    args = g_strconcat(more_args, hmp_args, NULL);
    slow->device = vq_test_blk_pci;
    /* With a geometry, or it would be read from the disk */
    slow->device.drive = ",\"drive\":\"slow\",\"cyls\":2,\"heads\":16,"
                         "\"secs\":63";
    slow->device.more_args = args;
    slow->t = vq_test_new(&slow->device, NUM_IOTHREADS, NUM_QUEUES,
                          ",\"iothread-vq-mapping\":[" T(0) "]");
    vq_test_start_driver(slow->t);
    slow->qmp = vq_monitor_open(slow->t->monitor);
    greeting = vq_monitor_receive_human(slow->hmp);
    for (unsigned i = 0; i < ARRAY_SIZE(slow->requests); i++) {
        g_autofree char *needle = NULL;

        slow->requests[i] = vq_test_prepare_read(slow->t, vq, &needle);
        vq_test_submit(slow->t, &slow->requests[i], true);
    }
    /* Some may be complete by now, when they are throttled */
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        slow_query(slow, &queues);
        taken = queues.vq[vq].in_flight + vq_queues_requests(&queues.vq[vq]);
    } while (taken < ARRAY_SIZE(slow->requests));
    g_assert_cmpuint(queues.vq[vq].in_flight, >, 0);
}

/* Until virtqueue @vq is in @state */
static void slow_wait_state(Slow *slow, unsigned vq, const char *state)
{
    gint64 deadline = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
    VqQueues queues;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        slow_query(slow, &queues);
    } while (strcmp(queues.vq[vq].state, state));
}

static void slow_free(Slow *slow)
{
    close(slow->qmp);
    close(slow->hmp);
    vq_test_free(slow->t);
}

/*
 * QEMU would wait for its requests at the end. libqtest takes its death for a
 * failure, so slow->t is left to the end of this process.
 */
static void slow_kill(Slow *slow)
{
    VqTest *t = slow->t;
    pid_t pid = qtest_pid(t->qts);

    close(slow->qmp);
    close(slow->hmp);
    qtest_remove_abrt_handler(t->qts);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    g_unlink(t->log);
    g_unlink(t->image);
    g_unlink(t->monitor);
}

static void slow_end(Slow *slow, const char *owners)
{
    uint8_t in[VQ_TEST_SECTOR + 1];
    VqQueues queues;

    for (unsigned i = 0; i < ARRAY_SIZE(slow->requests); i++) {
        vq_test_complete(slow->t, &slow->requests[i], in);
        g_assert_cmpuint(in[VQ_TEST_SECTOR], ==, VIRTIO_BLK_S_OK);
    }
    slow_query(slow, &queues);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_autofree char *name = vq_remap_owner_name(owners[vq]);

        g_assert_cmpint(vq_test_read(slow->t, vq), ==,
                        vq_test_thread_id(slow->t, name));
        g_assert_cmpstr(queues.vq[vq].iothread, ==, name ?: "");
    }
    slow_free(slow);
}

/* It waits for its own requests, and nothing waits with it */
static void test_waits(const void *opaque)
{
    VqRemapResult result;
    VqQueues queues;
    Slow slow;

    slow_begin(&slow, opaque, 2);
    vq_remap_begin(slow.t->qts, "disk0", "[" TV(0, "0,1,3") "," TV(1, "2") "]");
    slow_query(&slow, &queues);
    g_assert_true(queues.remapping);
    g_assert_true(queues.vq[2].remap);
    g_assert_cmpstr(queues.vq[2].remap_iothread, ==, "iothread1");
    g_assert_cmpstr(queues.vq[2].iothread, ==, "iothread0");
    g_assert_cmpuint(queues.vq[2].remap_requests, >, 0);
    g_assert_false(queues.vq[0].remap);

    vq_remap_wait(slow.t->qts, "disk0", &result);
    g_assert_cmpuint(result.num, ==, 1);
    g_assert_cmpuint(result.moves[0].index, ==, 2);
    g_assert_cmpstr(result.moves[0].from, ==, "iothread0");
    g_assert_cmpstr(result.moves[0].to, ==, "iothread1");
    g_assert_cmpuint(result.moves[0].unserved_ns, >, 100 * 1000 * 1000);
    slow_query(&slow, &queues);
    g_assert_false(queues.remapping);
    slow_end(&slow, "0010");
}

/* Another mapping says where they go now; there is one event */
static void test_replaced(void)
{
    VqRemapResult result;
    Slow slow;

    slow_begin(&slow, SLOW, 2);
    vq_remap_begin(slow.t->qts, "disk0", "[" TV(0, "0,1,3") "," TV(1, "2") "]");
    vq_remap_begin(slow.t->qts, "disk0", "[" TV(0, "0,1,3") "," TV(2, "2") "]");
    vq_remap_wait(slow.t->qts, "disk0", &result);
    g_assert_cmpuint(result.num, ==, 1);
    g_assert_cmpstr(result.moves[0].from, ==, "iothread0");
    g_assert_cmpstr(result.moves[0].to, ==, "iothread2");
    g_assert_null(qtest_qmp_event_ref(slow.t->qts, "VIRTIO_BLK_REMAPPED"));
    g_assert_null(vq_plug_object_del(slow.t->qts, "iothread1"));
    slow_end(&slow, "0020");
}

/* The old mapping is the way back, though nothing completes */
static void test_taken_back(void)
{
    VqRemapResult result;
    VqQueues queues;
    Slow slow;

    slow_begin(&slow, DEAD, 2);
    for (unsigned i = 0; i < 100; i++) {
        vq_remap_begin(slow.t->qts, "disk0",
                       "[" TV(0, "0,1,3") "," TV(1, "2") "]");
        if (i % 2) {
            slow_wait_state(&slow, 2, "leaving");
        }
        vq_remap(slow.t->qts, "disk0", "[" T(0) "]", &result);
        g_assert_cmpuint(result.num, ==, 1);
        g_assert_cmpstr(result.moves[0].from, ==, "iothread0");
        g_assert_cmpstr(result.moves[0].to, ==, "iothread0");
        slow_query(&slow, &queues);
        g_assert_cmpstr(queues.vq[2].state, ==, "attached");
        g_assert_cmpuint(queues.vq[2].in_flight, ==, 4);
    }

    /* It takes requests again */
    {
        g_autofree char *needle = NULL;
        VqTestRequest req = vq_test_prepare_read(slow.t, 2, &needle);
        gint64 deadline = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;

        vq_test_submit(slow.t, &req, true);
        do {
            g_assert_cmpint(g_get_monotonic_time(), <, deadline);
            slow_query(&slow, &queues);
        } while (queues.vq[2].in_flight < 5);
    }
    slow_kill(&slow);
}

/* Every monitor answers while nothing completes, and so does the guest's RAM */
static void test_monitors(void)
{
    g_autofree char *said = NULL;
    g_autofree char *info = NULL;
    VqWatchdog *dog;
    uint8_t byte;
    Slow slow;

    slow_begin(&slow, DEAD, 2);
    dog = vq_watchdog_begin(qtest_pid(slow.t->qts), WAIT_S);
    vq_monitor_send_human(slow.hmp, "virtio_blk_remap disk0 iothread1");
    said = vq_monitor_receive_human(slow.hmp);
    g_assert_null(strstr(said, "Error"));
    slow_wait_state(&slow, 2, "leaving");

    qmp_fd_send(slow.qmp, "{'execute': 'query-status'}");
    vq_monitor_assert_success(slow.qmp);
    qtest_memread(slow.t->qts, 0, &byte, 1);
    vq_monitor_send_human(slow.hmp, "info virtio-blk-queues disk0");
    info = vq_monitor_receive_human(slow.hmp);
    g_assert_nonnull(strstr(info, "remapped to iothread1, leaving, waits for 4 "
                            "requests"));
    qtest_qmp_assert_success(slow.t->qts, "{'execute': 'query-block'}");

    /* The other virtqueues have arrived, and are served */
    slow_wait_state(&slow, 0, "attached");
    slow_wait_state(&slow, 3, "attached");
    vq_watchdog_end(dog);
    slow_kill(&slow);
}

/* A node that does not come to rest stays, and the remap ends */
static void test_node_busy(void)
{
    VqRemapResult result;
    VqWatchdog *dog;
    VqQueues queues;
    Slow slow;

    slow_begin(&slow, DEAD, 2);
    dog = vq_watchdog_begin(qtest_pid(slow.t->qts), WAIT_S);
    vq_remap(slow.t->qts, "disk0", "[" TV(1, "0") "," TV(0, "1,2,3") "]",
             &result);
    g_assert_cmpuint(result.num, ==, 1);
    g_assert_cmpstr(result.node, ==, "busy");
    slow_query(&slow, &queues);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        slow_wait_state(&slow, vq, "attached");
    }
    g_assert_cmpstr(queues.vq[0].iothread, ==, "iothread1");
    vq_watchdog_end(dog);
    slow_kill(&slow);
}

/* The guest resets the disk meanwhile, or the user stops the VM */
static void test_reset(const void *opaque)
{
    VqRemapResult result;
    VqWatchdog *dog;
    Slow slow;

    slow_begin(&slow, opaque, 2);
    vq_remap_begin(slow.t->qts, "disk0", "[" TV(0, "0,1,3") "," TV(1, "2") "]");
    dog = vq_watchdog_begin(qtest_pid(slow.t->qts), WAIT_S);
    vq_test_reset(slow.t);
    vq_remap_wait(slow.t->qts, "disk0", &result);
    g_assert_cmpuint(result.num, ==, 1);
    g_assert_cmpstr(result.moves[0].to, ==, "iothread1");
    g_assert_cmpint(vq_test_read(slow.t, 2), ==,
                    vq_test_thread_id(slow.t, "iothread1"));
    vq_watchdog_end(dog);
    slow_free(&slow);
}

static void test_stop(void)
{
    VqRemapResult result;
    VqWatchdog *dog;
    Slow slow;

    slow_begin(&slow, SLOW, 2);
    dog = vq_watchdog_begin(qtest_pid(slow.t->qts), WAIT_S);
    vq_remap_begin(slow.t->qts, "disk0", "[" T(1) "]");
    qtest_qmp_assert_success(slow.t->qts, "{'execute': 'stop'}");
    vq_remap_wait(slow.t->qts, "disk0", &result);
    g_assert_cmpuint(result.num, ==, NUM_QUEUES);
    qtest_qmp_assert_success(slow.t->qts, "{'execute': 'cont'}");
    vq_watchdog_end(dog);
    slow_end(&slow, "1111");
}

/* The guest gives the disk up meanwhile */
static void test_unplug(void)
{
    VqWatchdog *dog;
    Slow slow;

    slow_begin(&slow, SLOW, 2);
    vq_remap_begin(slow.t->qts, "disk0", "[" TV(0, "0,1,3") "," TV(1, "2") "]");
    dog = vq_watchdog_begin(qtest_pid(slow.t->qts), WAIT_S);
    vq_plug_eject(slow.t->qts, SLOT_DISK0);
    vq_plug_wait_gone(slow.t->qts, "disk0");
    for (unsigned i = 0; i < NUM_IOTHREADS; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);

        g_assert_null(vq_plug_object_del(slow.t->qts, name));
    }
    vq_watchdog_end(dog);
    slow_free(&slow);
}

/* A virtqueue that is not there, and one that is leaving, are reset */
static void test_queue_reset(void)
{
    VqRemapResult result;
    VqWatchdog *dog;
    Slow slow;

    slow_begin(&slow, SLOW, 2);
    dog = vq_watchdog_begin(qtest_pid(slow.t->qts), WAIT_S);
    vq_remap_begin(slow.t->qts, "disk0", "[" TV(0, "0,1,3") "," TV(1, "2") "]");
    vq_test_queue_reset(slow.t, NUM_QUEUES + 1);
    vq_test_queue_reset(slow.t, 2);
    vq_remap_wait(slow.t->qts, "disk0", &result);
    g_assert_cmpuint(result.num, ==, 1);
    g_assert_cmpstr(result.moves[0].to, ==, "iothread1");
    g_assert_cmpint(vq_test_read(slow.t, 0), ==,
                    vq_test_thread_id(slow.t, "iothread0"));
    vq_watchdog_end(dog);
    slow_free(&slow);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/virtio-blk-remap-slow/waits/backend", SLOW,
                        test_waits);
    qtest_add_data_func("/virtio-blk-remap-slow/waits/throttled", THROTTLED,
                        test_waits);
    qtest_add_func("/virtio-blk-remap-slow/replaced", test_replaced);
    qtest_add_func("/virtio-blk-remap-slow/taken-back", test_taken_back);
    qtest_add_func("/virtio-blk-remap-slow/monitors", test_monitors);
    qtest_add_func("/virtio-blk-remap-slow/node-busy", test_node_busy);
    qtest_add_data_func("/virtio-blk-remap-slow/reset/backend", SLOW,
                        test_reset);
    qtest_add_data_func("/virtio-blk-remap-slow/reset/throttled", THROTTLED,
                        test_reset);
    qtest_add_func("/virtio-blk-remap-slow/stop", test_stop);
    qtest_add_func("/virtio-blk-remap-slow/unplug", test_unplug);
    qtest_add_func("/virtio-blk-remap-slow/queue-reset", test_queue_reset);
    return g_test_run();
}
