/*
 * IOThreads that a disk makes for itself
 *
 *     x-iothreads=2 --> "disk0.0", "disk0.1" in /objects --> a mapping of both
 *
 * They are IOThreads like those of -object: query-iothreads lists them, qom-set
 * changes their polling, pidstat -t shows them. They come with the disk and go
 * with it; until then object-del refuses them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_OWN_IOTHREADS_H
#define HW_BLOCK_VIRTIO_BLK_OWN_IOTHREADS_H

#include "hw/block/virtio-blk/compat.h"
#include "hw/qdev-core.h"
#include "qapi/qapi-types-iothread-vq-mapping.h"

/* OwnIOThreadsConf.num: as many as QEMU may use host CPUs */
#define OWN_IOTHREADS_AUTO (-1)

/* The user's properties, constant once the disk is realized */
typedef struct OwnIOThreadsConf {
    int32_t num;        /* "x-iothreads"; 0: none */
    bool x_data_plane;  /* "x-data-plane", what a num of 1 was called once */
    strList *cpus;      /* "x-iothread-cpus" */
} OwnIOThreadsConf;

typedef struct OwnIOThreads OwnIOThreads;

/**
 * own_iothreads_check:
 * @conf: the disk's properties
 * @num_vqs: number of the disk's virtqueues
 * @other: name of another property that says who serves the virtqueues, if it
 *         is set, or NULL
 * @num: set to the number of IOThreads that the disk makes for itself
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns: true if own_iothreads_new() can be tried with @num, or need not be
 * because it is 0; false with @errp set if the properties are wrong.
 *
 * Context: any thread.
 */
bool own_iothreads_check(const OwnIOThreadsConf *conf, uint16_t num_vqs,
                         const char *other, unsigned *num, Error **errp);

/**
 * own_iothreads_new:
 * @dev: the device that the user knows, which they are named after
 * @conf: the disk's properties
 * @num: how many, at least 1
 * @errp: pointer to a NULL-initialized error object
 *
 * Start IOThreads, each on the host CPUs that the user wants it on, from before
 * it serves anything.
 *
 * Returns: the IOThreads, which the caller frees with own_iothreads_free(), or
 * NULL with @errp set and none left.
 *
 * Context: BQL held.
 */
OwnIOThreads *own_iothreads_new(DeviceState *dev, const OwnIOThreadsConf *conf,
                                unsigned num, Error **errp);

/**
 * own_iothreads_get_mapping:
 * @own: IOThreads
 *
 * Returns: a mapping that spreads virtqueues over @own, round-robin, to be
 * freed by the caller.
 *
 * Context: BQL held.
 */
IOThreadVirtQueueMappingList *
own_iothreads_get_mapping(const OwnIOThreads *own);

/**
 * own_iothreads_free:
 * @own: IOThreads, or NULL
 *
 * End them. One that somebody else has begun to use, or that a block node is
 * left in, stays, with a warning: object-del ends it later.
 *
 * Context: BQL held.
 */
void own_iothreads_free(OwnIOThreads *own);

#endif /* HW_BLOCK_VIRTIO_BLK_OWN_IOTHREADS_H */
