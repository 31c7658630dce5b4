# SPDX-License-Identifier: GPL-2.0-or-later
"""A client that asks as Postfix's smtpd does."""

import socket
from typing import Optional, Union

DUNNO = 'DUNNO'
OVER = '452 4.2.2 Mailbox is full'
TOO_LARGE = '552 5.2.2 Message is larger than the mailbox may ever be'

# What smtpd sends beside what matters, in its order.
BEFORE = {'protocol_name': 'ESMTP', 'client_address': '192.0.2.1', 'client_name': 'mx.example.net',
          'client_port': '50000', 'reverse_client_name': 'mx.example.net',
          'server_address': '192.0.2.2', 'server_port': '25', 'helo_name': 'mx.example.net',
          'sender': 'ann@example.net'}
AFTER = {'etrn_domain': '', 'stress': '', 'sasl_method': '', 'sasl_username': '',
         'sasl_sender': '', 'ccert_subject': '', 'ccert_issuer': '', 'ccert_fingerprint': '',
         'ccert_pubkey_fingerprint': '', 'encryption_protocol': '', 'encryption_cipher': '',
         'encryption_keysize': '0', 'policy_context': '', 'compatibility_level': '3.6',
         'mail_version': '3.7.11'}


def policy_request(recipient: Union[str, bytes], size: int = 0, state: str = 'RCPT') -> bytes:
    """Returns the request that smtpd sends about a recipient."""
    named = recipient.encode() if isinstance(recipient, str) else recipient
    count = 0 if state == 'RCPT' else 1
    lines = [b'request=smtpd_access_policy', b'protocol_state=' + state.encode(),
             *(f'{name}={value}'.encode() for name, value in BEFORE.items()),
             b'recipient=' + named, b'recipient_count=%d' % count, b'queue_id=',
             b'instance=1a2b.65f0c0de.1234.0', b'size=%d' % size,
             *(f'{name}={value}'.encode() for name, value in AFTER.items())]
    return b''.join(line + b'\n' for line in lines) + b'\n'


class Policy:
    """A connection to a policy service, which is kept."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self._received = b''

    def send(self, data: bytes) -> None:
        """Sends, whatever it is."""
        self.connection.sendall(data)

    def action(self) -> Optional[str]:
        """Reads the next reply, and returns its action, or None if the connection has ended."""
        while b'\n\n' not in self._received:
            try:
                part = self.connection.recv(65536)
            except ConnectionResetError:
                part = b''
            if not part:
                if self._received:
                    raise AssertionError(f'half a reply: {self._received!r}')
                return None
            self._received += part
        reply, _, self._received = self._received.partition(b'\n\n')
        name, equals, value = reply.decode().partition('=')
        if name != 'action' or not equals or '\n' in value:
            raise AssertionError(f'no reply: {reply!r}')
        return value

    def ask(self, recipient: Union[str, bytes], size: int = 0, state: str = 'RCPT'
            ) -> Optional[str]:
        """Asks about a recipient, and returns the action."""
        self.send(policy_request(recipient, size, state))
        return self.action()
