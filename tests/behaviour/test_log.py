# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the log goes, and what is in it: a file, standard error, syslog, the systemd journal."""

import errno
import os
import select
import signal
import socket
import time
from pathlib import Path

from daemon import (FULL, PATIENCE_SECONDS, Daemon, DaemonTestCase, ask, needs_root, wait_for)
from faults import Fault, make_faults, needs_faults
from mailboxes import make_maildir, write_maildirsize

LOG_MAIL = 2 << 3
LOG_WARNING = 4

ENTRIES_LOST = 'e61efc2ccca44c2a85051620c93f8dbf'


class LogTest(DaemonTestCase):
    """A mailbox to be asked about."""

    def setUp(self) -> None:
        super().setUp()
        self.path = make_maildir(self.root / 'joe', [100, 23])


# What strangers wrote, and how the log shows it.
STRANGE = (
    (b'check a\x9b31m@example.org', rb'a\x9b31m@example.org'),
    ('check a\u202egpj@example.org'.encode(), rb'a\u202egpj@example.org'),
    ('check a\u009b31m@example.org'.encode(), rb'a\u009b31m@example.org'),
    (b'/etc/a\\b\x1b[31m', rb'/etc/a\\b\x1b[31m'),
    ('/etc/\U000e0041\u00ad\ufeffë'.encode(), r'/etc/\U000e0041\u00ad\ufeffë'.encode()),
    (b'no\rrequest\x80', rb'"no\x0drequest\x80"'),
    ('/etc/x'.encode() + 'é'.encode() * 3000, b'/etc/x' + 'é'.encode() * 2045 + b':'),  # cut off
    (b'x' + 'é'.encode() * 100, b'"x' + 'é'.encode() * 49 + b'"'),
)


