# SPDX-License-Identifier: GPL-2.0-or-later
"""From blocks to loads, and from a move to a mapping."""

import unittest

from vqbalance import loads
from vqtop import model
from vqtop.source import Sample
from vqtop.tests.fake_qemu import disk, iothread, queue


def block(old, new, names='ab'):
    """What happened in two seconds."""
    threads = [iothread(name, 10 + i) for i, name in enumerate(names)]
    return model.make_block(Sample(0, 0, threads, old),
                            Sample(2, 0, threads, new))


class Loads(unittest.TestCase):
    def test_loads(self):
        """requests and their data, per virtqueue; unused ones have none"""
        # The requests of these are of 4 KiB, 16 of which cost as one more
        old = [disk('d', queue(0, 'a'), queue(1, 'b'),
                    queue(2, 'a', enabled=False))]
        new = [disk('d', queue(0, 'a', read=320), queue(1, 'b', flush=8),
                    queue(2, 'a', enabled=False))]
        queues, threads = loads.make(block(old, new))
        self.assertEqual([thread.name for thread in threads], ['a', 'b'])
        self.assertEqual([(q.disk, q.index, q.owner, q.movable)
                          for q in queues],
                         [('d', 0, 'a', True), ('d', 1, 'b', True),
                          ('d', 2, 'a', True)])
        self.assertEqual([q.load for q in queues], [170, 4.25, 0])

    def test_names(self):
        """only the IOThreads that are wanted; the main loop is none"""
        found = block([], [], 'abc')
        for names, wanted in ((None, 'abc'), (['c', 'a'], 'ac')):
            _queues, threads = loads.make(found, names)
            self.assertEqual([thread.name for thread in threads],
                             list(wanted))

    def test_new_disk(self):
        """a disk without rates has no load yet"""
        queues, _threads = loads.make(
            block([], [disk('d', queue(0, 'a', read=9))]))
        self.assertEqual(queues[0].load, 0)

    def test_movable(self):
        """other disks count; those of the main loop are not to be moved"""
        disks = [disk('d', queue(0, 'a')), disk('e', queue(0, 'a')),
                 disk('f', queue(0)),
                 disk('g', queue(0, 'a'), started=False),
                 disk('h', queue(0, 'a'), remapping=True)]
        queues, _threads = loads.make(block(disks, disks), None,
                                      {disks[0]['path']})
        self.assertEqual({q.disk: q.movable for q in queues},
                         {'d': True, 'e': False, 'f': False, 'h': False})
        queues, _threads = loads.make(block(disks, disks))
        self.assertEqual({q.disk: q.movable for q in queues},
                         {'d': True, 'e': True, 'f': False, 'h': False})

    def test_mapping(self):
        """the mapping that is, but for one"""
        found = disk('d', queue(0, 'a'), queue(1, 'b'), queue(2, 'a'),
                     queue(3, 'b'))
        self.assertEqual(loads.mapping(found, 2, 'b'),
                         [{'iothread': 'a', 'vqs': [0]},
                          {'iothread': 'b', 'vqs': [1, 2, 3]}])
        self.assertEqual(loads.mapping(found, 1, 'c'),
                         [{'iothread': 'a', 'vqs': [0, 2]},
                          {'iothread': 'c', 'vqs': [1]},
                          {'iothread': 'b', 'vqs': [3]}])

    def test_last(self):
        """an IOThread that is left without a virtqueue is not named"""
        found = disk('d', queue(0, 'a'), queue(1, 'b'))
        self.assertEqual(loads.mapping(found, 1, 'a'),
                         [{'iothread': 'a', 'vqs': [0, 1]}])
