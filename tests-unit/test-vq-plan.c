/*
 * Unit test of the virtqueue plan
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/vq-plan.h"
#include "qapi/error.h"
#include "vq-plan-oracle.h"

#define PATH "iothread-vq-mapping"
#define NUM_RANDOM_LISTS 200000

/* Append an item; @vqs is NULL for none, or "" or a list such as "0,1" */
static IOThreadVirtQueueMappingList **add_item(
        IOThreadVirtQueueMappingList **tail, const char *name, const char *vqs)
{
    IOThreadVirtQueueMapping *item = g_new0(IOThreadVirtQueueMapping, 1);
    uint16List **vq_tail = &item->vqs;

    item->iothread = g_strdup(name);
    item->has_vqs = vqs;
    if (vqs && *vqs) {
        g_auto(GStrv) words = g_strsplit(vqs, ",", -1);

        for (char **word = words; *word; word++) {
            QAPI_LIST_APPEND(vq_tail, atoi(*word));
        }
    }
    QAPI_LIST_APPEND(tail, item);
    return tail;
}

/* "t0:0,1 t1:2,3" with @vqs, "t0 t1" without */
static IOThreadVirtQueueMappingList *make_list(const char *spec)
{
    IOThreadVirtQueueMappingList *list = NULL, **tail = &list;
    g_auto(GStrv) items = g_strsplit(spec, " ", -1);

    for (char **item = items; *item; item++) {
        g_auto(GStrv) parts = g_strsplit(*item, ":", 2);

        if (parts[0]) {
            tail = add_item(tail, parts[0], parts[1]);
        }
    }
    return list;
}

static void check_accepted(const char *spec, const char *expected,
                           const char *idle)
{
    IOThreadVirtQueueMappingList *list = make_list(spec);
    g_auto(GStrv) names = g_strsplit(expected, " ", -1);
    g_autoptr(VqPlan) plan =
        vq_plan_new(PATH, list, g_strv_length(names), vq_oracle_resolve,
                    &error_abort);
    g_autofree char *idle_names = vq_plan_idle_names(plan, list);

    g_assert_cmpuint(plan->num_vqs, ==, g_strv_length(names));
    for (unsigned vq = 0; vq < plan->num_vqs; vq++) {
        g_assert_true(plan->iothreads[plan->iothread_of_vq[vq]] ==
                      vq_oracle_resolve(names[vq]));
    }
    g_assert_cmpstr(idle_names, ==, idle);
    qapi_free_IOThreadVirtQueueMappingList(list);
}

