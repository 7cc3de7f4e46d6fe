/*
 * Virtqueue table: one struct per virtqueue, and the thread that owns it
 *
 *     vq_table_new()     resolve names, hold IOThreads
 *         |
 *     vq_table_attach()  each owner attaches its virtqueue's host notifier
 *       |         ^
 *       |         |      vq_table_move() gives virtqueues to other owners
 *       v         |
 *     vq_table_detach()  each owner detaches it
 *         |
 *     vq_table_free()    release IOThreads
 *
 * A virtqueue is owned by the thread that runs its AioContext: an IOThread, or
 * the main loop. The table holds the IOThread, by a counted reference and never
 * by its name, so that no look-up can come to another answer later.
 *
 * Attaching and detaching happen in the owner thread, in a bottom half. That
 * is why no handler of a virtqueue can be running once its detach has been
 * waited for: the owner cannot be in the handler and in the bottom half at
 * once. A bottom half brings its virtqueue to the state that was asked for
 * last, so it does not matter in what order those under way run.
 *
 * A virtqueue that is moved goes from thread to thread by itself, without the
 * main loop:
 *
 *     old owner    detach; when none of its requests is in flight, hand over
 *     new owner    attach, if that is asked for by now
 *
 * From the moment that the move is asked for, what else is asked for goes to
 * the new owner, who does it when the virtqueue has arrived. The table is busy
 * until then.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_VQ_TABLE_H
#define HW_BLOCK_VIRTIO_BLK_VQ_TABLE_H

#include "block/accounting.h"
#include "hw/block/virtio-blk/compat.h"
#include "hw/block/virtio-blk/fast-path.h"
#include "hw/block/virtio-blk/vq-memory.h"
#include "hw/block/virtio-blk/vq-stats.h"
#include "hw/virtio/virtio.h"
#include "qapi/qapi-types-iothread-vq-mapping.h"

typedef struct VqTable VqTable;

/* An IOThread that owns virtqueues of a table, and so cannot be deleted */
typedef struct VqTableUser {
    IOThreadUser user;      /* holds the IOThread */
    const VqTable *table;   /* constant */
    char *name;             /* the IOThread's id, constant */

    /* Protected by the BQL */
    unsigned num_vqs;       /* entries that the IOThread owns, or did before */
    QLIST_ENTRY(VqTableUser) next;
} VqTableUser;

/* A virtqueue and what serving it touches */
typedef struct VqEntry {
    /* Set by vq_table_new() and constant from there on: read by any thread */
    VqTable *table;
    VirtQueue *vq;

    /*
     * The owner. Written with the BQL held while no bottom half for the
     * virtqueue is under way, so that the owner may read it as well.
     */
    VqTableUser *user;  /* of the owner's IOThread, NULL for the main loop */
    AioContext *ctx;    /* the IOThread's, or the main loop's */

    /*
     * Has the virtqueue a host notifier? Only these are attached. Written with
     * the BQL held while it is detached; its owner may read it while attached.
     */
    bool open;

    /*
     * Shall the host notifier be attached? Written with the BQL held, read by
     * the owner; store-release in vq_entry_set_goal() pairs with load-acquire
     * in vq_entry_apply_goal().
     */
    bool goal_attached;

    /* Is it attached? Only the owner thread reads or writes this. */
    bool attached;

    /*
     * Is it not yet with its owner? Set with the BQL held before the owner is
     * told anything, from there on only the owner reads or writes this.
     */
    bool away;

    /*
     * Of the move under way. The first two are protected by the BQL, and do not
     * change while the virtqueue is away.
     */
    bool moved;
    VqTableUser *old_user;  /* NULL for the main loop */
    int64_t away_ns;        /* when it was detached, then for how long it was */

    /* Likewise */
    VqMemory memory;

    /* See there */
    FastPath fast;

    /* What the virtqueue adds to the disk's statistics */
    BlockAcctStats acct;

    /* How many elements are in the used ring and the guest does not see yet */
    unsigned filled;

    /* In cache lines of its own; see there for who writes and reads it */
    VqStats stats;
} VqEntry;

