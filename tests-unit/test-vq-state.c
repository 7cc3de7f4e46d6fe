/*
 * Unit test of the states of a virtqueue
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/block/virtio-blk/queue-state.h"

/*
 * The tables of queue-state.h, line by line; scripts/test-scripts checks that
 * they are. What the code does is compared with what they say.
 */
static const char tables[] =
    "               ASSIGN   READY    ATTACH    DETACH    LEAVE\n"
    "    CLOSED     ASSIGNED !        -         -         -\n"
    "    ASSIGNED   !        DETACHED -         -         -\n"
    "    DETACHED   !        !        ATTACHING -         LEAVING\n"
    "    ATTACHING  !        !        -         DETACHED  LEAVING\n"
    "    ATTACHED   !        !        -         DETACHING EVICTING\n"
    "    DETACHING  !        !        -         -         EVICTING\n"
    "    EVICTING   !        !        -         -         -\n"
    "    LEAVING    !        !        -         -         -\n"
    "    CLOSING    !        !        -         -         -\n"
    "    QUIET      !        !        -         -         -\n"
    "\n"
    "               STAY      ARRIVE   CLOSE    RELEASE  OWNER\n"
    "    CLOSED     -         -        -        !        -\n"
    "    ASSIGNED   -         -        QUIET    CLOSED   -\n"
    "    DETACHED   -         -        QUIET    !        -\n"
    "    ATTACHING  -         -        QUIET    !        ATTACHED\n"
    "    ATTACHED   -         -        CLOSING  !        -\n"
    "    DETACHING  -         -        CLOSING  !        DETACHED\n"
    "    EVICTING   DETACHING -        CLOSING  !        LEAVING\n"
    "    LEAVING    DETACHED  DETACHED QUIET    !        -\n"
    "    CLOSING    -         -        -        !        QUIET\n"
    "    QUIET      -         -        -        CLOSED   -\n";

static const char *const states[VQ_NUM_STATES] = {
    [VQ_CLOSED] = "CLOSED",
    [VQ_ASSIGNED] = "ASSIGNED",
    [VQ_DETACHED] = "DETACHED",
    [VQ_ATTACHING] = "ATTACHING",
    [VQ_ATTACHED] = "ATTACHED",
    [VQ_DETACHING] = "DETACHING",
    [VQ_EVICTING] = "EVICTING",
    [VQ_LEAVING] = "LEAVING",
    [VQ_CLOSING] = "CLOSING",
    [VQ_QUIET] = "QUIET",
};

static const char *const causes[VQ_NUM_CAUSES] = {
    [VQ_ASSIGN] = "ASSIGN",
    [VQ_READY] = "READY",
    [VQ_ATTACH] = "ATTACH",
    [VQ_DETACH] = "DETACH",
    [VQ_LEAVE] = "LEAVE",
    [VQ_STAY] = "STAY",
    [VQ_ARRIVE] = "ARRIVE",
    [VQ_CLOSE] = "CLOSE",
    [VQ_RELEASE] = "RELEASE",
    [VQ_OWNER] = "OWNER",
};

/* What the tables say, with VQ_FORBIDDEN for "!" */
static VqState oracle[VQ_NUM_STATES][VQ_NUM_CAUSES];

static unsigned find(const char *const *names, unsigned num, const char *name)
{
    for (unsigned i = 0; i < num; i++) {
        if (g_str_equal(names[i], name)) {
            return i;
        }
    }
    g_error("'%s' in a table is not known", name);
}

/* Returns: the words of @line, to be freed */
static GStrv split(const char *line)
{
    g_autoptr(GRegex) spaces = g_regex_new(" +", 0, 0, NULL);
    g_autofree char *stripped = g_strstrip(g_strdup(line));

    return g_regex_split(spaces, stripped, 0);
}

static VqState parse_entry(VqState state, const char *word)
{
    return g_str_equal(word, "-") ? state :
           g_str_equal(word, "!") ? VQ_FORBIDDEN :
           find(states, VQ_NUM_STATES, word);
}

