"""Errors: one family, sentences made of the facts, facts as attributes, and safe to pickle."""

from __future__ import annotations

import contextlib
import copy
import errno
import importlib
import inspect
import pickle
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_taskgroup import TaskGroupError, TaskGroupWarning, errors
from clearml_taskgroup._clearml.api_errors import Refused

EXAMPLES: list[tuple[BaseException, type[BaseException], list[str]]] = [
    (
        errors.TaskAbortedError("C=1", "stopped", "Stopped by Jane"),
        BaseException,
        ["task 'C=1' was stopped", "(Stopped by Jane)", "`with task:`"],
    ),
    (
        errors.TaskAbortedError("svm", "stopped", "", "1234", of_group=True),
        BaseException,
        ["group 'svm' was stopped by somebody else, so all"],
    ),
    (errors.TemplateError("{a", "has a lone '{'", "close it"), ValueError, ["'{a'", "lone", "close it"]),
    (errors.MissingFieldError("split", "{metric}/{split}"), ValueError, ["'split'", "'{metric}/{split}'"]),
    (
        errors.UnknownFieldError("fold", "{metric}", ["split"]),
        ValueError,
        ["'fold'", "'{metric}'", "{split}"],
    ),
    (errors.UnknownFieldError("task"), ValueError, ["'task'", "choose another name"]),
    (errors.ContextValueError("split", [1]), TypeError, ["split=[1]", "a list", "split=str(…)"]),
    (
        errors.BlankNameError("{m}", "gives a blank title", "give text"),
        ValueError,
        ["the template '{m}' gives a blank title; give text"],
    ),
    (errors.NameCollisionError(("a", "b"), "x", "y", "{m}"), ValueError, ["x and y", "'a'", "'b'", "'{m}'"]),
    (
        errors.TooManyNamesError("C=1", "has 2", "use iteration"),
        ValueError,
        ["task 'C=1' has 2; use iteration"],
    ),
    (errors.VocabularyError("says two things"), ValueError, ["says two things"]),
    (
        errors.UnknownMetricError("los", ["loss", "acc"], "loss"),
        ValueError,
        ["'los'", "mean 'loss'?", "loss, acc"],
    ),
    (errors.MetricValueError("loss", "x"), TypeError, ["'loss' is 'x', a str", "float(…)"]),
    (errors.ReportError("report() was given 3"), TypeError, ["report() was given 3"]),
    (errors.NonFiniteError("'loss'", "is inf", "skip it"), ValueError, ["'loss' is inf; skip it"]),
    (errors.ParameterError("f", "is a lambda", "give key="), ValueError, ["'f' is a lambda", "give key="]),
    (
        errors.NoSuchRunError("run 3 of 'digits/svm'", ["the disk below /c"], ["run 1"]),
        LookupError,
        ["run 3", "/c", "run 1"],
    ),
    (
        errors.NoSuchRunError("the group digits/swep", ["this disk"], (), "swep", ["other", "sweep"]),
        LookupError,
        ["this disk, where its project has", "did you mean 'sweep'?", "other, sweep"],
    ),
    (errors.NoHistoryError("in the mode 'disabled'", "do this"), LookupError, ["'disabled'", "do this"]),
    (
        errors.MissingExtraError("pandas", "pandas", "to_pandas()"),
        ImportError,
        ["to_pandas() needs pandas", "pip install 'clearml-taskgroup[pandas]'"],
    ),
    (
        errors.DuplicateTaskError("abc", "one", "two", (2, 5)),
        ValueError,
        ["'abc'", "the space has it twice", "2 and 5", "leave one"],
    ),
    (
        errors.TaskClosedError("C=1", "completed", True, unused=True),
        RuntimeError,
        ["Nothing was reported", "start a new run"],
    ),
    (
        errors.SweepOverError("this sweep", "has ended", "use group.tasks(…)"),
        RuntimeError,
        ["this sweep has ended; use group.tasks(…)"],
    ),
    (
        errors.DuplicateTaskError("abc", "one", "two"),
        ValueError,
        ["'abc'", "one", "two", "if_exists='return'"],
    ),
    (errors.UnknownTaskError("C=1", [], ["C=2"]), LookupError, ["no task matches C=1", "C=2"]),
    (errors.UnknownTaskError("C=1", ["a", "b"], []), LookupError, ["2 tasks match C=1: a, b", "key="]),
    (errors.UnknownTaskError("C=1", [], []), LookupError, ["no tasks yet"]),
    (
        errors.ServerNameError("the project 'ab'", "is short", "choose a longer one"),
        ValueError,
        ["the project 'ab' is short; choose a longer one"],
    ),
    (errors.SpaceError("the space", "is 3", "give a dict"), ValueError, ["the space is 3; give a dict"]),
    (
        errors.NoCurrentTaskError("group"),
        RuntimeError,
        ["no current group here", "with group.activate():", "pass the group as an argument"],
    ),
    (
        errors.GroupStateError("sweep", "is not open", "open it"),
        RuntimeError,
        ["'sweep' is not open; open it"],
    ),
    (errors.TaskClosedError("C=1", "failed"), RuntimeError, ["'C=1' has ended (failed)"]),
    (
        errors.TaskClosedError("C=1", "completed", True),
        RuntimeError,
        ["no more data; indent the report into `with task:`", "list(group.sweep(…))", "group.tasks(…)"],
    ),
    (errors.ServerError("503 Service Unavailable"), ConnectionError, ["server: 503 Service Unavailable"]),
    (errors.LoginError("401"), errors.ServerError, ["server: 401", "clearml.conf", "mode='offline'"]),
    (
        errors.RunInUseError("run-7"),
        RuntimeError,
        ["run-7 is still in use", "run= (or CLEARML_TASK"],
    ),
    (errors.RunInUseError("run-7", group="a/b"), RuntimeError, ["the run run-7 of a/b is still in use"]),
    (errors.TaskClosedError("C=1", "completed", done=True), RuntimeError, ["if task.done: continue"]),
    (errors.NameCollisionError(("a", "b"), "x", "y", "{m}", joined=True), ValueError, ["stored as 'a-b'"]),
    (errors.ModeError("mode", "is online", "leave it"), RuntimeError, ["mode is online; leave it"]),
    (errors.ArgumentError("of", "x", "'last'"), ValueError, ["of='x' was given; expected 'last'"]),
    (
        errors.DeliveryError(1234, ["a", "b"], "/tmp/x", "disk full"),
        Exception,
        ["1,234", "a, b", "/tmp/x", "disk full"],
    ),
    (
        errors.DeliveryError(2, ["a"], "http://x", "no answer", "run me", outbox="/tmp/outbox"),
        Exception,
        ["2 points of 1 task (a) wait in /tmp/outbox: no answer; deliver them with: run me"],
    ),
    (
        errors.DeliveryError(9, ["a"], "http://x", "disk full", "run me", outbox="/tmp/outbox", lost=2),
        Exception,
        ["(a) are not on the server: disk full; 2 are lost, the others wait in /tmp/outbox; deliver them"],
    ),
    (errors.StoreError("/tmp/x", "disk full"), OSError, ["/tmp/x", "disk full; check it"]),
    (
        errors.StoreError("/x", "full", errno.ENOSPC, "the end"),
        OSError,
        ["the end to /x: full; free some space"],
    ),
    (
        errors.RunLogError("/x.jsonl", "is odd", "repair it"),
        ValueError,
        ["the run log '/x.jsonl' is odd; repair"],
    ),
    (
        errors.SubmitError("gpu", "the group is offline", "leave it out"),
        RuntimeError,
        ["'gpu': the group is offline; leave it out"],
    ),
    (
        errors.UnknownQueueError("gup", "is away", "create it"),
        LookupError,
        ["the queue 'gup' is away; create it"],
    ),
    (
        errors.TaskReopenError("C=1", "has not ended", "end it"),
        RuntimeError,
        ["the task 'C=1' has not ended;"],
    ),
    (errors.QueuedTaskError("C=1", "is queued", "wait"), RuntimeError, ["the task 'C=1' is queued; wait"]),
    (
        errors.WaitTimeoutError(1.5, "2 queued", ["C=1", "C=2"]),
        TimeoutError,
        ["after 1.5 s 2 tasks", "(2 queued): C=1, C=2", "group.cancel()"],
    ),
    (errors.AgentTaskError("C=1", "is lost", "find it"), RuntimeError, ["task 'C=1' is lost; find it"]),
    (
        errors.AgentParameterError("C", "is 'fast'", "fix it"),
        ValueError,
        ["the parameter 'C' is 'fast'; fix it"],
    ),
    (errors.HandleError("C=1", "is far", "come"), RuntimeError, ["the task 'C=1' is far; come"]),
    (
        errors.FunctionPickleError("<lambda>", "cannot be sent", "move it"),
        TypeError,
        ["<lambda> cannot be sent; move it"],
    ),
    (errors.ValuePickleError("C=1", "gave a lock", "stop"), TypeError, ["task 'C=1' gave a lock; stop"]),
    (errors.CarriedError("Odd: 1", "Traceback"), RuntimeError, ["Odd: 1"]),
    (
        errors.CallTimeoutError("C=1", 600.0),
        TimeoutError,
        ["the task 'C=1' was not finished", "longer than timeout=600 s", "a larger timeout="],
    ),
    (
        errors.WorkerDiedError("C=1", "was killed", "resume it"),
        RuntimeError,
        ["the task 'C=1' was killed; resume it"],
    ),
    (errors.WorkerStartError("it ended"), RuntimeError, ["it ended", 'if __name__ == "__main__":']),
    (
        errors.NoSuchResultError("los", ["loss"], "'loss'"),
        LookupError,
        ["no task has a value for los", "did you mean 'loss'?", "there is: loss"],
    ),
    (
        errors.NoSuchResultError("loss", [], task="the task C=1 (failed: bad)"),
        LookupError,
        ["the task C=1 (failed: bad) has no value for loss", "it reported nothing"],
    ),
    (
        errors.AmbiguousRunError(1, ["a" * 32, "b" * 32]),
        LookupError,
        ["the number 1 may mean 2 runs of the group: aaa", "give the id of one, run='aaaaaaaaaaaa'"],
    ),
    (
        errors.AmbiguousResultError("loss", ["a", "b"], "split='a'"),
        LookupError,
        ["loss may mean a, b", "choose one, as with split='a'"],
    ),
    (
        errors.NoSuchParameterError("over", "sed", "one of the parameters C, seed", known=["C", "seed"]),
        ValueError,
        ["over='sed' was given", "(did you mean 'seed'?)", "one of the parameters C, seed"],
    ),
    (
        errors.NoSuchParameterError("over", None, "one of the parameters C", ["C"], ["seed", "fold"]),
        ValueError,
        ["over= was not given, and no task has a parameter seed or fold; expected one of the parameters C"],
    ),
    (
        errors.NoSuchParameterError(
            *("over", "fold", "one of the parameters C", ["C"]), context_field="fold", metric="accuracy"
        ),
        ValueError,
        ["over='fold' was given", "fold is context of accuracy", "with fold as its parameter"],
    ),
]

