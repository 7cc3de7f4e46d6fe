/*
 * A load of a virtio-blk disk at native speed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sched.h>
#include "qemu/atomic.h"
#include "qemu/processor.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "load.h"
#include "consumer.h"
#include "cpus.h"
#include "private.h"

/* How often a generator looks whether a request is overdue, in ns */
#define STALL_CHECK_NS (10 * SCALE_MS)
/* and how many rounds of its loop it does between two looks at the clock */
#define STALL_CHECK_ROUNDS 1024

/* Keep the first error of all generators, and end them */
static void fail(VqLoad *load, char *error)
{
    qemu_mutex_lock(&load->lock);
    if (load->error) {
        g_free(error);
    } else {
        load->error = error;
    }
    qemu_mutex_unlock(&load->lock);
    qatomic_set(&load->failed, true);
}

static VqLoadQueue *nth_queue(const VqLoadGenerator *gen, unsigned n)
{
    unsigned index = gen->index + n * gen->load->config.threads;

    return index < gen->load->config.queues ? &gen->load->queues[index] : NULL;
}

static void begin_counting(VqLoadGenerator *gen)
{
    VqLoadQueue *queue;

    for (unsigned i = 0; (queue = nth_queue(gen, i)); i++) {
        memset(&queue->stats, 0, sizeof(queue->stats));
    }
    gen->begin_ns = get_clock();
}

static void end_counting(VqLoadGenerator *gen)
{
    VqLoadQueue *queue;

    gen->end_ns = get_clock();
    for (unsigned i = 0; (queue = nth_queue(gen, i)); i++) {
        queue->counted = queue->stats;
    }
}

/* Returns: has each virtqueue completed its share of --requests? */
static bool has_enough(const VqLoadGenerator *gen)
{
    uint64_t wanted = gen->load->config.requests;
    VqLoadQueue *queue;

    if (!wanted) {
        return false;
    }
    for (unsigned i = 0; (queue = nth_queue(gen, i)); i++) {
        if (queue->stats.requests < wanted) {
            return false;
        }
    }
    return true;
}

/* Move on when the caller has, or when there is nothing left to be counted */
static void update_phase(VqLoadGenerator *gen)
{
    VqLoadPhase phase = qatomic_read(&gen->load->phase);

    if (gen->phase == VQ_LOAD_WARMUP && phase >= VQ_LOAD_COUNT) {
        gen->phase = VQ_LOAD_COUNT;
        begin_counting(gen);
    }
    if (gen->phase == VQ_LOAD_COUNT &&
        (phase == VQ_LOAD_STOP || has_enough(gen))) {
        gen->phase = VQ_LOAD_STOP;
        end_counting(gen);
    }
}

/* Returns: how many requests have completed */
static unsigned reap_all(VqLoadGenerator *gen, bool *busy)
{
    VqLoadQueue *queue;
    unsigned done = 0;

    *busy = false;
    for (unsigned i = 0; (queue = nth_queue(gen, i)); i++) {
        char *error = NULL;

        done += vq_load_queue_reap(queue, &error);
        if (error) {
            fail(gen->load, error);
        }
        *busy |= vq_load_queue_in_flight(queue);
    }
    return done;
}

static void fill_all(VqLoadGenerator *gen)
{
    VqLoadQueue *queue;

    for (unsigned i = 0; (queue = nth_queue(gen, i)); i++) {
        vq_load_queue_fill(queue);
    }
}

static void check_stall(VqLoadGenerator *gen)
{
    VqLoadQueue *queue;
    int64_t now;

    if (++gen->rounds % STALL_CHECK_ROUNDS) {
        return;
    }
    now = get_clock();
    if (now - gen->stall_check_ns < STALL_CHECK_NS) {
        return;
    }
    gen->stall_check_ns = now;
    for (unsigned i = 0; (queue = nth_queue(gen, i)); i++) {
        char *error = vq_load_queue_check_stall(queue, gen->load->config.stall *
                                                       1e9);

        if (error) {
            fail(gen->load, error);
        }
    }
}

static void *generator_run(void *opaque)
{
    VqLoadGenerator *gen = opaque;
    const VqLoadConfig *config = &gen->load->config;
    bool busy = false;

    vq_cpus_pin_nth(0, &config->cpus, gen->index);
    while (!qatomic_read(&gen->load->failed)) {
        unsigned done;

        update_phase(gen);
        if (gen->phase != VQ_LOAD_STOP && (!config->wave || !busy)) {
            fill_all(gen);
        }
        done = reap_all(gen, &busy);
        if (gen->phase == VQ_LOAD_STOP && !busy) {
            break;
        }
        if (!done) {
            /* Let a thread on the same CPU run, if that is how it is used */
            if (config->wave) {
                sched_yield();
            } else {
                cpu_relax();
            }
        }
        check_stall(gen);
    }
    qatomic_inc(&gen->load->ended);
    return NULL;
}

