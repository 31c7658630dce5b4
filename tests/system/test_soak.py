# SPDX-License-Identifier: GPL-2.0-or-later
"""Half an hour of everything at once, in the short form some 20 s: answers stay right, memory flat.

Clients ask without a pause, Exim delivers, messages are moved and deleted, folders come and go, the
limits change and are reloaded. In the first third the service is also restarted and killed; after
that one process lives on, and it must not grow.
"""

import os
import random
import socket
import statistics
import threading
import time
from pathlib import Path
from typing import Callable, NamedTuple

from harness.container import wait_until
from harness.mailboxes import SPOOL
from harness.scenario import MailScenario, Scenario, is_long
from harness.service import (SERVICE, SOCKET, SOCKET_PATH, Service, answer_of,
                             wait_for_new_main_process)

SEED_VARIABLE = 'EXIM_QUOTAD_SEED'
LIMITS_FILE = '/etc/exim-quotad/limits'

SECONDS, LONG_SECONDS = 18, 30 * 60
SAMPLE_SECONDS, LONG_SAMPLE_SECONDS = 0.5, 10
SAMPLES_MIN = 9  # however busy the machine is
PAUSE_SECONDS, LONG_PAUSE_SECONDS = 0.2, 2  # between a restart and a kill

CLIENTS, MEMORY_CLIENTS = 4, 8
THINK_MSEC = 4
STATIC = 100
STATIC_BYTES = 4321
DELIVERED = 4
DROPPED = 4
MAILDIRSIZE_BYTES_MAX = 5120
MESSAGES_MAX = 60  # of a mailbox: beyond that more goes than comes

# What the medians of the last third of a process's life may have above those of the first, and what
# many questions may leave behind.
ALLOWED_KIB = 1024
ALLOWED_DESCRIPTORS = 4

GARBAGE = (b'', b'\n', b'GET / HTTP/1.1\r\n\r\n', b'\0' * 100, b'\xff' * 9000, b'/' * 8192 + b'\n',
           b'usage\n', b'check size=x quota=y /z\n', b'usage ' + b'../' * 2000 + b'\n', b'/etc\n')


class Sample(NamedTuple):
    """What the main process holds at one time."""

    pid: int
    kib: int
    descriptors: int


class Dropped:
    """A Maildir without maildirsize, and what it holds. All methods run inside the container."""

    def __init__(self, path: Path):
        self.path = path
        self.sizes: dict[Path, int] = {}  # of the messages, by their paths below the Maildir
        self.folders = [Path()]
        self._number = 0
        self._make_folder(Path())

    def change(self, chance: random.Random) -> str:
        """Does one thing to it, and returns the name of what was done."""
        deeds: list[Callable] = [self._deliver, self._make]
        if self.sizes:
            deeds += [self._move, self._delete]
            deeds += [self._delete, self._delete] * (len(self.sizes) > MESSAGES_MAX)
        if len(self.folders) > 1:
            deeds += [self._rename, self._remove]
        deed = chance.choice(deeds)
        deed(chance)
        return deed.__name__.lstrip('_')

    def _deliver(self, chance: random.Random) -> None:
        size = chance.randrange(20000)
        tagged = chance.random() < 0.5
        name = self._name() + (f',S={size}' if tagged else '')
        staged = self.path / 'tmp' / name
        staged.write_bytes(b'' if tagged else bytes(size))
        there = chance.choice(self.folders) / 'new' / name
        staged.rename(self.path / there)
        self.sizes[there] = size

    def _move(self, chance: random.Random) -> None:
        here = chance.choice(list(self.sizes))
        flags = ''.join(sorted(chance.sample('DFRST', chance.randrange(4))))
        there = chance.choice(self.folders) / 'cur' / f'{here.name.partition(":")[0]}:2,{flags}'
        (self.path / here).rename(self.path / there)
        self.sizes[there] = self.sizes.pop(here)

    def _delete(self, chance: random.Random) -> None:
        here = chance.choice(list(self.sizes))
        (self.path / here).unlink()
        del self.sizes[here]

    def _make(self, _chance: random.Random) -> None:
        folder = Path(f'.{self._name()}')
        self._make_folder(folder)
        self.folders.append(folder)

    def _rename(self, chance: random.Random) -> None:
        old, new = chance.choice(self.folders[1:]), Path(f'.{self._name()}')
        (self.path / old).rename(self.path / new)
        self.folders[self.folders.index(old)] = new
        self.sizes = {(new / here.relative_to(old) if here.is_relative_to(old) else here): size
                      for here, size in self.sizes.items()}

    def _remove(self, chance: random.Random) -> None:
        folder = chance.choice(self.folders[1:])
        self.folders.remove(folder)
        for here in [here for here in self.sizes if here.is_relative_to(folder)]:
            (self.path / here).unlink()
            del self.sizes[here]
        for name in ('new', 'cur', 'tmp', ''):
            (self.path / folder / name).rmdir()

    def _make_folder(self, folder: Path) -> None:
        for name in ('new', 'cur', 'tmp'):
            (self.path / folder / name).mkdir(parents=True)

    def _name(self) -> str:
        self._number += 1
        return f'{self._number}-M{self._number}P1'


