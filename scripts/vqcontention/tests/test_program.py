# SPDX-License-Identifier: GPL-2.0-or-later
"""The program, on a process that has what it looks for in QEMU."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

from vqtap import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(os.path.dirname(os.path.dirname(HERE)), 'contention')


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = folder.name
        cls.fake = os.path.join(cls.dir, 'qemu-system-fake')
        subprocess.run(['gcc', '-pthread', '-o', cls.fake,
                        os.path.join(HERE, 'fake_qemu.c')], check=True)

    def program(self, *options, **more):
        """Its exit status and what it says."""
        return subprocess.run(
            [sys.executable, PROGRAM, *options], text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=PATIENCE, **more)

    def start(self, path):
        """A process, until the test ends."""
        process = subprocess.Popen([path], stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return str(process.pid)

    def must_fail(self, status, pattern, *options, **more):
        """It must say just one line, after the usage if there is one."""
        done = self.program(*options, **more)
        self.assertEqual((done.returncode, done.stdout), (status, ''))
        lines = done.stderr.splitlines()
        self.assertRegex(lines[-1], f'^contention: .*{pattern}')
        if status == 1:
            self.assertEqual(len(lines), 1)

    def watch(self, path, *options):
        """The report of a look at a process, and the text."""
        out = os.path.join(self.dir, 'out')
        done = self.program('--pid', self.start(path), '--seconds', '2',
                            '--out', out, *options)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        with open(os.path.join(out, 'contention.json'),
                  encoding='utf-8') as file:
            return json.load(file), done.stdout

    def rows(self, report):
        """By name."""
        return {row['name']: row
                for row in report['looks'][0]['look']['threads']}

    def test_watch(self):
        """--pid tells who waits for the lock, how often and how long"""
        report, text = self.watch(self.fake)
        look = report['looks'][0]['look']
        rows = self.rows(report)
        self.assertEqual(look['lock'], 'symbol')
        self.assertEqual(list(rows), ['vCPU 0', 'vCPU 1', 'vCPU 2',
                                      'main loop'])
        for name in ('vCPU 0', 'vCPU 1'):
            self.assertGreater(rows[name]['sampled']['lock'], 0.5)
        self.assertEqual(rows['vCPU 2']['sampled']['lock'], 0)
        self.assertIn('\nvCPU 0 ', text)
        if 'untraced' in look:
            self.skipTest(look['untraced'])
        for name in ('vCPU 0', 'vCPU 1'):
            traced = rows[name]['traced']
            # The lock is held for 5 ms
            self.assertGreater(traced['waits']['p50-us'], 1000)
            self.assertAlmostEqual(traced['share']['lock'],
                                   rows[name]['sampled']['lock'], delta=0.1)
            self.assertGreater(traced['slices']['ends']['lock'], 0)
        self.assertEqual(rows['vCPU 2']['traced']['waits']['n'], 0)
        self.assertIn('futex_wait', text)
        self.assertTrue(os.path.exists(
            os.path.join(self.dir, 'out', 'contention.png')))

    def test_render(self):
        """--render makes the same again"""
        text = self.watch(self.fake)[1]
        path = os.path.join(self.dir, 'out', 'contention')
        with open(f'{path}.md', encoding='utf-8') as file:
            before = file.read()
        os.unlink(f'{path}.md')
        done = self.program('--render', f'{path}.json')
        self.assertEqual((done.returncode, done.stdout), (0, text))
        with open(f'{path}.md', encoding='utf-8') as file:
            self.assertEqual(file.read(), before)
        self.must_fail(1, 'is no JSON of', '--render', PROGRAM)

    def test_no_symbols(self):
        """without symbols it finds the lock where several threads sleep"""
        bare = self.fake + '-bare'
        subprocess.run(['strip', '-o', bare, self.fake], check=True)
        report, text = self.watch(bare, '--no-trace')
        rows = self.rows(report)
        self.assertEqual(report['looks'][0]['look']['lock'], 'vote')
        self.assertIn('the lock is a guess', text)
        self.assertGreater(rows['vCPU 0']['sampled']['lock'], 0.5)
        self.assertEqual(rows['vCPU 2']['sampled']['lock'], 0)

    def test_no_trace(self):
        """without perf there are the figures of /proc, and a line says so"""
        report, text = self.watch(self.fake, '--no-trace')
        self.assertIn('waits and slices are not traced: as was asked for',
                      text)
        self.assertNotIn('traced', self.rows(report)['vCPU 0'])
        self.assertGreater(self.rows(report)['vCPU 0']['sampled']['lock'],
                           0.5)

    def test_no_perf(self):
        """perf that is missing is no reason to stop"""
        tools = os.path.join(self.dir, 'tools')
        os.mkdir(tools)
        for tool in ('setpriv', 'nm', 'git'):
            path = subprocess.run(['which', tool], text=True, check=False,
                                  stdout=subprocess.PIPE).stdout.strip()
            if path:
                os.symlink(path, os.path.join(tools, tool))
        done = self.program('--pid', self.start(self.fake), '--seconds', '1',
                            env={**os.environ, 'PATH': tools})
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('not traced: perf is missing', done.stdout)

    def test_refuses(self):
        """wrong options, in a line"""
        self.must_fail(2, 'must be from 1 to 64', '--vcpus', '0')
        self.must_fail(2, 'must be a vCPU, from 0 to 1', '--vcpus', '2',
                       '--reader', '2')
        self.must_fail(2, 'must be from 1 to 3600', '--seconds', '0')
        self.must_fail(2, 'must be from 1 to 100', '--rounds', '-1')
        self.must_fail(2, 'must be at least 1', '--loops', '0')
        self.must_fail(2, 'must be a process', '--pid', '0')
        self.must_fail(2, 'invalid choice', '--mode', 'dataplane')

    def test_refuses_process(self):
        """a process that is none, or no QEMU"""
        self.must_fail(1, 'there is no process 4194305', '--pid', '4194305')
        self.must_fail(1, 'no thread of process .* is named as a vCPU',
                       '--pid', str(os.getpid()))

    def test_refuses_qemu(self):
        """a QEMU that is none, with nothing written"""
        build = os.path.join(self.dir, 'build')
        env = {**os.environ, 'VQ_BUILD_DIR': build}
        self.must_fail(1, 'is no program', '--qemu', '/nowhere', env=env)
        self.must_fail(1, 'does not say what QEMU it is', '--qemu',
                       '/bin/true', env=env)
        self.assertFalse(os.path.exists(build))
