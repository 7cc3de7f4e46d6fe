# SPDX-License-Identifier: GPL-2.0-or-later
"""The program, with a QMP server that is scripted."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from vqtap import PATIENCE

from .fake_qemu import FakeQemu, busy_vm, remapped, stock_vm

SCRIPTS = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

SHORT = ('--interval', '0.1')


class ProgramTest(unittest.TestCase):
    """What the tests of a program share."""

    name = 'vq-top'

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        self.socket = os.path.join(self.dir, 'qmp')

    def serve(self, answers=None, **more):
        """A QEMU, until the test ends."""
        qemu = FakeQemu(self.socket, answers, **more)
        self.addCleanup(qemu.close)
        return qemu

    def start(self, *options, prefix=(), **more):
        """The program, run by the command @prefix if there is one."""
        process = subprocess.Popen(
            [*prefix, sys.executable, os.path.join(SCRIPTS, self.name),
             *options],
            text=True,
            **{'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE,
               'stderr': subprocess.PIPE, **more})
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_for_sample(self, qemu):
        """Until the first one is taken."""
        deadline = time.monotonic() + PATIENCE
        # Twice: the program finds out what there is before
        while qemu.commands.count('query-virtio-blk-queues') < 2:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def top(self, *options):
        """What it prints; it must succeed and complain of nothing."""
        process = self.start(*SHORT, *options, self.socket)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors), (0, ''))
        return output

    def must_fail(self, pattern, *options, status=1, **more):
        """It must say just one line, and nothing else."""
        process = self.start(*SHORT, *options, **more)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, output), (status, ''))
        self.assertRegex(errors, f'^{self.name}: .*{pattern}.*\n$')
        self.assertEqual(errors.count('\n'), 1)


class Program(ProgramTest):
    def test_once(self):
        """--once prints one block"""
        self.serve(busy_vm())
        output = self.top('--once')
        self.assertRegex(output, r'^QEMU 9\.0\.0 "vm", pid \d+, ')
        self.assertRegex(output, '\ndisk0: .*imbalance 2.00 over 4 virtq')
        self.assertRegex(output, '\n    3 iothread1 ')
        self.assertIn('\n1 virtqueue not in use: 4\n', output)
        self.assertNotIn('\033', output)

    def test_queries_only(self):
        """it sends query-* commands only"""
        for answers, options in ((busy_vm(), ('--device', 'disk0')),
                                 (stock_vm(), ())):
            qemu = self.serve(answers)
            self.top('--count', '2', *options)
            self.assertGreater(len(qemu.commands), 6)
            for command in set(qemu.commands):
                self.assertRegex(command, '^(query-.*|qmp_capabilities)$')
            qemu.close()

    def test_json(self):
        """--json prints an object a line, of numbers, without null"""
        self.serve(busy_vm())
        lines = self.top('--json', '--count', '3').splitlines()
        self.assertEqual(len(lines), 3)
        for line in lines:
            self.assertNotIn('null', line)
            block = json.loads(line)
            self.assertEqual(block['qemu']['pid'], os.getpid())
            row = block['disks'][0]['queues'][3]
            self.assertEqual(row['iothread'], 'iothread1')
            self.assertAlmostEqual(row['iops'] * block['seconds'], 3000)
            self.assertAlmostEqual(block['imbalance'], 4 / 3)
            self.assertIn('cpu-percent', row)
            self.assertGreaterEqual(block['seconds'], 0.05)

    def test_count(self):
        """--count blocks are one after another"""
        self.serve(busy_vm())
        self.assertEqual(self.top('--count', '3').count('QEMU 9.0.0'), 3)

    def test_device(self):
        """--device shows that; of an unknown one QEMU has a word"""
        self.serve(busy_vm())
        self.assertIn('disk0: ', self.top('--once', '--device', 'disk0'))
        self.must_fail("Device 'x' not found", '--device', 'x', self.socket)

    def test_stock(self):
        """a QEMU without the command: threads, disks and what is missing"""
        self.serve(stock_vm())
        output = self.top('--count', '2')
        self.assertEqual(output.count('no query-virtio-blk-queues'), 1)
        self.assertRegex(output, r'\niothread0 +\d+ +[\d.]+ +\d+\n')
        self.assertRegex(output, r'\ndisk0 +[\d.k]+ +0 ')
        self.assertIn('disk0', self.top('--once', '--device', 'disk0'))
        self.must_fail('QEMU has no disk "x"', '--device', 'x', self.socket)
        block = json.loads(self.top('--json', '--once'))
        self.assertIn('no figures per virtqueue', block['missing'][0])

    def test_foreign_threads(self):
        """thread ids that are not one process's: no figures, and a word"""
        answers = stock_vm()
        answers['query-iothreads'] = [
            {'id': 'a', 'thread-id': os.getpid()},
            {'id': 'b', 'thread-id': os.getppid()}]
        self.serve(answers)
        output = self.top('--count', '2')
        self.assertEqual(output.count('no figures of threads'), 1)
        self.assertRegex(output, r'\nb +\d+ +- +-\n')

    def test_plugged(self):
        """disks come and go; a re-plugged one has no negative rates"""
        answers = busy_vm()
        real = answers['query-virtio-blk-queues']
        turn = 0

        def queues(arguments):
            nonlocal turn
            turn += 1
            found = real(arguments)
            if turn == 5:
                return []
            if turn == 3:
                for queue in found[0]['queues']:
                    queue['read'] = {'requests': 0, 'bytes': 0}
            return found

        answers['query-virtio-blk-queues'] = queues
        self.serve(answers)
        blocks = [json.loads(line) for line in
                  self.top('--json', '--count', '5').splitlines()]
        self.assertEqual(['iops' in block for block in blocks],
                         [False, True, False, False, True])
        self.assertEqual([len(block['disks']) for block in blocks],
                         [1, 1, 0, 1, 1])
        for block in blocks:
            self.assertGreaterEqual(block.get('iops', 0), 0)

    def test_unplug_event(self):
        """an unplugging is noticed although no counter fell"""
        qemu = self.serve(busy_vm())
        process = self.start('--json', '--count', '2', '--interval', '5',
                             self.socket)
        process.stdout.readline()
        qemu.events.append({
            'event': 'DEVICE_DELETED', 'timestamp': {},
            'data': {'device': 'disk0', 'path': '/machine/peripheral/disk0'}})
        output, _errors = process.communicate(timeout=PATIENCE)
        self.assertNotIn('iops', json.loads(output))

    def test_remapped(self):
        """intervals of --json stay as they were asked for"""
        qemu = self.serve(busy_vm())
        process = self.start('--json', '--count', '1', '--interval', '1',
                             self.socket)
        self.wait_for_sample(qemu)
        qemu.send(remapped('disk0', (1, 'iothread1', 'iothread0', 9)))
        output, _errors = process.communicate(timeout=PATIENCE)
        self.assertGreater(json.loads(output)['seconds'], 0.9)

    def test_former(self):
        """of a former version of the series --device is not understood"""
        answers = busy_vm()
        answers['query-virtio-blk-queues'] = lambda arguments: (
            {'error': {'class': 'GenericError', 'desc':
                       "Parameter 'id' is unexpected"}} if arguments else [])
        self.serve(answers)
        self.assertIn('QEMU 9.0.0', self.top('--once'))
        self.must_fail("Parameter 'id' is unexpected", '--device', 'disk0',
                       self.socket)

    def test_ends_between(self):
        """the end of QEMU is noticed at once, not at the next sample"""
        qemu = self.serve(busy_vm())
        process = self.start('--interval', '3600', self.socket)
        self.wait_for_sample(qemu)
        qemu.hang_up()
        _output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors),
                         (1, 'vq-top: QEMU has ended\n'))

    def test_broken_pipe(self):
        """head may have seen enough"""
        self.serve(busy_vm())
        process = self.start('--count', '50', *SHORT, self.socket)
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(process.stderr.read(), '')

    def test_interrupt(self):
        """Ctrl-C ends it with status 0, SIGTERM with 143"""
        self.serve(busy_vm())
        for number, status in ((signal.SIGINT, 0), (signal.SIGTERM, 143)):
            process = self.start(*SHORT, self.socket)
            process.stdout.readline()
            process.send_signal(number)
            _output, errors = process.communicate(timeout=PATIENCE)
            self.assertEqual((process.returncode, errors), (status, ''))


