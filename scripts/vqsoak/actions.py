# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to the VM while its guest uses the disk."""

import json
import os
import time

from vqdemo import DemoError

from .disk import Disk, mapping

IOTHREADS = ('iothread0', 'iothread1', 'iothread2')
EXTRA = ('extra0', 'extra1')

SECOND_SIZE = 4 << 20

# How long the guest may take to see a disk come or go, and a job to end
PATIENCE_SECONDS = 120


def first_owners(queues):
    """Who serves the disk at the beginning."""
    return [IOTHREADS[i % len(IOTHREADS)] for i in range(queues)]


def options(queues, image):
    """QEMU's, for the disk under test."""
    words = [word for name in IOTHREADS
             for word in ('-object', f'iothread,id={name}')]
    node = {'driver': 'raw', 'node-name': 'drive0',
            'file': {'driver': 'file', 'filename': image}}
    device = {'driver': 'virtio-blk-pci', 'id': 'disk0', 'drive': 'drive0',
              'num-queues': queues,
              'iothread-vq-mapping': mapping(first_owners(queues))}
    return words + ['-blockdev', json.dumps(node),
                    '-device', json.dumps(device)]


class Actions:
    """They follow from @rand, and from what came before."""

    def __init__(self, vm, rand, queues, folder):
        self._vm = vm
        self._rand = rand
        self._queues = queues
        self._folder = folder
        self._extra = set()
        self._overlay = None
        self.disk = Disk(vm, 'disk0', first_owners(queues))
        self.second = None
        self._said = []     # by the guest
        self.counts = {}
        self.refused = 0    # deletions of IOThreads in use
        self.passes = 0
        self.ended = False

        path = os.path.join(folder, 'second.raw')
        with open(path, 'wb') as file:
            file.truncate(SECOND_SIZE)
        vm.qmp('blockdev-add', driver='raw', **{
            'node-name': 'drive1',
            'file': {'driver': 'file', 'filename': path}})

    def listen(self):
        """Take in what the guest says."""
        for line in self._vm.new_lines():
            if line.startswith('vq: pass '):
                self.passes = int(line.split()[2])
            elif line == 'vq: soak-end':
                self.ended = True
            else:
                self._said.append(line)

    def _wait(self, what, condition):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            self.listen()
            if time.monotonic() > deadline:
                raise DemoError(f'{what} within {PATIENCE_SECONDS} s')
            time.sleep(0.05)

    def _iothread(self):
        return self._rand.choice([*IOTHREADS, *sorted(self._extra)])

    def _new_owners(self, disk):
        kind = self._rand.randrange(10)
        if kind == 0:
            return [None] * len(disk.owners)
        if kind < 4 or None in disk.owners:
            return [self._iothread() for _ in disk.owners]
        owners = list(disk.owners)
        owners[self._rand.randrange(len(owners))] = self._iothread()
        return owners

    def move(self):
        """Virtqueues of the disk under test."""
        self.disk.give(self._new_owners(self.disk))

    def move_second(self):
        """Of the other disk, if there is one."""
        if self.second:
            self.second.give(self._new_owners(self.second))

    def stop_and_continue(self):
        """Sometimes with a move while the VM is stopped."""
        self._vm.qmp('stop')
        if self._rand.random() < 0.5:
            self.move()
        self._vm.qmp('cont')
        self.disk.check()

    def plug_or_unplug(self):
        """A second disk, which the guest reads whole."""
        if self.second:
            self._vm.qmp('device_del', id='disk1')
            self._wait('the guest does not give up the second disk',
                       lambda: 'vq: second gone' in self._said)
            self._wait('the second disk is not gone', lambda: 'disk1' not in [
                child['name'] for child in
                self._vm.qmp('qom-list', path='/machine/peripheral')])
            self.second = None
            return
        self._said.clear()
        owners = [self._iothread() for _ in range(self._queues)]
        self._vm.qmp('device_add', driver='virtio-blk-pci', id='disk1',
                     drive='drive1', **{
                         'num-queues': self._queues,
                         'iothread-vq-mapping': mapping(owners)})
        self.second = Disk(self._vm, 'disk1', owners)

        def move_until_read():
            self.move_second()
            return 'vq: second read' in self._said

        self._wait('the guest does not read the second disk', move_until_read)

    def add_or_delete(self):
        """An IOThread; one that serves a virtqueue cannot be deleted."""
        name = self._rand.choice(EXTRA)
        if name not in self._extra:
            self._vm.qmp('object-add', id=name, **{'qom-type': 'iothread'})
            self._extra.add(name)
            return
        used = name in self.disk.owners or (
            self.second is not None and name in self.second.owners)
        try:
            self._vm.qmp('object-del', id=name)
        except Exception as err:    # pylint: disable=broad-except
            # Its class is in the library of the QEMU that was chosen
            if not used or 'is in use' not in str(err):
                raise
            self.refused += 1
        else:
            self._extra.remove(name)
            if used:
                raise DemoError(f'{name} could be deleted while in use')

    def _job(self):
        jobs = {job['id']: job for job in self._vm.qmp('query-jobs')}
        return jobs['commit']

    def _move_until(self, status):
        self.move()
        return self._job()['status'] == status

    def snapshot_or_commit(self):
        """A snapshot, which later goes back into the image."""
        if not self._overlay:
            self._overlay = os.path.join(self._folder, 'overlay.qcow2')
            self._vm.qmp('blockdev-snapshot-sync', **{
                'node-name': 'drive0', 'snapshot-node-name': 'overlay',
                'format': 'qcow2', 'snapshot-file': self._overlay})
            return
        self._vm.qmp('block-commit', device='overlay', **{
            'job-id': 'commit', 'auto-dismiss': False})
        self._wait('the commit is not ready',
                   lambda: self._move_until('ready'))
        self._vm.qmp('job-complete', id='commit')
        self._wait('the commit is not complete',
                   lambda: self._move_until('concluded'))
        if 'error' in self._job():
            raise DemoError(f'the commit: {self._job()["error"]}')
        self._vm.qmp('job-dismiss', id='commit')
        os.unlink(self._overlay)
        self._overlay = None

    KINDS = ((80, move), (4, move_second), (4, stop_and_continue),
             (3, plug_or_unplug), (7, add_or_delete), (2, snapshot_or_commit))

    def act(self):
        """One more, by chance."""
        action, = self._rand.choices([kind for _, kind in self.KINDS],
                                     [weight for weight, _ in self.KINDS])
        action(self)
        name = action.__name__.replace('_', '-')
        self.counts[name] = self.counts.get(name, 0) + 1
        self.listen()

    def settle(self):
        """Nothing half-done is left."""
        if self.second:
            self.plug_or_unplug()
        if self._overlay:
            self.snapshot_or_commit()
        self.disk.check()
