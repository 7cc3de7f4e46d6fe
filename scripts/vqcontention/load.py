# SPDX-License-Identifier: GPL-2.0-or-later
"""
Reads at native speed of the disk that the guest has: fio on the host, through
an NBD export of the disk's node, which the thread that serves the disk serves
too. A guest under TCG is too slow to keep that thread busy.
"""

import json
import os
import subprocess

from . import ContentionError

NODE = 'drive0'
RAMP_SECONDS = 1


class Load:
    """A context manager; fio's result is asked for in the body."""

    def __init__(self, vm, work_dir, cpu, seconds):
        self._vm = vm
        self._socket = os.path.join(work_dir, 'nbd')
        self._out = os.path.join(work_dir, 'load.json')
        self._errors = os.path.join(work_dir, 'load.log')
        self._command = [
            'setpriv', '--pdeathsig', 'KILL',
            *(['taskset', '-c', str(cpu)] if cpu is not None else []),
            'fio', '--name=load', '--ioengine=nbd', '--rw=randread',
            f'--uri=nbd+unix:///{NODE}?socket={self._socket}', '--bs=4k',
            '--iodepth=64', '--norandommap', '--time_based',
            f'--ramp_time={RAMP_SECONDS}', f'--runtime={seconds:g}',
            '--output-format=json', f'--output={self._out}']
        self._process = None

    def __enter__(self):
        self._vm.qmp('nbd-server-start', addr={
            'type': 'unix', 'data': {'path': self._socket}})
        self._vm.qmp('block-export-add', type='nbd', id='load',
                     **{'node-name': NODE})
        with open(self._errors, 'wb') as errors:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=errors,
                stderr=errors)
        return self

    def reads_per_second(self):
        """Of the whole run, which this waits for."""
        self._process.wait(timeout=180)
        try:
            with open(self._out, encoding='utf-8') as file:
                return json.load(file)['jobs'][0]['read']['iops']
        except (OSError, ValueError, LookupError) as err:
            with open(self._errors, encoding='utf-8') as file:
                lines = file.read().strip().splitlines() or ['no message']
            raise ContentionError(f'fio on the NBD export: {lines[-1]}') \
                from err

    def __exit__(self, *_exc):
        self._process.kill()
        self._process.wait()
