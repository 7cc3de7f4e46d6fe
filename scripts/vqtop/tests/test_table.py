# SPDX-License-Identifier: GPL-2.0-or-later
"""From blocks to text and pictures."""

import os
import tempfile
import time
import unittest
from unittest import mock

from vqtop import TopError, chart, model, screen, table

from .fake_qemu import block_stats, disk, queue
from .test_model import sample

ABOUT = {'version': '9.0.0', 'name': 'vm', 'pid': 9}

NARROW = '''\
QEMU 9.0.0 "vm", pid 9, 00:00:00, 1.00 s
900.0k IOPS, 3516 MiB/s, 192 in flight; imbalance 1.67 over 3 threads (busiest/

IOTHREAD      TID  %CPU CPU   IOPS  SHARE SERVES
main loop       9   2.0   1      7    0 % log: 0
iothread0      10  31.0   2 400.0k   44 % disk0: 0,2
iothread1      11  95.0   3 500.0k   56 % disk0: 1

disk0: 900.0k IOPS, 3516 MiB/s, 192 in flight; imbalance 1.67 over 3 virtqueues
QUEUE IOTHREAD   %CPU CPU READ/s WRITE/s  MiB/s FLIGHT  MAX BATCH FAILED
    0 iothread0  31.0   2 100.0k       0    391     64  128  20.0      0
    1 iothread1  95.0   3 500.0k       0   1953     64  128  20.0     77
    2 iothread0  31.0   2 300.0k       0   1172     64  128  20.0      0
2 virtqueues not in use: 3-4

log: 7 IOPS, 0.0 MiB/s, 0 in flight; imbalance 1.00 over 1 virtqueue (busiest/m
its notifiers do not run: the main loop serves it, not the (IOThreads)
QUEUE IOTHREAD     %CPU CPU READ/s WRITE/s OTHER/s  MiB/s FLIGHT  MAX FAILED
    0 (iothread0)     -   -      5       0       2    0.0      0    0      0
'''

ALL = ('QUEUE IOTHREAD TID %CPU CPU READ/s WRITE/s OTHER/s MiB/s FLIGHT MAX '
       'BATCH NOTIF/s POLLS/s INTR/s FAILED')

STOCK = '''\
QEMU 9.0.0 "vm", pid 9, 00:00:00, 2.00 s
10 IOPS, 0.0 MiB/s; imbalance 1.50 of %CPU over 2 IOThreads (busiest/mean)
it has no such command

IOTHREAD      TID  %CPU CPU
main loop       9     -   -
iothread0      10  75.0   2
iothread1      11  25.0   3

DISK      READ/s WRITE/s  MiB/s
disk0         10       0    0.0
'''


def disks(turn):
    """Two of them; the second one is served by the main loop."""
    def busy(index, reads, failed=0):
        return queue(index, f'iothread{index % 2}', 10 + index % 2,
                     read=reads * turn, batches=reads // 20 * turn,
                     notifications=1234 * turn, polls=70000 * turn,
                     interrupts=99 * turn, in_flight=64, max_in_flight=128,
                     failed=failed * turn)
    return [disk('disk0', busy(0, 100000), busy(1, 500000, failed=77),
                 busy(2, 300000), *(queue(i, 'iothread1', 11, enabled=False)
                                    for i in (3, 4))),
            disk('log', queue(0, 'iothread0', 10, read=5 * turn,
                              flush=2 * turn), started=False)]


def make_block():
    """A block of disks()."""
    return model.make_block(
        sample(0, disks(0), threads={9: 0, 10: 0, 11: 0}),
        sample(1, disks(1), threads={9: .02, 10: .31, 11: .95}))


def text(block, sort='index', width=1000, notes=()):
    """@block as one string; midnight is that of UTC."""
    with mock.patch('time.localtime', time.gmtime):
        lines = table.text(block, ABOUT, sort, width, notes)
    return ''.join(table.plain(line).rstrip() + '\n' for line in lines)


