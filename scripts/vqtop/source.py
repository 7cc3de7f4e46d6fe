# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples: what QEMU and the host say at one time."""

import dataclasses
import time

from . import TopError, host
from .monitor import CommandMissing

NO_QUEUES = ('this QEMU has no query-virtio-blk-queues: no figures per '
             'virtqueue')
NO_THREADS = ('QEMU\'s threads are not among those of this host (another PID '
              'namespace, or another machine?): no figures of threads')


@dataclasses.dataclass
class Sample:
    """Answers of QEMU, as they are, and the threads of its process."""
    time: float
    clock: float
    iothreads: list
    # Of query-virtio-blk-queues, or None if QEMU does not have it
    disks: list = None
    # Of query-blockstats, if not
    stats: list = None
    threads: dict = dataclasses.field(default_factory=dict)
    pid: int = None
    unplugged: list = dataclasses.field(default_factory=list)


def has_name(stats, name):
    """Does an item of query-blockstats belong to the device or node @name?"""
    path = stats.get('qdev', '')
    return name in (path, stats.get('device'), stats.get('node-name')) or (
        path.startswith(f'/machine/peripheral/{name}/'))


class Source:
    """Takes samples of the disks @wanted, or of all if it is empty."""

    def __init__(self, monitor, wanted):
        self._monitor = monitor
        self._wanted = wanted
        self._paths = set()
        self._pid = None
        self._stock = False
        self.about = {}
        self.missing = []

    async def start(self):
        """Find out what there is."""
        query = self._monitor.query
        self.about['version'] = self._monitor.version
        name = (await query('query-name')).get('name')
        if name:
            self.about['name'] = name
        try:
            for wanted in self._wanted:
                self._paths |= {disk['path'] for disk in await query(
                    'query-virtio-blk-queues', id=wanted)}
            sample = await self._ask()
        except CommandMissing:
            self._stock = True
            self.missing.append(NO_QUEUES)
            sample = await self._ask()
        for wanted in self._wanted if self._stock else ():
            if not any(has_name(stats, wanted) for stats in sample.stats):
                raise TopError(f'QEMU has no disk "{wanted}"')
        tids = {cpu['thread-id'] for cpu in await query('query-cpus-fast')}
        self._pid = host.find_qemu(tids | _thread_ids(sample),
                                   self._monitor.peer)
        if self._pid:
            self.about['pid'] = self._pid
        else:
            self.missing.append(NO_THREADS)

    async def _ask(self):
        query = self._monitor.query
        iothreads = await query('query-iothreads')
        start = time.monotonic()
        disks = stats = None
        if self._stock:
            stats = await query('query-blockstats')
        else:
            disks = await query('query-virtio-blk-queues')
        sample = Sample((start + time.monotonic()) / 2, time.time(),
                        iothreads)
        if disks is not None:
            sample.disks = [disk for disk in disks if not self._wanted or
                            disk['path'] in self._paths]
        if stats is not None:
            sample.stats = [item for item in stats if item.get('qdev') and (
                not self._wanted or
                any(has_name(item, name) for name in self._wanted))]
        return sample

    async def sample(self):
        """What there is to know now."""
        sample = await self._ask()
        sample.unplugged = self._monitor.unplugged()
        if self._pid:
            sample.pid = self._pid
            sample.threads = host.figures(
                self._pid, _thread_ids(sample) | {self._pid})
        return sample


def _thread_ids(sample):
    return ({item['thread-id'] for item in sample.iothreads} |
            {queue['thread-id'] for disk in sample.disks or ()
             for queue in disk['queues']})
