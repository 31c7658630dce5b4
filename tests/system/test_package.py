# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package, from its sources to a purge, and the way to install without it."""

import hashlib
import re
import time
import unittest
from pathlib import Path

from harness import project, readme
from harness.container import wait_until
from harness.project import BUILD_INSIDE, COMPILE_SECONDS, SOURCES_INSIDE
from harness.scenario import Scenario, is_long, quickly_on
from harness.service import SOCKET, SOCKET_PATH, Service, wait_for_new_main_process

BUILT = '/var/tmp/package'
OLDER = '0.9.9'
OLDER_PACKAGE = f'/var/tmp/exim-quotad_{OLDER}.deb'
BUILD = 'DEB_BUILD_OPTIONS=nocheck packaging/build'

# What changes by itself, or with any package.
ELSEWHERE = ('/dev', '/proc', '/run', '/sys', '/tmp', '/var/tmp', '/var/lib/dpkg', '/var/log',
             '/var/cache', '/var/build', '/usr/src', '/root', '/var/lib/systemd', '/home',
             '/var/lib/exim4', '/var/spool')


class PackageScenario(Scenario):
    """A container in which nothing of ours is installed yet."""

    @classmethod
    def prepare(cls) -> None:
        """Leaves the container as it is."""

    @classmethod
    def all_files(cls) -> set[str]:
        """Returns the files, but for those in folders where they come and go."""
        pruned = ' -o '.join(['-name __pycache__', *(f'-path {path}' for path in ELSEWHERE)])
        return set(cls.container.run(f'find / \\( {pruned} \\) -prune -o -print').stdout
                   .splitlines())

    def accounts(self) -> set[str]:
        """Returns the users and groups."""
        return set(self.container.run('cut -d : -f 1 /etc/passwd /etc/group').stdout.split())


