# SPDX-License-Identifier: GPL-2.0-or-later
"""The system tests on each Debian release."""

from typing import Optional

import folders
from harness import image, places, project, scenario
from report import Report
from side_by_side import Jobs

RELEASES = tuple(image.RELEASES)

# What is about load, time and the service itself, and least about what a release brings: on one of
# them, but with --long.
ON_ONE_RELEASE = {
    'test_acl_options.py': 'bookworm',
    'test_answers.py': 'bookworm',
    'test_everything.py': 'bookworm',
    'test_hostile.py': 'bookworm',
    'test_illness.py': 'trixie',
    'test_misconfigured.py': 'trixie',
    'test_peers.py': 'trixie',
    'test_report.py': 'trixie',
    'test_soak.py': 'trixie',
}


def prepare(report: Report, release: str) -> bool:
    """Makes the image of a release and builds in it. Says whether that went well."""
    return report.check(f'{release}: the image', image.make, release) and \
        report.check(f'{release}: the build', project.build, image.path_of(release))


def add_jobs(jobs: Jobs, report: Report, release: str, only: Optional[str], long: bool) -> None:
    """Adds a job for each file of system tests, which runs in containers of the release."""
    folders.add_jobs(jobs, report, places.SYSTEM_TESTS, only, f'{release}: ', {
        scenario.RELEASE_VARIABLE: release,
        scenario.LONG_VARIABLE: '1' if long else '',
    }, left_out=[] if long or only else [name for name, where in ON_ONE_RELEASE.items()
                                         if where != release])
