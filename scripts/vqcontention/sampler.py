# SPDX-License-Identifier: GPL-2.0-or-later
"""
Where threads are, as /proc tells many times a second. Needs no privilege but
to be the user who runs QEMU.
"""

import os
import platform
import time
from collections import Counter

from . import ContentionError

HERTZ = 400

# The number of futex(2), and of its commands those that wait
FUTEX = {'x86_64': '202', 'aarch64': '98'}.get(platform.machine())
COMMAND_MASK = 0x7f
WAIT = (0, 9)

RUNS = 'runs'       # or waits for a CPU
SLEEPS = 'sleeps'   # in another call than a futex wait


def place_of(line):
    """
    From a line of /proc/PID/task/TID/syscall: RUNS, SLEEPS, or the address at
    which the thread is in futex wait.
    """
    fields = line.split()
    if fields[:1] == ['running']:
        return RUNS
    if len(fields) > 3 and fields[0] == FUTEX and \
            int(fields[2], 16) & COMMAND_MASK in WAIT:
        return int(fields[1], 16)
    return SLEEPS


def _urgent():
    """To be late when CPUs are busy would spoil the sample. If it may be."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return True
    except OSError:
        return False


def _relax():
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def sample(pid, tids, seconds):
    """Thread id to a Counter of its places, and the number of turns."""
    files = {}
    try:
        for tid in tids:
            files[tid] = os.open(f'/proc/{pid}/task/{tid}/syscall',
                                 os.O_RDONLY)
        return _sample(files, seconds)
    except PermissionError as err:
        raise ContentionError(
            f'/proc/{pid}/task/*/syscall may not be read; be the user who '
            'runs QEMU, or root') from err
    except (FileNotFoundError, ProcessLookupError) as err:
        raise ContentionError(f'process {pid}, or a thread of it, has '
                              'ended') from err
    finally:
        for file in files.values():
            os.close(file)


def _sample(files, seconds):
    places = {tid: Counter() for tid in files}
    urgent = _urgent()
    try:
        turns = 0
        start = due = time.monotonic()
        while due < start + seconds:
            for tid, file in files.items():
                line = os.pread(file, 256, 0).decode('ascii')
                places[tid][place_of(line)] += 1
            turns += 1
            # Late is late: no samples in a hurry to make up for it
            due = max(due + 1 / HERTZ, time.monotonic())
            time.sleep(max(0, due - time.monotonic()))
    finally:
        if urgent:
            _relax()
    return places, turns
