# SPDX-License-Identifier: GPL-2.0-or-later
"""Mailboxes that are changed in every way that a mail server, a mail reader or an administrator
changes them, one after the other, at random.
"""

import contextlib
import os
import random
import re
import shutil
import subprocess
import unittest
from collections import Counter
from pathlib import Path
from typing import Callable, Optional

import kernel_calls
from kernel_calls import handle_of
from mailboxes import make_maildir

DOMAINS = ('a.example', 'b.example')
USERS = ('ann', 'bob', 'cyd')
FOLDERS = ('.Sent', '.Drafts', '.a.b', '.Trash')
SIZES = (0, 1, 10, 100, 1000, 5000)
HEADERS = ('0S', '3000S', '10000S', '20C', '5000S,30C', '')
MOUNTS_MAX = 3

# As stat(1) calls those on which mailboxes are watched.
WATCHED_FILE_SYSTEMS = ('btrfs', 'ext2/ext3', 'f2fs', 'tmpfs', 'xfs')

Change = Callable[['WatchStore'], None]

KINDS: dict[str, Change] = {}

# Those that leave a mailbox in such a state that it can be watched, and come more often.
USUAL: list[str] = []


class NotNow(Exception):
    """There is nothing that could be changed in this way."""


def is_tagged(file: Path) -> bool:
    """Says whether a message tells its size."""
    return bool(re.search(r',S=\d+(?=[:,]|$)', file.name))


def kind(function: Change) -> Change:
    """Notes one kind of change."""
    KINDS[function.__name__] = function
    return function


def usual(function: Change) -> Change:
    """Notes one that happens all the time."""
    USUAL.append(function.__name__)
    return kind(function)


def skip_unless_watched(folder: Path) -> None:
    """Skips a test in a folder where no mailbox is watched: in a container, for example."""
    kind = subprocess.run(['stat', '-f', '-c', '%T', str(folder)], stdout=subprocess.PIPE,
                          text=True, check=True).stdout.strip()
    if kind not in WATCHED_FILE_SYSTEMS:
        raise unittest.SkipTest(f'no mailbox is watched on {kind}')


