/*
 * Conformance cases for a virtio-blk-pci device: QEMU, registers, memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/mman.h>
#include "hw/pci/pci_regs.h"
#include "qemu/bswap.h"
#include "vq-conform.h"

#define MAPPING ",\"iothread-vq-mapping\":[{\"iothread\":\"iothread0\"}," \
                "{\"iothread\":\"iothread1\"}]"
#define PROPERTIES ",\"serial\":\"0123456789\",\"packed\":true" MAPPING

#define DEFAULT_FEATURES \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC | \
     1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_BLK_F_FLUSH | \
     1ull << VIRTIO_BLK_F_CONFIG_WCE | 1ull << VIRTIO_BLK_F_DISCARD | \
     1ull << VIRTIO_BLK_F_WRITE_ZEROES)

typedef struct Range {
    uint64_t addr, len;
} Range;

/* What is looked at: guesses at where a device writes by mistake */
static const Range checked[] = {
    { 0, 64 * KiB }, { ARENA, ARENA_SIZE }, { RAM_SIZE - 64 * KiB, 64 * KiB },
};

static uint8_t *map_file(const char *path, size_t size)
{
    int fd = open(path, O_RDWR);
    uint8_t *p;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(p != MAP_FAILED);
    close(fd);
    return p;
}

/* A file that goes with the folder that conform_run() makes */
static char *make_file(const char *name)
{
    g_autoptr(GError) err = NULL;
    char *path = g_build_filename(g_get_tmp_dir(), name, NULL);

    g_assert_true(g_file_set_contents(path, "", 0, &err));
    return path;
}

Conform *cf_new(bool read_only)
{
    static VqTestDevice device;
    Conform *c = g_new0(Conform, 1);
    g_autofree char *ram = make_file("ram");
    g_autofree char *args = NULL;

    c->ram = map_file(ram, RAM_SIZE);
    c->ram_copy = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert(c->ram_copy != MAP_FAILED);
    c->may_change = g_array_new(false, false, sizeof(Range));
    c->disk_may_change = g_array_new(false, false, sizeof(Range));
    c->read_only = read_only;

    args = g_strdup_printf("%s -object memory-backend-file,id=ram,share=on,"
                           "size=128M,mem-path=%s "
                           "-blockdev driver=null-co,node-name=ro,"
                           "size=%d,read-zeroes=on,read-only=on",
                           vq_test_blk_pci.more_traces, ram,
                           VQ_TEST_DISK_SIZE);
    device = vq_test_blk_pci;
    device.machine = "pc,memory-backend=ram";
    device.more_traces = args;
    if (read_only) {
        device.drive = ",\"drive\":\"ro\"";
    }
    c->t = vq_test_new(&device, 2, QUEUES, PROPERTIES);
    device.more_traces = NULL;
    /* What is no zeroes shows that zeroes were written */
    for (size_t i = 0; i < ARRAY_SIZE(checked); i++) {
        cf_fill(c, checked[i].addr, 0xc3, checked[i].len);
    }
    c->pci = c->t->pci->pdev;
    c->bar = c->t->pci->bar;
    if (!read_only) {
        c->disk_size = VQ_TEST_DISK_SIZE;
        c->disk = map_file(c->t->image, c->disk_size);
        c->disk_copy = g_malloc0(c->disk_size);
    }
    return c;
}

void cf_free(Conform *c)
{
    vq_test_free(c->t);
    munmap(c->ram, RAM_SIZE);
    munmap(c->ram_copy, RAM_SIZE);
    if (c->disk) {
        munmap(c->disk, c->disk_size);
    }
    g_free(c->disk_copy);
    g_array_free(c->may_change, true);
    g_array_free(c->disk_may_change, true);
    g_free(c);
}

Verdict cf_note(Conform *c, Verdict verdict, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_vsnprintf(c->note, sizeof(c->note), fmt, ap);
    va_end(ap);
    return verdict;
}

uint8_t cf_rd8(Conform *c, unsigned reg)
{
    return qpci_io_readb(c->pci, c->bar, c->t->pci->common_cfg_offset + reg);
}

uint16_t cf_rd16(Conform *c, unsigned reg)
{
    return qpci_io_readw(c->pci, c->bar, c->t->pci->common_cfg_offset + reg);
}

