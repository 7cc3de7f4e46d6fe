# SPDX-License-Identifier: GPL-2.0-or-later
"""
The faults and the tests that show them. A row is closed when one of its tests
fails on stock QEMU and all of them pass on ours.
"""

from dataclasses import dataclass, field

FIXED = {'10.0': 'mended in 10.0'}

MAPPING = 'qtest/virtio-blk-vq-mapping-test'
LIFETIME = 'qtest/virtio-blk-lifetime-test'
HOTPLUG = 'qtest/virtio-blk-hotplug-test'
START_STOP = 'qtest/virtio-blk-start-stop-test'
HOSTILE = 'qtest/virtio-blk-hostile-test'
ERROR = 'qtest/virtio-error-test'
OWN_IOTHREADS = 'qtest/virtio-blk-own-iothreads-test'
JOBS = 'qtest/block-multi-iothread-test'
DISK_JOBS = 'qtest/virtio-blk-jobs-test'
BLOCK = 'unit/test-block-multi-iothread'
THROTTLE = 'unit/test-throttle-multi-iothread'
GRAPH = 'unit/test-graph-multi-iothread'
FDMON = 'unit/test-fdmon-multi-thread'
POLLING = 'unit/test-aio-polling'


@dataclass
class Fault:
    """A row of the table"""
    number: int
    title: str
    # (program under tests/, GLib paths in it)
    tests: list
    # Why stock passes, by base
    passes_on_stock: dict = field(default_factory=dict)
    # The tests race: how often to try on stock until one fails, and how often
    # they have to pass on ours
    rounds: int = 1
    # Why there is no test
    untested: str = ''


def qtest(program, name, *paths):
    """Tests of a qtest program, whose paths begin with the architecture"""
    return [(program, f'/x86_64/{name}/{path}') for path in paths]


def unit(program, *paths):
    """Tests of a unit test program, "unit/test-NAME" """
    name = program.removeprefix('unit/test-')
    return [(program, f'/{name}/{path}') for path in paths]


def _mapping(*paths):
    return qtest(MAPPING, 'virtio-blk-vq-mapping', *paths)


def _start_stop(*paths):
    return qtest(START_STOP, 'virtio-blk-start-stop', *paths)


def _lifetime(*paths):
    return qtest(LIFETIME, 'iothread-lifetime', *paths)


def _hotplug(*paths):
    return qtest(HOTPLUG, 'virtio-blk-hotplug', *paths)


def _hostile(*paths):
    return qtest(HOSTILE, 'virtio-blk-hostile', *paths)


def _disk_jobs(*paths):
    return qtest(DISK_JOBS, 'virtio-blk-jobs', *paths)


def _own_iothreads(*paths):
    return qtest(OWN_IOTHREADS, 'virtio-blk-own-iothreads', *paths)


def _jobs(*paths):
    return qtest(JOBS, 'block-multi-iothread', *paths)


