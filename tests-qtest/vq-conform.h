/*
 * Conformance cases for a virtio-blk-pci device: a driver that can misbehave
 *
 * libqos' driver only does what is right. This one writes any register and any
 * descriptor, split or packed, and keeps copies of what the device may not
 * change, to find out whether it did. Section numbers are those of the Virtual
 * I/O Device specification, version 1.2.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_CONFORM_H
#define TESTS_QTEST_VQ_CONFORM_H

#include "qemu/units.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "standard-headers/linux/virtio_ring.h"
#include "vq-test-util.h"

/* Virtqueues 0 and 2 are served by one IOThread, 1 and 3 by the other */
#define QUEUES 4
#define RING_SIZE 64
#define VECTORS (QUEUES + 1)
#define SIBLING(q) ((q) ^ 2)
#define TIMEOUT_US (20 * G_USEC_PER_SEC)

/* Guest RAM; the three parts of a virtqueue have a page each at least */
#define RAM_SIZE (128 * MiB)
#define ARENA (64 * MiB)
#define ARENA_SIZE (4 * MiB)
#define DESC(q) (ARENA + (q) * 16 * KiB)
#define DRIVER(q) (DESC(q) + 4 * KiB)
#define DEVICE(q) (DESC(q) + 8 * KiB)
/* Where interrupts are written: a word for each MSI-X vector */
#define MSI(v) (ARENA + 128 * KiB + (v) * 4)
#define MSI_DATA(v) (0x51110000 + (v))
#define TABLE (ARENA + 192 * KiB)
#define HEADER (ARENA + 320 * KiB)
#define STATUS (HEADER + 2 * KiB)
#define DATA (ARENA + 512 * KiB)
/* No RAM, and no device either */
#define NOWHERE (1 * GiB)
#define IOAPIC 0xfec00000

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

/* A descriptor of either kind of ring */
typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;      /* 0: the one that follows; packed: the buffer id */
} Desc;

/* Descriptors of a block request in order */
#define HDR { HEADER, 16, NEXT }
#define IN(len) { DATA, len, NEXT | WRITE }
#define OUT(len) { DATA, len, NEXT }
#define ST { STATUS, 1, WRITE }
#define TAB(len) { TABLE, len, INDIRECT }

typedef enum Verdict {
    PASSED,     /* the device did what the section says, or served on */
    REFUSED,    /* it did not act on the violation, or reported an error */
    WEDGED,     /* even after a reset it does not serve its virtqueues */
    FAILED,     /* QEMU ended or hangs, or the device broke a MUST */
} Verdict;

/* What came of a request, beside a status of 0 to 0xff */
enum {
    BROKE = 0x100,      /* the device needs a reset */
    IGNORED = 0x101,    /* nothing */
};

typedef struct Queue {
    unsigned size;
    uint64_t desc, driver, device;
    uint16_t avail;     /* split: index; packed: next descriptor */
    uint16_t used;      /* likewise, of the next that is used */
    bool avail_wrap, used_wrap;
    uint16_t free;      /* split: next descriptor */
    uint16_t count[RING_SIZE];  /* packed: descriptors of a buffer id */
} Queue;

typedef struct ConformCase ConformCase;

typedef struct Conform {
    VqTest *t;
    QPCIDevice *pci;
    QPCIBar bar;
    const ConformCase *k;
    bool read_only;
    bool packed;
    uint64_t offered;
    unsigned max_size;  /* of a virtqueue */
    uint64_t features;  /* what cf_up() negotiates */
    uint16_t vector;    /* cf_queue_enable() gives it to a virtqueue */
    Queue q[QUEUES];
    uint8_t *ram;
    uint8_t *ram_copy;
    uint8_t *disk;      /* the image, or NULL */
    uint8_t *disk_copy;
    size_t disk_size;
    GArray *may_change; /* of Range in RAM */
    GArray *disk_may_change;    /* of Range in the image */
    uint8_t pattern;
    bool silent;        /* a virtqueue has not answered */
    bool msix_mapped;
    bool legacy_mapped;
    QPCIBar legacy;
    char note[200];     /* why this verdict */
} Conform;

