# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be wrong with virtqueues, IOThreads and how disks are opened."""

import collections

from vqtop.table import count, ranges

from . import cmdline


def queues_of(disk, vm):
    """How many; without a number QEMU makes one for each vCPU."""
    return disk.queues or min(vm.vcpus, cmdline.MAX_QUEUES)


def served(disk, vm):
    """IOThread to the virtqueues of @disk that it serves."""
    number = queues_of(disk, vm)
    if disk.mapping is None:
        return {disk.iothread: list(range(number))} if disk.iothread else {}
    found = {}
    for place, (name, queues) in enumerate(disk.mapping):
        if queues is None:
            queues = range(place, number, len(disk.mapping))
        found.setdefault(name, []).extend(q for q in queues
                                          if 0 <= q < number)
    return found


def findings(vm):
    """A list of (place, text)."""
    found = []
    for disk in vm.disks:
        found += [(disk.place, text) for text in
                  (*_mapping(disk, vm), *_unused(disk, vm),
                   *_opened(disk, vm))]
    return found + _idle(vm) + _crowded(vm)


def _mapping(disk, vm):
    if disk.mapping is None:
        if disk.iothread and disk.iothread not in vm.iothreads:
            yield _unknown(disk.iothread, vm)
        return
    if disk.iothread:
        yield 'it has both an IOThread and a mapping; QEMU refuses that'
    names = [name for name, _queues in disk.mapping]
    if not names:
        yield 'the mapping is empty; name IOThreads, or leave it out'
    for name, times in collections.Counter(names).items():
        if name not in vm.iothreads:
            yield _unknown(name, vm)
        if times > 1:
            yield f'{name} is in the mapping more than once; join its entries'
    given = [queues for _name, queues in disk.mapping if queues is not None]
    if not given:
        return
    if len(given) < len(names):
        yield ('some IOThreads of the mapping have virtqueues and others not; '
               'give all of them some, or none')
        return
    every = collections.Counter(q for queues in given for q in queues)
    number = queues_of(disk, vm)
    twice = sorted(q for q, times in every.items() if times > 1)
    beyond = sorted(q for q in every if not 0 <= q < number)
    missing = [q for q in range(number) if q not in every]
    if twice:
        yield f'{_queues(twice)} is in the mapping more than once; keep one'
    if beyond:
        yield (f'{_queues(beyond)} of the mapping: the disk has '
               f'{count(number, "virtqueue")}, from 0 to {number - 1}')
    if missing:
        yield f'{_queues(missing)} has no IOThread in the mapping; add it'


def _queues(numbers):
    return f'virtqueue{"s" * (len(numbers) > 1)} {ranges(numbers)}'


def _unknown(name, vm):
    return (f'there is no IOThread "{name}"; those that there are: '
            + (', '.join(vm.iothreads) or 'none'))


def _unused(disk, vm):
    number = queues_of(disk, vm)
    if number > vm.max_vcpus:
        yield (f'{count(number, "virtqueue")} for '
               f'{count(vm.max_vcpus, "vCPU")}: Linux uses no more than '
               f'vCPUs; say {vm.hints["queues"]}={vm.max_vcpus}')


def _opened(disk, vm):
    if disk.aio == 'native' and not disk.direct:
        yield ('aio=native cannot go through the host\'s page cache, and QEMU '
               'refuses to start; ' + vm.hints['direct'])
    if disk.aio == 'threads' and (disk.iothread or disk.mapping):
        how = 'aio=threads' if disk.aio_given else 'no aio, which is threads,'
        yield (f'{how} with IOThreads: a pool of other threads does the '
               'input and output; ' + vm.hints['aio'])


def _idle(vm):
    found = []
    work = {}
    for disk in vm.disks:
        for name, queues in served(disk, vm).items():
            work.setdefault(name, []).extend(queues)
    for name, place in vm.iothreads.items():
        if name in vm.others:
            continue
        queues = work.get(name)
        if not queues:
            found.append((place, 'it serves no virtqueue; map some to it, or '
                          'take it away'))
        elif min(queues) >= vm.max_vcpus:
            found.append((place, f'it serves {_queues(sorted(set(queues)))} '
                          f'only, and a guest with '
                          f'{count(vm.max_vcpus, "vCPU")} uses those before; '
                          'map neighbours to different IOThreads'))
    return found


def _crowded(vm):
    """With one vCPU there is nothing to do at once."""
    disks = [disk for disk in vm.disks if disk.iothread or disk.mapping]
    names = {name for disk in disks for name in served(disk, vm)}
    if len(disks) > 1 and len(names) == 1 and vm.max_vcpus > 1:
        name = names.pop()
        return [(disks[-1].place, f'{name} serves all virtqueues of all '
                 f'{len(disks)} disks; give the disks different IOThreads, or '
                 'map each to several')]
    return []
