/*
 * qtests of IOThreads in use, which cannot be deleted: by virtio-blk,
 * virtio-scsi and others
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "vq-plug.h"
#include "vq-test-util.h"

#define SLOT_DISK0 4
#define SLOT_OTHER 5
#define MAX_IOTHREADS 4
#define MAPPING(items) ",\"iothread-vq-mapping\":[" items "]"

typedef struct Row {
    const char *name;
    const VqTestDevice *device;
    unsigned num_iothreads;
    unsigned num_queues;
    const char *properties;     /* of the disk or host adapter, in JSON */
    /* What uses each IOThread; NULL: nothing does */
    const char *users[MAX_IOTHREADS];
} Row;

static const Row rows[] = {
    { "pci/main-loop", &vq_test_blk_pci, 1, 4, "", { NULL } },
    { "pci/iothread", &vq_test_blk_pci, 2, 4, ",\"iothread\":\"iothread0\"",
      { "virtqueues 0-3 of device 'disk0'", NULL } },
    { "pci/vqs", &vq_test_blk_pci, 2, 5,
      MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[4,0,2,3]},"
              "{\"iothread\":\"iothread1\",\"vqs\":[1]}"),
      { "virtqueues 0,2-4 of device 'disk0'",
        "virtqueue 1 of device 'disk0'" } },
    { "pci/round-robin", &vq_test_blk_pci, 2, 4,
      MAPPING("{\"iothread\":\"iothread0\"},{\"iothread\":\"iothread1\"}"),
      { "virtqueues 0,2 of device 'disk0'",
        "virtqueues 1,3 of device 'disk0'" } },
    /* An IOThread without a virtqueue serves nothing, named or not */
    { "pci/idle", &vq_test_blk_pci, 3, 2,
      MAPPING("{\"iothread\":\"iothread2\"},{\"iothread\":\"iothread0\"},"
              "{\"iothread\":\"iothread1\"}"),
      { "virtqueue 1 of device 'disk0'", NULL,
        "virtqueue 0 of device 'disk0'" } },
    { "pci/path", &vq_test_blk_pci, 2, 2,
      MAPPING("{\"iothread\":\"/objects/iothread1\"}"),
      { NULL, "virtqueues 0-1 of device 'disk0'" } },
    { "mmio/iothread", &vq_test_blk_mmio, 1, 4, ",\"iothread\":\"iothread0\"",
      { "virtqueues 0-3 of device 'disk0'" } },
    { "mmio/vqs", &vq_test_blk_mmio, 2, 4,
      MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[3]},"
              "{\"iothread\":\"iothread1\",\"vqs\":[0,1,2]}"),
      { "virtqueue 3 of device 'disk0'",
        "virtqueues 0-2 of device 'disk0'" } },
    /* The command virtqueues, counted as in the mapping */
    { "scsi/iothread", &vq_test_scsi_pci, 2, 4, ",\"iothread\":\"iothread1\"",
      { NULL, "virtqueues 0-3 of device 'disk0'" } },
#if QEMU_VERSION_MAJOR >= 10
    { "scsi/vqs", &vq_test_scsi_pci, 3, 5,
      MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[0,2,4]},"
              "{\"iothread\":\"iothread2\",\"vqs\":[1,3]}"),
      { "virtqueues 0,2,4 of device 'disk0'", NULL,
        "virtqueues 1,3 of device 'disk0'" } },
#endif
};

static bool is_listed(VqTest *t, const char *iothread)
{
    g_autofree char *needle = g_strdup_printf("%s:\r\n", iothread);
    g_autofree char *list = qtest_hmp(t->qts, "info iothreads");

    return strstr(list, needle) != NULL;
}

/* @users: what the message names, or NULL if that is not known */
static void assert_in_use(VqTest *t, const char *iothread, const char *users)
{
    g_autofree char *expected =
        g_strdup_printf("object '%s' is in use, can not be deleted%s%s",
                        iothread, users ? ": " : "", users ?: "");
    g_autofree char *error = vq_plug_object_del(t->qts, iothread);

    g_assert_cmpstr(error, ==, expected);
    g_assert_true(is_listed(t, iothread));
    g_assert_true(vq_test_has_iothread(t, iothread));
}

static void delete_iothread(VqTest *t, const char *iothread)
{
    g_autofree char *error = vq_plug_object_del(t->qts, iothread);

    g_assert_cmpstr(error, ==, NULL);
    g_assert_false(is_listed(t, iothread));
    g_assert_false(vq_test_has_iothread(t, iothread));
}

static void add_iothread(VqTest *t, const char *iothread)
{
    qtest_qmp_assert_success(t->qts, "{'execute': 'object-add', 'arguments':"
                             " {'qom-type': 'iothread', 'id': %s}}", iothread);
}

static void add_node(VqTest *t, const char *node)
{
    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': %s}}", node);
}

