/*
 * The "scsi" property of a virtio-blk disk, for a QEMU that has dropped it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_SCSI_PROP_H
#define HW_BLOCK_VIRTIO_BLK_SCSI_PROP_H

#include "hw/qdev-properties.h"

/* Configurations of the days of x-data-plane say scsi=off, which it needed */
extern const PropertyInfo virtio_blk_prop_scsi;

#define DEFINE_PROP_VIRTIO_BLK_SCSI(_name) \
    { .name = (_name), .info = &virtio_blk_prop_scsi }

#endif /* HW_BLOCK_VIRTIO_BLK_SCSI_PROP_H */
