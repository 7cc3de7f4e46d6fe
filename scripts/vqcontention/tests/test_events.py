# SPDX-License-Identifier: GPL-2.0-or-later
"""From lines of perf and /proc to events, and from these to figures."""

import unittest

from vqcontention import chain, lock, sampler, timeline, trace
from vqcontention.trace import ENTER, EXIT, SWITCH, WAKING, Event

# As perf 6.1 prints them on Linux 6.18; 20190 is the main loop
LINES = '''\
20198 46528.573686123:  syscalls:sys_exit_futex: 0x0
20198 46528.573688200: syscalls:sys_enter_futex: uaddr: 0x5573e572f340, op: \
0x00000080, val: 0x00000002, utime: 0x00000000, uaddr2: 0x00000000, val3: \
0x00000000
20198 46528.573692001:       sched:sched_switch: prev_comm=CPU 3/TCG \
prev_pid=20198 prev_prio=120 prev_state=S ==> next_comm=CPU 1/TCG \
next_pid=20196 next_prio=120
20190 46528.573728000:       sched:sched_waking: comm=CPU 0/TCG pid=20195 \
prio=120 target_cpu=000
   18 46528.571204787:       sched:sched_switch: prev_comm=migration/0 \
prev_pid=18 prev_prio=0 prev_state=S ==> next_comm=CPU 1/TCG next_pid=20196 \
next_prio=120
20196 46528.573682000:       sched:sched_switch: prev_comm=CPU 1/TCG \
prev_pid=20196 prev_prio=120 prev_state=R+ ==> next_comm=CPU 3/TCG \
next_pid=20198 next_prio=120
   -1 48969.263599348:       sched:sched_switch: prev_comm=git \
prev_pid=20374 prev_prio=120 prev_state=X ==> next_comm=CPU 1/TCG \
next_pid=20196 next_prio=120
'''

STACK = '''\
12140 47570.842332: sched:sched_switch:
	ffffffff821f8298 __schedule ([kernel.kallsyms])
	ffffffff821f3130 irqentry_exit_to_user_mode ([kernel.kallsyms])
	          96cb8e tcg_optimize (/build/9.0/bin/qemu-system-x86_64)

12140 47570.851210: sched:sched_switch:
	ffffffff821f8298 __schedule ([kernel.kallsyms])
	ffffffff8143a3c1 futex_do_wait ([kernel.kallsyms])
	ffffffff8143b0d1 __futex_wait ([kernel.kallsyms])
	           86b3d pthread_cond_wait@@GLIBC_2.3.2 (/usr/lib/libc.so.6)
	          911000 qemu_cond_wait_impl (/build/9.0/bin/qemu-system-x86_64)

12140 47570.861210: sched:sched_switch:
	ffffffff821f8298 __schedule ([kernel.kallsyms])
	ffffffff8143b0d1 __futex_wait ([kernel.kallsyms])
	           8c3d1 pthread_mutex_lock@@GLIBC_2.2.5 (/usr/lib/libc.so.6)
	          910111 qemu_mutex_lock_impl (/build/9.0/bin/qemu-system-x86_64)
	    7f386a649c89 [unknown] (/tmp/perf-12134.map)
'''

WORD, OTHER = 0x1000, 0x2000
WAIT, WAKE = 0x80, 0x81
MAIN, ONE, TWO = 1, 10, 11