/* Each state and cause must be in the tables, once */
static void parse_tables(void)
{
    g_auto(GStrv) lines = g_strsplit(tables, "\n", -1);
    g_auto(GStrv) header = NULL;
    unsigned seen[VQ_NUM_STATES][VQ_NUM_CAUSES] = {};

    for (char **line = lines; *line; line++) {
        g_auto(GStrv) words = split(*line);
        VqState state;

        if (!**line) {
            g_clear_pointer(&header, g_strfreev);
            continue;
        }
        if (!header) {
            header = g_steal_pointer(&words);
            continue;
        }
        state = find(states, VQ_NUM_STATES, words[0]);
        g_assert_cmpuint(g_strv_length(words), ==, g_strv_length(header) + 1);
        for (unsigned i = 0; header[i]; i++) {
            VqCause cause = find(causes, VQ_NUM_CAUSES, header[i]);

            oracle[state][cause] = parse_entry(state, words[i + 1]);
            seen[state][cause]++;
        }
    }
    for (VqState state = 0; state < VQ_NUM_STATES; state++) {
        for (VqCause cause = 0; cause < VQ_NUM_CAUSES; cause++) {
            g_assert_cmpuint(seen[state][cause], ==, 1);
        }
    }
}

/* Every transition, and every forbidden one */
static void test_table(void)
{
    unsigned moves = 0, forbidden = 0;

    for (VqState state = 0; state < VQ_NUM_STATES; state++) {
        for (VqCause cause = 0; cause < VQ_NUM_CAUSES; cause++) {
            VqState next = vq_state_next(state, cause);

            if (next != oracle[state][cause]) {
                g_error("%s on %s: %s, not as in the table", states[state],
                        causes[cause],
                        next == VQ_FORBIDDEN ? "!" : states[next]);
            }
            forbidden += next == VQ_FORBIDDEN;
            moves += next != VQ_FORBIDDEN && next != state;
        }
    }
    g_test_message("%u transitions, %u forbidden, %u without effect", moves,
                   forbidden, VQ_NUM_STATES * VQ_NUM_CAUSES - moves -
                   forbidden);
}

static void test_names(void)
{
    for (VqState state = 0; state < VQ_NUM_STATES; state++) {
        g_autofree char *name = g_ascii_strdown(states[state], -1);

        g_assert_cmpstr(vq_state_name(state), ==, name);
        for (VqState other = 0; other < state; other++) {
            g_assert_cmpstr(vq_state_name(other), !=, name);
        }
    }
}

static bool is_one_of(VqState state, const char *list)
{
    g_auto(GStrv) words = split(list);

    return g_strv_contains((const char *const *)words, states[state]);
}

/* The predicates are true for these, from the comment of queue-state.h */
static void test_predicates(void)
{
    for (VqState state = 0; state < VQ_NUM_STATES; state++) {
        g_assert_cmpint(vq_state_is_assigned(state), !=,
                        is_one_of(state, "CLOSED"));
        g_assert_cmpint(vq_state_is_owned(state), !=,
                        is_one_of(state, "CLOSED ASSIGNED"));
        g_assert_cmpint(vq_state_is_handled(state), ==,
                        is_one_of(state,
                                  "ATTACHED DETACHING EVICTING CLOSING"));
        g_assert_cmpint(vq_state_is_serving(state), ==,
                        is_one_of(state, "ATTACHING ATTACHED DETACHING "
                                  "EVICTING CLOSING"));
        g_assert_cmpint(vq_state_is_leaving(state), ==,
                        is_one_of(state, "EVICTING LEAVING"));

        /* Each is only true if the one before it is */
        g_assert_true(vq_state_is_assigned(state) || !vq_state_is_owned(state));
        g_assert_true(vq_state_is_owned(state) || !vq_state_is_serving(state));
        g_assert_true(vq_state_is_serving(state) ||
                      !vq_state_is_handled(state));
    }
}

/* A walk from CLOSED comes to every state, and from each back to CLOSED */
static void test_reachable(void)
{
    bool reached[VQ_NUM_STATES] = { [VQ_CLOSED] = true };
    bool more = true;

    while (more) {
        more = false;
        for (VqState state = 0; state < VQ_NUM_STATES; state++) {
            for (VqCause cause = 0; reached[state] && cause < VQ_NUM_CAUSES;
                 cause++) {
                VqState next = vq_state_next(state, cause);

                if (next != VQ_FORBIDDEN && !reached[next]) {
                    reached[next] = more = true;
                }
            }
        }
    }
    for (VqState state = 0; state < VQ_NUM_STATES; state++) {
        g_assert_true(reached[state]);
    }
}

