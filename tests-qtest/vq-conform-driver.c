/*
 * Conformance cases for a virtio-blk-pci device: rings and requests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "vq-conform.h"

/* What cf_good() and cf_verify() use, beside what cases use */
#define OWN(q) (DATA + 3 * MiB + (q) * 8 * KiB)
#define OWN_STATUS(q) (OWN(q) + 64)
#define OWN_DATA(q) (OWN(q) + 1 * KiB)
#define OWN_SECTOR(q) (20000 + (q) * 8)

static uint16_t rd16(Conform *c, uint64_t addr)
{
    return le16_to_cpu(qatomic_read((uint16_t *)(c->ram + addr)));
}

static void wr16(Conform *c, uint64_t addr, uint16_t value)
{
    value = cpu_to_le16(value);
    *(uint16_t *)(c->ram_copy + addr) = value;
    /* What it makes available is seen first */
    smp_wmb();
    qatomic_set((uint16_t *)(c->ram + addr), value);
}

static void write_desc(Conform *c, uint64_t addr, Desc d)
{
    struct vring_desc split = {
        .addr = cpu_to_le64(d.addr), .len = cpu_to_le32(d.len),
        .flags = cpu_to_le16(d.flags), .next = cpu_to_le16(d.next),
    };
    struct vring_packed_desc packed = {
        .addr = cpu_to_le64(d.addr), .len = cpu_to_le32(d.len),
        .flags = cpu_to_le16(d.flags), .id = cpu_to_le16(d.next),
    };

    QEMU_BUILD_BUG_ON(sizeof(split) != sizeof(packed));
    cf_write(c, addr, c->packed ? (void *)&packed : &split, sizeof(split));
    if (d.flags & WRITE) {
        cf_may_change(c, d.addr, d.len);
    }
}

void cf_write_table(Conform *c, const Desc *desc, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        Desc d = desc[i];

        d.next = c->packed ? d.next : d.next ?: i + 1;
        write_desc(c, TABLE + i * sizeof(struct vring_desc), d);
    }
}

void cf_write_header(Conform *c, uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr header = {
        .type = cpu_to_le32(type), .sector = cpu_to_le64(sector),
    };

    cf_write(c, HEADER, &header, sizeof(header));
    cf_fill(c, STATUS, 0xff, 1);
}

/* The first descriptor of a packed buffer comes last: it exposes the others */
static void place_packed(Conform *c, Queue *q, const Desc *desc, unsigned n)
{
    uint16_t id = q->avail;

    for (unsigned i = n; i-- > 0;) {
        unsigned at = (q->avail + i) % q->size;
        bool wrap = q->avail_wrap ^ (q->avail + i >= q->size);
        uint64_t addr = q->desc + at * sizeof(struct vring_packed_desc);
        Desc d = desc[i];

        d.flags |= wrap ? 1 << VRING_PACKED_DESC_F_AVAIL
                        : 1 << VRING_PACKED_DESC_F_USED;
        d.next = d.next ?: id;
        if (i == 0) {
            uint16_t flags = d.flags;

            /* Not yet available */
            d.flags ^= 1 << VRING_PACKED_DESC_F_AVAIL;
            write_desc(c, addr, d);
            wr16(c, addr + offsetof(struct vring_packed_desc, flags), flags);
        } else {
            write_desc(c, addr, d);
        }
    }
    q->count[id % RING_SIZE] = n;
    q->avail_wrap ^= q->avail + n >= q->size;
    q->avail = (q->avail + n) % q->size;
}

uint16_t cf_place(Conform *c, unsigned vq, const Desc *desc, unsigned n)
{
    Queue *q = &c->q[vq];
    uint16_t head = q->free + n <= q->size ? q->free : 0;

    if (c->packed) {
        place_packed(c, q, desc, n);
        return 0;
    }
    for (unsigned i = 0; i < n; i++) {
        Desc d = desc[i];

        d.next = d.next ?: head + i + 1;
        write_desc(c, q->desc + (head + i) * sizeof(struct vring_desc), d);
    }
    q->free = head + n;
    return head;
}

