# SPDX-License-Identifier: GPL-2.0-or-later
"""Cables between containers. There is no other network."""

import subprocess

from .container import Container


class Cable:
    """A pair of Ethernet interfaces, one in each of two containers, for two addresses of IPv4."""

    def __init__(self, one: Container, one_address: str, other: Container, other_address: str):
        # an interface is named for the address at its other end
        self._ends = ((one, one_address, f'to-{other_address}'),
                      (other, other_address, f'to-{one_address}'))
        arguments = [['name', name, 'netns', str(container.leader)]
                     for container, _, name in self._ends]
        _ip(['link', 'add', *arguments[0], 'type', 'veth', 'peer', *arguments[1]])
        for (container, address, name), (_, peer, _) in zip(self._ends, self._ends[::-1]):
            _ip(['address', 'add', address, 'peer', peer, 'dev', name], container)
        self.mend()

    def cut(self) -> None:
        """Drops all packets, without an error to either side."""
        self._set('down')

    def mend(self) -> None:
        """Lets packets through again."""
        self._set('up')

    def _set(self, state: str) -> None:
        for container, _, name in self._ends:
            _ip(['link', 'set', name, state], container)


def _ip(arguments: list[str], inside: Container = None) -> None:
    """Runs ip(8) of this machine, in the network of a container if there is one."""
    enter = [] if inside is None else ['nsenter', f'--target={inside.leader}', '--net', '--']
    subprocess.run([*enter, 'ip', *arguments], check=True)
