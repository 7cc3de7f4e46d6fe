# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the big QEMU lock of a process is in its memory."""

import os
import subprocess
from collections import defaultdict

# Its name, newest QEMU first. The futex word is the first thing in it.
SYMBOLS = ('bql', 'qemu_global_mutex')

# e_type of an ELF header: the one whose addresses are final
ET_EXEC = 2


def _symbol(exe):
    """Address in the ELF file @exe, or None."""
    try:
        output = subprocess.run(['nm', exe], text=True, check=False,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL).stdout
    except FileNotFoundError:
        return None
    found = {}
    for line in output.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2] in SYMBOLS:
            found[fields[2]] = int(fields[0], 16)
    return next((found[name] for name in SYMBOLS if name in found), None)


def load_address(maps, exe):
    """Lowest address that file @exe has in the lines @maps, or None."""
    return min((int(line.split('-')[0], 16) for line in maps
                if line.rstrip('\n').endswith(' ' + exe)), default=None)


def by_symbol(pid):
    """Address of the futex word, or None if the program has no symbols."""
    exe = f'/proc/{pid}/exe'
    offset = _symbol(exe)
    if offset is None:
        return None
    with open(exe, 'rb') as file:
        kind = int.from_bytes(file.read(18)[16:], 'little')
    if kind == ET_EXEC:
        return offset
    with open(f'/proc/{pid}/maps', encoding='utf-8') as maps:
        base = load_address(maps, os.readlink(exe))
    return None if base is None else base + offset


def by_vote(samples):
    """
    The futex word at which most of the threads were seen asleep, two at
    least, or None: a vCPU that is halted sleeps at a word of its own.
    @samples: thread id to a Counter of where it was.
    """
    voters = defaultdict(set)
    for tid, places in samples.items():
        for place in places:
            if isinstance(place, int):
                voters[place].add(tid)
    best = max(voters, key=lambda word: len(voters[word]), default=None)
    return best if best is not None and len(voters[best]) > 1 else None
