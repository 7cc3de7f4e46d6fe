/*
 * Fuzz test of iothread-vq-mapping, from the JSON text to the plan
 *
 * Random texts take the way that those of -device take: JSON parser, QAPI
 * visitor, vq_plan_check_list() when the property is set, vq_plan_new() at
 * realize. Beside it, this file reads the parser's tree by itself and asks the
 * oracle. Both must come to the same answer, and a refusal must be one line.
 *
 *   VQ_FUZZ_COUNT  how many texts, 30000 if not set
 *   VQ_FUZZ_SEED   seed of the first, the next has the next one; random if not
 *                  set. A failure says which seed makes the same text again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/vq-plan.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-iothread-vq-mapping.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/cutils.h"
/* 10.0 renamed include/qapi/qmp/ to include/qobject/ */
#if QEMU_VERSION_MAJOR >= 10
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#else
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qnum.h"
#include "qapi/qmp/qstring.h"
#endif
#include "vq-mapping-text.h"
#include "vq-plan-oracle.h"

#define PATH "iothread-vq-mapping"

/* How far a text came */
typedef enum {
    OUTCOME_NOT_JSON,
    OUTCOME_NOT_IN_SCHEMA,
    OUTCOME_BAD_SHAPE,
    OUTCOME_BAD_PLAN,
    OUTCOME_ACCEPTED,
    NUM_OUTCOMES,
} Outcome;

static void G_GNUC_NORETURN fuzz_fail(const VqMappingText *t,
                                      const char *what)
{
    g_autofree char *text = g_strescape(t->text->str, "\"");

    g_error("%s: VQ_FUZZ_SEED=%u VQ_FUZZ_COUNT=1, %u virtqueues, %.4000s",
            what, t->seed, t->num_vqs, text);
}

static bool tree_to_vqs(const QObject *value, uint16List **tail)
{
    const QList *qlist = qobject_to(QList, value);
    const QListEntry *entry;

    if (!qlist) {
        return false;
    }
    QLIST_FOREACH_ENTRY(qlist, entry) {
        const QNum *qnum = qobject_to(QNum, entry->value);

        if (!qnum || qnum->kind != QNUM_I64 || qnum->u.i64 < 0 ||
            qnum->u.i64 > UINT16_MAX) {
            return false;
        }
        QAPI_LIST_APPEND(tail, qnum->u.i64);
    }
    return true;
}

/*
 * What QAPI should make of @value, without QAPI.
 * Returns: whether @value is as the schema says. The caller frees the list at
 * @tail in any case.
 */
static bool tree_to_list(const QObject *value,
                         IOThreadVirtQueueMappingList **tail)
{
    const QList *qlist = qobject_to(QList, value);
    const QListEntry *entry;

    if (!qlist) {
        return false;
    }
    QLIST_FOREACH_ENTRY(qlist, entry) {
        const QDict *qdict = qobject_to(QDict, entry->value);
        const QString *name;
        IOThreadVirtQueueMapping *item;

        if (!qdict) {
            return false;
        }
        name = qobject_to(QString, qdict_get(qdict, "iothread"));
        if (!name) {
            return false;
        }
        item = g_new0(IOThreadVirtQueueMapping, 1);
        item->iothread = g_strdup(name->string);
        item->has_vqs = qdict_haskey(qdict, "vqs");
        QAPI_LIST_APPEND(tail, item);

        if (qdict_size(qdict) != 1 + item->has_vqs) {
            return false;
        }
        if (item->has_vqs &&
            !tree_to_vqs(qdict_get(qdict, "vqs"), &item->vqs)) {
            return false;
        }
    }
    return true;
}

/* The way of -device, up to the setter of the property */
static bool visit_property(QDict *properties,
                           IOThreadVirtQueueMappingList **list, Error **errp)
{
    Visitor *v = qobject_input_visitor_new(QOBJECT(properties));
    bool ok = visit_start_struct(v, NULL, NULL, 0, errp);

    if (ok) {
        ok = visit_type_IOThreadVirtQueueMappingList(v, PATH, list, errp);
        visit_end_struct(v, NULL);
    }
    visit_free(v);
    return ok;
}

static void check_refusal(const VqMappingText *t, Error *err, Outcome outcome)
{
    const char *message;

    if (!err) {
        fuzz_fail(t, "refused without an error");
    }
    message = error_get_pretty(err);
    if (!*message) {
        fuzz_fail(t, "the error is empty");
    }
    /* What the parser stops at and names are told as they are */
    if (outcome != OUTCOME_NOT_JSON && strchr(message, '\n') &&
        !strstr(t->text->str, "\\n")) {
        fuzz_fail(t, "the error is not one line");
    }
    if (g_str_has_suffix(message, ".")) {
        fuzz_fail(t, "the error ends with a dot");
    }
    if ((outcome == OUTCOME_NOT_IN_SCHEMA || outcome == OUTCOME_BAD_SHAPE) &&
        !strstr(message, "'" PATH)) {
        fuzz_fail(t, "the error does not say where");
    }
    error_free(err);
}

