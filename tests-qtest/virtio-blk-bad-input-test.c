/*
 * qtests of bad input: every command and property of the virtqueue module with
 * values at, over and under each limit, of wrong types and repeated, in every
 * state of the disk. It is refused in one line, nothing is half-done, and QEMU
 * goes on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>

/* 10.0 renamed include/qapi/qmp/ to include/qobject/ */
#if QEMU_VERSION_MAJOR >= 10
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#else
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#endif
#include "vq-bad-input.h"
#include "vq-fault-util.h"
#include "vq-plug.h"
#include "vq-queues.h"
#include "vq-refusals.h"
#include "vq-remap.h"
#include "vq-test-util.h"
#include "vq-watchdog.h"

#define NUM_QUEUES 4
#define NUM_IOTHREADS 3
#define SLOT_DISK1 5
#define WAIT_S 120
/* One node is for a mirror, one never answers, and one is for another disk */
#define NODES " -blockdev null-co,node-name=disk,read-zeroes=on,size=65536" \
    " -blockdev null-co,node-name=copy,size=65536" \
    " -blockdev null-co,node-name=dead,size=65536,latency-ns=3600000000000" \
    " -blockdev null-co,node-name=node1,size=65536"

typedef struct State {
    const char *name;
    const char *node;
    void (*enter)(VqTest *t);
    bool dead;          /* QEMU can only be killed */
} State;

/* States */

static void enter_before_driver(VqTest *t)
{
}

static void enter_before_driver_ok(VqTest *t)
{
    vq_test_setup_driver(t, NUM_QUEUES);
}

static void enter_running(VqTest *t)
{
    vq_test_start_driver(t);
}

static void enter_stopped(VqTest *t)
{
    vq_test_start_driver(t);
    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
}

/* A mirror that has ended keeps the disk drained until it is finalized */
static void enter_drained(VqTest *t)
{
    vq_test_start_driver(t);
    qtest_qmp_assert_success(t->qts,
        "{'execute': 'blockdev-mirror', 'arguments': {'job-id': 'mirror',"
        " 'device': 'disk', 'target': 'copy', 'sync': 'none',"
        " 'filter-node-name': 'filter', 'auto-finalize': false}}");
    qtest_qmp_eventwait(t->qts, "BLOCK_JOB_READY");
    qtest_qmp_assert_success(t->qts,
        "{'execute': 'block-job-cancel', 'arguments': {'device': 'mirror'}}");
    qtest_qmp_eventwait(t->qts, "BLOCK_JOB_PENDING");
}

static void enter_remapping(VqTest *t)
{
    gint64 deadline = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;
    g_autofree char *needle = NULL;
    VqTestRequest req;
    VqQueues queues;

    vq_test_start_driver(t);
    req = vq_test_prepare_read(t, 2, &needle);
    vq_test_submit(t, &req, true);
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(t->qts, "disk0", &queues);
    } while (!queues.vq[2].in_flight);
    vq_remap_begin(t->qts, "disk0", "[" TV(0, "0,1,2") "," TV(1, "3") "]");
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(t->qts, "disk0", &queues);
    } while (strcmp(queues.vq[2].state, "leaving"));
    g_assert_true(queues.remapping);
}

static void enter_unplugging(VqTest *t)
{
    vq_test_start_driver(t);
    qtest_qmp_device_del_send(t->qts, "disk0");
}

/* No file descriptor is left for a host notifier: the main loop serves it */
static void enter_failed_start(VqTest *t)
{
    VqQueues queues;

    vq_test_setup_driver(t, NUM_QUEUES);
    if (vq_fault_limit_fds(t, 0)) {
        qvirtio_set_driver_ok(t->vdev);
        vq_fault_unlimit_fds(t);
        vq_queues_query(t->qts, "disk0", &queues);
        g_assert_false(queues.started);
    }
}

static const State states[] = {
    { "before-driver", "disk", enter_before_driver },
    { "before-driver-ok", "disk", enter_before_driver_ok },
    { "running", "disk", enter_running },
    { "stopped", "disk", enter_stopped },
    { "drained", "disk", enter_drained },
    { "remapping", "dead", enter_remapping, true },
    { "unplugging", "disk", enter_unplugging },
    { "failed-start", "disk", enter_failed_start },
};

