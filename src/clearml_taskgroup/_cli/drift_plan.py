"""The command `drift` with `--plan` and `--apply`: copies what old tasks logged to the correct names."""

from __future__ import annotations

import contextlib
import runpy
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._clearml.api import Transport
from .._drift.apply_offline import apply_offline
from .._drift.apply_online import apply_online
from .._drift.correct_names import fields_of_tasks
from .._drift.parse_name import SUMMARY
from .._drift.plan import Plan, make_plan
from .._group import TaskGroup
from .._model.name_template import DEFAULT_TEMPLATE, NameTemplate
from .._model.vocabulary import Vocabulary
from .._storage.past_runs import all_runs
from .._text import counted, some
from ..errors import ServerError, StoreError
from .find_run import choose_place, root
from .output import Failure, confirm, echo, echo_first, print_json
from .tables import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._drift.copying import Outcome
    from .._drift.plan import LeftAlone, TaskPlan
    from .logged_names import LoggedNames

MAX_NAMES_SHOWN = 3
"""The most tasks that are named with the reason why they are left alone."""
AGAIN = "run the same command again to continue"


def read_vocabulary(path: str) -> tuple[Vocabulary, NameTemplate]:
    """Runs a file with the code that `drift` prints, and gives its vocabulary and name template.

    Raises:
        Failure: The file fails, or has neither a `TaskGroup` with `metrics=` nor a list `metrics`.
    """
    found: list[tuple[Vocabulary, NameTemplate]] = []
    try:
        ran = runpy.run_path(path)
        for value in ran.values():
            if isinstance(value, TaskGroup) and value.vocabulary is not None:
                found += [pair for pair in [(value.vocabulary, value.template)] if pair not in found]
        if not found and "metrics" in ran:
            template = NameTemplate(ran.get("template", DEFAULT_TEMPLATE))
            found.append((Vocabulary.of(ran["metrics"], template), template))
    except (Exception, SystemExit) as error:  # the file is the user's
        raise Failure(f"{path} fails with {type(error).__name__}: {error}") from None
    if len(found) != 1:
        several = "several groups with different metrics="
        has = several if found else "neither a TaskGroup with metrics= nor a list metrics"
        raise Failure(f"{path} has {has}; expected the code that drift prints")
    ((vocabulary, template),) = found
    if own := fields_of_tasks(template):
        raise Failure(
            f"the template {template.text!r} of {path} has {{{own[0]}}}, which only a group fills in"
        )
    return vocabulary, template


def write_plan(
    logged: Sequence[LoggedNames], vocabulary: str, path: str, place: str, is_online: bool, as_json: bool
) -> None:
    """Writes what would be copied.

    Raises:
        Failure: The vocabulary cannot be used, or the file holds another plan.
    """
    words, template = read_vocabulary(vocabulary)
    plan = make_plan(logged, words, template, place=place, is_online=is_online, source=vocabulary)
    kept = _keep_other_plan(Path(path), plan)
    fresh = Path(f"{path}.new")
    fresh.write_text(plan.to_json(), "utf-8")
    fresh.replace(path)  # nobody ever sees half a plan
    if as_json:
        print_json({"plan": plan.id, "file": path, **_counts_json(plan)})
        return
    echo(f"{counted(len(logged), 'task')}: {_counts(plan)}")
    _print_plan(plan)
    if plan.tasks:
        command = f"clearml-taskgroup drift --apply {shlex.quote(path)}"
        what = f"written to {path}; look at it, then: {command}"
    elif plan.conflicts or plan.left_alone:
        what = f"nothing to apply; {path} lists what is left alone"
    else:
        what = f"nothing to apply; {path} has no copies"
    echo("", what, *([f"the plan that was there is now {kept}"] if kept else []))


def _keep_other_plan(path: Path, plan: Plan) -> Path | None:
    """Renames another plan in a file: it may have been interrupted, and is completed from its file.

    Returns:
        Its new name.

    Raises:
        Failure: The file holds something else.
    """
    if not path.exists():
        return None
    try:
        other = Plan.from_json(path.read_text("utf-8"), str(path)).id
    except (OSError, ValueError):
        raise Failure(f"{path} exists and is no plan; give another name") from None
    if other == plan.id:
        return None
    kept = path.with_name(f"{path.stem}.{other}{path.suffix}")
    path.replace(kept)
    return kept


