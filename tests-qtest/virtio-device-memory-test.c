/*
 * qtests of a disk whose guest has rings and buffers in the memory of a device
 * that is RAM, as with peer-to-peer DMA to a VFIO BAR: IOThreads use it, and
 * never wait for the main loop to do so
 *
 * The device is a TPM, whose physical presence interface is 1 KiB of such
 * memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/module.h"
#include "tpm-emu.h"
#include "vq-hostile.h"

#define WATCHDOG_SECONDS 120
#define PPI 0xfed45000
#define SECTOR 3
#define PATTERN 0x5a
#define IOTHREADS ",\"iothread-vq-mapping\":["                          \
    "{\"iothread\":\"iothread0\"},{\"iothread\":\"iothread1\"},"        \
    "{\"iothread\":\"iothread2\"},{\"iothread\":\"iothread3\"}]"

typedef struct Machine {
    TPMTestState tpm;
    GThread *thread;
    char *dir;
    Guest *g;
} Machine;

static Machine *new_machine(bool slow)
{
    Machine *m = g_new0(Machine, 1);
    Guest *g = m->g = g_new0(Guest, 1);
    g_autofree char *args = NULL;

    m->dir = g_dir_make_tmp("vq-device-memory.XXXXXX", NULL);
    m->tpm.addr = g_new0(SocketAddress, 1);
    m->tpm.addr->type = SOCKET_ADDRESS_TYPE_UNIX;
    m->tpm.addr->u.q_unix.path = g_build_filename(m->dir, "tpm", NULL);
    g_mutex_init(&m->tpm.data_mutex);
    g_cond_init(&m->tpm.data_cond);
    m->tpm.tpm_version = TPM_VERSION_2_0;
    m->thread = g_thread_new(NULL, tpm_emu_ctrl_thread, &m->tpm);
    tpm_emu_test_wait_cond(&m->tpm);

    args = g_strdup_printf("-chardev socket,id=tpm,path=%s "
                           "-tpmdev emulator,id=tpm0,chardev=tpm "
                           "-device tpm-tis,tpmdev=tpm0 "
                           "-blockdev driver=null-co,node-name=slow,size=%d,"
                           "read-zeroes=on,latency-ns=%d",
                           m->tpm.addr->u.q_unix.path, VQ_TEST_DISK_SIZE,
                           LATENCY_US * 1000);
    g->device = vq_test_blk_pci;
    g->slow = slow;
    if (slow) {
        g->device.drive = ",\"drive\":\"slow\"";
    }
    g->device.more_traces = args;
    g->t = vq_test_new(&g->device, QUEUES, QUEUES, IOTHREADS);
    g->device.more_traces = NULL;
    g->t->next_sector = 10000;
    g->dog = vq_watchdog_begin(qtest_pid(g->t->qts), WATCHDOG_SECONDS);
    return m;
}

static void free_machine(Machine *m)
{
    check_host(m->g);
    check_reset(m->g);
    hostile_free(m->g);
    g_thread_join(m->thread);
    g_unlink(m->tpm.addr->u.q_unix.path);
    qapi_free_SocketAddress(m->tpm.addr);
    g_rmdir(m->dir);
    g_free(m->dir);
    g_free(m);
}

/* A request whose data is at @data, through virtqueue 1 */
static void request(Guest *g, uint32_t type, uint64_t data)
{
    const Desc desc[] = {
        HDR, { data, 512, type == VIRTIO_BLK_T_IN ? NEXT | WRITE : NEXT }, ST
    };

    write_header(g, type, SECTOR);
    post(g, 1, desc, ARRAY_SIZE(desc), 0, 0);
    kick(g, 1);
    wait_done(g, 1, ARRAY_SIZE(desc));
    g_assert_false(is_broken(g));
    g_assert_cmpuint(qtest_readb(g->t->qts, STATUS), ==, VIRTIO_BLK_S_OK);
}

static void assert_pattern(Guest *g, uint64_t addr, uint8_t pattern)
{
    uint8_t data[512];

    qtest_memread(g->t->qts, addr, data, sizeof(data));
    for (unsigned i = 0; i < sizeof(data); i++) {
        g_assert_cmphex(data[i], ==, pattern);
    }
}

static void test_buffer(void)
{
    Machine *m = new_machine(false);
    Guest *g = m->g;

    start_driver(g);
    for (unsigned i = 0; i < 5; i++) {
        qtest_memset(g->t->qts, PPI, PATTERN + i, 512);
        request(g, VIRTIO_BLK_T_OUT, PPI);
        qtest_memset(g->t->qts, DATA, 0, 512);
        request(g, VIRTIO_BLK_T_IN, DATA);
        assert_pattern(g, DATA, PATTERN + i);
        qtest_memset(g->t->qts, PPI, 0, 512);
        request(g, VIRTIO_BLK_T_IN, PPI);
        assert_pattern(g, PPI, PATTERN + i);
    }
    free_machine(m);
}

/* The main loop waits with the BQL for an IOThread that writes to the buffer */
static void test_stop(void)
{
    Machine *m = new_machine(true);
    Guest *g = m->g;

    start_driver(g);
    qtest_memset(g->t->qts, PPI, PATTERN, 512);
    begin_read(g, 1, PPI);
    g_usleep(LATENCY_US / 4);
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'stop'}");
    g_assert_false(is_broken(g));
    g_assert_cmpuint(qtest_readb(g->t->qts, STATUS), ==, VIRTIO_BLK_S_OK);
    assert_pattern(g, PPI, 0);
    qtest_qmp_assert_success(g->t->qts, "{'execute': 'cont'}");
    request(g, VIRTIO_BLK_T_IN, DATA);
    free_machine(m);
}

static void test_ring(void)
{
    Machine *m = new_machine(false);
    Guest *g = m->g;
    QTestState *qts = g->t->qts;
    static const Desc desc[] = {
        HDR, { DATA, 20, NEXT | WRITE }, ST
    };
    Ring *ring = &g->rings[1];

    negotiate(g);
    for (unsigned i = 0; i < QUEUES; i++) {
        queue_setup(g, i);
    }
    qtest_memset(qts, PPI, 0, 1024);
    queue_enable(g, 1, RING_SIZE, DESC(1), PPI, DEVICE(1));
    qvirtio_set_driver_ok(g->t->vdev);
    g_assert_false(is_broken(g));

    write_header(g, VIRTIO_BLK_T_GET_ID, 0);
    post(g, 1, desc, ARRAY_SIZE(desc), 0, 0);
    /* That was for the avail ring in its usual place */
    qtest_writew(qts, PPI + offsetof(struct vring_avail, idx), ring->next);
    kick(g, 1);
    wait_done(g, 1, ARRAY_SIZE(desc));
    g_assert_false(is_broken(g));
    g_assert_cmpuint(qtest_readb(qts, STATUS), ==, VIRTIO_BLK_S_OK);
    free_machine(m);
}

int main(int argc, char **argv)
{
    module_call_init(MODULE_INIT_QOM);
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/virtio-device-memory/buffer", test_buffer);
    qtest_add_func("/virtio-device-memory/stop", test_stop);
    qtest_add_func("/virtio-device-memory/ring", test_ring);
    return g_test_run();
}
