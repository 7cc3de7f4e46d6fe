/*
 * qtests of numbers that a device cannot have, plugged into a running VM: an
 * error that says so, and QEMU goes on; and of those that it just can
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-plug.h"

#define BLK "virtio-blk-pci"
#define SCSI "virtio-scsi-pci"
#define BLK_QUEUE_SIZE(n) "invalid queue-size property (" n "), must be a " \
    "power of 2 (max 1024)"
#define BLK_NUM_QUEUES(n) "invalid num-queues property (" n "), must be " \
    "between 1 and 1024"
#define SCSI_QUEUE_SIZE(n, limit) \
    "invalid virtqueue_size property (= " n "), must be " limit
#define SCSI_NUM_QUEUES(n) "Invalid number of queues (= " n "), must be a " \
    "positive integer less than 1022."
#define RANGE(name, type) "Parameter '" name "' expects " type
#define SECTORS(name, n) "invalid " name " property (" n "), must be between " \
    "1 and 4194303"

typedef struct Limit {
    const char *driver;
    const char *property;
    const char *value;
    const char *error;      /* or NULL: it can be plugged */
    const char *more;       /* other properties */
} Limit;

static const Limit limits[] = {
    { BLK, "num-queues", "0", "num-queues property must be larger than 0" },
    { BLK, "num-queues", "1" },
    { BLK, "num-queues", "1023" },
    { BLK, "num-queues", "1024" },
    { BLK, "num-queues", "1025", BLK_NUM_QUEUES("1025") },
    { BLK, "num-queues", "2000", BLK_NUM_QUEUES("2000") },
    { BLK, "num-queues", "65534", BLK_NUM_QUEUES("65534") },
    { BLK, "num-queues", "65535" }, /* one for each vCPU */
    { BLK, "num-queues", "65536", RANGE("num-queues", "uint16_t") },
    /* What else looks at their number must not be first */
    { BLK, "num-queues", "1025", BLK_NUM_QUEUES("1025"),
      ",\"iothread\":\"iothread0\"" },
    { BLK, "num-queues", "65534", BLK_NUM_QUEUES("65534"),
      ",\"iothread-vq-mapping\":[{\"iothread\":\"iothread0\"}]" },
    { BLK, "num-queues", "65534", BLK_NUM_QUEUES("65534"),
      ",\"x-iothreads\":4" },
    { BLK, "num-queues", "1024", NULL,
      ",\"iothread-vq-mapping\":[{\"iothread\":\"iothread0\"}]" },

    { BLK, "queue-size", "0",
      "invalid queue-size property (0), must be > 2" },
    { BLK, "queue-size", "2",
      "invalid queue-size property (2), must be > 2" },
    { BLK, "queue-size", "3", BLK_QUEUE_SIZE("3") },
    { BLK, "queue-size", "4" },
    { BLK, "queue-size", "1023", BLK_QUEUE_SIZE("1023") },
    { BLK, "queue-size", "1024" },
    { BLK, "queue-size", "1025", BLK_QUEUE_SIZE("1025") },
    { BLK, "queue-size", "2048", BLK_QUEUE_SIZE("2048") },
    { BLK, "queue-size", "32768", BLK_QUEUE_SIZE("32768") },
    { BLK, "queue-size", "65536", RANGE("queue-size", "uint16_t") },

    { BLK, "max-discard-sectors", "0", SECTORS("max-discard-sectors", "0") },
    { BLK, "max-discard-sectors", "4194303" },
    { BLK, "max-discard-sectors", "4194304",
      SECTORS("max-discard-sectors", "4194304") },
    { BLK, "max-write-zeroes-sectors", "0",
      SECTORS("max-write-zeroes-sectors", "0") },
    { BLK, "max-write-zeroes-sectors", "4194303" },
    { BLK, "max-write-zeroes-sectors", "4194304",
      SECTORS("max-write-zeroes-sectors", "4194304") },

    /* Too many vectors are none, with a warning */
    { BLK, "vectors", "0" },
    { BLK, "vectors", "2048" },
    { BLK, "vectors", "2049" },
    { BLK, "vectors", "2147483647" },
    { BLK, "vectors", "2147483648" },
    { BLK, "vectors", "4294967294" },
    { BLK, "vectors", "4294967295" }, /* as many as are needed */
    { BLK, "vectors", "4294967296", RANGE("vectors", "uint32_t") },
    { SCSI, "vectors", "2049" },
    { SCSI, "vectors", "2147483648" },
    { SCSI, "vectors", "4294967294" },

    { SCSI, "num_queues", "0", SCSI_NUM_QUEUES("0") },
    { SCSI, "num_queues", "1" },
    { SCSI, "num_queues", "1022" },
    { SCSI, "num_queues", "1023", SCSI_NUM_QUEUES("1023") },
    { SCSI, "num_queues", "65536", SCSI_NUM_QUEUES("65536") },
    { SCSI, "num_queues", "2147483647", SCSI_NUM_QUEUES("2147483647") },
    { SCSI, "num_queues", "4294967294", SCSI_NUM_QUEUES("4294967294") },
    { SCSI, "num_queues", "4294967296", RANGE("num_queues", "uint32_t") },

    { SCSI, "virtqueue_size", "0", SCSI_QUEUE_SIZE("0", "> 2") },
    { SCSI, "virtqueue_size", "2", SCSI_QUEUE_SIZE("2", "> 2") },
    { SCSI, "virtqueue_size", "3" },
    { SCSI, "virtqueue_size", "1024" },
    { SCSI, "virtqueue_size", "1025", SCSI_QUEUE_SIZE("1025", "<= 1024") },
    { SCSI, "virtqueue_size", "4294967295",
      SCSI_QUEUE_SIZE("4294967295", "<= 1024") },
    { SCSI, "virtqueue_size", "4294967296",
      RANGE("virtqueue_size", "uint32_t") },

    /* Refused when it is nearly done */
    { SCSI, "ioeventfd", "false", "ioeventfd is required for iothread",
      ",\"iothread\":\"iothread0\"" },
    { BLK, "ioeventfd", "false", "ioeventfd is required for iothread",
      ",\"iothread\":\"iothread0\"" },
};

