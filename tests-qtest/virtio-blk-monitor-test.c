/*
 * qtests of what the monitor shows: which thread serves which virtqueue, and
 * that this is so
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-iothread-vq-mapping.h"
#include "qapi/qobject-input-visitor.h"
#include "vq-plug.h"
#include "vq-queues.h"
#include "vq-test-util.h"

#define NUM_QUEUES 4
#define SLOT_DISK0 4

typedef struct Shape {
    const char *name;
    const VqTestDevice *device;
    unsigned num_iothreads;
    const char *properties;
    const char *owners[NUM_QUEUES]; /* "": the main loop */
    const char *text;               /* as "info qtree" shows it */
    const char *list;               /* as get_mapping() says */
} Shape;

#define VQS \
    ",\"iothread-vq-mapping\":[" \
    "{\"iothread\":\"/objects/iothread1\",\"vqs\":[3,0,1]}," \
    "{\"iothread\":\"iothread0\",\"vqs\":[2]}]"

static const Shape shapes[] = {
    { "pci/main-loop", &vq_test_blk_pci, 1, "", { "", "", "", "" },
      "<null>", "" },
    { "pci/iothread", &vq_test_blk_pci, 2, ",\"iothread\":\"iothread1\"",
      { "iothread1", "iothread1", "iothread1", "iothread1" },
      "iothread1:0-3",
      "iothread1 0 1 2 3;" },
    { "pci/round-robin", &vq_test_blk_pci, 3,
      ",\"iothread-vq-mapping\":[{\"iothread\":\"iothread2\"},"
      "{\"iothread\":\"iothread0\"},{\"iothread\":\"iothread1\"}]",
      { "iothread2", "iothread0", "iothread1", "iothread2" },
      "iothread2:0,3,iothread0:1,iothread1:2",
      "iothread2 0 3;iothread0 1;iothread1 2;" },
    { "pci/vqs", &vq_test_blk_pci, 2, VQS,
      { "iothread1", "iothread1", "iothread0", "iothread1" },
      "iothread1:0-1,3,iothread0:2",
      "iothread1 0 1 3;iothread0 2;" },
    { "mmio/main-loop", &vq_test_blk_mmio, 1, "", { "", "", "", "" },
      "<null>", "" },
    { "mmio/vqs", &vq_test_blk_mmio, 2, VQS,
      { "iothread1", "iothread1", "iothread0", "iothread1" },
      "iothread1:0-1,3,iothread0:2",
      "iothread1 0 1 3;iothread0 2;" },
};

static VqTest *new_from_shape(const Shape *shape)
{
    return vq_test_new(shape->device, shape->num_iothreads, NUM_QUEUES,
                       shape->properties);
}

static pid_t owner_tid(VqTest *t, const Shape *shape, unsigned vq)
{
    const char *owner = shape->owners[vq];

    return vq_test_thread_id(t, *owner ? owner : NULL);
}

/* The thread that is shown is the one that runs the requests */
static void test_threads(const void *opaque)
{
    const Shape *shape = opaque;
    VqTest *t = new_from_shape(shape);
    VqQueues queues;

    vq_queues_query(t->qts, "disk0", &queues);
    g_assert_false(queues.started);
    g_assert_cmpstr(queues.id, ==, "disk0");
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_false(queues.vq[vq].enabled);
        g_assert_cmpstr(queues.vq[vq].iothread, ==, shape->owners[vq]);
    }

    vq_test_setup_driver(t, NUM_QUEUES - 1);
    qvirtio_set_driver_ok(t->vdev);
    vq_queues_query(t->qts, "disk0", &queues);
    g_assert_true(queues.started);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpint(queues.vq[vq].enabled, ==, vq < NUM_QUEUES - 1);
        g_assert_cmpint(queues.vq[vq].thread_id, ==, owner_tid(t, shape, vq));
        if (queues.vq[vq].enabled) {
            g_assert_cmpint(vq_test_read(t, vq), ==,
                            queues.vq[vq].thread_id);
        }
    }

    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
    vq_queues_query(t->qts, "disk0", &queues);
    g_assert_false(queues.started);
    vq_test_free(t);
}

