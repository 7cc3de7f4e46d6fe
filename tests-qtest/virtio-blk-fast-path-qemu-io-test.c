/*
 * qtests of the fast path: requests of the monitor's qemu-io beside the guest's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/units.h"
#include "vq-fast.h"

/* The host's file is opened for direct I/O, with blocks of up to this size */
#define BLOCK 4096
#define BLOCK_SECTORS (BLOCK / VQ_TEST_SECTOR)
#define DISK "/machine/peripheral/disk0/virtio-backend"

/* What the guest writes with one request */
#define WRITE_LEN (1 * MiB)
#define WRITE_BLOCKS (WRITE_LEN / BLOCK)
#define ROUNDS 100

typedef struct Disk {
    VqFast *f;
    char *path;
} Disk;

static void new_disk(Disk *d, const char *mapping, const char *drive,
                     const char *more_nodes)
{
    g_autofree char *nodes = NULL;
    g_autofree char *properties =
        g_strconcat(",\"logical_block_size\":4096,"
                    "\"physical_block_size\":4096", mapping, NULL);
    int fd = g_file_open_tmp("vq-direct.XXXXXX", &d->path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, VQ_TEST_DISK_SIZE), ==, 0);
    close(fd);
    nodes = g_strdup_printf(" -blockdev file,node-name=direct,filename=%s,"
                            "cache.direct=on%s", d->path, more_nodes);
    d->f = vq_fast_new(&vq_test_blk_pci, properties, drive, nodes);
    d->f->path = d->path;
}

static void free_disk(Disk *d)
{
    vq_fast_free(d->f);
    g_unlink(d->path);
    g_free(d->path);
}

/* qemu-io on the disk's own BlockBackend, which needs no permission for it */
static void qemu_io(Disk *d, const char *command, const char *arguments)
{
    g_autofree char *answer = qtest_hmp(d->f->t->qts, "qemu-io -d %s \"%s%s\"",
                                        DISK, command, arguments);

    g_assert_cmpstr(answer, ==, "");
}

/* Written by qemu-io are the second bytes of some blocks */
static void check(Disk *d, uint8_t pattern, uint8_t qemu_io_pattern)
{
    g_autofree char *data = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(d->path, &data, &len, NULL));
    for (size_t i = 0; i < WRITE_LEN; i++) {
        uint8_t byte = data[i];

        if (byte != pattern && !(i % BLOCK == 1 && byte == qemu_io_pattern)) {
            g_error("byte %zu is 0x%x: the guest's write of 0x%x is lost", i,
                    byte, pattern);
        }
    }
}

/*
 * A write of less than a block reads the block, changes and writes it. What the
 * guest writes at the same time must not be lost.
 */
static void test_unaligned(const void *opaque)
{
    const char *command = opaque;
    Disk disk, *d = &disk;

    new_disk(d, VQ_FAST_MAPPED, "direct", "");
    vq_fast_round(d->f, FAST_BOTH);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t pattern = i % 200 + 1;
        VqFastRequest req = vq_fast_submit(d->f, i % VQ_FAST_QUEUES,
                                           VIRTIO_BLK_T_OUT, 0, WRITE_LEN,
                                           pattern, 0, true);

        for (unsigned block = 0; block < WRITE_BLOCKS; block += 32) {
            g_autofree char *range = g_strdup_printf(" %u 1",
                                                     block * BLOCK + 1);

            qemu_io(d, command, range);
        }
        g_assert_cmpuint(vq_fast_complete(d->f, &req), ==, VIRTIO_BLK_S_OK);
        qemu_io(d, "aio_flush", "");
        check(d, pattern, 0xee);
    }
    free_disk(d);
}

/* From the first command on, the disk has no fast path; with others, it has */
static void test_keeps_out(void)
{
    Disk disk, *d = &disk;
    g_autofree char *answer = NULL;

    new_disk(d, VQ_FAST_MAPPED, "direct",
             " -blockdev null-co,node-name=other,size=1048576");
    vq_fast_round(d->f, FAST_BOTH);
    answer = qtest_hmp(d->f->t->qts, "qemu-io other \"write -q 1 1\"");
    g_assert_cmpstr(answer, ==, "");
    vq_fast_round(d->f, FAST_BOTH);
    vq_fast_begin(d->f);
    qemu_io(d, "read -q", " 1 1");
    vq_fast_end(d->f);
    for (unsigned i = 0; i < 3; i++) {
        vq_fast_round(d->f, FAST_NONE);
        qemu_io(d, "write -q -P 0xee", " 8388609 1");
        vq_fast_round(d->f, FAST_NONE);
        vq_fast_reset(d->f);
    }
    free_disk(d);
}

/*
 * With requests in flight that do not end, and no fast path, qemu-io does not
 * wait for them. "wait_break" can only be used in the main loop.
 */
static void test_does_not_wait(void)
{
    Disk disk, *d = &disk;
    VqFastRequest req;

    new_disk(d, "", "raw", " -blockdev blkdebug,node-name=debug,image=direct"
             " -blockdev raw,node-name=raw,file=debug");
    qemu_io(d, "break write_aio", " stop");
    qemu_io(d, "aio_write -q", " 1048576 4096");
    qemu_io(d, "wait_break", " stop");
    req = vq_fast_submit(d->f, 0, VIRTIO_BLK_T_OUT, 0, BLOCK, 0x11, 0, true);
    g_assert_cmpuint(vq_fast_complete(d->f, &req), ==, VIRTIO_BLK_S_OK);
    qemu_io(d, "write -q -P 0xee", " 4096 1");
    qemu_io(d, "resume", " stop");
    qemu_io(d, "aio_flush", "");
    vq_fast_round(d->f, FAST_NONE);
    free_disk(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/virtio-blk-fast-path-qemu-io/unaligned/write",
                        "write -q -P 0xee", test_unaligned);
    qtest_add_data_func("/virtio-blk-fast-path-qemu-io/unaligned/aio-write",
                        "aio_write -q -P 0xee", test_unaligned);
    qtest_add_func("/virtio-blk-fast-path-qemu-io/keeps-out", test_keeps_out);
    qtest_add_func("/virtio-blk-fast-path-qemu-io/does-not-wait",
                   test_does_not_wait);
    return g_test_run();
}