struct VqTable {
    /*
     * Bottom halves under way, atomic. Incremented with the BQL held,
     * decremented by the owners.
     */
    unsigned in_flight;

    /* Constant */
    VirtIODevice *vdev; /* outlives the table */
    char *name;         /* what the user calls the device */
    uint16_t num_vqs;

    /* Protected by the BQL */
    QLIST_HEAD(, VqTableUser) users;
    QEMUBHFunc *moved_cb;   /* of the move under way, or NULL */
    void *moved_opaque;

    /* Virtqueues that have not arrived, atomic, as @in_flight */
    unsigned num_away;

    VqEntry entries[];
};

/**
 * vq_table_check_device:
 * @vdev: the device, plugged into its bus
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns: true if IOThreads can serve @vdev's virtqueues, false with @errp set
 * if not.
 *
 * Context: BQL held.
 */
bool vq_table_check_device(VirtIODevice *vdev, Error **errp);

/**
 * vq_table_new:
 * @vdev: the device, after virtio_init(); its virtqueues need not exist yet
 * @first_vq: index in @vdev of the first virtqueue in the table
 * @num_vqs: number of virtqueues in the table, at least 1
 * @iothread: the device's "iothread" property or NULL
 * @list: the device's "iothread-vq-mapping" property or NULL
 * @errp: pointer to a NULL-initialized error object
 *
 * Find each virtqueue's owner: what @list says, or @iothread for all of them,
 * or the main loop when both are NULL. An IOThread that owns a virtqueue cannot
 * be deleted while the table exists. Warns, once, if an item of @list gets no
 * virtqueue.
 *
 * Returns: the table, which the caller frees with vq_table_free(), or NULL
 * with @errp set and nothing changed. Nothing is attached yet.
 *
 * Context: BQL held.
 */
VqTable *vq_table_new(VirtIODevice *vdev, uint16_t first_vq, uint16_t num_vqs,
                      IOThread *iothread,
                      const IOThreadVirtQueueMappingList *list, Error **errp);

/**
 * vq_table_free:
 * @table: a table with every virtqueue detached and not busy, or NULL
 *
 * Release the IOThreads and free the table.
 *
 * Context: BQL held.
 */
void vq_table_free(VqTable *table);

/**
 * vq_table_plan:
 * @table: the table
 * @vdev: the device
 * @list: a mapping, or NULL for the main loop
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns: for each virtqueue the IOThread that @list gives it, NULL for the
 * main loop, to be freed by the caller; or NULL with @errp set.
 *
 * Context: BQL held.
 */
IOThread **vq_table_plan(VqTable *table, VirtIODevice *vdev,
                         const IOThreadVirtQueueMappingList *list,
                         Error **errp);

/**
 * vq_table_move:
 * @table: the table, not busy and with no move under way
 * @owners: for each virtqueue its IOThread, or NULL for the main loop
 * @cb: called in the main loop when all have arrived; @table may be gone then
 * @opaque: for @cb
 *
 * Give virtqueues to other owners. Those that have the right one already are
 * not touched. The others are not served from the moment that their old owner
 * is told until they have arrived, which waits for their own requests in flight
 * and for nothing else. The caller calls vq_table_end_move() when it is told.
 *
 * Context: BQL held.
 */
void vq_table_move(VqTable *table, IOThread *const *owners,
                   void (*cb)(void *opaque), void *opaque);

/**
 * vq_table_is_moving:
 * @table: the table
 *
 * Returns: whether a move is under way, or waits for vq_table_end_move().
 *
 * Context: BQL held.
 */
static inline bool vq_table_is_moving(const VqTable *table)
{
    return table->moved_cb != NULL;
}

/**
 * vq_table_is_away:
 * @table: the table
 *
 * Returns: whether a virtqueue has yet to arrive at its new owner.
 *
 * Context: BQL held.
 */
static inline bool vq_table_is_away(const VqTable *table)
{
    return qatomic_read(&table->num_away) > 0;
}

