# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the scheduler does with threads and when they wait for a lock, event by
event, by perf. The tracepoints of futex(2) are hit when the lock is contended
and not otherwise; uprobes on the lock's functions would be hit, at the cost of
a trap, each time that it is taken.
"""

import os
import re
import subprocess
from typing import NamedTuple

from . import ContentionError

# Per CPU
BUFFER = '4M'

# The kernel takes no longer filter
FILTER_MAX = 4000

SWITCH, WAKING, ENTER, EXIT = 'switch', 'waking', 'enter', 'exit'


class Event(NamedTuple):
    """
    @tid did it. SWITCH: it stops running, @asleep or preempted, and @other
    runs. WAKING: it wakes @other. ENTER: it calls futex(@address, @command).
    """
    time: float
    kind: str
    tid: int
    other: int = 0
    asleep: bool = False
    address: int = 0
    command: int = 0


def _filter(clauses):
    """For one event; without it there is more to throw away later."""
    text = '||'.join(clauses)
    return ['--filter', text] if text and len(text) <= FILTER_MAX else []


def record_command(path, tids, address, seconds):
    """@address: of the lock's futex word, or None for every futex."""
    return [
        # Ends with this process, whatever ends it
        'setpriv', '--pdeathsig', 'KILL',
        'perf', 'record', '-q', '-a', '-m', BUFFER, '-o', path,
        '-e', 'sched:sched_switch', *_filter(
            f'{side}_pid=={tid}' for tid in tids for side in ('prev', 'next')),
        '-e', 'sched:sched_waking', *_filter(f'pid=={tid}' for tid in tids),
        '-e', 'syscalls:sys_enter_futex', *_filter(
            [f'uaddr=={address:#x}'] if address else
            [f'common_pid=={tid}' for tid in tids]),
        '-e', 'syscalls:sys_exit_futex', *_filter(
            f'common_pid=={tid}' for tid in tids),
        '--', 'sh', '-c', f'echo; exec sleep {seconds:g}']


class Recorder:
    """
    perf record, from before the body begins and for so many seconds. It may
    find that it is not permitted.
    """

    def __init__(self, path, tids, address, seconds):
        self.path = path
        self._command = record_command(path, tids, address, seconds)
        self._process = None

    def __enter__(self):
        try:
            self._process = subprocess.Popen(
                self._command, text=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except FileNotFoundError as err:
            raise ContentionError('setpriv is missing; run: '
                                  'scripts/install-deps') from err
        # The command that it runs says so, and has begun when it records
        self._process.stdout.readline()
        return self

    def __exit__(self, kind, _value, _trace):
        if kind:
            self._process.kill()
            self._process.communicate()

    def finish(self):
        """Wait for it. Returns why there is no recording, or None."""
        errors = self._process.communicate(timeout=180)[1]
        if self._process.returncode == 0 and os.path.exists(self.path):
            return None
        return reason(errors)


def reason(errors):
    """What perf's complaint means, in half a line."""
    if 'failed to execute perf' in errors:
        return 'perf is missing'
    if 'ermission' in errors or 'access trace events' in errors:
        return ('perf may not read the scheduler\'s events; be root, or have '
                'CAP_PERFMON and a readable /sys/kernel/tracing')
    lines = errors.strip().splitlines()
    return f'perf failed: {lines[-1].strip() if lines else "no message"}'


# A thread that has ended, but for its last switch, has the id -1
_LINE = re.compile(r'^\s*(-?\d+)\s+([\d.]+):\s+\w+:(\w+):\s+(.*)$')
_SWITCH = re.compile(r'prev_pid=(\d+) prev_prio=-?\d+ prev_state=(\S+) ==> '
                     r'.*next_pid=(\d+) ')
_WAKING = re.compile(r' pid=(\d+) prio=')
_ENTER = re.compile(r'uaddr: 0x([0-9a-f]+), op: 0x([0-9a-f]+)')


def parse(line):
    """An Event, or None for a line that is none of ours."""
    match = _LINE.match(line)
    if not match:
        return None
    tid, time, name, text = (int(match[1]), float(match[2]), match[3],
                             match[4])
    if name == 'sched_switch':
        found = _SWITCH.search(text)
        # R is runnable, and with a + if it was preempted in the kernel
        return found and Event(time, SWITCH, int(found[1]), int(found[3]),
                               not found[2].startswith('R'))
    if name == 'sched_waking':
        found = _WAKING.search(text)
        return found and Event(time, WAKING, tid, int(found[1]))
    if name == 'sys_enter_futex':
        found = _ENTER.search(text)
        return found and Event(time, ENTER, tid, address=int(found[1], 16),
                               command=int(found[2], 16))
    if name == 'sys_exit_futex':
        return Event(time, EXIT, tid)
    return None


def read(path):
    """The events, oldest first, and how many times perf has lost some."""
    events, lost = [], 0
    with subprocess.Popen(
            ['perf', 'script', '-i', path, '--ns', '--show-lost-events',
             '-F', 'trace:tid,time,event,trace'], text=True, errors='replace',
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            event = parse(line)
            if event:
                events.append(event)
            elif 'PERF_RECORD_LOST' in line:
                lost += 1
    if process.returncode:
        raise ContentionError(f'perf script cannot read {path}')
    return events, lost
