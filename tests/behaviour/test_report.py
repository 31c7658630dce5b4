# SPDX-License-Identifier: GPL-2.0-or-later
"""exim-quotactl report: which mailboxes it finds, and what it says of all of them."""

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import random
import re
import signal
import struct
import subprocess
import termios
import time
import unittest
from pathlib import Path
from typing import NamedTuple, Optional

from daemon import PATIENCE_SECONDS, SANITIZER_REPORT, is_long, is_sanitized, needs_root
from hangfs import HangFs, needs_hangfs
from mailboxes import make_maildir, write_maildirsize
from test_ctl import DOES_NOT_FIT, ERROR, FITS, CtlTestCase, binary, environment

SEED = int(os.environ.get('TEST_SEED') or random.SystemRandom().getrandbits(32))
MAILBOXES = int(os.environ.get('REPORT_MAILBOXES') or (10000 if is_long() else 1000))

NOTHING = {'mailboxes': 0, 'bytes': 0, 'messages': 0, 'over': 0, 'warn': 0, 'errors': 0,
           'complete': True}


class Mailbox(NamedTuple):
    """What is known of a mailbox by whoever made it."""

    bytes: int
    messages: int
    limit: int
    message_limit: int

    def percent(self) -> int:
        return 100 * self.bytes // self.limit if self.limit else 0

    def fullness(self) -> int:
        share = 100 * self.messages // self.message_limit if self.message_limit else 0
        return max(self.percent(), share)

    def status(self) -> str:
        if (self.limit and self.bytes > self.limit
                or self.message_limit and self.messages >= self.message_limit):
            return 'over'
        return 'warn' if self.percent() >= 90 else 'ok'


class ReportTestCase(CtlTestCase):
    """Mailboxes at ROOT/DOMAIN/NAME, and reports on them."""

    def setUp(self) -> None:
        super().setUp()
        self.options = (f'--root={self.root}', f'--mailbox={self.root}/%d/%n')

    def report(self, *words, status: int = FITS, errors: int = 0, options=None) -> dict:
        """Returns the report as JSON, and its total under the name of ''."""
        ended = self.ctl('report', '--json', *(self.options if options is None else options),
                         *words)
        self.assertEqual(ended.status, status, ended.stderr)
        self.assertEqual(len(ended.stderr.splitlines()), errors, ended.stderr)
        found = json.loads(ended.stdout)
        targets = [each['target'] for each in found['mailboxes']]
        self.assertEqual(len(targets), len(set(targets)), 'a mailbox comes twice')
        return {**{each['target']: each for each in found['mailboxes']}, '': found['total']}

    def targets(self, *words, **how) -> list[str]:
        """Returns the targets of a report, sorted by their names."""
        return sorted(self.report(*words, **how))[1:]