void cf_expose(Conform *c, unsigned vq, uint16_t head, uint16_t jump)
{
    Queue *q = &c->q[vq];

    if (c->packed) {
        return;
    }
    wr16(c, q->driver + offsetof(struct vring_avail, ring) +
         q->avail % q->size * sizeof(uint16_t), head);
    q->avail += 1 + jump;
    wr16(c, q->driver + offsetof(struct vring_avail, idx), q->avail);
}

void cf_post(Conform *c, unsigned q, const Desc *desc, unsigned n)
{
    cf_expose(c, q, cf_place(c, q, desc, n), 0);
}

void cf_kick(Conform *c, unsigned q)
{
    QVirtioPCIDevice *pci = c->t->pci;

    qpci_io_writew(c->pci, c->bar, pci->notify_cfg_offset +
                   q * pci->notify_off_multiplier, q);
}

static bool pop_used_packed(Conform *c, Queue *q, uint32_t *id, uint32_t *len)
{
    uint64_t addr = q->desc + q->used * sizeof(struct vring_packed_desc);
    uint16_t flags = rd16(c, addr +
                          offsetof(struct vring_packed_desc, flags));
    bool avail = flags & (1 << VRING_PACKED_DESC_F_AVAIL);
    bool used = flags & (1 << VRING_PACKED_DESC_F_USED);
    unsigned n;

    if (avail != used || used != q->used_wrap) {
        return false;
    }
    /* Pairs with the barrier of the device before it says so */
    smp_rmb();
    *id = rd16(c, addr + offsetof(struct vring_packed_desc, id));
    *len = ldl_le_p(c->ram + addr + offsetof(struct vring_packed_desc, len));
    n = MAX(q->count[*id % RING_SIZE], 1);
    q->used_wrap ^= q->used + n >= q->size;
    q->used = (q->used + n) % q->size;
    return true;
}

bool cf_pop_used(Conform *c, unsigned vq, uint32_t *id, uint32_t *len)
{
    Queue *q = &c->q[vq];
    uint64_t addr = q->device + offsetof(struct vring_used, ring) +
                    q->used % q->size * sizeof(struct vring_used_elem);

    if (c->packed) {
        return pop_used_packed(c, q, id, len);
    }
    if (rd16(c, q->device + offsetof(struct vring_used, idx)) == q->used) {
        return false;
    }
    /* Pairs with the barrier of the device before it says so */
    smp_rmb();
    *id = ldl_le_p(c->ram + addr);
    *len = ldl_le_p(c->ram + addr + 4);
    q->used++;
    return true;
}

bool cf_wait_used(Conform *c, unsigned q, uint32_t *len)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    uint32_t id;

    while (!cf_pop_used(c, q, &id, len)) {
        if (cf_broken(c) || g_get_monotonic_time() > deadline) {
            return false;
        }
        g_usleep(50);
    }
    return true;
}

bool cf_good(Conform *c, unsigned q)
{
    const Desc desc[] = {
        { OWN(q), 16, NEXT }, { OWN_DATA(q), 20, NEXT | WRITE },
        { OWN_STATUS(q), 1, WRITE }
    };
    struct virtio_blk_outhdr header = {
        .type = cpu_to_le32(VIRTIO_BLK_T_GET_ID),
    };
    uint32_t len;

    cf_write(c, OWN(q), &header, sizeof(header));
    cf_fill(c, OWN_STATUS(q), 0xff, 1);
    cf_post(c, q, desc, ARRAY_SIZE(desc));
    cf_kick(c, q);
    return cf_wait_used(c, q, &len) &&
           c->ram[OWN_STATUS(q)] == VIRTIO_BLK_S_OK;
}

