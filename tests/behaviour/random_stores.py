# SPDX-License-Identifier: GPL-2.0-or-later
"""Mail stores made at random, changes to them, and requests about what is in them.

Everything comes from a random.Random that is handed in, so that the same seed makes the same store,
the same changes and, as long as the answers are the same, the same requests. Numbers come from
small pools and from earlier answers, for what is interesting lies where sums and limits meet.
"""

import contextlib
import os
import random
import shutil
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Sequence

SIZES = (0, 0, 1, 5, 9, 10, 45, 50, 89, 90, 91, 99, 100, 101, 500, 999, 1000, 1001, 1024, 4096)
GOOD_LIMITS = ('100', '1000', '1K', '2K', '1M', '500,3C', '5C', '1C', '1000,10C', '0', '0,0C',
               '3T', '007')
BAD_LIMITS = ('', '0MM', '5X', '-1', '1,2', '1G,', ',5C', '1 2', '9' * 20, 'unlimited,5C', 'nones',
              '1K # enough', '1\x00')
BAD_LINES = ('"joe@example.org: 5', '"', ' 5C', '@example.org: 5', 'joe@@example.org: 5',
             '*.example.org: 5', 'example.org.: 5', 'a/b@example.org: 5', ': 5', '**: 5',
             '.x@b.example: 5', '# nothing\n 5C', '\x00: 5')
LIMITS = (*GOOD_LIMITS, '1000S', '8191P')
HUGE = (2 ** 31, 2 ** 40, 2 ** 43 + 1)  # of sparse files
DOMAINS = ('example.org', 'b.example', 'xn--d-fga.example')
LOCALS = ('ann', 'bob', 'carol', 'dave', 'eve', 'joe', 'sue', 'john doe', 'q"uote', 'back\\slash',
          'o\'neil', 'j\u00f6rg', 'a=b', 'size=5', 'x+y', 'x', 'a@b', 'tab\there', 'dot.ted', '%n',
          'ctl\x01', '\udcff', 'jean', 'jean-luc', 'Upper', 'l' * 100)
WHOLE_LOCALS = ('ann', 'joe', 'jean', 'jean-luc')  # that have mailboxes by their address, too
FOLDERS = ('.Sent', '.Trash', '.Trash.old', '.Trashed', '.Lists.exim', '.Lists', '.a b', '. ',
           '.trash', '.\u00fc', '.~', '.Deleted Items', '.Deleted Items.old')
PLAIN_FOLDERS = ('Archive', 'Archive/2024', 'Archive/2024/01', 'Lists/exim', 'Trash', 'Trash/old',
                 'Deleted Items', 'Sent', '.hidden')  # of --layout=fs
EXCLUDED = ('Trash', 'Lists', 'Sent', 'Lists.exim', 'Trash.*', 'Deleted Items', 'Del*', 'T*',
            '*old', 'Lists?exim', '?', '?rash', 'a b', '[T]*')
EXCLUDED_PLAIN = ('Archive/*', 'Trash/*', 'Lists/exim', '*/01', 'Trash', 'T*', '?rash', '?hidden')
INDEX_FILES = ('dovecot.index', 'dovecot.index.log', 'dovecot.index.cache', 'dovecot-uidlist',
               'dovecot.mailbox.log', 'subscriptions', 'tmp/1700000000.M1P1.mx')
OTHER_FORMATS = {
    'mdbox': ('storage/m.1', 'dovecot.list.index', 'mailboxes/INBOX/dbox-Mails/dovecot.index'),
    'sdbox': ('mailboxes/INBOX/dbox-Mails/u.1', 'mailboxes/INBOX/dbox-Mails/dovecot.index'),
    'MH': ('1', '2', '.mh_sequences', 'inbox/1'),
    'home': ('.bashrc', '.dovecot.sieve'),
    'mailstore': ('1qX.env', '1qX.msg'),
}


class Asked(NamedTuple):
    """A request, which kind it is of, and its target, if that is a mailbox."""

    kind: str
    line: bytes
    target: bytes = b''


class Setting(NamedTuple):
    """Options of the service in one notation that both the command line and a model can take."""

    roots: tuple[str, ...]
    on_error: Optional[str]
    templates: tuple[str, ...]
    delimiters: Optional[str]
    limits: Optional[bytes]
    grace: Optional[str]
    warn: Optional[int]
    default_quota: Optional[str]
    maildirsize: Optional[str]
    count: Optional[str]
    layout: Optional[str]
    excluded: tuple[str, ...]
    size_tag: Optional[str]
    cache_size: Optional[int]
    watches: Optional[int]  # 0: none


def write(path: Path, size: int) -> None:
    """Makes a file of that size, or makes it as large."""
    with open(path, 'ab') as file:
        file.truncate(size)


