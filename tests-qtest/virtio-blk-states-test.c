/*
 * qtests of virtio-blk with virtqueues in any state: start, stop, reset, queue
 * reset, drained sections, remaps, unplug, errors that stop the VM, at random,
 * against a model that knows what must have become of it
 *
 * The seed is printed; --seed gives it. VQ_STATES_STEPS is the number of steps
 * of the long case, which -m slow runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqmp.h"
#include "vq-monitor.h"
#include "vq-plug.h"
#include "vq-states.h"

#define SHORT_STEPS 3000
#define LONG_STEPS 1000000

/* Requests */

/* Returns: a sector that is free, and can be written if @write, or -1 */
static int free_block(VqStates *s, bool write)
{
    unsigned first = vq_states_dice(s, VQ_STATES_BLOCKS);

    for (unsigned i = 0; i < VQ_STATES_BLOCKS; i++) {
        unsigned number = (first + i) % VQ_STATES_BLOCKS;
        const VqStatesBlock *block = &s->disk.contents->blocks[number];

        if (!block->busy && !(write && block->num == VQ_STATES_VALUES)) {
            return number;
        }
    }
    return -1;
}

static bool step_add(VqStates *s)
{
    unsigned vq = vq_states_dice(s, VQ_STATES_QUEUES);

    if (!vq_states_is_up(s) || !s->disk.queues[vq].enabled) {
        return false;
    }
    for (unsigned n = vq_states_dice(s, 3) + 1; n > 0; n--) {
        bool write = vq_states_dice(s, 2);
        int block = free_block(s, write);

        if (block >= 0) {
            vq_states_disk_add(&s->disk, vq, block, write);
        }
    }
    return true;
}

static bool step_kick(VqStates *s)
{
    unsigned vq = vq_states_dice(s, VQ_STATES_QUEUES);

    if (!vq_states_is_up(s) || !s->disk.queues[vq].enabled) {
        return false;
    }
    vq_states_disk_kick(&s->disk, vq);
    return true;
}

static bool step_request(VqStates *s)
{
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        vq_states_disk_reap(&s->disk, i);
    }
    return step_add(s) && step_kick(s);
}

static bool step_reap(VqStates *s)
{
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        vq_states_disk_reap(&s->disk, i);
    }
    return s->disk.pci != NULL;
}

/* The driver */

static bool step_start(VqStates *s)
{
    if (!vq_states_guest_runs(s) || s->up) {
        return false;
    }
    /* Not all of them, now and then; the others are set up later */
    vq_states_disk_start(&s->disk, vq_states_dice(s, 4) ? 0xf
                                       : vq_states_dice(s, 16));
    s->up = true;
    return true;
}

static bool step_reset(VqStates *s)
{
    if (!s->plugged || !s->up) {
        return false;
    }
    vq_states_disk_reset(&s->disk);
    memset(s->waiting, 0, sizeof(s->waiting));
    s->up = false;
    return true;
}

static bool step_reset_queue(VqStates *s)
{
    unsigned vq = vq_states_dice(s, VQ_STATES_QUEUES);

    if (!vq_states_is_up(s) || !s->disk.queues[vq].enabled) {
        return false;
    }
    vq_states_disk_reset_queue(&s->disk, vq);
    return true;
}

static bool step_enable_queue(VqStates *s)
{
    unsigned vq = vq_states_dice(s, VQ_STATES_QUEUES);

    if (!vq_states_is_up(s) || s->disk.queues[vq].enabled) {
        return false;
    }
    vq_states_disk_enable_queue(&s->disk, vq);
    /* The device has it served from the first notification on */
    vq_states_disk_add(&s->disk, vq, free_block(s, false), false);
    vq_states_disk_kick(&s->disk, vq);
    return true;
}

/* The VM */

static bool step_stop(VqStates *s)
{
    if (!s->running) {
        return false;
    }
    vq_states_qmp(s, "{\"execute\":\"stop\"}");
    g_assert_false(s->running);
    return true;
}

static bool step_cont(VqStates *s)
{
    if (s->running) {
        return false;
    }
    vq_states_qmp(s, "{\"execute\":\"cont\"}");
    g_assert_true(s->running);
    return true;
}

static bool step_stop_cont(VqStates *s)
{
    return step_stop(s) && step_cont(s);
}

/* Remaps */

static bool step_remap(VqStates *s)
{
    int goals[VQ_STATES_QUEUES];

    if (!s->plugged) {
        return false;
    }
    vq_states_new_goals(s, goals);
    vq_states_remap(s, goals);
    return true;
}

