# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be wrong with where threads are pinned."""

from vqtop.table import ranges

from . import queue_rules


def findings(vm, topology, avoid):
    """A list of (place, text); CPUs @avoid are not for this VM."""
    vcpus = {}
    for pin in vm.pins:
        if pin.kind == 'vcpu':
            vcpus[pin.who] = pin.cpus
    found = []
    for pin in vm.pins:
        found += [(pin.place, text) for text in
                  (*_target(pin, vm), *_cpus(pin, topology, avoid))]
    by_name = [pin for pin in vm.pins if pin.kind in ('iothread', 'vcpu')
               and pin.disk is None]
    if by_name and not vm.named:
        found.append((by_name[0].place, 'threads have no such names without '
                      '-name ...,debug-threads=on'))
    for pin in vm.pins:
        if pin.kind in ('iothread', 'emulator'):
            found += [(pin.place, text) for text in
                      _near(pin, vm, vcpus, topology, avoid)]
    return found + _shared(vm) + _overruled(vm)


def _target(pin, vm):
    if pin.kind == 'iothread' and pin.who not in vm.iothreads:
        yield 'there is no such IOThread'
    if pin.kind == 'vcpu' and not (pin.who is not None and
                                   0 <= pin.who < vm.max_vcpus):
        yield f'there is no such vCPU; those are 0 to {vm.max_vcpus - 1}'


def _cpus(pin, topology, avoid):
    missing = sorted(set(pin.cpus) - set(topology.online))
    if missing:
        yield (f'CPU{"s" * (len(missing) > 1)} {ranges(missing)}: the host '
               f'has {ranges(topology.online)} online')
    unwanted = sorted(avoid.intersection(pin.cpus))
    if unwanted:
        yield (f'CPU{"s" * (len(unwanted) > 1)} {ranges(unwanted)}: to be '
               'avoided')


def _near(pin, vm, vcpus, topology, avoid):
    """Beside the vCPUs that the thread works for, not on them."""
    mine = vcpus
    # In a guest with several nodes virtqueue i is not that of vCPU i
    if pin.kind == 'iothread' and vm.nodes < 2:
        queues = {queue for disk in vm.disks for queue in
                  queue_rules.served(disk, vm).get(pin.who, ())}
        mine = {v: c for v, c in vcpus.items() if v in queues} or vcpus
    cpus = set(pin.cpus) & set(topology.online)
    nodes = topology.nodes_of({c for own in mine.values() for c in own})
    if not cpus or not nodes:
        return
    far = [n for n in topology.nodes_of(cpus) if n not in nodes]
    if far:
        yield (f'its CPUs are on {_nodes(topology.nodes_of(cpus))}, and the '
               f'vCPUs that it works for on {_nodes(nodes)}; pin it there')
    taken = {c for own in vcpus.values() for c in own}
    if not cpus <= taken:
        return
    owners = sorted(v for v, own in vcpus.items() if cpus & set(own))
    here = topology.nodes_of(cpus)
    free = {c for n in here for c in topology.nodes[n]} - taken - avoid - {
        c for other in vm.pins if other is not pin and other.kind != 'all'
        for c in other.cpus}
    if free or len(cpus) == 1:
        yield (f'CPU{"s" * (len(cpus) > 1)} {ranges(sorted(cpus))}: '
               f'vCPU{"s" * (len(owners) > 1)} {ranges(owners)} may run there '
               'too; ' + (f'on {_nodes(here)}, {ranges(sorted(free))} have '
                          'no thread of this VM' if free else
                          f'no CPU of {_nodes(here)} is free, so let it use '
                          'all of them'))


def _nodes(numbers):
    return f'node{"s" * (len(numbers) > 1)} {ranges(numbers)}'


def _shared(vm):
    found = []
    first = {}
    for pin in vm.pins:
        if pin.kind != 'iothread' or len(pin.cpus) != 1:
            continue
        other = first.setdefault(pin.cpus[0], pin)
        # No other disk can have a disk's own IOThread, nor always a CPU left
        apart = pin.disk and other.disk and pin.disk is not other.disk
        if other.who != pin.who and not apart:
            found.append((pin.place, f'CPU {pin.cpus[0]} is that of '
                          f'{other.who} too; give it one of its own'))
    return found


def _overruled(vm):
    """A taskset -a comes after the start, and moves all threads."""
    names = [pin.who for pin in vm.pins if pin.disk]
    return [(pin.place, f'it moves {names[0]} too, away from the CPUs of '
             'x-iothread-cpus; leave -a out, and name threads')
            for pin in vm.pins if pin.kind == 'all' and names]
