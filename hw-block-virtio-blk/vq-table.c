/*
 * Virtqueue table: one struct per virtqueue, and the thread that owns it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "hw/block/virtio-blk/vq-plan.h"
#include "hw/block/virtio-blk/vq-table.h"
#include "hw/virtio/virtio-bus.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "trace.h"

/* Context: BQL held */
static void *vq_table_resolve(const char *name)
{
    return iothread_by_id(name);
}

bool vq_table_check_device(VirtIODevice *vdev, Error **errp)
{
    VirtioBusClass *k =
        VIRTIO_BUS_GET_CLASS(qdev_get_parent_bus(DEVICE(vdev)));

    if (!k->set_guest_notifiers || !k->ioeventfd_assign) {
        error_setg(errp, "device is incompatible with iothread "
                   "(transport does not support notifiers)");
        return false;
    }
    if (!virtio_device_ioeventfd_enabled(vdev)) {
        error_setg(errp, "ioeventfd is required for iothread");
        return false;
    }
    return true;
}

static void vq_table_warn_idle(const VqPlan *plan,
                               const IOThreadVirtQueueMappingList *list)
{
    g_autofree char *idle = vq_plan_idle_names(plan, list);

    if (idle) {
        warn_report("iothread-vq-mapping names %zu IOThreads for %u "
                    "virtqueue%s, these stay idle: %s", plan->num_iothreads,
                    plan->num_vqs, plan->num_vqs == 1 ? "" : "s", idle);
    }
}

/* Indices of the virtqueues that @user owns, to be freed */
static uint16List *vq_table_user_vqs(const VqTableUser *user)
{
    const VqTable *table = user->table;
    uint16List *vqs = NULL;
    uint16List **tail = &vqs;

    for (unsigned i = 0; i < table->num_vqs; i++) {
        if (table->entries[i].user == user) {
            QAPI_LIST_APPEND(tail, i);
        }
    }
    return vqs;
}

static unsigned vq_table_user_first_vq(const VqTableUser *user)
{
    unsigned i = 0;

    while (user->table->entries[i].user != user) {
        i++;
    }
    return i;
}

/* IOThreadUser.describe, like "virtqueues 0,2-4 of device 'disk0'" */
static char *vq_table_user_describe(const IOThreadUser *opaque)
{
    const VqTableUser *user = container_of(opaque, VqTableUser, user);
    g_autoptr(uint16List) vqs = vq_table_user_vqs(user);
    g_autoptr(GString) text =
        g_string_new(vqs && !vqs->next ? "virtqueue " : "virtqueues ");

    if (!vqs) {
        return g_strdup_printf("device '%s', whose virtqueues are leaving it",
                               user->table->name);
    }
    vq_plan_append_ranges(text, vqs);
    g_string_append_printf(text, " of device '%s'", user->table->name);
    return g_strdup(text->str);
}

/* For traces */
static const char *vq_table_user_name(const VqTableUser *user)
{
    return user ? user->name : "main loop";
}

/* Count one more virtqueue of @iothread. Context: BQL held */
static VqTableUser *vq_table_get_user(VqTable *table, IOThread *iothread)
{
    VqTableUser *user;

    QLIST_FOREACH(user, &table->users, next) {
        if (user->user.iothread == iothread) {
            user->num_vqs++;
            return user;
        }
    }

    user = g_new0(VqTableUser, 1);
    user->user.describe = vq_table_user_describe;
    user->table = table;
    user->name = iothread_get_id(iothread);
    user->num_vqs = 1;
    QLIST_INSERT_HEAD(&table->users, user, next);
    iothread_hold(iothread, &user->user);
    return user;
}

/* Count one less, and free @user after the last. Context: BQL held */
static void vq_table_put_user(VqTableUser *user)
{
    assert(user->num_vqs > 0);
    if (--user->num_vqs == 0) {
        iothread_release(&user->user);
        QLIST_REMOVE(user, next);
        g_free(user->name);
        g_free(user);
    }
}

DeviceState *vq_table_get_device(VirtIODevice *vdev)
{
    Object *parent = OBJECT(vdev)->parent;

    return object_dynamic_cast(parent, TYPE_DEVICE) ? DEVICE(parent)
                                                    : DEVICE(vdev);
}

