/*
 * What must not grow in a QEMU that runs for long
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_SOAK_STATE_H
#define TESTS_QTEST_VQ_SOAK_STATE_H

#include "libqtest.h"

typedef struct VqSoakState {
    unsigned threads;       /* workers do not count, they come and go */
    unsigned fds;
    unsigned rss_kib;
    unsigned pool_size;
} VqSoakState;

/*
 * For the QEMU that is started next: malloc() shall not keep what is freed, or
 * RSS means little
 */
void vq_soak_state_prepare(void);

VqSoakState vq_soak_state_get(QTestState *qts);

/* Fail if anything has grown, RSS by more than @rss_percent */
void vq_soak_state_assert(const VqSoakState *before, const VqSoakState *after,
                          unsigned rss_percent);

#endif /* TESTS_QTEST_VQ_SOAK_STATE_H */
