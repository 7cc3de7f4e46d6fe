# SPDX-License-Identifier: GPL-2.0-or-later
"""A Vm from XML of a libvirt domain."""

from xml.etree import ElementTree
from xml.parsers import expat

from . import PlanError, cmdline, cpulist, libvirt, options, own
from .vm import Disk, Pin, Vm

# Far more than vCPUs can use
MAX_IOTHREADS = 65536

HINTS = {'aio': "say io='native' with cache='none', or io='io_uring'",
         'direct': "say cache='none' or cache='directsync'",
         'queues': 'queues'}

QEMU = f'{{{libvirt.QEMU}}}'


def read(data):
    """The Vm of a file's bytes."""
    _refuse_doctype(data)
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as err:
        raise PlanError(f'this is no XML: {err}') from err
    if root.tag != 'domain':
        raise PlanError(f'this is XML of <{root.tag}>, not of <domain>')
    vcpu = root.find('vcpu')
    most = options.number(_text(vcpu), 1)
    vm = Vm(options.number(_get(vcpu, 'current'), most), most, hints=HINTS)
    if not 1 <= vm.vcpus <= most <= cmdline.MAX_VCPUS:
        raise PlanError(f'{vm.vcpus} of {most} vCPUs cannot be')
    vm.nodes = len(root.findall('cpu/numa/cell'))
    _read_iothreads(vm, root)
    _read_pins(vm, root)
    for disk in root.iterfind('devices/disk'):
        _read_disk(vm, disk)
    for driver in root.iterfind('devices/controller/driver'):
        _read_other(vm, driver)
    arguments = [(i + 1, arg.get('value', '')) for i, arg in enumerate(
        root.iterfind(f'{QEMU}commandline/{QEMU}arg'))]
    _override(vm, root)
    _add_arguments(vm, arguments)
    return vm


def _override(vm, root):
    """What <qemu:override> says of disks."""
    for device in root.iterfind(f'{QEMU}override/{QEMU}device'):
        for item in device.iterfind(f'{QEMU}frontend/{QEMU}property'):
            for disk in vm.disks:
                if (disk.id == device.get('alias')
                        and item.get('name') in own.PROPERTIES):
                    disk.own[item.get('name')] = item.get('value')


def _add_arguments(vm, arguments):
    before = list(vm.disks)
    try:
        sets = cmdline.add_arguments(vm, arguments)
    except PlanError as err:
        raise PlanError(str(err).replace('line', 'qemu:arg', 1)) from err
    for disk in before:
        line, values = sets.get(disk.id, (None, {}))
        if line:
            vm.refused.append((
                f'qemu:arg {line}, {disk.id}', 'libvirt 9.0 and later '
                'describe devices in JSON, and QEMU refuses a -set for those; '
                'say <qemu:override>'))
        disk.own.update({key: values[key] for key in own.PROPERTIES
                         if key in values})
    for disk in vm.disks[len(before):]:
        disk.place = disk.place.replace('line', 'qemu:arg', 1)


def _refuse_doctype(data):
    """Entities of a DOCTYPE can grow without end, and libvirt needs none."""
    def refuse(*_args):
        raise PlanError('XML with a DOCTYPE is not read')

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as err:
        raise PlanError(f'this is no XML: {err}') from err


def _text(element):
    return '' if element is None else (element.text or '').strip()


def _get(element, name):
    return None if element is None else element.get(name)


def _read_iothreads(vm, root):
    """As libvirt numbers them: those that are listed, then the lowest free."""
    ids = [options.number(item.get('id'), 0)
           for item in root.iterfind('iothreadids/iothread')]
    number = max(options.number(_text(root.find('iothreads')), 0), len(ids))
    if number > MAX_IOTHREADS:
        raise PlanError(f'{number} IOThreads are too many')
    free = sorted(set(range(1, number + 1)) - set(ids))
    ids += free[:number - len(ids)]
    for i in ids:
        vm.iothreads[f'iothread{i}'] = f'iothread {i}'


def _read_pins(vm, root):
    pinned = set()
    tune = root.find('cputune')
    kinds = {'vcpupin': 'vcpu', 'iothreadpin': 'iothread',
             'emulatorpin': 'emulator'}
    for element in () if tune is None else tune:
        kind = kinds.get(element.tag)
        if kind is None:
            continue
        number = options.number(element.get(kind))
        who = f'iothread{number}' if kind == 'iothread' else number
        pinned.add((kind, who))
        place = element.tag + ('' if number is None else f' {number}')
        vm.pins.append(Pin(place, kind, who, cpulist.parse(
            element.get('cpuset', ''))))
    whole = _get(root.find('vcpu'), 'cpuset')
    if whole:
        # For all that have no pin of their own
        cpus = cpulist.parse(whole)
        vm.pins += [Pin(f'vcpu cpuset, vCPU {i}', 'vcpu', i, cpus)
                    for i in range(vm.max_vcpus)
                    if ('vcpu', i) not in pinned]


def _read_disk(vm, element):
    if _get(element.find('target'), 'bus') != 'virtio':
        return
    driver = element.find('driver')
    name = _get(element.find('target'), 'dev') or '?'
    # Only an alias of this form is the user's
    alias = _get(element.find('alias'), 'name') or ''
    disk = Disk(f'disk {name}', cmdline.queues(f'disk {name}',
                                               _get(driver, 'queues')),
                id=alias if alias.startswith('ua-') else _alias(name))
    if _get(driver, 'iothread'):
        disk.iothread = f"iothread{driver.get('iothread')}"
    mapping = None if driver is None else driver.find('iothreads')
    if mapping is not None:
        disk.mapping = [
            (f"iothread{item.get('id')}",
             [options.number(queue.get('id'), -1) for queue in
              item.iterfind('queue')] or None)
            for item in mapping.iterfind('iothread')]
    if element.get('type') in ('file', 'block'):
        disk.aio = _get(driver, 'io') or 'threads'
        disk.aio_given = _get(driver, 'io') is not None
        disk.direct = _get(driver, 'cache') in ('none', 'directsync')
    vm.disks.append(disk)


def _alias(target):
    """As libvirt makes it: virtio-disk0 of "vda"."""
    number = 0
    for letter in target[2:]:
        number = 26 * number + ord(letter) - ord('a') + 1
    return f'virtio-disk{number - 1}'


def _read_other(vm, driver):
    vm.others.add(f"iothread{driver.get('iothread')}")
    for item in driver.iterfind('iothreads/iothread'):
        vm.others.add(f"iothread{item.get('id')}")
