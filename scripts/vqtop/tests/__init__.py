# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of vq-top; run by test-vqtop."""
