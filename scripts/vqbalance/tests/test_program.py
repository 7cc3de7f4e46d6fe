# SPDX-License-Identifier: GPL-2.0-or-later
"""The program, with a QMP server that is scripted."""

import json
import os
import signal
import time

from vqtap import PATIENCE
from vqtop.tests import test_program
from vqtop.tests.fake_qemu import disk, iothread, queue

QUERY = 'query-virtio-blk-queues'
MOVE = 'virtio-blk-set-iothread-vq-mapping'

# The threads of the scripted QEMU are this process, which has nothing to do
FAST = ('--interval', '0.1', '--min-cpu', '0')


class FakeVm:
    """
    Answers of a VM with a disk of four virtqueues, the first three with the
    same load and all on iothread0, and with a disk of the main loop.
    """

    def __init__(self):
        self.mappings = []
        self.owners = ['iothread0'] * 4
        self.refuse = None
        self._turn = 0

    def _queues(self, _arguments):
        self._turn += 1
        tid = os.getpid()
        return [disk('disk0', *(
            queue(i, owner, tid, read=1000 * self._turn * (i < 3))
            for i, owner in enumerate(self.owners))),
            disk('disk1', queue(0, None, tid, read=9000 * self._turn))]

    def _move(self, arguments):
        if self.refuse:
            return {'error': {'class': 'GenericError', 'desc': self.refuse}}
        owners = {i: item['iothread']
                  for item in arguments['iothread-vq-mapping']
                  for i in item['vqs']}
        self.mappings.append((arguments['device'], owners))
        moved = [{'index': i, 'from': old, 'to': owners[i], 'away-ns': 41000}
                 for i, old in enumerate(self.owners) if old != owners[i]]
        self.owners = [owners[i] for i in sorted(owners)]
        return {'moved': moved}

    def answers(self):
        """For FakeQemu."""
        tid = os.getpid()
        return {QUERY: self._queues, MOVE: self._move,
                'query-commands': [{'name': QUERY}, {'name': MOVE}],
                'query-iothreads': [iothread('iothread0', tid),
                                    iothread('iothread1', tid),
                                    iothread('iothread2', tid)]}


class BalanceTest(test_program.ProgramTest):
    """What these tests share."""

    name = 'vq-balance'

    def balance(self, *options, vm=None):
        """(what it prints, the VM afterwards, what was sent to it)."""
        vm = vm or FakeVm()
        qemu = self.serve(vm.answers())
        process = self.start(*FAST, *options, self.socket)
        output, errors = process.communicate(timeout=PATIENCE)
        qemu.close()
        self.assertEqual((process.returncode, errors), (0, ''))
        return output, vm, qemu.commands


