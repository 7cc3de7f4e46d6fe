/*
 * The requests of one virtqueue under load
 *
 * A queue belongs to one generator thread; nobody else touches it until that
 * thread has ended.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_QUEUE_H
#define TESTS_QTEST_VQ_LOAD_QUEUE_H

#include "guest.h"
#include "histogram.h"
#include "model.h"

typedef struct VqLoadStats {
    uint64_t requests;      /* completed */
    uint64_t bytes;         /* read and written */
    uint64_t failed;        /* completed with a status other than OK */
    uint64_t kicks;
    uint64_t interrupts;
    VqHistogram latency;    /* ns */
} VqLoadStats;

typedef struct VqLoadSlot {
    uint64_t submitted_ns;
    uint64_t block;
    VqLoadOp op;
    bool in_flight;
} VqLoadSlot;

typedef struct VqLoadQueue {
    unsigned index;
    VqGuest *guest;
    VqGuestQueue *virtqueue;
    VqLoadSlot *slots;
    unsigned depth;         /* number of slots */
    unsigned *free_slots;   /* a stack */
    unsigned num_free;
    uint64_t gap_ns;        /* from one submission to the next, at least */
    uint64_t next_ns;       /* no submission before */
    uint64_t first_block;   /* of the part of the disk that is its own */
    uint64_t num_blocks;
    uint64_t next_block;
    uint64_t random;
    unsigned mix_sum;
    VqLoadModel *model;     /* NULL without verification */
    VqLoadStats stats;      /* so far */
    VqLoadStats counted;    /* when counting ended */
} VqLoadQueue;

void vq_load_queue_init(VqLoadQueue *queue, VqGuest *guest, unsigned index);
void vq_load_queue_cleanup(VqLoadQueue *queue);

unsigned vq_load_queue_in_flight(const VqLoadQueue *queue);

/* Submit as many requests as there are free slots, if it is time to */
void vq_load_queue_fill(VqLoadQueue *queue);

/*
 * Take note of all completions.
 * Returns: their number; if one was wrong, *@error says how, to be freed
 */
unsigned vq_load_queue_reap(VqLoadQueue *queue, char **error);

/*
 * Returns: NULL, or, if the oldest request is in flight for longer than @ns
 * nanoseconds, which one that is, to be freed
 */
char *vq_load_queue_check_stall(const VqLoadQueue *queue, uint64_t ns);

#endif /* TESTS_QTEST_VQ_LOAD_QUEUE_H */
