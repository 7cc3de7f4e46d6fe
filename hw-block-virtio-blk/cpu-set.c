/*
 * Sets of host CPUs, and threads that choose theirs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/cpu-set.h"
#include "hw/block/virtio-blk/vq-plan.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qemu/bitmap.h"

CpuSet *cpu_set_parse(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    g_autoptr(uint16List) cpus = NULL;
    uint16List **tail = &cpus;
    const uint16List *cpu;
    unsigned long nbits = 0;
    CpuSet *set;

    for (char **word = words; *word; word++) {
        if (!vq_plan_parse_range(*word, &tail)) {
            return NULL;
        }
    }
    if (!cpus) {
        return NULL;
    }

    for (cpu = cpus; cpu; cpu = cpu->next) {
        nbits = MAX(nbits, cpu->value + 1);
    }
    set = g_malloc0(sizeof(*set) + BITS_TO_LONGS(nbits) * sizeof(long));
    set->nbits = nbits;
    for (cpu = cpus; cpu; cpu = cpu->next) {
        set_bit(cpu->value, set->bits);
    }
    return set;
}

bool cpu_set_check_list(const char *path, const strList *list, Error **errp)
{
    size_t i = 0;

    if (!list) {
        error_setg(errp, "Parameter '%s' expects at least one set of host "
                   "CPUs, not []", path);
        return false;
    }

    for (; list; list = list->next, i++) {
        g_autofree CpuSet *set = cpu_set_parse(list->value);

        if (!set) {
            error_setg(errp, "Parameter '%s[%zu]' expects host CPUs like "
                       "'0-3,8', not '%s'", path, i, list->value);
            return false;
        }
    }
    return true;
}

static char *cpu_set_to_text(const unsigned long *bits, unsigned long nbits)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(uint16List) cpus = NULL;
    uint16List **tail = &cpus;
    unsigned long cpu;

    for (cpu = find_first_bit(bits, nbits); cpu < nbits;
         cpu = find_next_bit(bits, nbits, cpu + 1)) {
        QAPI_LIST_APPEND(tail, cpu);
    }
    vq_plan_append_ranges(text, cpus);
    return g_strdup(text->str);
}

/* Let @thread run anywhere. Returns: where that is, or NULL */
static char *cpu_set_free(QemuThread *thread)
{
    g_autofree unsigned long *bits = NULL;
    unsigned long nbits = UINT16_MAX + 1;

    bits = bitmap_new(nbits);
    bitmap_fill(bits, nbits);
    if (qemu_thread_set_affinity(thread, bits, nbits) != 0) {
        return NULL;
    }
    g_free(g_steal_pointer(&bits));
    if (qemu_thread_get_affinity(thread, &bits, &nbits) != 0) {
        return NULL;
    }
    return cpu_set_to_text(bits, nbits);
}

bool cpu_set_apply(const CpuSet *set, QemuThread *thread, const char *path,
                   Error **errp)
{
    g_autofree unsigned long *bits = NULL;
    g_autofree char *allowed = NULL;
    unsigned long nbits = 0;
    unsigned long cpu;
    int r;

    r = qemu_thread_set_affinity(thread, (unsigned long *)set->bits,
                                 set->nbits);
    if (r == 0) {
        r = qemu_thread_get_affinity(thread, &bits, &nbits);
    } else if (r == EINVAL) {
        /* None of them */
        r = 0;
    }
    if (r != 0) {
        error_setg_errno(errp, abs(r), "Parameter '%s' cannot be applied: the "
                         "host does not let QEMU choose CPUs", path);
        return false;
    }

    for (cpu = find_first_bit(set->bits, set->nbits); cpu < set->nbits;
         cpu = find_next_bit(set->bits, set->nbits, cpu + 1)) {
        if (cpu >= nbits || !test_bit(cpu, bits)) {
            break;
        }
    }
    if (cpu == set->nbits) {
        return true;
    }

    allowed = cpu_set_free(thread);
    error_setg(errp, "Parameter '%s' expects host CPUs that QEMU may use%s%s, "
               "not %lu", path, allowed ? ": " : "", allowed ?: "", cpu);
    return false;
}

unsigned cpu_set_count_own(void)
{
    g_autofree unsigned long *bits = NULL;
    unsigned long nbits;
    QemuThread self;

    qemu_thread_get_self(&self);
    if (qemu_thread_get_affinity(&self, &bits, &nbits) != 0) {
        return g_get_num_processors();
    }
    return bitmap_count_one(bits, nbits);
}
