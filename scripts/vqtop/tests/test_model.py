# SPDX-License-Identifier: GPL-2.0-or-later
"""From samples to blocks."""

import os
import unittest

from vqtop import host, model, source

from .fake_qemu import block_stats, disk, iothread, queue


def sample(time, disks=None, stats=None, threads=None, unplugged=(),
           iothreads=(('iothread0', 10), ('iothread1', 11))):
    """A sample; @threads is thread id to seconds that it has run."""
    return source.Sample(
        time, 0, [iothread(*item) for item in iothreads], disks, stats,
        {tid: host.Thread(int(ran * 1e9), int(time * 1e9), tid % 4)
         for tid, ran in (threads or {}).items()}, 9, list(unplugged))


def block(old, new, seconds=2, **more):
    """The block between disks @old and @new."""
    return model.make_block(sample(0, old), sample(seconds, new, **more))


class Rates(unittest.TestCase):
    def test_rates(self):
        """rates are differences over the time between"""
        found = block(
            [disk('d', queue(0, read=100, write=10, notifications=5))],
            [disk('d', queue(0, read=300, write=30, notifications=9, polls=8,
                             interrupts=6, flush=2, in_flight=3,
                             max_in_flight=7, failed=1))])
        row = found['disks'][0]['queues'][0]
        self.assertEqual(row['read-iops'], 100)
        self.assertEqual(row['write-iops'], 10)
        self.assertEqual(row['flush-iops'], 1)
        self.assertEqual(row['iops'], 111)
        self.assertEqual(row['bytes-per-second'], 4096 * 111)
        self.assertEqual(row['read-bytes-per-second'], 4096 * 100)
        self.assertEqual(row['notifications-per-second'], 2)
        self.assertEqual(row['polls-per-second'], 4)
        self.assertEqual(row['interrupts-per-second'], 3)
        self.assertEqual((row['in-flight'], row['max-in-flight']), (3, 7))
        self.assertEqual((row['failed'], row['new-failed']), (1, 1))
        self.assertEqual((found['iops'], found['in-flight']), (111, 3))

    def test_batch(self):
        """a batch counts what it took, complete or not"""
        old = [disk('d', queue(0, read=100, batches=10, in_flight=4))]
        new = [disk('d', queue(0, read=156, batches=14, in_flight=12))]
        row = block(old, new)['disks'][0]['queues'][0]
        self.assertEqual(row['batch'], 16)
        self.assertNotIn('batch', block(old, old)['disks'][0]['queues'][0])

    def assert_new(self, found):
        """The only disk has no rates, and nothing else has."""
        self.assertNotIn('iops', found['disks'][0])
        self.assertNotIn('iops', found['disks'][0]['queues'][0])
        self.assertNotIn('imbalance', found['disks'][0])
        self.assertNotIn('imbalance', found)
        self.assertNotIn('iops', found)

    def test_plugged(self):
        """a disk that is new has no rates yet"""
        self.assert_new(block([], [disk('d', queue(0, read=100))]))

    def test_counter_fell(self):
        """a disk with a counter that fell is another one"""
        old = queue(0, read=100, notifications=5, max_in_flight=3)
        for name, value in (('read', 99), ('notifications', 4),
                            ('max_in_flight', 2)):
            new = queue(0, **{'read': 100, 'notifications': 5,
                              'max_in_flight': 3, name: value})
            self.assert_new(block([disk('d', old)], [disk('d', new)]))

    def test_other_size(self):
        """so is one with more virtqueues"""
        self.assert_new(block([disk('d', queue(0))],
                              [disk('d', queue(0), queue(1))]))

    def test_unplugged(self):
        """so is one whose device was unplugged meanwhile, and no other"""
        old, new = [disk('d', queue(0))], [disk('d', queue(0, read=9))]
        self.assert_new(block(old, new,
                              unplugged=['/machine/peripheral/d']))
        found = block(old, new, unplugged=['/machine/peripheral/d2'])
        self.assertEqual(found['iops'], 4.5)

    def test_gone(self):
        """a disk that is gone is not there"""
        found = block([disk('d', queue(0)), disk('e', queue(0))],
                      [disk('e', queue(0, read=4))])
        self.assertEqual([d['id'] for d in found['disks']], ['e'])
        self.assertEqual(found['iops'], 2)


