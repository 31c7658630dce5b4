# SPDX-License-Identifier: GPL-2.0-or-later
"""exim-quotactl explain: for what mail systems do to us, it names the true reason.

The situations are those of the issues that led to the rules in exim-quotad(8). Each is explained
with --direct and through a service, which must say the same.
"""

import json
import os
import re
import shutil
import socket
import threading
import unittest
from pathlib import Path
from typing import Sequence

from daemon import Daemon, Ended, connect, needs_root, parse_pairs, read_all, wait_for
from hangfs import HangFs, needs_hangfs
from mailboxes import make_maildir, make_slow_maildir, write_maildirsize
from test_ctl import DOES_NOT_FIT, ERROR, FITS, PROJECT, CtlTestCase

# The longest reply to `explain`.
STEPS_BYTES_MAX = 65536

DAY_SECONDS = 24 * 3600


def comparable(text: str) -> str:
    """Returns an explanation without what differs between the service and a direct one."""
    text = re.sub(r'^  Cache .*\n', '', text, flags=re.MULTILINE)
    return re.sub(r'written .*? ago', 'written T ago', text)


class ExplainTestCase(CtlTestCase):
    """Explains mailboxes below self.root, by templates %d/%n, in both ways."""

    def options(self, *more: str) -> list[str]:
        return [f'--mailbox={self.root}/%d/%n', *more]

    def make(self, name: str = 'joe', sizes: Sequence[int] = ()) -> Path:
        return make_maildir(self.root / 'example.org' / name, sizes)

    def limits(self, text: str) -> str:
        path = self.folder / 'limits'
        path.write_text(text, 'utf-8')
        return f'--limits={path}'

    def direct(self, target, *options: str, words: Sequence[str] = ()) -> Ended:
        return self.ctl('--direct', f'--root={self.root}', *self.options(*options), *words,
                        'explain', target)

    def explain(self, target, *options: str, status: int = FITS, says: Sequence[str] = (),
                words: Sequence[str] = (), never: Sequence[str] = ()) -> str:
        """Explains in both ways, which must agree, and looks for what must be said."""
        direct = self.direct(target, *options, words=words)
        daemon = self.start(*self.options(*options))
        service = self.ctl(*words, 'explain', target, address=daemon.address)
        self.assertEqual(comparable(service.stdout), comparable(direct.stdout))
        self.assertEqual((direct.status, service.status), (status, status), direct)
        text = re.sub(r'\n {15}', ' | ', direct.stdout)
        for pattern in says:
            self.assertRegex(text, re.compile(pattern, re.MULTILINE))
        for pattern in never:
            self.assertNotRegex(text, pattern)
        return direct.stdout


