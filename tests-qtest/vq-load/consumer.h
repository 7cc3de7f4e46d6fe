/*
 * A thread that only completes what it finds in the rings
 *
 * It is the least that any device can do, so that a load on it shows the most
 * that the load generator can measure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_CONSUMER_H
#define TESTS_QTEST_VQ_LOAD_CONSUMER_H

#include "guest.h"

typedef struct VqConsumer VqConsumer;

/* Serve all virtqueues of @guest, whose rings are split, on one of @cpus */
VqConsumer *vq_consumer_start(VqGuest *guest, const VqLoadCpus *cpus);

/* End the thread, which must have nothing left to do */
void vq_consumer_stop(VqConsumer *consumer);

#endif /* TESTS_QTEST_VQ_LOAD_CONSUMER_H */
