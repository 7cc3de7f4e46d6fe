# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk whose virtqueues go from thread to thread."""

import asyncio
import time

from vqdemo import DemoError

REMAPPED = 'VIRTIO_BLK_REMAPPED'

# How long a remap may take on a busy host
PATIENCE_SECONDS = 60

MOVE = 'virtio-blk-set-iothread-vq-mapping'


def mapping(owners):
    """A list for QMP that gives virtqueue i to the IOThread owners[i]."""
    return [{'iothread': name,
             'vqs': [i for i, owner in enumerate(owners) if owner == name]}
            for name in sorted(set(owners))]


class Disk:
    """One of the guest's; an owner is an IOThread's id, None the main loop."""

    def __init__(self, vm, name, owners):
        self._vm = vm
        self.name = name
        self.owners = owners
        self.moves = 0
        self.unserved_ns = []

    def give(self, owners):
        """Give its virtqueues to @owners, and see that it is so."""
        arguments = {'id': self.name}
        if None in owners:
            arguments['main-loop'] = True
        else:
            arguments['iothread-vq-mapping'] = mapping(owners)
        self._vm.qmp(MOVE, **arguments)
        answer = self._wait_remapped()
        moved = [(move['index'], move.get('from'), move.get('to'))
                 for move in answer['queues']]
        wanted = [(i, old, new) for i, (old, new)
                  in enumerate(zip(self.owners, owners)) if old != new]
        if moved != wanted:
            raise DemoError(f'{self.name}: moved {moved}, not {wanted}')
        if answer['node'] not in ('same', 'moved'):
            raise DemoError(f'{self.name}: the node stays where it is: '
                            f'{answer["node"]}')
        self.owners = owners
        self.moves += len(moved)
        self.unserved_ns += [move['unserved-ns'] for move in answer['queues']]
        self.check()

    def _wait_remapped(self):
        """The event that ends a remap; other disks' ends are waited for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._vm.event(left)
            except asyncio.TimeoutError:
                break
            if event['event'] == REMAPPED and \
                    event['data'].get('id') == self.name:
                return event['data']
        waits = [queue for queue in self.queues() if 'remap' in queue]
        raise DemoError(f'{self.name}: no {REMAPPED} within '
                        f'{PATIENCE_SECONDS} s; still leaving: {waits}')

    def queues(self):
        """What QEMU says of its virtqueues."""
        return self._vm.qmp('query-virtio-blk-queues',
                            id=self.name)[0]['queues']

    def check(self):
        """Is everything as it was asked for, and well?"""
        for queue, owner in zip(self.queues(), self.owners):
            if queue.get('iothread') != owner:
                raise DemoError(f'{self.name}: virtqueue {queue["index"]} is '
                                f'with {queue.get("iothread")}, not {owner}')
            if queue['failed']:
                raise DemoError(f'{self.name}: {queue["failed"]} requests of '
                                f'virtqueue {queue["index"]} have failed')