/* Filled with zeroes, each entry's statistics in cache lines of their own */
static VqTable *vq_table_alloc(uint16_t num_vqs)
{
    VqTable *table;
    size_t size = sizeof(*table) + num_vqs * sizeof(table->entries[0]);

    table = qemu_memalign(VQ_CACHE_LINE, size);
    memset(table, 0, size);
    return table;
}

/*
 * Returns: for each virtqueue the IOThread that @list gives it, or @iothread,
 * or NULL for the main loop, to be freed; or NULL with @errp set.
 */
static IOThread **vq_table_owners(uint16_t num_vqs, IOThread *iothread,
                                  const IOThreadVirtQueueMappingList *list,
                                  Error **errp)
{
    g_autoptr(VqPlan) plan = NULL;
    IOThread **owners;

    if (list) {
        plan = vq_plan_new("iothread-vq-mapping", list, num_vqs,
                           vq_table_resolve, errp);
        if (!plan) {
            return NULL;
        }
        vq_table_warn_idle(plan, list);
    }

    owners = g_new(IOThread *, num_vqs);
    for (unsigned i = 0; i < num_vqs; i++) {
        owners[i] = plan ? plan->iothreads[plan->iothread_of_vq[i]] : iothread;
    }
    return owners;
}

/* Context: BQL held */
static void vq_entry_set_owner(VqEntry *entry, IOThread *owner)
{
    if (owner) {
        entry->user = vq_table_get_user(entry->table, owner);
        entry->ctx = iothread_get_aio_context(owner);
    } else {
        entry->user = NULL;
        entry->ctx = qemu_get_aio_context();
    }
}

VqTable *vq_table_new(VirtIODevice *vdev, uint16_t first_vq, uint16_t num_vqs,
                      IOThread *iothread,
                      const IOThreadVirtQueueMappingList *list, Error **errp)
{
    g_autofree IOThread **owners = NULL;
    VqTable *table;

    if (iothread && list) {
        error_setg(errp, "iothread and iothread-vq-mapping properties cannot "
                   "be set at the same time");
        return NULL;
    }
    if ((iothread || list) && !vq_table_check_device(vdev, errp)) {
        return NULL;
    }
    owners = vq_table_owners(num_vqs, iothread, list, errp);
    if (!owners) {
        return NULL;
    }

    table = vq_table_alloc(num_vqs);
    table->vdev = vdev;
    table->name = qdev_get_human_name(vq_table_get_device(vdev));
    table->num_vqs = num_vqs;

    for (unsigned i = 0; i < num_vqs; i++) {
        VqEntry *entry = &table->entries[i];

        entry->table = table;
        entry->vq = virtio_get_queue(vdev, first_vq + i);
        vq_entry_set_owner(entry, owners[i]);
        trace_vq_table_new(table->name, first_vq + i,
                           vq_table_user_name(entry->user));
    }
    return table;
}

IOThread **vq_table_plan(VqTable *table, VirtIODevice *vdev,
                         const IOThreadVirtQueueMappingList *list,
                         Error **errp)
{
    if (list && !vq_table_check_device(vdev, errp)) {
        return NULL;
    }
    return vq_table_owners(table->num_vqs, NULL, list, errp);
}

void vq_table_free(VqTable *table)
{
    if (!table) {
        return;
    }

    assert(!vq_table_busy(table));
    vq_table_end_move(table);
    for (unsigned i = 0; i < table->num_vqs; i++) {
        VqEntry *entry = &table->entries[i];

        assert(!entry->attached && !entry->open);
        if (entry->user) {
            vq_table_put_user(entry->user);
        }
    }
    g_free(table->name);
    qemu_vfree(table);
}

/* Context: owner thread */
static void vq_entry_attach(VqEntry *entry)
{
    trace_vq_entry_attach(entry->table->name,
                          virtio_get_queue_index(entry->vq),
                          vq_table_user_name(entry->user));
    virtio_queue_aio_attach_host_notifier(entry->vq, entry->ctx);
    entry->attached = true;
    entry->fast.known = false;
}