def choose(chance: random.Random, usual: Sequence, odd: Sequence, share: float = 0.2):
    """Returns one of what is usual, or, in that share of the cases, one of what is odd."""
    return chance.choice(odd if chance.random() < share else usual)


class Store:
    """Mailboxes below two roots, and something outside them."""

    def __init__(self, folder: Path, chance: random.Random):
        self.chance = chance
        self.roots = [folder / 'mail', folder / 'more mail']
        self.outside = folder / 'outside'
        self._sequence = 0
        for path in (*self.roots, self.outside):
            path.mkdir(parents=True)
        self.boxes = [root / domain / local
                      for root in self.roots for domain in DOMAINS for local in LOCALS
                      if root == self.roots[0] or chance.random() < 0.3]
        self.boxes += [self.roots[0] / f'{local}@example.org' for local in WHOLE_LOCALS]
        self.boxes.append(self.roots[0] / 'Upper.Example' / 'ann')
        self._maildir(self.outside / 'box')
        for box in self.boxes:
            box.parent.mkdir(exist_ok=True)
            self._make(box)
        # Domains that were moved to another disk, and one of them from there.
        moved = {'moved.example': self.roots[1] / 'b.example', 'gone.example': 'nowhere',
                 'away.example': self.roots[1] / 'nowhere'}
        for domain, target in moved.items():
            (self.roots[0] / domain).symlink_to(target)
        self.targets = [*self.boxes, *(self.roots[0] / domain / local
                                       for domain in moved for local in WHOLE_LOCALS)]

    # Mailboxes.

    def change(self) -> Path:
        """Changes something in a mailbox, and returns which."""
        box = self.chance.choice(self.boxes)
        if self.chance.random() < 0.15 or not box.is_dir() or box.is_symlink():
            self._remove(box)
            self._make(box)
            return box
        changes: list[Callable[[Path], None]] = [
            self._deliver, self._deliver, self._expunge, self._expunge, self._flag, self._grow,
            self._maildirsize, self._maildirsize, self._touch_maildirsize, self._add_folder,
            self._remove_folder, self._lock, self._replace_leaf, self._index_files,
        ]
        with contextlib.suppress(OSError):  # what cannot be done here
            self.chance.choice(changes)(box)
        return box

    def _make(self, box: Path) -> None:
        kinds: list[tuple[int, Callable[[Path], None]]] = [
            (2, lambda path: None), (3, self._mbox), (1, os.mkfifo), (1, Path.mkdir),
            (3, self._link), (20, self._maildir), (1, self._locked_maildir),
            (1, self._locked_mbox), (2, self._tree), (2, self._other_format),
        ]
        weights = [weight for weight, _ in kinds]
        self.chance.choices(kinds, weights)[0][1](box)

    @staticmethod
    def _remove(box: Path) -> None:
        if box.is_dir() and not box.is_symlink():
            shutil.rmtree(box)
        else:
            box.unlink(missing_ok=True)

    def _mbox(self, box: Path) -> None:
        write(box, self.chance.choice(SIZES + HUGE))

    def _locked_mbox(self, box: Path) -> None:
        self._mbox(box)
        box.chmod(0)

    def _link(self, box: Path) -> None:
        """Makes a link: to another mailbox, to nothing, to itself, or out of the roots."""
        other = self.chance.choice(self.boxes)
        target = self.chance.choice([
            os.path.relpath(other, box.parent), os.path.relpath(other, box.parent), other.name,
            str(other), 'nowhere', box.name, os.path.relpath(self.outside / 'box', box.parent),
            str(self.outside / 'box'), f'../{box.parent.name}/{other.name}', f'{other.name}/',
            f'./{other.name}/.', '../../../..', f'{other.name}/.Sent', str(other), f'{other}/',
            str(self.chance.choice(self.roots) / 'nowhere'), f'{self.roots[0]}/moved.example/ann',
            f'{self.roots[1]}/../mail/{box.parent.name}/{other.name}', f'{self.roots[1]}x/a',
        ])
        box.symlink_to(target)

    def _locked_maildir(self, box: Path) -> None:
        self._maildir(box)
        self._lock(box)

    def _lock(self, box: Path) -> None:
        """Takes away rights, from a directory, a folder or a file of a mailbox, or gives them."""
        inside = [box, *(path for path in box.rglob('*') if not path.is_symlink())]
        path = self.chance.choice(inside)
        allowed = 0o755 if path.is_dir() else 0o644
        mode = self.chance.choice([0, 0, 0o111, 0o444, allowed])
        if mode == 0o444 and path.is_dir() and not any(path.iterdir()):
            mode = 0  # it depends on the way there whether it counts as empty or as unreadable
        path.chmod(mode)

    def _maildir(self, box: Path) -> None:
        self._leaves(box)
        for _ in range(self.chance.choice([0, 0, 1, 1, 2, 4])):
            with contextlib.suppress(OSError):  # there is something of that name
                self._add_folder(box)
        if self.chance.random() < 0.2:
            self._index_files(box)
        if self.chance.random() < 0.65:
            self._maildirsize(box)
        if self.chance.random() < 0.06:  # as Dovecot does when INBOX is made
            self._maildirfolder(box)

    def _tree(self, box: Path) -> None:
        """Makes a mailbox with LAYOUT=fs."""
        self._leaves(box)
        for name in self.chance.sample(PLAIN_FOLDERS, self.chance.randrange(1, 5)):
            with contextlib.suppress(OSError):
                (box / name).parent.mkdir(parents=True, exist_ok=True)
                self._leaves(box / name)
        if self.chance.random() < 0.8:
            self._maildirsize(box)

    def _other_format(self, box: Path) -> None:
        """Makes what is no Maildir, or holds one."""
        kind = self.chance.choice(list(OTHER_FORMATS))
        for name in OTHER_FORMATS[kind]:
            (box / name).parent.mkdir(parents=True, exist_ok=True)
            write(box / name, self.chance.choice(SIZES))
        for name in ('Maildir', '.maildir') if kind == 'home' else ():
            if self.chance.random() < 0.7:
                self._maildir(box / name)
            if (box / name).is_dir() and self.chance.random() < 0.5:
                self._maildirfolder(box / name)

    def _index_files(self, box: Path) -> None:
        """Puts beside the messages what Dovecot, and a delivery, put there, or makes it larger."""
        for name in self.chance.sample(INDEX_FILES, 3):
            with contextlib.suppress(OSError):
                size = (box / name).stat().st_size if (box / name).exists() else 0
                write(box / name, size + self.chance.choice(SIZES))

    def _maildirfolder(self, folder: Path) -> None:
        path = folder / 'maildirfolder'
        if self.chance.random() >= 0.05:
            path.touch()
        elif not path.exists():
            path.mkdir()

    def _leaves(self, box: Path) -> None:
        """Makes the directories of a mailbox or a folder, most of the time all of them."""
        box.mkdir()
        for leaf in ('tmp', 'new', 'cur'):
            path = box / leaf
            kind = self.chance.random()
            if kind < 0.90:
                path.mkdir()
            elif kind < 0.94:
                path.touch()
            elif kind < 0.97:
                path.symlink_to(self.chance.choice([
                    'tmp', '../../bob/cur', 'nowhere', str(self.outside / 'box' / 'cur'),
                    str(self.roots[1] / 'example.org' / 'ann' / 'cur'), '../.Sent/cur', 'cur',
                    str(self.roots[0] / 'moved.example' / 'joe' / 'new')]))
            if path.is_dir() and not path.is_symlink() and leaf != 'tmp':
                for _ in range(self.chance.choice([0, 0, 1, 1, 2, 3, 6])):
                    self._message(path)

    def _add_folder(self, box: Path) -> None:
        name = self.chance.choice(FOLDERS)
        kind = self.chance.random()
        if kind < 0.75:
            self._leaves(box / name)
            if self.chance.random() < 0.5:
                self._maildirfolder(box / name)
        elif kind < 0.80:
            self._leaves(box / self.chance.choice(['..x', '...', 'plain', 'Archive', 'Trash']))
        elif kind < 0.85:
            (box / name).touch()
        elif kind < 0.90:
            (box / name).symlink_to(self.chance.choice(['nowhere', '..', '.', '../ann',
                                                        os.path.relpath(self.outside, box),
                                                        str(self.outside / 'box'),
                                                        str(self.chance.choice(self.boxes)),
                                                        f'{self.roots[1]}/example.org/joe/.Sent']))
        elif kind < 0.95:
            (box / name).symlink_to(self.chance.choice(['', './', f'../{box.name}/'])
                                    + self.chance.choice(FOLDERS))
        else:
            self._leaves(box / name)
            with contextlib.suppress(FileExistsError):
                self._leaves(box / name / self.chance.choice(FOLDERS))

    def _remove_folder(self, box: Path) -> None:
        folders = [path for path in box.iterdir() if path.name not in ('cur', 'new', 'maildirsize')]
        if folders:
            self._remove(self.chance.choice(folders))

    def _message(self, leaf: Path) -> None:
        """Puts something into a directory of messages."""
        self._sequence += 1
        size = self.chance.choice(SIZES)
        tag = choose(self.chance, (
            '', '', '', f',S={size}', f',S={size}', f',S={size}', f',S={size},W={size + 3}',
            f',W={size + 3}'), (
            f',S={size},S=7', f',S={size}x', f',S={size}x,S=7', ',S=', ',S=-5', ',S= 5', ',S=4.5',
            f',S=000{size}', f',S{size}', f',s={size}', f'S={size}', f',W=x,S={size}', ',S=0x10',
            f',W={size},W=9', f',S={size};W=3', f',S={2 ** 63 - 1}', f',S={2 ** 63}', ',W=,S=6',
            f',S={10 ** 25}', f',W={2 ** 64},S=4', f',S={size},', f',S={size}\n', f',,S={size}',
            f',S=,S={size}'))
        info = self.chance.choice(['', ':2,', ':2,S', ':2,FS', ':2,,S=3'])
        start = choose(self.chance, [''], ['.', '..', ',S=8,'], 0.05)
        path = leaf / f'{start}17{self._sequence:08}.M1P1.mx{tag}{info}'
        kind = self.chance.random()
        if kind < 0.90:
            write(path, self.chance.choice(SIZES))
        elif kind < 0.92:
            path.mkdir()
        elif kind < 0.93:
            os.mkfifo(path)
        elif kind < 0.94:
            with contextlib.suppress(OSError):
                other = self._any_file(self.chance.choice([
                    leaf, leaf.parent / 'new', *(each / 'cur' for each in self.boxes[:9])]))
                if other:
                    os.link(other, self.chance.choice([path, leaf / other.name]))
        else:
            path.symlink_to(self.chance.choice([
                'nowhere', path.name, '../maildirsize', str(self.outside), '../..', '.',
                os.path.relpath(self.outside, leaf), '../tmp', '../maildirsize/x',
                str(leaf.parent / 'maildirsize'), str(self.roots[1] / 'example.org' / 'joe')]))

    def _any_file(self, leaf: Path) -> Optional[Path]:
        files = [path for path in leaf.iterdir() if path.is_file() and not path.is_symlink()]
        return self.chance.choice(sorted(files)) if files else None

    def _any_leaf(self, box: Path) -> Path:
        leaves = sorted(path for path in (*box.glob('*/'), *box.glob('*/*/'))
                        if path.name in ('new', 'cur') and path.is_dir())
        if not leaves:
            raise FileNotFoundError
        return self.chance.choice(leaves)

    def _deliver(self, box: Path) -> None:
        self._message(self._any_leaf(box))

    def _expunge(self, box: Path) -> None:
        path = self._any_file(self._any_leaf(box))
        if path:
            path.unlink()

    def _flag(self, box: Path) -> None:
        path = self._any_file(self._any_leaf(box))
        if path:
            path.rename(path.with_name(path.name + self.chance.choice(['F', ',S=2', ':2,T'])))

    def _grow(self, box: Path) -> None:
        """Makes a message larger in its place, which the directory does not tell."""
        path = self._any_file(self._any_leaf(box))
        if path:
            write(path, path.stat().st_size + 7)

    def _replace_leaf(self, box: Path) -> None:
        """Puts another directory in the place of `cur`."""
        leaf = self._any_leaf(box)
        new = leaf.with_name('tmp2')
        new.mkdir()
        self._message(new)
        leaf.rename(leaf.with_name(f'old{self._sequence}'))
        new.rename(leaf)

    # maildirsize.

    def _maildirsize(self, box: Path) -> None:
        path = box / 'maildirsize'
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        kind = self.chance.random()
        if kind < 0.05:
            self.chance.choice([path.mkdir, lambda: os.mkfifo(path),
                                lambda: path.symlink_to('../ann/maildirsize'),
                                lambda: path.symlink_to('nowhere'),
                                lambda: path.symlink_to(self.outside / 'box' / 'maildirsize')])()
            return
        path.write_bytes(self._maildirsize_content())
        if kind < 0.08:
            path.chmod(0)
        self._touch_maildirsize(box)

    def _touch_maildirsize(self, box: Path) -> None:
        """Sets when maildirsize was changed last, or that `new` and `cur` were."""
        now = time.time()
        path = box / 'maildirsize'
        kind = self.chance.random()
        if not path.is_file():
            return
        if kind < 0.1:  # as rsync does
            for leaf in (box / 'new', box / 'cur'):
                if leaf.is_dir():
                    os.utime(leaf, (now, now - self.chance.choice([-100, 1, 100, 10 ** 6])))
        if kind < 0.4:
            age = self.chance.choice([0, 0.5, 1, 60, 600, 890, 899.5, 900, 901, 910, 86000, 87000,
                                      87000, 93700, 10 ** 6, -60, -0.5])
            os.utime(path, (now, now - age))
        elif kind < 0.8:
            os.utime(path)

    def _maildirsize_content(self) -> bytes:
        chance = self.chance
        size, count = chance.choice((0, 100, 500, 1000, 1024, 5000)), chance.choice((0, 5, 99))
        header = choose(chance, (
            b'%dS,%dC' % (size, count), b'%dS' % size, b'%dC,%dS' % (count, size)), (
            b'5C', b'1000S,5X', b'', b'S', b'1000', b'-5S', b' 1000S', b'1000S,', b',1000S',
            b'1000S 10C', b'1000S,500S', b'9' * 20 + b'S', b'%dS' % 2 ** 63,
            b'%dS' % (2 ** 63 - 1), b'1000s', b'5', b'1000S\r', b'1000S,x', b'1000S5C', b'1K',
            b'1000S,5C,7X', b'NOQUOTA', b'0x10S', b'+5S', b'1000S,-1C', b'\xff'))
        total = chance.choice(SIZES + (100, 1000, 10 ** 6, 2 ** 62))
        lines = [b'%d %d' % (total, chance.randrange(12))]
        for _ in range(chance.choice([0, 0, 0, 1, 2, 5])):
            size, count = chance.choice((-100, -5, 0, 5, 50)), chance.choice((-1, 0, 1))
            lines.append(b'%d %d' % (size, count))
        if chance.random() < 0.1:
            lines.clear()
        if chance.random() < 0.1:
            chance.shuffle(lines)
        if chance.random() < 0.25:
            odd = chance.choice([
                b'', b'x', b'5', b'5 ', b'5 1 ', b'5 1 1', b'5  1', b'  5 1', b'\t5 1', b'5\t1',
                b'+5 1', b'5 +1', b'- 5 1', b'5 1\r', b'5 1x', b'5x 1', b'5,1', b'0x5 1', b'-0 -0',
                b'5 -', b' ', b'99999999999999999999 1', b'1 99999999999999999999',
                b'%d 1' % 2 ** 63, b'%d 0' % -2 ** 63, b'%d 0' % (2 ** 63 - 1), b'-9999999 0',
                b'0 -99', b'5 1\x00', b'5e1 1', b'\xff 1', b'000005 1', b'5.0 1', b'5 1.0',
                b'   5     1', b'5 \t 1', b'\v5 1'])
            lines.insert(chance.randrange(len(lines) + 1), odd)
        if chance.random() < 0.06:  # about as large as such a file may get
            size = chance.choice([5100, 5115, 5119, 5120, 5121, 5130, 9000])
            while (missing := size - len(b'\n'.join([header, *lines])) - 1) > 4:
                lines.append(b' ' * min(missing - 4, 9) + b'0 0')
        end = choose(chance, [b'\n'], [b'', b'\n5', b'\n5 1', b'\n7 1 junk', b'\n\n', b'\n5 1\0'],
                     0.15)
        content = b'\n'.join([header, *lines]) + end
        return choose(chance, [content], [b'', header, header + b'\n', header + b'\n', b'\n'], 0.1)


