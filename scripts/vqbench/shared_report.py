# SPDX-License-Identifier: GPL-2.0-or-later
"""What shared_writes.record() returned, as tables per request."""

import re
from collections import Counter

from . import BenchError
from .symbols import Module

REQUEST = 'virtqueue_fill'

# These only do what their caller wants: not the place to name
_HELPERS = ('util/qemu-thread-', 'util/lockcnt.c', 'util/qemu-spin')

# What glibc puts before a function's name
_INTERNAL = re.compile('^_*(GI_+)?')

_KINDS = [('shared-rmw', 'rmw', 'shared'), ('private-rmw', 'rmw', 'private'),
          ('shared-writes', 'write', 'shared')]


class Symbols:
    """The frames of all addresses in a record."""

    def __init__(self, raw):
        self._binary = raw['binary']
        self._modules = [Module(path) for path in raw['modules']]
        wanted = [set() for _ in self._modules]
        names = set(raw['executed'])
        for write in raw['writes']:
            names.update([write['pc'], *write['chain']])
        for name in names:
            number, offset = self._split(name)
            wanted[number].add(offset)
        self._frames = [module.resolve(offsets)
                        for module, offsets in zip(self._modules, wanted)]

    @staticmethod
    def _split(name):
        number, offset = name.split(':')
        return int(number), int(offset, 16)

    def in_binary(self, name):
        """Whether the address is in the program, not a library."""
        return self._modules[self._split(name)[0]].path == self._binary

    def frames(self, name):
        """Frames of the address, innermost first."""
        number, offset = self._split(name)
        return self._frames[number][offset]

    def function(self, name):
        """The function of the address, with the library that it is in."""
        frame = self.frames(name)[-1]
        if self.in_binary(name):
            return frame.function
        module = self._modules[self._split(name)[0]].name
        return (f'{_INTERNAL.sub("", frame.function)} '
                f'({module.split(".so")[0]})')

    def count(self, raw, function):
        """How often @function of the program was called."""
        for number, module in enumerate(self._modules):
            if module.path == self._binary:
                entry = module.entry(function)
                if entry is not None:
                    return raw['executed'].get(f'{number}:{entry:#x}', 0)
        return 0

    def place(self, write):
        """The frame to name, the helpers on the way there, its caller."""
        via, found, first = [], None, None
        for name in [write['pc'], *write['chain']]:
            if not self.in_binary(name):
                via.append(_INTERNAL.sub('', self.frames(name)[-1].function))
                continue
            for frame in self.frames(name):
                first = first or frame
                helper = frame.file.startswith(_HELPERS) or \
                    frame.file.endswith(('.h', '.h.inc'))
                if found and not helper:
                    return found, via, frame.function
                if not found and not helper:
                    found = frame
                elif not found and not (via and frame.file.endswith('.h')):
                    via.append(frame.function)
        if not found:
            found, via = first or self.frames(write['pc'])[-1], via[:1]
        return found, via, '?'


def report(raw, requests=None, function=REQUEST):
    """Totals and rows per request; rows are sorted, the highest first."""
    symbols = Symbols(raw)
    requests = requests or symbols.count(raw, function)
    if not requests:
        raise BenchError(f'no whole round with a {function}() in the time '
                         'stepped; give it more seconds, or less depth')
    rows, callers, totals = {}, {}, Counter()
    for write in raw['writes']:
        frame, via, caller = symbols.place(write)
        key = (frame.function, f'{frame.file}:{frame.line}', ' < '.join(via))
        row = rows.setdefault(key, Counter())
        callers.setdefault(key, Counter())[caller] += (write['shared'] +
                                                       write['private'])
        for column, kind, side in _KINDS:
            if write['kind'] == kind:
                row[column] += write[side]
                totals[column] += write[side]
    functions = Counter()
    for name, count in raw['executed'].items():
        functions[symbols.function(name)] += count
    order = [column for column, _, _ in _KINDS]

    def per_request(count):
        return round(count / requests, 4)

    return {
        'requests': requests,
        'seconds': raw['seconds'],
        'instructions': per_request(sum(functions.values())),
        **{column: per_request(totals[column]) for column in order},
        'lines': raw['lines'], 'not-decoded': raw['not-decoded'],
        'threads': raw['threads'],
        'rows': [{'function': key[0], 'place': key[1], 'via': key[2],
                  **{column: per_request(row[column]) for column in order},
                  'callers': {caller: per_request(count) for caller, count
                              in callers[key].most_common()}}
                 for key, row in sorted(
                     rows.items(),
                     key=lambda item: ([-item[1][c] for c in order], item[0]))
                 if any(row[c] for c in order)],
        'functions': [{'function': name, 'instructions': per_request(count)}
                      for name, count in functions.most_common()],
    }


def lines(result, column='shared-rmw', least=0.005):
    """The table for people, of the rows that have some of @column."""
    yield (f"{result['requests']} requests in {result['seconds']} s, stepped; "
           f"{result['lines']['shared']} lines shared, "
           f"{result['lines']['private']} private; per request: "
           f"{result['shared-rmw']:.2f} RMW on shared lines, "
           f"{result['private-rmw']:.2f} on private ones, "
           f"{result['shared-writes']:.2f} plain writes to shared lines, "
           f"{result['instructions']:.0f} instructions")
    yield f"{'per req':>8}  {'function':<28} {'place':<36} via; callers"
    rows = sorted(result['rows'], key=lambda row: -row[column])
    for row in rows:
        if row[column] >= least:
            via = f"{row['via']}; " if row['via'] else ''
            yield (f"{row[column]:8.2f}  {row['function']:<28} "
                   f"{row['place']:<36} {via}{', '.join(row['callers'])}")
