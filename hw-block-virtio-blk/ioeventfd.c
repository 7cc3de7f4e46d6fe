/*
 * virtio-blk ioeventfd: serve virtqueues in the threads that own them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/memory.h"
#include "hw/block/virtio-blk/ioeventfd.h"
#include "hw/block/virtio-blk/node-jobs.h"
#include "hw/block/virtio-blk/remap.h"
#include "hw/block/virtio-blk/requests.h"
#include "hw/virtio/virtio-bus.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "trace.h"

/* Make what x-iothreads= asks for, if it is set */
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
    if (!vq_owners_check_device(vdev, errp)) {
        return false;
    }
    s->own_iothreads = own_iothreads_new(vq_owners_get_device(vdev),
                                         &conf->own_iothreads, num, errp);
    return s->own_iothreads != NULL;
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

    s->owners = vq_owners_new(VIRTIO_DEVICE(s), conf->num_queues,
                              conf->iothread, list, errp);
    if (s->owners) {
        virtio_blk_queues_new(s);
    }
    if (!s->owners ||
        ((conf->iothread || list) &&
         !compat_blk_may_use_iothread(conf->conf.blk, errp))) {
        virtio_blk_ioeventfd_cleanup(s);
        return false;
    }
    s->iothread_vq_mapping_resolved =
        vq_owners_get_mapping(s->owners->of_vq, s->owners->num_vqs);
    return true;
}

void virtio_blk_ioeventfd_cleanup(VirtIOBlock *s)
{
    assert(!s->ioeventfd_started);
    qapi_free_IOThreadVirtQueueMappingList(s->iothread_vq_mapping_resolved);
    s->iothread_vq_mapping_resolved = NULL;
    if (s->queues) {
        virtio_blk_remap_cancel(s);
        if (s->rq) {
            virtio_blk_drop_waiting(s, NULL);
        }
        virtio_blk_queues_free(s);
    }
    vq_owners_free(s->owners);
    s->owners = NULL;
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

/* Context: BQL held */
static void virtio_blk_step(VirtIOBlkQueue *q, VqCause cause)
{
    QEMU_LOCK_GUARD(&q->dev->queues->lock);
    virtio_blk_queue_step(q, cause);
}

/*
 * Release the host notifiers of virtqueues @first to @end - 1 that have one. It
 * handles their last kicks, but not in a drained section: the requests would
 * wait for its end and then complete, whatever has become of the ring. They
 * stay in there, and the next start looks for them.
 */
static void virtio_blk_release(VirtIOBlock *s, unsigned first, unsigned end)
{
    VirtioBusState *bus = virtio_blk_get_bus(s);
    bool in_drain = blk_in_drain(s->conf.conf.blk);

    /*
     * One memory transaction for all of them: updating ioeventfds takes time
     * quadratic in their number. It expects them to be open when it commits.
     */
    memory_region_transaction_begin();
    for (unsigned i = first; i < end; i++) {
        if (vq_state_is_assigned(s->queues->q[i].state)) {
            virtio_bus_set_host_notifier(bus, i, false);
        }
    }
    memory_region_transaction_commit();

    for (unsigned i = first; i < end; i++) {
        VirtIOBlkQueue *q = &s->queues->q[i];

        if (!vq_state_is_assigned(q->state)) {
            continue;
        }
        if (in_drain) {
            event_notifier_test_and_clear(
                virtio_queue_get_host_notifier(q->vq));
        }
        virtio_bus_cleanup_host_notifier(bus, i);
        virtio_blk_step(q, VQ_RELEASE);
        virtio_blk_remap_released(q);
    }
}

/*
 * Assign host notifiers to virtqueues @first to @end - 1 that the guest has set
 * up.
 *
 * Returns: 0, or a negative errno value with none of them assigned.
 */
static int virtio_blk_assign(VirtIOBlock *s, unsigned first, unsigned end)
{
    VirtioBusState *bus = virtio_blk_get_bus(s);
    int r = 0;

    memory_region_transaction_begin();
    for (unsigned i = first; i < end && r == 0; i++) {
        if (virtio_blk_has_ring(s, i)) {
            r = virtio_bus_set_host_notifier(bus, i, true);
            if (r == 0) {
                virtio_blk_step(&s->queues->q[i], VQ_ASSIGN);
            }
        }
    }
    memory_region_transaction_commit();

    if (r != 0) {
        error_report("virtio-blk failed to set host notifier (%d)", r);
        virtio_blk_release(s, first, end);
    }
    return r;
}

/* The main loop has completed its requests: owners may have the virtqueues */
static void virtio_blk_set_ready(VirtIOBlock *s, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        VirtIOBlkQueue *q = &s->queues->q[i];

        if (q->state == VQ_ASSIGNED) {
            virtio_blk_step(q, VQ_READY);
        }
    }
}