/* Before the driver is up, while it is, and when the device has gone */
static void test_row(const void *opaque)
{
    const Row *row = opaque;
    VqTest *t;

    t = vq_test_new(row->device, row->num_iothreads, row->num_queues,
                    row->properties);
    for (unsigned i = 0; i < row->num_iothreads; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);

        if (row->users[i]) {
            assert_in_use(t, name, row->users[i]);
        } else {
            delete_iothread(t, name);
        }
    }
    vq_test_start_driver(t);
    for (unsigned i = 0; i < row->num_iothreads; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);

        if (row->users[i]) {
            assert_in_use(t, name, row->users[i]);
        }
    }
    if (t->pci) {
        vq_plug_unplug(t->qts, "disk0", SLOT_DISK0);
        for (unsigned i = 0; i < row->num_iothreads; i++) {
            g_autofree char *name = g_strdup_printf("iothread%u", i);

            if (row->users[i]) {
                delete_iothread(t, name);
            }
        }
    }
    vq_test_free(t);
}

/* A refused deletion changes nothing: the IOThread goes on serving */
static void test_serves_on(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 2, 4,
                            MAPPING("{\"iothread\":\"iothread0\"},"
                                    "{\"iothread\":\"iothread1\"}"));

    vq_test_start_driver(t);
    for (unsigned round = 0; round < 3; round++) {
        assert_in_use(t, "iothread0", "virtqueues 0,2 of device 'disk0'");
        assert_in_use(t, "iothread1", "virtqueues 1,3 of device 'disk0'");
        for (unsigned vq = 0; vq < 4; vq++) {
            g_assert_cmpint(vq_test_read(t, vq), ==,
                            vq_test_thread_id(t, vq % 2 ? "iothread1"
                                                        : "iothread0"));
        }
        vq_test_reset(t);
    }
    vq_test_free(t);
}

static void test_two_disks(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 4,
                            ",\"iothread\":\"iothread0\"");

    add_node(t, "node1");
    vq_plug(t->qts, "{\"driver\":\"virtio-blk-pci\",\"id\":\"disk1\","
            "\"addr\":\"05.0\",\"drive\":\"node1\",\"num-queues\":1,"
            "\"iothread\":\"iothread0\"}");
    assert_in_use(t, "iothread0", "virtqueues 0-3 of device 'disk0', "
                                  "virtqueue 0 of device 'disk1'");
    vq_plug_unplug(t->qts, "disk0", SLOT_DISK0);
    assert_in_use(t, "iothread0", "virtqueue 0 of device 'disk1'");
    vq_plug_unplug(t->qts, "disk1", SLOT_OTHER);
    delete_iothread(t, "iothread0");
    vq_test_free(t);
}

/* What has no id is named by where it is */
static void test_no_id(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 1, "");

    add_node(t, "node1");
    vq_plug(t->qts, "{\"driver\":\"virtio-blk-pci\",\"addr\":\"05.0\","
            "\"drive\":\"node1\",\"num-queues\":1,"
            "\"iothread\":\"iothread0\"}");
    assert_in_use(t, "iothread0",
                  "virtqueue 0 of device '/machine/peripheral-anon/device[0]'");
    vq_test_free(t);
}

/* 1024 virtqueues make no line of 1024 numbers */
static void test_ranges(void)
{
    g_autoptr(GString) json = g_string_new(
        "{\"driver\":\"virtio-blk-pci\",\"id\":\"disk1\",\"addr\":\"05.0\","
        "\"drive\":\"node1\",\"num-queues\":1024,\"iothread-vq-mapping\":["
        "{\"iothread\":\"iothread0\",\"vqs\":[511]},"
        "{\"iothread\":\"iothread1\",\"vqs\":[0");
    VqTest *t = vq_test_new(&vq_test_blk_pci, 2, 1, "");

    for (unsigned vq = 1; vq < 1024; vq++) {
        if (vq != 511) {
            g_string_append_printf(json, ",%u", vq);
        }
    }
    g_string_append(json, "]}]}");
    add_node(t, "node1");
    vq_plug(t->qts, json->str);
    assert_in_use(t, "iothread0", "virtqueue 511 of device 'disk1'");
    assert_in_use(t, "iothread1", "virtqueues 0-510,512-1023 of device "
                  "'disk1'");
    vq_test_free(t);
}

/* device_del is a wish: as long as the guest does not answer, it is in use */
static void test_pending_unplug(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 2,
                            ",\"iothread\":\"iothread0\"");

    vq_test_start_driver(t);
    qtest_qmp_device_del_send(t->qts, "disk0");
    assert_in_use(t, "iothread0", "virtqueues 0-1 of device 'disk0'");
    vq_plug_eject(t->qts, SLOT_DISK0);
    vq_plug_wait_gone(t->qts, "disk0");
    delete_iothread(t, "iothread0");
    vq_test_free(t);
}

