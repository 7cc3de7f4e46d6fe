# SPDX-License-Identifier: GPL-2.0-or-later
"""
Run one test and say how it went. GLib tests end at the first failure, so each
test is a process of its own.
"""

from dataclasses import dataclass
import os
import re
import shutil
import signal
import subprocess
import tempfile

# Longer than any test's own limit
TIMEOUT_SECONDS = 200

PASSED = 'passes'
SKIPPED = 'skipped'

# What a test's output says of how it failed; what it says first counts
SYMPTOMS = [
    ('hangs', r'QEMU hangs|trapped subprocess .* timed out|'
              r'child process .* timed out|no answer on virtqueue|'
              r'g_test_trap_reached_timeout|QEMU death from signal 9'),
    ('aborts', r'Assertion .* failed|ERROR:\S*\b(qom|hw|block|util|system)/|'
               r'detected QEMU death from signal|killed by signal'),
    ('is wrong', r'assertion failed|should be|FATAL'),
]


@dataclass
class Outcome:
    """Of one test in one build"""
    result: str      # PASSED, SKIPPED, or how it failed
    detail: str      # the line that says so, or ""

    @property
    def failed(self):
        """Did it fail?"""
        return self.result not in (PASSED, SKIPPED)


def _detail(output):
    match = re.search(r'^(.*QEMU hangs.*|.*: Assertion .* failed.*|ERROR:.*|'
                      r'Bail out!.*|.*detected QEMU.*)$', output, re.MULTILINE)
    if not match:
        return ''
    # Without the folder that QEMU was built in
    line = re.sub(r'\S*/src/', '', match.group(0).strip())
    return re.sub(r'^(Bail out! )?(ERROR:)?', '', line)[:300]


def _outcome(status, output):
    if status == 0 and re.search(r'^ok .*# SKIP', output, re.MULTILINE):
        return Outcome(SKIPPED, re.search(r'# SKIP ?(.*)', output).group(1))
    if status == 0 and re.search(r'^ok ', output, re.MULTILINE):
        return Outcome(PASSED, '')
    if status == 0:
        return Outcome('did not run', 'no such test')
    if status is None:
        return Outcome('hangs', f'not done in {TIMEOUT_SECONDS} s')
    found = [(match.start(), symptom) for symptom, pattern in SYMPTOMS
             if (match := re.search(pattern, output))]
    if found:
        return Outcome(min(found)[1], _detail(output))
    if status in (-signal.SIGSEGV, 128 + signal.SIGSEGV):
        return Outcome('crashes', 'SIGSEGV')
    return Outcome('is wrong', _detail(output) or f'status {status}')


def run_test(program, path, environment, log):
    """
    Run test "path" of "program" with "environment" added to this process's,
    append what it prints to file "log", and return its Outcome.
    """
    scratch = tempfile.mkdtemp(prefix='vq-faults.')
    env = dict(os.environ, TMPDIR=scratch, **environment)
    try:
        with subprocess.Popen([program, '--tap', '-p', path], env=env,
                              stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, errors='replace',
                              stderr=subprocess.STDOUT,
                              start_new_session=True) as process:
            try:
                output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
                status = process.returncode
            except subprocess.TimeoutExpired:
                status = None
            finally:
                # A QEMU that hangs may have outlived its test
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if status is None:
                output, _ = process.communicate()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

    with open(log, 'a', encoding='utf-8') as file:
        file.write(f'## {program} {path}: status {status}\n{output}\n')
    return _outcome(status, output)