# Options.

def any_setting(number: int, store: Store, chance: random.Random) -> Setting:
    """Returns options for a service, with those that are not given as None.

    Of each five numbers in a row, the services differ in what matters most.
    """
    def maybe(probability: float, *values):
        return chance.choice(values) if chance.random() < probability else None

    first, second = map(str, store.roots)
    roots = chance.choice([(first,), (first, second), (second, f'{first}/'), ()])
    layout = 'fs' if number % 5 == 2 else maybe(0.1, 'maildir++', 'fs')
    count = 'everything' if number % 5 == 4 else maybe(0.1 * (number % 5 != 3), 'messages',
                                                       'everything')
    if layout == 'fs' or count == 'everything':
        roots = roots or (first, second)  # lest everything on the machine is counted
    excluded = EXCLUDED_PLAIN if layout == 'fs' else EXCLUDED
    templates = [f'{first}/%d/%n', f'{first}/%d/%n', f'{first}/%u', f'{first}/%u',
                 f'{first}/example.org/bob/%n',
                 f'{first}/%d/%n/.Sent', f'{first}/%d//./joe%%/%n']
    if len(roots) != 1:
        templates += [f'{second}/%d/%n', f'{second}//%d/%n/']
    return Setting(
        roots=roots,
        on_error=maybe(0.5, 'accept', 'defer'),
        templates=tuple(chance.sample(templates, (0, 1, 2, 1, 3)[number % 5])),
        delimiters=maybe(0.5, '+', '+-', '-='),
        limits=_limits(chance) if number % 2 == 1 or chance.random() < 0.3 else None,
        grace=maybe(0.6, '0', '10', '100', '1K', '5%', '10%', '100%', '0%'),
        warn=maybe(0.5, 1, 50, 90, 100, 101, 1000),
        default_quota=maybe(0.6, '100', '1000', '2K', '5C', '1000,3C', '0', '1M'),
        excluded=tuple(chance.sample(excluded, chance.choice([0, 0, 1, 2]))),
        maildirsize='ignore' if number % 5 == 3 else maybe(0.1, 'use', 'ignore'),
        count=count,
        layout=layout,
        size_tag=maybe(0.5, 'S', 'W', 'W'),
        cache_size=maybe(1 if number % 10 == 3 else 0.1, 0),
        watches=maybe(0.4, 0),
    )


