# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as text for a terminal, and as Markdown."""

from vqbench.table import amount

from . import report as figures

TCG = ('TCG: the guest is slow, so these figures show that the lock is '
       'contended and by whom, not how fast anything is')

LOADS = {
    'guest': 'The guest alone: 4K reads on vCPU {reader}, programs that '
             'compute on all',
    'native': 'The same, and 4K reads of the same disk at native speed '
              '(fio on the host, NBD export)',
    'seen': ''}


def percent(value):
    """A share."""
    return f'{value * 100:.1f}'


def micro(value):
    """us, with digits that matter."""
    return f'{value:.0f}' if value >= 10 else f'{value:.1f}'


def milli(value):
    """ms."""
    return f'{value:.2f}'


def ratio(value):
    """No unit."""
    return f'{value:.2f}'


# Words, name of the figure, how to write it
MODE_ROWS = (
    ('asleep at the lock, % of samples', 'lock', percent),
    ('the same, % of the traced time', 'lock-traced', percent),
    ('waits for the lock, per second', 'waits', amount),
    ('p50 of a wait, us', 'wait-p50', micro),
    ('p99 of a wait, us', 'wait-p99', micro),
    ('running, %', 'run', percent),
    ('run-queue delay, %', 'delay', percent),
    ('slices, per second', 'stays', amount),
    ('slice, mean, ms', 'slice-mean', milli),
    ('slice, deviation / mean', 'slice-variation', ratio),
    ('slices that end at the lock, %', 'slice-at-lock', percent),
    ('turns of all vCPUs, per second', 'turns', amount),
    ('reads by the guest, per second', 'reads', amount),
    ('reads at native speed, per second', 'load-reads', amount))

THREAD_COLUMNS = (
    ('at lock %', 'lock', percent),
    ('waits /s', 'waits', amount),
    ('p50 us', 'wait-p50', micro),
    ('p99 us', 'wait-p99', micro),
    ('by main %', 'by-main-loop', percent),
    ('running %', 'run', percent),
    ('delay %', 'delay', percent),
    ('slices /s', 'stays', amount),
    ('mean ms', 'slice-mean', milli),
    ('deviation ms', 'slice-deviation', milli),
    ('p99 ms', 'slice-p99', milli),
    ('end at lock %', 'slice-at-lock', percent))

NOTES = (
    'at lock: asleep in futex wait at the big lock, share of samples. wait: '
    'from the call of futex',
    'to having the lock; by main: the main loop gave it back and woke the '
    'waiter. slice: a stay',
    'on a CPU; end at lock: the thread went to sleep for it. delay: it could '
    'have run and had no',
    'CPU. turn: of a program that computes, with one device read.')


def title(report):
    """One line for table and picture."""
    return (f"{report['qemu']['version']}, {report['accel']}, "
            f"{report['vcpus']} vCPUs"
            if 'vcpus' in report else 'A QEMU that runs')


def conditions(report):
    """On what, how, when."""
    machine, commit = report['machine'], report.get('git')
    lines = [f"{machine['cpu']}{', virtual machine' * machine['virtual']}: "
             f"{machine['cpus']} CPUs on {machine['cores']} cores, Linux "
             f"{machine['kernel']}, load {machine['load-average']:g}"]
    if 'vcpus' in report:
        lines += [
            report['placement'],
            f"disk: {report['disk']}; a device read (ACPI timer) every "
            f"{report['loops']} turns of an empty loop on each vCPU",
            f"{report['rounds']} round{'s' * (report['rounds'] > 1)} of "
            f"{report['seconds']:g} s; the modes take turns",
            *(f"{binary['path']}, sha256 {binary['sha256'][:16]}"
              for binary in (report['qemu'], report.get('stock')) if binary)]
        if report['accel'] == 'tcg':
            lines.append(TCG)
    lines.append((f"commit {commit['commit'][:12]}"
                  f"{' and uncommitted changes' * commit['dirty']}, "
                  if commit else '') + report['date'])
    return lines + report['notes']


def _cell(summary, words, spread=False):
    if not summary:
        return '-'
    median, low, high = (words(value) for value in summary)
    return (f'{median} [{low}, {high}]' if spread and low != high
            else median)


def _mode_table(report, load, heading):
    """A column per mode."""
    found = [figures.of_looks(figures.looks_of(report, mode['name'], load))
             for mode in report['modes']]
    rows = [[label] + [_cell(summaries[name], words, True)
                       for summaries in found]
            for label, name, words in MODE_ROWS
            if any(summaries[name] for summaries in found)]
    rounds = report['rounds']
    return (f'{heading}; mean of the vCPUs' +
            (f', median [least, most] of {rounds} rounds' * (rounds > 1)),
            ['', *(mode['title'] for mode in report['modes'])], rows)


def _thread_table(report, load, mode):
    """A row per thread."""
    looks = figures.looks_of(report, mode['name'], load)
    rows = [[thread] + [_cell(found[name], words)
                        for _column, name, words in THREAD_COLUMNS]
            for thread, found in figures.of_threads(looks).items()]
    waits = figures.waits_counted(looks)
    return (f"{mode['title']}, " + (f'{waits} waits of the vCPUs'
                                    if waits is not None else
                                    'waits not traced'),
            ['', *(column for column, _n, _w in THREAD_COLUMNS)], rows)


def sections(report):
    """Heading, columns and rows of each table."""
    for load in report['loads']:
        heading = LOADS[load].format(reader=report.get('reader'))
        if load != 'seen':
            yield _mode_table(report, load, heading)
        for mode in report['modes']:
            yield _thread_table(report, load, mode)


def _aligned(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ['  '.join([row[0].ljust(widths[0])] + [
        cell.rjust(width) for cell, width in
        zip(row[1:], widths[1:])]).rstrip() for row in rows]


def text(report):
    """For a terminal."""
    lines = [title(report), *conditions(report), '']
    for heading, columns, rows in sections(report):
        lines += [heading, *_aligned([columns] + rows), '']
    return '\n'.join([*lines, *NOTES, *chain(report)]) + '\n'


def chain(report):
    """The call chain, as the article has it."""
    found = report.get('chain')
    if not found:
        return []
    return ['', f"A vCPU thread that goes to sleep for the lock "
            f"({report['chain-mode']}), innermost first:",
            *(f'    {name} ({where})' for name, where in found)]


def markdown(report, picture):
    """For docs/, with @picture beside it."""
    lines = [f'# Contention: {title(report)}', '',
             *(f'- {line}' for line in conditions(report)), '']
    if picture:
        lines += [f'![Time lines of the vCPU threads]({picture})', '']
    for heading, columns, rows in sections(report):
        lines += [f'## {heading}', '', '| ' + ' | '.join(columns) + ' |',
                  '|---|' + '--:|' * (len(columns) - 1),
                  *('| ' + ' | '.join(row) + ' |' for row in rows), '']
    return '\n'.join([*lines, *NOTES, *chain(report)]) + '\n'