class FileTest(LogTest):
    """A log file, and what its lines say."""

    def test_what_strangers_wrote(self):
        daemon = self.start()
        for request, shown in STRANGE:
            with self.subTest(request=request):
                before = len(daemon.entries())
                daemon.ask(request)
                [entry] = daemon.entries()[before:]
                self.assertIn(shown.decode(), entry.text)
                self.assertEqual([c for c in entry.text if not c.isprintable()], [])

    def test_file_is_appended_to(self):
        log = self.folder / 'log'
        log.write_text('before\n')
        daemon = self.start(log=log)
        daemon.ask('/etc')
        lines = daemon.log_text().splitlines()
        self.assertEqual(lines[0], 'before')
        self.assertRegex(lines[-1], r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d '
                                    rf'exim-quotad\[{daemon.pid}\]: warning: /etc: ')

    def test_mode_of_a_new_file(self):
        daemon = self.start()
        self.assertEqual(daemon.log.stat().st_mode & 0o7777, 0o640)

    def test_stamps_are_in_local_time(self):
        zones = {}
        for zone in 'UTC0', 'TST-5':
            daemon = self.start(environment={'TZ': zone})
            daemon.ask('/etc')
            stamp = daemon.log_text().splitlines()[-1][:19]
            zones[zone] = time.mktime(time.strptime(stamp, '%Y-%m-%d %H:%M:%S'))
        self.assertAlmostEqual(zones['TST-5'] - zones['UTC0'], 5 * 3600, delta=PATIENCE_SECONDS)

    def test_start_and_end(self):
        daemon = self.start()
        daemon.ask('ping')
        self.stop(daemon)
        texts = [entry.text for entry in daemon.entries('info')]
        self.assertTrue(any('answers on 1 socket' in text for text in texts))
        self.assertIn('stopped after 1 queries, 0 over quota, 0 errors', texts[-1])
        self.assertEqual({entry.pid for entry in daemon.entries()}, {daemon.pid})

    def test_debug(self):
        daemon = self.start()
        daemon.number(self.path)
        self.assertEqual(daemon.entries('debug'), [])
        for option in '-d', '--debug':
            daemon = self.start(option)
            before = len(daemon.entries('debug'))
            daemon.number(self.path)
            daemon.usage(self.path)
            entries = daemon.entries('debug')[before:]
            self.assertEqual(len(entries), 2)
            for entry, source in zip(entries, ('scan', 'scan|cache')):  # it may be old by then
                self.assertRegex(entry.text, rf'^{self.path}: 123 bytes in 2 messages, ok; '
                                             rf'source=({source}) \(there is no maildirsize\), '
                                             r'\d files counted, 0 examined for their size, '
                                             r'\d directories read, \d cached, \d+ us$')

    def test_mailbox_over_its_limit(self):
        daemon = self.start('--default-quota=100')
        for _ in range(3):
            daemon.pairs(f'check {self.path}')
        [entry] = daemon.entries('notice')
        self.assertEqual(entry.text,
                         f'{self.path}: over quota: 123 of 100 bytes in 2 messages')
        self.assertEqual(daemon.pairs(f'check size=101 {self.path}')['status'], 'toolarge')
        self.assertIn('message larger than the quota', daemon.entries('notice')[-1].text)

    def test_maildirsize_that_is_no_good(self):
        for text in '0S\nx\n', '0S\n-5 1\n', '\0', '':
            with self.subTest(text=text):
                (self.path / 'maildirsize').write_text(text)
                daemon = self.start()
                for _ in range(3):
                    self.assertEqual(daemon.number(self.path), 123)
                [entry] = daemon.entries('notice')
                self.assertIn(f'{self.path}: its messages were counted', entry.text)

    def test_templates_that_lead_nowhere(self):
        gone, outside = f'{self.root}/gone', f'{self.folder}/outside'
        daemon = self.start(f'--mailbox={self.root}/%n', f'--mailbox={gone}/%d/%n/Maildir',
                            f'--mailbox={outside}/%n', f'--mailbox={self.folder}/%d/%n')
        wait_for(lambda: len(daemon.warnings()) == 2, 'it is told')
        for _ in range(3):
            daemon.ask('ping')
        self.assertEqual(daemon.warnings(), [
            f'--mailbox={gone}/%d/%n/Maildir: {gone}: No such file or directory',
            f'--mailbox={outside}/%n: is not below any --root'])

    @needs_root
    def test_directories_that_are_hidden(self):
        # As the unit's ProtectHome= and InaccessiblePaths= do it; and one that is empty, but real.
        for name in 'hidden', 'forbidden', 'taken', 'empty':
            (self.root / name).mkdir()
        wrapper = ('/usr/bin/unshare', '--mount', '/bin/sh', '-ec',
                   f'cd {self.root}; mount -t tmpfs none hidden; mount -t tmpfs none taken;'
                   'mkdir taken/joe; mkdir -m 0 hidden/inaccessible;'
                   'mount --bind hidden/inaccessible forbidden; umount hidden;'
                   'mount -t tmpfs none hidden; exec "$0" "$@"')
        daemon = self.start(f'--root={self.root}/hidden', *(
            f'--mailbox={self.root}/{name}/%n'
            for name in ('hidden', 'forbidden', 'taken', 'empty')), wrapper=wrapper)
        wait_for(lambda: len(daemon.warnings()) == 2, 'it is told')
        hint = 'is an empty tmpfs; ProtectHome= or InaccessiblePaths= of the unit may hide the ' \
            'real directory'
        self.assertEqual(daemon.warnings(), [
            f'--root={self.root}/hidden: {self.root}/hidden {hint}',
            f'--mailbox={self.root}/forbidden/%n: {self.root}/forbidden {hint}'])

    def test_one_connection_is_no_time_to_check(self):
        client, connection = socket.socketpair()
        self.addCleanup(client.close)
        limits = self.folder / 'limits'
        limits.write_text('*: 1K\nx\n')
        with connection:
            daemon = self.spawn('--mailbox=/outside/%n', f'--limits={limits}',
                                descriptors={0: connection.fileno(), 1: connection.fileno()})
        client.sendall(b'usage joe@example.org\n')
        self.assertIn(b'reason=outside-root', client.recv(1000))
        self.assert_ended_well(daemon)
        [said] = daemon.warnings()
        self.assertNotIn('--mailbox', said)

    def test_what_belongs_to_the_life_of_a_mailbox(self):
        # No word about a file that is missing, has grown, or is out of date.
        make_maildir(self.root / 'none', [1])
        write_maildirsize(make_maildir(self.root / 'grown'), '0S', *['1 1'] * 2000)
        write_maildirsize(make_maildir(self.root / 'old', [1]), '5S', '9 1', age_seconds=1000)
        daemon = self.start()
        for name, size in ('none', 1), ('grown', 0), ('old', 1), ('missing', 0):
            self.assertEqual(daemon.number(self.root / name), size)
        self.assertEqual([entry for entry in daemon.entries() if entry.priority != 'info'], [])


