/*
 * Virtqueue plan: which IOThread serves which virtqueue
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qemu/cutils.h"
#include "hw/block/virtio-blk/vq-plan.h"

#define VQ_UNASSIGNED SIZE_MAX

bool vq_plan_check_list(const char *path,
                        const IOThreadVirtQueueMappingList *list,
                        Error **errp)
{
    size_t i = 0;

    if (!list) {
        error_setg(errp, "Parameter '%s' expects at least one IOThread, "
                   "not []", path);
        return false;
    }

    for (; list; list = list->next, i++) {
        if (list->value->has_vqs && !list->value->vqs) {
            error_setg(errp, "Parameter '%s[%zu].vqs' expects at least one "
                       "virtqueue index, not []", path, i);
            return false;
        }
    }
    return true;
}

/*
 * Resolve item @i of the list. @items maps each name to the item that used it,
 * @objects does so for what the names stand for.
 */
static bool vq_plan_resolve_item(VqPlan *plan, const char *path, size_t i,
                                 const char *name, VqPlanResolve *resolve,
                                 GHashTable *names, GHashTable *objects,
                                 Error **errp)
{
    void *iothread = resolve(name);
    const char *other;

    if (!iothread) {
        error_setg(errp, "IOThread \"%s\" object does not exist", name);
        return false;
    }
    if (!g_hash_table_add(names, (gpointer)name)) {
        error_setg(errp,
                   "duplicate IOThread name \"%s\" in iothread-vq-mapping",
                   name);
        return false;
    }
    other = g_hash_table_lookup(objects, iothread);
    if (other) {
        error_setg(errp, "Parameter '%s[%zu].iothread' expects an IOThread "
                   "that is not in the list yet, but \"%s\" is \"%s\"",
                   path, i, name, other);
        return false;
    }
    g_hash_table_insert(objects, iothread, (gpointer)name);
    plan->iothreads[i] = iothread;
    return true;
}

/* Give the virtqueues in @vqs to item @i */
static bool vq_plan_assign(VqPlan *plan, size_t i, const char *name,
                           const uint16List *vqs, Error **errp)
{
    for (; vqs; vqs = vqs->next) {
        if (vqs->value >= plan->num_vqs) {
            error_setg(errp, "vq index %u for IOThread \"%s\" must be "
                       "less than num_queues %u in iothread-vq-mapping",
                       vqs->value, name, plan->num_vqs);
            return false;
        }
        if (plan->iothread_of_vq[vqs->value] != VQ_UNASSIGNED) {
            error_setg(errp, "cannot assign vq %u to IOThread \"%s\" "
                       "because it is already assigned", vqs->value, name);
            return false;
        }
        plan->iothread_of_vq[vqs->value] = i;
    }
    return true;
}

static bool vq_plan_check_complete(const VqPlan *plan, Error **errp)
{
    for (unsigned vq = 0; vq < plan->num_vqs; vq++) {
        if (plan->iothread_of_vq[vq] == VQ_UNASSIGNED) {
            error_setg(errp, "missing vq %u IOThread assignment in "
                       "iothread-vq-mapping", vq);
            return false;
        }
    }
    return true;
}

static void vq_plan_round_robin(VqPlan *plan)
{
    for (unsigned vq = 0; vq < plan->num_vqs; vq++) {
        plan->iothread_of_vq[vq] = vq % plan->num_iothreads;
    }
}

VqPlan *vq_plan_new(const char *path, const IOThreadVirtQueueMappingList *list,
                    uint16_t num_vqs, VqPlanResolve *resolve, Error **errp)
{
    g_autoptr(VqPlan) plan = g_new0(VqPlan, 1);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) objects = g_hash_table_new(NULL, NULL);
    size_t i = 0;

    if (!vq_plan_check_list(path, list, errp)) {
        return NULL;
    }

    plan->num_iothreads = QAPI_LIST_LENGTH(list);
    plan->iothreads = g_new0(void *, plan->num_iothreads);
    plan->num_vqs = num_vqs;
    plan->iothread_of_vq = g_new(size_t, num_vqs);
    for (unsigned vq = 0; vq < num_vqs; vq++) {
        plan->iothread_of_vq[vq] = VQ_UNASSIGNED;
    }

    for (const IOThreadVirtQueueMappingList *node = list; node;
         node = node->next, i++) {
        const IOThreadVirtQueueMapping *item = node->value;

        if (!vq_plan_resolve_item(plan, path, i, item->iothread, resolve,
                                  names, objects, errp)) {
            return NULL;
        }
        if (item->has_vqs != list->value->has_vqs) {
            error_setg(errp, "either all items in iothread-vq-mapping "
                       "must have vqs or none of them must have it");
            return NULL;
        }
        if (!vq_plan_assign(plan, i, item->iothread, item->vqs, errp)) {
            return NULL;
        }
    }

    if (!list->value->has_vqs) {
        vq_plan_round_robin(plan);
    } else if (!vq_plan_check_complete(plan, errp)) {
        return NULL;
    }
    return g_steal_pointer(&plan);
}

