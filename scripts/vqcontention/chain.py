# SPDX-License-Identifier: GPL-2.0-or-later
"""The call chain of a vCPU thread that goes to sleep for the lock."""

import os
import re
import subprocess

# Bytes of the user's stack in a sample
STACK_BYTES = 8192

# What of it to look at, and for how long a thread may take to show it
SECONDS = 1
READ_SECONDS = 180

_FRAME = re.compile(r'^\s+[0-9a-f]+ (.*) \((.*)\)$')

# In the kernel, that it waits for a futex, whatever the rest is called; in
# QEMU, that it is a mutex and no condition
_KERNEL = 'futex_wait'
_USER = re.compile(r'mutex_lock|bql_lock')


def find(lines):
    """The first such stack in perf script's output: (function, where)..."""
    frames = []
    for line in [*lines, '']:
        match = _FRAME.match(line)
        if match:
            where = os.path.basename(match[2]).strip('[]')
            frames.append((match[1], 'kernel' if where.startswith('kernel')
                           else where))
        elif not line.strip():
            names = [name for name, _where in frames]
            if any(_KERNEL in name for name in names) and \
                    any(_USER.search(name) for name in names):
                return frames
            frames = []
    return None


def record(tid, work_dir):
    """One of thread @tid, or None if there was none or it is not allowed."""
    path = os.path.join(work_dir, 'chain.data')
    command = ['perf', 'record', '-q', '-e', 'sched:sched_switch',
               '--call-graph', f'dwarf,{STACK_BYTES}', '-t', str(tid),
               '-o', path, '--', 'sleep', str(SECONDS)]
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        text = subprocess.run(
            ['perf', 'script', '-i', path, '--no-inline',
             '-F', 'trace:tid,time,event,ip,sym,dso'], check=True, text=True,
            errors='replace', timeout=READ_SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    finally:
        if os.path.exists(path):
            os.unlink(path)
    return find(text.splitlines())
