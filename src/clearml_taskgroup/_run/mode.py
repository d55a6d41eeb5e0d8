"""Which mode a group works in: the mode asked for, ClearML's own setting, the configuration."""

from __future__ import annotations

import functools
import os
from typing import Literal

from .._clearml import sdk
from .._log import logger
from .._model.arguments import is_one_of
from ..errors import ArgumentError, ModeError

Mode = Literal["online", "offline", "disabled"]

_RANKS = (
    ("RANK", "WORLD_SIZE"),  # torchrun, accelerate, DeepSpeed
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),  # MVAPICH
    ("PMI_RANK", "PMI_SIZE"),  # MPICH, Intel MPI
    ("PMIX_RANK", ""),
    ("HOROVOD_RANK", "HOROVOD_SIZE"),
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"),  # LSF
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)
"""Variables with rank and size of a distributed job; without a name for the size, there is none."""
_LOCAL_RANK, _NODE_RANKS = "LOCAL_RANK", ("NODE_RANK", "GROUP_RANK")
"""Variables of launchers that set no `RANK`, as Lightning's own."""


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
    if not is_one_of(mode, (None, "online", "offline", "disabled")):
        raise ArgumentError("mode", mode, "'online', 'offline', 'disabled' or None")
    if mode == "disabled":
        return "disabled"
    if mode is None and (variables := distributed_rank()):
        if log:
            log_once(
                f"{variables}: this is not the first process of a distributed job, so it stores nothing. If "
                "its processes are independent scripts, give each group mode='online' or mode='offline'"
            )
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
        log_once(
            "no ClearML server is configured (no credentials in clearml.conf or CLEARML_API_ACCESS_KEY and "
            f"CLEARML_API_SECRET_KEY), so the group is offline; its data goes below {sdk.cache_folder()}"
        )
    return "offline"


@functools.cache
def log_once(text: str) -> None:
    """Logs a line unless this process has logged the same one."""
    logger.info(text)


def distributed_rank() -> str:
    """Returns the variables by which this process is not the first one of a distributed job, `RANK=2`.

    Returns:
        Empty if it is the first one, or no job is known.
    """
    for rank, size in _RANKS:
        value = _number(rank)
        if value is not None and (not size or (_number(size) or 0) > 1):
            return f"{rank}={value}" if value else ""
    local, nodes = _number(_LOCAL_RANK), {name: _number(name) for name in _NODE_RANKS}
    if local is None or _number("WORLD_SIZE") == 1 or all(node is None for node in nodes.values()):
        return ""
    ranks = {_LOCAL_RANK: local, **nodes}
    return ", ".join(f"{name}={value}" for name, value in ranks.items() if value)


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else None
