# SPDX-License-Identifier: GPL-2.0-or-later
"""The C programs of the benchmark, and what runs them: right, wrong and missing answers.

LOAD names the load generator; the bare server lies beside it.
"""

import os
import socket
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import process
import server
from figures import CannotMeasure
from load import Load, parse, questions_file

PATIENCE_SECONDS = 60


def load_program() -> Path:
    """Returns where the load generator is."""
    return Path(os.environ['LOAD'])


def bare_program() -> Path:
    """Returns where the bare server is."""
    return load_program().with_name('bare')


class ProgramTest(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix='exim-quotad-')
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.questions = self.folder / 'questions'

    def write(self, *answers: tuple[str, str]) -> None:
        """Writes the file of questions."""
        self.questions.write_text(questions_file(answers), 'utf-8')

    def run_program(self, *command: object) -> subprocess.CompletedProcess:
        """Runs a program that ends by itself."""
        return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE_SECONDS, check=False)

    def start_bare(self, threads: int = 1) -> server.Server:
        """Starts the bare server until the test is over."""
        bare = server.start_bare(bare_program(), self.folder, threads)
        self.addCleanup(bare.stop)
        return bare

    def answer_with(self, answer: bytes) -> Path:
        """Answers each connection so, until the test is over, and returns where."""
        address = self.folder / f'answers-{answer.hex()}.socket'
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(address))
        listener.listen()
        thread = threading.Thread(target=_answer_all, args=(listener, answer))
        thread.start()
        self.addCleanup(listener.close)
        self.addCleanup(thread.join)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        return address


def _answer_all(listener: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            return  # it was shut down
        with connection:
            while connection.recv(4096):
                pass
            connection.sendall(answer)


class LoadTest(ProgramTest):
    """The load generator."""

    def test_right_answers(self):
        for threads in (1, 3):
            bare = self.start_bare(threads)
            self.write(('/a', '500'), ('/b', '500'))
            for clients in (1, 7):
                done = self.run_program(load_program(), bare.address, self.questions, clients, 100)
                self.assertEqual((done.returncode, done.stderr), (0, ''))
                numbers = parse(done.stdout)
                self.assertEqual((numbers['queries'], numbers['wrong'], numbers['failed']),
                                 (100, 0, 0))
                times = [numbers[name] for name in ('p50_usec', 'p99_usec', 'p999_usec',
                                                    'max_usec')]
                self.assertEqual(times, sorted(times))
                self.assertGreater(times[0], 0)

    def test_wrong_answers_are_counted_and_shown(self):
        self.write(('/a', '500'), ('/b', '501'))
        done = self.run_program(load_program(), self.start_bare().address, self.questions, 1, 10)
        self.assertEqual(done.returncode, 1)
        numbers = parse(done.stdout)
        self.assertEqual((numbers['queries'], numbers['wrong'], numbers['failed']), (5, 5, 0))
        self.assertIn('/b: wrong answer: 500', done.stderr)
        self.assertNotIn('/a', done.stderr)

    def test_answer_without_an_end(self):
        self.write(('/a', '500'))
        for answer in (b'', b'500'):
            with self.subTest(answer=answer):
                address = self.answer_with(answer)
                done = self.run_program(load_program(), address, self.questions, 2, 4)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(parse(done.stdout)['failed'], 4)
                self.assertIn('/a: an answer without an end', done.stderr)

    def test_nobody_listens(self):
        self.write(('/a', '500'))
        done = self.run_program(load_program(), self.folder / 'nowhere', self.questions, 1, 3)
        self.assertEqual((done.returncode, parse(done.stdout)['failed']), (1, 3))
        self.assertIn('/a: connect: No such file or directory', done.stderr)

    def test_many_lines(self):
        address = self.answer_with(b'action=DUNNO\n\n')
        self.write(('request=x\vsize=1\v', 'action=DUNNO\v'))
        done = self.run_program(load_program(), '-m', address, self.questions, 1, 3)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        done = self.run_program(load_program(), address, self.questions, 1, 3)
        self.assertEqual((done.returncode, parse(done.stdout)['wrong']), (1, 3))

    def test_it_asks_until_its_input_ends(self):
        bare = self.start_bare()
        self.write(('/a', '500'))
        with subprocess.Popen([load_program(), bare.address, self.questions, '2', '0'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
            printed = load.communicate('', PATIENCE_SECONDS)[0]
        self.assertEqual(load.returncode, 0)
        self.assertEqual(parse(printed)['failed'], 0)

    def test_what_it_does_not_take(self):
        self.write(('/a', '500'))
        (self.folder / 'none').write_text('a line without a tab\n')
        for arguments in ((), ('-x', '/s', self.questions, 1, 1), ('/s', self.questions, 0, 1),
                          ('/s', self.questions, 1, '-1'), ('/s', self.questions, 1, '1x'),
                          ('/s' * 100, self.questions, 1, 1), ('/s', self.questions, 1, 1, 1, 1),
                          ('/s', self.folder / 'missing', 1, 1), ('/s', self.folder / 'none', 1, 1),
                          ('/s', self.folder, 1, 1)):
            with self.subTest(arguments=arguments):
                done = self.run_program(load_program(), *arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ''))
                self.assertNotEqual(done.stderr, '')


class BareTest(ProgramTest):
    """The bare server."""

    def test_what_it_does_not_take(self):
        for arguments in ((), ('/s',), ('/s', 0), ('/s', 65), ('/s', '1x'), ('/s', ''),
                          ('/s', 1, 1)):
            with self.subTest(arguments=arguments):
                done = self.run_program(bare_program(), *arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn('usage: bare', done.stderr)

    def test_where_it_cannot_listen(self):
        for path, why in ((self.folder, 'Address already in use'),
                          (self.folder / 'none' / 's', 'No such file or directory'),
                          (f'/{"s" * 200}', 'File name too long')):
            done = self.run_program(bare_program(), path, 1)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f'{path}: {why}', done.stderr)

    def test_a_client_that_says_nothing(self):
        bare = self.start_bare()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(bare.address))
        self.assertEqual(bare.ask('/a'), '500')


class RunningTest(ProgramTest):
    """What runs the programs, and says why it cannot."""

    def test_sample(self):
        bare = self.start_bare()
        self.write(('/a', '500'))
        load = Load([str(load_program())], self.questions, 1)
        self.assertEqual(load.ask_all(bare.address, 1)['queries'], 1)
        sample = load.sample(bare.pid, bare.address, 2, 0.1)
        self.assertGreater(sample.rate, 0)
        self.assertGreater(sample.processor, 0)
        self.assertGreater(process.resident_kib(bare.pid), 0)

    def test_wrong_answers_cannot_be_measured(self):
        self.write(('/a', '501'))
        load = Load([str(load_program())], self.questions, 1)
        with self.assertRaisesRegex(CannotMeasure, '/a: wrong answer: 500'):
            load.ask_all(self.start_bare().address, 1)

    def test_server_that_does_not_start(self):
        (self.folder / 'bare-1.socket').touch()
        with self.assertRaisesRegex(CannotMeasure, 'status 1: bare: .*: Address already in use'):
            server.start_bare(bare_program(), self.folder, 1)

    def test_process_that_is_gone(self):
        bare = self.start_bare()
        bare.stop()
        with self.assertRaisesRegex(CannotMeasure, f'process {bare.pid} .*cannot be read'):
            process.used(bare.pid)
        with self.assertRaisesRegex(CannotMeasure, f'process {bare.pid} cannot be read'):
            process.resident_kib(bare.pid)


if __name__ == '__main__':
    unittest.main()
