/*
 * qtests of virtio-blk's iothread-vq-mapping: which thread serves a virtqueue,
 * and which mappings are refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-refusals.h"
#include "vq-test-util.h"

typedef struct Shape {
    const char *name;
    unsigned num_iothreads;
    unsigned num_queues;
    /* JSON properties, made with the functions below if NULL */
    const char *properties;
    char *(*make_properties)(const struct Shape *shape);
    /* Index of the IOThread that must serve @vq, or -1 for the main loop */
    int (*owner)(const struct Shape *shape, unsigned vq);
    /* Also run what takes longer with this shape */
    bool thorough;
} Shape;

typedef struct Case {
    const Shape *shape;
    const VqTestDevice *device;
} Case;

static int owner_main_loop(const Shape *shape, unsigned vq)
{
    return -1;
}

static int owner_first(const Shape *shape, unsigned vq)
{
    return 0;
}

static int owner_round_robin(const Shape *shape, unsigned vq)
{
    return vq % shape->num_iothreads;
}

/* Backwards, so that no round-robin can pass for it */
static int owner_one_to_one(const Shape *shape, unsigned vq)
{
    return shape->num_iothreads - 1 - vq;
}

static int owner_two_each(const Shape *shape, unsigned vq)
{
    return vq / 2;
}

static char *make_mapping(const Shape *shape, bool with_vqs)
{
    g_autoptr(GString) json = g_string_new(",\"iothread-vq-mapping\":[");

    for (unsigned i = 0; i < shape->num_iothreads; i++) {
        const char *sep = "";

        g_string_append_printf(json, "%s{\"iothread\":\"iothread%u\"",
                               i ? "," : "", i);
        if (with_vqs) {
            g_string_append(json, ",\"vqs\":[");
            for (unsigned vq = 0; vq < shape->num_queues; vq++) {
                if (shape->owner(shape, vq) == i) {
                    g_string_append_printf(json, "%s%u", sep, vq);
                    sep = ",";
                }
            }
            g_string_append(json, "]");
        }
        g_string_append(json, "}");
    }
    g_string_append(json, "]");
    return g_strdup(json->str);
}

static char *make_without_vqs(const Shape *shape)
{
    return make_mapping(shape, false);
}

static char *make_with_vqs(const Shape *shape)
{
    return make_mapping(shape, true);
}

static const Shape shapes[] = {
    { "main-loop", 1, 16, "", NULL, owner_main_loop, true },
    { "iothread", 2, 16, ",\"iothread\":\"iothread0\"", NULL, owner_first,
      true },
    { "one-iothread", 1, 16, NULL, make_without_vqs, owner_first },
    { "round-robin", 16, 16, NULL, make_without_vqs, owner_round_robin },
    { "round-robin-3", 3, 16, NULL, make_without_vqs, owner_round_robin },
    { "one-to-one", 16, 16, NULL, make_with_vqs, owner_one_to_one },
    { "two-each", 8, 16, NULL, make_with_vqs, owner_two_each, true },
    { "more-iothreads", 4, 2, NULL, make_without_vqs, owner_round_robin },
};

static VqTest *new_from_shape(const Shape *shape, const VqTestDevice *device)
{
    g_autofree char *properties =
        shape->properties ? g_strdup(shape->properties)
                          : shape->make_properties(shape);

    return vq_test_new(device, shape->num_iothreads, shape->num_queues,
                       properties);
}

/* The thread that must serve @vq */
static pid_t owner_tid(VqTest *t, const Shape *shape, unsigned vq)
{
    int owner = shape->owner(shape, vq);
    g_autofree char *name =
        owner < 0 ? NULL : g_strdup_printf("iothread%d", owner);

    return vq_test_thread_id(t, name);
}

static void assert_owners(VqTest *t, const Shape *shape)
{
    for (unsigned vq = 0; vq < shape->num_queues; vq++) {
        g_assert_cmpint(vq_test_read(t, vq), ==, owner_tid(t, shape, vq));
    }
}

/*
 * Each virtqueue is attached, and was detached at least @least times since
 * QEMU started, all of it by its owner
 */
