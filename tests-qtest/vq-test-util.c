/*
 * A virtio device for tests that ask which thread serves a virtqueue
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "libqos/libqos-pc.h"
#include "libqos/malloc-pc.h"
#include "libqos/pci-pc.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_pci.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"
#include "qemu/bswap.h"
#include "vq-test-util.h"

#define PCI_SLOT_DISK 4
/* libqos uses each descriptor once: enough for 32 requests a virtqueue */
#define QUEUE_SIZE 64
#define MMIO_BASE_MICROVM 0xfeb00000
#define MMIO_RAM_START (1 * 1024 * 1024)
#define MMIO_RAM_SIZE (64 * 1024 * 1024)
#define MMIO_PAGE_SIZE 4096
#define TIMEOUT_US (60 * G_USEC_PER_SEC)

const VqTestDevice vq_test_blk_pci = {
    .machine = "pc",
    .driver = "virtio-blk-pci",
    .address = ",\"addr\":\"04.0\"",
    .drive = ",\"drive\":\"node0\"",
    .more_args = "",
    .num_queues = "num-queues",
    .queue_size = "queue-size",
    .trace_event = "virtio_blk_handle_read",
    .more_traces = "-trace virtio_blk_queue_*tach",
};

const VqTestDevice vq_test_blk_mmio = {
    .machine = "microvm",
    .driver = "virtio-blk-device",
    .address = ",\"bus\":\"virtio-mmio-bus.0\"",
    .drive = ",\"drive\":\"node0\"",
    .more_args = "",
    .num_queues = "num-queues",
    .queue_size = "queue-size",
    .trace_event = "virtio_blk_handle_read",
    .more_traces = "-trace virtio_blk_queue_*tach",
};

const VqTestDevice vq_test_scsi_pci = {
    .machine = "pc",
    .driver = "virtio-scsi-pci",
    .address = ",\"addr\":\"04.0\"",
    .drive = "",
    .more_args = " -device '{\"driver\":\"scsi-hd\",\"drive\":\"node0\","
                 "\"bus\":\"disk0.0\"}'",
    .num_queues = "num_queues",
    .queue_size = "virtqueue_size",
    .trace_event = "virtio_scsi_cmd_req",
    .more_traces = "",
    .first_vq = 2, /* after the control and the event virtqueue */
};

static char *create_file(off_t size)
{
    g_autoptr(GError) err = NULL;
    char *path;
    int fd = g_file_open_tmp("vq-test.XXXXXX", &path, &err);

    g_assert_no_error(err);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    return path;
}

static void append_iothreads(GString *args, unsigned num_iothreads)
{
    for (unsigned i = 0; i < num_iothreads; i++) {
        g_string_append_printf(args, " -object iothread,id=iothread%u", i);
    }
}

VqTest *vq_test_new(const VqTestDevice *device, unsigned num_iothreads,
                    unsigned num_queues, const char *properties)
{
    g_autoptr(GString) args = g_string_new(NULL);
    VqTest *t = g_new0(VqTest, 1);

    g_assert_cmpuint(num_queues, <=, VQ_TEST_MAX_QUEUES);
    t->device = device;
    t->num_queues = num_queues;
    t->log = create_file(0);
    t->image = create_file(VQ_TEST_DISK_SIZE);
    t->monitor = g_strconcat(t->log, ".qmp", NULL);

    g_string_printf(args, "-M %s -m 128M -nodefaults "
                    "-name vq-test,debug-threads=on "
                    "-D %s -msg timestamp=on -trace %s %s "
                    "-qmp unix:%s,server=on,wait=off "
                    "-blockdev driver=file,node-name=node0,filename=%s",
                    device->machine, t->log, device->trace_event,
                    device->more_traces, t->monitor, t->image);
    append_iothreads(args, num_iothreads);
    g_string_append_printf(args, " -device '{\"driver\":\"%s\",\"id\":"
                           "\"disk0\"%s%s,\"%s\":%u,\"%s\":%u%s}'%s",
                           device->driver, device->drive, device->address,
                           device->num_queues, num_queues,
                           device->queue_size, QUEUE_SIZE, properties,
                           device->more_args);
    t->qts = qtest_init(args->str);

    if (strcmp(device->machine, "microvm")) {
        QPCIAddress addr = { .devfn = QPCI_DEVFN(PCI_SLOT_DISK, 0) };

        pc_alloc_init(&t->alloc, t->qts, ALLOC_NO_FLAGS);
        t->pcibus = qpci_new_pc(t->qts, &t->alloc);
        t->pci = virtio_pci_new(t->pcibus, &addr);
        g_assert_nonnull(t->pci);
        t->vdev = &t->pci->vdev;
        qvirtio_pci_device_enable(t->pci);
    } else {
        alloc_init(&t->alloc, ALLOC_NO_FLAGS, MMIO_RAM_START,
                   MMIO_RAM_START + MMIO_RAM_SIZE, MMIO_PAGE_SIZE);
        qvirtio_mmio_init_device(&t->mmio, t->qts, MMIO_BASE_MICROVM,
                                 MMIO_PAGE_SIZE);
        t->vdev = &t->mmio.vdev;
    }
    return t;
}

