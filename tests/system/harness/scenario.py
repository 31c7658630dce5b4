# SPDX-License-Identifier: GPL-2.0-or-later
"""What a system test derives from: the tests of a class share one freshly booted container.

The release to test is named by the environment variable EXIM_QUOTAD_RELEASE.
"""

import os
import unittest
from typing import Callable, Optional

from . import image, project
from .container import Container
from .debian_exim import DebianExim
from .dovecot import Dovecot
from .exim import Exim
from .mailboxes import SPOOL, Mailboxes
from .service import SERVICE, SOCKET, Service

LIMITS_FILE = '/etc/exim-quotad/limits'

RELEASE_VARIABLE = 'EXIM_QUOTAD_RELEASE'
LONG_VARIABLE = 'EXIM_QUOTAD_LONG'

REPORTED_LINES = 150


def is_long() -> bool:
    """Says whether the tests that take long, or the long form of a test, are wanted."""
    return bool(os.environ.get(LONG_VARIABLE))


def quickly_on(release: str) -> Callable:
    """Returns what skips a test on other releases, unless the long form is wanted."""
    return unittest.skipUnless(is_long() or os.environ.get(RELEASE_VARIABLE) == release,
                               f'quick form: on {release} only')


class Scenario(unittest.TestCase):
    """A container with the project installed and nothing of it started: self.container.

    A subclass that needs more folders inside names them in `binds` (inside -> outside), and does
    what comes before all of its tests in prepare(). One that sets `is_shared` has one container,
    prepared once, for all classes that are derived from it.
    """

    release: str
    container: Container
    binds: dict = {}
    is_shared = False

    @classmethod
    def setUpClass(cls) -> None:
        owner = next((each for each in cls.__mro__ if 'is_shared' in vars(each) and each.is_shared),
                     cls)
        if 'container' not in vars(owner):
            owner._boot(cls.addClassCleanup if owner is cls else unittest.addModuleCleanup)

    @classmethod
    def _boot(cls, add_cleanup: Callable) -> None:
        cls.release = os.environ.get(RELEASE_VARIABLE, 'bookworm')
        cls.container = project.container_with_sources(image.path_of(cls.release), binds=cls.binds)
        add_cleanup(cls.container.poweroff)
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
        return _report_on(self.exim) + super().failure_report()


class DebianScenario(Scenario):
    """A Scenario with Debian's split configuration of Exim and our ACL files: see DebianExim.

    self.exim, self.mailboxes; the service runs, with the options and the limits of the class.
    """

    exim: DebianExim
    mailboxes: Mailboxes
    options = f'--mailbox={SPOOL}/%d/%n --limits={LIMITS_FILE}'
    limits = ''
    macros: dict = {}
    exim_files: dict = {}

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.mailboxes = Mailboxes(cls.container)
        Service(cls.container).configure(cls.options)
        cls.container.put_file(LIMITS_FILE, cls.limits)
        cls.exim = DebianExim(cls.container)
        cls.exim.configure_split(cls.macros, cls.exim_files)
        cls.container.run(['systemctl', 'start', SOCKET, SERVICE])

    def setUp(self) -> None:
        super().setUp()
        self.exim.dialogues()
        self._log_length = len(self.exim.mainlog())

    def tearDown(self) -> None:
        self.assertNotIn('taint', self.log())
        self.assertEqual(self.exim.paniclog(), '')

    def log(self) -> str:
        """Returns what Exim has logged since the test began."""
        return self.exim.mainlog()[self._log_length:]

    def check(self, *addresses: str, size: Optional[int] = None) -> list[str]:
        """Returns, and prints, the replies to the recipients, named in one session."""
        replies = [str(reply) for reply in self.exim.check(*addresses, size=size)]
        announced = '' if size is None else f'SIZE={size} '
        for address, reply in zip(addresses, replies):
            print(f'{announced}RCPT TO:<{address}>\n  {reply}')
        return replies

    def filled(self, address: str, *sizes: int) -> str:
        """Gives the address a Maildir with messages of these sizes, and returns its path."""
        maildir = self.mailboxes.add_maildir(address)
        for size in sizes:
            self.mailboxes.drop(maildir, size)
        return maildir

    def set_limits(self, text: str) -> None:
        """Changes the limits file, and reloads the service."""
        self.container.put_file(LIMITS_FILE, text)
        self.container.run(['systemctl', 'reload', SERVICE])

    def failure_report(self) -> str:
        return _report_on(self.exim) + super().failure_report()


def _report_on(exim: Exim) -> str:
    return (f'The SMTP sessions:\n{_end_of(exim.dialogues())}\n\n'
            f"Exim's main log:\n{_end_of(exim.mainlog())}\n")


def _end_of(text: str) -> str:
    """Returns the text, or of a long one the last lines."""
    lines = text.splitlines(keepends=True)
    left_out = len(lines) - REPORTED_LINES
    if left_out <= 0:
        return text
    return f'({left_out} lines left out)\n' + ''.join(lines[-REPORTED_LINES:])
