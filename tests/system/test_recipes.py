# SPDX-License-Identifier: GPL-2.0-or-later
"""What README.md says about configuring Exim, line by line as it is printed there.

Each recipe begins with Debian's configuration as it was installed. What is not in the README is
what the administrator has already: domains, users, aliases, and the panels' own configuration.
"""

import os
import re
import unittest
from pathlib import Path
from typing import Optional

from harness import places, readme, smtp
from harness.container import wait_until
from harness.debian_exim import ANSWERS, FOLDER, RCPT_ACL, DebianExim
from harness.dovecot import Dovecot
from harness.exim import CONFIGURATION, Exim
from harness.mailboxes import DOVECOT_USERS, PASSWORD
from harness.scenario import LIMITS_FILE, DebianScenario, quickly_on
from harness.service import ACCEPT_SOCKET, SERVICE, SOCKET, SOCKET_PATH, Service

ACCEPTED = '250 Accepted'
FULL = '452 4.2.2 Mailbox is full'
TOO_LARGE = '552 5.2.2 Message is larger than the mailbox may ever be'
OVER_QUOTA = '452 4.2.2 Mailbox is over quota'
NOBODY_HAS_ROOM = "452 4.2.2 No recipient's mailbox has room for this message"

EXIM_REFUSES = r'== (?:\S+ <)?{}>? .*mailbox is full \(MTA-imposed (filecount )?quota exceeded'
DOVECOT_REFUSES = r'\*\* {} .*552 5\.2\.2'

INSTALLED = '/etc/exim4.installed'
MAILBOXES_FILE = '/etc/exim4/mailboxes'
VHOSTS = '/var/mail/vhosts'
SEE_HOME = '[Service]\nProtectHome=read-only\n'
OURS = places.SYSTEM_TESTS / 'exim'

LOCAL_HOST = '127.0.0.1'
DOVECOT_QUOTA = 65536
U_LABEL, A_LABEL = 'bücher.example', 'xn--bcher-kva.example'

# What the README's limits say of some.
FULLEST = {'joe@example.org': 5 << 30, 'ann@example.org': 2 << 30, 'eve@example.net': 1 << 30}

# What saves the tests time.
TEST_MACROS = ('MAIN_HOST_LOOKUP =\n'
               'MAIN_TLS_ADVERTISE_HOSTS =\n'
               'CHECK_RCPT_NO_FAIL_TOO_MANY_BAD_RCPT = 1\n')

# All that the README's sections about Exim show: its section, and a part of it.
SECTION = 'Configure Exim'
BLOCKS = {
    'limits': (SECTION, '*@example.org: 2G,100000C'),
    'router': (SECTION, 'mailboxes:\n'),
    'macros': (SECTION, 'MAILBOX_CHECK_TARGET = ${extract{mailbox}'),
    'transport': ('The transport', 'to_maildir:\n'),
    'commands': ('Where the lines go', 'useradd'),
    'relay macro': ('Hosts that may relay, and authenticated users', 'MAIN_ACL_CHECK_RCPT'),
    'relay ACL': ('Hosts that may relay, and authenticated users', 'acl_quota_rcpt:\n'),
    'templates': ('Mailboxes by template', 'mailbox = '),
    'Maildir router': ('Recipes', 'mailbox=$home/Maildir'),
    'mbox router': ('Recipes', 'mailbox=/var/mail/$local_part'),
    'system transport': ('Recipes', 'maildir_use_size_file\n'),
    'panel router': ('Recipes', '/etc/exim4/domains/'),
    'vexim macros': ('Recipes', '${extract{smtp}{$address_data}}'),
    'vexim options': ('Recipes', 'root = /var/vmail'),
    'LMTP transport': ('Recipes', 'to_dovecot:\n'),
    'LMTP options': ('Recipes', 'maildirsize = ignore'),
    'minimal macro': ('The minimal variant: a number', 'QUOTA = 2G'),
    'minimal ACL': ('The minimal variant: a number', 'defer\n'),
    'minimal transport': ('The minimal variant: a number', 'no_quota_is_inclusive\n'),
    'accept units': ('An instance for each connection', 'systemctl enable'),
}


def shown(name: str) -> str:
    """Returns, and prints, what the README shows under the name."""
    text = readme.block(*BLOCKS[name])
    print(''.join(f'    {line}\n' for line in text.splitlines()), end='')
    return text


def options_shown(name: str) -> str:
    """Returns the options in the lines for exim-quotad.conf."""
    return readme.as_options(shown(name))


