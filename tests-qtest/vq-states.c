/*
 * A QEMU with a disk that everything happens to, and a model that knows what
 * must have become of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/mman.h>
#include "libqmp.h"
#include "libqos/malloc-pc.h"
#include "libqos/pci-pc.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-misc.h"
#include "qapi/qapi-visit-virtio-blk-queues.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/units.h"
#include "vq-monitor.h"
#include "vq-plug.h"
#include "vq-states.h"

#define RAM_SIZE (64 * MiB)
#define STEP_SECONDS 150

const char *const vq_states_nodes[VQ_STATES_BACKENDS] = {
    [VQ_STATES_FILE] = "file",
    [VQ_STATES_FAILING] = "failing",
    [VQ_STATES_THROTTLED] = "throttled",
    [VQ_STATES_SLOW] = "slow",
};

static VqStates *running_states;

static void dump(void *opaque)
{
    VqStates *s = opaque;
    uint64_t first = s->step > ARRAY_SIZE(s->last) ?
                     s->step - ARRAY_SIZE(s->last) : 0;

    fprintf(stderr, "seed %u, step %" PRIu64 ": VM %s, disk %s on %s%s, job %d,"
            " %sremapping to %d %d %d %d, last steps:", s->seed, s->step,
            s->running ? "runs" : "stopped",
            s->plugged ? "plugged" : "unplugged",
            vq_states_nodes[s->backend], s->up ? ", up" : "", s->job,
            s->remapping ? "" : "not ", s->goals[0], s->goals[1], s->goals[2],
            s->goals[3]);
    for (uint64_t i = first; i < s->step; i++) {
        fprintf(stderr, " %s", s->last[i % ARRAY_SIZE(s->last)]);
    }
    fputc('\n', stderr);
}

static void G_GNUC_PRINTF(1, 2) G_NORETURN vq_states_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}

/* A step takes too long. The test ends with QEMU's death, or here. */
static void hang(int sig)
{
    static const char message[] = "QEMU hangs\n";
    ssize_t ignored G_GNUC_UNUSED;

    ignored = write(STDERR_FILENO, message, sizeof(message) - 1);
    if (getenv("VQ_STATES_WAIT")) {
        dump(running_states);
        pause();
    }
    kill(qtest_pid(running_states->qts), SIGKILL);
    abort();
}

void vq_states_note(VqStates *s, const char *step)
{
    s->last[s->step++ % ARRAY_SIZE(s->last)] = step;
    alarm(STEP_SECONDS);
}

bool vq_states_may_drain(const VqStates *s)
{
    return s->job != VQ_STATES_NO_JOB && s->job != VQ_STATES_READY &&
           s->job != VQ_STATES_STARTING;
}

bool vq_states_is_drained(const VqStates *s)
{
    return s->job == VQ_STATES_PENDING;
}

bool vq_states_guest_runs(const VqStates *s)
{
    return s->running && s->plugged;
}

bool vq_states_is_up(const VqStates *s)
{
    return vq_states_guest_runs(s) && s->up;
}

static bool is_goal(const char *iothread, int goal)
{
    g_autofree char *name = g_strdup_printf("iothread%d", goal);

    return g_str_equal(iothread, goal == VQ_STATES_MAIN_LOOP ? "" : name);
}

static void on_remapped(VqStates *s, QDict *data)
{
    g_autoptr(VirtioBlkRemappedQueueList) queues = NULL;
    Visitor *v;

    s->remapped++;
    if (s->racing) {
        return;
    }
    g_assert_true(s->remapping);
    s->remapping = false;
    v = qobject_input_visitor_new(qdict_get(data, "queues"));
    visit_type_VirtioBlkRemappedQueueList(v, NULL, &queues, &error_abort);
    visit_free(v);
    for (VirtioBlkRemappedQueueList *l = queues; l; l = l->next) {
        g_assert_true(is_goal(l->value->to ?: "", s->goals[l->value->index]));
    }
}

