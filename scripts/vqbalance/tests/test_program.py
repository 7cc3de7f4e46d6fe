# SPDX-License-Identifier: GPL-2.0-or-later
"""The program, with a QMP server that is scripted."""

import json
import os
import signal
import time

from vqtap import PATIENCE
from vqtop.tests import test_program
from vqtop.tests.fake_qemu import (disk, iothread, path_of, queue,
                                    remapped)

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
        self.end = self.end_after
        self.qemu = None
        # Of virtqueues that are leaving, by index
        self.goals = {}
        self.remapping = False
        self._turn = 0

    def _queues(self, arguments):
        self._turn += 1
        tid = os.getpid()
        disks = [disk('disk0', *(
            queue(i, owner, tid, read=1000 * self._turn * (i < 3),
                  **({'state': 'leaving', 'in_flight': 3, 'remap': {
                      'iothread': self.goals[i], 'requests': 3}}
                     if i in self.goals else {}))
            for i, owner in enumerate(self.owners)),
            remapping=self.remapping),
            disk('disk1', queue(0, None, tid, read=9000 * self._turn))]
        wanted = arguments.get('id')
        return [found for found in disks
                if wanted in (None, found['id'], found['path'])]

    def end_after(self, event):
        """The event comes after the reply, as it does mostly."""
        self.qemu.late_events.append(event)

    def end_before(self, event):
        """The event comes before the reply."""
        self.qemu.events.append(event)

    def end_never(self, event):
        """A request does not complete."""
        self.remapping = True
        for item in event['data']['queues']:
            self.owners[item['index']] = item['from']
            self.goals[item['index']] = item['to']

    def arrive(self):
        """What end_never() has begun ends."""
        self.owners = [self.goals.get(i, owner)
                       for i, owner in enumerate(self.owners)]
        event = remapped('disk0', *((i, 'iothread0', goal, 9000000000)
                                    for i, goal in self.goals.items()))
        self.goals = {}
        self.remapping = False
        self.qemu.events.append(event)

    def _move(self, arguments):
        if self.refuse:
            return {'error': {'class': 'GenericError', 'desc': self.refuse}}
        owners = {i: item['iothread']
                  for item in arguments['iothread-vq-mapping']
                  for i in item['vqs']}
        self.mappings.append((arguments['id'], owners))
        event = remapped('disk0', *(
            (i, old, owners[i], 41000)
            for i, old in enumerate(self.owners) if old != owners[i]))
        self.owners = [owners[i] for i in sorted(owners)]
        self.end(event)
        return {}

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
        qemu = vm.qemu = self.serve(vm.answers())
        process = self.start(*FAST, *options, self.socket)
        output, errors = process.communicate(timeout=PATIENCE)
        qemu.close()
        self.assertEqual((process.returncode, errors), (0, ''))
        return output, vm, qemu.commands


class Program(BalanceTest):
    def test_balances(self):
        """it moves two of three, a line each, and then no more"""
        output, vm, _sent = self.balance('--count', '12')
        self.assertEqual(len(vm.mappings), 2)
        self.assertEqual(vm.owners[0], 'iothread0')
        self.assertEqual(sorted(vm.owners[:3]),
                         ['iothread0', 'iothread1', 'iothread2'])
        lines = [line for line in output.splitlines() if ' moves ' in line]
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], r'^\d\d:\d\d:\d\d moves disk0 virtqueue 1 '
                         'from iothread0 to iothread1, unserved for 41 us: '
                         'iothread0 has 3.00 times the mean, ')
        self.assertRegex(output.splitlines()[-1], ' no move: the busiest of 3 ')

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
                          move['to'], move['unserved-ns'], move['node']),
                         ('disk0', 1, 'iothread0', 'iothread1', 41000,
                          'same'))

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
            if arguments.get('id') in (None, found['id'])]
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
        self.assertRegex(output, r'no move: .* but runs for \d+ % of the time')

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
            if 'id' in arguments:
                vm.owners = ['iothread2'] * 4
            return FakeVm.answers(vm)[QUERY](arguments)

        answers[QUERY] = queues
        self.serve(answers)
        process = self.start(*FAST, '--once', self.socket)
        output, _errors = process.communicate(timeout=PATIENCE)
        self.assertIn('it was remapped meanwhile', output)
        self.assertEqual(vm.mappings, [])

    def test_numbers(self):
        """a number that is too small is told so"""
        for options, text in ((('--threshold', '0.5'),
                               '0.5 must be at least 1.01'),
                              (('--min-cpu', '101'),
                               '101 must be at least 0 and less than 101')):
            process = self.start(*options, 'x')
            _output, errors = process.communicate(timeout=PATIENCE)
            self.assertIn(text, errors)