class StandardErrorTest(LogTest):
    """Without --log, in the foreground."""

    def test_what_strangers_wrote(self):
        daemon = self.start(log=None)
        for request, shown in STRANGE:
            daemon.ask(request)
            self.assertIn(shown.decode(), daemon.stderr())
        self.assertEqual([c for c in daemon.stderr() if c != '\n' and not c.isprintable()], [])

    def test_what_is_said_before_it_starts(self):
        name = f'{self.folder}/a\nb\x1b[31m\u202e'
        said = self.run_to_failure(1, f'--socket={name}/socket', '--foreground')
        self.assertIn(rf'--socket={self.folder}/a\x0ab\x1b[31m\u202e/socket: ', said)
        ended = self.run_to_end('--check-config', f'--root={name}')
        self.assertIn(rf'--root={self.folder}/a\x0ab\x1b[31m\u202e: ', ended.stderr)
        Path(name).mkdir()
        ended = self.run_to_end('--check-config', f'--root={name}')
        self.assertIn(rf'--root={self.folder}/a\x0ab\x1b[31m\u202e: found', ended.stdout)

    def test_lines(self):
        daemon = self.start(log=None)
        daemon.ask('/etc')
        lines = daemon.stderr().splitlines()
        for line in lines:
            self.assertRegex(line, rf'^exim-quotad\[{daemon.pid}\]: (info|warning): ')
        self.assertEqual(len([line for line in lines if ': warning: /etc: ' in line]), 1)

    def test_journal_that_is_another_file(self):
        device = self.folder.stat().st_dev
        for stream in ('1:1', f'{device}:1', '', 'no number', f'{device}'):
            with self.subTest(stream=stream):
                daemon = self.start(log=None, environment={'JOURNAL_STREAM': stream})
                daemon.ask('/etc')
                self.assertIn(': warning: /etc: ', daemon.stderr())


@needs_root
class SyslogTest(LogTest):
    """--log=syslog, with a /dev/log of our own in a mount namespace of the daemon's own."""

    def test_syslog(self):
        dev = self.folder / 'dev'
        dev.mkdir()
        for name in 'null', 'urandom':
            (dev / name).touch()
        log = self.listen_for_datagrams(dev / 'log')
        log.settimeout(PATIENCE_SECONDS)
        for option in '--log=syslog', '-lsyslog':
            daemon = self.start(option, log=None, wrapper=(
                '/usr/bin/unshare', '--mount', '/bin/sh', '-ec',
                f'mount --bind /dev/null {dev}/null; mount --bind /dev/urandom {dev}/urandom;'
                f'mount --rbind {dev} /dev; exec "$0" "$@"'))
            daemon.ask('/etc/a\rb%s')
            message = b''
            while b'/etc' not in message:
                message = log.recv(65536)
            self.assertRegex(message, rb'^<%d>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d '
                                      rb'exim-quotad\[%d\]: /etc/a\\x0db%%s: leads outside'
                             % (LOG_MAIL | LOG_WARNING, daemon.pid))
            for request, shown in STRANGE:
                daemon.ask(request)
                while shown not in message:
                    message = log.recv(65536)
                self.assertEqual([c for c in message.decode() if not c.isprintable()], [])
            self.assertEqual(daemon.stderr(), '')


