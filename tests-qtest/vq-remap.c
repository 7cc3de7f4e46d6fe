/*
 * virtio-blk-set-iothread-vq-mapping, for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-virtio-blk-queues.h"
#include "qapi/qobject-input-visitor.h"
#include "vq-remap.h"

char *vq_remap_mapping(const int *owners, unsigned num)
{
    g_autoptr(GString) json = g_string_new("[");
    int last = 0;

    for (unsigned vq = 0; vq < num; vq++) {
        last = MAX(last, owners[vq]);
    }
    for (int i = 0; i <= last; i++) {
        const char *sep = "";

        for (unsigned vq = 0; vq < num; vq++) {
            if (owners[vq] == i) {
                if (!*sep) {
                    g_string_append_printf(json, "%s{\"iothread\":\"iothread%d"
                                           "\",\"vqs\":[",
                                           json->len > 1 ? "," : "", i);
                }
                g_string_append_printf(json, "%s%u", sep, vq);
                sep = ",";
            }
        }
        if (*sep) {
            g_string_append(json, "]}");
        }
    }
    return g_strdup_printf("%s]", json->str);
}

/* Returns: NULL, or the error's text, to be freed */
static char *remap_send(QTestState *qts, const char *id, const char *mapping)
{
    QDict *reply;
    char *error = NULL;

    qtest_qmp_send_raw(qts, "{\"execute\":\"virtio-blk-set-iothread-vq-mapping"
                       "\",\"arguments\":{\"id\":\"%s\",%s%s}}", id,
                       mapping ? "\"iothread-vq-mapping\":"
                               : "\"main-loop\":true", mapping ?: "");
    reply = qtest_qmp_receive(qts);
    if (qdict_haskey(reply, "error")) {
        error = g_strdup(qdict_get_str(qdict_get_qdict(reply, "error"),
                                       "desc"));
    }
    qobject_unref(reply);
    return error;
}

/* Takes @event */
static void parse_event(QDict *event, const char *id, VqRemapResult *result)
{
    QDict *data = qdict_get_qdict(event, "data");
    g_autoptr(VirtioBlkRemappedQueueList) queues = NULL;
    Visitor *v;

    g_assert_cmpstr(qdict_get_try_str(data, "id"), ==, id);
    v = qobject_input_visitor_new(qdict_get(data, "queues"));
    visit_type_VirtioBlkRemappedQueueList(v, NULL, &queues, &error_abort);
    visit_free(v);
    if (result) {
        memset(result, 0, sizeof(*result));
        g_strlcpy(result->node, qdict_get_str(data, "node"),
                  sizeof(result->node));
        for (VirtioBlkRemappedQueueList *l = queues; l; l = l->next) {
            VqRemapMove *move = &result->moves[result->num++];

            g_assert_cmpuint(result->num, <=, VQ_REMAP_MAX);
            move->index = l->value->index;
            g_strlcpy(move->from, l->value->from ?: "", sizeof(move->from));
            g_strlcpy(move->to, l->value->to ?: "", sizeof(move->to));
            move->unserved_ns = l->value->unserved_ns;
        }
    }
    qobject_unref(event);
}

void vq_remap_wait(QTestState *qts, const char *id, VqRemapResult *result)
{
    parse_event(qtest_qmp_eventwait_ref(qts, "VIRTIO_BLK_REMAPPED"), id,
                result);
}

void vq_remap_begin(QTestState *qts, const char *id, const char *mapping)
{
    g_autofree char *error = remap_send(qts, id, mapping);

    g_assert_cmpstr(error, ==, NULL);
}

/*
 * For qtest_qmp_set_event_callback(); qtest_qmp_eventwait_ref() would forget
 * all other events, those of jobs among them
 */
static bool take_event(QTestState *qts, const char *name, QDict *event,
                       void *opaque)
{
    QDict **taken = opaque;

    if (*taken || strcmp(name, "VIRTIO_BLK_REMAPPED")) {
        return false;
    }
    *taken = qobject_ref(event);
    return true;
}

char *vq_remap_try(QTestState *qts, const char *id, const char *mapping,
                   VqRemapResult *result)
{
    QDict *event = NULL;
    char *error;

    qtest_qmp_set_event_callback(qts, take_event, &event);
    error = remap_send(qts, id, mapping);
    while (!error && !event) {
        qtest_qmp_assert_success(qts, "{'execute': 'query-name'}");
    }
    qtest_qmp_set_event_callback(qts, NULL, NULL);
    if (event) {
        parse_event(event, id, result);
    }
    return error;
}

void vq_remap(QTestState *qts, const char *id, const char *mapping,
              VqRemapResult *result)
{
    g_autofree char *error = vq_remap_try(qts, id, mapping, result);

    g_assert_cmpstr(error, ==, NULL);
}

char *vq_remap_owner_name(char digit)
{
    return digit == '-' ? NULL : g_strdup_printf("iothread%c", digit);
}

void vq_remap_assert_moves(const VqRemapResult *result, const char *before,
                           const char *after, bool served)
{
    unsigned n = 0;

    for (unsigned vq = 0; before[vq]; vq++) {
        g_autofree char *from = vq_remap_owner_name(before[vq]);
        g_autofree char *to = vq_remap_owner_name(after[vq]);

        if (before[vq] != after[vq]) {
            g_assert_cmpuint(n, <, result->num);
            g_assert_cmpuint(result->moves[n].index, ==, vq);
            g_assert_cmpstr(result->moves[n].from, ==, from ?: "");
            g_assert_cmpstr(result->moves[n].to, ==, to ?: "");
            g_assert_cmpint(result->moves[n].unserved_ns > 0, ==, served);
            n++;
        }
    }
    g_assert_cmpuint(result->num, ==, n);
    g_assert_true(!strcmp(result->node, "same") ||
                  !strcmp(result->node, "moved"));
}