class WatchStore:
    """A folder with mailboxes of some domains."""

    def __init__(self, root: Path, chance: random.Random, *, grows: bool, replaces: bool):
        """Makes them.

        grows: messages change their size where nothing else tells so. replaces: messages take the
        names of others.
        """
        self.root = root
        self.aside = root / 'aside'  # nobody asks about it
        self.aside.mkdir()
        self.chance = chance
        self.grows = grows
        self.replaces = replaces
        self.done: Counter[str] = Counter()
        self.changed: list[Path] = []  # mailboxes, by the change that was made last
        self._number = 0
        self._away: list[tuple[Path, Path]] = []
        self._locked: list[tuple[Path, int]] = []
        self.mailboxes = [root / domain / user for domain in DOMAINS for user in USERS]
        self.mbox = root / DOMAINS[0] / 'mbox'
        self.missing = root / DOMAINS[1] / 'missing'
        for mailbox in self.mailboxes:
            self._fill(mailbox)
        self.mbox.write_bytes(bytes(500))

    def places(self) -> list[Path]:
        """Returns what may be asked about."""
        return [*self.mailboxes, self.mbox, self.missing, self.missing / 'below']

    def change(self) -> str:
        """Changes something, and returns how."""
        while True:
            name = self.chance.choice(USUAL if self.chance.random() < 0.85 else list(KINDS))
            if len(self.mounts()) + len(self._away) + len(self._locked) > MOUNTS_MAX:
                name = self.chance.choice(('umount', 'back', 'unlock'))
            self.changed = []
            with contextlib.suppress(NotNow, OSError):
                KINDS[name](self)
                self.done[name] += 1
                return name

    def mend(self) -> None:
        """Makes all mailboxes such that they can be watched."""
        self.end()
        for mailbox in self.mailboxes:
            leaves = [mailbox / name for name in ('cur', 'new')]
            is_sound = all(each.is_dir() and not each.is_symlink() for each in (mailbox, *leaves))
            if is_sound and not any(each.is_symlink() or each.is_dir() and each.name[0] != '.'
                                    and each.name not in ('cur', 'new', 'tmp')
                                    for each in mailbox.iterdir()):
                continue
            if mailbox.exists() or mailbox.is_symlink():
                mailbox.rename(self.fresh())
            self._fill(mailbox)

    def end(self) -> None:
        """Undoes what keeps the folder from being removed."""
        for path in reversed(self.mounts()):
            kernel_calls.unmount(path, detach=True)
        while self._locked:
            path, mode = self._locked.pop()
            with contextlib.suppress(OSError):
                path.chmod(mode)

    # What there is.

    def size(self) -> int:
        """Returns the size of a message."""
        return self.chance.choice(SIZES)

    def one(self, found: list):
        """Returns one of them."""
        if not found:
            raise NotNow
        return self.chance.choice(found)

    def mailbox(self) -> Path:
        """Returns a Maildir that is there."""
        found = self.one([each for each in self.mailboxes if (each / 'tmp').is_dir()])
        self.changed.append(found)
        return found

    def folders(self, mailbox: Path) -> list[Path]:
        """Returns the folders of a mailbox."""
        return [mailbox / name for name in sorted(os.listdir(mailbox))
                if name.startswith('.') and (mailbox / name).is_dir()]

    def folder(self, mailbox: Optional[Path] = None) -> Path:
        """Returns a folder, or the mailbox itself."""
        mailbox = mailbox or self.mailbox()
        return self.one([mailbox, mailbox, *self.folders(mailbox)])

    def leaf(self, folder: Optional[Path] = None) -> Path:
        """Returns a `new` or `cur`."""
        folder = folder or self.folder()
        return self.one([each for each in (folder / 'new', folder / 'cur') if each.is_dir()])

    def message(self, leaf: Optional[Path] = None) -> Path:
        """Returns a message."""
        leaf = leaf or self.leaf()
        return self.one([leaf / name for name in sorted(os.listdir(leaf))])

    def name(self) -> str:
        """Returns a name for a message, or for anything."""
        self._number += 1
        tag = self.one([f',S={self.size()}', f',S={self.size()}', f',S={self.size()},W=7', '',
                        f',W={self.size()}', ',S=x'])
        return f'{self._number}.host{tag}'

    def fresh(self) -> Path:
        """Returns a place where nothing is, beside the mailboxes."""
        self._number += 1
        return self.aside / f'{self._number}'

    def write(self, path: Path) -> Path:
        """Writes a message of any size."""
        path.write_bytes(bytes(self.size()))
        return path

    def sums(self) -> str:
        """Returns lines of a maildirsize."""
        lines = [f'{self.size()} {self.chance.randrange(1, 9)}\n'
                 for _ in range(self.chance.randrange(1, 4))]
        return f'{self.one(list(HEADERS))}\n' + ''.join(lines)

    def _fill(self, mailbox: Path) -> None:
        make_maildir(mailbox, [self.size() for _ in range(self.chance.randrange(5))])
        for folder in self.chance.sample(FOLDERS, self.chance.randrange(3)):
            make_maildir(mailbox / folder, [self.size()])
        if self.chance.random() < 0.4:
            (mailbox / 'maildirsize').write_text(self.sums(), 'ascii')

    def maildirsize(self) -> Path:
        """Returns a maildirsize that is there."""
        found = self.one([each for each in self.mailboxes if (each / 'maildirsize').is_file()])
        self.changed.append(found)
        return found / 'maildirsize'

    def two(self) -> tuple[Path, Path]:
        """Returns two mailboxes."""
        one, other = self.chance.sample(self.mailboxes, 2)
        self.changed += [one, other]
        return one, other

    def rename(self, old: Path, new: Path) -> None:
        """Renames what must not be there in the end."""
        if new.exists() or new.is_symlink():
            raise NotNow
        old.rename(new)

    def put_away(self, path: Path) -> None:
        """Moves something away, to be put back later."""
        away = self.fresh()
        path.rename(away)
        self._away.append((away, path))

    def lock(self, path: Path) -> None:
        """Takes all rights to something away, to be given back later."""
        self._locked.append((path, path.stat().st_mode & 0o777))
        path.chmod(0)

    def mounts(self) -> list[Path]:
        """Returns what is mounted, the last at the end."""
        return kernel_calls.mounts_below(self.root)

    def away(self) -> list[tuple[Path, Path]]:
        """Returns what was moved away, and from where."""
        return self._away

    def locked(self) -> list[tuple[Path, int]]:
        """Returns what nobody may read, and what rights there were."""
        return self._locked


# Messages.

