/*
 * What a part of the disk must contain, request by request
 *
 * Each write has a pattern of its own, made from its virtqueue, block and a
 * number that grows, so that data of another block, of another write or of
 * nobody is told apart. A block has at most one request in flight, else its
 * contents would depend on their order. One thread only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_MODEL_H
#define TESTS_QTEST_VQ_LOAD_MODEL_H

#include "config.h"

typedef struct VqLoadModel VqLoadModel;

/*
 * A model of @num_blocks blocks of zeroes, @block_size bytes each. Those that
 * @keeps_data is false for stay zeroes whatever is written.
 */
VqLoadModel *vq_load_model_new(uint64_t seed, uint64_t num_blocks,
                               uint32_t block_size, bool keeps_data);
void vq_load_model_free(VqLoadModel *model);

bool vq_load_model_is_busy(const VqLoadModel *model, uint64_t block);

/*
 * Request @op of @block begins, with its memory at @data: it is filled with
 * what is to be written, or with what no read returns
 */
void vq_load_model_begin(VqLoadModel *model, VqLoadOp op, uint64_t block,
                         void *data);

/*
 * It has ended without an error.
 * Returns: NULL, or how @data differs from what must have been read, which the
 * caller frees
 */
char *vq_load_model_end(VqLoadModel *model, VqLoadOp op, uint64_t block,
                        const void *data);

#endif /* TESTS_QTEST_VQ_LOAD_MODEL_H */
