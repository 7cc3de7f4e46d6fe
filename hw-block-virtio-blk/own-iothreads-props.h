/*
 * Properties of a disk that makes IOThreads for itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_OWN_IOTHREADS_PROPS_H
#define HW_BLOCK_VIRTIO_BLK_OWN_IOTHREADS_PROPS_H

#include "hw/block/virtio-blk/own-iothreads.h"
#include "hw/qdev-properties.h"

extern const PropertyInfo own_iothreads_prop_num;
extern const PropertyInfo own_iothreads_prop_cpus;

/* A number in JSON, "auto", or what key=value makes of both */
#define DEFINE_PROP_OWN_IOTHREADS_NUM(_name, _state, _field) \
    DEFINE_PROP(_name, _state, _field, own_iothreads_prop_num, int32_t)

/* A list of sets in JSON, or text */
#define DEFINE_PROP_OWN_IOTHREADS_CPUS(_name, _state, _field) \
    DEFINE_PROP(_name, _state, _field, own_iothreads_prop_cpus, strList *)

#endif /* HW_BLOCK_VIRTIO_BLK_OWN_IOTHREADS_PROPS_H */
