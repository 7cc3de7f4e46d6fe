/*
 * A named output file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "output.h"

#define MAX_LINKS 40 /* as the kernel has it */

static char *cannot(const char *path, const char *why)
{
    return g_strdup_printf("cannot write %s: %s", path, why);
}

/* Is @path there, or what is an open file's link there, such as /dev/fd/1? */
static bool is_in_proc(const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);
    char *real = realpath(dir, NULL);
    bool in_proc = real && g_str_has_prefix(real, "/proc/");

    free(real);
    return in_proc;
}

/*
 * What @path points at, which need not exist; to be freed. A link in /proc is
 * not a name of what it points at, so it is what is returned.
 */
static char *follow_links(const char *path)
{
    char *file = g_strdup(path);

    for (unsigned i = 0; i < MAX_LINKS; i++) {
        g_autofree char *dir = g_path_get_dirname(file);
        g_autofree char *link = g_file_read_link(file, NULL);

        if (!link || is_in_proc(file)) {
            break;
        }
        g_free(file);
        file = g_path_is_absolute(link) ? g_strdup(link)
                                        : g_build_filename(dir, link, NULL);
    }
    return file;
}

/*
 * Find out how to write @path: into *@in_place, or by renaming a file to
 * *@file, to be freed. Returns: NULL, or why it cannot be, to be freed
 */
static char *examine(const char *path, char **file, bool *in_place)
{
    g_autofree char *target = follow_links(path);
    bool exists = true;
    struct stat st;

    if (stat(path, &st) < 0) {
        if (errno != ENOENT || !*path) {
            return cannot(path, strerror(errno));
        }
        exists = false;
    }
    *in_place = exists && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode) ||
                           is_in_proc(target));
    if (exists && S_ISDIR(st.st_mode)) {
        return cannot(path, strerror(EISDIR));
    }
    if (exists && !*in_place && !S_ISREG(st.st_mode)) {
        return cannot(path, "it is no regular file");
    }
    if (exists && access(path, W_OK) < 0) {
        return cannot(path, strerror(errno));
    }
    *file = g_steal_pointer(&target);
    return NULL;
}

/* A new file beside @file; its name goes to *@name. Returns: fd, or -1 */
static int create_beside(const char *file, char **name)
{
    g_autofree char *template = g_strdup_printf("%s.XXXXXX", file);
    int fd = g_mkstemp_full(template, O_RDWR | O_CLOEXEC, 0666);

    if (fd >= 0) {
        *name = g_steal_pointer(&template);
    }
    return fd;
}

/* What replaces @file is as accessible, and belongs to its owner if it may */
static void copy_mode(int fd, const char *file)
{
    struct stat st;

    if (stat(file, &st) == 0 && fchmod(fd, st.st_mode & 0777) == 0 &&
        fchown(fd, st.st_uid, st.st_gid) < 0) {
        g_debug("%s changes its owner: %s", file, strerror(errno));
    }
}

static bool write_all(int fd, const char *text)
{
    size_t left = strlen(text);

    while (left) {
        ssize_t ret = write(fd, text, left);

        if (ret < 0 && errno == EINTR) {
            continue;
        }
        if (ret < 0) {
            return false;
        }
        text += ret;
        left -= ret;
    }
    return true;
}

char *vq_output_check(const char *path)
{
    g_autofree char *file = NULL, *name = NULL;
    bool in_place;
    char *error = examine(path, &file, &in_place);
    int fd;

    if (error || in_place) {
        return error;
    }
    fd = create_beside(file, &name);
    if (fd < 0) {
        return cannot(path, strerror(errno));
    }
    close(fd);
    g_unlink(name);
    return NULL;
}

char *vq_output_write(const char *path, const char *text)
{
    g_autofree char *file = NULL, *name = NULL;
    bool in_place, written;
    char *error = examine(path, &file, &in_place);
    int fd;

    if (error) {
        return error;
    }
    fd = in_place ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
                  : create_beside(file, &name);
    if (fd < 0) {
        return cannot(path, strerror(errno));
    }
    if (name) {
        copy_mode(fd, file);
    }
    written = write_all(fd, text);
    /* The last error of a file system may come with it */
    written &= close(fd) == 0;
    if (written && name) {
        written = g_rename(name, file) == 0;
    }
    if (!written) {
        error = cannot(path, strerror(errno));
        if (name) {
            g_unlink(name);
        }
    }
    return error;
}