/* What a disk that nothing has happened to still is */
typedef struct Seen {
    char *queues;
    char *mapping;
    unsigned iothreads;
    unsigned disks;
} Seen;

static char *get_property(VqTest *t, const char *name)
{
    QDict *reply = qtest_qmp(t->qts, "{'execute': 'qom-get', 'arguments': {"
                             " 'path': '/machine/peripheral/disk0',"
                             " 'property': %s}}", name);
    GString *json = qobject_to_json(qdict_get(reply, "return"));

    qobject_unref(reply);
    return g_string_free(json, false);
}

/* Has a thread been told something that it has not done yet? */
static bool is_in_between(const VqQueues *queues)
{
    for (unsigned vq = 0; vq < queues->num; vq++) {
        if (g_str_has_suffix(queues->vq[vq].state, "ing") &&
            strcmp(queues->vq[vq].state, "leaving")) {
            return true;
        }
    }
    return false;
}

/* Some input begins a drained section, and threads attach again after it */
static void query(VqTest *t, VqQueues *queues)
{
    gint64 deadline = g_get_monotonic_time() + WAIT_S * G_USEC_PER_SEC;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vq_queues_query(t->qts, "disk0", queues);
    } while (is_in_between(queues));
}

static Seen look(VqTest *t)
{
    g_autoptr(GString) text = g_string_new(NULL);
    Seen seen = {};
    VqQueues queues;
    QDict *reply;

    query(t, &queues);
    g_string_printf(text, "%d %d", queues.started, queues.remapping);
    for (unsigned vq = 0; vq < queues.num; vq++) {
        VqQueue *q = &queues.vq[vq];

        g_string_append_printf(text, "; %s %s %d %s %" PRIu64, q->iothread,
                               q->state, q->remap, q->remap_iothread,
                               q->in_flight);
    }
    seen.queues = g_strdup(text->str);
    seen.mapping = get_property(t, "iothread-vq-mapping");
    seen.disks = vq_queues_count_disks(t->qts);
    reply = qtest_qmp(t->qts, "{'execute': 'query-iothreads'}");
    seen.iothreads = qlist_size(qdict_get_qlist(reply, "return"));
    qobject_unref(reply);
    return seen;
}

/* Nothing is half-done, and QEMU answers */
static void assert_same(VqTest *t, const Seen *before)
{
    Seen now = look(t);

    g_assert_cmpstr(now.queues, ==, before->queues);
    g_assert_cmpstr(now.mapping, ==, before->mapping);
    g_assert_cmpuint(now.iothreads, ==, before->iothreads);
    g_assert_cmpuint(now.disks, ==, before->disks);
    g_free(now.queues);
    g_free(now.mapping);
}

/* One line, without a dot at its end */
static void assert_line(const char *text, const char *message)
{
    size_t len = strlen(text);

    g_assert_cmpstr(text, ==, message);
    g_assert_cmpuint(len, >, 0);
    g_assert_null(strchr(text, '\n'));
    g_assert_cmpint(text[len - 1], !=, '.');
}

/* Send @text as it is, which must be answered with an error */
static void assert_error(VqTest *t, const char *text, const char *message)
{
    QDict *reply;
    QDict *error;

    qtest_qmp_send_raw(t->qts, "%s", text);
    reply = qtest_qmp_receive(t->qts);
    error = qdict_get_qdict(reply, "error");
    if (!error) {
        g_test_message("no error: %s", text);
        g_assert_not_reached();
    }
    assert_line(qdict_get_str(error, "desc"), message);
    qobject_unref(reply);
}

static void try_commands(VqTest *t, const Seen *before)
{
    for (unsigned i = 0; i < ARRAY_SIZE(vq_bad_commands); i++) {
        g_autofree char *text =
            g_strdup_printf("{\"execute\":\"%s\",\"arguments\":{%s}}",
                            vq_bad_commands[i].what, vq_bad_commands[i].more);

        assert_error(t, text, vq_bad_commands[i].message);
        assert_same(t, before);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(vq_refusals); i++) {
        const VqRefusal *r = &vq_refusals[i];
        g_autofree char *text =
            g_strdup_printf("{\"execute\":\"" MOVE "\",\"arguments\":{" ID
                            "%s}}", r->properties);

        if (g_str_has_prefix(r->properties, "," MAPPING)) {
            assert_error(t, text, r->message);
            assert_same(t, before);
        }
    }
}

