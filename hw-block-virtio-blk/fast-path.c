/*
 * Fast path: from a virtqueue to the host's AIO in one step
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "block/block_int.h"
#include "block/write-threshold.h"
#include "hw/block/virtio-blk/fast-path.h"
#include "hw/block/virtio-blk/queue.h"
#include "hw/virtio/virtio-blk.h"
#include "trace/trace-block.h"

/* Drivers that do with a request what they are told, and nothing else */
static const char *const plain_drivers[] = { "null-co", "file", "host_device" };

/*
 * TSA_NO_TSA: functions here read the graph without its lock. They run in the
 * thread that serves the virtqueue, while that is attached or a request is on
 * the fast path. bdrv_graph_wrlock() drains all nodes and keeps them drained:
 * no graph changes until virtqueues are detached and requests have ended; see
 * virtio_blk_drained_poll(). virtio_blk_fast_keep_out() runs in the main loop,
 * the only thread that changes graphs.
 */

/* Context: the thread that serves the virtqueue, which is attached */
static bool TSA_NO_TSA fast_path_is_plain(BlockDriverState *bs)
{
    BdrvChild *parent = QLIST_FIRST(&bs->parents);

    return bs->drv && !(bs->open_flags & (BDRV_O_INACTIVE | BDRV_O_NO_IO)) &&
           !QLIST_NEXT(parent, next_parent) && !bs->sg &&
           bs->bl.zoned == BLK_Z_NONE &&
           bs->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF;
}

/*
 * "raw" with nothing cut off, and no guest that must not write the header of
 * another format: what is asked of it, it asks of its file
 */
static bool TSA_NO_TSA fast_path_is_transparent(BlockDriverState *bs)
{
    return g_str_equal(bs->drv->format_name, "raw") && bs->file &&
           !bs->backing && !bs->probed &&
           !qdict_haskey(bs->options, "offset") &&
           !qdict_haskey(bs->options, "size");
}

static bool TSA_NO_TSA fast_path_is_leaf(BlockDriverState *bs)
{
    for (unsigned i = 0; i < ARRAY_SIZE(plain_drivers); i++) {
        if (g_str_equal(bs->drv->format_name, plain_drivers[i])) {
            return bs->drv->bdrv_co_preadv && bs->drv->bdrv_co_pwritev;
        }
    }
    return false;
}

/* Find the nodes; the graph does not change while the virtqueue is attached */
static void TSA_NO_TSA fast_path_find(FastPath *fast, VirtIOBlock *s)
{
    BlockDriverState *bs = blk_bs(s->blk);

    fast->known = true;
    fast->num_nodes = 0;
    fast->align = BDRV_SECTOR_SIZE;
    if (!s->conf.fast_path || qatomic_read(&fast->keep_out)) {
        return;
    }
    for (unsigned n = 0; bs && n < ARRAY_SIZE(fast->nodes); n++) {
        if (!fast_path_is_plain(bs)) {
            return;
        }
        fast->nodes[n] = bs;
        fast->align = MAX(fast->align, bs->bl.request_alignment);
        if (fast_path_is_leaf(bs)) {
            fast->num_nodes = n + 1;
            fast->writes = fast->align <= s->conf.conf.logical_block_size;
            fast->max_transfer = MIN_NON_ZERO(bs->bl.max_transfer,
                                              BDRV_REQUEST_MAX_BYTES);
            return;
        }
        if (!fast_path_is_transparent(bs)) {
            return;
        }
        bs = bs->file->bs;
    }
}

/* What can change without a drain */
static bool fast_path_is_usable(const FastPath *fast, BlockBackend *blk,
                                bool is_write)
{
    if (qatomic_read(&fast->tgm->throttle_state) ||
        (is_write && (!fast->writes || !blk_enable_write_cache(blk))) ||
        trace_event_get_state_backends(TRACE_BLK_CO_PREADV) ||
        trace_event_get_state_backends(TRACE_BLK_CO_PWRITEV) ||
        trace_event_get_state_backends(TRACE_BDRV_CO_PREADV_PART) ||
        trace_event_get_state_backends(TRACE_BDRV_CO_PWRITEV_PART)) {
        return false;
    }
    for (unsigned i = 0; i < fast->num_nodes; i++) {
        BlockDriverState *bs = fast->nodes[i];

        if (qatomic_read(&bs->copy_on_read) ||
            qatomic_read(&bs->serialising_in_flight) ||
            (is_write && (!QLIST_EMPTY(&bs->dirty_bitmaps) ||
                          bdrv_is_read_only(bs)))) {
            return false;
        }
    }
    return true;
}

static int coroutine_fn TSA_NO_TSA
fast_path_read(FastPath *fast, int64_t offset, QEMUIOVector *qiov,
               BdrvRequestFlags flags)
{
    BlockDriverState *bs = fast->nodes[fast->num_nodes - 1];

    return bs->drv->bdrv_co_preadv(bs, offset, qiov->size, qiov,
                                   flags & bs->supported_read_flags);
}

