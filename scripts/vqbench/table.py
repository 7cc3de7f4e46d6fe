# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as text for a terminal, and as Markdown."""

from . import stats

NATIVE = ('Native speed: a process that shares guest RAM with QEMU drives the '
          'virtqueues;\nthere is no vCPU.')


def names(report):
    """Of A and B."""
    return report['binaries']['a']['name'], report['binaries']['b']['name']


def title(report):
    """One line for table and picture."""
    name_a, name_b = names(report)
    what = (f'IOPS of N IOThreads against one, {name_a} and {name_b}'
            if report['kind'] == 'scaling' else
            f'{name_b} against {name_a}')
    return (f"{what}, base {report['base']}, {report['pairs']} "
            f"{'rounds' if report['kind'] == 'scaling' else 'pairs'} "
            f"of {report['turns']} turns of {report['seconds']:g} s"
            f"{', --quick' if report['quick'] else ''}"
            f"{', null test' if report['null'] else ''}")


def conditions(report):
    """On what, of what, when."""
    machine, commit = report['machine'], report['git']
    lines = [f"{machine['cpu']}{', virtual machine' * machine['virtual']}: "
             f"{machine['cpus']} CPUs on {machine['cores']} cores, Linux "
             f"{machine['kernel']}, load {machine['load-average']:g}"]
    if report['kind'] == 'rows' and machine['cpus'] > 1:
        lines.append('the generator has one of the CPUs for itself, QEMU the '
                     'rest')
    if report.get('direct-dir'):
        lines.append('tmpfs of this kernel has no O_DIRECT: the image of '
                     f"aio=native was in {report['direct-dir']}")
    for side in 'ab':
        binary = report['binaries'][side]
        lines.append(f"{binary['name']}: {binary['version']}, sha256 "
                     f"{binary['sha256'][:16]}")
    lines.append((f"commit {commit['commit'][:12]}"
                  f"{' and uncommitted changes' * commit['dirty']}, "
                  if commit else '') + report['date'])
    return lines


def amount(number):
    """A count with three or four digits that matter."""
    if number is None:
        return '-'
    for factor, unit in ((1e6, 'M'), (1e3, 'k')):
        if number >= factor:
            places = 1 if number >= 100 * factor else 2
            return f'{number / factor:.{places}f}{unit}'
    return f'{number:.0f}'


def nanoseconds(number):
    """Whole ones; the digits before the point say enough."""
    return '-' if number is None else f'{number:,.0f}'


def _ratio(number):
    return f'{number:.3f}'


def interval_text(summary):
    """The confidence interval in brackets."""
    if not summary or not summary['interval']:
        return 'too few'
    return '[{:.3f}, {:.3f}]'.format(*summary['interval'])


def limit_line(report):
    """How fast the generator can be, and what that leaves for A."""
    limit = report.get('limit')
    if not limit:
        return None
    summary = stats.summarize(stats.values(limit['rounds'], 'iops',
                                           'limit'))
    if not summary:
        return 'limit: the generator alone failed in every run'
    medians = []
    for row in report['rows']:
        found = stats.summarize(stats.values(row['rounds'], 'iops', 'a'))
        if found:
            medians.append((found['median'], f"{row['group']}: {row['name']}"))
    line = (f"limit: {amount(summary['median'])} IOPS by the generator with a "
            f"thread in QEMU's place (N {summary['n']}, quartiles "
            f"{amount(summary['quartiles'][0])} and "
            f"{amount(summary['quartiles'][1])})")
    if medians:
        best, name = max(medians)
        line += (f';\n{names(report)[0]} stays below it by a factor of '
                 f"{summary['median'] / best:.1f} at its fastest ({name})")
    return line


def compared(report):
    """Yields group, label, and the comparison of each line with its rounds."""
    for row in report['rows']:
        for compare in row['compare']:
            label = f"{row['name']} {compare['label']}".rstrip()
            yield row['group'], label, compare, row['rounds']


def summary_of(compare, rounds, metric='iops'):
    """Of the ratios of one line."""
    return stats.summarize(stats.ratios(rounds, metric, compare['over'],
                                        compare['under']))


def _medians(compare, rounds, metric):
    """Absolutes of a line: (under, over), if it compares just two runs."""
    if len(compare['over']) > 1:
        return None, None
    found = []
    for key in compare['under'] + compare['over']:
        summary = stats.summarize(stats.values(rounds, metric, key))
        found.append(summary['median'] if summary else None)
    return found


def _failed(compare, rounds):
    keys = compare['over'] + compare['under']
    return sum(stats.failures(rounds, keys).values())


def _full(compare, rounds, metric, words):
    """Cells of a ratio with everything known of it; absolutes in @words."""
    summary = summary_of(compare, rounds, metric)
    if not summary:
        return ['0'] + ['-'] * 6
    absolutes = [words(m) for m in _medians(compare, rounds, metric)]
    return [str(summary['n']), _ratio(summary['median']),
            interval_text(summary),
            '{:.3f}-{:.3f}'.format(*summary['quartiles']),
            '{:.3f}-{:.3f}'.format(*summary['range']), *absolutes]


