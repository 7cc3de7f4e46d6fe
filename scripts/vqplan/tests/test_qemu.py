# SPDX-License-Identifier: GPL-2.0-or-later
"""What is printed starts on real QEMUs, as far as they are built."""

import json
import os
import subprocess
import unittest
from xml.etree import ElementTree

from vqplan import libvirt
from vqtap import PATIENCE
from vqtop.tests.test_qemu import OURS, STOCK

from .program import ProgramTest

BINARIES = [path for _base, path in OURS + STOCK]

VM = ('-nodefaults', '-display', 'none', '-accel', 'qtest', '-S', '-qmp',
      'stdio')


@unittest.skipUnless(BINARIES, 'no QEMU is built')
class Qemu(ProgramTest):
    def start(self, command):
        """QEMU; it must greet."""
        self.process = subprocess.Popen(
            command, cwd=self.dir, stdin=subprocess.PIPE, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(self.process.communicate)
        self.addCleanup(self.process.kill)
        line = self.process.stdout.readline()
        self.assertIn('"QMP"', line)
        self.qmp('qmp_capabilities')

    def qmp(self, command, **arguments):
        """What it returns."""
        self.process.stdin.write(json.dumps(
            {'execute': command, 'arguments': arguments}))
        self.process.stdin.flush()
        for line in self.process.stdout:
            answer = json.loads(line)
            if 'event' not in answer:
                return answer['return']
        return self.fail('QEMU has ended')

    def quit(self):
        """It must end well."""
        self.qmp('quit')
        self.process.communicate(timeout=PATIENCE)
        self.assertEqual(self.process.returncode, 0)

    def threads(self):
        """Name to thread id."""
        return {t['id']: t['thread-id'] for t in self.qmp('query-iothreads')}

    def shell(self, text, path, more=()):
        """Start it as bash would."""
        file = self.write(text, 'plan')
        self.start(['bash', '-euc', '. "$1"; shift; exec "$@" '
                    '"${vq_args[@]}"', '-', file, path, *VM, *more])

    def nodes(self, count):
        """Block devices that the plan leaves to the user."""
        return [word for i in range(count) for word in
                ('-blockdev', f'null-co,node-name=drive{i}')]

    def test_start(self):
        """arguments start, with the IOThreads and virtqueues of the plan"""
        for path in BINARIES:
            for count, *options in (
                    (1, '--vcpus', '4', '--pin', '0-3'),
                    (2, '--vcpus', '8', '--iothreads', '8'),
                    (3, '--vcpus', '32', '--pin', '0-15,24-39')):
                with self.subTest((path, options)):
                    text = self.plan('--disks', str(count), *options)
                    self.shell(text, path, self.nodes(count))
                    names = self.threads()
                    self.assertEqual(len(names), text.count('-object'))
                    pid = self.process.pid
                    for name, tid in names.items():
                        with open(f'/proc/{pid}/task/{tid}/comm',
                                  encoding='utf-8') as comm:
                            self.assertEqual(comm.read(), f'IO {name}\n')
                    for i in range(count):
                        self.assertEqual(self.qmp(
                            'qom-get', path=f'/machine/peripheral/disk{i}',
                            property='num-queues'), int(options[1]))
                    self.quit()

    def test_own(self):
        """a disk's own IOThreads: as many, of these names, on these CPUs"""
        cpus = sorted(os.sched_getaffinity(0))
        number = min(len(cpus), 2)
        text = self.plan('--vcpus', '4', '--disks', '2', '--iothreads',
                         str(number), '--cpus', ','.join(map(str, cpus)),
                         '--own-iothreads', '--topology', '/sys')
        self.assertNotIn('-object', text)
        for _base, path in OURS:
            with self.subTest(path):
                self.shell(text, path, self.nodes(2))
                threads = self.threads()
                self.assertEqual(sorted(threads), [
                    f'disk{i}.{j}' for i in range(2) for j in range(number)])
                for name, tid in threads.items():
                    self.assertEqual(os.sched_getaffinity(tid),
                                     {cpus[int(name[-1])]})
                self.assertEqual(
                    [item['vqs'] for item in self.qmp(
                        'qom-get', path='/machine/peripheral/disk1',
                        property='x-iothread-vq-mapping-resolved')],
                    [list(range(i, 4, number)) for i in range(number)])
                self.quit()

    def test_pins(self):
        """vq_pin moves the threads"""
        cpu = max(os.sched_getaffinity(0))
        text = self.plan('--vcpus', '2', '--cpus', str(cpu), '--topology',
                         '/sys')
        for path in BINARIES:
            with self.subTest(path):
                self.shell(text, path, self.nodes(1))
                subprocess.run(['bash', '-euc', '. ./plan; vq_pin'],
                               cwd=self.dir, stdout=subprocess.DEVNULL,
                               check=True)
                for tid in self.threads().values():
                    self.assertEqual(os.sched_getaffinity(tid), {cpu})
                self.quit()

    def test_disk(self):
        """a disk with a name: opened as it says"""
        image = self.write(bytes(1 << 20), 'image')
        try:
            os.close(os.open(image, os.O_RDWR | os.O_DIRECT))
        except OSError:
            self.skipTest(f'{self.dir} has no O_DIRECT')
        for aio in ('native', 'io_uring'):
            text = self.plan('--vcpus', '8', '--pin', '24-31', '--disk',
                             '/dev/nvme0n1', '--aio', aio)
            # A test cannot count on a block device to write to
            text = text.replace('"host_device"', '"file"').replace(
                '/dev/nvme0n1', image)
            for path in BINARIES:
                with self.subTest((path, aio)):
                    self.shell(text, path)
                    [block] = self.qmp('query-block')
                    self.assertTrue(block['inserted']['cache']['direct'])
                    self.quit()

    def test_old_libvirt(self):
        """arguments of <qemu:commandline>, beside what libvirt adds"""
        root = ElementTree.fromstring(self.plan(
            '--vcpus', '8', '--pin', '24-31', '--disks', '2', '--format',
            'libvirt-qemu-commandline'))
        arguments = [arg.get('value') for arg in root.iter(
            f'{{{libvirt.QEMU}}}arg')]
        for path in BINARIES:
            with self.subTest(path):
                self.start([path, *VM, '-smp', root.findtext('vcpu'),
                            *self.nodes(2), '-object', 'iothread,id=iothread1',
                            '-object', 'iothread,id=iothread2', *arguments])
                self.assertEqual(sorted(self.threads()),
                                 ['iothread1', 'iothread2'])
                self.quit()
