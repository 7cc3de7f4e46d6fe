# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture: what each vCPU thread did when, in two modes."""

from . import table
from .timeline import IDLE, LOCK, READY, RUN

COLORS = {RUN: '#2f6f9f', READY: '#e3b23c', LOCK: '#c0392b',
          IDLE: '#e8ecef'}
MEANINGS = {RUN: 'runs', READY: 'waits for a CPU',
            LOCK: 'asleep for the big lock', IDLE: 'asleep otherwise'}


def draw(report, pictures, path):
    """
    Write PNG file @path. @pictures: title of a panel to thread to its states
    [state, us]...
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    rows = max(len(picture) for picture in pictures.values())
    height = 1.6 + len(pictures) * (0.7 + 0.34 * rows)
    figure, panels = pyplot.subplots(len(pictures), 1, sharex=True,
                                     figsize=(12, height), squeeze=False)
    for panel, (title, picture) in zip(panels[:, 0], pictures.items()):
        for place, states in enumerate(picture.values()):
            _draw_row(panel, place, states)
        panel.set_yticks(range(len(picture)), picture)
        panel.set_ylim(len(picture) - 0.5, -0.5)
        panel.tick_params(axis='y', length=0, labelsize=9)
        panel.set_title(title, fontsize=10, loc='left')
        panel.spines[['top', 'right', 'left']].set_visible(False)
        panel.margins(x=0)
    panels[-1, 0].set_xlabel('ms')
    note = table.TCG if report.get('accel') == 'tcg' else ''
    figure.suptitle(f'{table.title(report)}\n{note}'.strip(), fontsize=10)
    figure.legend(handles=[Patch(color=COLORS[state], label=MEANINGS[state])
                           for state in MEANINGS],
                  loc='lower center', ncols=len(MEANINGS), fontsize=9,
                  frameon=False)
    figure.tight_layout(rect=(0, 0.35 / height, 1, 1))
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _draw_row(panel, place, states):
    """A bar for each state; they are many, so one call for each colour."""
    bars = {state: [] for state in COLORS}
    at = 0
    for state, length in states:
        if state in bars:
            bars[state].append((at / 1e3, length / 1e3))
        at += length
    for state, spans in bars.items():
        panel.broken_barh(spans, (place - 0.4, 0.8), color=COLORS[state],
                          linewidth=0)
