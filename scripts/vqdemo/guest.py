# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest under QEMU whose disk is the subject."""

import json
import os
import re
import subprocess
import time

from . import DemoError, builds


def kvm_usable():
    """KVM may open and still hang where the CPU has no virtualization."""
    with open('/proc/cpuinfo', encoding='ascii') as cpuinfo:
        return (re.search(r'^flags.*\b(vmx|svm)\b', cpuinfo.read(), re.M)
                and os.access('/dev/kvm', os.R_OK | os.W_OK))


def null_device():
    """A host null block device that QEMU may open, or None."""
    path = '/dev/nullb0'
    return path if os.access(path, os.R_OK | os.W_OK) else None


def disk_arguments():
    """-blockdev options of a disk that costs as little as possible."""
    path = null_device()
    if path:
        return {'driver': 'host_device', 'node-name': 'drive0',
                'filename': path, 'aio': 'native', 'cache': {'direct': True}}
    return {'driver': 'null-co', 'node-name': 'drive0',
            'size': 100 << 30, 'read-zeroes': True}


class Guest:
    """One run of QEMU; a context manager that leaves no process behind."""

    def __init__(self, name, qemu, qmp, work_dir, vcpus, kernel, options):
        """
        @kernel: words for its command line; @options: QEMU's, for the disk
        and what is special about this run.
        """
        self.tty = os.path.join(work_dir, 'guest.log')
        self.trace = os.path.join(work_dir, 'trace.log')
        self.console = os.path.join(work_dir, 'console.log')
        self.errors = os.path.join(work_dir, 'qemu.log')
        self._socket = os.path.join(work_dir, 'qmp')
        self._qmp_class = qmp
        self._qmp = None
        self._process = None
        self._read = 0

        self.command = [
            # Ends with this process, whatever ends it
            'setpriv', '--pdeathsig', 'KILL',
            qemu, '-name', f'{name},debug-threads=on', '-nodefaults',
            '-display', 'none', '-no-reboot', '-m', '1G', '-smp', str(vcpus),
            *(['-accel', 'kvm', '-cpu', 'host'] if kvm_usable() else
              ['-accel', 'tcg,thread=multi', '-cpu', 'max']),
            '-kernel', os.path.join(builds.GUEST, 'vmlinuz'),
            '-initrd', os.path.join(builds.GUEST, 'initrd'),
            # A busy host may not deliver the ticks that Linux waits for
            '-append', f'console=ttyS0 panic=-1 no_timer_check {kernel}',
            '-chardev', f'file,id=console,path={self.console}',
            '-device', 'isa-serial,chardev=console',
            '-chardev', f'file,id=tty,path={self.tty}',
            '-device', 'isa-serial,chardev=tty',
            '-qmp', f'unix:{self._socket},server=on,wait=off',
            '-D', self.trace, '-msg', 'timestamp=on', *options,
        ]

    def __enter__(self):
        with open(self.errors, 'wb') as errors:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL,
                stdout=errors, stderr=errors)
        try:
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc):
        if self._qmp:
            self._qmp.close()
        self._process.kill()
        self._process.wait()

    def _connect(self):
        deadline = time.monotonic() + 120
        while not os.path.exists(self._socket):
            self._check_alive()
            if time.monotonic() > deadline:
                raise DemoError('QEMU does not open its QMP socket')
            time.sleep(0.05)
        self._qmp = self._qmp_class(self._socket)
        self._qmp.connect()

    def _check_alive(self):
        if self._process.poll() is not None:
            with open(self.errors, encoding='utf-8') as errors:
                lines = errors.read().strip().splitlines()
            raise DemoError('QEMU ended with status '
                            f'{self._process.returncode}: '
                            f'{lines[-1] if lines else "no message"}')

    @property
    def pid(self):
        """QEMU's process id."""
        return self._process.pid

    def event(self, seconds):
        """The next event; asyncio.TimeoutError if there is none."""
        return self._qmp.pull_event(float(seconds))

    def qmp(self, command, **arguments):
        """Run a QMP command; an error of it is an exception."""
        return self._qmp.cmd(command, **arguments)

    def new_lines(self):
        """Yield what the guest has said since the last time."""
        with open(self.tty, encoding='utf-8', errors='replace') as tty:
            tty.seek(self._read)
            text = tty.read()
        whole = text[:text.rfind('\n') + 1]
        for line in whole.splitlines():
            self._read += len(line.encode()) + 1
            line = line.rstrip('\r')
            if line.startswith('vq: error'):
                raise DemoError(f'in the guest: {line[10:]}')
            yield line

    def lines(self, end, seconds):
        """Yield what the guest says until a line begins with @end."""
        deadline = time.monotonic() + seconds
        while True:
            alive = self._process.poll() is None
            for line in self.new_lines():
                if line.startswith(end):
                    return
                yield line
            if not alive:
                self._check_alive()
            if time.monotonic() > deadline:
                raise DemoError(
                    f'the guest does not say "{end}" within {seconds} s; '
                    f'its last words: "{self._last_words()}"')
            time.sleep(0.05)

    def _last_words(self):
        with open(self.console, encoding='utf-8', errors='replace') as log:
            lines = log.read().strip().splitlines()
        return lines[-1].strip() if lines else ''
