# SPDX-License-Identifier: GPL-2.0-or-later
"""Strange recipients: whether Exim lets them through, and what the service then says.

Each of the tables is a recipient in SMTP. Where Exim refuses it itself, the same bytes are asked
about through the socket. Nothing may lead to the mailbox of somebody else, all of which are full.
"""

import re

from harness.mailboxes import SPOOL
from harness.scenario import DebianScenario
from harness.service import SOCKET_PATH

# Our ACL, and then a reply that tells what the service has answered, whatever it was.
TELL = r'''
.include /usr/share/exim-quotad/exim-quotad.acl
deny
  message = asked, answered: ${escape:$acl_m_quotad_reply}
'''

EVERYBODY = r'''
everybody:
  driver = redirect
  domains = odd.example
  data = :blackhole:
'''

BAD_ADDRESS, BAD_REQUEST, OUTSIDE_ROOT = 'bad-address', 'bad-request', 'outside-root'

# Through Exim: the recipient, and the mailbox below the spool or the reason for the error.
# Exim removes quotes, comments and routes, and lets through what it takes for an atom.
THROUGH_EXIM = (
    ('joe@odd.example', 'odd.example/joe'),
    ('JOE@Odd.Example', 'odd.example/joe'),
    ('"joe"@odd.example', 'odd.example/joe'),
    (r'jo\e@odd.example', 'odd.example/joe'),
    ('joe(comment)@odd.example', 'odd.example/joe'),
    ('@x.example,@y.example:joe@odd.example', 'odd.example/joe'),
    # other places
    ('../../etc/passwd@odd.example', BAD_ADDRESS),
    ('../victim@odd.example', BAD_ADDRESS),
    ('"../victim"@odd.example', BAD_ADDRESS),
    ('a/b@odd.example', BAD_ADDRESS),
    ('"a/b"@odd.example', BAD_ADDRESS),
    ('./joe@odd.example', BAD_ADDRESS),
    ('joe/@odd.example', BAD_ADDRESS),
    ('/etc/passwd@odd.example', BAD_ADDRESS),
    (f'{SPOOL}/victim@odd.example', BAD_ADDRESS),
    (f'"{SPOOL}/victim"@odd.example', BAD_ADDRESS),
    ('~root@odd.example', 'odd.example/~root'),
    ('%2e%2e%2fvictim@odd.example', 'odd.example/%2e%2e%2fvictim'),
    ('.joe@odd.example', BAD_ADDRESS),
    ('joe.@odd.example', 'odd.example/joe.'),
    ('j..oe@odd.example', BAD_ADDRESS),
    ('a..@odd.example', BAD_ADDRESS),
    ('.@odd.example', BAD_ADDRESS),
    ('..@odd.example', BAD_ADDRESS),
    ('"."@odd.example', BAD_ADDRESS),
    ('".."@odd.example', BAD_ADDRESS),
    ('j\u2024\u2024/victim@odd.example', BAD_ADDRESS),
    # pairs, verbs, templates, expansions
    ('size=9@odd.example', 'odd.example/size=9'),
    ('quota=1T@odd.example', 'odd.example/quota=1t'),
    ('"quota=1T joe"@odd.example', 'odd.example/quota=1t joe'),
    ('"size=0 quota=1T joe"@odd.example', 'odd.example/size=0 quota=1t joe'),
    ('"status=over text=x"@odd.example', 'odd.example/status=over text=x'),
    ('"x source=scan mailbox=y text=z"@odd.example',
     'odd.example/x source=scan mailbox=y text=z'),
    ('"usage joe"@odd.example', 'odd.example/usage joe'),
    ('=@odd.example', 'odd.example/='),
    ('%u@odd.example', 'odd.example/%u'),
    ('%n%d@odd.example', 'odd.example/%n%d'),
    ('$local_part@odd.example', 'odd.example/$local_part'),
    ('"${lc:JOE}"@odd.example', 'odd.example/${lc:joe}'),
    ('"${run{/bin/id}}"@odd.example', BAD_ADDRESS),
    # blanks, quotes, control characters
    ('" joe"@odd.example', 'odd.example/ joe'),
    ('"joe "@odd.example', 'odd.example/joe '),
    ('"a b"@odd.example', 'odd.example/a b'),
    ('"a@b"@odd.example', 'odd.example/a@b'),
    (r'"a\"b"@odd.example', 'odd.example/a"b'),
    (r'"a\\b"@odd.example', r'odd.example/a\b'),
    (r'"a\\nb"@odd.example', r'odd.example/a\nb'),
    ('""@odd.example', BAD_ADDRESS),
    ('"a\tb"@odd.example', BAD_ADDRESS),
    ('"a\x01b"@odd.example', BAD_ADDRESS),
    ('"a\x7fb"@odd.example', BAD_ADDRESS),
    ('"joe\r"@odd.example', BAD_ADDRESS),
    ('"joe\\\r"@odd.example', BAD_ADDRESS),
    # characters that mean something elsewhere
    ('|id@odd.example', 'odd.example/|id'),
    ('!id@odd.example', 'odd.example/!id'),
    ('`id`@odd.example', 'odd.example/`id`'),
    ('a#b@odd.example', 'odd.example/a#b'),
    ('a&b@odd.example', 'odd.example/a&b'),
    ('*@odd.example', 'odd.example/*'),
    ('?@odd.example', 'odd.example/?'),
    ('{a}@odd.example', 'odd.example/{a}'),
    ('-a@odd.example', 'odd.example/-a'),
    ("o'neil@odd.example", "odd.example/o'neil"),
    ('joe+tag@odd.example', 'odd.example/joe+tag'),
    # lengths
    (f'{"l" * 64}@odd.example', f'odd.example/{"l" * 64}'),
    (f'{"l" * 65}@odd.example', f'odd.example/{"l" * 65}'),
    (f'{"l" * 200}@odd.example', f'odd.example/{"l" * 200}'),
    # UTF-8, and what is none
    ('j\xf6e@odd.example', 'odd.example/j\xf6e'),
    ('"j\xf6e"@odd.example', 'odd.example/j\xf6e'),
    ('joe\u200b@odd.example', 'odd.example/joe\u200b'),
    ('\ufeffjoe@odd.example', 'odd.example/\ufeffjoe'),
    ('\udcff@odd.example', BAD_ADDRESS),
    ('j\udcc0\udcafe@odd.example', BAD_ADDRESS),
)