class Parsers(unittest.TestCase):
    def test_events(self):
        """lines of perf script"""
        events = [trace.parse(line) for line in LINES.splitlines()]
        self.assertEqual([event.kind for event in events],
                         [EXIT, ENTER, SWITCH, WAKING, SWITCH, SWITCH,
                          SWITCH])
        self.assertEqual(events[1], Event(
            46528.5736882, ENTER, 20198, address=0x5573e572f340,
            command=0x80))
        self.assertEqual(events[2], Event(46528.573692001, SWITCH, 20198,
                                          20196, asleep=True))
        self.assertEqual(events[3], Event(46528.573728, WAKING, 20190, 20195))
        self.assertEqual((events[4].tid, events[4].other), (18, 20196))
        self.assertFalse(events[5].asleep)
        self.assertEqual(events[6].other, 20196)

    def test_other_lines(self):
        """what is no event is none"""
        for line in ('', 'PERF_RECORD_LOST lost 3', 'nonsense: a: b:c: d',
                     '1 2.0: sched:sched_switch: without what it has'):
            self.assertIsNone(trace.parse(line))

    def test_reason(self):
        """perf's complaints in half a line"""
        self.assertEqual(trace.reason(
            'setpriv: failed to execute perf: No such file or directory\n'),
            'perf is missing')
        self.assertIn('be root', trace.reason(
            "event syntax error: 'sched:sched_switch'\n"
            "   \\___ can't access trace events\n"))
        self.assertEqual(trace.reason('a\nno space\n'), 'perf failed: '
                         'no space')
        self.assertEqual(trace.reason(''), 'perf failed: no message')

    def test_filters(self):
        """a filter that the kernel would refuse is left out"""
        few = trace.record_command('p', [1, 2], WORD, 3)
        self.assertEqual(few.count('--filter'), 4)
        self.assertIn('uaddr==0x1000', few)
        many = trace.record_command('p', list(range(10000, 10500)), WORD, 3)
        self.assertEqual(many.count('--filter'), 1)

    @unittest.skipUnless(sampler.FUTEX == '202', 'lines of an x86_64')
    def test_places(self):
        """lines of /proc/PID/task/TID/syscall"""
        rest = ' 0x2 0x0 0x0 0x0 0x7fffdc141c28 0x7fbad09e12ad\n'
        for line, place in (
                ('running\n', sampler.RUNS),
                ('202 0x5573e572f340 0x80' + rest, 0x5573e572f340),
                ('202 0x5573e572f340 0x189' + rest, 0x5573e572f340),
                ('202 0x5573e572f340 0x81' + rest, sampler.SLEEPS),
                ('271 0x5573e572f340 0x80' + rest, sampler.SLEEPS),
                ('-1 0x7ffd 0x7f\n', sampler.SLEEPS)):
            self.assertEqual(sampler.place_of(line), place, line)

    def test_vote(self):
        """the lock is where several threads are, not where one often is"""
        samples = {ONE: {WORD: 1, OTHER: 90}, TWO: {WORD: 2, 'runs': 9}}
        self.assertEqual(lock.by_vote(samples), WORD)
        self.assertIsNone(lock.by_vote({ONE: {WORD: 1}, TWO: {OTHER: 1}}))
        self.assertIsNone(lock.by_vote({ONE: {'runs': 1}}))

    def test_load_address(self):
        """lines of /proc/PID/maps"""
        maps = ['5573e3f77000-5573e4371000 r--p 00000000 fe:00 9   /b/qemu\n',
                '5573e4371000-5573e4b00000 r-xp 003fa000 fe:00 9   /b/qemu\n',
                '7fbad0867000-7fbad0889000 r--p 00000000 fe:00 8   /b/libc\n']
        self.assertEqual(lock.load_address(maps, '/b/qemu'), 0x5573e3f77000)
        self.assertIsNone(lock.load_address(maps, '/qemu-other'))

    def test_chain(self):
        """a stack that waits for a mutex, not for a condition"""
        found = chain.find(STACK.splitlines())
        self.assertEqual(found[1], ('__futex_wait', 'kernel'))
        self.assertEqual(found[3], ('qemu_mutex_lock_impl',
                                    'qemu-system-x86_64'))
        self.assertEqual(len(found), 5)
        self.assertIsNone(chain.find(STACK.splitlines()[:11]))


def preempted(time, tid, other=0):
    return Event(time, SWITCH, tid, other)


def asleep(time, tid, other=0):
    return Event(time, SWITCH, tid, other, asleep=True)


def runs(time, tid):
    return Event(time, SWITCH, 0, tid)


def calls(time, tid, command, address=WORD):
    return Event(time, ENTER, tid, address=address, command=command)


def returns(time, tid):
    return Event(time, EXIT, tid)


def wakes(time, tid, other):
    return Event(time, WAKING, tid, other)


def follow(*events, address=WORD):
    return timeline.follow(events, [ONE, TWO], address)[ONE]


# Runs for 2 s, waits for 3 until the main loop gives the lock back, has no
# CPU for 1, holds the lock for 1, and runs on
ONE_WAIT = (runs(0, ONE), calls(2, ONE, WAIT), asleep(2, ONE, TWO),
            wakes(5, MAIN, ONE), runs(6, ONE), returns(6, ONE),
            calls(7, ONE, WAKE), returns(7, ONE), preempted(8, ONE))