static char *plug(QTestState *qts, const Limit *limit)
{
    g_autofree char *json = g_strdup_printf(
        "{\"driver\":\"%s\",\"id\":\"device0\",\"%s\":%s%s%s}",
        limit->driver, limit->property, limit->value,
        !strcmp(limit->driver, BLK) ? ",\"drive\":\"node0\"" : "",
        limit->more ?: "");

    return vq_plug_try(qts, json);
}

/* QEMU answers, and what hears of the VM's state is still there */
static void assert_alive(QTestState *qts)
{
    QDict *response = qtest_qmp(qts, "{'execute': 'query-status'}");

    g_assert_true(qdict_get_bool(qdict_get_qdict(response, "return"),
                                 "running"));
    qobject_unref(response);
    qtest_qmp_assert_success(qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(qts, "{'execute': 'cont'}");
    qtest_qmp_assert_success(qts, "{'execute': 'system_reset'}");
    qtest_qmp_assert_success(qts, "{'execute': 'query-block'}");
}

static void test_limit(const void *opaque)
{
    const Limit *limit = opaque;
    QTestState *qts = qtest_init(
        "-M pc -nodefaults -object iothread,id=iothread0 "
        "-blockdev null-co,node-name=node0,size=1048576");
    g_autofree char *error = plug(qts, limit);

    g_assert_cmpstr(error, ==, limit->error);
    assert_alive(qts);
    if (error) {
        /* The id, the slot and the node are free */
        const Limit good = { limit->driver, "ioeventfd", "true" };
        g_autofree char *again = plug(qts, limit);
        g_autofree char *none = plug(qts, &good);

        g_assert_cmpstr(again, ==, limit->error);
        g_assert_cmpstr(none, ==, NULL);
        assert_alive(qts);
    }
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
        g_autofree char *path = g_strdup_printf(
            "/virtio-limits/%u/%s/%s/%s", i, limits[i].driver,
            limits[i].property, limits[i].value);

        qtest_add_data_func(path, &limits[i], test_limit);
    }
    return g_test_run();
}
