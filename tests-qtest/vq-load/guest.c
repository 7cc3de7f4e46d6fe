/*
 * A virtio-blk disk in a QEMU whose guest RAM is mapped here
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/eventfd.h>
#include <sys/mman.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "../libqos/malloc-pc.h"
#include "../libqos/pci-pc.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "guest.h"
#include "image.h"
#include "notifier.h"

#define PCI_SLOT_DISK 4
/* RAM that libqos and the firmware's place need beside the rings and data */
#define OTHER_RAM (16 * 1024 * 1024)
#define PAGE 4096
#define MAX_RING_SIZE 1024 /* VIRTQUEUE_MAX_SIZE */
/* Longer than an idle thread needs to serve a request */
#define PROBE_US (200 * 1000)
/* Longer than a thread that still looks at the ring needs to do so */
#define PROBE_QUIET_US 300
/* On a busy host neither is certain, but hardly that often in a row */
#define PROBE_TIMES 3
/* And not the right one, again and again */
#define FIND_TIMES 5
#define BRING_UP_US (60 * G_USEC_PER_SEC)

static size_t data_stride(const VqLoadConfig *config)
{
    return ROUND_UP(config->block_size, PAGE);
}

/* Descriptors that a ring needs; drivers do not use rings of less than 128 */
static unsigned wanted_ring_size(const VqLoadConfig *config)
{
    unsigned per_request = config->indirect ? 1 : config->segments + 2;

    return MAX(128, pow2ceil(config->depth * per_request));
}

static VqRingLayout ring_layout(const VqLoadConfig *config, unsigned size)
{
    VqRingLayout layout = {
        .packed = config->packed,
        .event_idx = config->event_idx,
        .indirect = config->indirect,
        .interrupts = config->msix,
        .size = size,
        .slots = config->depth,
        .max_segments = config->segments + 2, /* header and status */
    };

    return layout;
}

static size_t queue_bytes(const VqLoadConfig *config, unsigned ring_size)
{
    VqRingLayout layout = ring_layout(config, ring_size);

    return vq_ring_bytes(&layout) +
           ROUND_UP(config->depth * VQ_GUEST_SLOT_BYTES, PAGE) +
           config->depth * data_stride(config);
}

/* Lay out a virtqueue's memory at guest address @addr */
static void queue_init(VqGuest *guest, VqGuestQueue *queue, unsigned ring_size,
                       uint64_t addr)
{
    const VqLoadConfig *config = guest->config;
    VqRingLayout layout = ring_layout(config, ring_size);

    vq_ring_init(&queue->ring, &layout, guest->ram + addr, addr);
    addr += vq_ring_bytes(&layout);
    queue->slots = guest->ram + addr;
    queue->slots_addr = addr;
    addr += ROUND_UP(config->depth * VQ_GUEST_SLOT_BYTES, PAGE);
    queue->data = guest->ram + addr;
    queue->data_addr = addr;
    queue->data_stride = data_stride(config);
}

static char *command_line(const VqGuest *guest, int ram_fd)
{
    const VqLoadConfig *config = guest->config;
    g_autofree char *blockdev = vq_image_blockdev(config, guest->image);
    GString *args = g_string_new(NULL);

    g_string_printf(args, "-M %s,memory-backend=ram -m %zu -nodefaults "
                    "-name vq-load,debug-threads=on "
                    "-object memory-backend-file,id=ram,size=%zu,share=on,"
                    "mem-path=/proc/self/fd/%d -blockdev '%s' ",
                    config->machine, guest->ram_size / MiB, guest->ram_size,
                    ram_fd, blockdev);
    for (unsigned i = 0; i < config->iothreads; i++) {
        /* Polling begins when the host notifiers have been found */
        g_string_append_printf(args, "-object iothread,id=iothread%u,"
                               "poll-max-ns=0 ", i);
    }
    g_string_append_printf(args, "-device '{\"driver\":\"virtio-blk-pci\","
                           "\"id\":\"disk0\",\"addr\":\"%02x.0\","
                           "\"drive\":\"disk\",\"num-queues\":%u,"
                           "\"queue-size\":%u,\"request-merging\":%s,"
                           "\"packed\":%s,\"disable-legacy\":\"%s\","
                           "\"disable-modern\":%s",
                           PCI_SLOT_DISK, config->queues,
                           wanted_ring_size(config),
                           config->merge ? "true" : "false",
                           config->packed ? "true" : "false",
                           config->legacy ? "off" : "on",
                           config->legacy ? "true" : "false");
    if (config->iothreads) {
        g_string_append(args, ",\"iothread-vq-mapping\":[");
        for (unsigned i = 0; i < config->iothreads; i++) {
            g_string_append_printf(args, "%s{\"iothread\":\"iothread%u\"}",
                                   i ? "," : "", i);
        }
        g_string_append(args, "]");
    }
    g_string_append_printf(args, "}' %s", config->more_args);
    return g_string_free(args, false);
}

