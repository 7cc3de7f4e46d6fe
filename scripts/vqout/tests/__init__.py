# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of how named outputs are written."""
