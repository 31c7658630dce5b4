# SPDX-License-Identifier: GPL-2.0-or-later
"""The servers that answer on a socket of their own: the bare one, and exim-quotad."""

import socket
import subprocess
import time
from pathlib import Path
from typing import Sequence

from figures import CannotMeasure

START_SECONDS = 20
STOP_SECONDS = 20


class Server:
    """A running server. `with` stops it."""

    def __init__(self, name: str, command: Sequence[str], address: Path):
        """Starts it, and waits until somebody listens at the address."""
        self.name = name
        self.address = address
        self._log = address.with_suffix('.log')
        with open(self._log, 'wb') as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log)
        self.pid = self._process.pid
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> 'Server':
        return self

    def __exit__(self, *_exception) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it, by force if need be."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.address.unlink(missing_ok=True)

    def ask(self, question: str) -> str:
        """Asks, and returns the answer without its LF."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_SECONDS)
            connection.connect(str(self.address))
            connection.sendall(question.encode() + b'\n')
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile(encoding='utf-8') as stream:
                return stream.read().rstrip('\n')

    def said(self) -> str:
        """Returns what it has written to its standard output and error."""
        return self._log.read_text('utf-8', 'replace')

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process.poll() is not None:
                raise CannotMeasure(f'{self.name} ended with status {self._process.returncode}: '
                                    f'{self.said().strip()}')
            if time.monotonic() > deadline:
                raise CannotMeasure(f'{self.name} does not listen at {self.address} after '
                                    f'{START_SECONDS} s: {self.said().strip()}')
            time.sleep(0.005)

    def _listens(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self.address))
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False


def start_bare(program: Path, folder: Path, threads: int) -> Server:
    """Starts the bare server with so many threads, its socket in the folder."""
    address = folder / f'bare-{threads}.socket'
    return Server(f'the bare server ({threads})', [str(program), str(address), str(threads)],
                  address)


def start_quotad(program: Path, folder: Path, root: Path, options: Sequence[str] = (),
                 name: str = 'quotad') -> Server:
    """Starts exim-quotad for the mailboxes below the root; its files in the folder have the name.

    What it reports goes to a file, too.
    """
    address = folder / f'{name}.socket'
    return Server('exim-quotad', [str(program), f'--socket={address}', '--foreground',
                                  f'--root={root}', f'--log={folder / name}.messages', *options],
                  address)
