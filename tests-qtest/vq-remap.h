/*
 * virtio-blk-set-iothread-vq-mapping, for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_REMAP_H
#define TESTS_QTEST_VQ_REMAP_H

#include "libqtest.h"

#define VQ_REMAP_MAX 16

typedef struct VqRemapMove {
    unsigned index;
    char from[32];      /* "": the main loop */
    char to[32];
    uint64_t unserved_ns;
} VqRemapMove;

typedef struct VqRemapResult {
    unsigned num;
    VqRemapMove moves[VQ_REMAP_MAX];
    char node[16];      /* VirtioBlkRemapNode */
} VqRemapResult;

/*
 * Returns: JSON, to be freed, that gives virtqueue i of @num to the IOThread
 * "iothread" with number @owners[i]
 */
char *vq_remap_mapping(const int *owners, unsigned num);

/*
 * Remap @id's virtqueues to @mapping, JSON with a list, or to the main loop if
 * it is NULL, and wait for the end. @result is filled in, unless it is NULL.
 * Returns: NULL, or the error's text, to be freed
 */
char *vq_remap_try(QTestState *qts, const char *id, const char *mapping,
                   VqRemapResult *result);

/* The same, where an error fails the test */
void vq_remap(QTestState *qts, const char *id, const char *mapping,
              VqRemapResult *result);

/* In steps: the command, which must succeed and returns at once... */
void vq_remap_begin(QTestState *qts, const char *id, const char *mapping);

/* ...and its end, which may have come already */
void vq_remap_wait(QTestState *qts, const char *id, VqRemapResult *result);

/*
 * For tests that write owners as text: a digit per virtqueue, that of its
 * IOThread, or '-' for the main loop
 */

/* Returns: the IOThread's id, to be freed, or NULL for the main loop */
char *vq_remap_owner_name(char digit);

/*
 * The event has those that were to go from @before to @after, and only these;
 * they were not served for some time, if they were @served before
 */
void vq_remap_assert_moves(const VqRemapResult *result, const char *before,
                           const char *after, bool served);

#endif /* TESTS_QTEST_VQ_REMAP_H */