/* There and back at once, or elsewhere */
static bool step_remap_twice(VqStates *s)
{
    int old[VQ_STATES_QUEUES];

    memcpy(old, s->goals, sizeof(old));
    if (!step_remap(s)) {
        return false;
    }
    if (vq_states_dice(s, 2)) {
        vq_states_remap(s, old);
        return true;
    }
    return step_remap(s);
}

/*
 * Several monitors at once. Who is first is not known, but the others' commands
 * have been seen when all have answered.
 */
static bool step_race(VqStates *s)
{
    static const char *const others[] = {
        "{'execute': 'query-status'}", "{'execute': 'query-block'}",
        "{'execute': 'stop'}", "{'execute': 'cont'}",
        "{'execute': 'query-virtio-blk-queues'}",
    };
    g_autofree char *line = NULL;
    g_autofree char *said = NULL;
    unsigned other = vq_states_dice(s, ARRAY_SIZE(others));
    unsigned hmp = vq_states_dice(s, 4);
    unsigned remaps = 0, before;
    int goals[VQ_STATES_QUEUES];

    if (!s->plugged || s->job != VQ_STATES_NO_JOB) {
        return false;
    }
    vq_states_sync(s);
    before = s->remapped;
    s->racing = true;
    vq_states_new_goals(s, goals);
    line = hmp == 0 ? g_strdup("info virtio-blk-queues") :
           hmp == 1 ? g_strdup_printf("virtio_blk_remap disk0 iothread%u",
                                      vq_states_dice(s, VQ_STATES_IOTHREADS)) :
           hmp == 2 ? g_strdup("virtio_blk_remap disk0 main-loop") :
           g_strdup(s->running ? "stop" : "cont");
    vq_monitor_send_human(s->hmp, line);
    qmp_fd_send_raw(s->qmp, "%s", others[other]);
    if (vq_states_dice(s, 2)) {
        g_autofree char *command = vq_states_remap_command(goals);
        g_autofree char *error = NULL;

        remaps++;
        vq_states_send(s, command);
        error = vq_states_receive(s);
        g_assert_cmpstr(error, ==, NULL);
    }
    vq_monitor_assert_success(s->qmp);
    said = vq_monitor_receive_human(s->hmp);
    g_assert_null(strstr(said, "Error"));
    remaps += hmp == 1 || hmp == 2;

    vq_states_count_remaps(s, before, remaps);
    return true;
}

/* Drained sections */

static bool step_mirror(VqStates *s)
{
    if (!s->plugged || s->job != VQ_STATES_NO_JOB) {
        return false;
    }
    qtest_qmp_assert_success(s->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'copy',"
                             "  'size': %d}}", VQ_STATES_SIZE);
    s->job = VQ_STATES_STARTING;
    qtest_qmp_assert_success(s->qts, "{'execute': 'blockdev-mirror',"
                             " 'arguments': {'job-id': 'mirror',"
                             "  'device': %s, 'target': 'copy',"
                             "  'sync': 'none', 'copy-mode': 'write-blocking',"
                             "  'granularity': 512,"
                             "  'on-source-error': 'ignore',"
                             "  'auto-finalize': false}}",
                             vq_states_nodes[s->backend]);
    return true;
}

static bool step_cancel(VqStates *s)
{
    if (s->job != VQ_STATES_READY) {
        return false;
    }
    s->job = VQ_STATES_CANCELLED;
    vq_states_qmp(s, "{\"execute\":\"block-job-cancel\",\"arguments\":"
                  "{\"device\":\"mirror\"}}");
    return true;
}

static bool step_finalize(VqStates *s)
{
    if (s->job != VQ_STATES_PENDING) {
        return false;
    }
    s->job = VQ_STATES_FINALIZED;
    vq_states_qmp(s, "{\"execute\":\"job-finalize\",\"arguments\":"
                  "{\"id\":\"mirror\"}}");
    return true;
}

static bool step_forget_copy(VqStates *s)
{
    if (s->job != VQ_STATES_ENDED) {
        return false;
    }
    vq_states_qmp(s, "{\"execute\":\"blockdev-del\",\"arguments\":"
                  "{\"node-name\":\"copy\"}}");
    s->job = VQ_STATES_NO_JOB;
    return true;
}