static void vq_test_free_queues(VqTest *t)
{
    for (unsigned i = 0; i < ARRAY_SIZE(t->vq); i++) {
        if (t->vq[i]) {
            qvirtqueue_cleanup(t->vdev->bus, t->vq[i], &t->alloc);
            t->vq[i] = NULL;
        }
    }
}

void vq_test_free(VqTest *t)
{
    vq_test_free_queues(t);
    if (t->pci) {
        qvirtio_pci_device_disable(t->pci);
        qvirtio_pci_destructor(&t->pci->obj);
        g_free(t->pci);
        qpci_free_pc(t->pcibus);
    }
    alloc_destroy(&t->alloc);
    qtest_quit(t->qts);
    g_unlink(t->log);
    g_unlink(t->image);
    g_unlink(t->monitor);
    g_free(t->log);
    g_free(t->image);
    g_free(t->monitor);
    g_free(t);
}

void vq_test_setup_driver(VqTest *t, unsigned num_vqs)
{
    uint64_t features;

    qvirtio_start_device(t->vdev);
    features = qvirtio_get_features(t->vdev) &
               ~(QVIRTIO_F_BAD_FEATURE |
                 (1ull << VIRTIO_RING_F_INDIRECT_DESC) |
                 (1ull << VIRTIO_RING_F_EVENT_IDX) |
                 (1ull << VIRTIO_F_RING_PACKED) |
                 (1ull << VIRTIO_BLK_F_SCSI));
    qvirtio_set_features(t->vdev, features);

    for (unsigned i = 0; i < t->device->first_vq + num_vqs; i++) {
        t->vq[i] = qvirtqueue_setup(t->vdev, &t->alloc, i);
    }
}

void vq_test_start_driver(VqTest *t)
{
    vq_test_setup_driver(t, t->num_queues);
    qvirtio_set_driver_ok(t->vdev);
}

void vq_test_stop_driver(VqTest *t)
{
    qvirtio_reset(t->vdev);
    vq_test_free_queues(t);
}

void vq_test_reset(VqTest *t)
{
    vq_test_stop_driver(t);
    vq_test_start_driver(t);
}

static QVirtQueue *vq_test_queue(VqTest *t, const VqTestRequest *req)
{
    return t->vq[t->device->first_vq + req->vq];
}

VqTestRequest vq_test_prepare(VqTest *t, unsigned vq,
                              const void *out, size_t out_len,
                              const void *in, size_t in_len)
{
    VqTestRequest req = {
        .vq = vq,
        .addr = guest_alloc(&t->alloc, out_len + in_len),
        .out_len = out_len,
        .in_len = in_len,
    };

    qtest_memwrite(t->qts, req.addr, out, out_len);
    qtest_memwrite(t->qts, req.addr + out_len, in, in_len);
    return req;
}

