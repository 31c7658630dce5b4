# SPDX-License-Identifier: GPL-2.0-or-later
"""What real mail systems leave on disk, and what is replied then: cases from public reports, whose
numbers the tests bear. Where it says nothing else, a mailbox holds 60036 of 65536 bytes, in three
messages, so that one of 20000 bytes more is one too many.

Files lie as the programs leave them, which do not run here: the system tests have them run.
"""

import os
import subprocess
import time
from pathlib import Path

from daemon import FULL, Daemon, DaemonTestCase, needs_root, wait_for
from mailboxes import make_maildir, write_maildirsize

SIZE = 20012
LIMIT = 65536
DAY_SECONDS = 24 * 60 * 60

# What Dovecot keeps in a mailbox beside messages.
DOVECOT_FILES = ('dovecot-uidlist', 'dovecot-uidvalidity', 'dovecot-uidvalidity.6741f3a2',
                 'dovecot.index.log', 'dovecot.index.cache', 'dovecot.list.index.log',
                 'dovecot.mailbox.log', 'subscriptions')

OTHER_FORMATS = {
    'mdbox': ('mailboxes/INBOX/dbox-Mails/dovecot.index.log', 'mailboxes/Sent/dbox-Mails/x',
              'storage/m.1', 'storage/dovecot.map.index.log'),
    'sdbox': ('mailboxes/INBOX/dbox-Mails/u.1', 'mailboxes/INBOX/dbox-Mails/dovecot.index.log',
              'dovecot.list.index.log'),
    'MH': ('1', '2', '.mh_sequences', 'drafts/1'),
}


def make_mailbox(path: Path, sizes=(SIZE, SIZE, SIZE)) -> Path:
    """Makes a mailbox that Dovecot has opened."""
    make_maildir(path, sizes)
    for name in DOVECOT_FILES:
        (path / name).write_bytes(b'x' * 100)
    return path