class SituationsTest(ExplainTestCase):
    """What administrators meet."""

    def test_full_but_empty(self):
        """Messages were removed with rm: maildirsize says full for ever."""
        write_maildirsize(self.make(sizes=[]), '1000S', '1100 11', age_seconds=7500)
        self.explain('joe@example.org', says=[
            r'^  maildirsize +1\.0K in 11 messages; 2 lines, written 2h 5min ago$',
            r'^  Usage +0 bytes in 0 messages: counted \(over the limit according to maildirsize, '
            r'which may be out of date\)$',
            r'^  Folders +INBOX +0 bytes +0 messages$',
            r'^  Verdict +ok, because the mailbox holds 0 bytes \(0%\) of 1000 bytes \| '
            r'maildirsize says that the mailbox is over, but is out of date: messages were removed',
            r'^  Exim replies 250 Accepted$'])

    def test_full(self):
        self.make(sizes=[600, 500])
        make_maildir(self.root / 'example.org/joe/.Sent', [700])
        self.explain('joe@example.org', '--default-quota=1K', status=DOES_NOT_FIT, says=[
            r'^  maildirsize +there is no maildirsize$', r'^  Limit +1K, from --default-quota$',
            r'^  Folders +INBOX +1\.0K +2 messages \| \.Sent +700 bytes +1 message$',
            r'^  Verdict +over, because the mailbox holds 1\.7K, and its limit is 1K$',
            r'^  Exim replies 452 4\.2\.2 Mailbox is full$'])

    def test_sums_written_a_moment_ago(self):
        box = self.make(sizes=[1100])
        for part in ('new', 'cur'):
            os.utime(box / part, (1, 1))
        # Their ctime is now, so that the file must be younger.
        wait_for(lambda: write_maildirsize(box, '1000S', '1100 1').stat().st_mtime_ns
                 > (box / 'cur').stat().st_ctime_ns, 'the clock of the file system ticks')
        self.explain('joe@example.org', status=DOES_NOT_FIT, says=[
            r'Usage .*sums in maildirsize \(written a moment ago, and nothing has changed since\)',
            r'^  Count +1\.0K in 1 message, counted for comparison; by this, the verdict would be '
            r'over'])

    def test_maildirfolder_in_the_mailbox_itself(self):
        """Dovecot writes it into INBOX."""
        box = make_maildir(self.root / 'example.org/joe/.maildir', [600, 600])
        (box / 'maildirfolder').touch()
        self.explain(box, '--default-quota=1K', status=DOES_NOT_FIT, says=[
            rf'^  Tried +{box}: a Maildir$',
            r'^  Verdict +over, because the mailbox holds 1\.1K'], never=['is a folder'])

    def test_a_folder_means_its_mailbox(self):
        box = self.make(sizes=[10])
        folder = make_maildir(box / '.Sent', [20])
        (folder / 'maildirfolder').touch()
        self.explain(folder, '--default-quota=1K', says=[
            rf'^  Mailbox +{box}, of which \.Sent is a folder$',
            r'^  Verdict +ok, because the mailbox holds 30 bytes \(2%\) of 1K$'])

    def test_folders_of_the_other_layout(self):
        """LAYOUT=fs: a count sees INBOX alone, and so it does not overrule maildirsize."""
        box = self.make(sizes=[100])
        make_maildir(box / 'Lists', [2000])
        write_maildirsize(box, '1000S', '2100 2', age_seconds=3600)
        self.explain('joe@example.org', status=DOES_NOT_FIT, says=[
            r'not included: 1 folder without a leading dot, as in --layout=fs, with 1\.9K in '
            r'1 message',
            r'Lists +1\.9K +1 message  not counted: a folder of --layout=fs',
            r'^  Usage .*over the limit according to maildirsize, and the mailbox has folders that '
            r'--layout=maildir\+\+ does not count'])
        self.explain('joe@example.org', '--layout=fs', status=DOES_NOT_FIT, says=[
            r'Folders +Lists +1\.9K +1 message \| INBOX +100 bytes',
            r'^  Verdict +over, because the mailbox holds 2\.0K'])

    def test_not_a_mailbox(self):
        """An mdbox, an MH mailbox, a home above Maildir."""
        for name, inside, said in (
                ('mdbox', ['mailboxes', 'storage'], r'not a Maildir: .* but (storage|mailboxes), '),
                ('mh', ['1', '.mh_sequences'], r'but (1, \.mh_sequences|\.mh_sequences, 1)'),
                ('home', ['Maildir', '.profile'], r'is its Maildir meant\?')):
            for each in inside:
                (self.root / 'example.org' / name / each).mkdir(parents=True)
            with self.subTest(name=name):
                self.explain(f'{name}@example.org', status=ERROR, says=[
                    rf'^  Tried +.*/{name} \(.*\): .*{said}',
                    rf'^  Verdict +none \(not-a-mailbox\): .*{said}',
                    r'^  Exim replies 250 Accepted, and logs why$'])

    def test_maildirsize_that_nobody_keeps(self):
        """The administrator went from Dovecot's maildir driver to count."""
        box = self.make(sizes=[20012] * 3)
        write_maildirsize(box, '0S', '20012 1', age_seconds=3 * DAY_SECONDS)
        self.explain('joe@example.org', '--default-quota=60K', says=[
            r'more than a day after that: no program maintains this file',
            r'^  Count +58\.6K in 3 messages, counted for comparison'])
        self.explain('joe@example.org', '--default-quota=58K', '--maildirsize=ignore',
                     status=DOES_NOT_FIT, says=[
                         r'^  maildirsize +ignored$',
                         r'Usage .* counted \(maildirsize is ignored \(--maildirsize=ignore\)\)'])

    def test_maildirsize_of_no_real_time(self):
        for age_seconds in (-2 * DAY_SECONDS, 100 * 365 * DAY_SECONDS):
            with self.subTest(age_seconds=age_seconds):
                write_maildirsize(self.make(), '1000S', '200 1', age_seconds=age_seconds)
                self.explain('joe@example.org', says=[
                    r'^  maildirsize +200 bytes in 1 message; 2 lines, with a time in the future '
                    r'or before 1970$'])

    def test_a_long_extension(self):
        self.make(sizes=[100])
        target = f'joe+{"x" * 250}@example.org'
        self.explain(target, '--recipient-delimiter=+', says=[
            r'^  Tried +.*/example\.org/joe \(.*/%d/%n\): a Maildir$'])

    def test_an_extension(self):
        self.make('jean', [900])
        self.make('jean-luc')
        options = ('--recipient-delimiter=+-', self.limits('jean@example.org: 800\n*: 1M\n'))
        self.explain('jean-luc@example.org', *options, says=[
            r'^  Address +jean-luc@example\.org, with its extension$',
            r'^  Limit +1M, in .*/limits:2 \(\*\)$'])
        self.explain('jean-marc@example.org', *options, status=DOES_NOT_FIT, says=[
            r'^  Address +jean@example\.org, without its extension: the whole name has no mailbox$',
            r'^  Tried +.*/jean-marc \(.*\): nothing is there \| .*/jean \(.*\): a Maildir$',
            r'^  Limit +800 bytes, in .*/limits:1 \(jean@example\.org\)$'])

    def test_links(self):
        other = make_maildir(self.folder / 'other' / 'joe', [100])
        (self.root / 'example.org').mkdir()
        for name, target in (('outside', other), ('dangling', 'nothing'), ('loop', 'loop')):
            (self.root / 'example.org' / name).symlink_to(target)
        self.explain('outside@example.org', status=ERROR, says=[
            r'^  Tried +.*/outside \(.*\): leads outside the roots$',
            r'^  Verdict +none \(outside-root\): leads outside the roots$'])
        self.explain('outside@example.org', f'--root={self.folder}/other', says=[
            r'^  Tried +.*/outside \(.*\): a Maildir$'])
        self.explain('dangling@example.org', status=ERROR, says=[
            r'^  Verdict +none \(not-a-mailbox\): leads through a symbolic link to nothing$'])
        self.explain('loop@example.org', status=ERROR, says=[r'^  Verdict +none \(outside-root\)'])

    def test_links_in_the_mailbox(self):
        box = self.make(sizes=[100])
        other = make_maildir(self.folder / 'other', [2000])
        (box / '.Archive').symlink_to(other)
        (box / '.Gone').symlink_to('nowhere')
        self.explain('joe@example.org', '--default-quota=1K', says=[
            r'2 names are left out: links that lead outside the roots or to nothing.*, such as '
            r'\.(Archive|Gone)',
            r'\.Archive +0 bytes +0 messages  a link that is not followed'])

    def test_every_file_counts(self):
        """Exim with quota alone."""
        box = self.make()
        (box / 'cur' / '1').write_bytes(b'x' * 900)
        os.link(box / 'cur' / '1', box / 'cur' / '2')
        (box / 'dovecot.index.cache').write_bytes(b'x' * 5000)
        make_maildir(box / 'Lists', [900])
        self.explain('joe@example.org', '--default-quota=5K', '--count=everything',
                     status=DOES_NOT_FIT, says=[
                         r'^  Usage +5\.7K in 11 messages: counted \(every file counts '
                         r'\(--count=everything\)\)$',
                         r'^  Folders +INBOX +1\.7K +2 messages \| Lists +900 bytes +1 message$'],
                     never=['was examined|were examined', 'not counted'])

    def test_excluded_folders(self):
        box = self.make(sizes=[100])
        make_maildir(box / '.Trash', [10 ** 9])
        make_maildir(box / '.Trash.old', [10])
        make_maildir(box / '.Deleted Items', [10 ** 8])
        self.explain('joe@example.org', '--default-quota=1K', '--exclude-folder=Trash',
                     '--exclude-folder=Deleted *', says=[
                         r'^  Count +110 bytes in 2 messages',
                         r'\.Trash +953\.6M +1 message  not counted: --exclude-folder=Trash \| ',
                         r'\.Deleted Items +95\.3M .*--exclude-folder=Deleted \* \|',
                         r'\.Trash\.old +10 bytes +1 message$'])

    def test_an_unusable_line_of_the_limits_file(self):
        self.make(sizes=[100])
        limits = self.limits('# limits\njoe@example.org: 0MM\n*: 50\n')
        self.explain('joe@example.org', limits, says=[
            r'^  Limit +none \| not used: the value of this key is not a limit, in .*/limits:2 '
            r'\(joe@example\.org\)$', r'^  Verdict +ok, because there is no limit$'])

    def test_keys_of_the_limits_file(self):
        for key in ('*@example.org', 'example.org', '*'):
            self.make(sizes=[100])
            with self.subTest(key=key):
                limits = self.limits(f'\nann@example.org: 1\n{key}: 2G,7C\n')
                self.explain('joe@example.org', limits, says=[
                    rf'^  Limit +2G, 7 messages, in .*/limits:3 \({re.escape(key)}\)$'])

    def test_a_path_stands_for_its_address(self):
        box = self.make(sizes=[100])
        self.explain(box, self.limits('joe@example.org: 50\n'), status=DOES_NOT_FIT, says=[
            r'^  Address +joe@example\.org, to which --mailbox assigns this path$',
            r'^  Limit +50 bytes, in .*/limits:1 \(joe@example\.org\)$'])
        self.explain(make_maildir(self.root / 'elsewhere'), self.limits('*: 50\n'), says=[
            r'^  Limit +50 bytes, in .*/limits:1 \(\*\)$'])

    def test_a_raised_limit(self):
        """The header still has the old one, since no delivery rewrites it."""
        box = self.make(sizes=[1500])
        write_maildirsize(box, '1000S', '1500 1', age_seconds=60)
        self.explain('joe@example.org', '--default-quota=2000', says=[
            r'^  Limit +1\.9K, from --default-quota \| not used: 1000 bytes, from the first line '
            r'of maildirsize$'])

    def test_a_header_that_says_no_limit(self):
        write_maildirsize(self.make(sizes=[1500]), '0S,0C', '1500 1', age_seconds=60)
        self.explain('joe@example.org', '--default-quota=1000', says=[
            r'^  Limit +no limit, from the first line of maildirsize \| not used: 1000 bytes, from '
            r'--default-quota$', r'^  Verdict +ok, because there is no limit$'])

    def test_a_limit_that_is_too_old(self):
        write_maildirsize(self.make(sizes=[1500]), '1000S', '1500 1',
                          age_seconds=DAY_SECONDS + 3600)
        self.explain('joe@example.org', says=[
            r'^  Limit +1000 bytes, from the first line of maildirsize; not trusted now, because '
            r'that file is old$',
            r'^  Verdict +ok, although the mailbox holds 1\.4K of 1000 bytes: .* the delivery '
            r'agent decides$'])

    def test_the_request_has_a_limit(self):
        self.make(sizes=[900])
        self.explain('joe@example.org', '--default-quota=1G', words=['--quota=1000', '--size=200'],
                     status=DOES_NOT_FIT, says=[
                         r'^  Limit +1000 bytes, from the request \| not used: 1G, from '
                         r'--default-quota$',
                         r'over, because a message of 200 bytes does not fit: the mailbox holds '
                         r'900 bytes of 1000 bytes$'])
        self.explain('joe@example.org', '--grace=50', words=['--quota=1000', '--size=200'],
                     status=DOES_NOT_FIT, says=[r', even with a grace of 50 bytes$'])
        self.explain('joe@example.org', '--grace=10%', words=['--quota=1000', '--size=200'],
                     says=[r'^  Verdict +warn, because the mailbox holds 900 bytes \(90%\)',
                           r'^  Exim replies 250 Accepted, and logs why$'])

    def test_a_message_that_can_never_fit(self):
        self.make(sizes=[100])
        self.explain('joe@example.org', '--default-quota=1K', words=['--size=2K'],
                     status=DOES_NOT_FIT, says=[
                         r'^  Usage +0 bytes in 0 messages: not determined',
                         r'^  Count +100 bytes in 1 message, counted for comparison',
                         r'toolarge, because a message of 2K alone is larger than the limit of 1K$',
                         r'^  Exim replies 552 5\.2\.2 Message is larger than the mailbox may'])

    def test_too_many_messages(self):
        self.make(sizes=[1] * 5)
        self.explain('joe@example.org', '--default-quota=1G,5C', status=DOES_NOT_FIT, says=[
            r'^  Verdict +over, because the mailbox holds 5 of at most 5 messages$'])

    def test_sizes_that_names_do_not_tell(self):
        box = self.make(sizes=[100])
        (box / 'new' / 'untagged').write_bytes(b'x' * 50)
        self.explain('joe@example.org', says=[
            r'^  Count +150 bytes in 2 messages \| 1 file was examined: there is no size in its '
            r'name$'])

    def test_maildirsize_of_no_use(self):
        box = self.make(sizes=[100])
        for text, said in (('1000S\n', 'has a first line and no other'),
                           ('garbage\n1 1\n', 'cannot be parsed'),
                           ('1000S\n-5 1\n', 'a sum in maildirsize is negative or too large'),
                           ('1000S\n' + '1 1\n' * 2000, 'has 5120 bytes or more')):
            (box / 'maildirsize').write_text(text)
            with self.subTest(said=said):
                self.explain('joe@example.org', says=[rf'^  maildirsize +.*{said}$',
                                                      rf'^  Usage .*{said}\)$'])

    def test_nothing_is_there(self):
        (self.root / 'example.org' / 'empty').mkdir(parents=True)
        self.explain('nobody@example.org', says=[
            r'^  Tried +.*/nobody \(.*\): nothing is there$',
            r'^  Verdict +ok, because nothing is there: the address may be an alias$'])
        self.explain('empty@example.org', says=[
            r'^  Tried +.*/empty \(.*\): nothing is there$'])
        self.explain(self.root / 'example.org/nobody', says=[
            r'nothing is there: the first delivery creates the mailbox$'])
        # A full quota of an address without a mailbox refuses nobody.
        self.explain('nobody@example.org', '--default-quota=5', words=['--size=50'],
                     status=DOES_NOT_FIT, says=[r'^  Exim replies 250 Accepted$'])

    def test_templates_that_lead_nowhere(self):
        self.explain('joe@example.org', '--mailbox=/nowhere/%n', status=ERROR, says=[
            r'^  Tried +.*/joe \(.*\): nothing is there \| /nowhere/joe \(/nowhere/%n\): leads '
            r'outside the roots$',
            r'^  Note +--mailbox=/nowhere/%n: '])
        self.explain('joe@example.org', f'--mailbox={self.root}/typo/%d/%n', says=[
            r'^  Note +--mailbox=.*/typo/%d/%n: '])

    def test_no_template(self):
        ended = self.ctl('--direct', 'explain', 'joe@example.org')
        self.assertEqual(ended.status, ERROR)
        self.assertRegex(ended.stdout, r'Verdict +none \(no-template\): an address requires')

    def test_an_mbox(self):
        (self.root / 'example.org').mkdir()
        (self.root / 'example.org' / 'joe').write_bytes(b'x' * 1100)
        self.explain('joe@example.org', '--default-quota=1K', status=DOES_NOT_FIT, says=[
            r'^  Tried +.*/joe \(.*\): an mbox$', r'^  Usage .*: the size of the file$'])

    @needs_root
    def test_what_may_not_be_read(self):
        box = self.make(sizes=[100])
        (box / 'cur').chmod(0)
        for folder in (self.root, self.root / 'example.org', box):
            folder.chmod(0o755)
        program = self.folder / 'exim-quotactl'
        shutil.copy(os.environ['EXIM_QUOTACTL'], program)
        ended = self.ctl('--direct', f'--root={self.root}', 'explain', box, program=program,
                         user=65534)
        self.assertEqual(ended.status, ERROR, ended)
        self.assertRegex(ended.stdout, r'Verdict +none \(permission-denied\): Permission denied')
        self.assertIn(f'{box}: Permission denied\n', ended.stdout)
        self.assertNotIn('a Maildir', ended.stdout, 'nobody has seen that it is one')

    def test_the_acl_has_the_same_replies(self):
        acl = (PROJECT / 'src' / 'exim' / 'exim-quotad.acl').read_text('utf-8')
        self.assertEqual(set(re.findall(r'message +=? *(\d{3} \d\.\d\.\d) ', acl)),
                         {'452 4.2.2', '552 5.2.2'})


