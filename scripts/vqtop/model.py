# SPDX-License-Identifier: GPL-2.0-or-later
"""
From two samples to rates. The result, a block, is what --json prints: what is
not known is absent. Nothing here asks anyone.
"""

import re

KINDS = ('read', 'write', 'flush', 'discard', 'write-zeroes', 'other')
COUNTERS = ('failed', 'notifications', 'polls', 'batches', 'interrupts',
            'max-in-flight', 'max-batch')
STOCK_KINDS = {'read': ('rd_operations', 'rd_bytes'),
               'write': ('wr_operations', 'wr_bytes'),
               'flush': ('flush_operations', None),
               'discard': ('unmap_operations', 'unmap_bytes')}

# Threads that together use less than this have no imbalance worth a figure
LEAST_CPU_PERCENT = 1


def disk_name(disk):
    """A disk's id, or where it is."""
    return disk.get('id') or re.sub('^/machine/|/virtio-backend$', '',
                                    disk['path'])


def natural(name):
    """A key to sort by that has iothread2 before iothread10."""
    return [int(part) if part.isdecimal() else part
            for part in re.split(r'(\d+)', name)]


def imbalance(values):
    """Busiest over mean; None without load."""
    total = sum(values)
    return max(values) * len(values) / total if total else None


def make_block(before, after):
    """What happened between two samples."""
    seconds = after.time - before.time
    block = {'time': after.clock, 'seconds': seconds,
             'per-queue': after.disks is not None, 'disks': [],
             'threads': _threads(before, after)}
    if after.disks is None:
        known = {item['qdev']: item for item in before.stats}
        block['disks'] = [_stock_disk(item, known, before, after)
                          for item in after.stats]
        loads = [thread.get('cpu-percent', 0) for thread in block['threads']
                 if 'id' in thread]
        if sum(loads) >= LEAST_CPU_PERCENT:
            block['cpu-imbalance'] = imbalance(loads)
    else:
        known = {disk['path']: disk for disk in before.disks}
        threads = {thread.get('id'): thread for thread in block['threads']}
        block['disks'] = [_disk(disk, known, before, after, threads)
                          for disk in after.disks]
        block['disks'].sort(key=lambda disk: natural(disk_name(disk)))
        _load_threads(block, threads)
    for name in ('iops', 'bytes-per-second', 'in-flight'):
        if any(name in disk for disk in block['disks']):
            block[name] = sum(disk.get(name, 0) for disk in block['disks'])
    return block


def _threads(before, after):
    """The main loop, then the IOThreads by id, with numbers in their order."""
    items = [{'id': item['id'], 'thread-id': item['thread-id']} for item in
             sorted(after.iothreads, key=lambda item: natural(item['id']))]
    main = {'main-loop': True}
    if after.pid:
        main['thread-id'] = after.pid
    return [{**item, **_cpu(before, after, item.get('thread-id'))}
            for item in [main] + items]


def _cpu(before, after, tid):
    new, old = after.threads.get(tid), before.threads.get(tid)
    if not new:
        return {}
    found = {'host-cpu': new.host_cpu}
    if old and new.run_ns >= old.run_ns and new.time_ns > old.time_ns:
        found['cpu-percent'] = min(100, 100 * (new.run_ns - old.run_ns) /
                                   (new.time_ns - old.time_ns))
    return found


def _was_replaced(disk, old, unplugged):
    """Is @disk another one than @old was?"""
    return (_is_among(disk['path'], unplugged) or
            disk['num-queues'] != old['num-queues'] or
            any(total < was for queue, old_queue in
                zip(disk['queues'], old['queues'])
                for total, was in zip(_totals(queue), _totals(old_queue))))


def _is_among(path, devices):
    """Is @path that of one of @devices, or of a part of it?"""
    return any((path + '/').startswith(device + '/') for device in devices)


def _totals(queue):
    """What can only grow."""
    return ([queue[name] for name in COUNTERS] +
            [queue[kind][name] for kind in KINDS
             for name in ('requests', 'bytes')])


