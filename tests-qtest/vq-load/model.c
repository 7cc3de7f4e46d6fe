/*
 * What a part of the disk must contain, request by request
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "model.h"

#define VERSION_ZEROES 0
#define VERSION_UNKNOWN UINT32_MAX
#define POISON 0xa5
/* 2^64 / golden ratio: consecutive words have nothing in common */
#define WORD_STEP 0x9e3779b97f4a7c15ull

struct VqLoadModel {
    uint64_t seed;
    uint64_t num_blocks;
    uint32_t block_size;
    bool keeps_data;
    uint32_t last_version;
    uint32_t *versions;     /* of each block; while a write is in flight, its */
    unsigned long *busy;
};

VqLoadModel *vq_load_model_new(uint64_t seed, uint64_t num_blocks,
                               uint32_t block_size, bool keeps_data)
{
    VqLoadModel *model = g_new0(VqLoadModel, 1);

    model->seed = seed;
    model->num_blocks = num_blocks;
    model->block_size = block_size;
    model->keeps_data = keeps_data;
    model->versions = g_new0(uint32_t, num_blocks);
    model->busy = bitmap_new(num_blocks);
    return model;
}

void vq_load_model_free(VqLoadModel *model)
{
    if (model) {
        g_free(model->versions);
        g_free(model->busy);
        g_free(model);
    }
}

bool vq_load_model_is_busy(const VqLoadModel *model, uint64_t block)
{
    return test_bit(block, model->busy);
}

/* First word of @block as write number @version leaves it; the rest follows */
static uint64_t first_word(const VqLoadModel *model, uint64_t block,
                           uint32_t version)
{
    return model->seed ^ ((uint64_t)version << 32 | block) * WORD_STEP;
}

static void fill(const VqLoadModel *model, uint64_t block, uint64_t *words)
{
    uint64_t word = first_word(model, block, model->versions[block]);

    for (unsigned i = 0; i < model->block_size / sizeof(*words); i++) {
        words[i] = word + i * WORD_STEP;
    }
}

static char *check(const VqLoadModel *model, uint64_t block,
                   const uint64_t *words)
{
    uint32_t version = model->versions[block];
    uint64_t word = 0, step = 0;

    if (version == VERSION_UNKNOWN) {
        return NULL;
    }
    if (version != VERSION_ZEROES) {
        word = first_word(model, block, version);
        step = WORD_STEP;
    }
    for (unsigned i = 0; i < model->block_size / sizeof(*words); i++) {
        uint64_t expected = word + i * step;

        if (words[i] != expected) {
            return g_strdup_printf("byte %zu and on is 0x%016" PRIx64
                                   " instead of 0x%016" PRIx64,
                                   i * sizeof(*words), words[i], expected);
        }
    }
    return NULL;
}

void vq_load_model_begin(VqLoadModel *model, VqLoadOp op, uint64_t block,
                         void *data)
{
    if (op == VQ_LOAD_FLUSH) {
        return;
    }
    g_assert_false(test_and_set_bit(block, model->busy));
    if (op == VQ_LOAD_READ) {
        memset(data, POISON, model->block_size);
        return;
    }
    if (!model->keeps_data) {
        return;
    }
    switch (op) {
    case VQ_LOAD_WRITE:
        model->last_version++;
        if (model->last_version == VERSION_UNKNOWN) {
            model->last_version = VERSION_ZEROES + 1;
        }
        model->versions[block] = model->last_version;
        fill(model, block, data);
        break;
    case VQ_LOAD_DISCARD:
        /* virtio 1.2, 5.2.6.2: may read as anything until it is written */
        model->versions[block] = VERSION_UNKNOWN;
        break;
    case VQ_LOAD_WRITE_ZEROES:
        model->versions[block] = VERSION_ZEROES;
        break;
    default:
        g_assert_not_reached();
    }
}

char *vq_load_model_end(VqLoadModel *model, VqLoadOp op, uint64_t block,
                        const void *data)
{
    if (op == VQ_LOAD_FLUSH) {
        return NULL;
    }
    clear_bit(block, model->busy);
    return op == VQ_LOAD_READ ? check(model, block, data) : NULL;
}
