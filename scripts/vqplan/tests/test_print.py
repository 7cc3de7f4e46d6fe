# SPDX-License-Identifier: GPL-2.0-or-later
"""What is printed: golden files, shell, libvirt's schemas."""

import functools
import os
import shutil
import subprocess

from .program import HERE, PROGRAM, ProgramTest, host, run

NVME = ('--disk', '/dev/nvme0n1')

# Name to the recorded host and the options
GOLDEN = {
    'one-node.out': ('one-node', '--vcpus', '4', '--pin', '2-5', '--disks',
                    '2'),
    'one-node-full.out': ('one-node', '--vcpus', '8', '--pin', '0-7=0-7'),
    'one-node-one-thread.xml': (
        'one-node', '--vcpus', '4', '--pin', '4-7', '--aio', 'io_uring',
        '--format', 'libvirt', '--disk', '/dev/mapper/vg-a--b'),
    'two-nodes.out': ('two-nodes-smt', '--vcpus', '8', '--pin', '24-31',
                      *NVME),
    'two-nodes-far.out': ('two-nodes-smt', '--vcpus', '8', '--pin', '4-11',
                         *NVME),
    'two-nodes.xml': ('two-nodes-smt', '--vcpus', '8', '--pin', '24-31',
                      *NVME, '--format', 'libvirt'),
    'two-nodes-old.xml': (
        'two-nodes-smt', '--vcpus', '8', '--pin', '24-31', *NVME, '--format',
        'libvirt-qemu-commandline'),
    'two-nodes-unpinned.out': ('two-nodes-smt', '--vcpus', '8', '--disks',
                              '2'),
    'two-nodes-own.out': ('two-nodes-smt', '--vcpus', '8', '--pin', '24-31',
                          *NVME, '--own-iothreads'),
    'one-node-own.out': ('one-node', '--vcpus', '8', '--pin', '0-7=0-7',
                         '--disks', '2', '--own-iothreads'),
    '96-cpus.out': ('96-cpus', '--vcpus', '32', '--pin', '28-43,72-87',
                   '--avoid', '24-27', '--disks', '3'),
    '96-cpus.xml': ('96-cpus', '--vcpus', '6', '--pin', '0-5=48-71',
                    '--disks', '28', '--format', 'libvirt'),
}


def golden(name):
    """Its path."""
    return os.path.join(HERE, 'golden', name)


class Golden(ProgramTest):
    maxDiff = None

    def test_golden(self):
        """three hosts, three formats: as it was; and --check likes it"""
        for name, (where, *options) in GOLDEN.items():
            with self.subTest(name):
                text = self.plan(*options, name=where)
                if os.environ.get('VQ_WRITE_GOLDEN'):
                    with open(golden(name), 'w', encoding='utf-8') as file:
                        file.write(text)
                with open(golden(name), encoding='utf-8') as file:
                    self.assertEqual(text, file.read())
                done = run('--check', golden(name), '--topology', host(where))
                self.assertEqual((done.returncode, done.stderr), (0, ''),
                                 done.stdout)

    def test_no_other(self):
        """each golden file has a test"""
        self.assertEqual(sorted(os.listdir(golden(''))), sorted(GOLDEN))

    def test_shell(self):
        """bash reads it, whatever the disk is called"""
        path = "/dev/mapper/it's $HOME `id` \\ \""
        text = self.plan('--vcpus', '2', '--disk', path, '--pin', '0-1')
        file = self.write(text)
        done = subprocess.run(
            ['bash', '-euc', '. "$1"; printf "%s\\n" "${vq_args[@]}"; '
             'declare -F vq_pin', '-', file], capture_output=True, text=True,
            check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('"filename":"/dev/mapper/it\'s $HOME `id` \\\\ \\""',
                      done.stdout)
        self.assertIn('\nvq_pin\n', done.stdout)

    def test_help(self):
        """--help names every option"""
        done = run('--help')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        for option in ('vcpus', 'pin', 'disks', 'disk', 'iothreads', 'cpus',
                       'node', 'avoid', 'aio', 'format', 'own-iothreads',
                       'name', 'topology', 'record', 'check'):
            self.assertRegex(done.stdout, f'\n  --{option} ')


@functools.lru_cache
def schemas():
    """Version to folder; or a reason why there are none."""
    get = os.path.join(os.path.dirname(PROGRAM), 'get-libvirt-schemas')
    done = subprocess.run([get], capture_output=True, text=True, check=False,
                          timeout=300)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ['?'])[-1]
    return dict(line.split(' ', 1) for line in done.stdout.splitlines())


class Schemas(ProgramTest):
    def setUp(self):
        super().setUp()
        self.folders = schemas()
        if isinstance(self.folders, str):
            self.skipTest(f'no schemas of libvirt: {self.folders}')
        if not shutil.which('xmllint'):
            self.skipTest('no xmllint; run: apt-get install libxml2-utils')

    def valid(self, version, name):
        """Whether libvirt of that version takes the golden file."""
        done = subprocess.run(
            ['xmllint', '--noout', '--relaxng',
             os.path.join(self.folders[version], 'domain.rng'),
             golden(name)], capture_output=True, text=True, check=False)
        self.assertIn(done.returncode, (0, 3), done.stderr)
        return done.returncode == 0

    def test_new(self):
        """libvirt 11 takes all domains"""
        for name in GOLDEN:
            if name.endswith('.xml'):
                with self.subTest(name):
                    self.assertTrue(self.valid('11', name))

    def test_old(self):
        """libvirt 9.0 takes those that are not said to need 10.0.0"""
        for name in GOLDEN:
            if name.endswith('.xml'):
                with self.subTest(name):
                    with open(golden(name), encoding='utf-8') as file:
                        new = 'Needs libvirt 10.0.0' in file.read()
                    self.assertEqual(self.valid('9.0', name), not new)