/* For the signal handler below: what would be left behind */
static const char *starting_image;

/* libqtest would wait a minute for QEMU to connect, and then abort */
static void qemu_ended(int sig)
{
    static const char message[] = "vq-load: QEMU ended while it started\n";

    ssize_t ignored G_GNUC_UNUSED;

    if (starting_image) {
        unlink(starting_image);
    }
    ignored = write(STDERR_FILENO, message, sizeof(message) - 1);
    _exit(1);
}

/* qtest_init(), with a QEMU that ends again reported at once */
static QTestState *start_and_connect(const VqGuest *guest, const char *args)
{
    struct sigaction action = {
        .sa_handler = qemu_ended, .sa_flags = SA_NOCLDSTOP
    };
    struct sigaction old;
    QTestState *qts;

    starting_image = guest->image;
    sigaction(SIGCHLD, &action, &old);
    qts = qtest_init(args);
    sigaction(SIGCHLD, &old, NULL);
    return qts;
}

static char *start_qemu(VqGuest *guest)
{
    g_autofree char *args = NULL;
    QPCIAddress addr = { .devfn = QPCI_DEVFN(PCI_SLOT_DISK, 0) };
    int fd = memfd_create("vq-load", 0);

    if (fd < 0 || ftruncate(fd, guest->ram_size) < 0) {
        return g_strdup_printf("no memory for the guest: %s", strerror(errno));
    }
    guest->ram = mmap(NULL, guest->ram_size, PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd, 0);
    g_assert(guest->ram != MAP_FAILED);

    args = command_line(guest, fd);
    g_setenv("QTEST_QEMU_BINARY", guest->config->qemu, true);
    guest->qts = start_and_connect(guest, args);
    guest->pid = qtest_pid(guest->qts);
    close(fd);

    pc_alloc_init(&guest->alloc, guest->qts, ALLOC_NO_FLAGS);
    guest->pcibus = qpci_new_pc(guest->qts, &guest->alloc);
    guest->pci = virtio_pci_new(guest->pcibus, &addr);
    g_assert_nonnull(guest->pci);
    qvirtio_pci_device_enable(guest->pci);
    return NULL;
}

static char *negotiate(VqGuest *guest)
{
    const VqLoadConfig *config = guest->config;
    QVirtioDevice *vdev = &guest->pci->vdev;
    uint64_t offered, wanted;

    wanted = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
             1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_TOPOLOGY;
    wanted |= config->queues > 1 ? 1ull << VIRTIO_BLK_F_MQ : 0;
    wanted |= config->mix[VQ_LOAD_DISCARD] ? 1ull << VIRTIO_BLK_F_DISCARD : 0;
    wanted |= config->mix[VQ_LOAD_WRITE_ZEROES] ?
              1ull << VIRTIO_BLK_F_WRITE_ZEROES : 0;
    wanted |= config->indirect ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0;
    wanted |= config->event_idx ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0;
    wanted |= config->packed ? 1ull << VIRTIO_F_RING_PACKED : 0;
    wanted |= config->legacy ? 0 : 1ull << VIRTIO_F_VERSION_1;

    qvirtio_reset(vdev);
    qvirtio_set_acknowledge(vdev);
    qvirtio_set_driver(vdev);
    offered = qvirtio_get_features(vdev);
    if (wanted & ~offered) {
        return g_strdup_printf("the device does not offer features 0x%" PRIx64,
                               wanted & ~offered);
    }
    qvirtio_set_features(vdev, wanted);
    return NULL;
}

