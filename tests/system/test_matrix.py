# SPDX-License-Identifier: GPL-2.0-or-later
"""Who makes the mailbox x who keeps its quota: what the delivery agent does, and what we say.

Each cell is one mailbox. It is filled through the real agent until the agent itself refuses; then
room is made in three ways, and it is filled again each time. Before each message the service is
asked whether it fits, by address and by path, and must say what the agent then does.

What decides at the agents (bytes; `used` is without the message):

    Exim, quota_is_inclusive     refuses if used + message > quota   transports/appendfile.c
    Exim, no_quota_is_inclusive  refuses if used > quota
    Dovecot, both drivers        refuses if used >= quota, or if     plugins/quota/quota.c:
                                 used + message > quota + grace      quota_transaction_set_limits()
    Courier                      refuses if used + message > quota   maildir/maildirquota.c

For Exim and Courier a message is as large as its file. So it is for Dovecot's maildir driver, which
yet takes it only if there is room for it as it came over LMTP, with CRLF line ends. For the count
driver, messages and mailbox are as large as they are with CRLF line ends.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness import smtp
from harness.agents import AgentScenario, pairs
from harness.scenario import LIMITS_FILE, is_long
from harness.service import SERVICE

MESSAGE = smtp.message(10000)
FOLDER_MESSAGE = smtp.message(7000)
LIMIT = 54321
MOST_MESSAGES = 12  # more than a mailbox takes
HALF_AN_HOUR = 30 * 60
A_DAY_LATER = 24 * 60 * 60 + 60


@dataclass
class Keeper:
    """A way of keeping the quota: who decides at delivery, and what the service is started with."""

    title: str
    agent: str
    options: str
    limit_from: str         # where the service has the limit from: request, file, header or default
    dovecot: tuple = ()     # variants of Dovecot's configuration
    weighs: str = 'S'       # as large as the file, or W: with CRLF line ends. The message, ...
    adds_up: str = 'S'      # ... and the messages in the mailbox ('files': all files are added up)
    separator: str = '.'    # between the names of folders
    rule: str = 'inclusive'

    @property
    def domain(self) -> str:
        return self.title.replace(' ', '-') + '.example'

    @property
    def believes_sums(self) -> bool:
        """Says whether the agent believes maildirsize."""
        return self.adds_up == 'S'


COUNT = '--maildirsize=ignore --size-tag=W'

KEEPERS = (
    Keeper('size file', 'exim', '', 'file'),
    Keeper('no size file', 'exim', '--count=everything', 'request', ('none',), adds_up='files'),
    Keeper('not inclusive', 'exim', '--count=everything --grace=1T', 'request', ('none',),
           adds_up='files', rule='not inclusive'),
    Keeper('maildir driver', 'lmtp', '', 'header', (), 'W'),
    Keeper('maildir driver fs', 'lmtp', '--layout=fs', 'header', ('fs',), 'W', separator='/'),
    Keeper('count driver', 'lmtp', COUNT, 'file', ('count',), 'W', 'W'),
    Keeper('count driver fs', 'lmtp', f'{COUNT} --layout=fs', 'default', ('count', 'fs'), 'W', 'W',
           separator='/'),
    Keeper('count driver grace', 'lmtp', f'{COUNT} --grace=@GRACE@', 'request',
           ('count', 'grace'), 'W', 'W', rule='grace'),
    Keeper('courier', 'courier', '', 'header'),
)

# Exim delivers, IMAP SELECT, Dovecot delivers by LMTP, doveadm, an administrator's mkdir.
CREATORS = ('exim', 'imap', 'lmtp', 'save', 'make')

# What Dovecot lets a delivery exceed the limit by, if nobody says anything about it.
GRACE = {'bookworm': '10%', 'trixie': '10M'}


class Rule(NamedTuple):
    """Where the agent and the service are meant to differ."""

    fits: bool  # what the service says; the agent does the opposite
    why: str


# All that these do not explain is a fault.
RULES = {
    'fresh sum': Rule(True, 'Exim and Courier believe for 15 minutes what they have counted, '
                            'whatever was removed since; we count where new or cur has changed'),
    'rm unnoticed': Rule(True, "Dovecot's maildir driver counts only where the sums alone exceed "
                               'the limit, without the message: it does not notice what was '
                               'removed with rm until then, or until doveadm quota recalc'),
    'old limit': Rule(False, 'a limit that maildirsize alone has is the old one until the agent '
                             'rewrites the file; after a day we let a message through'),
    'no W tag': Rule(True, "Exim's names have no ,W=: we take such a message to be as large as its "
                           "file, Dovecot's count driver as it is with CRLF line ends"),
    'exactly full': Rule(True, 'Dovecot gives no grace to a mailbox that has reached its limit; we '
                               'give none to one that has exceeded it'),
}


def smallest_limit(keeper: Keeper, release: str, used: int, size: int) -> int:
    """Returns the smallest limit with which the agent takes a message of that size."""
    if keeper.rule == 'not inclusive':
        return used
    if keeper.rule == 'inclusive':
        return used + size
    if release == 'trixie':
        return used + 1
    return next(limit for limit in range(used + 1, used + size + 1)
                if used + size <= limit + limit * 10 // 100)


def size_of(file: Path, tag: str) -> int:
    """Returns how large a message is: its file, or with W as it is with CRLF line ends."""
    tagged = re.search(rf',{tag}=(\d+)', file.name)
    if tagged:
        return int(tagged[1])
    return file.stat().st_size + (file.read_bytes().count(b'\n') if tag == 'W' else 0)


@dataclass
class Step:
    """One message: what the service said that would happen, and what happened."""

    title: str
    reply: str
    taken: bool
    words: str = ''
    rule: str = ''  # that explains a difference

    @property
    def fits(self) -> bool:
        return pairs(self.reply).get('status') in ('ok', 'warn')

    def is_fault(self) -> bool:
        """Says whether this is a difference that no rule explains."""
        if 'BY PATH' in self.reply:
            return True
        return self.fits != self.taken and (not self.rule or self.fits != RULES[self.rule].fits)

    def is_difference(self) -> bool:
        """Says whether this is a difference that a rule explains."""
        return self.fits != self.taken and not self.is_fault()

    def __str__(self) -> str:
        mark = '  <-- FAULT' if self.is_fault() else \
            f'  <-- {self.rule}' if self.is_difference() else ''
        return (f'{self.title}: {"taken" if self.taken else "refused"} ({self.words}){mark}\n'
                f'    {self.reply}')


class Cell:
    """One mailbox: who made it, who keeps its quota, and all that was tried with it."""

    def __init__(self, matrix: 'Matrix', keeper: Keeper, creator: str):
        self.keeper = keeper
        self.creator = creator
        self.address = f'{creator}@{keeper.domain}'
        self.path = matrix.mailboxes.add_maildir(self.address)
        self.steps: list[Step] = []
        self._matrix = matrix
        self._agent = matrix.agents[keeper.agent]
        self._size = len(MESSAGE)  # of a message, as the agent weighs it
        self.limit = LIMIT

    # What users and administrators do.

    def create(self) -> None:
        """Lets the creator make the mailbox."""
        matrix = self._matrix
        if self.creator == 'exim':
            matrix.agents['exim'].deliver(self.address, self.path, MESSAGE)
        elif self.creator == 'imap':
            with matrix.dovecot.imap(self.address) as imap:
                imap.select()
                imap.create('INBOX')  # is refused
        elif self.creator == 'lmtp':
            matrix.dovecot.deliver(self.address, MESSAGE)
        elif self.creator == 'save':
            matrix.dovecot.doveadm('mailbox', 'create', '-u', self.address, 'Drafts')
            matrix.dovecot.doveadm('save', '-u', self.address, '-m', 'INBOX', input=MESSAGE)
        else:
            matrix.container.run(['mkdir', '-p', *(f'{self.path}/{name}'
                                                   for name in ('new', 'cur', 'tmp'))])
            matrix.mailboxes.give_away(self.path)
        if self.keeper.agent == 'courier':
            # With it, Courier takes the mailbox for a folder and keeps no quota.
            matrix.container.run(['rm', '-f', f'{self.path}/maildirfolder'])

    def add_folders(self) -> None:
        """Makes a folder within a folder, and puts a message into each."""
        with self._matrix.dovecot.imap(self.address) as imap:
            for name in 'Archive', f'Archive{self.keeper.separator}2024':
                imap.create(name)
                imap.append(name, None, None, FOLDER_MESSAGE.encode())

    def expunge(self, number: int) -> None:
        """Removes messages over IMAP."""
        with self._matrix.dovecot.imap(self.address) as imap:
            imap.select()
            imap.store(f'1:{number}', '+FLAGS', '\\Deleted')
            imap.expunge()

    def remove(self, number: int) -> None:
        """Removes messages with rm, and lets pass what it takes until the agent notices."""
        matrix = self._matrix
        matrix.container.run(['rm', *matrix.mailboxes.messages(self.path)[:number]])
        if not self.keeper.believes_sums:
            return
        if self.keeper.agent == 'lmtp':
            self._deliver('removed', 'rm unnoticed')
            matrix.dovecot.recalculate(self.address)
        else:
            self._deliver('removed', 'fresh sum')
            matrix.age(f'{self.path}/maildirsize', HALF_AN_HOUR)

    # Limits.

    def limit_of_the_next(self) -> int:
        """Returns the smallest limit with which the agent takes one more message."""
        return smallest_limit(self.keeper, self._matrix.release, self._used(), self._size)

    def try_in_vain(self) -> None:
        """Delivers by a limit that is a byte less than the message takes."""
        keeper = self.keeper
        if keeper.limit_from == 'header':
            self._agent.deliver(self.address, self.path, MESSAGE)  # writes the limit there
        self._deliver('nearly',
                      'exactly full' if keeper.rule == 'grace' and self.limit == self._used() else
                      'no W tag' if self.creator == 'exim' and keeper.adds_up == 'W' else '')

    def wait_for_the_limit(self) -> None:
        """Lets pass what it takes until the service finds out that the limit was raised."""
        if self.keeper.limit_from == 'header' and self.keeper.agent == 'lmtp':
            self.steps.append(Step('raised, at once', self._ask(), True, 'if it were tried',
                                   'old limit'))
            self._matrix.age(f'{self.path}/maildirsize', A_DAY_LATER)

    # What is measured.

    def _weigh(self) -> int:
        """Returns the size of the last message that was delivered, as the agent has weighed it."""
        def newest() -> int:
            file = max(Path(self.path, 'new').iterdir(), key=lambda file: file.stat().st_ctime_ns)
            return size_of(file, self.keeper.weighs)

        return self._matrix.container.call(newest)

    def _used(self) -> int:
        """Returns what the agent finds in the mailbox."""
        def add_up() -> int:
            files = [file for file in Path(self.path).rglob('*') if file.is_file()]
            if self.keeper.adds_up == 'files':
                return sum(file.stat().st_size for file in files)
            return sum(size_of(file, self.keeper.adds_up) for file in files
                       if file.parent.name in ('new', 'cur'))

        return self._matrix.container.call(add_up)

    # Messages.

    def _ask(self) -> str:
        """Asks the service whether a message fits; both replies where two ways differ."""
        quota = f'quota={self.limit} ' if self.keeper.limit_from == 'request' else ''
        by_address, by_path = (
            self._matrix.service.ask(f'check size={self._size} {quota}{target}')
            for target in (self.address, self.path))
        if {**pairs(by_address), 'source': ''} == {**pairs(by_path), 'source': ''}:
            return by_address  # the second may be remembered
        return f'{by_address}\n    BY PATH: {by_path}'

    def _deliver(self, title: str, rule: str = '') -> bool:
        """Asks, hands a message to the agent, and says whether it took it.

        A rule says what explains a difference here.
        """
        reply = self._ask()
        taken, words = self._agent.deliver(self.address, self.path, MESSAGE)
        self.steps.append(Step(title, reply, taken, words, rule))
        if taken:
            self._size = self._weigh()
        return taken

    def fill(self, title: str) -> None:
        """Delivers until the agent refuses."""
        for _ in range(MOST_MESSAGES):
            if not self._deliver(title):
                return
        raise AssertionError(f'{self.address}: the agent never refuses')

    def summary(self, title: str) -> str:
        """Returns how many messages the agent took, and how many the service let through."""
        steps = [step for step in self.steps if step.title.startswith(title)]
        marks = ''.join(letter for letter, rule in zip('abcde', RULES)
                        if any(step.is_difference() and step.rule == rule for step in steps))
        faults = '!' * sum(step.is_fault() for step in steps)
        taken, fits = sum(step.taken for step in steps), sum(step.fits for step in steps)
        return f'{taken} {fits} {marks}{faults}'


class Matrix(AgentScenario):
    """All cells, in one container; in the quick form half of them on each release, like the black
    and the white squares of a chessboard.
    """

    def creators(self, keeper: Keeper) -> tuple[str, ...]:
        """Returns who makes mailboxes in a row."""
        first = (KEEPERS.index(keeper) + (self.release == 'trixie')) % 2
        return CREATORS if is_long() else CREATORS[first::2]

    def start_row(self, keeper: Keeper, more: str = '') -> None:
        """Starts the service anew, as the row says."""
        options = keeper.options.replace('@GRACE@', GRACE[self.release])
        if keeper.limit_from == 'file':
            options += f' --limits={LIMITS_FILE}'
        self.start_service(f'{options} {more}')

    def test_agents_and_service_agree(self):
        cells = []
        for keeper in KEEPERS:
            self.dovecot.configure(LIMIT, *keeper.dovecot)
            self.start_row(keeper)
            row = [Cell(self, keeper, creator) for creator in self.creators(keeper)]
            # All at once spare many restarts, but have limits of their own only if not by default.
            for group in ([cell] for cell in row) if keeper.limit_from == 'default' else [row]:
                self.run_cells(keeper, group)
            cells += row
        print(table(cells))
        faults = [f'{cell.address}: {step}' for cell in cells for step in cell.steps
                  if step.is_fault()]
        self.assertEqual(len(faults), 0, '\n' + '\n'.join(faults))
        # With a grace of a tenth of the limit, no message fits into a mailbox that is exactly full.
        self.assertEqual({step.rule for cell in cells for step in cell.steps
                          if step.is_difference()},
                         set(RULES) - ({'exactly full'} if self.release == 'bookworm' else set()))

    def run_cells(self, keeper: Keeper, cells: list[Cell]) -> None:
        """Makes and fills mailboxes, makes room in three ways, and fills them each time."""
        for cell in cells:
            cell.create()
        self.change_limits(keeper, dict.fromkeys(cells, LIMIT))
        for cell in cells:
            cell.add_folders()
            cell.fill('new')

        limits = {cell: cell.limit_of_the_next() for cell in cells}
        self.change_limits(keeper, {cell: limits[cell] - 1 for cell in cells})
        for cell in cells:
            cell.try_in_vain()
        self.change_limits(keeper, limits)
        for cell in cells:
            cell.wait_for_the_limit()
            cell.fill('raised')
            cell.expunge(2)
            cell.fill('expunged')
            cell.remove(2)
            cell.fill('removed')

    def change_limits(self, keeper: Keeper, limits: dict[Cell, int]) -> None:
        """Changes the agent's limits, and where the row says so the service's."""
        by_address = {cell.address: limit for cell, limit in limits.items()}
        for cell, limit in limits.items():
            cell.limit = limit
            if keeper.agent == 'courier':
                self.agents['courier'].set_quota(cell.path, limit)
        if 'none' not in keeper.dovecot:
            self.dovecot.set_quotas(by_address)
        if keeper.agent == 'exim' or keeper.limit_from == 'file':
            self.set_limits(by_address)  # Exim reads the same file
        if keeper.limit_from == 'file':
            self.container.run(['systemctl', 'reload', SERVICE])
        if keeper.limit_from == 'default':
            limit, = limits.values()
            self.start_row(keeper, f'--default-quota={limit}')


def table(cells: list[Cell]) -> str:
    """Returns the matrix, for people."""
    lines = ['messages that the agent took, and of the same ones those that the service let pass',
             f'{"":29}' + ''.join(f'{creator:9}' for creator in CREATORS)]
    for keeper in KEEPERS:
        row = {cell.creator: cell for cell in cells if cell.keeper is keeper}
        for title in ('new', 'nearly', 'raised', 'expunged', 'removed'):
            lines.append(f'{keeper.title if title == "new" else "":18} {title:9} ' + ''.join(
                f'{row[creator].summary(title) if creator in row else "":9}'
                for creator in CREATORS))
    steps = [step for cell in cells for step in cell.steps]
    lines += [f'({letter}) {sum(step.is_difference() and step.rule == rule for step in steps)} x '
              f'{rule}: {why}' for letter, (rule, (_, why)) in zip('abcde', RULES.items())]
    lines.append(f'{len(steps)} messages, {sum(step.is_difference() for step in steps)} '
                 f'differences by these rules, {sum(step.is_fault() for step in steps)} others')
    return '\n'.join(lines)
