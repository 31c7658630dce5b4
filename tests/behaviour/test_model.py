# SPDX-License-Identifier: GPL-2.0-or-later
"""The service against tests/model.py, an independent model of it: many requests about many
mailboxes that change meanwhile, under many options, all of them made at random.

A difference is a fault of one of the two, or of the manual pages that both follow. A failure tells
the seed and the number of the store, as 123/4: with EXIM_QUOTAD_SEED=123/4 the test begins with the
same store, changes and requests, with EXIM_QUOTAD_SEED=123 with the first store of that seed.
"""

import collections
import contextlib
import os
import pwd
import random
import re
import socket
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Iterator, Optional
from unittest import mock

from daemon import DaemonTestCase, is_long, needs_root, parse_pairs, read_all
from random_stores import Asked, Asker, Setting, Store, any_setting

TESTS = Path(__file__).resolve().parent.parent
sys.path += [str(TESTS), str(TESTS / 'system')]

import model  # noqa: E402
import random_maildirs  # noqa: E402

CASES, CASES_LONG = 3000, 120_000
CASES_A_STORE = 10_000
ROUNDS = 20  # between changes of a store
SERVICES = 5  # that answer about the same store

USER = 'nobody'  # whom the services become

# What replies have to be about at least now and then, or the test looks away: so often in the short
# form, where all else is left to chance, and in the long one.
TIMES, TIMES_LONG = 1, 20
KINDS = ('check: status=ok source=maildirsize', 'check: status=ok source=none',
         'check: status=ok source=scan', 'check: status=over source=scan',
         'check: status=toolarge source=none', 'limit_from=default', 'limit_from=file',
         'limit_from=header', 'limit_from=request', 'path: reason=bad-request',
         'path: reason=not-a-mailbox', 'path: reason=outside-root', 'path: source=maildirsize',
         'path: source=none', 'path: source=scan', 'rule=everything', 'rule=ignored',
         'rule=malformed', 'rule=missing', 'rule=over', 'rule=trusted', 'usage: source=none',
         'usage: source=scan', 'verb: reason=bad-address', 'verb: reason=bad-request',
         'verb: reason=bad-value', 'verb: reason=no-template', 'verb: reason=not-a-mailbox',
         'verb: reason=outside-root')
KINDS_LONG = ('check: status=ok source=cache', 'check: status=ok source=mbox',
              'check: status=over source=cache', 'check: status=over source=maildirsize',
              'check: status=over source=mbox', 'check: status=toolarge source=maildirsize',
              'check: status=toolarge source=mbox', 'check: status=toolarge source=unknown',
              'check: status=warn source=cache', 'check: status=warn source=maildirsize',
              'check: status=warn source=mbox', 'check: status=warn source=scan', 'limit_from=none',
              'path: reason=permission-denied', 'path: reason=too-long', 'path: source=cache',
              'path: source=mbox', 'ping', 'rule=empty', 'rule=implausible', 'rule=large',
              'rule=layout', 'rule=stale-limit', 'rule=toolarge', 'rule=unreadable', 'stats',
              'usage: source=cache', 'usage: source=maildirsize', 'usage: source=mbox',
              'verb: reason=permission-denied', 'verb: reason=too-long')


@contextlib.contextmanager
def user_of_service() -> Iterator[None]:
    """Becomes, for a while, the user whom the service is, to be denied what it is denied."""
    user, groups = pwd.getpwnam(USER), os.getgroups()
    os.setgroups(os.getgrouplist(USER, user.pw_gid))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def command_line(setting: Setting, folder: Path) -> list[str]:
    """Returns options of the service; the limits file comes into the folder, which it makes."""
    options = [f'--root={root}' for root in setting.roots]
    options += [f'--mailbox={template}' for template in setting.templates]
    options += [f'--exclude-folder={name}' for name in setting.excluded]
    for name, value in (('on-error', setting.on_error), ('grace', setting.grace),
                        ('recipient-delimiter', setting.delimiters), ('warn', setting.warn),
                        ('default-quota', setting.default_quota), ('size-tag', setting.size_tag),
                        ('maildirsize', setting.maildirsize), ('count', setting.count),
                        ('layout', setting.layout),
                        ('cache-size', setting.cache_size), ('watches', setting.watches)):
        if value is not None:
            options.append(f'--{name}={value}')
    if setting.limits is not None:
        folder.mkdir()
        (folder / 'limits').write_bytes(setting.limits)
        options.append(f'--limits={folder / "limits"}')
    # However busy the machine is, nothing comes too late.
    return [*options, f'--user={USER}', '--scan-timeout=86400000', '--timeout=86400000']


