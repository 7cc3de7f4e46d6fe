# SPDX-License-Identifier: GPL-2.0-or-later
"""
What scripts/bench measures. A row has several runs per round, each with a key;
"compare" says which of them are divided by which.
"""

from dataclasses import dataclass

# Title, --backend and --aio of vq-load
BACKENDS = [
    ('null-co', 'null-co', None),
    ('raw, io_uring', 'raw', 'io_uring'),
    ('raw, native', 'raw', 'native'),
    ('raw, threads', 'raw', 'threads'),
    ('qcow2, io_uring', 'qcow2', 'io_uring'),
]

# Title, virtqueues and IOThreads; without an IOThread it is the main loop
SHAPES = [
    ('1/1', 1, 1),
    ('16/1', 16, 1),
    ('16/2', 16, 2),
    ('16/4', 16, 4),
    ('main loop', 16, 0),
]

DEPTHS = [1, 64]
OPS = ['read', 'write']

# The rows of --quick: backend, shape, depth
QUICK = [('null-co', shape[0], 64) for shape in SHAPES] + [
    ('null-co', '1/1', 1), ('raw, io_uring', '16/2', 64)]

SCALING_BACKENDS = BACKENDS[:2]
SCALING_DEPTH = 256


@dataclass
class Row:
    """One line of the table, or three with --scaling."""
    group: str
    name: str
    runs: dict      # key: (binary "a" or "b", or None; options of vq-load)
    compare: list   # of {"label", "over": [key...], "under": [key...]}

    @property
    def title(self):
        """What --only and --list know it by."""
        return f'{self.group}: {self.name}'


def _backend(driver, aio):
    return ['--backend', driver] + (['--aio', aio] if aio else [])


def _numbers(cpus):
    return ','.join(str(cpu) for cpu in cpus)


def _load(queues, iothreads, depth, op):
    """
    Without a word about CPUs vq-load keeps the first for itself and leaves
    the others to QEMU. To pin an IOThread would not do: the worker threads of
    aio=threads inherit its CPU.
    """
    return ['--queues', str(queues), '--iothreads', str(iothreads),
            '--depth', str(depth), '--block-size', '4096', '--segments', '1',
            '--mix', f'{op}=100', '--pattern', 'random', '--threads', '1']


def limit():
    """The generator alone, with a thread in QEMU's place."""
    return Row('limit', 'generator alone',
               {'limit': (None, ['--consumer', *_load(1, 1, 64, 'read')])},
               [])


def make_rows(quick):
    """The table's rows, fastest backend first."""
    rows = []
    for backend, driver, aio in BACKENDS:
        for shape, queues, iothreads in SHAPES:
            for depth in DEPTHS:
                for op in OPS:
                    if quick and ((backend, shape, depth) not in QUICK or
                                  op != 'read'):
                        continue
                    options = (_backend(driver, aio) +
                               _load(queues, iothreads, depth, op))
                    rows.append(Row(
                        backend, f'{shape} depth {depth} {op}',
                        {'a': ('a', options), 'b': ('b', options)},
                        [{'label': '', 'over': ['b'], 'under': ['a']}]))
    return rows


def make_scaling_rows(cpus, names):
    """
    N IOThreads on N CPUs against one on one. With two CPUs the generator's
    threads share them with the IOThreads: each of the two has to do both, so
    twice the CPUs should do twice the work. With 2N, they have their own.
    """
    rows = []
    for backend, driver, aio in SCALING_BACKENDS:
        for count, apart in [(2, False), (2, True), (4, True), (8, True)]:
            if len(cpus) < count * (2 if apart else 1):
                continue

            def options(count, first, backend=_backend(driver, aio)):
                number = str(count)
                return backend + [
                    '--queues', number, '--iothreads', number,
                    '--depth', str(SCALING_DEPTH), '--block-size', '4096',
                    '--segments', '1', '--mix', 'read=100',
                    '--pattern', 'random', '--threads', number, '--wave',
                    # An IOThread that polls would take the CPU from the
                    # generator that it waits for
                    '--poll-max-ns', '0',
                    '--cpu', _numbers(cpus[:count]),
                    '--iothread-cpu', _numbers(cpus[first:first + count])]

            first = count if apart else 0
            one, many = options(1, first), options(count, first)
            rows.append(Row(
                backend,
                f'{count} IOThreads, '
                f'{"generators apart" if apart else "shared CPUs"}',
                {'a1': ('a', one), 'aN': ('a', many),
                 'b1': ('b', one), 'bN': ('b', many)},
                [{'label': names['a'], 'over': ['aN'], 'under': ['a1']},
                 {'label': names['b'], 'over': ['bN'], 'under': ['b1']},
                 {'label': f"{names['b']} / {names['a']}",
                  'over': ['bN', 'a1'], 'under': ['b1', 'aN']}]))
    return rows
