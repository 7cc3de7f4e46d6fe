/*
 * What a load of a virtio-blk disk is made of
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "config.h"
#include "cpus.h"

#define EXIT_USAGE 2
#define SECTOR 512
#define MAX_IOTHREADS 256
#define MAX_SEGMENTS 128
#define MAX_RING 1024 /* VIRTQUEUE_MAX_SIZE */

const char *const vq_load_op_names[VQ_LOAD_OPS] = {
    [VQ_LOAD_READ] = "read",
    [VQ_LOAD_WRITE] = "write",
    [VQ_LOAD_FLUSH] = "flush",
    [VQ_LOAD_DISCARD] = "discard",
    [VQ_LOAD_WRITE_ZEROES] = "write-zeroes",
};

VqLoadConfig vq_load_config_default(void)
{
    VqLoadConfig config = {
        .backend = "null-co",
        .aio = "io_uring",
        .dir = "/dev/shm",
        .disk_size = 64 * MiB,
        .machine = "pc",
        .queues = 1,
        .iothreads = 1,
        .poll_max_ns = 32768, /* as QEMU's IOThreads have */
        .more_args = "",
        .merge = true,
        .indirect = true,
        .event_idx = true,
        .depth = 64,
        .cold_ns = 1000 * 1000,
        .block_size = 4096,
        .segments = 1,
        .threads = 1,
        .warmup = 0.1,
        .seconds = 1,
        .stall = 5,
    };

    return config;
}

static bool is_one_of(const char *value, const char *const *names)
{
    return g_strv_contains((const gchar *const *)names, value);
}

static unsigned mix_sum(const VqLoadConfig *config)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < VQ_LOAD_OPS; i++) {
        sum += config->mix[i];
    }
    return sum;
}

/* The first of a list of checks that fails gives the message */
char *vq_load_config_check(const VqLoadConfig *config)
{
    static const char *const backends[] = { "null-co", "raw", "qcow2", NULL };
    static const char *const aios[] = { "threads", "native", "io_uring", NULL };
    static const char *const machines[] = { "pc", "q35", NULL };
    unsigned per_request = config->indirect ? 1 : config->segments + 2;

    if (!is_one_of(config->backend, backends)) {
        return g_strdup_printf("backend \"%s\" is not null-co, raw or qcow2",
                               config->backend);
    }
    if (!is_one_of(config->aio, aios)) {
        return g_strdup_printf("aio \"%s\" is not threads, native or io_uring",
                               config->aio);
    }
    if (!is_one_of(config->machine, machines)) {
        return g_strdup_printf("machine \"%s\" is not pc or q35",
                               config->machine);
    }
    if (config->queues < 1 || config->queues > VQ_LOAD_MAX_QUEUES) {
        return g_strdup_printf("queues must be 1 to %d", VQ_LOAD_MAX_QUEUES);
    }
    if (config->iothreads > MAX_IOTHREADS) {
        return g_strdup_printf("iothreads must be 0 to %d", MAX_IOTHREADS);
    }
    if (config->threads < 1 || config->threads > config->queues) {
        return g_strdup("threads must be 1 to the number of queues");
    }
    if (config->segments < 1 || config->segments > MAX_SEGMENTS) {
        return g_strdup_printf("segments must be 1 to %d", MAX_SEGMENTS);
    }
    if (config->depth < 1 || config->depth > MAX_RING / per_request) {
        return g_strdup_printf("depth must be 1 to %u",
                               MAX_RING / per_request);
    }
    if (config->buffered && g_str_equal(config->aio, "native")) {
        return g_strdup("aio native cannot be buffered");
    }
    if (!config->block_size ||
        config->block_size % (SECTOR * config->segments)) {
        return g_strdup_printf("block-size must be a multiple of %u: %d a "
                               "segment", SECTOR * config->segments, SECTOR);
    }
    if (config->disk_size / config->block_size / config->queues <
        config->depth) {
        return g_strdup("disk-size must be at least "
                        "queues * depth * block-size");
    }
    if (config->latency_ns && !g_str_equal(config->backend, "null-co")) {
        return g_strdup("only null-co has a latency-ns");
    }
    if (!mix_sum(config)) {
        return g_strdup("mix must have a weight that is not 0");
    }
    if (config->packed && config->legacy) {
        return g_strdup("legacy devices have no packed rings");
    }
    if (!config->qemu && (config->packed || config->verify)) {
        return g_strdup("the consumer does neither packed rings nor "
                        "verification");
    }
    return NULL;
}

