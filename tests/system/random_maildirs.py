# SPDX-License-Identifier: GPL-2.0-or-later
"""Maildirs made at random, of everything that lies about in real ones, and what is in each.

What is in a mailbox depends on who counts: the service, Exim or Dovecot. Each thing that is put
into a mailbox says how each of them counts it, by rules that have names here. So the sums that are
expected of the three are known without counting, and every difference between them has a reason.
"""

import enum
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, NamedTuple, Optional, Sequence


# What lies out of the roots, and is readable by everybody.
OUTSIDE = Path('/srv/outside')
OUTSIDE_NAME = '1700000000.M1P1.elsewhere:2,S'
OUTSIDE_BYTES = 4321


class Counter(enum.Enum):
    """Who counts."""

    SERVICE = 'exim-quotad'
    EXIM = 'Exim'
    DOVECOT = 'Dovecot'


class Rule(enum.Enum):
    """Why a peer counts something in another way than the service does."""

    DOT_MESSAGE = ('a message whose name begins with a dot: in a Maildir that hides it, from mail '
                   'readers too; Exim counts it, and Dovecot, unless there are two dots')
    TAG_DIGITS = (",S=12x: the service and Dovecot ask the file; the quota_size_regex of Exim's "
                  'documentation, ,S=(\\d+), takes the digits, whatever follows')
    TAG_EMPTY = (',S= without digits: 0 to the service and to Dovecot; that regex does not match '
                 'it, and Exim asks the file')
    TAG_HUGE = (',S=N, N being 2^63 or more: no file is as large, so the service asks the file; '
                'Dovecot adds N modulo 2^64, and Exim what its compiler makes of it, less than 0')
    HARD_LINK = 'a file with several names: Exim divides its size by their number'
    DANGLING = 'a message that is a link to nothing: Exim counts a message, of no size'
    OUTSIDE = 'a link that leads out of the roots: the service never follows one'
    DIRECTORY = ('a directory among the messages: a message to the service and to Dovecot; Exim '
                 'counts also what is in it')
    TWO_DOTS = ('..x: no folder of Maildir++; Exim counts it, and so does Dovecot, which then '
                'counts the messages of the mailbox itself once more (mailbox_list_index=yes)')
    NESTED = '.A/.B: Maildir++ has folders at the top only; Exim looks for them in folders too'
    ALIAS = ('.A -> .B: one folder by two names; Exim counts it by each, and so does Dovecot, '
             'unless with mailbox_list_index=no')
    NAME = 'a folder whose name is not in modified UTF-7: Dovecot does not find it when it counts'
    INBOX = '.INBOX: a folder, but its name is that of the mailbox itself to Dovecot'
    NO_DIRECTORY = 'a folder whose cur is a file: Dovecot gives up'
    MAILDIRFOLDER = ('maildirfolder in the mailbox itself, where Dovecot puts it: Exim without '
                     'quota_directory counts what lies above')


class Count(NamedTuple):
    """Bytes and messages."""

    bytes: int
    messages: int


@dataclass
class Message:
    """How much the counters find in one thing; the service's count holds for who is not named."""

    counts: dict[Counter, Count]
    rule: Optional[Rule] = None  # why the others' differ


@dataclass
class Directory:
    """A `new` or `cur`. What is in it counts once, if `times` says nothing else."""

    path: Path
    rule: Optional[Rule] = None  # why it is not once for everybody
    times: dict[Counter, int] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)

    def add(self, size: int, messages: int = 1, rule: Optional[Rule] = None,
            **others: Count) -> None:
        """Says that there is a message, and how those count it who follow the rule."""
        counts = {Counter[name]: count for name, count in others.items()}
        self.messages.append(Message({Counter.SERVICE: Count(size, messages), **counts}, rule))

    def times_for(self, counter: Counter) -> int:
        """Returns how often the counter counts what is in here."""
        return self.times.get(counter, 1)


