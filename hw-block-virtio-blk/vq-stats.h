/*
 * Virtqueue statistics: what a virtqueue has done, counted by its owner
 *
 *     vq_stats_begin()       a request is taken from the ring
 *       |
 *     vq_stats_end()         the guest is about to get an answer to it
 *
 * Only the thread that serves the virtqueue counts, see queue.h: there is one
 * writer at any time, so counting needs no lock and no atomic
 * read-modify-write, and as each struct has cache lines of its own, virtqueues
 * do not slow each other down. Nothing but the monitor looks at what is counted
 * here.
 *
 * Any thread may read. Every counter is loaded and stored atomically, so a
 * reader never sees half of one, and none of those that sum up ever falls.
 *
 * A request is counted before it is put into the used ring. Who learns from
 * the guest that it is complete finds it counted: smp_wmb() before the device
 * writes the used index (hw/virtio/virtio.c; virtio 1.2, 2.7.8) pairs with the
 * barrier after which the driver looks at the used element (2.7.14).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_VQ_STATS_H
#define HW_BLOCK_VIRTIO_BLK_VQ_STATS_H

#include "block/aio.h"
#include "qemu/atomic.h"

/* No two of what is aligned to this share a line that a CPU prefetches */
#define VQ_CACHE_LINE 128

typedef enum VqRequestKind {
    VQ_REQUEST_READ,
    VQ_REQUEST_WRITE,
    VQ_REQUEST_FLUSH,
    VQ_REQUEST_DISCARD,
    VQ_REQUEST_WRITE_ZEROES,
    VQ_REQUEST_OTHER,
    VQ_REQUEST_KINDS
} VqRequestKind;

typedef struct VqRequestStats {
    aligned_uint64_t requests;
    aligned_uint64_t bytes;
} VqRequestStats;

/* If not said otherwise, written by the thread that serves the virtqueue */
typedef struct VqStats {
    int32_t max_in_flight;
    uint32_t max_batch;
    aligned_uint64_t batches;
    aligned_uint64_t failed;
    aligned_uint64_t fast_requests;
    VqRequestStats kinds[VQ_REQUEST_KINDS];
} QEMU_ALIGNED(VQ_CACHE_LINE) VqStats;

static inline void vq_stats_add(aligned_uint64_t *counter, uint64_t n)
{
    qatomic_set_u64(counter, *counter + n);
}

/**
 * vq_stats_begin:
 * @stats: of the virtqueue
 * @n: which request of its batch it is, from 1
 *
 * Count a request as taken from the ring.
 *
 * Context: the thread that serves the virtqueue.
 */
static inline void vq_stats_begin(VqStats *stats, uint32_t n)
{
    if (n == 1) {
        vq_stats_add(&stats->batches, 1);
    }
    if (n > stats->max_batch) {
        qatomic_set(&stats->max_batch, n);
    }
}

/**
 * vq_stats_end:
 * @stats: of the virtqueue
 * @kind: what kind of request it is
 * @bytes: what it has read, written, discarded or zeroed
 * @failed: is it completed with an error?
 *
 * Count a request as complete, before the guest is told so. @bytes do not
 * count if it failed.
 *
 * Context: the thread that serves the virtqueue.
 */
static inline void vq_stats_end(VqStats *stats, VqRequestKind kind,
                                uint64_t bytes, bool failed)
{
    if (failed) {
        vq_stats_add(&stats->failed, 1);
    } else {
        vq_stats_add(&stats->kinds[kind].bytes, bytes);
    }
    /* A reader of @requests also sees @bytes; smp_rmb() in vq_stats_read() */
    smp_wmb();
    vq_stats_add(&stats->kinds[kind].requests, 1);
}

/**
 * vq_stats_read:
 * @stats: of the virtqueue
 * @kind: a kind of requests
 * @bytes: set to the bytes of at least the requests returned
 *
 * Returns: number of requests that are complete.
 *
 * Context: any thread.
 */
static inline uint64_t vq_stats_read(const VqStats *stats, VqRequestKind kind,
                                     uint64_t *bytes)
{
    uint64_t requests = qatomic_read_u64(&stats->kinds[kind].requests);

    smp_rmb(); /* pairs with smp_wmb() in vq_stats_end() */
    *bytes = qatomic_read_u64(&stats->kinds[kind].bytes);
    return requests;
}

#endif /* HW_BLOCK_VIRTIO_BLK_VQ_STATS_H */
