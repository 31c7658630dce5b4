# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens when the system fails the service while it watches mailboxes."""

from collections import Counter
from pathlib import Path

import test_faults as common

from clock import Clock, needs_clock
from daemon import Daemon, is_long, settle
from faults import Faults, Table, preload
from mailboxes import make_maildir, write_maildirsize
from watch_store import skip_unless_watched


@needs_clock
class WatchFaultsTest(common.QuestionsTestCase):
    """One call fails while a mailbox comes to be watched, changes, and is asked about again."""

    # What has to do with watches alone, and never keeps a query from being answered.
    OWN = ('inotify_init1', 'inotify_add_watch', 'inotify_rm_watch', 'poll')

    def make(self, kind: str, number: int) -> Path:
        """Makes a mailbox of 100 bytes, or nothing."""
        path = self.root / f'{kind}-{number}'
        if kind == 'mbox':
            path.write_bytes(bytes(100))
        elif kind == 'summed':
            write_maildirsize(make_maildir(path), '0S', '100 1')
        elif kind == 'counted':
            make_maildir(make_maildir(path, [50]) / '.Sent', [50])
        return path

    def change(self, kind: str, path: Path, by: int) -> None:
        """Makes it so much larger."""
        if kind == 'mbox':
            with open(path, 'ab') as file:
                file.write(bytes(by))
        elif kind == 'summed':
            with open(path / 'maildirsize', 'a', encoding='ascii') as file:
                file.write(f'{by} 1\n')
        elif kind == 'counted':
            file = path / '.Sent' / 'new' / f'{by},S={by}'
            file.touch()
            file.rename(path / 'cur' / file.name)
        elif path.exists():
            self.change('mbox', path, by)
        else:
            path.write_bytes(bytes(by))

    def go_on(self, daemon: Daemon, kind: str, path: Path) -> list[tuple[int, bytes]]:
        """Asks about it, and changes it now and then. Returns what was right, and the replies."""
        replies, right = [], 0 if kind == 'nothing' else 100
        for by in (7, 20, 3):
            for _ in range(3):
                settle(daemon.pid, threads=True)
                self.clock.advance(61)
                for verb in ('usage', 'check quota=1M'):
                    replies.append((right, common.ask_anyhow(daemon, f'{verb} {path}')))
            self.change(kind, path, by)
            right += by
            replies.append((right, common.ask_anyhow(daemon, f'check quota=1M {path}')))
        return replies

    def start_watching(self, faults: Faults) -> Daemon:
        """Starts a daemon that is to fail, for which time goes on."""
        environment = preload(faults.environment(), self.clock.environment())
        daemon = self.start('--scan-timeout=60000', environment=environment,
                            wrapper=('/usr/bin/unshare', '--mount', '--propagation=private'))
        return daemon

    def go_through(self, kind: str) -> None:
        """Lets each call fail that is met, one after the other."""
        skip_unless_watched(self.folder)
        self.clock = Clock(self)
        self.clock.advance(1000)
        faults, table = self.faults(), Table(f'watches of {kind}')
        self.addCleanup(table.print)
        daemon = self.start_watching(faults)
        faults.record()
        for right, reply in self.go_on(daemon, kind, self.make(kind, 0)):
            question = common.Question('', '', {'bytes': right})
            self.assertEqual(common.judge(question, reply, -1), 'right')
        faults.stop()
        self.assertGreater(daemon.stats()['watch_hits'], 0)
        calls = faults.calls()
        for name in self.OWN[:2]:
            self.assertIn(name, {call.function for call in calls})
        for number, fault in enumerate(faults.faults(calls, False, sparse=not is_long()), 1):
            is_own = fault.function in self.OWN
            if fault.function == 'accept4':
                continue
            if is_own:
                self.stop(daemon)
                daemon = self.start_watching(faults)
            path = self.make(kind, number)
            outcomes = Counter()
            with self.subTest(fault=fault, kind=kind):
                faults.fail(fault)
                try:
                    replies = self.go_on(daemon, kind, path)
                finally:
                    faults.stop()
                for right, reply in replies:
                    question = common.Question('', '', {'bytes': right, 'status': 'ok'})
                    outcomes[common.judge(question, reply, 0)] += 1
                if is_own:
                    self.assertEqual(set(outcomes), {'right'})
                self.assertLessEqual(sum(outcomes.values()) - outcomes['right'], 1, outcomes)
                table.add(fault, ', '.join(outcomes) if faults.injected() else 'not met')
                self.assertEqual(daemon.usage(path)['bytes'], str(replies[-1][0]))

    def test_counted(self):
        self.go_through('counted')

    def test_summed(self):
        self.go_through('summed')

    def test_mbox(self):
        self.go_through('mbox')

    def test_nothing(self):
        self.go_through('nothing')
