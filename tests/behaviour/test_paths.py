# SPDX-License-Identifier: GPL-2.0-or-later
"""Which mailbox a path means, what is none, and that no path leads out of the roots."""

import os
import re
import socket
import stat
from pathlib import Path
from typing import Union

import without_calls
from daemon import FULL, Daemon, DaemonTestCase, needs_root
from mailboxes import make_maildir, write_maildirsize

OUTSIDE = 'outside-root'
NOT_A_MAILBOX = 'not-a-mailbox'
DENIED = 'permission-denied'
TOO_LONG = 'too-long'


def plain_path(path: Union[str, Path]) -> str:
    """Returns the path as the log tells it: without the slashes and dots that mean nothing."""
    return '/' + '/'.join(part for part in str(path).split('/') if part not in ('', '.'))


class PathTest(DaemonTestCase):
    """Mailboxes below a root, and what lies beside it."""

    def setUp(self) -> None:
        super().setUp()
        self.joe = make_maildir(self.root / 'joe', [100, 23])
        (self.root / 'mbox').write_bytes(bytes(4567))
        self.outside = make_maildir(self.folder / 'outside', [999])

    def assert_size(self, daemon: Daemon, path, size: int) -> None:
        """Fails unless the mailbox is answered, in both forms, without a word in the log."""
        before = daemon.warnings()
        self.assertEqual(daemon.number(path), size)
        self.assertEqual(daemon.usage(path)['bytes'], str(size))
        self.assertEqual(daemon.warnings(), before)

    def assert_refused(self, daemon: Daemon, path, reason: str) -> None:
        """Fails unless the path is an error, in both forms, of which the log tells once."""
        self.assertEqual(daemon.number(path), FULL)
        reply = daemon.usage(path)
        self.assertEqual((reply['status'], reply['reason']), ('error', reason))
        self.assertEqual(len(daemon.warnings_about(plain_path(path))), 1)


