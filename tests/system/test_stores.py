# SPDX-License-Identifier: GPL-2.0-or-later
"""A site: an edge with Exim, two stores with Dovecot and the service, HAProxy between them.

Each is a container, with the files that are installed as examples. Both stores have mailboxes of
the same addresses: one that is full in its own store has room in the other, and the reverse, so
that a request that reaches the wrong store gets the wrong verdict.
"""

import itertools
import re
import statistics
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from subprocess import PIPE, STDOUT
from typing import NamedTuple

from harness import image, project, readme, smtp
from harness.container import Container, wait_until
from harness.dovecot import Dovecot
from harness.image import PACKAGES_FOLDER
from harness.mailboxes import SPOOL, Mailboxes
from harness.network import Cable
from harness.scenario import DebianScenario, Scenario, is_long, quickly_on
from harness.service import SERVICE, SOCKET, SOCKET_PATH, Service, answer_of
from harness.threads import Threads

ACCEPTED = '250 Accepted'
FULL = '452 4.2.2 Mailbox is full'
NOBODY_HAS_ROOM = "452 4.2.2 No recipient's mailbox has room for this message"

QUOTA = 100000
PAUSE_SECONDS = 0.002  # between two requests: what goes away must come back, too
EXAMPLES = '/usr/share/doc/exim-quotad/examples'
STORES = '/etc/exim4/stores'
HAPROXY_CFG = '/etc/haproxy/haproxy.cfg'
HAPROXY_SOCKET = 'exim-quotad-haproxy.socket'
CERTIFICATES = '/etc/haproxy/quotad'
CA = '/root/ca'
EDGE_ADDRESS = '192.0.2.1'
PORT = 3391
DIRECT_PORT = 3392
FAILOVERS = 1000 if is_long() else 12

RECIPE = 'Many stores'  # in the README


class Store(NamedTuple):
    """One of the stores."""

    name: str  # as in haproxy-edge.cfg
    address: str
    container: Container
    cable: Cable
    service: Service
    mailboxes: Mailboxes
    dovecot: Dovecot

    @property
    def certificate(self) -> str:
        """The name that its certificate is issued for."""
        return f'{self.name}.example.org'


class Site(Scenario):
    """self.container is the edge; self.stores are made in prepare()."""

    stores: tuple[Store, ...]

    @classmethod
    def make_stores(cls, count: int) -> None:
        """Boots the stores, and installs on the edge and on them what they need."""
        containers = [project.container_with_sources(image.path_of(cls.release))
                      for _ in range(count)]
        for container in containers:
            # not from a thread, with whose end the container would end
            cls.addClassCleanup(container.poweroff)
            container.boot()
        with ThreadPoolExecutor() as threads:
            installed = threads.submit(_install_haproxy, cls.container)
            cls.stores = tuple(threads.map(cls._make_store, itertools.count(1), containers))
            installed.result()
        cls._issue_certificates()

    @classmethod
    def _make_store(cls, number: int, container: Container) -> Store:
        project.install(container)
        _install_haproxy(container)
        address = f'192.0.2.1{number}'
        store = Store(f'mail{number}', address, container,
                      Cable(cls.container, EDGE_ADDRESS, container, address),
                      Service(container), Mailboxes(container), Dovecot(container, cls.release))
        store.dovecot.configure(QUOTA, 'site')
        store.service.configure(f'--mailbox={SPOOL}/%d/%n --default-quota={QUOTA}')
        # what a test stops stays stopped
        container.put_file(f'/etc/systemd/system/{SERVICE}.d/watchdog.conf',
                           '[Service]\nWatchdogSec=0\n')
        container.run(f'cp {EXAMPLES}/exim-quotad-haproxy.socket /etc/systemd/system; '
                      'systemctl daemon-reload')
        container.run(['systemctl', 'start', SOCKET, HAPROXY_SOCKET])
        return store

    @classmethod
    def _issue_certificates(cls) -> None:
        """Makes a CA on the edge, with the script, and gives each its certificate."""
        cls.container.run(['install', '-d', CA])
        for kind, name in (('edge', 'edge1'), *(('store', store.certificate)
                                                for store in cls.stores)):
            cls.container.run(f'cd {CA} && sh {EXAMPLES}/quotad-ca {kind} {name}')
        cls.give_certificate(cls.container, 'edge1')
        for store in cls.stores:
            cls.give_certificate(store.container, store.certificate)

    @classmethod
    def give_certificate(cls, container: Container, name: str) -> None:
        for source, file in (('ca', 'ca'), (name, 'own')):
            container.put_file(f'{CERTIFICATES}/{file}.pem',
                               cls.container.read_file(f'{CA}/{source}.pem'), mode=0o600)

    def wait_until_down(self, store: Store, reason: str) -> None:
        """Waits until HAProxy on the edge says that a store is down, and why."""
        pattern = rf'Server [\w-]+/{store.name} is DOWN, reason: {reason}'
        found = wait_until(lambda: re.search(f'{pattern}.*?,', self.journal('-u', 'haproxy')),
                           f'{store.name} is down')
        print(found[0])


