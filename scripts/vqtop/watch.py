# SPDX-License-Identifier: GPL-2.0-or-later
"""Sampling, until a count, a key or a signal ends it."""

import asyncio
import itertools
import signal
import time

from . import TopError, chart, model, views
from .monitor import Monitor
from .source import Source

# Signals that end it, and the exit status then
SIGNALS = {signal.SIGINT: 0, signal.SIGTERM: 143, signal.SIGHUP: 129}

# The shortest interval that is worth a refresh
REFRESH_SECONDS = 0.1


def catch_signals(stop):
    """Let a signal call @stop with the exit status."""
    for number, status in SIGNALS.items():
        asyncio.get_running_loop().add_signal_handler(number, stop, status)


async def run(options, library):
    """Returns the exit status."""
    task = asyncio.current_task()
    status = 0

    def stop(its_status=0):
        nonlocal status
        status = its_status
        task.cancel()

    catch_signals(stop)
    history = chart.History()
    try:
        async with Monitor(options.socket, library) as monitor:
            source = Source(monitor, options.device)
            await source.start()
            with views.choose(options, source, stop) as view:
                await _sample(monitor, source, options, view, history)
    except asyncio.CancelledError:
        pass
    finally:
        # Whatever has ended it, what there is is worth a picture
        if options.png and history.edges:
            chart.draw(history, source.about, options.png)
    if options.png and not history.edges:
        raise TopError(f'no {options.png}: it ended before the first interval')
    return status


async def _sample(monitor, source, options, view, history):
    before = await source.sample()
    due = time.monotonic()
    for done in itertools.count(1):
        # Late is late: no samples in a hurry to make up for it
        due = max(due + options.interval,
                  time.monotonic() + options.interval / 2)
        await monitor.idle(due - time.monotonic(),
                           REFRESH_SECONDS if view.refreshes else None)
        after = await source.sample()
        block = model.make_block(before, after)
        if options.png:
            history.add(block)
        view.show(block)
        if done == options.count:
            return
        before = after
