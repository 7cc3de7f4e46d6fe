# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's threads, as this host's /proc tells."""

import dataclasses
import re
import time

from vqdemo import threads

# What a process is called that is taken for QEMU although another one opened
# its socket for it
QEMU_NAME = re.compile(r'qemu|kvm')


@dataclasses.dataclass(frozen=True)
class Thread:
    """How long a thread has run until when, and the CPU it was last on."""
    run_ns: int
    time_ns: int
    host_cpu: int


def _process_of(tid):
    """Id of the process that a thread belongs to, or None."""
    try:
        with open(f'/proc/{tid}/status', encoding='utf-8',
                  errors='replace') as status:
            for line in status:
                if line.startswith('Tgid:'):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def _name_of(pid):
    try:
        with open(f'/proc/{pid}/comm', encoding='utf-8',
                  errors='replace') as comm:
            return comm.read()
    except OSError:
        return ''


def find_qemu(tids, peer):
    """
    Id of the QEMU process that has all threads @tids, or None: in another PID
    namespace, or on another host, QEMU's thread ids mean other threads here.
    @peer: the process that opened QEMU's socket, or None.
    """
    pids = {_process_of(tid) for tid in tids} or {peer}
    if len(pids) != 1:
        return None
    pid = pids.pop()
    if pid and (pid == peer or QEMU_NAME.search(_name_of(pid))):
        return pid
    return None


def figures(pid, tids):
    """Thread id to Thread, of those of @tids that process @pid has."""
    found = {}
    for tid in tids:
        try:
            with open(f'/proc/{pid}/task/{tid}/stat', encoding='utf-8',
                      errors='replace') as stat:
                # The second field is the name, which may have ')' and spaces
                fields = stat.read().rpartition(')')[2].split()
            found[tid] = Thread(threads.run_time_ns(pid, tid),
                                time.monotonic_ns(), int(fields[36]))
        except (OSError, ValueError, IndexError):
            continue
    return found
