# SPDX-License-Identifier: GPL-2.0-or-later
"""What exim-quotad replies, said a second time and independently of the first.

This is a model of the service, made from what its manual pages say and not from its code: given the
options, a mail store on disk and the bytes of a request, it says what the reply has to be. It reads
the same files as the service, and shares nothing with it. Where the two differ, one of them is
wrong, or the manual is.

It is simple before it is fast: it remembers only what can be seen in replies (whose `source` says
whether messages were counted anew), has no threads, and waits for nothing. A reply depends on time,
since a fresh maildirsize is believed and a directory that has just changed is not remembered. So
the model is given the time within which the service looked, and where it matters says all the
replies that are right then; otherwise there is one.

It does not know time-outs, overload, and failing file systems.

Where the manual leaves something open, the model says what the service does:
- A first word ends at a NUL, too. Of several errors the first from the left is reported. A size=
  that is too large to count is as large as can be counted. A second size= or quota= begins the
  target.
- The letters of sizes and limits are of either case, the two parts of a limit in any order.
- Address: 255 bytes at most for each part, in UTF-8; no extension is stripped to nothing; one dot
  behind a domain goes; a domain has none of the characters that separate words where addresses are
  written.
- Where nothing is in the way of the last path that is tried but a file, that is an error.
- Symbolic links: a loop is outside the roots.
- maildirfolder, and what makes a directory a Maildir: anything of that name. The parent is that of
  the path's text; a path that ends with .. has none.
- maildirsize: a link is no regular file. What is too large for a limit is as large as can be
  counted, what is too large for an entry does not parse. An empty first line is no limit, one
  without digits does not parse. `new` and `cur` that are not there were changed last.
- --grace belongs to the rule for counting whatever the verb.
- `,S=` without digits is 0. Sums stop at the largest number. A directory that holds something
  without a tag that is no file is not remembered. Each path that is asked about has a memory of its
  own.
"""

import collections
import contextlib
import errno
import itertools
import os
import re
import stat
from dataclasses import dataclass
from typing import Iterator, NamedTuple, Optional

FULL = 2 ** 63 - 1  # the largest number of bytes; as an answer, what every comparison reads as full
REQUEST_MAX = 8192
NAME_MAX = 255  # bytes of a file name
MAILDIRSIZE_MAX = 5120  # a file of so many bytes is to be written anew
FRESH_NS = 15 * 60 * 10 ** 9
STALE_NS = 24 * 60 * 60 * 10 ** 9
STALE_TRIED_NS = 2 * 3600 * 10 ** 9
# What changed later than so long ago is not remembered, and what changed earlier is. In between is
# where a clock in whole seconds rounds, and where the one that the kernel stamps changes with lags
# behind, as it does on a busy machine whose ticks come late.
RACY_NS = 2 * 10 ** 9
SETTLED_NS = 3_500_000_000
LINKS_MAX = 40  # symbolic links that are followed on the way to a file
DEPTH_MAX = 32  # of folders with --layout=fs
LEAVES = (b'cur', b'new', b'tmp')
ANY_CHARACTER = b'.[\x80-\xbf]*(?![\x80-\xbf])'  # of UTF-8
PATH_MAX = 4095
UNITS = {b'': 1, b'K': 2 ** 10, b'M': 2 ** 20, b'G': 2 ** 30, b'T': 2 ** 40}
TEXTS = {
    'ok': b'Mailbox has room',
    'warn': b'Mailbox is nearly full',
    'over': b'Mailbox is full',
    'toolarge': b'Message is larger than the mailbox may ever be',
}


class Problem(Exception):
    """A query that cannot be answered, and the word for why; and whether that means, too, that the
    mailbox of an address has to be elsewhere.
    """

    def __init__(self, reason: str, is_elsewhere: bool = False):
        super().__init__(reason)
        self.reason = reason
        self.is_elsewhere = is_elsewhere


class Limit(NamedTuple):
    """How much a mailbox may hold; 0 is no limit."""

    bytes: int = 0
    messages: int = 0


class Sums(NamedTuple):
    """How much there is."""

    bytes: int = 0
    messages: int = 0


class Usage(NamedTuple):
    """How much a mailbox holds, how that is known, and the rule that said so, if there was one."""

    sums: Sums
    source: str
    rule: str = 'trusted'


class Count(NamedTuple):
    """What a count found, apart from that in stray folders, and those, and whether by reading."""

    sums: Sums
    strays: Sums
    source: str


class Header(NamedTuple):
    """What the first line of maildirsize says; None where it says nothing."""

    bytes: Optional[int] = None
    messages: Optional[int] = None


class InForce(NamedTuple):
    """The limit of a mailbox, where it comes from, and how much of it is still believed."""

    limit: Limit
    origin: str
    sure: Limit  # without what an old maildirsize alone says


