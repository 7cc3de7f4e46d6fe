/*
 * An IDE disk's TRIM of several ranges, and drained sections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "libqos/pci-pc.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-block-core.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/bswap.h"
#include "vq-watchdog.h"

/* Longer than any test takes; then QEMU hangs */
#define DEADLINE_SECONDS 60
#define TIMEOUT_US (30 * G_USEC_PER_SEC)

/* A range takes a minute, unless the throttle node is drained */
#define NUM_RANGES 4
#define RANGE_SECTORS 60
#define DISK_SIZE 16777216
#define ARGS \
    "-nodefaults -machine pc " \
    "-object throttle-group,id=group,x-bps-write=512 " \
    "-blockdev null-co,node-name=null0,size=" stringify(DISK_SIZE) " " \
    "-blockdev throttle,node-name=slow,throttle-group=group,file=null0," \
    "discard=unmap -device ide-hd,bus=ide.0,drive=slow"

#define PAYLOAD 0x100000    /* of the TRIM command, in guest RAM */
#define PRDT 0x101000       /* where a bus master looks for it */

enum { FEATURE = 1, COUNT = 2, LBA_LOW = 3, LBA_HIGH = 5, DRIVE = 6, IDE = 7 };
/* In the status register: busy, or in DMA; device fault, or error */
#define BUSY 0x88
#define ERRORS 0x21

enum { BM_COMMAND = 0, BM_STATUS = 2, BM_PRDT = 4 };

typedef struct Ide {
    QTestState *qts;
    VqWatchdog *dog;
    QPCIBus *bus;
    QPCIDevice *dev;
    QPCIBar ports;
    QPCIBar master;
} Ide;

static void find_controller(Ide *ide)
{
    ide->dev = qpci_device_find(ide->bus, QPCI_DEVFN(1, 1));
    g_assert_nonnull(ide->dev);
    qpci_device_enable(ide->dev);
    ide->ports = qpci_legacy_iomap(ide->dev, 0x1f0);
    ide->master = qpci_iomap(ide->dev, 4, NULL);
}

static void ide_start(Ide *ide)
{
    ide->qts = qtest_init(ARGS);
    ide->dog = vq_watchdog_begin(qtest_pid(ide->qts), DEADLINE_SECONDS);
    ide->bus = qpci_new_pc(ide->qts, NULL);
    find_controller(ide);
}

static void ide_stop(Ide *ide)
{
    g_free(ide->dev);
    qpci_free_pc(ide->bus);
    qtest_quit(ide->qts);
    vq_watchdog_end(ide->dog);
}

/* How many ranges have been discarded, and how many refused */
static unsigned count_discards(Ide *ide, unsigned *invalid)
{
    QDict *reply = qtest_qmp(ide->qts, "{'execute': 'query-blockstats'}");
    Visitor *v = qobject_input_visitor_new(qdict_get(reply, "return"));
    g_autoptr(BlockStatsList) list = NULL;
    BlockDeviceStats *stats;

    visit_type_BlockStatsList(v, NULL, &list, &error_abort);
    visit_free(v);
    qobject_unref(reply);

    g_assert_nonnull(list);
    stats = list->value->stats;
    g_assert_cmpint(stats->failed_unmap_operations, ==, 0);
    *invalid = stats->invalid_unmap_operations;
    return stats->unmap_operations;
}

static bool is_busy(Ide *ide)
{
    return qpci_io_readb(ide->dev, ide->ports, IDE) & BUSY;
}

/* A TRIM of @num ranges, from the one that begins at @sector on */
static void begin_trim_of(Ide *ide, unsigned num, uint64_t sector)
{
    uint64_t payload[64] = { 0 };
    uint32_t prdt[2] = {
        cpu_to_le32(PAYLOAD), cpu_to_le32(sizeof(payload) | 0x80000000),
    };

    for (unsigned i = 0; i < num; i++) {
        payload[i] = cpu_to_le64((sector + 2 * i * RANGE_SECTORS) |
                                 (uint64_t)RANGE_SECTORS << 48);
    }
    qtest_memwrite(ide->qts, PAYLOAD, payload, sizeof(payload));
    qtest_memwrite(ide->qts, PRDT, prdt, sizeof(prdt));

    qpci_io_writeb(ide->dev, ide->master, BM_COMMAND, 0);
    qpci_io_writeb(ide->dev, ide->master, BM_STATUS, 6);
    qpci_io_writel(ide->dev, ide->master, BM_PRDT, PRDT);
    qpci_io_writeb(ide->dev, ide->ports, DRIVE, 0x40);
    qpci_io_writeb(ide->dev, ide->ports, FEATURE, 1);
    qpci_io_writeb(ide->dev, ide->ports, COUNT, 1);
    for (unsigned i = LBA_LOW; i <= LBA_HIGH; i++) {
        qpci_io_writeb(ide->dev, ide->ports, i, 0);
    }
    qpci_io_writeb(ide->dev, ide->ports, IDE, 6);
    qpci_io_writeb(ide->dev, ide->master, BM_COMMAND, 1);
}

/* The first range is discarded at once, unless the disk is drained */
static void begin_trim(Ide *ide)
{
    begin_trim_of(ide, NUM_RANGES, 0);
}

static void wait_discards(Ide *ide, unsigned n)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    unsigned done, invalid;

    while ((done = count_discards(ide, &invalid)) < n) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
    g_assert_cmpuint(done, ==, n);
    g_assert_cmpuint(invalid, ==, 0);
}

/* Returns: what the disk says then */
static uint8_t wait_idle(Ide *ide)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (is_busy(ide)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
    return qpci_io_readb(ide->dev, ide->ports, IDE);
}

