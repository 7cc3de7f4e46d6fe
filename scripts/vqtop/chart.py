# SPDX-License-Identifier: GPL-2.0-or-later
"""
The heat map: a row per virtqueue, or per thread where QEMU tells no more, and
a column per interval.
"""

import os

from vqbench.table import amount

from . import TopError, model
from .table import count, printable

UNKNOWN = '#e8ecef'


class History:
    """What the picture needs of all blocks."""

    def __init__(self):
        self.edges = []
        self.imbalance = []
        self.per_queue = True
        # (disk, index, ''), (disk, '-', idle IOThread) or ('', thread, ''), to
        # the label of its group and its values by the number of the interval
        self.rows = {}
        # Thread to the requests/s that it serves, likewise
        self.loads = {}

    def add(self, block):
        """Remember @block."""
        if not self.edges:
            self.edges = [0]
        place = len(self.edges) - 1
        self.edges.append(self.edges[-1] + block['seconds'])
        self.per_queue = block['per-queue']
        if self.per_queue:
            self.imbalance.append(block.get('imbalance'))
            for disk in block['disks']:
                self._add_disk(disk, place)
            for thread in block['threads']:
                if 'serves' in thread:
                    name = thread.get('id', 'main loop')
                    self.loads.setdefault(name, {})[place] = thread.get(
                        'iops', 0)
        else:
            self.imbalance.append(block.get('cpu-imbalance'))
            for thread in block['threads']:
                name = printable(thread.get('id', 'main loop'))
                self._put(('', name, ''), '', place,
                          thread.get('cpu-percent'))

    def _add_disk(self, disk, place):
        name = printable(model.disk_name(disk))
        idle = set()
        busy = set()
        for row in disk['queues']:
            group = printable(row.get('iothread', 'main loop'))
            if row['enabled']:
                busy.add(group)
                self._put((name, row['index'], ''), group, place,
                          row.get('iops'))
            else:
                idle.add(group)
        # A mapping that leaves an IOThread without work shall be seen
        for group in idle - busy if busy else ():
            self._put((name, '-', group), group, place, 0)

    def _put(self, key, group, place, value):
        values = self.rows.setdefault(key, ['', {}])
        values[0] = group
        if value is not None:
            values[1][place] = value

    def sorted_rows(self):
        """(disk, group, label, values) of each row, groups together."""
        def order(row):
            disk, group, label, _values = row
            return (model.natural(disk), group != 'main loop',
                    model.natural(group), label != 'main loop',
                    model.natural(label))
        return sorted(((disk, group, str(label), values) for
                       (disk, label, _idle), (group, values) in
                       self.rows.items()),
                      key=order)

    def mean(self, values):
        """Over the intervals that have a value."""
        spans = {i: self.edges[i + 1] - self.edges[i] for i in values}
        return (sum(values[i] * spans[i] for i in values) /
                sum(spans.values())) if spans else 0

    def title(self, rows):
        """What it shows, how much of it, and how even it was."""
        if not self.per_queue:
            return "QEMU's threads: CPU time"
        disks = list(dict.fromkeys(row[0] for row in rows))
        queues = [row for row in rows if row[2] != '-']
        loads = {name: self.mean(values)
                 for name, values in self.loads.items()}
        names = ', '.join(disks[:4]) + ', ...' * (len(disks) > 4)
        skew = model.imbalance(list(loads.values()))
        kind = 'thread' if 'main loop' in loads else 'IOThread'
        return (f'{names}: {count(len(queues), "virtqueue")} on '
                f'{count(len(loads), kind)}, '
                f'{amount(sum(loads.values()))} IOPS, imbalance '
                f'{"-" if skew is None else format(skew, ".2f")} '
                '(busiest thread over mean)')


def check_path(path):
    """Refuse what cannot be written, or drawn, before anything is sampled."""
    try:
        import matplotlib  # noqa: F401  pylint: disable=unused-import
    except ImportError as err:
        raise TopError('--png needs matplotlib; run: apt-get install '
                       'python3-matplotlib') from err
    if os.path.exists(path) and not os.path.isfile(path):
        raise TopError(f'cannot write {path}: it is no regular file')
    with _Temporary(path):
        pass


