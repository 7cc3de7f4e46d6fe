# SPDX-License-Identifier: GPL-2.0-or-later
"""A Vm from a command line of QEMU, and taskset commands beside it."""

import itertools
import math
import re

from . import PlanError, cpulist, options, own, words
from .vm import Disk, Pin, Vm

DISK = re.compile(r'virtio-blk(-pci|-device|-ccw)?(-(non-)?transitional)?')

# As many as a virtio device can have
MAX_QUEUES = 1024

# More than QEMU and libvirt allow
MAX_VCPUS = 8192

# Block drivers that have aio=
FILES = ('file', 'host_device')

HINTS = {'aio': 'say aio=native with cache.direct=on, or aio=io_uring',
         'direct': 'say cache.direct=on, or cache=none with -drive',
         'queues': 'num-queues'}


def read(text):
    """The Vm of a file."""
    vm = Vm(hints=HINTS, named=False)
    arguments = []
    for command in words.commands(text):
        if any(word.rpartition('/')[2] == 'taskset' for _line, word in
               command[:3]):
            pin = _pin(command)
            if pin:
                vm.pins.append(pin)
        else:
            arguments += command
    for name, (line, _values) in add_arguments(vm, arguments).items():
        vm.refused.append((
            f'line {line}, -set', f'there is no device "{name}" in key=value '
            'form before it, and QEMU refuses to start; give the property to '
            '-device'))
    return vm


def add_arguments(vm, arguments):
    """Add what a list of (line, word) says; returns -set without a device."""
    found = {}
    it = iter(arguments)
    for line, word in it:
        name = re.fullmatch('--?(smp|object|device|drive|blockdev|set|global|'
                            'name|export|numa)', word)
        if name:
            try:
                value_line, value = next(it)
            except StopIteration:
                raise PlanError(f'line {line}: {word} has no value') from None
            found.setdefault(name[1], []).append((value_line, value))
    _smp(vm, found.get('smp', []))
    for line, value in found.get('numa', []):
        vm.nodes += options.parse(line, value, 'type').get('type') == 'node'
    for line, value in found.get('name', []):
        if options.is_on(options.parse(line, value, 'guest').get(
                'debug-threads')):
            vm.named = True
    for line, value in found.get('object', []):
        values = options.parse(line, value, 'qom-type')
        if values.get('qom-type') == 'iothread' and 'id' in values:
            vm.iothreads[values['id']] = f'line {line}, {values["id"]}'
        elif 'iothread' in values:
            vm.others.add(values['iothread'])
    for line, value in found.get('export', []):
        vm.others.add(options.parse(line, value, 'type').get('iothread'))
    nodes = {}
    for line, value in found.get('blockdev', []):
        values = options.parse(line, value, 'driver')
        nodes[values.get('node-name')] = values
    drives = {}
    for line, value in found.get('drive', []):
        values = options.parse(line, value)
        drives[values.get('id')] = values
    sets = _sets(found)
    anonymous = itertools.count()
    for line, values in _devices(found, sets):
        # As QEMU calls those without an id
        name = values.get('id') or f'device[{next(anonymous)}]'
        _add_device(vm, line, name, values, nodes, drives)
    return sets


def _smp(vm, given):
    values = {}
    for line, value in given:
        values.update(options.parse(line, value, 'cpus'))
    parts = [options.number(values.get(name), 1) for name in (
        'drawers', 'books', 'sockets', 'dies', 'clusters', 'modules', 'cores',
        'threads')]
    most = options.number(values.get('maxcpus'), 0)
    if values:
        vm.vcpus = (options.number(values.get('cpus'), 0) or most
                    or math.prod(parts))
        vm.max_vcpus = max(vm.vcpus, most)
    if not 1 <= vm.vcpus <= vm.max_vcpus <= MAX_VCPUS:
        raise PlanError(f'{vm.vcpus} of {vm.max_vcpus} vCPUs cannot be')


def _sets(found):
    """Id to (line, properties), of -set device."""
    sets = {}
    for line, value in found.get('set', []):
        match = re.fullmatch(r'device\.([^.]+)\.([^=]+)=(.*)', value)
        if match:
            sets.setdefault(match[1], (line, {}))[1][match[2]] = match[3]
    return sets