class Timeline(unittest.TestCase):
    def test_one_wait(self):
        """states, length and who ended it"""
        thread = follow(*ONE_WAIT)
        self.assertEqual(thread.segments, [
            (0, 2, 'run'), (2, 5, 'lock'), (5, 6, 'ready'), (6, 8, 'run')])
        self.assertEqual(thread.waits, [(4, MAIN)])
        self.assertEqual(thread.slices, [(2, 'lock'), (2, 'ready')])

    def test_lost_race(self):
        """a waiter who is woken, and is too late, has one wait"""
        thread = follow(
            runs(0, ONE), calls(1, ONE, WAIT), asleep(1, ONE),
            wakes(2, MAIN, ONE), runs(2, ONE), returns(2, ONE),
            calls(2, ONE, WAIT), asleep(2, ONE),
            wakes(9, TWO, ONE), runs(9, ONE), returns(9, ONE),
            calls(9, ONE, WAKE))
        self.assertEqual(thread.waits, [(8, TWO)])

    def test_two_waits(self):
        """with the lock given back between them"""
        later = [event._replace(time=event.time + 10) for event in ONE_WAIT]
        thread = follow(*ONE_WAIT, *later)
        self.assertEqual([wait.length for wait in thread.waits], [4, 4])

    def test_no_sleep(self):
        """who finds the lock free again has not waited"""
        thread = follow(runs(0, ONE), calls(1, ONE, WAIT), returns(1, ONE),
                        calls(2, ONE, WAKE))
        self.assertEqual(thread.waits, [])

    def test_unfinished(self):
        """a wait that the trace does not see end is none"""
        thread = follow(runs(0, ONE), calls(1, ONE, WAIT), asleep(1, ONE))
        self.assertEqual(thread.waits, [])

    def test_woken_on_the_way(self):
        """who is woken before he has left his CPU is not asleep"""
        thread = follow(runs(0, ONE), calls(1, ONE, WAIT),
                        wakes(1.00001, MAIN, ONE), asleep(1.00002, ONE),
                        runs(3, ONE), returns(3, ONE), calls(4, ONE, WAKE))
        self.assertEqual(thread.segments[1].state, 'ready')
        self.assertEqual(thread.waits, [(2, MAIN)])
        # But that was long ago, and this was for another sleep
        for late in ((wakes(0.5, MAIN, ONE), asleep(1, ONE)),
                     (wakes(1, MAIN, ONE), calls(1, ONE, WAIT),
                      asleep(1, ONE))):
            thread = follow(runs(0, ONE), *late, runs(3, ONE))
            self.assertNotEqual(thread.segments[1].state, 'ready')

    def test_unseen_switch(self):
        """who acts runs, since he was woken, even if no switch to him is"""
        events = [event for event in ONE_WAIT
                  if event not in (runs(0, ONE), runs(6, ONE))]
        thread = follow(*events)
        self.assertEqual(thread.unseen, 1)
        self.assertEqual(thread.segments, [
            (2, 2, 'run'), (2, 5, 'lock'), (5, 8, 'run')])
        self.assertEqual(thread.waits, [(4, MAIN)])
        self.assertEqual(follow(*ONE_WAIT).unseen, 0)
        # After it was preempted it had no CPU, for all that is known
        thread = follow(runs(0, ONE), preempted(1, ONE), preempted(5, ONE))
        self.assertEqual(thread.segments[:2],
                         [(0, 1, 'run'), (1, 5, 'ready')])

    def test_other_futex(self):
        """is none of the lock's, unless any counts"""
        events = [event._replace(address=OTHER)
                  if event.kind == ENTER else event for event in ONE_WAIT]
        thread = follow(*events)
        self.assertEqual(thread.waits, [])
        self.assertEqual(thread.segments[1].state, 'idle')
        thread = follow(*events, address=None)
        self.assertEqual(thread.waits, [(4, MAIN)])

    def test_figures(self):
        """shares of the time, and of the slices"""
        found = timeline.figures(follow(*ONE_WAIT), 8, MAIN)
        self.assertEqual(found['share'], {'run': .5, 'ready': .125,
                                          'lock': .375, 'idle': 0})
        self.assertEqual(found['waits'], {
            'n': 1, 'per-second': .125, 'p50-us': 4e6, 'p99-us': 4e6,
            'by-main-loop': 1})
        self.assertEqual(found['slices']['ends'],
                         {'ready': .5, 'lock': .5, 'idle': 0})

    def test_slices(self):
        """mean, deviation and percentiles"""
        found = timeline.slice_figures([
            timeline.Slice(length / 1e3, 'ready') for length in (1, 3)])
        self.assertAlmostEqual(found['mean-ms'], 2)
        self.assertAlmostEqual(found['deviation-ms'], 1)
        self.assertAlmostEqual(found['variation'], .5)
        self.assertIsNone(timeline.slice_figures([]))

    def test_nothing(self):
        """a thread that did nothing has no figures"""
        found = timeline.figures(follow(), 8, MAIN)
        self.assertEqual(found['waits']['n'], 0)
        self.assertIsNone(found['waits']['p50-us'])
        self.assertIsNone(found['share']['lock'])

    def test_cut(self):
        """the part that the picture shows"""
        segments = follow(*ONE_WAIT).segments
        self.assertEqual(timeline.cut(segments, 1, 5.5), [
            ['run', 1000000], ['lock', 3000000], ['ready', 500000]])
        self.assertEqual(timeline.cut(segments, -1, 1),
                         [['', 1000000], ['run', 1000000]])
