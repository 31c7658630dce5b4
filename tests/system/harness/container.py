# SPDX-License-Identifier: GPL-2.0-or-later
"""A booted Debian with systemd, made of an image, gone without a trace when it is powered off.

It runs as root on any Linux machine, with or without a systemd of its own, on either version of
control groups. It has no network but its own loopback interface and the cables of network.py. What
it writes goes to memory; the image stays as it was, so that any number of containers can run from
it at once.
"""

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from .cgroup import Cgroup
from .namespace import Inside

LAUNCH = Path(__file__).with_name('launch.py')

BOOT_SECONDS = 300
POWEROFF_SECONDS = 120
RUN_SECONDS = 300

_ENVIRONMENT = {
    'HOME': '/root',
    'LANG': 'C.UTF-8',
    'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'SYSTEMD_COLORS': '0',
    'SYSTEMD_PAGER': '',
}

# Control groups as Debian 12 and 13 have them, whatever this machine has.
_NSPAWN_ENVIRONMENT = {'SYSTEMD_NSPAWN_LOCK': '0', 'SYSTEMD_NSPAWN_UNIFIED_HIERARCHY': '1'}

Command = Union[str, Sequence[str]]


class ContainerError(Exception):
    """The container did not boot, or is no longer there."""


class CommandError(Exception):
    """A command inside ended with another status than 0."""