class Png(ProgramTest):
    def setUp(self):
        super().setUp()
        self.png = os.path.join(self.dir, 'out', 'a.png')
        os.mkdir(os.path.dirname(self.png))

    def assert_png(self):
        """There is one, and nothing else."""
        with open(self.png, 'rb') as file:
            self.assertEqual(file.read(8), b'\x89PNG\r\n\x1a\n')
        self.assertEqual(os.listdir(os.path.dirname(self.png)), ['a.png'])

    def test_count(self):
        """--png is written at the end"""
        self.serve(busy_vm())
        self.top('--count', '2', '--png', self.png)
        self.assert_png()

    def test_stock(self):
        """on stock QEMU it is of the threads"""
        self.serve(stock_vm())
        self.top('--count', '2', '--png', self.png)
        self.assert_png()

    def test_interrupt(self):
        """Ctrl-C writes it too"""
        self.serve(busy_vm())
        process = self.start(*SHORT, '--png', self.png, self.socket)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0)
        self.assert_png()

    def test_qemu_ends(self):
        """QEMU ends: one line, and what there is is drawn"""
        self.serve(busy_vm(), last=12)
        process = self.start(*SHORT, '--png', self.png, self.socket)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertIn('disk0', output)
        self.assertEqual((process.returncode, errors),
                         (1, 'vq-top: QEMU has ended\n'))
        self.assert_png()

    def test_too_early(self):
        """without an interval there is none, and a word"""
        qemu = self.serve(busy_vm())
        process = self.start('--interval', '60', '--png', self.png,
                             self.socket)
        self.wait_for_sample(qemu)
        process.send_signal(signal.SIGINT)
        _output, errors = process.communicate(timeout=PATIENCE)
        self.assertRegex(errors, '^vq-top: no .*before the first interval\n$')
        self.must_fail("Device 'x' not found", '--png', self.png, '--device',
                       'x', self.socket)
        self.assertFalse(os.path.exists(self.png))

    def test_refused(self):
        """what cannot be written is refused before anything is sampled"""
        qemu = self.serve(busy_vm())
        for path in (self.dir, '/dev/null'):
            self.must_fail('cannot write .*: it is no regular file', '--png',
                           path, self.socket)
        self.must_fail('cannot write .*: No such file or directory', '--png',
                       os.path.join(self.dir, 'x', 'a.png'), self.socket)
        self.assertEqual(qemu.commands, [])