void vq_test_submit(VqTest *t, VqTestRequest *req, bool kick)
{
    QVirtQueue *q = vq_test_queue(t, req);

    req->head = qvirtqueue_add(t->qts, q, req->addr, req->out_len, false,
                               true);
    qvirtqueue_add(t->qts, q, req->addr + req->out_len, req->in_len, true,
                   false);
    if (kick) {
        qvirtqueue_kick(t->qts, t->vdev, q, req->head);
    } else {
        uint64_t idx_addr = q->avail + offsetof(struct vring_avail, idx);
        uint16_t idx = qtest_readw(t->qts, idx_addr);

        qtest_writew(t->qts, q->avail + offsetof(struct vring_avail, ring) +
                     sizeof(uint16_t) * (idx % q->size), req->head);
        qtest_writew(t->qts, idx_addr, idx + 1);
    }
}

void vq_test_complete(VqTest *t, VqTestRequest *req, void *in)
{
    QVirtQueue *q = vq_test_queue(t, req);
    gint64 start = g_get_monotonic_time();
    uint32_t used;

    while (!qvirtqueue_get_buf(t->qts, q, &used, NULL)) {
        if (g_get_monotonic_time() - start > TIMEOUT_US) {
            g_error("no answer on virtqueue %u", req->vq);
        }
        g_usleep(100);
    }
    g_assert_cmpuint(used, ==, req->head);

    qtest_memread(t->qts, req->addr + req->out_len, in, req->in_len);
    guest_free(&t->alloc, req->addr);
}

void vq_test_request(VqTest *t, unsigned vq, const void *out, size_t out_len,
                     void *in, size_t in_len)
{
    VqTestRequest req = vq_test_prepare(t, vq, out, out_len, in, in_len);

    vq_test_submit(t, &req, true);
    vq_test_complete(t, &req, in);
}

void vq_test_write_pattern(VqTest *t, unsigned vq, uint64_t sector,
                           uint8_t pattern)
{
    struct {
        struct virtio_blk_outhdr hdr;
        uint8_t data[VQ_TEST_SECTOR];
    } QEMU_PACKED out = {
        .hdr.type = cpu_to_le32(VIRTIO_BLK_T_OUT),
        .hdr.sector = cpu_to_le64(sector),
    };
    uint8_t status = 0xff;

    memset(out.data, pattern, sizeof(out.data));
    vq_test_request(t, vq, &out, sizeof(out), &status, sizeof(status));
    g_assert_cmpuint(status, ==, VIRTIO_BLK_S_OK);
}

static VqTestRequest vq_test_prepare_sector(VqTest *t, unsigned vq,
                                            uint64_t sector)
{
    struct virtio_blk_outhdr hdr = {
        .type = cpu_to_le32(VIRTIO_BLK_T_IN),
        .sector = cpu_to_le64(sector),
    };
    uint8_t in[VQ_TEST_SECTOR + 1];

    memset(in, 0xff, sizeof(in));
    return vq_test_prepare(t, vq, &hdr, sizeof(hdr), in, sizeof(in));
}

static void vq_test_complete_sector(VqTest *t, VqTestRequest *req,
                                    uint8_t data[VQ_TEST_SECTOR])
{
    uint8_t in[VQ_TEST_SECTOR + 1];

    vq_test_complete(t, req, in);
    g_assert_cmpuint(in[VQ_TEST_SECTOR], ==, VIRTIO_BLK_S_OK);
    memcpy(data, in, VQ_TEST_SECTOR);
}

void vq_test_check_pattern(VqTest *t, unsigned vq, uint64_t sector,
                           uint8_t pattern)
{
    VqTestRequest req = vq_test_prepare_sector(t, vq, sector);
    uint8_t data[VQ_TEST_SECTOR];

    vq_test_submit(t, &req, true);
    vq_test_complete_sector(t, &req, data);
    for (size_t i = 0; i < sizeof(data); i++) {
        g_assert_cmphex(data[i], ==, pattern);
    }
}

/*
 * Find the trace lines, "TID@TIME:EVENT ARGUMENTS", of @event with @needle,
 * and store their TIDs, at most @max. Returns: how many there are.
 */
static unsigned vq_test_find_trace(VqTest *t, const char *event,
                                   const char *needle, pid_t *tids,
                                   unsigned max)
{
    g_autofree char *name = g_strdup_printf(":%s ", event);
    g_autofree char *log = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned n = 0;

    g_assert_true(g_file_get_contents(t->log, &log, NULL, NULL));
    lines = g_strsplit(log, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (strstr(*line, name) && strstr(*line, needle)) {
            if (n < max) {
                tids[n] = atoi(*line);
            }
            n++;
        }
    }
    return n;
}