CLASSES = [
    thing
    for _, thing in inspect.getmembers(errors, inspect.isclass)
    if thing.__module__.startswith("clearml_taskgroup.")
]


def test_tracebacks_name_the_public_module() -> None:
    public = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BaseException)
    ]
    assert {kind.__module__ for kind in public} == {errors.__name__}


def private_exceptions() -> Iterator[tuple[str, str]]:
    """Module and name of each exception class outside of `errors`, by the names of the base classes."""
    root = Path(errors.__file__).parents[1]
    paths = [path for path in root.rglob("*.py") if path.parent.name != "errors"]
    classes = [
        (path, *found)
        for path in paths
        for found in re.findall(r"^class (\w+)\((.+)\):", path.read_text(), flags=re.MULTILINE)
    ]
    exceptions = {kind.__name__ for kind in CLASSES}
    for _ in range(3):  # kinds of kinds
        for _, name, bases in classes:
            if re.search(rf"Exception|SystemExit|\b({'|'.join(exceptions)})\b", bases):
                exceptions.add(name)
    for path, name, _ in classes:
        if name in exceptions:
            yield ".".join(path.relative_to(root.parent).with_suffix("").parts), name


def test_no_traceback_shows_the_name_of_a_private_class() -> None:
    """A private kind of a public error has that one's name; other exceptions are caught in the package."""
    caught = {"TooLarge", "QueueGone", "SignalExit", "Failure", "NoAnswer", "NotChecked"}
    found = {(module, name) for module, name in private_exceptions() if name not in caught}
    assert len(found) > 9
    for module, name in found:
        with contextlib.suppress(ImportError):  # an integration, whose framework is not installed
            kind = getattr(importlib.import_module(module), name)
            public = kind.__mro__[1]
            assert kind.__module__ == errors.__name__
            assert kind.__name__ == kind.__qualname__ == public.__name__
            assert issubclass(kind, getattr(errors, kind.__name__))


