# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan as XML of a libvirt domain, new or old."""

import string
import textwrap
from xml.etree import ElementTree

from vqtop.table import ranges

from . import qemu

# libvirt calls IOThread 1 iothread1
FIRST_IOTHREAD = 1

# The first with <iothreads> in a disk's <driver>
NEEDS = '10.0.0'

QEMU = 'http://libvirt.org/schemas/domain/qemu/1.0'


def text(plan, vm, aio, old):
    """The elements of the domain; for libvirt before NEEDS if @old."""
    ElementTree.register_namespace('qemu', QEMU)
    domain = ElementTree.Element('domain', type='kvm')
    for line in plan.why + _notes(plan, old):
        # No comment can have "--"
        lines = textwrap.wrap(line.replace('--', '- -'), 70,
                              break_on_hyphens=False)
        domain.append(ElementTree.Comment(' ' + '\n       '.join(lines) + ' '))
    _leaf(domain, 'name', vm)
    _leaf(domain, 'memory', '4', unit='GiB')
    _leaf(domain, 'vcpu', str(plan.request.vcpus), placement='static')
    _add_iothreads(domain, plan)
    _add_pins(domain, plan)
    _leaf(ElementTree.SubElement(domain, 'os'), 'type', 'hvm')
    if old:
        _add_arguments(domain, plan, aio)
    else:
        devices = ElementTree.SubElement(domain, 'devices')
        for i, path in enumerate(plan.request.disks):
            _add_disk(devices, i, path, plan, aio)
    ElementTree.indent(domain)
    return ElementTree.tostring(domain, encoding='unicode') + '\n'


def _notes(plan, old):
    lines = ['Name, memory and os stand for those of your domain']
    if old:
        unknown = [f'drive{i}' for i, path in enumerate(plan.request.disks)
                   if path is None]
        lines.append('libvirt does not know disks of qemu:commandline: it '
                     'neither lets QEMU open them (see cgroup_device_acl in '
                     'qemu.conf, and the owner of the device) nor unplugs or '
                     f'migrates them; libvirt {NEEDS} and later need no such '
                     'thing')
        if unknown:
            lines.append('Add -blockdev for ' + ', '.join(unknown))
    else:
        if len(plan.iothreads) > 1:
            lines.append(f'Needs libvirt {NEEDS}: older ones do not know '
                         'iothreads in driver of a disk')
        if None in plan.request.disks:
            lines.append('Add a source to each disk that has none')
    return lines


def _leaf(parent, name, content, **attributes):
    ElementTree.SubElement(parent, name, **attributes).text = content


def _add_iothreads(domain, plan):
    _leaf(domain, 'iothreads', str(len(plan.iothreads)))
    ids = ElementTree.SubElement(domain, 'iothreadids')
    for thread in plan.iothreads:
        ElementTree.SubElement(ids, 'iothread', id=str(thread.number))


def _add_pins(domain, plan):
    pins = [('vcpupin', 'vcpu', vcpu, cpus)
            for vcpu, cpus in sorted(plan.request.pins.items())]
    pins += [('iothreadpin', 'iothread', thread.number, thread.cpus)
             for thread in plan.iothreads if thread.cpus is not None]
    if not pins:
        return
    tune = ElementTree.SubElement(domain, 'cputune')
    for name, key, number, cpus in pins:
        ElementTree.SubElement(tune, name, {
            key: str(number), 'cpuset': ranges(sorted(cpus))})


def target(number):
    """vda, vdb, ... vdz, vdaa, ..."""
    name = ''
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = string.ascii_lowercase[letter] + name
    return 'vd' + name


def _add_disk(devices, number, path, plan, aio):
    disk = ElementTree.SubElement(devices, 'disk', type='block',
                                  device='disk')
    driver = ElementTree.SubElement(
        disk, 'driver', name='qemu', type='raw', cache='none', io=aio,
        queues=str(plan.request.vcpus))
    if len(plan.iothreads) == 1:
        driver.set('iothread', str(plan.iothreads[0].number))
    else:
        mapping = ElementTree.SubElement(driver, 'iothreads')
        for thread in plan.iothreads:
            item = ElementTree.SubElement(mapping, 'iothread',
                                          id=str(thread.number))
            for queue in thread.queues:
                ElementTree.SubElement(item, 'queue', id=str(queue))
    if path is not None:
        ElementTree.SubElement(disk, 'source', dev=path)
    ElementTree.SubElement(disk, 'target', dev=target(number), bus='virtio')


def _add_arguments(domain, plan, aio):
    """Only the disks: libvirt makes and pins the IOThreads."""
    arguments = []
    for i, path in enumerate(plan.request.disks):
        if path is not None:
            arguments += ['-blockdev',
                          qemu.compact(qemu.blockdev(i, path, aio))]
        arguments += ['-device', qemu.compact(qemu.device(i, plan))]
    commandline = ElementTree.SubElement(domain, f'{{{QEMU}}}commandline')
    for argument in arguments:
        ElementTree.SubElement(commandline, f'{{{QEMU}}}arg', value=argument)
