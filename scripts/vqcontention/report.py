# SPDX-License-Identifier: GPL-2.0-or-later
"""From the looks of all rounds to the figures of the tables."""

import statistics

from .observe import MAIN_LOOP


def vcpus(look):
    """Rows of a look that are vCPUs."""
    return [row for row in look['threads'] if row['name'] != MAIN_LOOP]


def _mean(look, value):
    found = [value(row) for row in vcpus(look)]
    return (sum(found) / len(found)
            if found and None not in found else None)


def _pooled(look, part, name):
    return ((look.get('vcpus') or {}).get(part) or {}).get(name)


def _ends_at_lock(look):
    ends = _pooled(look, 'slices', 'ends')
    return ends and ends['lock']


# Of a look as a whole: name to how to get it; of all vCPUs, their mean
OF_LOOK = {
    'lock': lambda look: _mean(look, lambda row: row['sampled']['lock']),
    'lock-traced': lambda look: _mean(look, lambda row: traced(
        row, 'share', 'lock')),
    'waits': lambda look: _mean(look, lambda row: traced(
        row, 'waits', 'per-second')),
    'wait-p50': lambda look: _pooled(look, 'waits', 'p50-us'),
    'wait-p99': lambda look: _pooled(look, 'waits', 'p99-us'),
    'run': lambda look: _mean(look, lambda row: row['run']),
    'delay': lambda look: _mean(look, lambda row: row['delay']),
    'stays': lambda look: _mean(look, lambda row: row['stays-per-second']),
    'slice-mean': lambda look: _pooled(look, 'slices', 'mean-ms'),
    'slice-variation': lambda look: _pooled(look, 'slices', 'variation'),
    'slice-at-lock': _ends_at_lock,
    'reads': lambda look: look.get('reads-per-second'),
    'load-reads': lambda look: look.get('load-reads-per-second'),
    'turns': lambda look: (sum(look['turns-per-second'])
                           if 'turns-per-second' in look else None)}

# Of one thread in it
OF_THREAD = {
    'lock': lambda row: row['sampled']['lock'],
    'waits': lambda row: traced(row, 'waits', 'per-second'),
    'wait-p50': lambda row: traced(row, 'waits', 'p50-us'),
    'wait-p99': lambda row: traced(row, 'waits', 'p99-us'),
    'by-main-loop': lambda row: traced(row, 'waits', 'by-main-loop'),
    'run': lambda row: row['run'],
    'delay': lambda row: row['delay'],
    'stays': lambda row: row['stays-per-second'],
    'slice-mean': lambda row: traced(row, 'slices', 'mean-ms'),
    'slice-deviation': lambda row: traced(row, 'slices', 'deviation-ms'),
    'slice-p50': lambda row: traced(row, 'slices', 'p50-ms'),
    'slice-p99': lambda row: traced(row, 'slices', 'p99-ms'),
    'slice-at-lock': lambda row: (traced(row, 'slices', 'ends') or {}).get(
        'lock')}


def traced(row, part, name):
    """A figure that comes from the trace, or None."""
    return ((row.get('traced') or {}).get(part) or {}).get(name)


def summary(values):
    """(median, least, most) of those that are known, or None."""
    known = [value for value in values if value is not None]
    return known and (statistics.median(known), min(known), max(known)) or None


def of_looks(looks):
    """Name to summary over @looks, of the looks as a whole."""
    return {name: summary([get(look) for look in looks])
            for name, get in OF_LOOK.items()}


def of_threads(looks):
    """Name of a thread to name to summary over @looks."""
    names = [row['name'] for row in looks[0]['threads']]
    return {thread: {name: summary([get(look['threads'][i])
                                    for look in looks])
                     for name, get in OF_THREAD.items()}
            for i, thread in enumerate(names)}


def looks_of(report, mode, load):
    """All rounds of one mode and load."""
    return [entry['look'] for entry in report['looks']
            if entry['mode'] == mode and entry['load'] == load]


def waits_counted(looks):
    """How many waits of vCPUs the percentiles are of, or None."""
    found = [_pooled(look, 'waits', 'n') for look in looks]
    return sum(found) if found and None not in found else None
