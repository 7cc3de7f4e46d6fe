/*
 * qtests of requests that wait for a restart of the VM, and of what else can
 * happen to a disk meanwhile
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
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

/* A read of virtqueue 1 fails and stops the VM; "slow" is for others */
#define BLKDEBUG " -blockdev driver=blkdebug,node-name=node1,image=node0," \
    "inject-error.0.event=none,inject-error.0.iotype=read," \
    "inject-error.0.once=on"
#define SLOW_COPY " -blockdev null-co,node-name=slow,size=16777216," \
    "latency-ns=1000000000"

typedef struct Waiting {
    VqTestDevice device;
    VqTest *t;
    VqTestRequest req;
    char *needle;       /* finds @req in the trace */
    int hmp;
    VqWatchdog *dog;
} Waiting;

static void wait_in_state(Waiting *w, unsigned vq, const char *state)
{
    gint64 deadline = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
    VqQueues queues;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(w->t->qts, "disk0", &queues);
    } while (strcmp(queues.vq[vq].state, state));
}

/* With a request of virtqueue 1 that waits, and the VM stopped by it */
static void waiting_begin(Waiting *w, const char *more_args)
{
    g_autofree char *hmp_args = NULL;
    g_autofree char *args = NULL;
    g_autofree char *greeting = NULL;
    VqQueues queues;

    w->hmp = vq_monitor_new_human(&hmp_args);
    args = g_strconcat(BLKDEBUG, more_args, hmp_args, NULL);
    w->device = vq_test_blk_pci;
    w->device.drive = ",\"drive\":\"node1\",\"rerror\":\"stop\",\"cyls\":2,"
                      "\"heads\":16,\"secs\":63";
    w->device.more_args = args;
    w->t = vq_test_new(&w->device, NUM_IOTHREADS, NUM_QUEUES,
                       ",\"iothread-vq-mapping\":[" T(0) "," T(1) "]");
    greeting = vq_monitor_receive_human(w->hmp);
    vq_test_start_driver(w->t);
    w->dog = vq_watchdog_begin(qtest_pid(w->t->qts), 2 * WAIT_S);
    w->req = vq_test_prepare_read(w->t, 1, &w->needle);
    vq_test_submit(w->t, &w->req, true);
    qtest_qmp_eventwait(w->t->qts, "STOP");
    vq_queues_query(w->t->qts, "disk0", &queues);
    g_assert_cmpuint(queues.vq[1].waiting, ==, 1);
    g_assert_cmpuint(queues.vq[1].in_flight, ==, 1);
}

static void waiting_end(Waiting *w)
{
    vq_watchdog_end(w->dog);
    close(w->hmp);
    g_free(w->needle);
    vq_test_free(w->t);
}

/* It completes, and was tried again by @iothread, or whichever if NULL */
static void waiting_complete(Waiting *w, const char *iothread)
{
    uint8_t in[VQ_TEST_SECTOR + 1];
    VqQueues queues;
    pid_t tids[8];
    unsigned n;

    vq_test_complete(w->t, &w->req, in);
    g_assert_cmpuint(in[VQ_TEST_SECTOR], ==, VIRTIO_BLK_S_OK);
    n = vq_test_traced_threads(w->t, w->needle, tids, ARRAY_SIZE(tids));
    g_assert_cmpuint(n, ==, 2);
    if (iothread) {
        g_assert_cmpint(tids[1], ==, vq_test_thread_id(w->t, iothread));
    }
    vq_queues_query(w->t->qts, "disk0", &queues);
    g_assert_cmpuint(queues.vq[1].waiting, ==, 0);
}

static void delete_iothreads(Waiting *w)
{
    for (unsigned i = 0; i < NUM_IOTHREADS; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);

        g_assert_null(vq_plug_object_del(w->t->qts, name));
    }
}

/* The disk goes with it */
static void test_unplug(void)
{
    Waiting w;

    waiting_begin(&w, "");
    qtest_qmp_device_del_send(w.t->qts, "disk0");
    vq_plug_eject(w.t->qts, SLOT_DISK0);
    vq_plug_wait_gone(w.t->qts, "disk0");
    delete_iothreads(&w);
    qtest_qmp_assert_success(w.t->qts, "{'execute': 'cont'}");
    waiting_end(&w);
}

