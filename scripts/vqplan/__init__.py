# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/vq-plan is made of."""


class PlanError(Exception):
    """Something that a user can be told in one line."""
