# SPDX-License-Identifier: GPL-2.0-or-later
"""When messages are counted, which of them, and that what was counted is remembered and shared."""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Optional

from daemon import (Daemon, DaemonTestCase, count_threads, has_reply, parse_pairs,
                    read_all, send_and_be_read, wait_for)
from mailboxes import make_maildir, make_slow_maildir, write_maildirsize

# A directory is remembered when its last change is this long ago, with some to spare.
SETTLED_SECONDS = 3.5

FIFTEEN_MINUTES = 15 * 60


class Sums(NamedTuple):
    """A maildirsize, and what is made of it: counted are always 10 bytes in 1 message."""

    header: str
    lines: tuple[str, ...]
    size: int  # that is to fit
    age_seconds: int
    changed: bool  # new or cur, since
    source: str


RULES = (
    Sums('100S', ('100 1',), 0, 0, False, 'maildirsize'),
    Sums('100S', ('50 1', '50 1'), 0, 0, False, 'maildirsize'),
    Sums('100S', ('100 1',), 0, FIFTEEN_MINUTES * 10, True, 'maildirsize'),
    Sums('0S', ('999999999 999999999',), 0, FIFTEEN_MINUTES, True, 'maildirsize'),
    # Over, by one byte or by the message that is to come.
    Sums('100S', ('101 1',), 0, 0, False, 'maildirsize'),
    Sums('100S', ('99 1', '1 1'), 1, 0, False, 'scan'),
    Sums('100S', ('99 1', '1 1'), 0, 0, False, 'maildirsize'),
    Sums('100S', ('50 1', '51 1'), 0, 0, False, 'scan'),
    # The directories changed, by the time that nobody can set, after so old a file was written.
    Sums('100S', ('101 1',), 0, FIFTEEN_MINUTES - 60, False, 'scan'),
    Sums('100S', ('101 1',), 0, FIFTEEN_MINUTES, False, 'scan'),
    Sums('100S', ('101 1',), 0, 0, True, 'scan'),
    Sums('5C', ('1 5',), 0, 0, False, 'maildirsize'),
    Sums('5C', ('1 4', '1 1'), 0, 0, False, 'scan'),
    Sums('5C', ('1 2', '1 2'), 0, 0, False, 'maildirsize'),
    # No good.
    Sums('100S', ('-1 1',), 0, 0, False, 'scan'),
    Sums('100S', ('1 -1',), 0, 0, False, 'scan'),
    Sums('100S', ('20 2', '-5 -1'), 0, 0, False, 'maildirsize'),
    Sums('100S', ('x',), 0, 0, False, 'scan'),
    Sums('100S', ('1',), 0, 0, False, 'scan'),
    Sums('', ('1 1',), 0, 0, False, 'maildirsize'),
    # 5120 bytes with the header, and one less.
    Sums('0S', ('1 1',) * 1279, 0, 0, False, 'maildirsize'),
    Sums('00S', ('1 1',) * 1279, 0, 0, False, 'scan'),
)