class Text(unittest.TestCase):
    maxDiff = None

    def test_narrow(self):
        """with 79 columns"""
        self.assertEqual(text(make_block(), width=79), NARROW)

    def test_wide(self):
        """with room for all"""
        lines = text(make_block()).split('\n')
        self.assertEqual(lines[-3].split(), ALL.split())
        self.assertEqual(lines[-2].split(), (
            '0 (iothread0) 10 - - 5 0 2 0.0 0 0 - 0 0 0 0').split())

    def test_leaving(self):
        """a remap under way: from where to where, and what it waits for"""
        def items(turn):
            return [disk('disk0', queue(0, 'iothread0', 10, read=100 * turn),
                         queue(1, 'iothread0', 10, read=9 * turn, in_flight=3,
                               state='leaving', remap={
                                   'iothread': 'io\033[1m', 'requests': 3}),
                         queue(2, 'iothread1', 11, enabled=False,
                               state='evicting', remap={'requests': 1}),
                         remapping=True)]
        for width in (79, 200):
            shown = text(model.make_block(sample(0, items(0)),
                                          sample(1, items(1))), width=width)
            self.assertRegex(shown, r'\n +1 iothread0>io\?\[1m +')
            self.assertIn('\nvirtqueue 1 (leaving) waits for 3 requests, from '
                          'iothread0 to io?[1m\n', shown)
            self.assertIn('\nvirtqueue 2 (evicting) waits for 1 request, from '
                          'iothread1 to main loop\n', shown)
            self.assertRegex(shown, r'\n +0 iothread0 +')

    def test_former(self):
        """a QEMU of a former version says nothing of remaps"""
        def items(turn):
            found = disks(turn)
            for item in found:
                del item['remapping']
                for row in item['queues']:
                    del row['state'], row['waiting']
            return found
        block = model.make_block(
            sample(0, items(0), threads={9: 0, 10: 0, 11: 0}),
            sample(1, items(1), threads={9: .02, 10: .31, 11: .95}))
        self.assertEqual(text(block, width=79), NARROW)

    def test_stock(self):
        """what stock QEMU has"""
        block = model.make_block(
            sample(0, stats=[block_stats('disk0', 0)], threads={10: 0, 11: 0}),
            sample(2, stats=[block_stats('disk0', 20)],
                   threads={10: 1.5, 11: .5}))
        self.assertEqual(text(block, notes=['it has no such command']), STOCK)

    def test_width(self):
        """columns go before a line is too long, the least needed first"""
        heads = {width: [line.split() for line in
                         text(make_block(), width=width).split('\n')
                         if line.startswith('QUEUE')][0]
                 for width in (100, 80, 66)}
        self.assertNotIn('TID', heads[100])
        self.assertIn('INTR/s', heads[100])
        self.assertNotIn('POLLS/s', heads[80])
        self.assertIn('BATCH', heads[80])
        for width, head in heads.items():
            self.assertEqual(head[-1], 'FAILED')
            for line in text(make_block(), width=width).split('\n'):
                self.assertLessEqual(len(line), width)

    def test_sort(self):
        """by any of its keys, busiest first"""
        def order(sort):
            lines = text(make_block(), sort).split('disk0: 9')[1].split('\n')
            return [int(line.split()[0]) for line in lines[2:5]]
        self.assertEqual(order('index'), [0, 1, 2])
        self.assertEqual(order('iops'), [1, 2, 0])
        self.assertEqual(order('bytes'), [1, 2, 0])
        self.assertEqual(order('cpu'), [1, 0, 2])
        self.assertEqual(order('in-flight'), [0, 1, 2])
        self.assertEqual(order('iothread'), [0, 2, 1])

    def test_escapes(self):
        """nothing that a terminal obeys gets through"""
        bad = 'a\033[31m\r\n\x07\u202e\x9b'
        old = [disk(bad, queue(0, bad, 10))]
        block = model.make_block(
            sample(0, old, iothreads=[(bad, 10)]),
            sample(1, old, iothreads=[(bad, 10)]))
        lines = table.text(block, {'version': '9.0.0', 'name': bad}, 'index',
                           1000)
        for line in lines:
            self.assertTrue(table.plain(line).isprintable(), line)

    def test_styles(self):
        """new failures, a busy thread and an imbalance stand out"""
        styles = {part.strip(): style for line in
                  table.text(make_block(), ABOUT, 'index', 1000)
                  for style, part in line}
        self.assertEqual(styles['95.0'], 'bad')
        self.assertEqual(styles['31.0'], '')
        self.assertEqual(styles['77'], 'bad')
        self.assertEqual(
            styles['imbalance 1.67 over 3 virtqueues (busiest/mean)'], 'warn')
        self.assertEqual(
            styles['imbalance 1.00 over 1 virtqueue (busiest/mean)'], '')

    def test_ranges(self):
        """indices are short"""
        self.assertEqual(table.ranges([0, 1, 2, 4, 6, 7]), '0-2,4,6-7')
        self.assertEqual(table.ranges([]), '')

    def test_fit(self):
        """a terminal that is too low says how much it does not show"""
        lines = [[('', str(i))] for i in range(10)]
        self.assertEqual(screen.fit(lines, 10), lines)
        self.assertEqual(screen.fit(lines, 0), lines)
        self.assertEqual(screen.fit(lines, 4)[:3], lines[:3])
        self.assertIn('7 more lines', screen.fit(lines, 4)[3][0][1])


