# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration file: what it sets, what outranks it, what is wrong with it, and a reload."""

import itertools
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from daemon import (PATIENCE_SECONDS, Daemon, DaemonTestCase, has_reply, needs_root, passing,
                    read_all, send_and_be_read, wait_for)
from mailboxes import make_maildir
from test_options import OPTIONS

PROJECT = Path(__file__).parents[2]


class ConfigTestCase(DaemonTestCase):
    """A mailbox of 123 bytes, and a configuration file."""

    def setUp(self) -> None:
        super().setUp()
        self.path = make_maildir(self.root / 'joe', [123])
        self.config = self.folder / 'exim-quotad.conf'
        self.option = f'--config={self.config}'

    def write(self, *lines: str) -> None:
        """Writes the file."""
        self.config.write_text(''.join(f'{line}\n' for line in lines))

    def start_by(self, *lines: str, options: tuple = (), **how) -> Daemon:
        """Starts a daemon with such a file and no --root."""
        self.write(*lines)
        return self.start(self.option, *options, root=Path(), **how)


class ValuesTest(ConfigTestCase):
    """What the file sets."""

    def test_options_mean_what_they_mean_on_the_command_line(self):
        trash = make_maildir(self.path / '.Deleted Items', [7])
        (trash / 'maildirfolder').touch()
        daemon = self.start_by('# mailboxes', f'root = {self.root}', f'mailbox={self.root}/none/%n',
                               f'mailbox =  {self.root}/%n  ', '', 'default-quota = 1K',
                               'exclude-folder = Deleted Items', 'on-error = defer', 'debug = yes')
        reply = daemon.usage('joe@example.org')
        self.assertEqual((reply['bytes'], reply['limit']), ('123', '1024'))
        self.assertEqual(daemon.usage('/etc/passwd')['reason'], 'outside-root')
        self.assertGreater(daemon.number('/etc/passwd'), 1 << 62)
        self.assertTrue(daemon.entries('debug'))

    def test_the_command_line_outranks_the_file(self):
        other = self.folder / 'other'
        make_maildir(other / 'joe', [456])
        daemon = self.start_by(f'root = {self.root}', f'mailbox = {self.root}/%n',
                               'default-quota = 1K', 'grace = 9', 'debug = no', 'mode = 600',
                               options=(f'--root={other}', f'--mailbox={other}/%n',
                                        '--default-quota=2K', '--socketmode=666', '--debug'))
        reply = daemon.usage('joe@example.org')
        self.assertEqual((reply['bytes'], reply['limit']), ('456', '2048'))
        # What is given more than once replaces what the file gives, instead of adding to it.
        self.assertEqual(daemon.usage(self.path)['reason'], 'outside-root')
        self.assertEqual(daemon.address.stat().st_mode & 0o777, 0o666)
        self.assertTrue(daemon.entries('debug'))

    def test_what_the_service_itself_uses(self):
        address = self.folder / 'own'
        self.write(f'root = {self.root}', f'socket = {address}', 'socketmode = 640',
                   'foreground = yes', f'log = {self.folder}/log', f'pidfile = {self.folder}/pid')
        if os.geteuid() == 0:
            os.chown(self.folder, 8, 8)
        daemon = self.spawn(self.option, root=Path(), log=None, address=address)
        wait_for(lambda: address.exists() and daemon.answers(), 'it answers')
        self.assertEqual(address.stat().st_mode & 0o777, 0o640)
        self.assertEqual((self.folder / 'pid').read_text(), f'{daemon.pid}\n')
        wait_for(lambda: 'answers on 1 socket' in (self.folder / 'log').read_text(), 'it is logged')


