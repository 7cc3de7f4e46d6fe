# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/demo is made of."""


class DemoError(Exception):
    """Something that a user can be told in one line."""