def _disk(disk, known, before, after, threads):
    old = known.get(disk['path'])
    if old and _was_replaced(disk, old, after.unplugged):
        old = None
    seconds = after.time - before.time
    olds = old['queues'] if old else [None] * len(disk['queues'])
    # If this has changed, then most was done by the threads mapped to
    main_loop_serves = not (disk['ioeventfd-started'] or
                            old and old['ioeventfd-started'])
    rows = []
    for queue, was in zip(disk['queues'], olds):
        row = {key: queue[key] for key in (
            'index', 'enabled', 'iothread', 'thread-id', 'in-flight',
            'max-in-flight', 'failed', 'state', 'remap', 'waiting')
            if key in queue}
        if 'iothread' not in queue or not main_loop_serves:
            thread = threads.get(queue.get('iothread'), {})
            row.update({key: thread[key] for key in
                        ('cpu-percent', 'host-cpu') if key in thread})
        if was:
            row.update(_rates(queue, was, seconds))
        rows.append(row)
    result = {key: disk[key] for key in
              ('id', 'path', 'num-queues', 'ioeventfd-started',
               'remapping')
              if key in disk}
    result['main-loop-serves'] = main_loop_serves
    result['in-flight'] = sum(row['in-flight'] for row in rows)
    if old:
        for key in ('iops', 'bytes-per-second'):
            result[key] = sum(row[key] for row in rows)
        loads = [row['iops'] for row in rows if row['enabled']]
        if any(loads):
            result['imbalance'] = imbalance(loads)
    result['queues'] = rows
    return result


def _rates(queue, was, seconds):
    def since(*keys):
        new, old = queue, was
        for key in keys:
            new, old = new[key], old[key]
        return new - old

    requests = {kind: since(kind, 'requests') for kind in KINDS}
    total = sum(requests.values())
    size = {kind: since(kind, 'bytes') for kind in KINDS}
    rates = {'iops': total / seconds,
             'bytes-per-second': sum(size.values()) / seconds}
    for kind in KINDS:
        rates[f'{kind}-iops'] = requests[kind] / seconds
    for kind in ('read', 'write'):
        rates[f'{kind}-bytes-per-second'] = size[kind] / seconds
    for name in ('notifications', 'polls', 'interrupts'):
        rates[f'{name}-per-second'] = since(name) / seconds
    if since('batches'):
        # Requests are counted when they are complete, batches before
        rates['batch'] = max(0, total + since('in-flight')) / since('batches')
    rates['new-failed'] = since('failed')
    return rates


def _load_threads(block, threads):
    """
    Tell each thread that virtqueues of a disk in use are mapped to what it
    serves, and each thread how much of all that is.
    """
    for disk in block['disks']:
        if not any(row['enabled'] for row in disk['queues']):
            continue
        for row in disk['queues']:
            thread = threads.get(None if disk['main-loop-serves'] else
                                 row.get('iothread'))
            if not thread:
                continue
            serves = thread.setdefault('serves', [])
            if not row['enabled']:
                continue
            if not serves or serves[-1]['disk'] != disk_name(disk):
                serves.append({'disk': disk_name(disk), 'queues': []})
            serves[-1]['queues'].append(row['index'])
            for key in ('iops', 'bytes-per-second'):
                if key in row:
                    thread[key] = thread.get(key, 0) + row[key]
    loads = [thread.get('iops', 0) for thread in threads.values()
             if 'serves' in thread]
    if not any(loads):
        return
    for thread in threads.values():
        thread['share-percent'] = 100 * thread.get('iops', 0) / sum(loads)
    block['imbalance'] = imbalance(loads)


def _stock_disk(item, known, before, after):
    path = item['qdev']
    result = {'path': path}
    match = re.match('/machine/peripheral/([^/]+)', path)
    if match:
        result['id'] = match[1]
    old = known.get(path)
    if not old or _is_among(path, after.unplugged):
        return result
    seconds = after.time - before.time
    new_stats, old_stats = item['stats'], old['stats']
    rates = {}
    size = 0
    for kind, (requests, length) in STOCK_KINDS.items():
        count = new_stats.get(requests, 0) - old_stats.get(requests, 0)
        rates[f'{kind}-iops'] = count / seconds
        if length:
            size += new_stats.get(length, 0) - old_stats.get(length, 0)
    if min(rates.values()) < 0:
        return result
    return {**result, 'iops': sum(rates.values()),
            'bytes-per-second': size / seconds, **rates}
