# SPDX-License-Identifier: GPL-2.0-or-later
"""Read a command line or a domain, and print what is wrong with it."""

import sys

from vqtop.table import count, printable

from . import (PlanError, cmdline, domain, own, pin_rules, queue_rules,
               topology)

# Far more than there can be to say about one VM
MAX_BYTES = 16 << 20


def run(path, host, avoid=()):
    """
    Returns the exit status; @host is what topology.load() takes, CPUs @avoid
    are not for this VM.
    """
    name = 'stdin' if path == '-' else path
    try:
        vm = _read(_content(path))
        if not vm.disks:
            raise PlanError('there is no virtio-blk disk in it')
        online = (len(topology.load(host).online) if own.needs_host(vm)
                  else None)
        found = vm.refused + own.resolve(vm, online)
    except PlanError as err:
        raise PlanError(f'{name}: {err}') from err
    found += queue_rules.findings(vm)
    if vm.pins:
        found += pin_rules.findings(vm, topology.load(host), set(avoid))
    for place, text in found:
        print(printable(f'{place}: {text}'))
    if not found:
        print(f'{printable(name)}: nothing is wrong with '
              f'{count(vm.vcpus, "vCPU")}, {count(len(vm.disks), "disk")}, '
              f'{count(len(vm.iothreads), "IOThread")}, '
              f'{count(len(vm.pins), "pin")}')
    return 1 if found else 0


def _content(path):
    try:
        if path == '-':
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, 'rb') as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as err:
        raise PlanError(err.strerror) from err
    if len(data) > MAX_BYTES:
        raise PlanError('it is too large')
    if not data.strip():
        raise PlanError('it is empty')
    return data


def _read(data):
    if data.lstrip(b'\xef\xbb\xbf \t\r\n').startswith(
            (b'<', b'\xff\xfe', b'\xfe\xff')):
        return domain.read(data)
    return cmdline.read(data.decode(errors='replace'))