/*
 * The selected virtqueue's size: what the load wants if the driver may say so,
 * else what the device has, which is not what it was told on every base
 */
static unsigned set_ring_size(VqGuest *guest)
{
    QVirtioPCIDevice *pci = guest->pci;
    unsigned size = pci->vdev.bus->get_queue_size(&pci->vdev);

    if (!guest->config->legacy) {
        size = wanted_ring_size(guest->config);
        qpci_io_writew(pci->pdev, pci->bar, pci->common_cfg_offset +
                       offsetof(struct virtio_pci_common_cfg, queue_size),
                       size);
    }
    g_assert_cmpuint(size, ==, pci->vdev.bus->get_queue_size(&pci->vdev));
    return size;
}

/*
 * Lay virtqueue @index out at @addr and tell the device; libqos would do so
 * with one qtest command for each descriptor, and for split rings only.
 * Returns: the address after it
 */
static uint64_t enable_queue(VqGuest *guest, unsigned index, uint64_t addr)
{
    VqGuestQueue *queue = &guest->queues[index];
    QVirtioPCIDevice *pci = guest->pci;
    QVirtQueue *vq = &queue->vqpci.vq;

    vq->vdev = &pci->vdev;
    vq->index = index;
    vq->vdev->bus->queue_select(vq->vdev, index);
    vq->size = set_ring_size(guest);
    queue_init(guest, queue, vq->size, addr);

    queue->vqpci.msix_entry = -1;
    queue->vqpci.msix_data = 1;
    vq->desc = queue->ring.desc_addr;
    vq->avail = queue->ring.driver_addr;
    vq->used = queue->ring.device_addr;
    vq->vdev->bus->set_queue_address(vq->vdev, vq);

    if (guest->config->msix) {
        qvirtqueue_pci_msix_setup(pci, &queue->vqpci, &guest->alloc,
                                  index + 1);
        queue->msix = guest->ram + queue->vqpci.msix_addr;
    }
    if (!guest->config->legacy) {
        uint16_t notify_off =
            qpci_io_readw(pci->pdev, pci->bar, pci->common_cfg_offset +
                          offsetof(struct virtio_pci_common_cfg,
                                   queue_notify_off));

        queue->vqpci.notify_offset = pci->notify_cfg_offset +
                                     notify_off * pci->notify_off_multiplier;
        qpci_io_writew(pci->pdev, pci->bar, pci->common_cfg_offset +
                       offsetof(struct virtio_pci_common_cfg, queue_enable),
                       1);
    }
    return addr + queue_bytes(guest->config, vq->size);
}

/* Read the disk's first sector, without a kick */
static void submit_probe(VqGuestQueue *queue)
{
    struct virtio_blk_outhdr *header = queue->slots;
    VqRingSegment segments[] = {
        { .addr = queue->slots_addr, .len = sizeof(*header) },
        { .addr = queue->data_addr, .len = 512, .device_writes = true },
        { .addr = queue->slots_addr + VQ_GUEST_STATUS_OFFSET, .len = 1,
          .device_writes = true },
    };

    header->type = cpu_to_le32(VIRTIO_BLK_T_IN);
    header->sector = 0;
    vq_ring_add(&queue->ring, 0, segments, ARRAY_SIZE(segments));
    vq_ring_publish(&queue->ring);
}

static bool reap_probe(VqGuestQueue *queue, int64_t timeout_us)
{
    int64_t deadline = g_get_monotonic_time() + timeout_us;
    unsigned id;
    uint32_t len;

    do {
        if (vq_ring_reap(&queue->ring, &id, &len)) {
            vq_ring_rearm(&queue->ring);
            return true;
        }
        g_usleep(50);
    } while (g_get_monotonic_time() < deadline);
    return false;
}

