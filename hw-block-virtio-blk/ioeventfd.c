/*
 * virtio-blk ioeventfd: serve virtqueues in the threads that own them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/memory.h"
#include "hw/block/virtio-blk/ioeventfd.h"
#include "hw/block/virtio-blk/node-jobs.h"
#include "hw/block/virtio-blk/requests.h"
#include "hw/virtio/virtio-bus.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "trace.h"

/* Make what iothreads= asks for, if it is set */
static bool virtio_blk_make_own_iothreads(VirtIOBlock *s, Error **errp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    VirtIOBlkConf *conf = &s->conf;
    const char *other = conf->iothread ? "iothread" :
                        conf->iothread_vq_mapping_list ? "iothread-vq-mapping" :
                        NULL;
    unsigned num;

    if (!own_iothreads_check(&conf->own_iothreads, conf->num_queues, other,
                             &num, errp)) {
        return false;
    }
    if (num == 0) {
        return true;
    }
    if (!vq_table_check_device(vdev, errp)) {
        return false;
    }
    s->own_iothreads = own_iothreads_new(vq_table_get_device(vdev),
                                         &conf->own_iothreads, num, errp);
    return s->own_iothreads != NULL;
}

static void virtio_blk_init_entries(VirtIOBlock *s)
{
    BlockBackend *blk = s->conf.conf.blk;

    for (unsigned i = 0; i < s->vq_table->num_vqs; i++) {
        VqEntry *entry = &s->vq_table->entries[i];

        virtio_queue_set_memory(entry->vq, &entry->memory);
        virtio_blk_fast_init(&entry->fast, blk);
        block_acct_add_part(blk_get_stats(blk), &entry->acct);
    }
}

static void virtio_blk_cleanup_entries(VirtIOBlock *s)
{
    BlockBackend *blk = s->conf.conf.blk;

    for (unsigned i = 0; i < s->vq_table->num_vqs; i++) {
        VqEntry *entry = &s->vq_table->entries[i];

        block_acct_remove_part(blk_get_stats(blk), &entry->acct);
        virtio_blk_fast_cleanup(&entry->fast);
        virtio_queue_set_memory(entry->vq, NULL);
        vq_memory_cleanup(&entry->memory);
    }
}

bool virtio_blk_ioeventfd_init(VirtIOBlock *s, Error **errp)
{
    VirtIOBlkConf *conf = &s->conf;
    const IOThreadVirtQueueMappingList *list = conf->iothread_vq_mapping_list;
    g_autoptr(IOThreadVirtQueueMappingList) own_list = NULL;

    if (!virtio_blk_make_own_iothreads(s, errp)) {
        return false;
    }
    if (s->own_iothreads) {
        list = own_list = own_iothreads_get_mapping(s->own_iothreads);
    }

    s->vq_table = vq_table_new(VIRTIO_DEVICE(s), 0, conf->num_queues,
                               conf->iothread, list, errp);
    if (s->vq_table) {
        virtio_blk_init_entries(s);
    }
    if (!s->vq_table ||
        ((conf->iothread || list) &&
         !compat_blk_may_use_iothread(conf->conf.blk, errp))) {
        virtio_blk_ioeventfd_cleanup(s);
        return false;
    }
    s->iothread_vq_mapping_resolved = vq_table_get_mapping(s->vq_table);
    return true;
}

void virtio_blk_ioeventfd_cleanup(VirtIOBlock *s)
{
    assert(!s->ioeventfd_started);
    qapi_free_IOThreadVirtQueueMappingList(s->iothread_vq_mapping_resolved);
    s->iothread_vq_mapping_resolved = NULL;
    if (s->vq_table) {
        virtio_blk_cleanup_entries(s);
    }
    vq_table_free(s->vq_table);
    s->vq_table = NULL;
    own_iothreads_free(s->own_iothreads);
    s->own_iothreads = NULL;
}

static VirtioBusState *virtio_blk_get_bus(VirtIOBlock *s)
{
    return VIRTIO_BUS(qdev_get_parent_bus(DEVICE(s)));
}

