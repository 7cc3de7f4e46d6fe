/*
 * The one place that knows which QEMU this is
 *
 * The module builds on QEMU 9.0.0 and on 10.0.x. What differs between the two
 * is named here, so that no other file tests for a version.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_BLOCK_VIRTIO_BLK_COMPAT_H
#define HW_BLOCK_VIRTIO_BLK_COMPAT_H

#if !(QEMU_VERSION_MAJOR == 9 && QEMU_VERSION_MINOR == 0 && \
      QEMU_VERSION_MICRO == 0) && \
    !(QEMU_VERSION_MAJOR == 10 && QEMU_VERSION_MINOR == 0)
#error "hw/block/virtio-blk is for QEMU 9.0.0 or 10.0.x only"
#endif

#include "qapi/error.h"

/* 10.0 renamed include/sysemu/ to include/system/, qapi/qmp/ to qobject/ */
#if QEMU_VERSION_MAJOR >= 10
#include "qobject/qdict.h"
#include "system/block-backend.h"
#include "system/dma.h"
#include "system/hostmem.h"
#include "system/iothread.h"
#include "system/xen.h"
#else
#include "qapi/qmp/qdict.h"
#include "sysemu/block-backend.h"
#include "sysemu/dma.h"
#include "sysemu/hostmem.h"
#include "sysemu/iothread.h"
#include "sysemu/xen.h"
#endif

/* 10.0 has made properties constant, and renamed PropertyInfo.name */
#if QEMU_VERSION_MAJOR >= 10
typedef const struct Property CompatQdevProperty;
#define COMPAT_PROPERTY_TYPE(type_) .type = (type_)
#else
typedef struct Property CompatQdevProperty;
#define COMPAT_PROPERTY_TYPE(type_) .name = (type_)
#endif

/**
 * compat_blk_may_use_iothread:
 * @blk: the disk's BlockBackend
 * @errp: pointer to a NULL-initialized error object
 *
 * 9.0 still has operation blockers that keep a node which is busy (a block
 * job's target, say) in the main loop; 10.0 has dropped them.
 *
 * Returns: true if @blk may be served by IOThreads, false with @errp set if
 * not.
 *
 * Context: BQL held.
 */
static inline bool compat_blk_may_use_iothread(BlockBackend *blk, Error **errp)
{
#if QEMU_VERSION_MAJOR == 9
    ERRP_GUARD();

    if (blk_op_is_blocked(blk, BLOCK_OP_TYPE_DATAPLANE, errp)) {
        error_prepend(errp, "cannot start virtio-blk ioeventfd: ");
        return false;
    }
#endif
    return true;
}

#endif /* HW_BLOCK_VIRTIO_BLK_COMPAT_H */