class BoundsTest(ExplainTestCase):
    """Mailboxes that are large or hostile."""

    def test_many_folders(self):
        box = self.make(sizes=[5])
        for number in range(500):
            make_maildir(box / f'.folder-{number}', [number + 1] if number % 10 == 0 else [])
        said = self.explain('joe@example.org', says=[
            r'^  Folders +\.folder-490 +491 bytes .*and 451 more, with 1 byte in 1 message$'])
        self.assertLess(len(said.splitlines()), 80)

    def test_long_names(self):
        """What does not fit is left out, and the last line comes all the same."""
        box = self.make()
        for number in range(60):
            make_maildir(box / '/'.join([f'{number}' + '\x01' * 200] * 5), [number])
        options = ('--layout=fs',)
        self.explain('joe@example.org', *options, says=[r'lines are not shown, because the reply'])
        daemon = self.start(*self.options(*options))
        reply = daemon.ask('explain joe@example.org')
        self.assertLessEqual(len(reply), STEPS_BYTES_MAX)
        self.assertEqual(parse_pairs(reply.splitlines(keepends=True)[-1])['bytes'], '1770')

    def test_hostile_names(self):
        box = self.make()
        make_maildir(box / '.\x1b[31m\u202eevil', [10])
        make_maildir(box / '.a\nstep=smtp', [20])
        said = self.explain('joe@example.org')
        self.assertIn(r'.\x1b[31m\u202eevil', said)
        self.assertIn(r'.a\x0astep=smtp', said)
        for each in self.objects('--direct', f'--root={self.root}', 'explain', box)[0]['steps']:
            self.assertIn(each['step'], ('target', 'tried', 'mailbox', 'maildirsize', 'limit',
                                         'usage', 'count', 'cache', 'smtp', 'folder'))
        ended = self.ctl('--direct', 'explain', '/\x1b\u202e')
        self.assertEqual(ended.stdout.splitlines()[0], r'/\x1b\u202e')

    def test_a_count_that_takes_long(self):
        path = self.root / 'slow'
        beside = self.root / 'beside'
        beside.mkdir()
        messages, _ = make_slow_maildir(path, beside, 2000)
        write_maildirsize(path, '1000000S', '7 7')
        ended = self.direct(path)
        self.assertRegex(ended.stdout, r'Count +given up, because it would take too long; '
                                       r'--recount counts anyway')
        self.assertEqual(ended.status, FITS)
        ended = self.direct(path, words=['--recount'])
        self.assertRegex(ended.stdout, rf'Count .* in {messages} messages, counted for comparison')


