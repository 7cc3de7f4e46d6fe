# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples, verdicts and moves, until a count or a signal ends it."""

import asyncio

from vqtop import TopError, model, watch
from vqtop.monitor import CommandMissing, Monitor, Refused
from vqtop.source import Source

from . import loads, policy
from .memory import Memory
from .report import Log

QUERY = 'query-virtio-blk-queues'
MOVE = 'virtio-blk-set-iothread-vq-mapping'

# A slow or throttled disk lets a virtqueue wait for its own requests
MOVE_SECONDS = 120


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
                           for disk in await query(QUERY, device=name)}
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

    async def _step(self, block):
        """Returns whether a virtqueue was moved."""
        queues, threads = loads.make(block, self._options.iothreads,
                                     self._paths)
        verdict = self._memory.decide(queues, threads)
        done = None
        if verdict.move and not self._options.dry_run:
            done = await self._move(verdict.move)
            self._memory.hold(verdict.move.queue)
        self._log.show(block, queues, threads, verdict, done)
        return bool(done and 'away-ns' in done)

    async def _move(self, move):
        """What came of it: "away-ns" and perhaps "node-stays", or "error"."""
        queue = move.queue
        try:
            disks = await self._monitor.query(QUERY, device=queue.path)
            # Someone else may have mapped it since it was counted
            if (not loads.is_movable(disks[0]) or
                    disks[0]['queues'][queue.index]['iothread'] !=
                    queue.owner):
                return {'error': 'it was mapped anew meanwhile'}
            answer = await self._monitor.execute(MOVE, {
                'device': queue.path, 'iothread-vq-mapping': loads.mapping(
                    disks[0], queue.index, move.target)}, MOVE_SECONDS)
        except CommandMissing as err:
            raise TopError(f'this QEMU has no {err}') from err
        except Refused as err:
            # The disk or the IOThread may be gone
            return {'error': str(err)}
        away = [item['away-ns'] for item in answer['moved']
                if item['index'] == queue.index]
        return {'away-ns': max(away, default=0),
                **{key: answer[key] for key in ('node-stays',)
                   if key in answer}}