/*
 * Give virtqueues @ram to translate with, or, if it is NULL, let them do that
 * as all of QEMU does. To be called when no owner handles its virtqueue.
 */
static void virtio_blk_set_guest_ram(VirtIOBlock *s, GuestRam *ram)
{
    for (unsigned i = 0; i < s->queues->num; i++) {
        s->queues->q[i].memory.ram = ram;
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

    for (unsigned i = 0; i < s->queues->num; i++) {
        VirtQueue *vq = s->queues->q[i].vq;

        if (!virtio_queue_get_notification(vq)) {
            virtio_queue_set_notification(vq, 1);
        }
        virtio_queue_notify(vdev, i);
    }
}

/*
 * Let block jobs and other users of the node run in a context that serves it
 * anyway. The node may be held elsewhere, and works there too.
 *
 * Context: BQL held. Runs the event loop, where the disk may be remapped.
 */
static void virtio_blk_move_node(VirtIOBlock *s)
{
    AioContext *ctx;

    do {
        Error *local_err = NULL;

        ctx = vq_owners_get_aio_context(s->owners, 0);
        if (blk_set_aio_context(s->conf.conf.blk, ctx, &local_err) < 0) {
            warn_report_err(local_err);
        }
    } while (ctx != vq_owners_get_aio_context(s->owners, 0));
}

int virtio_blk_start_ioeventfd(VirtIODevice *vdev)
{
    VirtIOBlock *s = VIRTIO_BLK(vdev);
    VirtioBusState *bus = virtio_blk_get_bus(s);
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);
    DeviceState *proxy = BUS(bus)->parent;
    BlockBackend *blk = s->conf.conf.blk;
    unsigned num_vqs = s->queues->num;
    GSList *jobs;
    int r;

    if (s->ioeventfd_started) {
        return 0;
    }

    trace_virtio_blk_start_ioeventfd(s->owners->name, num_vqs);

    /* Closing a notifier handles its last kick, which must not start again */
    s->ioeventfd_disabled = true;

    r = k->set_guest_notifiers(proxy, num_vqs, true);
    if (r != 0) {
        error_report("virtio-blk failed to set guest notifier (%d), "
                     "ensure -accel kvm is set.", r);
        goto fail;
    }

    r = virtio_blk_assign(s, 0, num_vqs);
    if (r != 0) {
        k->set_guest_notifiers(proxy, num_vqs, false);
        goto fail;
    }

    jobs = node_jobs_pause(blk);

    /* The main loop ends what it has begun before an owner looks at a ring */
    blk_drain(blk);

    /*
     * This drains the node, which must not attach or detach anything yet, so it
     * comes before ioeventfd_started is set
     */
    virtio_blk_move_node(s);

    virtio_blk_set_guest_ram(s, guest_ram_new(vdev->dma_as));
    virtio_blk_set_ready(s, 0, num_vqs);

    /*
     * IOThreads see these when they handle a virtqueue: scheduling the bottom
     * half that attaches it orders them.
     */
    s->ioeventfd_disabled = false;
    s->ioeventfd_started = true;

    /* Else virtio_blk_drained_end() does it */
    if (!blk_in_drain(blk)) {
        virtio_blk_queues_attach(s);
    }
    node_jobs_resume(jobs);
    virtio_blk_restart_waiting(s);
    return 0;

fail:
    virtio_blk_handle_all(s);
    return -ENOSYS;
}

/*
 * No owner touches its virtqueue any more, and no request is in flight but what
 * a drained section has queued
 */
static void virtio_blk_stop_owners(VirtIOBlock *s)
{
    virtio_blk_queues_close_all(s);
    if (!blk_in_drain(s->conf.conf.blk)) {
        virtio_blk_queues_final_poll(s);
    }
    blk_drain(s->conf.conf.blk);
    virtio_blk_queues_sync(s);
}