/* qom-get of a mapping: each IOThread with its virtqueues */
static char *get_mapping(VqTest *t, const char *property)
{
    QDict *reply = qtest_qmp(t->qts, "{'execute': 'qom-get', 'arguments':"
                             " {'path': '/machine/peripheral/disk0',"
                             "  'property': %s}}", property);
    Visitor *v = qobject_input_visitor_new(qdict_get(reply, "return"));
    g_autoptr(IOThreadVirtQueueMappingList) list = NULL;
    GString *text = g_string_new(NULL);

    visit_type_IOThreadVirtQueueMappingList(v, NULL, &list, &error_abort);
    visit_free(v);
    qobject_unref(reply);
    for (IOThreadVirtQueueMappingList *l = list; l; l = l->next) {
        g_string_append(text, l->value->iothread);
        for (uint16List *vq = l->value->vqs; vq; vq = vq->next) {
            g_string_append_printf(text, " %u", vq->value);
        }
        g_string_append_c(text, ';');
    }
    return g_string_free(text, false);
}

static void test_resolved(const void *opaque)
{
    const Shape *shape = opaque;
    VqTest *t = new_from_shape(shape);
    g_autofree char *wanted =
        g_strdup_printf("x-iothread-vq-mapping-resolved = %s\r\n",
                        shape->text);
    g_autofree char *qtree = qtest_hmp(t->qts, "info qtree");
    g_autofree char *list = get_mapping(t, "x-iothread-vq-mapping-resolved");
    QDict *reply;

    g_assert_nonnull(strstr(qtree, wanted));
    g_assert_cmpstr(list, ==, shape->list);

    reply = qtest_qmp(t->qts, "{'execute': 'qom-set', 'arguments':"
                      " {'path': '/machine/peripheral/disk0', 'value': [],"
                      "  'property': 'x-iothread-vq-mapping-resolved'}}");
    g_assert_true(qdict_haskey(reply, "error"));
    qobject_unref(reply);
    vq_test_free(t);
}

/* What the user has typed reads back as it was, and as text in "info qtree" */
static void test_typed(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 2, NUM_QUEUES, VQS);
    g_autofree char *qtree = qtest_hmp(t->qts, "info qtree");
    g_autofree char *list = get_mapping(t, "iothread-vq-mapping");

    g_assert_nonnull(strstr(qtree, "iothread-vq-mapping = "
                            "/objects/iothread1:3,0-1,iothread0:2\r\n"));
    g_assert_cmpstr(list, ==, "/objects/iothread1 3 0 1;iothread0 2;");
    vq_test_free(t);
}

static void assert_error(VqTest *t, const char *device, const char *class,
                         const char *desc)
{
    QDict *reply = qtest_qmp(t->qts, "{'execute': 'query-virtio-blk-queues',"
                             " 'arguments': {'id': %s}}", device);
    QDict *error = qdict_get_qdict(reply, "error");
    g_autofree char *command =
        g_strdup_printf("info virtio-blk-queues %s", device);
    g_autofree char *expected = g_strdup_printf("Error: %s\r\n", desc);
    g_autofree char *hmp = qtest_hmp(t->qts, "%s", command);

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, class);
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, desc);
    g_assert_cmpstr(hmp, ==, expected);
    qobject_unref(reply);
}

