/*
 * qtests of virtio-blk-set-iothread-vq-mapping: virtqueues that are remapped to
 * other IOThreads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqmp.h"
#include "standard-headers/linux/virtio_blk.h"
#include "vq-plug.h"
#include "vq-queues.h"
#include "vq-refusals.h"
#include "vq-remap.h"
#include "vq-test-util.h"

#define NUM_QUEUES 4
#define NUM_IOTHREADS 3
#define SLOT_DISK0 4
#define T(i) "{\"iothread\":\"iothread" #i "\"}"
#define TV(i, vqs) "{\"iothread\":\"iothread" #i "\",\"vqs\":[" vqs "]}"
#define PROPERTY(list) ",\"iothread-vq-mapping\":" list

/* What a disk begins with, and what it is remapped to; '-' is the main loop */
typedef struct Case {
    const char *name;
    const VqTestDevice *device;
    const char *properties;
    const char *owners;     /* a digit per virtqueue, '-': the main loop */
    const char *mapping;    /* NULL: the main loop */
    const char *new_owners;
} Case;

static const Case cases[] = {
    { "pci/main-loop/one", &vq_test_blk_pci, "", "----", "[" T(1) "]",
      "1111" },
    { "pci/main-loop/round-robin", &vq_test_blk_pci, "", "----",
      "[" T(2) "," T(0) "]", "2020" },
    { "pci/iothread/vqs", &vq_test_blk_pci, ",\"iothread\":\"iothread0\"",
      "0000", "[" TV(1, "3,1") "," TV(0, "0") "," TV(2, "2") "]", "0121" },
    { "pci/iothread/main-loop", &vq_test_blk_pci,
      ",\"iothread\":\"iothread0\"", "0000", NULL, "----" },
    { "pci/vqs/one-moves", &vq_test_blk_pci,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011",
      "[" TV(0, "0,1,2") "," TV(1, "3") "]", "0001" },
    { "pci/vqs/swap", &vq_test_blk_pci,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011",
      "[" TV(1, "0,1") "," TV(0, "2,3") "]", "1100" },
    { "pci/vqs/main-loop", &vq_test_blk_pci,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011", NULL, "----" },
    { "pci/vqs/same", &vq_test_blk_pci,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011",
      "[" TV(1, "3,2") "," TV(0, "1,0") "]", "0011" },
    { "mmio/main-loop/one", &vq_test_blk_mmio, "", "----", "[" T(1) "]",
      "1111" },
    { "mmio/vqs/swap", &vq_test_blk_mmio,
      PROPERTY("[" TV(0, "0,1") "," TV(1, "2,3") "]"), "0011",
      "[" TV(1, "0,1") "," TV(0, "2,3") "]", "1100" },
};

static VqTest *new_disk(const char *properties)
{
    return vq_test_new(&vq_test_blk_pci, NUM_IOTHREADS, NUM_QUEUES,
                       properties);
}

/* The thread that serves a request, and what the query says of it */
static void assert_owners(VqTest *t, const char *owners)
{
    VqQueues queues;

    vq_queues_query(t->qts, "disk0", &queues);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_autofree char *name = vq_remap_owner_name(owners[vq]);

        g_assert_cmpint(vq_test_read(t, vq), ==, vq_test_thread_id(t, name));
        g_assert_cmpstr(queues.vq[vq].iothread, ==, name ?: "");
    }
}

/* IOThreads that have no virtqueue can be deleted at once, others cannot */
static void delete_unused(VqTest *t, const char *owners)
{
    for (unsigned i = 0; i < NUM_IOTHREADS; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);
        g_autofree char *error = vq_plug_object_del(t->qts, name);

        g_assert_cmpint(error == NULL, ==, !strchr(owners, '0' + i));
        g_assert_cmpint(vq_test_has_iothread(t, name), ==, error != NULL);
    }
}

/* How often the notifier of virtqueue @vq was detached, by any thread */
static unsigned count_detached(VqTest *t, unsigned vq)
{
    g_autofree char *needle = g_strdup_printf("device disk0 vq %u ", vq);

    return vq_test_count_event(t, "virtio_blk_queue_detach", needle);
}

