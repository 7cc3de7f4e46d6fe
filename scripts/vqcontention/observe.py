# SPDX-License-Identifier: GPL-2.0-or-later
"""One look, of some seconds, at the vCPU threads of a QEMU."""

import contextlib
import os
import time

from vqdemo import threads

from . import ContentionError, lock, placement, sampler, timeline, trace

# Part of the look that the picture shows, and where it begins
PICTURE_SECONDS = 0.15
PICTURE_START = 0.5

MAIN_LOOP = 'main loop'


class Observer:
    """Of one process."""

    def __init__(self, pid, work_dir, want_trace=True):
        self.pid = pid
        self._want_trace = want_trace
        self.address = lock.by_symbol(pid)
        self._data = os.path.join(work_dir, 'perf.data')
        self.threads = {**placement.vcpu_threads(pid), MAIN_LOOP: pid}

    def _stats(self):
        try:
            return {tid: threads.schedstat(self.pid, tid)
                    for tid in self.threads.values()}
        except (FileNotFoundError, ProcessLookupError) as err:
            raise ContentionError(f'process {self.pid}, or a thread of it, '
                                  'has ended') from err

    def look(self, seconds):
        """Figures of a look at all threads, and lines for the picture."""
        tids = list(self.threads.values())
        untraced = 'as was asked for'
        with contextlib.ExitStack() as stack:
            if self._want_trace:
                recorder = stack.enter_context(trace.Recorder(
                    self._data, tids, self.address, seconds))
            before, start = self._stats(), time.monotonic()
            places, turns = sampler.sample(self.pid, tids, seconds)
            after, elapsed = self._stats(), time.monotonic() - start
            if self._want_trace:
                untraced = recorder.finish()
        address = self.address or lock.by_vote(places)
        rows = [self._row(name, tid, places[tid], turns, elapsed,
                          [b - a for a, b in zip(before[tid], after[tid])],
                          address)
                for name, tid in self.threads.items()]
        look = {'seconds': elapsed, 'sampled-hz': turns / elapsed,
                'lock': ('symbol' if self.address else
                         'vote' if address else 'any'),
                'threads': rows}
        if untraced:
            look['untraced'] = untraced
        else:
            look.update(self._traced(rows, seconds, address))
            os.unlink(self._data)
        return look

    @staticmethod
    def _row(name, tid, places, turns, elapsed, stats, address):
        run, delay, stays = stats
        waits = [place for place in places if isinstance(place, int)]
        at_lock = sum(places[place] for place in waits
                      if address in (None, place))
        return {'name': name, 'thread-id': tid,
                'sampled': {'lock': at_lock / turns,
                            'runs': places[sampler.RUNS] / turns},
                'run': run / 1e9 / elapsed, 'delay': delay / 1e9 / elapsed,
                'stays-per-second': stays / elapsed}

    def _traced(self, rows, seconds, address):
        events, lost = trace.read(self._data)
        followed = timeline.follow(events, self.threads.values(), address)
        picture = {}
        start = events[0].time + PICTURE_START if events else 0
        vcpus = []
        for row in rows:
            thread = followed[row['thread-id']]
            row['traced'] = timeline.figures(thread, seconds, self.pid)
            picture[row['name']] = timeline.cut(thread.segments, start,
                                                start + PICTURE_SECONDS)
            if row['name'] != MAIN_LOOP:
                vcpus.append(thread)
        return {'lost': lost, 'events': len(events), 'picture': picture,
                'vcpus': {
                    'waits': timeline.wait_figures(
                        [w for t in vcpus for w in t.waits], seconds),
                    'slices': timeline.slice_figures(
                        [s for t in vcpus for s in t.slices])}}
