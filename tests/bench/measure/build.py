# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that are measured: an optimised build of their own, in build/bench."""

import subprocess
from pathlib import Path

from figures import CannotMeasure
from harness import places, project

BUILD = places.SOURCES / 'build' / 'bench'
BUILD_TYPE = 'release'


def make() -> Path:
    """Compiles what has changed, and returns the folder of the build."""
    commands = [['meson', 'compile', '-C', str(BUILD)]]
    if project.setup_is_due(BUILD):
        wipe = ['--wipe'] if (BUILD / 'meson-private').exists() else []
        commands.insert(0, ['meson', 'setup', *wipe, '-Dtests=true', f'--buildtype={BUILD_TYPE}',
                            str(BUILD), str(places.SOURCES)])
    for command in commands:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors='replace', check=False)
        if done.returncode != 0:
            raise CannotMeasure(f'{" ".join(command)} ended with status {done.returncode}:\n'
                                f'{done.stdout[-4000:]}')
    return BUILD
