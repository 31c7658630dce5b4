# SPDX-License-Identifier: GPL-2.0-or-later
"""The service is stopped, killed, hangs, or answers nonsense: mail is accepted, and Exim logs why.

With the ACL files that we ship, in Debian's own configuration. A full mailbox is among the
recipients wherever the service is ill: its mail is accepted, too.
"""

import os
import re
import socket
import threading
from pathlib import Path

from harness import smtp
from harness.container import wait_until
from harness.scenario import DebianScenario
from harness.service import SERVICE, SOCKET, SOCKET_PATH

ACCEPTED = '250 Accepted'
FULL = '452 4.2.2 Mailbox is full'
NOBODY_HAS_ROOM = "452 4.2.2 No recipient's mailbox has room for this message"

# With a pair that a later version may add.
OK_ANSWER = (b'status=ok bytes=10 messages=1 limit=10000 message_limit=0 percent=0 source=scan '
             b'later=x/1.5 mailbox=/var/mail/x text="Mailbox has room"\n')
OVER_ANSWER = OK_ANSWER.replace(b'status=ok', b'status=over')

# What is no answer, and what Exim's log says of it.
GARBAGE = (
    (b'', 'an empty answer'),
    (b'\n', 'an empty answer'),
    (b'0\n', 'not checked: 0\n'),
    (b'9223372036854775807\n', 'not checked: 9223372036854775807\n'),
    (b'status=over\n', 'not checked: status=over\n'),
    (b'status=toolarge bytes=1 messages=1', 'not checked: status=toolarge bytes=1'),
    (OVER_ANSWER[:-3], 'not checked: status=over bytes=10'),
    (OVER_ANSWER.replace(b'bytes=10', b'bytes=ten'), 'not checked: status=over bytes=ten'),
    (b'x' + OVER_ANSWER, 'not checked: xstatus=over'),
    (OVER_ANSWER * 2, r'text="Mailbox has room"\nstatus=over'),
    (b'\n' * 3 + OVER_ANSWER, r'not checked: \n\n\nstatus=over'),
    (b'HTTP/1.1 400 Bad Request\r\n\r\n', 'not checked: HTTP/1.1 400 Bad Request'),
    (b'\xff\xfe\x80\x01\x02\x1b[31m\n', r'not checked: \377\376\200\001\002\033[31m'),
    (b'${run{/bin/touch /tmp/expanded}}\n', 'not checked: ${run{/bin/touch'),
    (b'\0' * 10 + OVER_ANSWER, 'an empty answer'),
    (b'A' * 1_000_000, 'not checked: ' + 'A' * 300),
    (b'status=error reason=io-error text="the disk is gone"\n',
     'not checked: status=error reason=io-error text="the disk is gone"'),
    (b'status=fine bytes=1 source=scan mailbox=/x text="y"\n',
     'not checked: status=fine bytes=1 source=scan'),
)


