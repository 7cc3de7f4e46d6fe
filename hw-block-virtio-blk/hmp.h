/*
 * virtio-blk virtqueues in the human monitor
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_HMP_H
#define HW_BLOCK_VIRTIO_BLK_HMP_H

#include "monitor/monitor.h"

/**
 * hmp_info_virtio_blk_queues:
 * @mon: where to print
 * @qdict: arguments, may have "device"
 *
 * "info virtio-blk-queues": query-virtio-blk-queues as a table.
 *
 * Context: BQL held.
 */
void hmp_info_virtio_blk_queues(Monitor *mon, const QDict *qdict);

/**
 * hmp_virtio_blk_map_queues:
 * @mon: where to print
 * @qdict: arguments, has "device" and may have "mapping"
 *
 * virtio-blk-set-iothread-vq-mapping for people.
 *
 * Context: BQL held.
 */
void coroutine_fn hmp_virtio_blk_map_queues(Monitor *mon, const QDict *qdict);

#endif /* HW_BLOCK_VIRTIO_BLK_HMP_H */
