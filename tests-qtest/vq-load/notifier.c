/*
 * The host notifier of a virtqueue, taken from a running QEMU
 *
 * QEMU makes an eventfd for each virtqueue and tells nobody its number. A
 * parent may duplicate its child's file descriptors (pidfd_getfd(2), Linux
 * 5.6); which of them is a virtqueue's is found out by writing to it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/syscall.h>
#include "notifier.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

GArray *vq_notifier_list(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    GArray *list = g_array_new(false, false, sizeof(int));
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *link = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(link, NULL);

        if (!g_strcmp0(target, "anon_inode:[eventfd]")) {
            int fd = atoi(name);

            g_array_append_val(list, fd);
        }
    }
    g_array_sort(list, compare);
    return list;
}

static bool is_known(const GArray *known, int fd)
{
    return bsearch(&fd, known->data, known->len, sizeof(fd), compare);
}

int vq_notifier_find(pid_t pid, GArray *known, unsigned left,
                     VqNotifierProbe *probe, void *opaque)
{
    g_autoptr(GArray) list = vq_notifier_list(pid);
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    int found = -1;

    if (pidfd < 0) {
        return -1;
    }
    for (unsigned i = list->len; i-- > 0;) {
        if (is_known(known, g_array_index(list, int, i))) {
            g_array_remove_index(list, i);
        }
    }
    for (unsigned i = 0; i < list->len && found < 0; i++) {
        unsigned first = list->len - MIN(left, list->len);
        int theirs = g_array_index(list, int, (first + i) % list->len);
        int ours;

        ours = syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
        if (ours < 0) {
            break;
        }
        if (probe(ours, opaque)) {
            found = ours;
            g_array_append_val(known, theirs);
            g_array_sort(known, compare);
        } else {
            close(ours);
        }
    }
    close(pidfd);
    return found;
}
