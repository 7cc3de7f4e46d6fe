# SPDX-License-Identifier: GPL-2.0-or-later
"""Which virtqueue is moved, and why none is."""

import unittest

from vqbalance.policy import Queue, Rules, Thread, decide

RULES = Rules(min_cpu=0)


def queues(owners, disk='d', movable=True):
    """Virtqueues of @owners, IOThread to loads, with indices in that order."""
    flat = [(owner, load) for owner, loads in owners.items()
            for load in loads]
    return [Queue(f'/{disk}', disk, index, owner, load, movable)
            for index, (owner, load) in enumerate(flat)]


def threads(**cpu):
    """IOThreads by name with their CPU share."""
    return [Thread(name, percent) for name, percent in cpu.items()]


AB = threads(a=None, b=None)
ABC = threads(a=None, b=None, c=None)


class PolicyTest(unittest.TestCase):
    """What these tests share."""

    def decide(self, items, among=tuple(AB), rules=RULES, held=()):
        """The verdict; a move has to be one, and to help."""
        verdict = decide(items, among, rules, frozenset(held))
        self.assertEqual(verdict.kind == 'move', verdict.move is not None)
        self.assertTrue(verdict.reason)
        if verdict.move:
            self.assertIn(verdict.move.queue, items)
            self.assertNotEqual(verdict.move.queue.owner, verdict.move.target)
            self.assertIn(verdict.move.target, [t.name for t in among])
            self.assertGreaterEqual(verdict.move.gain, rules.min_gain)
        return verdict

    def assert_move(self, verdict, index, target, disk='d'):
        """It is this one."""
        self.assertIsNotNone(verdict.move, verdict.reason)
        self.assertEqual((verdict.move.queue.disk, verdict.move.queue.index,
                          verdict.move.target), (disk, index, target))


class Policy(PolicyTest):
    def test_helps_most(self):
        """the virtqueue that leaves the busier of the two with the least"""
        verdict = self.decide(queues({'a': [100, 700, 500, 200], 'b': [0]}))
        self.assert_move(verdict, 1, 'b')
        verdict = self.decide(queues({'a': [100, 900, 500, 200], 'b': [0]}))
        self.assertAlmostEqual(verdict.imbalance, 2)
        self.assert_move(verdict, 1, 'b')
        verdict = self.decide(queues({'a': [100, 1500, 500, 200], 'b': [0]}))
        # 1500 are left on one of them either way
        self.assert_move(verdict, 1, 'b')

    def test_idlest(self):
        """it goes to the idlest"""
        verdict = self.decide(queues({'a': [500, 500], 'b': [100],
                                      'c': [50]}), ABC)
        self.assertEqual(verdict.move.target, 'c')

    def test_not_queue_0(self):
        """virtqueue 0 stays if another helps nearly as much"""
        self.assert_move(self.decide(queues({'a': [510, 500], 'b': [0]})), 1,
                         'b')
        self.assert_move(self.decide(queues({'a': [500, 500, 400],
                                             'b': [0]})), 1, 'b')

    def test_queue_0(self):
        """virtqueue 0 goes if it is the one that helps"""
        self.assert_move(self.decide(queues({'a': [500, 100, 200, 100],
                                             'b': [0]})), 0, 'b')

    def test_alone(self):
        """one hot virtqueue is not moved from thread to thread"""
        verdict = self.decide(queues({'a': [1000], 'b': [0]}))
        self.assertEqual(verdict.kind, 'stuck')
        verdict = self.decide(queues({'a': [1000, 1, 1], 'b': [0]}))
        self.assertEqual(verdict.kind, 'stuck')

    def test_even(self):
        """nothing is moved below the threshold"""
        verdict = self.decide(queues({'a': [600, 20], 'b': [500]}))
        self.assertEqual(verdict.kind, 'even')
        self.assertIn('the busiest of 2 IOThreads has 1.11', verdict.reason)

    def test_second(self):
        """the next one is relieved if the busiest cannot be"""
        verdict = self.decide(queues({'a': [1000], 'b': [400, 400],
                                      'c': [0]}), ABC)
        self.assert_move(verdict, 1, 'c')

    def test_many_small(self):
        """a virtqueue is a small part of many, and is moved all the same"""
        verdict = self.decide(queues({'a': [10] * 32, 'b': []}))
        self.assert_move(verdict, 1, 'b')

    def test_held(self):
        """a virtqueue that was moved a short while ago stays"""
        items = queues({'a': [10, 500, 480], 'b': [0]})
        self.assert_move(self.decide(items, held={('/d', 1)}), 2, 'b')
        verdict = self.decide(items, held={('/d', 1), ('/d', 2)})
        self.assertEqual(verdict.kind, 'held')

    def test_idle(self):
        """without load there is nothing to move"""
        for load in (0, 10):
            verdict = self.decide(queues({'a': [load, load], 'b': [0]}))
            self.assertEqual(verdict.kind, 'idle')
        rules = Rules(min_cpu=0, min_load=0)
        self.assertEqual(self.decide(queues({'a': [0], 'b': [0]}),
                                     rules=rules).kind, 'idle')

    def test_few_threads(self):
        """one IOThread, or none"""
        for among in ((), AB[:1]):
            verdict = self.decide(queues({'a': [900, 900]}), among)
            self.assertEqual(verdict.kind, 'alone')


class Cpu(PolicyTest):
    def test_has_time(self):
        """an IOThread with time left is not relieved"""
        items = queues({'a': [500, 500], 'b': [0]})
        verdict = self.decide(items, threads(a=7, b=0), Rules())
        self.assertEqual(verdict.kind, 'cpu')
        self.assertIn('7 % of the time', verdict.reason)
        verdict = self.decide(items, threads(a=90, b=0), Rules())
        self.assertIsNotNone(verdict.move)

    def test_unknown(self):
        """CPU time that is not known does not matter"""
        self.assertIsNotNone(self.decide(
            queues({'a': [500, 500], 'b': [0]}), rules=Rules()).move)

    def test_other_work(self):
        """one that is busy with something else gets nothing"""
        items = queues({'a': [500, 500], 'b': [0], 'c': [300]})
        self.assert_move(self.decide(items, threads(a=90, b=95, c=40),
                                     Rules()), 1, 'c')
        verdict = self.decide(items, threads(a=90, b=95, c=99), Rules())
        self.assertEqual(verdict.kind, 'busy')
        # Nobody is busy, so that this says nothing
        self.assert_move(self.decide(items, threads(a=3, b=4, c=4)), 1, 'b')


class Disks(PolicyTest):
    def test_others_count(self):
        """load of other disks counts"""
        items = (queues({'a': [400, 400], 'b': []}, 'one') +
                 queues({'b': [900]}, 'two'))
        self.assert_move(self.decide(items, ABC), 1, 'c', 'one')

    def test_not_movable(self):
        """virtqueues that are not to be moved count and stay"""
        items = (queues({'a': [600, 500]}, 'one', movable=False) +
                 queues({'a': [400]}, 'two'))
        self.assert_move(self.decide(items), 0, 'b', 'two')

    def test_outside(self):
        """virtqueues of other IOThreads and the main loop do not count"""
        items = queues({'a': [100, 100], 'b': [190], 'z': [9000],
                        None: [9000]})
        self.assertEqual(self.decide(items).kind, 'even')
