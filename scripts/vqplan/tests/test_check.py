# SPDX-License-Identifier: GPL-2.0-or-later
"""--check: what it finds, and what it does not."""

import contextlib
import io
import json

from vqplan import check, libvirt

from .program import ProgramTest, host

DRIVE = '-drive if=none,id=d,file=/d,format=raw,cache=none,aio=native '


def mapping(*items):
    """JSON for (iothread, virtqueues...); no virtqueues: no "vqs"."""
    return [{'iothread': item[0], **({'vqs': item[1:]} if item[1:] else {})}
            for item in items]


def disk(items=None, **more):
    """An argument -device."""
    values = {'driver': 'virtio-blk-pci', 'drive': 'd', **more}
    if items is not None:
        values['iothread-vq-mapping'] = mapping(*items)
    return f"-device '{json.dumps(values)}' "


def threads(*names):
    return ''.join(f'-object iothread,id={name} ' for name in names)


def vm(*parts, vcpus=4):
    return f'qemu -name n,debug-threads=on -smp {vcpus} ' + ' '.join(parts)


def pin(cpus, name):
    return f'\ntaskset -pc {cpus} "$(tid \'{name}\')"'


GOOD = vm(threads('a', 'b'), DRIVE, disk([('a', 0, 1), ('b', 2, 3)]))


def domain(driver='', extra='', vcpus=4, count=2):
    """A libvirt domain with a disk."""
    return f"""<domain type='kvm'><vcpu>{vcpus}</vcpu>
        <iothreads>{count}</iothreads>{extra}<devices><disk type='block'>
        <driver cache='none' io='native' {driver}</driver>
        <target dev='vda' bus='virtio'/></disk></devices></domain>"""


def queues(*items):
    """<iothreads> of a <driver>."""
    return '><iothreads>' + ''.join(
        f"<iothread id='{item[0]}'>" + ''.join(
            f"<queue id='{queue}'/>" for queue in item[1:]) + '</iothread>'
        for item in items) + '</iothreads>'


MAPPED = queues((1, 0, 1), (2, 2, 3))


