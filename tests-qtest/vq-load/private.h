/*
 * What the parts of a load share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_PRIVATE_H
#define TESTS_QTEST_VQ_LOAD_PRIVATE_H

#include "qemu/thread.h"
#include "consumer.h"
#include "queue.h"

typedef enum VqLoadPhase {
    VQ_LOAD_WARMUP,
    VQ_LOAD_COUNT,
    VQ_LOAD_STOP
} VqLoadPhase;

/* All but @thread is the generator's own until it has ended */
typedef struct VqLoadGenerator {
    struct VqLoad *load;
    unsigned index;
    QemuThread thread;
    VqLoadPhase phase;      /* how far it has followed VqLoad.phase */
    uint64_t begin_ns;      /* of what it counts */
    uint64_t end_ns;
    uint64_t rounds;
    int64_t stall_check_ns;
} VqLoadGenerator;

struct VqLoad {
    VqLoadConfig config;
    VqGuest *guest;
    VqConsumer *consumer;
    VqLoadQueue *queues;    /* each of one generator */
    VqLoadGenerator *generators;
    uint64_t *cpu_ns;       /* of each of the guest's threads */

    /* Atomic; written by the caller, read by generators */
    VqLoadPhase phase;

    /* Atomic; written by generators */
    bool failed;
    unsigned ended;

    QemuMutex lock;         /* protects @error */
    char *error;
};

#endif /* TESTS_QTEST_VQ_LOAD_PRIVATE_H */
