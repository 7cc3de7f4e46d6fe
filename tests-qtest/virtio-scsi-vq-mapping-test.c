/*
 * qtests of virtio-scsi's iothread-vq-mapping, which has the same plan and
 * table as virtio-blk's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_scsi.h"
#include "vq-test-util.h"

#define NUM_QUEUES 8
#define SCSI_INQUIRY 0x12

/* Have command virtqueue @vq handle an INQUIRY; returns the thread that did */
static pid_t inquire(VqTest *t, unsigned vq)
{
    static uint64_t tag;
    struct virtio_scsi_cmd_req req = {
        .lun = { 1, 0, 0, 0 },
        .tag = cpu_to_le64(++tag),
        .cdb = { SCSI_INQUIRY },
    };
    struct virtio_scsi_cmd_resp resp = { .response = 0xff };
    g_autofree char *needle = g_strdup_printf(" tag=0x%" PRIx64 " ", tag);

    vq_test_request(t, vq, &req, sizeof(req), &resp, sizeof(resp));
    g_assert_cmpuint(resp.response, ==, VIRTIO_SCSI_S_OK);
    g_assert_cmpuint(resp.status, ==, 0);
    return vq_test_traced_thread(t, needle);
}

/* @owners has one digit per virtqueue, the index of its IOThread */
static void check_owners(const char *properties, const char *owners)
{
    VqTest *t = vq_test_new(&vq_test_scsi_pci, 4, NUM_QUEUES, properties);

    vq_test_start_driver(t);
    for (unsigned vq = 0; vq < NUM_QUEUES; vq++) {
        g_autofree char *name =
            owners ? g_strdup_printf("iothread%c", owners[vq]) : NULL;

        g_assert_cmpint(inquire(t, vq), ==, vq_test_thread_id(t, name));
    }
    vq_test_free(t);
}

static void test_main_loop(void)
{
    check_owners("", NULL);
}

static void test_iothread(void)
{
    check_owners(",\"iothread\":\"iothread2\"", "22222222");
}

static void test_round_robin(void)
{
    check_owners(",\"iothread-vq-mapping\":[{\"iothread\":\"iothread0\"},"
                 "{\"iothread\":\"iothread1\"},{\"iothread\":\"iothread3\"}]",
                 "01301301");
}

static void test_vqs(void)
{
    check_owners(",\"iothread-vq-mapping\":["
                 "{\"iothread\":\"iothread0\",\"vqs\":[7,6,5,4,3]},"
                 "{\"iothread\":\"iothread1\",\"vqs\":[0,1,2]}]",
                 "11100000");
}

static void check_refused(const char *properties, const char *message)
{
    g_autofree char *device = g_strdup_printf(
        "{\"driver\":\"virtio-scsi-pci\",\"num_queues\":4%s}", properties);
    g_autofree char *expected =
        g_strdup_printf("qemu-system-x86_64: -device %s: %s\n", device,
                        message);
    g_autofree char *output = NULL;

    g_assert_cmpint(vq_test_run_qemu("pc", 2, device, &output), ==, 1);
    g_assert_cmpstr(output, ==, expected);
}

static void test_refused(void)
{
    check_refused(",\"iothread-vq-mapping\":[]",
                  "Parameter 'iothread-vq-mapping' expects at least one "
                  "IOThread, not []");
    check_refused(",\"iothread-vq-mapping\":[{\"iothread\":\"nope\"}]",
                  "IOThread \"nope\" object does not exist");
    check_refused(",\"iothread-vq-mapping\":["
                  "{\"iothread\":\"iothread0\",\"vqs\":[0,1,2]}]",
                  "missing vq 3 IOThread assignment in iothread-vq-mapping");
    check_refused(",\"iothread\":\"iothread0\",\"iothread-vq-mapping\":["
                  "{\"iothread\":\"iothread0\"}]",
                  "iothread and iothread-vq-mapping properties cannot be set "
                  "at the same time");
    check_refused(",\"ioeventfd\":false,\"iothread\":\"iothread0\"",
                  "ioeventfd is required for iothread");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/virtio-scsi-vq-mapping/main-loop", test_main_loop);
    qtest_add_func("/virtio-scsi-vq-mapping/iothread", test_iothread);
    qtest_add_func("/virtio-scsi-vq-mapping/round-robin", test_round_robin);
    qtest_add_func("/virtio-scsi-vq-mapping/vqs", test_vqs);
    qtest_add_func("/virtio-scsi-vq-mapping/refused", test_refused);
    return g_test_run();
}