static void assert_detached_by_owners(VqTest *t, const Shape *shape,
                                      unsigned least)
{
    for (unsigned vq = 0; vq < shape->num_queues; vq++) {
        g_autofree char *this_vq = g_strdup_printf(" vq %u ", vq);
        pid_t tid = owner_tid(t, shape, vq);
        unsigned attached =
            vq_test_count_trace(t, "virtio_blk_queue_attach", this_vq, tid);
        unsigned detached =
            vq_test_count_trace(t, "virtio_blk_queue_detach", this_vq, tid);

        g_assert_cmpuint(attached, ==, detached + 1);
        g_assert_cmpuint(detached, >=, least);
    }
}

static void test_shape(const void *opaque)
{
    const Case *c = opaque;
    VqTest *t = new_from_shape(c->shape, c->device);

    vq_test_start_driver(t);
    assert_owners(t, c->shape);
    vq_test_free(t);
}

/* What is written through one virtqueue is read back through another */
static void test_data(const void *opaque)
{
    const Case *c = opaque;
    VqTest *t = new_from_shape(c->shape, c->device);
    unsigned n = c->shape->num_queues;

    vq_test_start_driver(t);
    for (unsigned vq = 0; vq < n; vq++) {
        vq_test_write_pattern(t, vq, vq, 0xa0 + vq);
    }
    for (unsigned vq = 0; vq < n; vq++) {
        vq_test_check_pattern(t, vq, n - 1 - vq, 0xa0 + n - 1 - vq);
    }
    vq_test_free(t);
}

static void test_reset(const void *opaque)
{
    const Case *c = opaque;
    VqTest *t = new_from_shape(c->shape, c->device);

    vq_test_start_driver(t);
    assert_owners(t, c->shape);
    for (int i = 0; i < 3; i++) {
        vq_test_reset(t);
        assert_owners(t, c->shape);
    }
    vq_test_free(t);
}

static void test_stop_cont(const void *opaque)
{
    const Case *c = opaque;
    VqTest *t = new_from_shape(c->shape, c->device);

    vq_test_start_driver(t);
    for (int i = 0; i < 3; i++) {
        qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
        qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
        qtest_qmp_eventwait(t->qts, "RESUME");
        assert_owners(t, c->shape);
    }
    vq_test_free(t);
}

/*
 * Resizing drains the node: each virtqueue is detached and attached again, by
 * its owner, and goes on working
 */
static void test_drain(const void *opaque)
{
    const Case *c = opaque;
    VqTest *t = new_from_shape(c->shape, c->device);

    vq_test_start_driver(t);
    assert_owners(t, c->shape);
    assert_detached_by_owners(t, c->shape, 0);
    for (int i = 1; i <= 3; i++) {
        qtest_qmp_assert_success(t->qts, "{'execute': 'block_resize',"
                                 " 'arguments': {'node-name': 'node0',"
                                 "               'size': %d}}",
                                 VQ_TEST_DISK_SIZE + i * 512);
        assert_owners(t, c->shape);
        assert_detached_by_owners(t, c->shape, i);
    }
    vq_test_free(t);
}

/*
 * A refused device must leave nothing: the coroutine pool is as large as
 * before, and the IOThread's thread, which runs until the last reference is
 * gone, can end.
 */
static void test_refused_releases(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 1, "");
    unsigned pool_size = vq_test_peek(t, "global_pool_max_size");

    g_assert_cmpuint(pool_size, >, 0);

    qtest_qmp_assert_success(t->qts, "{'execute': 'object-add', 'arguments':"
                             " {'qom-type': 'iothread', 'id': 'extra'}}");
    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'node1'}}");
    g_assert_true(vq_test_has_iothread(t, "extra"));

    for (int i = 0; i < 10; i++) {
        QDict *error = qtest_qmp_assert_failure_ref(
            t->qts, "{'execute': 'device_add', 'arguments':"
            " {'driver': 'virtio-blk-pci', 'id': 'disk1', 'drive': 'node1',"
            "  'iothread': 'extra', 'ioeventfd': false}}");

        g_assert_cmpstr(qdict_get_str(error, "desc"), ==,
                        "ioeventfd is required for iothread");
        qobject_unref(error);
    }

    g_assert_cmpuint(vq_test_peek(t, "global_pool_max_size"), ==, pool_size);

    /* The node and the IOThread are free again */
    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-del', 'arguments':"
                             " {'node-name': 'node1'}}");
    qtest_qmp_assert_success(t->qts, "{'execute': 'object-del', 'arguments':"
                             " {'id': 'extra'}}");
    g_assert_false(vq_test_has_iothread(t, "extra"));
    vq_test_free(t);
}

