/*
 * A histogram of latencies with a bounded relative error
 *
 * The buckets are those of an HDR histogram: each power of two is divided into
 * VQ_HISTOGRAM_STEPS steps of equal width, so that a value is known to within
 * 1 / VQ_HISTOGRAM_STEPS of itself, from 1 ns to centuries. No locks: one
 * thread writes, and others look when it has stopped.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_LOAD_HISTOGRAM_H
#define TESTS_QTEST_VQ_LOAD_LOAD_HISTOGRAM_H

#define VQ_HISTOGRAM_STEP_BITS 7
#define VQ_HISTOGRAM_STEPS (1u << VQ_HISTOGRAM_STEP_BITS)
#define VQ_HISTOGRAM_BUCKETS \
    ((64 - VQ_HISTOGRAM_STEP_BITS + 1) * VQ_HISTOGRAM_STEPS)

typedef struct VqHistogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t buckets[VQ_HISTOGRAM_BUCKETS];
} VqHistogram;

void vq_histogram_add(VqHistogram *h, uint64_t value);
void vq_histogram_merge(VqHistogram *to, const VqHistogram *from);

/*
 * The smallest bucket's upper end that at least @percent of the values do not
 * exceed; never more than the largest value. 0 if there is no value.
 */
uint64_t vq_histogram_percentile(const VqHistogram *h, double percent);

#endif /* TESTS_QTEST_VQ_LOAD_LOAD_HISTOGRAM_H */
