# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP connection."""

import asyncio
import contextlib
import importlib
import logging
import os
import socket
import stat
import struct
import sys
import time

from vqbench import machine

from . import TopError

# Longest time that QEMU's main loop may take to greet, and to answer
GREETING_SECONDS = 3
ANSWER_SECONDS = 20

# How often to look whether QEMU is there
LOOK_SECONDS = 0.5

BASES = ('10.0', '9.0')

REMAPPED = 'VIRTIO_BLK_REMAPPED'


class CommandMissing(Exception):
    """This QEMU does not have the command."""


def import_library(given):
    """
    Make QEMU's python/qemu/qmp importable: of the folder @given, or of a
    prepared tree, or as installed. Returns the package.
    """
    folders = [given] if given else [
        os.path.join(machine.BUILD, base, part, 'python')
        for base in BASES for part in ('src', 'stock/src')]
    for folder in folders:
        if os.path.isfile(os.path.join(folder, 'qemu', 'qmp', '__init__.py')):
            sys.path.insert(0, folder)
            break
    else:
        if given:
            raise TopError(f'{given} has no qemu/qmp; it must be the folder '
                           'python of a QEMU source tree')
    try:
        library = importlib.import_module('qemu.qmp')
    except ImportError as err:
        raise TopError('QEMU\'s python/qemu/qmp is missing; give the folder '
                       'python of a QEMU source tree as --qemu-python, or '
                       'run: make build') from err
    # What it would say of an error, this program says in a line
    logging.getLogger('qemu.qmp').addHandler(logging.NullHandler())
    logging.getLogger('qemu.qmp').propagate = False
    return library


def _address(name):
    """What socket.connect() takes."""
    if os.path.exists(name) or '/' in name:
        return name
    legacy = importlib.import_module('qemu.qmp.legacy')
    try:
        return legacy.QEMUMonitorProtocol.parse_address(name)
    except legacy.QMPBadPortError as err:
        raise TopError(f'"{name}" is neither a socket nor HOST:PORT') from err


def _open(name):
    """Connect to QEMU's socket, without a word to it."""
    address = _address(name)
    try:
        if isinstance(address, tuple):
            return socket.create_connection(address, GREETING_SECONDS)
        if not stat.S_ISSOCK(os.stat(address).st_mode):
            raise TopError(f'{name} is no socket; give the one of QEMU\'s '
                           '-qmp unix:SOCKET,server=on,wait=off')
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(GREETING_SECONDS)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock
    except FileNotFoundError as err:
        raise TopError(f'there is no {name}; start QEMU with -qmp '
                       'unix:SOCKET,server=on,wait=off') from err
    except ConnectionRefusedError as err:
        raise TopError(f'nobody listens on {name}; has its QEMU '
                       'ended?') from err
    except PermissionError as err:
        raise TopError(f'no permission to connect to {name}; run this as the '
                       'user that runs QEMU, or as root') from err
    except (BlockingIOError, TimeoutError) as err:
        raise _busy(name) from err
    except OSError as err:
        raise TopError(f'cannot connect to {name}: '
                       f'{err.strerror or err}') from err


def _busy(name):
    return TopError(f'{name} does not greet within {GREETING_SECONDS} s; QEMU '
                    'serves one client of a socket at a time: end the other '
                    'one, or give QEMU another -qmp')


