# SPDX-License-Identifier: GPL-2.0-or-later
"""Which host CPUs are for what."""

import os
import re
from dataclasses import dataclass

from vqdemo import threads

from . import ContentionError

VCPU_NAME = re.compile(r'CPU (\d+)/')


@dataclass(frozen=True)
class Placement:
    """Host CPUs of the vCPUs, of those who serve the disk, and of the rest."""
    vcpus: tuple
    serve: int
    rest: int

    def words(self):
        """For the headline."""
        def cpus(numbers):
            several = 's' * (len(numbers) > 1)
            return f"host CPU{several} {','.join(map(str, numbers))}"
        text = (f'vCPUs on {cpus(self.vcpus)}, main loop and IOThreads on '
                f'{cpus([self.serve])}')
        return text + (f', what measures on {cpus([self.rest])}'
                       if self.rest != self.serve else ', with what measures')


def choose():
    """
    As in the article: the last CPU is for those who serve the disk, and vCPUs
    have the others, but one for what measures if there are enough. None if
    there is one CPU only.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return None
    if len(cpus) < 4:
        return Placement(tuple(cpus[:-1]), cpus[-1], cpus[-1])
    return Placement(tuple(cpus[:-2]), cpus[-1], cpus[-2])


def vcpu_threads(pid):
    """Name of each vCPU of QEMU process @pid to its thread's id, in order."""
    found = {int(match[1]): tid
             for tid, name in threads.thread_names(pid).items()
             if (match := VCPU_NAME.match(name))}
    if not found:
        raise ContentionError(
            f'no thread of process {pid} is named as a vCPU; QEMU must run '
            'with -name NAME,debug-threads=on, as under libvirt')
    return {f'vCPU {index}': found[index] for index in sorted(found)}


def pin(pid, placement):
    """Give every thread of QEMU its CPU."""
    vcpus = list(vcpu_threads(pid).values())
    for tid in threads.thread_names(pid):
        cpu = (placement.vcpus[vcpus.index(tid) % len(placement.vcpus)]
               if tid in vcpus else placement.serve)
        os.sched_setaffinity(tid, {cpu})
