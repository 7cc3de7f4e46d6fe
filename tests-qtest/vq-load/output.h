/*
 * A named output file
 *
 * A regular file is replaced as a whole, by rename. What a symbolic link
 * points at is replaced, not the link. A character device or a FIFO is written
 * to; nothing else is touched.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_OUTPUT_H
#define TESTS_QTEST_VQ_LOAD_OUTPUT_H

/*
 * Find out whether vq_output_write() could write @path, and leave everything
 * as it is. Returns: NULL, or why not, in one line, to be freed
 */
char *vq_output_check(const char *path);

/* The same, and write @text */
char *vq_output_write(const char *path, const char *text);

#endif /* TESTS_QTEST_VQ_LOAD_OUTPUT_H */
