/*
 * qtests of virtio-blk disks with iothread-vq-mapping that come and go
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-plug.h"
#include "vq-refusals.h"
#include "vq-test-util.h"

#define NUM_QUEUES 4
#define SLOT 5
/* Arguments of device_add for a disk on "node1" */
#define DISK1(more) "{\"driver\":\"virtio-blk-pci\",\"id\":\"disk1\"," \
    "\"addr\":\"05.0\",\"drive\":\"node1\"" more "}"
#define ONE_EACH ",\"num-queues\":2" \
    VQ_MAPPING("{\"iothread\":\"iothread0\"},{\"iothread\":\"iothread1\"}")

typedef struct Shape {
    const char *name;
    const char *json;
    /* One digit per virtqueue, the index of its IOThread, or '-' for none */
    const char *owners;
} Shape;

static const Shape shapes[] = {
    { "main-loop", DISK1(",\"num-queues\":4"), "----" },
    { "iothread", DISK1(",\"num-queues\":4,\"iothread\":\"iothread1\""),
      "1111" },
    { "round-robin",
      DISK1(",\"num-queues\":4" VQ_MAPPING("{\"iothread\":\"iothread0\"},"
                                           "{\"iothread\":\"iothread1\"}")),
      "0101" },
    { "vqs",
      DISK1(",\"num-queues\":4"
            VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[3,1,2]},"
                       "{\"iothread\":\"iothread1\",\"vqs\":[0]}")),
      "1000" },
};

/* A disk0 that stays, and what a second disk needs */
static VqTest *new_machine(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 2, 1, "");

    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'node1'}}");
    return t;
}

static void assert_owners(VqTest *t, const char *owners)
{
    VqTest *disk = vq_test_start_plugged(t, SLOT, strlen(owners));

    for (unsigned vq = 0; vq < disk->num_queues; vq++) {
        g_autofree char *name =
            owners[vq] == '-' ? NULL
                              : g_strdup_printf("iothread%c", owners[vq]);

        g_assert_cmpint(vq_test_read(disk, vq), ==,
                        vq_test_thread_id(t, name));
    }
    vq_test_stop_plugged(t, disk);
}

/* The threads that serve a plugged disk are those it was given */
static void test_owners(const void *opaque)
{
    const Shape *shape = opaque;
    VqTest *t = new_machine();

    for (unsigned round = 0; round < 3; round++) {
        vq_plug(t->qts, shape->json);
        assert_owners(t, shape->owners);
        vq_plug_unplug(t->qts, "disk1", SLOT);
    }
    vq_test_free(t);
}

static char *refused_disk(const VqRefusal *r)
{
    return g_strdup_printf(DISK1(",\"num-queues\":%d%s"), NUM_QUEUES,
                           r->properties);
}

/* The words are those of -device, and the place is free as before */
static void test_refused(const void *opaque)
{
    const VqRefusal *r = opaque;
    g_autofree char *json = refused_disk(r);
    VqTest *t = new_machine();

    for (unsigned round = 0; round < 2; round++) {
        g_autofree char *error = vq_plug_try(t->qts, json);

        g_assert_cmpstr(error, ==, r->message);
    }

    /* The id, the slot and the node */
    vq_plug(t->qts, DISK1(ONE_EACH));
    assert_owners(t, "01");
    vq_plug_unplug(t->qts, "disk1", SLOT);

    /* The IOThreads */
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);
        g_autofree char *error = vq_plug_object_del(t->qts, name);

        g_assert_cmpstr(error, ==, NULL);
        g_assert_false(vq_test_has_iothread(t, name));
    }
    vq_test_free(t);
}

static void refuse_all(VqTest *t)
{
    for (unsigned i = 0; i < ARRAY_SIZE(vq_refusals); i++) {
        g_autofree char *json = refused_disk(&vq_refusals[i]);
        g_autofree char *error = vq_plug_try(t->qts, json);

        g_assert_cmpstr(error, ==, vq_refusals[i].message);
    }
}

/* No refusal costs a thread, a file descriptor or the pool of coroutines */
static void test_refused_leaves_nothing(void)
{
    unsigned threads, fds, pool_size;
    VqTest *t = new_machine();

    refuse_all(t);
    threads = vq_test_count_entries(t, "task");
    fds = vq_test_count_entries(t, "fd");
    pool_size = vq_test_peek(t, "global_pool_max_size");
    refuse_all(t);
    g_assert_cmpuint(vq_test_count_entries(t, "task"), ==, threads);
    g_assert_cmpuint(vq_test_count_entries(t, "fd"), ==, fds);
    g_assert_cmpuint(vq_test_peek(t, "global_pool_max_size"), ==, pool_size);
    vq_test_free(t);
}

