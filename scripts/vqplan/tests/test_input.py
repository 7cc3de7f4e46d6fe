# SPDX-License-Identifier: GPL-2.0-or-later
"""What it refuses, and in which words."""

import json

from .program import ProgramTest, host, run

DISK = '-device virtio-blk-pci,drive=d '


class Options(ProgramTest):
    def test_options(self):
        """wrong options"""
        for pattern, *options in (
                ('give one of --vcpus',),
                ('give one of --vcpus', '--vcpus', '2', '--check', 'x'),
                ('--cpus is not for --check', '--check', 'x', '--cpus', '1'),
                ('--own-iothreads is not for --check', '--check', 'x',
                 '--own-iothreads'),
                ('--own-iothreads is for --format qemu', '--vcpus', '2',
                 '--own-iothreads', '--format', 'libvirt'),
                ('"0" is no number from 1', '--vcpus', '0'),
                ('"-1" is no|expected one argument', '--vcpus', '-1'),
                ('"1e3" is no number', '--vcpus', '1e3'),
                ('"2000" is no number', '--vcpus', '2000'),
                ('"x" is no list', '--vcpus', '2', '--pin', 'x'),
                ('empty', '--vcpus', '2', '--cpus', ''),
                ('has 3 CPUs for 2 vCPUs', '--vcpus', '2', '--pin', '0-2'),
                ('vCPU 1 has none', '--vcpus', '2', '--pin', '0=1'),
                ('vCPU 2 is not one', '--vcpus', '2', '--pin', '0-2=1'),
                ('vCPU 0 is given twice', '--vcpus', '2', '--pin', '0=1',
                 '--pin', '0-1=1'),
                ('no /dev/', '--vcpus', '2', '--disk', 'a.qcow2'),
                ('no /dev/', '--vcpus', '2', '--disk', '/dev/a\nb'),
                ('each --disk is one', '--vcpus', '2', '--disk', '/dev/a',
                 '--disks', '2'),
                ('is not made of', '--vcpus', '2', '--name', 'a,b'),
                ('"many" is no number', '--vcpus', '2', '--iothreads', 'many'),
                ('invalid choice', '--vcpus', '2', '--format', 'x')):
            with self.subTest(options):
                self.must_fail(pattern, *options)

    def test_plan(self):
        """what cannot be planned on that host"""
        for pattern, *options in (
                ('no CPU 48', '--pin', '47,48'),
                ('no CPU 99', '--cpus', '1,99'),
                ('no node 2', '--node', '2'),
                ('leave none', '--cpus', '1', '--avoid', '1'),
                ('leaves no CPU', '--pin', '0-1', '--avoid', '0-23'),
                ('no CPU is left', '--avoid', '0-47'),
                ('as many virtqueues', '--iothreads', '3')):
            with self.subTest(options):
                self.must_fail(pattern, '--topology', host('two-nodes-smt'),
                               '--vcpus', '2', *options)
        # Round-robin would be by chance: vCPUs 0-1 are on node 0, 2-3 on 1
        self.must_fail('--own-iothreads: iothread0 is for virtqueues 0-1 here',
                       '--topology', host('two-nodes-smt'), '--vcpus', '4',
                       '--pin', '0,2,24,26', '--own-iothreads')
        self.must_fail('no block device /dev/nosuch', '--vcpus', '2',
                       '--disk', '/dev/nosuch')

    def test_host(self):
        """what is no topology"""
        with open(host('one-node'), encoding='utf-8') as file:
            good = json.load(file)
        for text in ('', '[]', '{}', 'x', '[' * 100000, b'\xff\xfe\0',
                     json.dumps({**good, 'nodes': {}}),
                     json.dumps({**good, 'nodes': {'x': 1}}),
                     json.dumps({**good, 'disks': {'a': 'b'}}),
                     json.dumps({**good, 'cores': 3})):
            self.must_fail('is no recording', '--vcpus', '2', '--topology',
                           self.write(text))
        self.must_fail('cannot read .*: No such file', '--vcpus', '2',
                       '--topology', '/nosuch')
        self.must_fail('cannot read .*online: No such file', '--vcpus', '2',
                       '--topology', self.dir)
        self.must_fail('No such file', '--record', '/nosuch/file')


