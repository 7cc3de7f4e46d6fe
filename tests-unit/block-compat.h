/*
 * Headers of the block layer that 10.0 has given other names
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_BLOCK_COMPAT_H
#define TESTS_UNIT_BLOCK_COMPAT_H

#if QEMU_VERSION_MAJOR >= 10
#include "system/block-backend.h"
#include "qobject/qdict.h"
#include "qapi/qmp-registry.h"
#else
#include "sysemu/block-backend.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/dispatch.h"
#endif

#endif /* TESTS_UNIT_BLOCK_COMPAT_H */
