/*
 * qtests of how virtio-blk starts and stops serving its virtqueues: which of
 * them, what happens when it cannot, and that nothing is handled in a drained
 * section
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqmp.h"
#include "libqos/virtio-pci.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "vq-fault-util.h"
#include "vq-monitor.h"
#include "vq-watchdog.h"

#define NUM_QUEUES 3
#define WATCHDOG_S 120
/*
 * What a start opens: a guest notifier per virtqueue, one for the config
 * interrupt, and a host notifier per virtqueue
 */
#define NUM_NOTIFIERS (NUM_QUEUES + 1 + NUM_QUEUES)

/* IOThread i serves virtqueue NUM_QUEUES - 1 - i */
#define MAPPING \
    ",\"iothread-vq-mapping\":[" \
    "{\"iothread\":\"iothread0\",\"vqs\":[2]}," \
    "{\"iothread\":\"iothread1\",\"vqs\":[1]}," \
    "{\"iothread\":\"iothread2\",\"vqs\":[0]}]"

static VqTest *new_disk(const VqTestDevice *device)
{
    return vq_test_new(device, NUM_QUEUES, NUM_QUEUES, MAPPING);
}

static pid_t owner_tid(VqTest *t, unsigned vq)
{
    g_autofree char *name = g_strdup_printf("iothread%u", NUM_QUEUES - 1 - vq);

    return vq_test_thread_id(t, name);
}

static void assert_owners(VqTest *t)
{
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpint(vq_test_read(t, vq), ==, owner_tid(t, vq));
    }
}

static void assert_main_loop(VqTest *t)
{
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpint(vq_test_read(t, vq), ==, vq_test_thread_id(t, NULL));
    }
}

static void stop(VqTest *t)
{
    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
}

static void cont(VqTest *t)
{
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
    qtest_qmp_eventwait(t->qts, "RESUME");
}

/*
 * The notifier after the first @opened cannot be opened: the main loop serves
 * the disk, and the next start, of whatever kind, is as if nothing had been.
 */
static void failed_start(const VqTestDevice *device, unsigned opened)
{
    VqTest *t = new_disk(device);
    VqWatchdog *dog = vq_watchdog_begin(qtest_pid(t->qts), WATCHDOG_S);
    unsigned fds;

    vq_test_setup_driver(t, NUM_QUEUES);
    fds = vq_fault_count_fds(t);
    if (!vq_fault_limit_fds(t, opened)) {
        goto out;
    }
    qvirtio_set_driver_ok(t->vdev);
    vq_fault_unlimit_fds(t);

    if (opened >= NUM_NOTIFIERS) {
        /* The test knows what a start opens */
        assert_owners(t);
        vq_test_stop_driver(t);
        g_assert_cmpuint(vq_fault_count_fds(t), ==, fds);
        goto out;
    }
    assert_main_loop(t);
    g_assert_cmpuint(vq_fault_count_fds(t), ==, fds);

    /* The VM goes on: another start, which succeeds */
    stop(t);
    cont(t);
    assert_owners(t);
    stop(t);
    g_assert_cmpuint(vq_fault_count_fds(t), ==, fds);

    /* It goes on, and the start fails */
    vq_fault_limit_fds(t, opened);
    cont(t);
    vq_fault_unlimit_fds(t);
    assert_main_loop(t);

    /* The guest resets the device, twice, with a good start between */
    for (int i = 0; i < 2; i++) {
        vq_test_stop_driver(t);
        g_assert_cmpuint(vq_fault_count_fds(t), ==, fds);
        vq_test_start_driver(t);
        assert_owners(t);
    }
    vq_test_stop_driver(t);
    g_assert_cmpuint(vq_fault_count_fds(t), ==, fds);
    vq_test_start_driver(t);
    assert_owners(t);
out:
    vq_watchdog_end(dog);
    vq_test_free(t);
}

static void test_failed_start_pci(const void *opaque)
{
    failed_start(&vq_test_blk_pci, GPOINTER_TO_UINT(opaque));
}

static void test_failed_start_mmio(const void *opaque)
{
    failed_start(&vq_test_blk_mmio, GPOINTER_TO_UINT(opaque));
}