class Ends(BalanceTest):
    """How a remap ends, or does not."""

    def test_before(self):
        """the event may come before the reply"""
        vm = FakeVm()
        vm.end = vm.end_before
        output, vm, _sent = self.balance('--once', vm=vm)
        self.assertIn('to iothread1, unserved for 41 us: ', output)

    def test_never(self):
        """without an event: what is leaving, and no other move of the disk"""
        vm = FakeVm()
        vm.end = vm.end_never
        start = time.monotonic()
        output, vm, _sent = self.balance('--count', '8', '--wait', '0.3',
                                         vm=vm)
        self.assertLess(time.monotonic() - start, 15)
        self.assertEqual(len(vm.mappings), 1)
        lines = output.splitlines()
        self.assertRegex(lines[1], (
            'moves disk0 virtqueue 1 from iothread0 to iothread1, which has '
            r'not ended in time: virtqueue 1 \(leaving\) waits for 3 '
            'requests, from iothread0 to iothread1: iothread0 '))
        self.assertIn('no move: ', lines[2])
        self.assertEqual(len(lines), 3)

    def test_late(self):
        """an end that comes late is told, and moves go on"""
        vm = FakeVm()
        vm.end = vm.end_never
        answers = vm.answers()
        queues, since = answers[QUERY], 0

        def query(arguments):
            nonlocal since
            since += vm.remapping
            if since == 5:
                vm.end = vm.end_after
                vm.arrive()
            return queues(arguments)

        answers[QUERY] = query
        for as_json in (False, True):
            vm.__init__()
            vm.end, since = vm.end_never, 0
            vm.qemu = self.serve(answers)
            process = self.start(*FAST, *['--json'] * as_json, '--wait', '0.2',
                                 '--count', '14', self.socket)
            output, errors = process.communicate(timeout=PATIENCE)
            vm.qemu.close()
            self.assertEqual((process.returncode, errors), (0, ''))
            self.assertEqual(len(vm.mappings), 2)
            if not as_json:
                self.assertRegex(output, r'\n[\d:]+ disk0 virtqueue 1 has '
                                 r'arrived, unserved for 9000000 us\n')
                continue
            blocks = [json.loads(line) for line in output.splitlines()]
            self.assertIn('leaving', next(
                item['move'] for item in blocks if 'move' in item))
            self.assertEqual([item['move'] for item in blocks
                              if item['verdict'] == 'arrived'],
                             [{'disk': 'disk0', 'index': 1, 'node': 'same',
                               'unserved-ns': 9000000000}])

    def test_other_disk(self):
        """the event of another disk is no end"""
        vm = FakeVm()

        def end(event):
            vm.qemu.late_events.append(remapped('disk1', (0, None, None, 5)))
            vm.end_never(event)

        vm.end = end
        output, vm, _sent = self.balance('--once', '--wait', '0.3', vm=vm)
        self.assertIn('has not ended in time: virtqueue 1 (leaving)', output)

    def test_event_of_before(self):
        """the event of a remap before this one is no end"""
        vm = FakeVm()

        def end(event):
            # It was on its way when the command was sent
            vm.qemu.events.append(remapped(
                'disk0', (1, 'iothread2', 'iothread0', 7000)))
            vm.end_never(event)

        vm.end = end
        output, vm, _sent = self.balance('--once', '--wait', '0.3', vm=vm)
        self.assertIn('has not ended in time: virtqueue 1 (leaving)', output)

    def test_replaced(self):
        """somebody else's remap replaces it: one event for both"""
        vm = FakeVm()

        def end(event):
            vm.owners = ['iothread2'] * 4
            event['data']['queues'] = [
                {'index': i, 'from': 'iothread0', 'to': 'iothread2',
                 'unserved-ns': 5000} for i in range(4)]
            vm.end_after(event)

        vm.end = end
        output, vm, _sent = self.balance('--once', vm=vm)
        self.assertIn('cannot move disk0 virtqueue 1 from iothread0 to '
                      'iothread1, somebody else has remapped it meanwhile: ',
                      output)

    def test_not_ours(self):
        """a disk that somebody else is remapping stays"""
        vm = FakeVm()
        vm.remapping = True
        _output, vm, sent = self.balance('--count', '6', vm=vm)
        self.assertNotIn(MOVE, sent)
        # And if it has begun between the sample and the move
        vm = FakeVm()
        answers = vm.answers()
        queues = answers[QUERY]

        def query(arguments):
            vm.remapping = 'id' in arguments
            return queues(arguments)

        answers[QUERY] = query
        qemu = self.serve(answers)
        process = self.start(*FAST, '--once', self.socket)
        output, _errors = process.communicate(timeout=PATIENCE)
        self.assertIn('cannot move disk0 virtqueue 1 from iothread0 to '
                      'iothread1, somebody else remaps the disk: ', output)
        self.assertNotIn(MOVE, qemu.commands)

    def test_node(self):
        """a block node that has not followed is told"""
        for node, text in (('in-use', 'another user holds it where it is'),
                           ('busy', 'requests or block jobs did not come')):
            vm = FakeVm()

            def end(event, node=node, vm=vm):
                event['data']['node'] = node
                vm.end_after(event)

            vm.end = end
            output, _vm, _sent = self.balance('--once', vm=vm)
            self.assertIn(f'unserved for 41 us (its block node stays: {text}',
                          output)

    def test_unplugged(self):
        """a disk that is unplugged meanwhile has no event, and no wait"""
        vm = FakeVm()
        answers = vm.answers()
        queues = answers[QUERY]

        def end(event):
            vm.end_never(event)
            vm.qemu.late_events.append({
                'event': 'DEVICE_DELETED', 'timestamp': {}, 'data': {
                    'device': 'disk0', 'path': '/machine/peripheral/disk0'}})

        def query(arguments):
            if vm.remapping and arguments:
                return {'error': {'class': 'DeviceNotFound', 'desc':
                                  f"Device '{path_of('disk0')}' not found"}}
            return queues(arguments)

        vm.end = end
        answers[QUERY] = query
        vm.qemu = self.serve(answers)
        start = time.monotonic()
        process = self.start(*FAST, '--once', '--wait', '60', self.socket)
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors), (0, ''))
        self.assertLess(time.monotonic() - start, 25)
        self.assertIn("QEMU says: Device '/machine/peripheral/disk0/virtio-"
                      "backend' not found: ", output)


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

    def test_old(self):
        """a former version of the series: no event, other arguments"""
        vm = FakeVm()
        answers = vm.answers()
        queues = answers[QUERY]

        def old(arguments):
            if 'id' in arguments:
                return {'error': {'class': 'GenericError', 'desc':
                                  "Parameter 'id' is unexpected"}}
            return [{key: value for key, value in found.items()
                     if key != 'remapping'} for found in queues(arguments)]

        answers[QUERY] = old
        qemu = self.serve(answers)
        for options in ((), ('--device', 'disk0')):
            self.must_fail('this QEMU has no event VIRTIO_BLK_REMAPPED; it '
                           'is of a former version', *options, self.socket)
        self.assertNotIn(MOVE, qemu.commands)

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
        vm = FakeVm()
        qemu = vm.qemu = self.serve(vm.answers())
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