char *vq_plan_idle_names(const VqPlan *plan,
                         const IOThreadVirtQueueMappingList *list)
{
    GString *names = NULL;
    size_t i = 0;

    /* An item with @vqs has a virtqueue, and round-robin starts at item 0 */
    for (; list; list = list->next, i++) {
        if (i < plan->num_vqs || list->value->has_vqs) {
            continue;
        }
        if (!names) {
            names = g_string_new(NULL);
        } else {
            g_string_append(names, ", ");
        }
        g_string_append(names, list->value->iothread);
    }
    return names ? g_string_free(names, FALSE) : NULL;
}

void vq_plan_append_ranges(GString *text, const uint16List *indices)
{
    const char *sep = "";

    while (indices) {
        const uint16List *last = indices;

        while (last->next && last->next->value == last->value + 1) {
            last = last->next;
        }
        g_string_append_printf(text, "%s%u", sep, indices->value);
        if (last != indices) {
            g_string_append_printf(text, "-%u", last->value);
        }
        sep = ",";
        indices = last->next;
    }
}

char *vq_plan_list_to_text(const IOThreadVirtQueueMappingList *list)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (; list; list = list->next) {
        g_string_append(text, list->value->iothread);
        if (list->value->has_vqs) {
            g_string_append_c(text, ':');
            vq_plan_append_ranges(text, list->value->vqs);
        }
        if (list->next) {
            g_string_append_c(text, ',');
        }
    }
    return g_strdup(text->str);
}

/* Read a decimal number, without a sign, and move @text behind it */
static bool vq_plan_parse_index(const char **text, unsigned *index)
{
    return g_ascii_isdigit(**text) &&
           qemu_strtoui(*text, text, 10, index) == 0 && *index <= UINT16_MAX;
}

bool vq_plan_parse_range(const char *text, uint16List ***tail)
{
    unsigned first, last;

    if (!vq_plan_parse_index(&text, &first)) {
        return false;
    }
    last = first;
    if (*text == '-') {
        text++;
        if (!vq_plan_parse_index(&text, &last)) {
            return false;
        }
    }
    if (*text || first > last) {
        return false;
    }
    for (unsigned i = first; i <= last; i++) {
        QAPI_LIST_APPEND(*tail, i);
    }
    return true;
}

IOThreadVirtQueueMappingList *vq_plan_list_from_text(const char *text,
                                                     Error **errp)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    g_autoptr(IOThreadVirtQueueMappingList) list = NULL;
    IOThreadVirtQueueMappingList **tail = &list;
    IOThreadVirtQueueMapping *item = NULL;
    uint16List **vqs_tail = NULL;

    if (!*words) {
        goto bad;
    }
    for (char **word = words; *word; word++) {
        char *vqs = strchr(*word, ':');

        /* No id begins with a digit, so this goes on with the last item */
        if (g_ascii_isdigit(**word)) {
            vqs = vqs || !item || !item->has_vqs ? NULL : *word;
        } else if (**word && **word != ':') {
            item = g_new0(IOThreadVirtQueueMapping, 1);
            item->has_vqs = vqs != NULL;
            item->iothread = vqs ? g_strndup(*word, vqs - *word)
                                 : g_strdup(*word);
            QAPI_LIST_APPEND(tail, item);
            vqs_tail = &item->vqs;
            if (!vqs) {
                continue;
            }
            vqs++;
        } else {
            vqs = NULL;
        }
        if (!vqs || !vq_plan_parse_range(vqs, &vqs_tail)) {
            goto bad;
        }
    }
    return g_steal_pointer(&list);

bad:
    error_setg(errp, "'%s' is no mapping like 't0:0-3,t1:4,6' or 't0,t1'",
               text);
    return NULL;
}

void vq_plan_free(VqPlan *plan)
{
    if (!plan) {
        return;
    }
    g_free(plan->iothreads);
    g_free(plan->iothread_of_vq);
    g_free(plan);
}
