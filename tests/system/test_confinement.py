# SPDX-License-Identifier: GPL-2.0-or-later
"""What the service could do if somebody took it over, and who may ask it."""

import errno
import json
import os
import re
import subprocess

from harness import places
from harness.container import wait_until
from harness.debugger import Argument, Call, call_in
from harness.identity import call_as
from harness.scenario import LIMITS_FILE, Scenario
from harness.service import DAEMON, SERVICE, SOCKET_PATH, Service
from test_drop_ins import shown_in_manual

MAILBOX = '/var/mail/joe'
MESSAGE = f'{MAILBOX}/cur/1.M1P1.mx,S=700:2,S'

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET = 1, 2, 10, 16, 17
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW = 1, 2, 3
PROT_READ, PROT_WRITE, PROT_EXEC, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 4, 0x02, 0x20
PTRACE_ATTACH, CLONE_NEWUSER = 16, 0x10000000
# The versions of Landlock that know of these.
LANDLOCK_TCP, LANDLOCK_SIGNALS = 4, 6

LOCALHOST_SMTP = '\x02\0\0\x19\x7f\0\0\x01\0\0\0\0\0\0\0\0'
UNIX_FAMILY = '\x01\0'  # how an address begins

PASSWORDS = '/etc/exim4/passwd.client'

# Where the journal and the service manager take messages: all that can be reached below /run.
REACHABLE = {'/run/systemd/journal/socket', '/run/systemd/journal/dev-log', '/run/systemd/notify'}

# Where others listen on many machines; in the container, somebody does so for the test.
NEIGHBOURS = ('/run/systemd/resolve/io.systemd.Resolve', '/run/mysqld/mysqld.sock', '\0neighbour')

# What no process may do that is confined by Landlock alone.
BEYOND_LANDLOCK = {
    'read a secret': [('open', '/etc/shadow', os.O_RDONLY)],
    'list another directory': [('open', '/etc', os.O_RDONLY | os.O_DIRECTORY)],
    'write into a mailbox': [
        ('open', MESSAGE, os.O_WRONLY), ('open', MESSAGE, os.O_RDWR | os.O_APPEND),
        ('open', f'{MAILBOX}/new/2', os.O_WRONLY | os.O_CREAT, 0o600),
        ('truncate', MESSAGE, 0)],
    'remove and rename': [
        ('unlink', MESSAGE), ('rename', MESSAGE, f'{MAILBOX}/new/2'),
        ('link', MESSAGE, f'{MAILBOX}/new/2'), ('mkdir', f'{MAILBOX}/.Folder', 0o700),
        ('symlink', '/', f'{MAILBOX}/new/2')],
    'make a set-user-ID file': [
        ('open', '/var/mail/suid', os.O_WRONLY | os.O_CREAT, 0o4755),
        ('open', '/tmp/suid', os.O_WRONLY | os.O_CREAT, 0o4755),
        ('mknod', '/var/mail/suid', 0o104755, 0)],
    'execute a program': [('execve', '/bin/sh', 0, 0), ('execve', DAEMON, 0, 0)],
}