/* The main loop takes over; releasing the notifiers handles the last kicks */
static void virtio_blk_stop_notifiers(VirtIOBlock *s)
{
    virtio_blk_release(s, 0, s->queues->num);

    /* From here on draining must not attach or detach anything */
    s->ioeventfd_started = false;

    /* Wait for virtio_blk_dma_restart_bh() and in flight I/O to complete */
    blk_drain(s->conf.conf.blk);

    /* And for the owners to have told the guest: the notifiers are closed */
    virtio_blk_queues_sync(s);
}

void virtio_blk_stop_ioeventfd(VirtIODevice *vdev)
{
    VirtIOBlock *s = VIRTIO_BLK(vdev);
    VirtioBusState *bus = virtio_blk_get_bus(s);
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);
    BlockBackend *blk = s->conf.conf.blk;
    unsigned num_vqs = s->queues->num;
    GSList *jobs;

    if (!s->ioeventfd_started || s->ioeventfd_stopping) {
        return;
    }

    trace_virtio_blk_stop_ioeventfd(s->owners->name, num_vqs);
    s->ioeventfd_stopping = true;

    virtio_blk_remap_interrupt(s);
    jobs = node_jobs_pause(blk);
    virtio_blk_stop_owners(s);
    virtio_blk_stop_notifiers(s);
    virtio_blk_set_guest_ram(s, NULL);

    /* Back to the main loop, if no other user keeps the node where it is */
    blk_set_aio_context(blk, qemu_get_aio_context(), NULL);

    k->set_guest_notifiers(BUS(bus)->parent, num_vqs, false);

    s->ioeventfd_stopping = false;
    node_jobs_resume(jobs);
    virtio_blk_remap_interrupt(s);
}

bool virtio_blk_add_vq(VirtIOBlock *s, VirtQueue *vq)
{
    uint16_t i = virtio_get_queue_index(vq);

    if (!s->ioeventfd_started || s->ioeventfd_stopping ||
        vq_state_is_assigned(qatomic_read(&s->queues->q[i].state))) {
        return false;
    }

    trace_virtio_blk_add_vq(s->owners->name, i);
    if (virtio_blk_assign(s, i, i + 1) != 0) {
        virtio_bus_stop_ioeventfd(virtio_blk_get_bus(s));
        s->ioeventfd_disabled = true;
        virtio_blk_handle_all(s);
        return true;
    }
    virtio_blk_set_ready(s, i, i + 1);
    if (!blk_in_drain(s->conf.conf.blk)) {
        virtio_blk_queues_attach(s);
    }
    return true;
}

void virtio_blk_reset_vq(VirtIODevice *vdev, uint32_t i)
{
    VirtIOBlock *s = VIRTIO_BLK(vdev);

    /* A transport knows more virtqueues than the disk has */
    if (i >= s->queues->num) {
        return;
    }
    if (s->ioeventfd_started) {
        virtio_blk_remap_interrupt(s);
        virtio_blk_queues_close(s, i, i + 1);
        virtio_blk_release(s, i, i + 1);
    }
    blk_drain(s->conf.conf.blk);
    virtio_blk_queues_sync(s);
    virtio_blk_drop_waiting(s, virtio_get_queue(vdev, i));
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

    if (vq_state_is_owned(qatomic_read(&virtio_blk_get_queue(s, vq)->state))) {
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

void virtio_blk_drained_begin(void *opaque)
{
    VirtIOBlock *s = opaque;

    if (s->ioeventfd_started) {
        virtio_blk_queues_detach(s);
    }
}

bool virtio_blk_drained_poll(void *opaque)
{
    VirtIOBlock *s = opaque;

    /* The BlockBackend outlives the virtqueues */
    if (!s->queues) {
        return false;
    }
    if (virtio_blk_queues_busy(s)) {
        return true;
    }

    /*
     * The caller now looks for requests in flight. Whoever has submitted one
     * and did not queue it had counted it before. Pairs with
     * blk_inc_in_flight().
     */
    smp_mb();
    return virtio_blk_fast_in_flight(s);
}

void virtio_blk_drained_end(void *opaque)
{
    VirtIOBlock *s = opaque;

    if (s->ioeventfd_started && !s->ioeventfd_stopping) {
        virtio_blk_queues_attach(s);
    }
    if (s->queues) {
        virtio_blk_restart_waiting(s);
    }
}