# Refused by Exim for their syntax, and asked through the socket.
THROUGH_SOCKET = (
    ('', BAD_REQUEST),
    ('  ', BAD_REQUEST),
    ('@', BAD_ADDRESS),
    ('a', BAD_ADDRESS),
    ('a@', BAD_ADDRESS),
    ('@odd.example', BAD_ADDRESS),
    ('a@@odd.example', BAD_ADDRESS),
    ('a@b@odd.example', BAD_ADDRESS),
    ('a@..', BAD_ADDRESS),
    ('a@.odd.example', BAD_ADDRESS),
    ('a@odd..example', BAD_ADDRESS),
    ('joe@odd.example.', 'odd.example/joe'),
    ('joe@odd.example..', BAD_ADDRESS),
    ('joe@odd.example ', BAD_ADDRESS),
    ('joe@ odd.example', BAD_ADDRESS),
    ('a@../odd.example', BAD_ADDRESS),
    ('a@od/d.example', BAD_ADDRESS),
    ('a@[127.0.0.1]', '[127.0.0.1]/a'),
    ('<joe@odd.example>', BAD_ADDRESS),
    ('"joe@odd.example', BAD_ADDRESS),
    ('joe"@odd.example', 'odd.example/joe"'),
    ('a;b@odd.example', 'odd.example/a;b'),
    ('joe,victim@odd.example', 'odd.example/joe,victim'),
    ('joe\0@odd.example', BAD_REQUEST),
    ('\0', BAD_REQUEST),
    ('/etc/passwd', OUTSIDE_ROOT),
    ('size=1', BAD_ADDRESS),
    ('size=1 quota=1', BAD_ADDRESS),
    ('ping', BAD_ADDRESS),
    (f'a@{"d" * 63}.{"d" * 63}.{"d" * 63}.{"d" * 63}', f'{".".join(["d" * 63] * 4)}/a'),
    (f'a@{"d" * 63}.{"d" * 63}.{"d" * 63}.{"d" * 64}', BAD_ADDRESS),
    (f'{"l" * 255}@odd.example', f'odd.example/{"l" * 255}'),
    (f'{"l" * 256}@odd.example', BAD_ADDRESS),
    (f'{"a" * 5000}@odd.example', BAD_ADDRESS),
)


