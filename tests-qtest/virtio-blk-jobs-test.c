/*
 * A disk starts and stops while block jobs on it end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "vq-test-util.h"
#include "vq-watchdog.h"

#define WATCHDOG_SECONDS 120

#define DISK_SIZE 65536

/* How long the mirror stays in its drained section while something goes on */
#define HOLD_US G_USEC_PER_SEC

/*
 * The mirror's copy, behind NBD: it can keep a flush. The last thing that a
 * mirror does in its own drained section, in which it cannot be paused, is to
 * flush.
 */
typedef struct Copy {
    char *path;         /* of the socket */
    int listener;
    GThread *thread;

    GMutex lock;        /* protects what follows */
    GCond changed;
    bool keep;          /* flushes are not answered */
    bool kept;          /* one is not */
} Copy;

typedef struct Test {
    VqTest *t;
    VqWatchdog *dog;
    Copy copy;
} Test;

/* Of the NBD protocol */
#define NBD_IHAVEOPT 0x49484156454f5054ull
#define NBD_OPTION_REPLY 0x3e889045565a9ull
#define NBD_REQUEST 0x25609513
#define NBD_REPLY 0x67446698
enum { NBD_OPT_GO = 7 };
enum { NBD_REP_ACK = 1, NBD_REP_INFO = 3, NBD_REP_ERR_UNSUP = (int)0x80000001 };
enum { NBD_READ, NBD_WRITE, NBD_DISCONNECT, NBD_FLUSH };

typedef struct QEMU_PACKED NbdOption {
    uint64_t magic;
    uint32_t option;
    uint32_t type;      /* only of a reply */
    uint32_t len;
} NbdOption;

typedef struct QEMU_PACKED NbdInfo {
    uint16_t type;      /* 0: of the export */
    uint64_t size;
    uint16_t flags;
} NbdInfo;

typedef struct QEMU_PACKED NbdRequest {
    uint32_t magic;
    uint16_t flags;
    uint16_t type;
    uint64_t cookie;
    uint64_t offset;
    uint32_t len;
} NbdRequest;

typedef struct QEMU_PACKED NbdReply {
    uint32_t magic;
    uint32_t error;
    uint64_t cookie;
} NbdReply;

static void nbd_write(int fd, const void *buf, size_t size)
{
    g_assert_cmpint(qemu_write_full(fd, buf, size), ==, size);
}

/* Returns: false at the end of the connection */
static bool nbd_read(int fd, void *buf, size_t size)
{
    ssize_t ret = recv(fd, buf, size, MSG_WAITALL);

    return ret == size;
}

static void nbd_answer_option(int fd, uint32_t option, uint32_t type,
                              const void *data, uint32_t len)
{
    NbdOption reply = {
        .magic = cpu_to_be64(NBD_OPTION_REPLY),
        .option = cpu_to_be32(option),
        .type = cpu_to_be32(type),
        .len = cpu_to_be32(len),
    };

    nbd_write(fd, &reply, sizeof(reply));
    nbd_write(fd, data, len);
}

/* Until the client wants the export; all else it can do without */
static bool nbd_negotiate(int fd)
{
    static const char hello[] = "NBDMAGICIHAVEOPT\0\3";
    NbdInfo info = {
        .size = cpu_to_be64(DISK_SIZE),
        .flags = cpu_to_be16(1 | 1 << 2), /* HAS_FLAGS, SEND_FLUSH */
    };
    uint32_t flags, option, len;
    uint64_t magic;

    nbd_write(fd, hello, sizeof(hello) - 1);
    if (!nbd_read(fd, &flags, sizeof(flags))) {
        return false;
    }
    while (nbd_read(fd, &magic, sizeof(magic)) &&
           nbd_read(fd, &option, sizeof(option)) &&
           nbd_read(fd, &len, sizeof(len))) {
        g_autofree char *data = g_malloc(be32_to_cpu(len));

        g_assert_cmphex(be64_to_cpu(magic), ==, NBD_IHAVEOPT);
        if (len && !nbd_read(fd, data, be32_to_cpu(len))) {
            return false;
        }
        option = be32_to_cpu(option);
        if (option == NBD_OPT_GO) {
            nbd_answer_option(fd, option, NBD_REP_INFO, &info, sizeof(info));
            nbd_answer_option(fd, option, NBD_REP_ACK, NULL, 0);
            return true;
        }
        nbd_answer_option(fd, option, NBD_REP_ERR_UNSUP, NULL, 0);
    }
    return false;
}

