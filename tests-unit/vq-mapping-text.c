/*
 * Random texts for iothread-vq-mapping: most are JSON, many are valid
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-mapping-text.h"
#include "vq-plan-oracle.h"

/* A number from 0 to @n - 1 */
static unsigned gen_below(VqMappingText *t, unsigned n)
{
    return g_rand_int_range(t->rand, 0, n);
}

static const char *gen_pick(VqMappingText *t, const char *const *words,
                            size_t n)
{
    return words[gen_below(t, n)];
}

#define GEN_PICK(t, words) gen_pick(t, words, ARRAY_SIZE(words))

/* Shall one of the faults be here? There are about @places to choose from */
static bool gen_fault(VqMappingText *t, unsigned places)
{
    if (!t->faults || gen_below(t, places)) {
        return false;
    }
    t->faults--;
    return true;
}

static void gen_space(VqMappingText *t)
{
    static const char *const spaces[] = { " ", "\t", "\r\n", "\n  " };

    if (!gen_below(t, 16)) {
        g_string_append(t->text, GEN_PICK(t, spaces));
    }
}

/* Anything that JSON has, and some things that it has not */
static void gen_odd_value(VqMappingText *t)
{
    static const char *const values[] = {
        "null", "true", "false", "0", "-1", "1.5", "1e999", "\"\"", "\"t0\"",
        "[]", "{}", "[[]]", "[null]", "{\"iothread\":\"t0\"}", "nil", "'t0'",
        "\"", "", "%d", "\xff", "\xef\xbb\xbf",
    };

    if (!gen_below(t, 50)) {
        /* The parser has a limit for this */
        unsigned depth = 1 + gen_below(t, 2000);

        for (unsigned i = 0; i < depth; i++) {
            g_string_append_c(t->text, '[');
        }
        for (unsigned i = gen_below(t, 2) ? depth : 0; i > 0; i--) {
            g_string_append_c(t->text, ']');
        }
        return;
    }
    g_string_append(t->text, GEN_PICK(t, values));
}

static void gen_odd_index(VqMappingText *t, unsigned vq)
{
    static const char *const indexes[] = {
        "65535", "65536", "65537", "-1", "-65535", "-65536", "4294967296",
        "9223372036854775807", "9223372036854775808", "18446744073709551615",
        "18446744073709551616", "-9223372036854775808",
        "-9223372036854775809", "1e3", "0.0", "0x1", "00", "+1", "1.", "-",
        "-0", "\"0\"", "[0]",
    };

    switch (gen_below(t, 8)) {
    case 0:
        g_string_append_printf(t->text, "%u", t->num_vqs);
        break;
    case 1:
        g_string_append_printf(t->text, "%u", t->num_vqs - 1);
        break;
    case 2:
        g_string_append_printf(t->text, "%u", vq + 65536);
        break;
    case 3:
        g_string_append_printf(t->text, "%u.0", vq);
        break;
    case 4: /* twice */
        g_string_append_printf(t->text, "%u,%u", vq, vq);
        break;
    case 5:
        gen_odd_value(t);
        break;
    default:
        g_string_append(t->text, GEN_PICK(t, indexes));
        break;
    }
}

/* The indexes @first, @first + @step, ... */
static void gen_vqs(VqMappingText *t, unsigned first, unsigned step)
{
    const char *sep = "";

    g_string_append_c(t->text, '[');
    for (unsigned vq = first; vq < t->num_vqs; vq += step) {
        if (gen_fault(t, 16)) {
            switch (gen_below(t, 4)) {
            case 0: /* missing */
                continue;
            case 1: /* without the comma */
                sep = "";
                break;
            default:
                g_string_append(t->text, sep);
                gen_odd_index(t, vq);
                sep = ",";
                continue;
            }
        }
        g_string_append_printf(t->text, "%s%u", sep, vq);
        gen_space(t);
        sep = ",";
    }
    if (gen_fault(t, 8)) {
        /* One more */
        g_string_append(t->text, sep);
        gen_odd_index(t, first);
        sep = ",";
    }
    if (gen_fault(t, 200)) {
        /* Many more */
        for (unsigned i = gen_below(t, 20000); i > 0; i--) {
            g_string_append_printf(t->text, "%s%u", sep, i);
            sep = ",";
        }
    }
    g_string_append_c(t->text, ']');
}

static void gen_odd_name(VqMappingText *t, unsigned first)
{
    static const char *const names[] = {
        "\"\"", "\"nope\"", "\"t\"", "\"t00\"", "\"t64\"", "\"T0\"",
        "\"t0 \"", "\" t0\"", "\"/objects/\"", "\"objects/t0\"",
        "\"/objects//objects/t0\"", "\"t0\\u0000\"", "\"\\u0000\"",
        "\"\\u00e9\"", "\"\xc3\xa9\"", "\"\\ud83d\\ude00\"", "\"\\ud800\"",
        "\"\\udc00\\ud800\"", "\"\\uffff\"", "\"\\u12\"", "\"\\x\"",
        "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"", "\"a\\nb\"", "\"a.\"", "\"\\\"\\\\\\/\"",
        "\"%s%n\"", "\"\xe2\x80\xae\"",
    };

    switch (gen_below(t, 4)) {
    case 0: /* the first item's */
        g_string_append_printf(t->text, "\"%st%u\"",
                               gen_below(t, 2) ? "/objects/" : "", first);
        break;
    case 1:
        gen_odd_value(t);
        break;
    default:
        g_string_append(t->text, GEN_PICK(t, names));
        break;
    }
}

