# SPDX-License-Identifier: GPL-2.0-or-later
"""Which node a disk of the host is attached to, as /sys tells."""

import glob
import os

from . import PlanError


def node_of(sys, path):
    """The node of disk @path, or None if it has none, or several."""
    name = os.path.basename(os.path.realpath(path))
    folder = os.path.join(sys, 'class', 'block', name)
    if not os.path.isdir(folder):
        raise PlanError(f'the host has no block device {path}')
    nodes = _nodes(os.path.realpath(folder))
    return nodes.pop() if len(nodes) == 1 else None


def _nodes(folder):
    """Nodes of what the block device at @folder consists of."""
    below = glob.glob(os.path.join(glob.escape(folder), 'slaves', '*'))
    if below:
        # Device mapper and md
        return set().union(*(_nodes(os.path.realpath(b)) for b in below))
    while os.path.dirname(folder) != folder:
        # An NVMe namespace that has several paths is below its subsystem,
        # and the controllers are linked from there
        nodes = {_number(name) for pattern in ('', 'nvme*') for name in
                 glob.glob(os.path.join(glob.escape(folder), pattern,
                                        'numa_node'))} - {None}
        if nodes:
            return nodes
        folder = os.path.dirname(folder)
    return set()


def _number(name):
    """In file @name; None if it says that there is no node."""
    try:
        with open(name, encoding='ascii') as file:
            node = int(file.read())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None
