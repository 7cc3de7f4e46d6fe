# SPDX-License-Identifier: GPL-2.0-or-later
"""What --check looks at, whatever it was read from."""

import dataclasses


@dataclasses.dataclass
class Disk:
    """A virtio-blk device."""
    place: str                  # where it is, for people
    queues: object = None       # number, or None: one per vCPU
    iothread: object = None     # id
    mapping: object = None      # list of (id, list of virtqueues or None)
    aio: object = None          # None: what is below has no aio=
    aio_given: bool = False     # it is not just the default
    direct: bool = False        # no host page cache
    id: str = ''                # what its own IOThreads are named after
    own: dict = dataclasses.field(default_factory=dict)
    # the properties that ask for them, as given


@dataclasses.dataclass
class Pin:
    """A thread and its CPUs."""
    place: str
    kind: str                   # "iothread", "vcpu", "emulator" or "all"
    who: object                 # id or number
    cpus: list
    disk: object = None         # the Disk whose property it is


@dataclasses.dataclass
class Vm:
    """All of it."""
    vcpus: int = 1              # at the start
    max_vcpus: int = 1
    iothreads: dict = dataclasses.field(default_factory=dict)  # id to place
    disks: list = dataclasses.field(default_factory=list)
    pins: list = dataclasses.field(default_factory=list)
    others: set = dataclasses.field(default_factory=set)
    # ids of IOThreads that something else has, such as virtio-scsi
    nodes: int = 0              # NUMA nodes of the guest, if it has any
    named: bool = True          # threads have names that pins can go by
    refused: list = dataclasses.field(default_factory=list)
    # (place, text) of what QEMU does not take in this form
    hints: dict = dataclasses.field(default_factory=dict)
    # what to do about "cache" and "queues", in the words of the source
