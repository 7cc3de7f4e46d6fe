/*
 * QEMU without virtio-blk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-virtio-blk-queues.h"

VirtioBlkQueuesList *qmp_query_virtio_blk_queues(const char *id,
                                                 Error **errp)
{
    error_setg(errp, "virtio-blk is disabled");
    return NULL;
}

void qmp_virtio_blk_set_iothread_vq_mapping(const char *id,
                                            bool has_iothread_vq_mapping,
                                            IOThreadVirtQueueMappingList *list,
                                            bool has_main_loop, bool main_loop,
                                            Error **errp)
{
    error_setg(errp, "virtio-blk is disabled");
}
