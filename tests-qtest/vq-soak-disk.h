/*
 * A disk that comes and goes beside one under load, with a request at a time in
 * each virtqueue
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_SOAK_DISK_H
#define TESTS_QTEST_VQ_SOAK_DISK_H

#include "vq-load/guest.h"

#define VQ_SOAK_QUEUES 2

typedef struct VqSoakRequest VqSoakRequest;

typedef struct VqSoakQueue {
    VqRing ring;
    uint64_t ring_addr;         /* guest physical, as all of them */
    uint64_t request_addr;
    VqSoakRequest *request;     /* its only one, in shared memory */
} VqSoakQueue;

typedef struct VqSoakDisk {
    VqGuest *guest;
    unsigned slot;              /* on the PCI bus */
    char *image;
    uint64_t memory;
    QVirtioPCIDevice *pci;
    VqSoakQueue queues[VQ_SOAK_QUEUES];
    unsigned round;
} VqSoakDisk;

/* What a disk in PCI slot @slot of @guest needs */
void vq_soak_disk_init(VqSoakDisk *disk, VqGuest *guest, unsigned slot);
void vq_soak_disk_cleanup(VqSoakDisk *disk);

/* Plug it as "plugged@slot", with JSON @properties, and start the driver */
void vq_soak_disk_plug(VqSoakDisk *disk, const char *properties);

/* What each virtqueue writes, another reads */
void vq_soak_disk_check(VqSoakDisk *disk);

/* Reset it, and start the driver again */
void vq_soak_disk_reset(VqSoakDisk *disk);

/* Ask for it, and give it up as the guest; wait until it is gone */
void vq_soak_disk_begin_unplug(VqSoakDisk *disk);
void vq_soak_disk_end_unplug(VqSoakDisk *disk);

#endif /* TESTS_QTEST_VQ_SOAK_DISK_H */
