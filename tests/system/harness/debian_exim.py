# SPDX-License-Identifier: GPL-2.0-or-later
"""Exim with Debian's own configuration, split into files, and the ACL files that we install."""

from typing import Mapping, Optional

from . import places
from .container import Container
from .exim import CONFIGURATION, Exim

FOLDER = '/etc/exim4'
RCPT_ACL = '/usr/share/exim-quotad/exim-quotad.acl'
DATA_ACL = '/usr/share/exim-quotad/exim-quotad-data.acl'

# What debconf would have asked.
ANSWERS = {
    'dc_eximconfig_configtype': 'internet',
    'dc_other_hostnames': 'quota.example : mbox.example : odd.example',
    'dc_local_interfaces': '127.0.0.1',
    'dc_readhost': '',
    'dc_relay_domains': '',
    'dc_minimaldns': 'false',
    'dc_relay_nets': '',
    'dc_smarthost': '',
    'CFILEMODE': '644',
    'dc_use_split_config': 'true',
    'dc_hide_mailname': '',
    'dc_mailname_in_oh': 'true',
    'dc_localdelivery': 'mail_spool',
}

# Debian accepts everything from 127.0.0.1 before it comes to the recipients.
STRANGER = '127.0.0.2'

MACROS = {
    'CHECK_RCPT_LOCAL_ACL_FILE': RCPT_ACL,
    'CHECK_DATA_LOCAL_ACL_FILE': DATA_ACL,
    'QUOTA': '${lookup{$local_part@$domain}lsearch*@{/etc/exim-quotad/limits}{$value}{0}}',
    # sessions that try many recipients in vain are what the tests are made of
    'CHECK_RCPT_NO_FAIL_TOO_MANY_BAD_RCPT': '1',
    'MAIN_HOST_LOOKUP': '',
    'MAIN_TLS_ADVERTISE_HOSTS': '',
}


class DebianExim(Exim):
    """The Exim of one container; its clients are strangers to it."""

    def __init__(self, container: Container):
        super().__init__(container, client_address=STRANGER)

    def configure_split(self, macros: Optional[Mapping[str, str]] = None,
                        files: Optional[Mapping[str, str]] = None) -> None:
        """Makes Debian's split configuration, with our ACL files as they are installed.

        More macros, or other values of those in MACROS; more files, by their path below FOLDER.
        """
        container = self._container
        container.run(['rm', '-f', CONFIGURATION])  # it would count for more
        container.put_file(f'{FOLDER}/update-exim4.conf.conf',
                           ''.join(f"{name}='{value}'\n" for name, value in ANSWERS.items()))
        ours = places.SYSTEM_TESTS / 'exim' / 'debian'
        contents = {
            'conf.d/main/000_localmacros': ''.join(
                f'{name} = {value}\n' for name, value in {**MACROS, **(macros or {})}.items()),
            'conf.d/router/350_test_mailboxes': (ours / 'router').read_text(encoding='utf-8'),
            'conf.d/transport/40_test_mailboxes': (ours / 'transport').read_text(encoding='utf-8'),
            **(files or {}),
        }
        for path, content in contents.items():
            container.put_file(f'{FOLDER}/{path}', content)
        self.restart()  # which puts it together first
