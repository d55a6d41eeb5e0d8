"""Limits the threads of numerical libraries in workers, so that all workers together fit the cores."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_NATIVE = ("numpy", "scipy", "sklearn", "torch")


def fair_share(workers: int) -> int | None:
    """Computes how many threads each worker gets; None where the user has set a number."""
    if any(os.environ.get(name) for name in VARIABLES):
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)


def limit(threads: int) -> None:
    """Limits the threads of this process's numerical libraries, loaded now or later."""
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
    if any(name in sys.modules for name in _NATIVE):
        # Loaded libraries have read their variables already. threadpoolctl comes with scikit-learn.
        with contextlib.suppress(Exception):  # it is not installed, or does not know a library
            import_module("threadpoolctl").threadpool_limits(threads)