class OneRootTest(PathTest):
    """A daemon with one root."""

    def setUp(self) -> None:
        super().setUp()
        self.daemon = self.start('--on-error=defer')

    def test_maildir_and_mbox(self):
        self.assertEqual(self.daemon.usage(self.joe)['source'], 'scan')
        self.assert_size(self.daemon, self.joe, 123)
        write_maildirsize(self.joe, '1000S', '77 1')
        self.assert_size(self.daemon, self.joe, 77)
        self.assertEqual(self.daemon.usage(self.joe)['source'], 'maildirsize')
        self.assert_size(self.daemon, self.root / 'mbox', 4567)
        self.assertEqual(self.daemon.usage(self.root / 'mbox')['source'], 'mbox')

    def test_empty_mbox_and_empty_maildir(self):
        (self.root / 'empty').touch()
        make_maildir(self.root / 'new')
        (self.root / 'bare').mkdir()
        for name in ('empty', 'new', 'bare'):
            with self.subTest(name=name):
                self.assert_size(self.daemon, self.root / name, 0)

    def test_nothing_there_yet(self):
        for name in ('missing', 'missing/deeper/still', 'joe/missing'):
            with self.subTest(name=name):
                self.assert_size(self.daemon, self.root / name, 0)
                self.assertEqual(self.daemon.usage(self.root / name)['source'], 'none')

    def test_names_with_anything_in_them(self):
        for name in (b' ', b'a b', b' a', b'a ', b'a  b', b'"', b'\\', b'a"b\\c', b"'", b'$(id)',
                     b'%s%n', b'a\tb', b'a\rb', b'\x1b[31m', b'\x7f', b'\xff\xfe', 'é'.encode(),
                     b'usage', b'size=1', b'-', b'a=b', b'x' * 255):
            with self.subTest(name=name):
                path = bytes(self.root) + b'/' + name
                with open(path, 'wb') as file:
                    file.write(bytes(321))
                self.assert_size(self.daemon, path, 321)
                self.assertEqual(os.fsencode(self.daemon.usage(path)['mailbox']), path)
                self.assertNotRegex(self.daemon.ask(b'usage ' + path)[:-1], b'[\x00-\x1f\x7f]')

    def test_names_in_the_log(self):
        for name in (b'a\rb', b'\x1b[31m', b'\x7f', b'%s%s%n', b'x' * 255, b'y' * 4000):
            with self.subTest(name=name):
                before = len(self.daemon.entries())
                self.assertEqual(self.daemon.number(bytes(self.outside) + b'/' + name), FULL)
                [entry] = self.daemon.entries()[before:]
                shown = re.sub(rb'[\x00-\x1f\x7f]', lambda c: b'\\x%02x' % c[0][0], name).decode()
                self.assertIn(shown, entry.text)

    def test_slashes_and_dots_that_mean_nothing(self):
        root = str(self.root)
        for path in (f'{root}//joe', f'{root}/joe/', f'{root}/joe///', f'/{root}/joe',
                     f'//{root}///joe//', f'{root}/./joe', f'{root}/joe/.', f'{root}/joe/./',
                     f'{root}/././/./joe/./.', f'/./{root}/joe'):
            with self.subTest(path=path):
                self.assert_size(self.daemon, path, 123)
                self.assertEqual(self.daemon.usage(path)['mailbox'], str(self.joe))

    def test_the_root_itself(self):
        (self.root / 'cur').mkdir()
        (self.root / 'cur' / '1,S=5:2,S').touch()
        self.joe.rename(self.root / '.joe')
        (self.root / '.joe' / 'cur').rename(self.root / '.joe' / 'other')
        for path in (self.root, f'{self.root}/', f'{self.root}/.'):
            with self.subTest(path=path):
                self.assert_size(self.daemon, path, 5)

    def test_beside_the_root(self):
        beside = Path(f'{self.root}box')
        beside.write_bytes(bytes(7))
        for path in (beside, self.outside, self.folder, '/', '/etc/passwd', '//', '/.',
                     self.folder / 'missing', '/missing'):
            with self.subTest(path=path):
                self.assert_refused(self.daemon, path, OUTSIDE)

    def test_dots_that_stay_in_the_root(self):
        for path in ('joe/../mbox', 'joe/cur/../../mbox', 'joe/../joe/../mbox', 'joe/..//mbox'):
            with self.subTest(path=path):
                self.assert_size(self.daemon, f'{self.root}/{path}', 4567)

    def test_dots_that_leave_the_root(self):
        for path in ('..', '../outside', 'joe/../../outside', '../mail/joe', '../../../etc/passwd',
                     'joe/../../mail/mbox', '/../..', './../outside'):
            with self.subTest(path=path):
                self.assert_refused(self.daemon, f'{self.root}/{path}', OUTSIDE)

    def test_links_that_stay_in_the_root(self):
        (self.root / 'deep' / 'deeper').mkdir(parents=True)
        for name, text in (('link', 'joe'), ('deep/link', '../joe'), ('twice', 'link'),
                           ('deep/deeper/link', '../link'), ('dots', 'deep/../joe'),
                           ('slash', 'joe/'), ('hop', 'deep')):
            (self.root / name).symlink_to(text)
        for path in ('link', 'deep/link', 'twice', 'deep/deeper/link', 'dots', 'slash', 'link/',
                     'hop/link', 'hop/deeper/../link'):
            with self.subTest(path=path):
                self.assert_size(self.daemon, self.root / path, 123)
        (self.root / 'mboxlink').symlink_to('mbox')
        self.assert_size(self.daemon, self.root / 'mboxlink', 4567)

    def test_links_that_leave_the_root(self):
        (self.root / 'deep').mkdir()
        for name, text in (('up', '../outside'), ('deep/up', '../../outside'),
                           ('absolute', str(self.outside)), ('etc', '/etc/passwd'),
                           ('slash', '/'), ('dots', '..'), ('back', '../mail/joe'),
                           ('box', f'{self.root}box/joe'), ('around', f'{self.root}/../outside'),
                           ('missing', '../missing'), ('through', 'up'), ('twice', 'through/cur'),
                           ('proc', '/proc/self/root')):
            (self.root / name).symlink_to(text)
        for path in ('up', 'deep/up', 'absolute', 'etc', 'slash', 'dots', 'back', 'box', 'around',
                     'missing', 'through', 'twice', 'proc', 'slash/etc/passwd', 'dots/outside',
                     'dots/mail/joe', 'absolute/cur', f'slash{self.joe}'):
            with self.subTest(path=path):
                self.assert_refused(self.daemon, self.root / path, OUTSIDE)

    def test_absolute_links_that_stay_in_the_root(self):
        for name, text in (('home', self.joe), ('all', self.root), ('twice', self.root / 'home'),
                           ('relative', 'all/joe'), ('around', f'/.{self.root}/joe/../joe//.'),
                           ('file', self.root / 'mbox')):
            (self.root / name).symlink_to(text)
        for path in ('home', 'all/joe', 'twice', 'relative', 'around', 'all/all/home/cur/..'):
            with self.subTest(path=path):
                self.assert_size(self.daemon, self.root / path, 123)
        self.assert_size(self.daemon, self.root / 'file', 4567)
        self.assert_size(self.daemon, self.root / 'all/jim', 0)

    def test_links_to_nothing(self):
        # No mail can be delivered there, which is not the same as a mailbox that is not there yet.
        (self.root / 'dangling').symlink_to('missing')
        (self.root / 'absolute').symlink_to(self.root / 'missing')
        (self.root / 'through').symlink_to('dangling')
        for path in ('dangling', 'absolute', 'through', 'absolute/joe', 'dangling/joe'):
            with self.subTest(path=path):
                self.assert_refused(self.daemon, self.root / path, NOT_A_MAILBOX)

    def test_links_round_and_round(self):
        (self.root / 'round').symlink_to('about')
        (self.root / 'about').symlink_to('round')
        (self.root / 'self').symlink_to(self.root / 'self')
        for path in ('round', 'self'):
            self.assert_refused(self.daemon, self.root / path, OUTSIDE)

    def test_maildirsize_that_is_a_link(self):
        # Whoever owns a mailbox could have us read any file through it: it is counted instead.
        (self.outside / 'maildirsize').write_text('1S\n1 1\n', 'ascii')
        for text in (str(self.outside / 'maildirsize'), '../../outside/maildirsize', 'cur', 'x'):
            (self.joe / 'maildirsize').symlink_to(text)
            with self.subTest(text=text):
                self.assert_size(self.daemon, self.joe, 123)
                self.assertNotEqual(self.daemon.usage(self.joe)['source'], 'maildirsize')
            (self.joe / 'maildirsize').unlink()

    def test_maildirsize_that_is_no_file(self):
        os.mkfifo(self.joe / 'maildirsize')
        self.assert_size(self.daemon, self.joe, 123)
        (self.joe / 'maildirsize').unlink()
        (self.joe / 'maildirsize').mkdir()
        self.assert_size(self.daemon, self.joe, 123)

    def test_folders_and_messages_that_lead_outside(self):
        (self.joe / '.Out').symlink_to(self.outside)
        (self.joe / '.Up').symlink_to('../../outside')
        (self.joe / 'cur' / 'untagged').symlink_to('/etc/passwd')
        self.assertEqual(self.daemon.number(self.joe), 123)
        (self.joe / 'new').rmdir()
        (self.joe / 'new').symlink_to(self.outside / 'cur')
        self.assertEqual(self.daemon.usage(self.joe)['bytes'], '123')
        # Of all that is left out, the log says once that there is something.
        [warning] = self.daemon.warnings_about(str(self.joe))
        self.assertRegex(warning, '3 links that lead outside the roots or to nothing')

    def test_folder_of_a_mailbox(self):
        make_maildir(self.joe / '.Sent', [1000])
        (self.joe / '.Sent' / 'maildirfolder').touch()
        for path in (self.joe / '.Sent', f'{self.joe}/.Sent/', f'{self.joe}//.Sent/.'):
            with self.subTest(path=path):
                self.assert_size(self.daemon, path, 1123)
                self.assertEqual(self.daemon.usage(path)['mailbox'], str(self.joe))

    def test_folder_of_a_mailbox_that_looks_like_a_folder(self):
        make_maildir(self.joe / '.Sent', [1000])
        for folder in (self.joe, self.joe / '.Sent'):
            (folder / 'maildirfolder').touch()
        self.assertEqual(self.daemon.usage(self.joe / '.Sent')['mailbox'], str(self.joe))
        self.assert_size(self.daemon, self.joe / '.Sent', 1123)

    def test_what_is_no_mailbox(self):
        os.mkfifo(self.root / 'fifo')
        self.listen(self.root / 'socket')
        (self.root / 'link').symlink_to('fifo')
        for name in ('fifo', 'socket', 'link', 'mbox/deeper', 'fifo/deeper'):
            with self.subTest(name=name):
                self.assert_refused(self.daemon, self.root / name, NOT_A_MAILBOX)

    @needs_root
    def test_devices(self):
        for name, kind in (('character', stat.S_IFCHR), ('block', stat.S_IFBLK)):
            os.mknod(self.root / name, kind | 0o666, os.makedev(1, 5))  # as /dev/zero
            with self.subTest(name=name):
                self.assert_refused(self.daemon, self.root / name, NOT_A_MAILBOX)

    def test_names_that_are_too_long(self):
        for path in (self.root / ('x' * 256), f'{self.root}' + '/x' * 2100,
                     f'{self.root}/' + 'x' * 8000):
            with self.subTest(length=len(str(path))):
                before = len(self.daemon.entries())
                self.assertEqual(self.daemon.usage(path)['reason'], TOO_LONG)
                [entry] = self.daemon.entries()[before:]
                self.assertTrue(entry.text.startswith(f'{self.root}/x'))
                self.assertIn(': File name too long; answered', entry.text[-100:])

    def test_names_that_an_address_makes_too_long(self):
        daemon = self.start(f'--mailbox={self.root}/%u')
        name = 'x' * (255 - len('joe@'))
        self.assertEqual(daemon.pairs(f'usage joe@{name}')['source'], 'none')
        self.assertEqual(daemon.pairs(f'usage joe@{name}x')['reason'], 'bad-address')


