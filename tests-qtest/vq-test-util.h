/*
 * A virtio device for tests that ask which thread serves a virtqueue
 *
 * The proof is QEMU's own trace of each request, not a property read back:
 * every request carries a number of its own (a disk's sector, a SCSI command's
 * tag), and the trace line with that number begins with the id of the thread
 * that handled it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_TEST_UTIL_H
#define TESTS_QTEST_VQ_TEST_UTIL_H

#include "libqtest.h"
#include "libqos/libqos-malloc.h"
#include "libqos/pci.h"
#include "libqos/virtio-mmio.h"
#include "libqos/virtio-pci.h"

#define VQ_TEST_MAX_QUEUES 16
#define VQ_TEST_DISK_SIZE (16 * 1024 * 1024)
#define VQ_TEST_SECTOR 512

typedef struct VqTestDevice {
    const char *machine;
    const char *driver;
    const char *address;     /* JSON property that says where it goes */
    const char *drive;       /* JSON property that gives it the node, or "" */
    const char *num_queues;  /* name of the property */
    const char *queue_size;  /* name of the property */
    const char *more_args;   /* what comes after its -device */
    const char *trace_event; /* what handling a request traces */
    const char *more_traces; /* -trace options of other events, or "" */
    unsigned first_vq;       /* index of the first virtqueue that is mapped */
} VqTestDevice;

extern const VqTestDevice vq_test_blk_pci;
extern const VqTestDevice vq_test_blk_mmio;
extern const VqTestDevice vq_test_scsi_pci;

typedef struct VqTest {
    const VqTestDevice *device;
    QTestState *qts;
    QGuestAllocator alloc;
    QPCIBus *pcibus;
    QVirtioPCIDevice *pci;
    QVirtioMMIODevice mmio;
    QVirtioDevice *vdev;
    unsigned num_queues;
    QVirtQueue *vq[VQ_TEST_MAX_QUEUES + 2];
    uint64_t next_sector;
    char *log;
    char *image;
    char *monitor; /* path of a QMP socket beside qts's own */
} VqTest;

/*
 * Start QEMU with IOThreads iothread0, iothread1, ... and one device "disk0"
 * with @num_queues virtqueues to map; @properties is more JSON for its
 * -device, beginning with a comma, or "". The driver is not up yet.
 */
VqTest *vq_test_new(const VqTestDevice *device, unsigned num_iothreads,
                    unsigned num_queues, const char *properties);
void vq_test_free(VqTest *t);

/* Bring the driver up, or reset the device and bring it up again */
void vq_test_start_driver(VqTest *t);
void vq_test_reset(VqTest *t);

/* Bring it up to where DRIVER_OK is next, with virtqueues 0 to @num_vqs - 1 */
void vq_test_setup_driver(VqTest *t, unsigned num_vqs);

/* Reset a virtqueue (virtio 1.2, 2.6.1), which need not exist; PCI only */
void vq_test_queue_reset(VqTest *t, uint16_t vq);

/* Reset the device and forget its virtqueues */
void vq_test_stop_driver(VqTest *t);

/*
 * The disk that was plugged into PCI slot @slot of @t's QEMU, with the driver
 * up; @t's own disk is not used until vq_test_stop_plugged().
 */
VqTest *vq_test_start_plugged(VqTest *t, unsigned slot, unsigned num_queues);
void vq_test_stop_plugged(VqTest *t, VqTest *disk);

/* Have virtqueue @vq handle one request; fail if it takes too long */
void vq_test_request(VqTest *t, unsigned vq, const void *out, size_t out_len,
                     void *in, size_t in_len);

/* The same in steps, for tests in which something happens in between */
typedef struct VqTestRequest {
    unsigned vq;
    uint64_t addr;
    size_t out_len;
    size_t in_len;
    uint32_t head;
} VqTestRequest;

/* Put a request into the guest's memory, not into the ring */
VqTestRequest vq_test_prepare(VqTest *t, unsigned vq,
                              const void *out, size_t out_len,
                              const void *in, size_t in_len);

/* Put @req into the ring, with or without a kick */
void vq_test_submit(VqTest *t, VqTestRequest *req, bool kick);

/* Wait for @req, the next to complete; fail if it takes too long */
void vq_test_complete(VqTest *t, VqTestRequest *req, void *in);

/* Read a sector that no other request reads; @needle finds it in the trace */
VqTestRequest vq_test_prepare_read(VqTest *t, unsigned vq, char **needle);
void vq_test_complete_read(VqTest *t, VqTestRequest *req);

/* The one thread whose trace of a request contains @needle */
pid_t vq_test_traced_thread(VqTest *t, const char *needle);

/*
 * Ids of the threads that traced a request with @needle, in this order; at
 * most @max of them are stored. Returns: how many there are.
 */
unsigned vq_test_traced_threads(VqTest *t, const char *needle, pid_t *tids,
                                unsigned max);

/*
 * How often QEMU traced @event with @needle in its arguments, which only
 * thread @tid may have done
 */
unsigned vq_test_count_trace(VqTest *t, const char *event, const char *needle,
                             pid_t tid);

/* The same, by any thread */
unsigned vq_test_count_event(VqTest *t, const char *event, const char *needle);

/* Read one sector through virtqueue @vq; returns the thread that handled it */
pid_t vq_test_read(VqTest *t, unsigned vq);

/* Write, or read and check, one sector full of @pattern */
void vq_test_write_pattern(VqTest *t, unsigned vq, uint64_t sector,
                           uint8_t pattern);
void vq_test_check_pattern(VqTest *t, unsigned vq, uint64_t sector,
                           uint8_t pattern);

/* Id of IOThread @name's thread, or of the main loop for NULL */
pid_t vq_test_thread_id(VqTest *t, const char *name);

/* Does the thread of IOThread @name, deleted or not, run? */
bool vq_test_has_iothread(VqTest *t, const char *name);

/* How many "task"s or "fd"s QEMU has */
unsigned vq_test_count_entries(VqTest *t, const char *what);

/* Value of QEMU's unsigned variable @symbol, even a static one */
unsigned vq_test_peek(VqTest *t, const char *symbol);

/* Write to QEMU's bool @symbol */
void vq_test_poke(VqTest *t, const char *symbol, bool value);

/*
 * Run QEMU, without qtest, with @num_iothreads IOThreads, a null-co node
 * "node0" and "-device @device"; it is told to quit at once.
 * Returns: its exit status, and what it printed on stderr in @output.
 */
int vq_test_run_qemu(const char *machine, unsigned num_iothreads,
                     const char *device, char **output);

#endif /* TESTS_QTEST_VQ_TEST_UTIL_H */
