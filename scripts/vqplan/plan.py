# SPDX-License-Identifier: GPL-2.0-or-later
"""
How many IOThreads, which virtqueues each serves, and where it is pinned. Pure:
it reads no file and prints nothing.
"""

import dataclasses

from vqtop.table import count, ranges

from . import PlanError, groups

# vCPUs that one IOThread serves unless the user says how many threads
VCPUS_PER_IOTHREAD = 4


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user has asked for."""
    vcpus: int
    disks: list                 # paths, or None for one that is not known
    pins: dict                  # vCPU to its CPUs, all of them or none
    iothreads: int = None       # how many, or None to find out
    cpus: list = None           # only these are for IOThreads, in this order
    node: int = None            # only the CPUs of it are
    avoid: tuple = ()           # these are not
    first: int = 0              # number of the first IOThread
    own_iothreads: bool = False # each disk makes IOThreads for itself


@dataclasses.dataclass(frozen=True)
class IOThread:
    """One of them, and where it may run; None is anywhere."""
    number: int
    queues: list
    cpus: list

    @property
    def name(self):
        """Its id; with "IO " before it, the name of its thread."""
        return f'iothread{self.number}'


@dataclasses.dataclass(frozen=True)
class Plan:
    """The answer, and the reasons, a sentence each."""
    request: Request
    iothreads: list
    why: list


def make_plan(request, topology):
    """Returns the Plan for @request on a host like @topology."""
    disk_nodes = {path: topology.disk_node(path)
                  for path in request.disks if path}
    _check(request, topology)
    found = groups.find(request, topology, set(disk_nodes.values()) - {None})
    number, reason = _number(request, topology, found)
    if number < len(found):
        found = groups.merge(found, number, topology)
    groups.spread(found, number)

    why = [f'{count(request.vcpus, "virtqueue")} per disk, one for each vCPU: '
           'Linux uses no more than that', reason]
    iothreads = []
    for group in found:
        # Neighbours go to different threads, so that a guest that uses the
        # first few virtqueues only still keeps all threads busy
        new = [IOThread(request.first + len(iothreads) + i,
                        group.vcpus[i::group.iothreads],
                        [group.own[i]] if group.own else group.shared)
               for i in range(group.iothreads)]
        why.append(_where(group, new, topology, _prefix(request)))
        iothreads += new
    if request.own_iothreads:
        _check_round_robin(iothreads, request.vcpus)
    why += _remarks(request, topology, disk_nodes)
    if request.pins and request.cpus is None and any(g.own for g in found):
        why.append('The search begins behind the vCPUs, and CPU 0 comes last, '
                   'so that VMs do not pile up on the same CPUs. Which CPUs '
                   'other VMs have is not known here: have them avoided')
    return Plan(request, iothreads, why)


def _check(request, topology):
    online = set(topology.online)
    # What is not there need not be avoided
    for option, cpus in (('pin', sorted(groups.busy(request))),
                         ('cpus', request.cpus or [])):
        for cpu in cpus:
            if cpu not in online:
                raise PlanError(f'--{option}: there is no CPU {cpu}, or it is '
                                f'offline; those are {ranges(sorted(online))}')
    if request.node is not None and not topology.nodes.get(request.node):
        raise PlanError(
            f'--node: there is no node {request.node} with CPUs; those are '
            + ranges(sorted(n for n, c in topology.nodes.items() if c)))


def _number(request, topology, found):
    """How many IOThreads, and why."""
    if request.iothreads:
        return _given_number(request, found)
    wanted = -(-request.vcpus // VCPUS_PER_IOTHREAD)
    reason = f'one for every {VCPUS_PER_IOTHREAD} vCPUs'
    least = 2 if (len(request.disks) > 1 and request.vcpus > 1
                  and not request.own_iothreads) else 1
    if wanted < least:
        wanted, reason = least, 'two, because there are several disks'
    if len(found) > wanted:
        wanted, reason = len(found), 'one for each node with vCPUs'
    if request.pins:
        room = sum(group.room() for group in found)
        limit = 'a core without a vCPU near its vCPUs'
    elif request.cpus is not None:
        room, limit = found[0].limit(), 'a CPU'
    else:
        room = len(found[0].shared or topology.online) - request.vcpus
        limit = 'a CPU that the vCPUs leave'
    room = min(max(least, room), sum(group.limit() for group in found))
    if room < wanted:
        wanted = room
        reason = f'no more than can have {limit}'
    return wanted, (f'{count(wanted, "IOThread")}: {reason}. A rule of thumb: '
                    'if vq-top shows %CPU near 100 for all of them, try more; '
                    'if it is far below, fewer')


def _given_number(request, found):
    number = request.iothreads
    if number > request.vcpus:
        raise PlanError(f'--iothreads: a guest with '
                        f'{count(request.vcpus, "vCPU")} uses as many '
                        'virtqueues of a disk, and needs no more IOThreads')
    most = sum(group.limit() for group in found)
    if number > most:
        raise PlanError(f'--iothreads: {number} of them need a CPU each, and '
                        f'near the vCPUs there are {most}; give fewer, or '
                        'name CPUs with --cpus')
    return number, f'{count(number, "IOThread")}, as asked'


def _check_round_robin(iothreads, vcpus):
    for place, thread in enumerate(iothreads):
        if thread.queues != list(range(place, vcpus, len(iothreads))):
            raise PlanError(
                f'--own-iothreads: {thread.name} is for virtqueues '
                f'{ranges(thread.queues)} here, those of the vCPUs near it, '
                'and a disk\'s own IOThreads serve them round-robin; leave '
                'the option out')


def _prefix(request):
    """What is before the number in an IOThread's name."""
    if not request.own_iothreads:
        return 'iothread'
    return 'disk0.' if len(request.disks) == 1 else 'diskN.'


