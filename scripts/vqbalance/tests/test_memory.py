# SPDX-License-Identifier: GPL-2.0-or-later
"""That it comes to rest."""

import dataclasses
import random
import unittest

from vqbalance.memory import Memory
from vqbalance.policy import Queue, Rules, Thread, thread_loads

RULES = Rules(min_cpu=0)


def threads(number):
    """IOThreads t0, t1, ..."""
    return [Thread(f't{i}') for i in range(number)]


def queues(loads, number, block=1):
    """Virtqueues with @loads, in blocks on @number IOThreads."""
    return [Queue('/d', 'd', i, f't{i // block % number}', load)
            for i, load in enumerate(loads)]


def play(memory, items, among, intervals, loads):
    """
    Do what @memory says. @loads: number of the interval to the load of each
    virtqueue. Returns (interval, index) of each move, and the virtqueues.
    """
    moves = []
    for now in range(intervals):
        items = [dataclasses.replace(item, load=load)
                 for item, load in zip(items, loads(now))]
        verdict = memory.decide(items, among)
        if verdict.move:
            move = verdict.move
            moves.append((now, move.queue.index))
            items[move.queue.index] = dataclasses.replace(
                move.queue, owner=move.target)
            memory.hold(move.queue)
    return moves, items


class Hysteresis(unittest.TestCase):
    def test_patience(self):
        """too much must last; then it is moved"""
        memory, among = Memory(RULES, 3), threads(2)
        items = queues([1, 500, 500], 2, 3)
        kinds = [memory.decide(items, among).kind for _ in range(4)]
        self.assertEqual(kinds, ['waits', 'waits', 'move', 'move'])

    def test_burst(self):
        """a burst now and then moves nothing"""
        def loads(now):
            return [10, 900 if now % 2 else 10, 300, 10]

        moves, _items = play(Memory(RULES), queues([0] * 4, 2, 2),
                             threads(2), 50, loads)
        self.assertEqual(moves, [])

    def test_one_an_interval(self):
        """each move must be seen to help before the next one"""
        memory = Memory(RULES)
        moves, items = play(memory, queues([100] * 16, 4, 16), threads(4), 60,
                            lambda now: [100] * 16)
        self.assertGreater(len(moves), 8)
        for (one, _), (other, _) in zip(moves, moves[1:]):
            self.assertGreaterEqual(other - one, 2)
        loads = thread_loads(items, threads(4))
        self.assertLess(max(loads.values()), 1.25 * 400)

    def test_rest(self):
        """a virtqueue stays for a number of intervals after its move"""
        # What is moved takes the load along, which is the worst that can be
        moves = []
        memory, among = Memory(RULES, 1, 10), threads(2)
        items = queues([300, 300, 300], 2, 3)
        for now in range(40):
            verdict = memory.decide(items, among)
            if verdict.move:
                queue = verdict.move.queue
                moves.append((now, queue.index))
                memory.hold(queue)
                items = [dataclasses.replace(
                    item, load=300, owner=verdict.move.target)
                    for item in items]
        last = {}
        for now, index in moves:
            self.assertGreater(now - last.get(index, -11), 10)
            last[index] = now
        self.assertGreater(len(moves), 3)

    def test_hot_three(self):
        """3 of 16 hot on one of 4: two moves, not of virtqueue 0, and rest"""
        def loads(now):
            rng = random.Random(now)
            return [rng.uniform(800, 1200) if i in (0, 4, 8) else
                    rng.uniform(5, 15) for i in range(16)]

        moves, items = play(Memory(RULES), queues([0] * 16, 4), threads(4),
                            1000, loads)
        self.assertEqual(sorted(index for _now, index in moves), [4, 8])
        self.assertLess(moves[-1][0], 5)
        self.assertEqual(len({items[i].owner for i in (0, 4, 8)}), 3)

    def test_comes_to_rest(self):
        """whatever the loads are, with noise of 5 %, moves come to an end"""
        for seed in range(200):
            rng = random.Random(seed)
            number = rng.randint(2, 6)
            means = [rng.choice((1, 10, 100, 1000)) * rng.random() + 10
                     for _ in range(rng.randint(number, 24))]
            moves, _items = play(
                Memory(RULES), queues(means, number, rng.randint(1, 8)),
                threads(number), 300,
                lambda now, rng=rng, means=means: [
                    mean * rng.uniform(0.95, 1.05) for mean in means])
            with self.subTest(seed):
                self.assertLessEqual(len(moves), 2 * len(means))
                self.assertLessEqual(
                    len([now for now, _index in moves if now > 150]), 1)
