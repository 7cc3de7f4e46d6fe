# SPDX-License-Identifier: GPL-2.0-or-later
"""From events to what each thread did when, and to figures of it."""

import statistics
from collections import Counter
from typing import NamedTuple

from vqbench.stats import quantile

from .sampler import COMMAND_MASK, WAIT
from .trace import ENTER, EXIT, SWITCH, WAKING

RUN, READY, LOCK, IDLE = 'run', 'ready', 'lock', 'idle'
UNKNOWN = ''

# A thread may be woken while it is on its way to sleep: it leaves its CPU
# after that, for an instant
RACE_SECONDS = 50e-6


class Segment(NamedTuple):
    """A thread was in @state."""
    start: float
    end: float
    state: str


class Wait(NamedTuple):
    """
    A thread wanted the lock, slept, and had it. @releaser: the thread whose
    unlocking woke it last.
    """
    length: float
    releaser: int


class Slice(NamedTuple):
    """A stay on a CPU, and the state that it ended in."""
    length: float
    end: str


class _Thread:
    """
    Follows one thread. A waiter that is woken and finds the lock taken waits
    again at once; that is one wait. It shows: who has waited for the lock
    and got it calls futex wake when he gives it back, as others may wait.
    """

    def __init__(self, address):
        self.segments, self.waits, self.slices = [], [], []
        self.unseen = 0
        self._address = address
        self._state, self._since = None, None
        self._was_asleep = False
        self._waiting = False
        self._woken_at = None
        self._wanted, self._had, self._slept, self._releaser = \
            None, None, False, None

    def _go(self, time, state):
        if self._state:
            self.segments.append(Segment(self._since, time, self._state))
            if self._state == RUN:
                self.slices.append(Slice(time - self._since, state))
        self._state, self._since = state, time

    def acts(self, time):
        """
        It does something, so it runs. Not all kernels trace every switch from
        the idle task; then it had its CPU as soon as it was woken.
        """
        if self._state == RUN:
            return
        self.unseen += self._state is not None
        if self._state == READY and self._was_asleep:
            self._state = RUN
        else:
            self._go(time, RUN)

    def stops(self, time, asleep):
        """It leaves its CPU."""
        self._was_asleep = asleep
        if asleep and self._waiting:
            self._slept = True
        if asleep and not self._just_woken(time):
            self._go(time, LOCK if self._waiting else IDLE)
        else:
            self._go(time, READY)

    def _just_woken(self, time):
        return (self._woken_at is not None and
                time - self._woken_at <= RACE_SECONDS)

    def runs(self, time):
        """It has a CPU."""
        self._go(time, RUN)

    def woken(self, time, waker):
        """It may run again."""
        if self._waiting:
            self._releaser = waker
        if self._state in (LOCK, IDLE):
            self._go(time, READY)
        else:
            self._woken_at = time

    def calls(self, time, address, command):
        """It calls futex()."""
        if self._address not in (None, address):
            return
        self._woken_at = None
        if command & COMMAND_MASK in WAIT:
            if self._wanted is None:
                self._wanted = time
            self._waiting = True
        else:
            self.finish()

    def returns(self, time):
        """From futex()."""
        if self._waiting:
            self._waiting, self._had = False, time
            if self._address is None:
                self.finish()

    def finish(self):
        """It has had the lock."""
        if self._slept and self._had and not self._waiting:
            self.waits.append(Wait(self._had - self._wanted, self._releaser))
        self._wanted, self._had, self._slept = None, None, False


def follow(events, tids, address):
    """
    Thread id to a thread with its segments, waits and slices. @address: of
    the lock's futex word, or None to take every futex for it.
    """
    threads = {tid: _Thread(address) for tid in tids}
    for event in events:
        one, other = threads.get(event.tid), threads.get(event.other)
        if one:
            one.acts(event.time)
        if event.kind == SWITCH:
            if one:
                one.stops(event.time, event.asleep)
            if other:
                other.runs(event.time)
        elif event.kind == WAKING and other:
            other.woken(event.time, event.tid)
        elif event.kind == ENTER and one:
            one.calls(event.time, event.address, event.command)
        elif event.kind == EXIT and one:
            one.returns(event.time)
    for thread in threads.values():
        thread.finish()
    return threads


def wait_figures(waits, seconds):
    """Of lock waits; lengths in us."""
    lengths = [wait.length * 1e6 for wait in waits]
    return {'n': len(lengths), 'per-second': len(lengths) / seconds,
            'p50-us': quantile(lengths, 0.5) if lengths else None,
            'p99-us': quantile(lengths, 0.99) if lengths else None}


def slice_figures(slices):
    """Of stays on a CPU; lengths in ms."""
    if not slices:
        return None
    lengths = [a_slice.length * 1e3 for a_slice in slices]
    mean, deviation = statistics.mean(lengths), statistics.pstdev(lengths)
    ends = Counter(a_slice.end for a_slice in slices)
    return {'n': len(lengths), 'mean-ms': mean, 'deviation-ms': deviation,
            'variation': deviation / mean if mean else None,
            'p50-ms': quantile(lengths, 0.5),
            'p99-ms': quantile(lengths, 0.99),
            'ends': {end: ends[end] / len(lengths)
                     for end in (READY, LOCK, IDLE)}}


def figures(thread, seconds, main_loop):
    """What the report has of @thread. @main_loop: that thread's id."""
    spent = Counter()
    for segment in thread.segments:
        spent[segment.state] += segment.end - segment.start
    total = sum(spent.values())
    released = [wait.releaser for wait in thread.waits]
    return {
        'share': {state: spent[state] / total if total else None
                  for state in (RUN, READY, LOCK, IDLE)},
        'waits': {**wait_figures(thread.waits, seconds),
                  'by-main-loop': (released.count(main_loop) / len(released)
                                   if released else None)},
        'slices': slice_figures(thread.slices),
        'switches-not-seen': thread.unseen}


def cut(segments, start, end):
    """The part of @segments in a time, for the picture: [state, us]..."""
    found = []
    for segment in segments:
        first, last = max(segment.start, start), min(segment.end, end)
        if last > first:
            if not found and first > start:
                found.append([UNKNOWN, round((first - start) * 1e6)])
            found.append([segment.state, round((last - first) * 1e6)])
    return found
