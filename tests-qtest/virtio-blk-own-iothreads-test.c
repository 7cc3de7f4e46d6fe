/*
 * qtests of IOThreads that a virtio-blk disk makes for itself: x-iothreads=,
 * x-iothread-cpus= and x-data-plane=
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "qapi/error.h"
#include "qapi/qapi-visit-misc.h"
#include "qapi/qobject-input-visitor.h"
#include "qapi/util.h"
#include "vq-plug.h"
#include "vq-queues.h"
#include "vq-refusals.h"
#include "vq-test-util.h"

#define NUM_QUEUES 4
#define SLOT 5
/* Arguments of device_add for a disk on "node1" */
#define DISK1(more) "{\"driver\":\"virtio-blk-pci\",\"id\":\"disk1\"," \
    "\"addr\":\"05.0\",\"drive\":\"node1\",\"num-queues\":4" more "}"

typedef struct Shape {
    const char *name;
    const VqTestDevice *device;
    const char *properties;
    unsigned num;
} Shape;

static const Shape shapes[] = {
    { "pci/none", &vq_test_blk_pci, ",\"x-iothreads\":0", 0 },
    { "pci/one", &vq_test_blk_pci, ",\"x-iothreads\":1", 1 },
    { "pci/three", &vq_test_blk_pci, ",\"x-iothreads\":3", 3 },
    { "pci/one-each", &vq_test_blk_pci, ",\"x-iothreads\":4", 4 },
    { "pci/text", &vq_test_blk_pci, ",\"x-iothreads\":\"2\"", 2 },
    { "pci/x-data-plane", &vq_test_blk_pci, ",\"x-data-plane\":true", 1 },
    { "pci/x-data-plane-off", &vq_test_blk_pci,
      ",\"x-iothreads\":2,\"x-data-plane\":false", 2 },
    { "mmio/two", &vq_test_blk_mmio, ",\"x-iothreads\":2", 2 },
    { "mmio/x-data-plane", &vq_test_blk_mmio, ",\"x-data-plane\":true", 1 },
};

/* How many objects query-iothreads lists */
static unsigned count_iothreads(QTestState *qts)
{
    QDict *reply = qtest_qmp(qts, "{'execute': 'query-iothreads'}");
    Visitor *v = qobject_input_visitor_new(qdict_get(reply, "return"));
    g_autoptr(IOThreadInfoList) iothreads = NULL;

    visit_type_IOThreadInfoList(v, NULL, &iothreads, &error_abort);
    visit_free(v);
    qobject_unref(reply);
    return QAPI_LIST_LENGTH(iothreads);
}

/* Each of @disk's virtqueues is served by the thread that round-robin says */
static void assert_round_robin(VqTest *disk, const char *id, unsigned num)
{
    VqQueues queues;

    vq_queues_query(disk->qts, id, &queues);
    for (unsigned vq = 0; vq < disk->num_queues; vq++) {
        g_autofree char *name =
            num ? g_strdup_printf("%s.%u", id, vq % num) : NULL;
        pid_t tid = vq_test_thread_id(disk, name);

        g_assert_cmpint(vq_test_read(disk, vq), ==, tid);
        g_assert_cmpint(queues.vq[vq].thread_id, ==, tid);
        g_assert_cmpstr(queues.vq[vq].iothread, ==, name ?: "");
    }
}

static void test_threads(const void *opaque)
{
    const Shape *shape = opaque;
    VqTest *t = vq_test_new(shape->device, 1, NUM_QUEUES, shape->properties);

    vq_test_start_driver(t);
    g_assert_cmpuint(count_iothreads(t->qts), ==, 1 + shape->num);
    assert_round_robin(t, "disk0", shape->num);
    vq_test_reset(t);
    assert_round_robin(t, "disk0", shape->num);
    vq_test_free(t);
}

/* Let this thread, and the QEMU that it starts, run on @n of its CPUs */
static void use_cpus(unsigned n, cpu_set_t *old)
{
    cpu_set_t set = *old;

    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set) && n-- == 0) {
            for (; cpu < CPU_SETSIZE; cpu++) {
                CPU_CLR(cpu, &set);
            }
        }
    }
    g_assert_cmpint(sched_setaffinity(0, sizeof(set), &set), ==, 0);
}