static void test_refused(const void *opaque)
{
    const VqRefusal *r = opaque;
    g_autofree char *device = g_strdup_printf(
        "{\"driver\":\"virtio-blk-pci\",\"drive\":\"node0\",\"num-queues\":4"
        "%s}", r->properties);
    g_autofree char *expected =
        g_strdup_printf("qemu-system-x86_64: -device %s: %s\n", device,
                        r->message);
    g_autofree char *output = NULL;

    g_assert_cmpint(vq_test_run_qemu("pc", 2, device, &output), ==, 1);
    g_assert_cmpstr(output, ==, expected);
}

/* virtio-mmio has notifiers too, which can be turned off as well */
static void test_refused_mmio(void)
{
    g_autofree char *output = NULL;
    int status = vq_test_run_qemu(
        "microvm -global virtio-mmio.ioeventfd=off", 1,
        "{\"driver\":\"virtio-blk-device\",\"drive\":\"node0\""
        VQ_MAPPING("{\"iothread\":\"iothread0\"}") "}", &output);

    g_assert_cmpint(status, ==, 1);
    g_assert_true(g_str_has_suffix(output, ": ioeventfd is required for "
                                   "iothread\n"));
}

static void test_warning(void)
{
    const char *device =
        "{\"driver\":\"virtio-blk-pci\",\"drive\":\"node0\",\"num-queues\":2"
        VQ_MAPPING("{\"iothread\":\"iothread0\"},{\"iothread\":\"iothread1\"},"
                   "{\"iothread\":\"iothread2\"},{\"iothread\":\"iothread3\"}")
        "}";
    g_autofree char *expected = g_strdup_printf(
        "qemu-system-x86_64: -device %s: warning: iothread-vq-mapping names 4 "
        "IOThreads for 2 virtqueues, these stay idle: iothread2, iothread3\n",
        device);
    g_autofree char *output = NULL;

    g_assert_cmpint(vq_test_run_qemu("pc", 4, device, &output), ==, 0);
    g_assert_cmpstr(output, ==, expected);
}

static void add_case(const char *test, const Shape *shape,
                     const VqTestDevice *device, GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf(
        "/virtio-blk-vq-mapping/%s/%s/%s",
        device == &vq_test_blk_pci ? "pci" : "mmio", test, shape->name);
    Case *c = g_new(Case, 1);

    c->shape = shape;
    c->device = device;
    qtest_add_data_func_full(path, c, func, g_free);
}

static void add_cases(const Shape *shape, const VqTestDevice *device)
{
    add_case("owner", shape, device, test_shape);
    if (shape->thorough) {
        add_case("data", shape, device, test_data);
        add_case("reset", shape, device, test_reset);
        add_case("stop-cont", shape, device, test_stop_cont);
        add_case("drain", shape, device, test_drain);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        add_cases(&shapes[i], &vq_test_blk_pci);
        add_cases(&shapes[i], &vq_test_blk_mmio);
    }
    for (size_t i = 0; i < ARRAY_SIZE(vq_refusals); i++) {
        g_autofree char *path = g_strdup_printf(
            "/virtio-blk-vq-mapping/refused/%s", vq_refusals[i].name);

        qtest_add_data_func(path, &vq_refusals[i], test_refused);
    }
    qtest_add_func("/virtio-blk-vq-mapping/refused/mmio", test_refused_mmio);
    qtest_add_func("/virtio-blk-vq-mapping/refused/releases",
                   test_refused_releases);
    qtest_add_func("/virtio-blk-vq-mapping/warning", test_warning);
    return g_test_run();
}