class Chart(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, 'a.png')

    def history(self):
        """Three intervals."""
        history = chart.History()
        for _ in range(3):
            history.add(make_block())
        return history

    def test_rows(self):
        """grouped by disk and IOThread, without the unused"""
        history = self.history()
        rows = history.sorted_rows()
        self.assertEqual([row[:3] for row in rows], [
            ('disk0', 'iothread0', '0'), ('disk0', 'iothread0', '2'),
            ('disk0', 'iothread1', '1'), ('log', 'iothread0', '0')])
        self.assertEqual(rows[0][3], {0: 1e5, 1: 1e5, 2: 1e5})
        self.assertEqual(history.edges, [0, 1, 2, 3])
        self.assertTrue(history.title(rows).startswith(
            'disk0, log: 4 virtqueues on 3 threads, 900.0k IOPS, imbalance'))

    def test_idle(self):
        """an IOThread that its mapping leaves without work has a row"""
        history = chart.History()
        block = [disk('d', queue(0, 'iothread0'), queue(1, 'iothread0'),
                      queue(2, 'iothread0', enabled=False),
                      queue(3, 'iothread1', enabled=False))]
        after = [disk('d', queue(0, 'iothread0', read=30),
                      queue(1, 'iothread0', read=10),
                      queue(2, 'iothread0', enabled=False),
                      queue(3, 'iothread1', enabled=False))]
        history.add(model.make_block(sample(0, block), sample(1, after)))
        rows = history.sorted_rows()
        self.assertEqual([row[1:] for row in rows], [
            ('iothread0', '0', {0: 30}), ('iothread0', '1', {0: 10}),
            ('iothread1', '-', {0: 0})])
        self.assertIn('d: 2 virtqueues on 2 IOThreads, 40 IOPS, '
                      'imbalance 2.00', history.title(rows))
        chart.draw(history, ABOUT, self.path)

    def test_draw(self):
        """it is a PNG, nothing else is left, and who reads the old one may"""
        with open(self.path, 'w+', encoding='ascii') as old:
            old.write('old')
            chart.draw(self.history(), ABOUT, self.path)
            old.seek(0)
            self.assertEqual(old.read(), 'old')
        with open(self.path, 'rb') as file:
            self.assertEqual(file.read(8), b'\x89PNG\r\n\x1a\n')
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ['a.png'])

    def test_atomic(self):
        """if it cannot be drawn, the file that was there stays"""
        with open(self.path, 'w', encoding='ascii') as file:
            file.write('old')
        with mock.patch('matplotlib.figure.Figure.savefig',
                        side_effect=OSError(28, 'No space left on device')):
            with self.assertRaisesRegex(TopError, 'No space left'):
                chart.draw(self.history(), ABOUT, self.path)
        with open(self.path, encoding='ascii') as file:
            self.assertEqual(file.read(), 'old')
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ['a.png'])

    def test_empty(self):
        """without a virtqueue in use there is no picture, and a word"""
        history = chart.History()
        block = [disk('d', queue(0, enabled=False))]
        history.add(model.make_block(sample(0, block), sample(1, block)))
        with self.assertRaisesRegex(TopError, 'no virtqueue was in use'):
            chart.draw(history, ABOUT, self.path)
        self.assertFalse(os.path.exists(self.path))