/* Is @fd the host notifier of the virtqueue, which has a request waiting? */
static bool probe_notifier(int fd, void *opaque)
{
    VqGuestQueue *queue = opaque;

    for (unsigned i = 0; i < PROBE_TIMES; i++) {
        /* A request that is served unasked proves nothing */
        while (reap_probe(queue, PROBE_QUIET_US)) {
            submit_probe(queue);
        }
        if (eventfd_write(fd, 1) < 0 || !reap_probe(queue, PROBE_US)) {
            return false;
        }
        submit_probe(queue);
    }
    return true;
}

/*
 * Find the virtqueues' host notifiers, which are not among the eventfds that
 * there were before; those not found are kicked through qtest
 */
static void find_notifiers(VqGuest *guest, GArray *before)
{
    unsigned queues = guest->config->queues;

    for (unsigned i = 0; i < queues; i++) {
        VqGuestQueue *queue = &guest->queues[i];
        int notifier = -1;

        /* Let the device's own first look at the ring pass */
        submit_probe(queue);
        vq_guest_kick(guest, queue);
        g_assert_true(reap_probe(queue, BRING_UP_US));

        submit_probe(queue);
        for (unsigned times = 0; notifier < 0 && times < FIND_TIMES; times++) {
            notifier = vq_notifier_find(guest->pid, before, queues - i,
                                        probe_notifier, queue);
        }
        vq_guest_kick(guest, queue);
        g_assert_true(reap_probe(queue, BRING_UP_US));
        queue->notifier = notifier;
    }
}

/* Returns: the id of QEMU's thread @name, or 0 */
static pid_t find_thread(const VqGuest *guest, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", guest->pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *tid;

    while (dir && (tid = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, tid, "comm", NULL);
        g_autofree char *comm = NULL;

        if (g_file_get_contents(file, &comm, NULL, NULL) &&
            g_str_equal(g_strchomp(comm), name)) {
            return atoi(tid);
        }
    }
    return 0;
}

static void find_threads(VqGuest *guest)
{
    guest->num_threads = 1 + guest->config->iothreads;
    guest->threads = g_new0(VqGuestThread, guest->num_threads);
    guest->threads[0].name = g_strdup("main");
    guest->threads[0].tid = guest->pid;
    for (unsigned i = 1; i < guest->num_threads; i++) {
        VqGuestThread *thread = &guest->threads[i];
        g_autofree char *comm = g_strdup_printf("IO iothread%u", i - 1);

        thread->name = g_strdup_printf("iothread%u", i - 1);
        thread->tid = find_thread(guest, comm);
        g_assert_cmpint(thread->tid, >, 0);
    }
}

static void set_poll_max_ns(VqGuest *guest, int64_t ns)
{
    for (unsigned i = 0; i < guest->config->iothreads; i++) {
        g_autofree char *path = g_strdup_printf("/objects/iothread%u", i);

        qtest_qmp_assert_success(guest->qts,
                                 "{'execute': 'qom-set', 'arguments': {"
                                 "'path': %s, 'property': 'poll-max-ns',"
                                 "'value': %" PRId64 "}}",
                                 path, ns);
    }
}

static void forget_notifiers(VqGuest *guest)
{
    for (unsigned i = 0; i < guest->config->queues; i++) {
        if (guest->queues[i].notifier >= 0) {
            close(guest->queues[i].notifier);
        }
        guest->queues[i].notifier = -1;
    }
}

static char *bring_up(VqGuest *guest, uint64_t addr)
{
    const VqLoadConfig *config = guest->config;
    g_autoptr(GArray) before = NULL;
    char *error;

    if (config->msix) {
        qpci_msix_enable(guest->pci->pdev);
    }
    error = negotiate(guest);
    if (error) {
        return error;
    }
    for (unsigned i = 0; i < config->queues; i++) {
        addr = enable_queue(guest, i, addr);
    }
    /* Before a worker thread exists, which begins with its IOThread's name */
    find_threads(guest);
    before = vq_notifier_list(guest->pid);
    qvirtio_set_driver_ok(&guest->pci->vdev);
    if (!config->qtest_kicks) {
        find_notifiers(guest, before);
    }
    set_poll_max_ns(guest, guest->config->poll_max_ns);
    return NULL;
}

