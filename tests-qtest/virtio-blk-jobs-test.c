/*
 * A disk starts and stops while block jobs on it end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-test-util.h"
#include "vq-watchdog.h"

#define WATCHDOG_SECONDS 60

/*
 * How long the copy takes for each request, so also how long the mirror is
 * within its own drained section when it ends
 */
#define COPY_NS (2 * 1000000000ll)

/* And how long after it has traced that it begins with that */
#define SECTION_US (G_USEC_PER_SEC / 4)

typedef struct Test {
    VqTest *t;
    VqWatchdog *dog;
} Test;

/* A disk on node "disk" with one IOThread; "other" and "copy" are unused */
static Test test_begin(void)
{
    g_autofree char *nodes = g_strdup_printf(
        " -blockdev null-co,node-name=disk,read-zeroes=on,size=65536"
        " -blockdev null-co,node-name=other,read-zeroes=on,size=65536"
        " -blockdev null-co,node-name=copy,latency-ns=%lld,size=65536",
        COPY_NS);
    static VqTestDevice device;
    Test test;

    device = vq_test_blk_pci;
    device.drive = ",\"drive\":\"disk\"";
    device.more_args = nodes;
    device.more_traces = "-trace mirror_before_drain";
    test.t = vq_test_new(&device, 1, 1, ",\"iothread\":\"iothread0\"");
    test.dog = vq_watchdog_begin(qtest_pid(test.t->qts), WATCHDOG_SECONDS);
    return test;
}

/* The IOThread serves the disk again, whatever has happened */
static void test_end(Test *test)
{
    g_assert_cmpint(vq_test_read(test->t, 0), ==,
                    vq_test_thread_id(test->t, "iothread0"));
    vq_watchdog_end(test->dog);
    vq_test_free(test->t);
}

/* Mirror @node */
static void mirror_begin(Test *test, const char *node, bool auto_finalize)
{
    qtest_qmp_assert_success(test->t->qts,
        "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'mirror',"
        " 'device': %s, 'target': 'copy', 'sync': 'none',"
        " 'filter-node-name': 'filter', 'auto-finalize': %i}}",
        node, auto_finalize);
    qtest_qmp_eventwait(test->t->qts, "BLOCK_JOB_READY");
}

/* Tell it to end, and leave the disk as it is */
static void mirror_end(Test *test)
{
    qtest_qmp_assert_success(test->t->qts,
        "{'execute': 'block-job-cancel', 'arguments': {'device': 'mirror'}}");
}

/* The same after a write, until it flushes that and cannot pause */
static void mirror_end_and_wait_for_section(Test *test)
{
    mirror_end(test);
    while (!vq_test_count_event(test->t, "mirror_before_drain", "")) {
        g_usleep(1000);
    }
    g_usleep(SECTION_US);
}

static bool mirror_is_over(Test *test)
{
    QDict *event;

    /* What has happened before an answer is read before it */
    qtest_qmp_assert_success(test->t->qts, "{'execute': 'query-name'}");
    event = qtest_qmp_event_ref(test->t->qts, "BLOCK_JOB_COMPLETED");
    qobject_unref(event);
    return event;
}

static void mirror_wait_over(Test *test)
{
    while (!mirror_is_over(test)) {
        g_usleep(1000);
    }
}

/* From its end until mirror_finalize() it keeps the disk drained */
static void mirror_begin_and_hold(Test *test)
{
    mirror_begin(test, "disk", false);
    mirror_end(test);
    qtest_qmp_eventwait(test->t->qts, "BLOCK_JOB_PENDING");
}

static void mirror_finalize(Test *test)
{
    g_assert_false(mirror_is_over(test));
    qtest_qmp_assert_success(test->t->qts,
        "{'execute': 'job-finalize', 'arguments': {'id': 'mirror'}}");
    mirror_wait_over(test);
}

