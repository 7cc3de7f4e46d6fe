/*
 * A load of a virtio-blk disk at native speed
 *
 * The caller's process is the guest: generator threads write requests to the
 * rings in guest RAM, which they share with QEMU, and look for completions
 * there. There is no vCPU and nothing is emulated between them and the
 * device's IOThreads.
 *
 *     vq_load_new()      QEMU runs, the driver is up
 *     vq_load_start()    generators submit; nothing counts yet
 *     vq_load_count()    from now on it does
 *     vq_load_stop()     generators wait for what is in flight, and end
 *     vq_load_report()
 *     vq_load_free()
 *
 * After vq_load_stop(), unless it had an error, vq_load_start() may follow
 * again: the same QEMU goes on, and the figures begin at 0.
 *
 * All functions belong to the thread that called vq_load_new(), which may use
 * QMP of vq_load_guest() meanwhile.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_LOAD_H
#define TESTS_QTEST_VQ_LOAD_LOAD_H

#include "guest.h"
#include "queue.h"

typedef struct VqLoad VqLoad;

/*
 * Returns: the load, which keeps @config, or NULL with the reason in *@error,
 * to be freed
 */
VqLoad *vq_load_new(const VqLoadConfig *config, char **error);
void vq_load_free(VqLoad *load);

VqGuest *vq_load_guest(const VqLoad *load);

void vq_load_start(VqLoad *load);
void vq_load_count(VqLoad *load);

/* Has every generator ended, by an error or after config->requests? */
bool vq_load_is_over(const VqLoad *load);

/*
 * Returns: NULL if every request was completed once and well; else the first
 * thing that went wrong, in one line, to be freed
 */
char *vq_load_stop(VqLoad *load);

/* What was counted of virtqueue @index. After vq_load_stop(). */
const VqLoadStats *vq_load_stats(const VqLoad *load, unsigned index);

/* All figures as JSON, to be freed. After vq_load_stop(). */
char *vq_load_report(const VqLoad *load);

#endif /* TESTS_QTEST_VQ_LOAD_LOAD_H */
