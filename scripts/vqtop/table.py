# SPDX-License-Identifier: GPL-2.0-or-later
"""
A block as text. A line is a list of (style, text); styles are names, which
the screen knows.
"""

import time

from vqbench.table import amount

from . import model

# More than this is worth a colour
IMBALANCE = 1.5
CPU_PERCENT = 90

SORTS = {'index': None, 'iops': 'iops', 'bytes': 'bytes-per-second',
         'in-flight': 'in-flight', 'cpu': 'cpu-percent', 'iothread': None}

OTHER_KINDS = [f'{kind}-iops' for kind in model.KINDS
               if kind not in ('read', 'write')]


def printable(text):
    """Without what a terminal would obey."""
    return ''.join(c if c.isprintable() else '?' for c in text)


def plain(line):
    """The text of a line."""
    return ''.join(text for _style, text in line)


def _sum(row, keys):
    found = [row[key] for key in keys if key in row]
    return sum(found) if found else None


def _mib(number):
    if number is None:
        return '-'
    number /= 1 << 20
    return f'{number:.1f}' if number < 100 else f'{number:.0f}'


def _percent(number):
    return '-' if number is None else f'{number:.1f}'


def _whole(number):
    return '-' if number is None else str(number)


def _thread_name(row):
    return printable(row.get('id', 'main loop'))


def _failed(row):
    if row.get('new-failed'):
        return 'bad', str(row['failed'])
    return ('warn' if row['failed'] else ''), str(row['failed'])


def _cpu(row):
    percent = row.get('cpu-percent')
    busy = percent is not None and percent >= CPU_PERCENT
    return ('bad' if busy else ''), _percent(percent)


def _cell(key, form):
    return lambda row: ('', form(row.get(key)))


# Title, least width, how soon it goes if there is no room (0: never), cell
CPU_COLUMNS = [('TID', 7, 9, _cell('thread-id', _whole)),
               ('%CPU', 5, 0, _cpu),
               ('CPU', 3, 0, _cell('host-cpu', _whole))]
KIND_COLUMNS = [('READ/s', 6, 0, _cell('read-iops', amount)),
                ('WRITE/s', 7, 0, _cell('write-iops', amount)),
                ('OTHER/s', 7, 0,
                 lambda row: ('', amount(_sum(row, OTHER_KINDS)))),
                ('MiB/s', 6, 0, _cell('bytes-per-second', _mib))]
QUEUE_COLUMNS = [('QUEUE', 5, 0, _cell('index', str)),
                 ('IOTHREAD', -8, 0, lambda row: row['owner']),
                 *CPU_COLUMNS, *KIND_COLUMNS,
                 ('FLIGHT', 6, 0, _cell('in-flight', _whole)),
                 ('MAX', 4, 4, _cell('max-in-flight', _whole)),
                 ('BATCH', 5, 5, _cell('batch', _percent)),
                 ('NOTIF/s', 7, 6, _cell('notifications-per-second', amount)),
                 ('POLLS/s', 7, 7, _cell('polls-per-second', amount)),
                 ('INTR/s', 6, 8, _cell('interrupts-per-second', amount)),
                 ('FAILED', 6, 0, _failed)]
THREAD_COLUMNS = [('IOTHREAD', -9, 0, lambda row: ('', _thread_name(row))),
                  ('TID', 7, 0, _cell('thread-id', _whole)),
                  *CPU_COLUMNS[1:]]
LOAD_COLUMNS = [('IOPS', 6, 0, _cell('iops', amount)),
                ('SHARE', 6, 0, lambda row: ('', _share(row))),
                ('SERVES', -6, 0, lambda row: ('', _serves(row)))]
DISK_COLUMNS = [('DISK', -9, 0,
                 lambda row: ('', printable(model.disk_name(row)))),
                *KIND_COLUMNS]


def _share(row):
    share = row.get('share-percent')
    return '-' if share is None else f'{share:.0f} %'


def ranges(indices):
    """Such as "0-3,8"."""
    parts = []
    for index in indices:
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ','.join(str(first) if first == last else f'{first}-{last}'
                    for first, last in parts)


def _serves(row):
    return '; '.join(f"{printable(item['disk'])}: {ranges(item['queues'])}"
                     for item in row.get('serves') or ()) or '-'


def _grid(columns, rows, width):
    """Lines of a table that is at most @width wide, if that can be."""
    if all(row.get(key, 0) == 0 for row in rows for key in OTHER_KINDS):
        columns = [c for c in columns if c[0] != 'OTHER/s']
    cells = [[column[3](row) for column in columns] for row in rows]
    widths = [max([abs(column[1]), len(column[0])] +
                  [len(line[i][1]) for line in cells])
              for i, column in enumerate(columns)]
    shown = list(range(len(columns)))
    while sum(widths[i] + 1 for i in shown) - 1 > width:
        place = max(shown, key=lambda i: columns[i][2])
        if not columns[place][2]:
            break
        shown.remove(place)

    def line(texts, style):
        spans = []
        for i in shown:
            own, text = texts[i]
            text = (text.ljust(widths[i]) if columns[i][1] < 0 else
                    text.rjust(widths[i]))
            spans += [(own or style, text), (style, ' ')]
        return spans[:-1]

    return [line([('', column[0]) for column in columns], 'head'),
            *(line(row, '') for row in cells)]


