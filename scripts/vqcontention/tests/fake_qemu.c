/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What scripts/contention looks for in QEMU: a lock that is named as its big
 * one, and threads that are named as vCPUs. The main thread holds the lock
 * most of the time; vCPUs 0 and 1 want it, and vCPU 2 is halted.
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static pthread_mutex_t bql = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t other = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t halt = PTHREAD_COND_INITIALIZER;

static void *busy(void *opaque)
{
    for (;;) {
        pthread_mutex_lock(&bql);
        pthread_mutex_unlock(&bql);
        usleep(100);
    }
    return opaque;
}

static void *halted(void *opaque)
{
    pthread_mutex_lock(&other);
    for (;;) {
        pthread_cond_wait(&halt, &other);
    }
    return opaque;
}

int main(void)
{
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        char name[16];

        snprintf(name, sizeof(name), "CPU %d/TCG", i);
        pthread_create(&thread, NULL, i < 2 ? busy : halted, NULL);
        pthread_setname_np(thread, name);
    }
    for (;;) {
        pthread_mutex_lock(&bql);
        usleep(5000);
        pthread_mutex_unlock(&bql);
        usleep(500);
    }
}
