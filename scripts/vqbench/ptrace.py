# SPDX-License-Identifier: GPL-2.0-or-later
"""
Threads of another process, executed instruction by instruction.

Killed by SIGKILL, this takes the process with it: nobody is there then to
receive the trap of the step under way. Nothing else does.
"""

import ctypes
import itertools
import os
import re
import signal
import time

from . import BenchError
from .x86_writes import REGISTERS

_POKEUSER, _CONT, _SINGLESTEP, _GETREGS, _DETACH = 6, 7, 9, 12, 17
_SEIZE, _INTERRUPT = 0x4206, 0x4207
_EVENT_STOP = 128
_WALL = 0x40000000

# offsetof(struct user, u_debugreg)
_DEBUG_ADDRESS = 848
_DEBUG_CONTROL = _DEBUG_ADDRESS + 7 * 8

# A step takes some 15 µs, and to fall asleep and wake up as long again
_TRIES_BEFORE_SLEEP = 20

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                    ctypes.c_void_p]


def _sigtrap_pending(tid):
    with open(f'/proc/{tid}/status', encoding='ascii') as status:
        pending = re.search(r'^SigPnd:\s*(\w+)', status.read(), re.M)[1]
    return int(pending, 16) >> (signal.SIGTRAP - 1) & 1


class Stepper:
    """
    Steps threads from run() until it returns, however it ends; they go on by
    themselves then. The calling process must have no other children.
    """

    def __init__(self, tids):
        self._tids = list(tids)
        self._attached = set()
        self._turns = itertools.cycle(self._tids)
        self._stopped = None        # the thread that waits for a request
        self._stopping = False
        self._armed = set()         # those with a breakpoint set
        self.regs = (ctypes.c_ulonglong * (len(REGISTERS) + 1))()

    def run(self, on_step, seconds, steps=None):
        """
        Call on_step(thread's place in the list, registers) before each
        instruction, for @seconds, or until a thread made @steps. If that
        returns an address, the thread runs to there first. Returns the
        seconds that it took.
        """
        handlers = {number: signal.signal(number, self._stop) for number in
                    (signal.SIGALRM, signal.SIGINT, signal.SIGTERM)}
        start = time.monotonic()
        try:
            for tid in self._tids:
                self._attach(tid)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            self._loop(on_step, steps)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            # No exception may come between a stop and the detaching
            self._stop()
            self._release()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return time.monotonic() - start

    def _stop(self, *_signal):
        """Let every thread stop; who waits for one sees the flag then."""
        self._stopping = True
        for tid in self._attached:
            if tid != self._stopped:
                _ptrace(_INTERRUPT, tid, None, None)

    def _attach(self, tid):
        if _ptrace(_SEIZE, tid, None, None):
            raise BenchError(f'cannot trace thread {tid}: '
                             f'{os.strerror(ctypes.get_errno())}')
        self._attached.add(tid)
        _ptrace(_INTERRUPT, tid, None, None)

    def _wait(self):
        """The next thread that stops, and its status; each has its turn."""
        for _ in range(_TRIES_BEFORE_SLEEP):
            for _ in self._tids:
                # Whoever asks for any gets the same one over and over
                tid = next(self._turns)
                if tid in self._attached:
                    got, status = os.waitpid(tid, _WALL | os.WNOHANG)
                    if got:
                        return tid, status
        return os.waitpid(-1, _WALL)

    def _loop(self, on_step, steps):
        place = {tid: i for i, tid in enumerate(self._tids)}
        made = [0] * len(self._tids)
        regs, where = self.regs, ctypes.addressof(self.regs)
        trap = signal.SIGTRAP << 8 | 0x7f
        while self._attached and not self._stopping:
            tid, status = self._wait()
            if not os.WIFSTOPPED(status):
                self._attached.discard(tid)
                continue
            self._stopped = tid
            if self._stopping:
                self._release_one(tid, status)
                return
            signal_number = until = 0
            if status == trap:
                if self._armed:
                    self._disarm(tid)
                _ptrace(_GETREGS, tid, None, where)
                index = place[tid]
                until = on_step(index, regs)
                made[index] += 1
                if steps and made[index] >= steps:
                    self._stopping = True
            elif not status >> 16:
                signal_number = os.WSTOPSIG(status)
            if until:
                self._arm(tid, until)
            self._stopped = None
            _ptrace(_CONT if tid in self._armed else _SINGLESTEP, tid, None,
                    signal_number)

    def _arm(self, tid, address):
        """A breakpoint of this thread alone, in the CPU's registers."""
        if not (_ptrace(_POKEUSER, tid, _DEBUG_ADDRESS, address) or
                _ptrace(_POKEUSER, tid, _DEBUG_CONTROL, 1)):
            self._armed.add(tid)

    def _disarm(self, tid):
        if tid in self._armed:
            self._armed.discard(tid)
            _ptrace(_POKEUSER, tid, _DEBUG_CONTROL, 0)

    def _release(self):
        if self._stopped in self._attached:
            # on_step failed, and the thread is at a trap of ours
            self._disarm(self._stopped)
            self._detach(self._stopped, 0)
        while self._attached:
            tid, status = os.waitpid(-1, _WALL)
            if os.WIFSTOPPED(status):
                self._release_one(tid, status)
            else:
                self._attached.discard(tid)

    def _release_one(self, tid, status):
        number = os.WSTOPSIG(status)
        self._disarm(tid)
        if status >> 16 == _EVENT_STOP and _sigtrap_pending(tid):
            # It would kill the process, so have it first
            self._stopped = None
            _ptrace(_CONT, tid, None, None)
            return
        self._detach(tid, 0 if number == signal.SIGTRAP or status >> 16
                     else number)

    def _detach(self, tid, number):
        self._attached.discard(tid)
        self._stopped = None
        _ptrace(_DETACH, tid, None, number)