static void check_refused(const char *spec, uint16_t num_vqs,
                          const char *message)
{
    IOThreadVirtQueueMappingList *list = make_list(spec);
    Error *err = NULL;

    g_assert_null(vq_plan_new(PATH, list, num_vqs, vq_oracle_resolve, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
    qapi_free_IOThreadVirtQueueMappingList(list);
}

static void test_accepted(void)
{
    check_accepted("t0", "t0", NULL);
    check_accepted("t0", "t0 t0 t0 t0", NULL);
    check_accepted("t0 t1", "t0 t1 t0 t1 t0", NULL);
    check_accepted("t2 t1 t0", "t2 t1 t0 t2", NULL);
    check_accepted("t0:0 t1:1 t2:2", "t0 t1 t2", NULL);
    check_accepted("t0:1,0 t1:3,2", "t0 t0 t1 t1", NULL);
    check_accepted("t0:0,3 t1:1,2", "t0 t1 t1 t0", NULL);
    check_accepted("/objects/t0:1 t1:0", "t1 t0", NULL);
}

static void test_idle(void)
{
    check_accepted("t0 t1 t2", "t0 t1 t2", NULL);
    check_accepted("t0 t1 t2", "t0 t1", "t2");
    check_accepted("t0 t1 /objects/t2 t3", "t0", "t1, /objects/t2, t3");
}

static void test_refused(void)
{
    check_refused("", 1, "Parameter 'iothread-vq-mapping' expects at least "
                  "one IOThread, not []");
    check_refused("t0:", 1, "Parameter 'iothread-vq-mapping[0].vqs' expects "
                  "at least one virtqueue index, not []");
    check_refused("t0:0 t1:", 1, "Parameter 'iothread-vq-mapping[1].vqs' "
                  "expects at least one virtqueue index, not []");
    check_refused("nope", 1, "IOThread \"nope\" object does not exist");
    check_refused("t0 nope", 1, "IOThread \"nope\" object does not exist");
    check_refused("t0 t0", 2,
                  "duplicate IOThread name \"t0\" in iothread-vq-mapping");
    check_refused("t0 t1 /objects/t0", 3, "Parameter "
                  "'iothread-vq-mapping[2].iothread' expects an IOThread that "
                  "is not in the list yet, but \"/objects/t0\" is \"t0\"");
    check_refused("t0:0 t1", 2, "either all items in iothread-vq-mapping "
                  "must have vqs or none of them must have it");
    check_refused("t0 t1:1", 2, "either all items in iothread-vq-mapping "
                  "must have vqs or none of them must have it");
    check_refused("t0:0 t1:2", 2, "vq index 2 for IOThread \"t1\" must be "
                  "less than num_queues 2 in iothread-vq-mapping");
    check_refused("t0:65535", 16, "vq index 65535 for IOThread \"t0\" must be "
                  "less than num_queues 16 in iothread-vq-mapping");
    check_refused("t0:0 t1:0", 2, "cannot assign vq 0 to IOThread \"t1\" "
                  "because it is already assigned");
    check_refused("t0:0,1,1", 2, "cannot assign vq 1 to IOThread \"t0\" "
                  "because it is already assigned");
    check_refused("t0:0 t1:2", 3,
                  "missing vq 1 IOThread assignment in iothread-vq-mapping");
}

/* Which of several faults is told must not change: users match on it */
static void test_order(void)
{
    check_refused("t0:9 nope:0", 2, "vq index 9 for IOThread \"t0\" must be "
                  "less than num_queues 2 in iothread-vq-mapping");
    check_refused("t0:0 t0", 2,
                  "duplicate IOThread name \"t0\" in iothread-vq-mapping");
    check_refused("t0 t1:9", 2, "either all items in iothread-vq-mapping "
                  "must have vqs or none of them must have it");
    check_refused("t0:1 t1:1", 3, "cannot assign vq 1 to IOThread \"t1\" "
                  "because it is already assigned");
}

/* Mostly valid lists, with up to two faults of any kind */
static IOThreadVirtQueueMappingList *random_list(unsigned num_vqs)
{
    IOThreadVirtQueueMappingList *list = NULL, **tail = &list;
    unsigned num_items = g_test_rand_int_range(0, 11);
    unsigned first = g_test_rand_int_range(0, 10);
    unsigned faults = g_test_rand_int_range(0, 3);
    bool with_vqs = g_test_rand_bit();

    for (unsigned i = 0; i < num_items; i++) {
        g_autofree char *name = g_strdup_printf(
            "%st%u", g_test_rand_bit() ? "/objects/" : "", (first + i) % 10);
        g_autoptr(GString) vqs = g_string_new(NULL);
        const char *sep = "";
        bool has_vqs = with_vqs;

        for (unsigned vq = i; with_vqs && vq < num_vqs; vq += num_items) {
            g_string_append_printf(vqs, "%s%u", sep, vq);
            sep = ",";
        }
        if (faults && g_test_rand_int_range(0, num_items) == 0) {
            faults--;
            switch (g_test_rand_int_range(0, 6)) {
            case 0: /* another IOThread's name, under either of its names */
                g_free(name);
                name = g_strdup_printf("%st%u", g_test_rand_bit() ?
                                       "/objects/" : "", first);
                break;
            case 1:
                g_free(name);
                name = g_strdup("nope");
                break;
            case 2:
                has_vqs = !has_vqs;
                break;
            case 3: /* taken, free or out of range */
                g_string_append_printf(vqs, "%s%u", sep,
                                       g_test_rand_int_range(0, num_vqs + 2));
                break;
            case 4: /* missing, or an empty list */
                g_string_truncate(vqs, 0);
                break;
            default:
                g_string_append_printf(vqs, "%s%u", sep,
                                       g_test_rand_int_range(0, 65536));
                break;
            }
        }
        tail = add_item(tail, name, has_vqs ? vqs->str : NULL);
    }
    return list;
}

static void test_random(void)
{
    unsigned accepted = 0;

    for (unsigned n = 0; n < NUM_RANDOM_LISTS; n++) {
        unsigned num_vqs = g_test_rand_int_range(1, 33);
        IOThreadVirtQueueMappingList *list = random_list(num_vqs);
        Error *err = NULL;
        g_autoptr(VqPlan) plan = vq_plan_new(PATH, list, num_vqs,
                                             vq_oracle_resolve, &err);

        unsigned faults = vq_oracle_faults(list, num_vqs);

        g_assert_true(!plan == !!err);
        g_assert_true(!plan == !!faults);
        g_assert_true(plan ||
                      vq_oracle_explains(error_get_pretty(err), faults));
        if (plan) {
            accepted++;
            for (unsigned vq = 0; vq < num_vqs; vq++) {
                g_assert_true(plan->iothreads[plan->iothread_of_vq[vq]] ==
                              vq_oracle_owner(list, vq));
            }
        }
        error_free(err);
        qapi_free_IOThreadVirtQueueMappingList(list);
    }

    g_test_message("%u of %u lists accepted", accepted, NUM_RANDOM_LISTS);
    /* A generator that makes only one kind of list would prove little */
    g_assert_cmpuint(accepted, >, NUM_RANDOM_LISTS / 5);
    g_assert_cmpuint(accepted, <, NUM_RANDOM_LISTS * 4 / 5);
}

/* Ranges only where they ascend, in the order of the list */
static void test_text(void)
{
    g_autoptr(IOThreadVirtQueueMappingList) list = NULL;
    g_autoptr(IOThreadVirtQueueMappingList) names = NULL;
    IOThreadVirtQueueMappingList **tail = &list;
    g_autofree char *empty = vq_plan_list_to_text(NULL);
    g_autofree char *text = NULL, *round_robin = NULL;

    tail = add_item(tail, "t0", "0,1,2,4,6,7,5,65534,65535");
    add_item(tail, "/objects/t1", "3");
    text = vq_plan_list_to_text(list);
    g_assert_cmpstr(text, ==, "t0:0-2,4,6-7,5,65534-65535,/objects/t1:3");

    tail = add_item(&names, "t1", NULL);
    add_item(tail, "t0", NULL);
    round_robin = vq_plan_list_to_text(names);
    g_assert_cmpstr(round_robin, ==, "t1,t0");
    g_assert_cmpstr(empty, ==, "");
}

static bool has_empty_vqs(const IOThreadVirtQueueMappingList *list)
{
    while (list && !(list->value->has_vqs && !list->value->vqs)) {
        list = list->next;
    }
    return list;
}

/* What is written reads back as the same, unless the text would be "t0:" */
static void test_from_text(void)
{
    for (unsigned n = 0; n < NUM_RANDOM_LISTS; n++) {
        unsigned num_vqs = g_test_rand_int_range(1, 33);
        g_autoptr(IOThreadVirtQueueMappingList) list = random_list(num_vqs);
        g_autofree char *text = vq_plan_list_to_text(list);
        g_autoptr(IOThreadVirtQueueMappingList) copy = NULL;
        g_autofree char *again = NULL;
        Error *err = NULL;

        copy = vq_plan_list_from_text(text, &err);
        if (!list || has_empty_vqs(list)) {
            g_assert_nonnull(err);
            g_assert_null(copy);
            error_free(err);
            continue;
        }
        g_assert_null(err);
        again = vq_plan_list_to_text(copy);
        g_assert_cmpstr(again, ==, text);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vq-plan/accepted", test_accepted);
    g_test_add_func("/vq-plan/idle", test_idle);
    g_test_add_func("/vq-plan/refused", test_refused);
    g_test_add_func("/vq-plan/order", test_order);
    g_test_add_func("/vq-plan/random", test_random);
    g_test_add_func("/vq-plan/text", test_text);
    g_test_add_func("/vq-plan/from-text", test_from_text);
    return g_test_run();
}
