# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/vq-balance is made of."""
