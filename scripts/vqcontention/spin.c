/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spin LOOPS PORT: keep every CPU of the guest busy. A thread per CPU runs
 * LOOPS turns of an empty loop, reads the I/O port PORT (hexadecimal), and
 * begins again. Twice a second "vq: work MILLISECONDS READS0 READS1 ..." says
 * how far each one is.
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <time.h>
#include <unistd.h>

/* Alone on its cache line */
typedef struct Cpu {
    _Alignas(64) _Atomic unsigned long reads;
    int index;
} Cpu;

static unsigned long loops;
static unsigned port;

static void *spin(void *opaque)
{
    Cpu *cpu = opaque;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu->index, &set);
    if (sched_setaffinity(0, sizeof(set), &set) || ioperm(port, 4, 1)) {
        perror("vq: error spin");
        exit(1);
    }
    for (;;) {
        for (unsigned long i = 0; i < loops; i++) {
            /* The compiler must not leave the loop out */
            __asm__ volatile("");
        }
        inl(port);
        atomic_fetch_add_explicit(&cpu->reads, 1, memory_order_relaxed);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int n = sysconf(_SC_NPROCESSORS_ONLN);
    Cpu *cpus = aligned_alloc(64, n * sizeof(*cpus));

    if (argc != 3 || !cpus) {
        return 2;
    }
    loops = strtoul(argv[1], NULL, 10);
    port = strtoul(argv[2], NULL, 16);
    for (int i = 0; i < n; i++) {
        pthread_t thread;

        cpus[i] = (Cpu) { .index = i };
        if (pthread_create(&thread, NULL, spin, &cpus[i])) {
            return 1;
        }
    }
    for (;;) {
        struct timespec now;

        usleep(500 * 1000);
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("vq: work %lld",
               now.tv_sec * 1000LL + now.tv_nsec / 1000000);
        for (int i = 0; i < n; i++) {
            printf(" %lu", atomic_load_explicit(&cpus[i].reads,
                                                memory_order_relaxed));
        }
        printf("\n");
        fflush(stdout);
    }
}
