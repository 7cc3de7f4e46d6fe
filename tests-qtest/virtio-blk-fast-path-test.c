/*
 * qtests of the fast path: which disks it is for, and what they read and write
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/resource.h>
#include "qemu/units.h"
#include "vq-fast.h"

#define SHM "/dev/shm"

typedef struct Shape {
    const char *name;
    const VqTestDevice *device;
    const char *properties;
} Shape;

static const Shape shapes[] = {
    { "pci/main-loop", &vq_test_blk_pci, "" },
    { "pci/iothread", &vq_test_blk_pci, ",\"iothread\":\"iothread1\"" },
    { "pci/vqs", &vq_test_blk_pci, VQ_FAST_MAPPED },
    { "mmio/vqs", &vq_test_blk_mmio, VQ_FAST_MAPPED },
};

/* Options that have @file, "%s", in them */
typedef struct Node {
    const char *name;
    const char *drive;
    const char *options;
    unsigned fast;
    bool keeps_data;
    const char *properties;
    uint64_t offset;
} Node;

#define RAW " -blockdev raw,node-name=raw,file=node0"

static const Node fast_nodes[] = {
    { "null-co", "null", " -blockdev null-co,node-name=null,size=16777216",
      FAST_BOTH, false },
    { "file", "node0", "", FAST_BOTH, true },
    { "raw", "raw", RAW, FAST_BOTH, true },
    { "raw-drive", "d", " -drive if=none,id=d,format=raw,file=%s", FAST_BOTH,
      true },
    { "raw-options", "raw", RAW ",discard=unmap,read-only=off",
      FAST_BOTH, true },
};

/* Where something is to be done on the way */
static const Node other_nodes[] = {
    { "off/file", "node0", "", FAST_NONE, true, ",\"x-fast-path\":false" },
    { "off/raw", "raw", RAW, FAST_NONE, true, ",\"x-fast-path\":false" },
    { "raw/offset", "raw", RAW ",offset=1048576", FAST_NONE, true, "", MiB },
    { "raw/size", "raw", RAW ",size=8388608", FAST_NONE, true },
    { "raw/offset-size", "raw", RAW ",offset=65536,size=8388608", FAST_NONE,
      true, "", 64 * KiB },
    { "raw/drive-offset", "d",
      " -drive if=none,id=d,driver=raw,offset=1048576,file.filename=%s,"
      "file.driver=file", FAST_NONE, true, "", MiB },
    /* What is written to its first sector is looked at */
    { "raw/probed", "d", " -drive if=none,id=d,file=%s", FAST_NONE, true },
    { "raw/of-raw", "upper",
      RAW " -blockdev raw,node-name=upper,file=raw", FAST_NONE, true },
    { "throttle", "throttled",
      " -object throttle-group,id=group,x-iops-total=100000"
      " -blockdev throttle,node-name=throttled,throttle-group=group,"
      "file=node0", FAST_NONE, true },
    { "copy-on-read/filter", "cor",
      " -blockdev copy-on-read,node-name=cor,file=node0", FAST_NONE, true },
    { "copy-on-read/drive", "d",
      " -drive if=none,id=d,format=raw,copy-on-read=on,file=%s", FAST_NONE,
      true },
    { "blkdebug", "debug",
      " -blockdev blkdebug,node-name=debug,image=node0", FAST_NONE, true },
    { "blkdebug/below-raw", "raw",
      " -blockdev blkdebug,node-name=debug,image=node0"
      " -blockdev raw,node-name=raw,file=debug", FAST_NONE, true },
    { "detect-zeroes/raw", "raw", RAW ",detect-zeroes=on", FAST_NONE, true },
    { "detect-zeroes/file", "raw",
      " -blockdev file,node-name=file,filename=%s,detect-zeroes=on"
      " -blockdev raw,node-name=raw,file=file", FAST_NONE, true },
    { "snapshot", "d", " -drive if=none,id=d,format=raw,snapshot=on,file=%s",
      FAST_NONE, true },
    { "used-twice", "raw",
      RAW " -blockdev raw,node-name=other,file=node0,read-only=on", FAST_NONE,
      true },
    { "used-by-other-disk", "node0",
      " -device virtio-blk-pci,drive=node0,share-rw=on", FAST_NONE, true,
      ",\"share-rw\":true" },
    { "no-ioeventfd", "node0", "", FAST_NONE, true, ",\"ioeventfd\":false" },
    { "write-cache/off", "node0", "", FAST_READS, true,
      ",\"write-cache\":\"off\"" },
    { "io-limits", "d", " -drive if=none,id=d,format=raw,file=%s,iops=100000",
      FAST_NONE, true },
};

