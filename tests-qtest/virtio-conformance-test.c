/*
 * Conformance of virtio-blk-pci with the Virtual I/O Device specification 1.2
 *
 * One case per violation of the specification, or per thing that a correct
 * driver relies on. The device may refuse, and may break until its next reset;
 * after that it has to serve all virtqueues, and QEMU has to live. On a QEMU
 * without the virtqueue module, verdicts are printed and not judged.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vq-conform.h"

static const char *const verdicts[] = {
    [PASSED] = "passed",
    [REFUSED] = "refused",
    [WEDGED] = "wedged",
    [FAILED] = "failed",
};

static bool ours;

void conform_add_cases(GArray *all, const ConformCase *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ConformCase k = cases[i];
        bool both = k.rings == BOTH;

        for (unsigned ring = SPLIT; ring <= PACKED; ring++) {
            if ((k.rings ?: SPLIT) & ring) {
                ConformCase one = k;

                one.rings = ring;
                if (both) {
                    one.name = g_strdup_printf("%s/%s", k.name,
                                               ring == SPLIT ? "split"
                                                             : "packed");
                }
                g_array_append_val(all, one);
            }
        }
    }
}

static void test_case(const void *opaque)
{
    const ConformCase *k = opaque;
    char note[200];
    Verdict verdict = conform_run(k, note, sizeof(note));

    g_test_message("%s (%s): %s %s", k->name, k->section, verdicts[verdict],
                   note);
    if (ours && verdict != k->expect &&
        !(k->either && verdict <= REFUSED && k->expect <= REFUSED)) {
        g_test_message("expected: %s", verdicts[k->expect]);
        g_test_fail();
    }
}

/*
 * A line for each case whose name begins with @prefix, with tabs in between,
 * for scripts/conformance
 */
static void print_table(const GArray *all, const char *prefix)
{
    printf("case\tsection\tverdict\texpected\tnote\treason\n");
    for (guint i = 0; i < all->len; i++) {
        const ConformCase *k = &g_array_index(all, ConformCase, i);
        char note[200];
        Verdict verdict;

        if (!g_str_has_prefix(k->name, prefix)) {
            continue;
        }
        verdict = conform_run(k, note, sizeof(note));
        printf("%s\t%s\t%s\t%s\t%s\t%s\n", k->name, k->section,
               verdicts[verdict], verdicts[k->expect], note, k->reason ?: "");
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    GArray *all = g_array_new(false, true, sizeof(ConformCase));
    int r = 0;

    conform_add_status(all);
    conform_add_features(all);
    conform_add_queue(all);
    conform_add_queue_reset(all);
    conform_add_ring(all);
    conform_add_request(all);
    conform_add_config(all);
    conform_add_pci(all);
    conform_add_interrupt(all);
    conform_add_legacy(all);

    if (argc > 1 && g_str_equal(argv[1], "--table")) {
        print_table(all, argc > 2 ? argv[2] : "");
    } else {
        g_test_init(&argc, &argv, NULL);
        ours = conform_is_ours();
        for (guint i = 0; i < all->len; i++) {
            const ConformCase *k = &g_array_index(all, ConformCase, i);
            g_autofree char *path = g_strdup_printf("virtio-conformance/%s",
                                                    k->name);

            qtest_add_data_func(path, k, test_case);
        }
        r = g_test_run();
    }
    conform_end();
    return r;
}
