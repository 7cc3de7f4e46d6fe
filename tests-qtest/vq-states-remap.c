/*
 * Remaps of a disk that everything happens to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-remap.h"
#include "vq-states.h"

unsigned vq_states_dice(VqStates *s, unsigned sides)
{
    return g_rand_int_range(s->rand, 0, sides);
}

char *vq_states_mapping(const int *goals)
{
    return goals[0] == VQ_STATES_MAIN_LOOP ? NULL
        : vq_remap_mapping(goals, VQ_STATES_QUEUES);
}

void vq_states_new_goals(VqStates *s, int *goals)
{
    unsigned vq;

    memcpy(goals, s->goals, sizeof(s->goals));
    switch (vq_states_dice(s, 8)) {
    case 0:
        for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
            goals[i] = VQ_STATES_MAIN_LOOP;
        }
        break;
    case 1:
    case 2:
        for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
            goals[i] = vq_states_dice(s, VQ_STATES_IOTHREADS);
        }
        break;
    default:
        for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
            goals[i] = MAX(goals[i], 0);
        }
        /* The block node goes with virtqueue 0 */
        vq = vq_states_dice(s, 4) ? 1 + vq_states_dice(s, VQ_STATES_QUEUES - 1)
                                  : 0;
        goals[vq] = vq_states_dice(s, VQ_STATES_IOTHREADS);
    }
}

char *vq_states_remap_command(const int *goals)
{
    g_autofree char *mapping = vq_states_mapping(goals);

    return g_strdup_printf("{\"execute\":\"virtio-blk-set-iothread-vq-mapping"
                           "\",\"arguments\":{\"id\":\"disk0\",%s%s}}",
                           mapping ? "\"iothread-vq-mapping\":"
                                   : "\"main-loop\":true", mapping ?: "");
}

void vq_states_count_remaps(VqStates *s, unsigned before, unsigned remaps)
{
    VqQueues queues;
    unsigned remapped;

    /* An event that comes with the answer may be older or newer */
    do {
        remapped = s->remapped;
        vq_queues_query(s->qts, "disk0", &queues);
    } while (s->remapped != remapped);
    s->racing = false;
    before = s->remapped - before + queues.remapping;
    g_assert_cmpuint(before, <=, s->remapping + remaps);
    g_assert_cmpuint(before, >=, s->remapping || remaps);
    s->remapping = queues.remapping;
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        const VqQueue *vq = &queues.vq[i];
        const char *name = vq->remap ? vq->remap_iothread : vq->iothread;

        s->goals[i] = *name ? atoi(name + strlen("iothread"))
                            : VQ_STATES_MAIN_LOOP;
    }
}

void vq_states_remap(VqStates *s, const int *goals)
{
    g_autofree char *command = vq_states_remap_command(goals);
    g_autofree char *error = NULL;
    unsigned before;

    vq_states_sync(s);
    before = s->remapped;
    s->racing = true;
    vq_states_send(s, command);
    error = vq_states_receive(s);
    vq_states_count_remaps(s, before, !error);
    if (error) {
        g_assert_true(s->job != VQ_STATES_NO_JOB &&
                      strstr(error, "cannot start virtio-blk ioeventfd"));
    } else {
        g_assert_cmpint(memcmp(s->goals, goals, sizeof(s->goals)), ==, 0);
    }
}
