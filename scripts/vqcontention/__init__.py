# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/contention is made of."""


class ContentionError(Exception):
    """Something that a user can be told in one line."""