/* An image in @dir, to be unlinked and freed */
static char *create_image(const char *dir, off_t size)
{
    char *path = g_strdup_printf("%s/vq-fast.XXXXXX", dir);
    int fd = g_mkstemp(path);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    return path;
}

static void remove_image(char *path)
{
    g_unlink(path);
    g_free(path);
}

/* A disk on @options, which may have the place of @path in them */
static VqFast *new_disk(const Shape *shape, const Node *node, const char *path)
{
    bool has_path = strstr(node->options, "%s");
    g_auto(GStrv) parts = g_strsplit(node->options, "%s", -1);
    g_autofree char *options = g_strjoinv(path, parts);
    g_autofree char *properties = g_strconcat(shape->properties,
                                              node->properties, NULL);
    VqFast *f = vq_fast_new(shape->device, properties, node->drive, options);

    f->keeps_data = node->keeps_data;
    f->offset = node->offset;
    if (!node->keeps_data) {
        f->path = NULL;
    } else if (has_path) {
        f->path = path;
    }
    return f;
}

typedef struct Case {
    const Shape *shape;
    const Node *node;
} Case;

/* Several rounds, and the same after a reset and a stop */
static void test_node(const void *opaque)
{
    const Case *c = opaque;
    char *path = create_image(g_get_tmp_dir(), VQ_TEST_DISK_SIZE);
    VqFast *f = new_disk(c->shape, c->node, path);

    if (g_str_equal(c->node->name, "snapshot")) {
        f->path = NULL;
    }
    for (unsigned i = 0; i < 3; i++) {
        vq_fast_round(f, c->node->fast);
    }
    vq_fast_reset(f);
    vq_fast_round(f, c->node->fast);
    qtest_qmp_assert_success(f->t->qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(f->t->qts, "{'execute': 'cont'}");
    vq_fast_round(f, c->node->fast);
    vq_fast_free(f);
    remove_image(path);
}

/* An image in another format, which has to be made first */
static void test_qcow2(void)
{
    const Node node = {
        "qcow2", "d", " -drive if=none,id=d,format=qcow2,file=%s", FAST_NONE,
        true
    };
    const char *qemu_img = getenv("QTEST_QEMU_IMG");
    g_autofree char *command = NULL;
    g_autoptr(GError) err = NULL;
    char *path;
    VqFast *f;
    int status;

    if (!qemu_img) {
        g_test_skip("QTEST_QEMU_IMG is not set");
        return;
    }
    path = create_image(g_get_tmp_dir(), 0);
    command = g_strdup_printf("%s create -q -f qcow2 %s 16M", qemu_img, path);
    g_spawn_command_line_sync(command, NULL, NULL, &status, &err);
    g_assert_no_error(err);
    g_assert_cmpint(status, ==, 0);

    f = new_disk(&shapes[2], &node, path);
    f->path = NULL;
    vq_fast_round(f, FAST_NONE);
    vq_fast_round(f, FAST_NONE);
    vq_fast_free(f);
    remove_image(path);
}

/*
 * Wait until the owner of virtqueue @vq has seen the notification of its start;
 * from then on it looks at the ring when it is kicked
 */
static void wait_started(VqFast *f, unsigned vq, VqQueues *queues)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(f->t->qts, "disk0", queues);
    } while (queues->vq[vq].totals[VQ_QUEUES_NOTIFICATIONS] == 0);
}

