# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said about an interval."""

import json
import time

from vqtop.table import printable

from .policy import thread_loads

# Of the event's "node"
STAYS = {'in-use': 'another user holds it where it is',
         'busy': 'requests or block jobs did not come to rest'}


def as_object(block, queues, threads, verdict, done):
    """For --json. @done: what came of the move, None if none was made."""
    loads = thread_loads(queues, threads)
    result = {'time': round(block['time'], 3),
              'seconds': round(block['seconds'], 3),
              'verdict': verdict.kind, 'reason': verdict.reason}
    if verdict.imbalance is not None:
        result['imbalance'] = round(verdict.imbalance, 3)
    result['iothreads'] = [
        {'id': thread.name, 'load': round(loads[thread.name], 1),
         **({} if thread.cpu_percent is None else
            {'cpu-percent': round(thread.cpu_percent, 1)})}
        for thread in threads]
    if verdict.move:
        queue = verdict.move.queue
        result['move'] = {'disk': queue.disk, 'index': queue.index,
                          'load': round(queue.load, 1), 'from': queue.owner,
                          'to': verdict.move.target, **(done or {})}
    return result


def _end(done):
    """For how long, and what is not as it should be."""
    text = f'unserved for {done["unserved-ns"] / 1000:.0f} us'
    if done['node'] in STAYS:
        text += f' (its block node stays: {STAYS[done["node"]]})'
    return text


class Log:
    """Prints a line per move, and one whenever there is another reason."""

    def __init__(self, as_json):
        self._json = as_json
        self._said = None

    def show_arrival(self, block, item):
        """A move that took too long has ended."""
        if self._json:
            print(json.dumps({'time': round(block['time'], 3),
                              'verdict': 'arrived', 'move': item}),
                  flush=True)
            return
        clock = time.strftime('%H:%M:%S', time.localtime(block['time']))
        print(f'{clock} {printable(item["disk"])} virtqueue {item["index"]} '
              f'has arrived, {_end(item)}', flush=True)

    def show(self, block, queues, threads, verdict, done):
        """An interval has ended; @done as for as_object()."""
        if self._json:
            print(json.dumps(as_object(block, queues, threads, verdict, done)),
                  flush=True)
            return
        if verdict.move:
            text = _move(verdict, done)
        else:
            word = 'waits' if verdict.kind == 'waits' else 'no move'
            text = f'{word}: {verdict.reason}'
        # A dry run would say the same again and again
        key = text if done else (verdict.kind, verdict.move and
                                 verdict.move.queue.key)
        if key != self._said:
            clock = time.strftime('%H:%M:%S', time.localtime(block['time']))
            print(clock, text, flush=True)
        self._said = key


def _move(verdict, done):
    move = verdict.move
    where = (f'{printable(move.queue.disk)} virtqueue {move.queue.index} from '
             f'{printable(move.queue.owner)} to {printable(move.target)}')
    if done is None:
        what = f'would move {where}'
    elif 'leaving' in done:
        what = (f'moves {where}, which has not ended in time: virtqueue ' +
                '; virtqueue '.join(done['leaving'] or ['?']))
    elif 'error' in done:
        what = f'cannot move {where}, {printable(done["error"])}'
    else:
        what = f'moves {where}, {_end(done)}'
    return f'{what}: {verdict.reason}'
