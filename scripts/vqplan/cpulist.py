# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of CPUs, as the kernel and libvirt write them."""

import re

from . import PlanError

# The most that Linux can be built for on x86
LIMIT = 8192

PART = re.compile(r'(\^)?(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9})/(\d{1,9}))?)?')


def parse(text):
    """
    CPUs in the order of @text, each once: "4,0-2", the kernel's "0-15:2/4"
    (two of every four) and libvirt's "0-7,^3" (all but 3).
    """
    cpus = {}
    for part in text.strip().split(',') if text.strip() else ():
        match = PART.fullmatch(part.strip())
        if not match:
            raise PlanError(f'"{text.strip()}" is no list of CPUs, such as '
                            '0-3,8')
        first, last, used, group = (
            None if match[i] is None else int(match[i]) for i in range(2, 6))
        last = first if last is None else last
        if last < first or last >= LIMIT or group == 0:
            raise PlanError(f'"{part.strip()}" in a list of CPUs is no range')
        for cpu in range(first, last + 1):
            if match[1]:
                cpus.pop(cpu, None)
            elif group is None or (cpu - first) % group < used:
                cpus[cpu] = True
    return list(cpus)
