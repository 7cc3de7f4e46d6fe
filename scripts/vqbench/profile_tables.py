# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/profile found, as Markdown, the binaries side by side."""

TOP = 25

# Less than this per request is left out
LEAST = 0.005


def _cell(value, digits):
    return f'{value:.{digits}f}' if value else ''


def _table(heads, rows):
    yield '| ' + ' | '.join(heads) + ' |'
    numbers = len(heads) - 1
    yield '|---|' + '--:|' * numbers
    for row in rows:
        yield '| ' + ' | '.join(row) + ' |'
    yield ''


def _escape(text):
    return text.replace('|', '\\|')


def _side_by_side(columns, names, digits, count=None):
    """Rows of {key: value} per binary, the largest first."""
    keys = sorted(set().union(*columns.values()),
                  key=lambda key: (-max(columns[name].get(key, 0)
                                        for name in names), key))
    for key in keys[:count]:
        values = [columns[name].get(key, 0) for name in names]
        if max(values) >= LEAST:
            yield [f'`{_escape(key)}`' if key else '',
                   *(_cell(value, digits) for value in values)]


def _time(result, names):
    part = result['time']
    yield '## Time per request, by function'
    yield ''
    yield (f"perf record -e {part['event']} on the IOThread, "
           f"{part['shape']}: the share of the samples that end in a "
           'function, times the CPU time of a request without perf, which is '
           f"the median of {len(part[names[0]]['ns-per-request-runs'])} runs. "
           '`[k]`: in the kernel.')
    yield ''
    columns = {name: part[name]['ns'] for name in names}
    rows = [['**all**', *(_cell(part[name]['ns-per-request'], 0)
                          for name in names)],
            ['lowest and highest run',
             *(' to '.join(_cell(end(part[name]['ns-per-request-runs']), 0)
                           for end in (min, max)) for name in names)],
            ['in QEMU and libraries',
             *(_cell(sum(ns for function, ns in columns[name].items()
                         if not function.endswith(' [k]')), 0)
               for name in names)]]
    rows += _side_by_side(columns, names, 1, TOP)
    yield from _table(['ns per request', *names], rows)


def markdown(result):
    """The lines of the .md file."""
    names = [binary['name'] for binary in result['binaries']]
    machine = result['machine']
    yield f"# Where an IOThread's time goes, base {result['base']}"
    yield ''
    for binary in result['binaries']:
        yield f"- {binary['name']}: {binary['version']}"
    yield (f"- {machine['cpu']}, {machine['cpus']} CPUs"
           f"{', virtual' if machine['virtual'] else ''}, Linux "
           f"{machine['kernel']}")
    commit = result['commit']
    if commit:
        yield (f"- commit {commit['commit'][:12]}"
               f"{', changed' if commit['dirty'] else ''}")
    yield ''
    yield from _time(result, names)
