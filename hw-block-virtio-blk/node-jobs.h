/*
 * virtio-blk: have the block jobs of a disk rest
 *
 * A node cannot change threads while a job on it runs, and draining it pauses
 * jobs; all but one that mirrors, or commits into what the guest uses. When
 * that is done it drains the node itself, goes on within that section, and
 * QEMU's assertion in job_set_aio_context() fails if the node is moved then.
 * So whoever moves it pauses jobs first: such a one comes to its end instead.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_NODE_JOBS_H
#define HW_BLOCK_VIRTIO_BLK_NODE_JOBS_H

#include "qemu/osdep.h"

/**
 * node_jobs_try_pause:
 * @blk: the disk's BlockBackend
 * @jobs: those that are told to pause, an empty list at first
 *
 * Tell jobs that use nodes of @blk, or share nodes with those that do, to
 * pause; they cannot go on until node_jobs_resume().
 *
 * Returns: whether all of them are paused or at their end. To be called again
 * if not, with the same list: their end may need what has called.
 *
 * Context: BQL held.
 */
bool node_jobs_try_pause(BlockBackend *blk, GSList **jobs);

/**
 * node_jobs_pause:
 * @blk: the disk's BlockBackend
 *
 * The same, and wait for it; that runs the main loop's event loop.
 *
 * Returns: a list for node_jobs_resume(). Meanwhile no job begins a drained
 * section or ends one, but for those whose end waits for job-finalize.
 *
 * Context: BQL held.
 */
GSList *node_jobs_pause(BlockBackend *blk);

/**
 * node_jobs_resume:
 * @jobs: the list, which is freed
 *
 * Context: BQL held.
 */
void node_jobs_resume(GSList *jobs);

#endif /* HW_BLOCK_VIRTIO_BLK_NODE_JOBS_H */