class _Temporary:
    """A file beside @path that becomes it if all goes well."""

    def __init__(self, path):
        self._path = os.path.realpath(path)
        self._name = f'{self._path}.{os.getpid()}.tmp'
        self._file = None

    def __enter__(self):
        try:
            self._file = open(self._name, 'xb')
        except OSError as err:
            raise TopError(f'cannot write {self._path}: '
                           f'{err.strerror}') from err
        return self

    def save(self, figure):
        """Write @figure, and let it be the file."""
        try:
            figure.savefig(self._file, format='png', dpi=100)
            self._file.close()
            os.rename(self._name, self._path)
        except OSError as err:
            raise TopError(f'cannot write {self._path}: '
                           f'{err.strerror}') from err

    def __exit__(self, *_exc):
        self._file.close()
        if os.path.exists(self._name):
            os.unlink(self._name)


def draw(history, about, path):
    """Write the picture of @history as PNG file @path."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot, ticker

    rows = history.sorted_rows()
    if not rows:
        raise TopError(f'no {path}: no virtqueue was in use')
    height = min(2.6 + 0.19 * len(rows), 14)
    figure, (skew, panel) = pyplot.subplots(
        2, 1, sharex=True, figsize=(12, height), layout='constrained',
        height_ratios=[0.9, height - 1.6])
    grid = [[values.get(i, float('nan'))
             for i in range(len(history.edges) - 1)]
            for _disk, _group, _label, values in rows]
    colours = matplotlib.colormaps['inferno'].with_extremes(bad=UNKNOWN)
    top = max([value for row in rows for value in row[3].values()] + [1])
    mesh = panel.pcolormesh(
        history.edges, range(len(rows) + 1), grid, cmap=colours, vmin=0,
        vmax=top if history.per_queue else 100)
    panel.set_ylim(len(rows), 0)
    panel.set_xlim(history.edges[0], history.edges[-1])
    panel.set_xlabel('seconds')
    figure.colorbar(mesh, ax=panel, pad=0.01, aspect=30,
                    format=ticker.EngFormatter(sep=''),
                    label=('requests/s of a virtqueue' if history.per_queue
                           else '%CPU of a thread'))
    _label_rows(panel, rows)
    _draw_imbalance(skew, history)
    figure.suptitle(f'{history.title(rows)}\n{_machine(about)}', fontsize=11)
    with _Temporary(path) as file:
        file.save(figure)
    pyplot.close(figure)


def _machine(about):
    parts = [f"QEMU {about['version']}"]
    if 'name' in about:
        parts.append(printable(about['name']))
    return ', '.join(parts)


def _label_rows(panel, rows):
    """A label per row, if they can be read; a name and a line per group."""
    step = max(1, len(rows) // 64)
    labels = [row[2] for row in rows]
    panel.set_yticks([i + 0.5 for i in range(0, len(rows), step)],
                     labels[::step], fontsize=7)
    panel.tick_params(axis='y', length=0)
    if not rows[0][0]:
        return
    several = len({row[0] for row in rows}) > 1
    width = max(len(label) for label in labels)
    start = 0
    for end in range(1, len(rows) + 1):
        if end < len(rows) and rows[end][:2] == rows[start][:2]:
            continue
        disk, group = rows[start][:2]
        name = f'{disk}\n{group}' if several else group
        if several and end - start < 3:
            name = f'{disk} {group}'
        panel.annotate(name, (0, (start + end) / 2),
                       xycoords=('axes fraction', 'data'),
                       xytext=(-14 - 5 * width, 0),
                       textcoords='offset points', fontsize=8, ha='right',
                       va='center', linespacing=1.2)
        if end < len(rows):
            panel.axhline(end, color='white', linewidth=(
                2.5 if rows[end][0] != disk else 1))
        start = end


def _draw_imbalance(panel, history):
    """Over time; even is 1."""
    nan = float('nan')
    values = [nan if v is None else v for v in history.imbalance]
    panel.stairs(values, history.edges, baseline=None, color='#b5410e',
                 linewidth=1.5)
    known = [v for v in history.imbalance if v is not None]
    panel.set_ylim(0.9, max(known + [1.9]) * 1.1)
    panel.axhline(1, color='#9aa3ab', linewidth=0.7)
    panel.set_ylabel('imbalance', fontsize=8)
    panel.tick_params(labelsize=7, labelbottom=False)
    panel.spines[['top', 'right']].set_visible(False)
