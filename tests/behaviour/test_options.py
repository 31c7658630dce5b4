# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: what each option takes, and what is said of one that is wrong."""

import os
import re
from typing import NamedTuple, Optional

from daemon import DaemonTestCase, Ended, sample
from mailboxes import make_maildir, write_maildirsize


class Option(NamedTuple):
    """An option, values of it that are not accepted, and what the message says is accepted."""

    name: str
    wrong: tuple[str, ...]
    accepted: str
    letter: Optional[str] = None


MILLISECONDS = ('0', '-1', '+1', '1.5', '1s', 'x', '', ' 1', '1 ', '0x10', '86400001',
                '18446744073709551617')
NUMBERS = ('-1', '+1', '1.5', 'x', '', ' 1', '1 ', '0x10', '18446744073709551617')
MODES = ('', '8', '778', '1000', '0778', 'rw', '-1', '0x1ff', '00666', '4755', ' 666')

OPTIONS = (
    Option('--config', ('',), 'a path'),
    Option('--socket', ('',), 'a path', '-s'),
    Option('--socketmode', MODES, 'octal mode from 0 to 777', '-m'),
    Option('--mode', MODES, 'octal mode from 0 to 777'),
    Option('--user', ('',), 'name or number of a user', '-u'),
    Option('--pidfile', ('',), 'a path', '-p'),
    Option('--log', ('',), 'a path (absolute in a file), or syslog', '-l'),
    Option('--timeout', MILLISECONDS, 'milliseconds from 1 to 86400000', '-t'),
    Option('--max-connections', ('0', '65537', *NUMBERS), 'a number from 1 to 65536', '-c'),
    Option('--max-children', ('0', '65537', *NUMBERS), 'a number from 1 to 65536'),
    Option('--root', ('', 'mail', './mail', '~'), 'an absolute path'),
    Option('--on-error', ('', 'reject', 'Accept', 'acceptable', 'accept '), 'accept or defer'),
    Option('--default-quota', ('', 'x', '-1', '1X', '1KK', '1,1', ',', '1,', '1C,2C', '1.5G'),
           'SIZE, SIZE,NNNC or NNNC'),
    Option('--grace', ('', '%', 'x', '-1', '10%%', '1.5%', '1X'), 'percentage'),
    Option('--warn', ('0', '1001', '90%', *NUMBERS), 'a number from 1 to 1000'),
    Option('--limits', ('',), 'a path'),
    Option('--mailbox', ('', 'mail/%u', '/mail/%x', '/mail/%', '/mail/../%u'), 'an absolute path'),
    Option('--recipient-delimiter', ('', '@', '/', '+/', ' ', '+\t', 'x', '+X', '\u00a7'),
           'characters such as + and -, but no letter'),
    Option('--maildirsize', ('', 'Use', 'no', 'ignored'), 'use or ignore'),
    Option('--count', ('', 'message', 'Everything', 'all', 'everything '),
           'messages or everything'),
    Option('--layout', ('', 'maildir', 'Maildir++', 'FS', 'index'), 'maildir++ or fs'),
    Option('--exclude-folder', ('', '.Trash', '.', '/', '/Trash'), 'without the leading dot'),
    Option('--size-tag', ('', 's', 'w', 'X', 'SW', 'S '), 'S or W'),
    Option('--scan-threads', ('0', '65', *NUMBERS), 'a number from 1 to 64'),
    Option('--scan-timeout', MILLISECONDS, 'milliseconds from 1 to 86400000'),
    Option('--cache-size', ('', 'x', '-1', '1KK', '1.5G', '16MB', '9999999999T'), 'a size such as'),
    Option('--watches', ('16777217', *NUMBERS), 'a number from 0 to 16777216'),
    Option('--exit-idle-time', ('', '0', '0s', '-1', '1d', 's', '1.5s', '1 s', 'inf', 'never',
                                '1ss', '99999999999999999999', '9300000000000s',
                                '9223372036854775807h'), '500ms, 30s, 10min or 2h'),
)