class Errors(ProgramTest):
    def test_usage(self):
        """wrong options have status 2"""
        for options in ((), ('--interval', '0', 'x'), ('--count', '0', 'x'),
                        ('--interval', 'nan', 'x'), ('--sort', 'y', 'x'),
                        ('--once', '--count', '2', 'x')):
            process = self.start(*options)
            _output, errors = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 2, options)
            self.assertIn('vq-top: error: ', errors)

    def test_no_socket(self):
        """no socket, a file, nobody there, and no such port"""
        self.must_fail('there is no /nowhere', '/nowhere')
        self.must_fail('is no socket', __file__)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(self.socket)
        self.must_fail('nobody listens', self.socket)
        self.must_fail('neither a socket nor HOST:PORT', 'host:port')
        self.must_fail('cannot connect to .*: AF_UNIX path too long',
                       os.path.join(self.dir, './' * 60, 'qmp'))

    def test_permission(self):
        """no permission"""
        self.serve()
        os.chmod(self.socket, 0)
        # Root may connect to everything, unless it gives that up
        drop = ([] if os.getuid() else
                ['setpriv', '--bounding-set=-dac_override', '--inh-caps=-all'])
        self.must_fail('no permission', self.socket, prefix=drop)

    def test_busy(self):
        """another client has the socket"""
        self.serve()
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(self.socket)
            other.recv(4096)
            start = time.monotonic()
            self.must_fail('serves one client .* another -qmp', self.socket)
            self.assertLess(time.monotonic() - start, PATIENCE)

    def test_not_qmp(self):
        """who greets in another way"""
        for greeting in ('QEMU 9.0.0 monitor\r\n(qemu) ', '{}\r\n', '[]\r\n'):
            qemu = self.serve(greeting=greeting)
            self.must_fail('does not speak QMP', self.socket)
            qemu.close()

    def test_closed(self):
        """who hangs up at once, and who does later"""
        qemu = self.serve(last=1)
        self.must_fail('closed the connection|does not speak', self.socket)
        qemu.close()
        self.serve(busy_vm(), last=3)
        self.must_fail('QEMU has ended', self.socket)

    def test_escapes(self):
        """what QEMU says is printed without escapes"""
        self.serve({'query-name': lambda _arguments: {'error': {
            'class': 'GenericError', 'desc': 'a\033[31mb\nc'}}})
        self.must_fail(r'QEMU says: a\?\[31mb\?c', self.socket)

    def test_library(self):
        """a folder without qemu/qmp, and none at all"""
        self.must_fail('has no qemu/qmp', '--qemu-python', self.dir,
                       self.socket)
        process = self.start(self.socket, env={
            **os.environ, 'VQ_BUILD_DIR': self.dir, 'VQ_QEMU_PYTHON': ''})
        _output, errors = process.communicate(timeout=PATIENCE)
        self.assertIn('vq-top: ', errors)
        self.assertEqual(process.returncode, 1)
