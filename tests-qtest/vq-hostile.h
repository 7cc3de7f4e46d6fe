/*
 * A guest that writes into its rings what it likes
 *
 * Beside a VqTest's own driver, which knows only requests that are right, this
 * one has rings at fixed places and makes any descriptors available, split or
 * packed. A watchdog kills a QEMU that hangs, which fails the test.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_HOSTILE_H
#define TESTS_QTEST_VQ_HOSTILE_H

#include "qemu/units.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_pci.h"
#include "standard-headers/linux/virtio_ring.h"
#include "vq-test-util.h"
#include "vq-watchdog.h"

/* Each virtqueue has an IOThread */
#define QUEUES 4
#define RING_SIZE 64
#define TIMEOUT_US (60 * G_USEC_PER_SEC)
/* Of a request to the slow disk */
#define LATENCY_US (200 * 1000)

/* Guest RAM: libqos allocates from its beginning */
#define RAM_SIZE (128 * MiB)
#define BASE (64 * MiB)
#define DESC(vq) (BASE + (vq) * 128 * KiB)
#define DRIVER(vq) (DESC(vq) + 32 * KiB)
#define DEVICE(vq) (DESC(vq) + 64 * KiB)
#define HEADER (BASE + 1 * MiB)
#define STATUS (HEADER + 4 * KiB)
#define TABLE (HEADER + 64 * KiB)
#define DATA (BASE + 2 * MiB)
/* No RAM, and no device either */
#define NOWHERE (1 * GiB)

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

/* Of either kind of ring */
typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;      /* in split rings; 0: the one that follows */
} Desc;

/* Descriptors of a request in order */
#define HDR { HEADER, 16, NEXT }
#define IN(len) { DATA, len, NEXT | WRITE }
#define OUT(len) { DATA, len, NEXT }
#define ST { STATUS, 1, WRITE }
#define TAB(len) { TABLE, len, INDIRECT }

typedef struct Ring {
    uint16_t next;      /* avail index, or packed descriptor */
    uint64_t notify;    /* offset in the BAR */
} Ring;

typedef struct Guest {
    VqTest *t;
    VqWatchdog *dog;
    bool packed;
    bool slow;
    Ring rings[QUEUES];
    void *ram;          /* where it is mapped here, or NULL */
    char *ram_path;
    VqTestDevice device;
} Guest;

/*
 * Start QEMU with a disk. @slow: requests take LATENCY_US; @shared: guest RAM
 * is mapped here. One at a time: the watchdog, which hostile_free() stops,
 * watches the last.
 */
Guest *hostile_new(bool packed, bool slow, bool shared);
void hostile_free(Guest *g);

/*
 * Bring the driver up, or part of it: queue_enable() tells the device where a
 * virtqueue's three areas are
 */
void negotiate(Guest *g);
void queue_enable(Guest *g, unsigned index, unsigned size, uint64_t desc,
                  uint64_t driver, uint64_t device);
void queue_setup(Guest *g, unsigned index);
void start_driver(Guest *g);

#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)
void common_write(Guest *g, size_t field, uint16_t value);

void kick(Guest *g, unsigned vq);
void write_header(Guest *g, uint32_t type, uint64_t sector);
void write_table(Guest *g, const Desc *desc, unsigned n);

/*
 * Make @n descriptors available as one request, without a kick. A split ring
 * says that it begins with @head, and its index grows by @jump more.
 */
void post(Guest *g, unsigned vq, const Desc *desc, unsigned n, uint16_t head,
          uint16_t jump);

/* Does the device need a reset? */
bool is_broken(Guest *g);
void wait_broken(Guest *g);

/* Wait until the last request, of @n descriptors, is done, or it breaks */
void wait_done(Guest *g, unsigned vq, unsigned n);

/* A request that nothing is wrong with */
void good_request(Guest *g, unsigned vq);

/* One read, kicked and not waited for */
void begin_read(Guest *g, unsigned vq, uint64_t data);
void begin_read_each(Guest *g);

/* The host is all right: the monitor answers, and the disk can be drained */
void check_host(Guest *g);

/* After a reset, a new driver has all that it would have had at first */
void check_reset(Guest *g);

/* In vq-hostile-scenarios.c */
void add_scenarios(void);

#endif /* TESTS_QTEST_VQ_HOSTILE_H */