FLAGS = (('--foreground', '-f'), ('--debug', '-d'), ('--check-config', ''), ('--help', '-h'),
         ('--version', '-V'))


class CommandLineTest(DaemonTestCase):
    """Command lines that are wrong, or ask for words only."""

    def assert_wrong(self, *options: str) -> str:
        """Fails unless the command line is refused in one line. Returns the line."""
        return self.run_to_failure(2, *options)

    def test_values_that_are_not_accepted(self):
        for option, value in sample((option, value) for option in OPTIONS
                                    for value in option.wrong):
            with self.subTest(option=option.name, value=value):
                said = self.assert_wrong(f'{option.name}={value}')
                self.assertIn(f'{option.name}={value} '.replace('\t', r'\x09'), said)
                self.assertIn(option.accepted, said)

    def test_values_by_letters_and_in_words_of_their_own(self):
        for option in sample(OPTIONS):
            value = option.wrong[-1]
            spellings = [(option.name, value)]
            if option.letter:
                spellings += [(option.letter, value)] + [(option.letter + value,)] * bool(value)
            for words in spellings:
                with self.subTest(words=words):
                    said = self.assert_wrong(*words)
                    self.assertIn(f'{option.name}={value} '.replace('\t', r'\x09'), said)
                    self.assertIn(option.accepted, said)

    def test_value_that_is_very_long(self):
        said = self.assert_wrong('--timeout=' + 'x' * 5000)
        self.assertIn('--timeout=xxx', said)

    def test_missing_values(self):
        for option in sample(OPTIONS):
            for word in filter(None, (option.name, option.letter)):
                with self.subTest(word=word):
                    said = self.assert_wrong('--debug', word)
                    self.assertIn(f'{option.name} ', said)
                    self.assertIn(option.accepted, said)

    def test_values_where_none_is_taken(self):
        for name, _ in FLAGS:
            with self.subTest(name=name):
                self.assertIn(f'{name}=yes', self.assert_wrong(f'{name}=yes'))

    def test_unknown_options(self):
        for words, named in (
                (('--nonsense',), '--nonsense'), (('--nonsense=1',), '--nonsense'),
                (('-x',), '-x'), (('-fx',), '-x'), (('-xf',), '-x'), (('-fxd',), '-x'),
                (('--debug', '-xd'), '-x'), (('--socketmod-e=1',), '--socketmod-e'),
                (('-f', '--Debug'), '--Debug'), (('-é',), 'there is no option')):
            with self.subTest(words=words):
                said = self.assert_wrong(*words)
                self.assertIn(named, said)
                self.assertNotIn(os.environ['EXIM_QUOTAD'], said)
                self.assertIn('--help', said)

    def test_abbreviations(self):
        for words in (('--vers',), ('--he', '--vers'), ('--foreg', '--time=10', '--vers')):
            with self.subTest(words=words):
                self.assertEqual(self.run_to_end(*words).status, 0)
        self.assertIn('--timeout=x ', self.assert_wrong('--timeo=x'))
        for word in ('--sock=x', '--max=1', '--s=1', '--scan=1'):
            with self.subTest(word=word):
                said = self.assert_wrong(word)
                self.assertIn(word, said)
                self.assertIn('more than one', said)

    def test_superfluous_words(self):
        for words in (('word',), ('--debug', 'word'), ('word', '--debug'), ('--', 'word'),
                      ('--', '--word'), ('-',), ('',), ('--help', 'word')):
            with self.subTest(words=words):
                said = self.assert_wrong(*words)
                self.assertIn(f'"{[w for w in words if w not in ("--debug", "--", "--help")][0]}"',
                              said)

    def test_pidfile_without_a_socket(self):
        said = self.assert_wrong(f'--pidfile={self.folder}/pid')
        self.assertIn('--pidfile', said)
        self.assertIn('--socket', said)
        self.assertFalse((self.folder / 'pid').exists())

    def test_no_socket(self):
        said = self.assert_wrong('--foreground', f'--root={self.root}')
        self.assertIn('systemctl', said)
        self.assertIn('exim-quotad.socket', said)
        self.assertIn('--socket=PATH', said)

    def test_nothing_at_all(self):
        self.assertIn('--socket=PATH', self.assert_wrong())

    def test_help(self):
        texts = set()
        for option in '-h', '--help':
            ended = self.run_to_end(option)
            self.assertEqual((ended.status, ended.stderr), (0, ''))
            texts.add(ended.stdout)
        [text] = texts
        self.assertTrue(text.startswith('Usage: exim-quotad '))
        listed = re.findall(r'^  (?:(-.),|   ) (--[a-z-]+)(=\S+)? +\S', text, re.MULTILINE)
        expected = {(option.letter or '', option.name, True) for option in OPTIONS}
        expected |= {(letter, name, False) for name, letter in FLAGS}
        self.assertEqual({(letter, name, bool(value)) for letter, name, value in listed}, expected)
        for line in text.splitlines():
            self.assertLessEqual(len(line), 100)

    def test_version(self):
        for option in '-V', '--version':
            ended = self.run_to_end(option)
            self.assertEqual((ended.status, ended.stderr), (0, ''))
            self.assertRegex(ended.stdout, r'\Aexim-quotad [0-9]+\.[0-9]+\.[0-9]+\n\Z')
        version = self.start().pairs('ping')['version']
        self.assertEqual(ended.stdout, f'exim-quotad {version}\n')

    def test_words_come_before_what_cannot_be_done(self):
        # Asking for the help or the version does nothing else.
        socket_path = self.folder / 'socket'
        for option in '--help', '--version':
            ended = self.run_to_end(f'--socket={socket_path}', '--user=no-such-user', option)
            self.assertEqual(ended.status, 0)
            self.assertFalse(socket_path.exists())


