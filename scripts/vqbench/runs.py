# SPDX-License-Identifier: GPL-2.0-or-later
"""
Runs of vq-load. A round starts one for each of the binaries that are compared
and then gives them turns of a few hundredths of a second: a virtual machine's
CPUs change their speed by tens of percent every other second, when a
neighbour comes or goes, and this way that hits all of them alike.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading

from .machine import short

# Turns that do not count: the first waits until QEMU is up, and finds its
# caches cold
WARMUP_TURNS = 2

# Longest time that vq-load may take beyond what it measures, to start and end
SLACK_SECONDS = 120


def has_direct_io(folder):
    """Can files in @folder be opened with O_DIRECT, as Linux AIO wants?"""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        try:
            os.close(os.open(file.name, os.O_RDWR | os.O_DIRECT))
        except OSError:
            return False
    return True


def condense(report):
    """Of vq-load's JSON, what the statistics and a doubter need."""
    total = report['total']
    if total['failed']:
        raise ValueError(f"{total['failed']} requests failed")
    iothreads = [thread['cpu-ns'] for thread in report['threads']
                 if thread['name'].startswith('iothread')]
    serving = iothreads or [thread['cpu-ns'] for thread in report['threads']]
    # None can be completed in a short turn, when a CPU that had nothing to do
    # does not get time from its host
    some = total['requests'] > 0
    cpu = round(sum(serving) / total['requests'], 1) if some else None
    return {'iops': round(total['iops']),
            'cpu': cpu,
            'p50': total['latency-ns']['p50'] if some else None,
            'p99': total['latency-ns']['p99'] if some else None,
            'requests': total['requests'], 'kicks': total['kicks'],
            'interrupts': total['interrupts']}


class Failure(Exception):
    """A run has no result; in one line, why."""


class Load:
    """
    A vq-load that waits for its turn. Whatever ends this program, no process
    of it is left: it has a process group of its own, and QEMU is in it.
    """

    def __init__(self, command, seconds):
        self._seconds = seconds
        self._in_turn = False
        self._errors = tempfile.TemporaryFile()
        # Ends with this process, whatever ends it
        self._process = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'KILL', *command, '--repeat',
             '--json', '-'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, start_new_session=True, text=True)

    def turn(self):
        """Put its load on for a while. Returns the condensed result."""
        late = threading.Event()

        def give_up():
            late.set()
            self._kill()

        timer = threading.Timer(self._seconds + SLACK_SECONDS, give_up)
        timer.start()
        self._in_turn = True
        try:
            self._process.stdin.write('\n')
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ''
        finally:
            timer.cancel()
        if late.is_set():
            raise Failure('no result within '
                          f'{self._seconds + SLACK_SECONDS:g} s: '
                          f'{self._reason() or "not a word"}')
        if not line:
            status = self._process.wait()
            raise Failure(self._reason() or f'exit status {status}')
        self._in_turn = False
        try:
            return condense(json.loads(line))
        except ValueError as err:
            raise Failure(str(err)) from err
        except KeyError as err:
            raise Failure(f'its JSON has no {err}') from err

    def close(self):
        """Let it end; kill it if it does not, or in the middle of a turn."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=0 if self._in_turn else SLACK_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._kill()
            self._process.stdout.close()
            self._errors.close()

    def _kill(self):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
            except ProcessLookupError:
                pass
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                pass

    def _reason(self):
        """Of what was said on stderr, the line of the one who knows best."""
        self._errors.seek(0)
        text = self._errors.read().decode(errors='replace')
        lines = [line.strip() for line in text.split('\n')
                 if line.strip() and ': warning: ' not in line]
        for program in ('qemu-system-', 'vq-load: ', ''):
            for line in reversed(lines):
                if line.startswith(program):
                    return line
        return ''


class Runner:
    """Starts vq-load with options that all of its runs have in common."""

    def __init__(self, load, image_dir, direct_dir, seconds, warmup):
        self._load = load
        self._image_dir = image_dir
        self._direct_dir = direct_dir
        self._seconds = seconds
        self._times = ['--seconds', f'{seconds:g}', '--warmup', f'{warmup:g}']

    def command(self, qemu, options):
        """vq-load with @options, on @qemu unless that is None."""
        return [self._load, *(['--qemu', qemu] if qemu else []), *options,
                *self._times]

    def words(self, qemu, options):
        """The same for people, who may repeat it in the top folder."""
        return shlex.join(short(word) for word in self.command(qemu, options))

    def start(self, qemu, options):
        """Returns a Load, which is not up yet."""
        folder = self._direct_dir if 'native' in options else self._image_dir
        return Load(self.command(qemu, options) + ['--dir', folder],
                    self._seconds)

    def run(self, qemu, options):
        """A single turn."""
        load = self.start(qemu, options)
        try:
            return load.turn()
        finally:
            load.close()


def _take_turns(loads, order, turns, results):
    """Turns of the @loads that work, into @results."""
    for number in range(-WARMUP_TURNS, turns):
        for key in order[::-1] if number % 2 else order:
            if 'error' in results[key]:
                continue
            try:
                result = loads[key].turn()
            except Failure as err:
                results[key] = {'error': str(err)}
                continue
            if number >= 0:
                for name, value in result.items():
                    results[key].setdefault(name, []).append(value)


def run_round(runner, row, paths, turns, backwards):
    """
    @turns turns of each key of @row, in turn. Returns the order of the first,
    and a list with one value per turn for each of what condense() returns.
    """
    order = list(row.runs)
    if backwards:
        order.reverse()
    results = {key: {} for key in order}
    with contextlib.ExitStack() as stack:
        loads = {}
        for key in order:
            binary, options = row.runs[key]
            loads[key] = runner.start(paths.get(binary), options)
            stack.callback(loads[key].close)
        _take_turns(loads, order, turns, results)
    return {'order': order, **{key: results[key] for key in row.runs}}
