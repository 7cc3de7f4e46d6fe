# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture: a dot and an interval per row, a panel per backend."""

from . import stats, table

COLORS = {'=': '#5f6b76', '+': '#1b7f4b', '-': '#c0392b', '?': '#b8860b'}
MEANINGS = {'=': 'no difference', '+': 'faster', '-': 'slower',
            '?': 'too few results; bar: all of them'}


def draw(report, path):
    """Write @report as a PNG file @path, 1200 pixels wide."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot

    lines = [(group, label, table.summary_of(compare, rounds))
             for group, label, compare, rounds in table.compared(report)]
    groups = list(dict.fromkeys(group for group, _label, _summary in lines))
    labels = list(dict.fromkeys(label for _group, label, _summary in lines))
    height = 1.8 + 0.26 * len(labels)
    figure, panels = pyplot.subplots(1, len(groups), sharey=True, sharex=True,
                                     figsize=(12, height), squeeze=False)
    seen = []
    for panel, group in zip(panels[0], groups):
        panel.axvspan(1 - stats.WORTH_SAYING, 1 + stats.WORTH_SAYING,
                      color='#e8ecef', zorder=0)
        panel.axvline(1, color='#20262b', linewidth=0.9, zorder=1)
        panel.set_title(group, fontsize=10)
        panel.spines[['top', 'right']].set_visible(False)
        panel.tick_params(labelsize=9)
        panel.grid(color='#e6e6e6', linewidth=0.6)
        panel.set_axisbelow(True)
        for line_group, label, summary in lines:
            if line_group == group:
                seen.append(_draw_line(panel, labels.index(label), summary))
    # Not supxlabel, for which tight_layout would make room a second time
    figure.text(0.5, 0.42 / height, _axis(report), fontsize=10, ha='center')
    _bounds(panels[0][0], [s for _group, _label, s in lines if s])
    panels[0][0].set_yticks(range(len(labels)), labels)
    panels[0][0].set_ylim(len(labels) - 0.4, -0.6)
    figure.suptitle(f'{table.title(report)}\n'
                    + table.NATIVE.replace('\n', ' '), fontsize=10)
    _legend(figure, seen)
    figure.tight_layout(rect=(0, 0.6 / height, 1, 1))
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _draw_line(panel, place, summary):
    """Returns the verdict, or 'x' for a row without a result."""
    if not summary:
        panel.text(1, place, 'failed', color=COLORS['-'], fontsize=8,
                   ha='center', va='center',
                   bbox={'color': 'white', 'pad': 0.5})
        return 'x'
    verdict = stats.verdict(summary)
    low, high = summary['interval'] or summary['range']
    panel.plot([low, high], [place, place], color=COLORS[verdict],
               linewidth=1.8, solid_capstyle='butt', zorder=2)
    panel.plot(summary['median'], place, 'o', color=COLORS[verdict],
               markersize=5, zorder=3)
    return verdict


def _axis(report):
    if report['kind'] == 'scaling':
        return ('IOPS with N IOThreads divided by IOPS with one; dot: median, '
                'bar: 95 % confidence interval')
    name_a, name_b = table.names(report)
    return (f'IOPS of {name_b} divided by {name_a}; dot: median, bar: 95 % '
            'confidence interval')


def _bounds(panel, summaries):
    """Room for every interval, and at least 5 % on both sides of 1."""
    ends = [end for s in summaries for end in s['interval'] or s['range']]
    low, high = min(ends + [0.95]), max(ends + [1.05])
    margin = (high - low) * 0.05
    panel.set_xlim(low - margin, high + margin)


def _legend(figure, seen):
    from matplotlib.lines import Line2D
    marks = [Line2D([], [], color=COLORS[v], marker='o', markersize=5,
                    label=f'"{v}" {MEANINGS[v]}')
             for v in MEANINGS if v in seen]
    figure.legend(handles=marks, loc='lower center', ncols=len(marks) or 1,
                  fontsize=9, frameon=False)
