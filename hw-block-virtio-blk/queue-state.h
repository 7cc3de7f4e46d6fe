/*
 * States of a virtqueue: what its host notifier and its owner are doing
 *
 *     state      the host notifier               may have requests in flight
 *     CLOSED     is not assigned                 the main loop's
 *     ASSIGNED   is assigned, not handled yet    the main loop's
 *     DETACHED   is not handled                  the owner's
 *     ATTACHING  not yet: the owner is told to   the owner's
 *     ATTACHED   is handled by the owner         the owner's
 *     DETACHING  the same, told to stop it       the owner's
 *     EVICTING   the same, to leave its owner    the owner's
 *     LEAVING    is not handled                  the owner's, until the last
 *                                                is complete
 *     CLOSING    is handled, told to stop it,    the owner's
 *                to be released
 *     QUIET      is not handled, to be released  the owner's
 *
 * All transitions, "-": the state stays, "!": a bug. Those of column OWNER are
 * made by the owner, in a bottom half, which is therefore not in the handler;
 * all others with the BQL held.
 *
 *                ASSIGN   READY    ATTACH    DETACH    LEAVE
 *     CLOSED     ASSIGNED !        -         -         -
 *     ASSIGNED   !        DETACHED -         -         -
 *     DETACHED   !        !        ATTACHING -         LEAVING
 *     ATTACHING  !        !        -         DETACHED  LEAVING
 *     ATTACHED   !        !        -         DETACHING EVICTING
 *     DETACHING  !        !        -         -         EVICTING
 *     EVICTING   !        !        -         -         -
 *     LEAVING    !        !        -         -         -
 *     CLOSING    !        !        -         -         -
 *     QUIET      !        !        -         -         -
 *
 *                STAY      ARRIVE   CLOSE    RELEASE  OWNER
 *     CLOSED     -         -        -        !        -
 *     ASSIGNED   -         -        QUIET    CLOSED   -
 *     DETACHED   -         -        QUIET    !        -
 *     ATTACHING  -         -        QUIET    !        ATTACHED
 *     ATTACHED   -         -        CLOSING  !        -
 *     DETACHING  -         -        CLOSING  !        DETACHED
 *     EVICTING   DETACHING -        CLOSING  !        LEAVING
 *     LEAVING    DETACHED  DETACHED QUIET    !        -
 *     CLOSING    -         -        -        !        QUIET
 *     QUIET      -         -        -        CLOSED   -
 *
 *     ASSIGN     start, or the first notification: the host notifier is set
 *     READY      start: the main loop has completed its requests
 *     ATTACH     start, end of a drained section, arrival at another owner
 *     DETACH     a drained section begins
 *     LEAVE      a remap gives the virtqueue to another owner
 *     STAY       and another remap takes that back
 *     ARRIVE     no request of the owner is in flight
 *     CLOSE      stop, or queue reset
 *     RELEASE    stop, queue reset, failed start: the host notifier is released
 *     OWNER      the owner has done what it was told
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_QUEUE_STATE_H
#define HW_BLOCK_VIRTIO_BLK_QUEUE_STATE_H

typedef enum VqState {
    VQ_CLOSED,
    VQ_ASSIGNED,
    VQ_DETACHED,
    VQ_ATTACHING,
    VQ_ATTACHED,
    VQ_DETACHING,
    VQ_EVICTING,
    VQ_LEAVING,
    VQ_CLOSING,
    VQ_QUIET,
    VQ_NUM_STATES,
    VQ_FORBIDDEN = VQ_NUM_STATES,
} VqState;

typedef enum VqCause {
    VQ_ASSIGN,
    VQ_READY,
    VQ_ATTACH,
    VQ_DETACH,
    VQ_LEAVE,
    VQ_STAY,
    VQ_ARRIVE,
    VQ_CLOSE,
    VQ_RELEASE,
    VQ_OWNER,
    VQ_NUM_CAUSES,
} VqCause;

/**
 * vq_state_next:
 * @state: a state
 * @cause: what happens
 *
 * Returns: the state then, from the table above; VQ_FORBIDDEN if it must not
 * happen.
 *
 * Context: any thread.
 */
VqState vq_state_next(VqState state, VqCause cause);

/**
 * vq_state_name:
 * @state: a state
 *
 * Returns: its name, for messages and traces.
 *
 * Context: any thread.
 */
const char *vq_state_name(VqState state);

/* Is the host notifier assigned? Context: any thread. */
static inline bool vq_state_is_assigned(VqState state)
{
    return state != VQ_CLOSED;
}

/* Does the owner serve it, and not the main loop? Context: any thread. */
static inline bool vq_state_is_owned(VqState state)
{
    return state != VQ_CLOSED && state != VQ_ASSIGNED;
}

/* Does the owner handle the host notifier? Context: any thread. */
static inline bool vq_state_is_handled(VqState state)
{
    return state == VQ_ATTACHED || state == VQ_DETACHING ||
           state == VQ_EVICTING || state == VQ_CLOSING;
}

/* Can the owner take requests from the virtqueue? Context: any thread. */
static inline bool vq_state_is_serving(VqState state)
{
    return state == VQ_ATTACHING || vq_state_is_handled(state);
}

/* Is it to leave its owner? Context: any thread. */
static inline bool vq_state_is_leaving(VqState state)
{
    return state == VQ_EVICTING || state == VQ_LEAVING;
}

#endif /* HW_BLOCK_VIRTIO_BLK_QUEUE_STATE_H */
