/*
 * Block layer features under a load from the IOThreads of several virtqueues
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "vq-load/load.h"
#include "vq-watchdog.h"

#define DISK_SIZE (8 * 1024 * 1024)

/* Longer than any test takes; then QEMU hangs, or it lost an event */
#define DEADLINE_SECONDS 90
#define DEADLINE_US (DEADLINE_SECONDS * G_USEC_PER_SEC)

static VqWatchdog *dog;

static VqLoadConfig parse(const char *options, int64_t disk_size)
{
    g_autofree char *line =
        g_strdup_printf("--qemu %s --aio threads --dir %s "
                        "--disk-size %" PRId64 " --queues 4 --iothreads 4 "
                        "--depth 16 --threads 2 --stall 60 %s",
                        g_getenv("QTEST_QEMU_BINARY"), g_get_tmp_dir(),
                        disk_size, options);

    return vq_load_config_parse_line(line);
}

/* The load is not started yet; from now on QEMU has until the deadline */
static VqLoad *new_load(const VqLoadConfig *config)
{
    g_autofree char *error = NULL;
    VqLoad *load = vq_load_new(config, &error);

    g_assert_cmpstr(error, ==, NULL);
    dog = vq_watchdog_begin(vq_load_guest(load)->pid, DEADLINE_SECONDS);
    return load;
}

static void start_load(VqLoad *load)
{
    vq_load_start(load);
    vq_load_count(load);
}

static void stop_load(VqLoad *load)
{
    g_autofree char *error = vq_load_stop(load);

    g_assert_cmpstr(error, ==, NULL);
}

static void free_load(VqLoad *load)
{
    vq_load_free(load);
    vq_watchdog_end(dog);
}

/* Mirror the disk to node "target", until all that is written goes to both */
static void start_mirror(QTestState *qts)
{
    qtest_qmp_assert_success(qts,
        "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'mirror',"
        " 'device': 'disk', 'target': 'target', 'sync': 'full',"
        " 'copy-mode': 'write-blocking'}}");
    qtest_qmp_eventwait(qts, "BLOCK_JOB_READY");
}

/* The disk stays where it is, and the target is left as a copy of it */
static void end_mirror(QTestState *qts)
{
    qtest_qmp_assert_success(qts,
        "{'execute': 'block-job-cancel', 'arguments': {'device': 'mirror'}}");
    qtest_qmp_eventwait(qts, "BLOCK_JOB_COMPLETED");
    qtest_qmp_assert_success(qts,
        "{'execute': 'blockdev-del', 'arguments': {'node-name': 'target'}}");
}

/* Writes of all virtqueues are mirrored, and go on while the mirror ends */
static void test_mirror_active(void)
{
    VqLoadConfig config = parse("--backend null-co --mix write",
                                DISK_SIZE);
    VqLoad *load = new_load(&config);
    QTestState *qts = vq_load_guest(load)->qts;

    start_load(load);
    for (unsigned i = 0; i < 20; i++) {
        qtest_qmp_assert_success(qts,
            "{'execute': 'blockdev-add', 'arguments': {'driver': 'null-co',"
            " 'node-name': 'target', 'size': %d}}", DISK_SIZE);
        start_mirror(qts);
        g_usleep(100 * 1000);
        end_mirror(qts);
    }
    stop_load(load);
    free_load(load);
}

static void assert_same_contents(const char *source, const char *target)
{
    g_autofree char *wanted = NULL, *found = NULL;
    gsize wanted_size, found_size;

    g_assert_true(g_file_get_contents(source, &wanted, &wanted_size, NULL));
    g_assert_true(g_file_get_contents(target, &found, &found_size, NULL));
    g_assert_cmpuint(wanted_size, ==, found_size);
    for (size_t i = 0; i < wanted_size; i += 512) {
        if (memcmp(wanted + i, found + i, 512)) {
            g_error("source and target differ at byte %zu", i);
        }
    }
}

/* Once the load ends, both files have the same contents */
static void test_mirror_active_data(void)
{
    VqLoadConfig config = parse("--backend raw --verify "
                                "--mix read=2,write=6,write-zeroes=1",
                                DISK_SIZE);
    VqLoad *load = new_load(&config);
    QTestState *qts = vq_load_guest(load)->qts;
    const char *image = vq_load_guest(load)->image;
    g_autofree char *target = g_strdup_printf("%s-target", image);
    g_autofree char *other = g_malloc(DISK_SIZE);

    memset(other, 0x5a, DISK_SIZE);
    for (unsigned i = 0; i < 5; i++) {
        g_assert_true(g_file_set_contents(target, other, DISK_SIZE, NULL));
        qtest_qmp_assert_success(qts,
            "{'execute': 'blockdev-add', 'arguments': {'driver': 'raw',"
            " 'node-name': 'target', 'file': {'driver': 'file',"
            " 'filename': %s}}}", target);
        start_load(load);
        start_mirror(qts);
        g_usleep(200 * 1000);
        stop_load(load);
        end_mirror(qts);
        assert_same_contents(image, target);
    }
    g_unlink(target);
    free_load(load);
}

/*
 * The job is cancelled while writes to the target are in flight. The disk is
 * large so that the job's memory is mapped, and unmapped when it is freed.
 */
