/*
 * virtio-blk virtqueues in HMP
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_HMP_H
#define HW_BLOCK_VIRTIO_BLK_HMP_H

#include "monitor/monitor.h"

/**
 * hmp_info_virtio_blk_queues:
 * @mon: where to print
 * @qdict: arguments, may have "id"
 *
 * "info virtio-blk-queues": query-virtio-blk-queues as a table.
 *
 * Context: BQL held.
 */
void hmp_info_virtio_blk_queues(Monitor *mon, const QDict *qdict);

/**
 * hmp_virtio_blk_remap:
 * @mon: where to print
 * @qdict: arguments, has "id" and "mapping"
 *
 * virtio-blk-set-iothread-vq-mapping for HMP.
 *
 * Context: BQL held.
 */
void hmp_virtio_blk_remap(Monitor *mon, const QDict *qdict);

#endif /* HW_BLOCK_VIRTIO_BLK_HMP_H */
