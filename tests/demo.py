#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks a running exim-quotad what Exim would ask, about sample mailboxes, and checks the answers.

The daemon gets its socket from systemd-socket-activate(1), that is from systemd's own code, and is
asked as Exim's ${readsocket} does it. What is right is found out here, by looking at every file of
a mailbox. Prints questions and answers; ends with status 1 if one of them is wrong.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import NamedTuple, Optional

QUOTA = 1024 * 1024
START_SECONDS = 30
FIFTEEN_MINUTES = 15 * 60
LOG_LINES_SHOWN = 6


class Sample(NamedTuple):
    """A mailbox, and how the service must find out how full it is."""

    name: str
    what: str
    sources: tuple[str, ...]


MAILDIRSIZE = ('maildirsize',)
COUNTED = ('scan', 'cache')  # now, or before and nothing has changed since
MBOX = ('mbox',)
NONE = ('none',)


# The mailboxes.

def add_message(directory: Path, size: int, tagged: bool) -> None:
    """Puts a message of size bytes into a `new` or `cur`, with its size in the name or not."""
    number = sum(1 for _ in directory.iterdir())
    tag = f',S={size}' if tagged else ''
    flags = ':2,S' if directory.name == 'cur' else ''
    (directory / f'{1700000000 + number}.M{number}P1.mx{tag}{flags}').write_bytes(b'x' * size)


def make_maildir(path: Path, *folders: str) -> Path:
    """Makes an empty Maildir with folders, and returns its path."""
    for base in (path, *(path / folder for folder in folders)):
        for leaf in ('cur', 'new', 'tmp'):
            (base / leaf).mkdir(parents=True)
        if base != path:
            (base / 'maildirfolder').touch()
    return path


def write_maildirsize(maildir: Path, size: int, messages: int, age: int = 0) -> None:
    """Writes a maildirsize of one entry, so many seconds old."""
    file = maildir / 'maildirsize'
    file.write_text(f'{QUOTA}S\n{size} {messages}\n', encoding='ascii')
    written = time.time() - age
    os.utime(file, (written, written))


def make_samples(root: Path) -> list[Sample]:
    """Makes the mailboxes below root."""
    alice = make_maildir(root / 'alice')
    add_message(alice / 'cur', 300000, tagged=True)
    add_message(alice / 'new', 100000, tagged=True)
    write_maildirsize(alice, 400000, 2)

    bob = make_maildir(root / 'bob')
    add_message(bob / 'cur', 500000, tagged=True)
    add_message(bob / 'new', 1234, tagged=True)

    carol = make_maildir(root / 'carol')
    for size in (70000, 80001, 90002):
        add_message(carol / 'cur', size, tagged=False)

    dave = make_maildir(root / 'dave', '.Sent', '.Lists.exim-users')
    add_message(dave / 'cur', 200000, tagged=True)
    add_message(dave / '.Sent' / 'cur', 250000, tagged=False)
    add_message(dave / '.Lists.exim-users' / 'new', 150000, tagged=True)

    erin = make_maildir(root / 'erin')
    for _ in range(3):
        add_message(erin / 'new', 400000, tagged=True)
    write_maildirsize(erin, 1200000, 3)

    frank = make_maildir(root / 'frank')
    for _ in range(4):
        add_message(frank / 'new', 300000, tagged=False)

    grace = make_maildir(root / 'grace')
    for _ in range(3):
        add_message(grace / 'cur', 450000, tagged=True)
    write_maildirsize(grace, 1350000, 3, FIFTEEN_MINUTES + 1)
    for message in sorted((grace / 'cur').iterdir())[1:]:
        message.unlink()  # as rm does: maildirsize is not told

    (root / 'heidi').write_bytes(b'x' * 65432)
    (root / 'ivan').write_bytes(b'x' * (QUOTA + 1))
    return [
        Sample('alice', 'Maildir with maildirsize', MAILDIRSIZE),
        Sample('bob', 'Maildir without one', COUNTED),
        Sample('carol', 'without sizes in file names', COUNTED),
        Sample('dave', 'with folders', COUNTED),
        Sample('erin', 'full by its maildirsize', MAILDIRSIZE),
        Sample('frank', 'full, no maildirsize', COUNTED),
        Sample('grace', 'cleaned by rm, maildirsize: full', COUNTED),
        Sample('heidi', 'mbox', MBOX),
        Sample('ivan', 'mbox, one byte too many', MBOX),
        Sample('judy', 'no mailbox yet', NONE),
    ]


def truth(mailbox: Path) -> tuple[int, int]:
    """Returns the bytes and messages of a mailbox, by the size of every file in it."""
    if not mailbox.is_dir():
        return (mailbox.stat().st_size if mailbox.exists() else 0), 0
    sizes = [file.stat().st_size for pattern in ('cur/*', 'new/*', '.*/cur/*', '.*/new/*')
             for file in mailbox.glob(pattern)]
    return sum(sizes), len(sizes)


def everything(root: Path) -> list[tuple[str, int, int, int]]:
    """Returns what would differ if anything below root were written."""
    return sorted((str(path), found.st_mode, found.st_size, found.st_mtime_ns)
                  for path in root.rglob('*') for found in [path.lstat()])


# The daemon.

