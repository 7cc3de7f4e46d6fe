/*
 * What must not grow in a QEMU that runs for long
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_SOAK_STATE_H
#define TESTS_QTEST_VQ_SOAK_STATE_H

#include "libqtest.h"

typedef struct VqSoakState {
    unsigned threads;       /* without workers, which come and go */
    unsigned contexts;      /* AioContexts: IOThreads and the main loop */
    unsigned fds;           /* without io_uring's */
    unsigned rings;         /* those */
    unsigned rss_kib;
    unsigned pool_size;     /* coroutines that may be kept for reuse */
} VqSoakState;

/*
 * For the QEMU that is started next: malloc() shall not keep what is freed, or
 * RSS means little
 */
void vq_soak_state_prepare(void);

/* How it is when nothing has changed for a while */
VqSoakState vq_soak_state_get(QTestState *qts);

/*
 * Wait until nothing is more than @before, RSS by more than @rss_percent, and
 * fail if it does not get there. With 0, RSS does not count.
 */
void vq_soak_state_assert(QTestState *qts, const VqSoakState *before,
                          unsigned rss_percent);

#endif /* TESTS_QTEST_VQ_SOAK_STATE_H */
