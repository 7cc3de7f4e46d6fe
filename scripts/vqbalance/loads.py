# SPDX-License-Identifier: GPL-2.0-or-later
"""From what vq-top knows of an interval to what the policy wants."""

from vqtop.model import disk_name

from .policy import Queue, Thread

# A request costs something, and its data too: as much as another request each
BYTES = 65536


def make(block, names=None, paths=None):
    """
    (queues, threads) of @block. @names: the IOThreads that matter, None for
    all that QEMU has. @paths: the disks whose virtqueues may be moved,
    likewise.
    """
    threads = [Thread(item['id'], item.get('cpu-percent'))
               for item in block['threads']
               if 'id' in item and (names is None or item['id'] in names)]
    queues = []
    for disk in block['disks']:
        if disk['main-loop-serves']:
            continue
        movable = is_movable(disk) and (paths is None or disk['path'] in paths)
        queues += [Queue(disk['path'], disk_name(disk), row['index'],
                         row.get('iothread'), _load(row), movable)
                   for row in disk['queues']]
    return queues, threads


def is_movable(disk):
    """
    A mapping has no word for the main loop beside IOThreads, and would replace
    a remap that is under way.
    """
    return not disk.get('remapping') and has_mapping(disk)


def has_mapping(disk):
    """Are there IOThreads for all virtqueues?"""
    return all('iothread' in row for row in disk['queues'])


def _load(row):
    return row.get('iops', 0) + row.get('bytes-per-second', 0) / BYTES


def mapping(disk, index, target):
    """The mapping that @disk has, but for virtqueue @index."""
    owners = {}
    for queue in disk['queues']:
        owner = target if queue['index'] == index else queue['iothread']
        owners.setdefault(owner, []).append(queue['index'])
    return [{'iothread': name, 'vqs': vqs} for name, vqs in owners.items()]
