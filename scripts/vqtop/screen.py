# SPDX-License-Identifier: GPL-2.0-or-later
"""The terminal."""

import contextlib
import os
import shutil
import sys
import termios
import tty

from . import table

STYLES = {'bold': '1', 'dim': '2', 'head': '7', 'warn': '33', 'bad': '1;31'}


def is_terminal():
    """Does stdout go to a terminal that can move its cursor?"""
    return sys.stdout.isatty() and os.environ.get('TERM', 'dumb') != 'dumb'


def has_colour():
    """Is there a terminal whose user has not said no to colours?"""
    return is_terminal() and not os.environ.get('NO_COLOR')


def paint(line, colour):
    """A line as one string."""
    if not colour:
        return table.plain(line).rstrip()
    return ''.join(f'\033[{STYLES[style]}m{text}\033[0m' if style in STYLES
                   else text for style, text in line)


def size():
    """Columns and rows; 0 rows if there is no end."""
    if is_terminal():
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        if columns and rows:
            # A character in the last column would wait to wrap
            return columns - 1, rows
    return shutil.get_terminal_size((1000, 0)).columns, 0


def fit(lines, rows):
    """As many of @lines as there is room for; the last says what is not."""
    if not rows or len(lines) <= rows:
        return lines
    left = len(lines) - rows + 1
    return lines[:rows - 1] + [[('warn', f'{left} more lines do not fit; '
                                 '--device shows one disk')]]


class Screen:
    """A terminal to be refreshed in place, from enter() to leave()."""

    def __init__(self):
        self._saved = None
        # In the background, or with another stdin, there are none
        self.has_keys = False

    def enter(self):
        """Hide the cursor, clear everything, get keys at once and unseen."""
        with contextlib.suppress(OSError, AttributeError):
            self.has_keys = (os.tcgetpgrp(sys.stdin.fileno()) ==
                             os.getpgrp())
        if self.has_keys:
            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        self._write('\033[?25l\033[H\033[2J')

    def leave(self):
        """Leave the last picture, and everything else as it was."""
        self._write('\n\033[?25h')
        if self._saved:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)

    def clear(self):
        """For when the terminal has another size."""
        self._write('\033[2J')

    def draw(self, lines, footer):
        """Show @lines and the line @footer, and nothing else."""
        colour = has_colour()
        rows = size()[1]
        painted = [paint(line, colour)
                   for line in fit(lines, rows and rows - 1) + [footer]]
        self._write('\033[H' + '\033[K\n'.join(painted) + '\033[K\033[J')

    def _write(self, text):
        sys.stdout.write(text)
        sys.stdout.flush()