uint32_t cf_rd32(Conform *c, unsigned reg)
{
    return qpci_io_readl(c->pci, c->bar, c->t->pci->common_cfg_offset + reg);
}

void cf_wr8(Conform *c, unsigned reg, uint8_t value)
{
    qpci_io_writeb(c->pci, c->bar, c->t->pci->common_cfg_offset + reg, value);
}

void cf_wr16(Conform *c, unsigned reg, uint16_t value)
{
    qpci_io_writew(c->pci, c->bar, c->t->pci->common_cfg_offset + reg, value);
}

void cf_wr32(Conform *c, unsigned reg, uint32_t value)
{
    qpci_io_writel(c->pci, c->bar, c->t->pci->common_cfg_offset + reg, value);
}

void cf_wr64(Conform *c, unsigned reg, uint64_t value)
{
    cf_wr32(c, reg, value);
    cf_wr32(c, reg + 4, value >> 32);
}

void cf_select(Conform *c, uint16_t q)
{
    cf_wr16(c, CF(Q_SELECT), q);
}

bool cf_broken(Conform *c)
{
    return cf_rd8(c, CF(STATUS)) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

void cf_reset(Conform *c)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    cf_wr8(c, CF(STATUS), 0);
    while (cf_rd8(c, CF(STATUS)) && g_get_monotonic_time() < deadline) {
        g_usleep(1000);
    }
    memset(c->q, 0, sizeof(c->q));
}

void cf_wr_features(Conform *c, uint64_t features)
{
    for (unsigned i = 0; i < 2; i++) {
        cf_wr32(c, CF(GFSELECT), i);
        cf_wr32(c, CF(GF), features >> 32 * i);
    }
}

uint64_t cf_rd_features(Conform *c, unsigned select_reg)
{
    uint64_t features = 0;

    for (unsigned i = 0; i < 2; i++) {
        cf_wr32(c, select_reg, i);
        features |= (uint64_t)cf_rd32(c, select_reg + 4) << 32 * i;
    }
    return features;
}

