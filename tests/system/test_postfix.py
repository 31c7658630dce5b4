# SPDX-License-Identifier: GPL-2.0-or-later
"""Postfix asks before it accepts: its smtpd in Debian's chroot, the README's lines, and Dovecot.

Whatever happens to the service may not cost a message. What smtpd warns of is compared as well: by
default a test expects no warning.
"""

import json
import re
from collections import Counter
from functools import partial
from typing import Optional

from harness import readme, smtp
from harness.container import wait_until
from harness.dovecot import Dovecot
from harness.mailboxes import Mailboxes
from harness.postfix import Postfix, install
from harness.scenario import LIMITS_FILE, Scenario
from harness.service import POSTFIX_SOCKET, SERVICE, SOCKET, Service
from harness.threads import Threads

# Every block of code in the README's section, by a part of it.
SECTION = 'Configure Postfix'
OPTIONS, COMMANDS, LINES = 'mailbox = ', 'systemctl', 'check_policy_service'

LIMIT = 65536

ACCEPTED = '250 2.1.5 Ok'
FULL = '452 4.2.2 <{}>: Recipient address rejected: Mailbox is full'
TOO_LARGE = ('552 5.2.2 <{}>: Recipient address rejected: '
             'Message is larger than the mailbox may ever be')
FULL_AT_END = '452 4.2.2 <END-OF-MESSAGE>: End-of-data rejected: Mailbox is full'
TOO_LARGE_AT_END = ('552 5.2.2 <END-OF-MESSAGE>: End-of-data rejected: '
                    'Message is larger than the mailbox may ever be')
UNKNOWN = '550 5.1.1 <{}>: Recipient address rejected: User unknown in virtual mailbox table'

# Bob is full. So are all whose addresses are written in other ways; the others have room.
BOB, ANN, JOE, EVE, DORA, IVO, UNA, KIM = (
    f'{name}@quota.example' for name in ('bob', 'ann', 'joe', 'eve', 'dora', 'ivo', 'una', 'kim'))
QUOTED = '"joe doe"@quota.example'
UTF8 = ('jürgen@quota.example', 'joe@bücher.example')
FULL_ONES = (BOB, QUOTED, *UTF8)
OTHERS = (ANN, JOE, EVE, DORA)
EMPTY = (IVO, UNA, KIM)
ALIASES = {'info@quota.example': BOB, 'list@quota.example': f'{BOB}, {JOE}', '@full.example': BOB}

# What smtpd says when there is no socket.
NO_SOCKET = {
    'warning: connect to private/exim-quotad: No such file or directory',
    'warning: problem talking to server private/exim-quotad: No such file or directory',
}

CLIENTS = 8
RESTARTS, KILLS = 50, 3
REQUESTS = 20


class Clients(Threads):
    """Clients that name Joe, who has room, and Bob, who has not, until the block ends.

    The replies are counted by recipient and code.
    """

    def __init__(self, server: Postfix):
        self.replies: Counter[tuple[str, int]] = Counter()
        self.lost: list[Exception] = []
        self._rounds = [0] * CLIENTS
        super().__init__(partial(self._ask, number, server.session())
                         for number in range(CLIENTS))

    def wait_for_all(self) -> None:
        """Waits until each has got replies to what it has asked from now on."""
        before = list(self._rounds)
        wait_until(lambda: self.lost or all(now > then + 1 for now, then in
                                            zip(self._rounds, before)), 'replies to all clients')

    def _ask(self, number: int, session: smtp.Session) -> None:
        try:
            with session:
                while not self.end.is_set():
                    session.mail_from(size=1000)
                    for address in (JOE, BOB):
                        self.replies[address, session.rcpt(address).code] += 1
                    session.rset()
                    self._rounds[number] += 1
        except (OSError, EOFError) as error:
            self.lost.append(error)


