/*
 * A virtio-blk disk in a QEMU whose guest RAM is mapped here
 *
 * Bring-up goes over the qtest socket and through libqos; after that requests
 * are memory accesses, and kicks are writes to the virtqueue's own host
 * notifier, as KVM's would be.
 *
 * Functions that say so may be called in any thread; all others use the qtest
 * or QMP socket and belong to the thread that called vq_guest_new().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_GUEST_H
#define TESTS_QTEST_VQ_LOAD_GUEST_H

#include "../libqtest.h"
#include "../libqos/libqos-malloc.h"
#include "../libqos/virtio-pci.h"
#include "config.h"
#include "ring.h"

/* Where a slot's header, status and discard range lie in its cache line */
#define VQ_GUEST_SLOT_BYTES 64
#define VQ_GUEST_STATUS_OFFSET 16
#define VQ_GUEST_RANGE_OFFSET 32

typedef struct VqGuestQueue {
    QVirtQueuePCI vqpci;
    VqRing ring;
    int notifier;           /* the host notifier, or -1 */
    uint32_t *msix;         /* where an interrupt's message goes, or NULL */

    /* One for each slot: VQ_GUEST_SLOT_BYTES, and data */
    void *slots;
    uint64_t slots_addr;
    void *data;
    uint64_t data_addr;
    size_t data_stride;     /* bytes */
} VqGuestQueue;

typedef struct VqGuestThread {
    char *name;             /* "main", or the IOThread's id */
    pid_t tid;
} VqGuestThread;

typedef struct VqGuest {
    const VqLoadConfig *config;
    VqGuestQueue *queues;
    void *ram;
    size_t ram_size;

    /* These are NULL or 0 without QEMU */
    QTestState *qts;
    pid_t pid;
    QGuestAllocator alloc;
    QPCIBus *pcibus;
    QVirtioPCIDevice *pci;
    char *image;
    unsigned num_threads;
    VqGuestThread *threads; /* the main thread first */
    GMutex qtest_lock;      /* the qtest socket, once generators run */
} VqGuest;

/*
 * Start QEMU and bring the driver up as @config says, which must outlive the
 * guest, or, if @config->qemu is NULL, only make the memory.
 * Returns: the guest, or NULL with the reason in *@error, to be freed
 */
VqGuest *vq_guest_new(const VqLoadConfig *config, char **error);
void vq_guest_free(VqGuest *guest);

/*
 * Stop the VM and have it go on, with host notifiers that are new. Only while
 * nothing is in flight and there is no other disk.
 */
void vq_guest_restart(VqGuest *guest);

/* Notify the device. Any thread. */
void vq_guest_kick(VqGuest *guest, VqGuestQueue *queue);

/*
 * Returns: was there an interrupt since the last call? As with a real
 * interrupt controller, one that comes before the last was seen is not counted
 * again. Only the virtqueue's generator.
 */
bool vq_guest_take_interrupt(VqGuestQueue *queue);

/* CPU time in ns that thread @tid has used. Any thread. */
uint64_t vq_guest_cpu_ns(const VqGuest *guest, pid_t tid);

#endif /* TESTS_QTEST_VQ_LOAD_GUEST_H */