class Soak(MailScenario):
    """See above. What was done is counted, and printed."""

    quota = 2 ** 40

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.service = Service(cls.container)
        paths = [f'{SPOOL}/static{number}' for number in range(STATIC)]
        cls.service.make_maildirs(paths, STATIC_BYTES)
        cls.static = {path: str(STATIC_BYTES) for path in paths}
        cls.addresses = [f'user{number}@quota.example' for number in range(DELIVERED)]
        cls.delivered = {address: cls.mailboxes.add_maildir(address) for address in cls.addresses}
        cls.dropped = [cls.container.call(Dropped, Path(f'{SPOOL}/dropped{number}'))
                       for number in range(DROPPED)]
        cls.container.put_file(LIMITS_FILE, '*: 1M\n')
        # Fewer mailboxes are remembered than there are.
        cls.service.configure(f'--limits={LIMITS_FILE} --cache-size=32K')

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.service.reset)
        self.done: dict[str, int] = {}
        self.limit_mib = 1
        self.stop = threading.Event()
        self.errors: list[BaseException] = []
        # Held while a question is on its way that must not be lost, and for a kill.
        self.asking = threading.Lock()
        self.seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().getrandbits(32))
        print(f'{SEED_VARIABLE}={self.seed}')

    def test_soak(self):
        seconds = LONG_SECONDS if is_long() else SECONDS
        self.service.start()
        self.assertEqual(self.service.ask(next(iter(self.static))), str(STATIC_BYTES))
        with self.service.load(self.static, CLIENTS, think_msec=THINK_MSEC) as load:
            workers = [self.work(self.deliver), self.work(self.drop), self.work(self.bother)]
            try:
                self.come_and_go(seconds / 3)
                samples = self.live_on(seconds * 2 / 3)
            finally:
                self.stop.set()
                for worker in workers:
                    worker.join()
            seen = load.stop()

        print(', '.join(f'{count} x {name}' for name, count in sorted(self.done.items())))
        for error in self.errors:
            raise error
        self.assertGreater(seen['queries'], 0)
        self.assertEqual(seen['wrong'], 0)
        self.assertLessEqual(seen['failed'], self.done['kill'] * CLIENTS,
                             'more failed than were in flight when the service was killed')
        self.assert_flat(samples)
        self.assert_all_right()
        self.assertEqual(self.container.unit(SOCKET, 'ActiveState', 'Result'),
                         {'ActiveState': 'active', 'Result': 'success'})
        self.assertEqual(self.exim.paniclog(), '')

    # What is done meanwhile.

    def work(self, turn: Callable[[random.Random], None]) -> threading.Thread:
        """Takes turns in a thread of its own until the test is to end; an error ends it at once."""
        chance = random.Random(f'{self.seed} {turn.__name__}')

        def run() -> None:
            try:
                while not self.stop.is_set():
                    turn(chance)
            except BaseException as error:
                self.errors.append(error)
                self.stop.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def deliver(self, chance: random.Random) -> None:
        """Exim delivers, a client moves or deletes; the answer is what maildirsize adds up to."""
        address = chance.choice(self.addresses)
        maildir = self.delivered[address]
        self.assertEqual(str(self.exim.send(address, chance.randrange(500, 20000)).code), '250')
        self.exim.dialogues()  # which would be kept
        self.count('delivery by Exim')
        messages = self.mailboxes.messages(maildir)
        self.container.call(_move, chance.choice(messages))
        self.count('move')
        if len(messages) > 3 and (chance.random() < 0.3 or len(messages) > MESSAGES_MAX):
            self.container.call(_expunge, maildir, chance.choice(self.mailboxes.messages(maildir)))
            self.count('expunge')
        self.assert_delivered(maildir)

    def drop(self, chance: random.Random) -> None:
        """Something changes in a Maildir that is counted; the answer is right at once."""
        mailbox = chance.choice(self.dropped)
        self.count(self.container.call(mailbox.change, chance))
        self.assert_dropped(mailbox)
        self.stop.wait(0.02)

    def bother(self, chance: random.Random) -> None:
        """A client that is none: garbage, half a question, or gone before the answer."""
        with self.container.connect_unix(SOCKET_PATH) as client:
            try:
                client.sendall(chance.choice(GARBAGE))
                if chance.random() < 0.5:
                    client.shutdown(socket.SHUT_WR)
                    answer_of(client)
            except OSError:
                pass  # it was killed, or has closed before it was sent everything
        self.count('nuisance')
        self.stop.wait(0.05)

    def reload(self, chance: random.Random) -> None:
        """Other limits hold, or, where the line makes no sense, none."""
        expected = 0
        if chance.random() < 0.25:
            self.container.put_file(LIMITS_FILE, '*: many\n')
        else:
            self.limit_mib = chance.randrange(1, 1000)
            expected = self.limit_mib * 2 ** 20
            self.write_limits()
        self.container.run(['systemctl', 'reload', SERVICE])
        self.count('reload')
        pairs = self.usage(next(iter(self.static)))
        self.assertEqual(pairs['limit'], str(expected), pairs)
        self.write_limits()

    def write_limits(self) -> None:
        """Makes the file say what holds."""
        self.container.put_file(LIMITS_FILE, f'*: {self.limit_mib}M\n')

    def come_and_go(self, seconds: float) -> None:
        """Restarts, kills and reloads the service in turn."""
        chance = random.Random(f'{self.seed} control')
        pause = LONG_PAUSE_SECONDS if is_long() else PAUSE_SECONDS
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stop.is_set():
            self.container.run(['systemctl', 'restart', SERVICE])
            self.count('restart')
            self.reload(chance)
            self.stop.wait(pause)
            with self.asking:
                killed = self.service.main_pid()
                self.container.run(['kill', '-KILL', str(killed)])
                self.count('kill')
            wait_for_new_main_process(self.service, killed)
            self.stop.wait(pause)

    def live_on(self, seconds: float) -> list[Sample]:
        """Reloads the service now and then, and returns what it held."""
        chance = random.Random(f'{self.seed} reload')
        end = time.monotonic() + seconds
        samples = []
        while (time.monotonic() < end or len(samples) < SAMPLES_MIN) and not self.stop.is_set():
            self.stop.wait(LONG_SAMPLE_SECONDS if is_long() else SAMPLE_SECONDS)
            samples.append(Sample(self.service.main_pid(), self.service.memory_kib(),
                                  self.service.descriptors()))
            self.reload(chance)
        return samples

    # What must hold.

    def assert_flat(self, samples: list[Sample]) -> None:
        """One process gave the samples, and holds no more in the end than soon after its start."""
        self.assertEqual(len({sample.pid for sample in samples}), 1, samples)
        warm = samples[len(samples) // 10:]
        third = len(warm) // 3
        kib, descriptors = ([statistics.median(values[:third]), statistics.median(values[-third:])]
                            for values in ([sample.kib for sample in warm],
                                           [sample.descriptors for sample in warm]))
        print(f'{len(samples)} samples of one process; median of the first third {kib[0]:.0f} KiB '
              f'and {descriptors[0]:.0f} descriptors, of the last {kib[1]:.0f} KiB and '
              f'{descriptors[1]:.0f}; at most {max(sample.kib for sample in samples)} KiB and '
              f'{max(sample.descriptors for sample in samples)}')
        self.assertLessEqual(kib[1] - kib[0], ALLOWED_KIB)
        self.assertLessEqual(descriptors[1] - descriptors[0], ALLOWED_DESCRIPTORS)

    def assert_all_right(self) -> None:
        """Now that nothing changes, every answer is right."""
        for path, answer in self.static.items():
            self.assertEqual(self.service.ask(path), answer)
        for maildir in self.delivered.values():
            self.assert_delivered(maildir)
        for mailbox in self.dropped:
            self.assert_dropped(mailbox)

    def assert_dropped(self, mailbox: Dropped) -> None:
        """The answer is what was put there."""
        pairs = self.usage(str(mailbox.path))
        self.count('check')
        self.assertEqual((int(pairs['bytes']), int(pairs['messages'])),
                         (sum(mailbox.sizes.values()), len(mailbox.sizes)), pairs)

    def assert_delivered(self, maildir: str) -> None:
        """The answer is what maildirsize adds up to, and as many messages as there are.

        So it is where the file has grown too large to be believed, and they are counted.
        """
        text = self.mailboxes.maildirsize(maildir)
        sums = [sum(map(int, column)) for column in
                zip(*(line.split() for line in text.splitlines()[1:]))]
        pairs = self.usage(maildir)
        self.count('check')
        self.assertEqual([int(pairs['bytes']), int(pairs['messages'])], sums, pairs)
        self.assertEqual(pairs['source'] == 'maildirsize', len(text) < MAILDIRSIZE_BYTES_MAX, pairs)
        self.assertEqual(sums[1], len(self.mailboxes.messages(maildir)))

    def usage(self, path: str) -> dict[str, str]:
        """Asks for the usage of a mailbox."""
        with self.asking:
            reply = self.service.ask(f'usage {path}')
        self.assertEqual(reply[:10], 'status=ok ', reply)
        return dict(pair.split('=', 1) for pair in reply.split())

    def count(self, what: str) -> None:
        """Counts what was done."""
        self.done[what] = self.done.get(what, 0) + 1


class Memory(Scenario):
    """What a million questions leave behind."""

    mailboxes = 10000 if is_long() else 4000
    first, rest = (100000, 900000) if is_long() else (20000, 60000)

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.service = Service(cls.container)
        paths = [f'{SPOOL}/user{number}' for number in range(cls.mailboxes)]
        cls.service.make_maildirs(paths, STATIC_BYTES)
        cls.answers = {path: str(STATIC_BYTES) for path in paths}

    def test_memory_stays(self):
        total = self.first + self.rest
        self.service.start()
        self._load(self.first)
        early = self.service.memory_kib()
        self._load(self.rest)
        late = self.service.memory_kib()

        print(f'after {self.first} questions about {self.mailboxes} mailboxes {early} KiB '
              f'resident, after {total} {late} KiB')
        status = wait_until(lambda: self._status(f'{total} queries, '), 'the last STATUS=')
        print(status)
        self.assertRegex(status, f'^{total} queries, 0 over quota, 0 errors; '
                                 f'{self.mailboxes} mailboxes cached; p99 ')
        self.assertLess(late - early, ALLOWED_KIB)

    def _status(self, beginning: str) -> str:
        status = self.container.unit(SERVICE, 'StatusText')['StatusText']
        return status if status.startswith(beginning) else ''

    def _load(self, count: int) -> None:
        with self.service.load(self.answers, MEMORY_CLIENTS, count) as load:
            seen = load.wait()
        self.assertEqual((seen['queries'], seen['wrong'], seen['failed']), (count, 0, 0))


def _move(message: str) -> None:
    """Marks a message as seen, as a client does."""
    here = Path(message)
    here.rename(here.parent.parent / 'cur' / f'{here.name.partition(":")[0]}:2,S')


def _expunge(maildir: str, message: str) -> None:
    """Removes a message, and tells maildirsize."""
    size = os.stat(message).st_size
    os.unlink(message)
    with open(f'{maildir}/maildirsize', 'a', encoding='ascii') as file:
        file.write(f'-{size} -1\n')
