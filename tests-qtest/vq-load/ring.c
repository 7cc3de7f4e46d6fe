/*
 * The driver's side of a virtqueue, in memory that is shared with QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "ring.h"

/* The used ring of a split virtqueue starts there with legacy devices */
#define RING_ALIGN 4096

/* Bytes of a split ring's descriptors and avail ring with used_event */
static size_t split_driver_bytes(const VqRingLayout *layout)
{
    return layout->size * sizeof(struct vring_desc) +
           (3 + layout->size) * sizeof(uint16_t);
}

static size_t ring_bytes(const VqRingLayout *layout)
{
    size_t bytes;

    if (layout->packed) {
        bytes = layout->size * sizeof(struct vring_packed_desc) +
                2 * RING_ALIGN;
    } else {
        bytes = ROUND_UP(split_driver_bytes(layout), RING_ALIGN) +
                3 * sizeof(uint16_t) +
                layout->size * sizeof(struct vring_used_elem);
    }
    return ROUND_UP(bytes, RING_ALIGN);
}

/* Descriptors of both kinds of ring have the same size */
static size_t table_bytes(const VqRingLayout *layout)
{
    QEMU_BUILD_BUG_ON(sizeof(struct vring_desc) !=
                      sizeof(struct vring_packed_desc));
    return ROUND_UP(layout->max_segments * sizeof(struct vring_desc), 64);
}

size_t vq_ring_bytes(const VqRingLayout *layout)
{
    size_t tables = layout->indirect ? layout->slots * table_bytes(layout) : 0;

    return ring_bytes(layout) + ROUND_UP(tables, RING_ALIGN);
}

/* Descriptors from one slot's first to the next slot's, in a split ring */
static unsigned split_stride(const VqRingLayout *layout)
{
    return layout->indirect ? 1 : layout->max_segments;
}

static void split_init(VqRing *ring, void *host, uint64_t addr)
{
    const VqRingLayout *layout = &ring->layout;
    size_t used = ROUND_UP(split_driver_bytes(layout), RING_ALIGN);

    ring->desc = host;
    ring->desc_addr = addr;
    ring->avail = (void *)(ring->desc + layout->size);
    ring->driver_addr = addr + layout->size * sizeof(struct vring_desc);
    ring->used = host + used;
    ring->device_addr = addr + used;

    if (!layout->interrupts) {
        ring->avail->flags = cpu_to_le16(VRING_AVAIL_F_NO_INTERRUPT);
    }
}

static void packed_init(VqRing *ring, void *host, uint64_t addr)
{
    const VqRingLayout *layout = &ring->layout;
    size_t events = layout->size * sizeof(struct vring_packed_desc);

    ring->packed_desc = host;
    ring->desc_addr = addr;
    /* The two sides write to cache lines of their own */
    ring->driver_event = host + events;
    ring->driver_addr = addr + events;
    ring->device_event = host + events + RING_ALIGN;
    ring->device_addr = addr + events + RING_ALIGN;

    ring->avail_wrap = true;
    ring->used_wrap = true;
    ring->num_desc = g_new0(uint16_t, layout->slots);
    if (!layout->interrupts) {
        ring->driver_event->flags =
            cpu_to_le16(VRING_PACKED_EVENT_FLAG_DISABLE);
    }
}

void vq_ring_init(VqRing *ring, const VqRingLayout *layout, void *host,
                  uint64_t addr)
{
    unsigned per_request = layout->indirect ? 1 : layout->max_segments;

    g_assert(is_power_of_2(layout->size));
    g_assert_cmpuint(layout->slots * per_request, <=, layout->size);

    memset(ring, 0, sizeof(*ring));
    memset(host, 0, vq_ring_bytes(layout));
    ring->layout = *layout;
    ring->tables = host + ring_bytes(layout);
    ring->tables_addr = addr + ring_bytes(layout);
    if (layout->packed) {
        packed_init(ring, host, addr);
    } else {
        split_init(ring, host, addr);
    }
    vq_ring_rearm(ring);
}

void vq_ring_cleanup(VqRing *ring)
{
    g_free(ring->num_desc);
    ring->num_desc = NULL;
}