class Maildir:
    """One mailbox, and what is expected to be in it."""

    def __init__(self, path: Path, chance: random.Random):
        self.path = path
        self.asked = path  # what is asked about: the mailbox, or a folder of it
        self.chance = chance
        self.things: list[str] = []  # what was put into it, for whoever reads of a difference
        self.directories: list[Directory] = []
        self.unknown: dict[Counter, Rule] = {}  # whose sums cannot be told, and why
        self._sequence = 0

    def count(self, counter: Counter) -> Count:
        """Returns what the counter is expected to find, unless that is unknown."""
        total = [0, 0]
        for directory in self.directories:
            for message in directory.messages:
                count = message.counts.get(counter, message.counts[Counter.SERVICE])
                total[0] += directory.times_for(counter) * count.bytes
                total[1] += directory.times_for(counter) * count.messages
        if counter is Counter.DOVECOT:
            total[0] %= 2 ** 64
        return Count(*total)

    def rules(self, counter: Counter) -> set[Rule]:
        """Returns the rules by which a peer is expected to count other than the service does."""
        rules = {self.unknown[counter]} if counter in self.unknown else set()
        for directory in self.directories:
            if directory.messages and directory.times_for(counter) != directory.times_for(
                    Counter.SERVICE):
                rules.add(directory.rule)
            if directory.times_for(counter) > 0:
                rules |= {message.rule for message in directory.messages
                          if counter in message.counts}
        return rules

    def add_leaves(self, folder: str = '', rule: Optional[Rule] = None,
                   **times: int) -> list[Directory]:
        """Makes the directories of the mailbox itself or of a folder; returns `new` and `cur`.

        times says, by the name of the counter, how often what is in there counts.
        """
        made = []
        for leaf in ('tmp', 'new', 'cur'):
            path = self.path / folder / leaf
            path.mkdir(parents=True)
            made.append(Directory(path, rule, {Counter[name]: n for name, n in times.items()}))
        self.directories += made[1:]
        return made[1:]

    def any_directory(self) -> Directory:
        """Returns one of the directories that the service counts."""
        return self.chance.choice([each for each in self.directories
                                   if each.times_for(Counter.SERVICE) > 0])

    def free_folder(self, *names: str) -> str:
        """Returns the name of a folder that is not there yet."""
        name = self.chance.choice(names)
        while os.path.lexists(self.path / name):
            name += f'.{self.chance.randrange(100)}'
        return name

    def new_message(self, directory: Directory, tag: str = '', before: str = '') -> Path:
        """Returns the path of a message that is not there yet."""
        self._sequence += 1
        info = ''
        if directory.path.name == 'cur' or self.chance.random() < 0.1:
            info = ':2,' + ''.join(flag for flag in 'DFRST' if self.chance.random() < 0.3)
        return directory.path / (f'{before}17{self.chance.randrange(10 ** 8):08}.'
                                 f'M{self._sequence}P{self.chance.randrange(1, 32768)}.mx'
                                 f'{tag}{info}')

    def any_size(self) -> int:
        """Returns the size of a message: most are small, few are large, some are empty."""
        return int(self.chance.paretovariate(0.7) * 500 - 500) % 50_000_000


