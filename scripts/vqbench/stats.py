# SPDX-License-Identifier: GPL-2.0-or-later
"""
Medians of ratios, and how sure they are. Nothing here assumes a distribution:
benchmark noise is skewed and has outliers.
"""

from math import comb, floor, prod

# A change smaller than this is not worth a word, however sure it is
WORTH_SAYING = 0.02

CONFIDENCE = 0.95


def quantile(values, share):
    """Interpolated between the two nearest values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def interval_rank(count, confidence=CONFIDENCE):
    """
    Largest k such that the median of what @count values were drawn from is
    between the k-th smallest and the k-th largest of them with @confidence;
    0 if there are too few. How many values are below the median is a toss of
    @count coins, so the chance to miss is that of fewer than k heads or tails.
    """
    rank, tail = 0, 0
    while rank < count // 2:
        tail += comb(count, rank)
        if 2 * tail > (1 - confidence) * 2 ** count:
            break
        rank += 1
    return rank


def median_interval(values, confidence=CONFIDENCE):
    """The confidence interval of the median, or None with too few values."""
    rank = interval_rank(len(values), confidence)
    if not rank:
        return None
    ordered = sorted(values)
    return ordered[rank - 1], ordered[-rank]


def summarize(values):
    """What the tables say about @values, or None if there is none."""
    if not values:
        return None
    return {'n': len(values), 'median': quantile(values, 0.5),
            'interval': median_interval(values),
            'quartiles': (quantile(values, 0.25), quantile(values, 0.75)),
            'range': (min(values), max(values))}


def verdict(summary):
    """Of a ratio: '=', '+', '-', or '?' when it cannot be told."""
    if not summary or not summary['interval']:
        return '?'
    low, high = summary['interval']
    median = summary['median']
    if low <= 1 <= high or abs(median - 1) <= WORTH_SAYING:
        return '='
    return '+' if median > 1 else '-'


def worked(run):
    """Has this run a result?"""
    return run is not None and 'error' not in run


def ratios(rounds, metric, over, under):
    """
    For each round the median over its turns of: the product of @metric of the
    runs @over, divided by that of the runs @under. A round counts only if all
    of these runs worked: half a pair says nothing.
    """
    found = []
    for runs in rounds:
        if not all(worked(runs.get(key)) for key in over + under):
            continue
        turns = [prod(upper) / prod(lower) for upper, lower in zip(
            zip(*(runs[key][metric] for key in over)),
            zip(*(runs[key][metric] for key in under)))
                 if all(lower) and None not in upper]
        if turns:
            found.append(quantile(turns, 0.5))
    return found


def values(rounds, metric, key):
    """Median over its turns of @metric of every run @key that worked."""
    found = [[value for value in runs[key][metric] if value is not None]
             for runs in rounds if worked(runs.get(key))]
    return [quantile(turns, 0.5) for turns in found if turns]


def failures(rounds, keys):
    """What those of the runs @keys that failed said: line to count."""
    said = {}
    for runs in rounds:
        for key in keys:
            if key in runs and not worked(runs[key]):
                line = runs[key]['error']
                said[line] = said.get(line, 0) + 1
    return said


def noise(summaries):
    """
    Of the ratios of all rows: the largest distance of a median from 1, how
    many intervals there are and how many of them exclude 1, and the median
    width between the quartiles.
    """
    summaries = [s for s in summaries if s]
    if not summaries:
        return None
    intervals = [s['interval'] for s in summaries if s['interval']]
    return {'largest': max(abs(s['median'] - 1) for s in summaries),
            'intervals': len(intervals),
            'excluding': sum(not low <= 1 <= high for low, high in intervals),
            'spread': quantile([(s['quartiles'][1] - s['quartiles'][0]) /
                                s['median'] for s in summaries], 0.5)}