static void copy_flush(Copy *copy)
{
    g_mutex_lock(&copy->lock);
    copy->kept = copy->keep;
    g_cond_broadcast(&copy->changed);
    while (copy->keep) {
        g_cond_wait(&copy->changed, &copy->lock);
    }
    copy->kept = false;
    g_mutex_unlock(&copy->lock);
}

/* One request after the other */
static void *copy_run(void *opaque)
{
    g_autofree char *data = g_malloc0(DISK_SIZE);
    Copy *copy = opaque;
    NbdRequest request;
    int fd = accept(copy->listener, NULL, NULL);

    g_assert_cmpint(fd, >=, 0);
    if (!nbd_negotiate(fd)) {
        close(fd);
        return NULL;
    }
    while (nbd_read(fd, &request, sizeof(request))) {
        NbdReply reply = {
            .magic = cpu_to_be32(NBD_REPLY),
            .cookie = request.cookie,
        };
        uint16_t type = be16_to_cpu(request.type);
        uint32_t len = be32_to_cpu(request.len);

        g_assert_cmphex(be32_to_cpu(request.magic), ==, NBD_REQUEST);
        if (type == NBD_DISCONNECT) {
            break;
        }
        g_assert_cmpuint(len, <=, DISK_SIZE);
        if (type == NBD_WRITE && !nbd_read(fd, data, len)) {
            break;
        }
        if (type == NBD_FLUSH) {
            copy_flush(copy);
        }
        nbd_write(fd, &reply, sizeof(reply));
        if (type == NBD_READ) {
            nbd_write(fd, data, len);
        }
    }
    close(fd);
    return NULL;
}

static void copy_init(Copy *copy)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    copy->path = g_strdup_printf("%s/vq-jobs-%d.nbd", g_get_tmp_dir(),
                                 (int)getpid());
    g_assert_cmpuint(strlen(copy->path), <, sizeof(addr.sun_path));
    pstrcpy(addr.sun_path, sizeof(addr.sun_path), copy->path);
    g_unlink(copy->path);
    copy->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(copy->listener, (struct sockaddr *)&addr,
                         sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(copy->listener, 1), ==, 0);
    g_mutex_init(&copy->lock);
    g_cond_init(&copy->changed);
    copy->thread = g_thread_new("nbd", copy_run, copy);
}

/* After the end of QEMU */
static void copy_cleanup(Copy *copy)
{
    g_thread_join(copy->thread);
    close(copy->listener);
    g_unlink(copy->path);
    g_free(copy->path);
    g_mutex_clear(&copy->lock);
    g_cond_clear(&copy->changed);
}

static void copy_keep_flushes(Copy *copy, bool keep)
{
    g_mutex_lock(&copy->lock);
    copy->keep = keep;
    g_cond_broadcast(&copy->changed);
    g_mutex_unlock(&copy->lock);
}

static void copy_wait_kept(Copy *copy)
{
    g_mutex_lock(&copy->lock);
    while (!copy->kept) {
        gint64 end = g_get_monotonic_time() +
                     WATCHDOG_SECONDS * G_USEC_PER_SEC;

        g_assert_true(g_cond_wait_until(&copy->changed, &copy->lock, end));
    }
    g_mutex_unlock(&copy->lock);
}

/* A disk on node "disk" with one IOThread; "other" and "copy" are unused */
static Test *test_begin(void)
{
    Test *test = g_new0(Test, 1);
    g_autofree char *nodes = NULL;
    static VqTestDevice device;

    copy_init(&test->copy);
    nodes = g_strdup_printf(
        " -blockdev null-co,node-name=disk,read-zeroes=on,size=%d"
        " -blockdev null-co,node-name=other,read-zeroes=on,size=%d"
        " -blockdev nbd,node-name=copy,server.type=unix,server.path=%s",
        DISK_SIZE, DISK_SIZE, test->copy.path);
    device = vq_test_blk_pci;
    device.drive = ",\"drive\":\"disk\"";
    device.more_args = nodes;
    test->t = vq_test_new(&device, 1, 1, ",\"iothread\":\"iothread0\"");
    test->dog = vq_watchdog_begin(qtest_pid(test->t->qts), WATCHDOG_SECONDS);
    return test;
}