/* More than anybody would type */
static void try_huge(VqTest *t, const Seen *before)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *message = NULL;
    g_autofree char *name = g_strnfill(100000, 'x');

    g_string_printf(text, "{\"execute\":\"" MOVE "\",\"arguments\":{" ID ","
                    MAPPING "[{\"iothread\":\"%s\"}]}}", name);
    message = g_strdup_printf("IOThread \"%s\" object does not exist", name);
    assert_error(t, text->str, message);

    g_string_assign(text, "{\"execute\":\"" MOVE "\",\"arguments\":{" ID ","
                    MAPPING "[" T(0));
    for (unsigned i = 0; i < 2000; i++) {
        g_string_append(text, "," T(0));
    }
    g_string_append(text, "]}}");
    assert_error(t, text->str, "duplicate IOThread name \"iothread0\" in "
                 "iothread-vq-mapping");
    assert_same(t, before);
}

static void assert_hmp(VqTest *t, const char *line, const char *message)
{
    g_autofree char *said = qtest_hmp(t->qts, "%s", line);

    g_assert_true(g_str_has_suffix(said, "\n"));
    g_strchomp(said);
    if (!message) {
        g_assert_true(g_str_has_prefix(said, "Error: "));
        message = said;
    }
    /* The monitor goes on with the next line, what is to be typed */
    if (strstr(said, "\nTry \"help")) {
        *strchr(said, '\n') = '\0';
        g_strchomp(said);
    }
    assert_line(said, message);
}

static void try_hmp(VqTest *t, const Seen *before)
{
    for (unsigned i = 0; i < ARRAY_SIZE(vq_bad_lines); i++) {
        assert_hmp(t, vq_bad_lines[i].what, vq_bad_lines[i].message);
        assert_same(t, before);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(vq_bad_texts); i++) {
        g_autofree char *line = g_strdup_printf("virtio_blk_remap disk0 %s",
                                                vq_bad_texts[i]);

        assert_hmp(t, line, NULL);
        assert_same(t, before);
    }
}

static void try_properties(VqTest *t, const Seen *before)
{
    for (unsigned i = 0; i < ARRAY_SIZE(vq_bad_properties); i++) {
        const VqBadInput *in = &vq_bad_properties[i];
        g_autofree char *text = g_strdup_printf(
            "{\"execute\":\"qom-set\",\"arguments\":{\"path\":"
            "\"/machine/peripheral/disk0\",\"property\":\"%s\",\"value\":%s}}",
            in->what, in->more);
        g_autofree char *message = g_strdup_printf(
            "Attempt to set property '%s' on anonymous device (type "
            "'virtio-blk-device') after it was realized", in->what);
        g_autofree char *value = get_property(t, in->what);
        g_autofree char *after = NULL;

        if (strstr(in->what, "resolved")) {
            assert_error(t, text, "Property 'virtio-blk-device.x-iothread-vq-"
                         "mapping-resolved' is not writable");
        } else {
            assert_error(t, text, message);
        }
        after = get_property(t, in->what);
        g_assert_cmpstr(after, ==, value);
        assert_same(t, before);
    }
}

static void try_plugs(VqTest *t, const Seen *before)
{
    const unsigned num = ARRAY_SIZE(vq_bad_plugs);

    for (unsigned i = 0; i < num + ARRAY_SIZE(vq_refusals); i++) {
        bool own = i < num;
        const VqRefusal *r = own ? NULL : &vq_refusals[i - num];
        g_autofree char *text =
            g_strdup_printf("{\"execute\":\"device_add\",\"arguments\":{" DISK1
                            "%s}}", own ? vq_bad_plugs[i].what : r->properties);

        assert_error(t, text, own ? vq_bad_plugs[i].message : r->message);
        assert_same(t, before);
    }
}

/* The mapping that it has is no change; this ends in every state but dead */
static void assert_works(VqTest *t)
{
    VqRemapResult result;

    vq_remap(t->qts, "disk0", OWNERS, &result);
    g_assert_cmpuint(result.num, ==, 0);
    vq_remap(t->qts, "disk0", NULL, &result);
    g_assert_cmpuint(result.num, ==, NUM_QUEUES);
    vq_remap(t->qts, "disk0", OWNERS, &result);
    g_assert_cmpuint(result.num, ==, NUM_QUEUES);
}