def make_files(path: Path, *names: str) -> Path:
    """Makes a directory with files that hold something."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b'x' * SIZE)
    return path


def set_back(path: Path, seconds: int) -> None:
    """Sets the time of the last modification back."""
    seen = path.stat().st_mtime - seconds
    os.utime(path, (seen, seen))


class FieldTestCase(DaemonTestCase):
    """A test that compares replies."""

    def assert_reply(self, daemon: Daemon, request, **expected) -> None:
        """Fails unless these pairs are in the reply, among others."""
        reply = daemon.pairs(request)
        wanted = {key: str(value) for key, value in expected.items()}
        self.assertEqual({key: reply.get(key) for key in wanted}, wanted, f'{request}: {reply}')

    def assert_full(self, daemon: Daemon, target, size: int = 3 * SIZE, **expected) -> None:
        """Fails unless the mailbox holds so much, and has no room for a message of 20000 bytes."""
        self.assert_reply(daemon, f'check size=20000 {target}', status='over', bytes=size,
                          **expected)

    def assert_room(self, daemon: Daemon, target, size: int, **expected) -> None:
        """Fails unless the mailbox holds so much, and has room for a message of 20000 bytes."""
        self.assert_reply(daemon, f'check size=20000 {target}', status='ok', bytes=size, **expected)

    def entries_with(self, daemon: Daemon, *texts: str) -> list[str]:
        """Returns the entries of the log that hold all of these texts."""
        return [entry.text for entry in daemon.entries()
                if all(text in entry.text for text in texts)]

    def write_limits(self, *lines: str) -> str:
        """Writes a limits file, and returns the option that names it."""
        folder = self.folder / 'limits.d'
        folder.mkdir(exist_ok=True)
        (folder / 'limits').write_text(''.join(f'{line}\n' for line in lines), 'utf-8')
        return f'--limits={folder / "limits"}'


class WhichMailboxTest(FieldTestCase):
    """What a path or an address leads to."""

    def test_row_1_maildirfolder_in_the_mailbox_itself(self):
        daemon = self.start(f'--default-quota={LIMIT}')
        for name in ('1/joe', '2/joe/Maildir', '3/joe/.maildir'):
            mailbox = make_mailbox(self.root / name)
            folder = make_mailbox(mailbox / '.Sent', ())
            for each in (mailbox, folder):
                (each / 'maildirfolder').touch(0o600)
            for path in (mailbox, folder):
                with self.subTest(path=path):
                    self.assertEqual(daemon.number(path), 3 * SIZE)
                    self.assert_full(daemon, path, mailbox=mailbox)

    def test_row_2_folders_without_dots(self):
        mailbox = make_mailbox(self.root / 'joe', [10012])
        archive = make_maildir(mailbox / 'Archive', [SIZE, SIZE])
        make_maildir(mailbox / 'Lists', ())
        make_maildir(mailbox / 'Lists' / 'exim', [12012])
        write_maildirsize(mailbox, f'{LIMIT}S', '62048 4', age_seconds=3600)
        dots, tree = self.start(), self.start('--layout=fs')
        for daemon in (dots, tree):
            self.assert_reply(daemon, f'check {mailbox}', status='warn', bytes=62048,
                              rule='trusted')
        self.assert_full(dots, mailbox, 62048, source='maildirsize', rule='layout')
        self.assert_full(tree, mailbox, 62048, source='scan', rule='over')
        self.assertEqual(len(self.entries_with(dots, str(mailbox), 'LAYOUT=fs')), 1)
        self.assertEqual(self.entries_with(tree, 'LAYOUT=fs'), [])
        for message in (archive / 'cur').iterdir():
            message.unlink()
        for daemon in (dots, tree):
            self.assert_room(daemon, mailbox, 22024, rule='over')

    def test_row_2_inbox_in_a_place_of_its_own(self):
        mailbox = self.root / 'joe'
        make_mailbox(mailbox / 'INBOX', [SIZE])
        make_maildir(mailbox / '.Sent', [SIZE, SIZE])
        write_maildirsize(mailbox, f'{LIMIT}S', '62048 4', age_seconds=3600)
        daemon = self.start()
        self.assert_reply(daemon, f'check size=20000 {mailbox}', status='over')

    def test_row_3_what_is_no_maildir(self):
        daemon = self.start('--on-error=defer')
        places = {kind: make_files(self.root / kind, *names)
                  for kind, names in OTHER_FORMATS.items()}
        for name in ('Maildir', 'mail', '.maildir'):
            places[name] = make_files(self.root / f'above-{name}', '.bashrc', '.profile', 'notes')
            make_mailbox(places[name] / name)
        for kind, path in places.items():
            with self.subTest(kind=kind):
                self.assertEqual(daemon.number(path), FULL)
                self.assert_reply(daemon, f'check {path}', status='error', reason='not-a-mailbox')
                [warning] = daemon.warnings_about(str(path))
                seen = [name for name in os.listdir(path) if name in warning]
                self.assertGreaterEqual(len(seen), min(3, len(os.listdir(path))), warning)
                if kind not in OTHER_FORMATS:
                    self.assertIn(kind, seen)

    def test_row_3_what_will_be_a_mailbox(self):
        (self.root / 'empty').mkdir()
        (self.root / 'dangling').symlink_to('nowhere')
        daemon = self.start('--on-error=defer')
        for name in ('empty', 'missing'):
            self.assert_reply(daemon, f'check {self.root / name}', status='ok', source='none')
        self.assertEqual(daemon.warnings(), [])
        # Nobody can deliver there.
        self.assert_reply(daemon, f'check {self.root / "dangling"}', status='error')
        self.assertEqual(len(daemon.warnings_about(str(self.root / 'dangling'))), 1)

    def test_row_5_long_extensions(self):
        make_mailbox(self.root / 'example.org' / 'joe')
        daemon = self.start(f'--mailbox={self.root}/%d/%n', '--recipient-delimiter=+',
                            f'--default-quota={LIMIT}')
        for length in (70, 251, 252, 1000):
            with self.subTest(length=length):
                self.assert_full(daemon, f'joe+{"e" * length}@example.org')
        self.assert_reply(daemon, f'check {"e" * 255}@example.org', status='ok', source='none')
        self.assert_reply(daemon, f'check {"e" * 256}@example.org', reason='bad-address')

    def test_row_6_whole_name_before_the_extension(self):
        make_mailbox(self.root / 'example.org' / 'jean')
        make_mailbox(self.root / 'example.org' / 'jean-luc', ())
        limits = self.write_limits('jean@example.org: 65536', 'jean-luc@example.org: 131072',
                                   'jean-max@example.org: 262144', '*: 1')
        daemon = self.start(f'--mailbox={self.root}/%d/%n', '--recipient-delimiter=+-', limits)
        self.assert_full(daemon, 'jean@example.org', limit=65536)
        self.assert_full(daemon, 'jean-paul@example.org', limit=65536)
        self.assert_full(daemon, 'jean+luc@example.org', limit=65536)
        self.assert_room(daemon, 'jean-luc@example.org', 0, limit=131072)
        # The mailbox is jean's, the limit is one that somebody wrote for that very address.
        self.assert_room(daemon, 'jean-max@example.org', 3 * SIZE, limit=262144)

    def test_row_7_absolute_links_to_another_root(self):
        disk = self.folder / 'disk2'
        make_mailbox(disk / 'example.org' / 'joe')
        ann = make_mailbox(self.root / 'example.com' / 'ann', [SIZE])
        outside = make_mailbox(self.folder / 'outside')
        (self.root / 'example.org').symlink_to(disk / 'example.org')
        (self.root / 'example.net').symlink_to(outside)
        (ann / '.Archive').symlink_to(disk / 'example.org' / 'joe')
        (ann / '.Outside').symlink_to(outside)
        daemon = self.start(f'--root={disk}', f'--mailbox={self.root}/%d/%n',
                            f'--default-quota={LIMIT}')
        self.assert_full(daemon, 'joe@example.org')
        self.assert_full(daemon, self.root / 'example.org' / 'joe')
        self.assert_reply(daemon, f'check {self.root / "example.net"}', status='error',
                          reason='outside-root')
        # So for a folder; and what is left out of a count is reported, once.
        self.assert_full(daemon, 'ann@example.com', 4 * SIZE)
        self.assert_full(daemon, 'ann@example.com', 4 * SIZE)
        self.assertEqual(len(self.entries_with(daemon, str(ann), '.Outside')), 1)

    @needs_root
    def test_row_18_root_that_is_mounted_later(self):
        daemon = self.start(f'--default-quota={LIMIT}')
        self.assert_reply(daemon, f'check {self.root / "joe"}', status='ok', source='none')
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', self.root], check=True)
        unmount = ['umount', self.root]
        try:
            make_mailbox(self.root / 'joe')
            wait_for(lambda: daemon.usage(self.root / 'joe')['bytes'] == str(3 * SIZE),
                     'what was mounted is seen')
            self.assert_full(daemon, self.root / 'joe')
            # Nothing is busy with it while nobody asks.
            wait_for(lambda: subprocess.run(unmount, check=False, stderr=subprocess.DEVNULL
                                            ).returncode == 0, 'it can be unmounted')
        except BaseException:
            subprocess.run([*unmount, '-l'], check=True)
            raise
        self.assert_reply(daemon, f'check {self.root / "joe"}', status='ok', source='none')

    def test_row_20_template_outside_all_roots(self):
        daemon = self.start(f'--mailbox={self.folder}/mial/%d/%n')
        wait_for(lambda: len([text for text in daemon.warnings()
                              if f'{self.folder}/mial/%d/%n' in text]) == 1, 'it is reported')

    def test_row_20_templates_that_lead_to_nothing(self):
        make_mailbox(self.root / 'Example.org' / 'joe')
        daemon = self.start(f'--mailbox={self.root}/%d/%n')
        for _ in range(1200):
            self.assertIn(b' source=none ', daemon.ask('check joe@example.org'))
        self.assertEqual(len(self.entries_with(daemon, f'{self.root}/example.org/joe')), 1)

    def test_row_20_templates_that_lead_somewhere(self):
        make_mailbox(self.root / 'example.org' / 'joe')
        daemon = self.start(f'--mailbox={self.root}/%d/%n')
        for name in ('joe', 'alias', 'joe') * 400:
            daemon.ask(f'check {name}@example.org')
        self.assertEqual(self.entries_with(daemon, f'{self.root}/example.org/alias'), [])

    def test_row_21_paths_of_addresses(self):
        for name in ('ann', 'bob', 'eve'):
            make_mailbox(self.root / 'example.org' / name)
        sent = make_mailbox(self.root / 'example.org' / 'ann' / '.Sent', ())
        (sent / 'maildirfolder').touch()
        limits = self.write_limits('ann@example.org: 65536', 'bob@example.org: 131072',
                                   '*@example.org: 60100', '*: 1')
        daemon = self.start(f'--mailbox={self.root}/%d/%n', limits)
        for name, limit, status in (('ann', 65536, 'over'), ('bob', 131072, 'ok'),
                                    ('eve', 60100, 'over')):
            for target in (f'{name}@example.org', self.root / 'example.org' / name):
                with self.subTest(target=target):
                    self.assert_reply(daemon, f'check size=20000 {target}', status=status,
                                      limit=limit, limit_from='file')
        self.assert_full(daemon, sent, limit=65536)


class WhoKeepsTheQuotaTest(FieldTestCase):
    """What counts."""

    def test_row_4_maildirsize_that_nobody_keeps(self):
        mailbox = make_mailbox(self.root / 'joe')
        write_maildirsize(mailbox, f'{LIMIT}S', '20012 1', age_seconds=3 * DAY_SECONDS)
        used = self.start(f'--default-quota={LIMIT}')
        ignored = self.start(f'--default-quota={LIMIT}', '--maildirsize=ignore')
        for _ in range(2):
            self.assert_room(used, mailbox, 20012, source='maildirsize', rule='trusted')
            self.assert_full(ignored, mailbox, rule='ignored')
        self.assertEqual(len(self.entries_with(used, str(mailbox), 'maildirsize')), 1)
        self.assertEqual(self.entries_with(ignored, 'maildirsize'), [])

    def test_row_4_first_line_alone(self):
        mailbox = make_mailbox(self.root / 'joe')
        write_maildirsize(mailbox, f'{LIMIT}S')
        self.assert_full(self.start(), mailbox, source='scan', rule='empty', limit=LIMIT,
                         limit_from='header')

    def test_row_8_everything_in_the_directory(self):
        mailbox = make_mailbox(self.root / 'joe', ())
        for number in range(2):
            (mailbox / 'cur' / f'{number}.mx,S=20000:2,S').write_bytes(bytes(20000))
        first = mailbox / 'cur' / '0.mx,S=20000:2,S'
        (mailbox / '.Sent' / 'cur').mkdir(parents=True)
        os.link(first, mailbox / '.Sent' / 'cur' / '2.mx,S=20000:2,S')
        (mailbox / 'tmp' / '3.mx').write_bytes(bytes(5000))
        (mailbox / 'dovecot.index.cache').write_bytes(bytes(10000))
        everything = self.start('--count=everything', f'--default-quota={LIMIT}')
        messages = self.start(f'--default-quota={LIMIT}')
        others = 100 * (len(DOVECOT_FILES) - 1)
        # A message by two names is two halves to Exim, and every name an entry.
        size = 40000 + 5000 + 10000 + others
        entries = len(('cur', 'new', 'tmp', '.Sent', '.Sent/cur')) + len(DOVECOT_FILES) + 2 + 1 + 1
        write_maildirsize(mailbox, '1S', '1 1')
        size, entries = size + (mailbox / 'maildirsize').stat().st_size, entries + 1
        self.assert_full(everything, mailbox, size, messages=entries, rule='everything',
                         limit=LIMIT)
        (mailbox / 'maildirsize').unlink()
        self.assert_reply(messages, f'check {mailbox}', bytes=60000, messages=3, rule='missing')

    def test_row_8_directories_that_are_no_maildirs(self):
        mailbox = make_files(self.root / 'mailstore', 'q1.env', 'q1.msg')
        daemon = self.start('--count=everything')
        self.assert_reply(daemon, f'check {mailbox}', status='ok', bytes=2 * SIZE, messages=2)

    def test_row_10_excluded_folder_alone(self):
        mailbox = make_mailbox(self.root / 'joe', [13024])
        make_maildir(mailbox / '.Trash', [SIZE])
        make_maildir(mailbox / '.Trash.old', [5012])
        for size, options in ((18036, ['--exclude-folder=Trash']),
                              (13024 + SIZE, ['--exclude-folder=Trash.*']),
                              (13024, ['--exclude-folder=Trash', '--exclude-folder=Trash.*'])):
            with self.subTest(options=options):
                self.assert_reply(self.start(*options), f'check {mailbox}', bytes=size)

    def test_row_17_folder_name_with_a_blank(self):
        mailbox = make_mailbox(self.root / 'joe', [SIZE])
        make_maildir(mailbox / '.Deleted Items', [SIZE])
        make_maildir(mailbox / '.Deleted Items.old', [SIZE])
        options = '--exclude-folder=Deleted?Items --exclude-folder=Deleted?Items.*'
        # systemd splits OPTIONS where there are blanks.
        for given in (options.split(), options.replace('?', ' ').split(' --'),
                      ['--exclude-folder=Deleted*']):
            given = [f'--{option.removeprefix("--")}' for option in given]
            with self.subTest(given=given):
                self.assert_reply(self.start(*given), f'check {mailbox}', bytes=SIZE)


class LimitTest(FieldTestCase):
    """How much a mailbox may hold, and whether that and the usage are sure."""

    def test_row_11_lines_of_the_limits_file_that_are_wrong(self):
        for name in ('ann', 'bob', 'eve', 'joe'):
            make_mailbox(self.root / 'example.org' / name)
        limits = self.write_limits('\ufeffbob@example.org: unlimited', 'ann@example.org: 0MM',
                                   'joe@@: 5', '*@example.org: 65536',
                                   'joe@example.org: NONE')
        daemon = self.start(f'--mailbox={self.root}/%d/%n', limits, '--default-quota=100000')
        self.assert_full(daemon, 'eve@example.org', limit=65536, limit_from='file')
        for name in ('bob', 'joe'):
            self.assert_room(daemon, f'{name}@example.org', 3 * SIZE, limit=0)
        # No limit of others stands in for one that cannot be read.
        self.assert_room(daemon, 'ann@example.org', 3 * SIZE, limit=100000, limit_from='default')
        for line in (2, 3):
            self.assertEqual(len(self.entries_with(daemon, f'limits:{line}: ')), 1)

    def test_row_11_many_lines_that_are_wrong(self):
        make_mailbox(self.root / 'example.org' / 'joe')
        lines = [f'u{number}@example.org: {"0MM" if number % 100 == 0 else "1G"}'
                 for number in range(100_000)]
        limits = self.write_limits(*lines, 'joe@example.org: 65536')
        daemon = self.start(f'--mailbox={self.root}/%d/%n', limits)
        self.assert_full(daemon, 'joe@example.org', limit=65536)
        # So few in full, and one that says how many more there are.
        self.assertEqual(len(self.entries_with(daemon, 'limits:', 'is not a limit')), 19)
        self.assertEqual(len(self.entries_with(daemon, 'limits: and 981 more')), 1)

    def test_row_13_quota_that_was_raised(self):
        mailbox = make_mailbox(self.root / 'joe')
        write_maildirsize(mailbox, f'{LIMIT}S', '40024 2', '20012 1')
        self.assert_full(self.start(), mailbox, limit=LIMIT, limit_from='header', rule='over')
        raised = self.start('--default-quota=131072')
        self.assert_room(raised, mailbox, 3 * SIZE, limit=131072, limit_from='default')
        lowered = self.start('--default-quota=100')
        self.assert_full(lowered, mailbox, limit=LIMIT, limit_from='header')

    def test_row_13_limit_that_only_an_old_maildirsize_says(self):
        mailbox = make_mailbox(self.root / 'joe')
        daemon = self.start()
        file = write_maildirsize(mailbox, f'{LIMIT}S', '40024 2', '20012 1',
                                 age_seconds=DAY_SECONDS - 600)
        self.assert_full(daemon, mailbox, limit=LIMIT, limit_from='header', rule='over')
        set_back(file, 1200)
        self.assert_room(daemon, mailbox, 3 * SIZE, limit=LIMIT, limit_from='header',
                         rule='stale-limit')
        self.assert_reply(daemon, f'check size=1000000 {mailbox}', status='ok', rule='stale-limit')
        # One that somebody else says as well is none of these.
        self.assert_full(self.start(f'--default-quota={LIMIT}'), mailbox, limit_from='default')

    def test_row_14_no_limit(self):
        mailbox = make_mailbox(self.root / 'joe')
        write_maildirsize(mailbox, '0S,0C', '60036 3')
        daemon = self.start('--default-quota=100,1C')
        self.assert_room(daemon, mailbox, 3 * SIZE, limit=0, message_limit=0, limit_from='header')
        write_maildirsize(mailbox, '0S', '60036 3')
        self.assert_full(daemon, mailbox, limit=0, message_limit=1, limit_from='default')

    def test_row_15_times_that_were_set_back(self):
        mailbox = make_mailbox(self.root / 'joe')
        time.sleep(0.02)  # or the times may be the same
        write_maildirsize(mailbox, f'{LIMIT}S', '60036 3')
        daemon = self.start()
        self.assert_full(daemon, mailbox, source='maildirsize', rule='trusted')
        for message in sorted((mailbox / 'cur').iterdir())[1:]:
            message.unlink()
        for name in ('cur', 'new'):
            set_back(mailbox / name, 3600)
        self.assert_room(daemon, mailbox, SIZE, source='scan', rule='over')