class FaultsTest(ConfigTestCase):
    """What is wrong with the file."""

    def said(self, *lines: str) -> str:
        """Returns what is said about a file that is wrong: once, in one line."""
        self.write(*lines)
        said = self.run_to_failure(2, self.option, f'--socket={self.folder}/socket', '--foreground')
        self.assertEqual(self.run_to_failure(2, self.option, '--check-config'), said)
        return said.partition(f'exim-quotad: {self.config}:')[2]

    def said_of_each(self, *lines: str) -> list[str]:
        """Returns what is said about a file of which each line is wrong: of each, one line."""
        self.write(*lines)
        ended = self.run_to_end(self.option, '--check-config')
        self.assertEqual((ended.status, ended.stdout), (2, ''))
        said = ended.stderr.splitlines()
        self.assertEqual(len(said), len(lines), said)
        for number, line in enumerate(said, 1):
            self.assertTrue(line.startswith(f'exim-quotad: {self.config}:{number}: '), line)
        return [line.split(': ', 2)[2] for line in said]

    def test_values_that_are_not_accepted(self):
        """In the words that the command line has for them."""
        options = [option for option in OPTIONS if option.name != '--config']
        # A file has each option once, by one of its names, which follow each other.
        for group in options[::2], options[1::2]:
            wrong = ([value for value in option.wrong if value == value.strip()]
                     for option in group)
            for values in itertools.zip_longest(*wrong):
                lines = {f'{option.name[2:]} = {value}': option.accepted
                         for option, value in zip(group, values) if value is not None}
                for (line, accepted), said in zip(lines.items(), self.said_of_each(*lines)):
                    with self.subTest(line=line):
                        self.assertTrue(said.startswith(
                            f'{line[:-3]} needs a value: ' if line.endswith('= ')
                            else f'{line} is not accepted: it takes '), said)
                        self.assertIn(accepted, said)

    def test_relative_paths(self):
        names = 'limits', 'log', 'pidfile', 'socket', 'root', 'mailbox'
        for value in 'a', './a', '../a', '~/a', 'a%n':
            lines = [f'{name} = {value}' for name in names]
            for line, said in zip(lines, self.said_of_each(*lines)):
                with self.subTest(line=line):
                    self.assertTrue(said.startswith(f'{line} is not accepted: it takes a'), said)

    def test_what_is_for_the_command_line(self):
        for name in 'config', 'check-config', 'help', 'version':
            with self.subTest(name=name):
                self.assertEqual(self.said('', f'{name} = /x'),
                                 f'2: {name} is for the command line only\n')

    def test_every_wrong_line(self):
        self.write('#', 'rooot = /x', f'root = {self.root}', 'timeout = 1s', 'timeout = 5', 'debug',
                   'warn\t= \x1b[31m')
        ended = self.run_to_end('--check-config', self.option)
        self.assertEqual((ended.status, ended.stdout), (2, ''))
        self.assertEqual(
            ended.stderr.replace(f'exim-quotad: {self.config}:', ''),
            '2: there is no option rooot; --help lists them\n'
            '4: timeout = 1s is not accepted: it takes milliseconds from 1 to 86400000 (a day)\n'
            '5: timeout is already set in line 4\n'
            '6: debug needs a value: yes or no\n'
            r'7: warn = \x1b[31m is not accepted: it takes a number from 1 to 1000' '\n')
        started = self.run_to_failure(2, self.option, f'--socket={self.folder}/socket')
        self.assertEqual(started, ended.stderr.splitlines(keepends=True)[0])

    def test_what_the_command_line_outranks_is_wrong_all_the_same(self):
        self.write('warn = x')
        self.assertIn('warn = x is not accepted',
                      self.run_to_failure(2, '--check-config', self.option, '--warn=50'))

    def test_options_that_do_not_go_together(self):
        self.write(f'pidfile = {self.folder}/pid')
        self.assertIn('needs --socket', self.run_to_failure(2, '--check-config', self.option))

    def test_files_that_cannot_be_read(self):
        missing, fifo = self.folder / 'missing', self.folder / 'fifo'
        os.mkfifo(fifo)
        for path, status, why in ((missing, 1, 'cannot be opened: No such file or directory'),
                                  (self.folder, 2, 'is not a regular file'),
                                  (fifo, 2, 'is not a regular file')):
            for options in ('--check-config',), (f'--socket={self.folder}/socket',):
                with self.subTest(path=path, options=options):
                    self.assertEqual(self.run_to_failure(status, f'--config={path}', *options),
                                     f'exim-quotad: {path}: {why}\n')

    def test_words_need_no_file(self):
        for option in '--help', '--version':
            ended = self.run_to_end(f'--config={self.folder}/missing', option)
            self.assertEqual((ended.status, ended.stderr), (0, ''))

    def test_the_file_is_named(self):
        self.write(f'root = {self.root}')
        ended = self.run_to_end('--check-config', self.option)
        self.assertEqual((ended.status, ended.stdout),
                         (0, f'{self.config}: read\n--root={self.root}: found\n'))

    def test_with_sockets_of_systemd(self):
        listener = self.listen(self.folder / 'passed')
        self.write('rooot = /x')
        daemon = self.spawn(self.option, address=listener.getsockname(), root=Path(),
                            **passing([listener]))
        self.assertEqual(daemon.pairs('ping')['text'], f'misconfigured: {self.config}:1: there is '
                         'no option rooot; --help lists them')


