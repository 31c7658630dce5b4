# SPDX-License-Identifier: GPL-2.0-or-later
"""Delivers messages into mailboxes in the background, as a delivery agent does."""

import contextlib
import os
import random
import threading
import time
from typing import Iterator, Sequence

from mail import Mailbox

BYTES = 10


class Deliveries:
    """Messages whose names say how large they are; maildirsize, if there is one, gets a line."""

    def __init__(self, mailboxes: Sequence[Mailbox]):
        self._mailboxes = mailboxes
        self._random = random.Random(1)
        self._number = 1  # of the last message: the first is there
        self._count = 0
        self._seconds = 0.0

    @contextlib.contextmanager
    def at(self, per_second: float) -> Iterator[None]:
        """Delivers so many messages a second in the meantime; 0: none."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(per_second, stop))
        if per_second > 0:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if per_second > 0:
                thread.join()

    def rate(self) -> float:
        """Returns how many a second were delivered, as long as any were."""
        return self._count / self._seconds if self._seconds > 0 else 0

    def one(self, mailbox: Mailbox) -> None:
        """Delivers one message."""
        self._number += 1
        name = f'{self._number}.M{self._number}P1.mx,S={BYTES},W={BYTES}'
        temporary = f'{mailbox.path}/tmp/{name}'
        with open(temporary, 'w', encoding='ascii') as file:
            file.write('x' * BYTES)
        os.rename(temporary, f'{mailbox.path}/new/{name}')
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(f'{mailbox.path}/maildirsize', os.O_WRONLY | os.O_APPEND)
            try:
                os.write(fd, f'{BYTES} 1\n'.encode())
            finally:
                os.close(fd)

    def _run(self, per_second: float, stop: threading.Event) -> None:
        begin = due = time.monotonic()
        while not stop.is_set():
            self.one(self._random.choice(self._mailboxes))
            self._count += 1
            due += 1 / per_second
            stop.wait(max(0.0, due - time.monotonic()))
        self._seconds += time.monotonic() - begin