def in_text(heading: str, part: str) -> str:
    """Returns the code in a section's text, between back quotes, that has the part in it."""
    return re.search(f'`([^`]*{re.escape(part)}[^`]*)`', readme.section(heading))[1]


def include_shown(name: str) -> str:
    """Returns the line that includes the file with that end of its name."""
    return in_text('Where the lines go', name) + '\n'


class Recipes(DebianScenario):
    """One container for all; each test has everything else to itself."""

    service: Service

    @classmethod
    def prepare(cls) -> None:
        super(DebianScenario, cls).prepare()  # and no configuration
        cls.service = Service(cls.container)
        cls.exim = DebianExim(cls.container)
        cls.container.run(f'cp -a {FOLDER} {INSTALLED} && cp /etc/aliases {INSTALLED}')
        cls.container.run(['systemctl', 'stop', 'dovecot.service'])

    def setUp(self) -> None:
        super().setUp()
        self.container.run(f'rm -rf {FOLDER} && cp -a {INSTALLED} {FOLDER} && '
                           f'mv {FOLDER}/aliases /etc')
        self.addCleanup(self.service.reset)
        self.addCleanup(self.container.run, 'userdel vmail; rm -rf /var/mail/*', check=False)
        self.addCleanup(self.exim.clear_queue)

    # Configuring.

    def put(self, path: str, text: str) -> None:
        """Writes a file; its path may be one in /etc/exim4."""
        self.container.put_file(os.path.join(FOLDER, path), text)

    def append(self, path: str, text: str) -> None:
        """Adds text to the end of a file in /etc/exim4."""
        self.put(path, self.container.read_file(f'{FOLDER}/{path}') + text)

    def insert(self, path: str, after: str, text: str) -> None:
        """Adds text after a line of a file in /etc/exim4."""
        file = self.container.read_file(f'{FOLDER}/{path}')
        file, found = re.subn(rf'(?m)^ *{re.escape(after)}\n', lambda line: line[0] + text, file)
        self.assertEqual(found, 1, f'{path}: {after}')
        self.put(path, file)

    def place(self, lines: str, text: str, split: bool = True) -> None:
        """Puts lines for Exim where the README's table says."""
        cell = readme.row('Where the lines go', lines)[0 if split else 1]
        path, *after = re.findall('`([^`]+)`', cell)
        if after:
            self.insert(path, after[0], text)
        else:
            self.put(f'conf.d/{path}' if split else path, text)

    def answer(self, **answers: str) -> None:
        """Writes what debconf would have asked."""
        answers = {**ANSWERS, 'dc_other_hostnames': 'example.org : example.net', **answers}
        self.put('update-exim4.conf.conf',
                 ''.join(f"{name}='{value}'\n" for name, value in answers.items()))

    def run_commands(self) -> None:
        """Does what the README says at the end."""
        self.container.run(['systemctl', 'reset-failed', 'exim4.service'], check=False)
        self.container.run(shown('commands'))
        self.container.wait_for_tcp(25)

    def configure(self, macros: Optional[str] = None, router: Optional[str] = None,
                  transport: Optional[str] = None, split: bool = True, **answers: str) -> None:
        """Follows the README's main way, or changes it; starts the service without options."""
        self.answer(dc_use_split_config='true' if split else 'false', **answers)
        for lines, text in (('macros', macros), ('router', router), ('transport', transport)):
            text = shown(lines) if text is None else text
            self.place(lines, TEST_MACROS + text if lines == 'macros' else text, split)
        self.put('/etc/mailname', 'example.org\n')
        self.run_commands()
        self.service.start()

    def add_mailboxes(self, *addresses: str) -> None:
        """Writes the mailboxes of the README's lookup."""
        self.put('mailboxes', ''.join(f'{address}: {self.path_of(address)}\n'
                                      for address in addresses))

    @staticmethod
    def path_of(address: str) -> str:
        """Returns the path of an address' mailbox."""
        name, _, domain = address.rpartition('@')
        return f'{VHOSTS}/{domain}/{name}'

    # Mailboxes.

    def put_message(self, maildir: str, size: int) -> None:
        """Makes a Maildir of vmail's with one message, whose bytes are a hole in its file."""
        def make() -> None:
            for folder in ('new', 'cur', 'tmp'):
                os.makedirs(f'{maildir}/{folder}', mode=0o700)
            with open(f'{maildir}/new/1.M1P1.mx,S={size}', 'wb') as file:
                file.truncate(size)

        self.container.call(make)
        self.container.run(['chown', '-R', 'vmail:vmail', VHOSTS])

    # What all recipes have in common.

    def rcpt(self, recipient: str, size: Optional[int] = None, options: str = '',
             exim: Optional[Exim] = None) -> str:
        """Returns, and prints, the reply to a recipient."""
        announced = (f' SIZE={size}' if size is not None else '') + options
        with (exim or self.exim).session() as session:
            session.command(f'MAIL FROM:<sender@elsewhere.example>{announced}')
            reply = str(session.rcpt(recipient))
        print(f'MAIL{announced} RCPT TO:<{recipient}>: {reply}')
        return reply

    def send(self, recipient: str, size: int) -> str:
        """Sends a message of an announced size; returns the reply that decided."""
        with self.exim.session() as session:
            session.mail_from(size=size)
            reply = session.rcpt(recipient)
            if reply.code == 250:
                reply = session.data(smtp.message(size))
        return re.sub(' id=.*', '', str(reply))

    def assert_checked(self, address: str, limit: int, size: int,
                       refuses: str = EXIM_REFUSES) -> None:
        """Fills a mailbox: RCPT is refused when, and not before, the delivery agent would refuse.

        The limit is a little more than a multiple of the size.
        """
        for _ in range(limit // size):
            self.assertEqual(self.send(address, size), '250 OK')
            self.exim.wait_for_deliveries()
        self.assertEqual(self.rcpt(address, size), FULL)
        self.container.run(['systemctl', 'stop', SOCKET, SERVICE])
        self.assertEqual(self.send(address, size), '250 OK')
        self.assertIn(f'quota of {address} not checked: there is no socket {SOCKET_PATH}',
                      self.log())
        refusal = refuses.format(re.escape(address))
        print(wait_until(lambda: re.search(f'.*{refusal}.*', self.log()), 'the agent refuses')[0])
        self.exim.clear_queue()
        self.service.start()

    # The main way.

    @quickly_on('bookworm')
    def test_mailboxes_unsplit(self):
        self.add_mailboxes(*FULLEST)
        self.put(LIMITS_FILE, shown('limits'))
        self.configure(split=False)
        self.check_limits()

    def test_mailboxes_split(self):
        self.add_mailboxes(*FULLEST, 'bob@example.org', 'dora@example.org')
        self.put(LIMITS_FILE, shown('limits'))
        self.put('conf.d/router/890_catch_all',
                 'catch_all:\n  driver = redirect\n  domains = example.org\n'
                 '  data = ${if !eq{$local_part}{unknown} {bob@example.org}}\n')
        self.put('/etc/aliases', 'info: support\nsupport: bob\nlist: bob, ann@example.org\n')
        self.configure()
        for check in (self.check_limits, self.check_message_count, self.check_aliases,
                      self.check_what_imap_leaves, self.check_moved_mailbox):
            with self.subTest(check=check.__name__):
                check()

    def check_limits(self) -> None:
        """The README's limits for a user, a domain and the rest hold, to the byte."""
        for address, limit in FULLEST.items():
            self.put_message(self.path_of(address), limit - 5000)
            self.assertEqual([self.rcpt(address, size) for size in (5000, 5001)], [ACCEPTED, FULL])
            with self.exim.session() as session:
                session.mail_from()
                self.assertEqual(str(session.rcpt(address)), ACCEPTED)
                self.assertEqual(str(session.data(smtp.message(6000))), NOBODY_HAS_ROOM)
        self.assertEqual(self.rcpt('unknown@example.org')[:3], '550')
        self.assertRegex(self.log(), r'<ann@.*>: .* message_limit=100000 ')
        # the limits file is Exim's, and the service reads none
        self.put(LIMITS_FILE, '*: 30000\n')
        self.assertEqual([self.rcpt('joe@example.org', size) for size in (10, 30001)],
                         [FULL, TOO_LARGE])

    def check_message_count(self) -> None:
        """A limit in messages, after a blank."""
        bob = 'bob@example.org'
        self.put(LIMITS_FILE, f'{bob}: 1G, 2C\n')
        self.assert_checked(bob, 2100, 1000)
        self.assertEqual(self.container.read_file(f'{self.path_of(bob)}/maildirsize')[:14],
                         '1073741824S,2C')
        self.container.run(['rm', '-r', self.path_of(bob)])

    def check_aliases(self) -> None:
        """An alias of an alias, and a catch-all, are checked with bob's mailbox and limit."""
        bob = 'bob@example.org'
        self.put(LIMITS_FILE, f'{bob}: 30000\n')
        before = len(self.log())
        for address in ('info@example.org', 'anybody@example.org', bob):
            self.assertEqual([self.rcpt(address, size) for size in (30000, 30001)],
                             [ACCEPTED, TOO_LARGE])
        self.assert_checked(bob, 30000, 9000)
        for address in ('info@example.org', 'anybody@example.org'):
            self.assertEqual([self.rcpt(address, size) for size in (9000, 30001)],
                             [FULL, TOO_LARGE])
        # nobody is asked about several
        self.assertEqual(self.rcpt('list@example.org', 30001), ACCEPTED)
        self.assertEqual(self.log()[before:].count('not checked'), 1, 'while it was stopped')

    def check_what_imap_leaves(self) -> None:
        """Hard links, and a `maildirfolder` in the mailbox itself, which Dovecot writes."""
        dora = 'dora@example.org'
        self.put(LIMITS_FILE, '*: 100000\n')
        self.put_message(self.path_of(dora), 20000)
        self.container.run(['touch', f'{self.path_of(dora)}/maildirfolder'])
        for number in range(2, 5):
            self.container.run(['ln', f'{self.path_of(dora)}/new/1.M1P1.mx,S=20000',
                                f'{self.path_of(dora)}/cur/{number}.M1P1.mx,S=20000:2,S'])
        self.assert_checked(dora, 19000, 15000)

    def check_moved_mailbox(self) -> None:
        """Where the lookup says another path, nothing else is to be changed."""
        joe, moved = 'joe@example.org', f'{VHOSTS}/moved/joe'
        self.put(LIMITS_FILE, '*: 30000\n')
        self.assertEqual(self.rcpt(joe, 10), FULL)
        self.put('mailboxes', f'{joe}: {moved}\n')
        self.assertEqual(self.rcpt(joe, 30001), TOO_LARGE)
        self.assert_checked(joe, 30000, 9000)
        self.assertEqual(self.container.read_file(f'{moved}/maildirsize')[:10], '30000S,0C\n')

    @quickly_on('trixie')
    def test_mbox(self):
        joe = 'joe@example.org'
        self.add_mailboxes(joe)
        self.put(LIMITS_FILE, '*: 30000\n')
        advice = readme.section('The transport').partition('For an mbox')[2]
        others = '|'.join(re.findall(r'`(quota_\w+)`', advice))
        transport = re.sub(rf'(?m)^  ({others}|maildir).*\n', '', shown('transport'))
        transport, found = re.subn('(?m)^  directory  +=', '  file =', transport)
        self.assertEqual(found, 1)
        print(transport)
        self.configure(transport=transport)
        self.assert_checked(joe, 30000, 9000)
        self.assertEqual(self.rcpt(joe, 30001), TOO_LARGE)
        self.assertTrue(self.container.call(os.path.isfile, self.path_of(joe)))

    @quickly_on('trixie')
    def test_excluded_folder(self):
        joe = 'joe@example.org'
        self.add_mailboxes(joe)
        self.put(LIMITS_FILE, '*: 50000\n')
        line = in_text('The transport', 'maildir_quota_directory_regex')
        print(f'    {line}')
        self.configure(transport=shown('transport') + f'  {line}\n')
        self.service.change(options=in_text('The transport', '--exclude-folder'))
        self.put_message(self.path_of(joe), 1000)
        for folder in ('.Trash', '.Trashed'):
            self.put_message(f'{self.path_of(joe)}/{folder}', 29000)
            self.container.run(['touch', f'{self.path_of(joe)}/{folder}/maildirfolder'])
        self.assert_checked(joe, 19000, 9000)

    @quickly_on('bookworm')
    def test_minimal_variant(self):
        joe = 'joe@example.org'
        self.add_mailboxes(joe)
        self.put(LIMITS_FILE, '*: 1G\n')
        transport = re.sub('(?m)^  quota.*\n', '', shown('transport'))
        macro = shown('minimal macro')
        self.put('quota.acl', shown('minimal ACL'))
        self.configure(
            macros=macro + 'CHECK_RCPT_LOCAL_ACL_FILE = /etc/exim4/quota.acl\n',
            transport=transport + shown('minimal transport'))
        self.put_message(self.path_of(joe), 2 << 30)
        self.assertEqual(self.send(joe, 2000), '250 OK')
        self.exim.wait_for_deliveries()
        self.assertEqual(self.rcpt(joe), OVER_QUOTA)
        self.assertEqual(self.rcpt('unknown@example.org')[:3], '550')
        self.addCleanup(self.container.run, ['systemctl', 'disable', '--now', ACCEPT_SOCKET])
        self.container.run(shown('accept units'))
        self.assertFalse(self.container.is_active(SOCKET))
        self.assertEqual(self.rcpt(joe), OVER_QUOTA)
        self.container.run(['systemctl', 'stop', ACCEPT_SOCKET])
        self.assertEqual(self.send(joe, 2000), '250 OK')
        wait_until(lambda: re.search(EXIM_REFUSES.format(joe), self.log()), 'Exim refuses')

    def test_templates(self):
        joe = 'joe@example.org'
        path = '/var/mail/example.org/joe'
        self.put('mailboxes', f'{joe}: {path}\n')
        self.put(LIMITS_FILE, 'example.org: 30000\n*@example.org: 30000\n')
        self.put('/etc/aliases', f'info: {joe}\n')
        self.configure(macros=re.sub('(?m)^MAILBOX_CHECK.*\n', '', shown('macros')))
        self.service.change(options=options_shown('templates'))
        self.container.run(['install', '-d', '-o', 'vmail', '/var/mail/example.org'])
        self.assertEqual(self.rcpt(joe, 30001), ACCEPTED, 'an alias, for all that is known')
        self.assert_checked(joe, 30000, 9000)
        self.assertEqual(self.rcpt(joe, 30001), TOO_LARGE)
        self.assertEqual(self.rcpt('info@example.org', 30001), ACCEPTED)
        self.put(LIMITS_FILE, '*@example.org: 90000\n')
        self.container.run(in_text('Mailboxes by template', 'reload').split())
        self.assertEqual(self.rcpt(joe, 9000), ACCEPTED)

    # Who else may send.

    @quickly_on('bookworm')
    def test_relay_hosts_and_authenticated_users(self):
        joe, ann, postmaster = (f'{name}@example.org' for name in ('joe', 'ann', 'postmaster'))
        self.add_mailboxes(joe, ann, postmaster)
        self.put(LIMITS_FILE, '*: 30000\n')
        self.put('conf.d/auth/50_test', 'test:\n  driver = plaintext\n  public_name = PLAIN\n'
                 '  server_prompts = :\n  server_condition = ${if eq{$auth3}{secret}}\n'
                 '  server_set_id = $auth2\n  server_advertise_condition = *\n')
        self.configure()
        local = Exim(self.container, client_address=LOCAL_HOST)
        for address, size in ((joe, 30000), (ann, 29000), (postmaster, 30000)):
            self.put_message(self.path_of(address), size)
        self.assertEqual(self.rcpt(joe, 1), FULL)
        self.assertEqual([self.rcpt(joe, 1, exim=local), self.rcpt_as_user(joe)], [ACCEPTED] * 2)

        macros = re.sub('CHECK_RCPT_LOCAL_ACL_FILE.*\n', shown('relay macro'), shown('macros'))
        self.place('macros', TEST_MACROS + macros)
        self.place('ACL (below)', shown('relay ACL'))
        self.exim.restart()
        for rcpt in (self.rcpt, self.rcpt_as_user, lambda *a: self.rcpt(*a, exim=local)):
            self.assertEqual([rcpt(joe, 1), rcpt(joe, 30001)], [FULL, TOO_LARGE])
            self.assertEqual(rcpt(postmaster, 1), ACCEPTED)
        # and all else is as before
        self.assertEqual(self.rcpt('x@elsewhere.example'), '550 relay not permitted')
        self.assertEqual(self.rcpt('unknown@example.org'), '550 Unrouteable address')
        self.assertEqual(self.rcpt('b|ad@example.org'), '550 restricted characters in address')
        self.assertEqual(self.rcpt_as_user('x@elsewhere.example'), ACCEPTED)
        with local.session() as session:
            session.mail_from(size=1)
            self.assertEqual(str(session.rcpt('x@elsewhere.example')), ACCEPTED)
            self.assertEqual(str(session.rcpt(joe)), FULL)
            session.rset()
            session.mail_from()
            self.assertEqual(str(session.rcpt(ann)), ACCEPTED)
            self.assertEqual(str(session.data(smtp.message(2000))), NOBODY_HAS_ROOM)

    def rcpt_as_user(self, recipient: str, size: int = 1) -> str:
        """Returns the reply to a recipient in a session of an authenticated user."""
        with self.exim.session() as session:
            self.assertEqual(session.command('AUTH PLAIN AGpvZQBzZWNyZXQ=').code, 235)
            session.mail_from(size=size)
            reply = str(session.rcpt(recipient))
        print(f'as a user, MAIL SIZE={size} RCPT TO:<{recipient}>: {reply}')
        return reply

    # Internationalised domains.

    def both_spellings(self, name: str, size: int) -> list[str]:
        """Returns the replies to a recipient under the A-label and under the U-label."""
        return [self.rcpt(f'{name}@{A_LABEL}', size),
                self.rcpt(f'{name}@{U_LABEL}', size, ' SMTPUTF8')]

    def check_internationalised(self, options: str, macros: str) -> None:
        """Mailboxes and limits are under the A-label: both spellings are checked alike."""
        joe = f'joe@{A_LABEL}'
        self.add_mailboxes(joe)
        self.put(LIMITS_FILE, f'*@{A_LABEL}: 30000\n')
        label = in_text('Where the lines go', 'utf8_domain_to_alabel')
        self.configure(macros + 'MAIN_SMTPUTF8_ADVERTISE_HOSTS = *\n',
                       shown('router').replace('$domain', label),
                       dc_other_hostnames=f'{A_LABEL} : {U_LABEL}')
        self.service.change(options=options)
        self.put_message(self.path_of(joe), 20000)
        self.assertEqual([self.both_spellings('joe', size) for size in (10000, 10001, 30001)],
                         [[ACCEPTED] * 2, [FULL] * 2, [TOO_LARGE] * 2])
        self.put(LIMITS_FILE, f'*@{A_LABEL}: 20000\n*: 9\n')
        self.container.run(['systemctl', 'reload', SERVICE])
        self.assertEqual(self.both_spellings('joe', 0), [ACCEPTED] * 2)
        self.assertEqual(self.log().count(f'mailbox of {joe} is nearly full: 100%'), 2)

    @quickly_on('bookworm')
    def test_internationalised_domain_from_the_router(self):
        self.check_internationalised('', shown('macros'))

    @quickly_on('trixie')
    def test_internationalised_domain_by_template(self):
        self.check_internationalised(f'--mailbox={VHOSTS}/%d/%n --limits={LIMITS_FILE}',
                                     re.sub('(?m)^MAILBOX_CHECK.*\n', '', shown('macros')))

    @quickly_on('trixie')
    def test_internationalised_domain_that_is_local_under_its_a_label_alone(self):
        joe = f'joe@{A_LABEL}'
        self.add_mailboxes(joe)
        self.put(LIMITS_FILE, '*: 30000\n')
        domains = f'{A_LABEL} : {U_LABEL}'
        self.put('conf.d/acl/35_own', f'acl_own:\n  .include {RCPT_ACL}\n  require\n'
                 f'    domains = {domains}\n    verify = recipient\n  accept\n')
        label = in_text('Where the lines go', 'utf8_domain_to_alabel')
        router = shown('router').replace('$domain', label).replace('+local_domains', domains)
        self.put('conf.d/router/050_own', router.replace('mailboxes:', 'own:'))
        self.configure(shown('macros') + 'MAIN_SMTPUTF8_ADVERTISE_HOSTS = *\n'
                       'MAIN_ACL_CHECK_RCPT = acl_own\n', router='', dc_other_hostnames=A_LABEL)
        self.put_message(self.path_of(joe), 20000)
        self.assertEqual([self.both_spellings('joe', size) for size in (10000, 10001)],
                         [[ACCEPTED] * 2, [FULL] * 2])
        # what has no A-label is compared as it is, or is its sender's trouble alone
        with self.exim.session() as session:
            session.command('MAIL FROM:<> SMTPUTF8')
            replies = [str(session.rcpt(f'joe@{domain}'))
                       for domain in ('☃.example', 'ü' * 63 + '.example', A_LABEL)]
        print('\n'.join(replies))
        self.assertEqual([reply[:3] for reply in replies], ['550', '451', '250'])

    # System users.

    @quickly_on('bookworm')
    def test_system_users_with_maildir(self):
        self.append('conf.d/router/900_exim4-config_local_user', shown('Maildir router'))
        self.append('conf.d/transport/30_exim4-config_maildir_home', shown('system transport'))
        self.check_system_users('maildir_home')

    @quickly_on('trixie')
    def test_system_users_with_mbox(self):
        self.append('conf.d/router/900_exim4-config_local_user', shown('mbox router'))
        self.append('conf.d/transport/30_exim4-config_mail_spool',
                    shown('system transport').splitlines()[0] + '\n')
        self.check_system_users('mail_spool')

    def check_system_users(self, transport: str) -> None:
        """joe, with a limit of his own, and what his alias info gets; ann, with everybody's."""
        self.container.run('useradd --create-home joe; useradd --create-home ann')
        self.addCleanup(self.container.run, 'userdel --remove joe; userdel --remove ann',
                        check=False)
        self.put(LIMITS_FILE, 'joe: 30000\n*: 90000\n')
        self.put('/etc/aliases', 'info: joe\n')
        self.configure(router='', transport='', dc_localdelivery=transport)
        if transport == 'maildir_home':
            self.service.change(SEE_HOME, readme.as_options(in_text('Recipes', 'root = /home')))
        for address, limit in (('Joe@example.org', 30000), ('info@example.org', 30000),
                               ('ann@example.org', 90000)):
            self.assertEqual([self.rcpt(address, size) for size in (limit, limit + 1)],
                             [ACCEPTED, TOO_LARGE])
        self.assert_checked('joe@example.org', 30000, 9000)
        self.assertEqual(self.rcpt('info@example.org', 9000), FULL)
        self.assertEqual(self.send('ann@example.org', 30000), '250 OK')
        self.assertEqual(self.rcpt('unknown@example.org')[:3], '550')
        self.exim.wait_for_deliveries()

    # Panels.

    @quickly_on('trixie')
    def test_hestiacp(self):
        text = (OURS / 'panel.conf').read_text(encoding='utf-8')
        for place, lines in (('localuser', shown('panel router')),
                             ('acl_check_rcpt', include_shown('quotad.acl')),
                             ('acl_check_data', include_shown('quotad-data.acl'))):
            marker = f'  # the end of {place}\n'
            self.assertEqual(text.count(marker), 1)
            text = text.replace(marker, lines)
        self.put('domains/example.org/passwd',
                 'joe:{MD5}x:web1:mail::/home/web1:1:userdb_quota_rule=*:storage=1M\n'
                 'ann:{MD5}x:web1:mail::/home/web1:0:userdb_quota_rule=*:storage=0M\n')
        self.put('domains/example.org/aliases', 'info@example.org:joe@example.org\n'
                 '*@example.org:joe@example.org\n')
        self.container.run('useradd --create-home web1 && for name in joe ann; do install -d '
                           '-o web1 -g mail -m 770 /home/web1/mail/example.org/$name; done')
        self.addCleanup(self.container.run, 'userdel --remove web1', check=False)
        self.put(CONFIGURATION, shown('macros') + text)
        self.exim.restart()
        self.service.change(SEE_HOME, readme.as_options(in_text('Recipes', 'root = /home')))
        megabyte = 1 << 20
        for address in ('joe@example.org', 'catchall@example.org'):
            self.assertEqual([self.rcpt(address, size) for size in (megabyte, megabyte + 1)],
                             [ACCEPTED, TOO_LARGE])
        self.assertEqual(self.rcpt('ann@example.org', 40 * megabyte), ACCEPTED)
        self.assert_checked('joe@example.org', megabyte, 300000)
        self.assertEqual(self.rcpt('catchall@example.org', 300000), FULL)
        self.assertEqual(self.rcpt('info@example.org', 300000), ACCEPTED, '`unseen` makes two')
        self.assertEqual(self.rcpt('x@elsewhere.example'), '550 relay not permitted')
        self.assertEqual(self.send('ann@example.org', 2 * megabyte), '250 OK')
        self.exim.wait_for_deliveries()

    @quickly_on('bookworm')
    def test_vexim(self):
        for kind, ours in (('rcpt', 'quotad.acl'), ('content', 'quotad-data.acl')):
            self.put(f'vexim-acl-check-{kind}.conf',
                     '# what vexim checks itself\n' + include_shown(ours))
        self.put('vexim-users', ''.join(
            f'{name}@example.org: smtp={target} uid=vmail gid=vmail quota={quota}\n'
            for name, target, quota in (
                ('joe', '/var/vmail/example.org/joe/Maildir', 1),
                ('ann', '/var/vmail/example.org/ann/Maildir', 0),
                ('info', 'joe@example.org', 0),
                ('list', 'joe@example.org,ann@example.org', 0))))
        ours = OURS / 'vexim'
        self.configure('CHECK_RCPT_LOCAL_ACL_FILE = /etc/exim4/vexim-acl-check-rcpt.conf\n'
                       'CHECK_DATA_LOCAL_ACL_FILE = /etc/exim4/vexim-acl-check-content.conf\n'
                       + shown('vexim macros'),
                       (ours / 'router').read_text(encoding='utf-8'),
                       (ours / 'transport').read_text(encoding='utf-8'))
        self.service.change(options=options_shown('vexim options'))
        joe, maildir = 'joe@example.org', '/var/vmail/example.org/joe/Maildir'
        self.container.run(['install', '-d', '-o', 'vmail', '-g', 'vmail', '/var/vmail'])
        self.addCleanup(self.container.run, ['rm', '-rf', '/var/vmail'])
        megabyte = 1 << 20
        # Exim adds up whatever lies there, and takes one message beyond the quota.
        self.assertEqual(self.send(joe, 100000), '250 OK')
        self.exim.wait_for_deliveries()
        self.container.call(Path(maildir, 'dovecot.index.cache').write_bytes, b'x' * 500000)
        self.assertEqual(self.rcpt(joe, 2 * megabyte), ACCEPTED)
        self.assert_checked(joe, 600001, 300000)
        self.assertEqual(self.rcpt('info@example.org', 1), FULL)
        self.assertEqual(self.rcpt('list@example.org', 1), ACCEPTED)
        self.assertEqual(self.rcpt('ann@example.org', 40 * megabyte), ACCEPTED)
        self.assertEqual(self.rcpt('unknown@example.org')[:3], '550')
        self.assertEqual(self.log().count('not checked'), 1, 'while it was stopped')

    # Dovecot delivers.

    def deliver_by_dovecot(self, options: str, *variants: str) -> None:
        """Follows the recipe, for a joe and with a quota of DOVECOT_QUOTA bytes."""
        joe = 'joe@example.org'
        self.add_mailboxes(joe)
        self.put(LIMITS_FILE, f'*: {DOVECOT_QUOTA}\n')
        self.configure(router=shown('router').replace(
            'transport    = to_maildir', in_text('Recipes', 'transport = to_dovecot')),
            transport=shown('LMTP transport'))
        self.service.change(options=options)
        self.put(DOVECOT_USERS,
                 f'{joe}:{{PLAIN}}{PASSWORD}:vmail:vmail::{self.path_of(joe)}::\n')
        self.put('/etc/dovecot/trash', '1 Trash\n')
        Dovecot(self.container, self.release).configure(DOVECOT_QUOTA, 'count', *variants)
        self.addCleanup(self.container.run, ['systemctl', 'stop', 'dovecot.service'])

    def test_dovecot_lmtp(self):
        joe = 'joe@example.org'
        options, grace = options_shown('LMTP options'), 10 << 20
        if self.release == 'bookworm':
            options = options.replace('--grace=10M',
                                      readme.as_options(in_text('Recipes', 'grace = 10%')))
            grace = DOVECOT_QUOTA // 10
        self.deliver_by_dovecot(options, 'grace')
        self.assertEqual([self.rcpt(joe, size) for size in (DOVECOT_QUOTA + grace,
                                                            DOVECOT_QUOTA + grace + 1)],
                         [ACCEPTED, TOO_LARGE])
        self.assertEqual(self.rcpt('unknown@example.org')[:3], '550')
        # the fifth exceeds the quota by more than a tenth of it
        self.assert_checked(joe, 60000 if self.release == 'bookworm' else 75000, 15000,
                            DOVECOT_REFUSES)

    def test_trash_plugin(self):
        joe = 'joe@example.org'
        self.deliver_by_dovecot(options_shown('LMTP options').replace(
            '--grace=10M', readme.as_options(in_text('Recipes', 'exclude-folder = '))), 'trash')
        # Of one message, 2.3.19 would make room in vain: it refuses what it has made room for.
        for _ in range(10):
            self.container.run(['doveadm', 'save', '-u', joe, '-m', 'Trash'],
                               input=smtp.message(4000))
        self.assert_checked(joe, 60000, 15000, DOVECOT_REFUSES)
        self.assertEqual(self.container.run(
            ['doveadm', 'search', '-u', joe, 'mailbox', 'Trash', 'all']).stdout, '')


class Readme(unittest.TestCase):
    """The tests above, and those of stores, know all that the README shows."""

    def test_each_block_has_a_test(self):
        taken = [readme.block(*where) for where in BLOCKS.values()]
        taken += readme.blocks('Many stores')  # test_stores.py
        self.assertCountEqual(taken, readme.blocks(SECTION))
