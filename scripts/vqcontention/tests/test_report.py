# SPDX-License-Identifier: GPL-2.0-or-later
"""From looks to tables and pictures, and the modes that there are."""

import json
import os
import tempfile
import unittest

from vqcontention import chart, modes, output, report, table

STOCK = {'scsi', 'config-wce', 'iothread', 'iothread-vq-mapping'}

TEXT = '''\
QEMU emulator version 9.0.0, tcg, 2 vCPUs
A CPU: 4 CPUs on 4 cores, Linux 6.18, load 0.1
not pinned
disk: null-co; a device read (ACPI timer) every 9 turns of an empty loop on \
each vCPU
2 rounds of 1 s; the modes take turns
build/9.0/bin/qemu, sha256 0123456789abcdef
{tcg}
2026-01-01
a note

The guest alone: 4K reads on vCPU 1, programs that compute on all; mean of \
the vCPUs, median [least, most] of 2 rounds
                                          main loop          iothread=
asleep at the lock, % of samples  40.0 [30.0, 50.0]  20.0 [10.0, 30.0]
the same, % of the traced time                 50.0                  -
waits for the lock, per second                  300                  -
p50 of a wait, us                             250.0                  -
'''.format(tcg=table.TCG).replace('250.0', '  250')


def row(name, share, traced):
    """Of a thread."""
    more = {'traced': {
        'share': {'lock': .5}, 'slices': None,
        'waits': {'per-second': 300, 'p50-us': 250, 'p99-us': 9999,
                  'by-main-loop': .75}}} if traced else {}
    return {'name': name, 'thread-id': 1, 'run': .2, 'delay': .1,
            'stays-per-second': 50, 'sampled': {'lock': share, 'runs': .3},
            **more}


def look(share, traced=True):
    """Of a guest; its main loop is not to be counted."""
    found = {'threads': [row('vCPU 0', share - .1, traced),
                         row('vCPU 1', share + .1, traced),
                         row('main loop', 1, traced)]}
    if traced:
        found['vcpus'] = {'waits': {'n': 600, 'p50-us': 250, 'p99-us': 9999},
                          'slices': None}
    return found


def make_report():
    """Two modes, two rounds, and no trace of the second mode."""
    shares = {'main-loop': (.3, .5), 'iothread': (.1, .3)}
    return {
        'qemu': {'version': 'QEMU emulator version 9.0.0',
                 'path': 'build/9.0/bin/qemu', 'sha256': '0123456789abcdef0'},
        'machine': {'cpu': 'A CPU', 'virtual': False, 'cpus': 4, 'cores': 4,
                    'kernel': '6.18', 'load-average': .1},
        'accel': 'tcg', 'vcpus': 2, 'reader': 1, 'loops': 9, 'rounds': 2,
        'seconds': 1, 'placement': 'not pinned', 'disk': 'null-co',
        'date': '2026-01-01', 'notes': ['a note'], 'loads': ['guest'],
        'modes': [{'name': 'main-loop', 'title': 'main loop'},
                  {'name': 'iothread', 'title': 'iothread='}],
        'looks': [{'mode': mode, 'load': 'guest', 'round': turn,
                   'look': look(share, mode == 'main-loop')}
                  for mode in shares
                  for turn, share in enumerate(shares[mode])],
        'chain': [['futex_wait', 'kernel'], ['bql_lock_impl', 'qemu']],
        'chain-mode': 'main loop'}


