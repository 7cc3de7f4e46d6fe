# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests share."""

import os
import subprocess
import sys
import tempfile
import unittest

from vqtap import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(os.path.dirname(os.path.dirname(HERE)), 'vq-plan')


def host(name):
    """The path of a recorded one."""
    return os.path.join(HERE, 'topologies', f'{name}.json')


def run(*options, data=None):
    """The program; the data is for its stdin."""
    return subprocess.run([sys.executable, PROGRAM, *options], text=True,
                          input=data, capture_output=True, timeout=PATIENCE,
                          check=False)


class ProgramTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name

    def write(self, text, name='file'):
        """A file; returns its path."""
        path = os.path.join(self.dir, name)
        mode = 'wb' if isinstance(text, bytes) else 'w'
        with open(path, mode) as file:
            file.write(text)
        return path

    def plan(self, *options, name='two-nodes-smt'):
        """What it prints; it must succeed and complain of nothing."""
        done = run('--topology', host(name), *options)
        self.assertEqual((done.returncode, done.stderr), (0, ''), options)
        return done.stdout

    def must_fail(self, pattern, *options, data=None):
        """It must say just one line, last, and print nothing."""
        done = run(*options, data=data)
        self.assertEqual((done.returncode, done.stdout), (2, ''), done.stderr)
        last = done.stderr.splitlines()[-1]
        self.assertRegex(last, f'^vq-plan: .*{pattern}')
        if not last.startswith('vq-plan: error: '):
            self.assertEqual(done.stderr.count('\n'), 1)