static void test_hmp(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 2,
                            ",\"iothread\":\"iothread0\"");
    g_autofree char *output = qtest_hmp(t->qts, "object_del iothread0");

    g_assert_cmpstr(output, ==, "Error: object 'iothread0' is in use, can not "
                    "be deleted: virtqueues 0-1 of device 'disk0'\r\n");
    g_assert_true(vq_test_has_iothread(t, "iothread0"));
    vq_test_free(t);
}

/*
 * Delete the IOThread, make another of that name, and unplug the disk.
 * Whatever the first two come to, QEMU lives.
 */
static void test_same_name(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 2,
                            MAPPING("{\"iothread\":\"iothread0\"}"));
    g_autofree char *error = NULL;

    vq_test_start_driver(t);
    error = vq_plug_object_del(t->qts, "iothread0");
    qobject_unref(qtest_qmp(t->qts, "{'execute': 'object-add', 'arguments':"
                            " {'qom-type': 'iothread', 'id': 'iothread0'}}"));
    vq_plug_unplug(t->qts, "disk0", SLOT_DISK0);
    delete_iothread(t, "iothread0");
    add_iothread(t, "iothread0");
    vq_plug(t->qts, "{\"driver\":\"virtio-blk-pci\",\"id\":\"disk0\","
            "\"addr\":\"05.0\",\"drive\":\"node0\",\"num-queues\":2,"
            "\"iothread\":\"iothread0\"}");
    assert_in_use(t, "iothread0", "virtqueues 0-1 of device 'disk0'");
    vq_test_free(t);
}

/* Who says nothing about itself keeps the IOThread by its reference */
static void test_other_device(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 1, "");

    vq_plug(t->qts, "{\"driver\":\"virtio-balloon-pci\",\"id\":\"balloon0\","
            "\"addr\":\"05.0\",\"free-page-hint\":true,"
            "\"iothread\":\"iothread0\"}");
    assert_in_use(t, "iothread0", NULL);
    vq_plug_unplug(t->qts, "balloon0", SLOT_OTHER);
    delete_iothread(t, "iothread0");
    vq_test_free(t);
}

static void test_export(void)
{
    g_autofree char *path = g_strdup_printf("%s/vq-lifetime-%d.sock",
                                            g_get_tmp_dir(), getpid());
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 1, "");

    add_node(t, "node1");
    qtest_qmp_assert_success(t->qts, "{'execute': 'nbd-server-start',"
                             " 'arguments': {'addr': {'type': 'unix',"
                             " 'data': {'path': %s}}}}", path);
    qtest_qmp_assert_success(t->qts, "{'execute': 'block-export-add',"
                             " 'arguments': {'type': 'nbd', 'id': 'export0',"
                             " 'node-name': 'node1',"
                             " 'iothread': 'iothread0'}}");
    assert_in_use(t, "iothread0", "block export 'export0'");
    qtest_qmp_assert_success(t->qts, "{'execute': 'block-export-del',"
                             " 'arguments': {'id': 'export0'}}");
    qtest_qmp_eventwait(t->qts, "BLOCK_EXPORT_DELETED");
    delete_iothread(t, "iothread0");
    vq_test_free(t);
    g_unlink(path);
}

/* A node that was left there, with nobody that says so */
static void test_node(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 1, 1, "");

    add_node(t, "node1");
    qtest_qmp_assert_success(t->qts, "{'execute': 'x-blockdev-set-iothread',"
                             " 'arguments': {'node-name': 'node1',"
                             " 'iothread': 'iothread0'}}");
    assert_in_use(t, "iothread0", "block node 'node1'");
    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-del',"
                             " 'arguments': {'node-name': 'node1'}}");
    delete_iothread(t, "iothread0");
    vq_test_free(t);
}

/* The text of other objects in use is the same as ever */
static void test_other_object(void)
{
    QTestState *qts = qtest_init("-M pc,memory-backend=ram -m 64M "
                                 "-object memory-backend-ram,id=ram,size=64M");
    g_autofree char *error = vq_plug_object_del(qts, "ram");

    g_assert_cmpstr(error, ==, "object 'ram' is in use, can not be deleted");
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *path = g_strdup_printf("/iothread-lifetime/%s",
                                                rows[i].name);

        qtest_add_data_func(path, &rows[i], test_row);
    }
    qtest_add_func("/iothread-lifetime/serves-on", test_serves_on);
    qtest_add_func("/iothread-lifetime/two-disks", test_two_disks);
    qtest_add_func("/iothread-lifetime/no-id", test_no_id);
    qtest_add_func("/iothread-lifetime/ranges", test_ranges);
    qtest_add_func("/iothread-lifetime/pending-unplug", test_pending_unplug);
    qtest_add_func("/iothread-lifetime/hmp", test_hmp);
    qtest_add_func("/iothread-lifetime/same-name", test_same_name);
    qtest_add_func("/iothread-lifetime/other-device", test_other_device);
    qtest_add_func("/iothread-lifetime/export", test_export);
    qtest_add_func("/iothread-lifetime/node", test_node);
    qtest_add_func("/iothread-lifetime/other-object", test_other_object);
    return g_test_run();
}