def _peer(sock):
    """Id of the process that opened the socket to listen on, or None."""
    if sock.family != socket.AF_UNIX:
        return None
    size = struct.calcsize('3i')
    pid, _uid, _gid = struct.unpack('3i', sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid or None


class Refused(TopError):
    """QEMU has answered a command with an error."""


class Monitor:
    """A connection; an async context manager."""

    def __init__(self, name, library):
        self._name = name
        self._library = library
        self._client = library.QMPClient()
        # What events have said since somebody asked for it
        self._unplugged = []
        self._remapped = {}
        self.peer = None

    async def __aenter__(self):
        sock = _open(self._name)
        self.peer = _peer(sock)
        try:
            await asyncio.wait_for(self._client.connect(sock),
                                   GREETING_SECONDS)
        except asyncio.TimeoutError as err:
            raise _busy(self._name) from err
        except self._library.ConnectError as err:
            if isinstance(err.exc, (EOFError, OSError)):
                raise TopError(f'{self._name} closed the connection; has its '
                               'QEMU ended?') from err
            raise TopError(f'{self._name} does not speak QMP; give the socket '
                           'of QEMU\'s -qmp') from err
        return self

    async def __aexit__(self, *_exc):
        # It raises what has broken the connection, which is known by now
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._client.disconnect(), 1)

    @property
    def version(self):
        """QEMU's, as it greets."""
        numbers = self._client.greeting.QMP.version['qemu']
        return '{major}.{minor}.{micro}'.format(**numbers)

    async def query(self, command, **arguments):
        """The answer of a query-* command, which changes nothing."""
        assert command.startswith('query-')
        return await self.execute(command, arguments)

    async def execute(self, command, arguments, seconds=ANSWER_SECONDS):
        """The answer of any command, if it comes within @seconds."""
        try:
            answer = await asyncio.wait_for(
                self._client.execute(command, arguments), seconds)
            # Python 3.11's wait_for() forgets that if both come at once
            if asyncio.current_task().cancelling():
                raise asyncio.CancelledError
            return answer
        except self._library.ExecuteError as err:
            if err.error_class == 'CommandNotFound':
                raise CommandMissing(command) from err
            raise Refused(f'QEMU says: {err}') from err
        except asyncio.TimeoutError as err:
            raise TopError(f'QEMU does not answer within {seconds} '
                           's') from err
        except (self._library.QMPError, EOFError, OSError) as err:
            raise _gone() from err

    def _note(self, event):
        """Remember what @event says, if it is one that matters."""
        data = event.get('data', {})
        if event['event'] == 'DEVICE_DELETED':
            self._unplugged.append(data['path'])
        elif event['event'] == REMAPPED:
            self._remapped[data['path']] = data

    def _note_all(self):
        for event in self._client.events.clear():
            self._note(event)

    def unplugged(self):
        """QOM paths of the devices that were unplugged since the last call."""
        self._note_all()
        paths, self._unplugged = self._unplugged, []
        return paths

    def remapped(self, path):
        """
        What the last VIRTIO_BLK_REMAPPED of the disk @path since the last call
        says, or None.
        """
        self._note_all()
        return self._remapped.pop(path, None)

    async def wait_remapped(self, path, seconds):
        """
        The same, if it comes within @seconds. None also if the disk is
        unplugged, which ends a remap without an event.
        """
        end = time.monotonic() + seconds
        while True:
            data = self.remapped(path)
            left = end - time.monotonic()
            if data or left <= 0 or any(
                    (path + '/').startswith(device + '/')
                    for device in self._unplugged):
                return data
            await self._next_event(left)

    async def _next_event(self, seconds):
        """Wait for an event, for so long at most; notice when QEMU ends."""
        try:
            self._note(await asyncio.wait_for(
                self._client.events.get(), min(seconds, LOOK_SECONDS)))
        except asyncio.TimeoutError:
            pass
        # As in execute()
        if asyncio.current_task().cancelling():
            raise asyncio.CancelledError
        if self._client.runstate != self._library.Runstate.RUNNING:
            self._note_all()
            raise _gone()

    async def idle(self, seconds, until_remapped=None):
        """
        Do nothing, and notice when QEMU ends. @until_remapped: end sooner, but
        not sooner than in so many seconds, when a disk was remapped.
        """
        start = time.monotonic()
        while (left := start + seconds - time.monotonic()) > 0:
            if until_remapped is not None and self._remapped:
                self._remapped.clear()
                await asyncio.sleep(max(
                    0, start + until_remapped - time.monotonic()))
                return
            await self._next_event(left)


def _gone():
    return TopError('QEMU has ended')