def model_options(setting: Setting) -> model.Options:
    """Returns the same options for the model, which knows what holds where nothing is given."""
    given = {
        'roots': tuple(map(os.fsencode, setting.roots)) or None,
        'on_error': setting.on_error,
        'templates': tuple(map(os.fsencode, setting.templates)),
        'delimiters': setting.delimiters and setting.delimiters.encode(),
        'limits': setting.limits and model.parse_limits(setting.limits),
        'grace': setting.grace and setting.grace.encode(),
        'warn': setting.warn,
        'default_quota': setting.default_quota and model.parse_limit(
            setting.default_quota.encode()),
        'maildirsize': setting.maildirsize,
        'count': setting.count,
        'layout': setting.layout,
        'excluded': tuple(name.encode() for name in setting.excluded),
        'size_tag': setting.size_tag and setting.size_tag.encode(),
        'cache_size': setting.cache_size,
    }
    return model.Options(**{name: value for name, value in given.items() if value is not None})


def send(client: socket.socket, line: bytes, chance: random.Random) -> None:
    """Sends a request in one of the ways in which clients do it."""
    way = chance.choices(['shutdown', 'open', 'no end', 'more', 'parts'], [5, 2, 1, 0.5, 0.5])[0]
    if way == 'no end' and b'\n' not in line:
        client.sendall(line)
    elif way == 'parts':
        at = chance.randrange(len(line) + 1)
        client.sendall(line[:at])
        client.sendall(line[at:] + b'\n')
    else:
        client.sendall(line + b'\n' + (b'more\0/' if way == 'more' else b''))
    if way != 'open':
        client.shutdown(socket.SHUT_WR)


def describe(path: Path) -> str:
    """Lists a mailbox, for whoever reads of a difference."""
    lines = []
    for each in [path, *sorted(path.rglob('*'))]:
        try:
            info = each.lstat()
        except OSError as failure:
            lines.append(f'  {each}: {failure.strerror}')
            continue
        target = f' -> {os.readlink(each)}' if each.is_symlink() else ''
        lines.append(f'  {info.st_mode:06o} {info.st_size} bytes, mtime {info.st_mtime:.3f}, ctime '
                     f'{info.st_ctime:.3f}: {str(each.relative_to(path.parent))!r}{target}')
        if each.name == 'maildirsize' and each.is_file():
            lines.append(f'    {each.read_bytes()[:600]!r}')
    return '\n'.join(lines)


class Pair:
    """A service, and the model of it."""

    def __init__(self, test: DaemonTestCase, number: int, store: Store, chance: random.Random):
        self.setting = any_setting(number, store, chance)
        folder = test.folder / f'limits-{len(test.daemons)}'
        self.daemon = test.start(*command_line(self.setting, folder), root=Path())
        self.model = model.Model(model_options(self.setting))
        self.asker = Asker(store, chance)
        self.counters = dict.fromkeys(('queries', 'over', 'errors', 'connections', 'shared',
                                       'timeouts', 'stuck'), 0)

    def learn(self, asked: Asked, outcome: model.Outcome, reply: bytes) -> None:
        """Counts as the service does, and remembers how large the mailbox is."""
        self.counters['connections'] += 1
        self.counters['queries'] += 1
        self.counters['over'] += outcome.is_over
        self.counters['errors'] += outcome.is_error
        if b' bytes=' in reply:
            self.asker.seen[asked.target] = int(parse_pairs(reply)['bytes'])


class Query:
    """A request on its way to a service: about that mailbox, if there is one."""

    def __init__(self, pair: Pair, box: Optional[Path], chance: random.Random,
                 clients: contextlib.ExitStack):
        self.pair = pair
        self.asked = pair.asker.ask(box)
        self.asked_ns = time.time_ns()
        self.client = clients.enter_context(pair.daemon.connect())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send(self.client, self.asked.line, chance)