# What the service cannot do either.
BEYOND_THE_UNIT = {
    **BEYOND_LANDLOCK,
    'give a file the set-user-ID bit': [('chmod', MESSAGE, 0o4755)],
    'change an owner': [('chown', MESSAGE, 0, 0)],
    'bring code of its own': [('mmap', 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                              ('open', '/proc/self/mem', os.O_RDWR),
                              ('memfd_create', 'code', 0),
                              ('execveat', -1, '/bin/sh', 0, 0, 0)],
    'connect to the network': [
        ('socket', AF_INET, SOCK_STREAM, 0), ('socket', AF_INET6, SOCK_STREAM, 0),
        ('socket', AF_NETLINK, SOCK_RAW, 0), ('socket', AF_PACKET, SOCK_RAW, 0)],
    'touch another process': [
        ('ptrace', PTRACE_ATTACH, 1, 0, 0), ('kill', 1, 9), ('kill', -1, 9)],
    'become another': [('setuid', 0), ('setgid', 0), ('unshare', CLONE_NEWUSER),
                       ('chroot', '/var/mail')],
    'change the system': [('mount', 'none', '/mnt', 'tmpfs', 0, 0), ('umount', '/proc'),
                          ('sethostname', 'x', 1), ('swapoff', '/'), ('reboot', 0)],
}

# What is not there for the service, below directories that are: not even Landlock is asked. The
# last two are where systemd puts a service's mounts together, of which no copy shall stay behind.
HIDDEN = ('/sys/kernel', '/run/dbus', '/run/systemd/mount-rootfs/usr',
          '/run/systemd/unit-root/usr')

# Mounts that are not read-only for the service, and where nobody but root may make anything: what
# it executes, and what is no place for files.
WRITABLE = {DAEMON, '/usr/lib', '/usr/lib32', '/usr/lib64', '/lib', '/lib32', '/lib64', '/proc',
            '/dev/hugepages', '/dev/mqueue', '/dev/pts'}

REFUSALS = (errno.EPERM, errno.EACCES, errno.EROFS, errno.EAFNOSUPPORT)
# What is refused to a unit may also be hidden from it.
UNIT_REFUSALS = (*REFUSALS, errno.ENOENT)


class ConfinementScenario(Scenario):
    """A container with the service and a mailbox of 700 bytes."""

    is_shared = True

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.service = Service(cls.container)
        cls.service.make_maildirs([MAILBOX], 700)

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.service.reset)

    def start_and_ask(self) -> int:
        """Starts the service, which answers. Returns the number of its process inside."""
        self.service.start()
        self.assertEqual(self.service.ask(MAILBOX), '700')
        return self.service.main_pid()

    def assert_refused(self, pid: int, attacks: dict, refusals: tuple = REFUSALS) -> int:
        """The process, its number inside, makes the calls in vain, and lives on.

        Returns a descriptor by which it reads a message, which it may.
        """
        for name, calls in attacks.items():
            with self.subTest(name):
                print(f'{name}:')
                for call in call_in(self.container, pid, calls):
                    print(f'  {call}')
                    self.assertEqual(call.returned, -1, call)
                    self.assertIn(call.errno, refusals, call)
        # It was no fault of the method: what the service does is still allowed.
        opened = self.call(pid, 'open', MESSAGE, os.O_RDONLY)
        self.assertGreaterEqual(opened.returned, 0, opened)
        return opened.returned

    def call(self, pid: int, *call: Argument) -> Call:
        """Lets the process, its number inside, make one call."""
        made = call_in(self.container, pid, [call])[0]
        print(made)
        return made


