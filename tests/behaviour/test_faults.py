# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens when the system fails the service: each call, with each errno that makes sense.

Whatever fails, a client gets the right answer, or the answer for errors, or the end of the
connection; the log says why; and the next question is answered as if nothing had been.
"""

import contextlib
import errno
import os
import re
import resource
import select
import shutil
import signal
import socket
import tempfile
import time
import unittest
from collections import Counter
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import test_background as background

from daemon import (FOLDER_IN_MEMORY, FULL, Daemon, DaemonTestCase, OwnSocketTestCase,
                    count_threads, is_long, is_sanitized, needs_root, open_files_but_roots,
                    parse_pairs, passing, read_all, settle, wait_for)
from faults import SHORT, Fault, Faults, Table, make_faults, needs_faults
from mailboxes import make_maildir, write_maildirsize
from policy import DUNNO, OVER, Policy, policy_request

takes_long_sanitized = unittest.skipIf(is_sanitized() and not is_long(), 'takes long')

MEMORY = ('malloc', 'calloc', 'realloc', 'reallocarray', 'strdup', 'strndup', 'asprintf')

# A service manager that is not there is not told that the service is ready, now or later.
NOBODY_IS_TOLD = {Fault('sendto', nth, errno.ECONNREFUSED) for nth in range(1, 10)}


class Question(NamedTuple):
    """A question, and what its answer is to hold."""

    name: str            # what it is about, below the root
    verb: str            # '' for the path form
    expected: dict       # pairs of the answer; for the path form, 'bytes' alone
    address: bool = False


@needs_faults
class FaultsTestCase(DaemonTestCase):
    """Daemons whose calls fail on demand."""

    def faults(self) -> Faults:
        """Returns the means to make one process fail."""
        return make_faults(self)


def descriptors(daemon: Daemon) -> list[str]:
    """Returns what the descriptors of a daemon are open on, but those of its roots."""
    return sorted(re.sub(r'\d+', 'N', each) for each in open_files_but_roots(daemon.pid))


def resident_kib(daemon: Daemon) -> int:
    """Returns how much memory a daemon takes."""
    status = Path(f'/proc/{daemon.pid}/status').read_text('ascii')
    return int(re.search(r'VmRSS:\s+(\d+) kB', status)[1])


class LogReader:
    """Reads a log that grows."""

    LINE = re.compile(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d exim-quotad\[\d+\]: ([a-z]+): (.*)')

    def __init__(self, daemon: Daemon):
        """Begins at its end."""
        self._daemon = daemon
        settle(daemon.pid)
        self._at = daemon.log.stat().st_size

    def read(self) -> list[tuple[str, str]]:
        """Returns the priority and the text of the entries since the last time."""
        settle(self._daemon.pid)
        with open(self._daemon.log, 'rb') as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        entries = []
        for line in data.decode('utf-8', 'surrogateescape').split('\n')[:-1]:
            found = self.LINE.fullmatch(line)
            if not found or 'exim-quotad[' in found[2]:
                raise AssertionError(f'no line of a log: {line!r}')
            entries.append((found[1], found[2]))
        return entries


def judge(question: Question, reply: bytes, error_number: int) -> str:
    """Says in a word what a reply is. Raises AssertionError if it is a wrong one."""
    if not reply:
        return 'closed'
    if not reply.endswith(b'\n'):
        return 'cut off'
    if question.verb.startswith('explain'):
        reply = reply.splitlines(keepends=True)[-1]
    if reply.strip().isdigit():
        if not question.verb and int(reply) == question.expected['bytes']:
            return 'right'
        if int(reply) == error_number:  # for verbs, too, of which nothing was read yet
            return 'the number for errors'
        raise AssertionError(f'a wrong number: {reply!r}')
    pairs = parse_pairs(reply)
    if pairs['status'] == 'error':
        return f'error {pairs["reason"]}'
    expected = {key: str(value) for key, value in question.expected.items()}
    if {key: pairs.get(key) for key in expected} == expected:
        return 'right'
    if pairs['source'] in ('scan', 'cache') and {**pairs, 'status': '', 'limit': ''} == {
            **pairs, **expected, 'status': '', 'limit': ''}:
        return 'counted'
    raise AssertionError(f'a wrong answer: {reply!r}, not {question.expected}')


def ask_anyhow(daemon: Daemon, request: str) -> bytes:
    """Asks, and returns what there is of a reply, even if nobody takes the question."""
    client = daemon.connect()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(request.encode() + b'\n')
        client.shutdown(socket.SHUT_WR)
    return read_all(client)


class QuestionsTestCase(FaultsTestCase):
    """A mailbox of each kind, and what to ask about them."""

    OPTIONS = ('--mailbox={root}/none/%d/%n', '--mailbox={root}/%d/%n', '--limits={folder}/limits',
               '--default-quota=1M')

    def make_mailboxes(self, root: Path) -> list[Question]:
        """Makes a mailbox of each kind, and returns what to ask about them."""
        (root / 'mbox').write_bytes(b'x' * 777)
        write_maildirsize(make_maildir(root / 'summed', [50, *[100] * 7]), '5000S', '700 7', '50 1')
        write_maildirsize(make_maildir(root / 'over', [600]), '500S', '900 3', '1 1',
                          age_seconds=2000)
        counted = make_maildir(root / 'counted', [100, 23])
        make_maildir(counted / '.Sent', [7])
        (make_maildir(counted / '.Plain') / 'new' / 'untagged').write_bytes(b'x' * 1000)
        make_maildir(root / 'elsewhere', [10000])
        (counted / '.Alias').symlink_to('.Sent')  # known already
        (counted / '.Linked').symlink_to('../elsewhere')
        (counted / 'cur' / 'linked').symlink_to('../../mbox')
        write_maildirsize(make_maildir(root / 'summed' / '.Folder'), '0S', '1 1')
        (root / 'summed' / '.Folder' / 'maildirfolder').touch()
        (root / 'example.org').mkdir()
        (root / 'example.org' / 'joe').symlink_to('../summed')
        (self.folder / 'limits').write_text('joe@example.org: 2000\nexample.org: 900\n*: 400\n')
        summed = {'bytes': 750, 'messages': 8, 'limit': 5000}
        counts = {'status': 'ok', 'bytes': 11907, 'messages': 6}
        return [
            Question('mbox', 'usage', {'status': 'ok', 'bytes': 777}),
            Question('mbox', '', {'bytes': 777}),
            Question('summed', 'usage', summed),
            Question('summed', 'check size=100', {'status': 'ok', **summed}),
            Question('summed', '', {'bytes': 750}),
            Question('over', 'check', {'status': 'over', 'bytes': 600, 'limit': 500}),
            Question('counted', 'usage', counts),
            Question('counted', 'check quota=1K', {**counts, 'status': 'over', 'limit': 1024}),
            Question('counted', '', {'bytes': 11907}),
            Question('summed', 'explain', {'status': 'ok', **summed}),
            Question('counted', 'explain quota=1K', {**counts, 'status': 'over', 'limit': 1024}),
            Question('nothing', 'usage', {'status': 'ok', 'bytes': 0, 'source': 'none'}),
            Question('summed', 'check', {'status': 'ok', **summed, 'limit': 900}, address=True),
            Question('counted', 'check', {**counts, 'status': 'over', 'limit': 900}, address=True),
        ]

    def start_faulty(self, faults: Faults, root: Path, *options: str) -> Daemon:
        """Starts a daemon that is to fail."""
        given = [option.format(root=root, folder=self.folder) for option in self.OPTIONS]
        return self.start(*given, *options, root=root, environment=faults.environment())

    def subject(self, root: Path, question: Question, number: int) -> tuple[Path, str]:
        """Makes a name of its own for the mailbox. Returns it, and what asks about it.

        The log tells once of each name, and nothing is remembered of a new one.
        """
        folder = root / 'example.org' if question.address else root
        path = folder / f'{question.name}-{number}'
        if not path.is_symlink() and question.name != 'nothing':
            path.symlink_to(os.path.relpath(root / question.name, folder))
        target = f'{path.name}@example.org' if question.address else str(path)
        return path, f'{question.verb} {target}' if question.verb else target


class RequestFaultsTest(QuestionsTestCase):
    """One call fails while one question is answered."""

    def check_log(self, fault: Fault, outcome: str, path: Path,
                  entries: list[tuple[str, str]]) -> str:
        """Fails unless the log says why the answer is no better. Returns what it said."""
        texts = [text for _, text in entries]
        if outcome == 'right' or fault.error in (errno.ECONNRESET, errno.EPIPE):
            return ''
        about = [text for text in texts if f'/{path.name}: ' in text or text.startswith(
            (f'{path.name}@', 'cannot accept', 'a client', '"'))]
        why = os.strerror(fault.error)
        if outcome == 'counted':
            why = 'its messages were counted because'
        if fault.function == 'pthread_create':
            why = 'too many mailboxes are waiting to be read'
        if fault.function == 'accept4' and not outcome == 'closed':
            why = 'neither descriptors nor memory'
        if any(why in text for text in about):
            self.told.update(text.partition(': ')[0] for text in about)
            return why
        # Of whom nothing is known, it is told once a minute.
        about_anybody = self.told & {'""', 'a client', 'cannot accept connections'}
        self.assertTrue(about_anybody and outcome in ('closed', 'the number for errors'),
                        f'{fault}: {outcome}: the log does not say "{why}": {texts}')
        return ''

    def go_through(self, root: Path, *options: str) -> None:
        """Asks every question, with everything that may fail meanwhile."""
        error_number = FULL if '--on-error=defer' in options else 0
        faults = self.faults()
        questions = self.make_mailboxes(root)
        daemon = self.start_faulty(faults, root, *options)
        log = LogReader(daemon)
        self.told: set[str] = set()
        table = Table(f'questions, {root.parent.parent} {" ".join(options)}'.strip())
        self.addCleanup(table.print)
        number = 0
        for question in questions:
            number += 1
            for _ in range(2):  # what is learned by the way is known then
                _, line = self.subject(root, question, number)
                self.assertEqual(judge(question, daemon.ask(line), -1), 'right')
            number += 1
            path, line = self.subject(root, question, number)
            faults.record()
            self.assertEqual(judge(question, daemon.ask(line), -1), 'right')
            faults.stop()
            wait_for(lambda: len([each for each in descriptors(daemon)
                                  if each.startswith('socket')]) <= 3, 'no connection is left')
            calls = faults.calls()
            before = descriptors(daemon)
            for fault in faults.faults(calls, True, sparse=not is_long()):
                if fault.function == 'accept4' and question is not questions[0]:
                    continue  # nothing is known of the question yet
                number += 1
                path, line = self.subject(root, question, number)
                log.read()
                with self.subTest(fault=fault, question=question):
                    faults.fail(fault)
                    try:
                        reply = ask_anyhow(daemon, line)
                    finally:
                        faults.stop()
                    outcome = judge(question, reply, error_number)
                    self.assertNotEqual(outcome, 'cut off')  # that takes two faults at once
                    entries = log.read()  # an explanation itself says why it is no better
                    said = ('' if question.verb.startswith('explain')
                            else self.check_log(fault, outcome, path, entries))
                    if not faults.injected():
                        self.assertEqual(outcome, 'right')
                        outcome = 'not met'
                    table.add(fault, outcome, said)
                    self.assertEqual(judge(question, daemon.ask(line), -1), 'right', 'afterwards')
                    wait_for(lambda: descriptors(daemon) == before, f'{fault}: none is left open')
                    self.assertLessEqual(count_threads(daemon.pid), 5)
        self.stop(daemon)

    def test_on_disk(self):
        self.go_through(self.root)

    @takes_long_sanitized
    def test_in_memory(self):
        folder = Path(tempfile.mkdtemp(dir=FOLDER_IN_MEMORY))
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        (folder / 'mail').mkdir()
        self.go_through(folder / 'mail', '--on-error=defer')


class PolicyFaultsTest(QuestionsTestCase):
    """One call fails while Postfix asks twice down one connection, the second time in two parts."""

    def start_beside(self, faults: Faults) -> Daemon:
        """Starts a daemon with a socket for Postfix, and one to which nobody connects."""
        sockets = [self.listen(self.folder / name) for name in ('line', 'policy')]
        how = passing(sockets, ['query', 'policy'])
        how['environment'].update(faults.environment())
        return self._start([option.format(root=self.root, folder=self.folder)
                            for option in self.OPTIONS], sockets[0].getsockname(), None, **how)

    def ask_twice(self, recipient: str) -> list[Optional[str]]:
        """Asks, and asks the same again, as far as that can be done. Returns both actions."""
        client = Policy(self.connect(self.folder / 'policy'))
        request = policy_request(recipient)
        actions = [None, None]
        with contextlib.closing(client.connection), contextlib.suppress(ConnectionError):
            client.send(request + request[:100])
            actions[0] = client.action()
            client.send(request[100:])
            actions[1] = client.action()
        return actions

    def test_each_call(self):
        faults = self.faults()
        self.make_mailboxes(self.root)
        daemon = self.start_beside(faults)
        log, table = LogReader(daemon), Table('Postfix')
        self.addCleanup(table.print)
        question = Question('counted', 'check', {}, address=True)
        for number in range(3):
            path, _ = self.subject(self.root, question, number)
            if number == 2:
                faults.record()
            self.assertEqual(self.ask_twice(f'{path.name}@example.org'), [OVER, OVER])
        faults.stop()
        wait_for(lambda: len([each for each in descriptors(daemon)
                              if each.startswith('socket')]) == 2, 'no connection is left')
        before = descriptors(daemon)
        told = False
        chosen = faults.faults(faults.calls(), True, sparse=not is_long())
        for number, fault in enumerate(chosen, 3):
            path, _ = self.subject(self.root, question, number)
            recipient = f'{path.name}@example.org'
            log.read()
            with self.subTest(fault=fault):
                faults.fail(fault)
                try:
                    actions = self.ask_twice(recipient)
                finally:
                    faults.stop()
                self.assertLessEqual(set(actions), {OVER, DUNNO, None})
                self.assertFalse(actions[0] is None and actions[1], 'it was closed')
                texts = [text for priority, text in log.read() if priority != 'notice']
                told = told or any(re.match('a client: |a policy client: |cannot accept', text)
                                   for text in texts)
                # There is an entry a minute about clients, and one each time about a mailbox.
                if actions != [OVER, OVER] and fault.error not in (errno.ECONNRESET, errno.EPIPE):
                    self.assertTrue(told if None in actions else texts, f'{actions}: {texts}')
                table.add(fault, ', '.join(map(str, actions)))
                self.assertEqual(self.ask_twice(recipient), [OVER, OVER], 'afterwards')
                wait_for(lambda: descriptors(daemon) == before, f'{fault}: none is left open')
        self.stop(daemon)


class StartingTestCase(FaultsTestCase, OwnSocketTestCase):
    """A daemon that is started again and again, in the same place."""

    def setUp(self) -> None:
        super().setUp()
        (self.folder / 'limits').write_text('joe@example.org: 2000\n')
        self.pidfile = self.place / 'pid'
        self.log = self.place / 'log'
        self.notify = self.listen_for_notifications()
        self.control = self.faults()
        self.limit: Optional[str] = '2000'
        self.keeps_sockets = False
        background.be_subreaper(True)
        self.addCleanup(background.be_subreaper, False)

    def told_ready(self) -> bool:
        """Says whether the service manager was told that the service is ready."""
        while select.select([self.notify], [], [], 0)[0]:
            if b'READY=1' in self.notify.recv(65536).split(b'\n'):
                return True
        return False

    def environment(self) -> dict[str, str]:
        """Returns the environment that a service manager gives."""
        return {**self.control.environment(), **self.notify_environment(),
                'WATCHDOG_USEC': '60000000'}

    def launch(self, *options: str, environment: Optional[dict] = None, **how) -> Daemon:
        """Starts it, from the same folder and with the same log each time."""
        shutil.rmtree(self.logs / 'daemon-0', ignore_errors=True)
        self.daemons.clear()
        self.log.unlink(missing_ok=True)
        daemon = self.spawn(*options, log=how.pop('log', self.log), address=self.socket,
                            environment=environment or self.environment(), **how)
        self._cleanups.pop()  # how it ends is looked at here
        return daemon

    def serving(self, daemon: Daemon) -> bool:
        """Waits until the process has ended, or is ready. Says whether it goes on."""
        wait_for(lambda: daemon.process.wait(0) is not None or self.told_ready(), 'it starts')
        return daemon.process.wait(0) is None

    def said(self, daemon: Daemon) -> list[str]:
        """Returns what standard error and the log have to say beyond the ordinary."""
        lines = daemon.stderr().splitlines()
        with contextlib.suppress(FileNotFoundError):
            lines += [re.sub(r'^.*?: (?=[a-z]+: )', '', line)
                      for line in self.log.read_text().splitlines()]
        return [line for line in lines if not re.match('info: |debug: ', line)]


class StartFaultsTest(StartingTestCase):
    """One call fails from the start until the service is ready.

    Either it says what is wrong and ends, and leaves nothing behind, or it answers all the same.
    With sockets of systemd it may also say what is wrong to everybody.
    """

    # Whatever is said of these is in words of our own, or is not to be said at all.
    IN_OTHER_WORDS = {'write', 'fork'}

    NO_OPENAT2 = 'openat2(2) is unavailable'  # what ENOSYS from it means

    # The pipe on which the command waits for its daemon. It is broken only if the command is gone.
    WORDLESS = {Fault('write', 1, error) for error in (
        errno.EINTR, errno.EAGAIN, errno.EIO, errno.ENOSPC)}

    def check_end(self, daemon: Daemon, fault: Fault) -> tuple[str, str]:
        """Fails unless a start that came to nothing said why, and left nothing behind."""
        self.assertIn(daemon.process.status, (1, 2), daemon.stderr())
        if fault in self.WORDLESS and not daemon.stderr():
            return 'status 1', ''
        self.assertRegex(daemon.stderr(), r'(\A|\n)exim-quotad: .+\n\Z')
        line = daemon.stderr().splitlines()[-1]
        self.assertTrue(os.strerror(fault.error) in line or fault.error == SHORT
                        or fault.error == errno.ENOMEM and 'out of memory' in line
                        or fault.error == errno.EPERM and 'only root can' in line
                        or fault.function == 'fstat' and 'stream socket' in line
                        or fault.error == errno.ENOSYS and self.NO_OPENAT2 in line
                        or fault.function in self.IN_OTHER_WORDS, line)
        self.assertEqual(daemon.process.status, 1, line)
        shown = line.removeprefix('exim-quotad: ').replace(str(self.folder), '')
        return f'status {daemon.process.status}', shown

    def check_service(self, daemon: Daemon, fault: Optional[Fault]) -> tuple[str, str]:
        """Fails unless the service answers right, and ends well."""
        self.control.stop()
        if 'error: misconfigured: ' in ''.join(self.said(daemon)):
            return self.check_misconfigured(daemon, fault)
        self.assertEqual(daemon.number(self.path), 123)
        if self.limit and 'there are no limits' not in daemon.log_text():
            self.assertEqual(daemon.usage('joe@example.org')['limit'], self.limit)
        daemon.process.send(signal.SIGTERM)
        self.assertEqual(daemon.process.wait(), 0)
        said = [line.replace(str(self.folder), '') for line in self.said(daemon)
                if line not in self.usual]
        if fault and fault.function in ('setrlimit', 'landlock_create_ruleset'):
            self.assertTrue(said, 'nothing is said')
        return 'starts', '; '.join(said)

    def check_misconfigured(self, daemon: Daemon, fault: Fault) -> tuple[str, str]:
        """Fails unless a service that took the fault for a lasting one says so, and ends well."""
        self.assertTrue(self.keeps_sockets, 'nobody would start it again')
        self.assertEqual(daemon.pairs('ping')['reason'], 'misconfigured')
        self.assertEqual(daemon.number(self.path), 0)
        daemon.process.send(signal.SIGTERM)
        self.assertEqual(daemon.process.wait(), 0)
        [line] = [line for line in self.said(daemon) if 'misconfigured: ' in line]
        self.assertTrue(os.strerror(fault.error) in line
                        or fault.error == errno.ENOSYS and self.NO_OPENAT2 in line
                        or fault.error == errno.EPERM and 'only root can' in line, line)
        return 'misconfigured', line.replace(str(self.folder), '')

    def attempt(self, start: Callable[[], Daemon],
                fault: Optional[Fault]) -> tuple[str, str]:
        """Starts it once. Returns what came of it, and what was said."""
        self.told_ready()
        daemon = start()
        try:
            if not self.serving(daemon):
                self.control.stop()
                outcome = self.check_end(daemon, fault)
            else:
                outcome = self.check_service(daemon, fault)
            if self.pidfile.exists():  # it holds no number and no lock, and is in nobody's way
                self.assertEqual(self.pidfile.read_bytes(), b'')
                self.pidfile.unlink()
            if not self.keeps_sockets:
                self.assertEqual(list(self.place.glob('[sp]*')), [], 'what is left behind')
            for report in daemon.folder.glob('sanitizer*'):
                self.fail(report.read_text('utf-8', 'replace'))
            return outcome
        finally:
            daemon.process.end()

    def go_through(self, title: str, start: Callable[[], Daemon], every: bool) -> None:
        """Starts it again and again, each time with something else that fails."""
        self.usual: list[str] = []
        self.control.record()
        _, usual = self.attempt(start, None)
        self.usual = usual.split('; ')
        calls = self.control.calls()
        table = Table(f'{title}: {len(calls)} calls')
        self.addCleanup(table.print)
        if is_sanitized() and not every:  # it is the clean-up that is of interest then
            calls = [call for call in calls if call.function in MEMORY]
        for fault in self.control.faults(calls, every, sparse=not every):
            if title == 'background' and fault.function == 'read' and fault.error != errno.EINTR:
                continue  # it may be the pipe again
            if fault in NOBODY_IS_TOLD:
                continue
            with self.subTest(fault=fault):
                self.control.fail(fault)
                outcome, said = self.attempt(start, fault)
                table.add(fault, outcome if self.control.injected() else 'not met', said)

    @unittest.skipIf(is_sanitized(), 'the sanitizer itself needs memory for the thread')
    def test_own_socket(self):
        options = (f'--socket={self.socket}', '--socketmode=660', '--foreground', '--debug',
                   f'--pidfile={self.pidfile}', f'--limits={self.folder}/limits',
                   f'--root={self.folder}/run', f'--mailbox={self.root}/%n',
                   '--recipient-delimiter=+', '--grace=10%', '--warn=50', '--default-quota=1G',
                   '--exclude-folder=Trash', '--exclude-folder=Spam', '--size-tag=W',
                   '--scan-threads=2', '--scan-timeout=9999', '--cache-size=64K',
                   '--timeout=9999', '--max-connections=2000',
                   '--on-error=defer')
        wrapper = ('/usr/bin/prlimit', '--nofile=512:4096')
        self.go_through('own socket', lambda: self.launch(*options, wrapper=wrapper), is_long())

    @takes_long_sanitized
    @needs_root
    def test_background(self):
        def start() -> Daemon:
            command = self.launch(f'--socket={self.socket}', f'--pidfile={self.pidfile}',
                                  '--max-connections=10')
            if command.process.wait() == 0:
                command.process = background.Orphan(int(self.pidfile.read_text()))
                command.pid = command.process.pid
            else:
                wait_for(lambda: not orphans(), 'no process is left')
            return command

        def orphans() -> bool:
            try:
                return os.waitpid(-1, os.WNOHANG) == (0, 0)
            except ChildProcessError:
                return False

        self.limit = None
        self.go_through('background', start, is_long())

    @takes_long_sanitized
    def test_passed_sockets(self):
        listener = self.listen(self.socket)
        other = self.listen(self.place / 'other', kind=socket.SOCK_DGRAM)
        how = passing([listener, other], ['query', 'other'])
        how['environment'].update(self.environment())
        self.limit = None
        self.keeps_sockets = True
        self.go_through('passed sockets', lambda: self.launch(
            '--max-connections=10', '--exit-idle-time=1h', **how), is_long())


class RunningFaultsTest(StartingTestCase):
    """Faults in what the service does besides answering."""

    def start_ready(self, *options: str, **how) -> Daemon:
        """Starts a daemon and waits until it is ready. Nothing fails yet."""
        self.control.record()
        self.told_ready()
        daemon = self.launch(f'--socket={self.socket}', '--foreground', *options, **how)
        self.assertTrue(self.serving(daemon), daemon.stderr())
        self.control.stop()
        self.addCleanup(daemon.process.end)
        return daemon

    def start_without_threads(self, *options: str, **how) -> Daemon:
        """Starts a daemon that has no thread yet but that of its log: the other cannot be made."""
        self.control.fail(Fault('pthread_create', 2, errno.EAGAIN))
        self.told_ready()
        daemon = self.launch(*options, **how)
        self.assertTrue(self.serving(daemon), daemon.stderr())
        self.assertEqual(self.control.stop(), 1)
        self.assertIn('cannot check the roots and templates: Resource temporarily unavailable',
                      daemon.log_text())
        self.addCleanup(daemon.process.end)
        return daemon

    def test_reload(self):
        limits = self.folder / 'limits'
        daemon = self.start_ready(f'--limits={limits}', f'--mailbox={self.root}/%n')
        table = Table('reload')
        self.addCleanup(table.print)

        def reload(limit: int) -> str:
            limits.write_text(f'joe@example.org: {limit}\n')
            settle(daemon.pid)  # the log may still be opened again, after the last reload
            self.log.rename(f'{self.log}.1')
            daemon.process.send(signal.SIGHUP)
            wait_for(self.told_ready, 'it has reloaded')
            self.control.stop()
            return daemon.usage('joe@example.org')['limit']

        self.control.record()
        self.assertEqual(reload(1), '1')
        calls = self.control.calls()
        before = descriptors(daemon)
        limit = 1
        for fault in self.control.faults(calls, is_long()):
            if fault in NOBODY_IS_TOLD:
                continue
            with self.subTest(fault=fault):
                self.control.fail(fault)
                old, limit = limit, limit + 1
                got = reload(limit)
                said = ''
                for file in self.log.with_name('log.1'), self.log:
                    settle(daemon.pid)
                    with contextlib.suppress(FileNotFoundError):
                        said += file.read_text()
                told = re.findall(r'(?:warning|error): (.*)', said.replace(str(self.folder), ''))
                self.assertIn(got, (str(limit), str(old)))
                if not self.control.injected():
                    self.assertEqual(got, str(limit))
                if got != str(limit):
                    self.assertRegex(said, 'the old (options and )?limits stay in force')
                if not self.log.exists():
                    self.assertIn('cannot reopen the log file', said)
                    self.log.touch()
                table.add(fault, 'not met' if not self.control.injected() else
                          'new limits' if got == str(limit) else 'old limits', '; '.join(told))
                limit += 1
                self.assertEqual(reload(limit), str(limit), 'the next reload')
                wait_for(lambda: descriptors(daemon) == before, f'{fault}: none is left open')
        self.stop(daemon)

    def test_reload_without_threads(self):
        """The limits are old then, until the service is idle and finds that they can be read."""
        limits = self.folder / 'limits'
        self.stop(self.start_ready())  # the faults are known from then on
        listener = self.listen(self.socket)
        how = passing([listener])
        how['environment'].update(self.environment())
        client = self.connect(self.socket)  # before it could be idle
        daemon = self.start_without_threads(f'--limits={limits}', '--exit-idle-time=300ms', **how)
        self.control.fail(Fault('pthread_create', 1, errno.EAGAIN))
        daemon.process.send(signal.SIGHUP)
        wait_for(self.told_ready, 'it has reloaded')
        client.close()
        self.assertEqual(self.control.stop(), 1)
        self.assertIn('cannot be read now: Resource temporarily unavailable; the old options and '
                      'limits stay in force', daemon.log_text())
        self.assertEqual(daemon.process.wait(), 0)
        self.assertIn('idle (--exit-idle-time)', daemon.log_text())

    def stop_faulty(self, title: str, options: tuple[str, ...],
                    stop: Callable[[Daemon], None]) -> None:
        """Makes one call after the other fail while a daemon ends."""
        def attempt(fault: Optional[Fault]) -> None:
            daemon = self.start_ready(*options)
            self.assertEqual(daemon.number(self.path), 123)
            if fault:
                self.control.fail(fault)
            else:
                self.control.record()
            stop(daemon)
            self.assertEqual(daemon.process.wait(), 0, daemon.stderr())
            for report in daemon.folder.glob('sanitizer*'):
                self.fail(report.read_text('utf-8', 'replace'))
            left = sorted(each.name for each in self.place.glob('[sp]*'))
            if left and fault:
                self.assertIn(fault.function, ('unlinkat', 'fstat', 'fstatat'))
            else:
                self.assertEqual(left, [])
            if fault:
                table.add(fault, f'status 0{", a file stays" * bool(left)}')
            for each in left:
                (self.place / each).unlink()

        table = Table(title)
        self.addCleanup(table.print)
        attempt(None)
        for fault in self.control.faults(self.control.calls(), is_long(), sparse=not is_long()):
            with self.subTest(fault=fault):
                attempt(fault)

    def test_end(self):
        self.stop_faulty('end by SIGTERM', (f'--pidfile={self.pidfile}',),
                         lambda daemon: daemon.process.send(signal.SIGTERM))

    def test_first_thread(self):
        self.stop(self.start_ready())  # the faults are known from then on
        daemon = self.start_without_threads(f'--socket={self.socket}', '--foreground',
                                            '--scan-threads=2')
        for times in 1, 3:
            self.control.fail(Fault('pthread_create', 1, errno.EAGAIN), times)
            for _ in range(times):
                reply = daemon.usage(self.path)
                self.assertEqual((reply['status'], reply['reason']), ('error', 'overloaded'))
            self.assertEqual(self.control.stop(), times)
        self.assertEqual(daemon.number(self.path), 123)
        self.assertIn('too many mailboxes are waiting to be read', daemon.log_text())

    def test_log_without_threads(self):
        """Entries wait until there is a thread that writes them; queries do not."""
        self.stop(self.start_ready())  # the faults are known from then on
        self.control.fail(Fault('pthread_create', 1, errno.EAGAIN), 1000000)
        self.told_ready()
        daemon = self.launch(f'--socket={self.socket}', '--foreground')
        self.addCleanup(daemon.process.end)
        self.assertTrue(self.serving(daemon), daemon.stderr())
        for number in range(100):
            self.assertEqual(daemon.number(f'/etc/{number}'), 0)
        self.assertEqual(daemon.log_text(), '')
        self.control.stop()
        daemon.number('/etc/100')
        told = re.findall(': /etc/([0-9]+): ', daemon.log_text())
        self.assertEqual(told, [str(number) for number in range(101)])
        self.stop(daemon)

    def cpu_seconds(self, daemon: Daemon) -> float:
        """Returns how long the daemon has computed."""
        numbers = Path(f'/proc/{daemon.pid}/stat').read_text('ascii').rpartition(')')[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf('SC_CLK_TCK')

    def test_accept_without_descriptors(self):
        """It tries ten times a second, and not as often as it can."""
        daemon = self.start_ready()
        errors = (errno.EMFILE, errno.ENOMEM, errno.ENFILE, errno.ENOBUFS)
        for error in errors if is_long() else errors[:2]:
            self.control.fail(Fault('accept4', 1, error), 1000000)
            with daemon.connect() as client:
                client.sendall(b'ping\n')
                wait_for(lambda: self.control.injected() >= 5, 'it tries again')
                before = self.cpu_seconds(daemon), self.control.injected()
                self.assertFalse(select.select([client], [], [], 1)[0])
                self.assertLess(self.cpu_seconds(daemon) - before[0], 0.5)
                self.assertLess(self.control.injected() - before[1], 100)
                self.control.stop()
                self.assertIn(b'status=ok', client.recv(100))
            self.assertIn(f'cannot accept connections: {os.strerror(error)}',
                          daemon.log_text())
        self.stop(daemon)

    @needs_root
    def test_no_descriptor_but_one(self):
        """Whoever has the last descriptor is answered, not turned away for nobody's sake."""
        daemon = self.start_ready('--scan-threads=1', '--max-connections=5', '--user=root')
        daemon.ask('ping')  # what it needed for the start is closed by now
        numbers = {int(name) for name in os.listdir(f'/proc/{daemon.pid}/fd')}
        last = next(number for number in range(len(numbers) + 1) if number not in numbers)
        hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (last + 1, hard))
        with daemon.connect() as client:
            wait_for(lambda: Path(f'/proc/{daemon.pid}/fd/{last}').is_symlink(), 'it has accepted')
            with self.assertRaises(TimeoutError):
                client.settimeout(0.5)
                client.recv(100)
            client.settimeout(30)
            client.sendall(b'ping\n')
            self.assertIn(b'status=ok', client.recv(100))
        self.assertNotIn('made room', daemon.log_text())
        self.stop(daemon)


