"""Says what to write where arguments of a `task.metric(…)` call are in each other's place. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._text import shown
from ..errors import ArgumentError, ReportError
from .report_values import to_iteration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def check_arguments(call: str, names: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuses data in place of the iteration or of a path, and a figure of another library.

    Args:
        call: The call's name.
        names: Its parameters, in order.
        given: Parameter → value.

    Raises:
        ReportError: An argument belongs to another parameter or another call.
    """
    iteration, path, figure = given.get("iteration"), given.get("local_path"), given.get("figure")
    wrong = {
        "iteration": not _may_be_iteration(iteration),
        "local_path": path is not None and not _is_path(path),
        "figure": _call_for_figure(figure) not in ("", call),
    }
    for name in filter(wrong.get, wrong):
        value = given[name]
        raise ReportError(f"{call}() was given {name}={_short(value)}; {_advice(call, names, value)}")


def twice_error(call: str, names: Sequence[str], first: Any) -> ReportError:
    """Makes the error of a call that got the iteration by position as well as by keyword.

    Args:
        call: The call's name.
        names: Its parameters, in order.
        first: What is in the iteration's position.
    """
    return ReportError(
        f"{call}() was given {_short(first)} in the position of the iteration, and iteration= as well; "
        f"{_advice(call, names, first)}"
    )


def _may_be_iteration(value: Any) -> bool:
    """Whether it is one, which may be a tensor of one element, or another number, such as 0.5."""
    if value is None or _is_number(value):
        return True
    try:
        to_iteration(value)
    except ArgumentError:
        return False
    return True


def _is_number(value: Any) -> bool:
    from numbers import Number  # only errors need it

    return isinstance(value, Number)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) or hasattr(value, "__fspath__")


def _short(value: Any) -> str:
    return shown(value, 60) if isinstance(value, str) or _is_number(value) else f"<{type(value).__name__}>"


def _call_for_figure(value: Any) -> str:
    if hasattr(value, "to_plotly_json"):
        return "report_plotly"
    return "report_matplotlib_figure" if hasattr(value, "savefig") else ""


def _advice(call: str, names: Sequence[str], value: Any) -> str:
    figure = _call_for_figure(value)
    if figure:
        return f"write {figure}(figure, iteration)"
    if call == "report_table":
        data = "csv" if _is_path(value) else "table_plot"
    elif call in ("report_image", "report_media"):
        contents = "image" if call == "report_image" else "stream"
        data = "local_path" if _is_path(value) else contents
    else:
        data = next(name for name in names if name != "iteration")
    return f"write {call}({data}=…, iteration=…)"