/* The second range waits in the throttle node now */
static void begin_slow_trim(Ide *ide)
{
    begin_trim(ide);
    wait_discards(ide, 1);
    g_assert_true(is_busy(ide));
}

static void assert_trimmed(Ide *ide)
{
    wait_discards(ide, NUM_RANGES);
    g_assert_cmphex(wait_idle(ide) & ERRORS, ==, 0);
}

static void change_graph(Ide *ide)
{
    qtest_qmp_assert_success(ide->qts, "{'execute': 'blockdev-add',"
                             " 'arguments': {'driver': 'null-co',"
                             "               'node-name': 'other'}}");
    qtest_qmp_assert_success(ide->qts, "{'execute': 'blockdev-add',"
                             " 'arguments': {'driver': 'raw', 'file': 'other',"
                             "               'node-name': 'more'}}");
    qtest_qmp_assert_success(ide->qts, "{'execute': 'blockdev-del',"
                             " 'arguments': {'node-name': 'more'}}");
    qtest_qmp_assert_success(ide->qts, "{'execute': 'blockdev-del',"
                             " 'arguments': {'node-name': 'other'}}");
}

/* Nodes come and go that have nothing to do with the disk */
static void test_graph_change(void)
{
    Ide ide;

    ide_start(&ide);
    begin_slow_trim(&ide);
    change_graph(&ide);
    assert_trimmed(&ide);
    ide_stop(&ide);
}

/* The VM stops when the TRIM is over, not in the middle of it */
static void test_vm_stop(void)
{
    unsigned invalid;
    Ide ide;

    ide_start(&ide);
    begin_slow_trim(&ide);
    qtest_qmp_assert_success(ide.qts, "{'execute': 'stop'}");
    g_assert_cmpuint(count_discards(&ide, &invalid), ==, NUM_RANGES);
    qtest_qmp_assert_success(ide.qts, "{'execute': 'cont'}");
    assert_trimmed(&ide);
    ide_stop(&ide);
}

/* The guest stops the bus master, which waits for the TRIM */
static void test_cancel(void)
{
    Ide ide;

    ide_start(&ide);
    begin_slow_trim(&ide);
    qpci_io_writeb(ide.dev, ide.master, BM_COMMAND, 0);
    assert_trimmed(&ide);
    ide_stop(&ide);
}

/*
 * The guest begins a TRIM in a drained section: between the end of a mirror job
 * and job-finalize. Until then it is not in flight; graph changes do not wait.
 */
static void test_begun_in_drain(void)
{
    Ide ide;

    ide_start(&ide);
    qtest_qmp_assert_success(ide.qts, "{'execute': 'blockdev-add',"
                             " 'arguments': {'driver': 'null-co',"
                             "               'node-name': 'target',"
                             "               'size': %d}}", DISK_SIZE);
    qtest_qmp_assert_success(ide.qts, "{'execute': 'blockdev-mirror',"
                             " 'arguments': {'job-id': 'mirror', 'sync':"
                             " 'none', 'device': 'slow', 'target': 'target',"
                             " 'auto-finalize': false}}");
    qtest_qmp_eventwait(ide.qts, "BLOCK_JOB_READY");
    qtest_qmp_assert_success(ide.qts, "{'execute': 'block-job-cancel',"
                             " 'arguments': {'device': 'mirror'}}");
    qtest_qmp_eventwait(ide.qts, "BLOCK_JOB_PENDING");
    begin_trim(&ide);
    change_graph(&ide);
    wait_discards(&ide, 0);
    g_assert_true(is_busy(&ide));
    qtest_qmp_assert_success(ide.qts, "{'execute': 'job-finalize',"
                             " 'arguments': {'id': 'mirror'}}");
    qtest_qmp_eventwait(ide.qts, "BLOCK_JOB_COMPLETED");
    change_graph(&ide);
    assert_trimmed(&ide);
    ide_stop(&ide);
}

/* Nothing to discard; ranges that are not on the disk; then good ones */
static void test_bad(void)
{
    unsigned invalid;
    Ide ide;

    ide_start(&ide);
    begin_trim_of(&ide, 0, 0);
    g_assert_cmphex(wait_idle(&ide) & ERRORS, ==, 0);
    change_graph(&ide);
    wait_discards(&ide, 0);

    begin_trim_of(&ide, 2, DISK_SIZE / 512);
    g_assert_cmphex(wait_idle(&ide) & ERRORS, ==, 1);
    change_graph(&ide);
    g_assert_cmpuint(count_discards(&ide, &invalid), ==, 0);
    g_assert_cmpuint(invalid, ==, 1);

    /* Here the second range is the bad one */
    begin_trim_of(&ide, 2, DISK_SIZE / 512 - RANGE_SECTORS);
    change_graph(&ide);
    g_assert_cmphex(wait_idle(&ide) & ERRORS, ==, 1);
    g_assert_cmpuint(count_discards(&ide, &invalid), ==, 1);
    g_assert_cmpuint(invalid, ==, 2);

    begin_trim(&ide);
    change_graph(&ide);
    g_assert_cmphex(wait_idle(&ide) & ERRORS, ==, 0);
    g_assert_cmpuint(count_discards(&ide, &invalid), ==, 1 + NUM_RANGES);
    ide_stop(&ide);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/block-ide-trim/graph-change", test_graph_change);
    qtest_add_func("/block-ide-trim/vm-stop", test_vm_stop);
    qtest_add_func("/block-ide-trim/cancel", test_cancel);
    qtest_add_func("/block-ide-trim/begun-in-drain", test_begun_in_drain);
    qtest_add_func("/block-ide-trim/bad", test_bad);
    return g_test_run();
}
