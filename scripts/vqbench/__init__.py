# SPDX-License-Identifier: GPL-2.0-or-later
"""What the measuring scripts are made of."""


class BenchError(Exception):
    """Something that a user can be told in one line."""
