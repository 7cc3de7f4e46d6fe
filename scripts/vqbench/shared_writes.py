# SPDX-License-Identifier: GPL-2.0-or-later
"""
Read-modify-writes and plain writes per request, on cache lines that several
threads share, by source line.

The threads are executed instruction by instruction (ptrace). Every
instruction is decoded; of one that writes memory, the address is computed
from the registers that it finds. A lock prefix, or xchg with memory, makes it
a read-modify-write ("rmw"); anything else is a "write", add to memory without
a lock too. A cache line (64 bytes) is shared if at least two of the threads
wrote it in that time, in either way; an access to two lines is shared if one
of them is. The requests are counted the same way: a request is an execution
of the first instruction of virtqueue_fill(). Of each thread, what counts is
from the second time that it enters virtio_blk_handle_vq() to the last: whole
rounds of taking requests, submitting and completing them. Of a thread that
made a single round, that one counts; it may have had more to complete than to
submit.

What that does not see:
- The kernel's writes, and those of threads that were not given: the main
  loop, aio=threads workers, the guest. A line that one of the threads shares
  with only these counts as private.
- A line that only one thread happened to write in that time is private.
- Two virtqueues on one thread share nothing here. Give each an IOThread.
- Reads. A line that one thread writes and others read moves about too.
- Time. A stepped thread runs some thousand times slower: its queue is always
  full, what it does once per batch is spread over the whole depth, polling
  never pays, and locks are contended in another way than at full speed.
- A caller that ended in a jump (a tail call) is left out: the write counts
  for the line that called it. Calls made before the start are not known.
- A full memory barrier is a locked instruction on the stack, so it counts as a
  rmw on a private line.
- bts and such with a register as bit number are counted at their base, and
  xsave by its first 8 bytes.
"""

import bisect
import os
from collections import Counter

from . import BenchError, x86_writes
from .ptrace import Stepper
from .symbols import Module

LINE_BITS = 6

ET_EXEC = 2

# Callers that are kept for a write, to name who took the lock
CHAIN = 8

_RIP, _RSP, _RCX = x86_writes.RIP, x86_writes.RSP, x86_writes.RCX
_EFLAGS, _BACKWARDS = x86_writes.EFLAGS, 0x400


def _is_fixed(path):
    """Whether it is a program that is linked to run at one address."""
    if not os.path.isfile(path):
        return False
    with open(path, 'rb') as file:
        return file.read(18)[16:] == ET_EXEC.to_bytes(2, 'little')


class AddressSpace:
    """/proc/PID/maps: what lies where."""

    def __init__(self, pid):
        self._pid = pid
        self._starts, self._areas, self._base = [], [], {}
        self._read()

    def _read(self):
        self._areas = []
        with open(f'/proc/{self._pid}/maps', encoding='utf-8') as maps:
            for line in maps:
                fields = line.split(maxsplit=5)
                start, end = (int(word, 16) for word in fields[0].split('-'))
                path = fields[5].strip() if len(fields) > 5 else ''
                self._areas.append((start, end, path))
                if path not in self._base and int(fields[2], 16) == 0:
                    self._base[path] = 0 if _is_fixed(path) else start
        self._starts = [area[0] for area in self._areas]

    def area(self, address):
        """Start, end and path of the mapping that holds @address."""
        for _ in range(2):
            at = bisect.bisect_right(self._starts, address) - 1
            if at >= 0 and address < self._areas[at][1]:
                return self._areas[at]
            self._read()
        return address, address + 1, ''

    def address(self, path, offset):
        """Where @offset in the module @path is."""
        return self._base.get(path, 0) + offset

    def locate(self, address):
        """Path of the module that holds @address, and where in it."""
        path = self.area(address)[2]
        return path, address - self._base.get(path, 0)


class _Thread:
    """What is known of a thread while it is stepped."""
    # pylint: disable=too-few-public-methods

    def __init__(self, tid):
        self.id = tid
        with open(f'/proc/{tid}/comm', encoding='utf-8') as comm:
            self.name = comm.read().strip()
        self.steps = self.instructions = 0
        self.last = None
        # Since it began the round that it is in
        self.executed, self.writes = Counter(), Counter()
        self.first = None
        self.rounds = -1
        # The stack that it is on: QEMU's coroutines have one each
        self.low = self.high = 0
        self.frames = []


