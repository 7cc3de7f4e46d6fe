# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU's threads do, as the host's kernel and sysstat tell."""

import os
import re
import signal
import subprocess

from . import DemoError


def thread_names(pid):
    """Thread id to name, of all threads of a process."""
    names = {}
    for tid in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{tid}/comm', encoding='utf-8') as comm:
            names[int(tid)] = comm.read().strip()
    return names


def schedstat(pid, tid):
    """ns that a thread has run, ns that it waited for a CPU, and its stays."""
    with open(f'/proc/{pid}/task/{tid}/schedstat', encoding='ascii') as stat:
        return [int(word) for word in stat.read().split()]


def run_time_ns(pid, tid):
    """Time that a thread has run on a CPU, to the nanosecond."""
    return schedstat(pid, tid)[0]


def traced_threads(path):
    """Sector to the ids of the threads that handled a read of it."""
    line_re = re.compile(r'^(\d+)@\S+:virtio_blk_handle_read .* sector (\d+) ')
    threads = {}
    with open(path, encoding='utf-8') as log:
        for line in log:
            match = line_re.match(line)
            if match:
                threads.setdefault(int(match[2]), set()).add(int(match[1]))
    return threads


class Pidstat:
    """pidstat -t of a process, from start() to stop()."""

    def __init__(self, pid, path):
        self._path = path
        with open(path, 'wb') as output:
            self._process = subprocess.Popen(
                ['pidstat', '-t', '-p', str(pid), '1'],
                env={**os.environ, 'LC_ALL': 'C', 'S_TIME_FORMAT': 'ISO'},
                stdout=output, stderr=subprocess.STDOUT)

    def stop(self):
        """Returns thread id to its average %CPU."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=120)
        cpu = {}
        with open(self._path, encoding='utf-8') as output:
            for line in output:
                # Average: UID TGID TID %usr %system %guest %wait %CPU CPU Command
                fields = line.split()
                if line.startswith('Average:') and fields[3].isdigit():
                    cpu[int(fields[3])] = float(fields[8])
        if not cpu:
            raise DemoError(f'pidstat printed no average; see {self._path}')
        return cpu


def pin(pid, iothread_tids):
    """
    With a CPU to spare for each, give every IOThread and every vCPU one of
    its own. Returns what was done, in words.
    """
    cpus = sorted(os.sched_getaffinity(0))
    vcpu_tids = [tid for tid, name in sorted(thread_names(pid).items())
                 if name.startswith('CPU ')]
    tids = list(iothread_tids) + vcpu_tids
    if len(cpus) <= len(tids):
        return f'not pinned ({len(cpus)} host CPUs for {len(tids)} threads)'
    for cpu, tid in zip(cpus, tids):
        subprocess.run(['taskset', '-pc', str(cpu), str(tid)], check=True,
                       stdout=subprocess.DEVNULL)
    return (f'IOThreads on host CPUs {cpus[0]}-{cpus[len(iothread_tids) - 1]}, '
            f'vCPUs on the {len(vcpu_tids)} after them')
