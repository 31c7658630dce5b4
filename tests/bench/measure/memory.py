# SPDX-License-Identifier: GPL-2.0-or-later
"""How much memory exim-quotad has resident: idle, with counts to remember, after many mailboxes."""

from pathlib import Path

import disk
import figures
import mail
import process
from bench import Bench
from figures import CannotMeasure
from kinds import FOLDERS
from results import Results, Section
from server import Server

CLIENTS = 16
KIB_PER_MIB = 1024

# The bound for memory is meant for so many mailboxes.
DEMANDED_MAILBOXES = 10000


def measure(bench: Bench, results: Results) -> None:
    """Adds a section, and what is demanded of memory."""
    counted = mail.group(bench.root, 'counted', bench.plan.cached)
    mail.make_counted(counted, bench.plan.folders)
    summed = bench.make_plain(max(bench.plan.spread))
    remember = bench.load('counted', mail.path_questions(counted))
    pass_by = bench.load('passed-by', mail.path_questions(summed))
    mail.settle()

    with bench.start_quotad() as ours:
        ours.ask(summed[0].path)
        idle = process.resident_kib(ours.pid)
        remember.ask_all(ours.address, CLIENTS)
        _must_remember(ours, len(counted))
        cached = process.resident_kib(ours.pid)
    with bench.start_quotad() as ours:
        pass_by.ask_all(ours.address, CLIENTS)
        passed = process.resident_kib(ours.pid)

    folders = f' with {len(bench.plan.folders)} folders each' if bench.plan.folders else ''
    what = f'with {figures.count(len(counted))} mailboxes{folders} cached'
    section = Section('Resident memory of exim-quotad', ('when', 'memory'))
    section.rows = [
        ('idle', _mib(idle)), (what, _mib(cached)),
        (f'after {figures.count(len(summed))} mailboxes with a maildirsize', _mib(passed))]
    results.sections.append(section)
    results.at_most('resident memory, idle', 4, idle / KIB_PER_MIB, _mib(idle), ' MiB')
    if len(counted) >= DEMANDED_MAILBOXES:
        results.at_most(f'resident memory, {what}', 16, cached / KIB_PER_MIB,
                        _mib(cached), ' MiB')


def watched(bench: Bench, ours: Server, kernel_kib: int, results: Results) -> None:
    """Adds what a service takes that watches counted mailboxes, and the kernel for it.

    The kernel's is what it got while the service began.
    """
    answer = ours.ask('stats')
    watches = int(dict(pair.split('=', 1) for pair in answer.split(' ')).get('watches', 0))
    section = Section(f'Memory with {figures.count(bench.plan.watched)} mailboxes with '
                      f'{len(FOLDERS)} folders watched', ('what', 'memory'))
    section.rows = [
        ('watches', figures.count(watches)),
        ('resident, exim-quotad', _mib(process.resident_kib(ours.pid))),
        ('kernel, watches', _mib(kernel_kib)),
        ('kernel, inodes that they keep', _mib(watches * _inode_bytes(bench.root) // 1024))]
    section.notes.append('What the kernel has for the watches themselves is the growth of '
                         'SUnreclaim, to which the whole machine contributes.')
    results.sections.append(section)


def _inode_bytes(folder: Path) -> int:
    """Returns the size of an inode in the memory of the kernel."""
    name = {'ext4': 'ext4_inode_cache', 'tmpfs': 'shmem_inode_cache', 'xfs': 'xfs_inode',
            'btrfs': 'btrfs_inode'}.get(disk.file_system(folder))
    for line in Path('/proc/slabinfo').read_text('ascii').splitlines():
        if line.split()[0] == name:
            return int(line.split()[3])
    return 0


def _must_remember(ours: Server, count: int) -> None:
    """Sees to it that the service remembers so many mailboxes, else there is nothing to measure."""
    answer = ours.ask('stats')
    pairs = dict(pair.split('=', 1) for pair in answer.split(' '))
    if pairs.get('mailboxes') != str(count):
        raise CannotMeasure(f'the service does not remember {count} mailboxes: {answer}')


def _mib(kib: int) -> str:
    return f'{kib / KIB_PER_MIB:.1f} MiB'