/*
 * Unless told otherwise, give the generators a CPU, and QEMU the others, so
 * that neither waits for the other
 */
static void place_threads(VqLoad *load)
{
    VqLoadConfig *config = &load->config;
    VqGuest *guest = load->guest;
    VqLoadCpus others;

    vq_cpus_allowed(&others);
    if (!config->cpus.num && others.num >= 2 &&
        others.num > config->threads) {
        config->cpus = others;
        config->cpus.num = config->threads;
        others.num -= config->threads;
        memmove(others.cpus, others.cpus + config->threads,
                others.num * sizeof(others.cpus[0]));
        for (unsigned i = 0; i < guest->num_threads; i++) {
            vq_cpus_pin(guest->threads[i].tid, &others);
        }
    }
    if (!guest->pid) {
        load->consumer = vq_consumer_start(guest, config->iothread_cpus.num ?
                                           &config->iothread_cpus : &others);
        return;
    }
    for (unsigned i = 0; i < config->iothreads; i++) {
        vq_cpus_pin_nth(guest->threads[1 + i].tid, &config->iothread_cpus, i);
    }
}

VqLoad *vq_load_new(const VqLoadConfig *config, char **error)
{
    VqLoad *load = g_new0(VqLoad, 1);

    load->config = *config;
    *error = vq_load_config_check(config);
    if (!*error) {
        load->guest = vq_guest_new(&load->config, error);
    }
    if (*error) {
        g_free(load);
        return NULL;
    }
    qemu_mutex_init(&load->lock);
    load->queues = g_new0(VqLoadQueue, config->queues);
    for (unsigned i = 0; i < config->queues; i++) {
        vq_load_queue_init(&load->queues[i], load->guest, i);
    }
    load->cpu_ns = g_new0(uint64_t, load->guest->num_threads);
    load->generators = g_new0(VqLoadGenerator, config->threads);
    place_threads(load);
    return load;
}

void vq_load_free(VqLoad *load)
{
    if (load->consumer) {
        vq_consumer_stop(load->consumer);
    }
    for (unsigned i = 0; i < load->config.queues; i++) {
        vq_load_queue_cleanup(&load->queues[i]);
    }
    vq_guest_free(load->guest);
    qemu_mutex_destroy(&load->lock);
    g_free(load->generators);
    g_free(load->cpu_ns);
    g_free(load->queues);
    g_free(load->error);
    g_free(load);
}

VqGuest *vq_load_guest(const VqLoad *load)
{
    return load->guest;
}

const VqLoadStats *vq_load_stats(const VqLoad *load, unsigned index)
{
    return &load->queues[index].counted;
}

void vq_load_start(VqLoad *load)
{
    load->phase = VQ_LOAD_WARMUP;
    load->ended = 0;
    for (unsigned i = 0; i < load->config.threads; i++) {
        VqLoadGenerator *gen = &load->generators[i];

        gen->load = load;
        gen->index = i;
        gen->phase = VQ_LOAD_WARMUP;
        qemu_thread_create(&gen->thread, "generator", generator_run, gen,
                           QEMU_THREAD_JOINABLE);
    }
}

/* What each of QEMU's threads has used at all, or since counting began */
static void count_cpu_time(VqLoad *load, bool begin)
{
    for (unsigned i = 0; i < load->guest->num_threads; i++) {
        uint64_t since = begin ? 0 : load->cpu_ns[i];

        load->cpu_ns[i] = vq_guest_cpu_ns(load->guest,
                                          load->guest->threads[i].tid) - since;
    }
}

void vq_load_count(VqLoad *load)
{
    count_cpu_time(load, true);
    qatomic_set(&load->phase, VQ_LOAD_COUNT);
}

bool vq_load_is_over(const VqLoad *load)
{
    return qatomic_read(&load->failed) ||
           qatomic_read(&load->ended) == load->config.threads;
}

char *vq_load_stop(VqLoad *load)
{
    count_cpu_time(load, false);
    qatomic_set(&load->phase, VQ_LOAD_STOP);
    for (unsigned i = 0; i < load->config.threads; i++) {
        qemu_thread_join(&load->generators[i].thread);
    }
    return g_steal_pointer(&load->error);
}