def apply_plan(path: str, yes: bool, as_json: bool) -> bool:
    """Carries out a plan; asks first, unless `yes`.

    Returns:
        Whether all of it was carried out, now or before.

    Raises:
        Failure: It cannot be carried out here and now.
        ArgumentError: The file is no plan, of another version, or was edited.
    """
    try:
        plan = Plan.from_json(Path(path).read_text("utf-8"), path)
    except UnicodeDecodeError:
        raise Failure(f"{path} is not a file that drift --plan wrote") from None
    outcomes: list[Outcome] = []
    with _place(plan) as carry_out:
        if not as_json:
            echo(f"plan {plan.id}: {_counts(plan)}, {_where(plan)}")
            _print_plan(plan)
        if plan.tasks and not yes:
            confirm(f"copy these {_where(plan)}?", "--yes")
        try:
            _carry_out(carry_out, plan, outcomes, as_json)
        except (ServerError, StoreError) as error:
            did = f"{len(outcomes):,} of {counted(len(plan.tasks), 'task')} done"
            raise Failure(f"{error}; {did}; {AGAIN}") from None
        except KeyboardInterrupt:
            echo(f"{len(outcomes):,} of {counted(len(plan.tasks), 'task')} done; {AGAIN}", err=True)
            raise
    _print_outcomes(plan, outcomes, as_json)
    return not any(outcome.problems for outcome in outcomes)


def _carry_out(carry_out: Any, plan: Plan, outcomes: list[Outcome], as_json: bool) -> None:
    with progress_bar(quiet=as_json) as progress:
        bar = progress.add_task("copying", total=len(plan.tasks))

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            progress.advance(bar)

        carry_out(done)


@contextlib.contextmanager
def _place(plan: Plan) -> Any:
    """Gives what carries out a plan, in the place that the plan is for."""
    if not plan.is_online:
        sessions = sessions_folder()
        if str(sessions) != plan.place:
            raise Failure(
                f"the plan is for the sessions in {plan.place}; the cache folder's are in {sessions}"
            )
        yield lambda done: apply_offline(plan, all_runs(root()), sessions, done)
        return
    connection = choose_place(None, disk_fallback=False).connection
    if connection is None:
        raise Failure(f"the plan is for the server {plan.place}; ClearML is set offline, or not configured")
    if connection.host != plan.place:
        raise Failure(f"the plan is for the server {plan.place}; the configured one is {connection.host}")
    with contextlib.closing(Transport(connection)) as transport:
        yield lambda done: apply_online(transport, plan, done)


def sessions_folder() -> Path:
    """The folder of the offline sessions on this disk."""
    return root().parent / "offline"


def _where(plan: Plan) -> str:
    return f"on the server {plan.place}" if plan.is_online else f"in {plan.place}"


def _counts_json(plan: Plan) -> dict[str, int]:
    copies = [copy for task in plan.tasks for copy in task.copies]
    single = sum(copy.source.title == SUMMARY for copy in copies)
    return {
        "tasks": len(plan.tasks),
        "curves": len(copies) - single,
        "single_values": single,
        "conflicts": len(plan.conflicts),
        "left_alone": len(plan.left_alone),
    }


def _counts(plan: Plan) -> str:
    counts = _counts_json(plan)
    kinds = ((counts["curves"], "curve"), (counts["single_values"], "single value"))
    what = " and ".join(counted(number, kind) for number, kind in kinds if number)
    return f"{what} of {counted(counts['tasks'], 'task')} to copy" if what else "nothing to copy"


def _print_plan(plan: Plan) -> None:
    _print_copies(plan.tasks)
    conflicts, left = plan.conflicts, plan.left_alone
    if conflicts:
        echo("", f"{counted(len(conflicts), 'conflict')}, left alone:")
        echo_first([_left_line(one) for one in conflicts])
    if left:
        echo("", f"{counted(len(left), 'task')} left alone:")
        by_reason: dict[str, list[str]] = {}
        for one in left:
            by_reason.setdefault(one.why, []).append(one.name or one.id)
        echo_first([f"{some(names, MAX_NAMES_SHOWN)}: {why}" for why, names in by_reason.items()])
        if any(one.copies for one in left):
            echo("what would be copied in them:")
            _print_copies(left)


def _print_copies(tasks: Iterable[TaskPlan | LeftAlone]) -> None:
    counts = Counter(copy for task in tasks for copy in task.copies)
    width = max((len(str(copy)) for copy in counts), default=0)
    echo_first([f"{copy!s:{width}}  {counted(count, 'task')}" for copy, count in counts.most_common()])


def _left_line(left: LeftAlone) -> str:
    return ": ".join([left.name or left.id, *map(str, left.copies), left.why])


def _print_outcomes(plan: Plan, outcomes: Sequence[Outcome], as_json: bool) -> None:
    changed = [outcome for outcome in outcomes if outcome.copied]
    copied, points = sum(len(each.copied) for each in changed), sum(each.points for each in changed)
    problems = [(each.task, why) for each in outcomes for why in each.problems]
    if as_json:
        left = [{"id": task.id, "name": task.name, "why": why} for task, why in problems]
        facts = {"plan": plan.id, "tasks": len(changed), "names": copied, "points": points}
        print_json({**facts, "left_alone": left})
        return
    what = f"{counted(copied, 'name')} ({counted(points, 'data point')})"
    echo("", f"copied {what} in {counted(len(changed), 'task')}")
    if before := sum(not (each.copied or each.problems) for each in outcomes):
        echo(f"nothing was left to copy in {counted(before, 'task')}")
    if problems:
        echo("left alone, as the plan does not fit any more:")
        echo_first([f"{task.name or task.id}: {why}" for task, why in problems])
