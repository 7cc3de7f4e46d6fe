# SPDX-License-Identifier: GPL-2.0-or-later
"""The tools with outputs that are no regular files."""

import os
import subprocess
import sys

from vqtap import PATIENCE

from .test_vqout import OutputTest

SCRIPTS = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


class Tools(OutputTest):
    def tool(self, name, *options):
        """Its status and what it says."""
        done = subprocess.run(
            [sys.executable, os.path.join(SCRIPTS, name), *options],
            text=True, capture_output=True, stdin=subprocess.DEVNULL,
            timeout=PATIENCE, check=False)
        return done.returncode, done.stderr

    def refuses_all(self, name, *options, folder=False):
        """The tool refuses what it could not write, before it begins."""
        self.put('file', 'kept')
        os.mkdir(self.path('folder'))
        outputs = [self.path('no', 'x'), self.path('file', 'x')]
        if folder:
            outputs = [self.path('file'), self.path('file', 'x'),
                       self.fifo()[0], self.device()]
        else:
            outputs += [self.path('folder'), self.sock()]
        before = self.kinds()
        for out in outputs:
            with self.subTest(out):
                status, errors = self.tool(name, *options, out)
                self.assertRegex(errors, f'^{name}: cannot write {out}[^\n]*: '
                                 '[^\n]*\n$')
                self.assertIn(status, (1, 2))
                self.assertEqual(self.kinds(), before)
        self.assertEqual(self.text('file'), 'kept')

    def test_plan(self):
        """vq-plan --record"""
        options = ('vq-plan', '--topology', '/sys', '--record')
        self.assertEqual(self.tool(*options, self.path('new')), (0, ''))
        wanted = self.text('new')
        self.put('target', '')
        os.symlink('target', self.path('link'))
        fifo, reader = self.fifo()
        before = self.kinds()
        for out in (self.path('link'), fifo, self.device()):
            self.assertEqual(self.tool(*options, out), (0, ''))
        self.assertEqual(self.text('target'), wanted)
        self.assertEqual(os.read(reader, 1 << 20).decode(), wanted)
        self.assertEqual({**self.kinds(), **before}, self.kinds())

    def test_plan_refuses(self):
        """vq-plan --record refuses"""
        self.refuses_all('vq-plan', '--topology', '/sys', '--record')

    def test_contention(self):
        """contention --out leaves alone what the folder has"""
        self.put('mine', 'kept')
        os.symlink('.', self.path('link'))
        fake = self.path('qemu-system-fake')
        subprocess.run(['gcc', '-pthread', '-o', fake, os.path.join(
            SCRIPTS, 'vqcontention', 'tests', 'fake_qemu.c')], check=True)
        with subprocess.Popen([fake], stdin=subprocess.DEVNULL) as process:
            try:
                self.assertEqual(self.tool(
                    'contention', '--pid', str(process.pid), '--seconds', '1',
                    '--no-trace', '--out', self.path('link')), (0, ''))
            finally:
                process.kill()
        self.assertEqual(self.text('mine'), 'kept')
        self.assertTrue(os.path.islink(self.path('link')))
        self.assertIn('seen', self.text('contention.json'))
        os.unlink(self.path('contention.md'))
        os.mkdir(self.path('contention.md'))
        status, errors = self.tool('contention', '--render',
                                   self.path('contention.json'))
        self.assertEqual(status, 1)
        self.assertRegex(errors, 'contention: cannot write .*: it is a folder')

    def test_contention_refuses(self):
        """contention --out refuses"""
        self.refuses_all('contention', '--pid', str(os.getpid()), '--no-trace',
                         '--out', folder=True)

    def test_bench_refuses(self):
        """bench --out refuses before it measures"""
        qemu = self.put('qemu', '#!/bin/sh\necho QEMU emulator version 1\n')
        load = self.put('load', f'#!/bin/sh\ntouch {self.path("run")}\n')
        for program in (qemu, load):
            os.chmod(program, 0o755)
        self.refuses_all('bench', '--a', qemu, '--b', qemu, '--load', load,
                         '--only', 'null-co: 1/1 depth 64 read', '--out',
                         folder=True)
        self.assertNotIn('run', os.listdir(self.dir))