@needs_root
class JournalTest(LogTest):
    """The systemd journal, or rather a socket of ours in its place, in a mount namespace."""

    def setUp(self) -> None:
        super().setUp()
        place = self.folder / 'run' / 'systemd' / 'journal'
        place.mkdir(parents=True)
        self.journal = self.listen_for_datagrams(place / 'socket')
        self.wrapper = ('/usr/bin/unshare', '--mount', '/bin/sh', '-ec',
                        f'mount --bind {self.folder}/run /run; exec "$0" "$@"')

    def receive(self) -> dict[str, str]:
        """Returns the fields of the next entry, as of the journal's native protocol."""
        self.assertTrue(select.select([self.journal], [], [], PATIENCE_SECONDS)[0], 'no entry')
        data = self.journal.recv(1 << 20)
        fields = {}
        while data:
            line, _, data = data.partition(b'\n')
            name, equals, value = line.partition(b'=')
            if not equals:  # a value with a line end in it comes with its length before it
                length = int.from_bytes(data[:8], 'little')
                value, data = data[8:8 + length], data[8 + length + 1:]
            fields[name.decode()] = value.decode('utf-8', 'surrogateescape')
        return fields

    def receive_about(self, path: str) -> dict[str, str]:
        """Returns the fields of the next entry about a mailbox."""
        while True:
            fields = self.receive()
            if fields.get('QUOTA_MAILBOX') == path:
                return fields

    def start_native(self, *options: str) -> Daemon:
        """Starts a daemon whose standard error is the journal's, as systemd says it."""
        folder = self.logs / f'daemon-{len(self.daemons)}'
        # Standard error is a file that does not exist yet: the shell finds out which it is.
        wrapper = (*self.wrapper[:-1],
                   'export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/$$/fd/2);' + self.wrapper[-1])
        daemon = self.start(*options, log=None, wrapper=wrapper)
        self.assertEqual(daemon.folder, folder)
        return daemon

    def test_error(self):
        daemon = self.start_native('--on-error=defer')
        daemon.ask('/etc/passwd')
        fields = self.receive_about('/etc/passwd')
        self.assertRegex(fields['MESSAGE'], '^/etc/passwd: leads outside the roots; answered that')
        self.assertEqual(fields['PRIORITY'], '4')
        self.assertEqual(fields['SYSLOG_IDENTIFIER'], 'exim-quotad')
        self.assertRegex(fields['MESSAGE_ID'], '^[0-9a-f]{32}$')
        self.assertEqual(fields['QUOTA_STATUS'], 'error')
        self.assertEqual(fields['QUOTA_REASON'], 'outside-root')
        self.assertEqual(fields['QUOTA_PEER_PID'], str(os.getpid()))
        self.assertEqual(fields['QUOTA_PEER_UID'], str(os.getuid()))
        self.assertRegex(fields['QUOTA_USEC'], '^[0-9]+$')
        self.assertEqual(daemon.stderr(), '')

    def test_answer(self):
        daemon = self.start_native('--default-quota=100,7C')
        daemon.pairs(f'check {self.path}')
        fields = self.receive_about(str(self.path))
        self.assertEqual({key: value for key, value in fields.items()
                          if key.startswith('QUOTA_') and key[-4:] not in ('USEC', '_PID', '_UID')},
                         {'QUOTA_MAILBOX': str(self.path), 'QUOTA_STATUS': 'over',
                          'QUOTA_SOURCE': 'scan', 'QUOTA_BYTES': '123', 'QUOTA_MESSAGES': '2',
                          'QUOTA_LIMIT': '100', 'QUOTA_MESSAGE_LIMIT': '7',
                          'QUOTA_PERCENT': '123'})
        self.assertEqual(fields['PRIORITY'], '5')

    def test_path_that_is_no_text(self):
        # Whatever is in the path: it is one entry, with that path, and no field more.
        daemon = self.start_native()
        path = '/a\rPRIORITY=0\x1b[31m\udcff "\\'
        daemon.ask(path)
        fields = self.receive_about(path)
        self.assertEqual(fields['PRIORITY'], '4')
        self.assertTrue(fields['MESSAGE'].startswith(r'/a\x0dPRIORITY=0\x1b[31m\xff "\\: '))

    def test_what_strangers_wrote(self):
        daemon = self.start_native()
        for request, shown in STRANGE:
            daemon.ask(request)
            while shown.decode() not in (fields := self.receive())['MESSAGE']:
                pass
            self.assertEqual([c for c in fields['MESSAGE'] if not c.isprintable()], [])
            if request.startswith(b'/'):  # this is as it came
                self.assertEqual(os.fsencode(fields['QUOTA_MAILBOX']), request)

    def test_path_that_is_very_long(self):
        daemon = self.start_native()
        daemon.ask('/' + 'x' * 8000)
        while True:
            fields = self.receive()
            if fields.get('QUOTA_REASON') == 'too-long':
                break
        self.assertIn('File name too long', fields['MESSAGE'])

    def test_path_of_two_lines(self):
        limits = self.folder / 'two\nlines'
        limits.write_text('*: 1G\n')
        daemon = self.start_native(f'--limits={limits}')
        os.kill(daemon.pid, signal.SIGHUP)
        while True:
            fields = self.receive()
            if 'limits loaded' in fields['MESSAGE']:
                break
        self.assertEqual(fields['MESSAGE'], rf'{self.folder}/two\x0alines: 1 limits loaded')
        self.assertEqual(fields['PRIORITY'], '6')

    def test_journal_that_takes_nothing(self):
        daemon = self.start_native()
        asked = [f'/etc/{number}' for number in range(3000)]
        for path in asked:
            daemon.ask(path)  # more than any queue holds, and each is answered
        taken = []
        while (fields := self.receive()).get('MESSAGE_ID') != ENTRIES_LOST:
            taken += [fields['QUOTA_MAILBOX']] if 'QUOTA_MAILBOX' in fields else []
        self.assertEqual(taken, asked[:len(taken)])
        lost = len(asked) - len(taken)
        self.assertGreater(lost, 0)
        self.assertEqual(fields['MESSAGE'], f'{lost} entries were lost: the log was unavailable, '
                                            'full or too slow')
        daemon.ask('/etc/another')
        self.assertEqual(self.receive()['QUOTA_MAILBOX'], '/etc/another')

    def test_journal_that_comes_back(self):
        daemon = self.start_native()
        place = self.folder / 'run' / 'systemd' / 'journal' / 'socket'
        place.rename(f'{place}.away')
        daemon.ask('/etc/unheard')
        Path(f'{place}.away').rename(place)
        daemon.ask('/etc/heard')
        self.receive_about('/etc/heard')
        self.assertEqual(self.receive()['MESSAGE'],
                         '1 entries were lost: the log was unavailable, full or too slow')

    @needs_faults
    def test_journal_that_fails(self):
        faults = make_faults(self)
        self.wrapper = ('/usr/bin/env', *(f'{key}={value}' for key, value in
                                          faults.environment().items()), *self.wrapper)
        daemon = self.start_native('--on-error=defer')
        for number, error in enumerate((errno.EINTR, errno.ENOMEM, errno.ENOBUFS,
                                        errno.ECONNREFUSED)):
            faults.fail(Fault('sendto', 1, error))
            self.assertEqual(daemon.number(f'/etc/{number}'), FULL)
            self.assertEqual(faults.stop(), 1)
            self.assertEqual(daemon.number(f'/etc/after-{number}'), FULL)
            self.receive_about(f'/etc/after-{number}')
            self.assertEqual(self.receive()['MESSAGE'],
                             '1 entries were lost: the log was unavailable, full or too slow')

    def test_background(self):
        # The command is gone, and so is its standard error.
        path = self.folder / 'socket'
        command = self.spawn(f'--socket={path}', f'--pidfile={self.folder}/pid', log=None,
                             wrapper=self.wrapper)
        self.assertEqual(command.process.wait(), 0)
        pid = int((self.folder / 'pid').read_text())
        ask(path, '/etc/passwd')
        self.receive_about('/etc/passwd')
        os.kill(pid, 15)
        wait_for(lambda: not Path(f'/proc/{pid}').exists(), 'it ends')

    def test_inetd(self):
        client, connection = socket.socketpair()
        self.addCleanup(client.close)
        with connection:
            daemon = self.spawn(log=None, wrapper=self.wrapper, descriptors={
                fd: connection.fileno() for fd in (0, 1, 2)})
        client.sendall(b'/etc/passwd\n')
        self.assertEqual(client.recv(100), b'0\n')
        self.receive_about('/etc/passwd')
        self.assert_ended_well(daemon)