@usual
def deliver(store: WatchStore) -> None:
    """As a delivery agent does."""
    folder = store.folder()
    file = store.write(folder / 'tmp' / store.name())
    file.rename(folder / 'new' / file.name)


@usual
def deliver_by_link(store: WatchStore) -> None:
    """As another one does."""
    folder = store.folder()
    file = store.write(folder / 'tmp' / store.name())
    os.link(file, folder / 'new' / file.name)
    file.unlink()


@usual
def deliver_at_once(store: WatchStore) -> None:
    """Without a detour, and maybe piece by piece."""
    file = store.leaf() / store.name()
    with open(file, 'wb') as written:
        for _ in range(store.chance.randrange(3)):
            written.write(bytes(store.size()))
            written.flush()


@usual
def deliver_many(store: WatchStore) -> None:
    """Some at once."""
    leaf = store.leaf()
    for _ in range(20):
        store.write(leaf / store.name())


@usual
def append_to_message(store: WatchStore) -> None:
    """A tagged message stays as large as it says; of others it shows only in what is not cached."""
    file = store.message()
    if not (file.is_file() and file.stat().st_nlink == 1 and (store.grows or is_tagged(file))):
        raise NotNow
    with open(file, 'ab') as written:
        written.write(bytes(store.size()))


@usual
def truncate_message(store: WatchStore) -> None:
    """The same the other way."""
    file = store.message()
    if not (file.is_file() and file.stat().st_nlink == 1 and (store.grows or is_tagged(file))):
        raise NotNow
    os.truncate(file, store.size())


@usual
def flag(store: WatchStore) -> None:
    """Gives a message other flags."""
    file = store.message()
    base = file.name.partition(':')[0]
    store.rename(file, file.with_name(f'{base}:2,{store.one(["", "S", "RS", "FS", "T"])}'))


@usual
def see(store: WatchStore) -> None:
    """Moves a message from `new` to `cur`."""
    folder = store.folder()
    file = store.message(folder / 'new')
    store.rename(file, folder / 'cur' / f'{file.name}:2,S')


@usual
def remove_message(store: WatchStore) -> None:
    """Removes it."""
    store.message().unlink()


@usual
def empty_leaf(store: WatchStore) -> None:
    """Removes them all."""
    leaf = store.leaf()
    for name in os.listdir(leaf):
        (leaf / name).unlink()


@usual
def move_to_folder(store: WatchStore) -> None:
    """Moves a message to another folder of the mailbox."""
    mailbox = store.mailbox()
    file = store.message(store.leaf(store.folder(mailbox)))
    store.rename(file, store.leaf(store.folder(mailbox)) / file.name)


@usual
def move_to_mailbox(store: WatchStore) -> None:
    """Moves a message to another mailbox."""
    file = store.message()
    store.rename(file, store.leaf(store.folder(store.mailbox())) / file.name)


@usual
def move_out(store: WatchStore) -> None:
    """Moves a message where nothing is watched, or back."""
    file = store.message()
    away = store.aside / file.name
    store.rename(file, away)
    if store.chance.random() < 0.5:
        away.rename(file)


@usual
def copy_by_link(store: WatchStore) -> None:
    """Gives a message a second name."""
    file = store.message()
    os.link(file, store.leaf() / store.name())


@usual
def replace_message(store: WatchStore) -> None:
    """Gives a message the name of another one."""
    file, other = store.message(), store.message()
    if not store.replaces or file == other:
        raise NotNow
    file.rename(other)


@usual
def exchange_messages(store: WatchStore) -> None:
    """Gives two messages each other's names."""
    one, other = store.message(), store.message()
    if not store.grows and not (is_tagged(one) and is_tagged(other)):
        raise NotNow
    kernel_calls.exchange(one, other)


@kind
def link_as_message(store: WatchStore) -> None:
    """Makes a symbolic link that counts as a message."""
    (store.leaf() / store.name()).symlink_to(store.mbox)


@kind
def directory_as_message(store: WatchStore) -> None:
    """Makes a directory among the messages, or removes it."""
    path = store.leaf() / store.one([store.name(), 'dir', '.dir'])
    path.mkdir()
    if store.chance.random() < 0.7:
        path.rmdir()


@usual
def touch_leaf(store: WatchStore) -> None:
    """Sets times."""
    os.utime(store.leaf(), (1, store.chance.randrange(1 << 30)))


# Folders.

