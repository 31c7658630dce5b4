# SPDX-License-Identifier: GPL-2.0-or-later
"""The service's verdicts beside Exim's own, `verify = recipient/quota`, on the same mailboxes.

Exim's own verdict comes from the transport that would deliver, which is what decides when the
message is there. Both read the same limits file.
"""

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from harness.scenario import DebianScenario, is_long

CASES = 500 if is_long() else 150
INCLUSIVE, EXCLUSIVE = 'quota.example', 'odd.example'
SEED_VARIABLE = 'EXIM_QUOTAD_SEED'

# One reply has both verdicts. The service is asked first: Exim writes maildirsize.
ACL = r'''
warn
  set acl_m_ours = ${readsocket{/run/exim-quotad/socket}\
    {check size=${if eq{$domain}{quota.example}{$message_size}} quota= $local_part@$domain\n}\
    {30s}{ }{status=unreachable}}
  set acl_m_theirs = fits
warn
  !verify = recipient/quota=no_cache
  set acl_m_theirs = $recipient_verify_failure
deny
  message = ${extract{status}{$acl_m_ours}} ${extract{source}{$acl_m_ours}} $acl_m_theirs
'''

TRANSPORT = r'''
%(name)s:
  driver = appendfile
  directory = ${extract{mailbox}{$address_data}}
  user = vmail
  group = vmail
  maildir_format
  maildir_use_size_file
  maildir_tag = ,S=$message_size
  quota = ${if match{LIMIT}{\N^(\d+)(?:,|$)\N}{$1}{0}}
  quota_filecount = ${if match{LIMIT}{\N(\d+)C$\N}{$1}{0}}
  %(rule)s
'''.replace('LIMIT', '${lookup{$local_part@$domain}lsearch{/etc/exim-quotad/limits}}')

ROUTER = r'''
inclusive:
  driver = accept
  domains = quota.example
  address_data = mailbox=${lookup{$local_part@$domain}lsearch{/etc/exim4/maildirs}{$value}fail}
  transport = inclusive

exclusive:
  driver = accept
  domains = odd.example
  address_data = mailbox=${lookup{$local_part@$domain}lsearch{/etc/exim4/maildirs}{$value}fail}
  transport = exclusive
'''


@dataclass
class Case:
    """A mailbox, its limit, and a message."""

    address: str
    sizes: list[int]
    limit_bytes: int
    limit_messages: int
    size: int
    header: Optional[str]  # the first line of maildirsize; None: there is no maildirsize
    tagged: bool

    @property
    def inclusive(self) -> bool:
        return self.address.endswith(INCLUSIVE)

    @property
    def limit(self) -> str:
        """Returns the limit as the limits file has it."""
        count = f'{self.limit_messages}C' if self.limit_messages else ''
        return f'{self.limit_bytes},{count}' if self.limit_bytes and count else \
            count or str(self.limit_bytes)

    def __str__(self) -> str:
        return (f'{len(self.sizes)} messages, {sum(self.sizes)} bytes, limit {self.limit}, '
                f'SIZE={self.size}, ' + ('inclusive' if self.inclusive else 'not inclusive'))


@dataclass
class Difference:
    """A case in which the service and Exim do not agree."""

    case: Case
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f'{self.case}: we say {self.ours}, Exim says {self.theirs}'


def is_count_alone(difference: Difference) -> bool:
    """The mailbox has as many messages as it may have, and there is no limit in bytes."""
    case = difference.case
    return (difference.ours.startswith('over') and case.limit_bytes == 0
            and len(case.sizes) >= case.limit_messages > 0)


def is_last_message(difference: Difference) -> bool:
    """The mailbox has exactly as many messages as it may have, and Exim lets one more in."""
    case = difference.case
    return (difference.ours.startswith('over') and not case.inclusive
            and len(case.sizes) == case.limit_messages)


# Where the two are meant to differ. All that these do not explain is a fault.
RULES = (
    (is_count_alone, 'Exim heeds quota_filecount only where there is a quota in bytes; we hold a '
                     'limit of messages alone to be one'),
    (is_last_message, 'with no_quota_is_inclusive Exim accepts the message that passes the limit '
                      'of messages; we refuse at the exact count'),
)