class Recorder:
    """
    Takes each step and keeps counts of it. With @batch, the name of a
    function, only what is between two calls of that counts.
    """

    def __init__(self, pid, tids, batch=None):
        self._space = AddressSpace(pid)
        self.binary = os.readlink(f'/proc/{pid}/exe')
        if self.binary.endswith(' (deleted)'):
            raise BenchError(f'{self.binary[:-10]} has been replaced while '
                             'it ran')
        self._batch = None
        if batch:
            entry = Module(self.binary).entry(batch)
            if entry is None:
                raise BenchError(f'{self.binary} has no function {batch}')
            self._batch = self._space.address(self.binary, entry)
        self._memory = os.open(f'/proc/{pid}/mem', os.O_RDONLY)
        self._threads = [_Thread(tid) for tid in tids]
        self._decoded = {}
        self._executed = Counter()  # pc
        self._writes = Counter()    # (pc, chain, first line, last line)
        self._writers = {}          # line: a bit per thread
        self._stacks = {}           # lowest address: [(slot, pc of a call)]

    def close(self):
        """Give back what is open."""
        os.close(self._memory)

    def step(self, index, regs):
        """
        Thread number @index is about to execute the next instruction. Returns
        where to go on after a repeated one, whose rounds take a step each.
        """
        thread = self._threads[index]
        pc = regs[_RIP]
        insn = self._decoded.get(pc)
        if insn is None:
            insn = self._decoded[pc] = self._decode(pc)
        thread.steps += 1
        if pc == self._batch:
            self._end_round(thread)
        count = 1
        if insn.repeats:
            if pc == thread.last:
                return 0    # another round of it; it was counted as a whole
            count = regs[_RCX]
        thread.last = pc
        thread.instructions += 1
        thread.executed[pc] += 1
        if insn.write and count:
            self._write(thread, index, insn.write, count, pc, regs)
        if insn.is_call:
            self._call(thread, pc, regs[_RSP])
        return pc + insn.size if count > 1 else 0

    def _end_round(self, thread):
        """What the thread did counts, unless that began in the middle."""
        thread.rounds += 1
        if thread.rounds == 1:
            # It completed what had been taken before all was this slow
            thread.first = thread.executed, thread.writes
            thread.executed, thread.writes = Counter(), Counter()
            return
        if thread.rounds > 1:
            self._count(thread.executed, thread.writes)
        thread.executed.clear()
        thread.writes.clear()

    def _count(self, executed, writes):
        self._executed.update(executed)
        self._writes.update(writes)

    def _finish(self, thread):
        if self._batch is None:
            self._count(thread.executed, thread.writes)
        elif thread.rounds == 1:
            # Better than nothing
            self._count(*thread.first)

    def _decode(self, pc):
        try:
            code = os.pread(self._memory, 15, pc)
        except OSError:
            code = b''      # [vsyscall]
        return x86_writes.decode(code, pc)

    def _write(self, thread, index, write, count, pc, regs):
        # pylint: disable=too-many-arguments
        address = write.address(regs)
        size = write.size * count
        if count > 1 and regs[_EFLAGS] & _BACKWARDS:
            address -= size - write.size
        first = address >> LINE_BITS
        last = address + size - 1 >> LINE_BITS
        for line in range(first, last + 1):
            self._writers[line] = self._writers.get(line, 0) | 1 << index
        chain = ()
        if write.base != _RSP:
            frames = self._live_frames(thread, regs[_RSP])
            chain = tuple(call for _, call in frames[:-CHAIN - 1:-1])
        thread.writes[pc, chain, first, last] += 1

    def _live_frames(self, thread, rsp):
        """The calls under way on the stack that @rsp is in."""
        if not thread.low <= rsp < thread.high:
            thread.low, thread.high, _ = self._space.area(rsp)
            thread.frames = self._stacks.setdefault(thread.low, [])
        frames = thread.frames
        while frames and frames[-1][0] < rsp:
            frames.pop()
        return frames

    def _call(self, thread, pc, rsp):
        self._live_frames(thread, rsp).append((rsp - 8, pc))

    def result(self):
        """The counts, for JSON; addresses as "module:offset in it"."""
        for thread in self._threads:
            self._finish(thread)
        modules, names = {}, {}

        def name(pc):
            if pc not in names:
                path, offset = self._space.locate(pc)
                number = modules.setdefault(path, len(modules))
                names[pc] = f'{number}:{offset:#x}'
            return names[pc]

        shared = {line for line, mask in self._writers.items()
                  if mask & (mask - 1)}
        writes = {}
        for (pc, chain, first, last), count in self._writes.items():
            entry = writes.setdefault((pc, chain), [0, 0, set()])
            lines = shared.intersection(range(first, last + 1))
            entry[0 if lines else 1] += count
            entry[2] |= lines
        return {
            'threads': [{'id': t.id, 'name': t.name, 'steps': t.steps,
                         'instructions': t.instructions,
                         'rounds': max(t.rounds, 0)}
                        for t in self._threads],
            'lines': {'shared': len(shared),
                      'private': len(self._writers) - len(shared)},
            'not-decoded': sum(count for pc, count in self._executed.items()
                               if not self._decoded[pc].size),
            'writes': [{'pc': name(pc), 'chain': [name(c) for c in chain],
                        'kind': 'rmw' if self._decoded[pc].write.locked
                                else 'write',
                        'text': self._decoded[pc].text,
                        'shared': entry[0], 'private': entry[1],
                        'shared-lines': len(entry[2])}
                       for (pc, chain), entry in writes.items()
                       # Pushes would be most of the file, and say nothing
                       if chain or entry[0]
                       or self._decoded[pc].write.locked],
            'executed': {name(pc): n for pc, n in self._executed.items()},
            'modules': list(modules),
        }


def record(pid, tids, seconds, steps=None, batch=None):
    """Step the threads @tids of process @pid. Returns what they did."""
    recorder = Recorder(pid, tids, batch)
    stepper = Stepper(tids)
    try:
        elapsed = stepper.run(recorder.step, seconds, steps)
        result = recorder.result()
    finally:
        recorder.close()
    return {'binary': recorder.binary, 'seconds': round(elapsed, 3), **result}
