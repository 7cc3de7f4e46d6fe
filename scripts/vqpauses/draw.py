# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture: how long remaps took, and what the others did meanwhile."""

import itertools

from . import figures

# Of the panel over time; more could not be told apart
SECONDS = 10

# How many times the requests of others make them a flat line
FLAT = 20


def draw(result, path):
    """Write @result as PNG into @path, a name or an open file."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(12, 4), layout='constrained', width_ratios=[2, 3])
    _histogram(left, result)
    _over_time(right, result)
    found = result['summary']['unserved-ns']
    figure.suptitle(
        f"QEMU {result['qemu']['version']}, vq-load {result['options']}: "
        f"{result['summary']['remaps']} remaps of virtqueue "
        f"{result['queue']}, "
        f"p50 {found['p50'] / 1000:.0f} us, p99 {found['p99'] / 1000:.0f} us, "
        f"max {found['max'] / 1000:.0f} us", fontsize=11)
    figure.savefig(path, format='png', dpi=100)
    pyplot.close(figure)


def _histogram(panel, result):
    unserved = sorted(ns / 1000 for ns in figures.unserved_under_load(
        result['rows'], result['queue']))
    low, high = unserved[0] * 0.9, max(unserved[-1] * 1.1, unserved[0] * 2)
    edges = [low * (high / low) ** (i / 40) for i in range(41)]
    panel.hist(unserved, bins=edges, color='#2f6f9f')
    panel.set_xscale('log')
    panel.set_xlabel('microseconds unserved')
    panel.set_ylabel('remaps')
    for ns, name in ((result['summary']['unserved-ns']['p50'], 'p50'),
                     (result['summary']['unserved-ns']['p99'], 'p99')):
        panel.axvline(ns / 1000, color='#b5410e', linewidth=1)
        panel.annotate(name, (ns / 1000, 1), fontsize=8, color='#b5410e',
                       xycoords=('data', 'axes fraction'), xytext=(2, -9),
                       textcoords='offset points')
    panel.spines[['top', 'right']].set_visible(False)


def _is_wide(result):
    """Would one of the lines be flat on the axis of the other?"""
    moved = result['queue']
    total = sum(row['iops'][moved] for row in result['rows'])
    others = sum(figures.staying(row, moved) for row in result['rows'])
    return total > FLAT * others or others > FLAT * total


def _over_time(panel, result):
    edges = [0, *itertools.accumulate(row['seconds']
                                      for row in result['rows'])]
    shown = [row for row, end in zip(result['rows'], edges[1:])
             if end <= SECONDS]
    edges = edges[:len(shown) + 1]
    moved = result['queue']
    others = len(shown[0]['iops']) - 1
    panel.stairs([figures.staying(row, moved) / others for row in shown],
                 edges, baseline=None, color='#2f6f9f',
                 label='virtqueues that stay (mean)')
    panel.stairs([row['iops'][moved] for row in shown], edges, baseline=None,
                 color='#b5410e',
                 label=f'virtqueue {moved}, which is remapped')
    marks = [start for row, start in zip(shown, edges) if 'unserved-ns' in row]
    panel.plot(marks, [0] * len(marks), '|', color='#20262b', markersize=8,
               label='a remap', clip_on=False)
    if _is_wide(result):
        panel.set_yscale('symlog', linthresh=100)
    panel.set_ylim(bottom=0)
    panel.set_xlim(0, edges[-1])
    panel.set_xlabel('seconds')
    panel.set_ylabel('requests/s of a virtqueue')
    panel.legend(fontsize=8, loc='lower right')
    panel.spines[['top', 'right']].set_visible(False)