@usual
def make_folder(store: WatchStore) -> None:
    """Makes a folder at its place, or renames one to it."""
    folder = store.mailbox() / store.one([*FOLDERS, '.new', '.a.b.c'])
    if folder.exists():
        raise NotNow
    made = store.fresh() if store.chance.random() < 0.5 else folder
    make_maildir(made, [store.size()])
    if made != folder:
        made.rename(folder)


@kind
def make_folder_bit_by_bit(store: WatchStore) -> None:
    """Makes what is no folder yet, or a part of one that lacks it."""
    folder = store.folder()
    missing = [each for each in (folder / 'cur', folder / 'new') if not each.exists()]
    if missing:
        store.one(missing).mkdir()
    else:
        (store.mailbox() / f'.bit{store.chance.randrange(3)}').mkdir()


@usual
def remove_folder(store: WatchStore) -> None:
    """Removes a folder."""
    shutil.rmtree(store.one(store.folders(store.mailbox())))


@usual
def rename_folder(store: WatchStore) -> None:
    """Renames a folder, maybe so that it is none any more."""
    mailbox = store.mailbox()
    store.rename(store.one(store.folders(mailbox)),
                 mailbox / store.one([*FOLDERS, '.other', 'plain', '..odd']))


@usual
def remove_plain(store: WatchStore) -> None:
    """Removes what is no folder."""
    mailbox = store.mailbox()
    shutil.rmtree(store.one([mailbox / name for name in ('plain', '..odd', 'other')
                             if (mailbox / name).is_dir() and not (mailbox / name).is_symlink()]))


@usual
def move_folder(store: WatchStore) -> None:
    """Moves a folder to another mailbox."""
    folder = store.one(store.folders(store.mailbox()))
    store.rename(folder, store.mailbox() / folder.name)


@usual
def remove_leaf(store: WatchStore) -> None:
    """Removes `cur` or `new`, and maybe makes it again."""
    leaf = store.leaf()
    shutil.rmtree(leaf)
    if store.chance.random() < 0.6:
        leaf.mkdir()


@kind
def rename_leaf(store: WatchStore) -> None:
    """Renames it away and back, or not."""
    leaf = store.leaf()
    store.put_away(leaf)
    if store.chance.random() < 0.5:
        make_maildir(leaf.parent, [store.size()])
    if store.chance.random() < 0.5:
        back(store)


@kind
def lock_leaf(store: WatchStore) -> None:
    """Nobody may read it any more."""
    store.lock(store.leaf())


@kind
def link_as_folder(store: WatchStore) -> None:
    """Makes a symbolic link to a folder, in place of one or beside them."""
    mailbox = store.mailbox()
    link = mailbox / store.one(['.link', *FOLDERS])
    target = store.folder()
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    link.symlink_to(target)


@kind
def link_as_leaf(store: WatchStore) -> None:
    """Puts a symbolic link in place of `cur` or `new`."""
    leaf, target = store.leaf(), store.leaf()
    away = store.fresh()
    leaf.rename(away)
    leaf.symlink_to(away if store.chance.random() < 0.5 else target)


@usual
def unlink_links(store: WatchStore) -> None:
    """Removes the symbolic links of a mailbox."""
    mailbox = store.one(store.mailboxes)
    store.changed.append(mailbox)
    if mailbox.is_symlink():
        mailbox.unlink()
        return
    links = [each for folder in (mailbox, *store.folders(mailbox)) for each in folder.iterdir()
             if each.is_symlink()]
    store.one(links)
    for link in links:
        link.unlink()


@kind
def maildirfolder(store: WatchStore) -> None:
    """Makes or removes what Dovecot puts into folders."""
    file = store.folder() / 'maildirfolder'
    if file.exists():
        file.unlink()
    else:
        file.touch()


@usual
def other_file(store: WatchStore) -> None:
    """Makes and renames files of a mail server, that mean nothing."""
    folder = store.folder()
    (folder / 'dovecot.index.tmp').write_bytes(bytes(10))
    (folder / 'dovecot.index.tmp').rename(folder / 'dovecot.index')


# maildirsize.

@usual
def append_sums(store: WatchStore) -> None:
    """As a delivery agent does."""
    with open(store.maildirsize(), 'a', encoding='ascii') as file:
        file.write(f'{store.size()} 1\n')