class Imbalance(unittest.TestCase):
    def load(self, *requests, **more):
        """Requests of queues that two IOThreads serve in turn."""
        def queues(factor):
            return [queue(i, f'iothread{i % 2}', 10 + i % 2,
                          read=n * factor) for i, n in enumerate(requests)]
        return block([disk('d', *queues(0), **more)],
                     [disk('d', *queues(1), **more)])

    def test_values(self):
        """busiest over mean"""
        self.assertEqual(model.imbalance([3, 1]), 1.5)
        self.assertEqual(model.imbalance([5, 5, 5]), 1)
        self.assertEqual(model.imbalance([4, 0, 0, 0]), 4)
        self.assertIsNone(model.imbalance([0, 0]))
        self.assertIsNone(model.imbalance([]))

    def test_both(self):
        """over virtqueues, and over IOThreads"""
        found = self.load(6, 0, 6, 0)
        self.assertEqual(found['disks'][0]['imbalance'], 2)
        self.assertEqual(found['imbalance'], 2)
        found = self.load(6, 6, 0, 0)
        self.assertEqual(found['disks'][0]['imbalance'], 2)
        self.assertEqual(found['imbalance'], 1)

    def test_threads(self):
        """a thread has the sum of what it serves, and its share"""
        main, first, second = self.load(6, 1, 8, 1)['threads']
        self.assertEqual((main['main-loop'], main['thread-id']), (True, 9))
        self.assertEqual(main['share-percent'], 0)
        self.assertEqual((first['iops'], first['share-percent']), (7, 87.5))
        self.assertEqual((second['iops'], second['share-percent']), (1, 12.5))
        self.assertEqual(first['serves'], [{'disk': 'd', 'queues': [0, 2]}])
        self.assertNotIn('serves', main)

    def test_no_load(self):
        """without load there is none"""
        found = self.load(0, 0)
        self.assertNotIn('imbalance', found)
        self.assertNotIn('imbalance', found['disks'][0])
        self.assertNotIn('share-percent', found['threads'][1])

    def test_unused(self):
        """unused virtqueues do not count, their idle IOThread does"""
        found = block(
            [disk('d', queue(0, 'iothread0', 10),
                  queue(1, 'iothread1', 11, enabled=False))],
            [disk('d', queue(0, 'iothread0', 10, read=8),
                  queue(1, 'iothread1', 11, enabled=False))])
        self.assertEqual(found['disks'][0]['imbalance'], 1)
        self.assertEqual(found['imbalance'], 2)
        self.assertEqual(found['threads'][2]['serves'], [])

    def test_not_started(self):
        """while notifiers do not run, the main loop has done it"""
        found = self.load(6, 2, started=False)
        main, first, _second = found['threads']
        self.assertEqual(main['iops'], 4)
        self.assertEqual(main['serves'], [{'disk': 'd', 'queues': [0, 1]}])
        self.assertNotIn('iops', first)
        row = found['disks'][0]['queues'][0]
        self.assertEqual(row['iothread'], 'iothread0')
        self.assertNotIn('cpu-percent', row)

    def test_stopped(self):
        """in the interval in which they stop, the IOThreads have done it"""
        old, new = ([disk('d', queue(0, 'iothread0', 10, read=reads),
                          started=started)]
                    for reads, started in ((0, True), (8, False)))
        for pair in ((old, new), ([{**old[0], 'ioeventfd-started': False}],
                                  [{**new[0], 'ioeventfd-started': True}])):
            main, first, _second = block(*pair)['threads']
            self.assertNotIn('iops', main)
            self.assertEqual(first['iops'], 4)

    def test_idle_disk(self):
        """a disk that the guest does not use has no part in it"""
        off = disk('off', queue(0, None, 9, enabled=False), started=False)
        found = block([disk('d', queue(0, 'iothread0', 10)), off],
                      [disk('d', queue(0, 'iothread0', 10, read=8)), off])
        self.assertEqual(found['imbalance'], 1)
        self.assertNotIn('serves', found['threads'][0])