def test_a_private_kind_of_an_error_is_itself_after_pickling() -> None:
    error = Refused("no such task", 400, 101)
    error.add_note("said the server")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is Refused
        assert vars(other) == vars(error)
        assert traceback.format_exception_only(other) == [
            "clearml_taskgroup.errors.ServerError: the ClearML server: no such task\n",
            "said the server\n",
        ]


def test_every_error_has_an_example_here() -> None:
    """No error class goes untested, and each is of the one family; an abort is no failure."""
    raised = {type(error) for error, _, _ in EXAMPLES}
    family = {kind for kind in CLASSES if issubclass(kind, BaseException) and not issubclass(kind, Warning)}
    assert raised == family - {TaskGroupError, errors.AdviceError}
    assert all(issubclass(kind, TaskGroupError) for kind in family - {errors.TaskAbortedError})
    assert not issubclass(errors.TaskAbortedError, Exception)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, Warning)])
def test_every_warning_is_of_one_family(kind: type[Warning]) -> None:
    """All warnings can be filtered as one, and are shown by default."""
    assert issubclass(kind, TaskGroupWarning)
    assert issubclass(kind, UserWarning)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_says_when_you_meet_it(kind: type[Exception]) -> None:
    """The docstring tells the situation, as a reader of the reference needs it."""
    assert (kind.__doc__ or "").startswith(("Raised ", "Recorded ", "Given ", "The base of "))