class Check(ProgramTest):
    def check(self, text, *patterns, avoid=()):
        """A finding for each of @patterns, and no other."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = check.run(self.write(text), host('two-nodes-smt'),
                               avoid)
        lines = out.getvalue().splitlines()
        if not patterns:
            self.assertEqual((status, len(lines)), (0, 1), lines)
            self.assertIn('nothing is wrong', lines[0])
            return
        self.assertEqual((status, len(lines)), (1, len(patterns)), lines)
        for line, pattern in zip(lines, patterns):
            self.assertRegex(line, pattern)

    def test_shapes(self):
        """the four shapes of the README"""
        drive = ('-hda guest.qcow2 -serial mon:stdio -display none -blockdev '
                 'host_device,node-name=d,filename=/dev/nullb0,aio=native,'
                 'cache.direct=on ')
        names = [f'iothread{i}' for i in range(16)]
        for used, device in (
                (1, disk(iothread='iothread0')),
                (16, disk([(name,) for name in names])),
                (16, disk([(n, i) for i, n in enumerate(names)])),
                (8, disk([(n, 2 * i, 2 * i + 1)
                          for i, n in enumerate(names[:8])]))):
            text = vm(drive, threads(*names[:used]), device, vcpus=16)
            self.check(text)
            # As in /proc/PID/cmdline
            self.check('\0'.join(text.replace("'", '').replace(
                ', ', ',').replace(': ', ':').split()) + '\0')

    def test_idle(self):
        """IOThreads without virtqueues"""
        self.check(GOOD)
        self.check(vm(threads('a', 'b', 'c'), DRIVE,
                      disk([('a', 0, 1), ('b', 2, 3)])),
                   'line 1, c: it serves no virtqueue')
        self.check(vm(threads('a', 'b', 'c'), DRIVE, '-smp 2',
                      disk([('a',), ('b',), ('c',)])),
                   'c: it serves no virtqueue')
        self.check(vm(threads('a', 'b'), DRIVE, disk(iothread='a'),
                      '-device virtio-scsi-pci,iothread=b'))
        self.check(vm(threads('a'), DRIVE, disk(), '-global '
                      'virtio-blk-pci.iothread=a'))
        self.check(domain(MAPPED, count=3), 'iothread 3: it serves no virtq')
        self.check(domain("iothread='2'>"), 'iothread 1: it serves no virtq')
        self.check(domain(MAPPED))

    def test_ids(self):
        """<iothreadids> beside <iothreads>, and unknown ones"""
        ids = "<iothreadids><iothread id='7'/></iothreadids>"
        self.check(domain(queues((7, 0, 1), (1, 2, 3)), ids))
        self.check(domain(queues((7, 0, 1), (2, 2, 3)), ids),
                   'disk vda: there is no IOThread "iothread2"; those that '
                   'there are: iothread7, iothread1',
                   'iothread 1: it serves no')
        self.check(vm(threads('a'), DRIVE, disk(iothread='b')),
                   'no IOThread "b"; .* are: a', 'a: it serves no')

    def test_unused(self):
        """virtqueues that the guest does not use, and who has only those"""
        items = [('a', 0, 1), ('b', 2, 3)]
        self.check(vm(threads('a', 'b'), DRIVE, disk(items), vcpus=2),
                   'virtqueues? 2-3 of the mapping: the disk has 2',
                   'b: it serves no virtqueue')
        many = {'num-queues': 4}
        self.check(vm(threads('a', 'b'), DRIVE, disk(items, **many), vcpus=2),
                   '4 virtqueues for 2 vCPUs.* num-queues=2',
                   'b: it serves virtqueues 2-3 only, and a guest with 2 vCPU')
        self.check(vm(threads('a', 'b'), DRIVE, disk(items, **many),
                      vcpus='2,maxcpus=4'))
        self.check(vm(threads('a', 'b'), DRIVE, disk(items, **many),
                      vcpus='sockets=2,cores=2'))
        self.check(domain("queues='4' " + MAPPED, vcpus=2), ' queues=2',
                   'iothread 2: it serves virtqueues 2-3 only')
        self.check(domain("queues='4' " + MAPPED)
                   .replace('<vcpu>', "<vcpu current='2'>"))

    def test_mapping(self):
        """virtqueues missing, twice, too many; IOThreads twice"""
        start = (threads('a', 'b'), DRIVE)
        for items, *patterns in (
                ([('a', 0, 1), ('b', 2)], 'virtqueue 3 has no IOThread'),
                ([('a', 0, 1), ('b', 1, 2, 3)], 'virtqueue 1 .*once'),
                ([('a', 0, 1, 4), ('b', 2, 3)], 'virtqueue 4 .*has 4'),
                ([('a', 0, 1, -1), ('b', 2, 3)], 'virtqueue -1 .*has 4'),
                ([('a', 0, 1), ('b',)], 'give all of them some, or none'),
                ([('a', 0, 1), ('b', 2), ('a', 3)], 'a is in the mapping'),
                ([], 'mapping is empty', 'a: it serves', 'b: it serves')):
            self.check(vm(*start, disk(items)), *patterns)
        self.check(vm(*start, disk([('a',), ('b',)], iothread='a')),
                   'both an IOThread and a mapping')
        self.check(domain(queues((1, 0, 1), (2, 2))), 'virtqueue 3 has no')
        dotted = '-device virtio-blk-pci,drive=d,' + ','.join(
            f'iothread-vq-mapping.{i}.iothread={name},'
            f'iothread-vq-mapping.{i}.vqs.0={i},'
            f'iothread-vq-mapping.{i}.vqs.1={i + 2}'
            for i, name in enumerate('ab'))
        self.check(vm(*start, dotted))
        self.check(vm(*start, dotted.replace('vqs.1=2', 'vqs.1=1')),
                   'virtqueue 1 .*once', 'virtqueue 2 has no')

    def test_several_disks(self):
        """all disks on one of several IOThreads"""
        both = (DRIVE, disk(iothread='a'), disk(iothread='a', id='x'))
        self.check(vm(threads('a'), *both), 'x: a serves all virtqueues of '
                   'all 2 disks')
        self.check(vm(threads('a'), *both, vcpus=1))
        self.check(vm(threads('a', 'b'), DRIVE, disk(iothread='a'),
                      disk(iothread='b')))
        self.check(vm(threads('a', 'b'), DRIVE, disk([('a',), ('b',)]),
                      disk([('a',), ('b',)])))

    def test_aio(self):
        """aio=threads, given or not, and aio=native with the page cache"""
        def open_with(options):
            return vm(threads('a'), options, disk(iothread='a'))

        drive = '-drive if=none,id=d,file=/d'
        node = '-blockdev file,node-name=d,filename=/d'
        nested = '-blockdev \'{"driver":"raw","node-name":"d",%s' \
                 '"file":{"driver":"file","filename":"/d"%s}}\''
        named = '-blockdev file,node-name=f,filename=/d,aio=native%s ' \
                '-blockdev raw,node-name=d,file=f,cache.direct=on'
        pool, cached = 'with IOThreads: a pool', 'native cannot .* page cache'
        for options, *patterns in (
                (drive, 'no aio, which is threads, ' + pool),
                (drive + ',aio=threads', ' aio=threads ' + pool),
                (drive + ',aio=native', cached),
                (drive + ',aio=native,cache=writeback', cached),
                (drive + ',aio=native,cache=none,cache.direct=off', cached),
                (drive + ',aio=native,cache=directsync',),
                (drive + ',aio=native,cache.direct=on',),
                (drive + ',aio=io_uring',),
                ('-drive if=none,id=d,driver=null-co',),
                ('-drive if=none,id=d,file=nbd://host/x',),
                ('-blockdev null-co,node-name=d',),
                (node, pool), (node + ',aio=native', cached),
                (node + ',aio=native,cache.direct=on',),
                (node + ',aio=io_uring',),
                (nested % ('', ''), pool),
                (nested % ('', ',"aio":"native"'), cached),
                (nested % ('"cache":{"direct":true},', ',"aio":"native"'),),
                (named % '', cached), (named % ',cache.direct=on',)):
            self.check(open_with(options), *patterns)
        self.check(vm(drive, disk()))
        for old, new, *patterns in (
                ("io='native'", '', pool + ".*io='native'"),
                ("io='native'", "io='threads'", pool),
                ("cache='none'", '', cached + ".*cache='none'"),
                ("cache='none'", "cache='writeback'", cached),
                ("cache='none' io='native'", "io='io_uring'"),
                ("type='block'", "type='network'")):
            self.check(domain(MAPPED).replace(old, new, 1), *patterns)

    def test_pin(self):
        """pins of IOThreads: other nodes, CPUs of vCPUs, of each other"""
        vcpus = ''.join(pin(i, f'CPU {i}/KVM') for i in range(4))
        good = GOOD + vcpus
        both = pin(5, 'IO a') + pin(7, 'IO b')
        self.check(good + both)
        for pins, *patterns in (
                (both.replace('7', '30'), 'line 7, b: its CPUs are on node 1, '
                 'and the vCPUs that it works for on node 0'),
                (both.replace('7', '7,30'), 'b: its CPUs are on nodes 0-1'),
                (both.replace('7', '2'), 'CPU 2: vCPU 2 may run there too; on '
                 'node 0, 4,6-23 have no'),
                (both.replace('7', '0-3'), 'CPUs 0-3: vCPUs 0-3 may run'),
                (both.replace('7', '5'), 'CPU 5 is that of a too'),
                (both.replace('7', '48'), 'CPU 48: the host has 0-47'),
                (both.replace('IO b', 'IO c'), 'c: there is no such IOThread'),
                (pin(9, 'CPU 4/KVM'), 'no such vCPU; those are 0 to 3'),
                (pin(7, 'IO b') + '\ntaskset -cp -a 4-60 1234',
                 'taskset: CPUs 48-60')):
            self.check(good + pins, *patterns)
        self.check(GOOD + both.replace('7', '30'))
        self.check(good.replace('debug-threads=on', 'debug-threads=off'),
                   'no such names without')
        # Each thread where its own vCPUs are
        apart = GOOD + pin('0-1', 'CPU 0/KVM') + pin('0-1', 'CPU 1/KVM') + pin(
            24, 'CPU 2/KVM') + pin(25, 'CPU 3/KVM')
        self.check(apart + pin(2, 'IO a') + pin(26, 'IO b'))
        self.check(apart + pin(26, 'IO a') + pin(2, 'IO b'),
                   'a: .* on node 1, .* on node 0',
                   'b: .* on node 0, .* on node 1')

    def test_guest_nodes(self):
        """a guest with NUMA: whose a virtqueue is, is not known"""
        pins = ''.join(pin(cpu, f'CPU {i}/KVM')
                       for i, cpu in enumerate((0, 1, 24, 25)))
        pins += pin(26, 'IO a') + pin(2, 'IO b')
        nodes = ' -numa node,cpus=0-1 -numa node,cpus=2-3'
        self.check(GOOD + nodes + pins)
        self.check(GOOD + nodes[:21] + pins, 'a: its', 'b: its')
        self.check(domain(MAPPED, """<cpu><numa><cell/><cell/></numa></cpu>
            <cputune><vcpupin vcpu='0' cpuset='0'/>
            <vcpupin vcpu='2' cpuset='24'/>
            <iothreadpin iothread='1' cpuset='25'/></cputune>"""))

    def test_full_node(self):
        """no CPU is free: all of them are right, one of them is not"""
        text = vm(threads('a'), DRIVE, disk(iothread='a'), vcpus=24)
        text += ''.join(pin(i, f'CPU {i}/KVM') for i in range(24))
        self.check(text + pin('0-23', 'IO a'))
        self.check(text + pin(3, 'IO a'), 'no CPU of node 0 is free')

    def test_avoid(self):
        """CPUs to avoid are not free, and not to be pinned to"""
        text = vm(threads('a'), DRIVE, disk(iothread='a'), vcpus=23)
        text += ''.join(pin(i, f'CPU {i}/KVM') for i in range(23))
        self.check(text + pin('0-22', 'IO a'), 'on node 0, 23 have')
        self.check(text + pin('0-22', 'IO a'), avoid=[23])
        self.check(text + pin('0-23', 'IO a'), 'a: CPU 23: to be avoided',
                   avoid=[23])

    def test_libvirt_pins(self):
        """<cputune>"""
        def tune(one, two, more='', cpuset=''):
            return domain(MAPPED, "<cputune>" + (
                "<vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='1'/>"
                "<vcpupin vcpu='2' cpuset='2'/><vcpupin vcpu='3' cpuset='3'/>"
                if not cpuset else '') +
                f"<iothreadpin iothread='1' cpuset='{one}'/>"
                f"<iothreadpin iothread='2' cpuset='{two}'/>{more}</cputune>"
            ).replace('<vcpu>', f'<vcpu{cpuset}>')

        self.check(tune(5, 7))
        self.check(tune(5, 30), 'iothreadpin 2: its CPUs are on node 1')
        self.check(tune(5, 30, cpuset=" cpuset='0-3'"),
                   'iothreadpin 2: its CPUs are on node 1')
        self.check(tune(5, 3), 'iothreadpin 2: CPU 3: vCPU 3 may')
        self.check(tune(5, 5), 'iothreadpin 2: CPU 5 is that of iothread1')
        self.check(tune(5, '4-90,^6'), 'iothreadpin 2: CPUs 48-90',
                   'iothreadpin 2: its CPUs are on nodes 0-1')
        self.check(tune(5, 7, "<emulatorpin cpuset='9'/>"))
        self.check(tune(5, 7, "<emulatorpin cpuset='33'/>"),
                   'emulatorpin: its CPUs are on node 1')
        self.check(tune(5, 7, "<emulatorpin cpuset='1'/>"),
                   'emulatorpin: CPU 1: vCPU 1 may')
        self.check(tune(5, 7, "<vcpupin vcpu='9' cpuset='9'/>"),
                   'vcpupin 9: there is no such vCPU')

    def test_own(self):
        """IOThreads that a disk makes for itself"""
        form = '-device virtio-blk-pci,drive=d,id=x,'
        for good in ('x-iothreads=2', 'x-iothreads=auto', 'x-data-plane=on',
                     'x-iothreads=0', 'x-iothreads=2,x-data-plane=off'):
            self.check(vm(DRIVE, form + good))
            self.check(vm(DRIVE, form[:-1], '-set', 'device.x.' +
                          good.replace(',', ' -set device.x.')))
            if ',' not in good:
                self.check(vm(DRIVE, '-global virtio-blk-pci.' + good,
                              form[:-1]))
        self.check(vm(DRIVE, '-global virtio-blk-device.x-iothreads=9',
                      form[:-1]), '9 IOThreads for 4 virtqueues')
        for values, *patterns in (
                ({'x-iothreads': 5},
                 'line 1, x: 5 IOThreads for 4 virtqueues: QEMU refuses '
                 'that; say x-iothreads=4'),
                ({'x-iothreads': 2, 'x-data-plane': True},
                 'it has x-iothreads and x-data-plane; QEMU refuses'),
                ({'x-iothreads': 2, 'iothread': 'a'},
                 'it has x-iothreads and iothread; QEMU refuses'),
                ({'x-data-plane': True, 'items': [('a',)]},
                 'it has x-data-plane and iothread-vq-mapping'),
                ({'iothread': 'a', 'x-iothread-cpus': ['1']},
                 'x-iothread-cpus is for the IOThreads of'),
                ({'iothread': 'x.1', 'x-iothreads': 0},
                 'there is no IOThread "x.1"'),
                ({'x-iothreads': 2, 'x-iothread-cpus': ['1', '2', '3']},
                 'has 3 sets for 2 IOThreads')):
            self.check(vm(threads('a'), '-device virtio-scsi-pci,iothread=a',
                          DRIVE, disk(id='x', **values)), *patterns)
        self.check(vm(threads('x.1'), DRIVE,
                      disk(**{'id': 'x', 'x-iothreads': 2})),
                   'makes an IOThread "x.1", and there is another one')
        # What other rules say of those of -object
        pool = 'no aio, which is threads, with IOThreads'
        slow = '-drive if=none,id=d,file=/d '
        self.check(vm(slow, disk(**{'x-iothreads': 2})), pool)
        self.check(vm(slow, form + 'x-data-plane=on'), pool)
        self.check(vm(DRIVE, disk(**{'x-iothreads': 'auto', 'num-queues': 4}),
                      vcpus=2), '4 virtqueues for 2 vCPUs',
                   'virtio-blk-pci.2: it serves virtqueue 2 only',
                   'virtio-blk-pci.3: it serves')
        # One disk may use another one's
        self.check(vm(DRIVE, disk(**{'id': 'x', 'x-iothreads': 2}),
                      disk(iothread='x.1')))

    def test_own_cpus(self):
        """x-iothread-cpus, as what taskset would do"""
        vcpus = ''.join(pin(i, f'CPU {i}/KVM') for i in range(4))

        def own(cpus, more='', **values):
            return vm(DRIVE, disk(**{'id': 'x', 'x-iothreads': 2, **values,
                                     'x-iothread-cpus': cpus})) + vcpus + more

        self.check(own(['5', '7']))
        self.check(own('5:7'))
        self.check(own(['5,7-8']))
        self.check(own(['5'], **{'x-iothreads': 1}))
        self.check(own(['5', '30']), 'line 1, x.1: its CPUs are on node 1, '
                   'and the vCPUs that it works for on node 0')
        self.check(own(['5', '5']), 'x.1: CPU 5 is that of x.0 too')
        self.check(own(['5', '48']), 'x.1: CPU 48: the host has 0-47')
        self.check(own(['5', '2']), 'x.1: CPU 2: vCPU 2 may run there too')
        self.check(own(['5', '7'], '\ntaskset -cp -a 4-23 1234'),
                   'taskset: it moves x.0 too')
        self.check(own(['5', '7'], '\ntaskset -cp 9 1234'))
        # Other disks cannot have the same IOThreads, but the same CPUs
        self.check(vm(DRIVE, *(disk(**{
            'id': name, 'x-iothreads': 2, 'x-iothread-cpus': ['5', '7']})
            for name in 'xy')) + vcpus)
        # QEMU does it itself, whatever threads are called
        self.check(vm(DRIVE, disk(**{'x-iothreads': 1,
                                     'x-iothread-cpus': '5'}))
                   .replace('debug-threads=on', 'debug-threads=off'))
        # Of a long id the kernel has the end
        self.check(vm(DRIVE, disk(**{'id': 'virtio-disk0', 'x-iothreads': 1}))
                   + pin(48, 'IO rtio-disk0.0'), 'rtio-disk0.0: CPU 48')
        self.check(vm(DRIVE, disk(**{'x-iothreads': 1}))
                   + pin(48, 'IO device[0].0'), r'device.0..0: CPU 48')

    def test_set(self):
        """-set for what is in JSON, or not there"""
        there = '-device virtio-blk-pci,drive=d,id=x '
        setting = '-set device.x.x-data-plane=on '
        self.check(vm(DRIVE, there, setting))
        self.check(vm(DRIVE, disk(id='x'), setting),
                   'line 1, -set: there is no device "x" in key=value form')
        self.check(vm(DRIVE, there, setting.replace('.x.', '.y.')),
                   'there is no device "y"')

    def test_libvirt_own(self):
        """-set and qemu:override"""
        def custom(content):
            return domain('>', count=0).replace(
                "'kvm'>", f"'kvm' xmlns:q='{libvirt.QEMU}'>").replace(
                '</devices>', '</devices>' + content)

        def override(alias, *items):
            return custom(
                f"<q:override><q:device alias='{alias}'><q:frontend>" +
                ''.join(f"<q:property name='{name}' type='{kind}' "
                        f"value='{value}'/>" for name, kind, value in items)
                + '</q:frontend></q:device></q:override>')

        self.check(custom(
            "<q:commandline><q:arg value='-set'/><q:arg "
            "value='device.virtio-disk0.x-data-plane=on'/></q:commandline>"),
            'qemu:arg 2, virtio-disk0: .*refuses a -set.*qemu:override')
        number = ('x-iothreads', 'unsigned', 5)
        self.check(override('virtio-disk0', number), 'disk vda: 5 IOThreads '
                   'for 4 virtqueues')
        self.check(override('virtio-disk1', number))
        self.check(override('virtio-disk27', number).replace(
            "'vda'", "'vdab'"), 'disk vdab: 5 IOThreads')
        self.check(override('ua-x', number).replace(
            '<target', "<alias name='ua-x'/><target"), 'disk vda: 5 IOThr')
        self.check(override('virtio-disk0', ('x-iothreads', 'unsigned', 2),
                            ('x-iothread-cpus', 'string', '5:99')),
                   'disk vda.1: CPU 99: the host has')
        self.check(override('virtio-disk0', ('x-data-plane', 'bool', 'true'))
                   .replace("io='native'", ''), 'no aio, which is threads')

    def test_old_libvirt(self):
        """disks in <qemu:commandline>"""
        text = self.plan('--vcpus', '8', '--pin', '0-7', '--format',
                         'libvirt-qemu-commandline', '--disk', '/dev/nvme0n1')
        self.check(text)
        self.check(text.replace('[1,3,5,7]', '[1,3,5]'),
                   'qemu:arg 4, disk0: virtqueue 7 has no')
        self.check(text.replace('true', 'false'), 'disk0: aio=native')
        self.check(text.replace('iothread2&', 'iothread3&'),
                   'no IOThread "iothread3"', 'iothread 2: it serves no')