def _short(compare, rounds, metric):
    """Cells of a ratio with its interval."""
    summary = summary_of(compare, rounds, metric)
    if not summary:
        return ['-'] * 4
    return [_ratio(summary['median']), interval_text(summary),
            *(f'{m / 1000:.1f}' if m else '-'
              for m in _medians(compare, rounds, metric))]


def sections(report):
    """The tables: heading, columns, and (group, cells) of each line."""
    if report['kind'] == 'scaling':
        ratio, columns = 'N / 1', ['1', 'N']
    else:
        columns = list(names(report))
        ratio = f'{columns[1]}/{columns[0]}'
    full = ['N', ratio, '95 % of median', 'quartiles', 'min-max', *columns]
    iops, cpu, latency = [], [], []
    for group, label, compare, rounds in compared(report):
        summary = summary_of(compare, rounds)
        failed = _failed(compare, rounds)
        iops.append((group, [label,
                             *_full(compare, rounds, 'iops', amount),
                             stats.verdict(summary),
                             f'{failed} FAILED' if failed else '0']))
        cpu.append((group, [label, *_full(compare, rounds, 'cpu',
                                         nanoseconds)]))
        latency.append((group, [label, *_short(compare, rounds, 'p50'),
                                *_short(compare, rounds, 'p99')]))
    found = [('IOPS', ['', *full, 'verdict', 'failed'], iops),
             ('CPU time of the serving threads per request, ns',
              ['', *full], cpu)]
    if report['kind'] != 'scaling':
        short = ['95 %', *columns]
        found.append(('Latency of a request, us',
                      ['', 'p50', *short, 'p99', *short], latency))
    return found


def notes(report):
    """What the columns mean, what failed, and how much noise there was."""
    ratio = ('N IOThreads divided by one, each round'
             if report['kind'] == 'scaling' else
             f'{names(report)[1]} divided by {names(report)[0]}, each pair')
    lines = [f'Ratios are of {ratio}, the median of its turns; absolutes are '
             'medians.',
             'The serving threads are the IOThreads, or the main loop; a '
             'worker thread of aio=threads is none.',
             'Verdict: "=" if the interval holds 1 or the ratio is within '
             f'{stats.WORTH_SAYING * 100:.0f} % of 1; "?" with fewer than 6 '
             'results.']
    summaries = [summary_of(compare, rounds) for _group, _label, compare,
                 rounds in compared(report)]
    noise = stats.noise(summaries)
    if noise and report['kind'] != 'scaling':
        verdicts = [stats.verdict(s) for s in summaries]
        count = ', '.join(f'{verdicts.count(v)} "{v}"' for v in '=+-?'
                          if v in verdicts)
        lines += [f"{len(summaries)} rows: {count}. Of {noise['intervals']} "
                  f"intervals, {noise['excluding']} exclude 1; by chance it "
                  'would be '
                  f"{noise['intervals'] * (1 - stats.CONFIDENCE):.1f} at "
                  'most.']
    if noise:
        lines += [f"Noise: the quartiles of a row are {noise['spread']:.1%} "
                  'apart (median over the rows).']
    if noise and report['null']:
        lines += ['Null test, A and B are the same program: the largest '
                  f"distance of a ratio from 1 is {noise['largest']:.1%}."]
    return lines + _failures(report)


def _failures(report):
    """A line for each thing that was said, and how often."""
    rows = report['rows'] + [r for r in [report.get('limit')] if r]
    said = {}
    for row in rows:
        for line, count in stats.failures(row['rounds'],
                                          row['commands']).items():
            said.setdefault(line, []).append((count, row))
    lines = []
    for line, found in said.items():
        first = found[0][1]
        lines.append(f'FAILED: {sum(count for count, _row in found)} runs in '
                     f'{len(found)} of {len(rows)} rows, first '
                     f"{first['group']}: {first['name']}: {line}")
    return lines


def _columns(rows):
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]


def text(report):
    """For a terminal."""
    lines = [title(report), NATIVE, *conditions(report), '']
    if limit_line(report):
        lines += [limit_line(report), '']
    for heading, columns, rows in sections(report):
        widths = _columns([columns] + [cells for _group, cells in rows])
        lines.append(heading)
        lines.append('  ' + _aligned(columns, widths))
        last = None
        for group, cells in rows:
            if group != last:
                lines.append(group)
                last = group
            lines.append('  ' + _aligned(cells, widths))
        lines.append('')
    return '\n'.join(lines + notes(report)) + '\n'


def _aligned(cells, widths):
    return '  '.join([cells[0].ljust(widths[0])] +
                     [cell.rjust(width) for cell, width in
                      zip(cells[1:], widths[1:])]).rstrip()


def markdown(report, picture):
    """For docs/, with @picture beside it."""
    lines = [f'# {title(report)}', '', NATIVE, '',
             *(f'- {line}' for line in conditions(report)), '']
    if limit_line(report):
        lines += [limit_line(report), '']
    lines += [f'![Ratio and interval of each row]({picture})', '']
    for heading, columns, rows in sections(report):
        lines += [f'## {heading}', '',
                  '| backend | ' + ' | '.join(columns) + ' |',
                  '|---|---|' + '--:|' * (len(columns) - 1)]
        lines += ['| ' + ' | '.join([group, *cells]) + ' |'
                  for group, cells in rows]
        lines.append('')
    lines += [f'- {line}' for line in notes(report)]
    return '\n'.join(lines) + '\n'
