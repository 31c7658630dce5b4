# SPDX-License-Identifier: GPL-2.0-or-later
"""What exim-quotactl makes of calls that fail: each call, with each errno that makes sense.

It says what it says when nothing fails, or it says what is wrong and ends with the status for
errors. It never crashes, and a script that heeds the status never gets half of an answer.
"""

import re
import unittest
from typing import Sequence

from daemon import Ended, is_long, is_sanitized, sample
from faults import Table, make_faults, needs_faults
from mailboxes import make_maildir, write_maildirsize
from test_ctl import ERROR, CtlTestCase

ADDRESS = 'joe@example.org'

no_threads = unittest.skipIf(is_sanitized(),
                             'threads are started: the sanitizer itself needs memory for them')


# What an explanation says of what it lacks, beside its answer.
LACKS = re.compile(r'^  Count +failed: |^  Folders +cannot be read: '
                   r'|^ +(Folders +)?and 1 more', re.MULTILINE)


def comparable(words: Sequence[str], ended: Ended) -> Ended:
    """Returns the same without what may differ: the counters, and where an answer is from."""
    if 'stats' in words:
        return ended._replace(stdout=re.sub(r'(?m) +[^ ]*$', '', ended.stdout))
    # A maildirsize that cannot be opened, here one that is not there, makes it count as well.
    stdout = re.sub(r'\b(maildirsize|scan|cache)\b', 'SOURCE', ended.stdout)
    stdout = re.sub(r'(?m)written .*? ago|^  Cache .*\n', '', stdout)
    return ended._replace(stdout=re.sub(r'\b(missing|unreadable|trusted)\b', 'RULE', stdout))


@needs_faults
class CtlFaultsTest(CtlTestCase):
    """The program, once for each fault."""

    def setUp(self) -> None:
        super().setUp()
        write_maildirsize(make_maildir(self.root / 'example.org' / 'joe', [100, 200]), '1000S',
                          '300 2')
        make_maildir(self.root / 'example.org' / 'ann', [100, 23])
        (self.root / 'example.org' / 'ann' / 'cur' / 'untagged').write_bytes(b'x' * 1000)
        self.limits = self.folder / 'limits'
        self.limits.write_text('ann@example.org: 1K\n*: 2G,100C\n')
        self.faults = make_faults(self)

    def go_through(self, *words: str) -> None:
        """Runs the program again and again, each time with something else that fails."""
        env = {**self.faults.environment(), 'LC_ALL': 'C'}
        self.faults.record()
        usual = self.ctl(*words, env=env)
        self.assertEqual(usual.stderr, '')
        calls = self.faults.calls()
        self.assertTrue(calls)
        table = Table(f'{" ".join(words)}: {len(calls)} calls')
        for fault in sample(self.faults.faults(calls, is_long(), sparse=not is_long())):
            with self.subTest(fault=fault):
                self.faults.fail(fault)
                ended = self.ctl(*words, env=env)
                if comparable(words, ended) != comparable(words, usual) and not (
                        'explain' in words and LACKS.search(ended.stdout)):
                    self.check_failed(ended)
                table.add(fault, 'as usual' if not ended.stderr else f'status {ended.status}',
                          ended.stderr.replace(str(self.folder), '').strip())
        table.print()

    def check_failed(self, ended: Ended) -> None:
        """Fails unless it says that it did not do all of its work, and why."""
        self.assertEqual(ended.status, ERROR, ended)
        self.assertRegex(ended.stderr, r'\A(exim-quotactl: [^\n]+\n)+\Z')
        self.assertNotIn('Success', ended.stderr)

    def test_asking_the_service(self):
        daemon = self.start(f'--mailbox={self.root}/%d/%n', f'--limits={self.limits}')
        socket = f'--socket={daemon.address}'
        for words in (('check', '--size=5', '--quota=1G', ADDRESS, 'ann@example.org'),
                      ('--json', 'usage', ADDRESS, str(self.root / 'example.org' / 'ann')),
                      ('--raw', 'check', ADDRESS), ('explain', ADDRESS, 'ann@example.org'),
                      ('stats',), ('stats', '--prometheus'), ('ping',)):
            with self.subTest(words=words):
                self.go_through(socket, *words)

    def test_looking_for_itself(self):
        make_maildir(self.root / 'example.org' / 'joe' / '.Trash', [5])
        options = ('--direct', f'--root={self.root}', f'--mailbox={self.root}/none/%n',
                   f'--mailbox={self.root}/%d/%n', f'--limits={self.limits}',
                   '--exclude-folder=Trash', '--exclude-folder=Spam', '--grace=10%',
                   '--recipient-delimiter=+')
        for words in (('check', ADDRESS, 'ann@example.org'), ('explain', ADDRESS),
                      ('--json', 'usage', str(self.root / 'example.org' / 'ann'))):
            with self.subTest(words=words):
                self.go_through(*options, *words)

    @no_threads
    def test_a_report(self):
        (self.root / 'none').mkdir()
        options = (f'--root={self.root}', f'--mailbox={self.root}/none/%d/%n',
                   f'--mailbox={self.root}/%d/%n', f'--limits={self.limits}')
        for words in (('--csv', '--sort=bytes', 'example.org'), ('--top=1', '--json'),
                      ('--min-percent=1', str(self.root))):
            with self.subTest(words=words):
                self.go_through(*options, 'report', *words)

    @no_threads
    def test_a_report_without_templates(self):
        (self.root / 'mbox').write_text('From joe\n')
        self.go_through(f'--root={self.root}', '--maildirsize=ignore', 'report')

    def test_what_needs_nobody(self):
        for word in ('--help', '--version'):
            with self.subTest(word=word):
                self.go_through(word)