/*
 * A request that the guest puts into a ring while the VM is stopped, or without
 * a kick because an IOThread is polling, is found by a failed start as well.
 */
static void test_failed_start_finds_requests(void)
{
    VqTest *t = new_disk(&vq_test_blk_pci);
    VqTestRequest req[NUM_QUEUES];
    char *needle[NUM_QUEUES];

    vq_test_start_driver(t);
    assert_owners(t);
    stop(t);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        req[vq] = vq_test_prepare_read(t, vq, &needle[vq]);
        vq_test_submit(t, &req[vq], false);
    }
    if (vq_fault_limit_fds(t, 0)) {
        cont(t);
        vq_fault_unlimit_fds(t);
        for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
            vq_test_complete_read(t, &req[vq]);
            g_assert_cmpint(vq_test_traced_thread(t, needle[vq]), ==,
                            vq_test_thread_id(t, NULL));
        }
    }
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_free(needle[vq]);
    }
    vq_test_free(t);
}

/* A read fails, which stops the VM, and is done again when it goes on */
static void failed_read(bool start_fails)
{
    VqTestDevice device = vq_test_blk_pci;
    g_autofree char *needle = NULL;
    uint8_t in[VQ_TEST_SECTOR + 1];
    pid_t tids[2] = {};
    VqTestRequest req;
    VqTest *t;

    device.drive = ",\"drive\":\"node1\",\"rerror\":\"stop\"";
    device.more_args = " -blockdev driver=blkdebug,node-name=node1,"
                       "image=node0,inject-error.0.event=none,"
                       "inject-error.0.sector=2,inject-error.0.once=on";
    t = new_disk(&device);
    vq_test_start_driver(t);

    req = vq_test_prepare_read(t, 1, &needle);
    vq_test_submit(t, &req, true);
    qtest_qmp_eventwait(t->qts, "STOP");

    if (start_fails && !vq_fault_limit_fds(t, 0)) {
        goto out;
    }
    cont(t);
    if (start_fails) {
        vq_fault_unlimit_fds(t);
    }
    vq_test_complete(t, &req, in);

    g_assert_cmpuint(vq_test_traced_threads(t, needle, tids, 2), ==, 2);
    g_assert_cmpint(tids[0], ==, owner_tid(t, 1));
    g_assert_cmpint(tids[1], ==,
                    start_fails ? vq_test_thread_id(t, NULL)
                                : owner_tid(t, 1));

    /* Data and status are in one descriptor: virtio 1.2, 2.7.4 */
    g_assert_cmpuint(in[VQ_TEST_SECTOR], ==, VIRTIO_BLK_S_OK);
    for (int i = 0; i < VQ_TEST_SECTOR; i++) {
        g_assert_cmphex(in[i], ==, 0);
    }
out:
    vq_test_free(t);
}

static void test_restart(void)
{
    failed_read(false);
}

static void test_failed_start_restart(void)
{
    failed_read(true);
}

/*
 * A request that the main loop has taken, after a start that failed, ends when
 * a drained section does, and the virtqueue's owner must hear of it: it has
 * been told to give the virtqueue to another.
 */
