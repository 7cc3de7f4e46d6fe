/*
 * Owners: which thread serves which virtqueue of a device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/owners.h"
#include "hw/block/virtio-blk/vq-plan.h"
#include "hw/virtio/virtio-bus.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "trace.h"

/* Context: BQL held */
static void *vq_owners_resolve(const char *name)
{
    return iothread_by_id(name);
}

bool vq_owners_check_device(VirtIODevice *vdev, Error **errp)
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

static void vq_owners_warn_idle(const VqPlan *plan,
                                const IOThreadVirtQueueMappingList *list)
{
    g_autofree char *idle = vq_plan_idle_names(plan, list);

    if (idle) {
        warn_report("iothread-vq-mapping names %zu IOThreads for %u "
                    "virtqueue%s, these stay idle: %s", plan->num_iothreads,
                    plan->num_vqs, plan->num_vqs == 1 ? "" : "s", idle);
    }
}

/* Indices of the virtqueues of @owner_of_vq that are @owner's, to be freed */
static uint16List *vq_owner_get_vqs(const VqOwner *owner,
                                    VqOwner *const *owner_of_vq,
                                    uint16_t num_vqs)
{
    uint16List *vqs = NULL;
    uint16List **tail = &vqs;

    for (unsigned i = 0; i < num_vqs; i++) {
        if (owner_of_vq[i] == owner) {
            QAPI_LIST_APPEND(tail, i);
        }
    }
    return vqs;
}

/* IOThreadUser.describe, like "virtqueues 0,2-4 of device 'disk0'" */
static char *vq_owner_describe(const IOThreadUser *user)
{
    const VqOwner *owner = container_of(user, VqOwner, user);
    const VqOwners *owners = owner->owners;
    g_autoptr(uint16List) vqs = vq_owner_get_vqs(owner, owners->of_vq,
                                                 owners->num_vqs);
    g_autoptr(GString) text =
        g_string_new(vqs && !vqs->next ? "virtqueue " : "virtqueues ");

    if (!vqs) {
        return g_strdup_printf("device '%s', which is being remapped",
                               owners->name);
    }
    vq_plan_append_ranges(text, vqs);
    g_string_append_printf(text, " of device '%s'", owners->name);
    return g_strdup(text->str);
}

/*
 * Returns: for each virtqueue the IOThread that @list gives it, or @iothread,
 * or NULL for the main loop, to be freed; or NULL with @errp set.
 */
static IOThread **vq_owners_choose(uint16_t num_vqs, IOThread *iothread,
                                   const IOThreadVirtQueueMappingList *list,
                                   Error **errp)
{
    g_autoptr(VqPlan) plan = NULL;
    IOThread **iothreads;

    if (list) {
        plan = vq_plan_new("iothread-vq-mapping", list, num_vqs,
                           vq_owners_resolve, errp);
        if (!plan) {
            return NULL;
        }
        vq_owners_warn_idle(plan, list);
    }

    iothreads = g_new(IOThread *, num_vqs);
    for (unsigned i = 0; i < num_vqs; i++) {
        iothreads[i] = plan ? plan->iothreads[plan->iothread_of_vq[i]]
                            : iothread;
    }
    return iothreads;
}

VqOwners *vq_owners_new(VirtIODevice *vdev, uint16_t num_vqs,
                        IOThread *iothread,
                        const IOThreadVirtQueueMappingList *list, Error **errp)
{
    g_autofree IOThread **iothreads = NULL;
    VqOwners *owners;

    if (iothread && list) {
        error_setg(errp, "iothread and iothread-vq-mapping properties cannot "
                   "be set at the same time");
        return NULL;
    }
    if ((iothread || list) && !vq_owners_check_device(vdev, errp)) {
        return NULL;
    }
    iothreads = vq_owners_choose(num_vqs, iothread, list, errp);
    if (!iothreads) {
        return NULL;
    }

    owners = g_malloc0(sizeof(*owners) + num_vqs * sizeof(owners->of_vq[0]));
    owners->vdev = vdev;
    owners->name = qdev_get_human_name(vq_owners_get_device(vdev));
    owners->num_vqs = num_vqs;
    for (unsigned i = 0; i < num_vqs; i++) {
        owners->of_vq[i] = vq_owners_hold(owners, iothreads[i]);
        trace_vq_owners_new(owners->name, i,
                            vq_owner_get_name(owners->of_vq[i]));
    }
    return owners;
}