/* One per CPU that QEMU may use, and no more than there are virtqueues */
static void test_auto(void)
{
    cpu_set_t old;

    g_assert_cmpint(sched_getaffinity(0, sizeof(old), &old), ==, 0);
    for (unsigned n = 1; n <= MIN(CPU_COUNT(&old), NUM_QUEUES); n++) {
        for (unsigned num_queues = 1; num_queues <= NUM_QUEUES; num_queues++) {
            VqTest *t;

            use_cpus(n, &old);
            t = vq_test_new(&vq_test_blk_pci, 0, num_queues,
                            ",\"x-iothreads\":\"auto\"");
            sched_setaffinity(0, sizeof(old), &old);
            g_assert_cmpuint(count_iothreads(t->qts), ==, MIN(n, num_queues));
            vq_test_start_driver(t);
            assert_round_robin(t, "disk0", MIN(n, num_queues));
            vq_test_free(t);
        }
    }
}

/* Beside JSON on -device there are these */
static const struct {
    const char *name;
    const char *args;
    const char *text; /* of the mapping in "info qtree" */
} ways[] = {
    { "key-value/number", "-device virtio-blk-pci,drive=node0,id=disk0,"
      "num-queues=4,x-iothreads=3", "disk0.0:0,3,disk0.1:1,disk0.2:2" },
    { "key-value/x-data-plane", "-device virtio-blk-pci,drive=node0,id=disk0,"
      "num-queues=4,x-data-plane=on", "disk0.0:0-3" },
    { "set/x-data-plane", "-device virtio-blk-pci,drive=node0,"
      "id=virtio-disk0,num-queues=4 -set device.virtio-disk0.scsi=off "
      "-set device.virtio-disk0.config-wce=off "
      "-set device.virtio-disk0.x-data-plane=on", "virtio-disk0.0:0-3" },
    { "global/number", "-global virtio-blk-pci.x-iothreads=2 "
      "-device virtio-blk-pci,drive=node0,id=disk0,num-queues=2",
      "disk0.0:0,disk0.1:1" },
    { "global/x-data-plane", "-global virtio-blk-device.x-data-plane=on "
      "-device virtio-blk-pci,drive=node0,id=disk0,num-queues=2",
      "disk0.0:0-1" },
    { "no-id", "-device virtio-blk-pci,drive=node0,x-iothreads=2,num-queues=2",
      "device[0].0:0,device[0].1:1" },
};

static void test_way(const void *opaque)
{
    const unsigned i = GPOINTER_TO_UINT(opaque);
    QTestState *qts = qtest_initf("-M pc -nodefaults -blockdev "
                                  "driver=null-co,node-name=node0 %s",
                                  ways[i].args);
    g_autofree char *wanted =
        g_strdup_printf("x-iothread-vq-mapping-resolved = %s\r\n",
                        ways[i].text);
    g_autofree char *qtree = qtest_hmp(qts, "info qtree");

    g_assert_nonnull(strstr(qtree, wanted));
    qtest_quit(qts);
}

static void assert_runs_on(VqTest *t, const char *iothread, unsigned cpu)
{
    cpu_set_t set;

    g_assert_cmpint(sched_getaffinity(vq_test_thread_id(t, iothread),
                                      sizeof(set), &set), ==, 0);
    g_assert_cmpint(CPU_COUNT(&set), ==, 1);
    g_assert_true(CPU_ISSET(cpu, &set));
}

/* What the kernel says, of the threads that serve the virtqueues */
static void test_cpus(void)
{
    unsigned first = 0, last = 0;
    g_autofree char *each = NULL;
    g_autofree char *all = NULL;
    cpu_set_t own;
    VqTest *t;

    g_assert_cmpint(sched_getaffinity(0, sizeof(own), &own), ==, 0);
    while (!CPU_ISSET(first, &own)) {
        first++;
    }
    for (unsigned cpu = first; cpu < CPU_SETSIZE; cpu++) {
        last = CPU_ISSET(cpu, &own) ? cpu : last;
    }

    each = g_strdup_printf(",\"x-iothreads\":2,\"x-iothread-cpus\":[\"%u\","
                           "\"%u-%u\"]", last, first, first);
    t = vq_test_new(&vq_test_blk_pci, 0, NUM_QUEUES, each);
    assert_runs_on(t, "disk0.0", last);
    assert_runs_on(t, "disk0.1", first);
    vq_test_start_driver(t);
    assert_round_robin(t, "disk0", 2);
    assert_runs_on(t, "disk0.0", last);
    vq_test_free(t);

    all = g_strdup_printf(",\"x-iothreads\":3,\"x-iothread-cpus\":\"%u\"",
                          last);
    t = vq_test_new(&vq_test_blk_pci, 0, NUM_QUEUES, all);
    for (unsigned i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("disk0.%u", i);

        assert_runs_on(t, name, last);
    }
    vq_test_free(t);
}