class TableTest(ReportTestCase):
    """What people see."""

    def setUp(self) -> None:
        super().setUp()
        for name, header, sums in (('joe', '2147483648S,50000C', '1503238554 12345'),
                                   ('ann', '1000S', '950 7'), ('full', '1000S', '1001 9'),
                                   ('many', '1000S,4C', '10 4')):
            write_maildirsize(make_maildir(self.root / 'example.org' / name), header, sums)
            time.sleep(0.02)  # a fresh sum is believed if it is younger than new and cur
            write_maildirsize(self.root / 'example.org' / name, header, sums)
        make_maildir(self.root / 'example.net' / 'new', [100, 23])
        (self.root / 'example.net' / 'nothing yet').mkdir()

    def test_the_table(self):
        ended = self.ctl('report', *self.options)
        self.assertEqual(ended.stdout, (
            'TARGET            USED  LIMIT                 %     MESSAGES  STATUS  SOURCE\n'
            'full@example.org  1001   1000  ██████████  100%            9  over    maildirsize\n'
            'many@example.org    10   1000  █░░░░░░░░░    1%          4/4  over    maildirsize\n'
            'ann@example.org    950   1000  █████████░   95%            7  warn    maildirsize\n'
            'joe@example.org   1.4G     2G  ███████░░░   70%  12345/50000  ok      maildirsize\n'
            'new@example.net    123      -                 -            2  ok      scan\n'
            '\n'
            '5 mailboxes, 1.4G in 12367 messages; 2 over, 1 warn, 0 errors\n'))
        self.assertEqual((ended.status, ended.stderr), (DOES_NOT_FIT, ''))

    def test_orders(self):
        for words, names in (((), 'full many ann joe new'), (('--sort=percent',),
                                                             'full many ann joe new'),
                             (('--sort=bytes',), 'joe full ann new many'),
                             (('--sort=messages',), 'joe full ann many new'),
                             (('--top=2',), 'full many'), (('--top=1', '--sort=bytes'), 'joe'),
                             (('--top=9',), 'full many ann joe new'),
                             (('--min-percent=71',), 'full many ann'),
                             (('--min-percent=100', '--sort=messages'), 'full many'),
                             (('--min-percent=101',), '')):
            with self.subTest(words=words):
                ended = self.ctl('report', *self.options, *words)
                self.assertEqual(re.findall(r'(?m)^(\w+)@', ended.stdout), names.split())
                shown = len(names.split())
                self.assertEqual(ended.stdout.splitlines()[-1], (
                    '5 mailboxes, 1.4G in 12367 messages; 2 over, 1 warn, 0 errors'
                    + (f'; {shown} shown' if shown < 5 else '')))
                self.assertEqual(ended.status, DOES_NOT_FIT)

    def test_equal_mailboxes_have_an_order(self):
        names = [f'n{number}' for number in range(40)]
        for name in names:
            make_maildir(self.root / 'same.example' / name, [7])
        for words in ((), ('--sort=messages',), ('--top=3',)):
            shown = re.findall(r'(?m)^(n\d+)@',
                               self.ctl('report', *self.options, 'same.example', *words).stdout)
            self.assertEqual(shown, sorted(names, key=lambda each: f'{each}@')[:len(shown)])
            self.assertIn(len(shown), (3, 40))

    def test_statuses(self):
        self.report('example.net', status=FITS)
        self.report('example.org', status=DOES_NOT_FIT)
        (self.root / 'example.org' / 'out').symlink_to('/etc')
        self.report('example.net', status=FITS)
        self.report('example.org', status=ERROR, errors=1)

    def test_an_error_has_a_row_at_the_end_and_a_line(self):
        (self.root / 'example.org' / 'aaa').symlink_to('/etc')
        ended = self.ctl('report', *self.options, 'example.org')
        lines = ended.stdout.splitlines()
        self.assertRegex(lines[-3], r'^aaa@example\.org +- .* error +outside-root$')
        self.assertEqual(lines[-1], '4 mailboxes, 1.4G in 12365 messages; 2 over, 1 warn, 1 errors')
        self.assertEqual((ended.status, ended.stderr), (
            ERROR, 'exim-quotactl: aaa@example.org: leads outside the roots\n'))
        self.assertNotIn('aaa', self.ctl('report', *self.options, '--top=4').stdout)
        self.assertIn('aaa', self.ctl('report', *self.options, '--min-percent=999').stdout)

    def test_csv(self):
        make_maildir(self.root / 'example.net' / 'a "b", c', [5])
        make_maildir(self.root / 'example.net' / '=1+1', [5])
        (self.root / 'example.net' / 'out').symlink_to('/etc')
        ended = self.ctl('report', *self.options, '--csv', '--sort=bytes', 'example.net')
        self.assertEqual(ended.stdout, (
            'target,status,bytes,messages,limit,message_limit,percent,source,rule,limit_from,'
            'reason,mailbox\r\n'
            f'new@example.net,ok,123,2,0,0,0,scan,missing,none,,{self.root}/example.net/new\r\n'
            f'"\\x3d1+1@example.net",ok,5,1,0,0,0,scan,missing,none,,'
            f'{self.root}/example.net/=1+1\r\n'
            '"a ""b"", c@example.net",ok,5,1,0,0,0,scan,missing,none,,'
            f'"{self.root}/example.net/a ""b"", c"\r\n'
            'out@example.net,error,,,,,,,,,outside-root,\r\n').replace(
                '"\\x3d1+1@example.net"', '\\x3d1+1@example.net'))

    def test_no_mailbox_is_an_error(self):
        ended = self.ctl('report', *self.options, 'example.com')
        self.assertEqual((ended.status, ended.stderr),
                         (ERROR, 'exim-quotactl: no mailbox was found\n'))
        self.assertEqual(self.report('example.com', status=ERROR, errors=1), {'': NOTHING})

    def test_limits(self):
        limits = self.folder / 'limits'
        limits.write_text('ann@example.org: 500\n*@example.net: 1K\n*: 1M\n', 'ascii')
        found = self.report(f'--limits={limits}', status=DOES_NOT_FIT)
        self.assertEqual([(found[name]['limit'], found[name]['limit_from']) for name in (
            'ann@example.org', 'new@example.net', 'full@example.org')],
            [(500, 'file'), (1024, 'file'), (1 << 20, 'file')])
        tree = self.report(f'--limits={limits}', options=[f'--root={self.root}'],
                           status=DOES_NOT_FIT)
        self.assertEqual(tree[f'{self.root}/example.org/ann']['limit'], 1 << 20,
                         'nobody knows whose it is')

    def test_options_come_from_the_configuration_file(self):
        config = self.folder / 'conf'
        config.write_text(f'root = {self.root}\nmailbox = {self.root}/%d/%n\nwarn = 60\n')
        found = self.report(options=[f'--config={config}'], status=DOES_NOT_FIT)
        self.assertEqual(found['joe@example.org']['status'], 'warn')


