# SPDX-License-Identifier: GPL-2.0-or-later
"""A client's side of SMTP that keeps the whole dialogue and may send commands in one go."""

import socket
from typing import Iterable, NamedTuple, Optional


class Reply(NamedTuple):
    """What the server said to one command."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The text without the codes, the lines of it joined by line feeds."""
        return '\n'.join(self.lines)

    def __str__(self) -> str:
        return f'{self.code} {self.text}'


class Session:
    """One SMTP session over a connected socket: `with Session(socket) as smtp: smtp.rcpt(...)`."""

    def __init__(self, connection: socket.socket, hello: str = 'EHLO'):
        """Takes the connection over, reads the greeting and says EHLO (LHLO where it is LMTP)."""
        self.lines: list[str] = []
        self._connection = connection
        self._stream = connection.makefile('rb')
        self.greeting = self._read_reply()
        self.extensions = self.command(f'{hello} client.example')

    def __enter__(self) -> 'Session':
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def close(self) -> None:
        """Says QUIT, if the server still listens, and closes the connection."""
        try:
            if not self._stream.closed:
                self.command('QUIT')
        except (OSError, EOFError):
            pass
        finally:
            self._stream.close()
            self._connection.close()

    # Commands.

    def command(self, line: str) -> Reply:
        """Sends one command and returns the reply."""
        return self.pipeline([line])[0]

    def pipeline(self, lines: Iterable[str]) -> list[Reply]:
        """Sends all commands in one write and returns their replies.

        Bytes that are not UTF-8 are written as os.fsdecode() has them.
        """
        lines = list(lines)
        self.lines.extend(f'C: {line}' for line in lines)
        text = ''.join(f'{line}\r\n' for line in lines)
        self._connection.sendall(text.encode(errors='surrogateescape'))
        return [self._read_reply() for _ in lines]

    def mail_from(self, sender: str = 'sender@elsewhere.example', size: Optional[int] = None
                  ) -> Reply:
        """Begins a message, of the announced size if there is one."""
        return self.command(f'MAIL FROM:<{sender}>' + (f' SIZE={size}' if size is not None else ''))

    def rcpt(self, recipient: str) -> Reply:
        """Names one recipient."""
        return self.command(f'RCPT TO:<{recipient}>')

    def data(self, content: str) -> Reply:
        """Sends the message, and returns the reply to it, or to DATA if that was refused."""
        ready = self.command('DATA')
        if ready.code != 354:
            return ready
        lines = content.splitlines()
        stuffed = ''.join(f'.{line}\r\n' if line.startswith('.') else f'{line}\r\n'
                          for line in lines)
        self.lines.append(f'C: (a message of {len(lines)} lines, {len(content)} bytes)')
        self._connection.sendall(stuffed.encode() + b'.\r\n')
        return self._read_reply()

    def rset(self) -> Reply:
        """Forgets the message that was begun."""
        return self.command('RSET')

    # The record.

    def dialogue(self) -> str:
        """Returns everything that was said so far, a line each, `C:` and `S:`."""
        return '\n'.join(self.lines)

    def _read_reply(self) -> Reply:
        texts = []
        while True:
            line = self._stream.readline()
            if not line:
                self.lines.append('S: (closed the connection)')
                raise EOFError('the server closed the SMTP connection')
            text = line.decode(errors='replace').rstrip('\r\n')
            self.lines.append(f'S: {text}')
            texts.append(text[4:])
            if text[3:4] != '-':
                return Reply(int(text[:3]), tuple(texts))


def message(size: int, subject: str = 'A test') -> str:
    """Returns a message of exactly that many bytes as it is sent, line ends being CRLF."""
    head = ('From: sender@elsewhere.example\n'
            'To: undisclosed-recipients:;\n'
            f'Subject: {subject}\n\n')
    left = size - len(head) - head.count('\n')
    if left < 2:
        raise ValueError(f'a message of {size} bytes has no room for its headers')
    lines, rest = divmod(left, 72)
    if rest == 1:  # too short for a line of its own
        lines, rest = lines - 1, 73
    return head + ('x' * 70 + '\n') * lines + ('x' * (rest - 2) + '\n' if rest else '')