class RootsTest(PathTest):
    """More than one root, and none."""

    def test_several_roots(self):
        inner = self.root / 'inner'
        make_maildir(inner / 'jim', [11])
        (inner / 'up').symlink_to('../joe')
        (inner / 'over').symlink_to(self.joe)
        (self.root / 'out').symlink_to(self.outside)
        daemon = self.start('--on-error=defer', f'--root={self.outside}', f'--root={inner}')
        self.assert_size(daemon, self.joe, 123)
        self.assert_size(daemon, self.outside, 999)
        self.assert_size(daemon, inner / 'jim', 11)
        # The longest root answers, and only an absolute link leads from it into another.
        self.assert_refused(daemon, inner / 'up', OUTSIDE)
        self.assert_size(daemon, inner / 'over', 123)
        self.assert_size(daemon, self.root / 'out', 999)
        self.assert_size(daemon, self.root / 'out' / 'cur' / '..', 999)
        self.assert_refused(daemon, self.folder, OUTSIDE)

    def test_root_that_is_a_link_or_has_slashes(self):
        link = self.folder / 'link'
        link.symlink_to('mail')
        daemon = self.start('--on-error=defer', root=Path(f'{link}'))
        self.assert_size(daemon, link / 'joe', 123)
        self.assert_refused(daemon, self.joe, OUTSIDE)
        daemon = self.start('--on-error=defer', f'--root={self.folder}//mail/', root=self.outside)
        self.assert_size(daemon, self.joe, 123)

    def test_without_a_root(self):
        (self.root / 'absolute').symlink_to(self.outside)
        daemon = self.start('--on-error=defer', root=Path())
        [warning] = daemon.warnings()
        self.assertIn('--root', warning)
        for path, size in ((self.joe, 123), (self.root / 'absolute', 999),
                           (self.root / '../outside', 999), ('/../' + str(self.joe), 123),
                           ('/etc/passwd', os.stat('/etc/passwd').st_size), ('/no/such/file', 0)):
            with self.subTest(path=path):
                self.assert_size(daemon, path, size)
        for path in ('/dev/null', '/dev/zero'):
            with self.subTest(path=path):
                self.assert_refused(daemon, path, NOT_A_MAILBOX)
        self.assertEqual(len(daemon.warnings()), 3)

    def test_without_openat2(self):
        said = self.run_to_failure(1, f'--root={self.root}', f'--socket={self.folder}/socket',
                                   wrapper=without_calls.command(without_calls.OPENAT2))
        self.assertIn('openat2(2) is unavailable', said)
        self.assertIn('Linux 5.6', said)

    def test_links_of_proc(self):
        daemon = self.start('--on-error=defer', root=Path('/'))
        (self.root / 'proc').symlink_to('/proc/self/root')
        for path in (f'/proc/self/root{self.joe}', '/proc/self/root', '/proc/self/cwd',
                     '/proc/self/exe', '/proc/self/fd/2',
                     f'/proc/{daemon.pid}/root{self.joe}', '/proc/thread-self/root/etc',
                     f'/proc/self/task/{daemon.pid}/cwd', self.root / 'proc', '/dev/fd/2'):
            with self.subTest(path=path):
                reply = daemon.usage(path)
                self.assertEqual((reply['status'], reply.get('reason')), ('error', OUTSIDE))


