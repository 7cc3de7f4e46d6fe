# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples, verdicts and moves, until a count or a signal ends it."""

import asyncio
import time

from vqtop import TopError, model, table, watch
from vqtop.monitor import REMAPPED, CommandMissing, Monitor, Refused
from vqtop.source import Source

from . import loads, policy
from .memory import Memory
from .report import Log

QUERY = 'query-virtio-blk-queues'
MOVE = 'virtio-blk-set-iothread-vq-mapping'

# What the tools for others may not know of this QEMU
TOO_OLD = (f'this QEMU has no event {REMAPPED}; it is of a former version of '
           'the series')


async def run(options, library):
    """Returns the exit status."""
    task = asyncio.current_task()
    status = 0

    def stop(its_status):
        nonlocal status
        status = its_status
        task.cancel()

    watch.catch_signals(stop)
    try:
        async with Monitor(options.socket, library) as monitor:
            balancer = Balancer(monitor, options)
            await balancer.start()
            await balancer.balance()
    except asyncio.CancelledError:
        pass
    return status


class Balancer:
    """Moves virtqueues of the QEMU that @monitor is connected to."""

    def __init__(self, monitor, options):
        self._monitor = monitor
        self._options = options
        # Disks that are not to be touched count all the same
        self._source = Source(monitor, [])
        self._paths = None
        # Disks whose remap has not ended in time, to the virtqueue's index
        self._late = {}
        self._log = Log(options.json)
        self._memory = Memory(
            policy.Rules(options.threshold, options.min_gain,
                         options.min_load, options.min_cpu),
            options.patience, options.rest)

    async def start(self):
        """Find out whether this QEMU can be balanced."""
        options, query = self._options, self._monitor.query
        names = {item['name'] for item in await query('query-commands')}
        for command in (QUERY, MOVE):
            if command not in names:
                raise TopError(f'this QEMU has no {command}')
        if options.device:
            self._paths = {disk['path'] for name in options.device
                           for disk in await self._query(name)}
        if any('remapping' not in disk for disk in await query(QUERY)):
            raise TopError(TOO_OLD)
        known = {item['id'] for item in await query('query-iothreads')}
        for name in options.iothreads or ():
            if name not in known:
                raise TopError(f'QEMU has no IOThread "{name}"')
        await self._source.start()

    async def balance(self):
        """Until --count or --max-moves."""
        options = self._options
        moves = done = 0
        before = await self._source.sample()
        while True:
            await self._monitor.idle(options.interval)
            after = await self._source.sample()
            moved = await self._step(model.make_block(before, after))
            moves += moved
            done += 1
            if done == options.count or moves == options.max_moves:
                return
            # The time that the move took belongs to no interval
            before = await self._source.sample() if moved else after

    async def _query(self, name):
        """The disk @name in a list, or TopError of the reason."""
        try:
            return await self._monitor.query(QUERY, id=name)
        except Refused as err:
            # So it was called once
            if "'id' is unexpected" in str(err):
                raise TopError(TOO_OLD) from err
            raise

    def _arrivals(self, block):
        """What has ended since, of the moves that took too long."""
        found = []
        there = {disk['path'] for disk in block['disks']}
        self._late = {path: index for path, index in self._late.items()
                      if path in there}
        for path in list(self._late):
            data = self._monitor.remapped(path)
            if data:
                found.append({**self._end(data, self._late.pop(path)),
                              'disk': model.disk_name(data)})
        return found

    async def _step(self, block):
        """Returns whether a virtqueue was moved."""
        for item in self._arrivals(block):
            self._log.show_arrival(block, item)
        queues, threads = loads.make(block, self._options.iothreads,
                                     self._paths)
        verdict = self._memory.decide(queues, threads)
        done = None
        if verdict.move and not self._options.dry_run:
            done = await self._move(verdict.move)
            self._memory.hold(verdict.move.queue)
        self._log.show(block, queues, threads, verdict, done)
        return bool(done and ('unserved-ns' in done or 'leaving' in done))

    async def _move(self, move):
        """
        What came of it: "unserved-ns" and "node", "leaving" if it has not
        ended in time, or "error".
        """
        queue = move.queue
        try:
            disk, = await self._query(queue.path)
            if disk['remapping']:
                return {'error': 'somebody else remaps the disk'}
            # Someone else may have mapped it since it was counted
            if (not loads.has_mapping(disk) or
                    disk['queues'][queue.index]['iothread'] != queue.owner):
                return {'error': 'it was remapped meanwhile'}
            # Of remaps before this one
            self._monitor.remapped(queue.path)
            await self._monitor.execute(MOVE, {
                'id': queue.path, 'iothread-vq-mapping': loads.mapping(
                    disk, queue.index, move.target)})
            return await self._wait(move)
        except CommandMissing as err:
            raise TopError(f'this QEMU has no {err}') from err
        except Refused as err:
            # The disk or the IOThread may be gone
            return {'error': str(err)}

    async def _wait(self, move):
        """For the end of a remap."""
        path, index = move.queue.path, move.queue.index
        end = time.monotonic() + self._options.wait
        while True:
            data = await self._monitor.wait_remapped(
                path, end - time.monotonic())
            disk, = await self._query(path)
            if not disk['remapping']:
                break
            # An event that was on its way when the remap began is no end
            if not data:
                self._late[path] = index
                return {'leaving': [text for text in map(
                    table.leaving, disk['queues']) if text]}
        data = self._monitor.remapped(path) or data
        if disk['queues'][index].get('iothread') != move.target:
            return {'error': 'somebody else has remapped it meanwhile'}
        if not data:
            return {'error': f'QEMU has sent no {REMAPPED}'}
        return self._end(data, index)

    @staticmethod
    def _end(data, index):
        """What the event @data says of virtqueue @index."""
        times = [item['unserved-ns'] for item in data['queues']
                 if item['index'] == index]
        return {'index': index, 'unserved-ns': max(times, default=0),
                'node': data['node']}
