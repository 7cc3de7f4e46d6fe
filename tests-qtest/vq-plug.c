/*
 * Plug and unplug devices in tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-plug.h"

/* ACPI PCI hotplug of "pc" (docs/specs/acpi_pci_hotplug) */
#define PCIHP_ADDR 0xae00
#define PCIHP_EJECT 0x0008
#define TIMEOUT_US (60 * G_USEC_PER_SEC)

/* Take the next response; returns NULL, or its error's text */
static char *receive_error(QTestState *qts)
{
    QDict *response = qtest_qmp_receive(qts);
    char *text = NULL;

    if (qdict_haskey(response, "error")) {
        text = g_strdup(qdict_get_str(qdict_get_qdict(response, "error"),
                                      "desc"));
    } else {
        g_assert_true(qdict_haskey(response, "return"));
    }
    qobject_unref(response);
    return text;
}

char *vq_plug_try(QTestState *qts, const char *json)
{
    qtest_qmp_send_raw(qts, "{\"execute\":\"device_add\",\"arguments\":%s}",
                       json);
    return receive_error(qts);
}

void vq_plug(QTestState *qts, const char *json)
{
    g_autofree char *error = vq_plug_try(qts, json);

    g_assert_cmpstr(error, ==, NULL);
}

void vq_plug_eject(QTestState *qts, unsigned slot)
{
    qtest_outl(qts, PCIHP_ADDR + PCIHP_EJECT, 1u << slot);
}

/* Was that @id's deletion? A device's children have events of their own. */
static bool is_deletion_of(QDict *event, const char *id)
{
    QDict *data = qdict_get_qdict(event, "data");

    return g_strcmp0(qdict_get_try_str(data, "device"), id) == 0;
}

void vq_plug_wait_gone(QTestState *qts, const char *id)
{
    int64_t deadline = g_get_monotonic_time() + TIMEOUT_US;
    bool gone = false;

    while (!gone) {
        QDict *event = qtest_qmp_event_ref(qts, "DEVICE_DELETED");

        if (event) {
            gone = is_deletion_of(event, id);
            qobject_unref(event);
            continue;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
        /* Receives what events there are */
        qtest_qmp_assert_success(qts, "{'execute': 'query-name'}");
    }
}

void vq_plug_unplug(QTestState *qts, const char *id, unsigned slot)
{
    qtest_qmp_device_del_send(qts, id);
    vq_plug_eject(qts, slot);
    vq_plug_wait_gone(qts, id);
}

char *vq_plug_object_del(QTestState *qts, const char *id)
{
    qtest_qmp_send(qts, "{'execute': 'object-del', 'arguments': {'id': %s}}",
                   id);
    return receive_error(qts);
}