class ManyTest(ReportTestCase):
    """Many mailboxes, made from a seed, and counted by whoever made them."""

    def make(self, draw: random.Random, number: int) -> tuple[str, Mailbox]:
        """Makes a mailbox in one of many ways, and returns its address and what is in it."""
        domain, name = f'd{number % 37}.example', f'user{number}'
        path = self.root / domain / name
        sizes = [draw.randint(1, 5000) for _ in range(draw.choice((0, 1, 2, 5)))]
        limit, message_limit = draw.choice((0, 2000, 9000)), draw.choice((0, 0, 0, 4))
        header = f'{limit}S' + (f',{message_limit}C' if message_limit else '')
        kind = draw.randrange(4)
        if kind == 0:  # an mbox
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(sum(sizes)))
            return f'{name}@{domain}', Mailbox(sum(sizes), 0, 0, 0)
        make_maildir(path, sizes)
        if kind == 1:  # counted, with a folder
            make_maildir(path / '.Sent', [77])
            return f'{name}@{domain}', Mailbox(sum(sizes) + 77, len(sizes) + 1, 0, 0)
        if kind == 2:  # an old sum: one that says "over" is not believed
            wrong = limit + 1
            write_maildirsize(path, header, f'{wrong} 1' if limit else f'{sum(sizes)} {len(sizes)}',
                              '0 0', age_seconds=3600)
            return f'{name}@{domain}', Mailbox(sum(sizes), len(sizes), limit, message_limit)
        write_maildirsize(path, header, f'{sum(sizes)} {len(sizes)}')
        return f'{name}@{domain}', Mailbox(sum(sizes), len(sizes), limit, message_limit)

    def test_it_equals_an_independent_count(self):
        print(f'TEST_SEED={SEED}, {MAILBOXES} mailboxes')
        draw = random.Random(SEED)
        made = dict(self.make(draw, number) for number in range(MAILBOXES))
        begin = time.monotonic()
        found = self.report(status=DOES_NOT_FIT)
        print(f'{time.monotonic() - begin:.2f} s')
        total = found.pop('')
        self.assertEqual(sorted(found), sorted(each for each, box in made.items() if self.is_there(
            each, box)))
        for target, each in found.items():
            box = made[target]
            self.assertEqual(
                (each['bytes'], each['messages'], each['limit'], each['message_limit'],
                 each['percent'], each['status']),
                (*box, box.percent(), box.status()), target)
        boxes = [made[target] for target in found]
        self.assertEqual(total, {
            **NOTHING, 'mailboxes': len(boxes), 'bytes': sum(box.bytes for box in boxes),
            'messages': sum(box.messages for box in boxes),
            'over': sum(box.status() == 'over' for box in boxes),
            'warn': sum(box.status() == 'warn' for box in boxes)})
        self.check_orders(made)
        self.check_csv(found)

    def is_there(self, target: str, box: Mailbox) -> bool:
        name, domain = target.split('@')
        return box.bytes >= 0 and (self.root / domain / name).exists()

    def check_orders(self, made: dict[str, Mailbox]) -> None:
        """Fails unless the first of each order are those that sorting all of them finds."""
        keys = {'percent': Mailbox.fullness, 'bytes': lambda box: box.bytes,
                'messages': lambda box: box.messages}
        for sort, key in keys.items():
            names = sorted(made, key=lambda each: (-key(made[each]), each.encode()))
            for top in (1, 50, len(made) + 1):
                found = self.report(f'--sort={sort}', f'--top={top}', status=DOES_NOT_FIT)
                self.assertEqual(list(found)[:-1], names[:top])
        wanted = [each for each, box in made.items() if box.fullness() >= 90]
        self.assertEqual(self.targets('--min-percent=90', status=DOES_NOT_FIT), sorted(wanted))

    def check_csv(self, found: dict[str, dict]) -> None:
        """Fails unless CSV says the same as JSON."""
        ended = self.ctl('report', '--csv', *self.options)
        rows = {row['target']: row for row in csv.DictReader(io.StringIO(ended.stdout, ''))}
        self.assertEqual(rows, {target: {key: str(each.get(key, '')) for key in row}
                                for (target, each), row in zip(
                                    ((target, found[target]) for target in rows), rows.values())})
        self.assertEqual(len(rows), len(found))


