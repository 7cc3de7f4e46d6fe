/*
 * virtio-blk disks by what the user calls them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/find.h"
#include "qapi/error.h"

VirtIOBlock *virtio_blk_cast(Object *obj)
{
    obj = object_dynamic_cast(obj, TYPE_VIRTIO_BLK);
    return obj && VIRTIO_BLK(obj)->queues ? VIRTIO_BLK(obj) : NULL;
}

VirtIOBlock *virtio_blk_find(const char *device, Error **errp)
{
    Object *peripheral = object_resolve_path("/machine/peripheral", NULL);
    Object *obj = object_resolve_path_at(peripheral, device);
    Object *backend;
    VirtIOBlock *s;

    if (!object_dynamic_cast(obj, TYPE_DEVICE)) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Device '%s' not found", device);
        return NULL;
    }

    backend = object_resolve_path_component(obj, "virtio-backend");
    s = virtio_blk_cast(backend ?: obj);
    if (!s) {
        error_setg(errp, "Device '%s' is not a virtio-blk disk", device);
    }
    return s;
}