class Rival(DebianScenario):
    """The same questions to both."""

    macros = {'CHECK_RCPT_LOCAL_ACL_FILE': '/etc/exim4/compare.acl'}
    exim_files = {
        'compare.acl': ACL,
        'conf.d/main/95_test_sessions': 'smtp_accept_max_nonmail_hosts = !*\n',
        'conf.d/router/350_test_mailboxes': ROUTER,
        'conf.d/transport/40_test_mailboxes':
            TRANSPORT % {'name': 'inclusive', 'rule': 'quota_is_inclusive'}
            + TRANSPORT % {'name': 'exclusive', 'rule': 'no_quota_is_inclusive'},
    }

    def test_verdicts_agree(self):
        seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(1 << 32))
        print(f'{SEED_VARIABLE}={seed}')
        cases = [random_case(random.Random(seed + number), number) for number in range(CASES)]
        self.make_mailboxes(cases)

        differences, full = [], 0
        with self.exim.session() as session:
            for case in cases:
                session.mail_from(size=case.size)
                reply = session.rcpt(case.address)
                session.rset()
                self.assertEqual(reply.code, 550, reply)
                status, source, theirs = reply.text.split()
                self.assertIn(status, ('ok', 'warn', 'over', 'toolarge'), case)
                self.assertIn(theirs, ('fits', 'quota'), case)
                ours = 'quota' if status in ('over', 'toolarge') else 'fits'
                full += theirs == 'quota'
                if ours != theirs:
                    differences.append(Difference(case, f'{status} ({source})', theirs))
        print(f'{CASES} cases, {full} of them full for Exim, {len(differences)} differences')
        for rule, why in RULES:
            under_rule = [difference for difference in differences if rule(difference)]
            differences = [difference for difference in differences if not rule(difference)]
            print(f'{len(under_rule)} because {why}:')
            print('\n'.join(f'  {difference}' for difference in under_rule))
            self.assertTrue(under_rule, why)
        self.assertEqual([str(difference) for difference in differences], [])
        self.assertGreater(full, CASES // 5)
        self.assertLess(full, CASES * 4 // 5)

    def make_mailboxes(self, cases: list[Case]) -> None:
        """Makes the mailbox of each case."""
        folders = [self.mailboxes.add_maildir(case.address) for case in cases]

        def make() -> None:
            for case, folder in zip(cases, folders):
                for name in ('new', 'cur', 'tmp'):
                    os.makedirs(f'{folder}/{name}', mode=0o700)
                for number, size in enumerate(case.sizes):
                    path = f'{folder}/{"new" if number % 3 else "cur"}/{number}.M1P1.mx'
                    with open(f'{path},S={size}' if case.tagged else path, 'wb') as file:
                        file.truncate(size)
                if case.header is not None:
                    Path(folder, 'maildirsize').write_text(
                        f'{case.header}\n' + ''.join(f'{size} 1\n' for size in case.sizes))

        self.container.call(make)
        self.container.run('chown -R vmail:vmail /var/mail/vhosts')
        self.set_limits(''.join(f'{case.address}: {case.limit}\n' for case in cases))


def random_case(source: random.Random, number: int) -> Case:
    """Returns a case; most are near the edge between full and not."""
    sizes = [source.randrange(3000) for _ in range(source.randrange(9))]
    used = sum(sizes)
    size = source.choice((0, 1, source.randrange(1, 10000)))
    limit_bytes = max(0, source.choice((
        0, used, used + size, used + size, size, size, source.randrange(1, 30000))) +
        source.randrange(-2, 3))
    limit_messages = max(0, source.choice((
        0, 0, len(sizes), len(sizes) + source.randrange(-1, 3))))
    if limit_bytes == limit_messages == 0:
        limit_bytes = used + 1
    domain = source.choice((INCLUSIVE, INCLUSIVE, EXCLUSIVE))
    header = source.choice((None, f'{limit_bytes}S' + (f',{limit_messages}C' if limit_messages
                                                       else ''), '123456S'))
    return Case(f'case{number}@{domain}', sizes, limit_bytes, limit_messages, size, header,
                source.random() < 0.7)