bool cf_settle(Conform *c, unsigned q)
{
    unsigned other = SIBLING(q);
    int64_t grace;
    uint32_t id, len;

    /*
     * The IOThread has seen the kick before the second of these. It may still
     * be reading from the disk then, which a busy host takes time for.
     */
    for (unsigned i = 0; i < 2; i++) {
        if (cf_pop_used(c, q, &id, &len)) {
            return true;
        }
        if (cf_broken(c) || !c->q[other].size || !cf_good(c, other)) {
            break;
        }
    }
    grace = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;
    do {
        if (cf_pop_used(c, q, &id, &len)) {
            return true;
        }
        g_usleep(1000);
    } while (!cf_broken(c) && g_get_monotonic_time() < grace);
    return false;
}

unsigned cf_request(Conform *c, unsigned q, uint32_t type, uint64_t sector,
                    const Desc *desc, unsigned n)
{
    uint32_t len;

    cf_write_header(c, type, sector);
    cf_post(c, q, desc, n);
    cf_kick(c, q);
    if (cf_wait_used(c, q, &len)) {
        return c->ram[STATUS];
    }
    return cf_broken(c) ? BROKE : IGNORED;
}

static bool verify_one(Conform *c, unsigned q, uint32_t type, uint64_t data)
{
    bool in = type == VIRTIO_BLK_T_IN;
    const Desc desc[] = {
        { OWN(q), 16, NEXT }, { data, 512, NEXT | (in ? WRITE : 0) },
        { OWN_STATUS(q), 1, WRITE }
    };
    struct virtio_blk_outhdr header = {
        .type = cpu_to_le32(type), .sector = cpu_to_le64(OWN_SECTOR(q)),
    };
    uint32_t len;

    cf_write(c, OWN(q), &header, sizeof(header));
    cf_fill(c, OWN_STATUS(q), 0xff, 1);
    cf_post(c, q, desc, ARRAY_SIZE(desc));
    cf_kick(c, q);
    if (!cf_wait_used(c, q, &len)) {
        c->silent = true;
        cf_note(c, WEDGED, "virtqueue %u does not answer a %s", q,
                in ? "read" : "write");
        return false;
    }
    if (c->ram[OWN_STATUS(q)] != VIRTIO_BLK_S_OK) {
        cf_note(c, WEDGED, "virtqueue %u: a %s has status %u", q,
                in ? "read" : "write", c->ram[OWN_STATUS(q)]);
        return false;
    }
    return true;
}

bool cf_verify(Conform *c, unsigned q)
{
    uint8_t expected[512];
    uint64_t in = OWN_DATA(q) + 512;

    memset(expected, c->read_only ? 0 : c->pattern + q, sizeof(expected));
    if (!c->read_only) {
        cf_fill(c, OWN_DATA(q), expected[0], 512);
        cf_disk_has(c, OWN_SECTOR(q), expected[0], 1);
        if (!verify_one(c, q, VIRTIO_BLK_T_OUT, OWN_DATA(q))) {
            cf_disk_may_change(c, OWN_SECTOR(q), 1);
            return false;
        }
    }
    cf_fill(c, in, ~expected[0], 512);
    if (!verify_one(c, q, VIRTIO_BLK_T_IN, in)) {
        return false;
    }
    if (memcmp(c->ram + in, expected, sizeof(expected))) {
        cf_note(c, FAILED, "virtqueue %u reads wrong data", q);
        return false;
    }
    return true;
}

bool cf_verify_all(Conform *c)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        if (!cf_verify(c, i)) {
            return false;
        }
    }
    return true;
}

Verdict cf_survives(Conform *c)
{
    if (cf_broken(c)) {
        return cf_note(c, REFUSED, "DEVICE_NEEDS_RESET");
    }
    if (cf_verify_all(c)) {
        return PASSED;
    }
    if (cf_broken(c)) {
        return cf_note(c, REFUSED, "DEVICE_NEEDS_RESET");
    }
    if (c->silent && c->k->either) {
        return cf_note(c, REFUSED, "no answer until a reset");
    }
    return FAILED;
}