@pytest.mark.parametrize(("error", "base", "parts"), EXAMPLES)
def test_sentences_are_made_of_the_facts(
    error: BaseException, base: type[BaseException], parts: list[str]
) -> None:
    """Each error says what was given and what to do, and is also the builtin that one would expect."""
    assert isinstance(error, base)
    for part in parts:
        assert part in str(error)


@pytest.mark.parametrize(("error", "base", "parts"), EXAMPLES)
def test_errors_survive_pickling_and_copying(
    error: BaseException, base: type[BaseException], parts: list[str]
) -> None:
    """An error that crosses a process border keeps its class, its facts and its sentence."""
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)


CLOSED, REOPEN = errors.TaskClosedError, "write `with task.reopen(): …`"
NO_PARAMETER, EXPECTED = errors.NoSuchParameterError, "but no task has such a parameter; expected a name"
ENDS: list[tuple[BaseException, str]] = [
    (errors.MissingFieldError("task", "{task}"), "outside of a group write render(…, task=…)"),
    (errors.MissingFieldError("split", "{metric}"), "always means val, {split=val} in the template"),
    (errors.MissingFieldError("fold", "{metric}"), "always means 0, {fold=0} in the template"),
    (errors.UnknownFieldError(3), "but the names of context are text: write split='val'"),  # type: ignore[arg-type]
    (
        errors.UnknownFieldError("x", "{metric}"),
        "(its fields: none but {metric}); add {x} to the template or leave x= out",
    ),
    (errors.UnknownFieldError("x", "{metric}", ["split", "fold"]), "add {x} to the template or leave x= out"),
    (
        errors.UnknownFieldError("splt", "{metric}", ["split"]),
        "; did you mean split=? Otherwise add {splt} to the template",
    ),
    (
        errors.UnknownFieldError("epoch", "{metric}", ["split"]),
        "; did you mean iteration=? Otherwise add {epoch} to the template",
    ),
    (
        errors.ContextValueError("a", "\ud800"),
        "has a lone surrogate, which cannot be stored; write it as proper text",
    ),
    (errors.UnknownMetricError("los", ["acc"]), "to the aliases of the metric that it stands for"),
    (errors.NoSuchResultError("loss", []), "no task has a value for loss; nothing was reported"),
    (errors.NoSuchResultError("loss", [], note="2 are NaN"), "no task has a value for loss; 2 are NaN"),
    (
        errors.NoSuchResultError("a", ["b"], "c", note="d"),
        "no task has a value for a (did you mean c?); d; there is: b",
    ),
    (NO_PARAMETER("where", "C", "a name"), f"where(C=…) was given, {EXPECTED}"),
    (NO_PARAMETER("where", "a b", "a name"), f"where({{'a b': …}}) was given, {EXPECTED}"),
    (NO_PARAMETER("over", "C", "a name"), f"over='C' was given, {EXPECTED}"),
    (
        NO_PARAMETER("where", None, "a name", looked_for=["C"]),
        "where= was not given, and no task has a parameter C; expected a name",
    ),
    (
        errors.NoSuchRunError("run 1", ["a", "b"]),
        "run 1 was not found; looked at a and b, which has: no runs",
    ),
    (
        errors.NoSuchRunError("run 1", ["a"], others=["y/sweep", "z/a"], label="x/sweep"),
        "where its project has no groups; there is: y/sweep, z/a (did you mean 'y/sweep'?)",
    ),
    (
        errors.AmbiguousRunError("ab", ["ab1", "ab2"]),
        "the beginning 'ab' may mean 2 runs of the group: ab1, ab2; give the id of one, run='ab1'",
    ),
    (
        CLOSED("a", "open", elsewhere="host 7"),
        "host 7 (open); skip it: `if task.done: continue` (in a Hydra job `return`)",
    ),
    (CLOSED("a", "completed", done=True), "(in a Hydra job `return`), or add to it: `with task.reopen(): …`"),
    (
        CLOSED("a", "failed", call="close"),
        "so close() has no effect; the first status stays: call it in the task's block, before that ends",
    ),
    (CLOSED("a", "completed", call="with"), f"cannot be entered a second time; to add to it, {REOPEN}"),
    (CLOSED("a", "failed", call="with"), "if_exists='retry'), or open the group with resume=True"),
    (
        CLOSED("a", "completed", call="with", group_ended=True),
        "open the group again, with resume=True to add to this run",
    ),
    (
        CLOSED("a", "failed", call="with", group_ended=True),
        "open the group again, with resume=True to add to this run",
    ),
    (
        CLOSED("a", "completed"),
        "before its block ends, before close() and before mark_…(), or reopen it: `with task.reopen(): …`.",
    ),
    (CLOSED("a", "failed"), "before close() and before mark_…()."),
    (
        CLOSED("a", "failed", group_ended=True),
        "as has its group, and accepts no more data; report before the group's block ends.",
    ),
    (CLOSED("a", "failed", True, group_ended=True), "use group.tasks(…) to have all of them open at once."),
]