class MemoryTest(ReportTestCase):
    """How much is held of how many mailboxes."""

    MAILBOXES = 100000

    def peak_kib(self, *words: str) -> int:
        """Returns how much memory a report had resident at most, as far as that was seen."""
        peak = 0
        with open(self.folder / 'printed', 'wb') as printed, subprocess.Popen(
                [binary(), 'report', *self.options, *words], stdout=printed,
                env=environment()) as process:
            while process.poll() is None:
                status = Path(f'/proc/{process.pid}/status').read_text('ascii')
                if status.startswith('Name:\texim-quotactl\n') and 'VmHWM:' in status:
                    peak = int(re.search(r'VmHWM:\s*(\d+) kB', status)[1])
                time.sleep(0.01)
        self.assertEqual(process.returncode, FITS)
        print(f'{" ".join(words) or "a table"}: {peak} KiB')
        return peak

    @unittest.skipUnless(is_long() and not is_sanitized(),
                         'takes long, and a sanitizer takes memory')
    def test_no_more_is_held_than_what_is_printed(self):
        for number in range(self.MAILBOXES):
            path = self.root / f'd{number % 200}.example' / f'user{number}'
            path.mkdir(parents=True)
            (path / 'maildirsize').write_text('1000S\n500 3\n', 'ascii')
        for words in (('--csv',), ('--json',), ('--top=100',), ('--min-percent=51',)):
            self.assertLess(self.peak_kib(*words), 8 * 1024)
        self.assertLess(self.peak_kib(), 48 * 1024)


