# SPDX-License-Identifier: GPL-2.0-or-later
"""What a system test derives from: a class of tests shares one freshly booted container.

The release to test is named by the environment variable EXIM_QUOTAD_RELEASE.
"""

import os
import unittest

from . import image, project
from .container import Container
from .dovecot import Dovecot
from .exim import Exim
from .mailboxes import Mailboxes

RELEASE_VARIABLE = 'EXIM_QUOTAD_RELEASE'
LONG_VARIABLE = 'EXIM_QUOTAD_LONG'

REPORTED_LINES = 150


def is_long() -> bool:
    """Says whether the tests that take long, or the long form of a test, are wanted."""
    return bool(os.environ.get(LONG_VARIABLE))


class Scenario(unittest.TestCase):
    """A container with the project installed and nothing of it started: self.container.

    A subclass that needs more folders inside names them in `binds` (inside -> outside), and does
    what comes before all of its tests in prepare().
    """

    release: str
    container: Container
    binds: dict = {}

    @classmethod
    def setUpClass(cls) -> None:
        cls.release = os.environ.get(RELEASE_VARIABLE, 'bookworm')
        cls.container = project.container_with_sources(image.path_of(cls.release), binds=cls.binds)
        cls.addClassCleanup(cls.container.poweroff)
        cls.container.boot()
        try:
            cls.prepare()
        except Exception as exception:
            exception.add_note(f'The journal:\n{cls.container.journal()}')
            raise

    @classmethod
    def prepare(cls) -> None:
        """Makes the booted container ready for the tests of the class."""
        project.install(cls.container)

    def setUp(self) -> None:
        self._journal_start = self.container.journal_now()

    def journal(self, *options: str) -> str:
        """Returns the journal since the test began, or the part that the options select."""
        return self.container.journal(self._journal_start, *options)

    def failure_report(self) -> str:
        """Returns what helps to see why this test failed; called while the container runs."""
        return f'The journal since the test began:\n{_end_of(self.journal())}'


class MailScenario(Scenario):
    """A Scenario with Exim (tests/system/exim/post.conf) and Dovecot running.

    self.exim, self.dovecot, self.mailboxes; the quota of every mailbox is `quota` bytes.
    """

    exim: Exim
    dovecot: Dovecot
    mailboxes: Mailboxes
    quota = 65536

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.mailboxes = Mailboxes(cls.container)
        cls.exim = Exim(cls.container)
        cls.exim.configure('post.conf', USERQUOTA=cls.quota)
        cls.dovecot = Dovecot(cls.container, cls.release)
        cls.dovecot.configure(cls.quota)

    def setUp(self) -> None:
        super().setUp()
        self.exim.dialogues()

    def failure_report(self) -> str:
        return (f'The SMTP sessions:\n{_end_of(self.exim.dialogues())}\n\n'
                f"Exim's main log:\n{_end_of(self.exim.mainlog())}\n{super().failure_report()}")


def _end_of(text: str) -> str:
    """Returns the text, or of a long one the last lines."""
    lines = text.splitlines(keepends=True)
    left_out = len(lines) - REPORTED_LINES
    if left_out <= 0:
        return text
    return f'({left_out} lines left out)\n' + ''.join(lines[-REPORTED_LINES:])
