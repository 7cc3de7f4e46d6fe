# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU to run, and what goes with it."""

import os
import shutil
import subprocess
import sys

from vqbench import machine

from . import DemoError

GUEST = os.path.join(machine.BUILD, 'guest')


def find_qemu(base, given=None):
    """The binary that is @given, or built for @base."""
    path = given or os.path.join(machine.BUILD, base, 'bin',
                                 'qemu-system-x86_64')
    if not shutil.which(path):
        raise DemoError(f'{path} is no program' if given else
                        f'{path} is not built; run: make build BASE={base}')
    return path


def find_stock(base):
    """The binary of stock QEMU that is built for @base."""
    path = os.path.join(machine.BUILD, base, 'stock', 'bin',
                        'qemu-system-x86_64')
    if not shutil.which(path):
        raise DemoError(f'{path} is not built; run: make stock BASE={base}')
    return path


def import_qmp(base):
    """QEMU's own QMP library, from the tree that was built."""
    sys.path.append(os.path.join(machine.BUILD, base, 'src', 'python'))
    try:
        from qemu.qmp.legacy import QEMUMonitorProtocol
    except ImportError as err:
        raise DemoError(f'QEMU\'s python/qemu/qmp is missing ({err}); '
                        f'run: make build BASE={base}') from err
    return QEMUMonitorProtocol


def make_guest():
    """Have the guest's kernel and initramfs in GUEST."""
    subprocess.run([os.path.join(machine.TOP, 'scripts', 'make-guest')],
                   check=True)
