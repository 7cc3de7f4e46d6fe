# SPDX-License-Identifier: GPL-2.0-or-later
"""One start of the guest in one mode: a look without and one with the load."""

import json
import time
from dataclasses import dataclass
from typing import Optional

from vqdemo import guest

from . import ContentionError, chain
from .load import RAMP_SECONDS, Load
from .modes import DISK
from .observe import Observer
from .placement import Placement, pin

# After the guest has begun to read: as many reads as its fio has under way
SETTLE_SECONDS = 1
SETTLE_READS = 64

GUEST, NATIVE = 'guest', 'native'


@dataclass(frozen=True)
class Setup:
    """What all starts have in common."""
    qmp: type
    vcpus: int
    reader: int
    loops: int
    seconds: float
    boot_seconds: int
    backend: dict
    placement: Optional[Placement]
    loads: list
    want_trace: bool


def disk_on(path):
    """-blockdev of the image @path, or of none at all."""
    if path is None:
        return {'driver': 'null-co', 'node-name': 'drive0', 'size': 1 << 30,
                'read-zeroes': True}
    return {'driver': 'raw', 'node-name': 'drive0', 'file': {
        'driver': 'file', 'filename': path, 'aio': 'native',
        'cache': {'direct': True}}}


def _reads(vm):
    """Of the disk by the guest, so far."""
    stats = next(s for s in vm.qmp('query-blockstats')
                 if DISK in s.get('qdev', ''))
    return stats['stats']['rd_operations']


def _wait_for_reads(vm, seconds):
    """Until the guest's fio is at work, which may take its time under TCG."""
    deadline = time.monotonic() + seconds
    before = _reads(vm)
    while _reads(vm) < before + SETTLE_READS:
        if time.monotonic() > deadline:
            raise ContentionError('the guest does not read its disk within '
                                  f'{seconds} s')
        time.sleep(0.2)
    time.sleep(SETTLE_SECONDS)


class _Work:
    """How far the guest is: reads of the disk and turns of its programs."""

    def __init__(self, vm):
        self._vm = vm
        self._last = None
        self._before = self._now()

    def _now(self):
        for line in self._vm.new_lines():
            if line.startswith('vq: work '):
                self._last = [int(word) for word in line.split()[2:]]
        return time.monotonic(), _reads(self._vm), self._last

    def rates(self):
        """Per second since it began."""
        (t0, reads0, turns0), (t1, reads1, turns1) = self._before, self._now()
        rates = {'reads-per-second': (reads1 - reads0) / (t1 - t0)}
        if turns0 and turns1[0] > turns0[0]:
            # By the guest's clock, which stands in the line, in ms
            rates['turns-per-second'] = [
                (b - a) * 1000 / (turns1[0] - turns0[0])
                for a, b in zip(turns0[1:], turns1[1:])]
        return rates


def _look(vm, observer, setup):
    work = _Work(vm)
    look = observer.look(setup.seconds)
    look.update(work.rates())
    return look


def run_mode(mode, setup, work_dir, want_chain):
    """Looks by load, and a call chain if it is wanted and there is one."""
    kernel = (f'vq_run=contention vq_reader={setup.reader} '
              f'vq_loops={setup.loops}')
    options = ['-blockdev', json.dumps(setup.backend), *mode.options]
    looks, found = {}, None
    with guest.Guest('contention', mode.qemu, setup.qmp, work_dir,
                     setup.vcpus, kernel, options) as vm:
        for _line in vm.lines('vq: load', setup.boot_seconds):
            pass
        if setup.placement:
            pin(vm.pid, setup.placement)
        observer = Observer(vm.pid, work_dir, setup.want_trace)
        _wait_for_reads(vm, setup.boot_seconds)
        if want_chain:
            found = chain.record(observer.threads[f'vCPU {setup.reader}'],
                                 work_dir)
        if GUEST in setup.loads:
            looks[GUEST] = _look(vm, observer, setup)
        if NATIVE in setup.loads:
            cpu = setup.placement.rest if setup.placement else None
            with Load(vm, work_dir, cpu, setup.seconds) as load:
                time.sleep(RAMP_SECONDS)
                looks[NATIVE] = _look(vm, observer, setup)
                looks[NATIVE]['load-reads-per-second'] = \
                    load.reads_per_second()
    return looks, found