static VqTest *begin(const State *state)
{
    static VqTestDevice device;
    static char *drive;
    VqTest *t;

    g_free(drive);
    /* With a geometry, or it would be read from the disk */
    drive = g_strdup_printf(",\"drive\":\"%s\",\"cyls\":2,\"heads\":16,"
                            "\"secs\":63", state->node);
    device = vq_test_blk_pci;
    device.drive = drive;
    device.more_args = NODES " -device virtio-scsi-pci,id=other";
    t = vq_test_new(&device, NUM_IOTHREADS, NUM_QUEUES, "," MAPPING OWNERS);
    state->enter(t);
    return t;
}

static void end(VqTest *t, const State *state)
{
    pid_t pid = qtest_pid(t->qts);

    if (!state->dead) {
        assert_works(t);
        vq_test_free(t);
        return;
    }
    /* It would wait for its requests, and libqtest mind its death */
    qtest_remove_abrt_handler(t->qts);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    g_unlink(t->log);
    g_unlink(t->image);
    g_unlink(t->monitor);
}

static void try_in_state(const State *state,
                         void (*try)(VqTest *t, const Seen *before))
{
    VqTest *t = begin(state);
    VqWatchdog *dog = vq_watchdog_begin(qtest_pid(t->qts), WAIT_S);
    Seen before = look(t);

    try(t, &before);
    vq_watchdog_end(dog);
    end(t, state);
    g_free(before.queues);
    g_free(before.mapping);
}

static void test_commands(const void *opaque)
{
    try_in_state(opaque, try_commands);
}

static void test_huge(const void *opaque)
{
    try_in_state(opaque, try_huge);
}

static void test_hmp(const void *opaque)
{
    try_in_state(opaque, try_hmp);
}

static void test_properties(const void *opaque)
{
    try_in_state(opaque, try_properties);
}

static void test_plugs(const void *opaque)
{
    try_in_state(opaque, try_plugs);
}

/* What is at the limit is no bad input */
static void test_limits(void)
{
    static const char *const good[] = {
        ",\"x-iothreads\":0", ",\"x-iothreads\":1", ",\"x-iothreads\":4",
        ",\"x-iothreads\":\"4\"", ",\"x-data-plane\":false,\"x-iothreads\":4",
        ",\"x-fast-path\":false", ",\"x-data-plane\":true",
        "," MAPPING "[" TV(2, "3,0,1,2") "]",
    };
    VqTest *t = begin(&states[2]);
    VqRemapResult result;

    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        g_autofree char *json = g_strdup_printf("{" DISK1 "%s}", good[i]);

        vq_plug(t->qts, json);
        vq_plug_unplug(t->qts, "disk1", SLOT_DISK1);
    }
    /* False beside a mapping is as good as nothing */
    qtest_qmp_assert_success(t->qts, "{'execute': '" MOVE "', 'arguments': {"
                             " 'id': '/machine/peripheral/disk0',"
                             " 'main-loop': false, 'iothread-vq-mapping': ["
                             " {'iothread': '/objects/iothread2'}]}}");
    vq_remap_wait(t->qts, "disk0", &result);
    g_assert_cmpuint(result.num, ==, NUM_QUEUES);
    g_assert_cmpstr(result.moves[3].to, ==, "iothread2");
    vq_test_free(t);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(const void *opaque);
    } tests[] = {
        { "commands", test_commands },
        { "huge", test_huge },
        { "hmp", test_hmp },
        { "properties", test_properties },
        { "plugs", test_plugs },
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(tests); j++) {
            g_autofree char *path =
                g_strdup_printf("/virtio-blk-bad-input/%s/%s", states[i].name,
                                tests[j].name);

            /* QEMU gives a node to a device when no request is in flight */
            if (!states[i].dead || tests[j].test != test_plugs) {
                qtest_add_data_func(path, &states[i], tests[j].test);
            }
        }
    }
    qtest_add_func("/virtio-blk-bad-input/limits", test_limits);
    return g_test_run();
}
