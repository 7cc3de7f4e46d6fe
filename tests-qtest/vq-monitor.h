/*
 * A monitor of its own, beside the one that libqtest uses: for a test that does
 * not wait for an answer, asks from another thread, or is a human
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_MONITOR_H
#define TESTS_QTEST_VQ_MONITOR_H

/*
 * QMP: connect to the UNIX socket @path. Returns: a file descriptor for
 * qmp_fd_send() and qmp_fd_receive(), to be closed by the caller.
 */
int vq_monitor_open(const char *path);

/* Is there something to receive in @fd within @timeout_ms? */
bool vq_monitor_poll(int fd, int timeout_ms);

/* Receive from @fd, leaving out events, up to a command's answer */
void vq_monitor_assert_success(int fd);

/*
 * A human monitor, which a QEMU started with @args, to be freed, has too.
 * Returns: a file descriptor for the two functions below, to be closed.
 */
int vq_monitor_new_human(char **args);

/* Type @line, which has no newline */
void vq_monitor_send_human(int fd, const char *line);

/* Returns: all up to the next prompt, to be freed */
char *vq_monitor_receive_human(int fd);

#endif /* TESTS_QTEST_VQ_MONITOR_H */
