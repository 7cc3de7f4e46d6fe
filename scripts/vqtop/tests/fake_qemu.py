# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP server that is scripted, and what it would answer."""

import contextlib
import json
import os
import socket
import threading

from ..model import KINDS

GREETING = {'QMP': {'version': {'qemu': {'major': 9, 'minor': 0, 'micro': 0},
                                'package': ''}, 'capabilities': ['oob']}}

# Arguments of our commands; others are refused as QEMU does
KNOWN = {'query-virtio-blk-queues': ('id',),
         'virtio-blk-set-iothread-vq-mapping': (
             'id', 'iothread-vq-mapping', 'main-loop')}


def queue(index, iothread=None, tid=1, enabled=True, **totals):
    """An item of "queues"; of @totals, read= and the like are requests."""
    item = {'index': index, 'enabled': enabled, 'thread-id': tid,
            'state': 'attached', 'waiting': 0,
            'in-flight': 0, 'max-in-flight': 0, 'failed': 0,
            'notifications': 0, 'polls': 0, 'batches': 0, 'max-batch': 0,
            'interrupts': 0,
            **{kind: {'requests': 0, 'bytes': 0} for kind in KINDS}}
    if iothread:
        item['iothread'] = iothread
    for key, value in totals.items():
        key = key.replace('_', '-')
        item[key] = ({'requests': value, 'bytes': 4096 * value}
                     if key in KINDS else value)
    return item


def path_of(name):
    """QOM path of the disk @name."""
    return f'/machine/peripheral/{name}/virtio-backend'


def disk(name, *queues, started=True, remapping=False):
    """An item of what query-virtio-blk-queues returns."""
    return {'id': name, 'path': path_of(name),
            'num-queues': len(queues), 'ioeventfd-started': started,
            'remapping': remapping, 'queues': list(queues)}


def remapped(name, *queues, node='same'):
    """The event for the disk @name; @queues: (index, from, to, unserved ns)"""
    return {'event': 'VIRTIO_BLK_REMAPPED', 'timestamp': {},
            'data': {'id': name, 'path': path_of(name), 'node': node,
                     'queues': [{'index': index, 'from': old, 'to': new,
                                 'unserved-ns': ns}
                                for index, old, new, ns in queues]}}


def iothread(name, tid):
    """An item of what query-iothreads returns."""
    return {'id': name, 'thread-id': tid, 'poll-max-ns': 32768}


def block_stats(name, reads):
    """An item of what query-blockstats returns."""
    return {'device': '', 'node-name': 'drive0',
            'qdev': path_of(name),
            'stats': {'rd_operations': reads, 'rd_bytes': 4096 * reads,
                      'wr_operations': 0, 'wr_bytes': 0,
                      'flush_operations': 0}}


def _requests(client):
    """What a client sends; it ends no line."""
    decoder = json.JSONDecoder()
    text = ''
    while data := client.recv(4096):
        text += data.decode()
        while text:
            try:
                request, end = decoder.raw_decode(text)
            except ValueError:
                break
            yield request
            text = text[end:].lstrip()


class FakeQemu:
    """
    Serves clients of the socket @path, one at a time, with @answers: command
    to what it returns, or to a function that returns it; all others are
    unknown. It hangs up at the command number @last.
    """

    def __init__(self, path, answers=None, greeting=None, last=None):
        self.commands = []
        # Sent before, or after, the next answer
        self.events = []
        self.late_events = []
        self._answers = {'qmp_capabilities': {}, 'query-name': {},
                         'query-cpus-fast': [], 'query-iothreads': [],
                         **(answers or {})}
        self._greeting = greeting or json.dumps(GREETING) + '\r\n'
        self._last = last
        self._client = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._path = path
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        """No more clients, and no socket."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
            os.unlink(self._path)
        self._listener.close()
        self._thread.join(5)

    def send(self, event):
        """Now, while no command is being answered."""
        self._client.sendall((json.dumps(event) + '\r\n').encode())

    def hang_up(self):
        """End the connection with the client."""
        self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self):
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                self._client = client
                client.sendall(self._greeting.encode())
                for request in _requests(client):
                    self.commands.append(request['execute'])
                    if len(self.commands) == self._last:
                        break
                    client.sendall(self._reply(request).encode())

    def _reply(self, request):
        """The events that are due, and the answer."""
        answer = self._answer(request)
        if 'id' in request:
            answer['id'] = request['id']
        messages = [*self.events, answer, *self.late_events]
        self.events, self.late_events = [], []
        return ''.join(json.dumps(item) + '\r\n' for item in messages)

    def _answer(self, request):
        command = request['execute']
        if command not in self._answers:
            return {'error': {'class': 'CommandNotFound', 'desc':
                              f'The command {command} has not been found'}}
        answer = self._answers[command]
        arguments = request.get('arguments', {})
        for name in arguments:
            if name not in KNOWN.get(command, arguments):
                return {'error': {'class': 'GenericError', 'desc':
                                  f"Parameter '{name}' is unexpected"}}
        if callable(answer):
            answer = answer(arguments)
        return dict(answer) if 'error' in answer else {'return': answer}


def busy_vm():
    """Answers of a VM with threads of this process, and load on 3 of 4."""
    tid = os.getpid()
    turn = 0

    def queues(arguments):
        nonlocal turn
        wanted = arguments.get('id')
        if wanted not in (None, 'disk0'):
            return {'error': {'class': 'DeviceNotFound', 'desc':
                              f"Device '{wanted}' not found"}}
        turn += 1
        return [disk('disk0', *(
            queue(i, f'iothread{i % 2}', tid, read=1000 * turn * i,
                  batches=100 * turn * i) for i in range(4)),
            queue(4, 'iothread0', tid, enabled=False))]

    return {'query-virtio-blk-queues': queues, 'query-name': {'name': 'vm'},
            'query-iothreads': [iothread('iothread0', tid),
                                iothread('iothread1', tid)]}


def stock_vm():
    """Answers of a VM of a QEMU without query-virtio-blk-queues."""
    turn = 0

    def stats(_arguments):
        nonlocal turn
        turn += 1
        return [block_stats('disk0', 1000 * turn)]

    return {'query-iothreads': [iothread('iothread0', os.getpid())],
            'query-blockstats': stats}