static void test_failed_start_remap(void)
{
    VqTest *t = new_disk(&vq_test_blk_pci);
    VqWatchdog *dog = vq_watchdog_begin(qtest_pid(t->qts), 60);
    g_autofree char *needle = NULL;
    VqTestRequest req;

    vq_test_setup_driver(t, NUM_QUEUES);
    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'copy',"
                             "  'size': %d}}", VQ_TEST_DISK_SIZE);
    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-mirror',"
                             " 'arguments': {'job-id': 'mirror',"
                             "  'device': 'node0', 'target': 'copy',"
                             "  'sync': 'none', 'auto-finalize': false}}");
    qtest_qmp_eventwait(t->qts, "BLOCK_JOB_READY");
    qtest_qmp_assert_success(t->qts, "{'execute': 'block-job-cancel',"
                             " 'arguments': {'device': 'mirror'}}");
    qtest_qmp_eventwait(t->qts, "BLOCK_JOB_PENDING");

    if (!vq_fault_limit_fds(t, 0)) {
        goto out;
    }
    qvirtio_set_driver_ok(t->vdev);
    vq_fault_unlimit_fds(t);
    req = vq_test_prepare_read(t, 1, &needle);
    vq_test_submit(t, &req, true);
    stop(t);
    cont(t);
    qtest_qmp_assert_success(t->qts,
                             "{'execute': 'virtio-blk-set-iothread-vq-mapping',"
                             " 'arguments': {'id': 'disk0',"
                             "  'iothread-vq-mapping':"
                             "  [{'iothread': 'iothread0'}]}}");
    qtest_qmp_assert_success(t->qts, "{'execute': 'job-finalize',"
                             " 'arguments': {'id': 'mirror'}}");
    qtest_qmp_eventwait(t->qts, "VIRTIO_BLK_REMAPPED");
    vq_test_complete_read(t, &req);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpint(vq_test_read(t, vq), ==,
                        vq_test_thread_id(t, "iothread0"));
    }
out:
    vq_watchdog_end(dog);
    vq_test_free(t);
}

/* virtio-scsi with an IOThread survives a reset after a failed start */
static void test_failed_start_scsi(void)
{
    VqTest *t = vq_test_new(&vq_test_scsi_pci, 1, 2,
                            ",\"iothread\":\"iothread0\"");
    static const uint8_t cdb_test_unit_ready[51] = { 1, 0 };
    uint8_t in[108] = {};

    vq_test_setup_driver(t, 2);
    if (vq_fault_limit_fds(t, 0)) {
        qvirtio_set_driver_ok(t->vdev);
        vq_fault_unlimit_fds(t);
        vq_test_request(t, 0, cdb_test_unit_ready, sizeof(cdb_test_unit_ready),
                        in, sizeof(in));
        vq_test_reset(t);
        vq_test_request(t, 1, cdb_test_unit_ready, sizeof(cdb_test_unit_ready),
                        in, sizeof(in));
        vq_test_stop_driver(t);
    }
    vq_test_free(t);
}

/* Start with virtqueue 0 alone; @fds: file descriptors before DRIVER_OK */
static VqTest *start_one(unsigned *fds)
{
    VqTest *t = new_disk(&vq_test_blk_pci);

    vq_test_setup_driver(t, 1);
    *fds = vq_fault_count_fds(t);
    qvirtio_set_driver_ok(t->vdev);
    return t;
}

/* Virtqueues that the guest does not use cost nothing until it does */
static void test_unused(void)
{
    unsigned fds;
    VqTest *t = start_one(&fds);

    g_assert_cmpint(vq_test_read(t, 0), ==, owner_tid(t, 0));
    g_assert_cmpuint(vq_fault_count_fds(t), ==, fds + NUM_QUEUES + 1 + 1);
    vq_test_free(t);
}

/* Virtio 1.2 has the guest set up a virtqueue before DRIVER_OK; be lenient */
static void test_late(void)
{
    unsigned fds;
    VqTest *t = start_one(&fds);

    g_assert_cmpint(vq_test_read(t, 0), ==, owner_tid(t, 0));

    t->vq[2] = qvirtqueue_setup(t->vdev, &t->alloc, 2);
    g_assert_cmpint(vq_test_read(t, 2), ==, owner_tid(t, 2));
    t->vq[1] = qvirtqueue_setup(t->vdev, &t->alloc, 1);
    g_assert_cmpint(vq_test_read(t, 1), ==, owner_tid(t, 1));
    assert_owners(t);

    stop(t);
    g_assert_cmpuint(vq_fault_count_fds(t), ==, fds);
    cont(t);
    assert_owners(t);
    vq_test_free(t);
}

