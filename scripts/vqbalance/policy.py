# SPDX-License-Identifier: GPL-2.0-or-later
"""
Which virtqueue to move, if any. Nothing here asks anyone, or remembers.

The load of a virtqueue is a number, and that of an IOThread the sum of its
virtqueues, of all disks. The move that is looked for takes a virtqueue of the
busiest IOThread to the idlest, and of all these the one that leaves the busier
of the two with the least.
"""

import dataclasses

from vqbench.table import amount
from vqtop.table import printable

# A move that helps this part of what the best one does is as good
AS_GOOD = 0.75

# An IOThread that runs for as much of the time, and no less than the busiest
# although its virtqueues have less to do, serves something not counted here
FULL_CPU_PERCENT = 50


@dataclasses.dataclass(frozen=True)
class Queue:
    """A virtqueue, and who serves it."""
    path: str
    disk: str
    index: int
    owner: str
    load: float
    # Else it counts, and stays where it is
    movable: bool = True

    @property
    def key(self):
        """What it is known by from one interval to the next."""
        return self.path, self.index


@dataclasses.dataclass(frozen=True)
class Thread:
    """An IOThread that may be given virtqueues."""
    name: str
    # None if it is not known
    cpu_percent: float = None


@dataclasses.dataclass(frozen=True)
class Rules:
    """When a move is worth it."""
    # Load of the busiest IOThread over the mean
    threshold: float = 1.25
    # What the busier of the two must be rid of, as part of the mean
    min_gain: float = 0.05
    # Of all virtqueues
    min_load: float = 100
    # Of the busiest IOThread
    min_cpu: float = 30


@dataclasses.dataclass(frozen=True)
class Move:
    """Queue @queue goes to IOThread @target."""
    queue: Queue
    target: str
    # As part of the mean load
    gain: float


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A move or none, and why."""
    # Short, and the same as long as the reason is
    kind: str
    reason: str
    imbalance: float = None
    move: Move = None


def _times(number):
    return f'{number:.2f} times the mean'


def thread_loads(queues, threads):
    """The load of each IOThread by its name."""
    loads = {thread.name: 0 for thread in threads}
    for queue in queues:
        if queue.owner in loads:
            loads[queue.owner] += queue.load
    return loads


def decide(queues, threads, rules, held=frozenset()):
    """
    The verdict on @queues that are served by @threads. Virtqueues with a key
    in @held were moved a short while ago and stay where they are.
    """
    loads = thread_loads(queues, threads)
    total = sum(loads.values())
    if len(threads) < 2:
        return Verdict('alone', 'there is no second IOThread')
    if total < max(rules.min_load, 1e-9):
        return Verdict('idle', f'{amount(total)} weighted requests/s are too '
                       'few to mind where')
    mean = total / len(threads)
    order = sorted(threads, key=lambda thread: -loads[thread.name])
    imbalance = loads[order[0].name] / mean
    said = None
    for source in order:
        if loads[source.name] < rules.threshold * mean:
            break
        kind, reason, move = _relieve(source, queues, threads, loads, mean,
                                      rules, held)
        verdict = Verdict(kind, reason, imbalance, move)
        if move:
            return verdict
        said = said or verdict
    return said or Verdict('even', f'the busiest of {len(threads)} IOThreads '
                           f'has {_times(imbalance)}', imbalance)


def _relieve(source, queues, threads, loads, mean, rules, held):
    """(kind, reason, move or None) for an IOThread that has too much."""
    name = printable(source.name)
    has = f'{name} has {_times(loads[source.name] / mean)}'
    cpu = source.cpu_percent
    if cpu is not None and cpu < rules.min_cpu:
        return 'cpu', f'{has}, but runs for {cpu:.0f} % of the time only', None
    others = [thread for thread in threads if thread != source and not (
        cpu is not None and thread.cpu_percent is not None and
        thread.cpu_percent >= max(cpu, FULL_CPU_PERCENT))]
    if not others:
        return 'busy', f'{has}, but no other IOThread uses less CPU time', None
    target = min(others, key=lambda thread: loads[thread.name])
    moves = [Move(queue, target.name, _gain(queue, target, loads) / mean)
             for queue in queues if queue.owner == source.name and
             queue.movable]
    moves = [move for move in moves if move.gain >= rules.min_gain]
    free = [move for move in moves if move.queue.key not in held]
    if not free:
        why = ('its virtqueues have been moved just now' if moves else
               'no move of one virtqueue would help')
        return 'held' if moves else 'stuck', f'{has}, but {why}', None
    move = _best(free)
    after = max(loads[source.name] - move.queue.load,
                loads[target.name] + move.queue.load) / mean
    return 'move', (f'{has}, {printable(target.name)} '
                    f'{loads[target.name] / mean:.2f}; after it the busier '
                    f'has {after:.2f}'), move


def _gain(queue, target, loads):
    """By how much the busier of the two has less than before."""
    return min(queue.load,
               loads[queue.owner] - loads[target.name] - queue.load)


def _best(moves):
    """Of those that are as good as the best, one that drains nothing."""
    best = max(move.gain for move in moves)
    good = [move for move in moves if move.gain >= AS_GOOD * best]
    return min(good, key=lambda move: (move.queue.index == 0, -move.gain))