/* Parse "read=70,write=30"; a name alone is the only one */
static bool parse_mix(const char *text, unsigned *mix)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    memset(mix, 0, VQ_LOAD_OPS * sizeof(*mix));
    for (char **part = parts; *part; part++) {
        char *equals = strchr(*part, '=');
        unsigned op = 0, weight = 1;

        if (equals) {
            *equals = 0;
            if (qemu_strtoui(equals + 1, NULL, 10, &weight) < 0 ||
                weight > 10000) {
                return false;
            }
        }
        while (op < VQ_LOAD_OPS && strcmp(*part, vq_load_op_names[op])) {
            op++;
        }
        if (op == VQ_LOAD_OPS) {
            return false;
        }
        mix[op] = weight;
    }
    return true;
}

static void G_GNUC_PRINTF(1, 2) G_NORETURN usage_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fprintf(stderr, "vq-load: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, " (see vq-load --help)\n");
    va_end(ap);
    exit(EXIT_USAGE);
}

/* Parse "0,4,8": all but these are cold */
static bool parse_hot(const char *text, VqLoadConfig *config)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    for (unsigned i = 0; i < config->queues; i++) {
        config->cold[i] = true;
    }
    for (char **part = parts; *part; part++) {
        unsigned index;

        if (qemu_strtoui(*part, NULL, 10, &index) < 0 ||
            index >= config->queues) {
            return false;
        }
        config->cold[index] = false;
    }
    return true;
}

static void parse_cpus(const char *name, const char *text, VqLoadCpus *cpus)
{
    if (text && !vq_cpus_parse(text, cpus)) {
        usage_error("%s \"%s\" is not a list of CPUs that may be used", name,
                    text);
    }
}

/* What the parser allocated lives as long as the program, for VqLoadConfig */
static void keep_strings(const GOptionEntry *entry)
{
    static GPtrArray *strings;

    if (!strings) {
        strings = g_ptr_array_new();
    }
    for (; entry->long_name; entry++) {
        if (entry->arg == G_OPTION_ARG_STRING ||
            entry->arg == G_OPTION_ARG_FILENAME) {
            g_ptr_array_add(strings, *(char **)entry->arg_data);
        }
    }
}