/* One of the spellings that @iothread has, in IOThreads and in JSON */
static void gen_name(VqMappingText *t, unsigned iothread)
{
    static const char *const prefixes[] = {
        "t", "t", "t", "/objects/t", "\\/objects\\/t", "\\u0074",
        "\\u002Fobjects/t",
    };

    g_string_append_printf(t->text, "\"%s%u\"", GEN_PICK(t, prefixes),
                           iothread);
}

static void gen_odd_member(VqMappingText *t)
{
    static const char *const members[] = {
        "\"queues\":[0]", "\"Vqs\":[0]", "\"\":null", "\"vqs \":[0]",
        "\"iothread\":\"t0\"", "\"vqs\":[0]", "\"vqs\":[]", "\"vqs\":null",
        "\"iothread\":null", "\"vqs\"", "vqs:[0]", "\"a.b[0]\":1", "",
    };

    g_string_append(t->text, GEN_PICK(t, members));
}

/* Item @i of @num_items, the first of which is IOThread @first */
static void gen_item(VqMappingText *t, unsigned i, unsigned num_items,
                     unsigned first, bool with_vqs)
{
    bool vqs_last = gen_below(t, 4), has_vqs = with_vqs;
    bool has_name = true;

    if (gen_fault(t, num_items * 4)) {
        gen_odd_value(t);
        return;
    }
    if (gen_fault(t, num_items * 3)) {
        has_vqs = !has_vqs;
    }
    if (gen_fault(t, num_items * 4)) {
        has_name = false;
    }

    g_string_append_c(t->text, '{');
    for (unsigned member = 0; member < 2; member++) {
        bool is_vqs = member == vqs_last;

        if (is_vqs ? !has_vqs : !has_name) {
            continue;
        }
        if (!g_str_has_suffix(t->text->str, "{")) {
            g_string_append_c(t->text, ',');
        }
        gen_space(t);
        g_string_append(t->text, is_vqs ? "\"vqs\":" : "\"iothread\":");
        gen_space(t);
        if (gen_fault(t, num_items * 2)) {
            if (is_vqs) {
                gen_odd_value(t);
            } else {
                gen_odd_name(t, first);
            }
        } else if (is_vqs) {
            gen_vqs(t, i, num_items);
        } else {
            gen_name(t, (first + i) % VQ_ORACLE_NUM_IOTHREADS);
        }
        gen_space(t);
    }
    if (gen_fault(t, num_items * 4)) {
        g_string_append_c(t->text, ',');
        gen_odd_member(t);
    }
    g_string_append_c(t->text, '}');
}

static void gen_list(VqMappingText *t)
{
    unsigned first = gen_below(t, VQ_ORACLE_NUM_IOTHREADS);
    unsigned num_items = 1 + gen_below(t, MIN(t->num_vqs + 2, 10));
    bool with_vqs = gen_below(t, 2);

    if (!gen_below(t, 500)) {
        num_items = gen_below(t, 2 * VQ_ORACLE_NUM_IOTHREADS);
    }
    if (gen_fault(t, 20)) {
        num_items = 0;
    }
    g_string_append_c(t->text, '[');
    for (unsigned i = 0; i < num_items; i++) {
        if (i) {
            g_string_append_c(t->text, ',');
        }
        gen_space(t);
        gen_item(t, i, num_items, first, with_vqs);
    }
    g_string_append_c(t->text, ']');
}

/* Damage the text itself */
static void gen_damage(VqMappingText *t)
{
    static const char bytes[] = "[]{},:\"\\0123456789-+.eEtfn \t/\x80\xff";
    unsigned at = gen_below(t, t->text->len);

    switch (gen_below(t, 4)) {
    case 0:
        g_string_truncate(t->text, at);
        break;
    case 1:
        g_string_erase(t->text, at, 1);
        break;
    case 2:
        g_string_insert_c(t->text, at,
                          bytes[gen_below(t, sizeof(bytes) - 1)]);
        break;
    default:
        t->text->str[at] = bytes[gen_below(t, sizeof(bytes) - 1)];
        break;
    }
}

void vq_mapping_text_make(VqMappingText *t, uint32_t seed)
{
    static const unsigned max_vqs[] = { 2, 8, 32 };
    unsigned kind;

    t->seed = seed;
    g_rand_set_seed(t->rand, seed);
    kind = gen_below(t, 10);

    t->num_vqs = 1 + gen_below(t, max_vqs[gen_below(t, 3)]);
    if (!gen_below(t, 1000)) {
        t->num_vqs = 1 + gen_below(t, 1024);
    }
    t->faults = kind < 4 ? 0 : 1 + gen_below(t, 2);
    g_string_truncate(t->text, 0);

    gen_space(t);
    if (gen_fault(t, 40)) {
        gen_odd_value(t);
    } else {
        gen_list(t);
    }
    gen_space(t);
    if (kind == 9 && t->text->len) {
        gen_damage(t);
    }
}

void vq_mapping_text_init(VqMappingText *t)
{
    *t = (VqMappingText) {
        .text = g_string_new(NULL),
        .rand = g_rand_new_with_seed(0),
    };
}

void vq_mapping_text_destroy(VqMappingText *t)
{
    g_string_free(t->text, true);
    g_rand_free(t->rand);
}