/* While the disk is served; virtqueue 0 takes all along as the node moves */
static void test_running(const void *opaque)
{
    const Case *c = opaque;
    VqTest *t = vq_test_new(c->device, NUM_IOTHREADS, NUM_QUEUES,
                            c->properties);
    VqRemapResult result;

    vq_test_start_driver(t);
    assert_owners(t, c->owners);
    vq_remap(t->qts, "disk0", c->mapping, &result);
    vq_remap_assert_moves(&result, c->owners, c->new_owners, true);
    assert_owners(t, c->new_owners);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        if (c->owners[0] == c->new_owners[0]) {
            g_assert_cmpint(count_detached(t, vq) > 0, ==,
                            c->owners[vq] != c->new_owners[vq]);
        }
    }

    /* It is the mapping from there on */
    vq_test_reset(t);
    assert_owners(t, c->new_owners);
    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
    assert_owners(t, c->new_owners);
    delete_unused(t, c->new_owners);
    vq_test_free(t);
}

/* Before the driver is up, while the VM is stopped, and after a reset */
static void test_idle(const void *opaque)
{
    const Case *c = opaque;
    VqTest *t = vq_test_new(c->device, NUM_IOTHREADS, NUM_QUEUES,
                            c->properties);
    VqRemapResult result;

    vq_remap(t->qts, "disk0", "[" T(2) "]", &result);
    vq_remap_assert_moves(&result, c->owners, "2222", false);
    vq_test_start_driver(t);
    assert_owners(t, "2222");

    qtest_qmp_assert_success(t->qts, "{'execute': 'stop'}");
    vq_remap(t->qts, "disk0", "[" T(1) "," T(0) "]", &result);
    vq_remap_assert_moves(&result, "2222", "1010", false);
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
    assert_owners(t, "1010");

    vq_test_stop_driver(t);
    vq_remap(t->qts, "disk0", c->mapping, &result);
    vq_remap_assert_moves(&result, "1010", c->new_owners, false);
    vq_test_start_driver(t);
    assert_owners(t, c->new_owners);
    delete_unused(t, c->new_owners);
    vq_test_free(t);
}

/* Some virtqueues are set up, the others are with their first kick */
static void test_unused(void)
{
    VqTest *t = new_disk("");
    VqRemapResult result;

    vq_test_setup_driver(t, 2);
    qvirtio_set_driver_ok(t->vdev);
    vq_remap(t->qts, "disk0", "[" T(0) "," T(1) "]", &result);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpint(result.moves[vq].unserved_ns > 0, ==, vq < 2);
    }
    for (unsigned vq = 0; vq < 2; vq++) {
        g_autofree char *name = g_strdup_printf("iothread%u", vq);

        g_assert_cmpint(vq_test_read(t, vq), ==, vq_test_thread_id(t, name));
    }
    vq_test_reset(t);
    assert_owners(t, "0101");
    vq_test_free(t);
}

/* Out of IOThreads that the disk has made for itself, and back */
static void test_own_iothreads(void)
{
    VqTest *t = new_disk(",\"x-iothreads\":2");
    g_autofree char *error = NULL;

    vq_test_start_driver(t);
    vq_remap(t->qts, "disk0", "[" T(1) "]", NULL);
    assert_owners(t, "1111");
    g_assert_true(vq_test_has_iothread(t, "disk0.0"));
    error = vq_plug_object_del(t->qts, "disk0.0");
    g_assert_cmpstr(error, ==, "object 'disk0.0' is in use, can not be "
                    "deleted: device 'disk0' made it");

    vq_remap(t->qts, "disk0", "[{\"iothread\":\"disk0.1\"}]", NULL);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpint(vq_test_read(t, vq), ==,
                        vq_test_thread_id(t, "disk0.1"));
    }
    qtest_qmp_device_del_send(t->qts, "disk0");
    vq_plug_eject(t->qts, SLOT_DISK0);
    vq_plug_wait_gone(t->qts, "disk0");
    g_assert_false(vq_test_has_iothread(t, "disk0.0"));
    g_assert_false(vq_test_has_iothread(t, "disk0.1"));
    vq_test_free(t);
}