/* A disk is found by its id and by its paths, and is gone with its counts */
static void test_find(void)
{
    static const char *const names[] = {
        "disk0", "/machine/peripheral/disk0",
        "/machine/peripheral/disk0/virtio-backend",
    };
    VqTest *t = vq_test_new(&vq_test_blk_pci, 2, NUM_QUEUES, VQS);
    VqQueues queues;

    vq_test_start_driver(t);
    vq_test_read(t, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        vq_queues_query(t->qts, names[i], &queues);
        g_assert_cmpstr(queues.id, ==, "disk0");
        g_assert_cmpstr(queues.path, ==, names[2]);
        g_assert_cmpuint(vq_queues_requests(&queues.vq[1]), ==, 1);
    }
    assert_error(t, "disk1", "DeviceNotFound", "Device 'disk1' not found");
    assert_error(t, "/objects/iothread0", "DeviceNotFound",
                 "Device '/objects/iothread0' not found");

    vq_plug(t->qts, "{'driver': 'virtio-rng-pci', 'id': 'rng0'}");
    assert_error(t, "rng0", "GenericError",
                 "Device 'rng0' is not a virtio-blk disk");
    /* One that the user has not named */
    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'null0'}}");
    vq_plug(t->qts, "{'driver': 'virtio-blk-pci', 'drive': 'null0'}");
    g_assert_cmpuint(vq_queues_count_disks(t->qts), ==, 2);
    vq_queues_query(t->qts, "/machine/peripheral-anon/device[0]", &queues);
    g_assert_cmpstr(queues.id, ==, "");

    vq_plug_unplug(t->qts, "disk0", SLOT_DISK0);
    g_assert_cmpuint(vq_queues_count_disks(t->qts), ==, 1);
    assert_error(t, "disk0", "DeviceNotFound", "Device 'disk0' not found");
    vq_plug(t->qts, "{'driver': 'virtio-blk-pci', 'id': 'disk0', 'addr': '4',"
            " 'drive': 'node0', 'num-queues': 4}");
    vq_queues_query(t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        for (unsigned i = 0; i < VQ_QUEUES_TOTALS; i++) {
            g_assert_cmpuint(queues.vq[vq].totals[i], ==, 0);
        }
    }
    vq_test_free(t);
}

/* The table for people has a line for each virtqueue */
static void test_hmp(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 2, NUM_QUEUES, VQS);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    vq_test_setup_driver(t, NUM_QUEUES - 1);
    qvirtio_set_driver_ok(t->vdev);
    vq_test_read(t, 2);
    vq_test_read(t, 2);
    text = qtest_hmp(t->qts, "info virtio-blk-queues");
    lines = g_strsplit(text, "\r\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, NUM_QUEUES + 3);
    g_assert_cmpstr(lines[0], ==, "disk0: 4 virtqueues, ioeventfd started");
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        const char *iothread = vq == 2 ? "iothread0" : "iothread1";
        g_autofree char *pattern =
            g_strdup_printf("^ +%u +%s +%d +%s", vq, iothread,
                            vq_test_thread_id(t, iothread),
                            vq == 3 ? "not set up by the guest$" :
                            vq == 2 ? "0 +1 +2 +0 +0 +0 .*$" :
                            "0 +0 +0 +0 +0 +0 .*$");

        g_assert_true(g_regex_match_simple(pattern, lines[2 + vq], 0, 0));
    }
    vq_test_free(t);
}

static void assert_iothreads(VqTest *t, const char *digits)
{
    VqQueues queues;

    vq_queues_query(t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_autofree char *name = digits[vq] == '-' ? g_strdup("")
            : g_strdup_printf("iothread%c", digits[vq]);

        g_assert_cmpstr(queues.vq[vq].iothread, ==, name);
        g_assert_cmpint(vq_test_read(t, vq), ==,
                        vq_test_thread_id(t, *name ? name : NULL));
    }
}

