/*
 * Guest RAM: where a device finds it in QEMU's memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "hw/block/virtio-blk/compat.h"
#include "hw/block/virtio-blk/guest-ram.h"
#include "hw/boards.h"
#include "qemu/main-loop.h"
#include "trace.h"

/* Context: BH, BQL held, because that may free the RAM's owner */
static void guest_ram_map_free_bh(void *opaque)
{
    GuestRamMap *map = opaque;

    for (unsigned i = 0; i < map->num_ranges; i++) {
        memory_region_unref(map->ranges[i].cache.mrs.mr);
    }
    g_free(map);
}

void guest_ram_map_unref(GuestRamMap *map)
{
    /* Orders all uses of the map before it is freed */
    if (qatomic_fetch_dec(&map->refs) == 1) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), guest_ram_map_free_bh,
                                map);
    }
}

/*
 * The reference that comes with being the newest one goes after a grace period:
 * who has read the pointer may take a reference until then.
 */
static void guest_ram_set_map(GuestRam *ram, GuestRamMap *map)
{
    GuestRamMap *old = ram->map;

    qatomic_rcu_set(&ram->map, map);
    if (old) {
        call_rcu(old, guest_ram_map_unref, rcu);
    }
}

/* See the definition in guest-ram.h */
static bool guest_ram_is_of_machine(const MemoryRegion *mr)
{
    return !mr->owner ||
           object_dynamic_cast(mr->owner, TYPE_MEMORY_BACKEND) ||
           object_dynamic_cast(mr->owner, TYPE_MACHINE);
}

static bool guest_ram_is_plain(const MemoryRegionSection *section)
{
    MemoryRegion *mr = section->mr;

    return memory_region_is_ram(mr) && !memory_region_is_ram_device(mr) &&
           !mr->readonly && !section->readonly && !mr->rom_device &&
           guest_ram_is_of_machine(mr);
}

static void guest_ram_begin(MemoryListener *listener)
{
    GuestRam *ram = container_of(listener, GuestRam, listener);

    g_array_set_size(ram->sections, 0);
    ram->changed = ram->map == NULL;
}

/* Called in the order of addresses, with those that have not changed as well */
static void guest_ram_nop(MemoryListener *listener,
                          MemoryRegionSection *section)
{
    GuestRam *ram = container_of(listener, GuestRam, listener);

    if (guest_ram_is_plain(section)) {
        g_array_append_val(ram->sections, *section);
    }
}

static void guest_ram_add(MemoryListener *listener,
                          MemoryRegionSection *section)
{
    GuestRam *ram = container_of(listener, GuestRam, listener);

    guest_ram_nop(listener, section);
    ram->changed |= guest_ram_is_plain(section);
}

static void guest_ram_del(MemoryListener *listener,
                          MemoryRegionSection *section)
{
    GuestRam *ram = container_of(listener, GuestRam, listener);

    ram->changed |= guest_ram_is_plain(section);
}

/*
 * Hold the RAM alone. What address_space_cache_init() sets up holds a FlatView,
 * which holds every device that has memory in it, so that none of them could
 * be unplugged.
 */
static void guest_ram_init_range(GuestRamRange *range,
                                 const MemoryRegionSection *section)
{
    MemoryRegion *mr = section->mr;

    memory_region_ref(mr);
    range->addr = section->offset_within_address_space;
    range->size = int128_get64(section->size);
    range->host = (uint8_t *)memory_region_get_ram_ptr(mr) +
                  section->offset_within_region;
    range->cache = (MemoryRegionCache) {
        .ptr = range->host,
        .xlat = section->offset_within_region,
        .len = range->size,
        .mrs.mr = mr,
        .is_write = true,
    };
}

static void guest_ram_commit(MemoryListener *listener)
{
    GuestRam *ram = container_of(listener, GuestRam, listener);
    GuestRamMap *map;

    if (!ram->changed) {
        return;
    }

    map = g_malloc0(offsetof(GuestRamMap, ranges) +
                    ram->sections->len * sizeof(map->ranges[0]));
    map->refs = 1;
    map->num_ranges = ram->sections->len;
    for (unsigned i = 0; i < map->num_ranges; i++) {
        guest_ram_init_range(&map->ranges[i],
                             &g_array_index(ram->sections,
                                            MemoryRegionSection, i));
    }
    trace_vq_guest_ram_map(ram, map->num_ranges);
    guest_ram_set_map(ram, map);
}

GuestRam *guest_ram_new(AddressSpace *as)
{
    GuestRam *ram;

    if (xen_enabled()) {
        return NULL;
    }

    ram = g_new0(GuestRam, 1);
    ram->sections = g_array_new(FALSE, FALSE, sizeof(MemoryRegionSection));
    ram->listener = (MemoryListener) {
        .name = "virtio-blk",
        .begin = guest_ram_begin,
        .region_add = guest_ram_add,
        .region_nop = guest_ram_nop,
        .region_del = guest_ram_del,
        .commit = guest_ram_commit,
    };
    memory_listener_register(&ram->listener, as);
    return ram;
}

void guest_ram_free(GuestRam *ram)
{
    if (ram) {
        memory_listener_unregister(&ram->listener);
        guest_ram_set_map(ram, NULL);
        g_array_free(ram->sections, true);
        g_free(ram);
    }
}
