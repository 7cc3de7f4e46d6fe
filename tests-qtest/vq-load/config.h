/*
 * What a load of a virtio-blk disk is made of
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_LOAD_CONFIG_H
#define TESTS_QTEST_VQ_LOAD_CONFIG_H

typedef enum VqLoadOp {
    VQ_LOAD_READ,
    VQ_LOAD_WRITE,
    VQ_LOAD_FLUSH,
    VQ_LOAD_DISCARD,
    VQ_LOAD_WRITE_ZEROES,
    VQ_LOAD_OPS
} VqLoadOp;

extern const char *const vq_load_op_names[VQ_LOAD_OPS];

#define VQ_LOAD_MAX_QUEUES 256

/* A list of host CPUs, used in turn; none: no pinning */
typedef struct VqLoadCpus {
    unsigned num;
    unsigned cpus[1024];
} VqLoadCpus;

typedef struct VqLoadConfig {
    /* The disk */
    const char *qemu;       /* NULL: no QEMU, the consumer thread instead */
    const char *backend;    /* "null-co", "raw" or "qcow2" */
    const char *aio;        /* "threads", "native" or "io_uring" */
    const char *dir;        /* where its file goes */
    bool buffered;          /* else O_DIRECT, if the file system has it */
    uint64_t disk_size;     /* bytes */
    uint64_t latency_ns;    /* of null-co */
    const char *machine;    /* "pc" or "q35" */
    unsigned queues;
    unsigned iothreads;     /* 0: the main loop serves the virtqueues */
    int64_t poll_max_ns;    /* of the IOThreads */
    bool merge;             /* request-merging=on */
    const char *more_args;  /* for QEMU's command line */

    /* The driver */
    bool legacy;            /* virtio 0.9 through PCI; else 1.0 */
    bool packed;
    bool indirect;
    bool event_idx;
    bool msix;              /* interrupts; else completions are polled for */
    bool qtest_kicks;       /* not through the virtqueues' own eventfds */

    /* The requests */
    unsigned depth;         /* outstanding requests of a virtqueue */
    bool cold[VQ_LOAD_MAX_QUEUES]; /* a request at a time, now and then */
    uint64_t cold_ns;       /* from one of those to the next, at least */
    uint32_t block_size;    /* bytes */
    unsigned segments;      /* descriptors for the data of a request */
    unsigned mix[VQ_LOAD_OPS]; /* weights, not all 0 */
    bool sequential;
    bool verify;
    bool wave;              /* wait for all before submitting again */
    uint64_t seed;

    /* How it is run */
    unsigned threads;       /* generators; virtqueue n belongs to n % threads */
    VqLoadCpus cpus;        /* of the generators */
    VqLoadCpus iothread_cpus;
    double warmup;          /* seconds */
    double seconds;
    uint64_t requests;      /* if not 0: a virtqueue, instead of seconds */
    double stall;           /* seconds without a completion: an error */
    const char *during;     /* if not NULL: a command, instead of seconds */
    const char *json;       /* file, or "-", or NULL */
    bool repeat;            /* again for each line on stdin */
} VqLoadConfig;

/* What users get who say nothing; nothing in it is to be freed */
VqLoadConfig vq_load_config_default(void);

/*
 * Returns: NULL if such a load can be run, else what is wrong, in one line,
 * which the caller frees
 */
char *vq_load_config_check(const VqLoadConfig *config);

/* Parse the command line; exits with status 2 if it makes no sense */
VqLoadConfig vq_load_config_parse(int argc, char **argv);

/* The same for options in one @line, in shell syntax */
VqLoadConfig vq_load_config_parse_line(const char *line);

#endif /* TESTS_QTEST_VQ_LOAD_CONFIG_H */