@usual
def subtract_sums(store: WatchStore) -> None:
    """As a mail server does."""
    with open(store.maildirsize(), 'a', encoding='ascii') as file:
        file.write(f'-{store.size()} -1\n')


@usual
def rewrite_sums(store: WatchStore) -> None:
    """By a new file, or for the first time."""
    mailbox = store.mailbox()
    new = mailbox / 'tmp' / 'maildirsize'
    new.write_text(store.sums(), 'ascii')
    new.rename(mailbox / 'maildirsize')


@usual
def overwrite_sums(store: WatchStore) -> None:
    """In place."""
    with open(store.maildirsize(), 'r+b') as file:
        file.write(store.sums().encode())


@usual
def truncate_sums(store: WatchStore) -> None:
    """To a part of it."""
    file = store.maildirsize()
    os.truncate(file, store.chance.randrange(1 + file.stat().st_size))


@usual
def remove_sums(store: WatchStore) -> None:
    """Removes it."""
    store.maildirsize().unlink()


@usual
def touch_sums(store: WatchStore) -> None:
    """Sets its time back, or to now."""
    file = store.maildirsize()
    if store.chance.random() < 0.5:
        seen = file.stat().st_mtime - store.chance.randrange(1000)
        os.utime(file, (seen, seen))
    else:
        os.utime(file)


@kind
def lock_sums(store: WatchStore) -> None:
    """Nobody may read it any more."""
    store.lock(store.maildirsize())


@usual
def link_sums(store: WatchStore) -> None:
    """Changes it by another name, which stays or not."""
    file, other = store.maildirsize(), store.fresh()
    os.link(file, other)
    with open(other, 'a', encoding='ascii') as written:
        written.write(f'{store.size()} 1\n')
    if store.chance.random() < 0.5:
        other.unlink()


@kind
def share_sums(store: WatchStore) -> None:
    """Lets two mailboxes have the same file."""
    os.link(store.maildirsize(), store.mailbox() / 'maildirsize')


@usual
def sums_by_handle(store: WatchStore) -> None:
    """Changes it without any name."""
    handle = handle_of(store.maildirsize())
    if not handle:
        raise NotNow
    handle.append(f'{store.size()} 1\n'.encode())
    handle.close()


@kind
def odd_sums(store: WatchStore) -> None:
    """Puts something else in its place."""
    path = store.mailbox() / 'maildirsize'
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    if store.chance.random() < 0.5:
        path.symlink_to(store.maildirsize())
    else:
        path.mkdir()


# Mailboxes.

@usual
def rename_mailbox(store: WatchStore) -> None:
    """Renames it away, and maybe back at once."""
    store.put_away(store.mailbox())
    if store.chance.random() < 0.5:
        back(store)


@kind
def back(store: WatchStore) -> None:
    """Puts something back that was renamed away."""
    if not store.away():
        raise NotNow
    away, path = store.away().pop()
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        path.rename(store.fresh())
    away.rename(path)
    store.changed += store.mailboxes


@usual
def replace_mailbox(store: WatchStore) -> None:
    """Renames another one into its place."""
    mailbox = store.mailbox()
    made = make_maildir(store.fresh(), [store.size()])
    store.put_away(mailbox)
    made.rename(mailbox)


@usual
def exchange_mailboxes(store: WatchStore) -> None:
    """Gives two each other's names."""
    kernel_calls.exchange(*store.two())


@kind
def remove_mailbox(store: WatchStore) -> None:
    """Removes it."""
    shutil.rmtree(store.mailbox())


@usual
def make_mailbox(store: WatchStore) -> None:
    """Makes one where none is."""
    mailbox = store.one([each for each in store.mailboxes if not (each / 'tmp').exists()])
    store.changed.append(mailbox)
    if mailbox.is_symlink() or mailbox.is_file():
        mailbox.unlink()
    make_maildir(mailbox, [store.size()])


@usual
def make_missing(store: WatchStore) -> None:
    """Makes something where nothing was for long, or removes it."""
    store.changed.append(store.missing)
    if store.missing.is_dir():
        shutil.rmtree(store.missing)
    elif store.missing.exists():
        store.missing.unlink()
    elif store.chance.random() < 0.3:
        store.write(store.missing)
    else:
        make_maildir(store.missing / store.one(['', 'below', '.folder']), [store.size()])


@usual
def rename_domain(store: WatchStore) -> None:
    """Renames a domain away, and maybe back at once."""
    store.put_away(store.root / store.one(list(DOMAINS)))
    if store.chance.random() < 0.7:
        back(store)


