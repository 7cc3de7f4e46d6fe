# SPDX-License-Identifier: GPL-2.0-or-later
"""Which IOThreads, where: plan.py and what it is given."""

import contextlib
import io
import itertools
import json
import os
from random import Random

from vqplan import PlanError, check, cpulist, plan, qemu, topology

from .program import ProgramTest, host

ONE, TWO, BIG = (topology.load(host(name)) for name in (
    'one-node', 'two-nodes-smt', '96-cpus'))


def pins(*cpus):
    """vCPU i on the i-th of @cpus."""
    return {vcpu: [cpu] for vcpu, cpu in enumerate(cpus)}


def make(where, vcpus, own=None, disks=(None,), **more):
    """A plan."""
    return plan.make_plan(plan.Request(vcpus, list(disks), own or {}, **more),
                          where)


def places(answer):
    """CPUs of each IOThread."""
    return [thread.cpus for thread in answer.iothreads]


class Number(ProgramTest):
    def numbers(self, *requests):
        """The numbers of IOThreads."""
        return [len(make(*args).iothreads) for args in requests]

    def test_auto(self):
        """one for every four vCPUs, two for several disks"""
        self.assertEqual(self.numbers(
            (BIG, 1), (BIG, 4), (BIG, 5), (BIG, 16), (BIG, 48),
            (BIG, 4, None, [None] * 2), (BIG, 1, None, [None] * 2),
            (BIG, 8, None, [None] * 9)), [1, 1, 2, 4, 12, 2, 1, 2])

    def test_room(self):
        """no more than the vCPUs leave room for"""
        self.assertEqual(self.numbers(
            (ONE, 6, pins(*range(6))), (ONE, 8, pins(*range(8))), (ONE, 7),
            (ONE, 64), (TWO, 12, pins(*range(0, 24, 2))),
            (TWO, 20, pins(*range(20))), (ONE, 8, pins(*range(8)), [None] * 2),
            (ONE, 7, pins(*range(7)), [None] * 2)),
            [2, 1, 1, 1, 1, 2, 2, 2])

    def test_nodes(self):
        """one at least for each node with vCPUs"""
        self.assertEqual(self.numbers((BIG, 4, pins(1, 25, 49, 73))), [4])

    def test_own(self):
        """each disk's own: round-robin or refused, and one may be enough"""
        self.assertEqual(len(make(BIG, 4, None, [None] * 2,
                                  own_iothreads=True).iothreads), 1)
        random = Random(1)
        refused = 0
        for _ in range(300):
            vcpus = random.randint(1, 24)
            own = pins(*random.sample(BIG.online, vcpus))
            try:
                answer = make(BIG, vcpus, own, own_iothreads=True)
            except PlanError as err:
                refused += 1
                self.assertRegex(str(err),
                                 r'^--own-iothreads: iothread\d+ is ')
                answer = make(BIG, vcpus, own)
                self.assertGreater(len(answer.iothreads), 1)
                continue
            number = len(answer.iothreads)
            for i, thread in enumerate(answer.iothreads):
                self.assertEqual(thread.queues, list(range(i, vcpus, number)))
        self.assertTrue(0 < refused < 300)

    def test_given(self):
        """as asked, if that can be"""
        for number in (1, 3, 8):
            answer = make(TWO, 8, pins(*range(8)), iothreads=number)
            self.assertEqual(len(answer.iothreads), number)
        for own in ({}, pins(*range(8))):
            with self.assertRaisesRegex(PlanError, 'as many virtqueues'):
                make(TWO, 8, own, iothreads=9)
        with self.assertRaisesRegex(PlanError, 'there are 2; give fewer'):
            make(ONE, 6, pins(*range(6)), iothreads=3)


