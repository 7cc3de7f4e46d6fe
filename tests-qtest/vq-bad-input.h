/*
 * What is refused to a virtio-blk disk with four virtqueues and three
 * IOThreads, beside vq-refusals.h, and with which words
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_BAD_INPUT_H
#define TESTS_QTEST_VQ_BAD_INPUT_H

#define MOVE "virtio-blk-set-iothread-vq-mapping"
#define QUERY "query-virtio-blk-queues"
#define ID "\"id\":\"disk0\""
#define MAPPING "\"iothread-vq-mapping\":"
#define T(i) "{\"iothread\":\"iothread" #i "\"}"
#define TV(i, vqs) "{\"iothread\":\"iothread" #i "\",\"vqs\":[" vqs "]}"
#define OWNERS "[" TV(0, "0,1") "," TV(1, "2,3") "]"

typedef struct VqBadInput {
    const char *what;       /* command, line, property or arguments */
    const char *more;       /* arguments, or a value */
    const char *message;    /* of the error */
} VqBadInput;

static const VqBadInput vq_bad_commands[] = {
    { MOVE, "", "Parameter 'id' is missing" },
    { MOVE, MAPPING OWNERS, "Parameter 'id' is missing" },
    { MOVE, "\"id\":7," MAPPING OWNERS,
      "Invalid parameter type for 'id', expected: string" },
    { MOVE, "\"id\":null," MAPPING OWNERS,
      "Invalid parameter type for 'id', expected: string" },
    { MOVE, "\"id\":[\"disk0\"]," MAPPING OWNERS,
      "Invalid parameter type for 'id', expected: string" },
    { MOVE, "\"id\":\"nope\"," MAPPING OWNERS, "Device 'nope' not found" },
    { MOVE, "\"id\":\"\"," MAPPING OWNERS, "Device '' not found" },
    { MOVE, "\"id\":\"iothread0\"," MAPPING OWNERS,
      "Device 'iothread0' not found" },
    { MOVE, "\"id\":\"/machine\"," MAPPING OWNERS,
      "Device '/machine' not found" },
    { MOVE, "\"id\":\"other\"," MAPPING OWNERS,
      "Device 'other' is not a virtio-blk disk" },
    { MOVE, "\"device\":\"disk0\"," MAPPING OWNERS,
      "Parameter 'id' is missing" },
    { MOVE, ID ",\"device\":\"disk0\"," MAPPING OWNERS,
      "Parameter 'device' is unexpected" },
    { MOVE, ID,
      "Exactly one of 'iothread-vq-mapping' and 'main-loop': true must be "
      "given" },
    { MOVE, ID ",\"main-loop\":false",
      "Exactly one of 'iothread-vq-mapping' and 'main-loop': true must be "
      "given" },
    { MOVE, ID ",\"main-loop\":true," MAPPING OWNERS,
      "Exactly one of 'iothread-vq-mapping' and 'main-loop': true must be "
      "given" },
    { MOVE, ID ",\"main-loop\":\"on\"",
      "Invalid parameter type for 'main-loop', expected: boolean" },
    { MOVE, ID ",\"main-loop\":1",
      "Invalid parameter type for 'main-loop', expected: boolean" },
    { MOVE, ID ",\"main-loop\":null",
      "Invalid parameter type for 'main-loop', expected: boolean" },
    { MOVE, ID "," MAPPING "null",
      "Invalid parameter type for 'iothread-vq-mapping', expected: array" },
    { MOVE, ID "," MAPPING "\"iothread0\"",
      "Invalid parameter type for 'iothread-vq-mapping', expected: array" },
    { MOVE, ID "," MAPPING "[\"iothread0\"]",
      "Invalid parameter type for 'iothread-vq-mapping[0]', expected: "
      "object" },
    { MOVE, ID "," MAPPING "[{\"iothread\":0}]",
      "Invalid parameter type for 'iothread-vq-mapping[0].iothread', "
      "expected: string" },
    { MOVE, ID "," MAPPING "[{\"iothread\":\"\"}]",
      "IOThread \"\" object does not exist" },
    { MOVE, ID "," MAPPING "[" TV(0, "0,1,2,65535") "]",
      "vq index 65535 for IOThread \"iothread0\" must be less than "
      "num_queues 4 in iothread-vq-mapping" },
    { MOVE, ID "," MAPPING "[" TV(0, "0,0,1,2,3") "]",
      "cannot assign vq 0 to IOThread \"iothread0\" because it is already "
      "assigned" },
    { MOVE, ID "," ID "," MAPPING OWNERS,
      "JSON parse error, duplicate key" },
    { MOVE, ID "," MAPPING OWNERS "," MAPPING OWNERS,
      "JSON parse error, duplicate key" },
    { QUERY, "\"id\":0", "Invalid parameter type for 'id', expected: string" },
    { QUERY, "\"id\":\"nope\"", "Device 'nope' not found" },
    { QUERY, "\"id\":\"other\"", "Device 'other' is not a virtio-blk disk" },
    { QUERY, "\"device\":\"disk0\"", "Parameter 'device' is unexpected" },
    { QUERY, ID "," ID, "JSON parse error, duplicate key" },
};

