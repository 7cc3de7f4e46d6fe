/*
 * A disk that is driven at random, and what its guest knows of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_STATES_DISK_H
#define TESTS_QTEST_VQ_STATES_DISK_H

#include "libqtest.h"
#include "libqos/libqos-malloc.h"
#include "libqos/virtio-pci.h"
#include "vq-load/ring.h"

#define VQ_STATES_QUEUES 4
#define VQ_STATES_DEPTH 8
#define VQ_STATES_SECTOR 512
#define VQ_STATES_BLOCKS 64     /* sectors that any request may use... */
#define VQ_STATES_BAD 8         /* ...and those for requests that fail, once */
#define VQ_STATES_SIZE ((VQ_STATES_BLOCKS + VQ_STATES_BAD) * VQ_STATES_SECTOR)
#define VQ_STATES_VALUES 4

/*
 * A sector is full of one number: the last that was written. There are more
 * candidates if requests were dropped, by a reset, of which the guest cannot
 * know whether they were done.
 */
typedef struct VqStatesBlock {
    uint32_t values[VQ_STATES_VALUES];
    unsigned num;
    bool busy;                  /* has it a request in flight? */
} VqStatesBlock;

/* What a node holds, which outlives the disks on it */
typedef struct VqStatesContents {
    bool keeps_data;            /* else it is full of zeroes */
    VqStatesBlock blocks[VQ_STATES_BLOCKS + VQ_STATES_BAD];
} VqStatesContents;

typedef struct VqStatesSlot {
    bool busy;
    bool write;
    unsigned block;
    uint32_t value;             /* to be written */
} VqStatesSlot;

typedef struct VqStatesQueue {
    QVirtQueuePCI vqpci;
    VqRing ring;
    bool enabled;
    unsigned added;             /* requests since the last publish */
    unsigned busy;              /* requests in slots */
    VqStatesSlot slots[VQ_STATES_DEPTH];
    uint64_t addr;              /* of the ring, then of the slots */
} VqStatesQueue;

typedef struct VqStatesDisk {
    QTestState *qts;
    QPCIBus *pcibus;
    uint64_t mmio_alloc_ptr, pio_alloc_ptr; /* of the bus, without the disk */
    QVirtioPCIDevice *pci;
    uint8_t *ram;
    VqStatesContents *contents;
    uint32_t next_value;
    uint64_t submitted, completed, dropped; /* requests */
    VqStatesQueue queues[VQ_STATES_QUEUES];
} VqStatesDisk;

#define VQ_STATES_SLOT 4

/* @ram: @qts's guest RAM, mapped */
void vq_states_disk_init(VqStatesDisk *disk, QTestState *qts, QPCIBus *pcibus,
                         QGuestAllocator *alloc, void *ram);

/* It has been plugged into VQ_STATES_SLOT, with what @contents says */
void vq_states_disk_found(VqStatesDisk *disk, VqStatesContents *contents);

/* It has been unplugged */
void vq_states_disk_gone(VqStatesDisk *disk);

/* Bring the driver up, with the virtqueues in the bit mask @vqs */
void vq_states_disk_start(VqStatesDisk *disk, unsigned vqs);

/* Reset the device, or a virtqueue (virtio 1.2, 2.6.1) */
void vq_states_disk_reset(VqStatesDisk *disk);
void vq_states_disk_reset_queue(VqStatesDisk *disk, unsigned vq);

/* Set up a virtqueue that is not */
void vq_states_disk_enable_queue(VqStatesDisk *disk, unsigned vq);

/*
 * Add a request for sector @block, which must be free, to the ring of @vq. The
 * device may not see it before vq_states_disk_kick().
 * Returns: was there room?
 */
bool vq_states_disk_add(VqStatesDisk *disk, unsigned vq, unsigned block,
                        bool write);

/*
 * Publish what was added, and notify the device if it wants that.
 * Returns: did it?
 */
bool vq_states_disk_kick(VqStatesDisk *disk, unsigned vq);

/* Take what is complete, and check that it is right */
void vq_states_disk_reap(VqStatesDisk *disk, unsigned vq);

#endif /* TESTS_QTEST_VQ_STATES_DISK_H */
