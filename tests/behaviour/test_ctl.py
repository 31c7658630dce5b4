# SPDX-License-Identifier: GPL-2.0-or-later
"""exim-quotactl: what it asks, what it shows of the answer, and what it makes of anything else."""

import contextlib
import errno
import fcntl
import grp
import json
import os
import pty
import re
import shutil
import socket
import struct
import subprocess
import termios
import threading
import time
import unittest
from pathlib import Path
from typing import Callable, Iterator, Mapping, Optional

import without_calls
from daemon import (PATIENCE_SECONDS, SANITIZER_REPORT, DaemonTestCase, Ended, is_long, needs_root,
                    parse_pairs, sample)
from faults import Table, make_faults, needs_faults
from mailboxes import make_maildir, write_maildirsize

PROJECT = Path(__file__).resolve().parents[2]
COMPLETION = PROJECT / 'src' / 'ctl' / 'exim-quotactl.bash-completion'
MANUAL = PROJECT / 'man' / 'exim-quotactl.1'

FITS, DOES_NOT_FIT, ERROR = 0, 1, 2

# More than any answer of the service, which is where reading has to stop.
ANSWER_BYTES_MAX = 24576

GOOD = (b'status=ok bytes=1 messages=2 limit=3 message_limit=0 percent=33 source=scan '
        b'mailbox=/x\n')


def binary() -> str:
    """Returns the path of the program that is tested."""
    return os.environ['EXIM_QUOTACTL']


def environment(more: Optional[Mapping[str, str]] = None) -> dict[str, str]:
    """Returns an environment of which nothing comes from ours but what programs need to run."""
    kept = {name: value for name, value in os.environ.items()
            if name == 'PATH' or name.endswith('SAN_OPTIONS')}
    return {'LC_ALL': 'C.UTF-8', 'TERM': 'xterm', **kept, **(more or {})}


