"""A disk that is full at moments that a seed chooses: writes fail, or take a part of their bytes."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WRITES = 12
"""How many writes a phase has at most, of room or without."""


@contextmanager
def full_at_moments(folder: Path, seed: int) -> Iterator[list[int]]:
    """Fails writes below `folder`; gives the list of those that failed, by the number of the write."""
    dice, write, failed = random.Random(seed), os.write, list[int]()
    until = [
        dice.randrange(1, WRITES)
    ]  # the write at which the disk fills up, then that at which it has room …
    count = 0

    def injected(file: int, data: bytes) -> int:
        nonlocal count
        if not os.readlink(f"/proc/self/fd/{file}").startswith(str(folder)):
            return write(file, data)
        count += 1
        while until[-1] <= count:
            until.append(until[-1] + dice.randrange(1, WRITES))
        if len(until) % 2:
            return write(file, data)
        failed.append(count)
        fits = dice.randrange(len(data))
        if not fits:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:fits])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", injected)
        yield failed