/* Context: owner thread, the one of @user */
static void vq_entry_detach(VqEntry *entry, const VqTableUser *user)
{
    trace_vq_entry_detach(entry->table->name,
                          virtio_get_queue_index(entry->vq),
                          vq_table_user_name(user));
    virtio_queue_aio_detach_host_notifier(entry->vq,
                                          qemu_get_current_aio_context());
    entry->attached = false;
}

/* Context: owner thread */
static void vq_entry_apply_goal(VqEntry *entry)
{
    /* Pairs with store-release in vq_entry_set_goal() */
    bool goal = qatomic_load_acquire(&entry->goal_attached);

    if (entry->away) {
        /* vq_entry_arrive_bh() comes back to it */
        return;
    }
    if (goal && !entry->attached) {
        vq_entry_attach(entry);
    } else if (!goal && entry->attached) {
        vq_entry_detach(entry, entry->user);
    }
}

/* Have @ctx run @cb, which ends with vq_table_done(); context: BQL held */
static void vq_table_schedule(VqTable *table, AioContext *ctx, QEMUBHFunc *cb,
                              void *opaque)
{
    qatomic_inc(&table->in_flight);
    aio_bh_schedule_oneshot(ctx, cb, opaque);
}

/* Context: BH in owner thread, which touches the table no more */
static void vq_table_done(VqTable *table)
{
    /*
     * Who sees this, sees what was done; the table may be freed from here on.
     * Pairs with load-acquire in vq_table_busy().
     */
    qatomic_dec(&table->in_flight);
    aio_wait_kick();
}

/* Context: BH in owner thread */
static void vq_entry_apply_goal_bh(void *opaque)
{
    VqEntry *entry = opaque;

    vq_entry_apply_goal(entry);
    vq_table_done(entry->table);
}

/* Context: BQL held */
static void vq_entry_set_goal(VqEntry *entry, bool attached)
{
    if (entry->goal_attached == attached) {
        return;
    }

    /* Pairs with load-acquire in vq_entry_apply_goal() */
    qatomic_store_release(&entry->goal_attached, attached);

    if (entry->ctx == qemu_get_current_aio_context()) {
        vq_entry_apply_goal(entry);
    } else {
        vq_table_schedule(entry->table, entry->ctx, vq_entry_apply_goal_bh,
                          entry);
    }
}

void vq_table_attach(VqTable *table)
{
    for (unsigned i = 0; i < table->num_vqs; i++) {
        vq_entry_set_goal(&table->entries[i], table->entries[i].open);
    }
}

void vq_table_detach(VqTable *table)
{
    for (unsigned i = 0; i < table->num_vqs; i++) {
        vq_table_detach_one(table, i);
    }
}

void vq_table_detach_one(VqTable *table, uint16_t i)
{
    assert(i < table->num_vqs);
    vq_entry_set_goal(&table->entries[i], false);
}

bool vq_table_busy(VqTable *table)
{
    /* Pairs with qatomic_dec() in vq_table_done() */
    return qatomic_load_acquire(&table->in_flight) > 0;
}

void vq_table_quiesce(VqTable *table)
{
    AIO_WAIT_WHILE_UNLOCKED(NULL, vq_table_busy(table));
}

/* Context: BH in owner thread */
static void vq_entry_last_look_bh(void *opaque)
{
    VqEntry *entry = opaque;

    virtio_queue_host_notifier_read(virtio_queue_get_host_notifier(entry->vq));
    vq_table_done(entry->table);
}

void vq_table_stop(VqTable *table)
{
    vq_table_detach(table);
    vq_table_quiesce(table);

    for (unsigned i = 0; i < table->num_vqs; i++) {
        VqEntry *entry = &table->entries[i];

        if (entry->open) {
            vq_table_schedule(table, entry->ctx, vq_entry_last_look_bh, entry);
        }
    }
    vq_table_quiesce(table);
}

/* Context: BH in owner thread */
static void vq_table_done_bh(void *opaque)
{
    vq_table_done(opaque);
}

void vq_table_sync(VqTable *table)
{
    VqTableUser *user;

    QLIST_FOREACH(user, &table->users, next) {
        vq_table_schedule(table, iothread_get_aio_context(user->user.iothread),
                          vq_table_done_bh, table);
    }
    vq_table_quiesce(table);
}