class MaildirsizeTest(DaemonTestCase):
    """When maildirsize is believed."""

    def test_rules(self):
        daemon = self.start()
        for number, rule in enumerate(RULES):
            with self.subTest(number=number, rule=rule._replace(lines=rule.lines[:3])):
                mailbox = make_maildir(self.root / str(number), [10])
                time.sleep(0.02)  # more than a tick of the clock that stamps changes
                file = write_maildirsize(mailbox, rule.header, *rule.lines,
                                         age_seconds=rule.age_seconds)
                if rule.changed:
                    seen = file.stat().st_mtime
                    os.utime(mailbox / 'new', (seen + 1, seen + 1))
                reply = daemon.pairs(f'check size={rule.size} {mailbox}')
                self.assertEqual(reply['source'], rule.source)
                if rule.source == 'scan':
                    self.assertEqual((reply['bytes'], reply['messages']), ('10', '1'))

    def test_limit_that_is_not_the_header_s(self):
        mailbox = make_maildir(self.root / 'joe', [10])
        write_maildirsize(mailbox, '1000S', '50 1', '51 1')
        daemon = self.start('--default-quota=100')
        self.assertEqual(daemon.usage(mailbox)['source'], 'maildirsize')
        self.assertEqual(daemon.pairs(f'check quota=101 {mailbox}')['source'], 'maildirsize')
        reply = daemon.pairs(f'check quota=100 {mailbox}')
        self.assertEqual((reply['source'], reply['limit']), ('scan', '100'))
        # No limit, says the header, and the default does not apply.
        write_maildirsize(mailbox, '0S', '50 1', '51 1')
        self.assertEqual(daemon.number(mailbox), 101)
        # It says nothing about bytes, so that the default does.
        write_maildirsize(mailbox, '7C', '50 1', '51 1')
        self.assertEqual(daemon.number(mailbox), 10)
        # The default was raised, and the header is from before.
        write_maildirsize(mailbox, '90S', '50 1', '46 1')
        reply = daemon.pairs(f'check {mailbox}')
        self.assertEqual((reply['status'], reply['source'], reply['limit'], reply['limit_from']),
                         ('warn', 'maildirsize', '100', 'default'))

    def test_mailbox_that_was_cleaned_up(self):
        # By a program that knows nothing of maildirsize: the very next question is answered right.
        mailbox = make_maildir(self.root / 'joe', [60, 60])
        write_maildirsize(mailbox, '100S', '60 1', '60 1')
        daemon = self.start()
        self.assertEqual(daemon.pairs(f'check {mailbox}')['status'], 'over')
        for file in (mailbox / 'cur').iterdir():
            file.unlink()
        reply = daemon.pairs(f'check {mailbox}')
        self.assertEqual((reply['status'], reply['bytes']), ('ok', '0'))

    def test_count_that_takes_too_long_for_who_has_sums(self):
        slow = self.root / 'slow'
        bytes_, _ = make_slow_maildir(slow, self.root / 'beside', 400)
        write_maildirsize(slow, '10S', '50 1', '51 1')
        daemon = self.start('--scan-timeout=1')
        self.get_acquainted(daemon, slow)
        # Sums that say "over" wait for a count, however long it takes: they refuse nobody.
        reply = daemon.pairs(f'check {slow}')
        self.assertEqual((reply['status'], reply['reason']), ('error', 'timeout'))
        # What they say of a message that fits, or that never will, needs none.
        wait_for(lambda: daemon.pairs(f'check quota=200 {slow}')['status'] == 'ok', 'it fits')
        self.assertEqual(daemon.pairs(f'check size=11 {slow}')['status'], 'toolarge')
        # On a busy machine the first of them is about a query that the sums did answer.
        [warning] = daemon.warnings_about(str(slow))
        self.assertRegex(warning, 'could not be read in time|counting its messages takes longer')
        # A count goes on, and a later question finds it done; where the message fits, that it began
        # before does no harm.
        (slow / 'maildirsize').unlink()
        wait_for(lambda: daemon.pairs(f'check quota=10K {slow}').get('bytes') == str(bytes_),
                 'the count is used')

    def get_acquainted(self, daemon: Daemon, mailbox: Path) -> None:
        """Has the daemon asked until all that it needs to answer at once is in memory."""
        for _ in range(3):
            daemon.pairs(f'check quota=0 {mailbox}')

    def test_count_that_waits_for_a_thread(self):
        # The sums say "over", and there is nobody to count the messages for long: the only thread
        # finds out of one mailbox after the other that it is large.
        slow = [self.root / f'slow-{number}' for number in range(12)]
        for number, path in enumerate(slow):
            make_slow_maildir(path, self.root / f'beside-{number}', 100)
        joe = make_maildir(self.root / 'joe', [10])
        write_maildirsize(joe, '100S', '50 1', '51 1')
        daemon = self.start('--scan-threads=1', '--scan-timeout=20')
        self.get_acquainted(daemon, joe)
        daemon.process.pause()
        clients = [self.connect(daemon) for _ in range(len(slow) + 1)]
        for client, path in zip(clients, slow):
            client.sendall(bytes(path) + b'\n')
        clients[-1].sendall(b'usage ' + bytes(joe) + b'\n')
        daemon.process.resume()
        reply = parse_pairs(read_all(clients[-1]))
        self.assertEqual((reply['status'], reply['reason']), ('error', 'timeout'))
        self.assertEqual(len(daemon.warnings_about(str(joe))), 1)
        wait_for(lambda: daemon.usage(joe).get('bytes') == '10', 'it is counted')