class Interval(NamedTuple):
    """When the service looked: not before the one, and not after the other; by the clock."""

    first_ns: int
    last_ns: int


class Outcome(NamedTuple):
    """What a reply is about, for whoever counts replies."""

    kind: str
    is_over: bool = False
    is_error: bool = False


class Place(NamedTuple):
    """Where a path leads: below that root, to a path without symbolic links."""

    root: bytes
    path: bytes


class Folder(NamedTuple):
    """A folder of a mailbox, or the mailbox itself: its path in there, and where that leads."""

    path: bytes
    place: Place
    is_excluded: bool = False
    is_stray: bool = False  # only --layout=fs takes it for a folder


class Directory(NamedTuple):
    """Where messages of a mailbox are."""

    folder: Folder
    leaf: bytes
    place: Place


class Target(NamedTuple):
    """What is asked about: a path, where it leads, None if nothing is there, and whose it is."""

    path: bytes
    place: Optional[Place]
    keys: tuple[bytes, ...] = ()  # in the limits file, none for a path without an address


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
    limits: Optional[dict[bytes, Optional[Limit]]] = None  # None there is an unusable limit
    grace: bytes = b'0'
    warn: int = 90
    default_quota: Optional[Limit] = None
    maildirsize: str = 'use'
    count: str = 'messages'
    layout: str = 'maildir++'
    excluded: tuple[bytes, ...] = ()
    size_tag: bytes = b'S'
    cache_size: Optional[int] = None  # 0: nothing is remembered


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


def parse_limits(content: bytes) -> dict[bytes, Optional[Limit]]:
    """Reads a limits file. None stands for a limit that is unusable.

    A key that no address can match is in there as well, and does no harm.
    """
    joined: list[bytes] = []
    is_entry = False  # the line above, so that the next may continue it
    for line in content.removeprefix(b'\xef\xbb\xbf').split(b'\n'):
        is_indented = line[:1] in (b' ', b'\t')
        if line.startswith(b'#') or not line.strip():
            is_entry = False
        elif not is_indented:
            is_entry = True
            joined.append(line.rstrip())
        elif is_entry:
            joined[-1] += b' ' + line.strip()
    limits: dict[bytes, Optional[Limit]] = {}
    for line in joined:
        quoted = re.match(rb'"((?:[^"\\]|\\.)*)"[ \t]*:?[ \t]*', line)
        plain = re.match(rb'([^ \t:"][^ \t:]*)[ \t]*:?[ \t]*', line)
        if found := quoted or plain:
            key = re.sub(rb'\\(.)', rb'\1', quoted[1]) if quoted else plain[1]
            limits.setdefault(key.lower(), parse_limit_of_file(line[found.end():]))
    return limits


def parse_limit_of_file(text: bytes) -> Optional[Limit]:
    """Reads a limit as the limits file has it; None if it is none."""
    if text.lower() in (b'unlimited', b'none'):
        return Limit()
    return parse_limit(re.sub(rb'[ \t]*,[ \t]*', b',', text))


# Replies.

def quote(value: bytes, always: bool = False) -> bytes:
    """Writes a value as ${extract} reads it."""
    if not always and not re.search(rb'[\0- "\\\x7f]', value) and value:
        return value
    escaped = re.sub(rb'["\\]', rb'\\\g<0>', value)
    return b'"' + re.sub(rb'[\0-\x1f\x7f]', lambda e: b'\\%03o' % e[0][0], escaped) + b'"'


def error(reason: str) -> bytes:
    """Writes the reply for an error to a verb, with a star for the text, which may change."""
    return b'status=error reason=%s text=*\n' % reason.encode()


