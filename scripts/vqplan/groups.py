# SPDX-License-Identifier: GPL-2.0-or-later
"""Which CPUs there are for the IOThreads of which vCPUs."""

import dataclasses

from vqtop.table import ranges

from . import PlanError


@dataclasses.dataclass
class Group:
    """vCPUs whose IOThreads have the same CPUs to choose from."""
    node: int                   # of the vCPUs; None if it is not known
    vcpus: list
    own: list                   # CPUs that an IOThread can have for itself
    whole: int                  # the first of them that are on free cores
    shared: list                # if there are none: CPUs for all of them
    place: str                  # what these CPUs are
    iothreads: int = 0

    def limit(self):
        """The most IOThreads that make sense here."""
        return min(len(self.vcpus), len(self.own) or len(self.vcpus))

    def room(self):
        """How many can have a core without a vCPU, but one at least."""
        return max(1, min(self.whole, self.limit()))


def find(request, topology, disk_nodes):
    """The groups for @request; @disk_nodes are those that disks are on."""
    every = list(range(request.vcpus))
    cpus = _candidates(request, topology)
    if request.cpus is not None and not cpus:
        raise PlanError('--cpus: --avoid and --node leave none of them')
    if request.pins:
        return _pinned(request, topology, cpus)
    if request.cpus is not None:
        return [Group(None, every, cpus, len(cpus), [], 'as asked')]
    node = request.node
    place = f'those of node {node}, as asked'
    if node is None and len(disk_nodes) == 1:
        node = next(iter(disk_nodes))
        cpus = [c for c in cpus if c in topology.nodes.get(node, ())]
        place = f'those of node {node}, which the disks are attached to'
    if node is None and not request.avoid:
        return [Group(None, every, [], 0, None, '')]
    if not cpus:
        raise PlanError('no CPU is left for the IOThreads')
    if node is None:
        place = 'all but those to avoid'
    return [Group(node, every, [], 0, cpus, place + '; one CPU for each would '
                  'be too few while the vCPUs move')]


def _candidates(request, topology):
    """CPUs that IOThreads may have at all, in the order of the user."""
    cpus = topology.online if request.cpus is None else request.cpus
    if request.node is not None:
        cpus = [c for c in cpus if c in topology.nodes[request.node]]
    taken = set(request.avoid)
    if request.cpus is None:
        # Who names a CPU that a vCPU has, means it
        taken |= busy(request)
    return [c for c in cpus if c not in taken]


def busy(request):
    """CPUs that vCPUs are pinned to."""
    return {c for own in request.pins.values() for c in own}


def home(cpus, topology):
    """The node that has most of @cpus."""
    return max(topology.nodes_of(cpus), key=lambda n: (
        len(set(topology.nodes[n]) & set(cpus)), -n))


def _pinned(request, topology, cpus):
    """A group per node that has vCPUs."""
    homes = {}
    for vcpu in range(request.vcpus):
        homes.setdefault(home(request.pins[vcpu], topology),
                         []).append(vcpu)
    groups = []
    taken = set()
    for node, vcpus in sorted(homes.items()):
        free = [c for c in cpus if c not in taken]
        near = [c for c in free if c in topology.nodes[node]]
        place = f'on node {node}, that of the vCPUs served'
        if not near and free and (request.cpus or request.node is not None):
            distance = min(topology.distance(node, topology.node_of(c))
                           for c in free)
            near = [c for c in free if distance == topology.distance(
                node, topology.node_of(c))]
            place = (f'on node {ranges(topology.nodes_of(near))}, as asked; '
                     f'the vCPUs served are on node {node}')
        own, whole = _in_order(request, topology, near, vcpus, taken)
        taken.update(own[:len(vcpus)])
        shared = []
        # Several disks shall not be on one IOThread for want of a second CPU
        least = 2 if (len(request.disks) > 1 and len(homes) == 1
                      and not request.own_iothreads) else 1
        if len(own) < min(least, len(vcpus)):
            own, whole = [], 0
            shared, place = _crowded(request, topology, node)
        groups.append(Group(node, vcpus, own, whole, shared, place))
    return groups


def _crowded(request, topology, node):
    """What the IOThreads share if none can have a CPU, and why."""
    where = node if request.node is None else request.node
    shared = [c for c in request.cpus or topology.nodes[where]
              if c not in request.avoid]
    if not shared:
        raise PlanError(f'--avoid leaves no CPU of node {where}')
    return shared, (f'all that there are on node {where}: too few of them are '
                    'free, and the scheduler knows which one is idle')


def _in_order(request, topology, cpus, vcpus, taken):
    """
    @cpus, the best for the IOThreads of @vcpus first, and how many of them are
    on a core of their own. Other IOThreads have @taken.
    """
    used = busy(request) | set(request.avoid)
    if request.cpus is None:
        # Behind the own vCPUs: VMs that all begin at the same CPU pile up
        # there. CPU 0 is last, because what counts from 0 is there already.
        last = max(c for v in vcpus for c in request.pins[v])
        cpus = sorted(cpus, key=lambda c: (
            0 in topology.siblings(c), c == 0, c <= last, c))
    ranks = {}
    cores = {tuple(topology.siblings(cpu)) for cpu in taken}
    for cpu in cpus:
        core = tuple(topology.siblings(cpu))
        ranks[cpu] = (2 if used.intersection(core) else
                      1 if core in cores else 0)
        cores.add(core)
    return (sorted(cpus, key=lambda c: ranks[c]),
            list(ranks.values()).count(0))


def merge(groups, number, topology):
    """The @number groups with most vCPUs take those of the others."""
    order = sorted(groups, key=lambda g: -len(g.vcpus))
    kept = order[:number]
    for group in order[number:]:
        near = min(kept, key=lambda k: topology.distance(group.node, k.node))
        near.vcpus = sorted(near.vcpus + group.vcpus)
        near.place = (f'on node {near.node}, that of most vCPUs served; '
                      'there are fewer IOThreads than nodes with vCPUs')
    return [group for group in groups if group in kept]


def spread(groups, number):
    """Share @number IOThreads out, one to each and then by need."""
    for group in groups:
        group.iothreads = 1
    for _ in range(number - len(groups)):
        group = max((g for g in groups if g.iothreads < g.limit()),
                    key=lambda g: (g.iothreads < g.room(),
                                   len(g.vcpus) / g.iothreads))
        group.iothreads += 1
