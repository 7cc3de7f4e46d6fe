/*
 * Lists of host CPUs, and threads that run on them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sched.h>
#include "cpus.h"

void vq_cpus_allowed(VqLoadCpus *cpus)
{
    cpu_set_t set;

    cpus->num = 0;
    if (sched_getaffinity(0, sizeof(set), &set) < 0) {
        return;
    }
    for (unsigned i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set)) {
            cpus->cpus[cpus->num++] = i;
        }
    }
}

static bool is_allowed(unsigned cpu)
{
    VqLoadCpus allowed;

    vq_cpus_allowed(&allowed);
    for (unsigned i = 0; i < allowed.num; i++) {
        if (allowed.cpus[i] == cpu) {
            return true;
        }
    }
    return false;
}

bool vq_cpus_parse(const char *text, VqLoadCpus *cpus)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    cpus->num = 0;
    for (char **part = parts; *part; part++) {
        unsigned first, last;
        int end = -1;

        if (sscanf(*part, "%u%n-%u%n", &first, &end, &last, &end) < 2) {
            last = first;
        }
        if (end < 0 || (*part)[end] || first > last || last >= CPU_SETSIZE) {
            return false;
        }
        for (unsigned cpu = first; cpu <= last; cpu++) {
            if (!is_allowed(cpu) || cpus->num == ARRAY_SIZE(cpus->cpus)) {
                return false;
            }
            cpus->cpus[cpus->num++] = cpu;
        }
    }
    return cpus->num > 0;
}

void vq_cpus_pin(pid_t tid, const VqLoadCpus *cpus)
{
    cpu_set_t set;

    if (!cpus->num) {
        return;
    }
    CPU_ZERO(&set);
    for (unsigned i = 0; i < cpus->num; i++) {
        CPU_SET(cpus->cpus[i], &set);
    }
    /* A thread that has gone needs no CPU, and the CPUs were checked */
    sched_setaffinity(tid, sizeof(set), &set);
}

void vq_cpus_pin_nth(pid_t tid, const VqLoadCpus *cpus, unsigned index)
{
    VqLoadCpus one = { .num = 1 };

    if (!cpus->num) {
        return;
    }
    one.cpus[0] = cpus->cpus[index % cpus->num];
    vq_cpus_pin(tid, &one);
}
