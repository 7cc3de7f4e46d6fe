/*
 * A histogram of latencies with a bounded relative error
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "histogram.h"

/* Values below 2 * VQ_HISTOGRAM_STEPS have a bucket each */
static unsigned bucket_of(uint64_t value)
{
    int shift = 63 - clz64(value | 1) - VQ_HISTOGRAM_STEP_BITS;

    if (shift <= 0) {
        return value;
    }
    return shift * VQ_HISTOGRAM_STEPS + (value >> shift);
}

static uint64_t last_value_of(unsigned bucket)
{
    unsigned shift = bucket / VQ_HISTOGRAM_STEPS;

    if (shift <= 1) {
        return bucket;
    }
    shift--;
    return ((bucket - shift * VQ_HISTOGRAM_STEPS + 1ull) << shift) - 1;
}

void vq_histogram_add(VqHistogram *h, uint64_t value)
{
    h->count++;
    h->sum += value;
    h->max = MAX(h->max, value);
    h->buckets[bucket_of(value)]++;
}

void vq_histogram_merge(VqHistogram *to, const VqHistogram *from)
{
    to->count += from->count;
    to->sum += from->sum;
    to->max = MAX(to->max, from->max);
    for (unsigned i = 0; i < VQ_HISTOGRAM_BUCKETS; i++) {
        to->buckets[i] += from->buckets[i];
    }
}

uint64_t vq_histogram_percentile(const VqHistogram *h, double percent)
{
    double share = h->count * percent / 100;
    uint64_t wanted = share;
    uint64_t seen = 0;

    wanted += wanted < share;
    for (unsigned i = 0; i < VQ_HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen && seen >= wanted) {
            return MIN(last_value_of(i), h->max);
        }
    }
    return h->max;
}
