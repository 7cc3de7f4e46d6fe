/*
 * States of a virtqueue: what its host notifier and its owner are doing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/queue-state.h"

/* The table in queue-state.h; vq_state_next() knows what is "-" and "!" */
static const VqState next_states[VQ_NUM_STATES][VQ_NUM_CAUSES] = {
    [VQ_CLOSED] = { [VQ_ASSIGN] = VQ_ASSIGNED },
    [VQ_ASSIGNED] = { [VQ_READY] = VQ_DETACHED, [VQ_CLOSE] = VQ_QUIET },
    [VQ_DETACHED] = {
        [VQ_ATTACH] = VQ_ATTACHING,
        [VQ_LEAVE] = VQ_LEAVING,
        [VQ_CLOSE] = VQ_QUIET,
    },
    [VQ_ATTACHING] = {
        [VQ_DETACH] = VQ_DETACHED,
        [VQ_LEAVE] = VQ_LEAVING,
        [VQ_CLOSE] = VQ_QUIET,
        [VQ_OWNER] = VQ_ATTACHED,
    },
    [VQ_ATTACHED] = {
        [VQ_DETACH] = VQ_DETACHING,
        [VQ_LEAVE] = VQ_EVICTING,
        [VQ_CLOSE] = VQ_CLOSING,
    },
    [VQ_DETACHING] = {
        [VQ_LEAVE] = VQ_EVICTING,
        [VQ_CLOSE] = VQ_CLOSING,
        [VQ_OWNER] = VQ_DETACHED,
    },
    [VQ_EVICTING] = {
        [VQ_STAY] = VQ_DETACHING,
        [VQ_CLOSE] = VQ_CLOSING,
        [VQ_OWNER] = VQ_LEAVING,
    },
    [VQ_LEAVING] = {
        [VQ_STAY] = VQ_DETACHED,
        [VQ_ARRIVE] = VQ_DETACHED,
        [VQ_CLOSE] = VQ_QUIET,
    },
    [VQ_CLOSING] = { [VQ_OWNER] = VQ_QUIET },
    [VQ_QUIET] = { },
};

VqState vq_state_next(VqState state, VqCause cause)
{
    switch (cause) {
    case VQ_RELEASE:
        return state == VQ_ASSIGNED || state == VQ_QUIET ? VQ_CLOSED
                                                         : VQ_FORBIDDEN;
    case VQ_ASSIGN:
    case VQ_READY:
        /* No transition leads to CLOSED, which is 0, but RELEASE */
        return next_states[state][cause] ?: VQ_FORBIDDEN;
    default:
        return next_states[state][cause] ?: state;
    }
}

const char *vq_state_name(VqState state)
{
    static const char *const names[VQ_NUM_STATES] = {
        [VQ_CLOSED] = "closed",
        [VQ_ASSIGNED] = "assigned",
        [VQ_DETACHED] = "detached",
        [VQ_ATTACHING] = "attaching",
        [VQ_ATTACHED] = "attached",
        [VQ_DETACHING] = "detaching",
        [VQ_EVICTING] = "evicting",
        [VQ_LEAVING] = "leaving",
        [VQ_CLOSING] = "closing",
        [VQ_QUIET] = "quiet",
    };

    return names[state];
}
