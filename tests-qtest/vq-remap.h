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
    int64_t away_ns;
} VqRemapMove;

typedef struct VqRemapResult {
    unsigned num;
    VqRemapMove moves[VQ_REMAP_MAX];
    bool node_stays;
} VqRemapResult;

/*
 * Returns: JSON, to be freed, that gives virtqueue i of @num to the IOThread
 * "iothread" with number @owners[i]
 */
char *vq_remap_mapping(const int *owners, unsigned num);

/*
 * Map @device's virtqueues to @mapping, JSON with a list, or to the main loop
 * if it is NULL. @result is filled in, unless it is NULL.
 * Returns: NULL, or the error's text, to be freed
 */
char *vq_remap_try(QTestState *qts, const char *device, const char *mapping,
                   VqRemapResult *result);

/* The same, where an error fails the test */
void vq_remap(QTestState *qts, const char *device, const char *mapping,
              VqRemapResult *result);

/* In steps, through @fd, a QMP connection that is ready for commands */
void vq_remap_send_fd(int fd, const char *device, const char *mapping);
char *vq_remap_receive_fd(int fd, VqRemapResult *result);

/*
 * For tests that write owners as text: a digit per virtqueue, that of its
 * IOThread, or '-' for the main loop
 */

/* Returns: the IOThread's id, to be freed, or NULL for the main loop */
char *vq_remap_owner_name(char digit);

/*
 * The answer has those that were to move from @before to @after, and only
 * these; they were away for some time, if they were @served
 */
void vq_remap_assert_moves(const VqRemapResult *result, const char *before,
                           const char *after, bool served);

#endif /* TESTS_QTEST_VQ_REMAP_H */