static int coroutine_fn TSA_NO_TSA
fast_path_write(FastPath *fast, int64_t offset, QEMUIOVector *qiov,
                BdrvRequestFlags flags)
{
    BlockDriverState *bs = fast->nodes[fast->num_nodes - 1];
    int ret;

    for (unsigned i = 0; i < fast->num_nodes; i++) {
        bdrv_write_threshold_check_write(fast->nodes[i], offset, qiov->size);
    }
    ret = bs->drv->bdrv_co_pwritev(bs, offset, qiov->size, qiov,
                                   flags & bs->supported_write_flags);
    for (unsigned i = fast->num_nodes; i-- > 0; ) {
        bs = fast->nodes[i];
        qatomic_inc(&bs->write_gen);
        stat64_max(&bs->wr_highest_offset, offset + qiov->size);
        bdrv_set_dirty(bs, offset, qiov->size);
    }
    return ret;
}

static void coroutine_fn fast_path_do(FastPath *fast, VirtIOBlockReq *req)
{
    int64_t offset = req->sector_num << BDRV_SECTOR_BITS;
    int ret;

    if (req->kind == VQ_REQUEST_WRITE) {
        ret = fast_path_write(fast, offset, &req->qiov, req->flags);
    } else {
        ret = fast_path_read(fast, offset, &req->qiov, req->flags);
    }
    virtio_blk_rw_complete(req, MIN(ret, 0));

    /*
     * Pairs with load-acquire in virtio_blk_fast_in_flight(). Who waits for a
     * drain waits for 0.
     */
    qatomic_store_release(&fast->in_flight, fast->in_flight - 1);
    if (fast->in_flight == 0) {
        aio_wait_kick();
    }
}

static void coroutine_fn fast_path_entry(void *opaque)
{
    FastPath *fast = opaque;

    while (!fast->quit) {
        VirtIOBlockReq *req = QSIMPLEQ_FIRST(&fast->queue);

        if (req) {
            QSIMPLEQ_REMOVE_HEAD(&fast->queue, fast_next);
            fast_path_do(fast, req);
        } else if (fast->num_idle < FAST_PATH_MAX_IDLE) {
            fast->idle[fast->num_idle++] = qemu_coroutine_self();
            qemu_coroutine_yield();
        } else {
            break;
        }
    }
}

bool virtio_blk_fast_submit(VirtIOBlockReq *req, BdrvRequestFlags flags)
{
    VirtIOBlkQueue *q = req->queue;
    FastPath *fast = &q->fast;
    int64_t offset = req->sector_num << BDRV_SECTOR_BITS;

    if (!fast->open) {
        return false;
    }
    if (unlikely(!fast->known)) {
        fast_path_find(fast, req->dev);
    }
    if (fast->num_nodes == 0 || req->qiov.size == 0 ||
        req->qiov.size > fast->max_transfer ||
        !QEMU_IS_ALIGNED(offset | req->qiov.size, fast->align) ||
        !fast_path_is_usable(fast, req->dev->blk,
                             req->kind == VQ_REQUEST_WRITE)) {
        return false;
    }

    for (const VirtIOBlockReq *r = req; r; r = r->mr_next) {
        vq_stats_add(&q->stats.fast_requests, 1);
    }
    req->flags = flags;
    QSIMPLEQ_INSERT_TAIL(&fast->queue, req, fast_next);
    qatomic_set(&fast->in_flight, fast->in_flight + 1);
    return true;
}

void virtio_blk_fast_run(FastPath *fast)
{
    while (!QSIMPLEQ_EMPTY(&fast->queue)) {
        Coroutine *co = fast->num_idle
                        ? fast->idle[--fast->num_idle]
                        : qemu_coroutine_create(fast_path_entry, fast);

        qemu_coroutine_enter(co);
    }
}

bool virtio_blk_fast_in_flight(VirtIOBlock *s)
{
    for (unsigned i = 0; i < s->queues->num; i++) {
        if (qatomic_load_acquire(&s->queues->q[i].fast.in_flight)) {
            return true;
        }
    }
    return false;
}

void virtio_blk_fast_keep_out(void *opaque)
{
    VirtIOBlock *s = opaque;
    FastPath look = { };

    /* The BlockBackend outlives the virtqueues */
    if (!s->queues) {
        return;
    }
    fast_path_find(&look, s);
    for (unsigned i = 0; i < s->queues->num; i++) {
        FastPath *fast = &s->queues->q[i].fast;

        look.keep_out |= fast->keep_out;
        qatomic_set(&fast->keep_out, true);
    }
    /* Wait for what is on the fast path, and have all virtqueues look again */
    if (look.num_nodes && !look.keep_out) {
        blk_drain(s->blk);
    }
}

void virtio_blk_fast_init(FastPath *fast, BlockBackend *blk)
{
    fast->tgm = &blk_get_public(blk)->throttle_group_member;
    QSIMPLEQ_INIT(&fast->queue);
}

void virtio_blk_fast_open(FastPath *fast)
{
    fast->open = true;
    fast->known = false;
}

void virtio_blk_fast_close(FastPath *fast)
{
    fast->open = false;
}

void virtio_blk_fast_cleanup(FastPath *fast)
{
    assert(QSIMPLEQ_EMPTY(&fast->queue) && fast->in_flight == 0);
    fast->quit = true;
    while (fast->num_idle) {
        qemu_coroutine_enter(fast->idle[--fast->num_idle]);
    }
}
