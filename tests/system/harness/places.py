# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are: the sources, and what the system tests make below the build folder."""

from pathlib import Path

SYSTEM_TESTS = Path(__file__).resolve().parent.parent
SOURCES = SYSTEM_TESTS.parent.parent
IMAGES = SOURCES / 'build' / 'images'
BUILDS = SOURCES / 'build' / 'system'