class Container:
    """One booted container: `with Container(image) as container: container.run('id')`."""

    def __init__(self, image: Path, binds: Optional[Mapping[str, Path]] = None,
                 read_only_binds: Optional[Mapping[str, Path]] = None):
        """Prepares a container; boot() starts it.

        The binds say which of the machine's folders and files are to be seen inside: where inside
        -> where outside.
        """
        self._image = image
        self._binds = dict(binds or {})
        self._read_only_binds = dict(read_only_binds or {})
        self._nspawn: Optional[subprocess.Popen] = None
        self._console = None
        self._cgroup: Optional[Cgroup] = None
        self._leader = 0
        self._inside: Optional[Inside] = None

    def __enter__(self) -> 'Container':
        return self.boot()

    def __exit__(self, *_exception) -> None:
        self.poweroff()

    # Its life.

    def boot(self) -> 'Container':
        """Boots it and waits until systemd says that everything is up."""
        self._console = tempfile.TemporaryFile()
        if not _systemd_runs_here():
            self._cgroup = Cgroup()
        folders = self._cgroup.folders if self._cgroup is not None else []
        # The death of this process, however sudden, takes the container with it.
        self._nspawn = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'TERM', sys.executable, str(LAUNCH),
             ':'.join(map(str, folders)), 'systemd-nspawn', *self._nspawn_options()],
            stdin=subprocess.DEVNULL, stdout=self._console, stderr=subprocess.STDOUT,
            env={**os.environ, **_NSPAWN_ENVIRONMENT}, start_new_session=True)
        try:
            deadline = time.monotonic() + BOOT_SECONDS
            self._leader = self._wait_for_leader(deadline)
            self._wait_until_running(deadline)
            self._inside = Inside(self._leader)
        except BaseException:
            self.poweroff()
            raise
        return self

    def poweroff(self) -> None:
        """Ends it, as a power failure does, and releases everything. Does nothing twice."""
        if self._inside is not None:
            self._inside.close()
            self._inside = None
        if self._nspawn is not None:
            self._end_nspawn(self._nspawn)
            self._nspawn = None
            self._leader = 0
        if self._cgroup is not None:
            self._cgroup.remove()
            self._cgroup = None
        if self._console is not None:
            self._console.close()
            self._console = None

    @property
    def leader(self) -> int:
        """The process that is number 1 inside, by its number outside; 0 before boot()."""
        return self._leader

    def _end_nspawn(self, nspawn: subprocess.Popen) -> None:
        if self._leader:
            _kill(self._leader, signal.SIGKILL)  # and the kernel ends all that it has begun
        else:
            nspawn.terminate()
        try:
            nspawn.wait(POWEROFF_SECONDS)
        except subprocess.TimeoutExpired:
            nspawn.kill()
            nspawn.wait()

    def _nspawn_options(self) -> list[str]:
        options = ['--quiet', f'--directory={self._image}', '--volatile=overlay', '--boot',
                   '--private-network', '--hostname=mx', '--register=no', '--console=pipe',
                   '--link-journal=no', '--resolv-conf=off', '--timezone=off',
                   # systemd makes a scope of this name: several containers may be of one image
                   f'--machine=exim-quotad-test-{secrets.token_hex(8)}',
                   # nspawn's own list of Debian 12 holds no Landlock, which a real machine has
                   '--system-call-filter=landlock_create_ruleset landlock_add_rule '
                   'landlock_restrict_self']
        if not _systemd_runs_here():
            options.append('--keep-unit')  # nobody there to make a scope for it
        for bind, where in (('--bind', self._binds), ('--bind-ro', self._read_only_binds)):
            for inside, outside in where.items():
                # What is mounted below the folder stays outside: the image is, for one.
                options.append(f'{bind}={_escape(outside)}:{_escape(inside)}:norbind')
        return options

    def _wait_for_leader(self, deadline: float) -> int:
        """Returns the process that is number 1 inside, once it is systemd."""
        while time.monotonic() < deadline:
            if self._nspawn.poll() is not None:
                raise ContainerError(f'systemd-nspawn ended with status {self._nspawn.returncode}:'
                                     f'\n{self.console()}')
            for child in _children(self._nspawn.pid):
                if _is_first_of_its_namespace(child) and _is_systemd(child):
                    return child
            time.sleep(0.02)
        raise ContainerError(f'no systemd after {BOOT_SECONDS} s:\n{self.console()}')

    def _wait_until_running(self, deadline: float) -> None:
        state = 'unknown'
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            asked = self.run('systemctl is-system-running --wait', check=False,
                             timeout=max(1.0, deadline - time.monotonic()))
            state = asked.stdout.strip() or asked.stderr.strip()
            if state == 'running':
                return
            if state in ('degraded', 'maintenance', 'stopping'):
                break
            time.sleep(0.05)  # too early: systemd's bus is not there yet
        failed = self.run('systemctl --failed --no-legend; journalctl -b -p warning -n 50',
                          check=False)
        raise ContainerError(f'the system is not running but "{state}" within {BOOT_SECONDS} s:\n'
                             f'{failed.stdout}{failed.stderr}\n{self.console()}')

    def console(self) -> str:
        """Returns what the container, or systemd-nspawn itself, has written to the console."""
        if self._console is None:
            return ''
        size = os.fstat(self._console.fileno()).st_size
        return os.pread(self._console.fileno(), size, 0).decode(errors='replace')

    # Commands.

    def popen(self, command: Command, user: Optional[str] = None, **options: Any
              ) -> subprocess.Popen:
        """Starts a command inside, as the user (root if None), and returns it at once.

        A string is a line for the shell. The options are those of subprocess.Popen.
        """
        if not self._leader:
            raise ContainerError('the container is not running')
        arguments = ['sh', '-c', command] if isinstance(command, str) else list(command)
        if user is not None:
            arguments = ['setpriv', f'--reuid={user}', f'--regid={user}', '--init-groups',
                         '--inh-caps=-all', *arguments]
        options.setdefault('env', _ENVIRONMENT)
        return subprocess.Popen(
            ['nsenter', '--target', str(self._leader), '--all', '--root', '--wd', '--',
             *arguments], **options)

    def run(self, command: Command, user: Optional[str] = None, input: Optional[str] = None,
            check: bool = True, timeout: float = RUN_SECONDS) -> subprocess.CompletedProcess:
        """Runs a command inside to its end and returns its status and what it printed.

        With check, another status than 0 raises CommandError; the timeout (seconds) raises
        subprocess.TimeoutExpired, and ends the command.
        """
        process = self.popen(
            command, user, text=True, errors='replace',
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with process:
            try:
                stdout, stderr = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        if check and process.returncode != 0:
            shown = command if isinstance(command, str) else shlex.join(command)
            raise CommandError(f'{shown}\nended with status {process.returncode}:\n'
                               f'{stdout}{stderr}')
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def call(self, function: Callable, *arguments: Any, **keywords: Any) -> Any:
        """Calls a function of the test process inside, as root: see Inside.call()."""
        if self._inside is None:
            raise ContainerError('the container is not running')
        return self._inside.call(function, *arguments, **keywords)

    def pid_outside(self, pid: int) -> int:
        """Returns the number that a process inside, number pid there, has outside."""
        namespace = os.readlink(f'/proc/{self._leader}/ns/pid')
        for process in Path('/proc').glob('[0-9]*'):
            number = int(process.name)
            try:
                if (os.readlink(process / 'ns/pid') == namespace
                        and _numbers_by_namespace(number)[-1] == pid):
                    return number
            except OSError:
                continue  # it has ended
        raise ContainerError(f'no process {pid} inside')

    # Files.

    def put_file(self, path: str, content: Union[str, bytes], mode: int = 0o644) -> None:
        """Writes a file inside, owned by root, and the folders above it."""
        data = content.encode() if isinstance(content, str) else content

        def write() -> None:
            file = Path(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            file.chmod(mode)

        self.call(write)

    def read_file(self, path: str) -> str:
        """Returns what is in a file inside."""
        return self.call(Path(path).read_text, encoding='utf-8', errors='replace')

    # Connections.

    def connect_tcp(self, port: int, address: str = '127.0.0.1', timeout: float = 30,
                    source: str = '') -> socket.socket:
        """Connects to a port inside, and returns the connected socket.

        The source is the address of this end, if it matters.
        """
        return self.call(_connect, socket.AF_INET, (address, port), timeout, source)

    def wait_for_tcp(self, port: int) -> None:
        """Waits until somebody listens on the port inside."""
        def listens() -> bool:
            try:
                self.connect_tcp(port).close()
                return True
            except ConnectionRefusedError:
                return False

        wait_until(listens, f'a listener on port {port}')

    def connect_unix(self, path: str, timeout: float = 30) -> socket.socket:
        """Connects to a stream socket inside, as root, and returns the connected socket."""
        return self.call(_connect, socket.AF_UNIX, path, timeout)

    # What systemd knows.

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """Returns the properties of a unit, as `systemctl show` names them (all, if none is)."""
        arguments = ['systemctl', 'show', name]
        if properties:
            arguments.append('--property=' + ','.join(properties))
        lines = self.run(arguments).stdout.splitlines()
        return dict(line.split('=', 1) for line in lines if '=' in line)

    def is_active(self, unit: str) -> bool:
        """Says whether a unit is active."""
        return self.unit(unit, 'ActiveState')['ActiveState'] == 'active'

    def journal(self, *options: str) -> str:
        """Returns the journal, or the part that journalctl's options select."""
        self.run(['journalctl', '--sync'])
        return self.run(['journalctl', '--no-pager', *options]).stdout

    def journal_now(self) -> str:
        """Returns journalctl's option that leaves out everything up to now.

        (A cursor would not do: with matches, journalctl 252 leaves out one entry too many.)
        """
        self.run(['journalctl', '--sync'])
        return f'--since=@{time.time():.6f}'


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Asks until the condition holds, and returns what it said; raises TimeoutError at the end."""
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if holds:
            return holds
        if time.monotonic() > deadline:
            raise TimeoutError(f'{what}: not within {seconds} s')
        time.sleep(0.02)


def _systemd_runs_here() -> bool:
    """Says whether the machine, not the container, was booted by systemd."""
    return Path('/run/systemd/system').is_dir()


def _connect(family: int, address: Any, timeout: float, source: str = '') -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        if source:
            connection.bind((source, 0))
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _escape(path: Union[str, Path]) -> str:
    return str(path).replace('\\', '\\\\').replace(':', '\\:')


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in
                Path(f'/proc/{pid}/task/{pid}/children').read_text(encoding='ascii').split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _numbers_by_namespace(pid: int) -> list[int]:
    """Returns the numbers of a process, from the one here to the one in its own namespace."""
    status = Path(f'/proc/{pid}/status').read_text(encoding='utf-8', errors='replace')
    line = next(line for line in status.splitlines() if line.startswith('NSpid:'))
    return [int(number) for number in line.split()[1:]]


def _is_first_of_its_namespace(pid: int) -> bool:
    try:
        numbers = _numbers_by_namespace(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return len(numbers) > 1 and numbers[-1] == 1


def _is_systemd(pid: int) -> bool:
    try:
        return os.readlink(f'/proc/{pid}/exe').endswith('/systemd')
    except OSError:
        return False