/* Link @n split descriptors from @desc on, which is number @first */
static void split_fill(struct vring_desc *desc, unsigned first,
                       const VqRingSegment *segments, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint16_t flags = segments[i].device_writes ? VRING_DESC_F_WRITE : 0;

        if (i + 1 < n) {
            flags |= VRING_DESC_F_NEXT;
            desc[i].next = cpu_to_le16(first + i + 1);
        }
        desc[i].addr = cpu_to_le64(segments[i].addr);
        desc[i].len = cpu_to_le32(segments[i].len);
        desc[i].flags = cpu_to_le16(flags);
    }
}

static void split_add(VqRing *ring, unsigned id,
                      const VqRingSegment *segments, unsigned n)
{
    const VqRingLayout *layout = &ring->layout;
    unsigned head = id * split_stride(layout);
    unsigned avail = ring->next_avail++ & (layout->size - 1);

    if (layout->indirect) {
        size_t offset = id * table_bytes(layout);
        struct vring_desc *desc = &ring->desc[head];

        split_fill(ring->tables + offset, 0, segments, n);
        desc->addr = cpu_to_le64(ring->tables_addr + offset);
        desc->len = cpu_to_le32(n * sizeof(*desc));
        desc->flags = cpu_to_le16(VRING_DESC_F_INDIRECT);
    } else {
        split_fill(&ring->desc[head], head, segments, n);
    }
    ring->avail->ring[avail] = cpu_to_le16(head);
}

static bool split_publish(VqRing *ring)
{
    const VqRingLayout *layout = &ring->layout;
    uint16_t old = ring->last_published;
    uint16_t event;

    /* Descriptors before idx; pairs with the device's smp_rmb() after idx */
    qatomic_store_release(&ring->avail->idx, cpu_to_le16(ring->next_avail));
    ring->last_published = ring->next_avail;

    /*
     * idx before the device's wish for notifications; pairs with the device's
     * smp_mb() between its wish and its last look at idx
     */
    smp_mb();
    if (layout->event_idx) {
        event = le16_to_cpu(qatomic_read((uint16_t *)
                                         &ring->used->ring[layout->size]));
        return vring_need_event(event, ring->next_avail, old);
    }
    return !(le16_to_cpu(qatomic_read(&ring->used->flags)) &
             VRING_USED_F_NO_NOTIFY);
}

static bool split_reap(VqRing *ring, unsigned *id, uint32_t *len)
{
    const VqRingLayout *layout = &ring->layout;
    const struct vring_used_elem *elem;
    uint32_t head;

    /* idx before the element; pairs with the device's smp_wmb() before idx */
    if (le16_to_cpu(qatomic_load_acquire(&ring->used->idx)) ==
        ring->last_used) {
        return false;
    }
    elem = &ring->used->ring[ring->last_used++ & (layout->size - 1)];
    head = le32_to_cpu(elem->id);
    *len = le32_to_cpu(elem->len);
    *id = head % split_stride(layout) ? UINT_MAX
                                      : head / split_stride(layout);
    return true;
}

static uint16_t packed_flags(const VqRing *ring)
{
    return ring->avail_wrap ? 1 << VRING_PACKED_DESC_F_AVAIL
                            : 1 << VRING_PACKED_DESC_F_USED;
}

static void packed_advance(const VqRing *ring, uint16_t *index, bool *wrap,
                           unsigned n)
{
    *index += n;
    if (*index >= ring->layout.size) {
        *index -= ring->layout.size;
        *wrap = !*wrap;
    }
}

