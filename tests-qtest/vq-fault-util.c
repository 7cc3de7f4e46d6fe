/*
 * For tests of faults: make QEMU run out of file descriptors, and stop one of
 * its threads in the middle of a request
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "vq-fault-util.h"

#define TIMEOUT_US (60 * G_USEC_PER_SEC)

/*
 * Set @open[fd] for each fd that QEMU has open. Returns: how many there are,
 * not counting the log that a sanitizer opens with its first report.
 */
static unsigned vq_fault_find_fds(VqTest *t, bool *open, unsigned size)
{
    g_autofree char *path =
        g_strdup_printf("/proc/%d/fd", (int)qtest_pid(t->qts));
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    unsigned n = 0;

    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *link = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);
        unsigned fd = atoi(name);

        g_assert_cmpuint(fd, <, size);
        open[fd] = true;
        n += !target || !strstr(target, ".san.");
    }
    return n;
}

unsigned vq_fault_count_fds(VqTest *t)
{
    bool open[4096] = {};

    return vq_fault_find_fds(t, open, ARRAY_SIZE(open));
}

static bool vq_fault_set_soft_limit(VqTest *t, rlim_t fds)
{
    struct rlimit limit;

    if (prlimit(qtest_pid(t->qts), RLIMIT_NOFILE, NULL, &limit) < 0) {
        return false;
    }
    limit.rlim_cur = fds == RLIM_INFINITY ? limit.rlim_max : fds;
    return prlimit(qtest_pid(t->qts), RLIMIT_NOFILE, &limit, NULL) == 0;
}

bool vq_fault_limit_fds(VqTest *t, unsigned more)
{
    bool open[4096] = {};
    unsigned fd = 0;

    vq_fault_find_fds(t, open, ARRAY_SIZE(open));

    /* The kernel gives out the lowest number that is free */
    while (open[fd] || more > 0) {
        more -= !open[fd];
        fd++;
        g_assert_cmpuint(fd, <, ARRAY_SIZE(open));
    }
    if (!vq_fault_set_soft_limit(t, fd)) {
        g_test_skip("cannot change the limits of a child process");
        return false;
    }
    return true;
}

void vq_fault_unlimit_fds(VqTest *t)
{
    g_assert_true(vq_fault_set_soft_limit(t, RLIM_INFINITY));
}

void vq_fault_freeze(VqTest *t, VqFaultFreezer *freezer)
{
    char page[4096];

    freezer->path = g_strdup_printf("%s.pipe", t->log);
    g_assert_cmpint(mkfifo(freezer->path, 0600), ==, 0);
    freezer->fd = open(freezer->path, O_RDWR | O_NONBLOCK);
    g_assert_cmpint(freezer->fd, >=, 0);

    g_free(qtest_hmp(t->qts, "logfile %s", freezer->path));

    memset(page, '\n', sizeof(page));
    while (write(freezer->fd, page, sizeof(page)) > 0) {
        /* until it is full */
    }
    g_assert_cmpint(errno, ==, EAGAIN);
}

void vq_fault_thaw(VqFaultFreezer *freezer)
{
    char page[4096];
    struct pollfd pfd = { .fd = freezer->fd, .events = POLLIN };

    /* Also what is only written now that there is room */
    while (poll(&pfd, 1, 100) > 0) {
        g_assert_cmpint(read(freezer->fd, page, sizeof(page)), >, 0);
    }
    g_unlink(freezer->path);
    g_free(freezer->path);
}

void vq_fault_wait_frozen(VqTest *t, pid_t tid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/syscall",
                                            (int)qtest_pid(t->qts), (int)tid);
    g_autofree char *wanted = g_strdup_printf("%d ", SYS_write);
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;

    while (true) {
        g_autofree char *call = NULL;

        /* Who is running, and only may be there, says so */
        if (g_file_get_contents(path, &call, NULL, NULL) &&
            g_str_has_prefix(call, wanted)) {
            return;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}
