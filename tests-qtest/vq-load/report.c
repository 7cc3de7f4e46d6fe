/*
 * The figures of a load, as JSON
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "load.h"
#include "private.h"

/* Mean length of the generators' windows, in seconds */
static double counted_seconds(const VqLoad *load)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < load->config.threads; i++) {
        sum += load->generators[i].end_ns - load->generators[i].begin_ns;
    }
    return sum / 1e9 / load->config.threads;
}

static void append_stats(GString *json, const VqLoadStats *stats,
                         double seconds)
{
    const VqHistogram *latency = &stats->latency;
    static const double percents[] = { 50, 90, 99, 99.9 };

    g_string_append_printf(json, "\"requests\": %" PRIu64
                           ", \"bytes\": %" PRIu64 ", \"failed\": %" PRIu64
                           ", \"iops\": %.1f, \"kicks\": %" PRIu64
                           ", \"interrupts\": %" PRIu64
                           ", \"latency-ns\": {\"mean\": %.0f",
                           stats->requests, stats->bytes, stats->failed,
                           stats->requests / seconds, stats->kicks,
                           stats->interrupts,
                           latency->count ?
                           (double)latency->sum / latency->count : 0);
    for (unsigned i = 0; i < ARRAY_SIZE(percents); i++) {
        g_string_append_printf(json, ", \"p%g\": %" PRIu64, percents[i],
                               vq_histogram_percentile(latency, percents[i]));
    }
    g_string_append_printf(json, ", \"max\": %" PRIu64 "}", latency->max);
}

static void append_config(GString *json, const VqLoadConfig *config)
{
    g_string_append_printf(json, "  \"config\": {\"backend\": \"%s\", "
                           "\"aio\": \"%s\", \"queues\": %u, "
                           "\"iothreads\": %u, \"depth\": %u, "
                           "\"block-size\": %" PRIu32 ", \"segments\": %u, "
                           "\"poll-max-ns\": %" PRId64 ", \"threads\": %u, "
                           "\"wave\": %s, \"verify\": %s, \"mix\": {",
                           config->qemu ? config->backend : "consumer",
                           config->aio, config->queues, config->iothreads,
                           config->depth, config->block_size,
                           config->segments, config->poll_max_ns,
                           config->threads, config->wave ? "true" : "false",
                           config->verify ? "true" : "false");
    for (unsigned i = 0; i < VQ_LOAD_OPS; i++) {
        g_string_append_printf(json, "%s\"%s\": %u", i ? ", " : "",
                               vq_load_op_names[i], config->mix[i]);
    }
    g_string_append(json, "}},\n");
}

static void add_stats(VqLoadStats *to, const VqLoadStats *from)
{
    to->requests += from->requests;
    to->bytes += from->bytes;
    to->failed += from->failed;
    to->kicks += from->kicks;
    to->interrupts += from->interrupts;
    vq_histogram_merge(&to->latency, &from->latency);
}

char *vq_load_report(const VqLoad *load)
{
    g_autofree VqLoadStats *total = g_new0(VqLoadStats, 1);
    GString *json = g_string_new("{\n");
    const VqGuest *guest = load->guest;
    double seconds = counted_seconds(load);

    append_config(json, &load->config);
    for (unsigned i = 0; i < load->config.queues; i++) {
        add_stats(total, vq_load_stats(load, i));
    }
    g_string_append_printf(json, "  \"seconds\": %.6f,\n  \"total\": {",
                           seconds);
    append_stats(json, total, seconds);
    g_string_append(json, "},\n  \"queues\": [\n");
    for (unsigned i = 0; i < load->config.queues; i++) {
        g_string_append_printf(json, "    {\"index\": %u, \"kick\": \"%s\", ",
                               i, guest->queues[i].notifier >= 0 ? "eventfd"
                               : guest->qts ? "qtest" : "none");
        append_stats(json, &load->queues[i].counted, seconds);
        g_string_append_printf(json, "}%s\n",
                               i + 1 < load->config.queues ? "," : "");
    }
    g_string_append(json, "  ],\n  \"threads\": [");
    for (unsigned i = 0; i < guest->num_threads; i++) {
        g_string_append_printf(json, "%s\n    {\"name\": \"%s\", \"id\": %d, "
                               "\"cpu-ns\": %" PRIu64 "}", i ? "," : "",
                               guest->threads[i].name, guest->threads[i].tid,
                               load->cpu_ns[i]);
    }
    g_string_append(json, "\n  ]\n}\n");
    return g_string_free(json, false);
}