/* What the command itself refuses, it refuses with a mapping too */
static const VqRefusal bad_commands[] = {
    { "id", "{\"driver\":\"virtio-blk-pci\",\"id\":\"disk0\",\"drive\":"
      "\"node1\"" ONE_EACH "}", "Duplicate device ID 'disk0'" },
    { "bus", DISK1(ONE_EACH ",\"bus\":\"nope\""), "Bus 'nope' not found" },
    { "driver", "{\"driver\":\"nope\"" ONE_EACH "}",
      "'nope' is not a valid device model name" },
    { "driver-list", "{\"driver\":[\"virtio-blk-pci\"]}",
      "Parameter 'driver' is missing" },
    { "unknown-list", DISK1(ONE_EACH ",\"nope\":[1]"),
      "Property 'virtio-blk-pci.nope' not found" },
    { "unknown-object", DISK1(ONE_EACH ",\"nope\":{\"a\":1}"),
      "Property 'virtio-blk-pci.nope' not found" },
    { "unknown-null", DISK1(ONE_EACH ",\"nope\":null"),
      "Property 'virtio-blk-pci.nope' not found" },
    { "unknown-string", DISK1(ONE_EACH ",\"nope\":\"a\""),
      "Property 'virtio-blk-pci.nope' not found" },
    { "string-is-list", DISK1(ONE_EACH ",\"serial\":[1]"),
      "Invalid parameter type for 'serial', expected: string" },
    { "string-is-object", DISK1(ONE_EACH ",\"serial\":{}"),
      "Invalid parameter type for 'serial', expected: string" },
    { "string-is-null", DISK1(ONE_EACH ",\"serial\":null"),
      "Invalid parameter type for 'serial', expected: string" },
    { "number-is-list", DISK1(",\"num-queues\":[4]"),
      "Parameter 'num-queues' expects uint64" },
    { "number-is-null", DISK1(",\"num-queues\":null"),
      "Parameter 'num-queues' expects uint64" },
    { "mapping-is-null", DISK1(",\"iothread-vq-mapping\":null"),
      "Invalid parameter type for 'iothread-vq-mapping', expected: array" },
};

static void test_bad_command(const void *opaque)
{
    const VqRefusal *r = opaque;
    VqTest *t = new_machine();
    g_autofree char *error = vq_plug_try(t->qts, r->properties);

    g_assert_cmpstr(error, ==, r->message);
    vq_plug(t->qts, DISK1(ONE_EACH));
    assert_owners(t, "01");
    vq_test_free(t);
}

/* A slot is tried as text and as a number; QEMU must live through neither */
static void test_bad_addr(void)
{
    static const char *const values[] = { "null", "[1]", "{}", "{\"a\":[]}" };
    VqTest *t = new_machine();

    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        g_autofree char *json = g_strdup_printf(
            "{\"driver\":\"virtio-blk-pci\",\"drive\":\"node1\",\"addr\":%s}",
            values[i]);
        g_autofree char *error = vq_plug_try(t->qts, json);

        g_assert_nonnull(error);
        g_assert_true(g_str_has_prefix(error, "Invalid parameter type for "
                                       "'addr', expected"));
    }
    vq_test_free(t);
}

static bool is_qemu_9(VqTest *t)
{
    QDict *response = qtest_qmp(t->qts, "{'execute': 'query-version'}");
    QDict *version = qdict_get_qdict(qdict_get_qdict(response, "return"),
                                     "qemu");
    bool is_9 = qdict_get_int(version, "major") == 9;

    qobject_unref(response);
    return is_9;
}

/*
 * 9.0 takes scalars as text, which 10.0 does no longer; arrays beside them
 * must not change that
 */
static void test_strings(void)
{
    const char *json = DISK1(
        ",\"num-queues\":\"2\",\"ioeventfd\":\"on\",\"discard_granularity\":"
        "\"4k\",\"serial\":\"a,b=c\""
        VQ_MAPPING("{\"iothread\":\"iothread1\",\"vqs\":[0]},"
                   "{\"iothread\":\"iothread0\",\"vqs\":[1]}"));
    VqTest *t = new_machine();

    if (is_qemu_9(t)) {
        QDict *response;

        vq_plug(t->qts, json);
        assert_owners(t, "10");
        response = qtest_qmp(t->qts, "{'execute': 'qom-get', 'arguments':"
                             " {'path': 'disk1', 'property': 'serial'}}");
        g_assert_cmpstr(qdict_get_str(response, "return"), ==, "a,b=c");
        qobject_unref(response);
    } else {
        g_autofree char *error = vq_plug_try(t->qts, json);

        g_assert_nonnull(error);
    }
    vq_test_free(t);
}

/* Properties that virtio-net looks at when anything is plugged */
static void test_failover(void)
{
    QTestState *qts = qtest_init("-M pc -nodefaults -device "
                                 "virtio-net-pci,id=standby0,failover=on");
    g_autofree char *pair = vq_plug_try(
        qts, "{\"driver\":\"virtio-net-pci\",\"id\":\"primary0\","
        "\"failover_pair_id\":[\"standby0\"]}");
    g_autofree char *id = vq_plug_try(
        qts, "{\"driver\":\"virtio-net-pci\",\"id\":{},"
        "\"failover_pair_id\":\"standby0\"}");

    g_assert_cmpstr(pair, ==, "Invalid parameter type for 'failover_pair_id', "
                    "expected: string");
    g_assert_cmpstr(id, ==, "Device with failover_pair_id needs to have id");
    vq_plug(qts, "{\"driver\":\"virtio-net-pci\",\"id\":\"primary0\","
            "\"failover_pair_id\":\"standby0\"}");
    qtest_quit(qts);
}

static void add_refusals(const char *dir, const VqRefusal *refusals, size_t n,
                         GTestDataFunc func)
{
    for (size_t i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf(
            "/virtio-blk-hotplug/%s/%s", dir, refusals[i].name);

        qtest_add_data_func(path, &refusals[i], func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        g_autofree char *path = g_strdup_printf("/virtio-blk-hotplug/owners/%s",
                                                shapes[i].name);

        qtest_add_data_func(path, &shapes[i], test_owners);
    }
    add_refusals("refused", vq_refusals, ARRAY_SIZE(vq_refusals),
                 test_refused);
    qtest_add_func("/virtio-blk-hotplug/refused/leaves-nothing",
                   test_refused_leaves_nothing);
    add_refusals("bad-command", bad_commands, ARRAY_SIZE(bad_commands),
                 test_bad_command);
    qtest_add_func("/virtio-blk-hotplug/bad-command/addr", test_bad_addr);
    qtest_add_func("/virtio-blk-hotplug/strings", test_strings);
    qtest_add_func("/virtio-blk-hotplug/failover", test_failover);
    return g_test_run();
}