def write(path: Path, size: int) -> None:
    """Makes a file of that size."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


# Messages: each function puts one into a directory.

def add_tagged(box: Maildir, directory: Directory) -> None:
    """A message as Exim and Dovecot name it."""
    size = box.any_size()
    with_w = f',W={size + size // 40}' if box.chance.random() < 0.5 else ''
    write(box.new_message(directory, f',S={size}{with_w}'), size)
    directory.add(size)


def add_untagged(box: Maildir, directory: Directory) -> None:
    """A message whose name does not tell its size."""
    size = box.any_size()
    tag = box.chance.choice(['', '', '', f',W={size + 1}', 'S=7', ',s=7', ',S', ',SS=7'])
    write(box.new_message(directory, tag), size)
    directory.add(size)


def add_wrongly_tagged(box: Maildir, directory: Directory) -> None:
    """A message that is not as large as its name says, or says more than once."""
    size = box.any_size()
    tag = box.chance.choice([f',S={size}', f',W=1,S={size}', f',S=000{size}', f',S={size},S=17',
                             f',S={size},S=9x', f',S={size},S='])
    write(box.new_message(directory, tag), box.chance.randrange(3000))
    directory.add(size)


def add_oddly_tagged(box: Maildir, directory: Directory) -> None:
    """A message with a tag that is not followed by a colon, a comma or the end."""
    size, digits = box.any_size(), box.chance.randrange(100)
    behind = box.chance.choice(['x', ';', ' ', 'x,S=12'])
    write(box.new_message(directory, f',S={digits}{behind}'), size)
    directory.add(size, rule=Rule.TAG_DIGITS, EXIM=Count(digits, 1))


def add_tag_without_number(box: Maildir, directory: Directory) -> None:
    """A message with a tag that is empty, or holds something that is no number."""
    size = box.any_size()
    if box.chance.random() < 0.5:
        write(box.new_message(directory, ',S='), size)
        directory.add(0, rule=Rule.TAG_EMPTY, EXIM=Count(size, 1))
    else:
        write(box.new_message(directory, ',S=' + box.chance.choice(['-5', ' 5', 'x', '+5'])), size)
        directory.add(size)


def add_huge_tag(box: Maildir, directory: Directory) -> None:
    """A message whose tag is a number that no file is as large as."""
    size, number = box.any_size(), box.chance.choice([2 ** 63, 2 ** 64 + 5, 10 ** 30])
    write(box.new_message(directory, f',S={number}'), size)
    directory.add(size, rule=Rule.TAG_HUGE, DOVECOT=Count(number % 2 ** 64, 1))
    box.unknown[Counter.EXIM] = Rule.TAG_HUGE


def add_fifo(box: Maildir, directory: Directory) -> None:
    """What is neither a file nor a directory: a message of no size."""
    os.mkfifo(box.new_message(directory))
    directory.add(0)


def add_hard_link(box: Maildir, directory: Directory) -> None:
    """A message by two names."""
    size, other = box.any_size(), box.any_directory()
    first, second = box.new_message(directory), box.new_message(other)
    write(first, size)
    os.link(first, second)
    for each in (directory, other):
        each.add(size, rule=Rule.HARD_LINK, EXIM=Count(size // 2, 1))


def add_link(box: Maildir, directory: Directory) -> None:
    """A message that is a link to a file elsewhere in the mailbox."""
    size = box.any_size()
    message = box.new_message(directory)
    target = box.path / f'target-of-{message.name}'
    write(target, size)
    message.symlink_to(os.path.relpath(target, directory.path))
    directory.add(size)


def add_dangling_link(box: Maildir, directory: Directory) -> None:
    """A message that is a link to nothing; where it has a tag, the name alone speaks."""
    if box.chance.random() < 0.3:
        box.new_message(directory, ',S=1234').symlink_to('nowhere')
        directory.add(1234)
    else:
        box.new_message(directory).symlink_to('nowhere')
        directory.add(0, 0, rule=Rule.DANGLING, EXIM=Count(0, 1))


def add_link_outside(box: Maildir, directory: Directory) -> None:
    """A message that is a link out of the roots."""
    box.new_message(directory).symlink_to(OUTSIDE / 'cur' / OUTSIDE_NAME)
    count = Count(OUTSIDE_BYTES, 1)
    directory.add(0, 0, rule=Rule.OUTSIDE, EXIM=count, DOVECOT=count)


def add_dot_message(box: Maildir, directory: Directory) -> None:
    """A file whose name begins with a dot, or with two."""
    size, dots = box.any_size(), box.chance.choice(['.', '..'])
    write(box.new_message(directory, before=dots), size)
    others = {'EXIM': Count(size, 1)}
    if dots == '.':
        others['DOVECOT'] = Count(size, 1)
    directory.add(0, 0, rule=Rule.DOT_MESSAGE, **others)


def add_directory(box: Maildir, directory: Directory) -> None:
    """A directory among the messages, with two files in it."""
    path = box.new_message(directory)
    path.mkdir()
    write(path / 'a', 5)
    write(path / 'b,S=7', 5)
    directory.add(path.stat().st_size, rule=Rule.DIRECTORY, EXIM=Count(5 + 7, 3))


ORDINARY_MESSAGES = (add_tagged, add_untagged)
# Those that all count alike, and the others.
AGREED_MESSAGES = (add_wrongly_tagged, add_fifo, add_link)
ODD_MESSAGES = (add_oddly_tagged, add_tag_without_number, add_huge_tag, add_hard_link,
                add_dangling_link, add_link_outside, add_dot_message, add_directory)


# Folders, and what looks like them: each function puts one into a mailbox.

def fill(box: Maildir, directories: Iterable[Directory]) -> None:
    """Puts a few messages into directories."""
    for directory in directories:
        for _ in range(box.chance.randrange(6)):
            box.chance.choice(ORDINARY_MESSAGES)(box, directory)


def add_folder(box: Maildir) -> None:
    """A folder as mail readers make it."""
    name = box.free_folder('.Sent', '.Trash', '.Lists.exim users', '.a b', '. ', '.Entw&APw-rfe',
                           '.&ZeVnLIqe-', '.A&-B', '.new', '.cur', '.Archive.2024.11', '.tmp',
                           '.~x', '.%', '.*', '.a..b', '.a.')
    fill(box, box.add_leaves(name))
    if box.chance.random() < 0.5:
        (box.path / name / 'maildirfolder').touch()


def add_folder_that_is_asked_about(box: Maildir) -> None:
    """A folder that is asked about, in place of the mailbox."""
    name = box.free_folder('.Sent', '.Sp am')
    fill(box, box.add_leaves(name))
    (box.path / name / 'maildirfolder').touch()
    box.asked = box.path / name


def add_empty_folder(box: Maildir) -> None:
    """A folder without any of its directories."""
    (box.path / box.free_folder('.Empty')).mkdir()


def add_oddly_named_folder(box: Maildir) -> None:
    """A folder whose name is not in modified UTF-7."""
    fill(box, box.add_leaves(box.free_folder('.Entwürfe', '.A&B', '.&APw'), Rule.NAME, DOVECOT=0))


def add_folder_inbox(box: Maildir) -> None:
    """A folder that is called as the mailbox itself is."""
    name = box.chance.choice(['.INBOX', '.Inbox'])
    if not os.path.lexists(box.path / name):
        fill(box, box.add_leaves(name, Rule.INBOX, DOVECOT=0))


def add_two_dots(box: Maildir) -> None:
    """A directory whose name begins with two dots. (With a second one Dovecot is stranger yet.)"""
    if any(directory.rule is Rule.TWO_DOTS for directory in box.directories):
        return
    fill(box, box.add_leaves(box.chance.choice(['..x', '..Sent', '...']), Rule.TWO_DOTS, SERVICE=0))
    for directory in box.directories:
        if directory.path.parent == box.path:
            directory.rule = Rule.TWO_DOTS
            directory.times[Counter.DOVECOT] = 2


def add_nested_folder(box: Maildir) -> None:
    """A folder inside a folder, and a directory in it that is no folder even to Exim."""
    name = box.free_folder('.Outer')
    fill(box, box.add_leaves(name))
    fill(box, box.add_leaves(f'{name}/.Inner', Rule.NESTED, SERVICE=0, DOVECOT=0))
    fill(box, box.add_leaves(f'{name}/Inner', SERVICE=0, DOVECOT=0, EXIM=0))


def add_directory_without_dot(box: Maildir) -> None:
    """A directory that is no folder, for its name begins with no dot."""
    fill(box, box.add_leaves(box.free_folder('Sent', 'courierimapkeywords', 'sieve'),
                             SERVICE=0, DOVECOT=0, EXIM=0))


def add_files(box: Maildir) -> None:
    """Files where folders are expected, and others that mail programs keep in a mailbox."""
    for name in ('.Drafts', '.customflags', 'dovecot-uidlist', 'subscriptions', 'maildirfolders'):
        write(box.path / box.free_folder(name), 100)
    scripts = box.path / box.free_folder('scripts')
    scripts.mkdir()
    write(scripts / 'main.sieve', 100)
    (box.path / box.free_folder('.dovecot.sieve')).symlink_to(f'{scripts.name}/main.sieve')


def add_dangling_folder(box: Maildir) -> None:
    """A folder that is a link to nothing."""
    name = box.free_folder('.Gone')
    (box.path / name).symlink_to(box.chance.choice(['../nowhere', 'nowhere']))


def add_alias(box: Maildir) -> None:
    """A folder with a second name that is a link."""
    name = box.free_folder('.Junk')
    fill(box, box.add_leaves(name, Rule.ALIAS, EXIM=2, DOVECOT=2))
    (box.path / box.free_folder('.Spam')).symlink_to(name)


def add_alias_by_a_path(box: Maildir) -> None:
    """A folder with a second name that is a link, and which says more than its name."""
    name = box.free_folder('.Junk')
    fill(box, box.add_leaves(name, Rule.ALIAS, EXIM=2, DOVECOT=2))
    (box.path / box.free_folder('.Spam')).symlink_to(f'../{box.path.name}/{name}')


def add_maildirfolder(box: Maildir) -> None:
    """The file that says that a directory is a folder, in the mailbox itself."""
    (box.path / 'maildirfolder').touch()
    box.unknown[Counter.EXIM] = Rule.MAILDIRFOLDER


def add_linked_folder(box: Maildir) -> None:
    """A folder that is a link to a directory beside the mailbox."""
    name = box.free_folder('.Shared')
    target = box.path.with_name(f'{box.path.name}{name}')
    fill(box, box.add_leaves(f'../{target.name}'))
    (box.path / name).symlink_to(f'../{target.name}')


def add_linked_directory(box: Maildir) -> None:
    """A folder whose `cur` is a link to a directory beside the mailbox."""
    name = box.free_folder('.Linked')
    target = Directory(box.path.with_name(f'{box.path.name}{name}'))
    target.path.mkdir()
    box.directories.append(target)
    fill(box, [target])
    (box.path / name).mkdir()
    (box.path / name / 'cur').symlink_to(f'../../{target.path.name}')


def add_folder_outside(box: Maildir) -> None:
    """A folder that is a link out of the roots."""
    (box.path / box.free_folder('.Outside')).symlink_to(OUTSIDE)
    outside = Directory(OUTSIDE / 'cur', Rule.OUTSIDE, {Counter.SERVICE: 0})
    outside.add(OUTSIDE_BYTES)
    box.directories.append(outside)


def add_folder_with_file(box: Maildir) -> None:
    """A folder whose `cur` is a file."""
    name = box.free_folder('.Broken')
    (box.path / name).mkdir()
    write(box.path / name / 'cur', 100)
    box.unknown[Counter.DOVECOT] = Rule.NO_DIRECTORY


# Those that all count alike, and the others.
AGREED_FOLDERS = (add_folder, add_folder_that_is_asked_about, add_empty_folder,
                  add_directory_without_dot, add_files, add_dangling_folder, add_linked_folder,
                  add_linked_directory)
ODD_FOLDERS = (add_oddly_named_folder, add_folder_inbox, add_two_dots, add_nested_folder, add_alias,
               add_alias_by_a_path, add_maildirfolder, add_folder_outside, add_folder_with_file)


# Mailboxes: what is put into each, beside ordinary messages.

Thing = Callable[..., None]
AGREED: tuple[Thing, ...] = AGREED_MESSAGES + AGREED_FOLDERS
ODD: tuple[Thing, ...] = ODD_MESSAGES + ODD_FOLDERS
ALONE = 3  # so many mailboxes have each of these things and no other
LARGE_MESSAGES = 5000


def make_bare(box: Maildir) -> None:
    """A mailbox without any of its directories."""
    box.directories.clear()
    for leaf in ('tmp', 'new', 'cur'):
        (box.path / leaf).rmdir()


def make_large(box: Maildir) -> None:
    """A mailbox with many messages."""
    for _ in range(LARGE_MESSAGES):
        box.chance.choice(ORDINARY_MESSAGES)(box, box.any_directory())


def make_maildirs(parent: Path, count: int, seed: int) -> list[Maildir]:
    """Makes so many Maildirs in the directory parent, the same ones for the same seed.

    Also makes the directory OUTSIDE, which must not be there and must lie out of the roots.
    """
    for leaf in ('new', 'cur'):
        (OUTSIDE / leaf).mkdir(parents=True)
    write(OUTSIDE / 'cur' / OUTSIDE_NAME, OUTSIDE_BYTES)
    chance = random.Random(seed)
    plans: list[Sequence[Thing]] = [[make_bare], [make_large], [add_folder, make_large]]
    plans += [[thing] for thing in AGREED + ODD for _ in range(ALONE)]
    while len(plans) < count:
        things = chance.choice([AGREED, AGREED, AGREED + ODD])
        plans.append(chance.choices(things, k=chance.randrange(6)))
    return [_make_maildir(parent / f'u{number}', plan, chance) for number, plan in enumerate(plans)]


def _make_maildir(path: Path, plan: Sequence[Thing], chance: random.Random) -> Maildir:
    box = Maildir(path, chance)
    box.add_leaves()
    for thing in plan:
        box.things.append(thing.__name__.removeprefix('add_'))
        if thing in AGREED_MESSAGES + ODD_MESSAGES:
            thing(box, box.any_directory())
        else:
            thing(box)
    kinds = chance.choice([ORDINARY_MESSAGES, [add_tagged], [add_untagged]])
    for _ in range(chance.randrange(chance.choice([1, 10, 100])) if box.directories else 0):
        chance.choice(kinds)(box, box.any_directory())
    return box