class CheckConfigTest(DaemonTestCase):
    """--check-config."""

    def check(self, *options: str, **how) -> Ended:
        """Runs it with a root that there is."""
        return self.run_to_end('--check-config', f'--root={self.root}', *options, **how)

    def test_nothing_is_wrong(self):
        limits = self.folder / 'limits'
        limits.write_text('*: 1K\n')
        ended = self.check(f'--mailbox={self.root}/%d/%n', f'--limits={limits}',
                           f'--socket={self.folder}/socket', f'--log={self.folder}/log',
                           '--user=0')
        self.assertEqual(ended, Ended(0, f'--root={self.root}: found\n'
                                         f'--limits={limits}: 1 limits loaded, 0 unusable\n', ''))
        self.assertEqual(sorted(each.name for each in self.folder.glob('[sl]*')), ['limits'])

    def test_faults_are_only_said(self):
        limits = self.folder / 'limits'
        limits.write_text('*: 1K\n' + 'joe@example.org: 0MM\n' * 100)
        ended = self.check(f'--mailbox={self.root}/vhosts/%d/%n', '--mailbox=/srv/mail/%n',
                           f'--limits={limits}')
        self.assertEqual(ended.status, 0)
        said = ended.stderr.splitlines()
        self.assertEqual(said[:2], [
            f'exim-quotad: --mailbox={self.root}/vhosts/%d/%n: {self.root}/vhosts: No such file or '
            'directory', 'exim-quotad: --mailbox=/srv/mail/%n: is not below any --root'])
        self.assertTrue(said[2].startswith(f'exim-quotad: {limits}:2: "0MM" is not a limit; '))
        self.assertEqual(said[-1], f'exim-quotad: {limits}: and 81 more')
        self.assertEqual(len(said), 2 + 20)
        self.assertIn(f'--limits={limits}: 1 limits loaded, 100 unusable\n', ended.stdout)

    def test_templates_below_no_root(self):
        """The last name of a root may be one that the template goes on with, and no other."""
        beginning = f'{self.root}'[:-1]
        for template, is_below in ((f'{self.root}%d/%n', False), (f'{beginning}%d/%n', True),
                                   (f'{self.root.parent}/%d/%n', True), (f'{self.root}/%d', True),
                                   (f'{self.root}//./%d', True), ('/%d/%n', True)):
            with self.subTest(template=template):
                fault = f'exim-quotad: --mailbox={template}: is not below any --root\n'
                self.assertEqual(self.check(f'--mailbox={template}').stderr,
                                 '' if is_below else fault)

    def test_what_keeps_it_from_its_work(self):
        missing, file = self.folder / 'missing', self.folder / 'file'
        file.touch()
        for options, said in (
                ((f'--limits={missing}',), [f'--limits={missing}: cannot be opened: No such file '
                                            'or directory']),
                ((f'--limits={self.root}',), [f'--limits={self.root}: is not a regular file']),
                ((f'--root={missing}', f'--root={file}', '--mailbox=/elsewhere/%n'),
                 [f'--root={missing}: No such file or directory',
                  f'--root={file}: Not a directory']),
                ((f'--log={missing}/log',), [f'cannot open the log {missing}/log: No such file or '
                                             'directory']),
                ((f'--log={self.root}',), [f'cannot open the log {self.root}: Is a directory']),
                (('--user=nobody.has.this.name',), ['--user=nobody.has.this.name: there is no such '
                                                    'user'])):
            with self.subTest(options=options):
                ended = self.check(*options)
                self.assertEqual(ended.status, 1)
                self.assertEqual(ended.stderr.splitlines(),
                                 [f'exim-quotad: {line}' for line in said])
                self.assertIn(f'--root={self.root}: found\n', ended.stdout)

    def test_options_that_are_wrong(self):
        for option, said in (('--timeout=x', '--timeout=x is not accepted'), ('--x', '--x'),
                             (f'--pidfile={self.folder}/pid', '--pidfile')):
            with self.subTest(option=option):
                self.assertIn(said, self.run_to_failure(2, '--check-config', option))

    def test_in_a_reload(self):
        """The service says the rest: see the unit."""
        limits = self.folder / 'limits'
        wrapper = ('/bin/sh', '-c', 'export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/$$/fd/2);'
                                    'exec "$0" "$@"')
        limits.write_text('joe@example.org: 0MM\n')
        ended = self.check('--mailbox=/srv/mail/%n', f'--limits={limits}', wrapper=wrapper)
        self.assertEqual(ended, Ended(0, '', ''))
        limits.unlink()
        ended = self.check(f'--limits={limits}', wrapper=wrapper)
        self.assertEqual(ended, Ended(1, '', f'exim-quotad: --limits={limits}: cannot be opened: '
                                             'No such file or directory\n'))