static void test_late_fails(void)
{
    unsigned fds;
    VqTest *t = start_one(&fds);

    t->vq[2] = qvirtqueue_setup(t->vdev, &t->alloc, 2);
    t->vq[1] = qvirtqueue_setup(t->vdev, &t->alloc, 1);
    if (vq_fault_limit_fds(t, 0)) {
        g_assert_cmpint(vq_test_read(t, 1), ==, vq_test_thread_id(t, NULL));
        vq_fault_unlimit_fds(t);
        assert_main_loop(t);
        g_assert_cmpuint(vq_fault_count_fds(t), ==, fds);
        stop(t);
        cont(t);
        assert_owners(t);
    }
    vq_test_free(t);
}

/* Some guests kick before DRIVER_OK, and set up a virtqueue after that */
static void test_early_kick(void)
{
    VqTestDevice device = vq_test_blk_pci;
    VqTest *t;

    device.address = ",\"addr\":\"04.0\",\"disable-modern\":true,"
                     "\"disable-legacy\":\"off\"";
    t = new_disk(&device);
    vq_test_setup_driver(t, 1);
    g_assert_cmpint(vq_test_read(t, 0), ==, owner_tid(t, 0));
    t->vq[1] = qvirtqueue_setup(t->vdev, &t->alloc, 1);
    t->vq[2] = qvirtqueue_setup(t->vdev, &t->alloc, 2);
    qvirtio_set_driver_ok(t->vdev);
    assert_owners(t);
    vq_test_free(t);
}

/*
 * Virtio 1.2, 2.6.1: after the reset of a virtqueue the device does not touch
 * its ring, not even for a request that was in flight, and it works again.
 */
static void test_queue_reset(void)
{
    VqTestDevice device = vq_test_blk_pci;
    g_autofree char *needle = NULL;
    VqTestRequest req;
    uint64_t used;
    VqTest *t;

    device.drive = ",\"drive\":\"slow\"";
    device.more_args = " -blockdev driver=null-co,node-name=slow,"
                       "read-zeroes=on,latency-ns=300000000,size=16777216";
    t = new_disk(&device);
    vq_test_start_driver(t);
    g_assert_true(t->vdev->features & (1ull << VIRTIO_F_RING_RESET));

    req = vq_test_prepare_read(t, 1, &needle);
    vq_test_submit(t, &req, true);
    while (!vq_test_traced_threads(t, needle, NULL, 0)) {
        g_usleep(1000);
    }

    vq_test_queue_reset(t, 1);
    used = t->vq[1]->used + offsetof(struct vring_used, idx);
    qtest_writew(t->qts, used, 0xbeef);
    g_usleep(600 * 1000);
    g_assert_cmphex(qtest_readw(t->qts, used), ==, 0xbeef);

    /* The others do not notice */
    g_assert_cmpint(vq_test_read(t, 0), ==, owner_tid(t, 0));
    g_assert_cmpint(vq_test_read(t, 2), ==, owner_tid(t, 2));

    qvirtqueue_cleanup(t->vdev->bus, t->vq[1], &t->alloc);
    t->vq[1] = qvirtqueue_setup(t->vdev, &t->alloc, 1);
    assert_owners(t);
    vq_test_reset(t);
    assert_owners(t);
    vq_test_free(t);
}

/*
 * A drained section begins when no IOThread handles a virtqueue any more, and
 * not when they have been told so. Node and virtqueue are of different
 * IOThreads.
 */
static void test_drain_waits_for_handler(void)
{
    VqTest *t = new_disk(&vq_test_blk_pci);
    VqWatchdog *dog = vq_watchdog_begin(qtest_pid(t->qts), WATCHDOG_S);
    int qmp = vq_monitor_open(t->monitor);
    g_autofree char *needle = NULL;
    VqFaultFreezer freezer;
    VqTestRequest req;

    vq_test_start_driver(t);
    assert_owners(t);

    vq_fault_freeze(t, &freezer);
    req = vq_test_prepare_read(t, 1, &needle);
    vq_test_submit(t, &req, true);
    vq_fault_wait_frozen(t, owner_tid(t, 1));

    qmp_fd_send(qmp, "{'execute': 'block_resize', 'arguments':"
                " {'node-name': 'node0', 'size': %d}}",
                VQ_TEST_DISK_SIZE + 512);
    g_assert_false(vq_monitor_poll(qmp, 500));

    vq_fault_thaw(&freezer);
    vq_monitor_assert_success(qmp);
    vq_test_complete_read(t, &req);

    close(qmp);
    vq_watchdog_end(dog);
    vq_test_free(t);
}