/* People give another mapping as text */
static void test_map(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 3, NUM_QUEUES, "");
    g_autofree char *vqs = NULL;
    g_autofree char *same = NULL;
    g_autofree char *wrong = NULL;
    g_autofree char *main_loop = NULL;
    static const char *const texts[] = {
        "", ",", "iothread0,", "iothread0:", "iothread0:0-,iothread1",
        "iothread0:3-1", "0-3", "iothread0,3", "iothread0:0-70000", ":0-3",
        "iothread0:0-3-4", "iothread0:0--1",
    };

    vq_test_start_driver(t);
    vqs = qtest_hmp(t->qts, "virtio_blk_remap disk0 "
                    "iothread1:0-1,3,iothread2:2");
    g_assert_cmpstr(vqs, ==, "");
    qtest_qmp_eventwait(t->qts, "VIRTIO_BLK_REMAPPED");
    assert_iothreads(t, "1121");
    same = qtest_hmp(t->qts, "virtio_blk_remap disk0 "
                     "iothread2:2,iothread1:0,1,3");
    g_assert_cmpstr(same, ==, "");
    wrong = qtest_hmp(t->qts, "virtio_blk_remap disk0 iothread0:0");
    g_assert_cmpstr(wrong, ==, "Error: missing vq 1 IOThread assignment in "
                    "iothread-vq-mapping\r\n");
    for (unsigned i = 1; i < ARRAY_SIZE(texts); i++) {
        g_autofree char *said = qtest_hmp(
            t->qts, "virtio_blk_remap disk0 %s", texts[i]);
        g_autofree char *wanted = g_strdup_printf(
            "Error: '%s' is no mapping like 't0:0-3,t1:4,6' or 't0,t1'\r\n",
            texts[i]);

        g_assert_cmpstr(said, ==, wanted);
    }
    assert_iothreads(t, "1121");
    main_loop = qtest_hmp(t->qts, "virtio_blk_remap disk0 main-loop");
    g_assert_cmpstr(main_loop, ==, "");
    qtest_qmp_eventwait(t->qts, "VIRTIO_BLK_REMAPPED");
    qtest_qmp_eventwait(t->qts, "VIRTIO_BLK_REMAPPED");
    assert_iothreads(t, "----");
    vq_test_free(t);
}

/* Start, attach, detach and stop are traced, with device and virtqueue */
static void test_traces(void)
{
    VqTestDevice device = vq_test_blk_pci;
    VqTest *t;

    device.more_traces = "-trace vq_* -trace virtio_blk_*_ioeventfd "
                         "-trace virtio_blk_queue_*";
    t = vq_test_new(&device, 2, NUM_QUEUES, VQS);
    vq_test_start_driver(t);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        const char *iothread = vq == 2 ? "iothread0" : "iothread1";
        g_autofree char *text =
            g_strdup_printf(" device disk0 vq %u iothread %s", vq, iothread);
        pid_t tid = vq_test_thread_id(t, iothread);

        vq_test_read(t, vq);
        g_assert_cmpuint(vq_test_count_trace(t, "vq_owners_new", text,
                                             qtest_pid(t->qts)), ==, 1);
        g_assert_cmpuint(vq_test_count_trace(t, "virtio_blk_queue_attach",
                                             text, tid), ==, 1);
        g_assert_cmpuint(vq_test_count_trace(t, "virtio_blk_queue_detach",
                                             text, tid), ==, 0);
    }
    g_assert_cmpuint(vq_test_count_trace(t, "virtio_blk_start_ioeventfd",
                                         " device disk0 num_vqs 4",
                                         qtest_pid(t->qts)), ==, 1);
    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
    g_assert_cmpuint(vq_test_count_trace(t, "virtio_blk_stop_ioeventfd",
                                         " device disk0 num_vqs 4",
                                         qtest_pid(t->qts)), ==, 1);
    g_assert_cmpuint(vq_test_count_trace(t, "virtio_blk_queue_detach", " vq 2 ",
                                         vq_test_thread_id(t, "iothread0")),
                     ==, 1);
    vq_test_free(t);
}

static void add_for_shapes(const char *name, GTestDataFunc test)
{
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        g_autofree char *path =
            g_strdup_printf("/virtio-blk-monitor/%s/%s", name, shapes[i].name);

        qtest_add_data_func(path, &shapes[i], test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_for_shapes("threads", test_threads);
    add_for_shapes("resolved", test_resolved);
    qtest_add_func("/virtio-blk-monitor/typed", test_typed);
    qtest_add_func("/virtio-blk-monitor/find", test_find);
    qtest_add_func("/virtio-blk-monitor/hmp", test_hmp);
    qtest_add_func("/virtio-blk-monitor/map", test_map);
    qtest_add_func("/virtio-blk-monitor/traces", test_traces);
    return g_test_run();
}