def without_free_text(reply: bytes) -> bytes:
    """Puts stars for what cannot be told beforehand: texts of errors, the version, counters."""
    reply = re.sub(rb'\A(status=error reason=[a-z-]+ text=)'
                   rb'"(?:[^"\\\0-\x1f\x7f]|\\["\\]|\\[0-7]{3})+"\n\Z', rb'\1*\n', reply)
    reply = re.sub(rb'\A(status=ok )queries=[0-9]+(?: [a-z_]+=[0-9]+){14}'
                   rb' version=[0-9.]+ misconfigured=0'
                   rb'(?: [a-z]+=[a-z0-9-]+:[0-9]+(?:,[a-z0-9-]+:[0-9]+)*){3}'
                   rb' latency_sum=[0-9]+\n\Z',
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


def parse_address(target: bytes) -> tuple[bytes, bytes]:
    """Takes an address apart into its local part and its domain."""
    if target.startswith(b'"'):
        found = re.fullmatch(rb'"((?:[^"\\]|\\[ -~])*)"@(.*)', target, re.DOTALL)
        local = re.sub(rb'\\(.)', rb'\1', found[1]) if found else b''
    else:
        found = re.fullmatch(rb'([^@]*)@(.*)', target, re.DOTALL)
        local = found[1] if found else b''
    domain = re.sub(rb'(.)\.\Z', rb'\1', found[2], flags=re.DOTALL) if found else b''
    if not is_address(local, domain):
        raise Problem('bad-address')
    return local.lower(), domain.lower()


def is_address(local: bytes, domain: bytes) -> bool:
    """Says whether these can be the two parts of an address that has a mailbox."""
    for part in (local, domain):
        if not part or re.search(rb'\A\.|\.\.|[/\0-\x1f\x7f]', part):
            return False
        try:
            if re.search('[\x80-\x9f]', part.decode('utf-8')):
                return False
        except UnicodeDecodeError:
            return False
    return len(domain) <= NAME_MAX and not domain.endswith(b'.') and bool(re.fullmatch(
        rb'[^][ "(),:;<>\\*@]+|\[[^][ "(),;<>\\*@]+\]', domain))


def without_extension(local: bytes, delimiters: bytes) -> bytes:
    """Cuts the extension off a local part, if there is one and something before it."""
    base = re.match(rb'[^%s]*' % re.escape(delimiters), local)[0] if delimiters else local
    return base or local


def expand(template: bytes, local: bytes, domain: bytes) -> bytes:
    """Returns the path that a template says for an address."""
    values = {b'u': local + b'@' + domain, b'n': local, b'd': domain, b'%': b'%'}
    return re.sub(rb'%(.)', lambda e: values[e[1]], template)


def address_of(path: bytes, template: bytes) -> Optional[tuple[bytes, bytes]]:
    """Returns the parts of the address for which a template says that path, if it says one."""
    local, domain = rb'(?P<n>[^/]+)', rb'(?P<d>[^/@]+)'
    pattern = b''
    for literal, field in re.findall(rb'([^%]+)|%(.)', clean(template)):
        pattern += re.escape(literal)
        if field == b'%':
            pattern += b'%'
        elif field == b'u':
            pattern += local + b'@' + domain
        elif field:
            pattern += local if field == b'n' else domain
        # What is there for the second time is the same again.
        local = b'(?P=n)' if field in (b'u', b'n') else local
        domain = b'(?P=d)' if field in (b'u', b'd') else domain
    found = re.fullmatch(pattern, path, re.DOTALL)
    parts = found.groupdict() if found else {}
    if len(parts) < 2 or not is_address(parts['n'], parts['d']) or \
            any(part != part.lower() for part in parts.values()):
        return None
    return parts['n'], parts['d']


# Files.

def components(path: bytes) -> list[bytes]:
    """Returns the names in a path, without what says nothing."""
    return [name for name in path.split(b'/') if name not in (b'', b'.')]


def clean(path: bytes) -> bytes:
    """Returns an absolute path without what says nothing."""
    return b'/' + b'/'.join(components(path))


def is_there(directory: bytes, *names: bytes) -> bool:
    """Says whether a directory holds anything of one of these names."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(directory + b'/' + name)
            return True
    return False


def holds_directory(directory: bytes, *names: bytes) -> bool:
    """Says whether a directory holds a directory, or a link, of one of these names."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            mode = os.lstat(os.path.join(directory, name)).st_mode
            if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
                return True
    return False


def problem_of(failure: OSError) -> Problem:
    """Returns what it means that the system said that."""
    if isinstance(failure, PermissionError):
        return Problem('permission-denied')
    if isinstance(failure, NotADirectoryError):
        return Problem('not-a-mailbox', is_elsewhere=True)
    if failure.errno == errno.ENAMETOOLONG:
        return Problem('too-long', is_elsewhere=True)
    return Problem('io-error')


class MaildirSize:
    """What a file maildirsize says: limits, and sums unless a rule says to count."""

    def __init__(self, content: bytes, info: os.stat_result):
        self.modified_ns, self.changed_ns = info.st_mtime_ns, info.st_ctime_ns
        lines = content.split(b'\n')[:-1]  # what has no end is being written
        self.header = self._parse_header(lines[0]) if lines else None
        self.entries = len(lines) - 1
        self.sums: Optional[Sums] = None
        self.rule = self._add_up(content, lines)

    @staticmethod
    def _parse_header(line: bytes) -> Optional[Header]:
        limits: dict[bytes, int] = {}
        for item in line.split(b',') if line else ():
            if not re.fullmatch(rb'[0-9]+[A-Za-z]', item):
                return None
            limits[item[-1:]] = min(int(item[:-1]), FULL)
        return Header(limits.get(b'S'), limits.get(b'C'))

    def _add_up(self, content: bytes, lines: list[bytes]) -> str:
        """Adds up the sums, and returns the rule that says what they are good for."""
        if len(content) >= MAILDIRSIZE_MAX:
            return 'large'
        if b'\0' in content or self.header is None:
            return 'malformed'
        if self.entries == 0:
            return 'empty'
        size, messages = 0, 0
        for line in lines[1:]:
            found = re.fullmatch(rb'[ \t]*(-?[0-9]+)[ \t]+(-?[0-9]+)[ \t]*', line)
            if not found or any(abs(int(each)) > FULL for each in found.groups()):
                return 'malformed'
            size, messages = size + int(found[1]), messages + int(found[2])
        if not 0 <= size <= FULL or not 0 <= messages <= FULL:
            return 'implausible'
        self.sums = Sums(size, messages)
        return 'trusted'


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
        # The longest name first, since a root may lie below another.
        self._roots = sorted(((root.rstrip(b'/'), os.path.realpath(root))
                              for root in options.roots), reverse=True)
        self._excluded = [
            re.compile(re.escape(pattern).replace(rb'\*', b'.*').replace(rb'\?', ANY_CHARACTER),
                       re.DOTALL)
            for pattern in options.excluded]
        # By the path that is asked about, the one that was used last at the end.
        self._memory: collections.OrderedDict[bytes, Mailbox]
        self._memory = collections.OrderedDict()

    def replies(self, request: bytes, when: Interval) -> dict[bytes, Outcome]:
        """Returns the right replies to a request, most often the one, and what each is about.

        without_free_text() makes a reply like them.
        """
        line = request.partition(b'\n')[0]
        if line.startswith(b'/'):
            return self._reply_to_path(line, when)
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
            return self._reply_to_verb(parse_verb(line), when)
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

    def _reply_to_path(self, line: bytes, when: Interval) -> dict[bytes, Outcome]:
        request = Request('path', 0, None, line)
        try:
            self._check_line(line)
            _, known, usages = self._find_usage(request, when)
            return {b'%d\n' % usage.sums.bytes: self._outcome(request, known, usage)
                    for usage in usages}
        except Problem as problem:
            return self._number_for_error(problem.reason)

    def _reply_to_verb(self, request: Request, when: Interval) -> dict[bytes, Outcome]:
        path, known, usages = self._find_usage(request, when)
        return {self._write(request, path, known, usage): self._outcome(request, known, usage)
                for usage in usages}

    def _outcome(self, request: Request, known: InForce, usage: Usage) -> Outcome:
        verdict, _ = self._verdict(usage.sums, known, request)
        status = f' status={verdict}' if request.verb == 'check' else ''
        return Outcome(f'{request.verb}:{status} source={usage.source}',
                       is_over=verdict in ('over', 'toolarge'))

    def _write(self, request: Request, path: bytes, known: InForce, usage: Usage) -> bytes:
        limit, (status, is_stale) = known.limit, self._verdict(usage.sums, known, request)
        percent = min(100 * usage.sums.bytes // limit.bytes, 2 ** 64 - 1) if limit.bytes else 0
        pairs = {'status': status if request.verb == 'check' else 'ok', 'bytes': usage.sums.bytes,
                 'messages': usage.sums.messages, 'limit': limit.bytes,
                 'message_limit': limit.messages, 'percent': percent, 'source': usage.source,
                 'rule': 'stale-limit' if is_stale and request.verb == 'check' else usage.rule,
                 'limit_from': known.origin}
        reply = b''.join(b'%s=%s ' % (key.encode(), str(value).encode())
                         for key, value in pairs.items())
        reply += b'mailbox=' + quote(path)
        if request.verb == 'check':
            reply += b' text=' + quote(TEXTS[status], always=True)
        return reply + b'\n'

    # The verdict.

    def _grace(self, limit: Limit) -> int:
        if self.options.grace.endswith(b'%'):
            return limit.bytes * int(self.options.grace[:-1]) // 100
        return parse_size(self.options.grace)

    def _is_too_large(self, limit: Limit, request: Request) -> bool:
        return 0 < limit.bytes < request.size - self._grace(limit)

    def _is_over(self, sums: Sums, limit: Limit, request: Request) -> bool:
        grace = self._grace(limit)
        return (limit.bytes > 0 and (sums.bytes > limit.bytes
                                     or sums.bytes + request.size > limit.bytes + grace)
                or 0 < limit.messages < sums.messages + 1)

    def _verdict(self, sums: Sums, known: InForce, request: Request) -> tuple[str, bool]:
        """Returns the verdict, and whether a limit that is too old would have said another."""
        limit = known.limit
        if self._is_over(sums, known.sure, request):
            return 'toolarge' if self._is_too_large(known.sure, request) else 'over', False
        if self._is_over(sums, limit, request):
            return 'ok', True
        if limit.bytes > 0 and 100 * sums.bytes // limit.bytes >= self.options.warn:
            return 'warn', False
        return 'ok', False

    # The limit.

    def _limit(self, request: Request, target: Target, file: Optional[MaildirSize],
               when: Interval) -> InForce:
        limits = self.options.limits or {}
        found = next((key for key in target.keys if key in limits), None)
        if request.quota is not None:
            return InForce(request.quota, 'request', request.quota)
        if found and limits[found] is not None:
            return InForce(limits[found], 'file', limits[found])
        default, default_origin = self.options.default_quota or Limit(), 'default'
        if not target.keys and limits.get(b'*') is not None:
            default, default_origin = limits[b'*'], 'file'
        header = file.header if file and file.header else Header()
        parts, origins = [], []
        for said, other in zip(header, default):
            is_header = said is not None and (said > other or said == 0)
            parts.append(said if is_header else other)
            origins.append('header' if is_header else default_origin)
        limit = Limit(*parts)
        is_old = bool(file) and self._is_old(file, when)
        sure = Limit(*(0 if is_old and origin == 'header' else part
                       for part, origin in zip(limit, origins)))
        if limit != Limit():
            return InForce(limit, origins[0 if limit.bytes else 1], sure)
        # Who says so?
        silent = 'none' if default_origin == 'default' else 'file'
        return InForce(limit, 'header' if header != Header() else silent, sure)

    @staticmethod
    def _is_old(file: MaildirSize, when: Interval) -> bool:
        """Says whether maildirsize was written too long ago, which is tried two hours a day. What
        was written in the future has only the time of its change, which cannot be set.
        """
        is_past = file.modified_ns <= when.first_ns
        age_ns = when.first_ns - (file.modified_ns if is_past else file.changed_ns)
        return age_ns > STALE_NS and age_ns % STALE_NS < STALE_TRIED_NS

    @staticmethod
    def _keys(local: bytes, domain: bytes) -> tuple[bytes, ...]:
        """Returns what is looked up in the limits file for the mailbox of an address."""
        return local + b'@' + domain, b'*@' + domain, domain, b'*'

    # From a target to a mailbox.

    def _root_of(self, path: bytes) -> tuple[bytes, bytes]:
        """Returns the root that a path begins with, as it is on disk, and the rest of the path."""
        for name, real in self._roots:
            if path == name or path.startswith(name + b'/'):
                return real, path[len(name):]
        raise Problem('outside-root')

    def _follow(self, place: Place, path: bytes) -> Place:
        """Returns where a relative path leads from there. That it leads nowhere is an OSError, that
        it leads out of the roots or through a link to nothing a Problem.
        """
        root, at = place.root, components(place.path[len(place.root):])
        left = collections.deque((name, False) for name in components(path))
        links = 0
        while left:
            name, is_of_link = left.popleft()
            here = os.path.join(root, *at)
            os.lstat(here + b'/.')  # it has to be a directory that may be passed
            if name == b'.':
                continue
            if name == b'..':
                if not at and root != b'/':
                    raise Problem('outside-root')
                at = at[:-1]
                continue
            try:
                is_link = stat.S_ISLNK(os.lstat(os.path.join(here, name)).st_mode)
            except FileNotFoundError as failure:
                if is_of_link:
                    raise Problem('not-a-mailbox') from failure
                raise
            if is_link:
                links += 1
                target = os.readlink(os.path.join(here, name))
                if links > LINKS_MAX:
                    raise Problem('outside-root')
                # What ends with a slash is a directory or nothing.
                behind = [b'.'] if target.endswith((b'/', b'/.')) else []
                if target.startswith(b'/'):
                    root, target = self._root_of(target)
                    at = []
                left.extendleft((each, True) for each in reversed(components(target) + behind))
                continue
            at.append(name)
        return Place(root, os.path.join(root, *at))

    def _find(self, path: bytes) -> tuple[bytes, Optional[Place]]:
        """Returns the path as it is shown, and where it leads, None if nothing is there."""
        shown = clean(path)
        if len(shown) > PATH_MAX:
            raise Problem('too-long')
        root, rest = self._root_of(shown)
        try:
            place = self._follow(Place(root, root), rest)
            os.lstat(place.path)
            return shown, place
        except FileNotFoundError:
            return shown, None
        except OSError as failure:
            raise problem_of(failure) from failure

    def _find_usage(self, request: Request, when: Interval) -> tuple[bytes, InForce, set[Usage]]:
        """Returns the path of the mailbox, its limit, and what may be found in it."""
        if request.target.startswith(b'/'):
            return self._look(request.target, self._keys_of_path(request.target), request, when)
        if not self.options.templates:
            raise Problem('no-template')
        return self._find_address(*parse_address(request.target), request, when)

    def _keys_of_path(self, path: bytes) -> tuple[bytes, ...]:
        """Returns the keys of the address for which a template says that path, if one does; or that
        of which it is a folder.
        """
        shown = clean(path)
        parent, name = os.path.split(shown)
        for each in (shown, parent) if name.startswith(b'.') and name != b'..' else (shown,):
            for template in self.options.templates:
                if address := address_of(each, template):
                    return self._keys(*address)
        return ()

    def _find_address(self, whole: bytes, domain: bytes, request: Request, when: Interval
                      ) -> tuple[bytes, InForce, set[Usage]]:
        """Finds the mailbox of an address: by the whole local part, and by what is before its
        extension where there is none.
        """
        base = without_extension(whole, self.options.delimiters)
        if len(base) > NAME_MAX:
            raise Problem('bad-address')
        keys = self._keys(whole, domain)
        tries = [(expand(template, whole, domain), keys)
                 for template in self.options.templates if len(whole) <= NAME_MAX]
        if base != whole:
            keys = (keys[0], *self._keys(base, domain))
            tries += [(expand(template, base, domain), keys) for template in self.options.templates]
        for number, (path, keys) in enumerate(tries, 1):
            try:
                found = self._look(path, keys, request, when)
            except Problem as problem:
                if problem.is_elsewhere and number < len(tries):
                    continue
                raise Problem('bad-address') if problem.reason == 'too-long' else problem
            if not all(usage.source == 'none' for usage in found[2]):
                return found
        return clean(expand(self.options.templates[0], base, domain)), *found[1:]

    # From a mailbox to what is in it.

    def _look(self, path: bytes, keys: tuple[bytes, ...], request: Request, when: Interval
              ) -> tuple[bytes, InForce, set[Usage]]:
        """Returns the path of the mailbox, its limit, and what may be found in it."""
        shown, place = self._find(path)
        target = Target(shown, place, keys)
        try:
            if place is None:
                usage = Usage(Sums(), 'none')
            elif stat.S_ISREG((info := os.lstat(place.path)).st_mode):
                usage = Usage(Sums(info.st_size), 'mbox')
            elif stat.S_ISDIR(info.st_mode):
                if parent := self._parent_of_folder(shown, place):
                    shown, place = parent
                if not self._is_empty(target, place):
                    return shown, *self._look_into(target, place, request, when)
                usage = Usage(Sums(), 'none')
            else:
                raise Problem('not-a-mailbox')
        except OSError as failure:
            raise problem_of(failure) from failure
        return shown, self._limit(request, target, None, when), {usage}

    def _parent_of_folder(self, path: bytes, place: Place) -> Optional[tuple[bytes, Place]]:
        """Returns the mailbox that this is a folder of, as its path says, if it is a folder."""
        name = os.path.basename(path)
        if not name.startswith(b'.') or name == b'..' or \
                not os.path.lexists(place.path + b'/maildirfolder'):
            return None
        with contextlib.suppress(Problem):
            shown, parent = self._find(os.path.dirname(path))
            if parent and is_there(parent.path, b'cur', b'new'):
                return shown, parent
        return None

    def _is_empty(self, target: Target, box: Place) -> bool:
        """Says whether there is nothing in a directory. What is no Maildir is a Problem."""
        is_counted_anyway = self.options.count == 'everything'
        if not is_counted_anyway and self._is_maildir(box):
            return False
        os.lstat(box.path + b'/.')  # to read it without that would say nothing of what it holds
        if not os.listdir(box.path):
            return True
        if not is_counted_anyway and not self._has_folders_alone(target, box):
            raise Problem('not-a-mailbox')
        return False

    def _is_maildir(self, box: Place) -> bool:
        """Says whether a directory is a Maildir by what is in it, folders apart."""
        return self._read_maildirsize(box.path)[0] not in ('ignored', 'missing') or \
            is_there(box.path, b'cur', b'new', b'maildirsize')

    def _has_folders_alone(self, target: Target, box: Place) -> bool:
        """Says whether a directory is a mailbox by its folders. To know that takes a count."""
        if self.options.layout != 'fs':
            return False
        has_folders = False
        try:
            has_folders = any(self._folders(box))
        finally:
            if not has_folders:
                self._remember(target.path, {}, doubtful=True)
        return has_folders

    def _look_into(self, target: Target, box: Place, request: Request, when: Interval
                   ) -> tuple[InForce, set[Usage]]:
        """Looks into a Maildir."""
        rule, file = self._read_maildirsize(box.path)
        known = self._limit(request, target, file, when)
        sums = file.sums if file else None
        if request.verb == 'check' and self._is_too_large(known.sure, request) and \
                self._is_maildir(box):
            return known, {Usage(sums, 'maildirsize', 'toolarge') if sums else
                           Usage(Sums(), 'unknown', 'toolarge')}
        if sums is None:
            return known, self._usages(self._count(target.path, box, when), rule)
        believed = Usage(sums, 'maildirsize')
        if not self._is_over(sums, known.limit, request):
            return known, {believed}
        if request.verb == 'check' and not self._is_over(sums, known.sure, request):
            return known, {Usage(sums, 'maildirsize', 'stale-limit')}
        fresh = {self._is_fresh(box.path, file, now) for now in when}
        if fresh == {True}:
            return known, {believed}
        counts = self._count(target.path, box, when)
        counted = self._usages(counts, 'over')
        if any(directory.folder.is_stray for directory in self._directories(box)):
            with_strays = self._usages(counts, 'over', with_strays=True)
            counted = {Usage(sums, 'maildirsize', 'layout')
                       if self._is_over(usage.sums, known.limit, request) else usage
                       for usage in with_strays}
        if fresh == {False}:
            return known, counted
        self._doubt_memory(target.path)
        return known, counted | {believed}

    def _read_maildirsize(self, box: bytes) -> tuple[str, Optional[MaildirSize]]:
        """Returns the rule that says what to make of maildirsize, and the file."""
        if self.options.count == 'everything':
            return 'everything', None
        if self.options.maildirsize == 'ignore':
            return 'ignored', None
        try:
            name = box + b'/maildirsize'
            info = os.lstat(name)
            if not stat.S_ISREG(info.st_mode):
                return 'unreadable', None
            with open(name, 'rb') as content:
                file = MaildirSize(content.read(MAILDIRSIZE_MAX), info)
                return file.rule, file
        except FileNotFoundError:
            return 'missing', None
        except OSError:
            return 'unreadable', None

    @staticmethod
    def _is_fresh(box: bytes, file: MaildirSize, now_ns: int) -> bool:
        """Says whether sums that are over the limit are the result of a count just made."""
        if file.entries > 1 or not 0 <= now_ns - file.modified_ns < FRESH_NS:
            return False
        for leaf in (b'/new', b'/cur'):
            try:
                info = os.lstat(box + leaf)
            except OSError:
                return False  # who knows when it went
            changed_ns = max(info.st_mtime_ns, info.st_ctime_ns)
            if stat.S_ISLNK(info.st_mode) or changed_ns // 1000 >= file.modified_ns // 1000:
                return False
        return True

    # Folders.

    def _folders(self, box: Place) -> Iterator[Folder]:
        """Yields the folders of a mailbox, those that are excluded first and strays last."""
        folders = self._tree(box) if self.options.layout == 'fs' else \
            itertools.chain(self._dotted(box), self._strays(box))
        yield from sorted(folders, key=lambda folder: (not folder.is_excluded, folder.is_stray))

    def _dotted(self, box: Place) -> Iterator[Folder]:
        """Yields the folders of Maildir++."""
        for name in os.listdir(box.path):
            if re.match(rb'\.(?!\.)', name):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, Problem):
                    yield Folder(name, self._follow(box, name), self._is_excluded(name[1:]))

    def _strays(self, box: Place) -> Iterator[Folder]:
        """Yields what only --layout=fs takes for folders."""
        names = [name for name in os.listdir(box.path) if not name.startswith(b'.')]
        for name in names:
            path = os.path.join(box.path, name)
            if name in LEAVES or not stat.S_ISDIR(os.lstat(path).st_mode):
                continue
            with contextlib.suppress(PermissionError):
                below = os.listdir(path)
                if holds_directory(path, b'cur'):
                    yield Folder(name, Place(box.root, path), self._is_excluded(name), True)
                    names += [name + b'/' + each for each in below
                              if each not in LEAVES and name.count(b'/') < DEPTH_MAX - 1]

    def _tree(self, box: Place) -> Iterator[Folder]:
        """Yields the folders of --layout=fs. A directory is searched once, by a name without links
        if it has one, but is a folder by each name.
        """
        met: set[bytes] = set()
        direct, linked = collections.deque([(b'', box)]), collections.deque()
        while direct or linked:
            is_linked = not direct
            path, folder = (direct or linked).popleft()
            try:
                if path:
                    folder = self._follow(folder, os.path.basename(path))
                names = os.listdir(folder.path)
            except (FileNotFoundError, NotADirectoryError, Problem):
                continue
            if path and holds_directory(folder.path, b'cur', b'new'):
                yield Folder(path, folder, self._is_excluded(path))
            if folder.path in met:
                continue
            met.add(folder.path)
            for name in names if path.count(b'/') < DEPTH_MAX - 1 or not path else ():
                if name not in LEAVES:
                    is_link = stat.S_ISLNK(os.lstat(os.path.join(folder.path, name)).st_mode)
                    (linked if is_linked or is_link else direct).append(
                        (path + b'/' + name if path else name, folder))

    def _is_excluded(self, name: bytes) -> bool:
        return any(pattern.fullmatch(name) for pattern in self._excluded)

    # Counting.

    def _directories(self, box: Place) -> Iterator[Directory]:
        """Yields the directories that hold messages of a mailbox, each once."""
        met: set[bytes] = set()
        for folder in (Folder(b'', box), *self._folders(box)):
            for leaf in (b'cur', b'new'):
                if folder.is_excluded:
                    met.add(os.path.join(folder.place.path, leaf))
                    continue
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, Problem):
                    place = self._follow(folder.place, leaf)
                    if stat.S_ISDIR(os.lstat(place.path).st_mode) and place.path not in met:
                        met.add(place.path)
                        yield Directory(folder, leaf, place)

    def _count_directory(self, directory: Place) -> Sums:
        size, messages = 0, 0
        for name in os.listdir(directory.path):
            if name.startswith(b'.'):
                continue
            found = tagged_size(name, self.options.size_tag)
            if found is None:
                found = tagged_size(name, b'S')
            if found is None:
                try:
                    found = os.lstat(self._follow(directory, name).path).st_size
                except (FileNotFoundError, NotADirectoryError, Problem):
                    continue
            size, messages = size + found, messages + 1
        return Sums(min(size, FULL), messages)

    def _count_everything(self, directory: Place, depth: int, met: set[bytes]) -> Sums:
        """Counts as Exim does without a size file: all that is below, as far as it was not met."""
        total = Sums()
        met.add(directory.path)
        for name in os.listdir(directory.path):
            total = add(total, Sums(0, 1))
            try:
                place = self._follow(directory, name)
                info = os.lstat(place.path)
            except (FileNotFoundError, NotADirectoryError, Problem):
                continue
            if stat.S_ISREG(info.st_mode):
                total = add(total, Sums(info.st_size // info.st_nlink))
            elif stat.S_ISDIR(info.st_mode) and place.path not in met and depth < DEPTH_MAX:
                total = add(total, self._count_everything(place, depth + 1, met))
        return total

    @staticmethod
    def _usages(counts: set[Count], rule: str, with_strays: bool = False) -> set[Usage]:
        return {Usage(add(count.sums, count.strays) if with_strays else count.sums, count.source,
                      rule) for count in counts}

    def _count(self, asked: bytes, box: Place, when: Interval) -> set[Count]:
        """Counts a mailbox, as far as its directories are not remembered for the path asked about.
        """
        if self.options.count == 'everything':
            return {Count(self._count_everything(box, 0, set()), Sums(), 'scan')}
        known = self._recall(asked)
        after: dict[tuple, Remembered] = {}
        totals = {Count(Sums(), Sums(), 'cache')}
        failure: Optional[OSError] = None
        itself = [] if self.options.layout == 'fs' else [Directory(Folder(b'', box), b'', box)]
        directories = [*itself, *self._directories(box)]
        for folder, leaf, place in directories:
            try:
                info = os.stat(place.path)
                fresh = self._count_directory(place) if leaf else Sums()
            except OSError as error:
                failure = error
                continue
            directory = folder.path, folder.is_stray, leaf, info.st_dev, info.st_ino
            stamp = info.st_mtime_ns, info.st_ctime_ns
            candidates = known[directory].sums if directory in known and \
                known[directory].stamp == stamp else frozenset([None])
            totals = {self._add_to(total, folder.is_stray, fresh if sums is None else sums,
                                   'scan' if sums is None else total.source)
                      for total in totals for sums in candidates}
            if None in candidates:
                candidates = (candidates - {None}) | self._may_remember(
                    place.path, not leaf, max(stamp), fresh, when)
            after[directory] = Remembered(stamp, candidates)
        self._remember(asked, after, failure is not None)
        if failure:
            raise failure
        return totals if directories else {Count(Sums(), Sums(), 'scan')}

    @staticmethod
    def _add_to(total: Count, is_stray: bool, sums: Sums, source: str) -> Count:
        """Adds what a directory holds to a count."""
        if is_stray:
            return Count(total.sums, add(total.strays, sums), source)
        return Count(add(total.sums, sums), total.strays, source)

    def _may_remember(self, path: bytes, is_mailbox: bool, changed_ns: int, fresh: Sums,
                      when: Interval) -> frozenset[Optional[Sums]]:
        """Returns what may be in the memory of a directory that was just read; None is nothing."""
        if not is_mailbox and self._has_links(path):
            return frozenset([None])
        if when.first_ns - changed_ns >= SETTLED_NS:
            return frozenset([fresh])
        return frozenset([None] if when.last_ns - changed_ns < RACY_NS else [fresh, None])

    def _recall(self, asked: bytes) -> dict[tuple, Remembered]:
        """Returns what is remembered of the mailbox."""
        if asked not in self._memory or self.options.cache_size == 0:
            return {}
        return self._memory[asked].directories

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