class FindingTest(ReportTestCase):
    """Which mailboxes there are."""

    def box(self, *parts: str) -> Path:
        return make_maildir(self.root.joinpath(*parts), [10])

    def test_templates(self):
        self.box('example.org', 'joe')
        self.box('example.org', 'ann', 'Maildir')
        self.box('u', 'bob@example.net')
        self.box('x-bob', 'box-example.net', '.mail')
        self.box('only', 'carl')
        self.box('all', 'example.org')
        for template, targets in (
                ('%d/%n/Maildir', ['ann@example.org']), ('u/%u', ['bob@example.net']),
                ('./%d//%n/Maildir/', ['ann@example.org']),
                ('x-%n/box-%d/.mail', ['bob@example.net']),
                ('only/%n', [f'{self.root}/only/carl']),
                ('all/%d', [f'{self.root}/all/example.org']),
                ('only/carl', [f'{self.root}/only/carl'])):
            with self.subTest(template=template):
                options = (f'--root={self.root}', f'--mailbox={self.root}/{template}')
                self.assertEqual(self.targets(options=options), targets)

    def test_of_several_templates_the_first_that_exists_holds(self):
        self.box('first', 'example.org', 'joe')
        self.box('second', 'example.org', 'joe')
        self.box('second', 'example.org', 'ann')
        (self.root / 'first' / 'example.org' / 'ann').mkdir()
        self.box('second', 'example.org', 'jean-luc')
        self.box('second', 'example.org', 'jean')
        options = (f'--root={self.root}', f'--mailbox={self.root}/first/%d/%n',
                   f'--mailbox={self.root}/second/%d/%n', f'--mailbox={self.root}/second/%d/%n',
                   '--recipient-delimiter=-')
        found = self.report(options=options)
        self.assertEqual(found.pop('')['mailboxes'], 4)
        self.assertEqual({target: each['mailbox'] for target, each in found.items()}, {
            f'{name}@example.org': f'{self.root}/{where}/example.org/{name}' for name, where in (
                ('joe', 'first'), ('ann', 'second'), ('jean', 'second'), ('jean-luc', 'second'))})

    def test_each_answer_is_that_of_check(self):
        limits = self.folder / 'limits'
        limits.write_text('joe@example.org: 5\njean-luc@example.org: 9\n*: 1M\n', 'ascii')
        for name in ('joe', 'jean', 'jean-luc', '"quoted"', 'a@b', 'b\\c', 'ü', "o'neill", 'a b'):
            self.box('example.org', name)
        options = (*self.options, f'--limits={limits}', '--recipient-delimiter=-')
        found = self.report(options=options, status=DOES_NOT_FIT)
        self.assertEqual(found.pop('')['mailboxes'], 9)
        for target, each in found.items():
            [checked] = json.loads(self.ctl('--direct', '--json', *options, 'check',
                                            target).stdout)
            self.assertEqual(each, checked)

    def test_domains_and_directories(self):
        for domain in ('example.org', 'example.net', 'example.com'):
            self.box(domain, 'joe')
        self.box('example.org', 'ann')
        for words, targets in (
                (['example.org'], ['ann@example.org', 'joe@example.org']),
                (['EXAMPLE.net', 'example.com', 'example.net'],
                 ['joe@example.com', 'joe@example.net']),
                ([f'{self.root}//example.org/'], ['ann@example.org', 'joe@example.org']),
                ([f'{self.root}/example.org/ann'], ['ann@example.org']),
                ([f'{self.root}/example.org/an'], []),
                (['example.net', f'{self.root}/example.org/ann'],
                 ['ann@example.org', 'joe@example.net'])):
            for template in ('%d/%n', 'none/%u'):
                options = (*self.options, f'--mailbox={self.root}/{template}')
                (self.root / 'none').mkdir(exist_ok=True)
                with self.subTest(words=words, template=template):
                    self.assertEqual(self.targets(*words, options=options,
                                                  status=FITS if targets else ERROR,
                                                  errors=0 if targets else 1), targets)

    def test_without_templates(self):
        self.box('vhosts', 'example.org', 'joe')
        self.box('vhosts', 'example.org', 'joe', 'inner')
        self.box(*('deep',) * 7, 'box')
        self.box(*('deeper',) * 8, 'box')
        self.box('.hidden', 'box')
        write_maildirsize(self.root / 'vhosts' / 'example.org', '1S', '1 1').rename(
            self.root / 'vhosts' / 'example.org' / 'other')
        (self.root / 'ann').write_text('From ann\n')
        (self.root / 'no mbox').write_text('from ann\n')
        (self.root / 'empty').touch()
        (self.root / 'link').symlink_to('vhosts')
        (self.root / 'loop').symlink_to('.')
        os.mkfifo(self.root / 'fifo')
        before = os.stat(self.root / 'ann')
        paths = [f'{self.root}/ann', f'{self.root}/{"deep/" * 7}box',
                 f'{self.root}/vhosts/example.org/joe']
        options = (f'--root={self.root}',)
        self.assertEqual(self.targets(options=options), paths)
        self.assertEqual(os.stat(self.root / 'ann').st_atime_ns, before.st_atime_ns)
        self.assertEqual(self.targets(options=(*options, f'--root={self.root}/vhosts/')), paths)
        self.assertEqual(self.targets(f'{self.root}/vhosts', f'{self.root}/vhosts/example.org',
                                      options=options), paths[-1:])
        self.assertEqual(self.targets(f'{self.root}/vhosts/example.org/joe', options=options),
                         paths[-1:])
        self.assertEqual(self.targets('/etc', options=options, status=ERROR, errors=1), ['/etc'])

    def test_mistakes(self):
        config = self.folder / 'conf'
        config.touch()
        for words, text in (
                (('report',), 'report needs --mailbox=, --root= or a directory'),
                (('report', 'example.org', '--root=/tmp'), 'a domain requires --mailbox='),
                (('report', 'a@example.org', '/'), '"a@example.org" is neither a domain nor'),
                (('report', 'a b'), 'is neither a domain nor'), (('report', ''), '"" is neither'),
                (('report', '--raw'), '--raw is for the service'),
                (('report', '--size=1'), '--size needs the command check'),
                (('report', '--socket=/x'), '--socket is for the service'),
                (('report', '--sort=size'), '--sort=size is not accepted: it takes percent, bytes'),
                (('report', '--top=0'), '--top=0 is not accepted'),
                (('report', '--min-percent=x'), '--min-percent=x is not accepted'),
                (('check', '--top=1', '/x'), '--top needs the command report'),
                (('usage', '--csv', '/x'), '--csv needs the command report'),
                (('report', '--root=/missing'), '--root=/missing: No such file')):
            with self.subTest(words=words):
                more = (f'--config={config}',) if words[0] == 'report' else ()
                self.assert_fails(self.ctl(*words, *more), text)

    def test_a_template_that_leads_nowhere(self):
        for template, why in ((f'{self.root}/none/%d/%n', 'No such file or directory'),
                              ('/etc/%d/%n', 'leads outside the roots')):
            ended = self.ctl('report', *self.options[:1], f'--mailbox={template}')
            self.assertEqual(ended.status, ERROR)
            self.assertIn(why, ended.stderr)


