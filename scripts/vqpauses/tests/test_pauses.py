# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted, and a short measurement."""

import json
import os
import unittest

from vqbench import machine
from vqpauses import figures
from vqtap import PATIENCE
from vqtop import TopError
from vqtop.tests.test_program import ProgramTest
from vqtop.tests.test_qemu import OURS


def row(rates, unserved=None):
    """Half an interval."""
    return {'seconds': 0.05, 'iops': rates,
            **({} if unserved is None else {'unserved-ns': unserved})}


class Figures(unittest.TestCase):
    def test_under_load(self):
        """only remaps of a virtqueue that is busy before and after count"""
        rows = [row([10, 9000]), row([10, 9000], 1), row([10, 9000]),
                row([10, 0], 2), row([10, 0]), row([10, 9000], 3)]
        self.assertEqual(figures.unserved_under_load(rows, 1), [1])
        self.assertEqual(figures.summary(rows, 1)['without-load'], 2)

    def test_summary(self):
        """percentiles, and the others' rates with and without a remap"""
        rows = []
        for i in range(101):
            rows += [row([100, 9000, 20]), row([50, 9000, 20], i * 20000)]
        found = figures.summary(rows, 1)
        self.assertEqual(found['remaps'], 101)
        self.assertEqual(found['unserved-ns'], {
            'p50': 1000000, 'p90': 1800000, 'p99': 1980000, 'max': 2000000})
        self.assertEqual(found['over-1ms'], 50)
        self.assertEqual(found['staying-iops-with-remap']['p50'], 70)
        self.assertEqual(found['staying-iops-without']['p50'], 120)

    def test_never_busy(self):
        """no load is no measurement"""
        with self.assertRaisesRegex(TopError, 'never busy'):
            figures.summary([row([1, 1]), row([1, 1], 5)], 1)

    def test_json(self):
        """a line for each row, and what was measured"""
        rows = [row([1, 2]), row([3, 4], 5)]
        text = figures.as_json({'a': 1, 'rows': rows})
        self.assertEqual(json.loads(text), {'a': 1, 'rows': rows})


class Program(ProgramTest):
    name = 'move-pauses'

    def test_usage(self):
        """wrong options have status 2"""
        for options in (('--moves', '0'), ('--interval', '0'),
                        ('--queue', '4'), ('--queues', '1', '--queue', '0')):
            process = self.start(*options)
            _output, errors = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 2, options)
            self.assertIn('move-pauses: error: ', errors)

    @unittest.skipUnless(OURS, 'no QEMU is built')
    def test_short(self):
        """a few moves are counted, written and drawn"""
        base, path = OURS[0]
        if not os.path.exists(os.path.join(
                machine.BUILD, base or '', 'obj', 'tests', 'qtest', 'vq-load',
                'vq-load')):
            self.skipTest('vq-load is not built')
        out = os.path.join(self.dir, 'a')
        # On a crowded host the load itself may have no CPU for a while
        process = self.start('--base', base, '--qemu', path, '--moves', '60',
                             '--options', '--depth 64 --hot 1', '--out', out)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors), (0, ''))
        self.assertRegex(output, r'^\d+ remaps under load; unserved for p50 ')
        with open(f'{out}.json', encoding='utf-8') as file:
            result = json.load(file)
        self.assertEqual(len(result['rows']), 120)
        for item in result['rows'][1::2]:
            self.assertGreater(item['unserved-ns'], 0)
            self.assertGreaterEqual(item['event-ns'], item['reply-ns'])
        self.assertTrue(os.path.exists(f'{out}.png'))
