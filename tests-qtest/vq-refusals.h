/*
 * What is refused to a virtio-blk disk, and with which words
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VQ_REFUSALS_H
#define TESTS_QTEST_VQ_REFUSALS_H

#define VQ_MAPPING(items) ",\"iothread-vq-mapping\":[" items "]"

typedef struct VqRefusal {
    const char *name;
    const char *properties;     /* JSON, beginning with a comma */
    const char *message;
} VqRefusal;

/* On a disk with four virtqueues and two IOThreads */
static const VqRefusal vq_refusals[] = {
    { "unknown", VQ_MAPPING("{\"iothread\":\"nope\"}"),
      "IOThread \"nope\" object does not exist" },
    { "duplicate",
      VQ_MAPPING("{\"iothread\":\"iothread0\"},{\"iothread\":\"iothread0\"}"),
      "duplicate IOThread name \"iothread0\" in iothread-vq-mapping" },
    { "two-names",
      VQ_MAPPING("{\"iothread\":\"iothread0\"},"
                 "{\"iothread\":\"/objects/iothread0\"}"),
      "Parameter 'iothread-vq-mapping[1].iothread' expects an IOThread that "
      "is not in the list yet, but \"/objects/iothread0\" is \"iothread0\"" },
    { "mixed",
      VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[0,1,2,3]},"
                 "{\"iothread\":\"iothread1\"}"),
      "either all items in iothread-vq-mapping must have vqs or none of them "
      "must have it" },
    { "out-of-range",
      VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[0,1,2,4]}"),
      "vq index 4 for IOThread \"iothread0\" must be less than num_queues 4 "
      "in iothread-vq-mapping" },
    { "assigned-twice",
      VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[0,1,2]},"
                 "{\"iothread\":\"iothread1\",\"vqs\":[2,3]}"),
      "cannot assign vq 2 to IOThread \"iothread1\" because it is already "
      "assigned" },
    { "missing", VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[0,1,3]}"),
      "missing vq 2 IOThread assignment in iothread-vq-mapping" },
    { "both",
      ",\"iothread\":\"iothread0\"" VQ_MAPPING("{\"iothread\":\"iothread0\"}"),
      "iothread and iothread-vq-mapping properties cannot be set at the same "
      "time" },
    { "no-ioeventfd",
      ",\"ioeventfd\":false" VQ_MAPPING("{\"iothread\":\"iothread0\"}"),
      "ioeventfd is required for iothread" },
    { "no-ioeventfd-iothread",
      ",\"ioeventfd\":false,\"iothread\":\"iothread0\"",
      "ioeventfd is required for iothread" },
    { "empty-list", VQ_MAPPING(""),
      "Parameter 'iothread-vq-mapping' expects at least one IOThread, not []" },
    { "empty-vqs",
      VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[0,1,2,3]},"
                 "{\"iothread\":\"iothread1\",\"vqs\":[]}"),
      "Parameter 'iothread-vq-mapping[1].vqs' expects at least one virtqueue "
      "index, not []" },
    { "index-65536",
      VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[0]},"
                 "{\"iothread\":\"iothread1\",\"vqs\":[1,65536]}"),
      "Parameter 'iothread-vq-mapping[1].vqs[1]' expects uint16_t, "
      "not 65536" },
    { "index-negative",
      VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[-1]}"),
      "Parameter 'iothread-vq-mapping[0].vqs[0]' expects uint16_t, not -1" },
    { "index-huge",
      VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[0,1e30]}"),
      "Parameter 'iothread-vq-mapping[0].vqs[1]' expects uint64" },
    { "index-string",
      VQ_MAPPING("{\"iothread\":\"iothread0\",\"vqs\":[\"0\"]}"),
      "Parameter 'iothread-vq-mapping[0].vqs[0]' expects uint64" },
    { "no-iothread", VQ_MAPPING("{\"vqs\":[0,1,2,3]}"),
      "Parameter 'iothread-vq-mapping[0].iothread' is missing" },
    { "unknown-member",
      VQ_MAPPING("{\"iothread\":\"iothread0\",\"queues\":[0]}"),
      "Parameter 'iothread-vq-mapping[0].queues' is unexpected" },
    { "not-a-list", ",\"iothread-vq-mapping\":{}",
      "Invalid parameter type for 'iothread-vq-mapping', expected: array" },
};

#endif /* TESTS_QTEST_VQ_REFUSALS_H */
