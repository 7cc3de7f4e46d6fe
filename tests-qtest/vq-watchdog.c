/*
 * A watchdog for tests of a QEMU that may hang
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "vq-watchdog.h"

struct VqWatchdog {
    QemuThread thread;
    QemuSemaphore end;
    unsigned seconds;
    pid_t pid;
};

static void *vq_watchdog_run(void *opaque)
{
    VqWatchdog *dog = opaque;

    if (qemu_sem_timedwait(&dog->end, dog->seconds * 1000) < 0) {
        fprintf(stderr, "QEMU hangs: not done in %u s\n", dog->seconds);
        kill(dog->pid, SIGKILL);
    }
    return NULL;
}

VqWatchdog *vq_watchdog_begin(pid_t pid, unsigned seconds)
{
    VqWatchdog *dog = g_new0(VqWatchdog, 1);

    qemu_sem_init(&dog->end, 0);
    dog->pid = pid;
    dog->seconds = seconds;
    qemu_thread_create(&dog->thread, "watchdog", vq_watchdog_run, dog,
                       QEMU_THREAD_JOINABLE);
    return dog;
}

void vq_watchdog_end(VqWatchdog *dog)
{
    qemu_sem_post(&dog->end);
    qemu_thread_join(&dog->thread);
    qemu_sem_destroy(&dog->end);
    g_free(dog);
}