unsigned vq_test_count_event(VqTest *t, const char *event, const char *needle)
{
    return vq_test_find_trace(t, event, needle, NULL, 0);
}

unsigned vq_test_count_trace(VqTest *t, const char *event, const char *needle,
                             pid_t tid)
{
    unsigned n = vq_test_count_event(t, event, needle);
    g_autofree pid_t *tids = g_new(pid_t, n);

    vq_test_find_trace(t, event, needle, tids, n);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpint(tids[i], ==, tid);
    }
    return n;
}

unsigned vq_test_traced_threads(VqTest *t, const char *needle, pid_t *tids,
                                unsigned max)
{
    return vq_test_find_trace(t, t->device->trace_event, needle, tids, max);
}

pid_t vq_test_traced_thread(VqTest *t, const char *needle)
{
    pid_t tid = 0;

    g_assert_cmpuint(vq_test_traced_threads(t, needle, &tid, 1), ==, 1);
    g_assert_cmpint(tid, >, 0);
    return tid;
}

VqTestRequest vq_test_prepare_read(VqTest *t, unsigned vq, char **needle)
{
    /* Not adjacent to the one before, so that no two can be merged */
    uint64_t sector = t->next_sector += 2;

    *needle = g_strdup_printf(" sector %" PRIu64 " ", sector);
    return vq_test_prepare_sector(t, vq, sector);
}

void vq_test_complete_read(VqTest *t, VqTestRequest *req)
{
    uint8_t data[VQ_TEST_SECTOR];

    vq_test_complete_sector(t, req, data);
}

pid_t vq_test_read(VqTest *t, unsigned vq)
{
    g_autofree char *needle = NULL;
    VqTestRequest req = vq_test_prepare_read(t, vq, &needle);

    vq_test_submit(t, &req, true);
    vq_test_complete_read(t, &req);
    return vq_test_traced_thread(t, needle);
}

VqTest *vq_test_start_plugged(VqTest *t, unsigned slot, unsigned num_queues)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(slot, 0) };
    VqTest *disk = g_new(VqTest, 1);

    *disk = *t;
    memset(disk->vq, 0, sizeof(disk->vq));
    disk->num_queues = num_queues;
    disk->pci = virtio_pci_new(t->pcibus, &addr);
    g_assert_nonnull(disk->pci);
    disk->vdev = &disk->pci->vdev;
    qvirtio_pci_device_enable(disk->pci);
    vq_test_start_driver(disk);
    return disk;
}

void vq_test_stop_plugged(VqTest *t, VqTest *disk)
{
    vq_test_free_queues(disk);
    t->alloc = disk->alloc;
    t->next_sector = disk->next_sector;
    qvirtio_pci_destructor(&disk->pci->obj);
    g_free(disk->pci);
    g_free(disk);
}

unsigned vq_test_count_entries(VqTest *t, const char *what)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s",
                                            (int)qtest_pid(t->qts), what);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    return n;
}

/* Returns: how many threads of QEMU have that name, and the id of one */
static unsigned vq_test_count_threads(VqTest *t, const char *name, pid_t *tid)
{
    g_autofree char *task =
        g_strdup_printf("/proc/%d/task", (int)qtest_pid(t->qts));
    g_autoptr(GDir) dir = g_dir_open(task, 0, NULL);
    const char *entry;
    unsigned n = 0;

    g_assert_nonnull(dir);
    while ((entry = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(task, entry, "comm", NULL);
        g_autofree char *comm = NULL;

        if (g_file_get_contents(path, &comm, NULL, NULL) &&
            g_str_equal(g_strchomp(comm), name)) {
            *tid = atoi(entry);
            n++;
        }
    }
    return n;
}

/* The kernel knows QEMU's threads by name. Returns 0 if there is none. */
static pid_t vq_test_find_thread(VqTest *t, const char *name)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    pid_t tid = 0;

    /* A worker has its IOThread's name until it gives itself its own */
    while (vq_test_count_threads(t, name, &tid) > 1) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
    return tid;
}

bool vq_test_has_iothread(VqTest *t, const char *name)
{
    g_autofree char *comm = g_strdup_printf("IO %s", name);

    return vq_test_find_thread(t, comm) > 0;
}