class ReloadTest(ConfigTestCase):
    """SIGHUP, with a socket that systemd keeps."""

    def setUp(self) -> None:
        super().setUp()
        self.listener = self.listen(self.folder / 'passed')
        self.limits = self.folder / 'limits'
        self.set_limits('1K')
        self.notify = self.listen_for_notifications()
        self.notify.settimeout(PATIENCE_SECONDS)

    def set_limits(self, limit: str) -> None:
        self.limits.write_text(f'*: {limit}\n')

    def write_options(self, *lines: str) -> None:
        """Writes a file with these lines and what every test needs."""
        self.write(f'root = {self.root}', f'limits = {self.limits}', *lines)

    def start_passed(self, *options: str) -> Daemon:
        """Starts a daemon as systemd does."""
        how = passing([self.listener])
        how['environment'] |= self.notify_environment()
        daemon = self.spawn(self.option, *options, root=Path(), address=self.listener.getsockname(),
                            **how)
        self.wait_until_told('READY=1')
        return daemon

    def wait_until_told(self, state: str) -> list[str]:
        """Waits for a notification and returns all lines up to it."""
        told: list[str] = []
        while state not in told:
            told += self.notify.recv(8192).decode().split('\n')
        return told

    def reload(self, daemon: Daemon) -> list[str]:
        """Reloads and returns the notifications until the reload is complete."""
        daemon.process.send(signal.SIGHUP)
        return self.wait_until_told('READY=1')

    def limit(self, daemon: Daemon) -> str:
        return daemon.usage(self.path)['limit']

    def test_nothing_has_changed(self):
        self.write_options()
        daemon = self.start_passed()
        self.set_limits('2K')
        self.write('', '# a comment', f'root={self.root}', f'\tlimits =  {self.limits}')
        self.assertIn('RELOADING=1', self.reload(daemon))
        self.assertEqual(self.limit(daemon), '2048')
        self.assertEqual(daemon.warnings(), [])

    def test_broken(self):
        self.write_options()
        daemon = self.start_passed()
        self.set_limits('2K')
        self.write_options('warn = x')
        self.assertIn('RELOADING=1', self.reload(daemon))
        # All of it fails.
        self.assertEqual(self.limit(daemon), '1024')
        self.assertEqual(daemon.warnings(), [f'{self.config}:3: warn = x is not accepted: it takes '
                                             'a number from 1 to 1000; the old options and limits '
                                             'stay in force'])
        self.write_options()
        self.reload(daemon)
        self.assertEqual(self.limit(daemon), '2048')

    def test_missing(self):
        self.write_options()
        daemon = self.start_passed()
        self.config.unlink()
        self.reload(daemon)
        self.assertEqual(self.limit(daemon), '1024')
        self.assertIn('No such file or directory; the old options', daemon.warnings()[0])

    def test_changed(self):
        self.write_options()
        daemon = self.start_passed('--timeout=86400000')
        held = self.connect(daemon)
        send_and_be_read(held, b'usage ')
        self.write_options('grace = 5K')
        self.set_limits('2K')
        told = self.reload(daemon)
        told += self.wait_until_told('STOPPING=1')
        self.assertLess(told.index('RELOADING=1'), told.index('READY=1'))
        self.assertLess(told.index('READY=1'), told.index('STOPPING=1'))
        self.assertTrue(any('the options have changed' in line for line in told), told)
        # Whoever asks from now on is answered by the next process, whoever asked before by this.
        queued = self.connect(daemon)
        queued.sendall(b'usage %s\n' % bytes(self.path))
        self.assertFalse(has_reply(queued))
        held.sendall(b'%s\n' % bytes(self.path))
        self.assertIn(b' limit=1024 ', read_all(held))
        self.assert_ended_well(daemon)
        self.assertIn('the options in the configuration file have changed; ending: the next query '
                      'starts a process that has them',
                      [entry.text for entry in daemon.entries('notice')])
        self.start_passed()
        self.assertIn(b' limit=2048 ', read_all(queued))

    def test_many_queries_amid_changes(self):
        """None is lost, and after a reload all get answers by the new options."""
        self.write_options('default-quota = 1')
        self.limits.write_text('')
        address, asked = self.listener.getsockname(), 0
        for number in range(2, 12):
            daemon = self.start_passed()
            clients = [self.connect(address) for _ in range(20)]
            for client in clients:
                client.sendall(b'usage %s\n' % bytes(self.path))
            self.write_options(f'default-quota = {number}')
            self.reload(daemon)
            after = [self.connect(address) for _ in range(20)]
            for client in after:
                client.sendall(b'usage %s\n' % bytes(self.path))
            self.assert_ended_well(daemon)
            daemon = self.start_passed()
            for client in clients:
                self.assertRegex(read_all(client), rb' limit=(%d|%d) ' % (number - 1, number))
            for client in after:
                self.assertIn(b' limit=%d ' % number, read_all(client))
            asked += len(clients) + len(after)
            self.stop(daemon)
            while has_reply(self.notify):
                self.notify.recv(8192)
        self.assertEqual(asked, 400)

    def test_changed_with_a_socket_of_its_own(self):
        self.write_options('warn = 50')
        daemon = self.start(self.option, root=Path())
        self.set_limits('2K')
        self.write_options('warn = 60')
        daemon.process.send(signal.SIGHUP)
        wait_for(lambda: self.limit(daemon) == '2048', 'the limits are read again')
        self.assertEqual(daemon.warnings(), ['the options in the configuration file have changed; '
                                             'they take effect after a restart'])

    def test_first_file(self):
        """As if there had been one without a line."""
        self.write()
        daemon = self.start_passed(f'--root={self.root}')
        self.write('# nothing')
        self.reload(daemon)
        self.assertIsNone(daemon.process.wait(0.2))

    def test_reload_amid_reload(self):
        self.write_options()
        daemon = self.start_passed()
        for _ in range(50):
            daemon.process.send(signal.SIGHUP)
            time.sleep(0.001)
        self.wait_until_told('READY=1')
        self.set_limits('3K')
        daemon.process.send(signal.SIGHUP)
        wait_for(lambda: self.limit(daemon) == '3072', 'the last one is done')

    def test_no_end_when_idle_while_it_is_broken(self):
        """The next process could not answer."""
        self.write_options('exit-idle-time = 100ms')
        client = self.connect(self.listener.getsockname())  # before it could be idle
        daemon = self.start_passed('--timeout=86400000')
        self.write('nonsense')
        client.close()
        self.assertIsNone(daemon.process.wait(1))
        self.assertEqual(self.limit(daemon), '1024')
        self.assertEqual(len(daemon.warnings_about(f'{self.config}:1')), 1)
        with daemon.connect() as client:
            send_and_be_read(client, b'usage ')
            self.write_options('exit-idle-time = 200ms')
            self.reload(daemon)
        self.assert_ended_well(daemon)

    def test_end_when_idle_once_it_is_mended(self):
        """No reload is needed for that."""
        self.write_options('exit-idle-time = 100ms')
        for file, mend in ((self.config, lambda: self.write_options('exit-idle-time = 100ms')),
                           (self.limits, lambda: self.set_limits('1K'))):
            with self.subTest(file=file.name):
                client = self.connect(self.listener.getsockname())  # before it could be idle
                daemon = self.start_passed('--timeout=86400000')
                file.unlink()
                client.close()
                self.wait_until_told_of('cannot be used')
                mend()
                self.assert_ended_well(daemon)

    def wait_until_told_of(self, text: str) -> None:
        """Waits for a STATUS= with this in it."""
        while text not in self.notify.recv(8192).decode():
            pass

    def test_status_after_a_reload_that_failed(self):
        self.write_options()
        daemon = self.start_passed()
        for file in self.config, self.limits:
            with self.subTest(file=file.name):
                content = file.read_text()
                file.unlink()
                told = self.reload(daemon)
                self.assertIn('; the configuration or limits file cannot be used: the old options '
                              'and limits are in force', str(told))
                file.write_text(content)
                self.assertNotIn('cannot be used', str(self.reload(daemon)))

    def test_changed_to_a_root_that_cannot_be_opened(self):
        self.write_options()
        daemon = self.start_passed()
        missing = self.folder / 'missing'
        self.write_options(f'root = {missing}')
        self.reload(daemon)
        self.assertEqual(self.limit(daemon), '1024')
        self.assertEqual(daemon.warnings(), [f'--root={missing}: No such file or directory; the '
                                             'old options and limits stay in force'])
        missing.mkdir()
        self.reload(daemon)
        self.assert_ended_well(daemon)

    @needs_root
    def test_confined(self):
        """A reload can read the file as the unprivileged user and under Landlock."""
        other = self.folder / 'elsewhere'
        other.mkdir()
        self.write_options()
        self.config.rename(other / 'real')
        self.config.symlink_to(other / 'real')
        daemon = self.start_passed('--user=mail')
        (other / 'real').write_text(f'root = {self.root}\n')
        self.reload(daemon)
        self.assert_ended_well(daemon)