class PostfixAsks(Scenario):
    """One container for all tests; the service's sockets for Postfix and for Exim are open."""

    mailboxes: Mailboxes
    postfix: Postfix
    dovecot: Dovecot
    service: Service
    options: str

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        install(cls.container)
        # Postfix would not start if it found the folder of the socket, but not its own
        cls.container.run(['systemctl', 'start', POSTFIX_SOCKET])
        cls.mailboxes = Mailboxes(cls.container)
        for addresses, size in ((FULL_ONES, 70000), (OTHERS, 60000), (EMPTY, 0)):
            for address in addresses:
                maildir = cls.mailboxes.add_maildir(address.replace('"', ''))
                if size > 0:
                    cls.mailboxes.drop(maildir, size)
        cls.postfix = Postfix(cls.container)
        cls.postfix.configure(
            readme.block(SECTION, LINES) +
            f'transport_maps = inline:{{ {KIM}=virtual: }}\n'
            f'virtual_uid_maps = static:{cls.mailboxes.uid}\n'
            f'virtual_gid_maps = static:{cls.mailboxes.gid}\n',
            (*FULL_ONES, *OTHERS, *EMPTY), ALIASES)
        cls.dovecot = Dovecot(cls.container, cls.release)
        cls.dovecot.configure(LIMIT, 'postfix')
        cls.container.put_file(LIMITS_FILE, f'*: {LIMIT}\n')
        cls.service = Service(cls.container)
        cls.options = readme.as_options(readme.block(SECTION, OPTIONS))
        cls.service.configure(cls.options)
        # the service runs already, for Exim
        cls.service.start()
        cls.service.ask('ping')
        cls.container.run(readme.block(SECTION, COMMANDS))

    @classmethod
    def restart_service(cls, options: str = '') -> None:
        """Opens both sockets for a service with further options."""
        cls.service.configure(f'{cls.options} {options}')
        # not restart: systemd starts no socket while its service is just ending by itself
        cls.container.run(['systemctl', 'stop', POSTFIX_SOCKET, SOCKET, SERVICE])
        cls.container.run(['systemctl', 'start', POSTFIX_SOCKET, SOCKET])

    def setUp(self) -> None:
        super().setUp()
        self.expected_warnings: set[str] = set()
        self.postfix.dialogues()

    def tearDown(self) -> None:
        self.assertEqual(self.warnings(), self.expected_warnings)
        self.assertEqual(self.container.run('systemctl --failed --no-legend').stdout, '')

    def failure_report(self) -> str:
        return f'The SMTP sessions:\n{self.postfix.dialogues()}\n\n' + super().failure_report()

    # What Postfix says.

    def rcpt(self, *recipients: str, size: Optional[int] = None, parameters: str = '') -> list[str]:
        """Returns, and prints, the replies to the recipients, named in one session."""
        announced = (f' SIZE={size}' if size is not None else '') + parameters
        with self.postfix.session() as session:
            session.command(f'MAIL FROM:<sender@elsewhere.example>{announced}')
            replies = [str(session.rcpt(recipient)) for recipient in recipients]
        for recipient, reply in zip(recipients, replies):
            print(f'MAIL{announced} RCPT TO:<{recipient}>: {reply}')
        return replies

    def send(self, *recipients: str, size: int) -> str:
        """Sends a message whose size is not announced to those who take it; returns the reply."""
        with self.postfix.session() as session:
            session.mail_from()
            for recipient in recipients:
                session.rcpt(recipient)
            reply = re.sub('queued as .*', 'queued', str(session.data(smtp.message(size))))
        print(f'{size} bytes to {", ".join(recipients)}: {reply}')
        self.postfix.wait_for_deliveries()
        return reply

    def log(self, program: str) -> list[str]:
        """Returns what a program of Postfix has logged since the test began."""
        return self.journal('-t', f'postfix/{program}', '-o', 'cat').splitlines()

    def warnings(self) -> set[str]:
        """Returns smtpd's warnings."""
        return {line for line in self.log('smtpd') if line.startswith('warning:')}

    def deliveries(self) -> Counter[str]:
        """Returns how often what became of deliveries to Dovecot: sent, bounced."""
        return Counter(re.findall(r'\bstatus=(\w+)', '\n'.join(self.log('lmtp'))))

    def stats(self) -> Counter[str]:
        """Returns the counters of the service."""
        [counters] = json.loads(self.container.run(['exim-quotactl', '--json', 'stats']).stdout)
        return Counter({name: counters[name] for name in ('queries', 'connections')})

    def exim_says(self, address: str) -> str:
        """Returns the status in the reply to a check as Exim makes it."""
        return self.service.ask(f'check {address}').partition(' ')[0]

    # What Postfix replies to clients.

    def test_each_block_has_a_test(self):
        self.assertEqual(readme.blocks(SECTION), [readme.block(SECTION, part)
                                                  for part in (OPTIONS, COMMANDS, LINES)])

    def test_size_that_is_announced(self):
        self.assertEqual(self.rcpt(ANN, size=5536), [ACCEPTED])
        self.assertEqual(self.rcpt(ANN, size=5537), [FULL.format(ANN)])
        self.assertEqual(self.rcpt(ANN, size=65537), [TOO_LARGE.format(ANN)])
        self.assertEqual(self.rcpt(JOE, BOB, JOE), [ACCEPTED, FULL.format(BOB), ACCEPTED])

    def test_size_at_the_end_of_data(self):
        self.assertEqual(self.send(EVE, size=5537), FULL_AT_END)
        self.assertEqual(self.send(EVE, size=65537), TOO_LARGE_AT_END)
        self.assertEqual(self.send(EVE, size=4000), '250 2.0.0 Ok: queued')
        self.assertEqual(self.deliveries(), {'sent': 1})

    def test_one_of_two_is_full(self):
        self.assertEqual(self.send(DORA, BOB, size=1000), '250 2.0.0 Ok: queued')
        self.assertEqual(self.deliveries(), {'sent': 1})
        # Postfix names no recipient at the end of a message for several.
        self.assertEqual(self.send(DORA, JOE, size=7000), '250 2.0.0 Ok: queued')
        self.assertEqual(self.deliveries(), {'sent': 1, 'bounced': 2})

    def test_own_clients_are_not_checked(self):
        with smtp.Session(self.container.connect_tcp(25)) as session:
            session.mail_from(size=1000)
            self.assertEqual(str(session.rcpt(BOB)), ACCEPTED)
            self.assertEqual(session.data(smtp.message(1000)).code, 250)
        wait_until(lambda: self.deliveries() == {'bounced': 1}, 'Dovecot refuses the message')

    def test_addresses_without_a_mailbox(self):
        addresses = ('info@quota.example', 'list@quota.example', 'anybody@full.example')
        for size in (1000, LIMIT + 1):
            self.assertEqual(self.rcpt(*addresses, size=size), [ACCEPTED] * len(addresses))
        self.assertEqual(self.rcpt('unknown@quota.example'),
                         [UNKNOWN.format('unknown@quota.example')])

    def test_spellings_of_an_address(self):
        self.assertEqual(self.rcpt('bob+lists@quota.example', 'Bob@QUOTA.example', QUOTED),
                         [FULL.format(address) for address in (
                             'bob+lists@quota.example', 'Bob@QUOTA.example',
                             'joe doe@quota.example')])
        self.assertEqual(self.rcpt(*UTF8, parameters=' SMTPUTF8'),
                         [FULL.format(address) for address in UTF8])

    def test_dovecot_agrees(self):
        self.addCleanup(self.restart_service)
        self.addCleanup(self.dovecot.configure, LIMIT, 'postfix')
        for address, variants, options in ((IVO, (), ''),
                                           (UNA, ('count',), '--maildirsize=ignore')):
            with self.subTest(variants=variants):
                self.dovecot.configure(LIMIT, 'postfix', *variants)
                self.restart_service(options)
                before = self.deliveries()
                for _ in range(6):
                    self.assertEqual(self.rcpt(address, size=10000), [ACCEPTED])
                    self.assertEqual(self.send(address, size=10000), '250 2.0.0 Ok: queued')
                self.assertEqual(self.rcpt(address, size=10000), [FULL.format(address)])
                self.container.run(['systemctl', 'stop', POSTFIX_SOCKET])
                self.assertEqual(self.send(address, size=10000), '250 2.0.0 Ok: queued')
                self.assertEqual(self.deliveries() - before, {'sent': 6, 'bounced': 1})
        self.expected_warnings = NO_SOCKET

    def test_postfix_delivers_itself(self):
        for _ in range(6):
            self.assertEqual(self.rcpt(KIM, size=10000), [ACCEPTED])
            self.assertEqual(self.send(KIM, size=10000), '250 2.0.0 Ok: queued')
        self.assertEqual(len(self.log('virtual')), 6)
        self.assertEqual(self.rcpt(KIM, size=10000), [FULL.format(KIM)])

    # What clients and smtpd notice of a service that comes and goes.

    def test_connections_are_kept(self):
        before = self.stats()
        for _ in range(4):
            with self.postfix.session() as session:
                session.mail_from(size=1000)
                replies = session.pipeline([f'RCPT TO:<{JOE}>'] * REQUESTS)
                self.assertEqual({str(reply) for reply in replies}, {ACCEPTED})
        counted = self.stats() - before
        processes = set(re.findall(r'smtpd\[(\d+)\]: connect from', self.journal()))
        print(f'{dict(counted)}; smtpd: {processes}')
        # one connection and one request are those of exim-quotactl
        self.assertEqual(counted['queries'], 4 * REQUESTS + 1)
        self.assertLessEqual(counted['connections'], len(processes) + 1)

    def test_service_ends_during_a_session(self):
        def reload() -> None:
            self.service.configure(f'{self.options} --exit-idle-time=100ms')
            self.container.run(['systemctl', 'reload', SERVICE])

        def wait_for_idle_exit() -> None:
            wait_until(lambda: not self.container.is_active(SERVICE), 'an idle exit')

        self.addCleanup(self.restart_service)
        ends = (self.service.stop, self.kill, reload, wait_for_idle_exit)
        with self.postfix.session() as session:
            session.mail_from(size=1000)
            self.assertEqual(str(session.rcpt(BOB)), FULL.format(BOB))
            for end in ends:
                end()
                self.assertEqual([str(session.rcpt(address)) for address in (JOE, BOB)],
                                 [ACCEPTED, FULL.format(BOB)])
        self.assertGreaterEqual(self.starts(), len(ends))

    def test_restarts_under_load(self):
        with Clients(self.postfix) as clients:
            for _ in range(RESTARTS):
                self.container.run(['systemctl', 'restart', SERVICE])
            clients.wait_for_all()
        self.assert_nothing_refused(clients)
        self.assertGreaterEqual(self.starts(), RESTARTS)

    def test_kills_under_load(self):
        with Clients(self.postfix) as clients:
            for _ in range(KILLS):
                clients.wait_for_all()
                self.kill()
            clients.wait_for_all()
        self.assert_nothing_refused(clients)
        self.assertGreaterEqual(self.starts(), KILLS)

    def kill(self) -> None:
        """Kills the service."""
        self.container.run(['systemctl', 'kill', '--signal=KILL', SERVICE])

    def starts(self) -> int:
        """Returns how often the service has started since the test began."""
        return self.journal('-t', 'exim-quotad', '-o', 'cat').count(' answers on ')

    def assert_nothing_refused(self, clients: Clients) -> None:
        """Joe got all his mail, and Bob none."""
        print(f'replies: {dict(clients.replies)}')
        self.assertEqual(clients.lost, [])
        self.assertEqual(set(clients.replies), {(JOE, 250), (BOB, 452)})

    def test_no_socket(self):
        self.addCleanup(self.restart_service)
        with self.postfix.session() as session:
            session.mail_from()
            self.assertEqual(str(session.rcpt(BOB)), FULL.format(BOB))
            self.container.run(['systemctl', 'stop', POSTFIX_SOCKET, SERVICE])
            self.assertEqual(str(session.rcpt(JOE)), ACCEPTED)
            self.assertEqual(session.data(smtp.message(1000)).code, 250)
        self.postfix.wait_for_deliveries()
        self.assertEqual(self.deliveries(), {'sent': 1})
        self.expected_warnings = NO_SOCKET
        self.assertEqual(self.exim_says(BOB), 'status=over')

    def test_misconfigured(self):
        self.addCleanup(self.restart_service)
        self.restart_service('--default-quota=2GB')
        self.assertEqual(self.rcpt(BOB, JOE, size=1000), [ACCEPTED, ACCEPTED])

    # The sockets for Postfix and for Exim, beside each other and alone.

    def test_postfix_finds_nothing_wrong(self):
        checked = self.container.run(['postfix', 'check'])
        self.assertEqual((checked.stdout, checked.stderr), ('', ''))
        self.assertEqual(self.journal('-t', 'postfix/postfix-script', '-o', 'cat'), '')

    def test_beside_the_socket_for_exim(self):
        self.assertEqual(self.rcpt(BOB), [FULL.format(BOB)])
        process = self.service.main_pid()
        self.assertEqual(self.exim_says(BOB), 'status=over')
        self.assertEqual(self.service.main_pid(), process)

    def test_alone(self):
        self.addCleanup(self.restart_service)
        self.container.run(['systemctl', 'stop', SOCKET])
        self.assertEqual(self.rcpt(BOB), [FULL.format(BOB)])
        self.assertTrue(self.container.is_active(SERVICE))
        self.assertFalse(self.container.is_active(SOCKET))

    def test_one_is_restarted(self):
        for socket in (POSTFIX_SOCKET, SOCKET):
            self.container.run(['systemctl', 'restart', socket])
            self.assertEqual(self.exim_says(BOB), 'status=over')
            self.assertEqual(self.rcpt(BOB), [FULL.format(BOB)])
