# SPDX-License-Identifier: GPL-2.0-or-later
"""Hysteresis: what was decided before has a say in what is decided now."""

import dataclasses

from . import policy


class Memory:
    """
    Asks the policy once an interval. An IOThread must have too much in
    @patience intervals in a row, and a virtqueue that was moved stays for
    @rest intervals.
    """

    def __init__(self, rules, patience=2, rest=10):
        self._rules = rules
        self._patience = patience
        self._rest = rest
        self._held = {}
        self._source = None
        self._seen = 0

    def decide(self, queues, threads):
        """The verdict on an interval."""
        self._held = {key: left - 1 for key, left in self._held.items()
                      if left > 1}
        verdict = policy.decide(queues, threads, self._rules,
                                self._held.keys())
        source = verdict.move and verdict.move.queue.owner
        self._seen = self._seen + 1 if source == self._source else 1
        self._source = source
        if verdict.move and self._seen < self._patience:
            return dataclasses.replace(
                verdict, kind='waits', move=None,
                reason=f'{verdict.reason}; that must last')
        return verdict

    def hold(self, queue):
        """@queue was moved, or cannot be."""
        # The interval that comes next is the first of them
        self._held[queue.key] = self._rest + 1
        self._source = None