pid_t vq_test_thread_id(VqTest *t, const char *name)
{
    g_autofree char *comm = NULL;
    pid_t tid;

    if (!name) {
        return qtest_pid(t->qts);
    }
    comm = g_strdup_printf("IO %s", name);
    tid = vq_test_find_thread(t, comm);
    g_assert_cmpint(tid, >, 0);
    return tid;
}

/* QEMU's memory, to be closed, and where its variable @symbol is there */
static int vq_test_open_symbol(VqTest *t, const char *symbol, uint64_t *where)
{
    g_autofree char *nm = g_strdup_printf(
        "/bin/sh -c 'nm %s | sed -n \"s/ [bBdD] %s$//p\"'",
        getenv("QTEST_QEMU_BINARY"), symbol);
    g_autofree char *maps_path =
        g_strdup_printf("/proc/%d/maps", (int)qtest_pid(t->qts));
    g_autofree char *exe_path =
        g_strdup_printf("/proc/%d/exe", (int)qtest_pid(t->qts));
    g_autofree char *mem_path =
        g_strdup_printf("/proc/%d/mem", (int)qtest_pid(t->qts));
    g_autofree char *address = NULL;
    g_autofree char *maps = NULL;
    g_autofree char *exe = NULL;
    const char *map;
    g_autoptr(GError) err = NULL;
    uint64_t addr, base;
    int fd;

    g_spawn_command_line_sync(nm, &address, NULL, NULL, &err);
    g_assert_no_error(err);
    addr = g_ascii_strtoull(address, NULL, 16);
    g_assert_cmphex(addr, !=, 0);

    /* A PIE's symbols are relative to where the binary's first part is */
    g_assert_true(g_file_get_contents(maps_path, &maps, NULL, NULL));
    exe = g_file_read_link(exe_path, &err);
    g_assert_no_error(err);
    map = strstr(maps, exe);
    g_assert_nonnull(map);
    while (map > maps && map[-1] != '\n') {
        map--;
    }
    base = g_ascii_strtoull(map, NULL, 16);
    if (addr < base) {
        addr += base;
    }

    fd = open(mem_path, O_RDWR);
    g_assert_cmpint(fd, >=, 0);
    *where = addr;
    return fd;
}

unsigned vq_test_peek(VqTest *t, const char *symbol)
{
    unsigned value;
    uint64_t addr;
    int fd = vq_test_open_symbol(t, symbol, &addr);

    g_assert_cmpint(pread(fd, &value, sizeof(value), addr), ==, sizeof(value));
    close(fd);
    return value;
}

void vq_test_poke(VqTest *t, const char *symbol, bool value)
{
    uint64_t addr;
    int fd = vq_test_open_symbol(t, symbol, &addr);

    g_assert_cmpint(pwrite(fd, &value, sizeof(value), addr), ==, sizeof(value));
    close(fd);
}

int vq_test_run_qemu(const char *machine, unsigned num_iothreads,
                     const char *device, char **output)
{
    g_autoptr(GString) command = g_string_new("echo quit | exec ");
    char *argv[] = { (char *)"/bin/sh", (char *)"-c", NULL, NULL };
    g_autoptr(GError) err = NULL;
    int status;

    g_string_append_printf(command, "%s -M %s -accel qtest -nodefaults "
                           "-display none -monitor stdio "
                           "-blockdev driver=null-co,node-name=node0",
                           getenv("QTEST_QEMU_BINARY"), machine);
    append_iothreads(command, num_iothreads);
    g_string_append_printf(command, " -device '%s'", device);

    argv[2] = command->str;
    g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL,
                 NULL, output, &status, &err);
    g_assert_no_error(err);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void vq_test_queue_reset(VqTest *t, uint16_t vq)
{
    uint64_t reset = t->pci->common_cfg_offset + VIRTIO_PCI_COMMON_Q_RESET;

    t->vdev->bus->queue_select(t->vdev, vq);
    qpci_io_writew(t->pci->pdev, t->pci->bar, reset, 1);
    while (qpci_io_readw(t->pci->pdev, t->pci->bar, reset)) {
        g_usleep(1000);
    }
}
