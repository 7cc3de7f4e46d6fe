# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk whose virtqueues go from thread to thread."""

from vqdemo import DemoError

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
        self.away_ns = []

    def give(self, owners):
        """Give its virtqueues to @owners, and see that it is so."""
        arguments = {'device': self.name}
        if None not in owners:
            arguments['iothread-vq-mapping'] = mapping(owners)
        answer = self._vm.qmp(MOVE, **arguments)
        moved = [(move['index'], move.get('from'), move.get('to'))
                 for move in answer['moved']]
        wanted = [(i, old, new) for i, (old, new)
                  in enumerate(zip(self.owners, owners)) if old != new]
        if moved != wanted:
            raise DemoError(f'{self.name}: moved {moved}, not {wanted}')
        if 'node-stays' in answer:
            raise DemoError(f'{self.name}: the node stays where it is: '
                            f'{answer["node-stays"]}')
        self.owners = owners
        self.moves += len(moved)
        self.away_ns += [move['away-ns'] for move in answer['moved']]
        self.check()

    def queues(self):
        """What QEMU says of its virtqueues."""
        return self._vm.qmp('query-virtio-blk-queues',
                            device=self.name)[0]['queues']

    def check(self):
        """Is everything as it was asked for, and well?"""
        for queue, owner in zip(self.queues(), self.owners):
            if queue.get('iothread') != owner:
                raise DemoError(f'{self.name}: virtqueue {queue["index"]} is '
                                f'with {queue.get("iothread")}, not {owner}')
            if queue['failed']:
                raise DemoError(f'{self.name}: {queue["failed"]} requests of '
                                f'virtqueue {queue["index"]} have failed')
