/*
 * A guest with requests to a virtio-blk disk that goes from QEMU to QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_MIGRATION_H
#define TESTS_QTEST_VQ_MIGRATION_H

#include "vq-test-util.h"
#include "vq-watchdog.h"

#define QUEUES 4
#define SLOTS 16            /* requests in flight of a virtqueue */
#define MAX_REQUESTS 2048
#define NUM_BAD_SECTORS 6
#define TIMEOUT_US (60 * G_USEC_PER_SEC)

typedef struct Shape {
    const char *name;
    unsigned num_iothreads;
    const char *properties;
    int owner[QUEUES];      /* number of the IOThread, -1: the main loop */
} Shape;

/* What the disk's node is */
typedef enum Backend {
    BACKEND_FILE,
    BACKEND_SLOW,           /* keeps no data; a request takes LATENCY_US */
    BACKEND_WRITES_FAIL,    /* the first one of each sector in bad_sectors */
    BACKEND_READS_FAIL,
} Backend;

/* A request has its own sector: its number times 2, so that none are merged */
typedef struct Request {
    unsigned vq;
    bool is_write;
    bool in_flight;
    unsigned handled;       /* times, in all QEMUs */
    unsigned wanted;        /* times that it shall be */
} Request;

typedef struct Guest {
    VqTest *t;
    const Shape *shape;
    VqTestDevice device;
    char *image;
    uint64_t notify[QUEUES];
    uint16_t avail_idx[QUEUES];
    uint16_t used_idx[QUEUES];
    int slots[QUEUES][SLOTS];   /* the request, or -1 */
    Request requests[MAX_REQUESTS];
    unsigned num_requests;
    bool may_be_main;       /* the thread that handles a request: see park() */
    VqWatchdog *dogs[2];    /* of the QEMU it runs in, of that it will */
} Guest;

/* Where the backends that fail do so, once. Sector 0 is read at the start. */
extern const unsigned bad_sectors[NUM_BAD_SECTORS];

Guest *guest_start(const Shape *shape, Backend backend);

uint8_t pattern_of(unsigned sector);

/* Returns: was there a free slot? No kick. */
bool submit(Guest *g, unsigned vq, bool is_write, unsigned sector);

void kick_all(Guest *g);

/* Have @n more writes of each virtqueue submitted, as far as there are slots */
void submit_writes(Guest *g, unsigned n);

/* Take note of what is completed; each must be in flight, and well */
void reap(Guest *g, bool keeps_data);

unsigned count_in_flight(Guest *g);

void wait_in_flight(Guest *g, unsigned n, bool keeps_data);

/* Read back all that was written */
void check_data(Guest *g);

/* How often this QEMU has handled which write so far, always in its owner */
void read_trace(Guest *g, unsigned handled[MAX_REQUESTS]);

void guest_end(Guest *g);

bool has_status(QTestState *qts, const char *status);

void wait_status(QTestState *qts, const char *status);

/*
 * Begin to migrate to a disk of @shape, slowly: until migrate_end() the guest
 * runs here
 */
VqTest *migrate_begin(Guest *g, const Shape *shape, Backend backend);

void migrate_end(Guest *g, VqTest *to, const Shape *shape, const char *status);

#endif /* TESTS_QTEST_VQ_MIGRATION_H */