class ServiceTest(ExplainTestCase):
    """What is the service's alone."""

    def test_its_cache_is_shown_and_not_changed(self):
        box = self.make(sizes=[100, 200])
        for part in ('cur', 'new', ''):
            os.utime(box / part, (1, 1))
        daemon = self.start(*self.options())
        said = self.ctl('explain', 'joe@example.org', address=daemon.address).stdout
        self.assertNotIn('Cache', said)
        stats = daemon.stats()
        self.assertEqual((stats['mailboxes'], stats['scans'], stats['errors']), (0, 0, 0))
        self.assertEqual(daemon.pairs('check joe@example.org')['source'], 'scan')
        said = self.ctl('explain', 'joe@example.org', address=daemon.address).stdout
        self.assertRegex(said, r'Cache +300 bytes in 2 messages; the service began to count them')
        self.assertEqual(daemon.stats()['scans'], 1)

    def test_the_last_line_is_that_of_check(self):
        self.make(sizes=[100, 200])
        daemon = self.start(*self.options('--default-quota=250'))
        for rest in ('joe@example.org', 'size=5 joe@example.org', 'quota=1G joe@example.org',
                     'nobody@example.org', '/etc', 'a b'):
            with self.subTest(rest=rest):
                lines = daemon.ask(f'explain {rest}').splitlines(keepends=True)
                check = parse_pairs(daemon.ask(f'check {rest}'))
                last = parse_pairs(lines[-1])
                if 'source' in last:
                    last['source'] = check['source']  # scan, and then cache
                self.assertEqual(last, check)
                for line in lines[:-1]:
                    self.assertIn('step', parse_pairs(line))

    def test_json(self):
        self.make(sizes=[100, 200])
        daemon = self.start(*self.options('--default-quota=250'))
        [found] = self.objects('explain', 'joe@example.org', address=daemon.address,
                               status=DOES_NOT_FIT)
        self.assertEqual((found['target'], found['status']), ('joe@example.org', 'over'))
        steps = {step['step']: step for step in found['steps']}
        self.assertEqual(steps['limit'], {'step': 'limit', 'from': 'default', 'limit': 250,
                                          'message_limit': 0, 'used': 'yes'})
        self.assertEqual(steps['folder'], {'step': 'folder', 'path': '.', 'bytes': 300,
                                           'messages': 2, 'state': 'counted'})
        self.assertEqual(steps['smtp']['reply'], '452 4.2.2 Mailbox is full')
        self.assertNotIn('direct', found)

    def test_what_differs_without_it(self):
        box = self.make(sizes=[100, 200])
        daemon = self.start(*self.options('--default-quota=250'))
        config = self.folder / 'conf'
        config.write_text(f'root = {self.root}\nmailbox = {self.root}/%d/%n\ndefault-quota = 250\n')

        def ask(*words: str) -> Ended:
            return self.ctl(*words, f'--config={config}', 'explain', 'joe@example.org',
                            address=daemon.address)

        self.assertIn('Direct       the same without the service\n', ask().stdout)
        config.write_text(f'root = {self.root}\nmailbox = {self.root}/%n\ndefault-quota = 1000\n')
        ended = ask()
        self.assertEqual(ended.status, DOES_NOT_FIT)
        self.assertRegex(ended.stdout, 'Difference +the verdict: over for the service, ok read')
        self.assertIn('what is there: maildir for the service, nothing read directly', ended.stdout)
        self.assertIn(f'the mailbox: {box} for the service, {self.root}/joe read directly',
                      ended.stdout)
        self.assertIn('the limit in bytes: 250 for the service, 1000 read directly', ended.stdout)
        [found] = json.loads(ask('--json').stdout)
        self.assertEqual(found['direct']['limit'], 1000)
        # A configuration that cannot be read is no reason not to ask the service.
        config.write_text('nonsense\n')
        ended = ask()
        self.assertEqual(ended.status, DOES_NOT_FIT)
        self.assertNotIn('  Direct ', ended.stdout)
        self.assertIn(f'{config}:1', ended.stderr)

    def test_limits_that_cannot_be_read(self):
        self.make(sizes=[100])
        daemon = self.start(*self.options(f'--limits={self.folder}/none', '--default-quota=5'))
        said = self.ctl('explain', 'joe@example.org', address=daemon.address).stdout
        self.assertRegex(said, r'not used: the file cannot be read, in .*/none\n')
        self.assertRegex(said, r'not used: 5 bytes, from --default-quota\n')

    def test_limits_are_replaced_meanwhile(self):
        self.make(sizes=[100])
        daemon = self.start(*self.options(self.limits('*: 50\n')))
        self.limits('*: 5000\n')
        said = self.ctl('explain', 'joe@example.org', address=daemon.address).stdout
        self.assertRegex(said, r'Limit +50 bytes, in')

    def test_a_client_that_leaves(self):
        self.make(sizes=[100])
        daemon = self.start(*self.options())
        for _ in range(50):
            client = connect(daemon.address)
            client.sendall(b'explain joe@example.org\n')
            client.close()
        wait_for(lambda: b'step=' in daemon.ask('explain joe@example.org'), 'there is room again')

    def test_an_older_service(self):
        address = self.folder / 'old'
        listener = self.listen(address)
        reply = b'status=error reason=bad-request text="the verbs are usage and check"\n'

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        box = self.make(sizes=[100])
        config = self.folder / 'conf'
        config.write_text(f'root = {self.root}\n')
        ended = self.ctl(f'--config={config}', 'explain', box, address=address)
        thread.join()
        self.assertEqual(ended.status, ERROR)
        self.assertRegex(ended.stdout, r'Verdict +none \(bad-request\): the verbs are')
        # An error has no mailbox and no limits, so nothing about them differs.
        differences = ended.stdout.partition('Difference')[2]
        self.assertEqual(re.findall(r'^ +(.*?:|the service.*)', differences, re.MULTILINE), [
            'the verdict:', 'the reason:',
            'the service did not look at the mailbox; --direct shows what is there'])