static void stop_and_cont(Test *test)
{
    qtest_qmp_assert_success(test->t->qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(test->t->qts, "{'execute': 'cont'}");
}

/* The node changes threads with the disk while a job cannot be paused */
static void test_end_reset(void)
{
    Test test = test_begin();

    vq_test_start_driver(test.t);
    mirror_begin(&test, "disk", true);
    vq_test_write_pattern(test.t, 0, 0, 1);
    mirror_end_and_wait_for_section(&test);
    vq_test_reset(test.t);
    mirror_wait_over(&test);
    test_end(&test);
}

static void test_end_stop(void)
{
    Test test = test_begin();

    vq_test_start_driver(test.t);
    mirror_begin(&test, "disk", true);
    vq_test_write_pattern(test.t, 0, 0, 1);
    mirror_end_and_wait_for_section(&test);
    stop_and_cont(&test);
    mirror_wait_over(&test);
    test_end(&test);
}

static void test_end_start(void)
{
    Test test = test_begin();

    vq_test_start_driver(test.t);
    mirror_begin(&test, "disk", true);
    vq_test_write_pattern(test.t, 0, 0, 1);
    vq_test_stop_driver(test.t);
    mirror_end_and_wait_for_section(&test);
    vq_test_start_driver(test.t);
    mirror_wait_over(&test);
    test_end(&test);
}

/* Nobody waits for jobs of others */
static void test_end_other(void)
{
    g_autofree char *answer = NULL;
    Test test = test_begin();

    vq_test_start_driver(test.t);
    mirror_begin(&test, "other", true);
    answer = qtest_hmp(test.t->qts, "qemu-io filter \"write -q 0 4k\"");
    g_assert_cmpstr(answer, ==, "");
    mirror_end_and_wait_for_section(&test);
    vq_test_reset(test.t);
    g_assert_false(mirror_is_over(&test));
    mirror_wait_over(&test);
    test_end(&test);
}

/* A request that came in a drained section is gone after a reset */
static void test_held_reset(void)
{
    g_autofree char *needle = NULL;
    Test test = test_begin();
    VqTestRequest req;
    uint64_t status;

    vq_test_start_driver(test.t);
    mirror_begin_and_hold(&test);
    req = vq_test_prepare_read(test.t, 0, &needle);
    status = req.addr + req.out_len + req.in_len - 1;
    qtest_writeb(test.t->qts, status, 0xee);
    vq_test_submit(test.t, &req, true);
    vq_test_reset(test.t);

    mirror_finalize(&test);
    g_assert_cmpint(vq_test_read(test.t, 0), ==,
                    vq_test_thread_id(test.t, "iothread0"));
    g_assert_cmphex(qtest_readb(test.t->qts, status), ==, 0xee);
    g_assert_cmpuint(vq_test_traced_threads(test.t, needle, NULL, 0), ==, 0);
    test_end(&test);
}

/* And one that did when the VM was stopped is for the IOThread */
static void test_held_stop(void)
{
    g_autofree char *needle = NULL;
    Test test = test_begin();
    VqTestRequest req;

    vq_test_start_driver(test.t);
    mirror_begin_and_hold(&test);
    req = vq_test_prepare_read(test.t, 0, &needle);
    vq_test_submit(test.t, &req, true);
    stop_and_cont(&test);

    mirror_finalize(&test);
    vq_test_complete_read(test.t, &req);
    g_assert_cmpint(vq_test_traced_thread(test.t, needle), ==,
                    vq_test_thread_id(test.t, "iothread0"));
    test_end(&test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/virtio-blk-jobs/end/reset", test_end_reset);
    qtest_add_func("/virtio-blk-jobs/end/stop", test_end_stop);
    qtest_add_func("/virtio-blk-jobs/end/start", test_end_start);
    qtest_add_func("/virtio-blk-jobs/end/other", test_end_other);
    qtest_add_func("/virtio-blk-jobs/held/reset", test_held_reset);
    qtest_add_func("/virtio-blk-jobs/held/stop", test_held_stop);
    return g_test_run();
}