/* This is what virtio_queue_notify() asks, and what all transports migrate */
bool virtio_blk_has_ring(VirtIOBlock *s, uint16_t i)
{
    return virtio_queue_get_desc_addr(VIRTIO_DEVICE(s), i) != 0;
}

/*
 * Close the host notifiers of virtqueues @first to @end - 1 that have one. It
 * handles their last kicks, but not in a drained section: the requests would
 * wait for its end and then complete, whatever has become of the ring. They
 * stay in there, and the next start looks for them.
 */
static void virtio_blk_close(VirtIOBlock *s, unsigned first, unsigned end)
{
    VirtioBusState *bus = virtio_blk_get_bus(s);
    bool in_drain = blk_in_drain(s->conf.conf.blk);

    /*
     * One memory transaction for all of them: updating ioeventfds takes time
     * quadratic in their number. It expects them to be open when it commits.
     */
    memory_region_transaction_begin();
    for (unsigned i = first; i < end; i++) {
        if (s->vq_table->entries[i].open) {
            virtio_bus_set_host_notifier(bus, i, false);
        }
    }
    memory_region_transaction_commit();

    for (unsigned i = first; i < end; i++) {
        VqEntry *entry = &s->vq_table->entries[i];

        if (!entry->open) {
            continue;
        }
        if (in_drain) {
            event_notifier_test_and_clear(
                virtio_queue_get_host_notifier(entry->vq));
        }
        virtio_bus_cleanup_host_notifier(bus, i);
        entry->open = false;
    }
}

/*
 * Open the host notifiers of virtqueues @first to @end - 1 that the guest has
 * set up.
 *
 * Returns: 0, or a negative errno value with none of them open.
 */
static int virtio_blk_open(VirtIOBlock *s, unsigned first, unsigned end)
{
    VirtioBusState *bus = virtio_blk_get_bus(s);
    int r = 0;

    memory_region_transaction_begin();
    for (unsigned i = first; i < end && r == 0; i++) {
        if (virtio_blk_has_ring(s, i)) {
            r = virtio_bus_set_host_notifier(bus, i, true);
            s->vq_table->entries[i].open = r == 0;
        }
    }
    memory_region_transaction_commit();

    if (r != 0) {
        error_report("virtio-blk failed to set host notifier (%d)", r);
        virtio_blk_close(s, first, end);
    }
    return r;
}

/*
 * Give virtqueues @ram to translate with, or, if it is NULL, let them do that
 * as all of QEMU does. To be called when no owner handles its virtqueue.
 */
static void virtio_blk_set_guest_ram(VirtIOBlock *s, GuestRam *ram)
{
    for (unsigned i = 0; i < s->vq_table->num_vqs; i++) {
        s->vq_table->entries[i].memory.ram = ram;
    }
    guest_ram_free(s->guest_ram);
    s->guest_ram = ram;
}

/*
 * Without ioeventfd, a kick is handled by the thread that receives it. Do that
 * now for all virtqueues: earlier kicks may have gone to notifiers that are
 * closed again, or may have been left out because an IOThread was polling.
 */
static void virtio_blk_handle_all(VirtIOBlock *s)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);

    for (unsigned i = 0; i < s->vq_table->num_vqs; i++) {
        VirtQueue *vq = s->vq_table->entries[i].vq;

        if (!virtio_queue_get_notification(vq)) {
            virtio_queue_set_notification(vq, 1);
        }
        virtio_queue_notify(vdev, i);
    }
}

/*
 * What owners submit while a drained section begins is waited for by it. In the
 * block layer's queue instead, such a request would be in flight for as long as
 * the section lasts, and a virtqueue could not leave its owner: QMP would wait,
 * maybe for what the next QMP command ends. That queue is for those who submit
 * when the owners have let go.
 *
 * Context: BQL held.
 */
static void virtio_blk_let_owners_submit(VirtIOBlock *s, bool let)
{
    blk_set_disable_request_queuing(s->conf.conf.blk, let);
}