static void packed_add(VqRing *ring, unsigned id,
                       const VqRingSegment *segments, unsigned n)
{
    const VqRingLayout *layout = &ring->layout;
    struct vring_packed_desc *head = &ring->packed_desc[ring->next_avail];
    size_t offset = id * table_bytes(layout);
    VqRingSegment table = {
        .addr = ring->tables_addr + offset,
        .len = n * sizeof(struct vring_packed_desc),
    };
    uint16_t head_flags = 0;

    if (layout->indirect) {
        struct vring_packed_desc *desc = ring->tables + offset;

        for (unsigned i = 0; i < n; i++) {
            desc[i].addr = cpu_to_le64(segments[i].addr);
            desc[i].len = cpu_to_le32(segments[i].len);
            desc[i].flags = cpu_to_le16(segments[i].device_writes ?
                                        VRING_DESC_F_WRITE : 0);
        }
        segments = &table;
        n = 1;
    }

    ring->num_desc[id] = n;
    for (unsigned i = 0; i < n; i++) {
        struct vring_packed_desc *desc = &ring->packed_desc[ring->next_avail];
        uint16_t flags = packed_flags(ring);

        flags |= segments[i].device_writes ? VRING_DESC_F_WRITE : 0;
        flags |= i + 1 < n ? VRING_DESC_F_NEXT : 0;
        flags |= layout->indirect ? VRING_DESC_F_INDIRECT : 0;
        desc->addr = cpu_to_le64(segments[i].addr);
        desc->len = cpu_to_le32(segments[i].len);
        desc->id = cpu_to_le16(id);
        if (i == 0) {
            head_flags = flags;
        } else {
            desc->flags = cpu_to_le16(flags);
        }
        packed_advance(ring, &ring->next_avail, &ring->avail_wrap, 1);
    }

    /* All before the first one's flags; pairs with the device's smp_rmb() */
    smp_wmb();
    qatomic_set(&head->flags, cpu_to_le16(head_flags));
}

static bool packed_publish(VqRing *ring)
{
    const VqRingLayout *layout = &ring->layout;
    uint16_t old = ring->last_published;
    uint16_t new = ring->next_avail;
    uint16_t flags, off_wrap, event;

    ring->last_published = new;
    if (new <= old) {
        old -= layout->size; /* vring_need_event() counts modulo 65536 */
    }

    /*
     * Flags before the device's wish for notifications; pairs with the
     * device's smp_mb() between its wish and its last look at the flags
     */
    smp_mb();
    flags = le16_to_cpu(qatomic_read(&ring->device_event->flags));
    if (flags != VRING_PACKED_EVENT_FLAG_DESC) {
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    }
    off_wrap = le16_to_cpu(qatomic_read(&ring->device_event->off_wrap));
    event = off_wrap & ~(1 << VRING_PACKED_EVENT_F_WRAP_CTR);
    if (off_wrap >> VRING_PACKED_EVENT_F_WRAP_CTR != ring->avail_wrap) {
        event -= layout->size;
    }
    return vring_need_event(event, new, old);
}

static bool packed_reap(VqRing *ring, unsigned *id, uint32_t *len)
{
    const struct vring_packed_desc *desc = &ring->packed_desc[ring->last_used];
    uint16_t flags = le16_to_cpu(qatomic_read(&desc->flags));
    bool avail = flags & (1 << VRING_PACKED_DESC_F_AVAIL);
    bool used = flags & (1 << VRING_PACKED_DESC_F_USED);

    if (avail != used || used != ring->used_wrap) {
        return false;
    }
    /* Flags before the rest; pairs with the device's smp_wmb() */
    smp_rmb();
    *id = le16_to_cpu(desc->id);
    *len = le32_to_cpu(desc->len);
    if (*id < ring->layout.slots) {
        packed_advance(ring, &ring->last_used, &ring->used_wrap,
                       ring->num_desc[*id]);
    }
    return true;
}

void vq_ring_add(VqRing *ring, unsigned id, const VqRingSegment *segments,
                 unsigned n)
{
    if (ring->layout.packed) {
        packed_add(ring, id, segments, n);
    } else {
        split_add(ring, id, segments, n);
    }
}

bool vq_ring_publish(VqRing *ring)
{
    return ring->layout.packed ? packed_publish(ring) : split_publish(ring);
}

bool vq_ring_reap(VqRing *ring, unsigned *id, uint32_t *len)
{
    return ring->layout.packed ? packed_reap(ring, id, len)
                               : split_reap(ring, id, len);
}

void vq_ring_rearm(VqRing *ring)
{
    const VqRingLayout *layout = &ring->layout;

    if (!layout->interrupts || !layout->event_idx) {
        return;
    }
    if (layout->packed) {
        uint16_t off_wrap = ring->last_used |
                            ring->used_wrap << VRING_PACKED_EVENT_F_WRAP_CTR;

        qatomic_set(&ring->driver_event->off_wrap, cpu_to_le16(off_wrap));
        /* The place before what says that it counts */
        smp_wmb();
        qatomic_set(&ring->driver_event->flags,
                    cpu_to_le16(VRING_PACKED_EVENT_FLAG_DESC));
    } else {
        qatomic_set(&ring->avail->ring[layout->size],
                    cpu_to_le16(ring->last_used));
    }
}