class Attacks(ConfinementScenario):
    """From within the running service."""

    def test_from_inside_the_service(self):
        before = self._everything()
        pid = self.start_and_ask()

        message = self.assert_refused(pid, BEYOND_THE_UNIT, UNIT_REFUSALS)
        executed = self.call(pid, 'mmap', 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, message, 0)
        self.assertEqual((executed.returned, executed.errno), (-1, errno.EPERM))

        self.assertEqual(self.service.main_pid(), pid)
        self.assertEqual(self.service.ask(MAILBOX), '700')
        self.assertEqual(self._everything(), before)

    def test_nobody_else_can_be_reached(self):
        self._listen_as_neighbours()
        self.service.start()
        sockets = {*self.container.run(['find', '/run', '-type', 's']).stdout.splitlines(),
                   *NEIGHBOURS}
        self.assertLess({*REACHABLE, '/run/dbus/system_bus_socket', '/run/systemd/private',
                         SOCKET_PATH}, sockets)
        pid = self.start_and_ask()
        stream, datagram = (call.returned for call in call_in(self.container, pid, [
            ('socket', AF_UNIX, kind, 0) for kind in (SOCK_STREAM, SOCK_DGRAM)]))
        self.assertGreaterEqual(min(stream, datagram), 0)

        made = iter(call_in(self.container, pid, [
            call for path in sorted(sockets)
            for call in self._attempts(stream, datagram, UNIX_FAMILY + path)]))
        seen, reached = set(), set()
        for path in sorted(sockets):
            calls = [next(made) for _ in self._attempts(stream, datagram, path)]
            print(f'{path!r}: ' + ', '.join(
                'reached' if call.returned >= 0 else errno.errorcode[call.errno]
                for call in calls))
            if any(call.returned >= 0 for call in calls):
                reached.add(path)
            # A socket of another kind is seen, too.
            if calls[2].returned >= 0 or calls[2].errno not in (errno.ENOENT, errno.ECONNREFUSED):
                seen.add(path)
            for call in calls[:2]:
                self.assertEqual((call.returned, call.errno), (-1, errno.EPERM), path)
        self.assertEqual(reached, REACHABLE)
        self.assertEqual(seen, REACHABLE)

    def _attempts(self, stream: int, datagram: int, address: str) -> list[tuple[Argument, ...]]:
        """Returns the calls by which these two sockets could reach an address."""
        return [('connect', stream, address, len(address)),
                ('connect', datagram, address, len(address)),
                ('sendto', datagram, '', 0, 0, address, len(address))]

    def _listen_as_neighbours(self) -> None:
        """Listens where others do, in the container, with a stream and any user let in."""
        neighbours = self.container.popen(
            ['python3', '-c',
             'import os, socket, sys, time\n'
             'listeners = []\n'
             'for path in sys.argv[1:]:\n'
             '    path = path.replace("@", "\\0")\n'
             '    if path[0] == "/":\n'
             '        os.makedirs(os.path.dirname(path), exist_ok=True)\n'
             '    listeners.append(socket.socket(socket.AF_UNIX))\n'
             '    listeners[-1].bind(path)\n'
             '    listeners[-1].listen()\n'
             '    if path[0] == "/":\n'
             '        os.chmod(path, 0o666)\n'
             'print(flush=True)\n'
             'sys.stdin.read()\n',
             *(path.replace('\0', '@') for path in NEIGHBOURS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(neighbours.communicate)
        self.assertEqual(neighbours.stdout.readline(), '\n', 'they listen')

    def test_passwords_beside_the_limits(self):
        self.container.put_file(PASSWORDS, '*.example.org:user:secret\n', 0o640)
        for limits in LIMITS_FILE, '/etc/exim4/limits':
            with self.subTest(limits):
                self.container.put_file(limits, '*: 1G\n')
                self.service.change(options=f'--limits={limits}')
                pid = self.start_and_ask()
                for secret in PASSWORDS, '/etc/shadow', '/etc/ssl/private':
                    opened = self.call(pid, 'open', secret, os.O_RDONLY)
                    self.assertEqual((opened.returned, opened.errno), (-1, errno.ENOENT))

    def test_limits_in_a_directory_that_a_drop_in_shows(self):
        self.container.put_file('/etc/mail/limits', '*: 123K\n')
        drop_in = shown_in_manual('Service', 'BindReadOnlyPaths=')
        print(drop_in)
        self.service.change(drop_in, options='--limits=/etc/mail/limits')
        self.assertIn(' limit=125952 ', self.service.ask(f'usage {MAILBOX}'))

    def test_misconfigured(self):
        self.service.change(options='--root=/srv/missing')
        self.assertEqual(self.service.ask(MAILBOX), '0')
        pid = self.service.main_pid()
        for path in '/', '/var/mail', MESSAGE, '/etc/ld.so.cache':
            call = self.call(pid, 'open', path, os.O_RDONLY)
            self.assertEqual((call.returned, call.errno), (-1, errno.EACCES))
        self.assertEqual(self.service.ask(MAILBOX), '0')

    def test_what_it_has_no_use_for_is_hidden(self):
        pid = self.start_and_ask()

        for path in HIDDEN:
            with self.subTest(path):
                opened = self.call(pid, 'open', path, os.O_RDONLY | os.O_DIRECTORY)
                self.assertEqual((opened.returned, opened.errno), (-1, errno.ENOENT))

    def test_every_other_mount_is_read_only(self):
        pid = self.start_and_ask()
        mounts = [line.split() for line in self.container.run(
            ['cat', f'/proc/{pid}/mountinfo']).stdout.splitlines()]
        options = {fields[4]: fields[5].split(',') for fields in mounts}
        print('\n'.join(f'{where} {",".join(how)}' for where, how in sorted(options.items())))
        for where in ('/', '/tmp', '/var/tmp', '/dev/shm', '/run', '/home', '/etc'):
            self.assertIn('ro', options[where], where)
        for where in ('/', '/tmp', '/var/tmp', '/dev/shm'):
            self.assertIn('noexec', options[where], where)
        self.assertLessEqual({where for where, how in options.items() if 'ro' not in how},
                             WRITABLE)

    def test_landlock_is_what_refuses_other_files(self):
        self.start_and_ask()
        started = self.journal('-t', 'exim-quotad', '-o', 'cat')
        print(started)
        self.assertRegex(started, r'(?m)^confined by Landlock [1-9]')

        # Its user and its capability would let it.
        self.container.put_file('/srv/secret', 'secret\n', 0o600)
        outside = self.container.pid_outside(self.service.main_pid())
        self.assertEqual(call_as(outside, _read, '/srv/secret'), 'secret\n')
        opened = self.call(self.service.main_pid(), 'open', '/srv/secret', os.O_RDONLY)
        self.assertEqual((opened.returned, opened.errno), (-1, errno.EACCES))

    def _everything(self) -> str:
        return self.container.run(
            ['find', '/var/mail', '-printf', '%p %m %u %s %T@\n']).stdout


class WithoutSystemd(ConfinementScenario):
    """From within a daemon that was started by hand, as root, which only Landlock confines."""

    def test_from_inside(self):
        path = '/run/by-hand'
        command = [DAEMON, '--foreground', f'--socket={path}', '--user=root', '--root=/var/mail']
        with self.container.popen(command, stderr=subprocess.PIPE, text=True) as daemon:
            wait_until(lambda: self.container.call(os.path.exists, path), 'its socket')
            self.assertEqual(self.service.ask(MAILBOX, path), '700')
            pid = int(self.container.run(['pgrep', '-x', 'exim-quotad']).stdout)
            said = ''
            try:
                while 'Landlock' not in said:
                    said = daemon.stderr.readline()
                    print(said, end='')
                self._attack(pid, said)
            finally:
                self.container.run(['kill', str(pid)])
                daemon.communicate()

    def _attack(self, pid: int, said: str) -> None:
        version = int(re.search('confined by Landlock ([0-9]+)', said)[1])
        self.assertEqual('no TCP' in said, version >= LANDLOCK_TCP)
        self.assertEqual('no signals to others' in said, version >= LANDLOCK_SIGNALS)
        self.assert_refused(pid, BEYOND_LANDLOCK)
        opened = self.call(pid, 'socket', AF_INET, SOCK_STREAM, 0)
        self.assertGreaterEqual(opened.returned, 0)
        connected = self.call(pid, 'connect', opened.returned, LOCALHOST_SMTP, len(LOCALHOST_SMTP))
        killed = self.call(pid, 'kill', 1, 0)
        # What an older Landlock does not know of, succeeds or fails for want of a listener.
        self.assertEqual((connected.returned, connected.errno) == (-1, errno.EACCES),
                         version >= LANDLOCK_TCP)
        self.assertEqual(killed.returned == -1, version >= LANDLOCK_SIGNALS)


class Exposure(ConfinementScenario):
    """What systemd-analyze says of the units."""

    def test_security_and_each_remaining_cross(self):
        for unit in (SERVICE, 'exim-quotad-accept@x.service'):
            with self.subTest(unit):
                text = self.container.run(['systemd-analyze', 'security', '--no-pager',
                                           unit]).stdout
                print('\n'.join(line for line in text.splitlines() if '✓' not in line))
                exposure = float(re.search(r'Overall exposure level for .*: ([0-9.]+)', text)[1])
                self.assertLessEqual(exposure, 0.8)
                listed = json.loads(self.container.run(
                    ['systemd-analyze', 'security', '--json=short', unit]).stdout)
                crosses = {entry['name'].partition('=')[0] for entry in listed
                           if entry['exposure']}
                self.assertEqual(crosses, self._explained())

    def _explained(self) -> set[str]:
        """Returns the settings that the comment at the end of confinement.conf explains."""
        text = (places.SOURCES / 'systemd/confinement.conf').read_text(encoding='utf-8')
        comment = text.partition('# What is left open on purpose')[2]
        return set(re.findall(r'^# (\w+)=', comment, re.MULTILINE))


class Peers(ConfinementScenario):
    """Who may ask."""

    def test_another_user_is_refused_by_mode(self):
        self.service.start()
        refused = self.service.ask_as('www-data', MAILBOX)
        print(f'www-data: {refused.stderr.splitlines()[-1]}')
        self.assertIn('PermissionError', refused.stderr)
        self.assertEqual(refused.stdout, '')
        self.assertEqual(self.service.main_pid(), 0, 'nobody asked')
        self.assertEqual(self.service.ask_as('Debian-exim', MAILBOX).stdout, '700\n')


def _read(path: str) -> str:
    with open(path, encoding='ascii') as file:
        return file.read()