class FakeServer:
    """Listens where the service would, and answers each question with the next of the answers."""

    def __init__(self, container, answers: list):
        """An answer may be None: the question is not answered until close()."""
        self.requests: list[bytes] = []
        self._answers = list(answers)
        self._unanswered: list[socket.socket] = []
        self._listener = container.call(_listen, SOCKET_PATH)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Ends it. The file of its socket stays, with nobody behind it."""
        if self._thread.is_alive():
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join()
        self._listener.close()
        for connection in self._unanswered:
            connection.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.requests.append(connection.makefile('rb').readline())
            answer = self._answers.pop(0) if self._answers else b''
            if answer is None:
                self._unanswered.append(connection)
                continue
            try:
                connection.sendall(answer)
            except OSError:
                pass  # Exim has read enough
            connection.close()


class Illness(DebianScenario):
    """full@ holds more than its quota, tight@ has room for little, other@ for much."""

    limits = '*: 10000\n'

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.full, cls.tight, cls.other = (f'{name}@mbox.example'
                                          for name in ('full', 'tight', 'other'))
        for address, size in ((cls.full, 11000), (cls.tight, 9000), (cls.other, 10)):
            maildir = cls.mailboxes.add_maildir(address)
            cls.mailboxes.drop(maildir, size)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.exim.clear_queue)
        self.container.run(['systemctl', 'restart', SOCKET])
        self.container.run(['systemctl', 'start', SERVICE])

    def stop(self) -> None:
        """Stops the socket and the service, and hides their socket's file."""
        self.container.run(['systemctl', 'stop', SOCKET, SERVICE])
        self.assertFalse(self.container.call(os.path.exists, SOCKET_PATH))

    def fake(self, *answers) -> FakeServer:
        """Puts a fake server in the place of the service."""
        self.stop()
        server = FakeServer(self.container, list(answers))
        self.addCleanup(self.container.call, Path(SOCKET_PATH).unlink, missing_ok=True)
        self.addCleanup(server.close)
        return server

    def deliver(self, session: smtp.Session, *recipients: str) -> list[str]:
        """Sends a message in the session and returns all replies, which it prints."""
        session.mail_from()
        replies = [str(session.rcpt(recipient)) for recipient in recipients]
        replies.append(re.sub(r' id=\S+', '', str(session.data(smtp.message(600)))))
        print(f'to {", ".join(recipients)}:')
        print('\n'.join(f'  {reply}' for reply in replies))
        return replies

    def assert_mail_flows(self, *reasons: str, messages: int = 2) -> None:
        """Messages to several recipients in one session: all are accepted, logged with why."""
        recipients = (self.full, self.other, self.tight)
        with self.exim.session() as session:
            for _ in range(messages):
                self.assertEqual(self.deliver(session, *recipients), [ACCEPTED] * 3 + ['250 OK'])
        log = self.log()
        print('\n'.join(line for line in log.splitlines() if 'not checked' in line))
        for recipient in recipients:
            self.assertEqual(log.count(f'quota of {recipient} not checked: '), messages)
        for reason in reasons:
            self.assertIn(reason, log)
        self.assertEqual(log.count(' <= '), messages)

    def test_stopped(self):
        self.assertEqual(self.check(self.full), [FULL])
        self.stop()
        self.assert_mail_flows(f'{self.full} not checked: there is no socket {SOCKET_PATH}',
                               f'{self.other} not checked: there is no socket {SOCKET_PATH}')

    def test_socket_without_a_listener(self):
        self.fake().close()
        self.assertTrue(self.container.call(os.path.exists, SOCKET_PATH))
        self.assert_mail_flows(
            f'{self.full} not checked: no answer at {SOCKET_PATH}; to a ping: none',
            f'{self.other} not checked: not asked again for this message')

    def test_socket_that_exim_may_not_use(self):
        self.container.run(['chmod', '0600', SOCKET_PATH])
        self.assert_mail_flows(
            f'{self.full} not checked: no answer at {SOCKET_PATH}; to a ping: none')

    def test_service_that_hangs(self):
        pid = self.container.unit(SERVICE, 'MainPID')['MainPID']
        self.container.run(['kill', '-STOP', pid])
        try:
            self.assert_mail_flows(
                f'{self.full} not checked: no answer at {SOCKET_PATH}; to a ping: none',
                f'{self.other} not checked: not asked again for this message',
                f'{self.tight} not checked: not asked again for this message', messages=1)
        finally:
            self.container.run(['kill', '-CONT', pid])
        self.assertEqual(self.check(self.full), [FULL])

    def test_one_mailbox_that_hangs(self):
        server = self.fake(None, b'status=ok version=1\n')
        self.assertEqual(self.check(self.full), [ACCEPTED])
        self.assertIn(f'no answer at {SOCKET_PATH}; to a ping: status=ok version=1', self.log())
        self.assertEqual([request[:5] for request in server.requests], [b'check', b'ping\n'])

    def test_killed(self):
        killed = self.container.unit(SERVICE, 'MainPID')['MainPID']
        self.container.run(['kill', '-KILL', killed])
        self.assertEqual(self.check(self.full, self.other), [FULL, ACCEPTED])
        self.assertNotEqual(self.container.unit(SERVICE, 'MainPID')['MainPID'], killed)
        self.assertNotIn('not checked', self.log())

    def test_killed_with_a_question_waiting(self):
        killed = self.container.unit(SERVICE, 'MainPID')['MainPID']
        self.container.run(['kill', '-STOP', killed])
        replies: list[str] = []
        asking = threading.Thread(target=lambda: replies.extend(self.check(self.full)))
        asking.start()
        wait_until(lambda: self.connections_waiting() > 0, 'a question in the queue')
        self.container.run(['kill', '-KILL', killed])
        asking.join()
        # The next service finds the question in the queue. Where starting it takes longer than
        # Exim waits, the mail is accepted.
        self.assertIn(replies, ([FULL], [ACCEPTED]))
        self.assertEqual('not checked' in self.log(), replies == [ACCEPTED])

    def connections_waiting(self) -> int:
        """Returns how many connections to the socket nobody has accepted yet."""
        lines = self.container.run(['cat', '/proc/net/unix']).stdout.splitlines()
        # a connection without the flag of a listener, and without an inode until it is accepted
        return sum(line.endswith(SOCKET_PATH) and line.split()[6] == '0' for line in lines[1:])

    def test_stopped_amid_a_session(self):
        with self.exim.session() as session:
            session.mail_from()
            self.assertEqual(str(session.rcpt(self.other)), ACCEPTED)
            self.stop()
            self.assertEqual(str(session.rcpt(self.full)), ACCEPTED)
            self.assertEqual(session.data(smtp.message(2000)).code, 250)
            session.mail_from()
            self.assertEqual(str(session.rcpt(self.tight)), ACCEPTED)
            self.container.run(['systemctl', 'start', SOCKET])
            self.assertEqual(str(session.rcpt(self.full)), FULL)
            session.rset()
            session.mail_from()
            self.assertEqual(str(session.rcpt(self.tight)), ACCEPTED)
            self.assertEqual(str(session.data(smtp.message(2000))), NOBODY_HAS_ROOM)
        print(self.log())
        self.assertEqual(self.log().count('not checked: there is no socket'), 2)

    def test_stopped_before_data(self):
        for stop, why in ((self.stop, f'no answer at {SOCKET_PATH}; to a ping: none'),
                          (lambda: self.fake().close(), f'no answer at {SOCKET_PATH}')):
            with self.subTest(why=why):
                self.container.run(['systemctl', 'restart', SOCKET])
                start = len(self.log())
                with self.exim.session() as session:
                    session.mail_from()
                    self.assertEqual(str(session.rcpt(self.tight)), ACCEPTED)
                    stop()
                    self.assertEqual(session.data(smtp.message(2000)).code, 250)
                    session.mail_from()
                    self.assertEqual(str(session.rcpt(self.full)), ACCEPTED)
                    self.assertEqual(session.data(smtp.message(2000)).code, 250)
                log = self.log()[start:]
                print(log)
                self.assertRegex(log, rf'quota not checked for a message of \d+ bytes: +{why}')
                self.assertEqual(log.count(' <= '), 2)

    def test_garbage(self):
        server = self.fake(*(answer for answer, _ in GARBAGE for _ in range(2)))
        for answer, why in GARBAGE:
            with self.subTest(answer=answer[:60]):
                start = len(self.log())
                self.assertEqual(self.check(self.full, self.other), [ACCEPTED, ACCEPTED])
                log = self.log()[start:]
                print(log[:200])
                self.assertIn(f'quota of {self.full} not checked: ', log)
                self.assertIn(why, log)
                self.assertEqual(log.count('not checked: '), 2)
        self.assertFalse(self.container.call(os.path.exists, '/tmp/expanded'))
        self.assertEqual(server.requests[0],
                         f'check size=-1 quota= {self.full}\n'.encode())

    def test_garbage_at_data(self):
        for answer, _ in GARBAGE:
            with self.subTest(answer=answer[:60]):
                self.fake(OK_ANSWER, answer)
                start = len(self.log())
                with self.exim.session() as session:
                    self.assertEqual(self.deliver(session, self.tight), [ACCEPTED, '250 OK'])
                self.doCleanups()
                log = self.log()[start:]
                print(log[:200])
                self.assertRegex(log, r'quota not checked for a message of \d+ bytes: ')

    def test_fake_that_answers_as_the_service(self):
        self.fake(OVER_ANSWER)
        self.assertEqual(self.check(self.other), ['452 4.2.2 Mailbox has room'])


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen(64)
    return listener
