/*
 * A disk whose requests may take the fast path, for tests
 *
 * The proof is what the disk counts as fast, beside the data: it is read
 * through another virtqueue than it was written through, and from the file.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_FAST_H
#define TESTS_QTEST_VQ_FAST_H

#include "standard-headers/linux/virtio_blk.h"
#include "vq-queues.h"
#include "vq-test-util.h"
#include "vq-watchdog.h"

#define VQ_FAST_QUEUES 4
#define VQ_FAST_IOTHREADS 2
#define VQ_FAST_SLOT 4
#define VQ_FAST_LEN 4096
#define VQ_FAST_TIMEOUT_US (60 * G_USEC_PER_SEC)

/* Virtqueues 0 and 2 in iothread0, 1 and 3 in iothread1 */
#define VQ_FAST_MAPPED \
    ",\"iothread-vq-mapping\":[{\"iothread\":\"iothread0\"}," \
    "{\"iothread\":\"iothread1\"}]"

/* A node that keeps no data, and on which a request takes 200 ms */
#define VQ_FAST_SLOW " -blockdev null-co,node-name=slow,size=16777216," \
    "latency-ns=200000000"

/* What takes the fast path */
#define FAST_NONE 0
#define FAST_READS 1
#define FAST_WRITES 2
#define FAST_BOTH (FAST_READS | FAST_WRITES)

typedef struct VqFastRequest {
    unsigned vq;
    uint32_t type;
    uint64_t sector;
    size_t len;
    uint8_t pattern;    /* what is written, or expected */
    uint64_t header;    /* guest physical; the status comes after it */
    uint64_t data;
    bool frees_data;
    uint32_t head;
} VqFastRequest;

typedef struct VqFast {
    VqTest *t;
    VqTestDevice device;
    VqWatchdog *dog;
    bool keeps_data;
    const char *path;       /* of a file with the data, or NULL */
    uint64_t offset;        /* of the disk in there, bytes */
    unsigned rounds;
    uint64_t done[VQ_FAST_QUEUES];      /* a bit per descriptor */
    unsigned in_flight[VQ_FAST_QUEUES];
    VqFastRequest pending[2 * VQ_FAST_QUEUES];
    uint64_t taken;         /* requests that QEMU had taken before these */
} VqFast;

/*
 * Start QEMU with a disk "disk0" on the node @drive, and the driver up; a
 * watchdog kills it if it hangs. @nodes: options for nodes that may use
 * "node0", which is on the file t->image. @properties: as for vq_test_new().
 */
VqFast *vq_fast_new(const VqTestDevice *device, const char *properties,
                    const char *drive, const char *nodes);
void vq_fast_free(VqFast *f);

/*
 * Put a request into the ring of virtqueue @vq. @pattern: what is written, or
 * what a read is to find; @data: where it is in guest memory, or 0
 */
VqFastRequest vq_fast_submit(VqFast *f, unsigned vq, uint32_t type,
                             uint64_t sector, size_t len, uint8_t pattern,
                             uint64_t data, bool kick);

/* Is it in the used ring? */
bool vq_fast_is_done(VqFast *f, const VqFastRequest *req);

/* Wait until it is; returns its status. The data is checked if that is OK. */
uint8_t vq_fast_complete(VqFast *f, VqFastRequest *req);

/* Do a request that succeeds, from start to end */
void vq_fast_do(VqFast *f, unsigned vq, uint32_t type, uint64_t sector,
                size_t len, uint8_t pattern);

/* Check that the file has @len bytes of @pattern at @sector */
void vq_fast_check_file(VqFast *f, uint64_t sector, size_t len,
                        uint8_t pattern);

/* How many requests of all virtqueues took the fast path */
uint64_t vq_fast_count(VqFast *f);

/*
 * Write through all virtqueues at once, read back through others; as many took
 * the fast path as @fast, FAST_*, says.
 */
void vq_fast_round(VqFast *f, unsigned fast);

/* Read until that takes the fast path; fail if it takes too long */
void vq_fast_wait(VqFast *f);

/* Have writes and reads begun; and ended, when they are checked */
void vq_fast_begin(VqFast *f);
void vq_fast_end(VqFast *f);

/*
 * Wait until QEMU has taken the requests of vq_fast_begin(); if they are slow,
 * and the host is not slower, all are in flight then
 */
void vq_fast_wait_in_flight(VqFast *f);

/* Are all requests of vq_fast_begin() done by now? */
void vq_fast_assert_all_done(VqFast *f);

/* A command whose answer is not of interest, with requests being handled */
void vq_fast_meanwhile(VqFast *f, const char *command);

/* Wait for @event; returns its data, or NULL, to be freed */
QDict *vq_fast_wait_event(VqFast *f, const char *event);

/* Do as vq_test_reset() */
void vq_fast_reset(VqFast *f);

/* IOThreads that do not poll take what is in the ring at once, as a batch */
void vq_fast_no_polling(VqFast *f);

#endif /* TESTS_QTEST_VQ_FAST_H */