#define NO_NUM(what) "Parameter 'x-iothreads' expects 'auto' or a number of " \
    "IOThreads, not " what
#define NO_CPUS(i, what) "Parameter 'x-iothread-cpus[" i "]' expects host " \
    "CPUs like '0-3,8', not '" what "'"
#define BOTH(a, b) a " and " b " properties cannot be set at the same time"
#define CPUS(cpus) ",\"x-iothreads\":2,\"x-iothread-cpus\":" cpus

/* On a disk with four virtqueues and two IOThreads beside it */
static const VqRefusal refusals[] = {
    { "too-many", ",\"x-iothreads\":5",
      "Parameter 'x-iothreads' expects 'auto' or at most one IOThread for "
      "each of 4 virtqueues, not 5" },
    { "negative", ",\"x-iothreads\":-1", NO_NUM("-1") },
    { "negative-text", ",\"x-iothreads\":\"-1\"", NO_NUM("-1") },
    { "huge", ",\"x-iothreads\":4294967297", NO_NUM("4294967297") },
    { "word", ",\"x-iothreads\":\"all\"", NO_NUM("'all'") },
    { "no-word", ",\"x-iothreads\":\"\"", NO_NUM("''") },
    { "no-ioeventfd", ",\"x-iothreads\":1,\"ioeventfd\":false",
      "ioeventfd is required for iothread" },
    { "x-data-plane-no-ioeventfd",
      ",\"x-data-plane\":true,\"ioeventfd\":false",
      "ioeventfd is required for iothread" },
    { "with-iothread", ",\"x-iothreads\":1,\"iothread\":\"iothread0\"",
      BOTH("x-iothreads", "iothread") },
    { "with-mapping",
      ",\"x-iothreads\":\"auto\"" VQ_MAPPING("{\"iothread\":\"iothread0\"}"),
      BOTH("x-iothreads", "iothread-vq-mapping") },
    { "x-data-plane-with-iothread",
      ",\"x-data-plane\":true,\"iothread\":\"iothread0\"",
      BOTH("x-data-plane", "iothread") },
    { "x-data-plane-with-mapping",
      ",\"x-data-plane\":true" VQ_MAPPING("{\"iothread\":\"iothread0\"}"),
      BOTH("x-data-plane", "iothread-vq-mapping") },
    { "with-x-data-plane", ",\"x-iothreads\":2,\"x-data-plane\":true",
      BOTH("x-iothreads", "x-data-plane") },
    { "cpus/alone", ",\"x-iothread-cpus\":[\"0\"]",
      "x-iothread-cpus is for the IOThreads of x-iothreads or x-data-plane, "
      "and neither is set" },
    { "cpus/empty-list", CPUS("[]"),
      "Parameter 'x-iothread-cpus' expects at least one set of host CPUs, not "
      "[]" },
    { "cpus/empty-set", CPUS("[\"0\",\"\"]"), NO_CPUS("1", "") },
    { "cpus/empty-text", CPUS("\"\""),
      "Parameter 'x-iothread-cpus' expects at least one set of host CPUs, not "
      "[]" },
    { "cpus/word", CPUS("[\"all\"]"), NO_CPUS("0", "all") },
    { "cpus/open-range", CPUS("[\"0\",\"0-\"]"), NO_CPUS("1", "0-") },
    { "cpus/backwards", CPUS("[\"1-0\"]"), NO_CPUS("0", "1-0") },
    { "cpus/negative", CPUS("[\"-1\"]"), NO_CPUS("0", "-1") },
    { "cpus/huge", CPUS("[\"65536\"]"), NO_CPUS("0", "65536") },
    { "cpus/number", CPUS("[0]"),
      "Invalid parameter type for 'x-iothread-cpus[0]', expected: string" },
    { "cpus/object", CPUS("{}"),
      "Invalid parameter type for 'x-iothread-cpus', expected: array or "
      "string" },
    { "cpus/hex", CPUS("[\"0x1\"]"), NO_CPUS("0", "0x1") },
    { "cpus/comma", CPUS("[\"0,\"]"), NO_CPUS("0", "0,") },
    { "cpus/too-many", CPUS("[\"0\",\"0\",\"0\"]"),
      "Parameter 'x-iothread-cpus' expects one set of host CPUs, or one for "
      "each of 2 IOThreads, not 3 sets" },
    { "cpus/too-many-in-text", CPUS("\"0:0:0\""),
      "Parameter 'x-iothread-cpus' expects one set of host CPUs, or one for "
      "each of 2 IOThreads, not 3 sets" },
};

