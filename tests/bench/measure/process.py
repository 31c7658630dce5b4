# SPDX-License-Identifier: GPL-2.0-or-later
"""What a running process has used: processor time, context switches, memory."""

from pathlib import Path
from typing import NamedTuple

from figures import CannotMeasure


class Used(NamedTuple):
    """What all threads of a process have used since they began."""

    processor_usec: float
    switches: int

    def since(self, before: 'Used') -> 'Used':
        """Returns what was used between the two."""
        return Used(self.processor_usec - before.processor_usec, self.switches - before.switches)


def used(pid: int) -> Used:
    """Returns what the process has used so far.

    (Its schedstat is exact to the nanosecond; user and system time come in hundredths of seconds.)
    """
    nanoseconds = switches = 0
    try:
        for thread in Path(f'/proc/{pid}/task').iterdir():
            nanoseconds += int((thread / 'schedstat').read_text('ascii').split()[0])
            status = _status(thread / 'status')
            switches += int(status['voluntary_ctxt_switches'])
            switches += int(status['nonvoluntary_ctxt_switches'])
    except (OSError, KeyError) as error:
        raise CannotMeasure(f'what process {pid} uses cannot be read: {error}') from error
    return Used(nanoseconds / 1000, switches)


def resident_kib(pid: int) -> int:
    """Returns how much memory the process has resident, its libraries included."""
    try:
        return int(_status(Path(f'/proc/{pid}/status'))['VmRSS'].split()[0])
    except (OSError, KeyError) as error:
        raise CannotMeasure(f'the memory of process {pid} cannot be read: {error}') from error


def kernel_kib() -> int:
    """Returns how much memory the kernel has that it cannot do without, watches among it."""
    return int(_status(Path('/proc/meminfo'))['SUnreclaim'].split()[0])


def _status(file: Path) -> dict[str, str]:
    lines = file.read_text('utf-8', 'replace').splitlines()
    return {name: value.strip() for name, _, value in (line.partition(':') for line in lines)}
