# SPDX-License-Identifier: GPL-2.0-or-later
"""perf's samples of threads: by function, and as a flame graph."""

import os
import re
import subprocess
from collections import Counter

from . import BenchError

# flamegraph.pl of libdevel-nytprof-perl, the only one that Debian has
FLAMEGRAPH = '/usr/share/perl5/Devel/NYTProf/flamegraph.pl'

# Samples a second: no multiple of what timers do
HERTZ = 997

# Bytes of stack in a sample: virtqueue_split_pop() alone has 24 KiB of arrays
STACK_BYTES = 32768
BUFFER = '32M'

# Narrower boxes than this, in pixels of 1200, are left out
FLAME_MIN_WIDTH = 0.5

_FRAME = re.compile(r'^\s+([0-9a-f]+) (.*) \((.*)\)$')

# What the compiler appends to a function of which it makes a part
_PART = re.compile(r'(\.(constprop|part|isra|cold|lto_priv|localalias)'
                   r'(\.\d+)*)+$')


def event():
    """The hardware's cycles where they count, and else the kernel's clock."""
    try:
        done = subprocess.run(['perf', 'stat', '-x,', '-e', 'cycles', 'true'],
                              text=True, check=False,
                              stderr=subprocess.PIPE)
    except FileNotFoundError as err:
        raise BenchError('perf is missing; run: scripts/install-deps') from err
    counted = done.stderr.strip().split(',')[0]
    return 'cycles' if counted.isdigit() and int(counted) else 'cpu-clock'


def record_command(event_name, path, seconds):
    """What vq-load --during runs."""
    return (f'exec perf record -q -N -e {event_name} -F {HERTZ} '
            f'-m {BUFFER} --call-graph dwarf,{STACK_BYTES} '
            f'-t "$VQ_IOTHREAD_IDS" -o {path} -- sleep {seconds:g}')


def _name(symbol, dso):
    base = os.path.basename(dso)
    if symbol == '[unknown]':
        return f'[{base.strip("[]")}]'
    symbol = _PART.sub('', symbol.split('@')[0])
    if base.startswith('[kernel') or base.endswith('.ko'):
        return symbol + ' [k]'
    return symbol


def read(path):
    """Counter of stacks: names from the outermost function to the leaf."""
    stacks = Counter()
    with subprocess.Popen(
            ['perf', 'script', '-i', path, '--no-inline',
             '-F', 'tid,period,ip,sym,dso'], text=True, errors='replace',
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        weight, names = 0, []
        for line in process.stdout:
            match = _FRAME.match(line)
            if match:
                names.append(_name(match[2], match[3]))
            elif not line.strip():
                # Below a coroutine is only what glibc has no name for
                while len(names) > 1 and names[-1].startswith('['):
                    names.pop()
                if names:
                    stacks[tuple(reversed(names))] += weight
                weight, names = 0, []
            else:
                weight = int(line.split()[-1].rstrip(':'))
    if process.returncode:
        raise BenchError(f'perf script cannot read {path}')
    return stacks


def shares(stacks):
    """Part of all time that each function takes itself."""
    total = sum(stacks.values())
    functions = Counter()
    for stack, weight in stacks.items():
        functions[stack[-1]] += weight / total
    return functions


def draw(stacks, event_name, title, path):
    """Write the flame graph @path, an SVG."""
    unit = 'ns' if event_name == 'cpu-clock' else event_name
    if not os.path.exists(FLAMEGRAPH):
        raise BenchError(f'{FLAMEGRAPH} is missing; run: scripts/install-deps')
    folded = ''.join(
        f"{';'.join(name.replace(';', ':') for name in stack)} {weight}\n"
        for stack, weight in sorted(stacks.items()))
    with open(path, 'wb') as file:
        subprocess.run(['perl', FLAMEGRAPH, '--title', title, '--hash',
                        '--countname', unit,
                        '--minwidth', str(FLAME_MIN_WIDTH)],
                       input=folded.encode(), check=True, stdout=file,
                       stderr=subprocess.DEVNULL)