class Package(PackageScenario):
    """The package is built once; each test installs it, and purges it."""

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        start = time.monotonic()
        cls.container.run(f'cd {SOURCES_INSIDE} && {BUILD} {BUILT}', timeout=COMPILE_SECONDS)
        print(f'built in {time.monotonic() - start:.0f} s')
        cls.service = Service(cls.container)

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.container.run, ['dpkg', '--purge', 'exim-quotad'])

    def package(self) -> str:
        """Returns the path of the package."""
        return self.container.run(f'ls {BUILT}/exim-quotad_*.deb').stdout.strip()

    def install(self, package: str) -> str:
        """Installs the package, and returns what is printed."""
        done = self.container.run(f'dpkg --install {package} 2>&1')
        print(done.stdout)
        return done.stdout

    def checksums(self, folder: str) -> dict[str, str]:
        """Returns those of the packages in the folder.

        What dpkg-buildpackage writes about the build, .buildinfo and .changes, has its time.
        """
        def read() -> dict[str, str]:
            return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in sorted(Path(folder).iterdir())
                    if path.suffix in ('.deb', '.dsc', '.xz')}
        return self.container.call(read)

    @unittest.skipUnless(is_long(), 'compiles all of it again')
    def test_another_build_is_identical(self):
        """In another folder, of copies with other times and permissions, later."""
        self.container.run(
            f'mkdir -p /var/tmp/a/longer/path && cp -r {SOURCES_INSIDE} /var/tmp/a/longer/path/ && '
            'cd /var/tmp/a/longer/path/* && rm -rf build && find . -exec touch -d @1234567890 {} + '
            f'&& chmod -R go-rwx . && umask 077 && {BUILD} /var/tmp/again', timeout=COMPILE_SECONDS)
        first, second = self.checksums(BUILT), self.checksums('/var/tmp/again')
        print(first)
        self.assertEqual(len(first), 4)
        self.assertEqual(first, second)

    @quickly_on('trixie')
    def test_lintian_is_silent(self):
        checked = self.container.run(['lintian', '--pedantic', '--allow-root', '--fail-on',
                                      'error,warning,pedantic',
                                      self.package().replace('.deb', '.changes')], check=False,
                                     timeout=COMPILE_SECONDS)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, '', ''))

    def test_install_remove_purge(self):
        accounts, files = self.accounts(), self.all_files()
        self.assertNotIn('no group', self.install(self.package()))
        self.assertTrue(self.container.is_active(SOCKET))
        states = self.container.run('systemctl is-enabled exim-quotad.socket exim-quotad-accept'
                                    '.socket exim-quotad-metrics.socket', check=False).stdout
        self.assertEqual(states.split(), ['enabled', 'disabled', 'disabled'])
        self.assertRegex(self.service.ask_as('Debian-exim', 'ping').stdout, r'status=ok version=')
        self.assertIn('exim-quotad', self.container.run(['journalctl', '--list-catalog']).stdout)
        conffiles = self.container.run(['dpkg-query', '--show', '--showformat=${Conffiles}',
                                        'exim-quotad']).stdout
        self.assertEqual(re.findall(r'^ (\S+)', conffiles, re.MULTILINE),
                         ['/etc/exim-quotad/exim-quotad.conf', '/etc/exim-quotad/limits'])
        self.container.run('systemctl enable --now exim-quotad-metrics.socket')

        self.container.run(['dpkg', '--remove', 'exim-quotad'])
        self.assertEqual(self.container.run('systemctl list-units --all --plain --no-legend '
                                            '--state=active "exim-quotad*"').stdout, '')
        self.assertFalse(self.container.call(Path(SOCKET_PATH).exists))
        self.container.run(['dpkg', '--purge', 'exim-quotad'])
        self.assertEqual(self.all_files() - files, set())
        # Debian keeps the users of packages: their numbers must not be given to others.
        self.assertLessEqual(self.accounts() - accounts, {'exim-quotad'})

    @quickly_on('trixie')
    def test_upgrade_under_load(self):
        self.container.run(
            f'dpkg-deb -R {self.package()} /var/tmp/older && cd /var/tmp/older && '
            f'sed -i "s/^Version: .*/Version: {OLDER}/" DEBIAN/control && '
            f'dpkg-deb -b . {OLDER_PACKAGE}')
        self.install(OLDER_PACKAGE)
        answers = {f'/var/mail/vhosts/user{number}': '4321' for number in range(50)}
        self.service.make_maildirs(answers, 4321)
        with self.service.load(answers, clients=8) as load:
            old = self.service.main_pid() or wait_until(self.service.main_pid, 'it runs')
            self.install(self.package())
            wait_for_new_main_process(self.service, old)
            seen = load.stop()
        print(seen)
        self.assertEqual((seen['wrong'], seen['failed']), (0, 0))
        self.assertGreater(seen['queries'], 100)

    @quickly_on('bookworm')
    def test_without_exims_group(self):
        overrides = '/var/lib/dpkg/statoverride'  # dpkg refuses those of a group that is not there
        self.container.run(f'groupmod -n other-exim Debian-exim && mv {overrides} {overrides}-kept')
        self.addCleanup(self.container.run, f'groupmod -n Debian-exim other-exim && '
                        f'mv {overrides}-kept {overrides}')
        self.assertIn('There is no group Debian-exim', self.install(self.package()))
        self.assertFalse(self.container.is_active(SOCKET))
        self.container.put_file(f'/etc/systemd/system/{SOCKET}.d/test.conf',
                                '[Socket]\nSocketGroup=other-exim\n')
        self.addCleanup(self.container.run, f'rm -r /etc/systemd/system/{SOCKET}.d && '
                        'systemctl daemon-reload')
        self.container.run(f'systemctl daemon-reload && systemctl start {SOCKET}')
        self.assertIn('status=ok', self.service.ask('ping'))

    def test_three_commands(self):
        """From the installed package to the first 452, as the README prints them."""
        self.install(self.package())
        for user, size in (('gina', 2000), ('ben', 0)):
            self.container.run(['useradd', user])
            self.addCleanup(self.container.run, ['userdel', user])
            self.container.put_file(f'/var/mail/{user}', 'x' * size)
        check = ['exim-quotactl', 'check-setup', 'gina@localhost']
        checked = self.container.run(check, check=False)
        print(checked.stdout)
        self.assertEqual(checked.returncode, 1)
        self.assertIn('MISSING  its ACL for rcpt', checked.stdout)
        commands = readme.block('Install', 'localmacros').replace('2G', '1K')
        start = time.monotonic()
        self.container.run(commands)
        checked = self.container.run(check)
        print(f'{commands}{checked.stdout}{time.monotonic() - start:.1f} s')
        self.assertNotIn('MISSING', checked.stdout)
        self.assertIn(' 452 4.2.2 Mailbox is full\n', checked.stdout)
        checked = self.container.run(['exim-quotactl', 'check-setup', 'ben@localhost'])
        self.assertIn(' 250 Accepted\n', checked.stdout)
        self._check_other_mailboxes()
        self._check_what_is_missing()

    def _check_other_mailboxes(self) -> None:
        """Mailboxes that the unit hides, and mailboxes whose paths only Exim knows."""
        self.container.run(
            'cd /etc/exim-quotad && mkdir -p /home/hal/Maildir/cur && '
            'echo "MAILBOX_CHECK_TARGET = /var/mail/\\$local_part" '
            '>>/etc/exim4/exim4.conf.localmacros && sed -i /^mailbox/d exim-quotad.conf && '
            'systemctl restart exim4 exim-quotad.service')
        checked = self.container.run(['exim-quotactl', 'check-setup', 'gina@localhost'])
        self.assertIn('note     the service cannot check the address itself', checked.stdout)
        self.assertIn(' 452 4.2.2 Mailbox is full\n', checked.stdout)
        self.container.run(
            'cd /etc/exim-quotad && sed -i /MAILBOX_CHECK/d /etc/exim4/exim4.conf.localmacros && '
            'printf "%s\\n" "root = /home" "mailbox = /home/%n/Maildir" >>exim-quotad.conf && '
            'systemctl restart exim4 exim-quotad.service')
        checked = self.container.run(['exim-quotactl', 'check-setup', 'hal@localhost'],
                                     check=False)
        self.assertEqual(checked.returncode, 1)
        self.assertIn('MISSING  the service and root see different things', checked.stdout)
        self.assertIn('the unit may hide the mailbox (ProtectHome=)', checked.stdout)

    def _check_what_is_missing(self) -> None:
        """Takes something away, step by step."""
        def run() -> str:
            return self.container.run(['exim-quotactl', 'check-setup'], check=False).stdout
        self.container.run(['chgrp', 'root', SOCKET_PATH])
        self.assertIn('MISSING  its user Debian-exim gets no reply', run())
        self.container.run('echo warn = much >>/etc/exim-quotad/exim-quotad.conf')
        self.assertIn('MISSING  the configuration cannot be used:', run())
        self.container.run(['systemctl', 'stop', SOCKET])
        shown = run()
        self.assertIn('MISSING  no socket is active', shown)
        self.assertIn(f'MISSING  {SOCKET_PATH} does not exist', shown)
        asked = self.container.run(['exim-quotactl', 'check-setup'], user='daemon', check=False)
        self.assertEqual((asked.returncode, asked.stdout), (2, ''))
        for words in (['--help'], ['joe@localhost', 'ann@localhost'], ['']):
            asked = self.container.run(['exim-quotactl', 'check-setup', *words], check=False)
            self.assertEqual((asked.returncode, asked.stdout), (2, ''), words)

    @quickly_on('bookworm')
    def test_autopkgtest(self):
        """This container is as good as one of its own, once it is as it was."""
        self.addCleanup(self.container.run, (
            'userdel -r joe; userdel -r ann; rm -rf /etc/exim4/exim4.conf.localmacros '
            '/var/lib/apt/lists/*; systemctl restart exim4'), check=False)
        tested = self.container.run(
            'autopkgtest --ignore-restrictions=isolation-container '
            f'{self.package().replace(".deb", ".changes")} -- null 2>&1', check=False,
            timeout=COMPILE_SECONDS)
        print(tested.stdout)
        self.assertEqual(tested.returncode, 0)
        self.assertRegex(tested.stdout, r'smtp +PASS')


class WithoutPackage(PackageScenario):
    """What the README says of `meson install`."""

    def test_upgrade_and_uninstall(self):
        files = self.all_files()
        project.install(self.container)
        service = Service(self.container)
        service.start()
        self.assertIn('status=ok', service.ask('ping'))
        old = service.main_pid()
        for command in readme.block('Without a package', 'try-restart').splitlines()[1:]:
            self.container.run(command)
        wait_for_new_main_process(service, old)
        self.assertIn('status=ok', service.ask('ping'))

        commands = readme.block('Without a package', 'uninstall')
        print(commands)
        for command in commands.replace("\\\n", "").splitlines():
            self.container.run(command.replace('-C build', f'-C {BUILD_INSIDE}'))
        self.assertFalse(self.container.call(Path(SOCKET_PATH).exists))
        left = {path for path in self.all_files() - files
                if not self.container.call(Path(path).is_dir)}
        self.assertEqual(left, set())
        self.assertNotIn('exim-quotad', self.accounts())
