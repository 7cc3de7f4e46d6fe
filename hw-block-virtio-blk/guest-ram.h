/*
 * Guest RAM: where a device finds it in QEMU's memory
 *
 *     guest_ram_new()    listen to a device's AddressSpace
 *       |
 *     guest_ram_map()    the RAM that it has now, constant
 *       |
 *     guest_ram_free()
 *
 * A map is made anew whenever the RAM of the AddressSpace has changed, as vhost
 * does it. Translating an address is a look into a short table then, with no
 * reference taken: the map holds all of its RAM, and who needs an address for
 * longer than an RCU critical section holds the map.
 *
 * In a map is writable RAM that belongs to the machine: the owner of its
 * MemoryRegion is a memory backend ("-m", a pc-dimm's memdev, also that of an
 * nvdimm, a virtio-mem or an ivshmem-plain device), the machine, or nobody. It
 * comes and goes only when the machine's memory is changed, and holding it
 * holds no device.
 *
 * RAM that a device owns is in no map, though the guest may do I/O to it: video
 * RAM, or a blob of virtio-gpu. Guests map such memory and unmap it all the
 * time, and who unmaps it may have to wait until nobody holds it, which must
 * not take as long as the slowest request of each disk. Neither is ROM, device
 * memory, nor what an IOMMU translates. For all of that, requests hold the
 * region of each of their own buffers, as QEMU does for all RAM.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_GUEST_RAM_H
#define HW_BLOCK_VIRTIO_BLK_GUEST_RAM_H

#include "exec/memory.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"

typedef struct GuestRamRange {
    hwaddr addr;            /* guest physical */
    hwaddr size;            /* bytes */
    uint8_t *host;
    MemoryRegionCache cache;    /* its region is held, and no FlatView */
} GuestRamRange;

typedef struct GuestRamMap {
    struct rcu_head rcu;
    unsigned refs;          /* atomic */

    /* Constant */
    unsigned num_ranges;
    GuestRamRange ranges[];     /* by address */
} GuestRamMap;

typedef struct GuestRam {
    MemoryListener listener;

    /* RCU; written with the BQL held */
    GuestRamMap *map;

    /* Protected by the BQL */
    GArray *sections;       /* MemoryRegionSection, while memory changes */
    bool changed;
} GuestRam;

/**
 * guest_ram_new:
 * @as: what the device does DMA to
 *
 * Returns: the RAM in @as, which the caller frees with guest_ram_free(), or
 * NULL if it cannot be kept mapped (Xen).
 *
 * Context: BQL held.
 */
GuestRam *guest_ram_new(AddressSpace *as);

/**
 * guest_ram_free:
 * @ram: what guest_ram_new() has returned, or NULL
 *
 * Nobody may call guest_ram_map() any more. Maps that are held stay.
 *
 * Context: BQL held.
 */
void guest_ram_free(GuestRam *ram);

/**
 * guest_ram_map:
 * @ram: the RAM
 *
 * Returns: the map, valid until the end of the RCU critical section, and for
 * as long as it is held by a reference taken therein.
 *
 * Context: any thread, in an RCU critical section.
 */
static inline GuestRamMap *guest_ram_map(const GuestRam *ram)
{
    return qatomic_rcu_read(&ram->map);
}

/**
 * guest_ram_map_ref:
 * @map: a map that is valid
 *
 * Context: any thread.
 */
static inline void guest_ram_map_ref(GuestRamMap *map)
{
    qatomic_inc(&map->refs);
}

/**
 * guest_ram_map_unref:
 * @map: a map that the caller holds
 *
 * The last one lets go of the RAM, in the main loop.
 *
 * Context: any thread.
 */
void guest_ram_map_unref(GuestRamMap *map);

/**
 * guest_ram_find:
 * @map: a valid map
 * @addr: a guest physical address
 *
 * Returns: the range that @addr is in, or NULL. For one @map and @addr that is
 * always the same.
 *
 * Context: any thread.
 */
static inline const GuestRamRange *guest_ram_find(const GuestRamMap *map,
                                                  hwaddr addr)
{
    /* There are two or three, unless memory is hotplugged */
    for (unsigned i = map->num_ranges; i-- > 0; ) {
        const GuestRamRange *range = &map->ranges[i];

        if (addr >= range->addr) {
            return addr - range->addr < range->size ? range : NULL;
        }
    }
    return NULL;
}

/**
 * guest_ram_set_dirty:
 * @range: a range of a valid map
 * @addr: a guest physical address in it
 * @size: how many bytes have been written there, maybe 0
 *
 * To be called after writing, for who migrates the RAM or has translated code
 * in it.
 *
 * Context: any thread, in an RCU critical section.
 */
static inline void guest_ram_set_dirty(const GuestRamRange *range, hwaddr addr,
                                       hwaddr size)
{
    if (size) {
        address_space_cache_invalidate((MemoryRegionCache *)&range->cache,
                                       addr - range->addr, size);
    }
}

#endif /* HW_BLOCK_VIRTIO_BLK_GUEST_RAM_H */
