/*
 * Virtqueue memory: guest buffers and requests of one virtqueue
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/vq-memory.h"

/* The first request in flight, or the first with a new map */
VqMemoryHold *vq_memory_hold_slow(VqMemory *memory, GuestRamMap *map)
{
    VqMemoryHold *hold = &memory->holds[0];

    if (hold->requests) {
        hold = &memory->holds[1];
    }
    if (hold->requests) {
        hold = g_new0(VqMemoryHold, 1);
    }
    guest_ram_map_ref(map);
    hold->map = map;
    memory->hold = hold;
    return hold;
}

/* No request holds it any more */
void vq_memory_release_slow(VqMemory *memory, VqMemoryHold *hold)
{
    guest_ram_map_unref(hold->map);
    hold->map = NULL;
    if (memory->hold == hold) {
        memory->hold = NULL;
    }
    if (hold != &memory->holds[0] && hold != &memory->holds[1]) {
        g_free(hold);
    }
}

void vq_memory_cleanup(VqMemory *memory)
{
    assert(!memory->hold);
    while (memory->free) {
        VqMemoryBlock *block = memory->free;

        memory->free = block->next;
        g_free(block);
    }
}
