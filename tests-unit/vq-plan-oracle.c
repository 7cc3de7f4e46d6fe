/*
 * What a virtqueue mapping means, told from the rules alone
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "vq-plan-oracle.h"

static int iothreads[VQ_ORACLE_NUM_IOTHREADS];

void *vq_oracle_resolve(const char *name)
{
    unsigned i = 0;

    if (g_str_has_prefix(name, "/objects/")) {
        name += strlen("/objects/");
    }
    /* "t0", but neither "t" nor "t00" */
    if (*name++ != 't' || !*name || (name[0] == '0' && name[1])) {
        return NULL;
    }
    for (; g_ascii_isdigit(*name) && i < VQ_ORACLE_NUM_IOTHREADS; name++) {
        i = i * 10 + (*name - '0');
    }
    return *name || i >= VQ_ORACLE_NUM_IOTHREADS ? NULL : &iothreads[i];
}

/* How often is @vq given to the item? */
static unsigned oracle_claims(const IOThreadVirtQueueMapping *item,
                              unsigned vq)
{
    unsigned claims = 0;

    for (const uint16List *v = item->vqs; v; v = v->next) {
        claims += v->value == vq;
    }
    return claims;
}

void *vq_oracle_owner(const IOThreadVirtQueueMappingList *list, unsigned vq)
{
    unsigned num_items = QAPI_LIST_LENGTH(list), i = 0, owners = 0;
    void *owner = NULL;

    for (; list; list = list->next, i++) {
        unsigned claims = list->value->has_vqs ?
            oracle_claims(list->value, vq) : vq % num_items == i;

        if (claims) {
            owner = vq_oracle_resolve(list->value->iothread);
            owners += claims;
        }
    }
    return owners == 1 ? owner : NULL;
}

static unsigned oracle_item_faults(const IOThreadVirtQueueMappingList *at,
                                   unsigned num_vqs)
{
    const IOThreadVirtQueueMapping *item = at->value;
    void *iothread = vq_oracle_resolve(item->iothread);
    unsigned faults = 0;

    if (!iothread) {
        faults |= 1 << VQ_FAULT_NO_IOTHREAD;
    }
    if (item->has_vqs && !item->vqs) {
        faults |= 1 << VQ_FAULT_NO_INDEX;
    }
    for (const uint16List *v = item->vqs; v; v = v->next) {
        if (v->value >= num_vqs) {
            faults |= 1 << VQ_FAULT_TOO_HIGH;
        }
    }
    while ((at = at->next)) {
        if (g_str_equal(at->value->iothread, item->iothread)) {
            faults |= 1 << VQ_FAULT_SAME_NAME;
        } else if (iothread &&
                   vq_oracle_resolve(at->value->iothread) == iothread) {
            faults |= 1 << VQ_FAULT_SAME_IOTHREAD;
        }
        if (at->value->has_vqs != item->has_vqs) {
            faults |= 1 << VQ_FAULT_MIXED;
        }
    }
    return faults;
}

unsigned vq_oracle_faults(const IOThreadVirtQueueMappingList *list,
                          unsigned num_vqs)
{
    unsigned faults = 0;

    if (!list) {
        return 1 << VQ_FAULT_NO_ITEM;
    }
    for (const IOThreadVirtQueueMappingList *at = list; at; at = at->next) {
        faults |= oracle_item_faults(at, num_vqs);
    }
    for (unsigned vq = 0; vq < num_vqs; vq++) {
        bool round_robin = false;
        unsigned claims = 0;

        for (const IOThreadVirtQueueMappingList *at = list; at; at = at->next) {
            round_robin |= !at->value->has_vqs;
            claims += oracle_claims(at->value, vq);
        }
        if (claims > 1) {
            faults |= 1 << VQ_FAULT_TWICE;
        }
        if (!claims && !round_robin) {
            faults |= 1 << VQ_FAULT_MISSING;
        }
    }
    return faults;
}

bool vq_oracle_explains(const char *message, unsigned faults)
{
    static const char *const words[VQ_NUM_FAULTS] = {
        [VQ_FAULT_NO_ITEM] = "expects at least one IOThread",
        [VQ_FAULT_NO_INDEX] = "expects at least one virtqueue index",
        [VQ_FAULT_NO_IOTHREAD] = "object does not exist",
        [VQ_FAULT_SAME_NAME] = "duplicate IOThread name",
        [VQ_FAULT_SAME_IOTHREAD] = "that is not in the list yet",
        [VQ_FAULT_MIXED] = "either all items",
        [VQ_FAULT_TOO_HIGH] = "must be less than num_queues",
        [VQ_FAULT_TWICE] = "already assigned",
        [VQ_FAULT_MISSING] = "missing vq",
    };
    unsigned told = 0;

    for (unsigned i = 0; i < VQ_NUM_FAULTS; i++) {
        if (strstr(message, words[i])) {
            told |= 1 << i;
        }
    }
    return is_power_of_2(told) && (told & faults);
}