static void on_job(VqStates *s, const char *status)
{
    static const struct {
        const char *status;
        VqStatesJob job;
    } states[] = {
        { "ready", VQ_STATES_READY },
        { "pending", VQ_STATES_PENDING },
        { "null", VQ_STATES_ENDED },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
        /* A job that is paused or resumed is "ready" again */
        if (g_str_equal(status, states[i].status) && s->job < states[i].job) {
            s->job = states[i].job;
        }
    }
}

static bool on_event(QTestState *qts, const char *name, QDict *event,
                     void *opaque)
{
    VqStates *s = opaque;
    QDict *data = qdict_get_qdict(event, "data");

    if (getenv("VQ_STATES_EVENTS")) {
        fprintf(stderr, "step %" PRIu64 " %s\n", s->step, name);
    }
    if (g_str_equal(name, "STOP")) {
        s->running = false;
    } else if (g_str_equal(name, "RESUME")) {
        s->running = true;
        s->late_kick = false;
        memset(s->waiting, 0, sizeof(s->waiting));
    } else if (g_str_equal(name, "VIRTIO_BLK_REMAPPED")) {
        on_remapped(s, data);
    } else if (g_str_equal(name, "JOB_STATUS_CHANGE")) {
        on_job(s, qdict_get_str(data, "status"));
    } else if (g_str_equal(name, "DEVICE_DELETED")) {
        s->deleted |= g_strcmp0(qdict_get_try_str(data, "device"),
                                "disk0") == 0;
    }
    return true;
}

void vq_states_send(VqStates *s, const char *json)
{
    qtest_qmp_send_raw(s->qts, "%s", json);
}

char *vq_states_receive(VqStates *s)
{
    QDict *reply = qtest_qmp_receive(s->qts);
    char *error = NULL;

    if (qdict_haskey(reply, "error")) {
        error = g_strdup(qdict_get_str(qdict_get_qdict(reply, "error"),
                                       "desc"));
    }
    qobject_unref(reply);
    return error;
}

void vq_states_qmp(VqStates *s, const char *json)
{
    g_autofree char *error = NULL;

    vq_states_send(s, json);
    error = vq_states_receive(s);
    if (error) {
        vq_states_fail("%s: %s", json, error);
    }
}

void vq_states_sync(VqStates *s)
{
    vq_states_qmp(s, "{\"execute\":\"query-name\"}");
}

/* Of the disk, before a failure that does not say much */
static void vq_states_show(VqStates *s)
{
    g_autofree char *status = NULL;
    VqQueues queues;

    if (!s->plugged) {
        return;
    }
    status = qtest_hmp(s->qts, "info status");
    fprintf(stderr, "%s", status);
    vq_queues_query(s->qts, "disk0", &queues);
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        const VqStatesQueue *model = &s->disk.queues[i];
        const VqQueue *vq = &queues.vq[i];
        unsigned busy = model->busy;

        vq_states_disk_reap(&s->disk, i);
        fprintf(stderr, "virtqueue %u: %s of \"%s\"%s%s, %u in flight, %u "
                "waiting; %u in the ring, %u not complete, %u not submitted, "
                "flags %x\n", i, vq->state, vq->iothread,
                vq->remap ? " remapped to " : "",
                vq->remap ? vq->remap_iothread : "", (unsigned)vq->in_flight,
                (unsigned)vq->waiting, busy, model->busy, model->added,
                model->enabled ? model->ring.used->flags : 0);
    }
}

void vq_states_wait_flag(VqStates *s, const bool *flag, bool value)
{
    int64_t deadline = g_get_monotonic_time() + VQ_STATES_TIMEOUT_US;

    while (*flag != value) {
        if (g_get_monotonic_time() >= deadline) {
            vq_states_show(s);
            vq_states_fail("what must happen does not");
        }
        vq_states_sync(s);
    }
}

static bool is_one_of(const char *state, const char *states)
{
    g_auto(GStrv) words = g_strsplit(states, " ", -1);

    return g_strv_contains((const char *const *)words, state);
}