def _limits(chance: random.Random) -> bytes:
    """Returns the content of a limits file."""
    lines = ['# Limits', '']
    for _ in range(chance.randrange(12)):
        if chance.random() < 0.1:
            lines.append(chance.choice(BAD_LINES))
        local, domain = chance.choice(LOCALS), chance.choice(DOMAINS)
        local = choose(chance, [local], ['jean', 'jean-luc', 'joe+ext', 'joe'])
        key = chance.choice([f'{local}@{domain}', f'{local}@{domain}', f'*@{domain}', domain, '*'])
        if chance.random() < 0.2:
            key = key.upper()
        if chance.random() < 0.2 or any(each in key for each in ' "\\:#'):
            escaped = key.replace('\\', '\\\\').replace('"', '\\"')
            key = f'"{escaped}"'
        if any(each in key for each in '\x01\t\udcff'):
            continue
        between = chance.choice([': ', ': ', ':', ' ', ' : ', ':\n ', '\t'])
        value = choose(chance, (*GOOD_LIMITS, 'unlimited', 'None', '1K , 5C'), BAD_LIMITS, 0.15)
        lines.append(f'{key}{between}{value}{chance.choice(["", "", " "])}')
    mark = chance.choice(['', '', '', '\ufeff'])
    return os.fsencode(mark + '\n'.join(lines) + '\n')