class ManyFaultsTest(QuestionsTestCase):
    """Whatever may fail fails, again and again."""

    PER_MILLION = 20000

    @unittest.skipUnless(is_long() and not is_sanitized(), 'takes long; leaks are seen anyway')
    def test_one_thousand_times(self):
        """Nothing grows, whichever call fails."""
        faults = self.faults()
        questions = self.make_mailboxes(self.root)
        daemon = self.start_faulty(faults, self.root)
        for question in (each for each in questions if each.verb == 'usage'):
            _, line = self.subject(self.root, question, 0)
            for _ in range(2):
                self.assertEqual(judge(question, daemon.ask(line), -1), 'right')
            faults.record()
            daemon.ask(line)
            faults.stop()
            for fault in faults.faults(faults.calls(), False, sparse=True):
                if fault.function == 'accept4':
                    continue  # each takes a tenth of a second
                memory, before = 0, descriptors(daemon)
                for number in range(1000):
                    faults.fail(fault)
                    ask_anyhow(daemon, line)
                    faults.stop()
                    memory = memory or (resident_kib(daemon) if number == 100 else 0)
                grown = resident_kib(daemon) - memory
                self.assertLess(grown, 128, f'KiB grown by {fault}')
                wait_for(lambda: descriptors(daemon) == before, 'none is left open')
                self.assertLessEqual(count_threads(daemon.pid), 5)
        self.stop(daemon)

    def test_at_random(self):
        seed = int(os.environ.get('FAULTS_SEED') or int.from_bytes(os.urandom(3), 'little'))
        print(f'seed {seed}')
        seconds = 180 if is_long() else 3
        faults = self.faults()
        questions = self.make_mailboxes(self.root)
        daemon = self.start_faulty(faults, self.root, '--on-error=defer', '--cache-size=64K')
        asked = [(question, self.subject(self.root, question, number)[1])
                 for number in range(5) for question in questions]
        for question, line in asked:
            self.assertEqual(judge(question, daemon.ask(line), -1), 'right')
        before, memory = descriptors(daemon), 0
        got: Counter[str] = Counter()
        injected, rounds = 0, 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            faults.fail_randomly(seed + rounds, self.PER_MILLION)
            for question, line in asked:
                got[judge(question, ask_anyhow(daemon, line), FULL)] += 1
            injected += faults.stop()
            rounds += 1
            for question, line in asked:
                self.assertEqual(judge(question, daemon.ask(line), -1), 'right', 'afterwards')
            wait_for(lambda: descriptors(daemon) == before, 'none is left open')
            self.assertLessEqual(count_threads(daemon.pid), 5)
            memory = memory or (resident_kib(daemon) if rounds == 10 else 0)
        print(f'{injected} calls failed amid {sum(got.values())} questions: ' + ', '.join(
            f'{number} {outcome}' for outcome, number in got.most_common()))
        if memory and not is_sanitized():
            print(f'resident: {memory} KiB in the beginning, {resident_kib(daemon)} in the end')
            self.assertLess(resident_kib(daemon), memory + 1024)
        self.assertGreater(injected, 0)
        self.stop(daemon)