static void test_mirror_active_cancel(void)
{
    const int64_t size = 64ll * 1024 * 1024 * 1024;
    VqLoadConfig config = parse("--backend null-co --mix write", size);
    VqLoad *load = new_load(&config);
    QTestState *qts = vq_load_guest(load)->qts;

    start_load(load);
    qtest_qmp_assert_success(qts,
        "{'execute': 'blockdev-add', 'arguments': {'driver': 'null-co',"
        " 'node-name': 'target', 'size': %lld, 'latency-ns': 200000000}}",
        (long long)size);
    qtest_qmp_assert_success(qts,
        "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'mirror',"
        " 'device': 'disk', 'target': 'target', 'sync': 'none',"
        " 'granularity': 512, 'copy-mode': 'write-blocking'}}");
    qtest_qmp_eventwait(qts, "BLOCK_JOB_READY");
    g_usleep(50 * 1000);
    qtest_qmp_assert_success(qts,
        "{'execute': 'block-job-cancel',"
        " 'arguments': {'device': 'mirror', 'force': true}}");
    qtest_qmp_eventwait(qts, "BLOCK_JOB_CANCELLED");
    stop_load(load);
    free_load(load);
}

#define QCOW2_SIZE (64ll * 1024 * 1024 * 1024)
#define QCOW2_TABLES 128 /* of L2, each of one cluster */
#define QCOW2_CLUSTER (64 * 1024)

static char *create_qcow2(void)
{
    g_autofree char *dir = g_path_get_dirname(g_getenv("QTEST_QEMU_BINARY"));
    g_autofree char *qemu_img = g_build_filename(dir, "qemu-img", NULL);
    g_autofree char *size = g_strdup_printf("%lld", QCOW2_SIZE);
    char *path = g_build_filename(g_get_tmp_dir(), "qtest.XXXXXX", NULL);
    const char *argv[] = {
        qemu_img, "create", "-q", "-f", "qcow2", "-o",
        "preallocation=metadata", path, size, NULL
    };
    int fd = g_mkstemp(path), status = -1;

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, 0, NULL, NULL, NULL,
                               NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    return path;
}

/* Read 512 bytes of the disk whose cluster L2 table number @table maps */
static void read_through(QTestState *qts, const char *command, unsigned table)
{
    g_autofree char *output =
        qtest_hmp(qts, "qemu-io -d /machine/peripheral/disk0/virtio-backend "
                  "\"%s %lld 512\"", command,
                  QCOW2_SIZE / QCOW2_TABLES * table);

    g_assert_cmpstr(output, ==, "");
}

static void limit_bytes_per_second(QTestState *qts, int limit)
{
    qtest_qmp_assert_success(qts,
        "{'execute': 'qom-set', 'arguments': {'path': '/objects/tg',"
        " 'property': 'limits', 'value': {'bps-total': %d}}}", limit);
}

/* In bytes */
static size_t resident_memory(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", (int)pid);
    g_autofree char *statm = NULL;
    size_t pages = 0;

    g_assert_true(g_file_get_contents(path, &statm, NULL, NULL));
    g_assert_cmpint(sscanf(statm, "%*u %zu", &pages), ==, 1);
    return pages * qemu_real_host_page_size();
}

/* The second time, tables are cleaned that were not used in between */
static void step_to_cleaning(QTestState *qts)
{
    for (unsigned i = 0; i < 3; i++) {
        qtest_clock_step(qts, 2 * 1000000000ll);
        g_usleep(50 * 1000);
    }
}

/* qcow2's caches are left alone while a request uses them */
static void test_qcow2_cache_clean(void)
{
    const size_t cached = (QCOW2_TABLES - 1) * QCOW2_CLUSTER;
    g_autofree char *image = create_qcow2();
    size_t before;
    QTestState *qts =
        qtest_initf("-object iothread,id=t0 -object iothread,id=t1 "
                    "-object throttle-group,id=tg "
                    "-blockdev driver=file,node-name=file,filename=%s "
                    "-blockdev driver=throttle,node-name=slow,file=file,"
                    "throttle-group=tg "
                    "-blockdev driver=qcow2,node-name=disk,file=slow,"
                    "cache-clean-interval=1,l2-cache-size=%d "
                    "-device '{\"driver\":\"virtio-blk-pci\","
                    "\"id\":\"disk0\",\"drive\":\"disk\","
                    "\"iothread-vq-mapping\":[{\"iothread\":\"t0\"},"
                    "{\"iothread\":\"t1\"}]}'",
                    image, QCOW2_TABLES * QCOW2_CLUSTER);

    for (unsigned i = 0; i < QCOW2_TABLES - 1; i++) {
        read_through(qts, "read", i);
    }

    /* One request for the throttle, another that waits for its L2 table */
    limit_bytes_per_second(qts, 1);
    read_through(qts, "aio_read", 0);
    read_through(qts, "aio_read", QCOW2_TABLES - 1);
    before = resident_memory(qtest_pid(qts));
    step_to_cleaning(qts);
    g_assert_cmpuint(resident_memory(qtest_pid(qts)), >, before - cached / 2);

    /* A drained section does not wait for the throttle */
    limit_bytes_per_second(qts, 0);
    qtest_qmp_assert_success(qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(qts, "{'execute': 'cont'}");
    for (int64_t deadline = g_get_monotonic_time() + DEADLINE_US;
         resident_memory(qtest_pid(qts)) >= before - cached / 2;) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        step_to_cleaning(qts);
    }

    qtest_quit(qts);
    g_unlink(image);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("block-multi-iothread/mirror-active", test_mirror_active);
    qtest_add_func("block-multi-iothread/mirror-active-data",
                   test_mirror_active_data);
    qtest_add_func("block-multi-iothread/mirror-active-cancel",
                   test_mirror_active_cancel);
    qtest_add_func("block-multi-iothread/qcow2-cache-clean",
                   test_qcow2_cache_clean);
    return g_test_run();
}
