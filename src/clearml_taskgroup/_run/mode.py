"""Which mode a group works in: the mode asked for, ClearML's own setting, the configuration."""

from __future__ import annotations

import functools
import os
from typing import Literal

from .._clearml import sdk
from .._log import logger
from ..errors import ArgumentError, ModeError

Mode = Literal["online", "offline", "disabled"]

_RANKS = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)
"""Variables with rank and size of a distributed job: torchrun, Open MPI, MPICH, Slurm."""


def resolve(mode: Mode | None, *, log: bool = True) -> Mode:
    """Decides the mode.

    Args:
        mode: The mode asked for. None is ClearML's own setting; `"disabled"` on ranks other than 0 of a
            distributed job; and `"offline"` if no server is configured.
        log: Whether to log that no server is configured; of use only if data is about to be stored.

    Raises:
        ArgumentError: It is not a mode.
        ModeError: It contradicts ClearML's own setting.
    """
    if mode not in (None, "online", "offline", "disabled"):
        raise ArgumentError("mode", mode, "'online', 'offline', 'disabled' or None")
    if mode == "disabled" or (mode is None and distributed_rank()):
        return "disabled"
    now = sdk.task_mode()
    live = sdk.main_task() is not None
    if mode is not None and mode != now and (live or mode == "online"):
        who = "the script's Task.init task is" if live else "ClearML is set"
        switch = "before Task.init" if live else "or unset CLEARML_OFFLINE_MODE"
        raise ModeError(
            f"mode={mode!r}",
            f"was given, but {who} {now}, and ClearML's offline switch holds for the whole process",
            f"leave mode= out to follow it, or call Task.set_offline({mode == 'offline'}) {switch}",
        )
    if mode is not None or live or now == "offline":
        return mode or now
    if sdk.is_configured():
        return "online"
    if log:
        _log_once(
            "no ClearML server is configured (no clearml.conf, no CLEARML_API_… "
            f"variables), so the group is offline; its data goes below {sdk.cache_folder()}"
        )
    return "offline"


@functools.cache
def _log_once(text: str) -> None:
    logger.info(text)


def distributed_rank() -> int:
    """Returns this process's rank in a distributed job; 0 if there is none."""
    for rank, size in _RANKS:
        values = os.environ.get(rank, ""), os.environ.get(size, "")
        if all(value.isdigit() for value in values) and int(values[1]) > 1:
            return int(values[0])
    return 0