static void check_thread(VqStates *s, const VqQueue *vq)
{
    for (unsigned i = 0; i < VQ_STATES_IOTHREADS; i++) {
        if (is_goal(vq->iothread, i)) {
            g_assert_cmpint(vq->thread_id, ==, s->tids[i]);
            return;
        }
    }
    g_assert_cmpstr(vq->iothread, ==, "");
    g_assert_cmpint(vq->thread_id, ==, qtest_pid(s->qts));
}

/* Which states may the model's virtqueue @i show? */
static const char *allowed_states(VqStates *s, const VqQueues *queues,
                                  unsigned i)
{
    if (!queues->started || !s->disk.queues[i].enabled) {
        return "closed";
    }
    if (queues->vq[i].remap) {
        return vq_states_is_drained(s) ? "leaving" : "leaving evicting";
    }
    if (vq_states_is_drained(s)) {
        return "detached";
    }
    /* Begin and end of a short drained section, which may be over */
    return "detached attaching attached detaching";
}

static void check_queue(VqStates *s, const VqQueues *queues, unsigned i)
{
    const VqStatesQueue *model = &s->disk.queues[i];
    const VqQueue *vq = &queues->vq[i];

    if (!is_one_of(vq->state, allowed_states(s, queues, i))) {
        vq_states_fail("virtqueue %u is %s, must be %s", i, vq->state,
                allowed_states(s, queues, i));
    }
    g_assert_cmpint(vq->enabled, ==, model->enabled);
    if (vq->remap) {
        g_assert_true(queues->remapping);
        g_assert_true(is_goal(vq->remap_iothread, s->goals[i]));
        g_assert_false(is_goal(vq->iothread, s->goals[i]));
    } else {
        g_assert_true(is_goal(vq->iothread, s->goals[i]));
    }
    check_thread(s, vq);
    g_assert_cmpuint(vq->waiting, <=, vq->in_flight);
    g_assert_cmpuint(vq->in_flight, <=, model->busy);
    if (!s->running) {
        if (vq->waiting < s->waiting[i]) {
            vq_states_show(s);
            vq_states_fail("%u requests wait for a restart", s->waiting[i]);
        }
        if (!vq_states_may_drain(s) && !queues->started) {
            g_assert_cmpuint(vq->waiting, ==, vq->in_flight);
        }
    }
}

static void query(VqStates *s, VqQueues *queues)
{
    vq_queues_query(s->qts, "disk0", queues);
    g_assert_cmpuint(queues->num, ==, VQ_STATES_QUEUES);
    /* The event comes before an answer that says so, or the one before */
    g_assert_true(queues->remapping || !s->remapping);
    if (queues->started != vq_states_is_up(s) &&
        !(s->up && s->late_kick && !s->running)) {
        vq_states_show(s);
        vq_states_fail("ioeventfd is%s started", queues->started ? "" : " not");
    }
}

void vq_states_check(VqStates *s)
{
    VqQueues queues;

    if (!s->plugged) {
        g_assert_cmpuint(vq_queues_count_disks(s->qts), ==, 0);
        return;
    }
    query(s, &queues);
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        check_queue(s, &queues, i);
    }
}

static bool is_settled(VqStates *s, const VqQueues *queues)
{
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        if (s->disk.queues[i].enabled &&
            (strcmp(queues->vq[i].state, "attached") ||
             queues->vq[i].in_flight || queues->vq[i].waiting)) {
            return false;
        }
    }
    return !s->remapping;
}

void vq_states_settle(VqStates *s)
{
    int64_t deadline = g_get_monotonic_time() + VQ_STATES_TIMEOUT_US;
    VqQueues queues;
    unsigned busy;

    g_assert_true(vq_states_is_up(s) && !vq_states_may_drain(s));
    for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
        vq_states_disk_kick(&s->disk, i);
    }
    do {
        if (g_get_monotonic_time() >= deadline) {
            vq_states_show(s);
            vq_states_fail("requests do not complete");
        }
        busy = 0;
        for (unsigned i = 0; i < VQ_STATES_QUEUES; i++) {
            vq_states_disk_reap(&s->disk, i);
            busy += s->disk.queues[i].busy;
        }
        if (busy) {
            g_usleep(20);
        }
    } while (busy);
    do {
        if (g_get_monotonic_time() >= deadline) {
            vq_states_show(s);
            vq_states_fail("it does not come to rest");
        }
        query(s, &queues);
    } while (!is_settled(s, &queues));
    vq_states_check(s);
    g_assert_cmpuint(s->disk.submitted, ==,
                     s->disk.completed + s->disk.dropped);
}