class Threads(unittest.TestCase):
    def test_cpu(self):
        """%CPU is that of the time between; it is the virtqueue's too"""
        new = [disk('d', queue(0, 'iothread1', 11), queue(1, None, 9))]
        found = model.make_block(
            sample(0, new, threads={9: 1, 10: 5, 11: 7}),
            sample(2, new, threads={9: 1.5, 10: 5, 11: 9.1}))
        self.assertEqual([t['cpu-percent'] for t in found['threads']],
                         [25, 0, 100])
        self.assertEqual([t['host-cpu'] for t in found['threads']], [1, 2, 3])
        rows = found['disks'][0]['queues']
        self.assertEqual([r['cpu-percent'] for r in rows], [100, 25])

    def test_unknown(self):
        """a new thread has a CPU only; one that /proc lacks has nothing"""
        found = model.make_block(
            sample(0, [], threads={9: 1}),
            sample(1, [], threads={9: 1, 10: 5}))
        _main, new, lacking = found['threads']
        self.assertEqual(new['host-cpu'], 2)
        self.assertNotIn('cpu-percent', new)
        self.assertEqual(lacking, {'id': 'iothread1', 'thread-id': 11})

    def test_reused_id(self):
        """a thread id that another thread has now gives no negative %CPU"""
        found = model.make_block(sample(0, [], threads={10: 5}),
                                 sample(1, [], threads={10: 1}))
        self.assertNotIn('cpu-percent', found['threads'][1])

    def test_order(self):
        """iothread2 comes before iothread10"""
        items = [('iothread10', 3), ('iothread2', 4), ('a', 5)]
        found = model.make_block(sample(0, [], iothreads=items),
                                 sample(1, [], iothreads=items))
        self.assertEqual([t.get('id') for t in found['threads']],
                         [None, 'a', 'iothread2', 'iothread10'])


class Stock(unittest.TestCase):
    def test_disks(self):
        """stock QEMU has the sums of each disk"""
        found = model.make_block(
            sample(0, stats=[block_stats('d', 10)]),
            sample(2, stats=[block_stats('d', 30), block_stats('e', 5)]))
        self.assertEqual(found['disks'][0]['iops'], 10)
        self.assertEqual(found['disks'][0]['bytes-per-second'], 40960)
        self.assertNotIn('iops', found['disks'][1])
        self.assertFalse(found['per-queue'])

    def test_replaced(self):
        """a disk that was re-plugged starts over"""
        old, new = [block_stats('d', 10)], [block_stats('d', 3)]
        found = model.make_block(sample(0, stats=old), sample(2, stats=new))
        self.assertNotIn('iops', found['disks'][0])

    def test_imbalance(self):
        """the imbalance is that of CPU time, if there is any to speak of"""
        def found(first, second):
            return model.make_block(
                sample(0, stats=[], threads={10: 0, 11: 0}),
                sample(2, stats=[], threads={10: first, 11: second}))
        self.assertEqual(found(1.5, 0.5)['cpu-imbalance'], 1.5)
        self.assertNotIn('cpu-imbalance', found(0.001, 0))


class Host(unittest.TestCase):
    def test_find(self):
        """thread ids must be those of one process that may be QEMU"""
        me, parent = os.getpid(), os.getppid()
        self.assertEqual(host.find_qemu({me}, me), me)
        self.assertEqual(host.find_qemu(set(), me), me)
        self.assertIsNone(host.find_qemu({me, parent}, me))
        self.assertIsNone(host.find_qemu({me, parent}, parent))
        self.assertIsNone(host.find_qemu({me}, None))
        self.assertIsNone(host.find_qemu({me, 1 << 30}, me))
        self.assertIsNone(host.find_qemu(set(), None))

    def test_figures(self):
        """a thread of another process has none"""
        me = os.getpid()
        found = host.figures(me, [me, os.getppid()])
        self.assertEqual(list(found), [me])
        self.assertGreater(found[me].run_ns, 0)
        self.assertIn(found[me].host_cpu, range(os.cpu_count()))