class ReadmeTest(ExplainTestCase):
    """What README.md shows is what the program prints."""

    def test_full_but_empty(self):
        shown = re.search(r'^    # exim-quotactl explain joe@example\.org\n((?:    [^#].*\n)+)',
                          (PROJECT / 'README.md').read_text('utf-8'), re.MULTILINE)
        box = self.make()
        make_maildir(box / '.Sent', [17780] * 13)
        make_maildir(box / '.Trash', [500000] * 4800)
        write_maildirsize(box, '2147483648S', '2400213360 4812', '17780 1', age_seconds=7500)
        options = self.options(self.limits('joe@example.net: 5G\n*@example.org: 2G\n'))
        daemon = self.start(*options)
        config = self.folder / 'conf'
        config.write_text(f'root={self.root}\n' + ''.join(f'{each[2:]}\n' for each in options))
        ended = self.ctl(f'--config={config}', 'explain', 'joe@example.org', address=daemon.address)
        said = ended.stdout.replace(str(self.root), '/var/mail').replace(
            f'{self.folder}/limits', '/etc/exim-quotad/limits')
        self.assertEqual(said, re.sub('^    ', '', shown[1], flags=re.MULTILINE))
        self.assertEqual(ended.status, DOES_NOT_FIT)


@needs_hangfs
class HangingTest(ExplainTestCase):
    """Explanations of mailboxes on a file system that hangs."""

    def setUp(self) -> None:
        super().setUp()
        self.shown = self.root / 'far'
        make_maildir(self.folder / 'source' / 'joe', [7])
        self.shown.mkdir()
        self.make('ann', [100])
        self.hangfs = HangFs(self.folder / 'source', self.shown)
        self.addCleanup(self.hangfs.stop)

    def explain_far(self, daemon: Daemon) -> socket.socket:
        """Asks for an explanation that hangs, and returns when it does."""
        client = self.connect(daemon)
        client.sendall(f'explain {self.shown}/joe\n'.encode())
        self.hangfs.say('await 1')
        return client

    def last(self, reply: bytes) -> dict[str, str]:
        return parse_pairs(reply.splitlines(keepends=True)[-1])

    def test_one_at_a_time(self):
        daemon = self.start(*self.options('--scan-timeout=600000'))
        self.hangfs.say('hang look')
        far = self.explain_far(daemon)
        self.assertEqual(daemon.pairs('check ann@example.org')['status'], 'ok')
        self.assertEqual(daemon.pairs('explain ann@example.org')['reason'], 'overloaded')
        self.hangfs.say('wake')
        self.assertEqual(self.last(read_all(far))['bytes'], '7')
        self.assertIn(b'step=folder', daemon.ask('explain ann@example.org'))

    def test_one_that_is_late_keeps_nobody_waiting(self):
        daemon = self.start(*self.options('--scan-timeout=100'))
        self.hangfs.say('hang look')
        far = self.explain_far(daemon)
        self.assertEqual(parse_pairs(read_all(far))['reason'], 'timeout')
        # Its device has its share of the threads.
        self.assertIn(self.last(daemon.ask(f'explain {self.shown}/joe'))['reason'],
                      ('overloaded', 'timeout'))
        wait_for(lambda: b'step=folder' in daemon.ask('explain ann@example.org'),
                 'another mailbox is explained')
        self.hangfs.say('wake')
        wait_for(lambda: b'step=folder' in daemon.ask(f'explain {self.shown}/joe'),
                 'and this one, once it is there again')


if __name__ == '__main__':
    unittest.main()