@quickly_on('trixie')  # it takes three containers
class Stores(Site, DebianScenario):
    """The mailboxes of the addresses fullN, tightN and roomN are those in store N."""

    macros = {'MAILBOX_CHECK_TIMEOUT': '6s', **dict(
        line.split(' = ') for line in readme.block(RECIPE, 'MAILBOX_CHECK_').splitlines())}
    exim_files = {'conf.d/router/350_test_mailboxes': readme.block(RECIPE, 'manualroute'),
                  'conf.d/transport/40_test_mailboxes': readme.block(RECIPE, 'lmtp')}

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.make_stores(2)
        for store in cls.stores:
            for suffix, usage in ((store.name[-1], (QUOTA + 1, QUOTA - 3000, 1000)),
                                  (cls._other(store).name[-1], (1000, 1000, QUOTA + 1))):
                for name, size in zip(('full', 'tight', 'room'), usage):
                    address = f'{name}{suffix}@quota.example'
                    store.mailboxes.drop(store.mailboxes.add_maildir(address), size)
            store.container.run(f'cat {EXAMPLES}/haproxy-store.cfg >>{HAPROXY_CFG}')
            store.container.run(['systemctl', 'restart', 'haproxy.service'])
        cls.container.put_file(STORES, ''.join(
            f'{address}@quota.example: host={store.address} {socket}\n' for store in cls.stores
            for address, socket in (
                *((f'{name}{store.name[-1]}', f'socket=/run/haproxy/{store.name}')
                  for name in ('full', 'tight', 'room')),
                (f'here{store.name[-1]}', f'socket={SOCKET_PATH}'),
                (f'direct{store.name[-1]}', f'socket=inet:{store.address}:{DIRECT_PORT}'),
                (f'nowhere{store.name[-1]}', ''))))
        cls.container.run(f'cat {EXAMPLES}/haproxy-edge.cfg >>{HAPROXY_CFG}')
        cls.container.run(['systemctl', 'restart', 'haproxy.service'])

    @classmethod
    def _other(cls, store: Store) -> Store:
        return cls.stores[1] if store is cls.stores[0] else cls.stores[0]

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.exim.clear_queue)
        for store in self.stores:
            self.wait_until_asked(store)

    # What the edge sees.

    def ask(self, store: Store, request: str) -> str:
        """Returns the reply of a store through HAProxy, '' if there is none."""
        try:
            with self.container.connect_unix(f'/run/haproxy/{store.name}') as connection:
                connection.sendall(f'{request}\n'.encode())
                connection.shutdown(1)
                return answer_of(connection)
        except OSError:
            return ''

    def wait_until_asked(self, store: Store) -> None:
        """Waits until the edge gets replies of the store."""
        wait_until(lambda: self.ask(store, 'ping').startswith('status=ok'),
                   f'replies of {store.name}', 60)

    def assert_unchecked(self, store: Store) -> str:
        """A message to both stores: recipients in this one are accepted, those in the other
        checked. Returns what Exim has logged.
        """
        number, other = store.name[-1], self._other(store).name[-1]
        start = len(self.log())
        with self.exim.session() as session:
            session.mail_from()
            replies = [str(session.rcpt(f'{name}@quota.example')) for name in (
                f'full{number}', f'full{other}', f'room{number}', f'room{other}',
                f'full{number}', f'full{other}')]
            self.assertEqual(replies, [ACCEPTED, FULL, ACCEPTED, ACCEPTED, ACCEPTED, FULL])
        log = self.log()[start:]
        print(log)
        self.assertEqual(log.count(' not checked: '), 3)
        self.assertEqual(len(re.findall(
            rf'quota of (?:full|room){number}@quota.example not checked: [^\n]*{store.name}\b',
            log)), 3)
        return log

    def assert_checked(self, store: Store) -> None:
        """The recipients of this store are checked again, and those of the other still are."""
        self.wait_until_asked(store)
        self.assertEqual(self.check('full1@quota.example', 'full2@quota.example'), [FULL, FULL])

    # The tests.

    def test_recipients_on_two_stores(self):
        self.assertEqual(
            self.check(*(f'{name}{number}@quota.example' for name in ('full', 'room', 'nowhere')
                         for number in (1, 2, 1, 2))),
            [FULL] * 4 + [ACCEPTED] * 8)
        self.assertNotIn('not checked', self.log())

    def test_delivery(self):
        """Exim hands the message to Dovecot, on the store that was asked."""
        for store in self.stores:
            number = store.name[-1]
            maildir = f'{SPOOL}/quota.example/room{number}'
            before = len(store.mailboxes.messages(maildir))
            with self.exim.session() as session:
                session.mail_from()
                self.assertEqual(str(session.rcpt(f'full{number}@quota.example')), FULL)
                self.assertEqual(str(session.rcpt(f'room{number}@quota.example')), ACCEPTED)
                self.assertEqual(session.data(smtp.message(2000)).code, 250)
            self.exim.wait_for_deliveries()
            self.assertEqual(len(store.mailboxes.messages(maildir)), before + 1)

    def test_after_the_message_has_arrived(self):
        """Each recipient's own store is asked again."""
        for addresses, expected in ((('tight1', 'tight2'), NOBODY_HAS_ROOM),
                                    (('tight2', 'tight1'), NOBODY_HAS_ROOM),
                                    (('tight1', 'room2'), '250'), (('room1', 'tight2'), '250')):
            with self.exim.session() as session:
                session.mail_from()
                for address in addresses:
                    self.assertEqual(str(session.rcpt(f'{address}@quota.example')), ACCEPTED)
                reply = str(session.data(smtp.message(5000)))
            print(f'{addresses}: {reply}')
            self.assertEqual(reply[:len(expected)], expected)
        self.assertNotIn('not checked', self.log())

    def test_store_that_is_down(self):
        store = self.stores[1]
        store.container.run(['systemctl', 'stop', 'haproxy.service'])
        try:
            self.assert_unchecked(store)
            self.wait_until_down(store, 'Layer4 connection problem')
            self.assert_unchecked(store)
        finally:
            store.container.run(['systemctl', 'start', 'haproxy.service'])
        self.assert_checked(store)

    def test_store_that_cannot_be_reached(self):
        store = self.stores[0]
        store.cable.cut()
        try:
            self.wait_until_down(store, 'Layer4')
            self.assert_unchecked(store)
        finally:
            store.cable.mend()
        self.assert_checked(store)

    def test_store_that_is_slow(self):
        """One time-out for the message, before HAProxy knows; none afterwards."""
        store = self.stores[0]
        pid = str(store.service.main_pid())
        self.haproxy(f'disable health {store.name}/{store.name}')
        store.container.run(['kill', '-STOP', pid])
        try:
            log = self.assert_unchecked(store)
            self.assertEqual((log.count('checked: no answer at '),
                              log.count('checked: not asked again ')), (1, 2))
            self.haproxy(f'enable health {store.name}/{store.name}')
            self.wait_until_down(store, 'Layer7 timeout')
            log = self.assert_unchecked(store)
        finally:
            self.haproxy(f'enable health {store.name}/{store.name}')
            store.container.run(['kill', '-CONT', pid])
        self.assert_checked(store)

    def haproxy(self, command: str) -> None:
        """Gives HAProxy on the edge a command."""
        with self.container.connect_unix('/run/haproxy/admin.sock') as connection:
            connection.sendall(f'{command}\n'.encode())
            self.assertEqual(connection.makefile().read().strip(), '')

    def test_wrong_certificate(self):
        store = self.stores[0]
        self.give_certificate(store.container, self._other(store).certificate)
        store.container.run(['systemctl', 'reload', 'haproxy.service'])
        try:
            self.wait_until_down(store, 'Layer6 invalid response')
            self.assert_unchecked(store)
        finally:
            self.give_certificate(store.container, store.certificate)
            store.container.run(['systemctl', 'reload', 'haproxy.service'])
        self.assert_checked(store)

    def test_client_without_a_certificate(self):
        store = self.stores[0]
        for name, replies in ((None, False), (self._other(store).certificate, False),
                              ('edge1', True)):
            own = [] if name is None else ['-cert', f'{CA}/{name}.pem', '-key', f'{CA}/{name}.pem']
            with self.container.popen(
                    ['openssl', 's_client', '-quiet', '-verify_return_error', '-CAfile',
                     f'{CA}/ca.pem', '-connect', f'{store.address}:{PORT}', *own],
                    text=True, stdin=PIPE, stdout=PIPE, stderr=STDOUT) as client:
                client.stdin.write('ping\n')
                client.stdin.flush()
                printed = client.stdout.read()  # until the store closes the connection
            print(f'{name}: {printed}')
            self.assertRegex(printed, f'CN ?= ?{re.escape(store.certificate)}')
            self.assertEqual('status=ok' in printed, replies)
        with self.container.connect_tcp(PORT, store.address) as connection:
            connection.sendall(b'ping\n')
            self.assertNotIn(b'status', _read_all(connection))

    def test_added_to_an_rcpt(self):
        """Prints what the way to a store adds. Nothing is demanded."""
        times: dict[str, list[float]] = {'here1': [], 'room1': []}
        Service(self.container).make_maildirs([f'{SPOOL}/quota.example/here1'], 1000)
        with self.exim.session() as session:
            session.mail_from()
            for name in itertools.islice(itertools.cycle(times), 80):
                begin = time.monotonic()
                self.assertEqual(str(session.rcpt(f'{name}@quota.example')), ACCEPTED)
                times[name].append((time.monotonic() - begin) * 1e3)
        here, there = (statistics.median(times[name][5:]) for name in ('here1', 'room1'))
        print(f'an RCPT: {here:.2f} ms with the service on the same machine, {there:.2f} ms with a '
              f'store: {there - here:.2f} ms more')
        self.assertNotIn('not checked', self.log())

    def test_socket_without_haproxy(self):
        """exim-quotad(8), EXAMPLES: the edge may connect to the port, and no other machine."""
        store = self.stores[1]
        store.mailboxes.drop(store.mailboxes.add_maildir('direct2@quota.example'), QUOTA + 1)
        self.assertEqual(self.check('direct2@quota.example'), [ACCEPTED])
        self.assertIn(f'no answer at inet:{store.address}:{DIRECT_PORT}; to a ping: none',
                      self.log())
        # HAProxy's checks would start the service before the socket, which systemd then refuses
        store.container.run(['systemctl', 'stop', HAPROXY_SOCKET])
        self.addCleanup(store.container.run, ['systemctl', 'start', HAPROXY_SOCKET])
        self.addCleanup(store.service.stop)
        store.service.change(f'[Socket]\nListenStream={store.address}:{DIRECT_PORT}\nFreeBind=yes\n'
                             f'IPAddressDeny=any\nIPAddressAllow={EDGE_ADDRESS}\n',
                             f'--mailbox={SPOOL}/%d/%n --default-quota={QUOTA}', unit=SOCKET)
        self.assertEqual(self.check('direct2@quota.example'), [FULL])

    def test_failovers_under_load(self):
        """A store goes away and comes back, again and again: never a wrong verdict."""
        with Load(self, self.stores) as loads:
            ways = itertools.cycle((self._kill_service, self._kill_haproxy, self._cut_cable))
            for number, way in zip(range(FAILOVERS), ways):
                store = self.stores[number // 3 % 2]
                way(store)
                loads.wait_for_replies_of(store)
        print(f'{FAILOVERS} failovers: {loads.counts}')
        self.assertEqual(loads.counts['wrong'], 0, loads.mistakes)
        self.assertGreater(loads.counts['right'], FAILOVERS)

    @staticmethod
    def _kill_service(store: Store) -> None:
        store.container.run(['systemctl', 'kill', '--signal=KILL', SERVICE])

    @staticmethod
    def _kill_haproxy(store: Store) -> None:
        store.container.run('systemctl kill --signal=KILL haproxy.service;'
                            'systemctl reset-failed haproxy.service;'
                            'exec systemctl restart haproxy.service')

    @staticmethod
    def _cut_cable(store: Store) -> None:
        store.cable.cut()
        time.sleep(0.1)  # for that long it is away
        store.cable.mend()


@unittest.skipUnless(is_long(), 'installing Postfix takes long')
class PostfixEdge(Site):
    """Postfix on the edge, and one store for all."""

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.make_stores(1)
        cls.container.run(
            'export DEBIAN_FRONTEND=noninteractive; dpkg --purge --force-depends exim4 '
            'exim4-daemon-light exim4-base exim4-config &&'
            f'cd {PACKAGES_FOLDER} && dpkg -i postfix_*.deb $(ls cpio_*.deb libtlsrpt*.deb)')
        check = ('check_policy_service '
                 '{ unix:private/exim-quotad, timeout=10s, default_action=DUNNO }')
        cls.container.run([
            'postconf', 'inet_interfaces=loopback-only', 'mydestination=', 'mynetworks=',
            'virtual_mailbox_domains=quota.example', 'virtual_mailbox_maps=static:ok',
            'virtual_transport=discard',
            f'smtpd_recipient_restrictions=reject_unauth_destination, {check}',
            f'smtpd_end_of_data_restrictions={check}'])
        store, = cls.stores
        store.mailboxes.drop(store.mailboxes.add_maildir('full@quota.example'), QUOTA + 1)
        store.mailboxes.drop(store.mailboxes.add_maildir('room@quota.example'), 1000)
        store.container.run(f'cp {EXAMPLES}/exim-quotad-haproxy-postfix.socket /etc/systemd/system;'
                            f'systemctl daemon-reload; systemctl stop {SERVICE}')
        store.container.run(['systemctl', 'start', 'exim-quotad-haproxy-postfix.socket'])
        for container, name in ((store.container, 'store'), (cls.container, 'edge')):
            container.run(f'cat {EXAMPLES}/haproxy-{name}-postfix.cfg >>{HAPROXY_CFG}')
            container.run(['systemctl', 'restart', 'haproxy.service'])
        cls.container.run(['systemctl', 'restart', 'postfix.service'])
        cls.container.wait_for_tcp(25)

    def replies(self, *addresses: str, size: int = 2000) -> list[str]:
        """Sends a message, and returns the codes of the replies to its recipients and to it."""
        with smtp.Session(self.container.connect_tcp(25, timeout=60)) as session:
            session.mail_from()
            replies = [str(session.rcpt(f'{name}@quota.example')) for name in addresses]
            replies.append(str(session.data(smtp.message(size))))
        print(replies)
        return [' '.join(reply.split()[:2]) for reply in replies]

    def test_verdicts(self):
        wait_until(lambda: self.replies('full', 'room') == ['452 4.2.2', '250 2.1.5', '250 2.0.0'],
                   'the store is asked')
        self.assertEqual(self.replies('room', size=QUOTA), ['250 2.1.5', '452 4.2.2'])
        self.assertEqual(self.replies('room', size=QUOTA + 1), ['250 2.1.5', '552 5.2.2'])

    def test_store_that_is_down(self):
        store, = self.stores
        store.container.run(['systemctl', 'stop', 'haproxy.service'])
        try:
            self.wait_until_down(store, 'Layer4 connection problem')
            self.assertEqual(self.replies('full'), ['250 2.1.5', '250 2.0.0'])
        finally:
            store.container.run(['systemctl', 'start', 'haproxy.service'])
        wait_until(lambda: self.replies('full')[0] == '452 4.2.2', 'the store is asked again')


class Load(Threads):
    """Threads on the edge that ask both stores, until the end of `with`."""

    def __init__(self, test: Stores, stores: tuple[Store, ...]):
        self.counts = {'right': 0, 'wrong': 0, 'errors': 0, 'without a reply': 0}
        self.mistakes: list[str] = []
        self._test = test
        self._right = {store.name: 0 for store in stores}
        self._lock = threading.Lock()
        super().__init__(partial(self._run, store, name, expected) for store in stores
                         for name, expected in (('full', 'over'), ('room', 'ok')))

    def _run(self, store: Store, name: str, expected: str) -> None:
        request = f'check size=1 quota= {name}{store.name[-1]}@quota.example'
        while not self.end.is_set():
            reply = self._test.ask(store, request)
            if not reply:
                kind = 'without a reply'
            elif reply.startswith('status=error '):
                kind = 'errors'
            else:
                whole = reply.startswith(f'status={expected} ') and reply.endswith('"\n')
                kind = 'right' if whole else 'wrong'
            with self._lock:
                self.counts[kind] += 1
                self._right[store.name] += kind == 'right'
                if kind == 'wrong':
                    self.mistakes.append(f'{store.name}: {request}: {reply}')
            self.end.wait(PAUSE_SECONDS)

    def wait_for_replies_of(self, store: Store) -> None:
        """Waits until a store has replied a few times more."""
        begin = self._right[store.name]
        wait_until(lambda: self._right[store.name] > begin + 5, f'replies of {store.name}', 120)


def _install_haproxy(container: Container) -> None:
    container.run('rm -f /var/lib/man-db/auto-update;'  # which would take seconds
                  f'cd {PACKAGES_FOLDER} && dpkg --force-unsafe-io -i haproxy_*.deb '
                  '$(ls libopentracing*.deb liblua*.deb libjemalloc*.deb 2>/dev/null)')


def _read_all(connection) -> bytes:
    try:
        return b''.join(iter(lambda: connection.recv(4096), b''))
    except ConnectionResetError:
        return b''
