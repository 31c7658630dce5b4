# SPDX-License-Identifier: GPL-2.0-or-later
"""Doing several things at once, as many as keep the processors busy."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Sequence

# More than there are processors: most tests wait for something most of the time.
WORKERS = (os.cpu_count() or 1) + 2


def side_by_side(functions: Sequence[Callable[[], object]], workers: int = WORKERS) -> None:
    """Calls the functions, begun in their order, and returns when all have returned.

    Raises what one of them raises; those that have not begun by then are left out.
    """
    threads = ThreadPoolExecutor(workers)
    try:
        for begun in [threads.submit(function) for function in functions]:
            begun.result()
    finally:
        threads.shutdown(cancel_futures=True)