/* Stop and queue reset work in every state */
static void test_close(void)
{
    for (VqState state = 0; state < VQ_NUM_STATES; state++) {
        VqState next = vq_state_next(state, VQ_CLOSE);

        g_assert_cmpint(next, !=, VQ_FORBIDDEN);
        next = vq_state_next(next, VQ_OWNER);
        g_assert_cmpint(next, ==, state == VQ_CLOSED ? VQ_CLOSED : VQ_QUIET);
        if (next == VQ_QUIET) {
            next = vq_state_next(next, VQ_RELEASE);
        }
        g_assert_cmpint(next, ==, VQ_CLOSED);
    }
}

/* Once closing, nothing but the owner and the release have an effect */
static void test_closing_is_final(void)
{
    for (VqCause cause = 0; cause < VQ_NUM_CAUSES; cause++) {
        VqState closing = vq_state_next(VQ_CLOSING, cause);
        VqState quiet = vq_state_next(VQ_QUIET, cause);

        g_assert_true(closing == VQ_CLOSING || closing == VQ_FORBIDDEN ||
                      cause == VQ_OWNER);
        g_assert_true(quiet == VQ_QUIET || quiet == VQ_FORBIDDEN ||
                      cause == VQ_RELEASE);
    }
}

/* Who may make which change */
static void test_causes(void)
{
    for (VqState state = 0; state < VQ_NUM_STATES; state++) {
        for (VqCause cause = 0; cause < VQ_NUM_CAUSES; cause++) {
            VqState next = vq_state_next(state, cause);

            if (next == VQ_FORBIDDEN || next == state) {
                continue;
            }
            /* The owner alone begins and ends to handle the host notifier */
            g_assert_cmpint(vq_state_is_handled(next) !=
                            vq_state_is_handled(state), ==, cause == VQ_OWNER);

            /* And has nothing to do then before it is told to again */
            if (cause == VQ_OWNER) {
                g_assert_cmpint(vq_state_next(next, VQ_OWNER), ==, next);
            }

            /* Host notifiers are set by ASSIGN, released by RELEASE */
            g_assert_cmpint(!vq_state_is_assigned(state) &&
                            vq_state_is_assigned(next), ==,
                            cause == VQ_ASSIGN);
            g_assert_cmpint(next == VQ_CLOSED, ==, cause == VQ_RELEASE);

            /*
             * The main loop hands over when it is ready, or to be released: a
             * start that fails; and an owner gives nothing back but that way
             */
            if (!vq_state_is_owned(state) && vq_state_is_owned(next)) {
                g_assert_true(cause == VQ_READY || cause == VQ_CLOSE);
            }
            if (vq_state_is_owned(state) && !vq_state_is_owned(next)) {
                g_assert_cmpint(cause, ==, VQ_RELEASE);
                g_assert_cmpint(state, ==, VQ_QUIET);
            }

            /* What is leaving is not attached, and what arrives was leaving */
            if (vq_state_is_leaving(state)) {
                g_assert_true(next != VQ_ATTACHING && next != VQ_ATTACHED);
            }
            if (cause == VQ_ARRIVE) {
                g_assert_cmpint(state, ==, VQ_LEAVING);
            }
            g_assert_true(!vq_state_is_leaving(next) ||
                          vq_state_is_leaving(state) || cause == VQ_LEAVE);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    parse_tables();
    g_test_add_func("/vq-state/table", test_table);
    g_test_add_func("/vq-state/names", test_names);
    g_test_add_func("/vq-state/predicates", test_predicates);
    g_test_add_func("/vq-state/reachable", test_reachable);
    g_test_add_func("/vq-state/close", test_close);
    g_test_add_func("/vq-state/closing-is-final", test_closing_is_final);
    g_test_add_func("/vq-state/causes", test_causes);
    return g_test_run();
}