void vq_owners_free(VqOwners *owners)
{
    if (!owners) {
        return;
    }

    for (unsigned i = 0; i < owners->num_vqs; i++) {
        vq_owners_set(owners, i, NULL);
    }
    assert(QLIST_EMPTY(&owners->list));
    g_free(owners->name);
    g_free(owners);
}

IOThread **vq_owners_plan(const VqOwners *owners,
                          const IOThreadVirtQueueMappingList *list,
                          Error **errp)
{
    if (list && !vq_owners_check_device(owners->vdev, errp)) {
        return NULL;
    }
    return vq_owners_choose(owners->num_vqs, NULL, list, errp);
}

VqOwner *vq_owners_hold(VqOwners *owners, IOThread *iothread)
{
    VqOwner *owner;

    if (!iothread) {
        return NULL;
    }
    QLIST_FOREACH(owner, &owners->list, next) {
        if (owner->user.iothread == iothread) {
            owner->refs++;
            return owner;
        }
    }

    owner = g_new0(VqOwner, 1);
    owner->user.describe = vq_owner_describe;
    owner->owners = owners;
    owner->name = iothread_get_id(iothread);
    owner->refs = 1;
    QLIST_INSERT_HEAD(&owners->list, owner, next);
    iothread_hold(iothread, &owner->user);
    return owner;
}

void vq_owners_release(VqOwner *owner)
{
    if (owner && --owner->refs == 0) {
        iothread_release(&owner->user);
        QLIST_REMOVE(owner, next);
        g_free(owner->name);
        g_free(owner);
    }
}

void vq_owners_set(VqOwners *owners, uint16_t i, VqOwner *owner)
{
    assert(i < owners->num_vqs);
    vq_owners_release(owners->of_vq[i]);
    owners->of_vq[i] = owner;
}

AioContext *vq_owner_get_aio_context(const VqOwner *owner)
{
    return owner ? iothread_get_aio_context(owner->user.iothread)
                 : qemu_get_aio_context();
}

const char *vq_owner_get_name(const VqOwner *owner)
{
    return owner ? owner->name : "main loop";
}

int vq_owner_get_thread_id(const VqOwner *owner)
{
    return owner ? owner->user.iothread->thread_id : qemu_get_thread_id();
}

AioContext *vq_owners_get_aio_context(const VqOwners *owners, uint16_t i)
{
    assert(i < owners->num_vqs);
    return vq_owner_get_aio_context(owners->of_vq[i]);
}

IOThreadVirtQueueMappingList *vq_owners_get_mapping(VqOwner *const *owner_of_vq,
                                                    uint16_t num_vqs)
{
    IOThreadVirtQueueMappingList *list = NULL;
    IOThreadVirtQueueMappingList **tail = &list;

    for (unsigned i = 0; i < num_vqs; i++) {
        const VqOwner *owner = owner_of_vq[i];
        IOThreadVirtQueueMapping *item;
        unsigned first = 0;

        while (owner_of_vq[first] != owner) {
            first++;
        }
        if (!owner || first != i) {
            continue;
        }
        item = g_new0(IOThreadVirtQueueMapping, 1);
        item->iothread = g_strdup(owner->name);
        item->has_vqs = true;
        item->vqs = vq_owner_get_vqs(owner, owner_of_vq, num_vqs);
        QAPI_LIST_APPEND(tail, item);
    }
    return list;
}

DeviceState *vq_owners_get_device(VirtIODevice *vdev)
{
    Object *parent = OBJECT(vdev)->parent;

    return object_dynamic_cast(parent, TYPE_DEVICE) ? DEVICE(parent)
                                                    : DEVICE(vdev);
}
