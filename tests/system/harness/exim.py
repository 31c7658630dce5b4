# SPDX-License-Identifier: GPL-2.0-or-later
"""Exim inside a container: its configuration, SMTP sessions with it, and its log."""

import re
from pathlib import Path

from . import places
from .container import wait_until
from .mail_server import MailServer

CONFIGURATION = '/etc/exim4/exim4.conf'
MAINLOG = '/var/log/exim4/mainlog'
PANICLOG = '/var/log/exim4/paniclog'
QUEUE = '/var/spool/exim4/input'


class Exim(MailServer):
    """The Exim of one container."""

    name = 'Exim'

    def configure(self, name: str = 'post.conf', **macros: object) -> None:
        """Installs tests/system/exim/NAME as Exim's whole configuration and restarts it.

        A macro given here replaces the value that the file defines.
        """
        text = (places.SYSTEM_TESTS / 'exim' / name).read_text(encoding='utf-8')
        for macro, value in macros.items():
            line = f'{macro} = {value}'
            text, found = re.subn(rf'^{macro} = .*$', lambda _: line, text, flags=re.MULTILINE)
            if found != 1:
                raise ValueError(f'{name} defines the macro {macro} {found} times')
        self._container.put_file(CONFIGURATION, text)
        self._container.run(['exim4', '-bV'])  # says what is wrong with the file
        self.restart()

    def restart(self) -> None:
        """Restarts it and waits until it listens."""
        # forgets how often it was started in the last seconds, which systemd limits, if ever
        self._container.run(['systemctl', 'reset-failed', 'exim4.service'], check=False)
        self._container.run(['systemctl', 'restart', 'exim4.service'])
        self._container.wait_for_tcp(25)

    def queue(self) -> int:
        """Returns the number of messages in the queue."""
        return self._container.call(lambda: sum(1 for _ in Path(QUEUE).rglob('*-H')))

    def mainlog(self) -> str:
        """Returns the main log, '' if there is none yet."""
        return self._log(MAINLOG)

    def paniclog(self) -> str:
        """Returns the log of what should never happen, '' if there is none."""
        return self._log(PANICLOG)

    def _log(self, path: str) -> str:
        return self._container.call(lambda: Path(path).read_text('utf-8', 'replace')
                                    if Path(path).exists() else '')

    def clear_queue(self) -> None:
        """Removes what is in the queue."""
        def clear() -> bool:
            if not self.queue():
                return True
            messages = re.findall(r'(?m)^ *\d+\w +\S+ +(\S+) <',
                                  self._container.run(['exim4', '-bp']).stdout)
            if messages:
                self._container.run(['exim4', '-Mrm', *messages], check=False)  # may be locked
            return False

        wait_until(clear, "Exim's queue cleared")