void vq_guest_restart(VqGuest *guest)
{
    g_autoptr(GArray) before = NULL;

    qtest_qmp_assert_success(guest->qts, "{'execute': 'stop'}");
    forget_notifiers(guest);
    before = vq_notifier_list(guest->pid);
    /* A request that polling finds proves nothing */
    set_poll_max_ns(guest, 0);
    qtest_qmp_assert_success(guest->qts, "{'execute': 'cont'}");
    if (!guest->config->qtest_kicks) {
        find_notifiers(guest, before);
    }
    set_poll_max_ns(guest, guest->config->poll_max_ns);
}

VqGuest *vq_guest_new(const VqLoadConfig *config, char **error)
{
    VqGuest *guest = g_new0(VqGuest, 1);
    size_t one_bytes = queue_bytes(config, MAX_RING_SIZE);
    size_t bytes = config->queues * one_bytes;

    guest->config = config;
    guest->queues = g_new0(VqGuestQueue, config->queues);
    guest->ram_size = ROUND_UP(bytes + OTHER_RAM, MiB);
    g_mutex_init(&guest->qtest_lock);
    for (unsigned i = 0; i < config->queues; i++) {
        guest->queues[i].notifier = -1;
    }

    if (!config->qemu) {
        guest->ram = mmap(NULL, guest->ram_size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        g_assert(guest->ram != MAP_FAILED);
        for (unsigned i = 0; i < config->queues; i++) {
            queue_init(guest, &guest->queues[i], wanted_ring_size(config),
                       i * one_bytes);
        }
        return guest;
    }

    guest->image = vq_image_new(config, error);
    if (*error) {
        goto fail;
    }
    *error = start_qemu(guest);
    if (*error) {
        goto fail;
    }
    *error = bring_up(guest, guest_alloc(&guest->alloc, bytes));
    if (*error) {
        goto fail;
    }
    return guest;
fail:
    vq_guest_free(guest);
    return NULL;
}

void vq_guest_free(VqGuest *guest)
{
    for (unsigned i = 0; i < guest->config->queues; i++) {
        vq_ring_cleanup(&guest->queues[i].ring);
    }
    forget_notifiers(guest);
    for (unsigned i = 0; i < guest->num_threads; i++) {
        g_free(guest->threads[i].name);
    }
    if (guest->pci) {
        qvirtio_pci_device_disable(guest->pci);
        g_free(guest->pci->pdev);
        g_free(guest->pci);
        qpci_free_pc(guest->pcibus);
        alloc_destroy(&guest->alloc);
    }
    if (guest->qts) {
        qtest_quit(guest->qts);
    }
    vq_image_free(guest->image);
    if (guest->ram) {
        munmap(guest->ram, guest->ram_size);
    }
    g_mutex_clear(&guest->qtest_lock);
    g_free(guest->threads);
    g_free(guest->queues);
    g_free(guest);
}

void vq_guest_kick(VqGuest *guest, VqGuestQueue *queue)
{
    QVirtQueue *vq = &queue->vqpci.vq;

    if (queue->notifier >= 0) {
        eventfd_write(queue->notifier, 1);
        return;
    }
    if (guest->qts) {
        g_mutex_lock(&guest->qtest_lock);
        vq->vdev->bus->virtqueue_kick(vq->vdev, vq);
        g_mutex_unlock(&guest->qtest_lock);
    }
}

bool vq_guest_take_interrupt(VqGuestQueue *queue)
{
    if (!queue->msix || !qatomic_read(queue->msix)) {
        return false;
    }
    /* A message that comes before this is the one that was just seen */
    qatomic_set(queue->msix, 0);
    return true;
}

uint64_t vq_guest_cpu_ns(const VqGuest *guest, pid_t tid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/schedstat",
                                            guest->pid, tid);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return 0;
    }
    return g_ascii_strtoull(text, NULL, 10);
}
