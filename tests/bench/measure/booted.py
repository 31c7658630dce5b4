# SPDX-License-Identifier: GPL-2.0-or-later
"""A booted Debian with exim-quotad, Exim and Dovecot: what the neighbours are measured in.

The mailboxes in it lie on the file system of the benchmark's folder, not in memory.
"""

import contextlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

import mail
from bench import Bench
from build import BUILD_TYPE
from figures import CannotMeasure
from harness import image, places, project
from harness.container import CommandError, Container, ContainerError
from harness.mailboxes import SPOOL, Mailboxes
from harness.service import SOCKET_PATH, Service
from load import Load, questions_file

PROGRAMS = '/var/tmp'
LIMITS = '/etc/exim-quotad/limits'
# (What lies above is on an overlay, on which nothing is watched.)
OPTIONS = f'--root={SPOOL} --mailbox={SPOOL}/{mail.TEMPLATE} --limits={LIMITS}'
BARE_SOCKET = '/run/bare'
BARE_UNIT = 'bare.service'


# What may go wrong with a container, or in it.
FAILURES = (image.ImageError, ContainerError, CommandError, OSError, EOFError,
            subprocess.TimeoutExpired)


class Inside(NamedTuple):
    """A process inside that answers: its number outside, and its socket inside."""

    pid: int
    address: Path


@dataclass
class Booted:
    """The container, and what the measurements in it have in common."""

    container: Container
    service: Service
    mailboxes: Mailboxes
    release: str

    def load(self, name: str, answers: Sequence[tuple[str, str]], *options: str) -> Load:
        """Returns a load inside of these questions, which are kept under the name."""
        file = f'{PROGRAMS}/{name}.questions'
        self.container.put_file(file, questions_file(answers))
        return Load([f'{PROGRAMS}/load', *options], Path(file), len(answers),
                    self.container.popen)

    def make(self, mailboxes: Sequence[mail.Mailbox]) -> None:
        """Makes mailboxes of the user vmail, and a file of limits for them."""
        self.container.call(mail.make_whole, mailboxes)
        self.container.call(mail.write_limits, Path(LIMITS), mailboxes)
        self.container.run(['chown', '-R', 'vmail:vmail', SPOOL], timeout=600)
        self.container.call(mail.make_whole, mailboxes)  # their sums are younger than that
        mail.settle()

    def start_service(self) -> Inside:
        """Starts the service with the options of README.md, and returns it."""
        self.service.change(options=OPTIONS)
        try:
            answer = self.service.ask('ping')
        except TimeoutError:
            answer = ''
        if not answer.startswith('status=ok'):
            raise CannotMeasure(f'the service in the container does not answer:\n'
                                f'{self.container.journal("-u", "exim-quotad", "-n", "20")}')
        return Inside(self.container.pid_outside(self.service.main_pid()), Path(SOCKET_PATH))

    @contextlib.contextmanager
    def bare(self, threads: int, address: str = BARE_SOCKET) -> Iterator[Inside]:
        """Runs the bare server inside, by systemd as the service is, but not confined.

        Everybody may ask it.
        """
        run = self.container.run
        run(['systemd-run', '--quiet', '--collect', f'--unit={BARE_UNIT}', '--property=UMask=0',
             f'{PROGRAMS}/bare', address, str(threads)])
        try:
            run(f'until [ -S {address} ]; do sleep 0.02; done')
            pid = int(self.container.unit(BARE_UNIT, 'MainPID')['MainPID'])
            yield Inside(self.container.pid_outside(pid), Path(address))
        finally:
            run(['systemctl', 'stop', BARE_UNIT], check=False)
            run(['rm', '-f', address])


@contextlib.contextmanager
def boot(bench: Bench, release: str) -> Iterator[Booted]:
    """Boots a container of the release; raises CannotMeasure if that fails, or something in it."""
    spool = bench.folder / 'spool'
    spool.mkdir()
    build = places.SOURCES / 'build' / f'bench-{release}'
    if project.setup_is_due(build):
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir(parents=True)
    try:
        with project.container_with_sources(
                image.make(release),
                binds={project.BUILD_INSIDE: build, SPOOL: spool}) as container:
            _install(container, build)
            yield Booted(container, Service(container), Mailboxes(container), release)
    except FAILURES as why:
        raise CannotMeasure(f'in the container: {why}') from why


def _install(container: Container, build: Path) -> None:
    """Compiles the project and the tools as outside, and installs the project."""
    if project.setup_is_due(build):
        container.run(['meson', 'setup', f'--buildtype={BUILD_TYPE}', project.BUILD_INSIDE,
                       project.SOURCES_INSIDE], timeout=project.COMPILE_SECONDS)
    container.run(['meson', 'compile', '-C', project.BUILD_INSIDE],
                  timeout=project.COMPILE_SECONDS)
    project.install(container)
    for program, sources in (('load', ('load', 'times')), ('bare', ('bare',))):
        container.run(['gcc', '-O3', '-D_GNU_SOURCE', '-pthread', '-o', f'{PROGRAMS}/{program}',
                       *(f'{project.SOURCES_INSIDE}/tests/bench/{name}.c' for name in sources)])