# Requests.

class Asker:
    """Makes requests about a store."""

    def __init__(self, store: Store, chance: random.Random):
        self.store = store
        self.chance = chance
        self.recent: list[Path] = []  # the targets of the last requests
        self.seen: dict[bytes, int] = {}  # how many bytes targets were last said to hold

    def ask(self, box: Optional[Path] = None) -> Asked:
        """Returns a request; about this mailbox, if there is one."""
        again = self.recent if self.recent and self.chance.random() < 0.3 else self.store.targets
        box = box or self.chance.choice(again)
        self.recent = [*self.recent[-3:], box]
        kinds = {self._path: 22, self._verb_path: 40, self._verb_address: 25, self._odd: 6,
                 self._long: 1.5, self._nul: 1.5, self._garbled: 3}
        return self.chance.choices(list(kinds), list(kinds.values()))[0](box)

    def _target_path(self, box: Path) -> bytes:
        chance = self.chance
        path, root = str(box), str(self.store.roots[0])
        parent = str(box.parent)
        if chance.random() < 0.65:
            return os.fsencode(path)
        deep = '/'.join(['d' * 200] * 25)
        return os.fsencode(chance.choice([
            f'{path}/', f'{path}//', f'{path}/.', f'{parent}//{box.name}', f'{parent}/./{box.name}',
            f'{parent}/../{box.parent.name}/{box.name}', f'{parent}/nowhere/../{box.name}',
            f'{path}/..', f'{path}/../{box.name}', f'{path}/../../..',
            f'{path}/../../../outside/box', f'{root}/..',
            f'{root}/../{box.parent.parent.name}/{box.parent.name}/{box.name}', f'/{path}',
            f'/.{path}', f'{path}/cur', f'{path}/{chance.choice(FOLDERS)}',
            f'{path}/{chance.choice(FOLDERS)}', f'{path}/{chance.choice(FOLDERS)}/',
            f'{path}/{chance.choice(FOLDERS)}/{chance.choice(FOLDERS)}', f'{path}/nowhere',
            f'{path}/Maildir', f'{path}/.maildir', f'{path}/.maildir/..',
            f'{path}/{chance.choice(PLAIN_FOLDERS)}',
            f'{path}/maildirsize', f'{path}/maildirsize/x', f'{path}/maildirsize/..', f'{path} ',
            f'{path}\r', f'{path}\t', root, f'{root}/', f'{root}x', f'{root}x/a', '/', '//',
            '/dev/null', '/..', str(self.store.outside / 'box'), f'{parent}/{"n" * 255}',
            f'{parent}/{"n" * 256}', f'{root}/{deep}', f'{parent}/nowhere/{"n" * 256}',
            (f'{path}/' + './' * 3000)[:chance.choice([4094, 4095, 4096, 4097, 5001])],
            (f'{root}/' + 'nn/' * 3000)[:chance.choice([4094, 4095, 4096, 4097])],
            f'{box.parent}/nowhere', parent, f'{path}\x7f', f'{path}\x1b[1m', f'{path}/"',
            f'{path}/\\', f'{path}\udc80', f'{path}/\u20ac',
        ]))

    def _address(self, box: Path) -> bytes:
        chance = self.chance
        local, domain = box.name, box.parent.name
        if domain == self.store.roots[0].name:
            local, _, domain = local.rpartition('@')
        if chance.random() < 0.3:
            local += chance.choice(['+ext', '-ext', '+', '+a+b', '-x+y', '=z', '+..', '+a/b', '-.',
                                    '-luc', f'+{"e" * 70}', f'-{"e" * 300}', f'+{"e" * 160}'])
        if chance.random() < 0.2:
            local, domain = local.upper(), domain.title()
        if chance.random() < 0.15:
            local = chance.choice([
                '', '.', '..', '.x', 'x.', 'x..y', 'a/b', '../x', 'a\x01b', 'a\x7fb', '+x', '-',
                'n' * 64, 'n' * 65, 'n' * 255, 'n' * 256, 'n' * 4000, ' x', '%d', '%', 'a:b', '*',
                '#', 'nowhere', 'nobody', '"', '\\'])
        if chance.random() < 0.1:
            domain = chance.choice([
                '', '.', '..', '.x', 'x.', 'x..y', 'a/b', 'a b', 'a\tb', 'n' * 63, 'n' * 253,
                'n' * 254, 'n' * 255, 'n' * 256, '[192.0.2.1]', 'nowhere.example', f'{domain}.',
                '-', '*', '"x"', f'{domain} '])
        quoted = local.replace('\\', '\\\\').replace('"', '\\"')
        plain = all(each.isalnum() or each in '_.-' for each in local)
        if chance.random() < (0.15 if plain else 0.8):
            local = f'"{quoted}"'
        return os.fsencode(choose(chance, [f'{local}@{domain}'], [
            local, f'"{quoted}@{domain}', f'{quoted}"@{domain}', f'"{quoted}"x@{domain}',
            f'"{quoted}\\"@{domain}', f'"\\{quoted}"@{domain}', f'{local}@@{domain}',
            f'<{local}@{domain}>'], 0.1))

    def _size(self, about: bytes) -> bytes:
        chance = self.chance
        near = max(0, chance.choice((100, 500, 1000, 1024, 2048)) - self.seen.get(about, 0)
                   + chance.choice((-1, 0, 1, 10, 11, 100, 101)))
        return b'size=' + choose(chance, (
            b'%d' % near, b'%d' % near, b'%d' % chance.choice(SIZES), b'', b'-1'), (
            b'-17', b'-0', b'0', b'%d' % (2 ** 63 - 1), b'%d' % 2 ** 63, b'%d' % 2 ** 64,
            b'%d' % 10 ** 30, b'-', b'+5', b'5K', b'x', b'5.0', b'0x10', b'007', b'-5x', b'--5',
            b'5\t', b'1e3', b'"5"', b'5,', b'-%d' % 10 ** 30), 0.1)

    def _quota(self, about: bytes) -> bytes:
        chance = self.chance
        bytes_held = self.seen.get(about, 0)
        near = max(0, chance.choice((bytes_held, bytes_held, bytes_held * 10 // 9, bytes_held * 2))
                   + chance.choice((-1, 0, 1, 2, 100)))
        count = chance.randrange(9)
        return b'quota=' + choose(chance, (
            b'%d' % near, b'%d' % near, chance.choice(LIMITS).encode(), b'%d,%dC' % (near, count),
            b'%dC' % count, b''), (
            b'0', b'0,0C', b'1k', b'5c', b'5C,1G', b'1G,5', b'1G,', b',5C', b'-5', b'1KB', b'K',
            b'C', b'x', b'1000S', b'1 ', b'+1', b'1.5G', b'1G,5C,', b'007', b'1G,5K', b'1P',
            b'1G,-1C', b'"1G"', b'%d' % (2 ** 63 - 1), b'%d' % 2 ** 63, b'%d' % 2 ** 64,
            b'%d' % 10 ** 30, b'8388608T', b'8388607T', b'%dC' % 2 ** 63, b'%dC' % (2 ** 63 - 1),
            b'5C,5C', b'1G,1G', b'1G,5C,1G'), 0.1)

    def _pairs(self, about: bytes) -> list[bytes]:
        pairs = [pair(about) for pair in (self._size, self._quota) if self.chance.random() < 0.6]
        if self.chance.random() < 0.5:
            pairs.reverse()
        if self.chance.random() < 0.04:
            pairs.insert(self.chance.randrange(len(pairs) + 1), self.chance.choice([
                b'size=5', b'quota=1G', b'user=x', b'SIZE=5', b'Quota=1G', b'size', b'=5',
                b's\xc3\xa9=5', b'a.b=c', b'size5=1', b'x@y=z', b'size =5', b'a_b=c', b'a-b=',
                b'quota=', b'1=2']))
        return pairs

    def _verb(self) -> bytes:
        return self.chance.choice([b'usage', b'check', b'check', b'check'])

    def _blank(self) -> bytes:
        return choose(self.chance, [b' '], [b'  ', b'  ', b'\t', b' \t'], 0.05)

    def _with_verb(self, kind: str, target: bytes) -> Asked:
        line = self._verb()
        for pair in self._pairs(target):
            line += self._blank() + pair
        return Asked(kind, line + self._blank() + target, target)

    def _path(self, box: Path) -> Asked:
        target = self._target_path(box)
        return Asked('path', target, target)

    def _verb_path(self, box: Path) -> Asked:
        return self._with_verb('verb and path', self._target_path(box))

    def _verb_address(self, box: Path) -> Asked:
        return self._with_verb('verb and address', self._address(box))

    def _odd(self, box: Path) -> Asked:
        path = os.fsencode(box)
        return Asked('odd', self.chance.choice([
            b'', b' ', b'\t', b'\r', b'ping', b'ping', b'ping ', b'ping x', b'PING', b'ping\r',
            b' ping', b'stats', b'stats', b'stats ', b'stats x', b'STATS', b'stat', b'usage',
            b'usage ', b'usage  ',
            b'check', b'check size=1', b'check size=1 ', b'check quota=1G',
            b'check size=1 quota=1G', b'check size=1 quota=1G ', b'check foo=bar',
            b'check foo=bar ' + path, b'usage foo', b'usage ./x', b'usage @', b'usage a@',
            b'usage @b', b'Usage ' + path, b'USAGE ' + path, b'usages ' + path, b'usag ' + path,
            b' usage ' + path, b'usage:' + path, b'usage/' + path, b'usage=' + path,
            b'usage\r ' + path, b'usage1 ' + path, b'us-age ' + path, b'"usage" ' + path,
            b'\xfcbung ' + path, b'get', b'GET / HTTP/1.1\r', b'EHLO x\r', b'=', b'.', b'..',
            b'mail/x', path[1:], b'\xff', b'\x01', b'-1', b'0', b'\xc3\xa9',
            b'usage size=1 size=2 ' + path, b'usage quota=1 quota=2 ' + path, b'quota=1 ' + path,
            b'size=1', b'request=smtpd_access_policy', b'usage ' + path + b' size=5',
            b'usage ' + path + b'\n' + b'check ' + path, path + b'\ngarbage', b'\n' + path,
            b'usage size= quota= size=1 ' + path, b'usage size=1 quota=2 x=y@example.org',
            b'check quota=1T joe@example.org', b'check "quota=1T joe"@example.org',
            b'check size=-1 quota= ' + path, b'check size= ' + path, b'check quota= ' + path,
        ]))

    def _long(self, box: Path) -> Asked:
        path = os.fsencode(box)
        length = self.chance.choice([8191, 8192, 8193, 8194, 20000])
        start = self.chance.choice([
            path, path + b'/', b'usage ' + path, b'check ', b'usage a@',
            b'', b' ', b'usage size=', b'check size=1 quota=', b'\r', b'check "'])
        filler = self.chance.choice([b'n', b'/', b'/.', b' ', b'1', b'a/'])
        return Asked('long', (start + filler * length)[:length])

    def _nul(self, box: Path) -> Asked:
        path = os.fsencode(box)
        line = self.chance.choice([path, b'usage ' + path, b'check joe@example.org', b'ping', b'',
                                   b'stats', b'x' * 8192])
        at = self.chance.randrange(len(line) + 1)
        return Asked('nul', line[:at] + b'\0' + line[at:])

    def _garbled(self, box: Path) -> Asked:
        sound = self.chance.choice([self._path, self._verb_path, self._verb_address])(box)
        line = bytearray(sound.line)
        for _ in range(self.chance.choice([1, 1, 2, 5])):
            at = self.chance.randrange(len(line) + 1)
            kind = self.chance.randrange(3)
            if kind == 0:
                line[at:at + self.chance.choice([1, 3])] = b''
            else:
                line[at:at + kind - 1] = bytes([self.chance.choice(
                    [0, 1, 9, 10, 13, 32, 34, 43, 45, 46, 47, 61, 64, 92, 127, 128, 195, 255,
                     self.chance.randrange(256)])])
        return Asked('garbled', bytes(line))