@kind
def exchange_domains(store: WatchStore) -> None:
    """Gives two domains each other's names."""
    kernel_calls.exchange(*(store.root / domain for domain in DOMAINS))
    store.changed += store.mailboxes


@kind
def lock_mailbox(store: WatchStore) -> None:
    """Nobody may enter it any more."""
    store.lock(store.mailbox())


@kind
def lock_domain(store: WatchStore) -> None:
    """Nobody may enter the domain any more."""
    store.lock(store.root / store.one(list(DOMAINS)))
    store.changed += store.mailboxes


@kind
def unlock(store: WatchStore) -> None:
    """Gives rights back."""
    if not store.locked():
        raise NotNow
    path, mode = store.locked().pop()
    path.chmod(mode)
    store.changed += store.mailboxes


@kind
def link_as_mailbox(store: WatchStore) -> None:
    """Puts a symbolic link in its place."""
    one, other = store.two()
    one.rename(store.fresh())
    one.symlink_to(other)


@kind
def nest_mailbox(store: WatchStore) -> None:
    """Moves a mailbox into another one."""
    one, other = store.two()
    store.rename(one, other / store.one(['.nested', 'other']))


# An mbox.

@usual
def append_mbox(store: WatchStore) -> None:
    """Appends to it, by its name or without any."""
    store.changed.append(store.mbox)
    handle = handle_of(store.mbox) if store.chance.random() < 0.5 else None
    if handle:
        handle.append(bytes(store.size()))
        handle.close()
    else:
        with open(store.mbox, 'ab') as file:
            file.write(bytes(store.size()))


@usual
def truncate_mbox(store: WatchStore) -> None:
    """Makes it another size."""
    store.changed.append(store.mbox)
    os.truncate(store.mbox, store.size())


@usual
def replace_mbox(store: WatchStore) -> None:
    """By another one, or by a Maildir."""
    store.changed.append(store.mbox)
    if store.mbox.is_dir():
        store.mbox.rename(store.fresh())
    elif store.chance.random() < 0.3:
        store.mbox.unlink()
        make_maildir(store.mbox, [store.size()])
        return
    store.write(store.fresh()).rename(store.mbox)


@usual
def link_mbox(store: WatchStore) -> None:
    """Changes it by another name."""
    store.changed.append(store.mbox)
    other = store.fresh()
    os.link(store.mbox, other)
    store.write(other)
    if store.chance.random() < 0.5:
        other.unlink()


@kind
def share_mbox(store: WatchStore) -> None:
    """Lets it be asked about by two names."""
    store.changed += [store.mbox, store.missing]
    os.link(store.mbox, store.missing)


# Mounts.

@kind
def mount_over_mailbox(store: WatchStore) -> None:
    """Shows one mailbox at the place of another, too."""
    one, other = store.two()
    kernel_calls.bind(one, other)


@kind
def mount_beside(store: WatchStore) -> None:
    """Shows a mailbox at a second place."""
    mailbox = store.mailbox()
    store.missing.mkdir()
    kernel_calls.bind(mailbox, store.missing)
    store.changed.append(store.missing)


@kind
def mount_over_leaf(store: WatchStore) -> None:
    """Shows other messages in a mailbox."""
    leaf, other = store.leaf(), store.leaf()
    if leaf == other:
        raise NotNow
    kernel_calls.bind(other, leaf)


@kind
def mount_over_sums(store: WatchStore) -> None:
    """Shows another maildirsize."""
    file, other = store.maildirsize(), store.maildirsize()
    if file == other:
        raise NotNow
    kernel_calls.bind(other, file)


@kind
def mount_over_domain(store: WatchStore) -> None:
    """Hides a domain, or shows the other one in its place."""
    domain, other = store.chance.sample(DOMAINS, 2)
    if store.chance.random() < 0.5:
        kernel_calls.bind(store.root / other, store.root / domain)
    else:
        kernel_calls.mount_tmpfs(store.root / domain)
        make_maildir(store.root / domain / USERS[0], [store.size()])
    store.changed += store.mailboxes


@kind
def umount(store: WatchStore) -> None:
    """Unmounts something again."""
    mounts = store.mounts()
    if not mounts:
        raise NotNow
    kernel_calls.unmount(mounts[-1], detach=True)
    store.changed += store.mailboxes
