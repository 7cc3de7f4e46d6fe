# SPDX-License-Identifier: GPL-2.0-or-later
"""The program with real QEMUs, as far as they are built."""

import contextlib
import json
import os
import subprocess
import tempfile
import time
import unittest

from vqbench import machine
from vqtap import PATIENCE

from .test_program import SHORT, ProgramTest

NAME = 'qemu-system-x86_64'

# A flag in /proc/net/unix
LISTENING = 0x10000


def binaries():
    """(base, path) of those with our series, then of stock ones."""
    given = os.environ.get('QTEST_QEMU_BINARY')
    ours = [(base, os.path.join(machine.BUILD, base, 'bin', NAME))
            for base in ('9.0', '10.0')]
    if given:
        ours = [(base, path) for base, path in ours if path == given] or [
            (None, given)]
    stock = [(base, os.path.join(machine.BUILD, base, 'stock', 'bin', NAME))
             for base in ('9.0', '10.0')]
    return ([item for item in ours if os.path.exists(item[1])],
            [item for item in stock if os.path.exists(item[1])])


OURS, STOCK = binaries()


class QemuTest(ProgramTest):
    """What the tests of a program with real QEMUs share."""

    @contextlib.contextmanager
    def vm_of(self, path):
        """A subtest with a socket of its own."""
        with self.subTest(path):
            folder = tempfile.mkdtemp(dir=self.dir)
            self.socket = os.path.join(folder, 'qmp')
            yield

    def for_each_load(self, run):
        """run(vq-load, QEMU) for each build, with a socket of its own."""
        for base, path in OURS:
            load = os.path.join(machine.BUILD, base or '', 'obj', 'tests',
                                'qtest', 'vq-load', 'vq-load')
            if not os.path.exists(load):
                self.skipTest('vq-load is not built')
            with self.vm_of(path):
                run(load, path)

    def wait_for_socket(self, process):
        """Until QEMU listens; it may greet later."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_listening():
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def is_listening(self):
        """The socket is there before somebody listens."""
        with open('/proc/net/unix', encoding='utf-8') as sockets:
            # Num RefCount Protocol Flags Type St Inode Path
            return any(fields[7:] == [self.socket] and
                       int(fields[3], 16) & LISTENING
                       for fields in map(str.split, sockets))


class Qemu(QemuTest):
    def start_qemu(self, path):
        """A VM with two disks on two IOThreads, and no guest."""
        mapping = [{'iothread': 'iothread0'}, {'iothread': 'iothread1'}]
        disks = [{'driver': 'virtio-blk-pci', 'id': 'disk0', 'drive': 'drive0',
                  'num-queues': 4, 'iothread-vq-mapping': mapping},
                 {'driver': 'virtio-blk-pci', 'id': 'disk1', 'drive': 'drive1',
                  'num-queues': 1}]
        process = subprocess.Popen(
            [path, '-nodefaults', '-display', 'none', '-accel', 'qtest',
             '-name', 'top', '-qmp', f'unix:{self.socket},server=on,wait=off',
             '-object', 'iothread,id=iothread0',
             '-object', 'iothread,id=iothread1',
             '-blockdev', 'null-co,node-name=drive0',
             '-blockdev', 'null-co,node-name=drive1',
             '-device', json.dumps(disks[0]), '-device', json.dumps(disks[1])],
            stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_for_socket(process)
        return process.pid

    def check(self, path):
        """What is the same on all QEMUs. Returns the block."""
        pid = self.start_qemu(path)
        block = json.loads(self.top('--once', '--json'))
        self.assertEqual(block['qemu']['name'], 'top')
        self.assertEqual(block['qemu']['pid'], pid)
        threads = block['threads']
        self.assertEqual([t.get('id') for t in threads],
                         [None, 'iothread0', 'iothread1'])
        self.assertEqual(threads[0]['thread-id'], pid)
        for thread in threads:
            self.assertTrue(os.path.exists(
                f"/proc/{pid}/task/{thread['thread-id']}"))
            self.assertLessEqual(0, thread['cpu-percent'])
            self.assertIn(thread['host-cpu'], range(os.cpu_count()))
        self.assertEqual([disk['id'] for disk in block['disks']],
                         ['disk0', 'disk1'])
        self.assertIn('disk0', self.top('--once', '--device', 'disk0'))
        self.must_fail('x', '--device', 'x', self.socket)
        return block

    @unittest.skipUnless(STOCK, 'no stock QEMU is built')
    def test_stock(self):
        """stock QEMU"""
        for _base, path in STOCK:
            with self.vm_of(path):
                self.assertFalse(self.check(path)['per-queue'])

    @unittest.skipUnless(OURS, 'no QEMU is built')
    def test_ours(self):
        """a VM whose guest has not begun"""
        for _base, path in OURS:
            with self.vm_of(path):
                block = self.check(path)
                self.assertTrue(block['per-queue'])
                tids = {t.get('id'): t['thread-id'] for t in block['threads']}
                rows = block['disks'][0]['queues']
                self.assertEqual([row['iothread'] for row in rows],
                                 ['iothread0', 'iothread1'] * 2)
                for row in rows + block['disks'][1]['queues']:
                    self.assertEqual(row['thread-id'],
                                     tids[row.get('iothread')])
                    self.assertFalse(row['enabled'])
                self.assertEqual(len(block['disks'][1]['queues']), 1)

    @unittest.skipUnless(OURS, 'no QEMU is built')
    def test_load(self):
        """rates are those that the load says it has made"""
        self.for_each_load(self.run_load)

    def run_load(self, load, path):
        """Sample while it runs, and compare."""
        process = subprocess.Popen(
            [load, '--qemu', path, '--queues', '4', '--iothreads', '2',
             '--seconds', '8', '--json', '-', '--qemu-args',
             f'-qmp unix:{self.socket},server=on,wait=off'],
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.wait_for_socket(process)
        blocks = []
        top = self.start('--json', *SHORT, self.socket)
        for line in top.stdout:
            blocks.append(json.loads(line))
        output, _errors = process.communicate(timeout=PATIENCE)
        made = json.loads(output)['total']['requests']
        seen = sum(block.get('iops', 0) * block['seconds']
                   for block in blocks)
        # On a busy host the program itself takes seconds to begin
        self.assertGreater(seen, 0.2 * made)
        self.assertLess(seen, 1.1 * made)
        busy = max(blocks, key=lambda block: block.get('iops', 0))
        for row in busy['disks'][0]['queues']:
            self.assertTrue(row['enabled'])
            self.assertGreater(row['read-iops'], 0)
            self.assertGreater(row['batch'], 0.9)
            self.assertEqual(row['failed'], 0)
        self.assertEqual([t.get('iops', 0) > 0 for t in busy['threads']],
                         [False, True, True])
        self.assertAlmostEqual(sum(t.get('share-percent', 0)
                                   for t in busy['threads']), 100)
