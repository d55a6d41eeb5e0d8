"""Opening a run on a server: the connection, the run's number, the run that it resumes or joins.

Imported only when it is needed, because importing the HTTP libraries is slow.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .._clearml import login, sdk
from .._log import warn
from .._model import limits
from .._storage.online import OnlineBackend
from .._storage.outbox import Outbox
from ..errors import StoreError, StoreWarning
from .joining import shared_info
from .joining_online import join_online, latest_text_on_server, reserve_number
from .resume_online import prior_on_server
from .run_storage import Resume, RunStorage, open_run_log

if TYPE_CHECKING:
    from pathlib import Path

    from .._clearml.agent_task import AgentTask
    from .._model.name_template import NameTemplate
    from .._model.past import Prior
    from .._model.specs import RunInfo
    from .sharing import Joined


def open_online(
    info: RunInfo,
    template: NameTemplate,
    agent_task: AgentTask | None,
    resume: Resume | None,
    own_parents: frozenset[str],
    shared: str,
    undo: contextlib.ExitStack,
) -> RunStorage:
    """Connects to the server.

    Args:
        info: What identifies the run.
        template: The group's template.
        agent_task: The task that an agent runs this process as.
        resume: How to continue the latest run, if that was asked for.
        own_parents: Parents that are alive because this process is.
        shared: The text by which several processes share the run; empty if they do not.
        undo: Closes what is opened here, if a later step fails.
    """
    folder = sdk.cache_folder() / "taskgroup" / info.group_id
    login_timeout = limits.SHARED_LOGIN_TIMEOUT_S if shared else None
    backend = undo.enter_context(contextlib.closing(OnlineBackend(login.connect(login_timeout))))
    backend.agent_task_id = agent_task.id if agent_task is not None else None
    prior: Prior | None = None
    joined: Joined | None = None
    if resume is not None and not shared:
        shared = latest_text_on_server(backend, info.group_id)
    if shared and agent_task is None:
        info = shared_info(info, shared)
        joined = join_online(info, folder, backend, template, resume is not None, undo)
    elif resume is not None:
        prior = prior_on_server(backend, info.group_id, folder, template, resume.takeover, own_parents)
    try:
        run_log = open_run_log(folder, prior, resume)
    except StoreError as error:
        run_log = None
        _warn_of_no_run_log(folder, error)
    if run_log is not None:
        run_log.is_optional = True
        undo.callback(run_log.close)
        backend.use_outbox(Outbox.open(run_log.path.with_suffix(".outbox")))
    if joined is not None:
        return RunStorage(backend, run_log, joined=joined)
    number = prior.number if prior is not None else 1
    if prior is None and agent_task is None:
        number = reserve_number(backend, info.group_id, folder)
    return RunStorage(backend, run_log, prior, number)


def _warn_of_no_run_log(folder: Path, error: StoreError) -> None:
    warn(
        f"{folder} cannot be written to ({error}), so the run has no run log and no outbox: data that the "
        "server has not received is lost if the process dies, and resume works from the server alone. "
        "Choose another place with the environment variable CLEARML_CACHE_DIR",
        StoreWarning,
    )
