/*
 * qtests of disks in a guest with RAM that belongs to devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include <glib/gstdio.h>
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "vq-fast.h"
#include "vq-plug.h"

#define SLOT 5
/* BAR 0 is its video RAM, which it owns; it cannot be unplugged to the end */
#define DISPLAY " -device bochs-display,id=other,addr=05.0"
/* So few requests a second that they are in flight for a while */
#define SLOW \
    " -object throttle-group,id=group,x-iops-total=1" \
    " -blockdev throttle,node-name=throttled,throttle-group=group,file=node0"
#define SLOTS " -m slots=4,maxmem=1G"
#define IN_FLIGHT 4

typedef struct Other {
    QPCIDevice *dev;
    uint64_t ram;           /* guest physical address */
} Other;

static VqFast *new_disk(const char *drive, const char *options)
{
    return vq_fast_new(&vq_test_blk_pci, VQ_FAST_MAPPED, drive, options);
}

static void find_other(VqFast *f, int bar, Other *other)
{
    other->dev = qpci_device_find(f->t->pcibus, QPCI_DEVFN(SLOT, 0));
    g_assert_nonnull(other->dev);
    other->ram = qpci_iomap(other->dev, bar, NULL).addr;
    qpci_device_enable(other->dev);
}

/* A message of the protocol in docs/specs/ivshmem-spec */
static void send_message(int sock, int64_t message, int fd)
{
    char control[CMSG_SPACE(sizeof(fd))] = { 0 };
    struct iovec iov = { &message, sizeof(message) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    message = cpu_to_le64(message);
    if (fd >= 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control;
        msg.msg_controllen = sizeof(control);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
        memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
    }
    g_assert_cmpint(sendmsg(sock, &msg, 0), ==, sizeof(message));
}

/*
 * Plug a device that can be unplugged, and whose BAR 2 is RAM that it owns:
 * ivshmem-doorbell. Returns: what to close when it is gone.
 */
static int plug_other(VqFast *f, Other *other)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_autofree char *name = NULL;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    int mem = g_file_open_tmp("vq-shmem.XXXXXX", &name, NULL);
    int sock;

    g_assert_cmpint(mem, >=, 0);
    g_unlink(name);
    g_assert_cmpint(ftruncate(mem, 1 * MiB), ==, 0);

    g_strlcpy(addr.sun_path, name, sizeof(addr.sun_path));
    g_assert_cmpint(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), ==,
                    0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    qtest_qmp_assert_success(f->t->qts, "{'execute': 'chardev-add',"
                             " 'arguments': {'id': 'server', 'backend':"
                             " {'type': 'socket', 'data': {'server': false,"
                             "  'addr': {'type': 'unix',"
                             "           'data': {'path': %s}}}}}}", name);
    sock = accept(listener, NULL, NULL);
    g_assert_cmpint(sock, >=, 0);
    close(listener);
    g_unlink(name);

    send_message(sock, 0, -1);      /* version */
    send_message(sock, 0, -1);      /* id of this peer */
    send_message(sock, -1, mem);
    close(mem);
    vq_plug(f->t->qts, "{\"driver\":\"ivshmem-doorbell\",\"id\":\"other\","
            "\"chardev\":\"server\",\"addr\":\"05.0\"}");
    find_other(f, 2, other);
    g_free(other->dev);
    return sock;
}

static void plug_memory(VqFast *f)
{
    qtest_qmp_assert_success(f->t->qts, "{'execute': 'object-add',"
                             " 'arguments': {'qom-type': 'memory-backend-ram',"
                             "               'id': 'mem0', 'size': %d}}",
                             (int)(16 * MiB));
    vq_plug(f->t->qts, "{\"driver\":\"pc-dimm\",\"memdev\":\"mem0\"}");
}

/* Wait until QEMU has taken the requests from the rings */
static void wait_taken(VqFast *f)
{
    int64_t deadline = g_get_monotonic_time() + VQ_FAST_TIMEOUT_US;
    VqQueues queues;
    uint64_t taken;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(f->t->qts, "disk0", &queues);
        taken = 0;
        for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
            taken += queues.vq[vq].in_flight +
                     vq_queues_requests(&queues.vq[vq]);
        }
    } while (taken < IN_FLIGHT);
}

static void begin_slow(VqFast *f, VqFastRequest reqs[IN_FLIGHT], uint64_t addr)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        reqs[i] = vq_fast_submit(f, i % VQ_FAST_QUEUES,
                                 i % 2 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
                                 8 * i, VQ_FAST_LEN, i % 2 ? 0x80 + i : 0,
                                 addr ? addr + i * VQ_FAST_LEN : 0, true);
    }
    wait_taken(f);
}

/* Returns: whether all of them have ended */
static bool are_done(VqFast *f, VqFastRequest reqs[IN_FLIGHT])
{
    unsigned n = 0;

    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        n += vq_fast_is_done(f, &reqs[i]);
    }
    return n == IN_FLIGHT;
}

static void end_slow(VqFast *f, VqFastRequest reqs[IN_FLIGHT])
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        g_assert_cmpuint(vq_fast_complete(f, &reqs[i]), ==, VIRTIO_BLK_S_OK);
        if (reqs[i].type == VIRTIO_BLK_T_OUT) {
            vq_fast_check_file(f, reqs[i].sector, reqs[i].len,
                               reqs[i].pattern);
        }
    }
}