/* To the end of it */
static void end_job(VqStates *s)
{
    int64_t deadline = g_get_monotonic_time() + VQ_STATES_TIMEOUT_US;

    while (s->job != VQ_STATES_NO_JOB) {
        step_cancel(s);
        step_finalize(s);
        step_forget_copy(s);
        vq_states_sync(s);
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

static bool step_throttle(VqStates *s)
{
    static const unsigned iops[] = { 0, 1000, 5000, 20000 };
    g_autofree char *command = g_strdup_printf(
        "{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"/objects/group\","
        "\"property\":\"limits\",\"value\":{\"iops-total\":%u}}}",
        iops[vq_states_dice(s, ARRAY_SIZE(iops))]);

    if (s->backend != VQ_STATES_THROTTLED) {
        return false;
    }
    vq_states_qmp(s, command);
    return true;
}

/* A request fails, which stops the VM; and is tried again when it goes on */
static bool step_fail(VqStates *s)
{
    unsigned vq = vq_states_dice(s, VQ_STATES_QUEUES);
    unsigned block = VQ_STATES_BLOCKS + VQ_STATES_BAD - s->bad;

    if (!vq_states_is_up(s) || vq_states_may_drain(s) || !s->bad ||
        s->backend != VQ_STATES_FAILING || !s->disk.queues[vq].enabled ||
        s->disk.contents->blocks[block].num == VQ_STATES_VALUES ||
        !vq_states_disk_add(&s->disk, vq, block, vq_states_dice(s, 2))) {
        return false;
    }
    s->bad--;
    s->late_kick = vq_states_disk_kick(&s->disk, vq);
    for (unsigned remaps = vq_states_dice(s, 3); remaps > 0; remaps--) {
        step_remap(s);
    }
    vq_states_wait_flag(s, &s->running, false);
    s->waiting[vq]++;
    return true;
}

/* Plug and unplug */

static void set_failing_node(VqStates *s, bool present)
{
    g_autoptr(GString) json = g_string_new("{\"execute\":\"blockdev-add\","
        "\"arguments\":{\"driver\":\"blkdebug\",\"node-name\":\"failing\","
        "\"image\":\"file1\",\"inject-error\":[");

    if (!present) {
        vq_states_qmp(s, "{\"execute\":\"blockdev-del\",\"arguments\":"
                      "{\"node-name\":\"failing\"}}");
        return;
    }
    /* Not what a job asks of the node */
    for (unsigned i = 0; i < 2 * VQ_STATES_BAD; i++) {
        g_string_append_printf(json, "%s{\"event\":\"none\",\"sector\":%u,"
                               "\"iotype\":\"%s\",\"once\":true}",
                               i ? "," : "", VQ_STATES_BLOCKS + i / 2,
                               i % 2 ? "read" : "write");
    }
    g_string_append(json, "]}}");
    vq_states_qmp(s, json->str);
    s->bad = VQ_STATES_BAD;
}

static bool step_plug(VqStates *s)
{
    g_autofree char *mapping = NULL;
    g_autofree char *json = NULL;

    if (s->plugged || s->job != VQ_STATES_NO_JOB || !s->running) {
        return false;
    }
    s->backend = vq_states_dice(s, VQ_STATES_BACKENDS);
    if (s->backend == VQ_STATES_FAILING) {
        set_failing_node(s, true);
    }
    vq_states_new_goals(s, s->goals);
    mapping = vq_states_mapping(s->goals);
    json = g_strdup_printf("{\"driver\":\"virtio-blk-pci\",\"id\":\"disk0\","
                           "\"addr\":\"%02x.0\",\"drive\":\"%s\","
                           "\"disable-legacy\":\"on\",\"num-queues\":%d,"
                           "\"queue-size\":64,\"rerror\":\"stop\","
                           "\"werror\":\"stop\",\"cyls\":2,\"heads\":16,"
                           "\"secs\":63%s%s}", VQ_STATES_SLOT,
                           vq_states_nodes[s->backend], VQ_STATES_QUEUES,
                           mapping ? ",\"iothread-vq-mapping\":" : "",
                           mapping ?: "");
    vq_plug(s->qts, json);
    vq_states_disk_found(&s->disk, &s->contents[s->backend]);
    s->plugged = true;
    s->deleted = s->remapping = s->up = false;
    return true;
}

static bool step_unplug(VqStates *s)
{
    if (!s->plugged) {
        return false;
    }
    vq_states_send(s, "{\"execute\":\"device_del\",\"arguments\":"
                   "{\"id\":\"disk0\"}}");
    g_free(vq_states_receive(s));
    vq_plug_eject(s->qts, VQ_STATES_SLOT);
    vq_states_wait_flag(s, &s->deleted, true);
    s->plugged = s->up = s->remapping = false;
    memset(s->waiting, 0, sizeof(s->waiting));
    vq_states_disk_gone(&s->disk);
    if (vq_states_dice(s, 2)) {
        vq_states_check(s);
    }
    if (s->backend == VQ_STATES_FAILING || vq_states_dice(s, 4) == 0) {
        end_job(s);
    }
    if (s->backend == VQ_STATES_FAILING) {
        set_failing_node(s, false);
    }
    if (s->job == VQ_STATES_NO_JOB) {
        vq_states_check_gone(s);
    }
    return true;
}

/* Looking */

static bool step_check(VqStates *s)
{
    vq_states_check(s);
    return true;
}

static bool step_settle(VqStates *s)
{
    vq_states_sync(s);
    if (!vq_states_is_up(s) || vq_states_may_drain(s)) {
        return false;
    }
    vq_states_settle(s);
    return true;
}

static bool step_probe(VqStates *s)
{
    unsigned vq = vq_states_dice(s, VQ_STATES_QUEUES);

    vq_states_sync(s);
    if (!vq_states_is_up(s) || vq_states_may_drain(s) ||
        !s->disk.queues[vq].enabled) {
        return false;
    }
    vq_states_probe(s, vq);
    return true;
}

typedef struct Step {
    const char *name;
    bool (*run)(VqStates *s);   /* false: it cannot be done now */
    unsigned weight;
} Step;

static const Step steps[] = {
    { "add", step_add, 200 },
    { "kick", step_kick, 150 },
    { "request", step_request, 300 },
    { "reap", step_reap, 200 },
    { "check", step_check, 40 },
    { "remap", step_remap, 40 },
    { "remap-twice", step_remap_twice, 15 },
    { "race", step_race, 4 },
    { "start", step_start, 200 },
    { "reset", step_reset, 4 },
    { "reset-queue", step_reset_queue, 6 },
    { "enable-queue", step_enable_queue, 100 },
    { "stop", step_stop, 3 },
    { "cont", step_cont, 150 },
    { "stop-cont", step_stop_cont, 2 },
    { "mirror", step_mirror, 2 },
    { "cancel", step_cancel, 20 },
    { "finalize", step_finalize, 20 },
    { "forget-copy", step_forget_copy, 50 },
    { "throttle", step_throttle, 5 },
    { "fail", step_fail, 25 },
    { "plug", step_plug, 300 },
    { "unplug", step_unplug, 2 },
    { "settle", step_settle, 4 },
    { "probe", step_probe, 1 },
};

static const Step *choose(VqStates *s)
{
    const Step *step = steps;
    unsigned n, sum = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        sum += steps[i].weight;
    }
    n = vq_states_dice(s, sum);
    while (n >= step->weight) {
        n -= step++->weight;
    }
    return step;
}

static void run(uint64_t num_steps)
{
    VqStates *s = vq_states_new(g_test_rand_int());
    int64_t start = g_get_monotonic_time();
    uint64_t done[ARRAY_SIZE(steps)] = {};
    g_autoptr(GString) text = g_string_new(NULL);

    while (s->step < num_steps) {
        const Step *step = choose(s);

        vq_states_note(s, step->name);
        if (step->run(s)) {
            done[step - steps]++;
        } else {
            s->step--;
        }
    }

    /* Come to an end in good order */
    vq_states_note(s, "end");
    end_job(s);
    step_cont(s);
    step_plug(s);
    step_start(s);
    vq_states_settle(s);
    step_unplug(s);

    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        g_string_append_printf(text, " %s %" PRIu64, steps[i].name, done[i]);
    }
    g_test_message("seed %u: %" PRIu64 " steps, %.0f a second; %" PRIu64
                   " requests completed, %" PRIu64 " dropped by resets; %u "
                   "remaps ended;%s", s->seed, num_steps,
                   num_steps * 1e6 / (g_get_monotonic_time() - start),
                   s->disk.completed, s->disk.dropped, s->remapped, text->str);
    vq_states_free(s);
}

static void test_short(void)
{
    run(SHORT_STEPS);
}

static void test_long(void)
{
    const char *num = g_getenv("VQ_STATES_STEPS");

    run(num ? g_ascii_strtoull(num, NULL, 10) : LONG_STEPS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/virtio-blk-states/short", test_short);
    if (g_test_slow()) {
        qtest_add_func("/virtio-blk-states/long", test_long);
    }
    return g_test_run();
}