class WhatIsCountedTest(DaemonTestCase):
    """Which messages, and by which size."""

    def setUp(self) -> None:
        super().setUp()
        self.joe = self.root / 'joe'
        make_maildir(self.joe, [1])
        for name, size in (('.Sent', 10), ('.Trash', 100), ('.Trash.old', 1000),
                           ('.Trashed', 10000), ('..hidden', 1 << 40), ('folder', 1 << 40)):
            make_maildir(self.joe / name, [size])

    def count(self, *options: str, path: Optional[Path] = None) -> int:
        """Returns what a daemon with these options counts."""
        reply = self.start(*options).usage(path or self.joe)
        self.assertEqual(reply['source'], 'scan')
        return int(reply['bytes'])

    def test_folders(self):
        self.assertEqual(self.count(), 11111)

    def test_exclude_folder(self):
        self.assertEqual(self.count('--exclude-folder=Trash'), 11011)
        self.assertEqual(self.count('--exclude-folder=Trash.*'), 10111)
        self.assertEqual(self.count('--exclude-folder=Trash', '--exclude-folder=Trash?*'), 11)
        self.assertEqual(self.count('--exclude-folder=Sent', '--exclude-folder=Trashed'), 1101)
        self.assertEqual(self.count('--exclude-folder=trash'), 11111)
        self.assertEqual(self.count('--exclude-folder=cur', '--exclude-folder=new'), 11111)

    def test_layout(self):
        make_maildir(self.joe / 'folder' / 'Sub', [1 << 41])
        self.assertEqual(self.count('--layout=maildir++'), 11111)
        # A directory is a folder there, whatever its name begins with.
        self.assertEqual(self.count('--layout=fs'), 11111 + (1 << 41) + (1 << 41))
        self.assertEqual(self.count('--layout=fs', '--exclude-folder=folder/*'),
                         11111 + (1 << 41))

    def test_size_tag(self):
        mailbox = make_maildir(self.root / 'tags')
        for name, size in (('1,S=10,W=11', 5), ('2,W=110', 50), ('3,S=1000', 500), ('4', 7000),
                           ('5,W=x,S=30000', 1)):
            (mailbox / 'cur' / f'{name}:2,').write_bytes(bytes(size))
        self.assertEqual(self.count(path=mailbox), 10 + 50 + 1000 + 7000 + 30000)
        self.assertEqual(self.count('--size-tag=S', path=mailbox), 10 + 50 + 1000 + 7000 + 30000)
        self.assertEqual(self.count('--size-tag=W', path=mailbox), 11 + 110 + 1000 + 7000 + 30000)

    def test_messages(self):
        mailbox = make_maildir(self.root / 'messages', [1] * 100)
        (mailbox / 'new' / 'untagged').write_bytes(bytes(50))
        (mailbox / 'cur' / '.hidden,S=99999').touch()
        (mailbox / 'tmp' / 'arriving,S=99999').touch()
        reply = self.start().usage(mailbox)
        self.assertEqual((reply['bytes'], reply['messages']), ('150', '101'))