static void set_trace(VqStates *s, bool enable)
{
    qtest_qmp_assert_success(s->qts, "{'execute': 'trace-event-set-state',"
                             " 'arguments': {'name': 'virtio_blk_handle_read',"
                             "               'enable': %i}}", enable);
}

/* What QEMU has logged since the last call, to be freed */
static char *read_log(VqStates *s)
{
    g_autofree char *text = NULL;
    char *more;
    size_t len;

    g_assert_true(g_file_get_contents(s->log, &text, &len, NULL));
    more = g_strdup(text + s->log_offset);
    s->log_offset = len;
    return more;
}

void vq_states_probe(VqStates *s, unsigned vq)
{
    g_autofree char *text = NULL;
    char *line;
    unsigned block = vq_states_dice(s, VQ_STATES_BLOCKS);
    int goal = s->goals[vq];

    vq_states_settle(s);
    set_trace(s, true);
    vq_states_disk_add(&s->disk, vq, block, false);
    vq_states_settle(s);
    set_trace(s, false);
    text = read_log(s);
    line = strstr(text, "virtio_blk_handle_read");
    g_assert_nonnull(line);
    while (line > text && line[-1] != '\n') {
        line--;
    }
    g_assert_cmpint(atoi(line), ==, goal == VQ_STATES_MAIN_LOOP
                                    ? qtest_pid(s->qts) : s->tids[goal]);
}

static unsigned count_fds(VqStates *s)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd",
                                            (int)qtest_pid(s->qts));
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    unsigned n = 0;

    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *link = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);

        /* Not the log of a sanitizer */
        n += !target || !strstr(target, ".san.");
    }
    return n;
}

static void find_tids(VqStates *s)
{
    QDict *reply = qtest_qmp(s->qts, "{'execute': 'query-iothreads'}");
    Visitor *v = qobject_input_visitor_new(qdict_get(reply, "return"));
    g_autoptr(IOThreadInfoList) list = NULL;

    visit_type_IOThreadInfoList(v, NULL, &list, &error_abort);
    visit_free(v);
    qobject_unref(reply);
    for (IOThreadInfoList *l = list; l; l = l->next) {
        s->tids[atoi(l->value->id + strlen("iothread"))] = l->value->thread_id;
    }
}

/*
 * IOThreads can be deleted, and there are no more file descriptors than when
 * it was like this for the first times
 */
void vq_states_check_gone(VqStates *s)
{
    int64_t deadline = g_get_monotonic_time() + VQ_STATES_TIMEOUT_US;
    unsigned fds;

    for (unsigned i = 0; i < VQ_STATES_IOTHREADS; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);
        g_autofree char *error = vq_plug_object_del(s->qts, name);

        g_assert_cmpstr(error, ==, NULL);
    }
    s->epochs++;
    do {
        fds = count_fds(s);
        if (s->epochs <= 5) {
            s->fds = MAX(s->fds, fds);
        }
        if (g_get_monotonic_time() >= deadline) {
            vq_states_fail("%u file descriptors, were %u at most", fds, s->fds);
        }
    } while (fds > s->fds);
    for (unsigned i = 0; i < VQ_STATES_IOTHREADS; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);

        qtest_qmp_assert_success(s->qts, "{'execute': 'object-add',"
                                 " 'arguments': {'qom-type': 'iothread',"
                                 "               'id': %s}}", name);
    }
    find_tids(s);
}

static char *new_image(VqStates *s, const char *name)
{
    char *path = g_build_filename(s->dir, name, NULL);
    int fd = open(path, O_CREAT | O_RDWR, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, VQ_STATES_SIZE), ==, 0);
    close(fd);
    return path;
}