int virtio_blk_start_ioeventfd(VirtIODevice *vdev)
{
    VirtIOBlock *s = VIRTIO_BLK(vdev);
    VirtioBusState *bus = virtio_blk_get_bus(s);
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);
    DeviceState *proxy = BUS(bus)->parent;
    BlockBackend *blk = s->conf.conf.blk;
    unsigned num_vqs = s->vq_table->num_vqs;
    Error *local_err = NULL;
    GSList *jobs;
    int r;

    if (s->ioeventfd_started) {
        return 0;
    }

    trace_virtio_blk_start_ioeventfd(s->vq_table->name, num_vqs);

    /* Closing a notifier handles its last kick, which must not start again */
    s->ioeventfd_disabled = true;

    r = k->set_guest_notifiers(proxy, num_vqs, true);
    if (r != 0) {
        error_report("virtio-blk failed to set guest notifier (%d), "
                     "ensure -accel kvm is set.", r);
        goto fail;
    }

    r = virtio_blk_open(s, 0, num_vqs);
    if (r != 0) {
        k->set_guest_notifiers(proxy, num_vqs, false);
        goto fail;
    }

    jobs = node_jobs_pause(blk);

    /* The main loop ends what it has begun before an owner looks at a ring */
    blk_drain(blk);

    /*
     * Let block jobs and other users of the node run in a context that serves
     * it anyway. The node may be held elsewhere, and works there too. This
     * drains the node, which must not attach or detach anything yet, so it
     * comes before ioeventfd_started is set.
     */
    if (blk_set_aio_context(blk, vq_table_get_aio_context(s->vq_table, 0),
                            &local_err) < 0) {
        warn_report_err(local_err);
    }

    virtio_blk_set_guest_ram(s, guest_ram_new(vdev->dma_as));

    /*
     * IOThreads see these when they handle a virtqueue: scheduling the bottom
     * half that attaches it orders them.
     */
    s->ioeventfd_disabled = false;
    s->ioeventfd_started = true;

    /* Else virtio_blk_drained_end() does it */
    if (!blk_in_drain(blk)) {
        virtio_blk_let_owners_submit(s, true);
        vq_table_attach(s->vq_table);
    }
    node_jobs_resume(jobs);
    return 0;

fail:
    virtio_blk_handle_all(s);
    return -ENOSYS;
}

/* Who leaves its owner waits for its requests, which may be throttled */
static void virtio_blk_hasten_move(VirtIOBlock *s)
{
    if (vq_table_is_away(s->vq_table)) {
        blk_drain(s->conf.conf.blk);
    }
}

void virtio_blk_stop_ioeventfd(VirtIODevice *vdev)
{
    VirtIOBlock *s = VIRTIO_BLK(vdev);
    VirtioBusState *bus = virtio_blk_get_bus(s);
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);
    BlockBackend *blk = s->conf.conf.blk;
    unsigned num_vqs = s->vq_table->num_vqs;
    GSList *jobs;

    if (!s->ioeventfd_started || s->ioeventfd_stopping) {
        return;
    }

    trace_virtio_blk_stop_ioeventfd(s->vq_table->name, num_vqs);
    s->ioeventfd_stopping = true;

    jobs = node_jobs_pause(blk);
    virtio_blk_hasten_move(s);
    if (!blk_in_drain(blk)) {
        vq_table_stop(s->vq_table);
    } else {
        /* Detached by virtio_blk_drained_begin(), which did not wait */
        vq_table_quiesce(s->vq_table);
    }

    /* Closing them handles the last kicks here, so the owners end first */
    blk_drain(blk);
    vq_table_sync(s->vq_table);
    virtio_blk_close(s, 0, num_vqs);

    /* From here on draining must not attach or detach anything */
    s->ioeventfd_started = false;
    virtio_blk_let_owners_submit(s, false);

    /* Wait for virtio_blk_dma_restart_bh() and in flight I/O to complete */
    blk_drain(blk);

    /* And for the owners to have told the guest: the notifiers are closed */
    vq_table_sync(s->vq_table);
    virtio_blk_set_guest_ram(s, NULL);

    /* Back to the main loop, if no other user keeps the node where it is */
    blk_set_aio_context(blk, qemu_get_aio_context(), NULL);

    k->set_guest_notifiers(BUS(bus)->parent, num_vqs, false);

    s->ioeventfd_stopping = false;
    node_jobs_resume(jobs);
}

