/*
 * qtests of virtqueues that move out of IOThreads which a disk made for
 * itself, and back into them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-plug.h"
#include "vq-queues.h"
#include "vq-remap.h"
#include "vq-test-util.h"

#define NUM_QUEUES 4
#define SLOT 5
#define DISK1 "{\"driver\":\"virtio-blk-pci\",\"id\":\"disk1\"," \
    "\"addr\":\"05.0\",\"drive\":\"node1\",\"num-queues\":4,\"x-iothreads\":2}"
#define T(id) "{\"iothread\":\"" id "\"}"

/* "iothread0" and "iothread1", and a node for a second disk */
static VqTest *new_machine(const char *properties)
{
    static VqTestDevice device;

    device = vq_test_blk_pci;
    device.more_args = " -blockdev null-co,node-name=node1,read-zeroes=on";
    return vq_test_new(&device, 2, NUM_QUEUES, properties);
}

/* @disk is @device; NULL in @owners is the main loop */
static void assert_owners(VqTest *disk, const char *device,
                          const char *const owners[NUM_QUEUES])
{
    VqQueues queues;

    vq_queues_query(disk->qts, device, &queues);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_assert_cmpint(vq_test_read(disk, vq), ==,
                        vq_test_thread_id(disk, owners[vq]));
        g_assert_cmpstr(queues.vq[vq].iothread, ==, owners[vq] ?: "");
    }
}

static void assert_in_use(VqTest *t, const char *iothread, const char *users)
{
    g_autofree char *error = vq_plug_object_del(t->qts, iothread);
    g_autofree char *wanted = g_strdup_printf(
        "object '%s' is in use, can not be deleted: %s", iothread, users);

    g_assert_cmpstr(error, ==, wanted);
    g_assert_true(vq_test_has_iothread(t, iothread));
}

/* They stay while the disk does, whether or not they serve it */
static void test_out_and_back(void)
{
    static const char *const own[] = {
        "disk0.0", "disk0.1", "disk0.0", "disk0.1"
    };
    static const char *const other[] = {
        "iothread1", "iothread1", "iothread1", "iothread1"
    };
    static const char *const mixed[] = {
        "iothread0", "disk0.1", "iothread0", "disk0.1"
    };
    static const char *const main_loop[NUM_QUEUES];
    VqTest *t = new_machine(",\"x-iothreads\":2");

    vq_test_start_driver(t);
    assert_owners(t, "disk0", own);

    vq_remap(t->qts, "disk0", "[" T("iothread1") "]", NULL);
    assert_owners(t, "disk0", other);
    assert_in_use(t, "disk0.0", "device 'disk0' made it");

    vq_remap(t->qts, "disk0", "[" T("disk0.0") "," T("disk0.1") "]", NULL);
    assert_owners(t, "disk0", own);
    assert_in_use(t, "disk0.0", "device 'disk0' made it, virtqueues 0,2 of "
                  "device 'disk0'");

    vq_remap(t->qts, "disk0", NULL, NULL);
    assert_owners(t, "disk0", main_loop);
    vq_remap(t->qts, "disk0", "[" T("iothread0") "," T("disk0.1") "]", NULL);
    assert_owners(t, "disk0", mixed);

    vq_test_reset(t);
    assert_owners(t, "disk0", mixed);
    vq_test_free(t);
}

/* An IOThread goes with the disk that made it, unless another one uses it */
static void test_unplug(void)
{
    static const char *const mixed[] = {
        "disk1.1", "iothread0", "disk1.1", "iothread0"
    };
    static const char *const other[] = {
        "iothread0", "iothread0", "iothread0", "iothread0"
    };
    VqTest *t = new_machine("");
    VqTest *disk;

    vq_plug(t->qts, DISK1);
    disk = vq_test_start_plugged(t, SLOT, NUM_QUEUES);
    vq_remap(t->qts, "disk1", "[" T("iothread0") "]", NULL);
    assert_owners(disk, "disk1", other);
    vq_test_stop_driver(disk);
    vq_test_stop_plugged(t, disk);

    vq_test_start_driver(t);
    vq_remap(t->qts, "disk0", "[" T("disk1.1") "," T("iothread0") "]", NULL);
    assert_owners(t, "disk0", mixed);

    vq_plug_unplug(t->qts, "disk1", SLOT);
    g_assert_false(vq_test_has_iothread(t, "disk1.0"));
    assert_in_use(t, "disk1.1", "virtqueues 0,2 of device 'disk0'");
    assert_owners(t, "disk0", mixed);

    vq_remap(t->qts, "disk0", "[" T("iothread0") "]", NULL);
    assert_owners(t, "disk0", other);
    g_assert_null(vq_plug_object_del(t->qts, "disk1.1"));
    g_assert_false(vq_test_has_iothread(t, "disk1.1"));
    vq_test_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("/virtio-blk-own-remap/out-and-back", test_out_and_back);
    qtest_add_func("/virtio-blk-own-remap/unplug", test_unplug);
    return g_test_run();
}
