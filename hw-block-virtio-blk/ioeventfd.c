/*
 * virtio-blk ioeventfd: serve virtqueues in the threads that own them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/memory.h"
#include "hw/block/virtio-blk/ioeventfd.h"
#include "hw/virtio/virtio-bus.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "trace.h"

bool virtio_blk_ioeventfd_init(VirtIOBlock *s, Error **errp)
{
    VirtIOBlkConf *conf = &s->conf;

    s->vq_table = vq_table_new(VIRTIO_DEVICE(s), 0, conf->num_queues,
                               conf->iothread, conf->iothread_vq_mapping_list,
                               errp);
    if (!s->vq_table) {
        return false;
    }
    if ((conf->iothread || conf->iothread_vq_mapping_list) &&
        !compat_blk_may_use_iothread(conf->conf.blk, errp)) {
        virtio_blk_ioeventfd_cleanup(s);
        return false;
    }
    return true;
}

void virtio_blk_ioeventfd_cleanup(VirtIOBlock *s)
{
    assert(!s->ioeventfd_started);
    vq_table_free(s->vq_table);
    s->vq_table = NULL;
}

/*
 * Take back the first @n host notifiers. All go in one memory transaction,
 * which expects them to be open when it commits.
 */
static void virtio_blk_unset_host_notifiers(VirtioBusState *bus, unsigned n)
{
    memory_region_transaction_begin();
    for (unsigned i = 0; i < n; i++) {
        virtio_bus_set_host_notifier(bus, i, false);
    }
    memory_region_transaction_commit();

    for (unsigned i = 0; i < n; i++) {
        virtio_bus_cleanup_host_notifier(bus, i);
    }
}

/*
 * Open a host notifier for each of @n virtqueues. One memory transaction for
 * all of them: updating ioeventfds takes time quadratic in their number.
 *
 * Returns: 0, or a negative errno value with nothing left open.
 */
static int virtio_blk_set_host_notifiers(VirtioBusState *bus, unsigned n)
{
    unsigned i;
    int r = 0;

    memory_region_transaction_begin();
    for (i = 0; i < n; i++) {
        r = virtio_bus_set_host_notifier(bus, i, true);
        if (r != 0) {
            break;
        }
    }
    memory_region_transaction_commit();

    if (r != 0) {
        error_report("virtio-blk failed to set host notifier (%d)", r);
        virtio_blk_unset_host_notifiers(bus, i);
    }
    return r;
}

int virtio_blk_start_ioeventfd(VirtIODevice *vdev)
{
    VirtIOBlock *s = VIRTIO_BLK(vdev);
    VirtioBusState *bus = VIRTIO_BUS(qdev_get_parent_bus(DEVICE(vdev)));
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);
    DeviceState *proxy = BUS(bus)->parent;
    BlockBackend *blk = s->conf.conf.blk;
    unsigned num_vqs = s->vq_table->num_vqs;
    Error *local_err = NULL;
    int r;

    if (s->ioeventfd_started || s->ioeventfd_starting) {
        return 0;
    }

    trace_virtio_blk_start_ioeventfd(vdev, num_vqs);
    s->ioeventfd_starting = true;

    r = k->set_guest_notifiers(proxy, num_vqs, true);
    if (r != 0) {
        error_report("virtio-blk failed to set guest notifier (%d), "
                     "ensure -accel kvm is set.", r);
        goto fail;
    }

    r = virtio_blk_set_host_notifiers(bus, num_vqs);
    if (r != 0) {
        k->set_guest_notifiers(proxy, num_vqs, false);
        goto fail;
    }

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

    /*
     * IOThreads see these when they handle a virtqueue: scheduling the bottom
     * half that attaches it orders them.
     */
    s->ioeventfd_starting = false;
    s->ioeventfd_started = true;

    /* Else virtio_blk_drained_end() does it */
    if (!blk_in_drain(blk)) {
        vq_table_attach(s->vq_table);
    }
    return 0;

fail:
    s->ioeventfd_disabled = true;
    s->ioeventfd_starting = false;
    return -ENOSYS;
}

void virtio_blk_stop_ioeventfd(VirtIODevice *vdev)
{
    VirtIOBlock *s = VIRTIO_BLK(vdev);
    VirtioBusState *bus = VIRTIO_BUS(qdev_get_parent_bus(DEVICE(vdev)));
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);
    BlockBackend *blk = s->conf.conf.blk;
    unsigned num_vqs = s->vq_table->num_vqs;

    if (!s->ioeventfd_started || s->ioeventfd_stopping) {
        return;
    }

    /* The start failed: nothing is attached, and the next one may succeed */
    if (s->ioeventfd_disabled) {
        s->ioeventfd_disabled = false;
        s->ioeventfd_started = false;
        return;
    }

    trace_virtio_blk_stop_ioeventfd(vdev, num_vqs);
    s->ioeventfd_stopping = true;

    if (!blk_in_drain(blk)) {
        vq_table_stop(s->vq_table);
    } else {
        /* Detached by virtio_blk_drained_begin(), which did not wait */
        vq_table_quiesce(s->vq_table);
    }

    virtio_blk_unset_host_notifiers(bus, num_vqs);

    /* From here on draining must not attach or detach anything */
    s->ioeventfd_started = false;

    /* Wait for virtio_blk_dma_restart_bh() and in flight I/O to complete */
    blk_drain(blk);

    /* Back to the main loop, if no other user keeps the node where it is */
    blk_set_aio_context(blk, qemu_get_aio_context(), NULL);

    k->set_guest_notifiers(BUS(bus)->parent, num_vqs, false);

    s->ioeventfd_stopping = false;
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

    return vq_table_busy(s->vq_table);
}

void virtio_blk_drained_end(void *opaque)
{
    VirtIOBlock *s = opaque;

    /* A stop runs the event loop, where drained sections can end */
    if (s->ioeventfd_started && !s->ioeventfd_stopping) {
        vq_table_attach(s->vq_table);
    }
}
