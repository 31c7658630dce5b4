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
# What changed later than so long ago is not remembered, and what changed earlier is. In between is
# where a clock in whole seconds rounds, and where the one that the kernel stamps changes with lags
# behind, as it does on a busy machine whose ticks come late.
RACY_NS = 2 * 10 ** 9
SETTLED_NS = 3_500_000_000
LINKS_MAX = 40  # symbolic links that are followed on the way to a file
DEPTH_MAX = 32  # of folders with --layout=fs
LEAVES = (b'cur', b'new', b'tmp')
DANGLING = 'not-a-mailbox'
PATH_MAX = 4095
UNITS = {b'': 1, b'K': 2 ** 10, b'M': 2 ** 20, b'G': 2 ** 30, b'T': 2 ** 40}
TEXTS = {
    'ok': b'Mailbox has room',
    'warn': b'Mailbox is nearly full',
    'over': b'Mailbox is full',
    'toolarge': b'Message is larger than the mailbox may ever be',
}


class Problem(Exception):
    """A query that cannot be answered, and the word for why."""

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
    """How much a mailbox holds, how that is known, and the rule that said so, if there was one."""

    sums: Sums
    source: str
    rule: str = ''


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
    """Where a path leads: beneath that root, to a path without symbolic links."""

    root: bytes
    path: bytes


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
    """What a file maildirsize says: limits, and sums unless a rule says to count."""

    def __init__(self, content: bytes, modified_ns: int):
        self.modified_ns = modified_ns
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
        if b'\0' in content or lines and self.header is None:
            return 'malformed'
        if self.entries <= 0:
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
            re.compile(re.escape(pattern).replace(rb'\*', b'.*').replace(rb'\?', b'.'), re.DOTALL)
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
            _, known, usages = self._look(self._find_path(line), request, when)
            return {b'%d\n' % usage.sums.bytes: self._outcome(request, known, usage)
                    for usage in usages}
        except Problem as problem:
            return self._number_for_error(problem.reason)

    def _reply_to_verb(self, request: Request, when: Interval) -> dict[bytes, Outcome]:
        if request.target.startswith(b'/'):
            target = self._find_path(request.target)
        elif self.options.templates:
            target = self._find_address(*parse_address(request.target))
        else:
            raise Problem('no-template')
        path, known, usages = self._look(target, request, when)
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
                         for key, value in pairs.items() if value != '')
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
        if self._is_over(sums, limit, request) and not self._is_over(sums, known.sure, request):
            return 'ok', True
        if self._is_too_large(limit, request):
            return 'toolarge', False
        if self._is_over(sums, limit, request):
            return 'over', False
        if limit.bytes > 0 and 100 * sums.bytes // limit.bytes >= self.options.warn:
            return 'warn', False
        return 'ok', False

    # The limit.

    def _limit(self, request: Request, target: Target, file: Optional[MaildirSize],
               when: Interval) -> InForce:
        limits = self.options.limits or {}
        found = next((key for key in target.keys if key in limits), None)
        if request.quota is not None:
            return self._in_force('request', request.quota)
        if found and limits[found] is not None:
            return self._in_force('file', limits[found])
        default = self.options.default_quota or Limit()
        if not target.keys and limits.get(b'*') is not None:
            default = limits[b'*']
        parts, origins = [], []
        for said, other in zip(file.header if file and file.header else Header(), default):
            origins.append('header' if said is not None and (said > other or said == 0)
                           else 'default')
            parts.append(said if origins[-1] == 'header' else other)
        limit = Limit(*parts)
        is_old = bool(file) and when.first_ns - file.modified_ns > STALE_NS
        sure = Limit(*(0 if is_old and origin == 'header' else part
                       for part, origin in zip(limit, origins)))
        return self._in_force(origins[0 if limit.bytes else 1], limit, sure)

    @staticmethod
    def _in_force(origin: str, limit: Limit, sure: Optional[Limit] = None) -> InForce:
        return InForce(limit, origin if limit != Limit() else 'none', sure or limit)

    def _keys(self, local: bytes, domain: bytes, is_mailbox: bool) -> tuple[bytes, ...]:
        """Returns what is looked up in the limits file: for a local part with its extension, and
        for one without it unless there is a mailbox of the whole name.
        """
        base = without_extension(local, self.options.delimiters)
        return tuple(key + domain for key in
                     ([local + b'@'] if is_mailbox else [local + b'@', base + b'@'])
                     + [b'*@', b'']) + (b'*',)

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
                    raise Problem(DANGLING) from failure
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
            raise Problem(reason_of(failure)) from failure

    def _find_path(self, path: bytes) -> Target:
        """Finds what a path is about. If a template says that path, it stands for its address; so
        does a folder in it.
        """
        shown, place = self._find(path)
        paths = [shown]
        if os.path.basename(shown).startswith(b'.'):
            paths.append(os.path.dirname(shown))
        for each in paths:
            for template in self.options.templates:
                if address := address_of(each, template):
                    return Target(shown, place, self._keys(*address, place is not None))
        return Target(shown, place)

    def _find_address(self, whole: bytes, domain: bytes) -> Target:
        """Finds the mailbox of an address: by the whole local part, and by what is before its
        extension where there is none.
        """
        base = without_extension(whole, self.options.delimiters)
        if len(base) > NAME_MAX:
            raise Problem('bad-address')
        locals_ = [whole] if base == whole else [whole, base]
        tries = [(local, expand(template, local, domain))
                 for local in locals_ if len(local) <= NAME_MAX
                 for template in self.options.templates]
        for local, path in tries:
            try:
                shown, place = self._find(path)
            except Problem as problem:
                if problem.reason == 'not-a-mailbox' and path != tries[-1][1]:
                    continue
                if problem.reason != 'too-long':
                    raise
                if local == base:
                    raise Problem('bad-address') from problem
                continue
            if place:
                return Target(shown, place, self._keys(whole, domain, local == whole))
        nowhere = clean(expand(self.options.templates[0], base, domain))
        return Target(nowhere, None, self._keys(whole, domain, False))

    # From a mailbox to what is in it.

    def _look(self, target: Target, request: Request, when: Interval
              ) -> tuple[bytes, InForce, set[Usage]]:
        """Returns the path of the mailbox, its limit, and what may be found in it."""
        path, place, _ = target
        try:
            if place is None:
                usage = Usage(Sums(), 'none')
            elif stat.S_ISREG((info := os.lstat(place.path)).st_mode):
                usage = Usage(Sums(info.st_size), 'mbox')
            elif stat.S_ISDIR(info.st_mode):
                if parent := self._parent_of_folder(path, place):
                    path, place = parent
                if not self._is_empty(place):
                    return path, *self._look_into(target, place, request, when)
                usage = Usage(Sums(), 'none')
            else:
                raise Problem('not-a-mailbox')
        except OSError as failure:
            raise Problem(reason_of(failure)) from failure
        return path, self._limit(request, target, None, when), {usage}

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

    def _is_empty(self, box: Place) -> bool:
        """Says whether there is nothing in a directory. What is no Maildir is a Problem."""
        if self.options.count == 'messages' and is_there(box.path, b'cur', b'new', b'maildirsize'):
            return False
        if not os.listdir(box.path):
            return True
        if self.options.count == 'messages' and not (
                self.options.layout == 'fs' and any(self._folders(box, False))):
            raise Problem('not-a-mailbox')
        return False

    def _look_into(self, target: Target, box: Place, request: Request, when: Interval
                   ) -> tuple[InForce, set[Usage]]:
        """Looks into a Maildir."""
        rule, file = self._read_maildirsize(box.path)
        known = self._limit(request, target, file, when)
        sums = file.sums if file else None
        if request.verb == 'check' and self._is_too_large(known.sure, request):
            return known, {Usage(sums, 'maildirsize', 'toolarge') if sums else
                           Usage(Sums(), 'unknown', 'toolarge')}
        if sums is None:
            return known, self._count(target.path, box, rule, when)
        believed = Usage(sums, 'maildirsize', 'trusted')
        if not self._is_over(sums, known.limit, request):
            return known, {believed}
        fresh = {self._is_fresh(box.path, file, now) for now in when}
        if fresh == {True}:
            return known, {believed}
        has_strays = any(self._strays(box))
        counted = self._count(target.path, box, 'over', when, has_strays)
        if has_strays:
            counted = {Usage(sums, 'maildirsize', 'layout')
                       if self._is_over(usage.sums, known.limit, request) else usage
                       for usage in counted}
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
                file = MaildirSize(content.read(MAILDIRSIZE_MAX), info.st_mtime_ns)
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
            if max(info.st_mtime_ns, info.st_ctime_ns) // 1000 >= file.modified_ns // 1000:
                return False
        return True

    # Folders.

    def _folders(self, box: Place, with_strays: bool) -> Iterator[Place]:
        """Yields the folders of a mailbox, some of them more than once."""
        if self.options.layout == 'fs':
            yield from self._tree(box, b'', {box.path})
            return
        for name in os.listdir(box.path):
            if re.match(rb'\.(?!\.)', name) and not self._is_excluded(name[1:]):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, Problem):
                    yield self._follow(box, name)
        for stray in self._strays(box) if with_strays else ():
            yield stray
            yield from self._tree(stray, b'', {box.path, stray.path})

    def _strays(self, box: Place) -> Iterator[Place]:
        """Yields the subdirectories that only --layout=fs takes for folders."""
        if self.options.layout == 'fs':
            return
        for name in os.listdir(box.path):
            if not name.startswith(b'.') and name not in LEAVES:
                with contextlib.suppress(OSError, Problem):
                    stray = self._follow(box, name)
                    if is_there(stray.path, b'cur'):
                        yield stray

    def _tree(self, folder: Place, above: bytes, met: set[bytes]) -> Iterator[Place]:
        """Yields the folders below a folder, or a directory on the way to one."""
        for name in os.listdir(folder.path) if above.count(b'/') < DEPTH_MAX else ():
            if name in LEAVES:
                continue
            try:
                place = self._follow(folder, name)
                os.lstat(place.path + b'/.')  # that is for directories
            except (FileNotFoundError, NotADirectoryError, Problem):
                continue
            if place.path in met:
                continue
            met.add(place.path)
            if is_there(place.path, b'cur', b'new') and not self._is_excluded(above + name):
                yield place
            yield from self._tree(place, above + name + b'/', met)

    def _is_excluded(self, name: bytes) -> bool:
        return any(pattern.fullmatch(name) for pattern in self._excluded)

    # Counting.

    def _directories(self, box: Place, with_strays: bool) -> Iterator[Place]:
        """Yields the directories that hold messages of a mailbox, each once."""
        met: set[bytes] = set()
        for folder in (box, *self._folders(box, with_strays)):
            for leaf in (b'cur', b'new'):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, Problem):
                    place = self._follow(folder, leaf)
                    if stat.S_ISDIR(os.lstat(place.path).st_mode) and place.path not in met:
                        met.add(place.path)
                        yield place

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

    def _count_everything(self, directory: Place, met: set[bytes]) -> Sums:
        """Counts as Exim does without a size file: everything below, as far as it was not met."""
        total = Sums()
        met.add(directory.path)
        for name in os.listdir(directory.path):
            if name.startswith(b'.') and self._is_excluded(name[1:]):
                continue
            total = add(total, Sums(0, 1))
            try:
                place = self._follow(directory, name)
                info = os.lstat(place.path)
            except (FileNotFoundError, NotADirectoryError, Problem):
                continue
            if stat.S_ISREG(info.st_mode):
                total = add(total, Sums(info.st_size // info.st_nlink))
            elif stat.S_ISDIR(info.st_mode) and place.path not in met:
                total = add(total, self._count_everything(place, met))
        return total

    def _count(self, asked: bytes, box: Place, rule: str, when: Interval,
               with_strays: bool = False) -> set[Usage]:
        """Counts a mailbox, as far as its directories are not remembered for the path asked about.
        """
        if rule == 'everything':
            return {Usage(self._count_everything(box, set()), 'scan', rule)}
        known = self._recall(asked)
        after: dict[tuple, Remembered] = {}
        totals = {(Sums(), False)}
        failure: Optional[OSError] = None
        for place in (box, *self._directories(box, with_strays)):
            try:
                info = os.stat(place.path)
                fresh = self._count_directory(place) if place != box else Sums()
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
                    place.path, place == box, max(stamp), fresh, when)
            after[directory] = Remembered(stamp, candidates)
        self._remember(asked, after, failure is not None)
        if failure:
            raise failure
        return {Usage(total, 'scan' if scan else 'cache', rule) for total, scan in totals}

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
