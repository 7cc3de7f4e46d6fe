/*
 * A thread that only completes what it finds in the rings
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/processor.h"
#include "qemu/thread.h"
#include "consumer.h"
#include "cpus.h"

struct VqConsumer {
    VqGuest *guest;
    VqLoadCpus cpus;
    QemuThread thread;
    bool stop;              /* atomic */
};

/* Returns: the new index of the next request to be completed */
static uint16_t complete(const VqRing *ring, uint16_t next)
{
    unsigned mask = ring->layout.size - 1;
    /* idx before the ring; pairs with store-release in split_publish() */
    uint16_t avail = le16_to_cpu(qatomic_load_acquire(&ring->avail->idx));

    if (avail == next) {
        return next;
    }
    for (; next != avail; next++) {
        struct vring_used_elem *elem = &ring->used->ring[next & mask];

        elem->id = cpu_to_le32(le16_to_cpu(ring->avail->ring[next & mask]));
        elem->len = cpu_to_le32(1);
    }
    /* Elements before idx; pairs with load-acquire in split_reap() */
    qatomic_store_release(&ring->used->idx, cpu_to_le16(next));
    return next;
}

static void *consumer_run(void *opaque)
{
    VqConsumer *consumer = opaque;
    unsigned queues = consumer->guest->config->queues;
    g_autofree uint16_t *next = g_new0(uint16_t, queues);

    vq_cpus_pin_nth(0, &consumer->cpus, 0);
    for (unsigned i = 0; i < queues; i++) {
        qatomic_set(&consumer->guest->queues[i].ring.used->flags,
                    cpu_to_le16(VRING_USED_F_NO_NOTIFY));
    }
    while (!qatomic_read(&consumer->stop)) {
        bool idle = true;

        for (unsigned i = 0; i < queues; i++) {
            uint16_t old = next[i];

            next[i] = complete(&consumer->guest->queues[i].ring, old);
            idle &= next[i] == old;
        }
        if (idle) {
            cpu_relax();
        }
    }
    return NULL;
}

VqConsumer *vq_consumer_start(VqGuest *guest, const VqLoadCpus *cpus)
{
    VqConsumer *consumer = g_new0(VqConsumer, 1);

    consumer->guest = guest;
    consumer->cpus = *cpus;
    qemu_thread_create(&consumer->thread, "consumer", consumer_run, consumer,
                       QEMU_THREAD_JOINABLE);
    return consumer;
}

void vq_consumer_stop(VqConsumer *consumer)
{
    qatomic_set(&consumer->stop, true);
    qemu_thread_join(&consumer->thread);
    g_free(consumer);
}