static void check_plan(const VqMappingText *t, const VqPlan *plan,
                       const IOThreadVirtQueueMappingList *expected)
{
    g_autofree char *idle = vq_plan_idle_names(plan, expected);
    g_autoptr(GHashTable) owners = g_hash_table_new(NULL, NULL);
    g_autoptr(GString) expected_idle = g_string_new(NULL);

    if (plan->num_vqs != t->num_vqs ||
        plan->num_iothreads != QAPI_LIST_LENGTH(expected)) {
        fuzz_fail(t, "wrong numbers in the plan");
    }
    for (unsigned vq = 0; vq < t->num_vqs; vq++) {
        void *owner = vq_oracle_owner(expected, vq);

        if (plan->iothread_of_vq[vq] >= plan->num_iothreads ||
            plan->iothreads[plan->iothread_of_vq[vq]] != owner) {
            fuzz_fail(t, "wrong owner");
        }
        g_hash_table_add(owners, owner);
    }
    for (; expected; expected = expected->next) {
        const char *name = expected->value->iothread;

        if (!g_hash_table_contains(owners, vq_oracle_resolve(name))) {
            g_string_append_printf(expected_idle, "%s%s",
                                   expected_idle->len ? ", " : "", name);
        }
    }
    if (g_strcmp0(idle, expected_idle->len ? expected_idle->str : NULL)) {
        fuzz_fail(t, "wrong names of idle IOThreads");
    }
}

/* @value is what the parser made of the text */
static Outcome check_tree(const VqMappingText *t, QObject *value)
{
    g_autoptr(QDict) properties = qdict_new();
    IOThreadVirtQueueMappingList *list = NULL, *expected = NULL;
    bool in_schema = tree_to_list(value, &expected);
    unsigned faults = vq_oracle_faults(expected, t->num_vqs);
    g_autoptr(VqPlan) plan = NULL;
    Outcome outcome;
    Error *err = NULL;

    qdict_put_obj(properties, PATH, qobject_ref(value));
    if (!visit_property(properties, &list, &err)) {
        outcome = OUTCOME_NOT_IN_SCHEMA;
        if (list) {
            fuzz_fail(t, "refused by the visitor with a list left");
        }
        if (in_schema) {
            fuzz_fail(t, "refused by the visitor");
        }
    } else {
        if (!in_schema) {
            fuzz_fail(t, "accepted by the visitor");
        }
        if (!vq_plan_check_list(PATH, list, &err)) {
            outcome = OUTCOME_BAD_SHAPE;
        } else {
            plan = vq_plan_new(PATH, list, t->num_vqs, vq_oracle_resolve,
                               &err);
            outcome = plan ? OUTCOME_ACCEPTED : OUTCOME_BAD_PLAN;
        }
        if (!plan != !!faults) {
            fuzz_fail(t, plan ? "accepted" : "refused");
        }
        if (err && !vq_oracle_explains(error_get_pretty(err), faults)) {
            fuzz_fail(t, error_get_pretty(err));
        }
    }

    if (plan) {
        if (err) {
            fuzz_fail(t, "accepted with an error");
        }
        check_plan(t, plan, expected);
    } else {
        check_refusal(t, err, outcome);
    }
    qapi_free_IOThreadVirtQueueMappingList(list);
    qapi_free_IOThreadVirtQueueMappingList(expected);
    return outcome;
}

static Outcome check_text(const VqMappingText *t)
{
    Error *err = NULL;
    QObject *value = qobject_from_json(t->text->str, &err);
    Outcome outcome = OUTCOME_NOT_JSON;

    if (!value) {
        check_refusal(t, err, outcome);
        return outcome;
    }
    if (err) {
        fuzz_fail(t, "parsed with an error");
    }
    outcome = check_tree(t, value);
    qobject_unref(value);
    return outcome;
}

static uint32_t number_from_env(const char *name, uint32_t otherwise)
{
    const char *value = g_getenv(name);
    unsigned long number;

    if (!value) {
        return otherwise;
    }
    if (qemu_strtoul(value, NULL, 10, &number) < 0 || number > UINT32_MAX) {
        g_error("%s=%s is no number of 32 bits", name, value);
    }
    return number;
}

static void test_fuzz(void)
{
    uint32_t count = number_from_env("VQ_FUZZ_COUNT", 30000);
    uint32_t seed = number_from_env("VQ_FUZZ_SEED", g_random_int());
    uint32_t outcomes[NUM_OUTCOMES] = {};
    VqMappingText t;

    g_test_message("VQ_FUZZ_SEED=%u VQ_FUZZ_COUNT=%u", seed, count);
    vq_mapping_text_init(&t);
    for (uint32_t i = 0; i < count; i++) {
        vq_mapping_text_make(&t, seed + i);
        outcomes[check_text(&t)]++;
    }
    vq_mapping_text_destroy(&t);

    g_test_message("%u no JSON, %u not in the schema, %u with an empty list, "
                   "%u refused by the plan, %u accepted",
                   outcomes[OUTCOME_NOT_JSON], outcomes[OUTCOME_NOT_IN_SCHEMA],
                   outcomes[OUTCOME_BAD_SHAPE], outcomes[OUTCOME_BAD_PLAN],
                   outcomes[OUTCOME_ACCEPTED]);
    /* A generator that makes only some kinds of text would prove little */
    for (unsigned i = 0; i < NUM_OUTCOMES && count >= 10000; i++) {
        g_assert_cmpuint(outcomes[i], >, count / 100);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vq-mapping/fuzz", test_fuzz);
    return g_test_run();
}
