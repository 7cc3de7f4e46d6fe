# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan as arguments of QEMU, in a form that bash can source."""

import json
import shlex
import textwrap

from vqtop.table import ranges


def mapping(iothreads):
    """Properties of a disk that these serve."""
    if len(iothreads) == 1:
        return {'iothread': iothreads[0].name}
    return {'iothread-vq-mapping': [
        {'iothread': thread.name, 'vqs': thread.queues}
        for thread in iothreads]}


def own(iothreads):
    """Properties of a disk that makes such ones for itself."""
    sets = [ranges(sorted(thread.cpus)) for thread in iothreads
            if thread.cpus is not None]
    if len(set(sets)) == 1:
        sets = sets[:1]
    return {'x-iothreads': len(iothreads),
            **({'x-iothread-cpus': sets} if sets else {})}


def blockdev(number, path, aio):
    """The block node of host device @path."""
    return {'driver': 'host_device', 'node-name': f'drive{number}',
            'filename': path, 'aio': aio, 'cache': {'direct': True}}


def device(number, plan):
    """The disk of that number."""
    return {'driver': 'virtio-blk-pci', 'id': f'disk{number}',
            'drive': f'drive{number}', 'num-queues': plan.request.vcpus,
            **(own(plan.iothreads) if plan.request.own_iothreads
               else mapping(plan.iothreads))}


def compact(value):
    """JSON without spaces."""
    return json.dumps(value, separators=(',', ':'))


def comment(plan, drives):
    """Why, and of @drives what the user has to add."""
    lines = list(plan.why)
    if plan.request.own_iothreads:
        lines.append('Needs QEMU with this project\'s series: stock has '
                     'neither x-iothreads= nor x-iothread-cpus= for a disk')
        if len(plan.request.disks) > 1:
            lines.append(f'{len(plan.request.disks)} disks make '
                         f'{len(plan.request.disks) * len(plan.iothreads)} '
                         'IOThreads' + (
                             '; those with the same number after the dot are '
                             'for the same CPUs'
                             if plan.iothreads[0].cpus else ''))
    if drives:
        lines.append('Add -blockdev for ' + ', '.join(drives) + ': with aio='
                     'native and cache.direct=on, or with aio=io_uring')
    return [part for line in lines for part in
            textwrap.wrap(line, 79, initial_indent='# ',
                          subsequent_indent='#   ', break_on_hyphens=False)]


def text(plan, vm, aio):
    """What to source, or to copy from."""
    unknown = [f'drive{i}' for i, path in enumerate(plan.request.disks)
               if path is None]
    lines = comment(plan, unknown)
    lines += ['vq_args=(',
              f'    -name {vm},debug-threads=on -pidfile {vm}.pid',
              f'    -smp {plan.request.vcpus}']
    threads = [] if plan.request.own_iothreads else plan.iothreads
    lines += [f'    -object iothread,id={thread.name}' for thread in threads]
    for i, path in enumerate(plan.request.disks):
        if path is not None:
            lines.append('    -blockdev '
                         + shlex.quote(compact(blockdev(i, path, aio))))
        lines.append('    -device '
                     + shlex.quote(compact(device(i, plan))))
    lines += [')', '# qemu-system-x86_64 -accel kvm "${vq_args[@]}" ...']
    pins = [(f'CPU {vcpu}/KVM', cpus)
            for vcpu, cpus in sorted(plan.request.pins.items())]
    pins += [(f'IO {thread.name}', thread.cpus)
             for thread in threads if thread.cpus is not None]
    if pins:
        lines += ['# and when it runs: vq_pin', 'vq_tid() {',
                  f'    grep -lxF "$1" /proc/"$(cat {vm}.pid)"/task/*/comm |'
                  ' cut -d/ -f5', '}', 'vq_pin() {']
        lines += [f'    taskset -pc {ranges(sorted(cpus))} '
                  f'"$(vq_tid \'{name}\')"' for name, cpus in pins]
        lines.append('}')
    return '\n'.join(lines) + '\n'
