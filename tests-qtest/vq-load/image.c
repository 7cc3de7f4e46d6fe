/*
 * The disk image of a load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/units.h"
#include "image.h"

bool vq_image_keeps_data(const VqLoadConfig *config)
{
    return !g_str_equal(config->backend, "null-co");
}

/* Written, not just allocated: clearing a page at its first use takes time */
static char *create_raw(const char *path, int fd, uint64_t size)
{
    static const char zeroes[MiB];
    ssize_t ret = 0;

    for (uint64_t done = 0; done < size; done += ret) {
        ret = write(fd, zeroes, MIN(sizeof(zeroes), size - done));
        if (ret < 0) {
            return g_strdup_printf("cannot write %s: %s", path,
                                   strerror(errno));
        }
    }
    return NULL;
}

/* By the qemu-img beside the QEMU that is going to use it */
static char *create_qcow2(const VqLoadConfig *config, const char *path)
{
    g_autofree char *dir = g_path_get_dirname(config->qemu);
    g_autofree char *qemu_img = g_build_filename(dir, "qemu-img", NULL);
    g_autofree char *size = g_strdup_printf("%" PRIu64, config->disk_size);
    const char *argv[] = {
        qemu_img, "create", "-q", "-f", "qcow2", "-o", "preallocation=full",
        path, size, NULL
    };
    g_autofree char *message = NULL;
    g_autoptr(GError) err = NULL;
    int status = 0;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, 0, NULL, NULL, NULL, &message,
                      &status, &err)) {
        return g_strdup(err->message);
    }
    if (status) {
        return g_strdup_printf("%s failed: %s", qemu_img, g_strchomp(message));
    }
    return NULL;
}

char *vq_image_new(const VqLoadConfig *config, char **error)
{
    g_autofree char *path = g_build_filename(config->dir, "vq-load.XXXXXX",
                                             NULL);
    int fd;

    if (!vq_image_keeps_data(config)) {
        return NULL;
    }
    fd = g_mkstemp(path);
    if (fd < 0) {
        *error = g_strdup_printf("cannot create a file in %s: %s", config->dir,
                                 strerror(errno));
        return NULL;
    }
    *error = g_str_equal(config->backend, "qcow2") ?
             create_qcow2(config, path) :
             create_raw(path, fd, config->disk_size);
    close(fd);
    if (*error) {
        g_unlink(path);
        return NULL;
    }
    return g_steal_pointer(&path);
}

void vq_image_free(char *path)
{
    if (path) {
        g_unlink(path);
        g_free(path);
    }
}

/* Linux AIO is only asynchronous, and only accepted, with O_DIRECT */
static bool wants_direct(const VqLoadConfig *config, const char *path)
{
    int fd;

    if (config->buffered || g_str_equal(config->aio, "native")) {
        return !config->buffered;
    }
    fd = open(path, O_RDONLY | O_DIRECT);
    if (fd < 0) {
        return false;
    }
    close(fd);
    return true;
}

char *vq_image_blockdev(const VqLoadConfig *config, const char *path)
{
    if (!path) {
        /* Zeroes cost time, which only a check of them is worth */
        return g_strdup_printf("driver=null-co,node-name=disk,"
                               "size=%" PRIu64 ",read-zeroes=%s,"
                               "latency-ns=%" PRIu64,
                               config->disk_size,
                               config->verify ? "on" : "off",
                               config->latency_ns);
    }
    return g_strdup_printf("driver=%s,node-name=disk,discard=unmap,"
                           "cache.direct=%s,"
                           "file.driver=file,file.discard=unmap,"
                           "file.aio=%s,file.filename=%s",
                           config->backend,
                           wants_direct(config, path) ? "on" : "off",
                           config->aio, path);
}
