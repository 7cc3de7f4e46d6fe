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


def unserved_under_load(rows, queue):
    """
    For how long the virtqueue was unserved, where it was busy before and
    afterwards: on a crowded host the load itself may not get a CPU for seconds.
    """
    return [row['unserved-ns'] for before, row in zip(rows, rows[1:])
            if 'unserved-ns' in row and
            min(before['iops'][queue], row['iops'][queue]) >= BUSY_IOPS]


def summary(rows, queue):
    """What the rows come to."""
    unserved = unserved_under_load(rows, queue)
    if not unserved:
        raise TopError('the virtqueue that is moved was never busy')
    result = {
        'remaps': len(unserved), 'without-load':
        sum('unserved-ns' in row for row in rows) - len(unserved),
        'unserved-ns': {
            **{f'p{share}': round(quantile(unserved, share / 100))
               for share in (50, 90, 99)}, 'max': max(unserved)},
        'over-1ms': sum(ns > LONG_NS for ns in unserved)}
    for key in ('reply-ns', 'event-ns'):
        times = [row[key] for row in rows if key in row]
        if times:
            result[key] = {'p50': round(quantile(times, 0.5)),
                           'max': max(times)}
    for name, moved in (('with-remap', True), ('without', False)):
        rates = [staying(row, queue) for row in rows
                 if ('unserved-ns' in row) == moved]
        result[f'staying-iops-{name}'] = {
            key: round(quantile(rates, share)) for key, share in
            (('p10', 0.1), ('p50', 0.5), ('p90', 0.9))}
    return result


def text(result):
    """In three lines."""
    found = result['summary']
    unserved = found['unserved-ns']
    rates = [found[f'staying-iops-{name}']
             for name in ('with-remap', 'without')]
    return (f"{found['remaps']} remaps under load; unserved for p50 "
            f"{unserved['p50'] / 1000:.1f} us, p99 "
            f"{unserved['p99'] / 1000:.1f} us, "
            f"at most {unserved['max'] / 1000:.1f} us\n"
            f"from the command to its reply p50 "
            f"{found['reply-ns']['p50'] / 1000:.0f} us, at most "
            f"{found['reply-ns']['max'] / 1000:.0f} us; to the event p50 "
            f"{found['event-ns']['p50'] / 1000:.0f} us, at most "
            f"{found['event-ns']['max'] / 1000:.0f} us\n"
            "requests/s of the virtqueues that stay, median and p10 to p90: "
            f"{rates[0]['p50']} ({rates[0]['p10']} to {rates[0]['p90']}) with "
            f"a remap, {rates[1]['p50']} ({rates[1]['p10']} to "
            f"{rates[1]['p90']}) without")


def as_json(result):
    """A line for each row, so that it can be read."""
    head = {key: value for key, value in result.items() if key != 'rows'}
    rows = ',\n'.join(json.dumps(row) for row in result['rows'])
    return f'{json.dumps(head, indent=1)[:-2]},\n "rows": [\n{rows}\n]}}\n'