class CtlTestCase(DaemonTestCase):
    """Mailboxes, and the program that asks about them."""

    def ctl(self, *words, address: Optional[Path] = None, env: Optional[Mapping[str, str]] = None,
            **how) -> Ended:
        """Runs the program to its end. Whatever it prints has no blank at the end of a line."""
        options = (f'--socket={address}',) if address else ()
        done = subprocess.run([how.pop('program', binary()), *options, *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environment(env), check=False,
                              timeout=PATIENCE_SECONDS, **how)
        ended = Ended(done.returncode, done.stdout.decode('utf-8', 'surrogateescape'),
                      done.stderr.decode('utf-8', 'surrogateescape'))
        self.assertNotRegex(ended.stderr, SANITIZER_REPORT)
        self.assertNotRegex(ended.stdout + ended.stderr, re.compile(r'[ \t]$', re.MULTILINE))
        return ended

    def assert_fails(self, ended: Ended, text: str) -> None:
        """Fails unless it said so, once, on standard error alone, with the status for errors."""
        self.assertEqual((ended.status, ended.stdout), (ERROR, ''), ended.stderr)
        self.assertEqual(ended.stderr.count(text), 1, f'{text!r} in {ended.stderr!r}')
        self.assertRegex(ended.stderr, r'\Aexim-quotactl: [^\n]+\n\Z')

    def objects(self, *words, status: int = FITS, **how) -> list[dict]:
        """Runs it with --json and returns what it printed."""
        ended = self.ctl('--json', *words, **how)
        self.assertEqual(ended.status, status, ended.stderr)
        return json.loads(ended.stdout)


class ServiceTest(CtlTestCase):
    """What is asked of a running service."""

    def setUp(self) -> None:
        super().setUp()
        for name, header, sums in (('joe', '2147483648S,50000C', '1503238554 12345'),
                                   ('ann', '1000S', '950 7'), ('full', '1000S', '1001 9')):
            write_maildirsize(make_maildir(self.root / 'example.org' / name), header, sums)
        make_maildir(self.root / 'example.org' / 'new', [100, 23])
        self.daemon = self.start(f'--mailbox={self.root}/%d/%n')
        self.address = self.daemon.address

    def test_a_table(self):
        ended = self.ctl('check', 'joe@example.org', 'ann@example.org', 'full@example.org',
                         'new@example.org', 'nobody@example.org', address=self.address)
        self.assertEqual(ended.stdout, (
            'TARGET              USED  LIMIT                 %     MESSAGES  STATUS  SOURCE\n'
            'joe@example.org     1.4G     2G  ███████░░░   70%  12345/50000  ok      maildirsize\n'
            'ann@example.org      950   1000  █████████░   95%            7  warn    maildirsize\n'
            'full@example.org    1001   1000  ██████████  100%            9  over    maildirsize\n'
            'new@example.org      123      -                 -            2  ok      scan\n'
            'nobody@example.org     0      -                 -            0  ok      none\n'))
        self.assertEqual((ended.status, ended.stderr), (DOES_NOT_FIT, ''))

    def test_errors_have_a_row_and_a_line(self):
        ended = self.ctl('usage', '/etc/passwd', 'a@b@/c', address=self.address)
        self.assertEqual(ended.stdout, (
            'TARGET       USED  LIMIT  %  MESSAGES  STATUS  SOURCE\n'
            '/etc/passwd     -      -  -         -  error   outside-root\n'
            'a@b@/c          -      -  -         -  error   bad-address\n'))
        self.assertEqual(ended.stderr.splitlines(), [
            'exim-quotactl: /etc/passwd: leads outside the roots',
            'exim-quotactl: a@b@/c: it contains more than one @'])
        self.assertEqual(ended.status, ERROR)

    def test_exit_statuses(self):
        for status, words in ((FITS, ('check', 'joe@example.org')),
                              (FITS, ('check', 'ann@example.org', 'nobody@example.org')),
                              (FITS, ('usage', 'full@example.org')),
                              (DOES_NOT_FIT, ('check', 'full@example.org')),
                              (DOES_NOT_FIT, ('check', 'full@example.org', 'joe@example.org')),
                              (DOES_NOT_FIT, ('check', '--size=3G', 'joe@example.org')),
                              (DOES_NOT_FIT, ('check', '--size=51', 'ann@example.org')),
                              (FITS, ('check', '--size=50', 'ann@example.org')),
                              (FITS, ('check', '--size=3G', '--quota=5G', 'joe@example.org')),
                              (DOES_NOT_FIT, ('check', '--quota=7C', 'ann@example.org')),
                              (ERROR, ('check', '/etc')), (ERROR, ('usage', '/etc')),
                              (ERROR, ('check', 'full@example.org', '/etc')),
                              (ERROR, ('check', '/etc', 'full@example.org')),
                              (FITS, ('ping',)), (FITS, ('stats',))):
            for form in ((), ('--json',), ('--raw',)):
                with self.subTest(words=words, form=form):
                    self.assertEqual(self.ctl(*form, *words, address=self.address).status, status)

    def test_raw_is_what_came(self):
        for words in (('check', 'joe@example.org'), ('usage', str(self.root / 'example.org/joe')),
                      ('usage', '/etc'), ('check', 'a b')):
            with self.subTest(words=words):
                ended = self.ctl('--raw', *words, address=self.address)
                self.assertEqual(ended.stdout.encode(), self.daemon.ask(' '.join(words)))
        ended = self.ctl('--raw', 'usage', 'joe@example.org', '/etc', address=self.address)
        self.assertEqual(ended.stdout.encode(), (self.daemon.ask('usage joe@example.org')
                                                 + self.daemon.ask('usage /etc')))

    def test_json_holds_every_pair(self):
        targets = ('joe@example.org', 'full@example.org', '/etc')
        objects = self.objects('check', *targets, status=ERROR, address=self.address)
        for target, found in zip(targets, objects, strict=True):
            pairs = self.daemon.pairs(f'check {target}')
            self.assertEqual(list(found), ['target', *pairs])
            self.assertEqual(found.pop('target'), target)
            self.assertEqual({key: str(value) for key, value in found.items()}, pairs)
        self.assertEqual(objects[0]['bytes'], 1503238554)

    def test_ping(self):
        version = self.daemon.pairs('ping')['version']
        self.assertEqual(self.objects('ping', address=self.address),
                         [{'status': 'ok', 'version': version}])
        self.assertEqual(self.ctl('ping', address=self.address).stdout,
                         f'status      ok\nversion  {version}\n')
        self.assertEqual(self.ctl('--version').stdout, f'exim-quotactl {version}\n')

    def test_stats(self):
        self.ctl('check', 'full@example.org', address=self.address)
        before = self.daemon.stats()
        [found] = self.objects('stats', address=self.address)
        self.assertLess(set(before), set(found))
        self.assertEqual((found['queries'], found['over']), (before['queries'] + 1, 1))
        table = self.ctl('stats', address=self.address).stdout.splitlines()
        self.assertEqual([line.split()[0] for line in table],
                         [key for key, value in found.items() if ':' not in str(value)])
        self.assertEqual(len({len(line) for line in table}), 1, 'the values end in one column')

    def test_the_end_of_options(self):
        ended = self.ctl('usage', '--raw', '--', '-x@example.org', '--json@example.org',
                         address=self.address)
        self.assertEqual([parse_pairs(line.encode())['mailbox'] for line in
                          ended.stdout.splitlines(keepends=True)],
                         [f'{self.root}/example.org/-x', f'{self.root}/example.org/--json'])

    def test_a_socket_by_a_relative_path(self):
        self.assertEqual(self.ctl('--socket', self.address.name, 'ping', cwd=self.folder).status,
                         FITS)


@needs_faults
class FaultsTest(CtlTestCase):
    """Each call that it makes fails once: it says so, or the answer is right."""

    def go_through(self, title: str, *words: str, shows: str) -> None:
        faults = make_faults(self)
        table = Table(title)
        self.addCleanup(table.print)
        env = {**faults.environment(), 'LC_ALL': 'C'}  # without memory there is no other
        faults.record()
        right = self.ctl(*words, env=env)
        self.assertEqual((right.status, right.stderr), (FITS, ''))
        self.assertIn(shows, right.stdout)
        for fault in sample(faults.faults(faults.calls(), is_long(), sparse=not is_long())):
            with self.subTest(fault=fault):
                faults.fail(fault)
                ended = self.ctl(*words, env=env)
                faults.stop()
                if ended.status == FITS:
                    self.assertEqual((ended.stdout, ended.stderr), (right.stdout, ''))
                    table.add(fault, 'right')
                    continue
                self.assertEqual(ended.status, ERROR, ended.stderr)
                self.assertRegex(ended.stderr, r'\Aexim-quotactl: [^\n]+\n\Z')
                self.assertTrue(os.strerror(fault.error) in ended.stderr
                                or fault.error == errno.ENOMEM and 'memory' in ended.stderr
                                or fault.error == errno.EACCES and 'permission' in ended.stderr
                                or fault.error == errno.EAGAIN and 'no answer' in ended.stderr
                                or fault.function in ('recv', 'send'), ended.stderr)
                table.add(fault, 'status 2', ended.stderr.removeprefix('exim-quotactl: ').strip()
                          .replace(str(self.folder), ''))

    def test_a_service(self):
        make_maildir(self.root / 'joe', [123])
        daemon = self.start('--cache-size=0', '--watches=0')  # it says the same each time
        self.go_through('exim-quotactl', f'--socket={daemon.address}', 'check',
                        str(self.root / 'joe'), shows=' 123 ')

    def test_direct(self):
        joe = make_maildir(self.root / 'joe', [123])
        (joe / 'cur' / 'untagged').write_bytes(b'x' * 1000)
        make_maildir(joe / '.Sent', [7])
        (self.folder / 'limits').write_text('*: 1G\n')
        self.go_through('exim-quotactl --direct', '--direct', f'--root={self.root}',
                        f'--mailbox={self.root}/%n', f'--limits={self.folder}/limits', 'check',
                        'joe@example.org', shows='1.1K')


class TerminalTest(CtlTestCase):
    """What depends on where the output goes."""

    def setUp(self) -> None:
        super().setUp()
        self.long = self.root / ('somebody.with.a.rather.long.name' * 2)
        write_maildirsize(make_maildir(self.long), '1000S', '700 7')
        self.daemon = self.start()
        self.words = (f'--socket={self.daemon.address}', 'check', str(self.long))

    def on_terminal(self, *words: str, columns: int = 80,
                    env: Optional[Mapping[str, str]] = None) -> str:
        """Runs it on a terminal of its own, and returns what that shows."""
        ours, its = pty.openpty()
        with os.fdopen(ours, 'rb', buffering=0) as screen:
            fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
            with subprocess.Popen([binary(), *words], stdin=its, stdout=its, env=environment(env),
                                  stderr=subprocess.PIPE) as process:
                os.close(its)
                shown = b''
                with contextlib.suppress(OSError):  # what a terminal says at its end
                    while part := screen.read(65536):
                        shown += part
                self.assertEqual(process.stderr.read(), b'')
        return shown.decode().replace('\r\n', '\n')

    def assert_coloured(self, text: str) -> None:
        """Fails unless it has colours, all of them switched off in their line."""
        self.assertIn('\x1b[32mok\x1b[0m', text)
        for line in text.splitlines():
            self.assertEqual(len(re.findall(r'\x1b\[[1-9]\d*m', line)), line.count('\x1b[0m'))

    def test_colour(self):
        self.assert_coloured(self.on_terminal(*self.words))
        self.assert_coloured(self.on_terminal(*self.words, env={'NO_COLOR': ''}))
        self.assert_coloured(self.on_terminal('--color=always', *self.words,
                                              env={'NO_COLOR': '1', 'TERM': 'dumb'}))
        self.assert_coloured(self.ctl('--color=always', *self.words).stdout)

    def test_no_colour(self):
        shown = [self.on_terminal(*self.words, env={'NO_COLOR': '1'}),
                 self.on_terminal(*self.words, env={'TERM': 'dumb'}),
                 self.on_terminal('--color=never', *self.words),
                 self.on_terminal('--json', *self.words),
                 self.on_terminal('--raw', *self.words),
                 self.ctl(*self.words).stdout,
                 self.ctl('--color=auto', *self.words).stdout,
                 self.ctl('--color=always', '--json', *self.words).stdout]
        for text in shown:
            self.assertNotIn('\x1b', text)

    def test_a_terminal_is_not_written_beyond(self):
        for columns in (24, 40, 60, 72, 79, 80, 100, 132):
            with self.subTest(columns=columns):
                lines = self.on_terminal('--color=never', *self.words, columns=columns).splitlines()
                self.assertEqual(len(lines), 2)
                self.assertLessEqual(max(map(len, lines)), columns)
                self.assertIn('…', lines[1])
                self.assertRegex(lines[1], r'\b700\b.*\bok\b')
        lines = self.on_terminal('--color=never', *self.words, columns=400).splitlines()
        self.assertIn(str(self.long), lines[1])

    def test_columns_outweighs_the_terminal(self):
        for columns, width in (('40', 40), ('100', 100), ('0', 80), ('x', 80), ('', 80),
                               ('-5', 80), ('99999999999', 80)):
            with self.subTest(columns=columns):
                lines = self.on_terminal('--color=never', *self.words,
                                         env={'COLUMNS': columns}).splitlines()
                self.assertEqual(max(map(len, lines)), width)

    def test_a_terminal_that_does_not_know_how_wide_it_is(self):
        lines = self.on_terminal('--color=never', *self.words, columns=0).splitlines()
        self.assertEqual(max(map(len, lines)), 80)

    def test_a_pipe_takes_everything(self):
        lines = self.ctl(*self.words, env={'COLUMNS': '20'}).stdout.splitlines()
        self.assertIn(str(self.long), lines[1])
        self.assertTrue(lines[1].endswith('  ok      maildirsize'))

    def test_without_utf8(self):
        ended = self.ctl(*self.words, str(self.root / 'zoë'), env={'LC_ALL': 'C'})
        self.assertIn('#######---', ended.stdout)
        self.assertIn(r'/zo\u00eb ', ended.stdout)
        self.assertTrue(ended.stdout.isascii())

    def test_a_full_disk_is_an_error(self):
        for form in ((), ('--json',), ('--raw',)):
            with self.subTest(form=form), open('/dev/full', 'wb') as full:
                done = subprocess.run([binary(), *form, *self.words], stdout=full,
                                      stderr=subprocess.PIPE, env=environment(), check=False)
                self.assertEqual((done.returncode, done.stderr),
                                 (ERROR, b'exim-quotactl: cannot write to standard output\n'))


class DirectTest(CtlTestCase):
    """--direct answers as the service does."""

    OPTIONS = ('--recipient-delimiter=+', '--grace=10%', '--warn=50', '--default-quota=5K,9C',
               '--exclude-folder=Trash', '--size-tag=W')

    def setUp(self) -> None:
        super().setUp()
        domain = self.root / 'first' / 'example.org'
        make_maildir(domain / 'plain', [1000, 2000])
        make_maildir(domain / 'half', [60000])
        make_maildir(domain / 'folders', [100])
        for name, size in (('.Sent', 10), ('.Trash', 1000000), ('..odd', 5)):
            make_maildir(domain / 'folders' / name, [size])
        (domain / 'folders' / '.Sent' / 'maildirfolder').touch()
        (make_maildir(domain / 'tags') / 'cur' / '1.host,S=10,W=12:2,S').touch()
        (domain / 'tags' / 'new' / '2.host').write_bytes(bytes(77))
        write_maildirsize(make_maildir(domain / 'trusted', [1]), '1000S,20C', '500 3')
        write_maildirsize(make_maildir(domain / 'stale', [1, 2]), '1000S', '900 3', '900 3')
        write_maildirsize(make_maildir(domain / 'broken', [1, 2]), 'nonsense', 'x')
        make_maildir(self.root / 'second' / 'example.org' / 'late', [4000])
        (domain / 'mbox').write_bytes(bytes(4567))
        (domain / 'fifo').parent.mkdir(exist_ok=True)
        os.mkfifo(domain / 'fifo')
        (domain / 'out').symlink_to('/etc')
        make_maildir(domain / 'a b"c\\', [42])
        self.limits = self.folder / 'limits'
        self.limits.write_text('plain@example.org: 2K\n*@example.org: 100K,2C\n*: 3K\n', 'ascii')
        self.options = (*self.OPTIONS, f'--root={self.root}', f'--limits={self.limits}',
                        f'--mailbox={self.root}/first/%d/%n/Maildir',
                        f'--mailbox={self.root}/first/%d/%n', f'--mailbox={self.root}/second/%d/%n')
        self.domain = domain

    def targets(self) -> list[str]:
        """Returns everything that is asked about."""
        names = ('plain', 'half', 'folders', 'tags', 'trusted', 'stale', 'broken', 'late', 'mbox',
                 'fifo', 'out', 'missing', 'a b"c\\')
        return [*(f'{self.domain}/{name}' for name in names),
                *(f'{name}@example.org' for name in names),
                f'{self.domain}/folders/.Sent', f'{self.domain}//plain/./', str(self.root),
                '/etc/passwd', f'{self.root}/../x', 'PLAIN+box@Example.ORG', 'x@elsewhere',
                '"a b"@example.org', 'a@b@c', '../x@y', '@', 'x', '', 'relative/path',
                'size=1@example.org', 'size=1 b@example.org', 'quota=1T c@example.org',
                f'/{"x" * 300}', f'{"y" * 65}@example.org', '/' + 'd/' * 4080, 'z' * 8150]

    def lines(self, *words: str, **how) -> list[str]:
        """Returns the lines that it prints in --raw form, a remembered count being a count."""
        ended = self.ctl('--raw', *words, **how)
        return ended.stdout.replace(' source=cache ', ' source=scan ').splitlines()

    def test_the_answers_are_those_of_the_service(self):
        daemon = self.start(*self.options)
        targets = self.targets()
        for question in (('usage',), ('check',), ('check', '--size=3K'),
                         ('check', '--size=1T'), ('check', '--quota=2K'),
                         ('check', '--quota=0', '--size=10'), ('check', '--quota=2C')):
            asked = self.lines(*question, '--', *targets, address=daemon.address)
            direct = self.lines('--direct', *self.options, *question, '--', *targets)
            self.assertEqual(len(asked), len(targets))
            for target, theirs, ours in zip(targets, asked, direct, strict=True):
                with self.subTest(question=question, target=target[:80]):
                    self.assertEqual(ours, theirs)

    def test_what_was_asked_has_every_kind_of_answer(self):
        """The comparison above would prove little if most of it were errors of one kind."""
        found = self.objects('--direct', *self.options, 'check', '--size=3K', '--',
                             *self.targets(), status=ERROR)
        self.assertEqual({each['status'] for each in found},
                         {'ok', 'warn', 'over', 'toolarge', 'error'})
        self.assertEqual({each['source'] for each in found if 'source' in each},
                         {'scan', 'maildirsize', 'mbox', 'none', 'unknown'})
        self.assertEqual({each['reason'] for each in found if 'reason' in each},
                         {'outside-root', 'not-a-mailbox', 'bad-address', 'bad-request',
                          'too-long'})

    def test_without_templates(self):
        [found] = self.objects('--direct', 'usage', 'joe@example.org', status=ERROR)
        self.assertEqual(found['reason'], 'no-template')

    def test_of_several_places_the_first_that_exists_holds(self):
        found = self.objects('--direct', *self.options, 'usage', 'late@example.org',
                             'plain@example.org', 'missing@example.org')
        self.assertEqual([each['mailbox'] for each in found],
                         [f'{self.root}/second/example.org/late', f'{self.domain}/plain',
                          f'{self.domain}/missing/Maildir'])

    def test_which_limit_holds(self):
        for target, limit in (('plain@example.org', 2048), ('half@example.org', 102400),
                              ('x@elsewhere', 3072), (str(self.domain / 'plain'), 2048),
                              (str(self.domain / 'trusted'), 102400),
                              (str(self.root / 'second' / 'other'), 3072),
                              (str(self.domain / 'plain' / '.Sent'), 2048)):
            with self.subTest(target=target):
                for own, expected in (((), limit), (('--quota=9G',), 9 << 30)):
                    ended = self.ctl('--direct', '--json', *self.options, *own, 'check', target)
                    self.assertEqual(json.loads(ended.stdout)[0]['limit'], expected)

    def test_without_roots_it_looks_anywhere(self):
        self.assertEqual(self.objects('--direct', 'usage', str(self.domain / 'plain'))[0]['bytes'],
                         3000)

    def test_no_options_of_a_daemon_leak_in(self):
        """Nothing is left out, and nothing limited, that was not asked for."""
        [found] = self.objects('--direct', 'check', str(self.domain / 'folders'))
        self.assertEqual((found['bytes'], found['limit'], found['message_limit']),
                         (1000110, 0, 0))

    def test_bad_limits_are_told_with_their_line(self):
        for bad, lines in (1, 1), (20, 20), (1000, 20):
            with self.subTest(bad=bad):
                self.limits.write_text('*: 1K\n' + 'b@example.org: many\n' * bad, 'ascii')
                ended = self.ctl('--direct', '--json', f'--limits={self.limits}', 'usage', '/x')
                self.assertEqual((ended.status, json.loads(ended.stdout)[0]['limit']), (0, 1024))
                self.assertEqual(len(ended.stderr.splitlines()), lines)
                self.assertTrue(ended.stderr.startswith(
                    f'exim-quotactl: {self.limits}:2: "many" is not a limit; '))

    def test_limits_that_cannot_be_read(self):
        self.assert_fails(self.ctl('--direct', '--limits=/missing', 'usage', '/x'),
                          '--limits=/missing: cannot be opened: No such file or directory')

    def test_a_missing_root_is_told(self):
        self.assert_fails(self.ctl('--direct', '--root=/missing', 'usage', '/x'),
                          '--root=/missing: No such file or directory')

    def test_a_system_without_openat2_is_told(self):
        program, *words = without_calls.command(without_calls.OPENAT2)
        self.assert_fails(self.ctl(*words, binary(), '--direct', 'usage', '/x', program=program),
                          'openat2(2) is unavailable')

    @needs_root
    def test_it_has_the_rights_of_its_user(self):
        secret = make_maildir(self.folder / 'secret', [1])
        secret.chmod(0o700)
        program = shutil.copy(binary(), self.folder)
        ended = self.ctl('--direct', '--raw', 'usage', str(secret), program=program, user=65534,
                         group=65534, extra_groups=[])
        self.assertEqual(parse_pairs(ended.stdout.encode())['reason'], 'permission-denied')
        self.assertEqual(self.ctl('--direct', 'usage', str(secret)).status, FITS)


class NobodyThereTest(CtlTestCase):
    """Sockets that cannot be asked."""

    def test_no_socket(self):
        address = self.folder / 'none'
        self.assert_fails(self.ctl('ping', address=address),
                          f'cannot connect to {address}: there is no such socket; is '
                          'exim-quotad.socket started?')

    def test_nobody_listens(self):
        address = self.folder / 'left'
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(address))
        self.assert_fails(self.ctl('ping', address=address),
                          f'cannot connect to {address}: nobody answers there; is '
                          'exim-quotad.socket started?')

    def test_a_socket_of_another_kind(self):
        address = self.folder / 'datagrams'
        self.listen(address, socket.SOCK_DGRAM)
        self.assert_fails(self.ctl('ping', address=address), f'cannot connect to {address}: ')

    @needs_root
    def test_no_right_to_ask(self):
        address = self.folder / 'socket'
        self.listen(address)
        program = shutil.copy(binary(), self.folder)
        how = {'program': program, 'user': 65534, 'group': 65534, 'extra_groups': []}
        os.chown(address, 0, grp.getgrnam('mail').gr_gid)
        address.chmod(0o660)
        self.assert_fails(self.ctl('ping', address=address, **how),
                          'permission denied; run this as root, or in the group mail\n')
        os.chown(address, 0, 4294967294)  # a group without a name
        self.assert_fails(self.ctl('ping', address=address, **how),
                          'permission denied; run this as root\n')
        address.chmod(0o600)
        self.assert_fails(self.ctl('ping', address=address, **how),
                          'permission denied; run this as root\n')
        folder = self.folder / 'closed'
        folder.mkdir(0o700)
        self.assert_fails(self.ctl('ping', address=folder / 'socket', **how),
                          'permission denied; run this as root\n')

    def test_a_path_of_any_length(self):
        self.assert_fails(self.ctl('--socket', '/' * 107, 'ping'), 'cannot connect to ///')
        self.assert_fails(self.ctl('--socket', '/' * 108, 'ping'), 'a path of at most 107 bytes')

    def test_it_is_told_once_but_for_every_target(self):
        words = ('check', 'joe@example.org', 'ann@example.org', 'x')
        for form in ((), ('--raw',)):
            self.assert_fails(self.ctl(*form, *words, address=self.folder / 'none'),
                              'there is no such socket')
        found = self.objects(*words, status=ERROR, address=self.folder / 'none')
        self.assertEqual([each['target'] for each in found], list(words[1:]))
        self.assertEqual({each['reason'] for each in found}, {'unreachable'})

    def test_a_queue_that_nobody_takes_from(self):
        address = self.folder / 'queue'
        listener = self.listen(address, backlog=0)
        waiting = self.connect(address)
        self.assert_fails(self.ctl('--timeout=50', 'ping', address=address),
                          'no answer within 50 ms')
        waiting.close()
        listener.close()


