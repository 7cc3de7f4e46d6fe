/*
 * What query-virtio-blk-queues says, for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_QUEUES_H
#define TESTS_QTEST_VQ_QUEUES_H

#include "libqtest.h"

#define VQ_QUEUES_MAX 16

typedef enum VqQueuesKind {
    VQ_QUEUES_READ,
    VQ_QUEUES_WRITE,
    VQ_QUEUES_FLUSH,
    VQ_QUEUES_DISCARD,
    VQ_QUEUES_WRITE_ZEROES,
    VQ_QUEUES_OTHER,
    VQ_QUEUES_KINDS
} VqQueuesKind;

/* Figures that never fall, and that a test can go through by number */
typedef enum VqQueuesTotal {
    VQ_QUEUES_FAILED = 2 * VQ_QUEUES_KINDS,
    VQ_QUEUES_NOTIFICATIONS,
    VQ_QUEUES_POLLS,
    VQ_QUEUES_BATCHES,
    VQ_QUEUES_MAX_BATCH,
    VQ_QUEUES_INTERRUPTS,
    VQ_QUEUES_MAX_IN_FLIGHT,
    VQ_QUEUES_TOTALS
} VqQueuesTotal;

#define VQ_QUEUES_REQUESTS(kind) (2 * (kind))
#define VQ_QUEUES_BYTES(kind) (2 * (kind) + 1)

typedef struct VqQueue {
    bool enabled;
    char iothread[32];      /* "": the main loop */
    pid_t thread_id;
    char state[16];         /* VirtioBlkQueueState */
    bool remap;             /* has it yet to arrive somewhere? then: */
    char remap_iothread[32];
    uint64_t remap_requests;
    uint64_t waiting;
    uint64_t in_flight;
    uint64_t fast_requests;
    uint64_t totals[VQ_QUEUES_TOTALS];
} VqQueue;

typedef struct VqQueues {
    char id[32];            /* "": none */
    char path[256];
    bool started;
    bool remapping;
    unsigned num;
    VqQueue vq[VQ_QUEUES_MAX];
} VqQueues;

/*
 * Ask through @fd, a QMP connection that is ready for commands, for @device,
 * which must be a disk. Any thread that owns @fd.
 */
void vq_queues_query_fd(int fd, const char *device, VqQueues *queues);

/* Ask through @qts's own */
void vq_queues_query(QTestState *qts, const char *device, VqQueues *queues);

/* How many disks the query finds */
unsigned vq_queues_count_disks(QTestState *qts);

/* Requests of all kinds */
uint64_t vq_queues_requests(const VqQueue *vq);

/* Are both the same, whatever was notified? */
void vq_queues_assert_requests(const VqQueue *a, const VqQueue *b);

#endif /* TESTS_QTEST_VQ_QUEUES_H */