/* One less has to arrive. Context: any thread */
static void vq_table_count_arrival(VqTable *table)
{
    if (qatomic_fetch_dec(&table->num_away) == 1) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), table->moved_cb,
                                table->moved_opaque);
    }
}

/* Context: BH in the new owner's thread */
static void vq_entry_arrive_bh(void *opaque)
{
    VqEntry *entry = opaque;
    VqTable *table = entry->table;

    entry->away = false;
    vq_entry_apply_goal(entry);
    entry->away_ns = get_clock() - entry->away_ns;
    trace_vq_entry_move(table->name, virtio_get_queue_index(entry->vq),
                        vq_table_user_name(entry->old_user),
                        vq_table_user_name(entry->user), entry->away_ns);
    vq_table_count_arrival(table);
    vq_table_done(table);
}

/* Context: BH in the old owner's thread */
static void vq_entry_hand_over_bh(void *opaque)
{
    VqEntry *entry = opaque;

    if (vq_stats_is_idle(&entry->stats)) {
        qemu_bh_delete(entry->stats.leaving);
        entry->stats.leaving = NULL;
        aio_bh_schedule_oneshot(entry->ctx, vq_entry_arrive_bh, entry);
    }
}

/* Context: BH in the old owner's thread, which is not in the handler */
static void vq_entry_leave_bh(void *opaque)
{
    VqEntry *entry = opaque;

    entry->away_ns = get_clock();
    if (entry->attached) {
        vq_entry_detach(entry, entry->old_user);
    }
    entry->stats.leaving = aio_bh_new(qemu_get_current_aio_context(),
                                      vq_entry_hand_over_bh, entry);
    vq_entry_hand_over_bh(entry);
}

void vq_table_move(VqTable *table, IOThread *const *owners,
                   void (*cb)(void *opaque), void *opaque)
{
    assert(!vq_table_busy(table) && !vq_table_is_moving(table));
    table->moved_cb = cb;
    table->moved_opaque = opaque;
    table->num_away = 1;    /* until all have been told */

    for (unsigned i = 0; i < table->num_vqs; i++) {
        VqEntry *entry = &table->entries[i];
        AioContext *old_ctx = entry->ctx;
        VqTableUser *old_user = entry->user;

        if ((old_user ? old_user->user.iothread : NULL) == owners[i]) {
            continue;
        }

        vq_entry_set_owner(entry, owners[i]);
        entry->old_user = old_user;
        entry->moved = true;
        if (entry->open) {
            entry->away = true;
            qatomic_inc(&table->num_away);
            vq_table_schedule(table, old_ctx, vq_entry_leave_bh, entry);
        } else {
            /* Not with its owner, and nothing of it is */
            entry->away_ns = 0;
        }
    }
    vq_table_count_arrival(table);
}

void vq_table_end_move(VqTable *table)
{
    for (unsigned i = 0; i < table->num_vqs; i++) {
        VqEntry *entry = &table->entries[i];

        if (entry->old_user) {
            vq_table_put_user(entry->old_user);
        }
        entry->old_user = NULL;
        entry->moved = false;
    }
    table->moved_cb = NULL;
}

AioContext *vq_table_get_aio_context(const VqTable *table, uint16_t i)
{
    assert(i < table->num_vqs);
    return table->entries[i].ctx;
}

const char *vq_table_get_thread(const VqTable *table, uint16_t i,
                                int *thread_id)
{
    const VqTableUser *user;

    assert(i < table->num_vqs);
    user = table->entries[i].user;
    *thread_id = user ? user->user.iothread->thread_id : qemu_get_thread_id();
    return user ? user->name : NULL;
}

IOThreadVirtQueueMappingList *vq_table_get_mapping(const VqTable *table)
{
    IOThreadVirtQueueMappingList *list = NULL;
    IOThreadVirtQueueMappingList **tail = &list;

    for (unsigned i = 0; i < table->num_vqs; i++) {
        const VqTableUser *user = table->entries[i].user;

        if (user && vq_table_user_first_vq(user) == i) {
            IOThreadVirtQueueMapping *item =
                g_new0(IOThreadVirtQueueMapping, 1);

            item->iothread = g_strdup(user->name);
            item->has_vqs = true;
            item->vqs = vq_table_user_vqs(user);
            QAPI_LIST_APPEND(tail, item);
        }
    }
    return list;
}