class Place(ProgramTest):
    def test_behind(self):
        """behind the own vCPUs, on cores of their own"""
        self.assertEqual(places(make(TWO, 8, pins(*range(4, 12)))),
                         [[12], [14]])
        self.assertEqual(places(make(TWO, 8, pins(*range(16, 24)))),
                         [[2], [4]])
        self.assertEqual(places(make(ONE, 4, pins(4, 5, 6, 7))), [[1]])

    def test_cpu_0(self):
        """CPU 0 is the last of its kind"""
        for own in itertools.combinations(range(8), 6):
            free = sorted(set(range(8)) - set(own))
            got = [cpus[0] for cpus in places(make(ONE, 6, pins(*own)))]
            self.assertEqual(sorted(got), free)
            self.assertEqual(got[-1] == 0, 0 in free)
        self.assertNotIn([0], places(make(BIG, 4, pins(9, 10, 11, 12))))

    def test_siblings(self):
        """SMT siblings: of each other before those of vCPUs"""
        got = places(make(TWO, 12, pins(0, 2, *range(4, 14)), iothreads=12))
        self.assertEqual([cpus[0] for cpus in got],
                         [14, 16, 18, 20, 22, 15, 17, 19, 21, 23, 3, 1])

    def test_numbering(self):
        """siblings may be far apart in number"""
        where = topology.Topology(
            '0-7', {0: list(range(8))}, {0: [10]},
            [[i, i + 4] for i in range(4)], {}, None)
        self.assertEqual(places(make(where, 2, pins(0, 4), iothreads=2)),
                         [[5], [6]])
        self.assertEqual(places(make(where, 2, pins(1, 2), iothreads=2)),
                         [[3], [4]])

    def test_node(self):
        """each on the node of its vCPUs, that have just its virtqueues"""
        own = pins(*range(20, 28), 50, 51, 73, 95)
        for number in (None, 4, 5, 9, 12):
            answer = make(BIG, 12, own, iothreads=number)
            queues = sorted(q for t in answer.iothreads for q in t.queues)
            self.assertEqual(queues, list(range(12)))
            for thread in answer.iothreads:
                self.assertEqual(
                    {BIG.node_of(own[q][0]) for q in thread.queues},
                    {BIG.node_of(thread.cpus[0])})

    def test_fewer_than_nodes(self):
        """fewer IOThreads than nodes: the nearest one serves the others"""
        answer = make(BIG, 6, pins(1, 2, 25, 49, 50, 73), iothreads=2)
        self.assertEqual([(t.queues, BIG.node_of(t.cpus[0]))
                          for t in answer.iothreads],
                         [([0, 1, 2], 0), ([3, 4, 5], 2)])

    def test_round_robin(self):
        """the first virtqueues are those of all IOThreads"""
        answer = make(TWO, 8, pins(*range(8)), iothreads=3)
        self.assertEqual([t.queues for t in answer.iothreads],
                         [[0, 3, 6], [1, 4, 7], [2, 5]])

    def test_full(self):
        """where each CPU has a vCPU they use all of them"""
        answer = make(TWO, 24, pins(*range(24)))
        self.assertEqual(places(answer), [list(range(24))])
        answer = make(TWO, 28, pins(*range(28)))
        self.assertEqual(len(answer.iothreads), 5)
        self.assertEqual(places(answer)[0], list(range(24)))
        self.assertTrue(all(24 <= c[0] < 48 for c in places(answer)[1:]))

    def test_restricted(self):
        """--cpus, --node and --avoid"""
        own = pins(*range(8))
        self.assertEqual(places(make(TWO, 8, own, cpus=[20, 30, 10])),
                         [[20], [10]])
        self.assertEqual(places(make(TWO, 8, own, cpus=[30, 31, 32])),
                         [[30], [32]])
        self.assertEqual(places(make(TWO, 8, own, cpus=[0, 1])), [[0]])
        self.assertEqual(places(make(TWO, 8, own, node=1)), [[24], [26]])
        self.assertEqual(places(make(TWO, 8, own, avoid=(8, 10, 11, 14))),
                         [[12], [16]])
        self.assertEqual(places(make(BIG, 8, pins(0, 1, 2, 3, 48, 49, 50, 51),
                                     node=3, iothreads=8)),
                         [[c] for c in range(72, 88, 2)][:4] +
                         [[c] for c in range(80, 88, 2)])

    def test_unpinned(self):
        """vCPUs that move: no CPU of its own unless they are named"""
        self.assertEqual(places(make(TWO, 4)), [None])
        self.assertEqual(places(make(TWO, 8, cpus=[5, 0, 9])), [[5], [0]])
        self.assertEqual(places(make(TWO, 4, node=1)), [list(range(24, 48))])
        self.assertEqual(places(make(TWO, 4, disks=['/dev/nvme0n1'])),
                         [list(range(24, 48))])
        self.assertEqual(places(make(TWO, 4, disks=['/dev/nvme0n1'], node=0)),
                         [list(range(24))])
        self.assertEqual(places(make(ONE, 4, avoid=(0, 1))),
                         [[2, 3, 4, 5, 6, 7]])

    def test_random(self):
        """each virtqueue once, each CPU allowed, and --check likes it"""
        random = Random(1)
        path = os.path.join(self.dir, 'plan')
        for _ in range(300):
            name = random.choice(('one-node', 'two-nodes-smt', '96-cpus'))
            where = topology.load(host(name))
            vcpus = random.randint(1, len(where.online) // 2)
            start = random.randint(0, len(where.online) - vcpus)
            avoid = random.sample(where.online[:start] or [0], 1)
            own = random.choice((pins(*range(start, start + vcpus)), {}, {
                vcpu: where.online[start:] for vcpu in range(vcpus)}))
            answer = make(where, vcpus, own, [None] * random.randint(1, 3),
                          avoid=tuple(avoid) if start else ())
            self.assertEqual(sorted(q for t in answer.iothreads
                                    for q in t.queues), list(range(vcpus)))
            for thread in answer.iothreads:
                self.assertFalse(start and thread.cpus and
                                 set(thread.cpus) & set(avoid))
                self.assertNotEqual(thread.cpus, [])
            with open(path, 'w', encoding='utf-8') as file:
                file.write(qemu.text(answer, 'vm', 'native'))
            with contextlib.redirect_stdout(io.StringIO()) as out:
                status = check.run(path, host(name), avoid if start else ())
            self.assertEqual(status, 0, out.getvalue())

    def test_reasons(self):
        """the reasons name what is unusual"""
        for answer, pattern in (
                (make(TWO, 8, pins(*range(8)), disks=['/dev/nvme0n1']),
                 '/dev/nvme0n1 is attached to node 1 and no vCPU is there'),
                (make(TWO, 2, {0: [0, 1], 1: [23, 24]}),
                 'vCPU 1 may run on several nodes'),
                (make(TWO, 4, pins(0, 1, 24, 25)), 'with one NUMA node'),
                (make(TWO, 4), 'not pinned'),
                (make(TWO, 24, pins(*range(24))), 'too few of them are'),
                (make(TWO, 8, pins(*range(8)), node=1), 'served are on node'),
                (make(TWO, 12, pins(*range(0, 24, 2))), 'SMT siblings')):
            self.assertRegex('\n'.join(answer.why), pattern)


class Host(ProgramTest):
    def test_cpulist(self):
        """lists of CPUs"""
        for text, cpus in (('', []), ('3', [3]), ('4,0-2\n', [4, 0, 1, 2]),
                           ('0-7:2/4', [0, 1, 4, 5]), ('0-4,^2', [0, 1, 3, 4]),
                           ('1,1,0-1', [1, 0])):
            self.assertEqual(cpulist.parse(text), cpus)
        for text in ('x', '1-', '3-1', '0-9999999', '1,,2', '-1', '0-3:1/0'):
            with self.assertRaises(PlanError):
                cpulist.parse(text)

    def tree(self, **files):
        """A folder like /sys."""
        for name, text in files.items():
            path = os.path.join(self.dir, *name.split('__'))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w', encoding='ascii') as file:
                file.write(text)
        return self.dir

    def small(self):
        """Two nodes, one CPU offline, one node without CPUs."""
        cpu, node = 'devices__system__cpu__', 'devices__system__node__'
        siblings = '__topology__thread_siblings_list'
        return self.tree(**{
            cpu + 'online': '0-2\n', cpu + 'possible': '0-3\n',
            cpu + 'cpu0' + siblings: '0-1\n', cpu + 'cpu1' + siblings: '0-1\n',
            cpu + 'cpu2' + siblings: '2\n', node + 'possible': '0-2\n',
            node + 'node0__cpulist': '0-1\n', node + 'node1__cpulist': '2\n',
            node + 'node2__cpulist': '\n', node + 'node0__distance': '10 20 9',
            node + 'node1__distance': '20 10 9',
            node + 'node2__distance': '9 9 10'})

    def test_sys(self):
        """a folder like /sys, and what is recorded of it"""
        sys = self.small()
        path = os.path.join(sys, 'record')
        self.plan_record(path, sys)
        for where in (topology.load(sys), topology.load(path)):
            self.assertEqual(where.online, [0, 1, 2])
            self.assertEqual(where.nodes, {0: [0, 1], 1: [2], 2: []})
            self.assertEqual(where.siblings(1), [0, 1])
            self.assertEqual(where.siblings(2), [2])
            self.assertEqual(where.distance(0, 1), 20)
            with self.assertRaisesRegex(PlanError, 'CPU 3, or it is offline'):
                make(where, 1, pins(3))
            with self.assertRaisesRegex(PlanError, 'those are 0-1'):
                make(where, 1, node=2)

    def plan_record(self, path, sys):
        """--record."""
        self.assertEqual(self.plan('--record', path, '--topology', sys), '')

    def test_this(self):
        """the host that this runs on"""
        self.assertTrue(topology.load('/sys').online)
        self.plan('--vcpus', '1', '--topology', '/sys')

    def test_no_numa(self):
        """a kernel without NUMA"""
        sys = self.tree(devices__system__cpu__online='0-1',
                        devices__system__cpu__possible='0-1')
        self.assertEqual(topology.load(sys).nodes, {0: [0, 1]})

    def test_disk(self):
        """the node of a disk, its partition, and what is made of it"""
        sys = self.small()
        for path, node in (('pci0/nvme0', 1), ('pci1', 0), ('pci1/ata', -1),
                           ('virtual/nvme-subsystem/s/nvme1', 1)):
            folder = os.path.join(sys, 'devices', path)
            os.makedirs(folder)
            with open(os.path.join(folder, 'numa_node'), 'w',
                      encoding='ascii') as file:
                file.write(f'{node}\n')
        disks = {'nvme0n1': 'pci0/nvme0/nvme0n1', 'sda': 'pci1/ata/sda',
                 'nvme0n1p1': 'pci0/nvme0/nvme0n1/nvme0n1p1',
                 'nvme1n1': 'virtual/nvme-subsystem/s/nvme1n1',
                 'dm-0': 'virtual/block/dm-0', 'dm-1': 'virtual/block/dm-1',
                 'loop0': 'virtual/block/loop0'}
        os.makedirs(os.path.join(sys, 'class', 'block'))
        for name, path in disks.items():
            folder = os.path.join(sys, 'devices', path)
            os.makedirs(folder, exist_ok=True)
            os.symlink(folder, os.path.join(sys, 'class', 'block', name))
        for dm, below in (('dm-0', ['nvme0n1p1', 'nvme1n1']),
                          ('dm-1', ['nvme0n1', 'sda'])):
            folder = os.path.join(sys, 'class', 'block', dm, 'slaves')
            os.makedirs(folder)
            for name in below:
                os.symlink(os.path.join(sys, 'class', 'block', name),
                           os.path.join(folder, name))
        where = topology.load(sys)
        self.assertEqual(
            [where.disk_node(f'/dev/{name}') for name in disks],
            [1, 0, 1, 1, 1, None, None])
        with self.assertRaisesRegex(PlanError, 'no block device /dev/sdx'):
            where.disk_node('/dev/sdx')
        path = os.path.join(sys, 'record')
        self.plan('--record', path, '--topology', sys, '--disk', '/dev/sda')
        with open(path, encoding='utf-8') as file:
            self.assertEqual(json.load(file)['disks'], {'/dev/sda': 0})
