"""What the callbacks of XGBoost, LightGBM and CatBoost share: their task, and values by evaluation set."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import attrs

from .._log import warn
from ..errors import HandleError, LeftOutWarning
from ._metric_names import Parts, Relay, current_task

if TYPE_CHECKING:
    from .._reporting import BoundTask
    from .._task import GroupTask


@attrs.define(eq=False)
class EvaluationLog:
    """Reports metrics of evaluation sets; each training begins with `start`.

    Estimators hold their callbacks, and are pickled: for a worker process, which reports to the task, and as
    a model's file, which must load long after the task has ended. So only `start` unpickles the task.

    Args:
        task: The task, or `task.bind(…)`; None for the task whose block this is when training begins.
        context: The template's field for the evaluation set; None for `split`, if the template has it.
    """

    task: GroupTask | BoundTask | None
    context: str | None
    _pickled_task: bytes | HandleError | None = attrs.field(default=None, init=False)
    _parts: dict[str, Parts] = attrs.field(factory=dict, init=False)
    _relay: Relay = attrs.field(init=False)
    _is_empty: bool = attrs.field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        if self.task is not None:
            self._relay = self._new_relay()  # an argument that is wrong raises before the training

    def start(self) -> None:
        if isinstance(self._pickled_task, HandleError):
            raise self._pickled_task
        if self._pickled_task is not None:
            self.task, self._pickled_task = pickle.loads(self._pickled_task), None
        self._is_empty = True
        self._relay = self._new_relay()

    def put(self, split: str, metric: str, value: Any, iteration: int, std: Any = None) -> None:
        """Reports the value of one evaluation set; in cross-validation also its spread over the folds."""
        self._is_empty = False
        spread = {} if std is None else {f"std_{metric}": std}
        for own, number in {metric: value, **spread}.items():
            name = f"{split}_{own}"
            self._parts[name] = (own, split)
            self._relay.put({name: number}, iteration)

    def finish(self, argument: str) -> None:
        """Warns, once per group, if nothing was reported in the whole training.

        Args:
            argument: The framework's argument for evaluation sets.
        """
        owner = self._relay.owner
        if self._is_empty and "no evaluation set" not in owner._run.warned:
            owner._run.warned.add("no evaluation set")
            warn(
                f"a training of the task {owner.name!r} has no evaluation set with a metric, so nothing was "
                f"logged: give it {argument}, or eval_set=[…] to an estimator's fit()",
                LeftOutWarning,
            )

    def put_best(self, iteration: int, score: float | None) -> None:
        """Reports what early stopping has chosen, as single values."""
        known = {} if score is None else {"best_score": score}
        self._relay.put({"best_iteration": iteration, **known}, None)

    def _new_relay(self) -> Relay:
        return Relay(current_task(self.task), self._parts.get, self.context)

    def __deepcopy__(self, memo: Any) -> EvaluationLog:
        copied = EvaluationLog(self.task, self.context)
        copied._pickled_task = self._pickled_task
        return copied

    def __getstate__(self) -> Any:
        pickled = self._pickled_task
        if self.task is not None:
            try:
                pickled = pickle.dumps(self.task)
            except Exception as error:  # a model's file must be written all the same
                advice = "give the copy a new callback, TaskCallback(task)"
                pickled = HandleError(str(self.task), f"was not pickled with its callback: {error}", advice)
        return pickled, self.context

    def __setstate__(self, state: Any) -> None:
        self.task, self._parts, self._is_empty = None, {}, True
        self._pickled_task, self.context = state
