/*
 * Virtqueue memory: guest buffers and requests of one virtqueue
 *
 *     vq_memory_map()      virtqueue_pop() translates a guest's buffers,
 *       |
 *     vq_memory_alloc()    allocates the request, which holds them from now on
 *       |
 *     vq_memory_unmap()    the request is about to be completed or dropped:
 *       |                  mark as dirty what was written, for each buffer
 *     vq_memory_release()  and hold them no longer
 *       |
 *     vq_memory_free()     free the request
 *
 * hw/virtio/virtio.c calls these for each virtqueue; for one that has no
 * VqMemory they do what QEMU does for all of them: look up and hold each
 * buffer's memory region, which all virtqueues of all devices share, and
 * allocate each request.
 *
 * One that has a VqMemory looks its buffers up in a map of guest RAM that it
 * holds once for all requests in flight, and keeps requests for the next time.
 * As with VqStats, only the thread that serves the virtqueue touches it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_VQ_MEMORY_H
#define HW_BLOCK_VIRTIO_BLK_VQ_MEMORY_H

#include "hw/block/virtio-blk/compat.h"
#include "hw/block/virtio-blk/guest-ram.h"

/*
 * Requests with up to two dozen buffers fit. Not a power of two, or all of
 * them would compete for the same few sets of a cache.
 */
#define VQ_MEMORY_BLOCK 960

typedef union VqMemoryBlock {
    union VqMemoryBlock *next;      /* while it is free */
    uint8_t bytes[VQ_MEMORY_BLOCK];
} VqMemoryBlock;

/* A map that requests in flight hold */
typedef struct VqMemoryHold {
    GuestRamMap *map;
    unsigned requests;
} VqMemoryHold;

/* Written by the thread that serves the virtqueue */
typedef struct VqMemory {
    GuestRam *ram;          /* or NULL; written while that thread is away */
    VqMemoryHold *hold;     /* of the newest map that is held, or NULL */
    VqMemoryHold holds[2];  /* most often the map in use, and the one before */
    VqMemoryBlock *free;
} VqMemory;

/**
 * vq_memory_cleanup:
 * @memory: of a virtqueue with no request in flight
 *
 * Context: the thread that serves the virtqueue.
 */
void vq_memory_cleanup(VqMemory *memory);

/*
 * Of vq_memory_hold(), when no request holds @map yet, and vq_memory_release(),
 * when no request holds @hold any more. Same context as these.
 */
VqMemoryHold *vq_memory_hold_slow(VqMemory *memory, GuestRamMap *map);
void vq_memory_release_slow(VqMemory *memory, VqMemoryHold *hold);

/* The map that requests are popped with, or NULL */
static inline GuestRamMap *vq_memory_get_map(const VqMemory *memory)
{
    return memory && memory->ram ? guest_ram_map(memory->ram) : NULL;
}

/**
 * vq_memory_map:
 * @map: from vq_memory_get_map()
 * @addr: guest physical address of a buffer
 * @len: its length in bytes, more than 0; set to how many of them are adjacent
 *
 * Returns: where the buffer is, valid until the end of the RCU critical
 * section, or for as long as a request holds @map; or NULL if it is not in
 * plain RAM.
 *
 * Context: the thread that serves the virtqueue, in an RCU critical section.
 */
static inline void *vq_memory_map(const GuestRamMap *map, hwaddr addr,
                                  hwaddr *len)
{
    const GuestRamRange *range = map ? guest_ram_find(map, addr) : NULL;

    if (!range) {
        return NULL;
    }
    *len = MIN(*len, range->size - (addr - range->addr));
    return range->host + (addr - range->addr);
}

/**
 * vq_memory_init_cache:
 * @cache: an empty cache, to be set up for reading @size bytes at @addr
 * @map: from vq_memory_get_map()
 * @addr: guest physical address of a table of descriptors
 * @size: its size in bytes
 *
 * Returns: @size, and @cache may be used until the end of the RCU critical
 * section and destroyed at any time; or 0, and @cache is empty.
 *
 * Context: the thread that serves the virtqueue, in an RCU critical section.
 */
static inline hwaddr vq_memory_init_cache(MemoryRegionCache *cache,
                                          const GuestRamMap *map, hwaddr addr,
                                          hwaddr size)
{
    hwaddr len = size;
    void *p = vq_memory_map(map, addr, &len);

    if (!p || len < size) {
        return 0;
    }
    cache->ptr = p;
    cache->len = size;
    return size;
}

/**
 * vq_memory_unmap:
 * @hold: what the request holds, or NULL
 * @addr: guest physical address of a buffer
 * @written: how many of its bytes have been written
 *
 * Returns: false if vq_memory_map() did not translate the buffer.
 *
 * Context: the thread that serves the virtqueue, in an RCU critical section.
 */
static inline bool vq_memory_unmap(const VqMemoryHold *hold, hwaddr addr,
                                   hwaddr written)
{
    const GuestRamRange *range = hold ? guest_ram_find(hold->map, addr) : NULL;

    if (!range) {
        return false;
    }
    guest_ram_set_dirty(range, addr, written);
    return true;
}

/**
 * vq_memory_hold:
 * @memory: of the virtqueue, or NULL
 * @map: from vq_memory_get_map(), in the same RCU critical section
 *
 * Returns: for a new request to hold @map with, until vq_memory_release(). NULL
 * if @map is.
 *
 * Context: the thread that serves the virtqueue, in an RCU critical section.
 */
static inline VqMemoryHold *vq_memory_hold(VqMemory *memory, GuestRamMap *map)
{
    VqMemoryHold *hold;

    if (!map) {
        return NULL;
    }
    hold = memory->hold;
    if (unlikely(!hold || hold->map != map)) {
        hold = vq_memory_hold_slow(memory, map);
    }
    hold->requests++;
    return hold;
}

/**
 * vq_memory_release:
 * @memory: of the virtqueue, or NULL
 * @hold: what a request holds, or NULL
 *
 * Context: the thread that serves the virtqueue.
 */
static inline void vq_memory_release(VqMemory *memory, VqMemoryHold *hold)
{
    if (hold && --hold->requests == 0) {
        vq_memory_release_slow(memory, hold);
    }
}

/**
 * vq_memory_alloc:
 * @memory: of the virtqueue, or NULL
 * @size: how many bytes
 * @kept: set to what vq_memory_free() wants to know
 *
 * Returns: memory that is not initialized, to be freed by vq_memory_free().
 *
 * Context: the thread that serves the virtqueue.
 */
static inline void *vq_memory_alloc(VqMemory *memory, size_t size, bool *kept)
{
    VqMemoryBlock *block;

    *kept = memory && size <= sizeof(*block);
    if (!*kept) {
        return g_malloc(size);
    }
    block = memory->free;
    if (!block) {
        return g_new(VqMemoryBlock, 1);
    }
    memory->free = block->next;
    return block;
}

/**
 * vq_memory_free:
 * @memory: of the virtqueue
 * @p: what vq_memory_alloc() has returned
 * @kept: is it to be kept for the next time?
 *
 * Context: the thread that serves the virtqueue.
 */
static inline void vq_memory_free(VqMemory *memory, void *p, bool kept)
{
    VqMemoryBlock *block = p;

    if (!kept) {
        g_free(p);
        return;
    }
    block->next = memory->free;
    memory->free = block;
}

#endif /* HW_BLOCK_VIRTIO_BLK_VQ_MEMORY_H */