class Addresses(DebianScenario):
    """Everybody at odd.example can be written to; joe is over quota, and so are his neighbours."""

    limits = '*: 100\n'
    macros = {
        'CHECK_RCPT_LOCAL_ACL_FILE': '/etc/exim4/tell.acl',
        # Debian would refuse many of them before they came to us.
        'CHECK_RCPT_LOCAL_LOCALPARTS': 'nobody.has.this.name',
    }
    exim_files = {
        'tell.acl': TELL,
        'conf.d/main/95_test_sessions': 'smtp_max_synprot_errors = 1000\n',
        'conf.d/router/340_test_everybody': EVERYBODY,
    }

    @classmethod
    def prepare(cls):
        super().prepare()
        for mailbox in ('odd.example/joe', 'odd.example/victim', 'victim', 'victim@odd.example'):
            cls.mailboxes.drop(f'{SPOOL}/{mailbox}', 200)

    def test_recipients_that_exim_lets_through(self):
        with self.exim.session() as session:
            session.mail_from(size=10)
            for address, expected in THROUGH_EXIM:
                with self.subTest(address=address):
                    reply = session.rcpt(address)
                    answer = ' '.join(reply.lines).partition('asked, answered: ')[2]
                    if not answer:  # a verdict, not our own words
                        self.assertEqual(str(reply), '452 4.2.2 Mailbox is full')
                        answer = re.findall(r' size=10, (.*)', self.log())[-1]
                    self.assert_answer(address, expected, _unescape(answer))

    def test_recipients_that_exim_refuses(self):
        with self.exim.session() as session:
            session.mail_from(size=10)
            for address, expected in THROUGH_SOCKET:
                with self.subTest(address=address):
                    self.assertIn(session.rcpt(address).code, (500, 501))
                    self.assert_answer(address, expected, self.ask(address))

    def ask(self, address: str) -> str:
        """Returns what the service answers, asked as our ACL does without quoting anything."""
        request = f'check size=10 quota= {address}\n'
        with self.container.connect_unix(SOCKET_PATH) as connection:
            connection.sendall(request.encode(errors='surrogateescape'))
            with connection.makefile('rb') as reply:
                return reply.read().decode().rstrip('\n')

    def assert_answer(self, address: str, expected: str, answer: str) -> None:
        """Fails unless the answer is about the mailbox, or is the error, that is expected."""
        print(f'{ascii(address)[:60]}  {answer[:200]}')
        if expected in (BAD_ADDRESS, BAD_REQUEST, OUTSIDE_ROOT):
            self.assertRegex(answer, f'^status=error reason={expected} ')
            return
        mailbox = re.escape(re.sub(r'(["\\])', r'\\\1', f'{SPOOL}/{expected}'))
        quoted = f'"{mailbox}"' if set(' "\\') & set(expected) else mailbox
        status, source = ('over', 'scan|cache') if expected == 'odd.example/joe' else ('ok', 'none')
        self.assertRegex(answer, f'^status={status} (?:[a-z_]+=[0-9]+ )+source=(?:{source}) '
                                 f'rule=[a-z-]+ limit_from=file mailbox={quoted} text="[^"]*"$')


def _unescape(text: str) -> str:
    """Undoes Exim's ${escape}, which leaves quotes and backslashes as they are."""
    return re.sub(rb'\\([0-7]{3})', lambda match: bytes([int(match[1], 8)]),
                  text.encode()).decode(errors='surrogateescape')