static void start_qemu(VqStates *s)
{
    g_autofree char *file = new_image(s, "file");
    g_autofree char *failing = new_image(s, "failing");
    g_autofree char *throttled = new_image(s, "throttled");
    g_autofree char *monitor = g_build_filename(s->dir, "qmp", NULL);
    g_autofree char *human = NULL;
    g_autofree char *greeting = NULL;
    int fd = memfd_create("vq-states", 0);

    g_assert_cmpint(ftruncate(fd, RAM_SIZE), ==, 0);
    s->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(s->ram != MAP_FAILED);
    s->log = new_image(s, "log");
    s->hmp = vq_monitor_new_human(&human);
    s->qts = qtest_initf(
        "-M pc,memory-backend=ram -m %u -nodefaults -name vq-states,"
        "debug-threads=on -D %s -msg timestamp=on -qmp unix:%s,server=on,"
        "wait=off -object memory-backend-file,id=ram,size=%u,share=on,"
        "mem-path=/proc/self/fd/%d "
        "-object throttle-group,id=group,x-iops-total=5000 "
        "-blockdev file,node-name=file,filename=%s "
        "-blockdev file,node-name=file1,filename=%s "
        "-blockdev file,node-name=file2,filename=%s "
        "-blockdev throttle,node-name=throttled,throttle-group=group,"
        "file=file2 -blockdev null-co,node-name=slow,size=%u,read-zeroes=on,"
        "latency-ns=2000000 -object iothread,id=iothread0 "
        "-object iothread,id=iothread1 -object iothread,id=iothread2%s",
        (unsigned)(RAM_SIZE / MiB), s->log, monitor, (unsigned)RAM_SIZE, fd,
        file, failing, throttled, VQ_STATES_SIZE, human);
    close(fd);
    qtest_qmp_set_event_callback(s->qts, on_event, s);
    s->qmp = vq_monitor_open(monitor);
    greeting = vq_monitor_receive_human(s->hmp);
    set_trace(s, false);
}

VqStates *vq_states_new(uint32_t seed)
{
    const struct sigaction alarm_action = { .sa_handler = hang };
    VqStates *s = g_new0(VqStates, 1);

    s->seed = seed;
    s->rand = g_rand_new_with_seed(seed);
    s->dir = g_dir_make_tmp("vq-states.XXXXXX", NULL);
    g_assert_nonnull(s->dir);
    s->running = true;
    for (unsigned i = 0; i < VQ_STATES_BACKENDS; i++) {
        s->contents[i].keeps_data = i != VQ_STATES_SLOW;
        for (unsigned j = 0; j < ARRAY_SIZE(s->contents[i].blocks); j++) {
            s->contents[i].blocks[j].num = 1;
        }
    }
    start_qemu(s);
    running_states = s;
    sigaction(SIGALRM, &alarm_action, NULL);
    qtest_add_abrt_handler(dump, s);
    pc_alloc_init(&s->alloc, s->qts, ALLOC_NO_FLAGS);
    s->pcibus = qpci_new_pc(s->qts, &s->alloc);
    vq_states_disk_init(&s->disk, s->qts, s->pcibus, &s->alloc, s->ram);
    find_tids(s);
    return s;
}

void vq_states_free(VqStates *s)
{
    static const char *const files[] = {
        "file", "failing", "throttled", "log", "qmp"
    };

    alarm(0);
    qtest_remove_abrt_handler(s);
    qpci_free_pc(s->pcibus);
    alloc_destroy(&s->alloc);
    close(s->qmp);
    close(s->hmp);
    qtest_quit(s->qts);
    munmap(s->ram, RAM_SIZE);
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
        g_autofree char *path = g_build_filename(s->dir, files[i], NULL);

        g_unlink(path);
    }
    g_rmdir(s->dir);
    g_rand_free(s->rand);
    g_free(s->dir);
    g_free(s->log);
    g_free(s);
}
