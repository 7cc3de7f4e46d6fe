/*
 * IOThreads that a disk makes for itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/cpu-set.h"
#include "hw/block/virtio-blk/own-iothreads.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qemu/error-report.h"
#include "qom/object_interfaces.h"
#include "trace.h"

typedef struct OwnIOThread {
    IOThreadUser user;      /* holds the IOThread */
    const char *dev_name;   /* OwnIOThreads.dev_name */
} OwnIOThread;

struct OwnIOThreads {
    char *dev_name;
    unsigned num;
    OwnIOThread iothreads[];
};

/* Name of the property that asks for @conf's IOThreads, or NULL if none does */
static const char *own_iothreads_property(const OwnIOThreadsConf *conf)
{
    return conf->num ? "x-iothreads"
                     : conf->x_data_plane ? "x-data-plane" : NULL;
}

bool own_iothreads_check(const OwnIOThreadsConf *conf, uint16_t num_vqs,
                         const char *other, unsigned *num, Error **errp)
{
    const char *property = own_iothreads_property(conf);
    strList *sets = conf->cpus;
    size_t num_sets = QAPI_LIST_LENGTH(sets);

    *num = 0;
    if (!property) {
        if (sets) {
            error_setg(errp, "x-iothread-cpus is for the IOThreads of "
                       "x-iothreads or x-data-plane, and neither is set");
            return false;
        }
        return true;
    }

    if (conf->num && conf->x_data_plane) {
        other = "x-data-plane";
    }
    if (other) {
        error_setg(errp, "%s and %s properties cannot be set at the same time",
                   property, other);
        return false;
    }

    if (conf->num == OWN_IOTHREADS_AUTO) {
        *num = MIN(cpu_set_count_own(), num_vqs);
    } else {
        *num = conf->num ?: 1;
    }
    if (*num > num_vqs) {
        error_setg(errp, "Parameter 'x-iothreads' expects 'auto' or at most "
                   "one IOThread for each of %u virtqueue%s, not %u",
                   num_vqs, num_vqs == 1 ? "" : "s", *num);
        return false;
    }
    if (num_sets > 1 && num_sets != *num) {
        error_setg(errp, "Parameter 'x-iothread-cpus' expects one set of host "
                   "CPUs, or one for each of %u IOThread%s, not %zu sets",
                   *num, *num == 1 ? "" : "s", num_sets);
        return false;
    }
    return true;
}

/* IOThreadUser.describe */
static char *own_iothread_describe(const IOThreadUser *user)
{
    const OwnIOThread *own = container_of(user, OwnIOThread, user);

    return g_strdup_printf("device '%s' made it", own->dev_name);
}

/* Have @iothread, the @i-th, run where the user wants it */
static bool own_iothread_apply_cpus(IOThread *iothread, const strList *cpus,
                                    unsigned i, Error **errp)
{
    bool for_all = !cpus->next;
    g_autofree char *path =
        g_strdup_printf("x-iothread-cpus[%u]", for_all ? 0 : i);
    g_autofree CpuSet *set = NULL;

    for (; !for_all && i > 0; i--) {
        cpus = cpus->next;
    }
    set = cpu_set_parse(cpus->value);
    return cpu_set_apply(set, &iothread->thread, path, errp);
}

/* Make the @i-th and hold it */
static bool own_iothread_init(OwnIOThread *own, const char *dev_name,
                              unsigned i, const OwnIOThreadsConf *conf,
                              Error **errp)
{
    Object *objects = object_get_objects_root();
    g_autofree char *id = g_strdup_printf("%s.%u", dev_name, i);
    IOThread *iothread;
    Object *obj;

    if (object_resolve_path_component(objects, id)) {
        error_setg(errp, "%s needs the name '%s' for an IOThread, but another "
                   "object has it", own_iothreads_property(conf), id);
        return false;
    }
    obj = object_new_with_props(TYPE_IOTHREAD, objects, id, errp, NULL);
    if (!obj) {
        return false;
    }

    iothread = IOTHREAD(obj);
    own->dev_name = dev_name;
    own->user.describe = own_iothread_describe;
    iothread_hold(iothread, &own->user);
    trace_own_iothread_new(dev_name, id, iothread->thread_id);

    return !conf->cpus ||
           own_iothread_apply_cpus(iothread, conf->cpus, i, errp);
}

OwnIOThreads *own_iothreads_new(DeviceState *dev, const OwnIOThreadsConf *conf,
                                unsigned num, Error **errp)
{
    OwnIOThreads *own = g_malloc0(sizeof(*own) +
                                  num * sizeof(own->iothreads[0]));

    /* The user's id, or "device[0]" and the like, which no user's object has */
    own->dev_name = g_strdup(object_get_canonical_path_component(OBJECT(dev)));
    own->num = num;
    for (unsigned i = 0; i < num; i++) {
        if (!own_iothread_init(&own->iothreads[i], own->dev_name, i, conf,
                               errp)) {
            own_iothreads_free(own);
            return NULL;
        }
    }
    return own;
}

IOThreadVirtQueueMappingList *
own_iothreads_get_mapping(const OwnIOThreads *own)
{
    IOThreadVirtQueueMappingList *list = NULL;
    IOThreadVirtQueueMappingList **tail = &list;

    for (unsigned i = 0; i < own->num; i++) {
        IOThreadVirtQueueMapping *item = g_new0(IOThreadVirtQueueMapping, 1);

        item->iothread = iothread_get_id(own->iothreads[i].user.iothread);
        QAPI_LIST_APPEND(tail, item);
    }
    return list;
}

void own_iothreads_free(OwnIOThreads *own)
{
    if (!own) {
        return;
    }

    for (unsigned i = 0; i < own->num; i++) {
        IOThread *iothread = own->iothreads[i].user.iothread;
        g_autofree char *id = NULL;
        Error *local_err = NULL;

        if (!iothread) {
            break;
        }
        id = iothread_get_id(iothread);
        iothread_release(&own->iothreads[i].user);
        trace_own_iothread_free(own->dev_name, id);
        if (!user_creatable_del(id, &local_err)) {
            error_prepend(&local_err, "device '%s' leaves an IOThread behind: ",
                          own->dev_name);
            warn_report_err(local_err);
        }
    }
    g_free(own->dev_name);
    g_free(own);
}
