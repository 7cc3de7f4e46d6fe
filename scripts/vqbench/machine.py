# SPDX-License-Identifier: GPL-2.0-or-later
"""On what figures were taken: machine, commit, binaries."""

import hashlib
import os
import platform
import shutil
import subprocess

from . import BenchError

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


BUILD = os.environ.get('VQ_BUILD_DIR', os.path.join(TOP, 'build'))


def find_load(given, base):
    """The vq-load that is @given, or built for @base."""
    load = given or os.path.join(BUILD, base, 'obj', 'tests', 'qtest',
                                 'vq-load', 'vq-load')
    if not shutil.which(load):
        raise BenchError(f'{load} is no program' if given else
                         f'{load} is not built; run: make bench BASE={base}')
    return load


def short(path):
    """Relative to the top folder, if @path is in it."""
    return path[len(TOP) + 1:] if path.startswith(TOP + '/') else path


def _first_line(command):
    try:
        return subprocess.run(command, text=True, check=True,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout.split('\n')[0]
    except (OSError, subprocess.CalledProcessError):
        return None


def binary(path, name):
    """What identifies a QEMU binary."""
    version = _first_line([path, '--version'])
    if not version or not version.startswith('QEMU emulator'):
        raise BenchError(f'"{path} --version" does not say what QEMU it is; '
                         'give a qemu-system-x86_64 that works')
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return {'name': name, 'path': short(path), 'version': version,
            'sha256': digest.hexdigest()}


def usable_cpus():
    """
    CPUs that this process may use, one of each core before the second of
    any, and how many cores that makes.
    """
    cores = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        path = (f'/sys/devices/system/cpu/cpu{cpu}/topology/'
                'thread_siblings_list')
        try:
            with open(path, encoding='ascii') as siblings:
                core = siblings.read().strip()
        except OSError:
            core = str(cpu)
        cores.setdefault(core, []).append(cpu)
    cpus = [(turn, cpu) for core in cores.values()
            for turn, cpu in enumerate(core)]
    return [cpu for _turn, cpu in sorted(cpus)], len(cores)


def machine():
    """What the figures depend on."""
    model, virtual = platform.machine(), False
    with open('/proc/cpuinfo', encoding='utf-8') as cpuinfo:
        for line in cpuinfo:
            key, _colon, value = line.partition(':')
            if key.strip() == 'model name':
                model = value.strip()
            elif key.strip() == 'flags':
                virtual = 'hypervisor' in value.split()
    cpus, cores = usable_cpus()
    return {'cpu': model, 'virtual': virtual, 'cpus': len(cpus),
            'cores': cores, 'kernel': platform.release(),
            'load-average': round(os.getloadavg()[0], 2)}


def commit():
    """The git commit of the scripts, and whether files differ; or None."""
    git = ['git', '-C', TOP]
    head = _first_line([*git, 'rev-parse', 'HEAD'])
    if not head:
        return None
    return {'commit': head,
            'dirty': bool(_first_line([*git, 'status', '--porcelain']))}