/* Of requests in one batch, that the disk merges, each counts */
static void test_merged(const void *opaque)
{
    const Case *c = opaque;
    VqFast *f = new_disk(c->shape, c->node, NULL);
    VqFastRequest reqs[12];
    VqQueues before, after;

    vq_fast_no_polling(f);
    wait_started(f, 1, &before);
    for (unsigned round = 0; round < 2; round++) {
        uint32_t type = round ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;

        /* 5 and 7 of different lengths; the second come backwards */
        for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
            bool first = i < 5;
            unsigned len = first ? 512 : 1024;
            uint64_t sector = first ? 8 + i : 100 + 2 * (11 - i);

            reqs[i] = vq_fast_submit(f, 1, type, sector, len, 1 + i, 0,
                                     i == ARRAY_SIZE(reqs) - 1);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
            g_assert_cmpuint(vq_fast_complete(f, &reqs[i]), ==,
                             VIRTIO_BLK_S_OK);
            vq_fast_check_file(f, reqs[i].sector, reqs[i].len, 1 + i);
        }
    }
    vq_queues_query(f->t->qts, "disk0", &after);
    g_assert_cmpuint(after.vq[1].fast_requests, ==, 2 * ARRAY_SIZE(reqs));
    g_assert_cmpuint(after.vq[1].totals[VQ_QUEUES_MAX_BATCH], ==,
                     ARRAY_SIZE(reqs));
    g_assert_cmpuint(after.vq[0].fast_requests, ==, 0);
    vq_fast_free(f);
}

/* Requests of other kinds are not counted, and lie between the fast ones */
static void test_other_kinds(void)
{
    VqFast *f = new_disk(&shapes[2], &fast_nodes[2], NULL);

    for (unsigned i = 0; i < 4; i++) {
        uint64_t before = vq_fast_count(f);

        vq_fast_do(f, i, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
        g_assert_cmpuint(vq_fast_count(f), ==, before);
        vq_fast_round(f, FAST_BOTH);
    }
    vq_fast_free(f);
}

/* Out of the disk, and the last sectors */
static void test_end(const void *opaque)
{
    const Case *c = opaque;
    VqFast *f = new_disk(c->shape, c->node, NULL);
    const uint64_t end = VQ_TEST_DISK_SIZE / VQ_TEST_SECTOR;
    VqFastRequest req;

    vq_fast_do(f, 0, VIRTIO_BLK_T_OUT, end - 2, 1024, 0x5a);
    vq_fast_do(f, 1, VIRTIO_BLK_T_IN, end - 2, 1024, 0x5a);
    vq_fast_check_file(f, end - 2, 1024, 0x5a);
    g_assert_cmpuint(vq_fast_count(f), ==, 2);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t type = i ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;

        req = vq_fast_submit(f, i, type, end - 1, 1024, 0x77, 0, true);
        g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_IOERR);
    }
    g_assert_cmpuint(vq_fast_count(f), ==, 2);
    vq_fast_check_file(f, end - 2, 1024, 0x5a);
    vq_fast_round(f, FAST_BOTH);
    vq_fast_free(f);
}

/* What a file that ends within a sector does not have reads as zeroes */
static void test_odd_size(const void *opaque)
{
    const char *options = opaque;
    const Node node = { "odd", "odd", options, FAST_BOTH, true };
    char *path = create_image(g_get_tmp_dir(), MiB + 100);
    const uint64_t last = MiB / VQ_TEST_SECTOR;
    VqFast *f = new_disk(&shapes[2], &node, path);

    vq_fast_do(f, 0, VIRTIO_BLK_T_IN, last, 512, 0);
    vq_fast_do(f, 1, VIRTIO_BLK_T_IN, last - 7, VQ_FAST_LEN, 0);
    vq_fast_do(f, 2, VIRTIO_BLK_T_OUT, last - 7, VQ_FAST_LEN, 0x33);
    vq_fast_do(f, 3, VIRTIO_BLK_T_IN, last - 7, VQ_FAST_LEN, 0x33);
    vq_fast_check_file(f, last - 7, VQ_FAST_LEN, 0x33);
    g_assert_cmpuint(vq_fast_count(f), ==, 4);
    vq_fast_free(f);
    remove_image(path);
}