@needs_root  # to make what the service may not read
class DifferentialTest(DaemonTestCase):
    """Service and model answer alike."""

    def setUp(self) -> None:
        super().setUp()
        self.kinds: collections.Counter[str] = collections.Counter()
        self.cases = 0

    def test_answers_at_random(self):
        """Asks until there were enough cases, of one store after the other."""
        wanted, times = (CASES_LONG, TIMES_LONG) if is_long() else (CASES, TIMES)
        given = os.environ.get('EXIM_QUOTAD_SEED') or f'{time.time_ns() % 10 ** 9}'
        seed, _, number = given.partition('/')
        print(f'EXIM_QUOTAD_SEED={given}')
        kinds = KINDS + (KINDS_LONG if is_long() else ())
        for store in range(int(number or 0), 10 ** 9):
            if self.cases >= wanted and all(self.kinds[kind] >= times for kind in kinds):
                break
            if self.cases >= wanted + 3 * CASES_A_STORE:
                break  # chance does not explain it any more
            left = wanted - self.cases
            self._ask_about_a_store(f'{seed}/{store}',
                                    min(left, CASES_A_STORE) if left > 0 else CASES)
        print(f'{self.cases} cases')
        for kind, count in sorted(self.kinds.items()) if is_long() else ():
            print(f'{count:8} {kind}')
        for kind in kinds:
            self.assertGreaterEqual(self.kinds[kind], times, f'cases of {kind}')

    def _ask_about_a_store(self, name: str, wanted: int) -> None:
        chance = random.Random(name)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            os.chmod(folder, 0o755)
            store = Store(Path(folder), chance)
            pairs = [Pair(self, number, store, chance) for number in range(SERVICES)]
            # Half of what was made is remembered from the first look on, what changes is not.
            time.sleep(model.SETTLED_NS / 10 ** 9)
            for number in range(ROUNDS):
                changes = chance.choice([1, 5, 20]) if number > 0 else 0
                changed = [store.change() for _ in range(changes)]
                others = [None] * max(1, wanted // ROUNDS // len(pairs) - changes)
                for box in [*changed, *others]:
                    # All of them work at a time.
                    with contextlib.ExitStack() as clients:
                        queries = [Query(pair, box, chance, clients) for pair in pairs]
                        for query in queries:
                            self._judge(f'{name}, round {number}', query)
            for pair in pairs:
                self.stop(pair.daemon)

    def _judge(self, where: str, query: Query) -> None:
        """Compares what the service says with what the model says."""
        pair, asked = query.pair, query.asked
        reply = read_all(query.client)
        when = model.Interval(query.asked_ns, time.time_ns())
        with user_of_service():
            allowed = pair.model.replies(asked.line, when)
        said = model.without_free_text(reply)
        outcome = allowed.get(said)
        if outcome is None and pair.setting.watches is None:
            # What has changed may be known without counting; the model knows nothing of that.
            outcome = allowed.get(said.replace(b' source=cache ', b' source=scan '))
        self.cases += 1
        if outcome is None:
            targets = [each for each in pair.asker.store.boxes
                       if os.fsencode(each) in asked.line
                       or os.fsencode(f'{each.name}@{each.parent.name}') in asked.line]
            self.fail(f'EXIM_QUOTAD_SEED={where}, case {self.cases}\n{pair.setting}\n'
                      f'the request ({len(asked.line)} bytes): {asked.line!r}\n'
                      f'the service: {reply!r}\nthe model: {list(allowed)}, {when}\n'
                      + '\n'.join(map(describe, targets)))
        self.kinds[f'request: {asked.kind}'] += 1
        self.kinds.update([outcome.kind, *re.findall(r' ((?:rule|limit_from)=\S+)',
                                                     os.fsdecode(reply))])
        pair.learn(asked, outcome, reply)
        if outcome.kind == 'stats':
            counters = parse_pairs(reply)
            self.assertEqual({name: int(counters[name]) for name in pair.counters}, pair.counters)


class ModelTest(unittest.TestCase):
    """The model counts what Exim and Dovecot count, as far as the service is to do so."""

    def test_mailboxes_that_exim_and_dovecot_count(self):
        """The system tests have real ones count these; each sum that differs has a reason there."""
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / 'mail'
            root.mkdir()
            with mock.patch.object(random_maildirs, 'OUTSIDE', Path(folder) / 'outside'):
                boxes = random_maildirs.make_maildirs(root, 100, 1)
            counting = model.Model(model.Options(roots=(os.fsencode(root),)))
            for box in boxes:
                count = box.count(random_maildirs.Counter.SERVICE)
                line = b'usage quota=0 ' + os.fsencode(box.asked)
                now_ns = time.time_ns()
                with self.subTest(things=box.things, path=box.asked.name):
                    [answer] = counting.replies(line, model.Interval(now_ns, now_ns))
                    self.assertIn(b' bytes=%d messages=%d ' % count, answer)