/* As for the property, and nothing has changed */
static void test_refused(const void *opaque)
{
    const VqRefusal *r = opaque;
    const char *mapping = strchr(r->properties, ':') + 1;
    VqTest *t = vq_test_new(&vq_test_blk_pci, 2, NUM_QUEUES,
                            ",\"iothread\":\"iothread1\"");
    g_autofree char *error = NULL;

    vq_test_start_driver(t);
    error = vq_remap_try(t->qts, "disk0", mapping, NULL);
    g_assert_cmpstr(error, ==, r->message);
    assert_owners(t, "1111");
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpuint(count_detached(t, vq), ==, 0);
    }
    g_assert_null(vq_plug_object_del(t->qts, "iothread0"));
    vq_test_free(t);
}

static void test_no_device(void)
{
    QTestState *qts = qtest_init(
        "-M pc -nodefaults -object iothread,id=iothread0 "
        "-blockdev driver=null-co,node-name=node0 "
        "-device virtio-blk-pci,drive=node0,id=disk0,ioeventfd=off "
        "-device virtio-scsi-pci,id=scsi0");
    static const struct {
        const char *device, *message;
    } rows[] = {
        { "nope", "Device 'nope' not found" },
        { "iothread0", "Device 'iothread0' not found" },
        { "scsi0", "Device 'scsi0' is not a virtio-blk disk" },
        { "disk0", "ioeventfd is required for iothread" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *error = vq_remap_try(qts, rows[i].device,
                                              "[" T(0) "]", NULL);

        g_assert_cmpstr(error, ==, rows[i].message);
    }
    /* The main loop serves it anyway */
    vq_remap(qts, "disk0", NULL, NULL);
    g_assert_null(vq_plug_object_del(qts, "iothread0"));
    qtest_quit(qts);
}

/* What waits for a restart is restarted in the new thread */
static void test_waiting(void)
{
    VqTestDevice device = vq_test_blk_pci;
    g_autofree char *needle = NULL;
    uint8_t in[VQ_TEST_SECTOR + 1];
    pid_t tids[2] = {};
    VqTestRequest req;
    VqRemapResult result;
    VqTest *t;

    device.drive = ",\"drive\":\"node1\",\"rerror\":\"stop\"";
    device.more_args = " -blockdev driver=blkdebug,node-name=node1,"
                       "image=node0,inject-error.0.event=none,"
                       "inject-error.0.sector=2,inject-error.0.once=on";
    t = vq_test_new(&device, NUM_IOTHREADS, NUM_QUEUES, PROPERTY("[" T(0) "]"));
    vq_test_start_driver(t);
    req = vq_test_prepare_read(t, 1, &needle);
    vq_test_submit(t, &req, true);
    qtest_qmp_eventwait(t->qts, "STOP");

    vq_remap(t->qts, "disk0", "[" T(1) "]", &result);
    vq_remap_assert_moves(&result, "0000", "1111", false);
    qtest_qmp_assert_success(t->qts, "{'execute': 'cont'}");
    vq_test_complete(t, &req, in);
    g_assert_cmpuint(in[VQ_TEST_SECTOR], ==, VIRTIO_BLK_S_OK);
    g_assert_cmpuint(vq_test_traced_threads(t, needle, tids, 2), ==, 2);
    g_assert_cmpint(tids[0], ==, vq_test_thread_id(t, "iothread0"));
    g_assert_cmpint(tids[1], ==, vq_test_thread_id(t, "iothread1"));

    /* It is not waited for any more */
    vq_remap(t->qts, "disk0", "[" T(2) "]", NULL);
    assert_owners(t, "2222");
    vq_test_free(t);
}

/* An unplug that the guest has not acknowledged is no obstacle */
static void test_pending_unplug(void)
{
    VqTest *t = new_disk("");

    vq_test_start_driver(t);
    qtest_qmp_device_del_send(t->qts, "disk0");
    vq_remap(t->qts, "disk0", "[" T(0) "]", NULL);
    assert_owners(t, "0000");
    vq_plug_eject(t->qts, SLOT_DISK0);
    vq_plug_wait_gone(t->qts, "disk0");
    delete_unused(t, "----");
    vq_test_free(t);
}

/* What the command takes, and nothing else */
static void test_arguments(void)
{
    static const struct {
        const char *arguments, *message;
    } rows[] = {
        { "", "Parameter 'id' is missing" },
        { "\"id\":1", "Invalid parameter type for 'id', expected: string" },
        { "\"id\":\"disk0\"", "Exactly one of 'iothread-vq-mapping' and "
          "'main-loop': true must be given" },
        { "\"id\":\"disk0\",\"main-loop\":false", "Exactly one of "
          "'iothread-vq-mapping' and 'main-loop': true must be given" },
        { "\"id\":\"disk0\",\"main-loop\":true,\"iothread-vq-mapping\":["
          T(0) "]", "Exactly one of 'iothread-vq-mapping' and 'main-loop': "
          "true must be given" },
        { "\"id\":\"disk0\",\"main-loop\":1", "Invalid parameter type for "
          "'main-loop', expected: boolean" },
        { "\"device\":\"disk0\",\"main-loop\":true", "Parameter 'id' is "
          "missing" },
        { "\"id\":\"disk0\",\"main-loop\":true,\"x\":1", "Parameter 'x' is "
          "unexpected" },
        { "\"id\":\"disk0\",\"iothread-vq-mapping\":{}", "Invalid parameter "
          "type for 'iothread-vq-mapping', expected: array" },
        { "\"id\":\"disk0\",\"iothread-vq-mapping\":[{}]", "Parameter "
          "'iothread-vq-mapping[0].iothread' is missing" },
    };
    VqTest *t = new_disk(PROPERTY("[" T(1) "]"));

    vq_test_start_driver(t);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        QDict *reply;

        qtest_qmp_send_raw(t->qts, "{\"execute\":"
                           "\"virtio-blk-set-iothread-vq-mapping\","
                           "\"arguments\":{%s}}", rows[i].arguments);
        reply = qtest_qmp_receive(t->qts);
        g_assert_cmpstr(qdict_get_str(qdict_get_qdict(reply, "error"), "desc"),
                        ==, rows[i].message);
        qobject_unref(reply);
    }
    assert_owners(t, "1111");
    vq_test_free(t);
}