/* A write that fails stops the VM, and is done when that goes on */
static void test_error(void)
{
    const Node node = {
        "limited", "node0", "", FAST_BOTH, true, ",\"werror\":\"stop\""
    };
    struct rlimit limit, old;
    VqFastRequest reqs[2];
    VqFast *f;
    pid_t pid;

    /* QEMU inherits that, and gets EFBIG instead */
    signal(SIGXFSZ, SIG_IGN);
    f = new_disk(&shapes[2], &node, NULL);
    pid = qtest_pid(f->t->qts);
    vq_fast_round(f, FAST_BOTH);

    g_assert_cmpint(prlimit(pid, RLIMIT_FSIZE, NULL, &old), ==, 0);
    limit = old;
    limit.rlim_cur = 0;
    g_assert_cmpint(prlimit(pid, RLIMIT_FSIZE, &limit, NULL), ==, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
        reqs[i] = vq_fast_submit(f, i, VIRTIO_BLK_T_OUT, 16 * i, VQ_FAST_LEN,
                                 0x40 + i, 0, true);
    }
    qobject_unref(vq_fast_wait_event(f, "BLOCK_IO_ERROR"));
    qobject_unref(vq_fast_wait_event(f, "STOP"));
    g_assert_false(vq_fast_is_done(f, &reqs[0]));
    g_assert_false(vq_fast_is_done(f, &reqs[1]));
    g_assert_cmpint(prlimit(pid, RLIMIT_FSIZE, &old, NULL), ==, 0);

    qtest_qmp_assert_success(f->t->qts, "{'execute': 'cont'}");
    for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
        g_assert_cmpuint(vq_fast_complete(f, &reqs[i]), ==, VIRTIO_BLK_S_OK);
        vq_fast_check_file(f, 16 * i, VQ_FAST_LEN, 0x40 + i);
    }
    vq_fast_round(f, FAST_BOTH);
    vq_fast_free(f);
}

/* How the host does it: AIO engines that may not be there */
static void test_aio(const void *opaque)
{
    const char *options = opaque;
    /* O_DIRECT may be for blocks of 4096 bytes only */
    const Node node = {
        "aio", "aio", options, FAST_BOTH, true,
        ",\"logical_block_size\":4096,\"physical_block_size\":4096"
    };
    char *path = create_image(g_get_tmp_dir(), VQ_TEST_DISK_SIZE);
    VqFast *f;
    int fd = open(path, O_RDWR | O_DIRECT);

    if (fd < 0) {
        g_test_skip("no O_DIRECT");
        remove_image(path);
        return;
    }
    close(fd);
    f = new_disk(&shapes[2], &node, path);
    for (unsigned i = 0; i < 4; i++) {
        vq_fast_round(f, FAST_BOTH);
    }
    vq_fast_free(f);
    remove_image(path);
}

/*
 * A host that takes whole blocks of 4096 bytes only. With sectors of 512, there
 * are read-modify-write cycles, which other writes have to wait for.
 */
#define DIRECT " -blockdev file,node-name=direct,cache.direct=on,filename=%s"