class ValuesTest(DaemonTestCase):
    """What options mean that take a value, as far as no other file of the tests says it."""

    def test_last_one_holds(self):
        mailbox = make_maildir(self.root / 'joe')
        (mailbox / 'maildirsize').write_text('0C\n5 1\n')
        daemon = self.start('--on-error=defer', '--on-error=accept', '--warn=1', '--warn=80',
                            '--default-quota=1', '--default-quota=6')
        self.assertEqual(daemon.ask('/etc'), b'0\n')
        self.assertEqual(daemon.pairs(f'check {mailbox}')['status'], 'warn')
        self.assertEqual(daemon.usage(mailbox)['limit'], '6')

    def test_sizes(self):
        mailbox = make_maildir(self.root / 'joe')
        write_maildirsize(mailbox, '', '5 1')
        for value, limit, messages in (('0', '0', '0'), ('7', '7', '0'), ('2K', '2048', '0'),
                                       ('3m', '3145728', '0'), ('4G', '4294967296', '0'),
                                       ('5T', '5497558138880', '0'), ('6C', '0', '6'),
                                       ('1k,2c', '1024', '2'), ('2C,1K', '1024', '2'),
                                       ('9223372036854775807', '9223372036854775807', '0')):
            with self.subTest(value=value):
                reply = self.start(f'--default-quota={value}').usage(mailbox)
                self.assertEqual((reply['limit'], reply['message_limit']), (limit, messages))

    def test_grace(self):
        mailbox = self.root / 'mbox'
        mailbox.write_bytes(bytes(1000))
        for grace, fits in (('0', 0), ('100', 100), ('1K', 1024), ('10%', 100), ('0%', 0),
                            ('200%', 2000)):
            with self.subTest(grace=grace):
                daemon = self.start(f'--grace={grace}', '--default-quota=1000')
                for size, status in ((fits, 'warn'), (fits + 1, 'over')):
                    reply = daemon.pairs(f'check size={size} {mailbox}')
                    self.assertEqual(reply['status'], status)

    def test_mailbox_templates(self):
        make_maildir(self.root / 'example.org' / 'joe', [5])
        make_maildir(self.root / 'jim@example.org', [7])
        daemon = self.start(f'--mailbox={self.root}/%d/%n', f'--mailbox={self.root}/%u',
                            '--recipient-delimiter=+-')
        for address, size in (('joe@example.org', '5'), ('JOE@Example.ORG', '5'),
                              ('joe+lists@example.org', '5'), ('joe-lists@example.org', '5'),
                              ('jim@example.org', '7'), ('jack@example.org', '0')):
            with self.subTest(address=address):
                self.assertEqual(daemon.usage(address)['bytes'], size)
        self.assertEqual(daemon.usage('jack@example.org')['mailbox'],
                         f'{self.root}/example.org/jack')
        for address in ('../joe@example.org', 'joe@../example.org', 'a/b@example.org', '@', 'joe'):
            with self.subTest(address=address):
                self.assertEqual(daemon.usage(address)['reason'], 'bad-address')

    def test_mailbox_template_that_leads_through_a_file(self):
        (self.root / 'joe').write_bytes(bytes(4567))
        make_maildir(self.root / 'jim' / 'Maildir', [5])
        daemon = self.start(f'--mailbox={self.root}/%n/Maildir', f'--mailbox={self.root}/%n')
        for _ in range(3):  # from a thread, and then from memory
            reply = daemon.usage('joe@example.org')
            self.assertEqual((reply['source'], reply['bytes']), ('mbox', '4567'))
            self.assertEqual(daemon.usage('jim@example.org')['bytes'], '5')
        self.assertEqual(daemon.warnings(), [])
        reply = daemon.usage(self.root / 'joe' / 'Maildir')
        self.assertEqual(reply['reason'], 'not-a-mailbox')

    def test_mailbox_template_whose_path_is_too_long(self):
        room = 4095 - len(f'{self.root}/') - len('j' * 63)  # the kernel's limit leaves 63 bytes
        fill = 'd/' * (room // 2) + '/' * (room % 2)
        daemon = self.start(f'--mailbox={self.root}/%n', f'--mailbox={self.root}/{fill}%n')
        self.assertEqual(daemon.usage(f'{"j" * 63}@example.org')['source'], 'none')
        reply = daemon.usage(f'{"j" * 64}@example.org')
        self.assertEqual((reply['reason'], reply['text']),
                         ('bad-address', 'the path of its mailbox is too long'))

    def test_whole_local_part_comes_before_the_part_without_extension(self):
        old, new = self.root / 'old', self.root / 'new'
        make_maildir(old / 'jean', [7])
        make_maildir(new / 'jean-luc', [5])
        make_maildir(old / 'ann+x', [4])
        (new / 'ann').write_bytes(bytes(3))
        limits = self.folder / 'limits'
        limits.write_text('jean@example.org: 7\nann@example.org: 3\nann+x@example.org: 4\n'
                          '*: 1K\n')
        daemon = self.start(f'--mailbox={old}/%n', f'--mailbox={new}/%n',
                            '--recipient-delimiter=+-', f'--limits={limits}')
        for _ in range(2):  # from a thread, and then from memory
            for address, size, limit, mailbox in (
                    ('jean-luc', '5', '1024', 'new/jean-luc'), ('jean', '7', '7', 'old/jean'),
                    ('jean-luc+lists', '7', '7', 'old/jean'), ('jean-paul', '7', '7', 'old/jean'),
                    ('ann+x', '4', '4', 'old/ann+x'), ('ann+y', '3', '3', 'new/ann'),
                    ('bob+x', '0', '1024', 'old/bob')):
                with self.subTest(address=address):
                    reply = daemon.usage(f'{address}@example.org')
                    self.assertEqual((reply['bytes'], reply['limit'], reply['mailbox']),
                                     (size, limit, f'{self.root}/{mailbox}'))
        self.assertEqual(daemon.pairs('check jean-luc@example.org')['status'], 'ok')
        self.assertEqual(daemon.pairs('check size=1 jean-paul@example.org')['status'], 'over')

    def test_long_local_parts(self):
        longest = 'n' * 255
        for name, size in ('joe', 5), (longest, 7):
            make_maildir(self.root / name, [size])
        daemon = self.start(f'--mailbox={self.root}/%n', f'--mailbox={self.root}/prefix-%n',
                            '--recipient-delimiter=+')
        for local, size in ((longest, '7'), (f'joe+{"x" * 70}', '5'), (f'joe+{"x" * 251}', '5'),
                            (f'joe+{"x" * 252}', '5'), (f'joe+{"x" * 8000}', '5'),
                            (f'"joe+{"x" * 8000}"', '5'), (f'{longest}+x', '7'),
                            (f'{"x" * 240}+', '0')):
            with self.subTest(local=local):
                self.assertEqual(daemon.usage(f'{local}@example.org')['bytes'], size)
        self.assertEqual(daemon.warnings(), [])
        for local in f'{longest}n', f'{longest}n+x', f'joe+{"x" * 8000}/', f'joe+{"x" * 300}..':
            with self.subTest(local=local):
                self.assertEqual(daemon.usage(f'{local}@example.org')['reason'], 'bad-address')

    def test_path_has_the_limit_of_its_address(self):
        for name in 'joe', 'jim':
            make_maildir(self.root / 'example.org' / name, [5])
        sent = make_maildir(self.root / 'example.org' / 'joe' / '.Sent', [2])
        (sent / 'maildirfolder').touch()
        limits = self.folder / 'limits'
        limits.write_text('joe@example.org: 6\n*@example.org: 7,8C\n*: 1K\n')
        options = (f'--mailbox={self.root}/%d/%n', f'--limits={limits}', '--default-quota=9')
        daemon = self.start(*options)
        for name, limit in ('joe', ('6', '0')), ('jim', ('7', '8')), ('ann', ('7', '8')):
            path = f'{self.root}/example.org/{name}'
            for target in (f'{name}@example.org', path, f'{path}/',
                           f'{self.root}//example.org/{name}'):
                with self.subTest(target=target):
                    reply = daemon.usage(target)
                    self.assertEqual((reply['limit'], reply['message_limit']), limit)
                    self.assertEqual(reply, daemon.usage(path))
        self.assertEqual(daemon.usage(sent)['limit'], '6')
        self.assertEqual(daemon.pairs(f'check {sent}')['status'], 'over')
        make_maildir(self.root / 'elsewhere')
        self.assertEqual(daemon.usage(self.root / 'elsewhere')['limit'], '1024')
        self.assertEqual(daemon.pairs(f'usage quota=5 {sent}')['limit'], '5')

    def test_limits(self):
        make_maildir(self.root / 'joe@example.org', [5])
        limits = self.folder / 'limits'
        limits.write_text('# a comment\njoe@example.org: 2K\n*: 1K,7C\n')
        daemon = self.start(f'--mailbox={self.root}/%u', f'--limits={limits}')
        self.assertEqual(daemon.usage('joe@example.org')['limit'], '2048')
        self.assertEqual(daemon.usage('jim@example.org')['message_limit'], '7')
