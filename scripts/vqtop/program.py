# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs that talk to QEMU have in common: how they begin and end."""

import os
import sys

from . import TopError
from .table import printable


def add_library_option(parser):
    """--qemu-python, for monitor.import_library()."""
    parser.add_argument('--qemu-python', metavar='DIR',
                        default=os.environ.get('VQ_QEMU_PYTHON'),
                        help="folder python of a QEMU source tree, for its "
                        "qemu/qmp\n(default: $VQ_QEMU_PYTHON, or a tree below "
                        'build/, or as installed)')


def run(name, main):
    """Exit with what @main returns, or with a line of why it cannot."""
    # An id that this locale cannot write is no reason to stop
    sys.stdout.reconfigure(errors='replace')
    try:
        sys.exit(main())
    except TopError as err:
        sys.exit(f'{name}: {printable(str(err))}')
    except BrokenPipeError:
        # Such as head, which has seen enough; nothing is left to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as err:
        sys.exit(f'{name}: {err}')
    except KeyboardInterrupt:
        pass