@pytest.mark.parametrize(("error", "end"), ENDS)
def test_each_fact_has_its_part_of_the_sentence(error: BaseException, end: str) -> None:
    """What is not given leaves nothing behind."""
    assert str(error).endswith(end)


def test_messages_do_nothing_to_a_terminal() -> None:
    """Names in messages come from records and servers, too."""
    error = errors.NoSuchResultError("m\x1b[31m", ["\x9b2J", "\u202ex"], task="the task \x07")
    assert str(error) == r"the task \x07 has no value for m\x1b[31m; there is: \x9b2J, \u202ex"
    assert str(errors.CarriedError("two\nlines\x1b")) == "two\nlines\\x1b"
    assert str(errors.DriftWarning("two\nlines\x1b")) == "two\nlines\\x1b"


def test_an_abort_is_as_short_as_an_error() -> None:
    """Names and reasons come from servers, too."""
    text = str(errors.TaskAbortedError("C=1", "stopped", "\x1b[31m" + "x" * 1000))
    assert len(text) <= 500
    assert "\x1b" not in text


def test_long_lists_are_cut() -> None:
    """An error about hundreds of tasks names six and counts the rest."""
    text = str(errors.DeliveryError(5, [f"t{n}" for n in range(500)], "there", "no time"))
    assert "500 tasks (t0, t1, t2, t3, t4, t5 and 494 more)" in text
    assert len(str(errors.MetricValueError("loss", "x" * 1000))) < 250


def test_a_metric_value_says_what_to_do_with_a_dict() -> None:
    """A nested dict is told of levels=, a key that is no text of the form of the call."""
    assert 'levels=("split", "metric")' in str(errors.MetricValueError("val", {"loss": 1.0}))
    advice = "3 is an int; a metric's name is text: report({'loss': 0.3})"
    assert advice in str(errors.MetricValueError(3, None))


def test_facts_are_arguments_with_defaults_and_attributes() -> None:
    """By position or by name, also those of a base class; anything else is refused."""
    by_name = errors.LoginError(problem="refuses the credentials")
    assert (by_name.problem, by_name.args) == ("refuses the credentials", (by_name.problem, by_name.advice))
    assert errors.LoginError("a", "b").advice == "b"
    wrong: list[tuple[tuple[str, ...], dict[str, str]]] = [
        ((), {}),
        (("a", "b", "c"), {}),
        (("a",), {"x": "y"}),
    ]
    for args, named in wrong:
        with pytest.raises(TypeError, match=r"LoginError\(\) takes problem, advice"):
            errors.LoginError(*args, **named)
    assert errors.MissingExtraError("a", "b", "c").args == ("a", "b", "c")
