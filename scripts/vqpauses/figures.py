# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of a measurement, added up."""

import json

from vqbench.stats import quantile
from vqtop import TopError

# Less than this is not busy
BUSY_IOPS = 1000

LONG_NS = 1000000


def staying(row, queue):
    """Requests/s of the virtqueues that are not moved."""
    return sum(iops for index, iops in enumerate(row['iops'])
               if index != queue)


def away_under_load(rows, queue):
    """
    How long the virtqueue was away, where it was busy before and afterwards:
    on a crowded host the load itself may not get a CPU for seconds.
    """
    return [row['away-ns'] for before, row in zip(rows, rows[1:])
            if 'away-ns' in row and
            min(before['iops'][queue], row['iops'][queue]) >= BUSY_IOPS]


def summary(rows, queue):
    """What the rows come to."""
    away = away_under_load(rows, queue)
    if not away:
        raise TopError('the virtqueue that is moved was never busy')
    result = {'moves': len(away), 'without-load':
              sum('away-ns' in row for row in rows) - len(away), 'away-ns': {
        'p50': round(quantile(away, 0.5)), 'p90': round(quantile(away, 0.9)),
        'p99': round(quantile(away, 0.99)), 'max': max(away)},
        'over-1ms': sum(ns > LONG_NS for ns in away)}
    for name, moved in (('with-move', True), ('without', False)):
        rates = [staying(row, queue) for row in rows
                 if ('away-ns' in row) == moved]
        result[f'staying-iops-{name}'] = {
            key: round(quantile(rates, share)) for key, share in
            (('p10', 0.1), ('p50', 0.5), ('p90', 0.9))}
    return result


def text(result):
    """In two lines."""
    found = result['summary']
    away = found['away-ns']
    rates = [found[f'staying-iops-{name}']
             for name in ('with-move', 'without')]
    return (f"{found['moves']} moves under load; away for p50 "
            f"{away['p50'] / 1000:.1f} us, p99 {away['p99'] / 1000:.1f} us, "
            f"at most {away['max'] / 1000:.1f} us\n"
            "requests/s of the virtqueues that stay, median and p10 to p90: "
            f"{rates[0]['p50']} ({rates[0]['p10']} to {rates[0]['p90']}) with "
            f"a move, {rates[1]['p50']} ({rates[1]['p10']} to "
            f"{rates[1]['p90']}) without")


def as_json(result):
    """A line for each row, so that it can be read."""
    head = {key: value for key, value in result.items() if key != 'rows'}
    rows = ',\n'.join(json.dumps(row) for row in result['rows'])
    return f'{json.dumps(head, indent=1)[:-2]},\n "rows": [\n{rows}\n]}}\n'
