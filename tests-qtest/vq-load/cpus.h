/*
 * Lists of host CPUs, and threads that run on them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_CPUS_H
#define TESTS_QTEST_VQ_LOAD_CPUS_H

#include "config.h"

/*
 * Parse a list as of taskset -c: "0,2-4".
 * Returns: is it one, of CPUs that this process may use?
 */
bool vq_cpus_parse(const char *text, VqLoadCpus *cpus);

/* CPUs that this process may use */
void vq_cpus_allowed(VqLoadCpus *cpus);

/* Let thread @tid, 0 for the calling one, run on these; none: no change */
void vq_cpus_pin(pid_t tid, const VqLoadCpus *cpus);

/* Let thread @tid run on one of them, the @index-th, counted round */
void vq_cpus_pin_nth(pid_t tid, const VqLoadCpus *cpus, unsigned index);

#endif /* TESTS_QTEST_VQ_LOAD_CPUS_H */
