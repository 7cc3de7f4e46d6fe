/*
 * virtio-blk-set-iothread-vq-mapping, for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqmp.h"
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

static char *make_command(const char *device, const char *mapping)
{
    return g_strdup_printf("{\"execute\":"
                           "\"virtio-blk-set-iothread-vq-mapping\","
                           "\"arguments\":{\"device\":\"%s\"%s%s}}", device,
                           mapping ? ",\"iothread-vq-mapping\":" : "",
                           mapping ?: "");
}

/* Takes @reply. Returns: NULL, or its error's text, to be freed */
static char *parse_reply(QDict *reply, VqRemapResult *result)
{
    g_autoptr(VirtioBlkRemap) remap = NULL;
    char *error = NULL;
    Visitor *v;

    if (qdict_haskey(reply, "error")) {
        error = g_strdup(qdict_get_str(qdict_get_qdict(reply, "error"),
                                       "desc"));
        qobject_unref(reply);
        return error;
    }

    v = qobject_input_visitor_new(qdict_get(reply, "return"));
    visit_type_VirtioBlkRemap(v, NULL, &remap, &error_abort);
    visit_free(v);
    qobject_unref(reply);
    if (!result) {
        return NULL;
    }
    memset(result, 0, sizeof(*result));
    result->node_stays = remap->node_stays != NULL;
    for (VirtioBlkMoveList *l = remap->moved; l; l = l->next) {
        VqRemapMove *move = &result->moves[result->num++];

        g_assert_cmpuint(result->num, <=, VQ_REMAP_MAX);
        move->index = l->value->index;
        g_strlcpy(move->from, l->value->from ?: "", sizeof(move->from));
        g_strlcpy(move->to, l->value->to ?: "", sizeof(move->to));
        move->away_ns = l->value->away_ns;
    }
    return NULL;
}

char *vq_remap_try(QTestState *qts, const char *device, const char *mapping,
                   VqRemapResult *result)
{
    g_autofree char *command = make_command(device, mapping);

    qtest_qmp_send_raw(qts, "%s", command);
    return parse_reply(qtest_qmp_receive(qts), result);
}

void vq_remap(QTestState *qts, const char *device, const char *mapping,
              VqRemapResult *result)
{
    g_autofree char *error = vq_remap_try(qts, device, mapping, result);

    g_assert_cmpstr(error, ==, NULL);
}

void vq_remap_send_fd(int fd, const char *device, const char *mapping)
{
    g_autofree char *command = make_command(device, mapping);

    qmp_fd_send_raw(fd, "%s", command);
}

char *vq_remap_receive_fd(int fd, VqRemapResult *result)
{
    QDict *reply = qmp_fd_receive(fd);

    while (qdict_haskey(reply, "event")) {
        qobject_unref(reply);
        reply = qmp_fd_receive(fd);
    }
    return parse_reply(reply, result);
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
            g_assert_cmpint(result->moves[n].away_ns > 0, ==, served);
            n++;
        }
    }
    g_assert_cmpuint(result->num, ==, n);
    g_assert_false(result->node_stays);
}