static void trace_only(VqTest *t, const char *event)
{
    const struct {
        const char *name;
        bool enable;
    } steps[] = { { "*", false }, { event, true } };

    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        qtest_qmp_assert_success(t->qts, "{'execute': 'trace-event-set-state',"
                                 " 'arguments': {'name': %s, 'enable': %i,"
                                 "               'ignore-unavailable': true}}",
                                 steps[i].name, steps[i].enable);
    }
}

/*
 * A stop closes the guest notifiers when the guest has been told of each
 * request. An IOThread does that after the request has left the count of those
 * in flight, which draining waits for.
 */
static void test_stop_waits_for_interrupt(void)
{
    VqTest *t = new_disk(&vq_test_blk_pci);
    VqWatchdog *dog = vq_watchdog_begin(qtest_pid(t->qts), WATCHDOG_S);
    int qmp = vq_monitor_open(t->monitor);
    g_autofree char *needle = NULL;
    VqFaultFreezer freezer;
    VqTestRequest req;

    vq_test_start_driver(t);
    assert_owners(t);

    /* Hold the next request but one until the disk is drained */
    qtest_qmp_assert_success(t->qts, "{'execute': 'block_set_io_throttle',"
                             " 'arguments': {"
                             " 'id': '/machine/peripheral/disk0/virtio-backend',"
                             " 'bps': 1, 'bps_rd': 0, 'bps_wr': 0,"
                             " 'iops': 0, 'iops_rd': 0, 'iops_wr': 0}}");
    vq_test_read(t, 1);
    trace_only(t, "virtio_notify_irqfd_deferred_fn");
    vq_fault_freeze(t, &freezer);
    req = vq_test_prepare_read(t, 1, &needle);
    vq_test_submit(t, &req, true);

    qmp_fd_send(qmp, "{'execute': 'stop'}");
    vq_fault_wait_frozen(t, owner_tid(t, 1));
    g_assert_false(vq_monitor_poll(qmp, 500));

    vq_fault_thaw(&freezer);
    vq_monitor_assert_success(qmp);
    vq_test_complete_read(t, &req);

    close(qmp);
    vq_watchdog_end(dog);
    vq_test_free(t);
}

static void add_failed_starts(const char *transport, GTestDataFunc func)
{
    for (unsigned i = 0; i <= NUM_NOTIFIERS; i++) {
        g_autofree char *path = g_strdup_printf(
            "/virtio-blk-start-stop/%s/failed-start/%u", transport, i);

        qtest_add_data_func(path, GUINT_TO_POINTER(i), func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add_failed_starts("pci", test_failed_start_pci);
    add_failed_starts("mmio", test_failed_start_mmio);
    qtest_add_func("/virtio-blk-start-stop/failed-start/finds-requests",
                   test_failed_start_finds_requests);
    qtest_add_func("/virtio-blk-start-stop/failed-start/restart",
                   test_failed_start_restart);
    qtest_add_func("/virtio-blk-start-stop/failed-start/remap",
                   test_failed_start_remap);
    qtest_add_func("/virtio-blk-start-stop/failed-start/virtio-scsi",
                   test_failed_start_scsi);
    qtest_add_func("/virtio-blk-start-stop/restart", test_restart);
    qtest_add_func("/virtio-blk-start-stop/unused", test_unused);
    qtest_add_func("/virtio-blk-start-stop/late", test_late);
    qtest_add_func("/virtio-blk-start-stop/late-fails", test_late_fails);
    qtest_add_func("/virtio-blk-start-stop/early-kick", test_early_kick);
    qtest_add_func("/virtio-blk-start-stop/queue-reset", test_queue_reset);
    qtest_add_func("/virtio-blk-start-stop/drain-waits-for-handler",
                   test_drain_waits_for_handler);
    qtest_add_func("/virtio-blk-start-stop/stop-waits-for-interrupt",
                   test_stop_waits_for_interrupt);
    return g_test_run();
}