def _devices(found, sets):
    """(line, properties) of each, with -global, and @sets without the rest."""
    defaults = {}
    for line, value in found.get('global', []):
        match = re.fullmatch(r'([^.=]+)\.([^=]+)=(.*)', value)
        if match:
            defaults.setdefault(match[1], {})[match[2]] = match[3]
    for line, value in found.get('device', []):
        values = options.parse(line, value, 'driver')
        driver = values.get('driver')
        _line, more = ((line, {}) if value.startswith('{') else
                       sets.pop(values.get('id'), (line, {})))
        # The disk is a device inside that of its bus
        inner = ('virtio-blk-device' if DISK.fullmatch(str(driver)) else None)
        yield line, {**defaults.get(inner, {}), **defaults.get(driver, {}),
                     **values, **options.nested(dict(more))}


def _add_device(vm, line, name, values, nodes, drives):
    if not DISK.fullmatch(str(values.get('driver'))):
        vm.others.add(values.get('iothread'))
        for other, _queues in _mapping(line, values) or ():
            vm.others.add(other)
        return
    place = f'line {line}, {values.get("id") or values["driver"]}'
    disk = Disk(place, queues(place, values.get('num-queues')),
                values.get('iothread'), _mapping(line, values), id=name,
                own={key: values[key] for key in own.PROPERTIES
                     if key in values})
    drive = values.get('drive')
    if drive in drives:
        _add_drive(disk, drives[drive])
    elif drive in nodes:
        _add_nodes(disk, nodes[drive], nodes)
    vm.disks.append(disk)


def queues(place, value):
    """How many virtqueues that is, or None for QEMU's own choice."""
    number = options.number(value)
    if number in (None, 65535):
        return None
    if not 1 <= number <= MAX_QUEUES:
        raise PlanError(f'{place}: {number} virtqueues; there can be 1 to '
                        f'{MAX_QUEUES}')
    return number


def _mapping(line, values):
    """A list of (id, virtqueues or None), or None."""
    given = values.get('iothread-vq-mapping')
    if given is None:
        return None
    try:
        return [(str(item['iothread']), None if item.get('vqs') is None else
                 [int(queue) for queue in item['vqs']]) for item in given]
    except (TypeError, LookupError, ValueError, AttributeError) as err:
        raise PlanError(f'line {line}: iothread-vq-mapping is no list of '
                        '{"iothread":ID,"vqs":[...]}') from err


def _add_drive(disk, values):
    cache = values.get('cache')
    disk.direct = (options.is_on(values['cache.direct'])
                   if 'cache.direct' in values else
                   cache in ('none', 'off', 'directsync'))
    driver = values.get('file.driver') or values.get('driver') or values.get(
        'format')
    file = str(values.get('file', values.get('file.filename', '')))
    other = re.match(r'(json:|[a-z0-9.+-]+://|nbd:|null-)', file) or (
        str(driver).startswith(('null-', 'nvme', 'nbd')))
    if file and not other:
        disk.aio = values.get('aio', values.get('file.aio', 'threads'))
        disk.aio_given = 'aio' in values or 'file.aio' in values


def _add_nodes(disk, values, nodes):
    """Follow "file" down to what has no further one."""
    prefix = ''
    seen = set()
    direct = False
    while True:
        key = f'{prefix}cache.direct'
        # Named nodes have a cache mode of their own, nested ones inherit it
        direct = options.is_on(values[key]) if key in values else (
            direct if prefix else False)
        below = values.get(f'{prefix}file')
        if isinstance(below, str) and below in nodes and below not in seen:
            seen.add(below)
            values, prefix = nodes[below], ''
        elif f'{prefix}file.driver' in values:
            prefix += 'file.'
        else:
            break
    disk.direct = direct
    if values.get(f'{prefix}driver') in FILES:
        disk.aio = values.get(f'{prefix}aio', 'threads')
        disk.aio_given = f'{prefix}aio' in values


def _pin(command):
    """What a taskset command does, or None if it names no thread."""
    line = command[0][0]
    text = [word for _line, word in command]
    all_of_it = False
    cpus = None
    for place, word in enumerate(text):
        if re.fullmatch('-[apc]+|--all-tasks|--pid|--cpu-list', word):
            all_of_it |= 'a' in word.partition('--')[0] or word == (
                '--all-tasks')
            if place + 1 < len(text) and re.fullmatch(r'[\d,:/-]*\d',
                                                      text[place + 1]):
                cpus = cpulist.parse(text[place + 1])
    thread = re.search(r"(IO|CPU) ([^/'\"]+)", ' '.join(text))
    if cpus is None:
        return None
    if thread and thread[1] == 'IO':
        name = thread[2].rstrip(')').strip()
        return Pin(f'line {line}, {name}', 'iothread', name, cpus)
    if thread:
        number = options.number(thread[2])
        return Pin(f'line {line}, vCPU {number}', 'vcpu', number, cpus)
    return Pin(f'line {line}, taskset', 'all' if all_of_it else 'other', None,
               cpus)
