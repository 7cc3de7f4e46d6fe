# SPDX-License-Identifier: GPL-2.0-or-later
"""The program on a terminal."""

import os
import pty
import re
import select
import signal
import sys
import termios
import time

from vqtap import PATIENCE

from .fake_qemu import busy_vm, remapped
from .test_program import SCRIPTS, SHORT, ProgramTest

HIDE, SHOW, HOME = '\033[?25l', '\033[?25h', '\033[H'
COLOUR = re.compile(r'\033\[[0-9;]*m')


class Terminal:
    """The program @options as the only one of a terminal."""

    def __init__(self, *options, rows=40, columns=110, **environment):
        self.output = ''
        self.pid, self._master = pty.fork()
        if not self.pid:
            termios.tcsetwinsize(0, (rows, columns))
            os.execve(sys.executable, [sys.executable, os.path.join(
                SCRIPTS, 'vq-top'), *options],
                      {**os.environ, 'TERM': 'xterm', **environment})

    def close(self):
        """End it, if it has not ended."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)

    def has_line_mode(self):
        """Are keys kept until Enter, and shown, as a shell wants it?"""
        flags = termios.tcgetattr(self._master)[3]
        return bool(flags & termios.ICANON and flags & termios.ECHO)

    def resize(self, rows, columns):
        """As a window does."""
        termios.tcsetwinsize(self._master, (rows, columns))

    def type(self, keys):
        """As a user does."""
        os.write(self._master, keys.encode())

    def read(self, pattern, seconds=PATIENCE):
        """Read on until @pattern is in what was read since the last call."""
        deadline = time.monotonic() + seconds
        text = ''
        while not re.search(pattern, text):
            left = deadline - time.monotonic()
            if left < 0:
                raise AssertionError(f'no "{pattern}" in {text!r}')
            if select.select([self._master], [], [], left)[0]:
                text += os.read(self._master, 65536).decode()
        self.output += text
        return text

    def wait(self):
        """Read the rest; returns the exit status."""
        try:
            while data := os.read(self._master, 65536).decode():
                self.output += data
        except OSError:
            # That is how the end of a terminal reads
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = None
        return status


def _lines(text):
    """Of the last picture in @text."""
    return [line.replace('\033[K', '').replace('\033[J', '')
            for line in text.split(HOME)[-1].split('\r\n')]


class Screen(ProgramTest):
    def setUp(self):
        super().setUp()
        self.qemu = self.serve(busy_vm())

    def terminal(self, *options, **more):
        """The program, on a terminal of its own."""
        terminal = Terminal(*SHORT, *options, self.socket, **more)
        self.addCleanup(terminal.close)
        return terminal

    def test_in_place(self):
        """it is refreshed in place, in colour; q ends it as it was"""
        terminal = self.terminal()
        terminal.read('disk0: ')
        self.assertFalse(terminal.has_line_mode())
        terminal.type('q')
        self.assertEqual(terminal.wait(), 0)
        self.assertTrue(terminal.output.startswith(HIDE + HOME))
        self.assertGreater(terminal.output.count(HOME), 2)
        self.assertRegex(terminal.output, COLOUR)
        self.assertTrue(terminal.output.endswith('\r\n' + SHOW))
        self.assertTrue(terminal.has_line_mode())

    def test_remapped(self):
        """the end of a remap is shown at once, not at the next interval"""
        terminal = Terminal('--interval', '60', self.socket)
        self.addCleanup(terminal.close)
        terminal.read('first figures in 60 s')
        self.wait_for_sample(self.qemu)
        self.qemu.send({'event': 'RESUME', 'timestamp': {}})
        time.sleep(0.5)
        asked = len(self.qemu.commands)
        self.qemu.send(remapped('disk0', (1, 'iothread1', 'iothread0', 9)))
        terminal.read('imbalance 2.00 over 4 virtqueues')
        # One sample, however many disks were remapped
        self.assertEqual(self.qemu.commands[asked:],
                         ['query-iothreads', 'query-virtio-blk-queues'])

    def test_remapped_often(self):
        """events in a row are no reason to hurry"""
        terminal = Terminal('--interval', '60', self.socket)
        self.addCleanup(terminal.close)
        terminal.read('first figures in 60 s')
        self.wait_for_sample(self.qemu)
        start, asked = time.monotonic(), len(self.qemu.commands)
        while time.monotonic() < start + 1:
            self.qemu.send(remapped('disk0', (1, 'a', 'b', 9)))
            time.sleep(0.005)
        self.assertLess(len(self.qemu.commands) - asked, 30)

    def test_no_color(self):
        """NO_COLOR: in place, without colour"""
        terminal = self.terminal('--count', '2', NO_COLOR='1')
        self.assertEqual(terminal.wait(), 0)
        self.assertGreater(terminal.output.count(HOME), 2)
        self.assertNotRegex(terminal.output, COLOUR)

    def test_once(self):
        """--once leaves the cursor alone"""
        terminal = self.terminal('--once')
        self.assertEqual(terminal.wait(), 0)
        self.assertRegex(terminal.output, COLOUR)
        self.assertNotIn('\033[?', terminal.output)
        self.assertNotIn(HOME, terminal.output)

    def test_json(self):
        """so does --json, which has no colour either"""
        terminal = self.terminal('--json', '--count', '2')
        self.assertEqual(terminal.wait(), 0)
        self.assertNotIn('\033', terminal.output)

    def test_dumb(self):
        """TERM=dumb: a block after another"""
        terminal = self.terminal('--count', '2', TERM='dumb')
        self.assertEqual(terminal.wait(), 0)
        self.assertNotIn('\033', terminal.output)
        self.assertEqual(terminal.output.count('QEMU 9.0.0'), 2)

    def test_signals(self):
        """Ctrl-C, SIGTERM and SIGHUP leave the terminal as it was"""
        for number, status in ((signal.SIGINT, 0), (signal.SIGTERM, 143),
                               (signal.SIGHUP, 129)):
            terminal = self.terminal()
            terminal.read('disk0: ')
            if number == signal.SIGINT:
                terminal.type('\x03')
            else:
                os.kill(terminal.pid, number)
            self.assertEqual(terminal.wait(), status)
            self.assertTrue(terminal.output.endswith(SHOW))
            self.assertTrue(terminal.has_line_mode())

    def test_suspend(self):
        """Ctrl-Z leaves it as it was, until it goes on"""
        terminal = self.terminal()
        terminal.read('disk0: ')
        terminal.type('\x1a')
        _pid, status = os.waitpid(terminal.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        self.assertTrue(terminal.has_line_mode())
        terminal.read(re.escape(SHOW))
        os.kill(terminal.pid, signal.SIGCONT)
        self.assertIn('disk0', terminal.read(re.escape(HIDE) + '[^$]*disk0'))
        self.assertFalse(terminal.has_line_mode())
        terminal.type('q')
        self.assertEqual(terminal.wait(), 0)

    def test_qemu_ends(self):
        """QEMU ends: the terminal is as it was, then comes the line"""
        self.qemu.close()
        self.serve(busy_vm(), last=14)
        terminal = self.terminal()
        self.assertEqual(terminal.wait(), 1)
        self.assertTrue(terminal.output.endswith(
            SHOW + 'vq-top: QEMU has ended\r\n'))
        self.assertTrue(terminal.has_line_mode())

    def test_size(self):
        """it fits, and says what does not; a new size is used at once"""
        terminal = self.terminal('--interval', '15', rows=10, columns=60,
                                 NO_COLOR='1')
        small = _lines(terminal.read('sort: [^?]*sort: '))
        self.assertEqual(len(small), 10)
        self.assertRegex(small[-2], '^[0-9]+ more lines do not fit')
        self.assertLess(max(map(len, small)), 60)
        terminal.resize(30, 110)
        large = _lines(terminal.read('sort: ', 14))
        self.assertGreater(len(large), 10)
        self.assertGreater(max(map(len, large)), 80)
        terminal.type('q')
        self.assertEqual(terminal.wait(), 0)

    def test_keys(self):
        """keys change the order of the rows at once"""
        terminal = self.terminal(NO_COLOR='1')
        self.assertRegex(terminal.read('disk0: [^?]*sort: index'),
                         r'INTR/s FAILED\033\[K\r\n    0 ')
        terminal.type('o')
        self.assertRegex(terminal.read('sort: iops'),
                         r'INTR/s FAILED\033\[K\r\n    3 ')
        terminal.type('xyt')
        terminal.read('sort: iothread')
        terminal.type('q')
        self.assertEqual(terminal.wait(), 0)