class Daemon:
    """A daemon that systemd's code passes a socket to, and that Exim's questions go to."""

    def __init__(self, program: Path, folder: Path, root: Path):
        """Starts to listen. The daemon itself begins with the first question."""
        self.questions = 0
        self._socket_path = folder / 'socket'
        self._log_path = folder / 'log'
        with open(self._log_path, 'wb') as log:
            self._process = subprocess.Popen(
                ['systemd-socket-activate', f'--listen={self._socket_path}', '--fdname=query',
                 str(program), f'--root={root}', f'--default-quota={QUOTA}'],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ask(self, request: str) -> str:
        """Asks as ${readsocket} does: writes, half-closes, reads to the end."""
        answer = b''
        with self._connect() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(request.encode() + b'\n')
            connection.shutdown(socket.SHUT_WR)
            answer = b''.join(iter(lambda: connection.recv(65536), b''))
        if not answer:
            raise RuntimeError(f'no answer to {request}:\n{self.log()}')
        self.questions += 1
        return answer.decode().rstrip('\n')

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + START_SECONDS
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(START_SECONDS)
            try:
                connection.connect(str(self._socket_path))
                return connection
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f'nobody listens:\n{self.log()}') from None
                time.sleep(0.01)

    def log(self) -> str:
        """Returns what it has logged."""
        return self._log_path.read_text(encoding='utf-8', errors='replace')

    def stop(self) -> int:
        """Stops it as systemd does, and returns its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(START_SECONDS)


# Questions and answers.

class Checker:
    """Compares what is with what should be, and remembers whether anything was wrong."""

    def __init__(self) -> None:
        """Begins with nothing wrong."""
        self.wrong = 0

    def mark(self, right: bool) -> str:
        """Returns a word for a table, and counts what is wrong."""
        self.wrong += not right
        return 'right' if right else 'WRONG'


def pairs(answer: str) -> dict[str, str]:
    """Takes a line of key=value pairs apart, as Exim's ${extract} would."""
    found = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', answer)
    return {key: re.sub(r'\\(.)', r'\1', value[1:-1]) if value.startswith('"') else value
            for key, value in found}


def ask_paths(daemon: Daemon, checker: Checker, root: Path, samples: list[Sample]) -> None:
    """Asks how full each mailbox is, and shows what Exim's ACL makes of the answer."""
    print(f'{"Question":9} {"What it is":32} {"On disk":>8} {"Answer":>8}  {"Known by":12}       '
          'Exim to RCPT TO')
    for sample in samples:
        mailbox = root / sample.name
        size, _ = truth(mailbox)
        answer = daemon.ask(str(mailbox))
        source = pairs(daemon.ask(f'usage {mailbox}')).get('source', '-')
        right = answer == str(size) and source in sample.sources
        exim = '451 Mailbox over quota' if int(answer) > QUOTA else '250 Accepted'
        print(f'.../{sample.name:5} {sample.what:32} {size:8} {answer:>8}  {source:12}'
              f'{checker.mark(right)}  {exim}')


def ask_verb(daemon: Daemon, checker: Checker, root: Path, request: str, exim: Optional[str],
             **expected: object) -> None:
    """Asks with a verb, and compares those pairs of the answer that are expected."""
    answer = daemon.ask(request)
    found = pairs(answer)
    right = all(found.get(key) == str(value) for key, value in expected.items())
    print(f'> {request.replace(str(root), "...")}')
    print(textwrap.fill(f'< {answer.replace(str(root), "...")}', 100, subsequent_indent='  '))
    print(f'  {checker.mark(right)}{f", Exim: {exim}" if exim else ""}')


def ask_verbs(daemon: Daemon, checker: Checker, root: Path) -> None:
    """Asks with the verbs of the protocol."""
    alice, erin = root / 'alice', root / 'erin'
    size, messages = truth(alice)
    for number, exim, status in ((4096, '250 Accepted', 'ok'),
                                 (QUOTA - size + 1, '451, no room for it', 'over'),
                                 (QUOTA + 1, '552, it can never fit', 'toolarge')):
        ask_verb(daemon, checker, root, f'check size={number} quota={QUOTA} {alice}', exim,
                 status=status, bytes=size, messages=messages, limit=QUOTA, mailbox=alice)
    size, messages = truth(erin)
    ask_verb(daemon, checker, root, f'usage {erin}', None, status='ok', bytes=size,
             messages=messages, limit=QUOTA, percent=100 * size // QUOTA)
    ask_verb(daemon, checker, root, 'check /etc/passwd', '250 Accepted, an error is no verdict',
             status='error', reason='outside-root')
    ask_verb(daemon, checker, root, 'stats', None, status='ok', queries=daemon.questions + 1,
             errors=1)


def main() -> int:
    """Runs the whole demonstration and returns the exit status."""
    program = Path(sys.argv[1]).resolve()
    folder = Path(tempfile.mkdtemp(prefix='exim-quotad-demo.'))
    checker = Checker()
    try:
        root = folder / 'mail'
        samples = make_samples(root)
        before = everything(root)
        daemon = Daemon(program, folder, root)
        try:
            print(f'The socket is {folder}/socket, the quota of each mailbox {QUOTA} bytes,\n'
                  f'and ... stands for {root}.\n')
            ask_paths(daemon, checker, root, samples)
            print()
            ask_verbs(daemon, checker, root)
        finally:
            status = daemon.stop()
        entries = [line for line in daemon.log().replace(str(root), '...').splitlines()
                   if line.startswith('exim-quotad[')]
        print('', 'From its log:', *entries[:LOG_LINES_SHOWN], sep='\n')
        print(f'\nexit status {status}: {checker.mark(status == 0)}; '
              f'nothing written to the mailboxes: {checker.mark(everything(root) == before)}')
    finally:
        shutil.rmtree(folder)
    print(f'{checker.wrong} things were WRONG.' if checker.wrong else 'Every answer was right.')
    return 1 if checker.wrong else 0


if __name__ == '__main__':
    sys.exit(main())
