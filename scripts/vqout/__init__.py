# SPDX-License-Identifier: GPL-2.0-or-later
"""
Outputs that the user names. A regular file is replaced as a whole, by rename;
of a symbolic link, what it points at. A character device or a FIFO is written
to. All else is refused. check() finds out before the long run.
"""

import contextlib
import os
import shutil
import stat
import tempfile

# As the kernel has it
MAX_LINKS = 40


class OutputError(OSError):
    """Cannot be written; says why, in a line."""


def _cannot(path, why):
    return OutputError(f'cannot write {path}: {why}')


def _in_proc(path):
    """Is it, or what is an open file's link there, such as /dev/fd/1?"""
    return os.path.realpath(os.path.dirname(path)).startswith('/proc/')


def _follow_links(path):
    """
    What @path points at, which need not exist. A link in /proc is no name of
    what it points at, so it is what is returned.
    """
    for _ in range(MAX_LINKS):
        if not os.path.islink(path) or _in_proc(path):
            break
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return path


def _examine(path):
    """(whether to write in place, else the name to rename to)."""
    target = _follow_links(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as err:
        if not path:
            raise _cannot(path, err.strerror) from err
        return False, target
    except OSError as err:
        raise _cannot(path, err.strerror) from err
    if stat.S_ISDIR(mode):
        raise _cannot(path, 'it is a folder')
    in_place = (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or
                _in_proc(target))
    if not in_place and not stat.S_ISREG(mode):
        raise _cannot(path, 'it is no regular file')
    if not os.access(path, os.W_OK):
        raise _cannot(path, 'no permission')
    return in_place, target


def _create_beside(path, target):
    """(descriptor, name) of a new file."""
    folder, name = os.path.split(target)
    try:
        return tempfile.mkstemp(prefix=f'.{name}.', dir=folder or '.')
    except OSError as err:
        raise _cannot(path, err.strerror) from err


def _new_mode(target):
    """Of the file that replaces @target."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(os.stat(target).st_mode) & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def check(*paths):
    """Refuse what write() could not write, and leave everything as it is."""
    for path in paths:
        in_place, target = _examine(path)
        if not in_place:
            file, name = _create_beside(path, target)
            os.close(file)
            os.unlink(name)


def write(path, data):
    """Let text or bytes @data be the content of @path."""
    if isinstance(data, str):
        data = data.encode()
    in_place, target = _examine(path)
    if in_place:
        try:
            with open(path, 'ab', buffering=0) as file:
                file.write(data)
        except OSError as err:
            raise _cannot(path, err.strerror) from err
        return
    number, name = _create_beside(path, target)
    try:
        with open(number, 'wb') as file:
            file.write(data)
            os.fchmod(number, _new_mode(target))
        os.replace(name, target)
    except OSError as err:
        raise _cannot(path, err.strerror) from err
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _make_folder(out):
    try:
        os.makedirs(out, exist_ok=True)
        return tempfile.mkdtemp(prefix='.new.', dir=out)
    except FileExistsError as err:
        raise _cannot(out, 'it is no folder') from err
    except OSError as err:
        raise _cannot(out, err.strerror) from err


def _files(folder):
    """Regular files below @folder, as paths relative to it."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield os.path.relpath(path, folder)


def _move(source, target):
    """File @source becomes @target, or is what is written to it."""
    in_place, name = _examine(target)
    if not in_place:
        os.chmod(source, _new_mode(name))
        try:
            os.replace(source, name)
            return
        except OSError:
            # A link to another file system
            pass
    with open(source, 'rb') as file:
        write(target, file.read())


def _move_all(folder, out):
    """All of @folder's files into folder @out, or none of them."""
    names = list(_files(folder))
    for name in names:
        parent = os.path.join(out, os.path.dirname(name))
        try:
            os.makedirs(parent, exist_ok=True)
        except OSError as err:
            raise _cannot(parent, err.strerror) from err
        check(os.path.join(out, name))
    for name in names:
        _move(os.path.join(folder, name), os.path.join(out, name))


@contextlib.contextmanager
def folder(out, *names, keep_failed=False):
    """
    A folder to write into, whose files go into folder @out if all goes well.
    Else, with @keep_failed, they go into OUT.failed. What else these folders
    have stays there. @names are known to be written.
    """
    out = os.path.abspath(out)
    new = not os.path.isdir(out)
    tmp = _make_folder(out)
    try:
        check(*(os.path.join(out, name) for name in names))
        yield tmp
        _move_all(tmp, out)
    except BaseException:
        if keep_failed:
            with contextlib.suppress(OSError):
                os.makedirs(f'{out}.failed', exist_ok=True)
                _move_all(tmp, f'{out}.failed')
        raise
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
        if new:
            # If it is empty
            with contextlib.suppress(OSError):
                os.rmdir(out)