static void test_direct(const void *opaque)
{
    bool big_sectors = GPOINTER_TO_UINT(opaque);
    const Node node = {
        "direct", "direct", DIRECT, big_sectors ? FAST_BOTH : FAST_READS, true,
        big_sectors ? ",\"logical_block_size\":4096,"
                      "\"physical_block_size\":4096" : ""
    };
    char *path;
    VqFast *f;
    int fd;

    if (access(SHM, W_OK) < 0) {
        g_test_skip("no " SHM);
        return;
    }
    path = create_image(SHM, VQ_TEST_DISK_SIZE);
    fd = open(path, O_RDWR | O_DIRECT);
    if (fd < 0) {
        g_test_skip("no O_DIRECT in " SHM);
        remove_image(path);
        return;
    }
    close(fd);

    f = new_disk(&shapes[2], &node, path);
    for (unsigned i = 0; i < 3; i++) {
        vq_fast_round(f, node.fast);
    }
    /* Each of a block's sectors, through all virtqueues at the same time */
    for (unsigned round = 0; round < 20 && !big_sectors; round++) {
        uint64_t before = vq_fast_count(f);
        VqFastRequest reqs[8];

        for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
            reqs[i] = vq_fast_submit(f, i % VQ_FAST_QUEUES, VIRTIO_BLK_T_OUT,
                                     8 * round + i, 512, 8 * round + i, 0,
                                     true);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
            g_assert_cmpuint(vq_fast_complete(f, &reqs[i]), ==,
                             VIRTIO_BLK_S_OK);
        }
        g_assert_cmpuint(vq_fast_count(f), ==, before);
        for (unsigned i = 0; i < ARRAY_SIZE(reqs); i++) {
            vq_fast_check_file(f, 8 * round + i, 512, 8 * round + i);
            vq_fast_do(f, (i + 1) % VQ_FAST_QUEUES, VIRTIO_BLK_T_IN,
                       8 * round + i, 512, 8 * round + i);
        }
        /* Sectors alone are not what the host reads */
        g_assert_cmpuint(vq_fast_count(f), ==, before);
    }
    vq_fast_round(f, node.fast);
    vq_fast_free(f);
    remove_image(path);
}

static void add_node(const Shape *shape, const Node *node, const char *name,
                     GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf("/virtio-blk-fast-path/%s/%s/%s",
                                            name, node->name, shape->name);
    Case *c = g_new(Case, 1);

    c->shape = shape;
    c->node = node;
    qtest_add_data_func_full(path, c, func, g_free);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(fast_nodes); i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(shapes); j++) {
            add_node(&shapes[j], &fast_nodes[i], "taken", test_node);
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(other_nodes); i++) {
        const char *properties = other_nodes[i].properties;

        /* No IOThread can do without ioeventfd */
        add_node(&shapes[properties && strstr(properties, "ioeventfd") ? 0 : 2],
                 &other_nodes[i], "not-taken", test_node);
    }
    qtest_add_func("/virtio-blk-fast-path/not-taken/qcow2", test_qcow2);
    for (unsigned i = 0; i < 3; i++) {
        add_node(&shapes[2], &fast_nodes[i], "merged", test_merged);
        add_node(&shapes[2], &fast_nodes[i], "end", test_end);
    }
    qtest_add_func("/virtio-blk-fast-path/other-kinds", test_other_kinds);
    qtest_add_data_func("/virtio-blk-fast-path/odd-size/file",
                        " -blockdev file,node-name=odd,filename=%s",
                        test_odd_size);
    qtest_add_data_func("/virtio-blk-fast-path/odd-size/raw",
                        " -blockdev raw,node-name=odd,file.driver=file,"
                        "file.filename=%s", test_odd_size);
    qtest_add_func("/virtio-blk-fast-path/error", test_error);
    qtest_add_data_func("/virtio-blk-fast-path/aio/native",
                        " -blockdev file,node-name=aio,aio=native,"
                        "cache.direct=on,filename=%s", test_aio);
    qtest_add_data_func("/virtio-blk-fast-path/aio/io_uring",
                        " -blockdev file,node-name=aio,aio=io_uring,"
                        "filename=%s", test_aio);
    qtest_add_data_func("/virtio-blk-fast-path/direct/512",
                        GUINT_TO_POINTER(false), test_direct);
    qtest_add_data_func("/virtio-blk-fast-path/direct/4096",
                        GUINT_TO_POINTER(true), test_direct);
    return g_test_run();
}
