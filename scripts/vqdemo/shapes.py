# SPDX-License-Identifier: GPL-2.0-or-later
"""The four ways to spread a disk's virtqueues over IOThreads."""

from dataclasses import dataclass


@dataclass
class Shape:
    """A device's mapping, and what has to come of it."""
    name: str
    title: str
    iothreads: list     # ids
    properties: dict    # of the -device
    owners: list        # per virtqueue, the id of its IOThread


def _names(count):
    return [f'iothread{i}' for i in range(count)]


def _count(names):
    return f"{len(names)} IOThread{'s' if len(names) > 1 else ''}"


def make_shapes(vcpus):
    """The shapes for a disk that has one virtqueue per vCPU."""
    one, many, half = _names(1), _names(vcpus), _names(vcpus // 2)
    return [
        Shape('one', 'one IOThread', one,
              {'iothread': one[0]}, one * vcpus),
        Shape('round-robin', f'{_count(many)}, round-robin', many,
              {'iothread-vq-mapping': [{'iothread': n} for n in many]}, many),
        Shape('one-to-one', f'{_count(many)}, vqs one to one', many,
              {'iothread-vq-mapping': [{'iothread': n, 'vqs': [i]}
                                       for i, n in enumerate(many)]}, many),
        Shape('two-each', f'{_count(half)}, two vqs each', half,
              {'iothread-vq-mapping': [{'iothread': n,
                                        'vqs': [2 * i, 2 * i + 1]}
                                       for i, n in enumerate(half)]},
              [half[i // 2] for i in range(vcpus)]),
    ]