bool virtio_blk_add_vq(VirtIOBlock *s, VirtQueue *vq)
{
    uint16_t i = virtio_get_queue_index(vq);

    if (!s->ioeventfd_started || s->vq_table->entries[i].open) {
        return false;
    }

    trace_virtio_blk_add_vq(s->vq_table->name, i);
    if (virtio_blk_open(s, i, i + 1) != 0) {
        virtio_bus_stop_ioeventfd(virtio_blk_get_bus(s));
        s->ioeventfd_disabled = true;
        virtio_blk_handle_all(s);
        return true;
    }
    if (!blk_in_drain(s->conf.conf.blk)) {
        vq_table_attach(s->vq_table);
    }
    return true;
}

/* Forget the requests of @vq that wait for the VM to be started again */
static void virtio_blk_drop_parked(VirtIOBlock *s, VirtQueue *vq)
{
    VirtIOBlockReq **link = &s->rq;

    QEMU_LOCK_GUARD(&s->rq_lock);
    while (*link) {
        VirtIOBlockReq *req = *link;

        if (req->vq == vq) {
            *link = req->next;
            vq_stats_unpark(req->stats);
            virtio_blk_drop_req(req);
        } else {
            link = &req->next;
        }
    }
}

void virtio_blk_reset_vq(VirtIODevice *vdev, uint32_t i)
{
    VirtIOBlock *s = VIRTIO_BLK(vdev);

    if (s->ioeventfd_started) {
        vq_table_detach_one(s->vq_table, i);
        virtio_blk_hasten_move(s);
        vq_table_quiesce(s->vq_table);
        virtio_blk_close(s, i, i + 1);
    }
    blk_drain(s->conf.conf.blk);
    vq_table_sync(s->vq_table);
    virtio_blk_drop_parked(s, virtio_get_queue(vdev, i));
}

typedef struct HandleLater {
    VirtIODevice *vdev; /* counted reference */
    unsigned i;
} HandleLater;

/* Context: BH, BQL held */
static void virtio_blk_handle_later_bh(void *opaque)
{
    HandleLater *later = opaque;

    /* What is in the ring of a stopped VM is for its next start */
    if (later->vdev->vm_running) {
        virtio_queue_notify(later->vdev, later->i);
    }
    object_unref(OBJECT(later->vdev));
    g_free(later);
}

void virtio_blk_handle_later(VirtIOBlock *s, VirtQueue *vq)
{
    HandleLater *later;

    if (s->ioeventfd_started) {
        event_notifier_set(virtio_queue_get_host_notifier(vq));
        return;
    }

    later = g_new(HandleLater, 1);
    later->vdev = VIRTIO_DEVICE(s);
    later->i = virtio_get_queue_index(vq);
    object_ref(OBJECT(later->vdev));
    aio_bh_schedule_oneshot(qemu_get_aio_context(),
                            virtio_blk_handle_later_bh, later);
}

AioContext *virtio_blk_get_vq_aio_context(VirtIOBlock *s, uint16_t i)
{
    return s->ioeventfd_started ? vq_table_get_aio_context(s->vq_table, i)
                                : qemu_get_aio_context();
}

void virtio_blk_drained_begin(void *opaque)
{
    VirtIOBlock *s = opaque;

    if (s->ioeventfd_started) {
        vq_table_detach(s->vq_table);
    }
}

bool virtio_blk_drained_poll(void *opaque)
{
    VirtIOBlock *s = opaque;

    /* The BlockBackend outlives the table */
    if (!s->ioeventfd_started) {
        return false;
    }
    if (vq_table_busy(s->vq_table)) {
        return true;
    }

    virtio_blk_let_owners_submit(s, false);
    /*
     * The caller now looks for requests in flight. Who has submitted one and
     * did not queue it had counted it before. Pairs with blk_inc_in_flight().
     */
    smp_mb();
    return virtio_blk_fast_in_flight(s);
}

void virtio_blk_drained_end(void *opaque)
{
    VirtIOBlock *s = opaque;

    /* A stop runs the event loop, where drained sections can end */
    if (s->ioeventfd_started && !s->ioeventfd_stopping) {
        virtio_blk_let_owners_submit(s, true);
        vq_table_attach(s->vq_table);
    }
}
