# SPDX-License-Identifier: GPL-2.0-or-later
"""IOThreads that a disk makes for itself, as the module's properties say."""

import re

from vqtop.table import count

from . import PlanError, cpulist, options, queue_rules
from .vm import Pin

PROPERTIES = ('x-iothreads', 'x-data-plane', 'x-iothread-cpus')

# What QEMU reads; the kernel's and libvirt's lists can have more in them
CPUS = re.compile(r'\d+(-\d+)?(,\d+(-\d+)?)*')

# Characters of an id that are left in a thread's name, the last ones
NAME_MAX = 12


def needs_host(vm):
    """Whether how many there are depends on the host."""
    return any(disk.own.get('x-iothreads') == 'auto' for disk in vm.disks)


def resolve(vm, online):
    """
    Make them part of @vm, like those that it names. Returns findings; of the
    host there are @online CPUs, which counts if needs_host().
    """
    found = []
    for disk in vm.disks:
        found += [(disk.place, text) for text in _resolve(disk, vm, online)]
    full = {name[-NAME_MAX:]: name for name in vm.iothreads}
    for pin in vm.pins:
        if pin.kind == 'iothread' and pin.who not in vm.iothreads:
            pin.who = full.get(pin.who, pin.who)
    return found


def _resolve(disk, vm, online):
    number = _number(disk)
    sets = _sets(disk)
    given = [name for name, there in (
        ('x-iothreads', number),
        ('x-data-plane', options.is_on(disk.own.get('x-data-plane'))),
        ('iothread', disk.iothread),
        ('iothread-vq-mapping', disk.mapping is not None)) if there]
    if not given or given[0] in ('iothread', 'iothread-vq-mapping'):
        if sets:
            yield ('x-iothread-cpus is for the IOThreads of x-iothreads or '
                   'x-data-plane, and QEMU refuses it without; pin others '
                   'with taskset, or libvirt\'s iothreadpin')
        return
    if len(given) > 1:
        yield f'it has {" and ".join(given)}; QEMU refuses that, keep one'
        return
    queues = queue_rules.queues_of(disk, vm)
    number = min(online, queues) if number == 'auto' else number or 1
    if number > queues:
        yield (f'{count(number, "IOThread")} for '
               f'{count(queues, "virtqueue")}: QEMU refuses that; say '
               f'x-iothreads={queues} or fewer')
        number = queues
    if len(sets) not in (0, 1, number):
        yield (f'x-iothread-cpus has {len(sets)} sets for '
               f'{count(number, "IOThread")}: QEMU refuses that; give one for '
               'each, or one for all')
        sets = []
    yield from _add(disk, vm, number, sets)


def _add(disk, vm, number, sets):
    """A mapping of that many, and their pins."""
    disk.mapping = []
    for i in range(number):
        name, place = f'{disk.id}.{i}', f'{disk.place}.{i}'
        if name in vm.iothreads:
            yield (f'it makes an IOThread "{name}", and there is another one '
                   'of that name; QEMU refuses that')
        vm.iothreads[name] = place
        disk.mapping.append((name, None))
        if sets:
            vm.pins.append(Pin(place, 'iothread', name,
                               sets[min(i, len(sets) - 1)], disk))


def _number(disk):
    """Of "x-iothreads": "auto", or how many."""
    value = disk.own.get('x-iothreads', 0)
    if value == 'auto':
        return value
    if isinstance(value, bool) or not re.fullmatch(r'\d{1,9}', str(value)):
        raise PlanError(f'{disk.place}: x-iothreads={value} is neither a '
                        'number nor "auto"')
    return int(value)


def _sets(disk):
    """Of "x-iothread-cpus": lists of CPUs."""
    value = disk.own.get('x-iothread-cpus', [])
    words = value if isinstance(value, list) else str(value).split(':')
    for word in words:
        if not isinstance(word, str) or not CPUS.fullmatch(word):
            raise PlanError(f'{disk.place}: x-iothread-cpus has "{word}", '
                            'which is no list of CPUs, such as 0-3,8')
    return [cpulist.parse(word) for word in words]