/* One violation, or one thing that a correct driver relies on */
struct ConformCase {
    const char *name;
    const char *section;
    Verdict (*run)(Conform *c);
    Verdict expect;         /* on ours */
    const char *reason;     /* why, if that is no good verdict */
    unsigned rings;         /* SPLIT unless given */
    bool read_only;         /* on a read-only disk */
    bool either;            /* PASSED or REFUSED, which depends on time */
    uint64_t with, without; /* features, from the default ones */
    const void *data;
    unsigned arg;
    unsigned select;        /* a virtqueue, that may not exist */
    bool live;              /* with DRIVER_OK and kicks */
};

/* What may come of a request, as bits, for ConformRequest */
#define GETS_OK (1 << VIRTIO_BLK_S_OK)
#define GETS_IOERR (1 << VIRTIO_BLK_S_IOERR)
#define GETS_UNSUPP (1 << VIRTIO_BLK_S_UNSUPP)
#define GETS_BROKEN (1 << 3)
#define GETS_IGNORED (1 << 4)

#define MAX_DESC 8

/* What cf_run_request() does as ConformCase.data says */
typedef struct ConformRequest {
    Desc desc[MAX_DESC];
    Desc table[MAX_DESC];   /* at TABLE */
    uint32_t type;
    uint64_t sector;
    struct virtio_blk_discard_write_zeroes range; /* at DATA, if it has any */
    unsigned must;          /* bits of what the section allows; 0: anything */
    unsigned repeat;        /* so many of the last descriptor but one */
    uint16_t head;          /* of a split ring */
    uint16_t jump;
    unsigned writes;        /* so many sectors, of DATA's bytes */
    unsigned zeroes;        /* so many sectors, after which they read as 0 */
    bool lost;              /* the driver does not know the ring any more */
} ConformRequest;

Verdict cf_run_request(Conform *c);

#define SPLIT 1
#define PACKED 2
#define BOTH (SPLIT | PACKED)

/* Add cases to @all, of ConformCase, in the order in which they run */
void conform_add_status(GArray *all);
void conform_add_features(GArray *all);
void conform_add_queue(GArray *all);
void conform_add_queue_reset(GArray *all);
void conform_add_ring(GArray *all);
void conform_add_request(GArray *all);
void conform_add_config(GArray *all);
void conform_add_pci(GArray *all);
void conform_add_interrupt(GArray *all);
void conform_add_legacy(GArray *all);

/* Add an array of cases, one for each kind of ring that is given */
void conform_add_cases(GArray *all, const ConformCase *cases, size_t n);

/*
 * Run one case in a process of its own, with a QEMU that stays for the next
 * case if it can. @note: why this verdict, at least @len bytes.
 */
Verdict conform_run(const ConformCase *k, char *note, size_t len);
bool conform_is_ours(void);
void conform_end(void);

/* In vq-conform.c and vq-conform-driver.c */
Conform *cf_new(bool read_only);
void cf_free(Conform *c);

/* Run a case and find out whether the device has survived it */
Verdict cf_run(Conform *c, const ConformCase *k);

