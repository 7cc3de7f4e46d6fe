/*
 * A monitor of its own, beside the one that libqtest uses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "libqmp.h"
#include "vq-monitor.h"

#define PROMPT "(qemu) "

int vq_monitor_open(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_assert_cmpint(fd, >=, 0);
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);

    qobject_unref(qmp_fd_receive(fd)); /* the greeting */
    qmp_fd_send(fd, "{'execute': 'qmp_capabilities'}");
    vq_monitor_assert_success(fd);
    return fd;
}

bool vq_monitor_poll(int fd, int timeout_ms)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    char c;

    while (poll(&pfd, 1, timeout_ms) > 0) {
        /* An object ends before the line it is in */
        if (recv(fd, &c, 1, MSG_PEEK) != 1 || !g_ascii_isspace(c)) {
            return true;
        }
        g_assert_cmpint(read(fd, &c, 1), ==, 1);
    }
    return false;
}

void vq_monitor_assert_success(int fd)
{
    QDict *answer = qmp_fd_receive(fd);

    while (qdict_haskey(answer, "event")) {
        qobject_unref(answer);
        answer = qmp_fd_receive(fd);
    }
    g_assert_true(qdict_haskey(answer, "return"));
    qobject_unref(answer);
}

int vq_monitor_new_human(char **args)
{
    int fds[2];

    /* QEMU inherits its end */
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_cmpint(fcntl(fds[0], F_SETFD, FD_CLOEXEC), ==, 0);
    *args = g_strdup_printf(" -chardev socket,id=human,fd=%d -mon human",
                            fds[1]);
    return fds[0];
}

void vq_monitor_send_human(int fd, const char *line)
{
    g_autofree char *text = g_strconcat(line, "\n", NULL);
    size_t len = strlen(text);

    g_assert_cmpint(write(fd, text, len), ==, len);
}

char *vq_monitor_receive_human(int fd)
{
    GString *text = g_string_new(NULL);
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    char c;

    do {
        g_assert_cmpint(poll(&pfd, 1, 30 * 1000), ==, 1);
        g_assert_cmpint(read(fd, &c, 1), ==, 1);
        g_string_append_c(text, c);
    } while (!g_str_has_suffix(text->str, PROMPT));
    return g_string_free(text, false);
}
