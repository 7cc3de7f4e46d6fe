/*
 * The requests of one virtqueue under load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "standard-headers/linux/virtio_blk.h"
#include "image.h"
#include "queue.h"

#define SECTOR 512
#define STATUS_NONE 0xff
#define MAX_SEGMENTS 256

static const uint32_t op_types[VQ_LOAD_OPS] = {
    [VQ_LOAD_READ] = VIRTIO_BLK_T_IN,
    [VQ_LOAD_WRITE] = VIRTIO_BLK_T_OUT,
    [VQ_LOAD_FLUSH] = VIRTIO_BLK_T_FLUSH,
    [VQ_LOAD_DISCARD] = VIRTIO_BLK_T_DISCARD,
    [VQ_LOAD_WRITE_ZEROES] = VIRTIO_BLK_T_WRITE_ZEROES,
};

void vq_load_queue_init(VqLoadQueue *queue, VqGuest *guest, unsigned index)
{
    const VqLoadConfig *config = guest->config;

    queue->index = index;
    queue->guest = guest;
    queue->virtqueue = &guest->queues[index];
    queue->depth = config->cold[index] ? 1 : config->depth;
    queue->gap_ns = config->cold[index] ? config->cold_ns : 0;
    queue->slots = g_new0(VqLoadSlot, queue->depth);
    queue->free_slots = g_new(unsigned, queue->depth);
    queue->num_free = queue->depth;
    for (unsigned i = 0; i < queue->depth; i++) {
        queue->free_slots[i] = queue->depth - 1 - i;
    }
    queue->num_blocks = config->disk_size / config->block_size /
                        config->queues;
    queue->first_block = index * queue->num_blocks;
    queue->random = (config->seed + index + 1) * 0x9e3779b97f4a7c15ull;
    for (unsigned i = 0; i < VQ_LOAD_OPS; i++) {
        queue->mix_sum += config->mix[i];
    }
    if (config->verify) {
        queue->model = vq_load_model_new(queue->random, queue->num_blocks,
                                         config->block_size,
                                         vq_image_keeps_data(config));
    }
}

void vq_load_queue_cleanup(VqLoadQueue *queue)
{
    vq_load_model_free(queue->model);
    g_free(queue->free_slots);
    g_free(queue->slots);
}

unsigned vq_load_queue_in_flight(const VqLoadQueue *queue)
{
    return queue->depth - queue->num_free;
}

/* Returns: a number below @limit (xorshift64*; Vigna 2016) */
static uint64_t next_random(VqLoadQueue *queue, uint64_t limit)
{
    uint64_t x = queue->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    queue->random = x;
    return ((x * 0x2545f4914f6cdd1dull >> 32) * limit) >> 32;
}

static VqLoadOp next_op(VqLoadQueue *queue)
{
    const unsigned *mix = queue->guest->config->mix;
    unsigned op = 0, n;

    if (mix[VQ_LOAD_READ] == queue->mix_sum) {
        return VQ_LOAD_READ;
    }
    n = next_random(queue, queue->mix_sum);
    while (n >= mix[op]) {
        n -= mix[op++];
    }
    return op;
}

static uint64_t next_block(VqLoadQueue *queue)
{
    uint64_t block = queue->guest->config->sequential ? queue->next_block
                     : next_random(queue, queue->num_blocks);

    while (queue->model && vq_load_model_is_busy(queue->model, block)) {
        block = (block + 1) % queue->num_blocks;
    }
    queue->next_block = (block + 1) % queue->num_blocks;
    return block;
}

static uint64_t sector_of(const VqLoadQueue *queue, uint64_t block)
{
    return (queue->first_block + block) *
           (queue->guest->config->block_size / SECTOR);
}

static void *data_of(const VqLoadQueue *queue, unsigned id)
{
    const VqGuestQueue *virtqueue = queue->virtqueue;

    return virtqueue->data + id * virtqueue->data_stride;
}

/* Write request @id's header and list its memory. Returns: how many pieces */
static unsigned prepare(VqLoadQueue *queue, unsigned id,
                        VqRingSegment *segments)
{
    const VqLoadConfig *config = queue->guest->config;
    const VqGuestQueue *virtqueue = queue->virtqueue;
    const VqLoadSlot *slot = &queue->slots[id];
    void *memory = virtqueue->slots + id * VQ_GUEST_SLOT_BYTES;
    uint64_t addr = virtqueue->slots_addr + id * VQ_GUEST_SLOT_BYTES;
    uint64_t data = virtqueue->data_addr + id * virtqueue->data_stride;
    struct virtio_blk_outhdr *header = memory;
    struct virtio_blk_discard_write_zeroes *range =
        memory + VQ_GUEST_RANGE_OFFSET;
    uint8_t *status = memory + VQ_GUEST_STATUS_OFFSET;
    bool has_data = slot->op == VQ_LOAD_READ || slot->op == VQ_LOAD_WRITE;
    bool has_range = slot->op == VQ_LOAD_DISCARD ||
                     slot->op == VQ_LOAD_WRITE_ZEROES;
    uint64_t sector = sector_of(queue, slot->block);
    unsigned n = 0;

    /* virtio 1.2, 5.2.6: header, data, status */
    header->type = cpu_to_le32(op_types[slot->op]);
    header->ioprio = 0;
    header->sector = cpu_to_le64(has_data ? sector : 0);
    segments[n++] = (VqRingSegment) { addr, sizeof(*header), false };
    if (has_data) {
        uint32_t len = config->block_size / config->segments;

        for (unsigned i = 0; i < config->segments; i++) {
            segments[n++] = (VqRingSegment) {
                data + i * len, len, slot->op == VQ_LOAD_READ
            };
        }
    }
    if (has_range) {
        range->sector = cpu_to_le64(sector);
        range->num_sectors = cpu_to_le32(config->block_size / SECTOR);
        range->flags = 0;
        segments[n++] = (VqRingSegment) {
            addr + VQ_GUEST_RANGE_OFFSET, sizeof(*range), false
        };
    }
    /* The consumer does not look for the status */
    *status = config->qemu ? STATUS_NONE : VIRTIO_BLK_S_OK;
    segments[n++] = (VqRingSegment) {
        addr + VQ_GUEST_STATUS_OFFSET, sizeof(*status), true
    };
    return n;
}

