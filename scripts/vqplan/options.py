# SPDX-License-Identifier: GPL-2.0-or-later
"""Arguments of QEMU's options, as QEMU reads them."""

import json
import re

from . import PlanError

# Members that other things are looked up by
STRINGS = ('driver', 'drive', 'id', 'iothread', 'node-name', 'qom-type')


def parse(line, text, implied=None):
    """
    A dict of @text, which is JSON or KEY=VALUE,...; nested members are named
    "file.driver". @implied is the key of a first part that has none.
    """
    if text.startswith('{'):
        try:
            found = flat(json.loads(text))
        except (ValueError, RecursionError) as err:
            raise PlanError(f'line {line}: this is no JSON: '
                            f'{text[:60]}') from err
        for key in STRINGS:
            if not isinstance(found.get(key, ''), str):
                raise PlanError(f'line {line}: "{key}" is no string')
        return found
    if '$' in text:
        raise PlanError(f'line {line}: "{text[:60]}" is for a shell to '
                        'expand; give what comes of it, such as '
                        '/proc/PID/cmdline')
    found = {}
    for place, part in enumerate(re.findall(r'(?:[^,]|,,)+', text)):
        key, equals, value = part.replace(',,', ',').partition('=')
        if not equals:
            # As in "server", or in "noserver"
            key, value = ((implied, key) if implied and not place
                          else (key, 'on'))
        found[key] = value
    return nested(found)


def flat(value, prefix=''):
    """Members of objects as "outer.inner"; lists stay as they are."""
    found = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            found.update(flat(inner, f'{prefix}{key}.'))
        else:
            found[prefix + key] = inner
    return found


def nested(found):
    """With the iothread-vq-mapping that dotted keys make."""
    items = {}
    for key in list(found):
        match = re.fullmatch(r'iothread-vq-mapping\.(\d+)\.(iothread|'
                             r'vqs\.(\d+))', key)
        if match:
            item = items.setdefault(int(match[1]), {})
            value = found.pop(key)
            if match[3]:
                item.setdefault('vqs', []).append(number(value))
            else:
                item['iothread'] = value
    if items:
        found['iothread-vq-mapping'] = [items[i] for i in sorted(items)]
    return found


def number(value, default=None):
    """An int, if it can be."""
    try:
        return int(str(value), 0)
    except ValueError:
        return default


def is_on(value):
    """As QEMU reads a boolean."""
    return value is True or value in ('on', 'yes', 'true', 'y')
