/*
 * The driver's side of a virtqueue, in memory that is shared with QEMU
 *
 * Split (virtio 1.2 section 2.7) and packed (section 2.8) rings. A request has
 * an id from 0 to its ring's number of slots - 1, chosen by the caller; the
 * ring's owner thread adds requests, publishes them, and reaps them:
 *
 *     vq_ring_add() ... vq_ring_add()     write descriptors
 *     vq_ring_publish()                   the device may see them
 *     vq_ring_reap() ... vq_ring_reap()   what the device has completed
 *
 * No function may run beside another on the same ring. None needs the qtest
 * socket.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_RING_H
#define TESTS_QTEST_VQ_LOAD_RING_H

#include "standard-headers/linux/virtio_ring.h"

typedef struct VqRingLayout {
    bool packed;
    bool event_idx;     /* VIRTIO_F_EVENT_IDX was negotiated */
    bool indirect;      /* requests go through a table of their own */
    bool interrupts;    /* the driver wants them */
    unsigned size;      /* number of descriptors, a power of two */
    unsigned slots;     /* number of request ids */
    unsigned max_segments; /* of one request */
} VqRingLayout;

/* One piece of a request's memory */
typedef struct VqRingSegment {
    uint64_t addr;      /* guest physical */
    uint32_t len;
    bool device_writes;
} VqRingSegment;

typedef struct VqRing {
    VqRingLayout layout;

    /* Guest physical addresses for the device (1.2, section 4.1.4.3) */
    uint64_t desc_addr;
    uint64_t driver_addr;
    uint64_t device_addr;

    /* Split ring, in shared memory */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;

    /* Packed ring, in shared memory */
    struct vring_packed_desc *packed_desc;
    struct vring_packed_desc_event *driver_event;
    struct vring_packed_desc_event *device_event;

    /* Tables of indirect descriptors, one for each slot, in shared memory */
    void *tables;
    uint64_t tables_addr;

    uint16_t next_avail;
    uint16_t last_published;
    uint16_t last_used;
    bool avail_wrap;            /* packed only */
    bool used_wrap;             /* packed only */
    uint16_t *num_desc;         /* packed only: of the request in each slot */
} VqRing;

/* Bytes of shared memory, to be aligned to a page, that such a ring needs */
size_t vq_ring_bytes(const VqRingLayout *layout);

/*
 * Lay a ring out in the vq_ring_bytes() of memory at @host, which the device
 * knows as @addr, and clear it. The memory stays the caller's.
 */
void vq_ring_init(VqRing *ring, const VqRingLayout *layout, void *host,
                  uint64_t addr);
void vq_ring_cleanup(VqRing *ring);

/* Add request @id of @n segments, those that the device reads first */
void vq_ring_add(VqRing *ring, unsigned id, const VqRingSegment *segments,
                 unsigned n);

/* Returns: does the device want to be notified? */
bool vq_ring_publish(VqRing *ring);

/*
 * Returns: did the device complete a request? Then its id and the number of
 * bytes that the device says it has written are in *@id and *@len. An id that
 * no slot has is returned as it is; only split rings can tell.
 */
bool vq_ring_reap(VqRing *ring, unsigned *id, uint32_t *len);

/* After the last vq_ring_reap(): ask for an interrupt with the next one */
void vq_ring_rearm(VqRing *ring);

#endif /* TESTS_QTEST_VQ_LOAD_RING_H */