class MemoryTest(DaemonTestCase):
    """What was counted is remembered, as long as it is sure to be the same."""

    @classmethod
    def setUpClass(cls) -> None:
        # Mailboxes that nobody has changed for a while, for all tests of this class.
        cls.settled = Path(tempfile.mkdtemp(prefix='exim-quotad-'))
        cls.settled.chmod(0o755)
        for number in range(50):
            make_maildir(cls.settled / str(number), [number])
        for folder in '.a', '.b', '.c':
            make_maildir(cls.settled / 'joe' / folder, [100])
        make_maildir(cls.settled / 'joe', [1000])
        for number in range(20):
            make_maildir(cls.settled / 'many' / f'.{number}', [])
        make_maildir(cls.settled / 'many', [])
        cls.settled_at = time.monotonic() + SETTLED_SECONDS

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.settled)

    def start_settled(self, *options: str) -> Daemon:
        """Starts a daemon on these mailboxes, which watches none."""
        wait_for(lambda: time.monotonic() > self.settled_at, 'the mailboxes are old enough')
        return self.start('--watches=0', *options, root=self.settled)

    def sources(self, daemon: Daemon, *names: str) -> list[str]:
        """Asks about each mailbox, and returns where the answers come from."""
        return [daemon.usage(self.settled / name)['source'] for name in names]

    def test_second_question(self):
        daemon = self.start_settled('--debug')
        joe = self.settled / 'joe'
        for source in 'scan', 'cache', 'cache':
            reply = daemon.usage(joe)
            self.assertEqual((reply['source'], reply['bytes'], reply['messages']),
                             (source, '1300', '4'))
        self.assertRegex(daemon.entries('debug')[-1].text,
                         '0 files counted, 0 examined for their size, 0 directories read, '
                         '9 cached')
        stats = daemon.stats()
        self.assertEqual((stats['scans'], stats['cache_hits'], stats['mailboxes']), (1, 2, 1))

    def test_number_of_mailboxes(self):
        names = [str(number) for number in range(50)]
        daemon = self.start_settled()
        self.assertEqual(self.sources(daemon, *names, *names), ['scan'] * 50 + ['cache'] * 50)
        self.assertEqual(daemon.stats()['mailboxes'], 50)

    def test_cache_size(self):
        # Some 280 bytes a mailbox, fewer with pointers of 32 bits.
        names = [str(number) for number in range(50)]
        daemon = self.start_settled('--cache-size=11K')
        self.assertEqual(self.sources(daemon, *names, *names[25:]), ['scan'] * 50 + ['cache'] * 25)
        self.assertIn(daemon.stats()['mailboxes'], range(30, 50))
        self.assertEqual(self.sources(daemon, *names[:5]), ['scan'] * 5)
        # One with more folders than others might have room for is not remembered.
        self.assertEqual(self.sources(daemon, 'many', 'many'), ['scan'] * 2)

    def test_nothing_is_remembered(self):
        daemon = self.start_settled('--cache-size=0')
        self.assertEqual(self.sources(daemon, '1', '1', '1'), ['scan'] * 3)
        self.assertEqual(daemon.stats()['mailboxes'], 0)

    def test_other_spellings(self):
        daemon = self.start_settled()
        self.assertEqual(self.sources(daemon, '1', '1/', './/1', '1/.'),
                         ['scan', 'cache', 'cache', 'cache'])

    def test_change(self):
        # Only the directory that changed is read again.
        mailbox = self.settled / 'changing'
        shutil.copytree(self.settled / 'joe', mailbox)
        self.addCleanup(shutil.rmtree, mailbox)
        daemon = self.start_settled('--debug')
        wait_for(lambda: daemon.usage(mailbox)['source'] == 'cache', 'it is remembered')
        (mailbox / '.a' / 'new' / 'fresh,S=5').touch()
        reply = daemon.usage(mailbox)
        self.assertEqual((reply['source'], reply['bytes'], reply['messages']),
                         ('scan', '1305', '5'))
        self.assertRegex(daemon.entries('debug')[-1].text,
                         '1 files counted, .* 1 directories read, 8 cached')
        (mailbox / '.a' / 'new' / 'fresh,S=5').rename(mailbox / '.b' / 'cur' / 'fresh,S=5:2,S')
        shutil.rmtree(mailbox / '.c')
        self.assertEqual(daemon.usage(mailbox)['bytes'], '1205')
        make_maildir(mailbox / '.d', [2000])
        self.assertEqual(daemon.usage(mailbox)['bytes'], '3205')
        shutil.rmtree(mailbox / 'cur')
        self.assertEqual(daemon.usage(mailbox)['bytes'], '2205')