class Tables(unittest.TestCase):
    maxDiff = None

    def test_summary(self):
        """median and range of what is known"""
        self.assertEqual(report.summary([3, None, 1, 2]), (2, 1, 3))
        self.assertIsNone(report.summary([None]))
        self.assertEqual(report.summary([0]), (0, 0, 0))

    def test_means(self):
        """of the vCPUs, not of the main loop"""
        found = report.of_looks([look(.3), look(.5)])
        self.assertEqual([round(value, 6) for value in found['lock']],
                         [.4, .3, .5])
        self.assertEqual(found['wait-p99'], (9999, 9999, 9999))
        self.assertIsNone(found['slice-mean'])
        self.assertIsNone(found['reads'])

    def test_text(self):
        """for a terminal; what was not traced is a -"""
        text = table.text(make_report())
        self.assertEqual(text[:len(TEXT)], TEXT)
        self.assertIn('\nmain loop, 1200 waits of the vCPUs\n', text)
        self.assertIn('\niothread=, waits not traced\n', text)
        self.assertTrue(text.endswith('''
A vCPU thread that goes to sleep for the lock (main loop), innermost first:
    futex_wait (kernel)
    bql_lock_impl (qemu)
'''))

    def test_threads(self):
        """a row per thread"""
        lines = table.text(make_report()).split('\n')
        at = lines.index('main loop, 1200 waits of the vCPUs')
        self.assertEqual(lines[at + 2].split(), (
            'vCPU 0 30.0 300 250 9999 75.0 20.0 10.0 50 - - - -').split())
        self.assertEqual(lines[at + 4].split()[:3], ['main', 'loop', '100.0'])

    def test_kvm(self):
        """figures of KVM are figures"""
        self.assertNotIn(table.TCG, table.text(
            {**make_report(), 'accel': 'kvm'}))

    def test_markdown(self):
        """has the same cells"""
        lines = table.markdown(make_report(), 'a.png').split('\n')
        self.assertIn('| asleep at the lock, % of samples | 40.0 [30.0, 50.0] '
                      '| 20.0 [10.0, 30.0] |', lines)
        self.assertIn('![Time lines of the vCPU threads](a.png)', lines)

    def test_json(self):
        """goes to a file and back"""
        made = make_report()
        self.assertEqual(table.text(json.loads(json.dumps(made))),
                         table.text(made))

    def test_rounded(self):
        """six digits are enough, and what is printed is what is kept"""
        self.assertEqual(output.rounded({'a': [1234567.8, 1], 'b': None}),
                         {'a': [1234570.0, 1], 'b': None})

    def test_panels(self):
        """before is the main loop, after the article's cure if it is there"""
        made = {**make_report(), 'pictures': {'guest': {
            'main-loop': {'vCPU 0': []}, 'iothread': {'vCPU 0': []}}}}
        self.assertEqual(list(output.panels(made)),
                         ['main loop', 'iothread='])
        made['modes'].append({'name': 'x-data-plane', 'title': 'x'})
        made['pictures']['guest']['x-data-plane'] = {'vCPU 0': []}
        self.assertEqual(list(output.panels(made)), ['main loop', 'x'])
        self.assertEqual(output.panels({**made, 'pictures': {}}), {})

    def test_picture(self):
        """is a PNG"""
        states = [['', 10], ['run', 20], ['lock', 30], ['ready', 5],
                  ['idle', 1]]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'a.png')
            chart.draw(make_report(), {
                'main loop': {'vCPU 0': states, 'vCPU 1': states},
                'iothread=': {'vCPU 0': [], 'vCPU 1': states}}, path)
            with open(path, 'rb') as file:
                self.assertEqual(file.read(8), b'\x89PNG\r\n\x1a\n')


class Modes(unittest.TestCase):
    def test_stock(self):
        """what a QEMU has not is left out, and said"""
        found, missing = modes.make_modes(2, STOCK)
        self.assertEqual([mode.name for mode in found],
                         ['main-loop', 'iothread', 'mapping'])
        self.assertEqual(missing,
                         ['without x-data-plane=on: this QEMU has it not'])

    def test_as_stock(self):
        """the same options under another name"""
        found, _missing = modes.make_modes(2, STOCK)
        stock = modes.as_stock(found)
        self.assertEqual([mode.options for mode in stock],
                         [mode.options for mode in found])
        names = [mode.name for mode in found + stock]
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual(stock[0].title, 'stock: main loop')

    def test_data_plane(self):
        """is set as the article sets it"""
        found, missing = modes.make_modes(2, STOCK | {'x-data-plane'})
        self.assertEqual(missing, [])
        self.assertEqual(tuple(mode.name for mode in found), modes.NAMES)
        options = found[2].options
        for name in ('scsi=off', 'config-wce=off', 'x-data-plane=on'):
            self.assertIn(f'device.virtio-disk0.{name}', options)
        self.assertNotIn('-object', options)

    def test_no_scsi(self):
        """a property that is gone is not switched off"""
        for mode in modes.make_modes(2, STOCK - {'scsi'})[0]:
            self.assertNotIn('scsi', ' '.join(mode.options))

    def test_mapping(self):
        """an IOThread per virtqueue"""
        options = modes.make_modes(3, STOCK)[0][-1].options
        self.assertEqual(options.count('-object'), 3)
        device = json.loads(options[-1])
        self.assertEqual(device['num-queues'], 3)
        self.assertEqual([entry['iothread'] for entry in
                          device['iothread-vq-mapping']],
                         ['iothread0', 'iothread1', 'iothread2'])
        self.assertIs(device['config-wce'], False)
