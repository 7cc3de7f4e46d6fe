# SPDX-License-Identifier: GPL-2.0-or-later
"""The package itself."""

import os
import socket
import stat
import tempfile
import unittest

import vqout


class OutputTest(unittest.TestCase):
    """What the tests share: a folder with all that an output may be."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def put(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)
        return self.path(name)

    def text(self, *names):
        with open(self.path(*names), encoding='utf-8') as file:
            return file.read()

    def fifo(self):
        """(path, where what is written to it can be read)."""
        os.mkfifo(self.path('fifo'))
        reader = os.open(self.path('fifo'), os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        return self.path('fifo'), reader

    def device(self):
        """A node of one, where one may be made and opened, or a link."""
        path = self.path('device')
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
            os.close(os.open(path, os.O_WRONLY))
        except PermissionError:
            if os.path.lexists(path):
                os.unlink(path)
            os.symlink('/dev/null', path)
        return path

    def sock(self):
        path = self.path('sock')
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
        return path

    def kinds(self):
        """What everything is, with its inode if it is no regular file."""
        found = {}
        for name in os.listdir(self.dir):
            entry = os.lstat(self.path(name))
            regular = stat.S_ISREG(entry.st_mode)
            found[name] = (stat.S_IFMT(entry.st_mode),
                           None if regular else entry.st_ino)
        return found

    def refuses(self, path, why):
        """Both say so, and nothing is changed."""
        before = self.kinds()
        for function in (vqout.check, lambda path: vqout.write(path, 'x')):
            with self.assertRaises(vqout.OutputError) as caught:
                function(path)
            self.assertRegex(str(caught.exception),
                             f'^cannot write {path}: {why}$')
        self.assertEqual(self.kinds(), before)


class Files(OutputTest):
    def test_regular(self):
        """a regular file is replaced, and keeps its mode"""
        path = self.path('file')
        vqout.check(path)
        self.assertEqual(os.listdir(self.dir), [])
        vqout.write(path, 'one')
        os.chmod(path, 0o640)
        with open(path, encoding='utf-8') as old:
            vqout.check(path)
            vqout.write(path, b'two')
            self.assertEqual(old.read(), 'one')
        self.assertEqual(self.text('file'), 'two')
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
        self.assertEqual(os.listdir(self.dir), ['file'])

    def test_link(self):
        """a link stays, and what it points at is written"""
        self.put('file', 'old')
        for link, target in (('link', 'file'), ('link2', 'link'),
                             ('dangling', 'new')):
            os.symlink(target, self.path(link))
        before = self.kinds()
        for link, target in (('link', 'file'), ('link2', 'file'),
                             ('dangling', 'new')):
            vqout.check(self.path(link))
            vqout.write(self.path(link), link)
            self.assertEqual(self.text(target), link)
        self.assertEqual(self.kinds(), {**before, 'new': before['file']})

    def test_fifo(self):
        """the reader of a FIFO gets it"""
        path, reader = self.fifo()
        before = self.kinds()
        vqout.check(path)
        vqout.write(path, 'text')
        self.assertEqual(os.read(reader, 10), b'text')
        self.assertEqual(self.kinds(), before)

    def test_pipe(self):
        """and that of a pipe which has a number only"""
        reader, writer = os.pipe()
        vqout.check(f'/dev/fd/{writer}')
        vqout.write(f'/dev/fd/{writer}', 'text')
        os.close(writer)
        self.assertEqual(os.read(reader, 10), b'text')
        os.close(reader)

    def test_opened(self):
        """a file that is known by its descriptor is not replaced"""
        with open(self.path('file'), 'w+', encoding='utf-8') as file:
            file.write('one ')
            file.flush()
            vqout.check(f'/dev/fd/{file.fileno()}')
            vqout.write(f'/dev/fd/{file.fileno()}', 'two')
            file.seek(0)
            self.assertEqual(file.read(), 'one two')

    def test_device(self):
        """a device is written to, as root too"""
        path = self.device()
        os.symlink('/dev/null', self.path('null'))
        before = self.kinds()
        for name in (path, self.path('null')):
            vqout.check(name)
            vqout.write(name, 'text')
        self.assertEqual(self.kinds(), before)

    def test_refused(self):
        """what is neither is left alone"""
        self.refuses(self.dir, 'it is a folder')
        self.refuses('', 'No such file or directory')
        self.refuses(self.path('no', 'file'), 'No such file or directory')
        self.refuses(self.sock(), 'it is no regular file')
        os.symlink('loop', self.path('loop'))
        self.refuses(self.path('loop'), 'Too many levels of symbolic links')
        self.put('file', 'text')
        self.refuses(self.path('file', 'x'), 'Not a directory')

    def test_permission(self):
        """nor is what may not be written; root gives up what it may"""
        file = self.put('file', 'kept')
        os.chmod(file, 0o666)
        os.chmod(self.dir, 0o555)
        uid = os.geteuid()
        os.seteuid(uid or 65534)
        try:
            self.refuses(file, 'Permission denied')
            self.refuses(self.path('new'), 'Permission denied')
        finally:
            os.seteuid(uid)
            os.chmod(self.dir, 0o755)
        self.assertEqual(self.text('file'), 'kept')


class Folders(OutputTest):
    def fill(self, out, *names, **more):
        with vqout.folder(out, *names, **more) as tmp:
            os.mkdir(os.path.join(tmp, 'sub'))
            for name in ('a', 'sub/b'):
                with open(os.path.join(tmp, name), 'w',
                          encoding='utf-8') as file:
                    file.write(f'new {name}')

    def test_folder(self):
        """files go into it when all went well; what it had stays"""
        out = self.path('out')
        self.fill(out)
        self.assertEqual(self.text('out', 'sub', 'b'), 'new sub/b')
        self.put('out/a', 'old')
        self.put('out/other', 'mine')
        self.fill(out, 'a')
        self.assertEqual(self.text('out', 'a'), 'new a')
        self.assertEqual(self.text('out', 'other'), 'mine')
        self.assertEqual(sorted(os.listdir(out)), ['a', 'other', 'sub'])

    def test_fails(self):
        """and when it did not, nothing is there"""
        for options, entries in (({}, []), ({'keep_failed': True},
                                            ['out.failed'])):
            with self.assertRaises(ZeroDivisionError):
                with vqout.folder(self.path('out'), **options) as tmp:
                    with open(os.path.join(tmp, 'a'), 'wb'):
                        pass
                    raise ZeroDivisionError
            self.assertEqual(os.listdir(self.dir), entries)
        self.assertEqual(os.listdir(self.path('out.failed')), ['a'])

    def test_link(self):
        """a link to a folder stays one"""
        os.mkdir(self.path('folder'))
        os.symlink('folder', self.path('link'))
        before = self.kinds()
        self.fill(self.path('link'))
        self.assertEqual(self.kinds(), before)
        self.assertEqual(self.text('folder', 'a'), 'new a')

    def test_special(self):
        """nor is what is in it replaced, if it is no regular file"""
        out = self.dir
        os.symlink('target', self.path('a'))
        before = self.kinds()
        self.fill(out, 'a')
        self.assertEqual(self.text('target'), 'new a')
        self.assertEqual({**self.kinds(), **before}, self.kinds())
        os.unlink(self.path('a'))
        os.mkdir(self.path('a'))
        before = self.kinds()
        with self.assertRaisesRegex(vqout.OutputError, 'it is a folder'):
            self.fill(out, 'a')
        with self.assertRaisesRegex(vqout.OutputError, 'it is a folder'):
            self.fill(out)
        self.assertEqual(self.kinds(), before)

    def test_refused(self):
        """what is no folder, or cannot be one, is left alone"""
        self.put('file', 'kept')
        self.fifo()
        before = self.kinds()
        for name, why in (('file', 'it is no folder'),
                          ('fifo', 'it is no folder'),
                          ('file/out', 'Not a directory')):
            with self.assertRaisesRegex(
                    vqout.OutputError,
                    f'^cannot write {self.path(name)}: {why}$'):
                self.fill(self.path(name))
        self.assertEqual(self.kinds(), before)
        self.assertEqual(self.text('file'), 'kept')
