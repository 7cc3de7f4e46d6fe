# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/move-pauses is made of."""
