# SPDX-License-Identifier: GPL-2.0-or-later
"""What exim-quotad answers, said a second time and independently of the first.

This is a model of the service, made from what its manual pages say and not from its code: given the
options, a mail store on disk and the bytes of a request, it says what the answer has to be. It
reads the same files as the service, and shares nothing with it. Where the two differ, one of them
is wrong, or the manual is.

It is simple before it is fast: it remembers only what can be seen in answers (whose `source` tells
whether messages were counted anew), has no threads, and waits for nothing. An answer depends on
time, since a fresh maildirsize is believed and a directory that has just changed is not remembered.
So the model is told when the service can have looked, and where it matters says all the answers
that are right then; otherwise there is one.

It does not know time-outs, overload, and failing file systems.

Where the manual leaves something open, the model says what the service does:
- A first word ends at a NUL, too. Of several errors the first from the left is told. A size= that
  is too large to count is as large as can be counted. A second size= or quota= begins the target.
- The letters of sizes and limits are of either case, the two parts of a limit in any order.
- Address: 64 and 255 bytes at most, in UTF-8; no extension is stripped to nothing; one dot behind a
  domain goes; a domain has none of the characters that separate words where addresses are written.
- Where nothing is in the way of the last template but a file, that is an error.
- Symbolic links: a loop is outside the roots; with the root / an absolute one leads nowhere else.
- maildirfolder: anything of that name. The parent is that of the path's text; a path that ends with
  .. has none.
- maildirsize: a link is no regular file. What is too large for a limit is as large as can be
  counted, what is too large for an entry does not parse. An empty first line is no limit, one
  without digits does not parse. `new` and `cur` that are not there were changed last.
- --grace belongs to the rule for counting whatever the verb.
- `,S=` without digits is 0. A folder that is a link to a neighbour, its text without a slash, is
  left out. Sums stop at the largest number. A directory that holds something without a tag that is
  no file is not remembered. Each path that is asked about has a memory of its own.
"""

import collections
import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import Iterable, Iterator, NamedTuple, Optional

FULL = 2 ** 63 - 1  # the largest number of bytes; as an answer, what every comparison reads as full
REQUEST_MAX = 8192
MAILDIRSIZE_MAX = 5120  # a file of so many bytes is to be written anew
FRESH_NS = 15 * 60 * 10 ** 9
# What changed later than so long ago is not remembered, and what changed earlier is. In between is
# where a clock in whole seconds rounds, and where the one that the kernel stamps changes with lags
# behind, as it does on a busy machine whose ticks come late.
RACY_NS = 2 * 10 ** 9
SETTLED_NS = 3_500_000_000
LINKS_MAX = 40  # symbolic links that Linux follows on the way to a file
PATH_MAX = 4095
UNITS = {b'': 1, b'K': 2 ** 10, b'M': 2 ** 20, b'G': 2 ** 30, b'T': 2 ** 40}
TEXTS = {
    'ok': b'Mailbox has room',
    'warn': b'Mailbox is nearly full',
    'over': b'Mailbox is full',
    'toolarge': b'Message is larger than the mailbox may ever be',
}