def _in_order(rows, sort):
    if sort == 'iothread':
        return sorted(rows, key=lambda row: model.natural(
            row.get('iothread', row.get('id', ''))))
    if SORTS[sort]:
        return sorted(rows, key=lambda row: -row.get(SORTS[sort], 0))
    return rows


def _load(item):
    """IOPS, throughput and, if it is known, what is in flight."""
    parts = [f"{amount(item.get('iops'))} IOPS",
             f"{_mib(item.get('bytes-per-second'))} MiB/s"]
    if 'in-flight' in item:
        parts.append(f"{item['in-flight']} in flight")
    return ', '.join(parts)


def _imbalance(value, what):
    text = '-' if value is None else f'{value:.2f}'
    return ('warn' if value and value > IMBALANCE else '',
            f'imbalance {text} {what} (busiest/mean)')


def count(number, what):
    """Such as "1 virtqueue"."""
    return f"{number} {what}{'s' * (number != 1)}"


def heading(block, about):
    """What is looked at, and the sums."""
    who = f"QEMU {about['version']}"
    if 'name' in about:
        who += f" \"{printable(about['name'])}\""
    if 'pid' in about:
        who += f", pid {about['pid']}"
    when = time.strftime('%H:%M:%S', time.localtime(block['time']))
    if block['per-queue']:
        serving = [item for item in block['threads'] if 'serves' in item]
        kind = ('thread' if any('main-loop' in item for item in serving) else
                'IOThread')
        skew = _imbalance(block.get('imbalance'),
                          'over ' + count(len(serving), kind))
    else:
        skew = _imbalance(block.get('cpu-imbalance'), 'of %CPU over ' +
                          count(len(block['threads']) - 1, 'IOThread'))
    return [[('bold', who), ('', f", {when}, {block['seconds']:.2f} s")],
            [('', _load(block) + '; '), skew]]


def _disk(disk, sort, width):
    used = [row for row in disk['queues'] if row['enabled']]
    idle = [row['index'] for row in disk['queues'] if not row['enabled']]
    title = [('bold', printable(model.disk_name(disk))),
             ('', f': {_load(disk)}; '),
             _imbalance(disk.get('imbalance'),
                        'over ' + count(len(used), 'virtqueue'))]
    lines = [[], title]
    if used and disk['main-loop-serves']:
        lines.append([('warn', 'its notifiers do not run: the main loop '
                       'serves it, not the (IOThreads)')])
    rows = []
    for row in used:
        name = printable(row.get('iothread', 'main loop'))
        away = disk['main-loop-serves'] and 'iothread' in row
        rows.append({**row, 'owner': _owner(row, name, away)})
    if rows:
        lines += _grid(QUEUE_COLUMNS, _in_order(rows, sort), width)
    if idle:
        lines.append([('dim', f"{count(len(idle), 'virtqueue')} not in use: "
                       + ranges(idle))])
    lines += [[('warn', f'virtqueue {text}')] for text in
              map(leaving, disk['queues']) if text]
    return lines


def _goal(row):
    return printable(row['remap'].get('iothread', 'main loop'))


def _owner(row, name, away):
    """Who serves it, and where a remap under way takes it."""
    if 'remap' in row:
        return 'warn', f'{name}>{_goal(row)}'
    return ('dim', f'({name})') if away else ('', name)


def leaving(row):
    """Why the virtqueue @row has not left its thread, None if it need not."""
    if 'remap' not in row:
        return None
    return (f"{row['index']} ({printable(row.get('state', 'leaving'))}) waits "
            f"for {count(row['remap']['requests'], 'request')}, from "
            f"{printable(row.get('iothread', 'main loop'))} to {_goal(row)}")


def text(block, about, sort, width, notes=()):
    """The lines of @block, at most @width wide."""
    lines = heading(block, about)
    lines += [[('warn', note)] for note in notes]
    threads = _in_order(block['threads'], sort)
    columns = THREAD_COLUMNS + LOAD_COLUMNS * block['per-queue']
    lines += [[], *_grid(columns, threads, width)]
    if block['per-queue']:
        for disk in block['disks']:
            lines += _disk(disk, sort, width)
    elif block['disks']:
        lines += [[], *_grid(DISK_COLUMNS, _in_order(block['disks'], sort),
                             width)]
    return [cut(line, width) for line in lines]


def cut(line, width):
    """The first @width characters of @line."""
    result = []
    for style, part in line:
        result.append((style, part[:width]))
        width -= len(result[-1][1])
    return result