class Check(ProgramTest):
    def test_malformed(self):
        """files that --check cannot read: one line"""
        for pattern, text in (
                ('it is empty', ''), ('it is empty', ' \n'),
                ('no virtio-blk disk', 'hello'),
                ('no virtio-blk disk', '# -device virtio-blk-pci\n'),
                ('no virtio-blk disk', b'\x7fELF\xff\xfe\x80'),
                ('no virtio-blk disk', '<domain/>'),
                ('no XML', '<'), ('no XML', '<domain'), ('no XML', '<a></b>'),
                ('no XML', b'\xff\xfe<'), ('no XML', '<?xml version="9"?>'),
                ('no XML', '<?xml version="1.0" encoding="x"?><domain/>'),
                ('XML of <a>', '<a/>'),
                ('DOCTYPE is not read', '<!DOCTYPE a [<!ENTITY b "c">'
                 '<!ENTITY d "&b;&b;">]><domain>&d;</domain>'),
                ('DOCTYPE is not read',
                 '<!DOCTYPE a [<!ENTITY b "c">]><domain/>'.encode('utf-16')),
                ('line 2: the \' is not closed', DISK + "\n'"),
                ('line 1: the " is not closed', DISK + '"a\n\n'),
                (r'line 1: the \$\( is not closed', DISK + '"$(x'),
                ('-object has no value', DISK + '-object'),
                ('no JSON', "-device '{'"), ('no JSON', "-device '{]'"),
                ('no JSON', '-device ' + '{"a":' * 20000),
                ('"id" is no string', '-device \'{"id":[]}\''),
                ('no list of', '-device \'{"driver":"virtio-blk-pci",'
                 '"iothread-vq-mapping":3}\''),
                ('no list of', '-device \'{"driver":"virtio-blk-pci",'
                 '"iothread-vq-mapping":[{"iothread":"a","vqs":["x"]}]}\''),
                ('is for a shell to expand', '-device "$(disk 1)"'),
                ('0 virtqueues', DISK[:-1] + ',num-queues=0'),
                ('9999 virtqueues', DISK[:-1] + ',num-queues=9999'),
                ('x-iothreads=x is neither', DISK[:-1] + ',x-iothreads=x'),
                ('x-iothreads=-1 is neither', DISK[:-1] + ',x-iothreads=-1'),
                ('x-iothreads=True is neither', '-device \'{"driver":'
                 '"virtio-blk-pci","x-iothreads":true}\''),
                ('x-iothread-cpus has "0-"',
                 DISK[:-1] + ',x-iothread-cpus=0-'),
                ('x-iothread-cpus has "0-3:1/2"|"1/2"', '-device \'{"driver":'
                 '"virtio-blk-pci","x-iothread-cpus":["0-3:1/2"]}\''),
                ('x-iothread-cpus has "1"', '-device \'{"driver":'
                 '"virtio-blk-pci","x-iothread-cpus":[1]}\''),
                ('vCPUs cannot be', DISK + '-smp 99999999'),
                ('vCPUs cannot be', '<domain><vcpu>0</vcpu></domain>'),
                ('are too many', '<domain><iothreads>9999999</iothreads>'
                 '</domain>'),
                ('no list of CPUs', '<domain><cputune><vcpupin vcpu="0" '
                 'cpuset="x"/></cputune></domain>'),
                ('qemu:arg 2: this is no JSON', '<domain xmlns:q="http://'
                 'libvirt.org/schemas/domain/qemu/1.0"><q:commandline><q:arg '
                 'value="-device"/><q:arg value="{"/></q:commandline>'
                 '</domain>')):
            with self.subTest(text[:60]):
                self.must_fail(pattern, '--check', self.write(text))
        self.must_fail('/nosuch: No such file', '--check', '/nosuch')
        self.must_fail('directory', '--check', self.dir)
        self.must_fail('stdin: it is empty', '--check', '-', data='')

    def test_no_trace(self):
        """whatever a good file is cut to, there is no traceback"""
        for text in (self.plan('--vcpus', '4', '--pin', '0-3', '--disk',
                               '/dev/nvme0n1', '--iothreads', '2'),
                     self.plan('--vcpus', '4', '--pin', '0-3', '--iothreads',
                               '2', '--format', 'libvirt')):
            for cut in range(0, len(text), len(text) // 12):
                done = run('--check', '-', data=text[:cut] + text[cut + 9:])
                self.assertIn(done.returncode, (0, 1, 2), done.stderr)
                self.assertNotIn('Traceback', done.stderr)