bool cf_negotiate(Conform *c)
{
    const uint8_t driver = VIRTIO_CONFIG_S_ACKNOWLEDGE |
                           VIRTIO_CONFIG_S_DRIVER;

    cf_wr8(c, CF(STATUS), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    cf_wr8(c, CF(STATUS), driver);
    cf_wr_features(c, c->features);
    cf_wr8(c, CF(STATUS), driver | VIRTIO_CONFIG_S_FEATURES_OK);
    return cf_rd8(c, CF(STATUS)) & VIRTIO_CONFIG_S_FEATURES_OK;
}

void cf_queue_enable(Conform *c, unsigned q, unsigned size, uint64_t desc,
                     uint64_t driver, uint64_t device)
{
    cf_select(c, q);
    cf_wr16(c, CF(Q_SIZE), size);
    if (c->vector != VIRTIO_MSI_NO_VECTOR) {
        cf_wr16(c, CF(Q_MSIX), c->vector);
    }
    cf_wr64(c, CF(Q_DESCLO), desc);
    cf_wr64(c, CF(Q_AVAILLO), driver);
    cf_wr64(c, CF(Q_USEDLO), device);
    if (c->packed) {
        cf_may_change(c, desc, size * sizeof(struct vring_packed_desc));
        cf_may_change(c, device, sizeof(struct vring_packed_desc_event));
    } else {
        cf_may_change(c, device, 6 + size * sizeof(struct vring_used_elem));
    }
    if (q < QUEUES) {
        c->q[q] = (Queue) {
            .size = size, .desc = desc, .driver = driver, .device = device,
            .avail_wrap = true, .used_wrap = true,
        };
    }
    cf_wr16(c, CF(Q_ENABLE), 1);
}

void cf_queue_setup(Conform *c, unsigned q, unsigned size)
{
    cf_fill(c, DESC(q), 0, 16 * KiB);
    cf_queue_enable(c, q, size, DESC(q), DRIVER(q), DEVICE(q));
}

void cf_driver_ok(Conform *c)
{
    /* DEVICE_NEEDS_RESET is there to stay */
    cf_wr8(c, CF(STATUS), cf_rd8(c, CF(STATUS)) |
                          VIRTIO_CONFIG_S_ACKNOWLEDGE |
                          VIRTIO_CONFIG_S_DRIVER |
                          VIRTIO_CONFIG_S_FEATURES_OK |
                          VIRTIO_CONFIG_S_DRIVER_OK);
}

void cf_up(Conform *c)
{
    cf_negotiate(c);
    for (unsigned i = 0; i < QUEUES; i++) {
        cf_queue_setup(c, i, RING_SIZE);
    }
    cf_driver_ok(c);
}

void cf_write(Conform *c, uint64_t addr, const void *buf, size_t len)
{
    g_assert(addr <= RAM_SIZE && len <= RAM_SIZE - addr);
    memcpy(c->ram + addr, buf, len);
    memcpy(c->ram_copy + addr, buf, len);
}

void cf_fill(Conform *c, uint64_t addr, uint8_t byte, size_t len)
{
    g_assert(addr <= RAM_SIZE && len <= RAM_SIZE - addr);
    memset(c->ram + addr, byte, len);
    memset(c->ram_copy + addr, byte, len);
}

void cf_may_change(Conform *c, uint64_t addr, uint64_t len)
{
    Range range = { addr, len };

    if (addr < RAM_SIZE) {
        range.len = MIN(len, RAM_SIZE - addr);
        g_array_append_val(c->may_change, range);
    }
}

void cf_disk_may_change(Conform *c, uint64_t sector, unsigned n)
{
    Range range = { sector * 512, n * 512 };

    if (c->disk) {
        g_array_append_val(c->disk_may_change, range);
    }
}

void cf_disk_has(Conform *c, uint64_t sector, uint8_t pattern, unsigned n)
{
    if (c->disk) {
        memset(c->disk_copy + sector * 512, pattern, n * 512);
    }
}

bool cf_intact(Conform *c)
{
    for (guint i = 0; i < c->may_change->len; i++) {
        Range *range = &g_array_index(c->may_change, Range, i);

        for (size_t j = 0; j < ARRAY_SIZE(checked); j++) {
            uint64_t first = MAX(range->addr, checked[j].addr);
            uint64_t end = MIN(range->addr + range->len,
                               checked[j].addr + checked[j].len);

            if (first < end) {
                memcpy(c->ram_copy + first, c->ram + first, end - first);
            }
        }
    }
    for (guint i = 0; i < c->disk_may_change->len; i++) {
        Range *range = &g_array_index(c->disk_may_change, Range, i);

        memcpy(c->disk_copy + range->addr, c->disk + range->addr, range->len);
    }
    for (size_t i = 0; i < ARRAY_SIZE(checked); i++) {
        const uint8_t *a = c->ram + checked[i].addr;
        const uint8_t *b = c->ram_copy + checked[i].addr;

        if (memcmp(a, b, checked[i].len)) {
            size_t at = 0;

            while (a[at] == b[at]) {
                at++;
            }
            cf_note(c, FAILED, "RAM at 0x%zx was written",
                    (size_t)checked[i].addr + at);
            memcpy(c->ram_copy + checked[i].addr, a, checked[i].len);
            return false;
        }
    }
    if (c->disk && memcmp(c->disk, c->disk_copy, c->disk_size)) {
        size_t at = 0;

        while (c->disk[at] == c->disk_copy[at]) {
            at++;
        }
        cf_note(c, FAILED, "sector %zu of the disk is wrong", at / 512);
        memcpy(c->disk_copy, c->disk, c->disk_size);
        return false;
    }
    return true;
}

void cf_enable_pci(Conform *c)
{
    qvirtio_pci_device_enable(c->t->pci);
    c->bar = c->t->pci->bar;
    c->msix_mapped = false;
    c->legacy_mapped = false;
}

uint8_t cf_find_cap(Conform *c, uint8_t type)
{
    uint8_t addr = 0;

    while ((addr = qpci_find_capability(c->pci, PCI_CAP_ID_VNDR, addr))) {
        if (qpci_config_readb(c->pci, addr + VIRTIO_PCI_CAP_CFG_TYPE) ==
            type) {
            return addr;
        }
    }
    return 0;
}

/* Interrupts of vector V write MSI_DATA(V) at MSI(V) */
void cf_msix_enable(Conform *c)
{
    if (!c->msix_mapped) {
        qpci_msix_enable(c->pci);
        c->msix_mapped = true;
    } else {
        cf_msix_control(c, PCI_MSIX_FLAGS_ENABLE);
    }
    for (unsigned v = 0; v < VECTORS; v++) {
        cf_msix_entry(c, v, MSI(v), MSI_DATA(v), false);
        cf_may_change(c, MSI(v), sizeof(uint32_t));
    }
}

void cf_msix_disable(Conform *c)
{
    if (c->msix_mapped) {
        cf_msix_control(c, 0);
    }
}

void cf_msix_control(Conform *c, uint16_t flags)
{
    uint8_t addr = qpci_find_capability(c->pci, PCI_CAP_ID_MSIX, 0);

    qpci_config_writew(c->pci, addr + PCI_MSIX_FLAGS, flags);
}

void cf_msix_entry(Conform *c, unsigned v, uint64_t addr, uint32_t data,
                   bool masked)
{
    uint64_t off = c->pci->msix_table_off + v * PCI_MSIX_ENTRY_SIZE;
    QPCIBar bar = c->pci->msix_table_bar;

    qpci_io_writel(c->pci, bar, off + PCI_MSIX_ENTRY_LOWER_ADDR, addr);
    qpci_io_writel(c->pci, bar, off + PCI_MSIX_ENTRY_UPPER_ADDR, addr >> 32);
    qpci_io_writel(c->pci, bar, off + PCI_MSIX_ENTRY_DATA, data);
    qpci_io_writel(c->pci, bar, off + PCI_MSIX_ENTRY_VECTOR_CTRL, masked);
}

/* Does the monitor answer, the VM stop and go on, and the disk drain? */
static bool host_lives(Conform *c)
{
    QTestState *qts = c->t->qts;
    QDict *response = qtest_qmp(qts, "{'execute': 'query-status'}");
    bool running = qdict_get_bool(qdict_get_qdict(response, "return"),
                                  "running");

    qobject_unref(response);
    response = qtest_qmp(qts, "{'execute': 'block_resize', 'arguments':"
                         " {'node-name': %s, 'size': %d}}",
                         c->read_only ? "ro" : "node0", VQ_TEST_DISK_SIZE);
    /* A read-only disk cannot be resized, but is drained first as well */
    qobject_unref(response);
    return running;
}

/* After the case, a new driver has all that it would have had at first */
static Verdict check_recovery(Conform *c, Verdict verdict)
{
    g_autofree char *why = g_strdup(c->note);

    c->features = DEFAULT_FEATURES & c->offered;
    c->packed = false;
    c->vector = VIRTIO_MSI_NO_VECTOR;
    /* What was in flight is over, so the disk is as it will be */
    g_array_set_size(c->disk_may_change, 0);
    cf_up(c);
    if (!cf_verify_all(c)) {
        g_autofree char *how = g_strdup(c->note);

        /* If it hangs, so does this, and conform_run() says so */
        host_lives(c);
        return cf_note(c, WEDGED, "%s; after a reset, %s", why, how);
    }
    cf_reset(c);
    host_lives(c);
    if (!cf_intact(c)) {
        return FAILED;
    }
    return cf_note(c, verdict, "%s", why);
}

Verdict cf_run(Conform *c, const ConformCase *k)
{
    Verdict verdict;

    c->k = k;
    c->note[0] = 0;
    c->pattern++;
    c->silent = false;
    g_array_set_size(c->may_change, 0);
    g_array_set_size(c->disk_may_change, 0);
    cf_fill(c, ARENA, 0, ARENA_SIZE);
    cf_reset(c);
    c->offered = cf_rd_features(c, CF(DFSELECT));
    c->packed = k->rings == PACKED;
    c->vector = VIRTIO_MSI_NO_VECTOR;
    c->features = DEFAULT_FEATURES & c->offered;
    if (c->packed) {
        c->features |= 1ull << VIRTIO_F_RING_PACKED;
    }
    c->features = (c->features | k->with) & ~k->without;

    cf_select(c, 0);
    c->max_size = cf_rd16(c, CF(Q_SIZE));

    verdict = k->run(c);
    /* The device may still be writing until then */
    cf_msix_disable(c);
    cf_reset(c);
    if (verdict != FAILED && !cf_intact(c)) {
        verdict = FAILED;
    }
    return check_recovery(c, verdict);
}