static void test_system_reset(void)
{
    VqQueues queues;
    Waiting w;

    waiting_begin(&w, "");
    qtest_qmp_assert_success(w.t->qts, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(w.t->qts, "RESET");
    vq_queues_query(w.t->qts, "disk0", &queues);
    g_assert_cmpuint(queues.vq[1].waiting, ==, 0);
    g_assert_cmpuint(queues.vq[1].in_flight, ==, 0);
    waiting_end(&w);
}

/* A mirror that has ended keeps the disk drained until it is finalized */
static void hold_section(Waiting *w)
{
    qtest_qmp_assert_success(w->t->qts,
        "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'mirror',"
        " 'device': 'node1', 'target': 'slow', 'sync': 'none',"
        " 'auto-finalize': false}}");
    qtest_qmp_eventwait(w->t->qts, "BLOCK_JOB_READY");
    qtest_qmp_assert_success(w->t->qts,
        "{'execute': 'block-job-cancel', 'arguments': {'device': 'mirror'}}");
    qtest_qmp_eventwait(w->t->qts, "BLOCK_JOB_PENDING");
}

static void finalize(Waiting *w)
{
    qtest_qmp_assert_success(w->t->qts,
        "{'execute': 'job-finalize', 'arguments': {'id': 'mirror'}}");
    qtest_qmp_eventwait(w->t->qts, "BLOCK_JOB_COMPLETED");
}

/* A remap in the section ends, and the request is tried again after it */
static void test_section_remap(void)
{
    VqRemapResult result;
    VqQueues queues;
    Waiting w;

    waiting_begin(&w, SLOW_COPY);
    hold_section(&w);
    qtest_qmp_assert_success(w.t->qts, "{'execute': 'cont'}");
    vq_remap(w.t->qts, "disk0", "[" T(2) "]", &result);
    g_assert_cmpuint(result.num, ==, NUM_QUEUES);
    vq_queues_query(w.t->qts, "disk0", &queues);
    g_assert_cmpuint(queues.vq[1].waiting, ==, 1);
    finalize(&w);
    waiting_complete(&w, "iothread2");
    waiting_end(&w);
}

/* The disk is reset in the section, and nothing comes of the request */
static void test_section_reset(void)
{
    VqQueues queues;
    Waiting w;

    waiting_begin(&w, SLOW_COPY);
    hold_section(&w);
    qtest_qmp_assert_success(w.t->qts, "{'execute': 'cont'}");
    vq_test_reset(w.t);
    vq_queues_query(w.t->qts, "disk0", &queues);
    g_assert_cmpuint(queues.vq[1].in_flight, ==, 0);
    finalize(&w);
    g_assert_cmpuint(vq_test_traced_threads(w.t, w.needle, NULL, 0), ==, 1);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        vq_test_read(w.t, vq);
    }
    waiting_end(&w);
}

/* The VM stops again in the section: the request still waits, then goes on */
static void test_section_stop(void)
{
    VqQueues queues;
    Waiting w;

    waiting_begin(&w, SLOW_COPY);
    hold_section(&w);
    for (unsigned i = 0; i < 3; i++) {
        qtest_qmp_assert_success(w.t->qts, "{'execute': 'cont'}");
        qtest_qmp_assert_success(w.t->qts, "{'execute': 'stop'}");
    }
    finalize(&w);
    vq_queues_query(w.t->qts, "disk0", &queues);
    g_assert_cmpuint(queues.vq[1].waiting, ==, 1);
    g_assert_cmpuint(vq_test_traced_threads(w.t, w.needle, NULL, 0), ==, 1);
    qtest_qmp_assert_success(w.t->qts, "{'execute': 'cont'}");
    waiting_complete(&w, "iothread1");
    waiting_end(&w);
}

/*
 * QMP remaps while HMP starts the disk, which waits for a job to pause. Its
 * owners are then the new ones, and only they.
 */
static void test_start_remap(void)
{
    g_autofree char *said = NULL;
    VqQueues queues;
    Waiting w;

    waiting_begin(&w, SLOW_COPY);
    qtest_qmp_assert_success(w.t->qts,
        "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'mirror',"
        " 'device': 'node1', 'target': 'slow', 'sync': 'full'}}");
    vq_monitor_send_human(w.hmp, "cont");
    for (unsigned i = 0; i < 3; i++) {
        vq_remap(w.t->qts, "disk0", i % 2 ? "[" T(0) "]" : "[" T(2) "]", NULL);
    }
    said = vq_monitor_receive_human(w.hmp);
    g_assert_null(strstr(said, "Error"));
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        wait_in_state(&w, vq, "attached");
    }
    vq_queues_query(w.t->qts, "disk0", &queues);
    /* By the owner that the virtqueue had when the start was through */
    waiting_complete(&w, NULL);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpstr(queues.vq[vq].iothread, ==, "iothread2");
        g_assert_cmpint(vq_test_read(w.t, vq), ==,
                        vq_test_thread_id(w.t, "iothread2"));
    }
    qtest_qmp_assert_success(w.t->qts, "{'execute': 'block-job-cancel',"
                             " 'arguments': {'device': 'mirror',"
                             " 'force': true}}");
    qtest_qmp_eventwait(w.t->qts, "BLOCK_JOB_CANCELLED");
    waiting_end(&w);
}

/* A virtqueue that waits is reset, the others are not */
static void test_queue_reset(void)
{
    VqQueues queues;
    Waiting w;

    waiting_begin(&w, "");
    vq_test_queue_reset(w.t, 1);
    vq_queues_query(w.t->qts, "disk0", &queues);
    g_assert_cmpuint(queues.vq[1].waiting, ==, 0);
    g_assert_cmpuint(queues.vq[1].in_flight, ==, 0);
    qtest_qmp_assert_success(w.t->qts, "{'execute': 'cont'}");
    wait_in_state(&w, 0, "attached");
    wait_in_state(&w, 1, "closed");
    g_assert_cmpint(vq_test_read(w.t, 0), ==,
                    vq_test_thread_id(w.t, "iothread0"));
    waiting_end(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/virtio-blk-restart/unplug", test_unplug);
    qtest_add_func("/virtio-blk-restart/system-reset", test_system_reset);
    qtest_add_func("/virtio-blk-restart/section/remap", test_section_remap);
    qtest_add_func("/virtio-blk-restart/section/reset", test_section_reset);
    qtest_add_func("/virtio-blk-restart/section/stop", test_section_stop);
    qtest_add_func("/virtio-blk-restart/start-remap", test_start_remap);
    qtest_add_func("/virtio-blk-restart/queue-reset", test_queue_reset);
    return g_test_run();
}
