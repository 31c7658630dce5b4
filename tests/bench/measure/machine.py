# SPDX-License-Identifier: GPL-2.0-or-later
"""On what was measured, and when."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

from figures import CannotMeasure


def describe(mailboxes: str, build_type: str, rounds: int) -> list[str]:
    """Returns lines about the machine, the build, and what the mailboxes are on."""
    return [
        f'Measured on {time.strftime("%d %B %Y").lstrip("0")} by `tests/bench/run`: '
        f'{_processor()}, {cores()} cores; Linux {platform.release()}, {_release()}; '
        f'{_first_line("gcc", "--version")}, `--buildtype={build_type}`;',
        f'mailboxes on {mailboxes}; medians of {rounds} rounds in which all take turns. '
        f'Load of the machine before: {os.getloadavg()[0]:.1f}.',
    ]


def cores() -> int:
    """Returns how many processors this process may run on."""
    return len(os.sched_getaffinity(0))


def _processor() -> str:
    found = re.search(r'^model name\s*: (.*)$', Path('/proc/cpuinfo').read_text('utf-8', 'replace'),
                      re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _release() -> str:
    fields = platform.freedesktop_os_release()
    return fields.get('PRETTY_NAME', 'an unknown system')


def _first_line(*command: str) -> str:
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, text=True,
                              check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise CannotMeasure(f'{" ".join(command)}: {error}') from error