class Problem(Exception):
    """A question that cannot be answered, and the word for why."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Limit(NamedTuple):
    """How much a mailbox may hold; 0 is no limit."""

    bytes: int = 0
    messages: int = 0


class Sums(NamedTuple):
    """How much there is."""

    bytes: int = 0
    messages: int = 0


class Usage(NamedTuple):
    """How much a mailbox holds, and how that is known."""

    sums: Sums
    source: str


class Interval(NamedTuple):
    """When the service looked: not before the one, and not after the other; by the clock."""

    first_ns: int
    last_ns: int


class Outcome(NamedTuple):
    """What an answer is about, for whoever counts answers."""

    kind: str
    is_over: bool = False
    is_error: bool = False


class Request(NamedTuple):
    """A verb with its pairs and target."""

    verb: str
    size: int
    quota: Optional[Limit]
    target: bytes


@dataclass(frozen=True)
class Options:
    """What the service is started with."""

    roots: tuple[bytes, ...] = (b'/',)
    on_error: str = 'accept'
    templates: tuple[bytes, ...] = ()
    delimiters: bytes = b''
    limits: Optional[dict[bytes, Limit]] = None
    grace: bytes = b'0'
    warn: int = 90
    default_quota: Optional[Limit] = None
    excluded: tuple[bytes, ...] = ()
    size_tag: bytes = b'S'
    cache_mailboxes: int = 10000


# Numbers.

def parse_number(text: bytes) -> Optional[int]:
    """Reads decimal digits; None if it is anything else or too large."""
    if not re.fullmatch(rb'[0-9]+', text):
        return None
    return int(text) if int(text) <= FULL else None


def parse_size(text: bytes) -> Optional[int]:
    """Reads a number of bytes that may have a unit; None if it is none."""
    unit = text[-1:].upper() if text[-1:].upper() in UNITS else b''
    number = parse_number(text[:len(text) - len(unit)])
    if number is None or number * UNITS[unit] > FULL:
        return None
    return number * UNITS[unit]


def parse_limit(text: bytes) -> Optional[Limit]:
    """Reads `SIZE`, `SIZE,NC` or `NC`; None if it is none of them."""
    found: dict[str, Optional[int]] = {}
    for item in text.split(b','):
        is_count = item[-1:] in (b'C', b'c')
        kind, number = ('C', parse_number(item[:-1])) if is_count else ('S', parse_size(item))
        if number is None or kind in found:
            return None
        found[kind] = number
    return Limit(found.get('S', 0), found.get('C', 0))


def parse_limits(content: bytes) -> dict[bytes, Limit]:
    """Reads a limits file that has no errors."""
    joined: list[bytes] = []
    for line in content.split(b'\n'):
        if line.startswith(b'#') or not line.strip():
            continue
        if line[:1] in (b' ', b'\t'):
            joined[-1] += b' ' + line.strip()
        else:
            joined.append(line.rstrip())
    limits: dict[bytes, Limit] = {}
    for line in joined:
        quoted = re.match(rb'"((?:[^"\\]|\\.)*)"[ \t]*:?[ \t]*', line)
        plain = re.match(rb'([^ \t:]+)[ \t]*:?[ \t]*', line)
        found = quoted or plain
        key = re.sub(rb'\\(.)', rb'\1', quoted[1]) if quoted else plain[1]
        limits.setdefault(key.lower(), parse_limit(line[found.end():]))
    return limits


# Answers.

def quote(value: bytes, always: bool = False) -> bytes:
    """Writes a value as ${extract} reads it."""
    if not always and not re.search(rb'[\0- "\\\x7f]', value) and value:
        return value
    escaped = re.sub(rb'["\\]', rb'\\\g<0>', value)
    return b'"' + re.sub(rb'[\0-\x1f\x7f]', lambda e: b'\\%03o' % e[0][0], escaped) + b'"'


def error(reason: str) -> bytes:
    """Writes the answer for an error to a verb, with a star for the text, which may change."""
    return b'status=error reason=%s text=*\n' % reason.encode()


def without_free_text(reply: bytes) -> bytes:
    """Puts stars for what cannot be told beforehand: texts of errors, the version, counters."""
    reply = re.sub(rb'\A(status=error reason=[a-z-]+ text=)'
                   rb'"(?:[^"\\\0-\x1f\x7f]|\\["\\]|\\[0-7]{3})+"\n\Z', rb'\1*\n', reply)
    reply = re.sub(rb'\A(status=ok )queries=[0-9]+(?: [a-z_]+=[0-9]+){10}\n\Z',
                   rb'\1stats=*\n', reply)
    return re.sub(rb'\A(status=ok version=)[0-9]+(?:\.[0-9]+){2}\n\Z', rb'\1*\n', reply)


# Requests.

def parse_verb(line: bytes) -> Request:
    """Takes apart a line that begins with a verb which has a target."""
    verb, _, rest = line.partition(b' ')
    size: Optional[int] = None
    quota: Optional[bytes] = None
    limit: Optional[Limit] = None
    while size is None or quota is None:
        rest = rest.lstrip(b' ')
        word, blank, behind = rest.partition(b' ')
        pair = re.match(rb'([A-Za-z]+)=', word)
        if not pair or not blank:
            break
        key, value = pair[1], word[pair.end():]
        if key == b'size' and size is None:
            size = parse_message_size(value)
        elif key == b'quota' and quota is None:
            quota = value
            limit = parse_limit(value) if value else None
            if value and limit is None:
                raise Problem('bad-value')
        elif b'@' in word or key in (b'size', b'quota'):
            break  # the target
        else:
            raise Problem('bad-request')
        rest = behind
    target = rest.lstrip(b' ')
    if not target:
        raise Problem('bad-request')
    return Request(verb.decode(), size or 0, limit, target)


def parse_message_size(value: bytes) -> int:
    """Reads the value of size=; 0 is not known."""
    if not value or re.fullmatch(rb'-[0-9]+', value):
        return 0
    if not re.fullmatch(rb'[0-9]+', value):
        raise Problem('bad-value')
    return min(int(value), FULL)  # larger than anything is larger than anything


def parse_address(target: bytes, delimiters: bytes) -> tuple[bytes, bytes]:
    """Takes an address apart into the local part, without an extension, and the domain."""
    if target.startswith(b'"'):
        found = re.fullmatch(rb'"((?:[^"\\]|\\[ -~])*)"@(.*)', target, re.DOTALL)
        local = re.sub(rb'\\(.)', rb'\1', found[1]) if found else b''
    else:
        found = re.fullmatch(rb'([^@]*)@(.*)', target, re.DOTALL)
        local = found[1] if found else b''
    domain = re.sub(rb'(.)\.\Z', rb'\1', found[2], flags=re.DOTALL) if found else b''
    for part, longest in ((local, 64), (domain, 255)):
        if not 0 < len(part) <= longest or re.search(rb'\A\.|\.\.|[/\0-\x1f\x7f]', part):
            raise Problem('bad-address')
        try:
            if re.search('[\x80-\x9f]', part.decode('utf-8')):
                raise Problem('bad-address')
        except UnicodeDecodeError as failure:
            raise Problem('bad-address') from failure
    if not re.fullmatch(rb'[^][ "(),:;<>\\*@]+|\[[^][ "(),;<>\\*@]+\]', domain) or \
            domain.endswith(b'.'):
        raise Problem('bad-address')
    base = re.match(rb'[^%s]*' % re.escape(delimiters), local)[0] if delimiters else local
    return (base or local).lower(), domain.lower()


def expand(template: bytes, local: bytes, domain: bytes) -> bytes:
    """Returns the path that a template says for an address."""
    values = {b'u': local + b'@' + domain, b'n': local, b'd': domain, b'%': b'%'}
    return re.sub(rb'%(.)', lambda e: values[e[1]], template)


# Files.

def components(path: bytes) -> list[bytes]:
    """Returns the names in a path, without what says nothing."""
    return [name for name in path.split(b'/') if name not in (b'', b'.')]


def resolve(root: bytes, path: bytes) -> bytes:
    """Returns where a relative path leads from the root. That it leads out of it is a Problem."""
    at: list[bytes] = []
    left = collections.deque(components(path))
    links = 0
    while left:
        name = left.popleft()
        here = os.path.join(root, *at)
        os.lstat(here + b'/.')  # it has to be a directory that may be passed
        if name == b'.':
            continue
        if name == b'..':
            if not at and root != b'/':
                raise Problem('outside-root')
            at = at[:-1]
            continue
        if stat.S_ISLNK(os.lstat(os.path.join(here, name)).st_mode):
            links += 1
            target = os.readlink(os.path.join(here, name))
            if links > LINKS_MAX:
                raise Problem('outside-root')
            if target.startswith(b'/'):
                if root != b'/':
                    raise Problem('outside-root')
                at = []
            # What ends with a slash is a directory or nothing.
            behind = [b'.'] if target.endswith((b'/', b'/.')) else []
            left.extendleft(reversed(components(target) + behind))
            continue
        at.append(name)
    return os.path.join(root, *at)


def reason_of(failure: OSError) -> str:
    """Returns the word for what the system said."""
    if isinstance(failure, PermissionError):
        return 'permission-denied'
    if isinstance(failure, NotADirectoryError):
        return 'not-a-mailbox'
    if failure.errno == errno.ENAMETOOLONG:
        return 'too-long'
    return 'io-error'


class MaildirSize:
    """What a file maildirsize says."""

    def __init__(self, content: bytes):
        lines = content.split(b'\n')[:-1]  # what has no end is being written
        self.limit: Optional[Limit] = self._parse_header(lines[0]) if lines else None
        self.entries = len(lines) - 1
        self.sums = self._add_up(lines[1:]) if self.limit is not None else None
        if len(content) >= MAILDIRSIZE_MAX or b'\0' in content:
            self.sums = None

    @staticmethod
    def _parse_header(line: bytes) -> Optional[Limit]:
        limits = {b'S': 0, b'C': 0}
        for item in line.split(b',') if line else ():
            if not re.fullmatch(rb'[0-9]+[A-Za-z]', item):
                return None
            limits[item[-1:]] = min(int(item[:-1]), FULL)
        return Limit(limits[b'S'], limits[b'C'])

    @staticmethod
    def _add_up(lines: Iterable[bytes]) -> Optional[Sums]:
        size, messages = 0, 0
        for line in lines:
            found = re.fullmatch(rb'[ \t]*(-?[0-9]+)[ \t]+(-?[0-9]+)[ \t]*', line)
            if not found or any(abs(int(each)) > FULL for each in found.groups()):
                return None
            size, messages = size + int(found[1]), messages + int(found[2])
        return Sums(size, messages) if 0 <= size <= FULL and 0 <= messages <= FULL else None


def tagged_size(name: bytes, tag: bytes) -> Optional[int]:
    """Returns the size that the name of a message tells; None if it tells none."""
    found = re.search(rb',%s=(.*)' % tag, name, re.DOTALL)
    number = re.match(rb'([0-9]*)(?=[:,]|\Z)', found[1], re.DOTALL) if found else None
    return int(number[1] or 0) if number and int(number[1] or 0) <= FULL else None


class Remembered(NamedTuple):
    """What is remembered of a directory: its time stamps, and what its sums may be.

    None among the sums is that it may not be remembered. There is more than one only where it
    cannot be told from outside which.
    """

    stamp: tuple[int, int]
    sums: frozenset[Optional[Sums]]


class Mailbox(NamedTuple):
    """What is remembered of a mailbox: of its directories, by device and inode; and whether it is
    sure that there is something.
    """

    directories: dict[tuple, Remembered]
    sure: bool


def doubted(directories: dict[tuple, Remembered]) -> dict[tuple, Remembered]:
    """Returns the same, but that anything may be forgotten."""
    return {directory: Remembered(known.stamp, known.sums | {None})
            for directory, known in directories.items()}


def add(one: Sums, other: Sums) -> Sums:
    """Adds up, to the largest number that there is."""
    return Sums(min(one.bytes + other.bytes, FULL), one.messages + other.messages)


class Model:
    """The service, with what it remembers."""

    def __init__(self, options: Options):
        self.options = options
        self._roots = [(root.rstrip(b'/'), os.path.realpath(root)) for root in options.roots]
        # By the path that is asked about, the one that was used last at the end.
        self._memory: collections.OrderedDict[bytes, Mailbox]
        self._memory = collections.OrderedDict()

    def answers(self, request: bytes, when: Interval) -> dict[bytes, Outcome]:
        """Returns the right answers to a request, most often the one, and what each is about.

        without_free_text() makes a reply like them.
        """
        line = request.partition(b'\n')[0]
        if line.startswith(b'/'):
            return self._answer_path(line, when)
        word = re.match(rb'[A-Za-z]+(?=[ \0]|\Z)', line[:REQUEST_MAX + 1])
        if not word:
            return self._number_for_error('bad-request')
        try:
            self._check_line(line)
            if word[0] == b'ping' and not line[4:].strip(b' '):
                return {b'status=ok version=*\n': Outcome('ping')}
            if word[0] == b'stats' and not line[5:].strip(b' '):
                return {b'status=ok stats=*\n': Outcome('stats')}
            if word[0] not in (b'usage', b'check'):
                raise Problem('bad-request')
            return self._answer_verb(parse_verb(line), when)
        except Problem as problem:
            outcome = Outcome(f'verb: reason={problem.reason}', is_error=True)
            return {error(problem.reason): outcome}

    def _number_for_error(self, reason: str) -> dict[bytes, Outcome]:
        number = FULL if self.options.on_error == 'defer' else 0
        return {b'%d\n' % number: Outcome(f'path: reason={reason}', is_error=True)}

    @staticmethod
    def _check_line(line: bytes) -> None:
        if len(line) > REQUEST_MAX:
            raise Problem('too-long')
        if b'\0' in line:
            raise Problem('bad-request')

    def _answer_path(self, line: bytes, when: Interval) -> dict[bytes, Outcome]:
        request = Request('path', 0, None, line)
        try:
            self._check_line(line)
            path, found = self._find(line)
            _, limit, usages = self._look(path, found, request, None, when)
            return {b'%d\n' % usage.sums.bytes: self._outcome(request, limit, usage)
                    for usage in usages}
        except Problem as problem:
            return self._number_for_error(problem.reason)

    def _answer_verb(self, request: Request, when: Interval) -> dict[bytes, Outcome]:
        if request.target.startswith(b'/'):
            address = None
            path, found = self._find(request.target)
        else:
            if not self.options.templates:
                raise Problem('no-template')
            address = parse_address(request.target, self.options.delimiters)
            path, found = self._find_of_address(*address)
        path, limit, usages = self._look(path, found, request, address, when)
        return {self._write(request, path, limit, usage): self._outcome(request, limit, usage)
                for usage in usages}

    def _outcome(self, request: Request, limit: Limit, usage: Usage) -> Outcome:
        verdict = self._verdict(usage.sums, limit, request)
        status = f' status={verdict}' if request.verb == 'check' else ''
        return Outcome(f'{request.verb}:{status} source={usage.source}',
                       is_over=verdict in ('over', 'toolarge'))

    def _write(self, request: Request, path: bytes, limit: Limit, usage: Usage) -> bytes:
        status = 'ok'
        if request.verb == 'check':
            status = self._verdict(usage.sums, limit, request)
        percent = min(100 * usage.sums.bytes // limit.bytes, 2 ** 64 - 1) if limit.bytes else 0
        answer = b'status=%s bytes=%d messages=%d limit=%d message_limit=%d percent=%d source=%s ' \
            b'mailbox=%s' % (status.encode(), *usage.sums, *limit, percent, usage.source.encode(),
                             quote(path))
        if request.verb == 'check':
            answer += b' text=' + quote(TEXTS[status], always=True)
        return answer + b'\n'

    def _grace(self, limit: Limit) -> int:
        if self.options.grace.endswith(b'%'):
            return limit.bytes * int(self.options.grace[:-1]) // 100
        return parse_size(self.options.grace)

    def _is_over(self, sums: Sums, limit: Limit, request: Request) -> bool:
        grace = self._grace(limit)
        return (limit.bytes > 0 and (sums.bytes > limit.bytes
                                     or sums.bytes + request.size > limit.bytes + grace)
                or 0 < limit.messages < sums.messages + 1)

    def _verdict(self, sums: Sums, limit: Limit, request: Request) -> str:
        if 0 < limit.bytes < request.size - self._grace(limit):
            return 'toolarge'
        if self._is_over(sums, limit, request):
            return 'over'
        if limit.bytes > 0 and 100 * sums.bytes // limit.bytes >= self.options.warn:
            return 'warn'
        return 'ok'

    # From a target to a mailbox.

    def _root_of(self, path: bytes) -> tuple[bytes, bytes]:
        """Returns the root that a path begins with, as it is on disk, and the rest of the path."""
        for name, real in sorted(self._roots, reverse=True):
            if path == name or path.startswith(name + b'/'):
                return real, path[len(name):].lstrip(b'/')
        raise Problem('outside-root')

    def _find(self, path: bytes) -> tuple[bytes, Optional[bytes]]:
        """Returns the path as it is shown, and where it leads to, None if there is nothing."""
        shown = b'/' + b'/'.join(components(path))
        if len(shown) > PATH_MAX:
            raise Problem('too-long')
        root, rest = self._root_of(shown)
        try:
            found = resolve(root, rest)
            os.lstat(found)
            return shown, found
        except FileNotFoundError:
            return shown, None
        except OSError as failure:
            raise Problem(reason_of(failure)) from failure

    def _find_of_address(self, local: bytes, domain: bytes) -> tuple[bytes, Optional[bytes]]:
        paths = [expand(template, local, domain) for template in self.options.templates]
        for path in paths:
            try:
                shown, found = self._find(path)
            except Problem as problem:
                if problem.reason == 'not-a-mailbox' and path != paths[-1]:
                    continue
                if problem.reason == 'too-long':
                    raise Problem('bad-address') from problem
                raise
            if found is not None:
                return shown, found
        return b'/' + b'/'.join(components(paths[0])), None

    # From a mailbox to what is in it.

    def _look(self, path: bytes, found: Optional[bytes], request: Request,
              address: Optional[tuple[bytes, bytes]], when: Interval
              ) -> tuple[bytes, Limit, set[Usage]]:
        """Returns the path of the mailbox, its limit, and what may be found in it."""
        try:
            if found is None:
                usage = Usage(Sums(), 'none')
            elif stat.S_ISREG((info := os.stat(found)).st_mode):
                usage = Usage(Sums(info.st_size), 'mbox')
            elif stat.S_ISDIR(info.st_mode):
                # Whose folder it is, is what the path says; with .. at its end it says nothing.
                asked = path
                if os.path.lexists(found + b'/maildirfolder') and not path.endswith(b'/..'):
                    path, found = self._find(os.path.dirname(path))
                root = self._root_of(path)[0]
                return path, *self._look_into(asked, root, found, request, address, when)
            else:
                raise Problem('not-a-mailbox')
        except OSError as failure:
            raise Problem(reason_of(failure)) from failure
        return path, self._limit(request, address, None), {usage}

    def _limit(self, request: Request, address: Optional[tuple[bytes, bytes]],
               header: Optional[Limit]) -> Limit:
        limits = self.options.limits or {}
        keys: list[bytes] = []
        if address:
            local, domain = address
            keys = [local + b'@' + domain, b'*@' + domain, domain, b'*']
        looked_up = [limits[key] for key in keys if key in limits]
        # 0 in maildirsize is what Exim writes there that has no quota of its own to tell.
        candidates = [request.quota, *looked_up[:1], header if header != Limit() else None,
                      limits.get(b'*'), self.options.default_quota]
        return next((limit for limit in candidates if limit is not None), Limit())

    def _look_into(self, asked: bytes, root: bytes, box: bytes, request: Request,
                   address: Optional[tuple[bytes, bytes]], when: Interval
                   ) -> tuple[Limit, set[Usage]]:
        """Looks into a Maildir."""
        file, modified_ns = self._read_maildirsize(box)
        limit = self._limit(request, address, file.limit if file else None)
        if file is None or file.sums is None:
            return limit, self._count(asked, root, box, when)
        believed = Usage(file.sums, 'maildirsize')
        if not self._is_over(file.sums, limit, request):
            return limit, {believed}
        fresh = {self._is_fresh(box, file, modified_ns, now) for now in when}
        if fresh == {True}:
            return limit, {believed}
        counted = self._count(asked, root, box, when)
        if fresh == {False}:
            return limit, counted
        self._doubt_memory(asked)
        return limit, counted | {believed}

    @staticmethod
    def _read_maildirsize(box: bytes) -> tuple[Optional[MaildirSize], int]:
        try:
            name = box + b'/maildirsize'
            info = os.lstat(name)
            if not stat.S_ISREG(info.st_mode):
                return None, 0
            with open(name, 'rb') as file:
                return MaildirSize(file.read(MAILDIRSIZE_MAX)), info.st_mtime_ns
        except OSError:
            return None, 0

    @staticmethod
    def _is_fresh(box: bytes, file: MaildirSize, modified_ns: int,
                  now_ns: int) -> bool:
        """Says whether sums that are over the limit are the result of a count just made."""
        if file.entries > 1 or now_ns - modified_ns >= FRESH_NS or modified_ns > now_ns:
            return False
        for leaf in (b'/new', b'/cur'):
            try:
                changed_ns = os.lstat(box + leaf).st_mtime_ns
            except OSError:
                return False  # who knows when it went
            if changed_ns // 1000 >= modified_ns // 1000:
                return False
        return True

    # Counting.

    def _directories(self, root: bytes, box: bytes) -> Iterator[bytes]:
        """Yields the directories that hold messages of a mailbox."""
        names = [b'']
        for name in os.listdir(box):
            if not name.startswith(b'.') or name.startswith(b'..') or self._is_excluded(name):
                continue
            path = os.path.join(box, name)
            if not os.path.islink(path) or b'/' in os.readlink(path):
                names.append(name)
        for name in names:
            for leaf in (b'new', b'cur'):
                try:
                    path = os.path.join(os.path.relpath(box, root), name, leaf)
                    found = resolve(root, path)
                    if stat.S_ISDIR(os.lstat(found).st_mode):
                        yield found
                except (FileNotFoundError, NotADirectoryError, Problem):
                    continue

    def _is_excluded(self, name: bytes) -> bool:
        return any(name == b'.' + each or name.startswith(b'.' + each + b'.')
                   for each in self.options.excluded)

    def _count_directory(self, root: bytes, path: bytes) -> Sums:
        size, messages = 0, 0
        for name in os.listdir(path):
            if name.startswith(b'.'):
                continue
            found = tagged_size(name, self.options.size_tag)
            if found is None:
                found = tagged_size(name, b'S')
            if found is None:
                try:
                    message = os.path.join(os.path.relpath(path, root), name)
                    found = os.lstat(resolve(root, message)).st_size
                except (FileNotFoundError, NotADirectoryError, Problem):
                    continue
            size, messages = size + found, messages + 1
        return Sums(min(size, FULL), messages)

    def _count(self, asked: bytes, root: bytes, box: bytes, when: Interval) -> set[Usage]:
        """Counts a mailbox, as far as its directories are not remembered for the path asked about.
        """
        known = self._recall(asked)
        after: dict[tuple, Remembered] = {}
        totals = {(Sums(), False)}
        failure: Optional[OSError] = None
        for path in (box, *self._directories(root, box)):
            try:
                info = os.stat(path)
                fresh = self._count_directory(root, path) if path != box else Sums()
            except OSError as error:
                failure = error
                continue
            directory = info.st_dev, info.st_ino
            stamp = info.st_mtime_ns, info.st_ctime_ns
            candidates = known[directory].sums if directory in known and \
                known[directory].stamp == stamp else frozenset([None])
            choices = {(fresh, True) if sums is None else (sums, False) for sums in candidates}
            totals = {(add(total, sums), scan or read)
                      for total, scan in totals for sums, read in choices}
            if None in candidates:
                candidates = (candidates - {None}) | self._may_remember(
                    path, path == box, max(stamp), fresh, when)
            after[directory] = Remembered(stamp, candidates)
        self._remember(asked, after, failure is not None)
        if failure:
            raise failure
        return {Usage(total, 'scan' if scan else 'cache') for total, scan in totals}

    def _may_remember(self, path: bytes, is_mailbox: bool, changed_ns: int, fresh: Sums,
                      when: Interval) -> frozenset[Optional[Sums]]:
        """Returns what may be in the memory of a directory that was just read; None is nothing."""
        if not is_mailbox and self._has_links(path):
            return frozenset([None])
        if when.first_ns - changed_ns >= SETTLED_NS:
            return frozenset([fresh])
        return frozenset([None] if when.last_ns - changed_ns < RACY_NS else [fresh, None])

    def _recall(self, asked: bytes) -> dict[tuple, Remembered]:
        """Returns what is remembered of the mailbox, as far as others did not push it out."""
        if asked not in self._memory:
            return {}
        names = list(self._memory)
        later = names[names.index(asked) + 1:]
        if sum(self._memory[name].sure for name in later) >= self.options.cache_mailboxes:
            return {}
        known = self._memory[asked].directories
        return known if len(later) < self.options.cache_mailboxes else doubted(known)

    def _remember(self, asked: bytes, directories: dict[tuple, Remembered], doubtful: bool) -> None:
        """Puts what was read into the memory, where it is now what was used last."""
        if doubtful:
            directories = doubted(directories)
        sure = any(None not in each.sums for each in directories.values())
        self._memory[asked] = Mailbox(directories, sure)
        self._memory.move_to_end(asked)

    def _has_links(self, path: bytes) -> bool:
        """Says whether the size of something in it may change without the directory."""
        return any(not entry.name.startswith(b'.') and not entry.is_file(follow_symlinks=False)
                   and tagged_size(entry.name, self.options.size_tag) is None
                   and tagged_size(entry.name, b'S') is None for entry in list(os.scandir(path)))

    def _doubt_memory(self, asked: bytes) -> None:
        """The mailbox may or may not have been counted."""
        for name in (asked, *self._memory):
            self._memory[name] = Mailbox(doubted(self._memory[name].directories), False)
