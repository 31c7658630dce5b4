# SPDX-License-Identifier: GPL-2.0-or-later
"""--count=everything beside Exim's own verdict, for a transport that has no size file.

Each mailbox is asked about at four limits: the largest that Exim must refuse and the smallest that
it must accept, in bytes and in files. So both have counted the same, to the byte and to the file.
"""

import os
import random
import socket
from pathlib import Path
from typing import NamedTuple

from harness.mailboxes import EXIM_MAILDIRS, SPOOL
from harness.scenario import LIMITS_FILE, DebianScenario, is_long

MAILBOXES = 100 if is_long() else 30
SEED_VARIABLE = 'EXIM_QUOTAD_SEED'
MUCH = 1 << 50

# One reply has both verdicts.
ACL = r'''
warn
  set acl_m_mailbox = ${lookup{$local_part@$domain}lsearch{/etc/exim4/maildirs}{$value}fail}
  set acl_m_quota = ${lookup{$local_part@$domain}lsearch{/etc/exim-quotad/limits}{$value}fail}
  set acl_m_ours = ${readsocket{/run/exim-quotad/socket}\
    {check size=$message_size quota=$acl_m_quota $acl_m_mailbox\n}{30s}{ }{status=unreachable}}
  set acl_m_theirs = fits
warn
  !verify = recipient/quota=no_cache
  set acl_m_theirs = $recipient_verify_failure
deny
  message = ${extract{status}{$acl_m_ours}} $acl_m_theirs
'''

ROUTER = r'''
everything:
  driver = accept
  domains = quota.example
  address_data = ${lookup{$local_part@$domain}lsearch{/etc/exim4/maildirs}{$value}fail}
  transport = everything
'''

TRANSPORT = r'''
everything:
  driver = appendfile
  directory = $address_data
  user = vmail
  group = vmail
  maildir_format
  maildir_tag = ,S=$message_size
  quota = ${if match{LIMIT}{\N^(\d+)(?:,|$)\N}{$1}{0}}
  quota_filecount = ${if match{LIMIT}{\N(\d+)C$\N}{$1}{0}}
'''.replace('LIMIT', '${lookup{$local_part@$domain}lsearch{/etc/exim-quotad/limits}}')


class Usage(NamedTuple):
    """What the service has counted in a mailbox."""

    bytes: int
    messages: int


class Everything(DebianScenario):
    """The same mailboxes, and the same limits, for both."""

    options = f'--count=everything --limits={LIMITS_FILE}'
    macros = {'CHECK_RCPT_LOCAL_ACL_FILE': '/etc/exim4/compare.acl'}
    exim_files = {
        'compare.acl': ACL,
        'conf.d/main/95_test_sessions': 'smtp_accept_max_nonmail_hosts = !*\n',
        'conf.d/router/350_test_mailboxes': ROUTER,
        'conf.d/transport/40_test_mailboxes': TRANSPORT,
    }

    def test_verdicts_at_the_limit(self):
        seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(1 << 32))
        paths = self.container.call(make_mailboxes, Path(SPOOL, 'quota.example'), MAILBOXES, seed)
        self.container.run(['chown', '-Rh', 'vmail:vmail', SPOOL])
        usages = [self.usage(path) for path in paths]
        print(f'{SEED_VARIABLE}={seed}: {len(paths)} mailboxes with {min(usages).bytes} to '
              f'{max(usages).bytes} bytes, {sum(usage.messages for usage in usages)} files in all')

        chance = random.Random(seed)
        maildirs, limits, cases = [], [], []
        for number, (path, usage) in enumerate(zip(paths, usages)):
            size = chance.randrange(1, 10000)
            for name, limit, verdict in (
                    ('fits', f'{usage.bytes + size}', 'ok fits'),
                    ('full', f'{usage.bytes + size - 1}', 'over quota'),
                    ('files-fit', f'{MUCH},{usage.messages + 1}C', 'ok fits'),
                    ('files-full', f'{MUCH},{usage.messages}C', 'over quota')):
                address = f'u{number}-{name}@quota.example'
                maildirs.append(f'{address}: {path}\n')
                limits.append(f'{address}: {limit}\n')
                cases.append((address, size, verdict))
        self.container.put_file(EXIM_MAILDIRS, ''.join(maildirs))
        self.container.put_file(LIMITS_FILE, ''.join(limits))
        wrong = []
        with self.exim.session() as session:
            for address, size, verdict in cases:
                session.mail_from(size=size)
                said = session.rcpt(address).text.replace('warn', 'ok').replace('toolarge', 'over')
                session.rset()
                if said != verdict:
                    wrong.append(f'{address}: {said}, but expected was {verdict}')
        print(f'{len(cases)} verdicts, {len(wrong)} differences')
        self.assertEqual('\n'.join(wrong), '')
        # Exim's look has left everything as it was.
        self.assertEqual([self.usage(path) for path in paths], usages)

    def usage(self, path: str) -> Usage:
        """Asks the service."""
        connection = self.container.connect_unix('/run/exim-quotad/socket')
        connection.sendall(f'usage {path}\n'.encode())
        connection.shutdown(socket.SHUT_WR)
        with connection, connection.makefile(encoding='utf-8') as stream:
            reply = dict(pair.split('=', 1) for pair in stream.read().split())
        self.assertEqual((reply['status'], reply['source']), ('ok', 'scan'), path)
        return Usage(int(reply['bytes']), int(reply['messages']))


def make_mailboxes(parent: Path, count: int, seed: int) -> list[str]:
    """Makes Maildirs with all that lies about in them, and returns their paths."""
    chance = random.Random(seed)
    paths = []
    for number in range(count):
        box = parent / f'u{number}'
        directories = [box, box / 'cur', box / 'new', box / 'tmp']
        for folder in chance.sample(('.Sent', '.Trash.old', 'Sent', 'sieve/tmp', '.A/.B'), 2):
            directories += [box / folder, box / folder / 'cur', box / folder / 'new']
        for directory in directories:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for sequence in range(chance.randrange(60)):
            add_something(chance, chance.choice(directories) / f'{sequence}.M1P1.mx', parent)
        for name in 'dovecot.index.cache', 'dovecot-uidlist', '.customflags':
            if chance.random() < 0.5:
                write(box / name, chance.randrange(100000))
        paths.append(str(box))
    return paths


def add_something(chance: random.Random, path: Path, parent: Path) -> None:
    """Makes something called path: mostly a file."""
    kind = chance.randrange(12)
    if kind == 0:
        path.symlink_to('nowhere')
    elif kind == 1:
        target = parent.parent / f'target-{chance.randrange(5)}'
        if not target.exists():
            write(target, chance.randrange(100000))
        path.symlink_to(os.path.relpath(target, path.parent))
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        shared = parent.parent / f'shared-{chance.randrange(1 << 40)}'
        shared.mkdir()
        write(shared / 'file', chance.randrange(100000))
        path.symlink_to(os.path.relpath(shared, path.parent))
    elif kind < 7:
        # IMAP COPY makes hard links; some of them lie elsewhere.
        write(path, chance.randrange(100000))
        for number in range(chance.randrange(1, 4)):
            other = path.parent if chance.random() < 0.5 else parent.parent
            os.link(path, other / f'{path.name}-{number}-{chance.randrange(1 << 40)}')
    else:
        size = chance.randrange(20000)
        tag = chance.choice(('', f',S={size}', ',S=1', f',S={size},W={size + 7}'))
        write(path.with_name(path.name + tag + chance.choice(('', ':2,S'))), size)


def write(path: Path, size: int) -> None:
    """Makes a file of that size."""
    with open(path, 'wb') as file:
        file.truncate(size)