class HostileTest(ReportTestCase):
    """What owners of directories may do."""

    def test_names(self):
        domain = self.root / 'example.org'
        for name in (b'a\x1b[31mb', b'line\nend', b'\xff', 'rlo\u202e'.encode(), b'Upper', b'..x',
                     b'.hidden', b'x' * 255, b'tab\tx', b'good'):
            make_maildir(Path(os.fsdecode(os.fsencode(domain) + b'/' + name)), [1])
        found = self.report()
        self.assertEqual(sorted(found)[1:], ['good@example.org', 'rlo\u202e@example.org',
                                             f'{"x" * 255}@example.org'])
        for words in ((), ('--csv',), ('--json',)):
            for options in (self.options, self.options[:1]):  # by their addresses, by their paths
                ended = self.ctl('report', *options, *words)
                lines = ended.stdout.replace('\r\n', '\n').replace('\n', '')
                self.assertEqual([c for c in lines if not c.isprintable()], [])
        tree = self.report(options=self.options[:1])
        self.assertEqual(tree['']['mailboxes'], 8)
        self.assertIn(f'{domain}/line\nend', tree)

    def test_what_is_no_mailbox(self):
        domain = self.root / 'example.org'
        make_maildir(domain / 'joe', [1])
        os.mkfifo(domain / 'fifo')
        (domain / 'home').mkdir()
        (domain / 'home' / 'Maildir').mkdir()
        (domain / 'dangling').symlink_to('nowhere')
        (domain / 'alias').symlink_to('joe')
        (domain / 'loop').symlink_to('loop')
        (self.root / 'loop.example').symlink_to('loop.example')
        (self.root / 'out.example').symlink_to('/etc')
        (self.root / 'file.example').touch()
        (self.root / 'net.example').symlink_to('example.org')
        ended = self.ctl('report', '--json', *self.options)
        found = {each['target']: each.get('reason', '') for each in
                 json.loads(ended.stdout)['mailboxes']}
        ours = {'joe': '', 'alias': '', 'fifo': 'not-a-mailbox', 'home': 'not-a-mailbox',
                'dangling': 'not-a-mailbox', 'loop': 'outside-root'}
        self.assertEqual(found, {
            **{f'{name}@{host}.example'.replace('org.example', 'example.org'): reason
               for name, reason in ours.items() for host in ('org', 'net')},
            f'{self.root}/loop.example': 'outside-root',
            f'{self.root}/out.example': 'outside-root'} | {})
        self.assertEqual(ended.status, ERROR)
        self.assertEqual(len(ended.stderr.splitlines()), 10)

    def test_renames_meanwhile(self):
        for number in range(200):
            make_maildir(self.root / 'example.org' / f'n{number}', [1])
        one, other = self.root / 'example.org', self.root / 'example.net'
        with open(self.folder / 'csv', 'w+b') as printed, \
                open(self.folder / 'errors', 'w+b') as errors, \
                subprocess.Popen([binary(), 'report', '--csv', *self.options], stdout=printed,
                                 stderr=errors, env=environment()) as process:
            while process.poll() is None:
                one.rename(other)
                one, other = other, one
        self.assertIn(process.returncode, (FITS, ERROR))
        with open(self.folder / 'csv', newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        self.assertLessEqual(len(rows), 401)
        self.assertLessEqual({row['bytes'] for row in rows if row['status'] == 'ok'}, {'1'})
        self.assertNotRegex((self.folder / 'errors').read_text('utf-8'), SANITIZER_REPORT)

    @needs_root
    def test_it_has_the_rights_of_its_user(self):
        make_maildir(self.root / 'example.org' / 'joe', [1])
        make_maildir(self.root / 'example.net' / 'ann', [1])
        (self.root / 'example.net').chmod(0o700)
        make_maildir(self.root / 'example.org' / 'bob', [1]).chmod(0o700)
        program = self.folder / 'program'
        program.write_bytes(Path(binary()).read_bytes())
        program.chmod(0o755)
        ended = self.ctl('report', '--json', *self.options, program=program, user=65534,
                         group=65534, extra_groups=[])
        self.assertEqual({each['target']: each.get('reason') for each in
                          json.loads(ended.stdout)['mailboxes']}, {
            'joe@example.org': None, 'bob@example.org': 'permission-denied',
            f'{self.root}/example.net': 'permission-denied'})
        self.assertEqual(ended.status, ERROR)


class TerminalTest(ReportTestCase):
    """The progress, and an end in the middle."""

    def spawn_report(self, *words: str) -> subprocess.Popen:
        """Starts a report whose standard error is a terminal: self.screen."""
        ours, its = pty.openpty()
        self.screen = os.fdopen(ours, 'rb', buffering=0)
        self.addCleanup(self.screen.close)
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
        process = subprocess.Popen([binary(), 'report', *self.options, *words],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=its,
                                   env=environment())
        os.close(its)
        self.addCleanup(process.stdout.close)
        self.shown = ''
        return process

    def see(self, pattern: Optional[str]) -> None:
        """Reads what the terminal shows until the pattern is there, or to its end."""
        with contextlib.suppress(OSError):  # what a terminal says at its end
            while pattern is None or not re.search(pattern, self.shown):
                part = self.screen.read(65536).decode()
                if not part:
                    break
                self.shown += part
        if pattern:
            self.assertRegex(self.shown, pattern)

    def test_progress(self):
        for number in range(300):
            make_maildir(self.root / f'd{number % 7}.example' / f'n{number}', [1])
        process = self.spawn_report()
        self.see(None)
        lines = process.stdout.read().decode().splitlines()
        self.assertEqual(process.wait(), FITS)
        self.assertEqual(lines[-1], '300 mailboxes, 300 in 300 messages; 0 over, 0 warn, 0 errors')
        self.assertRegex(self.shown, r'^\r(\d+ mailboxes so far|[█░]{20}  \d+ of \d+ mailboxes)')
        self.assertRegex(self.shown, r'\r +\r$', 'it is removed at the end')
        self.assertNotIn('\n', self.shown)

    def test_no_progress_where_nobody_sees_it(self):
        make_maildir(self.root / 'example.org' / 'joe', [1])
        self.assertEqual(self.ctl('report', *self.options).stderr, '')

    @needs_hangfs
    def test_interrupted(self):
        """One mailbox hangs, the others are reported."""
        (self.folder / 'source' / 'slow').mkdir(parents=True)
        write_maildirsize(make_maildir(self.folder / 'source' / 'slow' / 'box'), '9S', '1 1')
        for number in range(20):
            make_maildir(self.root / 'a.example' / f'n{number}', [1])
        far = self.root / 'b.example'
        far.mkdir()
        hangfs = HangFs(self.folder / 'source' / 'slow', far)
        self.addCleanup(hangfs.stop)
        for form, number in ((('--json',), signal.SIGINT), (('--csv',), signal.SIGTERM),
                             ((), signal.SIGINT), (('--top=3', '--json'), signal.SIGINT)):
            with self.subTest(form=form):
                hangfs.say('hang read')
                process = self.spawn_report(*form)
                try:
                    self.see(r'\b20 (of|mailboxes)')
                    process.send_signal(number)
                    self.see('exim-quotactl: interrupted: the report is not complete')
                finally:
                    hangfs.say('wake')  # what hangs in there cannot end
                printed = process.stdout.read().decode()
                self.assertEqual(process.wait(PATIENCE_SECONDS), ERROR)
                self.check_interrupted(form, printed)

    def check_interrupted(self, form: tuple, printed: str) -> None:
        """Fails unless that is the report on the 20 mailboxes that could be read."""
        if '--json' not in form:
            self.assertEqual(printed.count('@a.example'), 20)
            return
        found = json.loads(printed)
        self.assertEqual(len(found['mailboxes']), 3 if '--top=3' in form else 20)
        self.assertEqual(found['total'], {**NOTHING, 'mailboxes': 20, 'bytes': 20,
                                          'messages': 20, 'complete': False})
