/*
 * A QEMU with a disk that everything happens to, and a model that knows what
 * must have become of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_STATES_H
#define TESTS_QTEST_VQ_STATES_H

#include "vq-queues.h"
#include "vq-states-disk.h"

#define VQ_STATES_IOTHREADS 3
#define VQ_STATES_MAIN_LOOP (-1)
#define VQ_STATES_TIMEOUT_US (60 * G_USEC_PER_SEC)

typedef enum VqStatesBackend {
    VQ_STATES_FILE,         /* takes the fast path */
    VQ_STATES_FAILING,      /* a file below blkdebug */
    VQ_STATES_THROTTLED,    /* and below a throttle group */
    VQ_STATES_SLOW,         /* null-co that takes its time */
    VQ_STATES_BACKENDS
} VqStatesBackend;

extern const char *const vq_states_nodes[VQ_STATES_BACKENDS];

/* A mirror of the disk's node, which ends with a long drained section */
typedef enum VqStatesJob {
    VQ_STATES_NO_JOB,
    VQ_STATES_STARTING,
    VQ_STATES_READY,
    VQ_STATES_CANCELLED,    /* a drained section may begin any time */
    VQ_STATES_PENDING,      /* it has begun */
    VQ_STATES_FINALIZED,    /* it may have ended */
    VQ_STATES_ENDED,
} VqStatesJob;

typedef struct VqStates {
    QTestState *qts;
    int qmp, hmp;           /* monitors beside qts's own */
    QGuestAllocator alloc;
    QPCIBus *pcibus;
    void *ram;
    char *dir, *log;
    long log_offset;
    GRand *rand;
    uint32_t seed;

    VqStatesDisk disk;
    VqStatesContents contents[VQ_STATES_BACKENDS];
    pid_t tids[VQ_STATES_IOTHREADS];

    /* What the model knows */
    bool running;           /* the VM */
    bool plugged, deleted;
    bool up;                /* DRIVER_OK is set */
    /*
     * May a kick have come when the VM was stopped, by a request that a polling
     * IOThread had found? A vCPU could not do that. It starts the disk.
     */
    bool late_kick;
    VqStatesBackend backend;
    unsigned bad;           /* sectors that have not failed yet */
    unsigned waiting[VQ_STATES_QUEUES]; /* requests, at least, while stopped */
    int goals[VQ_STATES_QUEUES];
    bool remapping;
    unsigned remapped;      /* events */
    bool racing;            /* events may be of two remaps */
    VqStatesJob job;

    uint64_t step;
    const char *last[64];   /* steps */
    unsigned fds, epochs;
} VqStates;

VqStates *vq_states_new(uint32_t seed);
void vq_states_free(VqStates *s);

/* Remember what is being done, for a failure's sake, and watch the clock */
void vq_states_note(VqStates *s, const char *step);

/* May a drained section be there? Must it? */
bool vq_states_may_drain(const VqStates *s);
bool vq_states_is_drained(const VqStates *s);

/* May the guest do anything? Is its disk up as well? */
bool vq_states_guest_runs(const VqStates *s);
bool vq_states_is_up(const VqStates *s);

/* Have the model see what QEMU has told it so far */
void vq_states_sync(VqStates *s);

/* Ask for the disk, and check that it is as the model says */
void vq_states_check(VqStates *s);

/* Wait until nothing is under way, and check that as well */
void vq_states_settle(VqStates *s);

/* Read through @vq; the thread that handles that must be its owner */
void vq_states_probe(VqStates *s, unsigned vq);

/* Wait until @*flag is @value, which an event does */
void vq_states_wait_flag(VqStates *s, const bool *flag, bool value);

/* From 0 to @sides - 1 */
unsigned vq_states_dice(VqStates *s, unsigned sides);

/* JSON of @goals, to be freed, NULL for the main loop */
char *vq_states_mapping(const int *goals);

/* A command that must succeed */
void vq_states_qmp(VqStates *s, const char *json);

/* The same, while the caller does something else; NULL, or an error's text */
void vq_states_send(VqStates *s, const char *json);
char *vq_states_receive(VqStates *s);

/* Make up owners for the virtqueues */
void vq_states_new_goals(VqStates *s, int *goals);

/* The command that gives virtqueues to @goals, to be freed */
char *vq_states_remap_command(const int *goals);

/* Run it. 9.0 leaves virtqueues of a disk that a job uses as they are. */
void vq_states_remap(VqStates *s, const int *goals);

/*
 * @remaps commands have been run since s->remapped was @before, with s->racing
 * set. Their events may have come before their answers, and if there was a
 * remap under way, one event may be that one's, or the end of both.
 */
void vq_states_count_remaps(VqStates *s, unsigned before, unsigned remaps);

/* After an unplug: nothing is left of the disk */
void vq_states_check_gone(VqStates *s);

#endif /* TESTS_QTEST_VQ_STATES_H */