/* Return verdict with a note */
Verdict cf_note(Conform *c, Verdict verdict, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

#define CF(field) VIRTIO_PCI_COMMON_##field
uint8_t cf_rd8(Conform *c, unsigned reg);
uint16_t cf_rd16(Conform *c, unsigned reg);
uint32_t cf_rd32(Conform *c, unsigned reg);
void cf_wr8(Conform *c, unsigned reg, uint8_t value);
void cf_wr16(Conform *c, unsigned reg, uint16_t value);
void cf_wr32(Conform *c, unsigned reg, uint32_t value);
/* A 64-bit register, and one of virtqueue @q */
void cf_wr64(Conform *c, unsigned reg, uint64_t value);
void cf_select(Conform *c, uint16_t q);

bool cf_broken(Conform *c);
void cf_reset(Conform *c);
void cf_wr_features(Conform *c, uint64_t features);
uint64_t cf_rd_features(Conform *c, unsigned select_reg);

/* Negotiate c->features; returns: does FEATURES_OK stay set? */
bool cf_negotiate(Conform *c);
void cf_queue_enable(Conform *c, unsigned q, unsigned size, uint64_t desc,
                     uint64_t driver, uint64_t device);
/* The same with zeroed rings where they belong */
void cf_queue_setup(Conform *c, unsigned q, unsigned size);
void cf_driver_ok(Conform *c);
void cf_up(Conform *c);

/* Guest RAM, as the driver writes it */
void cf_write(Conform *c, uint64_t addr, const void *buf, size_t len);
void cf_fill(Conform *c, uint64_t addr, uint8_t byte, size_t len);
/* The device may write there from now on, until the case ends */
void cf_may_change(Conform *c, uint64_t addr, uint64_t len);
void cf_disk_may_change(Conform *c, uint64_t sector, unsigned n);
/* What the disk must have there */
void cf_disk_has(Conform *c, uint64_t sector, uint8_t pattern, unsigned n);

void cf_write_header(Conform *c, uint32_t type, uint64_t sector);
void cf_write_table(Conform *c, const Desc *desc, unsigned n);

/*
 * Put @n descriptors as one buffer into the ring. cf_expose() puts the
 * available index of a split ring forward by @jump more, for the chain at
 * @head. cf_post() does all of it, as is right.
 */
uint16_t cf_place(Conform *c, unsigned q, const Desc *desc, unsigned n);
void cf_expose(Conform *c, unsigned q, uint16_t head, uint16_t jump);
void cf_post(Conform *c, unsigned q, const Desc *desc, unsigned n);
void cf_kick(Conform *c, unsigned q);

/* Is there a used buffer? If so, take it. */
bool cf_pop_used(Conform *c, unsigned q, uint32_t *id, uint32_t *len);
/* Wait for one; false if the device breaks, or none comes */
bool cf_wait_used(Conform *c, unsigned q, uint32_t *len);
/*
 * Wait until a buffer of @q is used, true, or it has become certain that the
 * device ignores it or breaks, false: its IOThread serves another virtqueue.
 */
bool cf_settle(Conform *c, unsigned q);

/* A whole request that is right; what became of it: status, BROKE or IGNORED */
unsigned cf_request(Conform *c, unsigned q, uint32_t type, uint64_t sector,
                    const Desc *desc, unsigned n);
/* A request that nothing is wrong with, of 20 bytes; does it succeed? */
bool cf_good(Conform *c, unsigned q);

/* Write a sector through @q, and read it back */
bool cf_verify(Conform *c, unsigned q);
bool cf_verify_all(Conform *c);

/* Did the device write where it may not, in RAM or on disk? */
bool cf_intact(Conform *c);

/* After a system reset: the firmware, which would do this, does not run */
void cf_enable_pci(Conform *c);

/* MSI-X, until the case ends; flags as in the capability's control word */
void cf_msix_enable(Conform *c);
void cf_msix_disable(Conform *c);
void cf_msix_control(Conform *c, uint16_t flags);
void cf_msix_entry(Conform *c, unsigned v, uint64_t addr, uint32_t data,
                   bool masked);

/* PCI capability of @type, or 0 */
uint8_t cf_find_cap(Conform *c, uint8_t type);

/*
 * The verdict on a driver that has violated the specification and left the
 * device running: REFUSED if it is broken, PASSED if all virtqueues work
 */
Verdict cf_survives(Conform *c);

#endif /* TESTS_QTEST_VQ_CONFORM_H */