static const VqBadInput vq_bad_lines[] = {
    { "virtio_blk_remap", NULL, "virtio_blk_remap: string expected" },
    { "virtio_blk_remap disk0", NULL, "virtio_blk_remap: string expected" },
    { "virtio_blk_remap disk0 iothread1 again", NULL,
      "virtio_blk_remap: extraneous characters at the end of line" },
    { "virtio_blk_remap nope iothread1", NULL,
      "Error: Device 'nope' not found" },
    { "virtio_blk_remap other iothread1", NULL,
      "Error: Device 'other' is not a virtio-blk disk" },
    { "virtio_blk_remap disk0 main-loops", NULL,
      "Error: IOThread \"main-loops\" object does not exist" },
    { "virtio_blk_remap disk0 main-loop,iothread0", NULL,
      "Error: IOThread \"main-loop\" object does not exist" },
    { "virtio_blk_remap disk0 iothread0:0-3,iothread1:4", NULL,
      "Error: vq index 4 for IOThread \"iothread1\" must be less than "
      "num_queues 4 in iothread-vq-mapping" },
    { "virtio_blk_remap disk0 iothread0:0-2", NULL,
      "Error: missing vq 3 IOThread assignment in iothread-vq-mapping" },
    { "virtio_blk_remap disk0 iothread0:0-3,iothread0", NULL,
      "Error: duplicate IOThread name \"iothread0\" in iothread-vq-mapping" },
    { "info virtio-blk-queues nope", NULL, "Error: Device 'nope' not found" },
    { "info virtio-blk-queues other", NULL,
      "Error: Device 'other' is not a virtio-blk disk" },
    { "info virtio-blk-queues disk0 disk0", NULL,
      "virtio-blk-queues: extraneous characters at the end of line" },
};

/* A mapping as text; each is refused with words that name what is wrong */
static const char *const vq_bad_texts[] = {
    "\"\"", ",", ":", "iothread0:", "iothread0:,", "iothread0,", ",iothread0",
    "iothread0:x", "iothread0:0-", "iothread0:-3", "iothread0:3-0",
    "iothread0:0--3", "iothread0:0-3-", "iothread0:0-65536",
    "iothread0:65536", "iothread0:99999999999999999999",
    "iothread0:18446744073709551616", "iothread0:+0", "iothread0:0x0",
    "iothread0:0-3:1", "0", "0-3",
};

/* A realized disk's, whatever the value is */
static const VqBadInput vq_bad_properties[] = {
    { "iothread-vq-mapping", "[" T(0) "]" },
    { "iothread-vq-mapping", "[]" },
    { "iothread-vq-mapping", "7" },
    { "x-iothreads", "1" },
    { "x-iothreads", "-1" },
    { "x-iothreads", "{}" },
    { "x-iothread-cpus", "[\"0\"]" },
    { "x-iothread-cpus", "7" },
    { "x-fast-path", "false" },
    { "x-fast-path", "\"maybe\"" },
    { "x-data-plane", "true" },
    { "x-data-plane", "[]" },
    { "x-iothread-vq-mapping-resolved", "[" T(0) "]" },
};