/* The same on the command line only: device_add of 9.0 makes text of them */
static const VqRefusal type_refusals[] = {
    { "fraction", ",\"x-iothreads\":1.5",
      "Invalid parameter type for 'x-iothreads', expected: integer" },
    { "bool", ",\"x-iothreads\":true",
      "Invalid parameter type for 'x-iothreads', expected: 'auto' or a "
      "number" },
    { "x-data-plane-number", ",\"x-data-plane\":1",
      "Invalid parameter type for 'x-data-plane', expected: boolean" },
};

/* A disk0 that stays, and what a second disk needs */
static VqTest *new_machine(void)
{
    VqTest *t = vq_test_new(&vq_test_blk_pci, 2, 1, "");

    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'node1',"
                             "  'size': 16777216}}");
    return t;
}

static void test_refused_at_start(const void *opaque)
{
    const VqRefusal *r = opaque;
    g_autofree char *json = g_strdup_printf(
        "{\"driver\":\"virtio-blk-pci\",\"drive\":\"node0\",\"num-queues\":4"
        "%s}", r->properties);
    g_autofree char *wanted = g_strdup_printf(": %s\n", r->message);
    g_autofree char *output = NULL;

    g_assert_cmpint(vq_test_run_qemu("pc", 2, json, &output), ==, 1);
    g_assert_true(g_str_has_suffix(output, wanted));
    /* One line */
    g_assert_true(strchr(output, '\n') == output + strlen(output) - 1);
}

static void test_refused(const void *opaque)
{
    const VqRefusal *r = opaque;
    g_autofree char *json = g_strdup_printf(DISK1("%s"), r->properties);
    VqTest *t = new_machine();
    unsigned threads = vq_test_count_entries(t, "task");
    unsigned fds = vq_test_count_entries(t, "fd");
    g_autofree char *error = vq_plug_try(t->qts, json);

    g_assert_cmpstr(error, ==, r->message);
    g_assert_cmpuint(vq_test_count_entries(t, "task"), ==, threads);
    g_assert_cmpuint(vq_test_count_entries(t, "fd"), ==, fds);
    g_assert_cmpuint(count_iothreads(t->qts), ==, 2);

    /* The id, the slot and the node are free */
    vq_plug(t->qts, DISK1(",\"x-iothreads\":3"));
    vq_test_free(t);

    test_refused_at_start(r);
}

/* The last thread's CPUs are wrong, so the others run already */
static void test_missing_cpu(void)
{
    g_autofree char *json = NULL;
    g_autofree char *error = NULL;
    cpu_set_t own;
    VqTest *t = new_machine();
    unsigned threads = vq_test_count_entries(t, "task");
    unsigned cpu = 0;

    g_assert_cmpint(sched_getaffinity(0, sizeof(own), &own), ==, 0);
    while (!CPU_ISSET(cpu, &own)) {
        cpu++;
    }
    json = g_strdup_printf(DISK1(",\"x-iothreads\":2,\"x-iothread-cpus\":"
                                 "[\"%u\",\"%u,65535\"]"), cpu, cpu);
    error = vq_plug_try(t->qts, json);
    g_assert_nonnull(error);
    g_assert_true(g_str_has_prefix(
        error, "Parameter 'x-iothread-cpus[1]' expects host CPUs that QEMU "
        "may use: "));
    g_assert_true(g_str_has_suffix(error, ", not 65535"));
    g_assert_cmpuint(count_iothreads(t->qts), ==, 2);
    g_assert_cmpuint(vq_test_count_entries(t, "task"), ==, threads);
    vq_test_free(t);
}

/* What -sandbox on,resourcecontrol=deny does */
static void deny_affinity(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setaffinity, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = { ARRAY_SIZE(filter), filter };

    g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), ==, 0);
}