class OddServerTest(CtlTestCase):
    """Whoever listens may say anything."""

    def serve(self, talk: Callable[[socket.socket], None]) -> Path:
        """Lets somebody talk to each who connects, until the test is over. Returns where."""
        address = self.folder / f'odd-{len(list(self.folder.glob("odd-*")))}'
        listener = self.listen(address)

        def work() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as client, contextlib.suppress(OSError):
                        client.settimeout(PATIENCE_SECONDS)
                        talk(client)

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        return address

    def reply(self, data: bytes) -> Path:
        """As serve(), for one who reads the question and answers with that."""
        def talk(client: socket.socket) -> None:
            client.recv(65536)
            client.sendall(data)
        return self.serve(talk)

    def reason(self, address: Path, *words: str) -> str:
        """Returns the reason of the error that asking ends with."""
        [found] = self.objects(*(words or ('usage', '/x')), status=ERROR, address=address)
        self.assertEqual(found['status'], 'error')
        return found['reason']

    def test_metrics(self):
        """No answer makes --prometheus print a line of its own, or a number that is none."""
        for pairs, expected in (
                ('verdicts="a\\012b:1,\\"}:2" version="1\\012x"',
                 ['exim_quotad_verdicts_total{verdict="a_b"} 1',
                  'exim_quotad_verdicts_total{verdict="__"} 2',
                  'exim_quotad_build_info{version="1_x"} 1']),
                ('verdicts=ok reasons=:,: latency=1:x latency_sum=-1 queries=1e5', []),
                ('queries=18446744073709551616 scans=18446744073709551615',
                 ['exim_quotad_scans_total 18446744073709551615'])):
            with self.subTest(pairs=pairs):
                ended = self.ctl('stats', '--prometheus',
                                 address=self.reply(f'status=ok {pairs}\n'.encode()))
                self.assertEqual((ended.status, ended.stderr), (FITS, ''))
                self.assertEqual([line for line in ended.stdout.splitlines()
                                  if not re.match(r'# (HELP|TYPE) exim_quotad_\w+ \w', line)],
                                 expected)

    def test_garbage(self):
        for data in (b'\n', b'0\n', b'9223372036854775807\n', b'HTTP/1.1 400 Bad Request\r\n\r\n',
                     b'220 mail.example.org ESMTP\r\n', b'status=ok\n', b'status=ok', GOOD[:-1],
                     GOOD + GOOD, GOOD + b'x', b'\0' * 100 + b'\n', b'\xff\xfe\n',
                     GOOD.replace(b'bytes=1', b'bytes=-1'),
                     GOOD.replace(b'bytes=1', b'bytes=99999999999999999999'),
                     GOOD.replace(b'status=ok', b'status=okay'), GOOD.replace(b'source', b'bytes'),
                     b'status=error\n', b'x' * ANSWER_BYTES_MAX,
                     b'x' * (ANSWER_BYTES_MAX - 1) + b'\n',
                     b'k="' + b'\\' * 1000 + b'"\n', b' '.join(b'k%d=1' % i for i in range(5000))):
            with self.subTest(data=data[:40], length=len(data)):
                address = self.reply(data)
                self.assertEqual(self.reason(address), 'bad-answer')
                for form in ((), ('--raw',)):
                    self.assertEqual(self.ctl(*form, 'usage', '/x', address=address).status, ERROR)
                for command in ('ping', 'stats'):
                    if not data.startswith(b'status=ok') or data.count(b'\n') != 1 \
                            or not data.endswith(b'\n'):
                        self.assertEqual(self.reason(address, command), 'bad-answer')

    def test_an_answer_of_the_future(self):
        address = self.reply(GOOD[:-1] + b' colour=blue weight=3\n')
        [found] = self.objects('usage', '/x', address=address)
        self.assertEqual((found['colour'], found['weight']), ('blue', 3))
        self.assertEqual(self.ctl('usage', '/x', address=address).status, FITS)

    def test_an_answer_to_another_question(self):
        address = self.reply(GOOD.replace(b'status=ok', b'status=over'))
        self.assertEqual(self.reason(address), 'bad-answer')
        self.assertEqual(self.ctl('check', '/x', address=address).status, DOES_NOT_FIT)

    def test_one_who_keeps_the_connection(self):
        held: list[socket.socket] = []

        def talk(client: socket.socket) -> None:
            client.recv(65536)
            client.sendall(GOOD)
            held.append(client.dup())

        self.assertEqual(self.ctl('usage', '/x', address=self.serve(talk)).status, FITS)
        for each in held:
            each.close()

    def test_an_answer_in_pieces(self):
        def talk(client: socket.socket) -> None:
            client.recv(65536)
            for byte in GOOD:
                client.sendall(bytes([byte]))
        self.assertEqual(self.ctl('usage', '/x', address=self.serve(talk)).status, FITS)

    def test_no_answer(self):
        self.assertEqual(self.reason(self.reply(b'')), 'no-answer')
        self.assertEqual(self.reason(self.serve(lambda client: None)), 'no-answer')

    def test_one_who_does_not_want_to_know(self):
        def talk(client: socket.socket) -> None:
            client.recv(1, socket.MSG_PEEK)  # and closes with the question unread
        self.assert_fails(self.ctl('ping', address=self.serve(talk)),
                          'the connection was closed without a reply; the journal of the service '
                          'may say why')

    def test_an_answer_before_the_question_was_read(self):
        def talk(client: socket.socket) -> None:
            client.sendall(GOOD)
        self.assertEqual(self.ctl('usage', '/x', address=self.serve(talk)).status, FITS)

    def test_an_endless_answer(self):
        def talk(client: socket.socket) -> None:
            while True:
                client.sendall(b'x' * 65536)
        self.assertEqual(self.reason(self.serve(talk)), 'bad-answer')

    def test_time_is_up(self):
        def talk(client: socket.socket) -> None:
            while client.recv(65536):
                pass
        address = self.serve(talk)
        self.assertEqual(self.reason(address, '--timeout=50', 'usage', '/x'), 'timeout')
        self.assert_fails(self.ctl('--timeout=1', 'ping', address=address), 'no answer within 1 ms')

    def test_time_is_up_however_much_trickles_in(self):
        def talk(client: socket.socket) -> None:
            while True:
                client.sendall(b'x')
                time.sleep(0.001)
        self.assertEqual(self.reason(self.serve(talk), '--timeout=200', 'usage', '/x'), 'timeout')

    def test_each_target_has_a_connection_and_a_result(self):
        answers: Iterator[bytes] = iter((GOOD, b'garbage\n', b'', GOOD))

        def talk(client: socket.socket) -> None:
            client.recv(65536)
            client.sendall(next(answers))

        found = self.objects('usage', 'a', 'b', 'c', 'd', status=ERROR, address=self.serve(talk))
        self.assertEqual([(each['target'], each.get('reason')) for each in found],
                         [('a', None), ('b', 'bad-answer'), ('c', 'no-answer'), ('d', None)])

    def test_what_is_asked(self):
        questions: list[bytes] = []

        def talk(client: socket.socket) -> None:
            questions.append(client.recv(65536))

        address = self.serve(talk)
        for words, question in ((('ping',), b'ping\n'), (('stats',), b'stats\n'),
                                (('usage', 'a b'), b'usage a b\n'),
                                (('check', b'/\xff'), b'check /\xff\n'),
                                (('check', '--size=5', '/x'), b'check size=5 /x\n'),
                                (('check', '--size=10M', '--quota=2g,7C', '/x'),
                                 b'check size=10485760 quota=2g,7C /x\n'),
                                (('check', '--quota=0', '/x'), b'check quota=0 /x\n'),
                                (('check', 'size=1 b@example.org'),
                                 b'check size= quota= size=1 b@example.org\n')):
            with self.subTest(words=words):
                self.ctl(*words, address=address)
                self.assertEqual(questions.pop(), question)

    def test_targets_that_are_not_asked_about(self):
        asked: list[bytes] = []
        address = self.serve(lambda client: asked.append(client.recv(65536)))
        self.assertEqual(self.reason(address, 'usage', '/x\nping'), 'bad-request')
        self.assertEqual(self.reason(address, 'usage', 'x' * 8192), 'too-long')
        self.assertEqual(asked, [])

    def test_no_terminal_gets_to_see_what_it_would_obey(self):
        line = GOOD.replace(b'source=scan', b'source=\xc2\x9b31m').replace(b'/x', b'"/\\033[31m"')
        for data in (line, b'status=error reason=\xe2\x80\xae text="\\033[31m\\007\xff"\n',
                     b'\x1b[31m\x07\n'):
            ended = self.ctl('usage', '/a\x1b[31m\u202e\tb', address=self.reply(data))
            self.assertIn(r'/a\x1b[31m\u202e\x09b', ended.stdout + ended.stderr)
            shown = ended.stdout + ended.stderr
            self.assertEqual([c for c in shown if c != '\n' and not c.isprintable()], [])
            self.assertEqual(len(ended.stdout.splitlines()), 2)

    def test_json_is_json(self):
        name = bytes(range(1, 256)).replace(b'\n', b'').replace(b'"', b'').replace(b'\\', b'')
        line = GOOD.replace(b'/x', b'"/' + b'\\001\\"\\\\\\012\xff\xc3\xab"')
        [found] = self.objects('usage', b'/"\\' + name, address=self.reply(line))
        self.assertEqual(found['mailbox'], '/\x01"\\\n\ufffdë')
        self.assertEqual(found['target'], '/"\\' + name.decode('utf-8', 'replace'))


