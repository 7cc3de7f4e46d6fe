/*
 * Random texts for iothread-vq-mapping: most are JSON, many are valid
 *
 * A valid mapping is written out with up to two faults on the way; now and
 * then the text itself is damaged in the end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_VQ_MAPPING_TEXT_H
#define TESTS_UNIT_VQ_MAPPING_TEXT_H

typedef struct VqMappingText {
    GString *text;
    unsigned num_vqs; /* of the disk that the mapping is for */
    uint32_t seed;    /* makes the same text again */

    /* For the generator itself */
    GRand *rand;
    unsigned faults;  /* how many are left to make */
} VqMappingText;

void vq_mapping_text_init(VqMappingText *t);
void vq_mapping_text_destroy(VqMappingText *t);

/* Replace the text by the one that @seed makes */
void vq_mapping_text_make(VqMappingText *t, uint32_t seed);

#endif /* TESTS_UNIT_VQ_MAPPING_TEXT_H */
