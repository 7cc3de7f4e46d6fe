# SPDX-License-Identifier: GPL-2.0-or-later
"""Who serves the disk: the modes that are compared, and QEMU's options."""

import json
import re
import subprocess
from dataclasses import dataclass, replace

from . import ContentionError

# The article's name for it, which is also what libvirt calls a first disk
DISK = 'virtio-disk0'

NAMES = ('main-loop', 'iothread', 'x-data-plane', 'mapping')

# What the article switched off in all of its runs
OFF = ('scsi', 'config-wce')


@dataclass(frozen=True)
class Mode:
    """A way to serve the disk."""
    name: str
    title: str
    options: tuple      # of QEMU, without the disk's backend
    qemu: str = ''      # the binary


def device_properties(qemu):
    """Names of the properties of @qemu's virtio-blk-pci."""
    try:
        done = subprocess.run([qemu, '-device', 'virtio-blk-pci,help'],
                              text=True, check=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except subprocess.CalledProcessError as err:
        last = (err.stderr.strip().splitlines() or ['no message'])[-1]
        raise ContentionError(f'{qemu} has no virtio-blk-pci: {last}') from err
    return set(re.findall(r'^ *([\w.-]+)=', done.stdout, re.M))


def _iothreads(count):
    return tuple(word for i in range(count)
                 for word in ('-object', f'iothread,id=iothread{i}'))


def _device(queues, properties, *more):
    """The article's form, which -set can change."""
    words = ['virtio-blk-pci', f'id={DISK}', 'drive=drive0',
             f'num-queues={queues}', *more]
    options = ['-device', ','.join(words)]
    for name in OFF:
        if name in properties:
            options += ['-set', f'device.{DISK}.{name}=off']
    return tuple(options)


def _mapping(queues, properties):
    device = {'driver': 'virtio-blk-pci', 'id': DISK, 'drive': 'drive0',
              'num-queues': queues,
              **{name: False for name in OFF if name in properties},
              'iothread-vq-mapping': [{'iothread': f'iothread{i}'}
                                      for i in range(queues)]}
    return ('-device', json.dumps(device))


def make_modes(queues, properties):
    """
    The modes that a QEMU with these @properties of virtio-blk-pci has, and a
    line for each that it has not.
    """
    device = _device(queues, properties)
    modes = [
        Mode('main-loop', 'main loop', device),
        Mode('iothread', 'iothread=', _iothreads(1) + _device(
            queues, properties, 'iothread=iothread0'))]
    missing = []
    if 'x-data-plane' in properties:
        modes.append(Mode('x-data-plane', 'x-data-plane=on', device + (
            '-set', f'device.{DISK}.x-data-plane=on')))
    else:
        missing.append('without x-data-plane=on: this QEMU has it not')
    if 'iothread-vq-mapping' in properties:
        several = 's' * (queues > 1)
        modes.append(Mode('mapping', f'mapping, {queues} IOThread{several}',
                          _iothreads(queues) + _mapping(queues, properties)))
    else:
        missing.append('without iothread-vq-mapping: this QEMU has it not')
    return modes, missing


def of_binary(qemu, queues):
    """The same, of the binary @qemu."""
    modes, missing = make_modes(queues, device_properties(qemu))
    return [replace(mode, qemu=qemu) for mode in modes], missing


def as_stock(modes):
    """@modes under names of their own, for a report that has ours too."""
    return [replace(mode, name=f'stock-{mode.name}',
                    title=f'stock: {mode.title}') for mode in modes]