class ControlTest(ConfigTestCase):
    """exim-quotactl --direct reads the same file."""

    def ctl(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run([os.environ['EXIM_QUOTACTL'], *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False, timeout=PATIENCE_SECONDS)

    def write_all(self) -> None:
        """Writes a file with options of all kinds."""
        limits = self.folder / 'limits'
        limits.write_text('joe@example.org: 2K\n')
        self.write(f'root = {self.root}', f'mailbox = {self.root}/%n', f'limits = {limits}',
                   'recipient-delimiter = +', 'grace = 10%', 'warn = 1', 'scan-threads = 3',
                   f'socket = {self.folder}/socket', 'exit-idle-time = 10min', 'debug = yes')

    def test_the_answers_are_those_of_the_service(self):
        self.write_all()
        daemon = self.start(self.option, root=Path())
        targets = ('joe@example.org', 'joe+x@example.org', str(self.path), '/etc/passwd')
        for words in ('usage',), ('check', '--size=1M'), ('check', '--size=2100'):
            service = self.ctl('--raw', f'--socket={daemon.address}', *words, *targets).stdout
            direct = self.ctl('--raw', '--direct', self.option, *words, *targets).stdout
            self.assertEqual(direct, service.replace('source=cache', 'source=scan'))

    def test_the_command_line_outranks_the_file(self):
        self.write_all()
        other = self.folder / 'other'
        make_maildir(other / 'joe', [456])
        done = self.ctl('--raw', '--direct', self.option, f'--root={other}',
                        f'--mailbox={other}/%n', '--default-quota=7', 'usage', 'joe@example.org',
                        'jim@example.org', str(self.path))
        joe, jim, path = done.stdout.splitlines()
        self.assertTrue(joe.endswith(f' mailbox={other}/joe'), joe)
        self.assertIn(' limit=2048 ', joe)
        self.assertIn(' limit=7 ', jim)
        self.assertIn('reason=outside-root', path)

    def test_a_file_that_is_wrong(self):
        self.write('scan-threads = 0')
        done = self.ctl('--direct', self.option, 'usage', str(self.path))
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (2, '', f'exim-quotactl: {self.config}:1: scan-threads = 0 is not '
                          'accepted: it takes a number from 1 to 64\n'))
        done = self.ctl('--direct', f'--config={self.folder}', 'usage', str(self.path))
        self.assertEqual((done.returncode, done.stderr),
                         (2, f'exim-quotactl: {self.folder}: is not a regular file\n'))

    def test_only_with_direct(self):
        done = self.ctl(self.option, 'ping')
        self.assertEqual((done.returncode, done.stderr), (
            2, 'exim-quotactl: --config needs --direct: the service has its own options\n'))


class ExampleTest(ConfigTestCase):
    """The annotated file that is installed."""

    def setUp(self) -> None:
        super().setUp()
        self.example = (PROJECT / 'systemd' / 'exim-quotad.conf').read_text('ascii')

    def test_it_shows_every_option_with_its_default(self):
        shown = dict(re.findall('(?m)^#?([a-z-]+) = (.+)', self.example))
        text = self.run_to_end('--help').stdout
        helped = re.findall(r'(?m)^  (?:-.,|   ) --([a-z-]+)\S* +(.*)', text)
        expected = {name for name, meaning in helped if meaning != 'the same'}
        self.assertEqual(set(shown), expected - {'config', 'check-config', 'help', 'version'})
        for name, meaning in helped:
            default = re.search(r'\(default: (\w+(?:\+\+)?)\)', meaning)
            if default and default[1] not in ('none', 'infinity'):
                with self.subTest(name):
                    self.assertEqual(shown[name], default[1])

    def test_every_line_is_accepted(self):
        for text in self.example, re.sub('(?m)^#([a-z-]+ = )', r'\1', self.example):
            self.config.write_text(text)
            ended = self.run_to_end('--check-config', self.option)
            self.assertNotEqual(ended.status, 2, ended.stderr)
            self.assertIn(f'{self.config}: read\n', ended.stdout)
