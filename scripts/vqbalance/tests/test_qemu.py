# SPDX-License-Identifier: GPL-2.0-or-later
"""The program with real QEMUs under load, as far as they are built."""

import json
import subprocess
import unittest

from vqtap import PATIENCE
from vqtop.tests.test_qemu import OURS, QemuTest


class Balance(QemuTest):
    name = 'vq-balance'

    @unittest.skipUnless(OURS, 'no QEMU is built')
    def test_load(self):
        """three hot virtqueues on one IOThread are on three afterwards"""
        self.for_each_load(self.run_load)

    def run_load(self, load, path):
        """Balance while it runs."""
        process = subprocess.Popen(
            [load, '--qemu', path, '--queues', '16', '--iothreads', '4',
             '--hot', '0,4,8', '--seconds', '60', '--stall', '30',
             '--qemu-args', f'-qmp unix:{self.socket},server=on,wait=off'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_for_socket(process)
        output, errors = self.start(
            '--json', '--interval', '0.5', '--min-cpu', '0', '--max-moves',
            '2', '--count', '40', self.socket).communicate(timeout=PATIENCE)
        self.assertEqual(errors, '')
        blocks = [json.loads(line) for line in output.splitlines()]
        # The load may begin later
        self.assertGreater(next(block['imbalance'] for block in blocks
                                if 'imbalance' in block), 2)
        moves = [block['move'] for block in blocks if 'move' in block]
        self.assertEqual(len({move['index'] for move in moves} & {0, 4, 8}),
                         2)
        for move in moves:
            self.assertGreater(move['unserved-ns'], 0)
        self.assertEqual(len({move['to'] for move in moves}), 2)
