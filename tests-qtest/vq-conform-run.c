/*
 * Conformance cases for a virtio-blk-pci device: one process for QEMU
 *
 * What libqtest does when QEMU ends is to abort, so this is done in a child,
 * which tells its parent the verdict on each case that it runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <poll.h>
#include <sys/resource.h>
#include "qemu/cutils.h"
#include "vq-conform.h"

/* More than a case waits for an answer of the device, twice */
#define HANGS_S 60

typedef struct Answer {
    Verdict verdict;
    char note[200];
} Answer;

static struct {
    pid_t pid;          /* 0: there is none */
    int fd;             /* a socket */
    bool read_only;     /* the disk that it has */
    char *folder;       /* for its files, and what it prints */
} child;

static void G_NORETURN run_child(int fd)
{
    g_autofree char *log = g_build_filename(child.folder, "log", NULL);
    struct rlimit no_core = {};
    const ConformCase *k;
    Conform *c;
    int out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    setrlimit(RLIMIT_CORE, &no_core);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    c = cf_new(child.read_only);
    /* The parent's pointers are those of this process as well */
    while (read(fd, &k, sizeof(k)) == sizeof(k)) {
        Answer answer = { .verdict = cf_run(c, k) };

        pstrcpy(answer.note, sizeof(answer.note), c->note);
        if (write(fd, &answer, sizeof(answer)) != sizeof(answer)) {
            break;
        }
    }
    cf_free(c);
    _exit(0);
}

static void start_child(bool read_only)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    child.read_only = read_only;
    if (!child.folder) {
        child.folder = g_build_filename(getenv("TMPDIR") ?: "/tmp",
                                        "vq-conform.XXXXXX", NULL);
        g_assert_nonnull(g_mkdtemp(child.folder));
        /* Where a child that is killed leaves its files, which go with it */
        g_setenv("TMPDIR", child.folder, true);
    }
    fflush(NULL);
    child.pid = fork();
    g_assert_cmpint(child.pid, >=, 0);
    if (child.pid == 0) {
        close(fds[0]);
        run_child(fds[1]);
    }
    close(fds[1]);
    child.fd = fds[0];
}

/* Remove the files of a child that is over */
static void clean_folder(void)
{
    g_autoptr(GDir) dir = g_dir_open(child.folder, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(child.folder, name, NULL);

        g_unlink(path);
    }
}

static void stop_child(bool force)
{
    if (child.pid) {
        /* QEMU goes with it */
        if (force) {
            kill(child.pid, SIGKILL);
        }
        close(child.fd);
        waitpid(child.pid, NULL, 0);
        child.pid = 0;
        clean_folder();
    }
}

/* What QEMU or libqtest said last, before it ended: an assertion at best */
static void find_last_words(char *note, size_t len)
{
    static const char *const telling[] = {
        "ssertion", "ERROR:", "detected QEMU death", "ould not", "ailed"
    };
    g_autofree char *path = g_build_filename(child.folder, "log", NULL);
    g_autofree char *log = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &log, NULL, NULL)) {
        return;
    }
    lines = g_strsplit(log, "\n", -1);
    for (size_t i = 0; i < ARRAY_SIZE(telling); i++) {
        for (unsigned j = g_strv_length(lines); j-- > 0;) {
            const char *at = strstr(lines[j], telling[i]);

            if (at && !strstr(lines[j], "starting QEMU")) {
                const char *name = strstr(lines[j], "qemu-system");

                snprintf(note, len, "QEMU ended: %s", name ?: lines[j]);
                return;
            }
        }
    }
}

Verdict conform_run(const ConformCase *k, char *note, size_t len)
{
    Answer answer = { .verdict = FAILED, .note = "QEMU ended" };
    struct pollfd pfd = { .events = POLLIN };
    int r;

    if (child.pid && child.read_only != k->read_only) {
        stop_child(false);
    }
    if (!child.pid) {
        start_child(k->read_only);
    }
    pfd.fd = child.fd;
    if (write(child.fd, &k, sizeof(k)) != sizeof(k)) {
        r = -1;
    } else {
        const char *hangs = getenv("VQ_CONFORM_TIMEOUT");

        r = RETRY_ON_EINTR(poll(&pfd, 1, 1000 * (hangs ? atoi(hangs)
                                                       : HANGS_S)));
    }
    if (r == 0) {
        pstrcpy(answer.note, sizeof(answer.note), "QEMU hangs");
        stop_child(true);
    } else if (r < 0 || read(child.fd, &answer, sizeof(answer)) !=
                        sizeof(answer)) {
        find_last_words(answer.note, sizeof(answer.note));
        stop_child(true);
    } else if (answer.verdict == FAILED || answer.verdict == WEDGED) {
        /* The next case shall not suffer from it */
        stop_child(true);
    }
    pstrcpy(note, len, answer.note);
    return answer.verdict;
}

bool conform_is_ours(void)
{
    g_autofree char *command =
        g_strdup_printf("grep -q query-virtio-blk-queues '%s'",
                        getenv("QTEST_QEMU_BINARY"));

    return system(command) == 0;
}

void conform_end(void)
{
    stop_child(false);
    if (child.folder) {
        g_rmdir(child.folder);
        g_free(child.folder);
    }
}
