# SPDX-License-Identifier: GPL-2.0-or-later
"""A root file system of a Debian release (or I386), made once and never written to afterwards.

An image lies in build/images/RELEASE-HASH, where the hash is that of everything that decides what
is in it: a changed list of packages makes a new image and removes the old one. It appears under
its name only when it is whole.
"""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Tuple

from . import places

# What every image holds beside Debian's minimal system.
PACKAGES = (
    # what boots, and what is tested against
    'systemd', 'systemd-sysv', 'dbus',
    'exim4-daemon-light', 'dovecot-core', 'dovecot-imapd', 'dovecot-lmtpd', 'maildrop', 'rsync',
    # what builds the project offline
    'gcc', 'libc6-dev', 'libsystemd-dev', 'meson', 'ninja-build', 'pkg-config',
    # what makes packages, and checks them
    'build-essential', 'debhelper', 'lintian', 'autopkgtest', 'libcmocka-dev', 'bash-completion',
    # what tests use: a file system of their own, a look into processes, privileges, man pages
    'fuse3', 'libfuse3-dev', 'gdb-minimal', 'libcap2-bin', 'man-db', 'procps', 'python3', 'strace',
)

RELEASES = {
    'bookworm': PACKAGES,
    'trixie': PACKAGES + ('systemd-dev',),
}

# A processor with 32 bits, which one with 64 runs: nothing is booted there.
I386 = 'i386'
_I386_PACKAGES = (
    'gcc', 'libc6-dev', 'libsystemd-dev', 'meson', 'ninja-build', 'pkg-config', 'systemd',
    'fuse3', 'libcmocka-dev', 'libfuse3-dev', 'python3',
)

_PACKAGES_OF = {**RELEASES, I386: _I386_PACKAGES}

# Without security updates: they may be late for i386, and then nothing is installed.
_MIRROR = 'http://deb.debian.org/debian'

# Packages that lie in the image, for tests that install them in their container: no two mail
# servers can be installed at once.
PACKAGES_FOLDER = '/srv/packages'
_APT = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --no-install-recommends'
_TO_INSTALL = ('postfix', 'haproxy')
# Without the fonts and scripts of its web pages.
_TO_UNPACK = {'bookworm': ('prometheus',), 'trixie': ('prometheus', 'promtool')}

# What every container would do as it boots, or a package as it is installed, and no test needs: a
# test starts the mail server that it asks. Only what SysV scripts become has to be generated.
_CALM_HOOKS = (
    'chroot "$1" systemctl disable exim4.service dovecot.service',
    'rm -f "$1"/etc/systemd/system/timers.target.wants/* "$1/var/lib/man-db/auto-update"',
    'cd "$1/usr/lib/systemd/system-generators" && mkdir -p "$1/etc/systemd/system-generators" && '
    'for each in *; do [ $each = systemd-sysv-generator ] || '
    'ln -s /dev/null "$1/etc/systemd/system-generators/$each"; done',
)

# Nothing of the machine that makes the image shall show in it.
_CLEAN_HOOKS = (
    'echo mx >"$1/etc/hostname"',
    'rm -f "$1/etc/resolv.conf"',
)


class ImageError(Exception):
    """The image could not be made."""


def path_of(release: str) -> Path:
    """Returns the folder of the release's image, whether it is there or not."""
    recipe = '\n'.join((*sorted(_PACKAGES_OF[release]), *_hooks(release)))
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    return places.IMAGES / f'{release}-{digest[:12]}'


def make(release: str) -> Path:
    """Makes the image of the release unless it is there, and returns its folder.

    Needs Debian's package archive when there is something to make. Several processes may ask for
    the same image at once: one makes it, the others wait.
    """
    path = path_of(release)
    if path.is_dir():
        return path
    places.IMAGES.mkdir(parents=True, exist_ok=True)
    with open(places.IMAGES / f'{release}.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_dir():
            _remove_all(release)
            _make_at(release, path)
    return path


def _hooks(release: str) -> Tuple[str, ...]:
    if release == I386:
        return _CLEAN_HOOKS
    folder = f'"$1{PACKAGES_FOLDER}"'
    return (
        f'mkdir -p {folder}/partial',
        *(f'{_APT} --download-only -o Dir::Cache::archives={folder} install {package}'
          for package in _TO_INSTALL),
        f'cd {folder} && {_APT} download {" ".join(_TO_UNPACK[release])}',
        *_CALM_HOOKS, *_CLEAN_HOOKS)


def _remove_all(release: str) -> None:
    """Removes what earlier lists of packages, or a making that was cut short, have left."""
    for old in places.IMAGES.glob(f'{release}-*'):
        shutil.rmtree(old)


def _make_at(release: str, path: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=f'{release}-unfinished-', dir=places.IMAGES))
    options = ['--variant=minbase', '--dpkgopt=force-unsafe-io',
               '--include=' + ','.join(_PACKAGES_OF[release]),
               *(f'--customize-hook={hook}' for hook in _hooks(release))]
    # The death of this process, however sudden, takes the making with it.
    made = subprocess.run(
        ['setpriv', '--pdeathsig', 'TERM', 'mmdebstrap', *options,
         *(['--architectures=i386', 'bookworm', str(unfinished), _MIRROR] if release == I386
           else [release, str(unfinished)])],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors='replace', check=False)
    if made.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ImageError(f'mmdebstrap {release} ended with status {made.returncode}:\n'
                         f'{made.stdout[-4000:]}')
    unfinished.rename(path)
