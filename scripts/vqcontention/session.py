# SPDX-License-Identifier: GPL-2.0-or-later
"""From options to a report: all modes in turn, or a QEMU that runs already."""

import os
import shutil
import sys
import tempfile
import time

from vqbench import machine
from vqdemo import builds, guest

from . import ContentionError, chain, modes, observe, placement, run

# How often the empty loop turns between two device reads: some 30 us at the
# speed of TCG, and of KVM
LOOPS = {'tcg': 20000, 'kvm': 100000}

IMAGE_SIZE = 256 << 20

NOTES = {
    'vote': 'the lock is a guess: QEMU has no symbols, and most threads '
            'waited at one futex',
    'any': 'QEMU has no symbols: every futex wait counts, also that of a vCPU '
           'which is halted under TCG'}


def _direct_file(path):
    """An image that QEMU can open with O_DIRECT, or None."""
    block = os.urandom(1 << 20)
    with open(path, 'wb') as file:
        for _ in range(IMAGE_SIZE >> 20):
            file.write(block)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
        return path
    except OSError:
        os.unlink(path)
        return None


def _choose_modes(wanted, vcpus, qemu):
    found, missing = modes.of_binary(qemu, vcpus)
    names = [mode.name for mode in found]
    for name in wanted or []:
        if name not in names:
            raise ContentionError(f'this QEMU has no mode "{name}", but '
                                  f'{", ".join(names)}')
    if wanted:
        return [mode for mode in found if mode.name in wanted], []
    return found, missing


def _stock_modes(wanted, vcpus, qemu):
    found, _missing = modes.of_binary(qemu, vcpus)
    return modes.as_stock(mode for mode in found
                          if not wanted or mode.name in wanted)


def _new_report(args):
    return {'machine': machine.machine(), 'git': machine.commit(),
            'date': time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime()),
            'seconds': args.seconds, 'rounds': args.rounds, 'looks': [],
            'pictures': {}}


def _add_look(report, mode, load, turn, look):
    """Pictures are of the first round; one line each says what is missing."""
    picture = look.pop('picture', None)
    if turn == 0 and picture:
        report['pictures'].setdefault(load, {})[mode] = picture
    notes = []
    if 'untraced' in look:
        notes.append(f"waits and slices are not traced: {look['untraced']}")
    if look.get('lost'):
        notes.append(f'{mode}: perf has lost events, see "lost" in the JSON')
    if look['lock'] in NOTES:
        notes.append(NOTES[look['lock']])
    report['notes'] += [note for note in notes if note not in report['notes']]
    report['looks'].append({'mode': mode, 'load': load, 'round': turn,
                            'look': look})


class Plan:
    """What is to be measured, and the report that it will be."""

    def __init__(self, args, found, report):
        self.args = args
        self.modes = found
        self.report = report


def prepare(args):
    """Find out that all is there, before anything is written."""
    qemu = builds.find_qemu(args.base, args.qemu)
    report = _new_report(args)
    report['qemu'] = machine.binary(qemu, 'qemu')
    found, missing = _choose_modes(args.mode, args.vcpus, qemu)
    if args.stock:
        stock = builds.find_stock(args.base)
        report['stock'] = machine.binary(stock, 'stock')
        found += _stock_modes(args.mode, args.vcpus, stock)
    accel = 'kvm' if guest.kvm_usable() else 'tcg'
    report.update({
        'base': args.base, 'accel': accel, 'vcpus': args.vcpus,
        'reader': args.reader, 'loops': args.loops or LOOPS[accel],
        'loads': [args.load] if args.load else [run.GUEST, run.NATIVE],
        'modes': [{'name': mode.name, 'title': mode.title}
                  for mode in found],
        'notes': missing})
    return Plan(args, found, report)


def measure(plan, folder):
    """Start the guest again and again; work in @folder. Returns the report."""
    args, report = plan.args, plan.report
    qmp = builds.import_qmp(args.base)
    builds.make_guest()
    image = None
    if args.backend != 'null-co':
        image = _direct_file(os.path.join(folder, 'disk.raw'))
        if not image:
            report['notes'].append('the file system has no O_DIRECT: null-co '
                                   'instead of raw')
    places = None if args.no_pin else placement.choose()
    report['disk'] = 'raw, cache=none, aio=native' if image else 'null-co'
    report['placement'] = (places.words() if places else
                           'no thread is pinned')
    setup = run.Setup(
        qmp=qmp, vcpus=args.vcpus, reader=args.reader,
        loops=report['loops'], seconds=args.seconds,
        boot_seconds=args.boot_seconds, backend=run.disk_on(image),
        placement=places, loads=report['loads'],
        want_trace=not args.no_trace)
    try:
        for turn in range(args.rounds):
            for mode in plan.modes if turn % 2 == 0 else plan.modes[::-1]:
                print(f'  round {turn + 1} of {args.rounds}: {mode.title}',
                      file=sys.stderr)
                _measure_mode(report, mode, setup, turn, folder)
    finally:
        if image:
            os.unlink(image)
    return report


def _measure_mode(report, mode, setup, turn, folder):
    work_dir = os.path.join(folder, f'{mode.name}-{turn}')
    os.mkdir(work_dir)
    looks, stack = run.run_mode(
        mode, setup, work_dir,
        want_chain='chain' not in report and setup.want_trace)
    for load, look in looks.items():
        _add_look(report, mode.name, load, turn, look)
    if stack:
        report.update({'chain': stack, 'chain-mode': mode.title})
    shutil.rmtree(work_dir)


def watch(args):
    """Look at a QEMU that runs. Returns the report."""
    if not os.path.isdir(f'/proc/{args.pid}/task'):
        raise ContentionError(f'there is no process {args.pid}')
    report = _new_report(args)
    report.update({'pid': args.pid, 'rounds': 1, 'loads': ['seen'],
                   'modes': [{'name': 'seen',
                              'title': f'process {args.pid}'}],
                   'notes': []})
    with tempfile.TemporaryDirectory() as folder:
        observer = observe.Observer(args.pid, folder, not args.no_trace)
        look = observer.look(args.seconds)
        _add_look(report, 'seen', 'seen', 0, look)
        worst = max((row for row in look['threads']
                     if row['name'] != observe.MAIN_LOOP),
                    key=lambda row: row['sampled']['lock'])
        stack = None if args.no_trace else chain.record(worst['thread-id'],
                                                        folder)
    if stack:
        report.update({'chain': stack, 'chain-mode': worst['name']})
    return report