@needs_root
class UnreadableTest(PathTest):
    """A daemon that may not read everything."""

    def setUp(self) -> None:
        super().setUp()
        self.daemon = self.start('--on-error=defer', '--user=nobody')

    def test_unreadable_mailbox(self):
        for mode in (0o000, 0o400, 0o600, 0o700):
            self.joe.chmod(mode)
            with self.subTest(mode=oct(mode)):
                self.assert_refused(self.daemon, self.joe, DENIED)  # told once, not each time

    def test_mailbox_in_an_unreadable_directory(self):
        domain = self.root / 'domain'
        make_maildir(domain / 'joe', [1])
        domain.chmod(0o700)
        for path in (domain / 'joe', domain / 'missing', domain / 'joe' / 'cur'):
            with self.subTest(path=path):
                self.assert_refused(self.daemon, path, DENIED)

    def test_unreadable_part_of_a_mailbox(self):
        make_maildir(self.joe / '.Sent', [5])
        for part in ('cur', '.Sent', '.Sent/cur', 'new'):
            (self.joe / part).chmod(0o700)
            with self.subTest(part=part):
                self.assert_refused(self.daemon, self.joe, DENIED)
            (self.joe / part).chmod(0o755)
        self.assert_size(self.daemon, self.joe, 128)

    def test_unreadable_maildirsize(self):
        file = write_maildirsize(self.joe, '1000S', '77 1')
        file.chmod(0o600)
        self.assert_size(self.daemon, self.joe, 123)

    def test_unreadable_mbox(self):
        # Its size is no secret to whoever may look into its directory.
        (self.root / 'mbox').chmod(0o600)
        self.assert_size(self.daemon, self.root / 'mbox', 4567)

    def test_readable_again(self):
        self.joe.chmod(0o700)
        self.assert_refused(self.daemon, self.joe, DENIED)
        self.joe.chmod(0o755)
        self.assert_size(self.daemon, self.joe, 123)


class SocketThatIsAMailboxTest(DaemonTestCase):
    """What the daemon itself listens on is asked about."""

    def test_own_socket(self):
        daemon = self.start('--on-error=defer', root=self.folder)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemon.address))
            self.assertEqual(daemon.usage(daemon.address)['reason'], NOT_A_MAILBOX)