#define DISK1 "\"driver\":\"virtio-blk-pci\",\"id\":\"disk1\"," \
    "\"drive\":\"node1\",\"addr\":\"05.0\",\"num-queues\":4"

/* In QEMU's own words: 9.0's device_add makes text of what is a number */
#if QEMU_VERSION_MAJOR >= 10
#define NO_BOOL(name) "Invalid parameter type for '" name "', expected: boolean"
#else
#define NO_BOOL(name) "Parameter '" name "' expects 'on' or 'off'"
#endif
#define NO_NUM(what) \
    "Parameter 'x-iothreads' expects 'auto' or a number of IOThreads, not " what

/* Of a disk that is plugged while the other one is in that state */
static const VqBadInput vq_bad_plugs[] = {
    { ",\"x-iothreads\":5", NULL,
      "Parameter 'x-iothreads' expects 'auto' or at most one IOThread for "
      "each of 4 virtqueues, not 5" },
    { ",\"x-iothreads\":-1", NULL, NO_NUM("-1") },
    { ",\"x-iothreads\":2147483648", NULL, NO_NUM("2147483648") },
    { ",\"x-iothreads\":9223372036854775807", NULL,
      NO_NUM("9223372036854775807") },
    { ",\"x-iothreads\":2147483647", NULL,
      "Parameter 'x-iothreads' expects 'auto' or at most one IOThread for "
      "each of 4 virtqueues, not 2147483647" },
    { ",\"x-iothreads\":\"auto \"", NULL, NO_NUM("'auto '") },
    { ",\"x-iothreads\":[]", NULL,
      "Invalid parameter type for 'x-iothreads', expected: 'auto' or a "
      "number" },
    { ",\"x-iothreads\":null", NULL,
      "Invalid parameter type for 'x-iothreads', expected: 'auto' or a "
      "number" },
    { ",\"x-iothreads\":2,\"x-iothreads\":2", NULL,
      "JSON parse error, duplicate key" },
    { ",\"x-iothreads\":1,\"x-iothread-cpus\":{}", NULL,
      "Invalid parameter type for 'x-iothread-cpus', expected: array or "
      "string" },
    { ",\"x-iothreads\":1,\"x-iothread-cpus\":[\"0\",\"0\"]", NULL,
      "Parameter 'x-iothread-cpus' expects one set of host CPUs, or one for "
      "each of 1 IOThread, not 2 sets" },
    { ",\"x-iothreads\":1,\"x-iothread-cpus\":[\"4294967296\"]", NULL,
      "Parameter 'x-iothread-cpus[0]' expects host CPUs like '0-3,8', not "
      "'4294967296'" },
    { ",\"x-fast-path\":\"maybe\"", NULL, NO_BOOL("x-fast-path") },
    { ",\"x-fast-path\":2", NULL, NO_BOOL("x-fast-path") },
    { ",\"x-fast-path\":null", NULL,
      "Invalid parameter type for 'x-fast-path', expected: boolean" },
    { ",\"x-data-plane\":3", NULL, NO_BOOL("x-data-plane") },
    { ",\"x-data-plane\":true,\"x-iothreads\":1", NULL,
      "x-iothreads and x-data-plane properties cannot be set at the same "
      "time" },
    { ",\"x-iothread-vq-mapping-resolved\":[]", NULL,
      "Property 'virtio-blk-device.x-iothread-vq-mapping-resolved' is not "
      "writable" },
    { ",\"iothreads\":1", NULL,
      "Property 'virtio-blk-pci.iothreads' not found" },
    { ",\"fast-path\":false", NULL,
      "Property 'virtio-blk-pci.fast-path' not found" },
};

#endif /* TESTS_QTEST_VQ_BAD_INPUT_H */
