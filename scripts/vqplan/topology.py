# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's CPUs, cores, nodes and disks: of /sys, or of a recording."""

import dataclasses
import glob
import json
import os
import re

from vqtop.table import ranges

from . import PlanError, cpulist, disks


@dataclasses.dataclass(frozen=True)
class Topology:
    """What a plan has to know about a host."""
    possible: str
    nodes: dict         # number to its online CPUs, in order
    distances: dict     # number to the distances to all nodes, in order
    cores: list         # the online CPUs of each, if they are more than one
    disks: dict         # path to node, or None; of a recording
    sys: str            # folder to look a disk up in, or None

    @property
    def online(self):
        """All CPUs, in order."""
        return sorted(cpu for cpus in self.nodes.values() for cpu in cpus)

    def node_of(self, cpu):
        """The node that an online @cpu belongs to."""
        return next(n for n, cpus in self.nodes.items() if cpu in cpus)

    def nodes_of(self, cpus):
        """The nodes of those of @cpus that are online."""
        return sorted({n for n, own in self.nodes.items()
                       if set(own) & set(cpus)})

    def distance(self, one, other):
        """As the firmware tells; 10 is the node itself."""
        if one == other:
            return 10
        row = self.distances.get(one, [])
        place = sorted(self.nodes).index(other)
        return row[place] if place < len(row) else 20

    def siblings(self, cpu):
        """The CPUs on the core of @cpu, itself among them."""
        return next((core for core in self.cores if cpu in core), [cpu])

    def disk_node(self, path):
        """The node that the disk @path is attached to, or None."""
        if self.sys is None:
            return self.disks.get(path)
        return disks.node_of(self.sys, path)


def load(path):
    """The Topology of @path: a folder like /sys, or a recording."""
    try:
        if os.path.isdir(path):
            return _from_sys(path)
        with open(path, encoding='utf-8') as file:
            return _from_recording(json.load(file))
    except OSError as err:
        raise PlanError(f'cannot read {err.filename}: '
                        f'{err.strerror}') from err
    except (ValueError, LookupError, TypeError, AttributeError,
            RecursionError) as err:
        raise PlanError(f'{path} is no recording of --record') from err


def record(topology, paths):
    """@topology and the nodes of the disks @paths, to be loaded again."""
    return json.dumps({
        'possible': topology.possible,
        'nodes': {number: {'cpus': ranges(cpus),
                           'distances': topology.distances.get(number, [])}
                  for number, cpus in topology.nodes.items()},
        'cores': [ranges(core) for core in topology.cores],
        'disks': {path: topology.disk_node(path) for path in paths},
    }, indent=1) + '\n'


def _read(*parts):
    with open(os.path.join(*parts), encoding='ascii') as file:
        return file.read().strip()


def _from_sys(folder):
    system = os.path.join(folder, 'devices', 'system')
    online = cpulist.parse(_read(system, 'cpu', 'online'))
    nodes, distances = {}, {}
    for path in glob.glob(os.path.join(glob.escape(system), 'node', 'node*')):
        number = re.fullmatch(r'node(\d+)', os.path.basename(path))
        if number:
            nodes[int(number[1])] = cpulist.parse(_read(path, 'cpulist'))
            distances[int(number[1])] = [
                int(word) for word in _read(path, 'distance').split()]
    cores = set()
    for cpu in online:
        name = os.path.join(system, 'cpu', f'cpu{cpu}', 'topology',
                            'thread_siblings_list')
        if os.path.exists(name):
            cores.add(tuple(cpulist.parse(_read(name))))
    return Topology(
        _read(system, 'cpu', 'possible'),
        # A kernel without NUMA has no such folders
        dict(sorted(nodes.items())) or {0: online}, distances,
        sorted(list(core) for core in cores if len(core) > 1), {}, folder)


def _from_recording(data):
    nodes = {int(number): cpulist.parse(node['cpus'])
             for number, node in data['nodes'].items()}
    found = {path: None if node is None else int(node)
             for path, node in data['disks'].items()}
    if not any(nodes.values()):
        raise ValueError
    return Topology(
        data['possible'], dict(sorted(nodes.items())),
        {int(number): [int(d) for d in node['distances']]
         for number, node in data['nodes'].items()},
        [cpulist.parse(core) for core in data['cores']], found, None)
