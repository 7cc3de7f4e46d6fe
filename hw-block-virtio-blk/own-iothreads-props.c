/*
 * Properties of a disk that makes IOThreads for itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/cpu-set.h"
#include "hw/block/virtio-blk/own-iothreads-props.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/visitor.h"
#include "qemu/cutils.h"

#define AUTO "auto"
#define BAD_NUM "Parameter '%s' expects '" AUTO "' or a number of IOThreads, " \
                "not "

/* Between the sets of host CPUs in one string: a comma is inside a set */
#define SET_SEPARATOR ":"

/* Returns: the type of what @v visits, QTYPE_NONE with @errp set on failure */
static QType visit_qtype(Visitor *v, const char *name, Error **errp)
{
    g_autofree GenericAlternate *alt = NULL;
    QType type = QTYPE_NONE;

    if (visit_start_alternate(v, name, &alt, sizeof(*alt), errp)) {
        type = alt->type;
        visit_end_alternate(v, (void **)&alt);
    }
    return type;
}

static void get_num(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    CompatQdevProperty *prop = opaque;
    int32_t *num = object_field_prop_ptr(obj, prop);
    char *text = (char *)AUTO;

    if (*num == OWN_IOTHREADS_AUTO) {
        visit_type_str(v, name, &text, errp);
    } else {
        visit_type_int32(v, name, num, errp);
    }
}

static void set_num(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    CompatQdevProperty *prop = opaque;
    int32_t *num = object_field_prop_ptr(obj, prop);
    g_autofree char *text = NULL;
    int64_t value;

    switch (visit_qtype(v, name, errp)) {
    case QTYPE_NONE:
        return;
    case QTYPE_QNUM:
        if (!visit_type_int64(v, name, &value, errp)) {
            return;
        }
        break;
    case QTYPE_QSTRING:
        if (!visit_type_str(v, name, &text, errp)) {
            return;
        }
        if (!strcmp(text, AUTO)) {
            *num = OWN_IOTHREADS_AUTO;
            return;
        }
        if (qemu_strtoi64(text, NULL, 10, &value) < 0) {
            error_setg(errp, BAD_NUM "'%s'", name, text);
            return;
        }
        break;
    default:
        error_setg(errp, "Invalid parameter type for '%s', expected: '" AUTO
                   "' or a number", name);
        return;
    }

    /* A number that is too big for the disk is refused when it is realized */
    if (value < 0 || value > INT32_MAX) {
        error_setg(errp, BAD_NUM "%" PRId64, name, value);
        return;
    }
    *num = value;
}

static int print_num(Object *obj, CompatQdevProperty *prop, char *dest,
                     size_t len)
{
    int32_t *num = object_field_prop_ptr(obj, prop);

    return *num == OWN_IOTHREADS_AUTO ? snprintf(dest, len, "\"" AUTO "\"")
                                      : snprintf(dest, len, "%" PRId32, *num);
}

const PropertyInfo own_iothreads_prop_num = {
    COMPAT_PROPERTY_TYPE("int|str"),
    .description = "how many IOThreads the disk makes for itself, or \"" AUTO
                   "\": one for each host CPU that QEMU may use, at most one "
                   "for each virtqueue",
    .print = print_num,
    .get = get_num,
    .set = set_num,
};

static strList *split_sets(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, SET_SEPARATOR, -1);
    strList *list = NULL;
    strList **tail = &list;

    for (char **word = words; *word; word++) {
        QAPI_LIST_APPEND(tail, g_strdup(*word));
    }
    return list;
}

static void get_cpus(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    CompatQdevProperty *prop = opaque;
    strList **cpus = object_field_prop_ptr(obj, prop);

    visit_type_strList(v, name, cpus, errp);
}

static void set_cpus(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    CompatQdevProperty *prop = opaque;
    strList **cpus = object_field_prop_ptr(obj, prop);
    g_autoptr(strList) list = NULL;
    g_autofree char *text = NULL;

    switch (visit_qtype(v, name, errp)) {
    case QTYPE_NONE:
        return;
    case QTYPE_QSTRING:
        if (!visit_type_str(v, name, &text, errp)) {
            return;
        }
        list = split_sets(text);
        break;
    case QTYPE_QLIST:
        if (!visit_type_strList(v, name, &list, errp)) {
            return;
        }
        break;
    default:
        error_setg(errp, "Invalid parameter type for '%s', expected: array or "
                   "string", name);
        return;
    }

    if (cpu_set_check_list(name, list, errp)) {
        qapi_free_strList(*cpus);
        *cpus = g_steal_pointer(&list);
    }
}

static int print_cpus(Object *obj, CompatQdevProperty *prop, char *dest,
                      size_t len)
{
    strList **cpus = object_field_prop_ptr(obj, prop);
    g_autoptr(GString) text = g_string_new(NULL);

    for (strList *set = *cpus; set; set = set->next) {
        g_string_append_printf(text, "%s%s", text->len ? SET_SEPARATOR : "",
                               set->value);
    }
    return snprintf(dest, len, "\"%s\"", text->str);
}

static void release_cpus(Object *obj, const char *name, void *opaque)
{
    CompatQdevProperty *prop = opaque;
    strList **cpus = object_field_prop_ptr(obj, prop);

    qapi_free_strList(*cpus);
    *cpus = NULL;
}

const PropertyInfo own_iothreads_prop_cpus = {
    COMPAT_PROPERTY_TYPE("strList|str"),
    .description = "host CPUs for the disk's own IOThreads: [\"0-3,8\"] for "
                   "all of them, or one set for each; as text 0-3:4-7, where "
                   "key=value wants a comma twice",
    .print = print_cpus,
    .get = get_cpus,
    .set = set_cpus,
    .release = release_cpus,
};