def _where(group, iothreads, topology, prefix):
    who = prefix + ranges([t.number for t in iothreads])
    if not group.own:
        if group.shared is None:
            return (f'{who} not pinned: it is not known which CPUs are near '
                    'the vCPUs, as these are not pinned either; say where '
                    'they are, or name CPUs or a node for the IOThreads')
        return f'{who} on CPUs {ranges(group.shared)}, {group.place}'
    cpus = [thread.cpus[0] for thread in iothreads]
    text = (f'{who} on CPU{"s" * (len(cpus) > 1)} '
            f'{",".join(map(str, cpus))}, {group.place}')
    if group.node is not None and any(
            len(topology.siblings(c)) > 1 for c in cpus):
        text += ('; no vCPU is on the same core' if len(cpus) <= group.whole
                 else '; for want of free cores, SMT siblings of vCPUs, of '
                 'each other, or of CPUs to avoid are among them')
    return text


def _remarks(request, topology, disk_nodes):
    lines = []
    several = len([n for n, cpus in topology.nodes.items() if cpus]) > 1
    if not request.pins or not several:
        return lines
    lines.append('An IOThread shares rings and data with its vCPUs; across '
                 'nodes each access takes longer')
    homes = {groups.home(own, topology) for own in request.pins.values()}
    if len(homes) > 1:
        lines.append('Virtqueue i is taken for that of vCPU i, which is so in '
                     'a guest with one NUMA node; see '
                     '/sys/block/vda/mq/*/cpu_list there')
    wide = [vcpu for vcpu, own in sorted(request.pins.items())
            if len(topology.nodes_of(own)) > 1]
    if wide:
        lines.append(f'vCPU{"s" * (len(wide) > 1)} {ranges(wide)} may run on '
                     'several nodes; better keep each on one')
    for path, node in disk_nodes.items():
        if node is not None and node not in homes:
            lines.append(
                f'{path} is attached to node {node} and no vCPU is there: if '
                "the guest's memory is with its vCPUs, the data crosses nodes "
                'wherever the IOThreads are; better pin the vCPUs to that '
                'node')
    return lines
