/*
 * The disk image of a load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_IMAGE_H
#define TESTS_QTEST_VQ_LOAD_IMAGE_H

#include "config.h"

/*
 * Create a file full of zeroes, all of it allocated, for @config's backend.
 * Returns: its path, NULL for a backend without a file; on failure NULL with
 * the reason in *@error, to be freed
 */
char *vq_image_new(const VqLoadConfig *config, char **error);

/* Delete the file and free its path, which may be NULL */
void vq_image_free(char *path);

/* What -blockdev needs for node "disk"; the caller frees it */
char *vq_image_blockdev(const VqLoadConfig *config, const char *path);

/* Does the backend keep what is written, so that it can be read again? */
bool vq_image_keeps_data(const VqLoadConfig *config);

#endif /* TESTS_QTEST_VQ_LOAD_IMAGE_H */