class Program(BalanceTest):
    def test_balances(self):
        """it moves two of three, a line each, and rests"""
        output, vm, _sent = self.balance('--count', '12')
        self.assertEqual(len(vm.mappings), 2)
        self.assertEqual(vm.owners[0], 'iothread0')
        self.assertEqual(sorted(vm.owners[:3]),
                         ['iothread0', 'iothread1', 'iothread2'])
        lines = [line for line in output.splitlines() if ' moves ' in line]
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], r'^\d\d:\d\d:\d\d moves disk0 virtqueue 1 '
                         'from iothread0 to iothread1, away for 41 us: '
                         'iothread0 has 3.00 times the mean, ')
        self.assertRegex(output.splitlines()[-1], ' rests: the busiest of 3 ')

    def test_whole_mapping(self):
        """each virtqueue is sent, with one that is changed"""
        _output, vm, _sent = self.balance('--max-moves', '1')
        path = '/machine/peripheral/disk0/virtio-backend'
        self.assertEqual(vm.mappings, [(path, {
            0: 'iothread0', 1: 'iothread1', 2: 'iothread0', 3: 'iothread0'})])

    def test_dry_run(self):
        """--dry-run changes nothing, and does not repeat itself"""
        output, vm, sent = self.balance('--dry-run', '--count', '6')
        self.assertEqual(vm.mappings, [])
        self.assertNotIn(MOVE, sent)
        self.assertEqual(output.count('would move disk0 virtqueue 1 '), 1)
        for command in set(sent):
            self.assertRegex(command, '^(query-.*|qmp_capabilities)$')

    def test_once(self):
        """--once moves one at most, without patience"""
        output, vm, _sent = self.balance('--once')
        self.assertEqual(len(vm.mappings), 1)
        self.assertEqual(output.count('\n'), 1)

    def test_json(self):
        """--json: an object per interval"""
        output, _vm, _sent = self.balance('--json', '--count', '5')
        blocks = [json.loads(line) for line in output.splitlines()]
        self.assertEqual([block['verdict'] for block in blocks],
                         ['waits', 'move', 'waits', 'move', 'even'])
        self.assertAlmostEqual(blocks[0]['imbalance'], 3)
        self.assertAlmostEqual(blocks[4]['imbalance'], 1)
        move = blocks[1]['move']
        self.assertEqual((move['disk'], move['index'], move['from'],
                          move['to'], move['away-ns']),
                         ('disk0', 1, 'iothread0', 'iothread1', 41000))

    def test_iothreads(self):
        """--iothreads: no others get anything"""
        _output, vm, _sent = self.balance('--iothreads', 'iothread0,iothread2',
                                          '--count', '8')
        self.assertEqual(set(vm.owners), {'iothread0', 'iothread2'})

    def test_device(self):
        """--device: other disks stay"""
        vm = FakeVm()
        answers = vm.answers()
        answers[QUERY] = lambda arguments: [
            found for found in vm.answers()[QUERY]({})
            if arguments.get('device') in (None, found['id'])]
        self.serve(answers)
        process = self.start(*FAST, '--device', 'disk1', '--count', '4',
                             self.socket)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors), (0, ''))
        self.assertIn('no move of one virtqueue would help', output)
        self.assertEqual(vm.mappings, [])

    def test_cpu(self):
        """IOThreads with time left are left alone"""
        self.serve(FakeVm().answers())
        process = self.start('--interval', '0.3', '--count', '3', self.socket)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors), (0, ''))
        self.assertRegex(output, r'rests: .* but runs for \d+ % of the time')

    def test_refused(self):
        """a move that QEMU refuses is told, and not tried again at once"""
        vm = FakeVm()
        vm.refuse = 'no IOThread "iothread1"'
        output, vm, sent = self.balance('--count', '8', vm=vm)
        self.assertIn('cannot move disk0 virtqueue 1 from iothread0 to '
                      'iothread1, QEMU says: no IOThread "iothread1": ',
                      output)
        # One of each virtqueue that would help
        self.assertEqual(sent.count(MOVE), 3)

    def test_mapped_anew(self):
        """a mapping that somebody else makes is not undone"""
        vm = FakeVm()
        answers = vm.answers()

        def queues(arguments):
            if 'device' in arguments:
                vm.owners = ['iothread2'] * 4
            return FakeVm.answers(vm)[QUERY](arguments)

        answers[QUERY] = queues
        self.serve(answers)
        process = self.start(*FAST, '--once', self.socket)
        output, _errors = process.communicate(timeout=PATIENCE)
        self.assertIn('it was mapped anew meanwhile', output)
        self.assertEqual(vm.mappings, [])


class Errors(BalanceTest):
    def test_usage(self):
        """wrong options have status 2"""
        for options in ((), ('--interval', '0', 'x'), ('--count', '0', 'x'),
                        ('--interval', 'nan', 'x'), ('--threshold', '1', 'x'),
                        ('--max-moves', '0', 'x'), ('--iothreads', 'a', 'x'),
                        ('--min-cpu', 'x', 'x'),
                        ('--once', '--count', '2', 'x')):
            process = self.start(*options)
            _output, errors = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 2, options)
            self.assertIn('vq-balance: error: ', errors)

    def test_missing(self):
        """no socket, no command, no such IOThread"""
        self.must_fail('there is no /nowhere', '/nowhere')
        answers = FakeVm().answers()
        qemu = self.serve(answers)
        self.must_fail('QEMU has no IOThread "x"', '--iothreads',
                       'iothread0,x', self.socket)
        qemu.close()
        answers['query-commands'] = [{'name': QUERY}]
        self.serve(answers)
        self.must_fail(f'this QEMU has no {MOVE}', self.socket)

    def test_ends(self):
        """the end of QEMU is one line, between intervals and in a move"""
        qemu = self.serve(FakeVm().answers())
        process = self.start('--interval', '3600', self.socket)
        self.wait_for_sample(qemu)
        qemu.hang_up()
        _output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors),
                         (1, 'vq-balance: QEMU has ended\n'))
        qemu.close()

        def move(_arguments):
            qemu.hang_up()
            return {}

        qemu = self.serve({**FakeVm().answers(), MOVE: move})
        self.must_fail('QEMU has ended', '--min-cpu', '0', '--once',
                       self.socket)

    def test_signals(self):
        """Ctrl-C ends it with status 0, SIGTERM with 143"""
        qemu = self.serve(FakeVm().answers())
        for number, status in ((signal.SIGINT, 0), (signal.SIGTERM, 143)):
            start = len(qemu.commands)
            process = self.start(*FAST, self.socket)
            deadline = time.monotonic() + PATIENCE
            while qemu.commands[start:].count(QUERY) < 2:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            process.send_signal(number)
            _output, errors = process.communicate(timeout=PATIENCE)
            self.assertEqual((process.returncode, errors), (status, ''))
