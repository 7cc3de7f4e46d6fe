# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses to functions and source lines, by binutils."""

import bisect
import os
import subprocess
from typing import NamedTuple

from . import BenchError


class Frame(NamedTuple):
    """A function, inlined or not, and the line of it."""
    function: str
    file: str
    line: int


def tidy_path(path):
    """Relative to the source tree of QEMU, if @path is in one."""
    path = os.path.normpath(path)
    for mark in ('/src/', '/obj/'):
        if mark in path:
            return path[path.index(mark) + len(mark):]
    return path.removeprefix('./')


def _run(command, text=None):
    try:
        return subprocess.run(command, input=text, text=True, check=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout
    except FileNotFoundError as err:
        raise BenchError(f'{command[0]} is missing; '
                         'run: scripts/install-deps') from err
    except subprocess.CalledProcessError:
        return ''


class Module:
    """An ELF file."""

    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)
        self._is_file = os.path.isfile(path)
        self._symbols = None

    def _load_symbols(self):
        self._symbols = []
        if self._is_file:
            # A stripped library has the dynamic ones only
            output = (_run(['nm', '--defined-only', self.path]) +
                      _run(['nm', '-D', '--defined-only', self.path]))
            found = {}
            for line in output.splitlines():
                fields = line.split()
                if len(fields) == 3 and fields[1] in 'tTwWi':
                    found.setdefault(int(fields[0], 16),
                                     fields[2].split('@')[0])
            self._symbols = sorted(found.items())

    def entry(self, function):
        """Address of @function, or None."""
        if self._symbols is None:
            self._load_symbols()
        return next((address for address, name in self._symbols
                     if name == function), None)

    def _nearest(self, address):
        if self._symbols is None:
            self._load_symbols()
        at = bisect.bisect_right(self._symbols, (address, '\x7f')) - 1
        name = self._symbols[at][1] if at >= 0 else ''
        return Frame(name or f'[{self.name.strip("[]") or "?"}]', '??', 0)

    def resolve(self, addresses):
        """Address to its frames, innermost first; the last is no inline."""
        addresses = sorted(addresses)
        frames = {}
        if self._is_file and addresses:
            output = _run(['addr2line', '-a', '-i', '-f', '-C',
                           '-e', self.path],
                          '\n'.join(map(hex, addresses)))
            current = None
            lines = iter(output.splitlines())
            for line in lines:
                if line.startswith('0x'):
                    current = frames.setdefault(int(line, 16), [])
                    continue
                place = next(lines).split(' (')[0]
                path, _, number = place.rpartition(':')
                current.append(Frame(line, tidy_path(path),
                                     int(number) if number.isdigit() else 0))
        for address in addresses:
            if frames.get(address, [Frame('??', '', 0)])[0].function == '??':
                frames[address] = [self._nearest(address)]
        return frames
