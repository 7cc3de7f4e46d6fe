/*
 * The "scsi" property of a virtio-blk disk, for a QEMU that has dropped it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/compat.h"
#include "hw/block/virtio-blk/scsi-prop.h"
#include "qapi/visitor.h"

static void get_scsi(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    bool value = false;

    visit_type_bool(v, name, &value, errp);
}

static void set_scsi(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    bool value;

    if (visit_type_bool(v, name, &value, errp) && value) {
        error_setg(errp, "Parameter '%s' expects 'off': virtio-blk does not "
                   "pass SCSI commands through any more, use virtio-scsi",
                   name);
    }
}

const PropertyInfo virtio_blk_prop_scsi = {
    COMPAT_PROPERTY_TYPE("bool"),
    .description = "off; virtio-scsi can pass SCSI commands through",
    .get = get_scsi,
    .set = set_scsi,
};
