# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a report."""

import json
import os

import vqout

from . import ContentionError, chart, table

# The mode to draw below the first one: the first of these that there is
AFTER = ('x-data-plane', 'mapping', 'iothread')


def panels(report):
    """What to draw, by title: before and after, under the heaviest load."""
    drawn = report['pictures'].get(report['loads'][-1], {})
    titles = {mode['name']: mode['title'] for mode in report['modes']
              if mode['name'] in drawn}
    first = list(titles)[:1]
    after = [name for name in AFTER if name in titles and name not in first]
    return {titles[name]: drawn[name] for name in first + after[:1]}


def rounded(value):
    """@value with numbers of six digits; more are noise, and long."""
    if isinstance(value, float):
        return float(f'{value:.6g}')
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry) for entry in value]
    return value


def write(report, folder, stem):
    """The JSON, and what is made of it."""
    with vqout.folder(folder) as tmp:
        path = os.path.join(tmp, f'{stem}.json')
        with open(path, 'w', encoding='utf-8') as file:
            json.dump(report, file, separators=(',', ':'))
            file.write('\n')
        _render(report, tmp, stem)


def render(report, path):
    """Markdown, and a picture if there was a trace, beside JSON file @path."""
    folder, name = os.path.split(path)
    with vqout.folder(folder) as tmp:
        _render(report, tmp, name.removesuffix('.json'))


def check(folder, stem):
    """Find out before it takes long whether write() could write."""
    with vqout.folder(folder, *(f'{stem}.{ending}'
                                for ending in ('json', 'md', 'png'))):
        pass


def _render(report, folder, name):
    stem = os.path.join(folder, name)
    pictures = panels(report)
    if pictures:
        chart.draw(report, pictures, f'{stem}.png')
    with open(f'{stem}.md', 'w', encoding='utf-8') as file:
        file.write(table.markdown(
            report, f'{name}.png' if pictures else None))


def read(path):
    """A report that was written."""
    try:
        with open(path, encoding='utf-8') as file:
            report = json.load(file)
        report['looks'], report['pictures']
    except (OSError, ValueError, LookupError, TypeError) as err:
        raise ContentionError(f'{path} is no JSON of scripts/contention') \
            from err
    return report