class SharedCountTest(DaemonTestCase):
    """Counts that take long, of which questions wait in numbers, or not at all."""

    def test_single_flight(self):
        # The daemon is stopped until all have asked, so that they ask at once.
        bytes_, _ = make_slow_maildir(self.root / 'slow', self.root / 'beside', 300)
        daemon = self.start('--max-connections=1000', '--scan-timeout=60000')
        daemon.process.pause()
        clients = [self.connect(daemon) for _ in range(500)]
        for number, client in enumerate(clients):
            client.sendall(b'usage ' * (number % 2) + bytes(self.root / 'slow') + b'\n')
        daemon.process.resume()
        for number, client in enumerate(clients):
            reply = read_all(client)
            self.assertEqual(int(parse_pairs(reply)['bytes'] if number % 2 else reply), bytes_)
        # Whoever came when the count had begun, and wants to know, shares the next one.
        self.assertIn(daemon.stats()['scans'], (1, 2))
        self.assertGreaterEqual(daemon.stats()['shared'], 498)

    def test_client_that_leaves(self):
        bytes_, _ = make_slow_maildir(self.root / 'slow', self.root / 'beside', 300)
        daemon = self.start('--scan-timeout=60000')
        daemon.process.pause()
        clients = [self.connect(daemon) for _ in range(3)]
        for client in clients:
            client.sendall(bytes(self.root / 'slow') + b'\n')
        daemon.process.resume()
        wait_for(lambda: daemon.stats()['shared'] == 2, 'they share a count')
        clients[0].close()
        clients[2].close()
        self.assertEqual(read_all(clients[1]), b'%d\n' % bytes_)
        self.assertEqual(daemon.stats()['scans'], 1)

    def test_others_do_not_wait(self):
        make_slow_maildir(self.root / 'slow', self.root / 'beside', 1000)
        make_maildir(self.root / 'joe', [5])
        write_maildirsize(make_maildir(self.root / 'jim'), '0S', '7 1')
        (self.root / 'mbox').write_bytes(bytes(9))
        daemon = self.start('--scan-timeout=60000')
        client = self.connect(daemon)
        send_and_be_read(client, bytes(self.root / 'slow') + b'\n')
        for name, size in ('joe', 5), ('jim', 7), ('mbox', 9), ('missing', 0):
            self.assertEqual(daemon.number(self.root / name), size)
        self.assertFalse(has_reply(client))

    def test_mbox_does_not_wait_for_a_thread(self):
        # Nor where nothing but mboxes was asked about before.
        make_slow_maildir(self.root / 'slow', self.root / 'beside', 1500)
        (self.root / 'mbox').write_bytes(bytes(9))
        daemon = self.start('--scan-threads=1', '--scan-timeout=60000')
        for _ in range(2):
            self.assertEqual(daemon.number(self.root / 'mbox'), 9)
        client = self.connect(daemon)
        send_and_be_read(client, bytes(self.root / 'slow') + b'\n')
        self.assertEqual(daemon.number(self.root / 'mbox'), 9)
        self.assertFalse(has_reply(client))
        client.close()

    def test_scan_threads(self):
        for threads in 1, 2, 5:
            with self.subTest(threads=threads):
                for number in range(threads + 3):
                    make_maildir(self.root / str(number), [number])
                daemon = self.start(f'--scan-threads={threads}')
                daemon.process.pause()
                clients = [self.connect(daemon) for _ in range(threads + 3)]
                for number, client in enumerate(clients):
                    client.sendall(bytes(self.root / str(number)) + b'\n')
                daemon.process.resume()
                for number, client in enumerate(clients):
                    self.assertEqual(read_all(client), b'%d\n' % number)
                # Beside them the event loop, and one that has looked at the options' paths.
                self.assertIn(count_threads(daemon.pid), range(3, 3 + threads))
