# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo's picture: a panel per shape, a bar per IOThread."""


def draw(report, path):
    """Write @report as a PNG file @path."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot

    results = report['shapes']
    top = max([t['run_percent'] for r in results for t in r['iothreads']] + [0.01])
    figure, panels = pyplot.subplots(1, len(results), sharey=True,
                                     figsize=(3.6 * len(results), 3.8),
                                     squeeze=False)
    for panel, result in zip(panels[0], results):
        threads = result['iothreads']
        panel.bar(range(len(threads)), [t['run_percent'] for t in threads],
                  color=['#2f6f9f' if t['busy'] else '#c0392b'
                         for t in threads])
        panel.set_title(f"{result['title']}\n{result['iops']:,.0f} IOPS, "
                        f"{result['busy']} of {len(threads)} busy",
                        fontsize=10)
        margin = max(0.7, 1.5 / len(threads))
        panel.set_xlim(-margin, len(threads) - 1 + margin)
        panel.set_ylim(0, top * 1.1)
        panel.set_xticks(range(len(threads)))
        panel.tick_params(axis='x', labelsize=7)
        panel.set_xlabel('IOThread')
        panel.spines[['top', 'right']].set_visible(False)
    panels[0][0].set_ylabel('CPU of the thread, %')
    figure.suptitle(report['headline'], fontsize=9, y=0.02, va='bottom')
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=110)
