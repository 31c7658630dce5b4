# SPDX-License-Identifier: GPL-2.0-or-later
"""The system tests on each Debian release, those of all releases side by side."""

from itertools import chain
from typing import Optional, Sequence

import folders
from harness import image, places, project, scenario
from report import Report
from side_by_side import WORKERS, side_by_side

RELEASES = tuple(image.RELEASES)


def prepare(report: Report, releases: Sequence[str]) -> list[str]:
    """Makes the images and builds in them. Returns the releases for which that went well."""
    prepared: list[str] = []

    def prepare_one(release: str) -> None:
        if report.check(f'{release}: the image', image.make, release) and \
                report.check(f'{release}: the build', project.build, image.path_of(release)):
            prepared.append(release)

    with report.step('Images'):
        side_by_side([lambda release=release: prepare_one(release) for release in releases])
    return prepared


def run(report: Report, releases: Sequence[str], only: Optional[str], long: bool) -> None:
    """Runs the system tests in containers of the releases that are prepared."""
    with report.step('System tests'):
        runs = [folders.runs(report, places.SYSTEM_TESTS, only, f'{release}: ', {
            scenario.RELEASE_VARIABLE: release,
            scenario.LONG_VARIABLE: '1' if long else '',
        }) for release in releases]
        for files, workers in zip(zip(*runs), (WORKERS, 1)):  # beside others, and alone
            side_by_side(list(chain.from_iterable(zip(*files))), workers)
