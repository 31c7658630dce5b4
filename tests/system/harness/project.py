# SPDX-License-Identifier: GPL-2.0-or-later
"""The project inside a container: compiled by the release's own compiler, against its libraries.

The sources are bound read-only; the build folder, one for each image, stays on the machine, so that
a scenario installs what an earlier one has compiled.
"""

import shutil
from pathlib import Path

from . import places
from .container import Container

SOURCES_INSIDE = '/usr/src/exim-quotad'
BUILD_INSIDE = '/var/build/exim-quotad'
COMPILE_SECONDS = 1800


def setup_is_due(build_folder: Path) -> bool:
    """Says whether a build folder is to be made anew: it is not whole, or its defaults are old.

    (Meson heeds a project's changed default options only in a new folder.)
    """
    made = build_folder / 'build.ninja'
    return not made.exists() or made.stat().st_mtime < max(
        (places.SOURCES / name).stat().st_mtime for name in ('meson.build', 'meson_options.txt'))


def container_with_sources(image: Path, **options) -> Container:
    """Returns a container of the image, not yet booted, that install() works in."""
    build_folder = _build_folder(image)
    build_folder.mkdir(parents=True, exist_ok=True)
    binds = {BUILD_INSIDE: build_folder, **options.pop('binds', {})}
    read_only_binds = {SOURCES_INSIDE: places.SOURCES, **options.pop('read_only_binds', {})}
    return Container(image, binds=binds, read_only_binds=read_only_binds, **options)


def build(image: Path) -> None:
    """Compiles what has changed, warnings being errors."""
    if setup_is_due(_build_folder(image)):
        shutil.rmtree(_build_folder(image), ignore_errors=True)
    with container_with_sources(image) as container:
        if setup_is_due(_build_folder(image)):
            container.run(['meson', 'setup', '--werror', BUILD_INSIDE, SOURCES_INSIDE],
                          timeout=COMPILE_SECONDS)
        container.run(['meson', 'compile', '-C', BUILD_INSIDE], timeout=COMPILE_SECONDS)


def install(container: Container) -> None:
    """Installs what build() has compiled, as an administrator does."""
    container.run(['meson', 'install', '--no-rebuild', '-C', BUILD_INSIDE])
    container.run('systemd-sysusers && journalctl --update-catalog && systemctl daemon-reload')


def _build_folder(image: Path) -> Path:
    return places.BUILDS / image.name
