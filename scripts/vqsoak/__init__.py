# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/soak-guest is made of."""