/* Requests with buffers in a device's RAM work as with any other */
static void test_buffers(void)
{
    VqFast *f = new_disk("node0", DISPLAY);
    Other other;

    find_other(f, 0, &other);
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned vq = 0; vq < VQ_FAST_QUEUES; vq++) {
            uint64_t addr = other.ram + i * MiB + 513 * vq;
            uint8_t pattern = 16 * i + vq + 1;
            VqFastRequest req;

            req = vq_fast_submit(f, vq, VIRTIO_BLK_T_OUT, 4000 + 16 * vq,
                                 VQ_FAST_LEN, pattern, addr, true);
            g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_OK);
            vq_fast_check_file(f, 4000 + 16 * vq, VQ_FAST_LEN, pattern);
            req = vq_fast_submit(f, (vq + 1) % VQ_FAST_QUEUES, VIRTIO_BLK_T_IN,
                                 4000 + 16 * vq, VQ_FAST_LEN, pattern, addr,
                                 true);
            g_assert_cmpuint(vq_fast_complete(f, &req), ==, VIRTIO_BLK_S_OK);
        }
        vq_fast_round(f, FAST_BOTH);
    }
    g_free(other.dev);
    vq_fast_free(f);
}

static unsigned count_maps(VqFast *f)
{
    return vq_test_count_event(f->t, "vq_guest_ram_map", "");
}

/*
 * The disk does not look for guest RAM anew when a device's RAM comes and goes
 * in the guest's address space
 */
static void test_changes(void)
{
    VqFast *f = new_disk("node0", DISPLAY SLOTS);
    uint16_t command;
    unsigned before;
    Other other;

    qtest_qmp_assert_success(f->t->qts, "{'execute': 'trace-event-set-state',"
                             " 'arguments': {'name': 'vq_guest_ram_map',"
                             "               'enable': true}}");
    find_other(f, 0, &other);
    before = count_maps(f);
    command = qpci_config_readw(other.dev, PCI_COMMAND);
    g_assert_true(command & PCI_COMMAND_MEMORY);
    for (unsigned i = 0; i < 8; i++) {
        qpci_config_writew(other.dev, PCI_COMMAND,
                           command & ~PCI_COMMAND_MEMORY);
        vq_fast_begin(f);
        qpci_config_writew(other.dev, PCI_COMMAND, command);
        vq_fast_end(f);
    }
    g_assert_cmpuint(count_maps(f), ==, before);

    /* The machine's RAM is another matter */
    plug_memory(f);
    vq_fast_round(f, FAST_BOTH);
    g_assert_cmpuint(count_maps(f), >, before);
    g_free(other.dev);
    vq_fast_free(f);
}

/*
 * With requests in flight whose buffers are elsewhere, the device can be
 * unplugged; it does not have to wait for them.
 */
static void test_unplug(void)
{
    VqFast *f = new_disk("throttled", SLOW SLOTS);
    VqFastRequest reqs[IN_FLIGHT];
    Other other;
    int sock = plug_other(f, &other);

    /* There is a new map, when the device's memory is there */
    plug_memory(f);
    begin_slow(f, reqs, 0);
    vq_plug_unplug(f->t->qts, "other", SLOT);
    g_assert_false(are_done(f, reqs));
    close(sock);
    end_slow(f, reqs);
    vq_fast_free(f);
}

/* With buffers in its RAM, the device stays as long as the requests need it */
static void test_unplug_buffers(void)
{
    VqFast *f = new_disk("throttled", SLOW);
    VqFastRequest reqs[IN_FLIGHT];
    Other other;
    int sock = plug_other(f, &other);

    begin_slow(f, reqs, other.ram);
    qtest_qmp_device_del_send(f->t->qts, "other");
    vq_plug_eject(f->t->qts, SLOT);
    g_assert_false(are_done(f, reqs));
    g_assert_null(qtest_qmp_event_ref(f->t->qts, "DEVICE_DELETED"));
    f->keeps_data = false;
    end_slow(f, reqs);
    vq_plug_wait_gone(f->t->qts, "other");
    close(sock);
    vq_fast_free(f);
}

/* A device that shows the guest a memory backend's RAM */
static void test_unplug_backend(void)
{
    VqFast *f = new_disk("throttled", SLOW " -object memory-backend-ram,"
                         "id=shmem,size=1M,share=on -device ivshmem-plain,"
                         "id=other,addr=05.0,memdev=shmem,master=on");
    VqFastRequest reqs[IN_FLIGHT];
    Other other;

    find_other(f, 2, &other);
    g_free(other.dev);
    begin_slow(f, reqs, other.ram);
    vq_plug_unplug(f->t->qts, "other", SLOT);
    g_assert_null(vq_plug_object_del(f->t->qts, "shmem"));
    g_assert_false(are_done(f, reqs));
    f->keeps_data = false;
    end_slow(f, reqs);
    vq_fast_free(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/virtio-blk-device-ram/buffers", test_buffers);
    qtest_add_func("/virtio-blk-device-ram/changes", test_changes);
    qtest_add_func("/virtio-blk-device-ram/unplug/elsewhere", test_unplug);
    qtest_add_func("/virtio-blk-device-ram/unplug/buffers",
                   test_unplug_buffers);
    qtest_add_func("/virtio-blk-device-ram/unplug/backend",
                   test_unplug_backend);
    return g_test_run();
}