static void test_denied(void)
{
    g_autofree char *output = NULL;

    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        return;
    }

    deny_affinity();
    g_assert_cmpint(vq_test_run_qemu("pc", 0, "{\"driver\":\"virtio-blk-pci\","
                                     "\"drive\":\"node0\",\"x-iothreads\":1,"
                                     "\"x-iothread-cpus\":[\"0\"]}", &output),
                    ==, 1);
    g_assert_true(g_str_has_suffix(
        output, ": Parameter 'x-iothread-cpus[0]' cannot be applied: the host "
        "does not let QEMU choose CPUs: Operation not permitted\n"));
}

static void test_name_taken(void)
{
    VqTest *t = new_machine();
    g_autofree char *error = NULL;

    qtest_qmp_assert_success(t->qts, "{'execute': 'object-add', 'arguments':"
                             " {'qom-type': 'iothread', 'id': 'disk1.1'}}");
    error = vq_plug_try(t->qts, DISK1(",\"x-iothreads\":2"));
    g_assert_cmpstr(error, ==, "x-iothreads needs the name 'disk1.1' for an "
                    "IOThread, but another object has it");
    g_assert_cmpuint(count_iothreads(t->qts), ==, 3);
    g_assert_false(vq_test_has_iothread(t, "disk1.0"));
    vq_test_free(t);
}

/* Threads and descriptors come and go with the disk */
static void test_unplug(void)
{
    VqTest *t = new_machine();
    unsigned threads = 0, fds = 0;

    for (unsigned round = 0; round < 10; round++) {
        VqTest *disk;

        vq_plug(t->qts, DISK1(",\"x-iothreads\":3"));
        g_assert_cmpuint(count_iothreads(t->qts), ==, 5);
        disk = vq_test_start_plugged(t, SLOT, NUM_QUEUES);
        assert_round_robin(disk, "disk1", 3);
        vq_test_stop_plugged(t, disk);
        vq_plug_unplug(t->qts, "disk1", SLOT);

        g_assert_cmpuint(count_iothreads(t->qts), ==, 2);
        for (unsigned i = 0; i < 3; i++) {
            g_autofree char *name = g_strdup_printf("disk1.%u", i);

            g_assert_false(vq_test_has_iothread(t, name));
        }
        if (round == 0) {
            threads = vq_test_count_entries(t, "task");
            fds = vq_test_count_entries(t, "fd");
        }
    }
    g_assert_cmpuint(vq_test_count_entries(t, "task"), ==, threads);
    g_assert_cmpuint(vq_test_count_entries(t, "fd"), ==, fds);
    vq_test_free(t);
}

static void assert_not_deleted(VqTest *t, const char *iothread,
                               const char *users)
{
    g_autofree char *error = vq_plug_object_del(t->qts, iothread);
    g_autofree char *wanted = g_strdup_printf(
        "object '%s' is in use, can not be deleted: %s", iothread, users);

    g_assert_cmpstr(error, ==, wanted);
    g_assert_true(vq_test_has_iothread(t, iothread));
}

static void test_delete(void)
{
    VqTest *t = new_machine();

    vq_plug(t->qts, DISK1(",\"x-iothreads\":3"));
    assert_not_deleted(t, "disk1.0", "device 'disk1' made it, virtqueues 0,3 "
                       "of device 'disk1'");
    assert_not_deleted(t, "disk1.2", "device 'disk1' made it, virtqueue 2 "
                       "of device 'disk1'");
    vq_test_free(t);
}

/* One that others use does not go under them */
static void test_shared(void)
{
    VqTest *t = new_machine();
    g_autofree char *error = NULL;

    vq_plug(t->qts, DISK1(",\"x-iothreads\":2"));
    qtest_qmp_assert_success(t->qts, "{'execute': 'blockdev-add', 'arguments':"
                             " {'driver': 'null-co', 'node-name': 'node2'}}");
    qtest_qmp_assert_success(t->qts, "{'execute': 'x-blockdev-set-iothread',"
                             " 'arguments': {'node-name': 'node2',"
                             "  'iothread': 'disk1.1'}}");
    vq_plug_unplug(t->qts, "disk1", SLOT);
    g_assert_false(vq_test_has_iothread(t, "disk1.0"));
    assert_not_deleted(t, "disk1.1", "block node 'node2'");

    /* It is in the way of this one, until the node has left it */
    error = vq_plug_try(t->qts, DISK1(",\"x-iothreads\":2"));
    g_assert_cmpstr(error, ==, "x-iothreads needs the name 'disk1.1' for an "
                    "IOThread, but another object has it");
    qtest_qmp_assert_success(t->qts, "{'execute': 'x-blockdev-set-iothread',"
                             " 'arguments': {'node-name': 'node2',"
                             "  'iothread': null}}");
    g_assert_null(vq_plug_object_del(t->qts, "disk1.1"));
    g_assert_false(vq_test_has_iothread(t, "disk1.1"));
    vq_plug(t->qts, DISK1(",\"x-iothreads\":2"));
    vq_test_free(t);
}