/* The IOThread serves the disk again, whatever has happened */
static void test_end(Test *test)
{
    g_assert_cmpint(vq_test_read(test->t, 0), ==,
                    vq_test_thread_id(test->t, "iothread0"));
    vq_watchdog_end(test->dog);
    vq_test_free(test->t);
    copy_cleanup(&test->copy);
    g_free(test);
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

/* The same after a write; it flushes that, and has to stay where it is */
static void mirror_end_and_wait_for_section(Test *test)
{
    copy_keep_flushes(&test->copy, true);
    mirror_end(test);
    copy_wait_kept(&test->copy);
}

/* What is done now waits for the mirror, which goes on when that has begun */
static void *mirror_leave_section(void *opaque)
{
    Copy *copy = opaque;

    g_usleep(HOLD_US);
    copy_keep_flushes(copy, false);
    return NULL;
}

static void mirror_leave_section_soon(Test *test)
{
    g_thread_unref(g_thread_new("leave", mirror_leave_section, &test->copy));
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
    Test *test = test_begin();

    vq_test_start_driver(test->t);
    mirror_begin(test, "disk", true);
    vq_test_write_pattern(test->t, 0, 0, 1);
    mirror_end_and_wait_for_section(test);
    mirror_leave_section_soon(test);
    vq_test_reset(test->t);
    mirror_wait_over(test);
    test_end(test);
}

static void test_end_stop(void)
{
    Test *test = test_begin();

    vq_test_start_driver(test->t);
    mirror_begin(test, "disk", true);
    vq_test_write_pattern(test->t, 0, 0, 1);
    mirror_end_and_wait_for_section(test);
    mirror_leave_section_soon(test);
    stop_and_cont(test);
    mirror_wait_over(test);
    test_end(test);
}

static void test_end_start(void)
{
    Test *test = test_begin();

    vq_test_start_driver(test->t);
    mirror_begin(test, "disk", true);
    vq_test_write_pattern(test->t, 0, 0, 1);
    vq_test_stop_driver(test->t);
    mirror_end_and_wait_for_section(test);
    mirror_leave_section_soon(test);
    vq_test_start_driver(test->t);
    mirror_wait_over(test);
    test_end(test);
}

/* Nobody waits for jobs of others */
static void test_end_other(void)
{
    g_autofree char *answer = NULL;
    Test *test = test_begin();

    vq_test_start_driver(test->t);
    mirror_begin(test, "other", true);
    answer = qtest_hmp(test->t->qts, "qemu-io filter \"write -q 0 4k\"");
    g_assert_cmpstr(answer, ==, "");
    mirror_end_and_wait_for_section(test);
    vq_test_reset(test->t);
    g_assert_false(mirror_is_over(test));
    copy_keep_flushes(&test->copy, false);
    mirror_wait_over(test);
    test_end(test);
}

/* A request that came in a drained section is gone after a reset */
static void test_held_reset(void)
{
    g_autofree char *needle = NULL;
    Test *test = test_begin();
    VqTestRequest req;
    uint64_t status;

    vq_test_start_driver(test->t);
    mirror_begin_and_hold(test);
    req = vq_test_prepare_read(test->t, 0, &needle);
    status = req.addr + req.out_len + req.in_len - 1;
    qtest_writeb(test->t->qts, status, 0xee);
    vq_test_submit(test->t, &req, true);
    vq_test_reset(test->t);

    mirror_finalize(test);
    g_assert_cmpint(vq_test_read(test->t, 0), ==,
                    vq_test_thread_id(test->t, "iothread0"));
    g_assert_cmphex(qtest_readb(test->t->qts, status), ==, 0xee);
    g_assert_cmpuint(vq_test_traced_threads(test->t, needle, NULL, 0), ==, 0);
    test_end(test);
}

/* And one that did when the VM was stopped is for the IOThread */
static void test_held_stop(void)
{
    g_autofree char *needle = NULL;
    Test *test = test_begin();
    VqTestRequest req;

    vq_test_start_driver(test->t);
    mirror_begin_and_hold(test);
    req = vq_test_prepare_read(test->t, 0, &needle);
    vq_test_submit(test->t, &req, true);
    stop_and_cont(test);

    mirror_finalize(test);
    vq_test_complete_read(test->t, &req);
    g_assert_cmpint(vq_test_traced_thread(test->t, needle), ==,
                    vq_test_thread_id(test->t, "iothread0"));
    test_end(test);
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
