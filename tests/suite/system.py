# SPDX-License-Identifier: GPL-2.0-or-later
"""The system tests on each Debian release, the releases side by side."""

import threading
from typing import Optional, Sequence

import folders
from harness import image, places, project, scenario
from report import Report

RELEASES = tuple(image.RELEASES)


def run(report: Report, releases: Sequence[str], only: Optional[str], long: bool) -> None:
    """Makes the images, builds in them, and runs the system tests in containers of them."""
    threads = [threading.Thread(target=_run_release, args=(report, release, only, long))
               for release in releases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _run_release(report: Report, release: str, only: Optional[str], long: bool) -> None:
    with report.step(f'System tests on {release}'):
        if not report.check(f'{release}: the image', image.make, release):
            return
        if not report.check(f'{release}: the build', project.build, image.path_of(release)):
            return
        folders.run(report, places.SYSTEM_TESTS, only, f'{release}: ', {
            scenario.RELEASE_VARIABLE: release,
            scenario.LONG_VARIABLE: '1' if long else '',
        })
