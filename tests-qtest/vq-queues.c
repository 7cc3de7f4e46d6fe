/*
 * What query-virtio-blk-queues says, for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqmp.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-virtio-blk-queues.h"
#include "qapi/qobject-input-visitor.h"
#include "vq-queues.h"

static void copy_vq(const VirtioBlkQueue *info, VqQueue *vq)
{
    const VirtioBlkRequestStats *const kinds[VQ_QUEUES_KINDS] = {
        info->read, info->write, info->flush, info->discard,
        info->write_zeroes, info->other,
    };

    vq->enabled = info->enabled;
    g_strlcpy(vq->iothread, info->iothread ?: "", sizeof(vq->iothread));
    vq->thread_id = info->thread_id;
    g_strlcpy(vq->state, VirtioBlkQueueState_str(info->state),
              sizeof(vq->state));
    vq->remap = info->remap != NULL;
    if (info->remap) {
        g_strlcpy(vq->remap_iothread, info->remap->iothread ?: "",
                  sizeof(vq->remap_iothread));
        vq->remap_requests = info->remap->requests;
    }
    vq->waiting = info->waiting;
    vq->in_flight = info->in_flight;
    vq->fast_requests = info->fast_requests;
    for (unsigned i = 0; i < VQ_QUEUES_KINDS; i++) {
        vq->totals[VQ_QUEUES_REQUESTS(i)] = kinds[i]->requests;
        vq->totals[VQ_QUEUES_BYTES(i)] = kinds[i]->bytes;
    }
    vq->totals[VQ_QUEUES_FAILED] = info->failed;
    vq->totals[VQ_QUEUES_NOTIFICATIONS] = info->notifications;
    vq->totals[VQ_QUEUES_POLLS] = info->polls;
    vq->totals[VQ_QUEUES_BATCHES] = info->batches;
    vq->totals[VQ_QUEUES_MAX_BATCH] = info->max_batch;
    vq->totals[VQ_QUEUES_INTERRUPTS] = info->interrupts;
    vq->totals[VQ_QUEUES_MAX_IN_FLIGHT] = info->max_in_flight;
}

/* Takes @reply. Returns: what it has, to be freed */
static VirtioBlkQueuesList *visit_reply(QDict *reply)
{
    Visitor *v = qobject_input_visitor_new(qdict_get(reply, "return"));
    VirtioBlkQueuesList *disks;

    visit_type_VirtioBlkQueuesList(v, NULL, &disks, &error_abort);
    visit_free(v);
    qobject_unref(reply);
    return disks;
}

/* Takes @reply */
static void parse_reply(QDict *reply, VqQueues *queues)
{
    g_autoptr(VirtioBlkQueuesList) disks = visit_reply(reply);

    g_assert_nonnull(disks);
    g_assert_null(disks->next);
    memset(queues, 0, sizeof(*queues));
    g_strlcpy(queues->id, disks->value->id ?: "", sizeof(queues->id));
    g_strlcpy(queues->path, disks->value->path, sizeof(queues->path));
    queues->started = disks->value->ioeventfd_started;
    queues->remapping = disks->value->remapping;
    for (VirtioBlkQueueList *l = disks->value->queues; l; l = l->next) {
        g_assert_cmpuint(queues->num, <, VQ_QUEUES_MAX);
        g_assert_cmpuint(l->value->index, ==, queues->num);
        copy_vq(l->value, &queues->vq[queues->num++]);
    }
    g_assert_cmpuint(queues->num, ==, disks->value->num_queues);
}

void vq_queues_query_fd(int fd, const char *device, VqQueues *queues)
{
    parse_reply(qmp_fd(fd, "{'execute': 'query-virtio-blk-queues',"
                       " 'arguments': {'id': %s}}", device), queues);
}

void vq_queues_query(QTestState *qts, const char *device, VqQueues *queues)
{
    parse_reply(qtest_qmp(qts, "{'execute': 'query-virtio-blk-queues',"
                          " 'arguments': {'id': %s}}", device), queues);
}

unsigned vq_queues_count_disks(QTestState *qts)
{
    g_autoptr(VirtioBlkQueuesList) disks =
        visit_reply(qtest_qmp(qts, "{'execute': 'query-virtio-blk-queues'}"));
    unsigned n = 0;

    for (VirtioBlkQueuesList *l = disks; l; l = l->next) {
        n++;
    }
    return n;
}

uint64_t vq_queues_requests(const VqQueue *vq)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < VQ_QUEUES_KINDS; i++) {
        n += vq->totals[VQ_QUEUES_REQUESTS(i)];
    }
    return n;
}

void vq_queues_assert_requests(const VqQueue *a, const VqQueue *b)
{
    g_assert_cmpuint(a->in_flight, ==, b->in_flight);
    for (unsigned i = 0; i <= VQ_QUEUES_FAILED; i++) {
        g_assert_cmpuint(a->totals[i], ==, b->totals[i]);
    }
    g_assert_cmpuint(a->totals[VQ_QUEUES_BATCHES], ==,
                     b->totals[VQ_QUEUES_BATCHES]);
}