/**
 * vq_table_end_move:
 * @table: a table whose virtqueues have arrived
 *
 * Forget the move, and release the IOThreads that virtqueues have left.
 *
 * Context: BQL held.
 */
void vq_table_end_move(VqTable *table);

/**
 * vq_table_attach:
 * @table: the table
 *
 * Have each owner of an open virtqueue attach its host notifier and look at
 * the ring once, so that no kick from before is lost. Does not wait. Nothing
 * happens to those that are attached.
 *
 * Context: BQL held.
 */
void vq_table_attach(VqTable *table);

/**
 * vq_table_detach:
 * @table: the table
 *
 * Have each owner detach its virtqueue's host notifier. Does not wait: an
 * owner may be in its virtqueue's handler until vq_table_busy() is false.
 *
 * Context: BQL held.
 */
void vq_table_detach(VqTable *table);

/**
 * vq_table_detach_one:
 * @table: the table
 * @i: index of a virtqueue in the table
 *
 * vq_table_detach() for one virtqueue.
 *
 * Context: BQL held.
 */
void vq_table_detach_one(VqTable *table, uint16_t i);

/**
 * vq_table_busy:
 * @table: the table
 *
 * For AIO_WAIT_WHILE() and .drained_poll(), which are woken when it changes.
 *
 * Returns: whether an owner has yet to do what was asked of it last.
 *
 * Context: any thread.
 */
bool vq_table_busy(VqTable *table);

/**
 * vq_table_stop:
 * @table: the table
 *
 * Detach every virtqueue and wait for it. Each owner takes a last look at its
 * host notifier, so that requests kicked before the call have been submitted
 * when it returns.
 *
 * Context: BQL held. Runs the event loop.
 */
void vq_table_stop(VqTable *table);

/**
 * vq_table_quiesce:
 * @table: the table
 *
 * Wait until the table is no longer busy.
 *
 * Context: BQL held. Runs the event loop.
 */
void vq_table_quiesce(VqTable *table);

/**
 * vq_table_sync:
 * @table: the table
 *
 * Wait until each owner has come back to its event loop. A request is no
 * longer in flight when its completion is put into the ring; telling the guest
 * waits for the end of the owner's defer_call() section.
 *
 * Context: BQL held. Runs the event loop.
 */
void vq_table_sync(VqTable *table);

/**
 * vq_table_get_device:
 * @vdev: a virtio device
 *
 * Returns: the device that the user has named or plugged: the transport's, if
 * it comes with one, or @vdev itself.
 *
 * Context: BQL held.
 */
DeviceState *vq_table_get_device(VirtIODevice *vdev);

/**
 * vq_table_get_aio_context:
 * @table: the table
 * @i: index of a virtqueue in the table
 *
 * Returns: the AioContext of the virtqueue's owner.
 *
 * Context: any thread.
 */
AioContext *vq_table_get_aio_context(const VqTable *table, uint16_t i);

/**
 * vq_table_get_thread:
 * @table: the table
 * @i: index of a virtqueue in the table
 * @thread_id: set to the host's id of the thread that owns the virtqueue
 *
 * Returns: the id of the IOThread that owns the virtqueue, which @table keeps,
 * or NULL for the main loop.
 *
 * Context: the main loop's thread, BQL held.
 */
const char *vq_table_get_thread(const VqTable *table, uint16_t i,
                                int *thread_id);

/**
 * vq_table_get_mapping:
 * @table: the table
 *
 * Returns: for each IOThread that owns virtqueues which ones these are, NULL
 * if the main loop owns all of them. The caller frees the list.
 *
 * Context: BQL held.
 */
IOThreadVirtQueueMappingList *vq_table_get_mapping(const VqTable *table);

/**
 * vq_table_get_stats:
 * @table: the table
 * @i: index of a virtqueue in the table
 *
 * Returns: what the virtqueue's owner counts, which @table keeps.
 *
 * Context: any thread.
 */
static inline VqStats *vq_table_get_stats(VqTable *table, uint16_t i)
{
    return &table->entries[i].stats;
}

#endif /* HW_BLOCK_VIRTIO_BLK_VQ_TABLE_H */
