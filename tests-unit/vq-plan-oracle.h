/*
 * What a virtqueue mapping means, told from the rules alone
 *
 * The tests compare the plan with this. It shares nothing with the plan and
 * takes its time: one virtqueue after the other, each against the whole list.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_VQ_PLAN_ORACLE_H
#define TESTS_UNIT_VQ_PLAN_ORACLE_H

#include "qapi/qapi-types-iothread-vq-mapping.h"

/* IOThreads t0, t1, ... exist, each also as /objects/t0, ... */
#define VQ_ORACLE_NUM_IOTHREADS 64

/* What can be wrong with a list */
typedef enum VqOracleFault {
    VQ_FAULT_NO_ITEM,
    VQ_FAULT_NO_INDEX,
    VQ_FAULT_NO_IOTHREAD,
    VQ_FAULT_SAME_NAME,
    VQ_FAULT_SAME_IOTHREAD,
    VQ_FAULT_MIXED,
    VQ_FAULT_TOO_HIGH,
    VQ_FAULT_TWICE,
    VQ_FAULT_MISSING,
    VQ_NUM_FAULTS,
} VqOracleFault;

/* A VqPlanResolve; what it returns is borrowed and stands for the IOThread */
void *vq_oracle_resolve(const char *name);

/* The IOThread that serves @vq, or NULL when that is not exactly one */
void *vq_oracle_owner(const IOThreadVirtQueueMappingList *list, unsigned vq);

/* All that is wrong with @list for @num_vqs virtqueues, as a bit mask */
unsigned vq_oracle_faults(const IOThreadVirtQueueMappingList *list,
                          unsigned num_vqs);

/* Does @message tell one of @faults, and no other? */
bool vq_oracle_explains(const char *message, unsigned faults);

#endif /* TESTS_UNIT_VQ_PLAN_ORACLE_H */
