/*
 * virtio-blk: have the block jobs of a disk rest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "block/block_int.h"
#include "block/blockjob.h"
#include "hw/block/virtio-blk/compat.h"
#include "hw/block/virtio-blk/node-jobs.h"

/* Add @bs and what is below it to the set @nodes */
static void GRAPH_RDLOCK node_jobs_add_nodes(GHashTable *nodes,
                                             BlockDriverState *bs)
{
    BdrvChild *child;

    if (!g_hash_table_add(nodes, bs)) {
        return;
    }
    QLIST_FOREACH(child, &bs->children, next) {
        node_jobs_add_nodes(nodes, child->bs);
    }
}

static bool node_jobs_uses(BlockJob *job, GHashTable *nodes)
{
    for (GSList *item = job->nodes; item; item = item->next) {
        BdrvChild *child = item->data;

        if (g_hash_table_contains(nodes, child->bs)) {
            return true;
        }
    }
    return false;
}

/*
 * All nodes of a job change threads together, so add those of jobs that use
 * @nodes, until there are no more. Returns: the jobs, to be freed with
 * g_slist_free(). Called with the job mutex held.
 */
static GSList *GRAPH_RDLOCK node_jobs_find_locked(GHashTable *nodes)
{
    GSList *found = NULL;
    BlockJob *job = block_job_next_locked(NULL);

    while (job) {
        if (g_slist_find(found, job) || !node_jobs_uses(job, nodes)) {
            job = block_job_next_locked(job);
            continue;
        }
        found = g_slist_prepend(found, job);
        for (GSList *item = job->nodes; item; item = item->next) {
            BdrvChild *child = item->data;

            node_jobs_add_nodes(nodes, child->bs);
        }
        job = block_job_next_locked(NULL);
    }
    return found;
}

bool node_jobs_try_pause(BlockBackend *blk, GSList **jobs)
{
    g_autoptr(GHashTable) nodes = g_hash_table_new(NULL, NULL);
    g_autoptr(GSList) found = NULL;
    bool all = true;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    JOB_LOCK_GUARD();

    if (!blk_bs(blk) || !block_job_next_locked(NULL)) {
        return true;
    }
    node_jobs_add_nodes(nodes, blk_bs(blk));
    found = node_jobs_find_locked(nodes);
    for (GSList *item = found; item; item = item->next) {
        BlockJob *bjob = item->data;
        Job *job = &bjob->job;

        if (!g_slist_find(*jobs, job)) {
            job_ref_locked(job);
            *jobs = g_slist_prepend(*jobs, job);
            job_pause_locked(job);
        }
        all &= job->paused || job_is_completed_locked(job);
    }
    return all;
}

GSList *node_jobs_pause(BlockBackend *blk)
{
    GSList *jobs = NULL;

    AIO_WAIT_WHILE_UNLOCKED(NULL, !node_jobs_try_pause(blk, &jobs));
    return jobs;
}

void node_jobs_resume(GSList *jobs)
{
    JOB_LOCK_GUARD();
    while (jobs) {
        Job *job = jobs->data;

        jobs = g_slist_delete_link(jobs, jobs);
        job_resume_locked(job);
        job_unref_locked(job);
    }
}