# The first 25 have the numbers of the list that the project began with
FAULTS = [
    Fault(1, 'device_add drops iothread-vq-mapping and reports success',
          _hotplug('owners/round-robin', 'owners/vqs', 'refused/unknown'),
          FIXED),
    Fault(2, 'object-del of an IOThread that serves something succeeds',
          _lifetime('pci/iothread', 'pci/vqs', 'pci/round-robin', 'mmio/vqs',
                    'scsi/iothread', 'serves-on', 'two-disks',
                    'pending-unplug', 'ranges', 'export', 'node')),
    Fault(3, 'delete an IOThread, create its name again, unplug: abort',
          _lifetime('same-name')),
    Fault(4, '"[]" and "vqs": [] are accepted, and mean something else',
          _mapping('refused/empty-list', 'refused/empty-vqs')),
    Fault(5, 'one IOThread under two names passes as two',
          _mapping('refused/two-names')),
    Fault(6, "a vq index out of uint16's range is reported as 'null'",
          _mapping('refused/index-65536', 'refused/index-negative')),
    Fault(7, 'IOThreads that get no virtqueue idle, silently',
          _mapping('warning')),
    Fault(8, 'a refused realize leaks',
          _mapping('refused/releases') + _hotplug('refused/leaves-nothing')),
    Fault(9, 'after a failed start a later one leaks notifiers and handlers, '
          'and nobody looks at the rings',
          _start_stop(*[f'{transport}/failed-start/{i}'
                        for transport in ('pci', 'mmio') for i in range(7)],
                      'failed-start/finds-requests', 'late-fails')),
    Fault(10, 'after a failed start, restarted requests go to IOThreads',
          _start_stop('failed-start/restart')),
    Fault(11, 'handlers are attached for virtqueues that the guest does not '
          'use', _start_stop('unused')),
    Fault(12, 'a drained section begins while an IOThread is in a handler',
          _start_stop('drain-waits-for-handler')),
    Fault(13, 'virtio_error() in an IOThread needs the BQL: deadlock',
          qtest(ERROR, 'virtio-error', 'main-loop-waits')),
    Fault(14, 'tracked_requests is walked without its lock',
          unit(BLOCK, 'self-request'), FIXED, rounds=3),
    Fault(15, 'drain misses a request that is being resumed',
          unit(BLOCK, 'drain/resumed'), FIXED),
    Fault(16, 'the last graph reader does not wake the writer: hang',
          unit(BLOCK, 'graph-lock'), FIXED),
    Fault(17, 'throttle group of several IOThreads: deadlock, assertion',
          unit(THROTTLE, 'queue', 'timer'), FIXED, rounds=3),
    Fault(18, 'a monitor coroutine returns to the wrong AioContext',
          unit(BLOCK, 'qmp-command/context', 'qmp-command/drain'), FIXED),
    Fault(19, "qcow2's cache-clean timer runs without the lock",
          _jobs('qcow2-cache-clean')),
    Fault(20, 'draining with the graph locked for writing: deadlock',
          unit(GRAPH, 'remove-beside-job', 'remove-beside-requests')),
    Fault(21, 'fdmon-io_uring frees a handler that has a completion pending',
          unit(FDMON, 'remove-handlers')),
    Fault(22, 'a slow backend turns polling off for a fast virtqueue',
          unit(POLLING, 'slow-backend'), FIXED),
    Fault(23, 'virtqueue_pop() zeroes 24 KB of stack', [],
          untested='a matter of speed, measured in docs/speed.md'),
    Fault(24, 'write-blocking mirror: counters and lists without a lock',
          _jobs('mirror-active', 'mirror-active-data',
                'mirror-active-cancel'), rounds=3),
    Fault(25, 'linux-aio recurses when requests complete at once',
          unit(BLOCK, 'instant-completion/native'), FIXED),
    # Found on the way
    Fault(26, 'a guest that keeps a ring filled keeps its handler, and so '
          'QEMU, for ever',
          _hostile('flood/stop', 'flood/reset', 'flood/drain')),
    Fault(27, 'virtio-scsi aborts when the guest resets it after a failed '
          'start', _start_stop('failed-start/virtio-scsi')),
    Fault(28, 'a request retried after rerror=stop is parsed wrongly when its '
          'status shares a descriptor with data', _start_stop('restart')),
    Fault(29, 'a mistake in a packed ring makes the IOThread spin for ever',
          _hostile('packed/no-end', 'packed/no-status',
                   'packed/header/short', 'packed/ring/loop'), FIXED),
    Fault(30, 'an empty indirect table in a packed ring: abort',
          _hostile('packed/indirect/zero-length'), FIXED),
    Fault(31, "a SCSI request's result is written behind the buffer: crash",
          _hostile('split/buffer/scsi-end-of-ram',
                   'packed/buffer/scsi-end-of-ram'), FIXED),
    Fault(32, 'a driver changes the kind of ring late: abort',
          _hostile('status/late-features')),
    Fault(33, 'a ring or buffer that is not RAM: deadlock with the main loop',
          _hostile('split/nowhere/reset', 'split/nowhere/stop',
                   'split/nowhere/ring-reset', 'split/ring/nowhere')),
    Fault(34, 'a request is queued after a drained section that does not '
          'poll, and never resumed', unit(BLOCK, 'drain/nopoll')),
    Fault(35, 'a throttle group member leaves with its timer armed',
          unit(THROTTLE, 'unregister')),
    Fault(36, 'block_set_io_throttle under load: crash',
          unit(THROTTLE, 'toggle')),
    Fault(37, 'io_uring recurses when requests complete at once',
          unit(BLOCK, 'instant-completion/io_uring')),
    Fault(38, 'a reader of the graph that reads again while a writer waits: '
          'deadlock', unit(GRAPH, 'nested-readers')),
    Fault(39, 'a stop closes the guest notifiers before the last interrupt',
          _start_stop('stop-waits-for-interrupt')),
    Fault(40, "an IOThread with a long id has its creator's thread name",
          _own_iothreads('long-name')),
    Fault(41, '-global of a property that takes words and numbers: abort',
          _own_iothreads('global-addr'),
          {'9.0': 'came with 10.0'}),
    Fault(42, 'a disk is reset, stopped or started while a mirror or commit '
          'on it ends: abort, hang',
          _disk_jobs('end/reset', 'end/stop', 'end/start')),
    Fault(43, 'a request that comes in a drained section is completed after '
          'the disk was reset in it', _disk_jobs('held/reset')),
    Fault(44, 'an IOThread polls for a virtqueue that is idle, and with '
          'poll-max-ns=0', unit(POLLING, 'idle', 'off'),
          {'9.0': 'came with 10.0'}),
    Fault(45, 'a job that is resumed and paused again at once runs on in a '
          'drained section', unit(BLOCK, 'job/paused-again')),
]


def programs(kind):
    """The test programs of one kind, "qtest" or "unit", in use"""
    return sorted({program for fault in FAULTS
                   for program, _ in fault.tests
                   if program.startswith(kind + '/')})
