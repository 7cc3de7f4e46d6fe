# SPDX-License-Identifier: GPL-2.0-or-later
"""The ways to show blocks."""

import asyncio
import contextlib
import json
import os
import signal
import sys

from . import screen, table

KEYS = {'i': 'index', 'o': 'iops', 'b': 'bytes', 'f': 'in-flight',
        'c': 'cpu', 't': 'iothread'}


def choose(options, source, stop):
    """A context manager with a show() for @options; stop() is for 'q'."""
    if options.json:
        return JsonLines(source)
    if options.once or not screen.is_terminal():
        return Text(source, options.sort)
    return Live(source, options, stop)


class JsonLines(contextlib.AbstractContextManager):
    """An object per block, each on a line."""

    refreshes = False

    def __init__(self, source):
        self._source = source

    def show(self, block):
        """Append @block."""
        whole = {'qemu': self._source.about, **block}
        if self._source.missing:
            whole['missing'] = self._source.missing
        print(json.dumps(whole), flush=True)

    def __exit__(self, *_exc):
        pass


class Text(contextlib.AbstractContextManager):
    """One block after another; what is missing is said once."""

    refreshes = False

    def __init__(self, source, sort):
        self._source = source
        self._sort = sort
        self._first = True

    def show(self, block):
        """Append @block."""
        lines = table.text(block, self._source.about, self._sort,
                           screen.size()[0],
                           self._source.missing if self._first else ())
        if not self._first:
            print()
        self._first = False
        colour = screen.has_colour()
        for line in lines:
            print(screen.paint(line, colour))
        sys.stdout.flush()

    def __exit__(self, *_exc):
        pass


class Live(contextlib.AbstractContextManager):
    """A terminal, refreshed in place, with keys."""

    # Also when a disk has been remapped, before the interval ends
    refreshes = True

    def __init__(self, source, options, stop):
        self._source = source
        self._sort = options.sort
        self._interval = options.interval
        self._stop = stop
        self._screen = screen.Screen()
        self._block = None

    def __enter__(self):
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            undo.push(self)
            self._screen.enter()
            loop.add_signal_handler(signal.SIGWINCH, self._redraw)
            loop.add_signal_handler(signal.SIGTSTP, self._suspend)
            if self._screen.has_keys:
                loop.add_reader(sys.stdin, self._on_keys)
            self._draw()
            undo.pop_all()
        return self

    def __exit__(self, *_exc):
        loop = asyncio.get_running_loop()
        if self._screen.has_keys:
            loop.remove_reader(sys.stdin)
        loop.remove_signal_handler(signal.SIGTSTP)
        loop.remove_signal_handler(signal.SIGWINCH)
        self._screen.leave()

    def show(self, block):
        """Replace the block that is shown by @block."""
        self._block = block
        self._draw()

    def _draw(self):
        if self._block:
            lines = table.text(self._block, self._source.about, self._sort,
                               screen.size()[0], self._source.missing)
        else:
            lines = [[('', f'first figures in {self._interval:g} s')]]
        footer = [('dim', f'sort: {self._sort}; ')]
        if self._screen.has_keys:
            footer += [('dim', 'keys: q quit, sort by ' + ', '.join(
                f'{key} {name}' for key, name in KEYS.items()))]
        self._screen.draw(lines, table.cut(footer, screen.size()[0]))

    def _redraw(self):
        self._screen.clear()
        self._draw()

    def _suspend(self):
        self._screen.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._screen.enter()
        self._draw()

    def _on_keys(self):
        keys = os.read(sys.stdin.fileno(), 64).decode(errors='replace')
        if not keys:
            asyncio.get_running_loop().remove_reader(sys.stdin)
        for key in keys:
            if key == 'q':
                self._stop()
            elif key in KEYS:
                self._sort = KEYS[key]
                self._draw()