/* Another device keeps the node where it is, which is said */
static void test_node_stays(void)
{
    VqTestDevice device = vq_test_blk_pci;
    VqRemapResult result;
    VqTest *t;

    device.drive = ",\"drive\":\"node0\",\"share-rw\":true";
    device.more_args = " -device virtio-blk-pci,drive=node0,share-rw=on,"
                       "id=disk1,iothread=iothread2";
    t = vq_test_new(&device, NUM_IOTHREADS, NUM_QUEUES, PROPERTY("[" T(0) "]"));
    vq_test_start_driver(t);
    vq_remap(t->qts, "disk0", "[" T(1) "]", &result);
    g_assert_cmpstr(result.node, ==, "in-use");
    assert_owners(t, "1111");
    g_assert_null(vq_plug_object_del(t->qts, "iothread0"));
    vq_test_free(t);
}

static void add_cases(const char *name, GTestDataFunc func)
{
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/virtio-blk-remap/%s/%s",
                                                name, cases[i].name);

        qtest_add_data_func(path, &cases[i], func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_cases("running", test_running);
    add_cases("idle", test_idle);
    for (unsigned i = 0; i < ARRAY_SIZE(vq_refusals); i++) {
        const VqRefusal *r = &vq_refusals[i];
        g_autofree char *path = g_strdup_printf("/virtio-blk-remap/refused/%s",
                                                r->name);

        if (g_str_has_prefix(r->properties, ",\"iothread-vq-mapping\"")) {
            qtest_add_data_func(path, r, test_refused);
        }
    }
    qtest_add_func("/virtio-blk-remap/no-device", test_no_device);
    qtest_add_func("/virtio-blk-remap/arguments", test_arguments);
    qtest_add_func("/virtio-blk-remap/unused", test_unused);
    qtest_add_func("/virtio-blk-remap/own-iothreads", test_own_iothreads);
    qtest_add_func("/virtio-blk-remap/waiting", test_waiting);
    qtest_add_func("/virtio-blk-remap/pending-unplug", test_pending_unplug);
    qtest_add_func("/virtio-blk-remap/node-in-use", test_node_stays);
    return g_test_run();
}
