# SPDX-License-Identifier: GPL-2.0-or-later
"""Known faults, run on stock QEMU and on ours"""