VqLoadConfig vq_load_config_parse(int argc, char **argv)
{
    static const char *const patterns[] = { "random", "sequential", NULL };
    VqLoadConfig c = vq_load_config_default();
    const char *mix = "read", *pattern = "random", *merge = "on";
    const char *cpus = NULL, *iothread_cpus = NULL, *hot = NULL;
    gboolean consumer = false, no_indirect = false, no_event_idx = false;
    gboolean legacy = false, packed = false, msix = false, qtest_kicks = false;
    gboolean verify = false, wave = false, repeat = false, buffered = false;
    gint64 disk_size = c.disk_size, seed = 0, requests = 0;
    gint64 poll_max_ns = c.poll_max_ns, cold_ns = c.cold_ns, latency_ns = 0;
    gint block_size = c.block_size;
    const GOptionEntry entries[] = {
        { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &c.qemu,
          "QEMU to put the load on", "FILE" },
        { "consumer", 0, 0, G_OPTION_ARG_NONE, &consumer,
          "no QEMU, only a thread that completes the rings", NULL },
        { "queues", 0, 0, G_OPTION_ARG_INT, &c.queues,
          "virtqueues (1)", "N" },
        { "iothreads", 0, 0, G_OPTION_ARG_INT, &c.iothreads,
          "IOThreads, 0 for the main loop (1)", "N" },
        { "poll-max-ns", 0, 0, G_OPTION_ARG_INT64, &poll_max_ns,
          "of the IOThreads (32768)", "NS" },
        { "machine", 0, 0, G_OPTION_ARG_STRING, &c.machine,
          "pc or q35 (pc)", "NAME" },
        { "qemu-args", 0, 0, G_OPTION_ARG_STRING, &c.more_args,
          "more of QEMU's options, in shell syntax", "ARGS" },
        { "backend", 0, 0, G_OPTION_ARG_STRING, &c.backend,
          "null-co, raw or qcow2 (null-co)", "NAME" },
        { "aio", 0, 0, G_OPTION_ARG_STRING, &c.aio,
          "threads, native or io_uring (io_uring)", "NAME" },
        { "dir", 0, 0, G_OPTION_ARG_FILENAME, &c.dir,
          "where the image goes (/dev/shm)", "DIR" },
        { "buffered", 0, 0, G_OPTION_ARG_NONE, &buffered,
          "through the page cache, else with O_DIRECT if it can be", NULL },
        { "disk-size", 0, 0, G_OPTION_ARG_INT64, &disk_size,
          "bytes (64 MiB)", "N" },
        { "latency-ns", 0, 0, G_OPTION_ARG_INT64, &latency_ns,
          "of a request to null-co (0)", "NS" },
        { "merge", 0, 0, G_OPTION_ARG_STRING, &merge,
          "merging of requests: on or off (on)", "on|off" },
        { "legacy", 0, 0, G_OPTION_ARG_NONE, &legacy,
          "legacy PCI device, else modern", NULL },
        { "packed", 0, 0, G_OPTION_ARG_NONE, &packed,
          "packed rings, else split", NULL },
        { "no-indirect", 0, 0, G_OPTION_ARG_NONE, &no_indirect,
          "without indirect descriptors", NULL },
        { "no-event-idx", 0, 0, G_OPTION_ARG_NONE, &no_event_idx,
          "without VIRTIO_F_EVENT_IDX", NULL },
        { "msix", 0, 0, G_OPTION_ARG_NONE, &msix,
          "ask for interrupts, else only poll", NULL },
        { "qtest-kicks", 0, 0, G_OPTION_ARG_NONE, &qtest_kicks,
          "kick through qtest, not the host notifiers", NULL },
        { "depth", 0, 0, G_OPTION_ARG_INT, &c.depth,
          "outstanding requests of each virtqueue (64)", "N" },
        { "hot", 0, 0, G_OPTION_ARG_STRING, &hot,
          "virtqueues with that depth; others have a request now and then "
          "(all)", "LIST" },
        { "cold-ns", 0, 0, G_OPTION_ARG_INT64, &cold_ns,
          "from one of these requests to the next (1000000)", "NS" },
        { "block-size", 0, 0, G_OPTION_ARG_INT, &block_size,
          "bytes (4096)", "N" },
        { "segments", 0, 0, G_OPTION_ARG_INT, &c.segments,
          "of a request's data (1)", "N" },
        { "mix", 0, 0, G_OPTION_ARG_STRING, &mix,
          "such as read=70,write=25,flush=1,discard=2,write-zeroes=2 (read)",
          "MIX" },
        { "pattern", 0, 0, G_OPTION_ARG_STRING, &pattern,
          "random or sequential (random)", "NAME" },
        { "seed", 0, 0, G_OPTION_ARG_INT64, &seed,
          "of the random numbers (0)", "N" },
        { "verify", 0, 0, G_OPTION_ARG_NONE, &verify,
          "check all data and every status", NULL },
        { "wave", 0, 0, G_OPTION_ARG_NONE, &wave,
          "complete all requests, yielding, before more are made", NULL },
        { "threads", 0, 0, G_OPTION_ARG_INT, &c.threads,
          "generators, which share the virtqueues (1)", "N" },
        { "cpu", 0, 0, G_OPTION_ARG_STRING, &cpus,
          "host CPUs of the generators, in turn", "LIST" },
        { "iothread-cpu", 0, 0, G_OPTION_ARG_STRING, &iothread_cpus,
          "host CPUs of the IOThreads, in turn", "LIST" },
        { "warmup", 0, 0, G_OPTION_ARG_DOUBLE, &c.warmup,
          "before anything counts (0.1)", "SECONDS" },
        { "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &c.seconds,
          "to be counted (1)", "SECONDS" },
        { "requests", 0, 0, G_OPTION_ARG_INT64, &requests,
          "count that many of each virtqueue instead", "N" },
        { "during", 0, 0, G_OPTION_ARG_STRING, &c.during,
          "count while this shell command runs instead; it has VQ_QEMU, "
          "VQ_QEMU_PID and VQ_IOTHREAD_IDS", "COMMAND" },
        { "repeat", 0, 0, G_OPTION_ARG_NONE, &repeat,
          "with the same QEMU, once for each line on stdin", NULL },
        { "stall", 0, 0, G_OPTION_ARG_DOUBLE, &c.stall,
          "time after which a request is overdue (5)", "SECONDS" },
        { "json", 0, 0, G_OPTION_ARG_FILENAME, &c.json,
          "where to write all figures, - for stdout", "FILE" },
        { }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) err = NULL;
    g_autofree char *wrong = NULL;

    g_option_context_set_summary(context, "Put a load on a virtio-blk disk of "
                                 "QEMU at native speed, through guest RAM "
                                 "that is shared with it.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        usage_error("%s", err->message);
    }
    keep_strings(entries);
    if (argc > 1) {
        usage_error("unknown argument \"%s\"", argv[1]);
    }
    if ((c.qemu == NULL) != consumer) {
        usage_error("give either --qemu or --consumer");
    }
    if (c.qemu && access(c.qemu, X_OK) < 0) {
        usage_error("cannot run QEMU \"%s\"", c.qemu);
    }
    if (repeat && g_strcmp0(c.json, "-")) {
        usage_error("--repeat needs --json -");
    }
    if (!parse_mix(mix, c.mix)) {
        usage_error("mix \"%s\" is not a list of read, write, flush, discard "
                    "and write-zeroes with =WEIGHT", mix);
    }
    if (!is_one_of(pattern, patterns)) {
        usage_error("pattern \"%s\" is not random or sequential", pattern);
    }
    if (!g_str_equal(merge, "on") && !g_str_equal(merge, "off")) {
        usage_error("merge \"%s\" is not on or off", merge);
    }
    if (disk_size <= 0 || block_size <= 0 || (int)c.depth <= 0 ||
        (int)c.iothreads < 0 || c.warmup < 0 || c.seconds <= 0 ||
        c.stall <= 0 || requests < 0 || poll_max_ns < 0 || cold_ns < 0 ||
        latency_ns < 0) {
        usage_error("a number is too small");
    }
    parse_cpus("cpu", cpus, &c.cpus);
    parse_cpus("iothread-cpu", iothread_cpus, &c.iothread_cpus);
    c.disk_size = disk_size;
    c.block_size = block_size;
    c.poll_max_ns = poll_max_ns;
    c.cold_ns = cold_ns;
    c.latency_ns = latency_ns;
    c.sequential = g_str_equal(pattern, "sequential");
    c.merge = g_str_equal(merge, "on");
    c.legacy = legacy;
    c.packed = packed;
    c.indirect = !no_indirect;
    c.event_idx = !no_event_idx;
    c.msix = msix;
    c.qtest_kicks = qtest_kicks;
    c.buffered = buffered;
    c.verify = verify;
    c.wave = wave;
    c.repeat = repeat;
    c.seed = seed;
    c.requests = requests;

    wrong = vq_load_config_check(&c);
    if (wrong) {
        usage_error("%s", wrong);
    }
    if (hot && !parse_hot(hot, &c)) {
        usage_error("hot \"%s\" is not a list of virtqueues, which are 0 to %u",
                    hot, c.queues - 1);
    }
    return c;
}

VqLoadConfig vq_load_config_parse_line(const char *line)
{
    g_autofree char *command = g_strconcat("vq-load ", line, NULL);
    g_auto(GStrv) words = NULL;
    g_autofree char **argv = NULL;
    int argc;

    g_assert_true(g_shell_parse_argv(command, &argc, &words, NULL));
    /* The parser takes words out */
    argv = g_new0(char *, argc + 1);
    memcpy(argv, words, argc * sizeof(*argv));
    return vq_load_config_parse(argc, argv);
}