/* qom-set as for any IOThread: one that polls needs no notification */
static void test_polling(void)
{
    static const char *const properties[] = { "poll-max-ns", "poll-grow" };
    VqTest *t = vq_test_new(&vq_test_blk_pci, 0, NUM_QUEUES,
                            ",\"x-iothreads\":2");
    VqQueues queues;

    for (unsigned i = 0; i < ARRAY_SIZE(properties); i++) {
        qtest_qmp_assert_success(t->qts, "{'execute': 'qom-set', 'arguments':"
                                 " {'path': '/objects/disk0.1', 'property': %s,"
                                 "  'value': 2000000000}}", properties[i]);
    }
    vq_test_start_driver(t);
    for (unsigned i = 0; i < 4; i++) {
        vq_test_read(t, 3);
    }
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *needle = NULL;
        VqTestRequest req = vq_test_prepare_read(t, 3, &needle);

        vq_test_submit(t, &req, false);
        vq_test_complete_read(t, &req);
    }
    vq_queues_query(t->qts, "disk0", &queues);
    g_assert_cmpuint(queues.vq[3].totals[VQ_QUEUES_POLLS], >=, 4);
    vq_test_free(t);
}

/* Linux has 15 characters for a thread's name */
static void test_long_name(void)
{
    VqTest *t = new_machine();

    qtest_qmp_assert_success(t->qts, "{'execute': 'object-add', 'arguments':"
                             " {'qom-type': 'iothread',"
                             "  'id': 'iothread-of-the-database'}}");
    g_assert_true(vq_test_has_iothread(t, "the-database"));
    vq_test_free(t);
}

/* A property that takes words and numbers, set from text */
static void test_global_addr(void)
{
    QTestState *qts = qtest_init("-M pc -nodefaults -blockdev "
                                 "driver=null-co,node-name=node0 "
                                 "-global virtio-blk-pci.addr=0x7 "
                                 "-device virtio-blk-pci,drive=node0");
    g_autofree char *qtree = qtest_hmp(qts, "info qtree");

    g_assert_nonnull(strstr(qtree, "addr = 07.0\r\n"));
    qtest_quit(qts);
}

static void add_refusals(const VqRefusal *rows, size_t n, GTestDataFunc func)
{
    for (size_t i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf(
            "/virtio-blk-own-iothreads/refused/%s", rows[i].name);

        qtest_add_data_func(path, &rows[i], func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        g_autofree char *path = g_strdup_printf(
            "/virtio-blk-own-iothreads/threads/%s", shapes[i].name);

        qtest_add_data_func(path, &shapes[i], test_threads);
    }
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        g_autofree char *path = g_strdup_printf(
            "/virtio-blk-own-iothreads/way/%s", ways[i].name);

        qtest_add_data_func(path, GUINT_TO_POINTER(i), test_way);
    }
    add_refusals(refusals, ARRAY_SIZE(refusals), test_refused);
    add_refusals(type_refusals, ARRAY_SIZE(type_refusals),
                 test_refused_at_start);
    qtest_add_func("/virtio-blk-own-iothreads/refused/cpus/missing",
                   test_missing_cpu);
    qtest_add_func("/virtio-blk-own-iothreads/refused/cpus/denied",
                   test_denied);
    qtest_add_func("/virtio-blk-own-iothreads/refused/name-taken",
                   test_name_taken);
    qtest_add_func("/virtio-blk-own-iothreads/auto", test_auto);
    qtest_add_func("/virtio-blk-own-iothreads/cpus", test_cpus);
    qtest_add_func("/virtio-blk-own-iothreads/unplug", test_unplug);
    qtest_add_func("/virtio-blk-own-iothreads/delete", test_delete);
    qtest_add_func("/virtio-blk-own-iothreads/shared", test_shared);
    qtest_add_func("/virtio-blk-own-iothreads/polling", test_polling);
    qtest_add_func("/virtio-blk-own-iothreads/long-name", test_long_name);
    qtest_add_func("/virtio-blk-own-iothreads/global-addr", test_global_addr);
    return g_test_run();
}