class CommandLineTest(CtlTestCase):
    """What is wrong with a command line, and what helps to write one."""

    def test_mistakes(self):
        for words, text in (
                ((), 'a command is missing: check, usage, explain, report, ping or stats'),
                (('chek', '/x'), '"chek" is not a command'),
                (('--json', 'check-setup'), 'check-setup takes no options: it must be the first '
                                            'word'),
                (('check',), 'check needs a target'), (('usage',), 'usage needs a target'),
                (('ping', '/x'), 'ping takes no target, and so not "/x"'),
                (('stats', 'x'), 'stats takes no target'),
                (('--foo', 'ping'), 'there is no option --foo'),
                (('-x', 'ping'), 'there is no option -x'),
                (('--size=1', 'usage', '/x'), '--size needs the command check'),
                (('--quota=1', 'ping'), '--quota needs the command check or explain'),
                (('--recount', 'check', '/x'), '--recount needs the command explain'),
                (('--config=/x', 'check', '/x'), '--config needs --direct'),
                (('explain',), 'explain needs a target'),
                (('--size=', 'check', '/x'), '--size= is not accepted: it takes a size'),
                (('--size=-1', 'check', '/x'), '--size=-1 is not accepted'),
                (('--size=1X', 'check', '/x'), '--size=1X is not accepted'),
                (('--size=9223372036854775808', 'check', '/x'), 'is not accepted'),
                (('--quota=', 'check', '/x'), '--quota= is not accepted'),
                (('--quota=1G 7', 'check', '/x'), '--quota=1G 7 is not accepted'),
                (('--color=red', 'ping'), '--color=red is not accepted: it takes auto, always or'),
                (('--timeout=0', 'ping'), '--timeout=0 is not accepted: it takes milliseconds'),
                (('ping', '--timeout'), '--timeout needs a value'),
                (('--json=x', 'ping'), '--json takes no value'),
                (('--socket=', 'ping'), '--socket= is not accepted'),
                (('--direct', 'ping'), 'ping queries the service and cannot be used with --direct'),
                (('--direct', 'stats'),
                 'stats queries the service and cannot be used with --direct'),
                (('--direct', '-s', '/x', 'usage', '/x'), '--socket is for the service'),
                (('--direct', '--timeout=5', 'usage', '/x'), '--timeout is for the service'),
                (('--root=/', 'usage', '/x'), '--root needs --direct: the service has its own'),
                (('--warn=5', 'check', '/x'), '--warn needs --direct'),
                (('--direct', '--root=x', 'usage', '/x'), 'it takes an absolute path'),
                (('--direct', '--mailbox=/%q', 'usage', '/x'), '--mailbox=/%q is not accepted')):
            with self.subTest(words=words):
                self.assert_fails(self.ctl(*words), text)

    def help_options(self) -> list[str]:
        """Returns every long option that the help lists."""
        ended = self.ctl('--help')
        self.assertEqual((ended.status, ended.stderr), (FITS, ''))
        self.assertLessEqual(max(map(len, ended.stdout.splitlines())), 100)
        return re.findall(r'^  (?:-\w,|   ) (--[a-z-]+)', ended.stdout, re.MULTILINE)

    def test_help_comes_whatever_else_is_asked(self):
        self.assertEqual(len(self.help_options()), 30)
        self.assertEqual(self.ctl('--help', 'nonsense').status, FITS)
        self.assertEqual(self.ctl('-h').stdout, self.ctl('--help').stdout)
        self.assertEqual(self.ctl('-V').stdout, self.ctl('--version').stdout)

    def test_the_manual_has_every_option(self):
        manual = MANUAL.read_text('utf-8')
        for option in self.help_options():
            self.assertRegex(manual, rf'Fl {option[1:]}\b', option)

    def completions(self, *words: str) -> list[str]:
        """Returns what bash offers for the last of the words."""
        script = (f'source {COMPLETION}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_exim_quotactl; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(['bash', '--norc', '-c', script, 'bash', 'exim-quotactl', *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=True)
        self.assertEqual(done.stderr, '')
        return done.stdout.split()

    def test_completion_has_every_option(self):
        offered = {word.rstrip('=') for words in (('--',), ('--direct', '--'))
                   for word in self.completions(*words)}
        self.assertEqual(offered, set(self.help_options()))

    def test_completion_offers_what_goes_together(self):
        self.assertEqual(self.completions(''), [
            'check', 'usage', 'explain', 'report', 'ping', 'stats', 'check-setup'])
        self.assertEqual(self.completions('--json', 'c'), ['check'])
        self.assertEqual(self.completions('--direct', ''), ['check', 'usage', 'explain', 'report'])
        self.assertIn('--recount', self.completions('explain', '--'))
        self.assertIn('--config=', self.completions('explain', '--'))
        self.assertNotIn('--recount', self.completions('check', '--'))
        self.assertNotIn('--root=', self.completions('check', '--'))
        self.assertNotIn('--size=', self.completions('usage', '--'))
        self.assertIn('--size=', self.completions('check', '--'))
        self.assertNotIn('--top=', self.completions('check', '--'))
        self.assertLessEqual({'--top=', '--root='}, set(self.completions('report', '--')))
        self.assertNotIn('--size=', self.completions('report', '--'))
        self.assertEqual(self.completions('report', '--sort', '=', 'b'), ['bytes'])
        self.assertNotIn('--socket=', self.completions('--direct', '--'))
        self.assertEqual(self.completions('--color', '=', 'al'), ['always'])
        self.assertEqual(self.completions('--color', '='), ['auto', 'always', 'never'])
        self.assertEqual(self.completions('--color', 'n'), ['never'])
        self.assertEqual(self.completions('--timeout', '='), [])
        self.assertEqual(self.completions('--socket', '=', '/x', 'p'), ['ping'])
        self.assertEqual(self.completions('-s', '/x', 'p'), ['ping'])
        self.assertEqual(self.completions('ping', ''), [])
        self.assertEqual(self.completions('check', '--', '--'), [])

    def test_completion_knows_files(self):
        (self.folder / 'mail' / 'joe').mkdir()
        (self.folder / 'mail' / 'limits').touch()
        files = [f'{self.folder}/mail/joe', f'{self.folder}/mail/limits']
        self.assertEqual(sorted(self.completions('check', f'{self.folder}/mail/')), files)
        self.assertEqual(self.completions('--direct', '--root', '=', f'{self.folder}/mail/'),
                         files[:1])
        self.assertEqual(self.completions('-s', f'{self.folder}/mail/l'), files[1:])


class ReadmeTest(CtlTestCase):
    """What README.md shows is what the program prints."""

    def setUp(self) -> None:
        super().setUp()
        domain = self.root / 'example.org'
        for name, limit, entry in (('ann', '2147483648S,50000C', '1503238553 12345'),
                                   ('bob', '1073741824S', '1020054732 8211'),
                                   ('carol', '524288000S', '534773760 3100')):
            make_maildir(domain / name)
            time.sleep(0.02)  # a fresh sum is believed if it is younger than new and cur
            write_maildirsize(domain / name, limit, entry)
        dave = make_maildir(domain / 'dave')
        for number in range(5):
            (dave / 'cur' / f'{number}.M1.mx,S=1900000:2,S').touch()
        self.template = f'--mailbox={self.root}/%d/%n'

    def shown(self, command: str) -> tuple[list[str], str]:
        """Returns the words of an example, and what it prints."""
        shown = re.search(rf'^    # exim-quotactl ({command}.*)\n((?:(?:    [^#].*)?\n)+)',
                          (PROJECT / 'README.md').read_text(), re.MULTILINE)
        return shown[1].split(), re.sub('^    ', '', shown[2], flags=re.MULTILINE).strip()

    def test_table(self):
        words, printed = self.shown('check ')
        daemon = self.start(self.template)
        ended = self.ctl(*words, address=daemon.address)
        self.assertEqual(ended.stdout.strip(), printed)
        self.assertEqual(ended.status, DOES_NOT_FIT)

    def test_report(self):
        words, printed = self.shown('report')
        ended = self.ctl(f'--root={self.root}', self.template, *words)
        self.assertEqual(ended.stdout.strip(), printed)
        self.assertEqual(ended.status, DOES_NOT_FIT)


if __name__ == '__main__':
    unittest.main()
