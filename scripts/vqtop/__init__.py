# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/vq-top is made of."""


class TopError(Exception):
    """Something that a user can be told in one line."""