void vq_load_queue_fill(VqLoadQueue *queue)
{
    VqRing *ring = &queue->virtqueue->ring;
    VqRingSegment segments[MAX_SEGMENTS];
    uint64_t now;

    if (!queue->num_free) {
        return;
    }
    now = get_clock();
    if (now < queue->next_ns) {
        return;
    }
    queue->next_ns = now + queue->gap_ns;
    while (queue->num_free) {
        unsigned id = queue->free_slots[--queue->num_free];
        VqLoadSlot *slot = &queue->slots[id];

        slot->op = next_op(queue);
        slot->block = next_block(queue);
        slot->submitted_ns = now;
        slot->in_flight = true;
        if (queue->model) {
            vq_load_model_begin(queue->model, slot->op, slot->block,
                                data_of(queue, id));
        }
        vq_ring_add(ring, id, segments, prepare(queue, id, segments));
    }
    if (vq_ring_publish(ring)) {
        queue->stats.kicks++;
        vq_guest_kick(queue->guest, queue->virtqueue);
    }
}

/* "virtqueue 3: request 7 (read of 4096 bytes at sector 80) " */
static char *describe(const VqLoadQueue *queue, unsigned id)
{
    const VqLoadSlot *slot = &queue->slots[id];

    return g_strdup_printf("virtqueue %u: request %u (%s of %" PRIu32
                           " bytes at sector %" PRIu64 ")",
                           queue->index, id, vq_load_op_names[slot->op],
                           queue->guest->config->block_size,
                           sector_of(queue, slot->block));
}

/* Returns: NULL, or what is wrong with completed request @id */
static char *check(VqLoadQueue *queue, unsigned id, uint32_t len)
{
    const VqLoadConfig *config = queue->guest->config;
    const VqLoadSlot *slot = &queue->slots[id];
    const uint8_t *status = queue->virtqueue->slots +
                            id * VQ_GUEST_SLOT_BYTES + VQ_GUEST_STATUS_OFFSET;
    uint32_t expected_len = 1;
    g_autofree char *wrong = NULL;
    g_autofree char *who = NULL;

    if (!config->qemu) {
        return NULL;
    }
    if (slot->op == VQ_LOAD_READ) {
        expected_len += config->block_size;
    }
    if (*status != VIRTIO_BLK_S_OK) {
        queue->stats.failed++;
        if (config->verify || *status == STATUS_NONE) {
            wrong = g_strdup_printf("has status %u", *status);
        }
    } else if (len != expected_len) {
        wrong = g_strdup_printf("has length %" PRIu32 " instead of %" PRIu32,
                                len, expected_len);
    }
    if (!wrong && queue->model) {
        wrong = vq_load_model_end(queue->model, slot->op, slot->block,
                                  data_of(queue, id));
    }
    if (!wrong) {
        return NULL;
    }
    who = describe(queue, id);
    return g_strdup_printf("%s: %s", who, wrong);
}

unsigned vq_load_queue_reap(VqLoadQueue *queue, char **error)
{
    VqRing *ring = &queue->virtqueue->ring;
    uint32_t block_size = queue->guest->config->block_size;
    uint64_t now = 0;
    unsigned done = 0;
    unsigned id;
    uint32_t len;

    if (vq_guest_take_interrupt(queue->virtqueue)) {
        queue->stats.interrupts++;
    }
    while (vq_ring_reap(ring, &id, &len)) {
        VqLoadSlot *slot;

        if (!done++) {
            now = get_clock();
        }
        if (id >= queue->depth || !queue->slots[id].in_flight) {
            *error = g_strdup_printf("virtqueue %u: request %u, which is not "
                                     "in flight, was completed",
                                     queue->index, id);
            return done;
        }
        slot = &queue->slots[id];
        *error = check(queue, id, len);
        if (*error) {
            return done;
        }
        slot->in_flight = false;
        queue->free_slots[queue->num_free++] = id;
        queue->stats.requests++;
        if (slot->op == VQ_LOAD_READ || slot->op == VQ_LOAD_WRITE) {
            queue->stats.bytes += block_size;
        }
        vq_histogram_add(&queue->stats.latency, now - slot->submitted_ns);
    }
    if (done) {
        vq_ring_rearm(ring);
    }
    return done;
}

char *vq_load_queue_check_stall(const VqLoadQueue *queue, uint64_t ns)
{
    g_autofree char *who = NULL;
    const VqLoadSlot *oldest = NULL;
    uint64_t age;

    for (unsigned i = 0; i < queue->depth; i++) {
        const VqLoadSlot *slot = &queue->slots[i];

        if (slot->in_flight &&
            (!oldest || slot->submitted_ns < oldest->submitted_ns)) {
            oldest = slot;
        }
    }
    if (!oldest) {
        return NULL;
    }
    age = get_clock() - oldest->submitted_ns;
    if (age < ns) {
        return NULL;
    }
    who = describe(queue, oldest - queue->slots);
    return g_strdup_printf("%s: not completed after %.1f s, with %u in flight",
                           who, age / 1e9, vq_load_queue_in_flight(queue));
}
