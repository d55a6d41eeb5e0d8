"""From the arguments of `group.task` and search spaces to task specs; duplicate keys are refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._text import is_storable, shown
from ..errors import ArgumentError, DuplicateTaskError, ParameterError
from .arguments import checked_tags
from .display_name import display_name, has_parameter
from .identity import canonical_task_name, flatten, task_key
from .name_template import fill_task_name
from .parameter_json import copied_parameters, stored_json
from .search_space import varying_names
from .specs import TaskSpec

if TYPE_CHECKING:
    from .past import PastTask


class TaskSpecs:
    """Creates the specs of one run's tasks: keys, names and indices, each unique in the run.

    Args:
        group: The group's name.
        task_name: The template of the ClearML tasks' names.
        is_shared: Whether other processes open tasks of the run, too.

    Attributes:
        varying: The parameters that differ between the configurations of a search space.
    """

    def __init__(self, group: str, task_name: str, is_shared: bool = False) -> None:
        self.group = group
        self.task_name = task_name
        self.is_shared = is_shared
        self.varying: dict[str, None] = {}
        self._specs_by_key: dict[str, TaskSpec] = {}
        self._key_of_name: dict[str, str] = {}
        self._next_index = 0
        self._known_indices: dict[str, int] = {}
        self._known_names: dict[str, str] = {}
        self._used_indices: set[int] = set()

    @property
    def number_of_tasks(self) -> int:
        """How many tasks are known: opened, in a search space that was asked for, or of an earlier run."""
        return len(self._known_indices.keys() | self._specs_by_key.keys())

    def keep(self, tasks: Mapping[str, PastTask]) -> None:
        """Keeps the indices and names that keys had in an earlier attempt: no other task gets one of them."""
        self._known_indices.update((key, task.index) for key, task in tasks.items())
        self._used_indices.update(task.index for task in tasks.values())
        self._known_names.update((key, task.name) for key, task in tasks.items() if task.name)
        self._key_of_name.update((name, key) for key, name in self._known_names.items())

    def reserve_indices(self, count: int) -> None:
        """Advances the index of the next task."""
        self._next_index += count

    def make(
        self,
        params: Mapping[str, Any] | None,
        *,
        index: int | None = None,
        name: str | None = None,
        key: str | None = None,
        tags: Iterable[str] = (),
    ) -> TaskSpec:
        """Creates the spec of one task, without adding it.

        Raises:
            ArgumentError: Neither parameters nor name nor key were given.
            ParameterError: A parameter cannot be part of an identity.
            ServerNameError: A ClearML server would refuse the task's name.
        """
        return self._spec(_flat(params), index=index, name=name, key=key, tags=tags)

    def _spec(
        self,
        flat: Mapping[str, Any],
        *,
        index: int | None,
        name: str | None = None,
        key: str | None = None,
        tags: Iterable[str] = (),
        readable: str | None = None,
        sweep: str = "",
    ) -> TaskSpec:
        """Creates a spec; `readable` is its name unless the key has one already."""
        for what, text in (("name", name), ("key", key)):
            if text is not None and (not isinstance(text, str) or not text.strip() or not is_storable(text)):
                raise ArgumentError(what, text, "text that is not blank and has no lone surrogates")
        if key is None:
            key = task_key(flat) if flat else name
        if key is None:
            raise ArgumentError("params", None, "a dict, {'C': 1}, or instead name='baseline' or key='…'")
        if name is None:
            name = self._known_names.get(key) or readable or _display_name_or_blank(flat) or key
        if self._key_of_name.get(name, key) != key:
            name = f"{name}~{key}"
        index = self._free_index(key, self._next_index if index is None else index)
        task_name = self.task_name_of(name, key, index)
        return TaskSpec(key, name, task_name, index, 1, flat, checked_tags(tags), sweep=sweep)

    def task_name_of(self, name: str, key: str, index: int) -> str:
        """Returns the name of a ClearML task.

        Raises:
            ServerNameError: A ClearML server would refuse it.
        """
        fields = {"group": self.group, "task": name, "key": key, "index": str(index)}
        return canonical_task_name(fill_task_name(self.task_name, fields))

    def make_all(
        self, configurations: list[dict[str, Any]], *, again: bool = False, sweep: str = ""
    ) -> list[TaskSpec]:
        """Creates the specs of a search space's configurations, without adding them.

        Their indices are reserved, unless an error is raised.

        Args:
            configurations: The parameters of each.
            again: Whether the run may have tasks with their keys.
            sweep: Which of the script's sweeps or maps they come from; see `TaskSpec`.

        Raises:
            DuplicateTaskError: Two of them have the same key, or the run has a task with the key of one.
        """
        specs: dict[str, TaskSpec] = {}
        before, names, first = set(self._used_indices), dict(self._key_of_name), self._next_index
        listed = list(map(_flat, configurations))
        varying = varying_names(listed)
        keys = [task_key(flat) if flat else None for flat in listed]
        readable = self._readable_names(listed, keys, varying)
        try:
            for offset, (flat, key, name) in enumerate(zip(listed, keys, readable, strict=True)):
                spec = self._spec(flat, index=first + offset, key=key, readable=name, sweep=sweep)
                if not again:
                    self.refuse_duplicate(spec)
                if spec.key in specs:
                    places = 1 + list(specs).index(spec.key), 1 + offset
                    raise DuplicateTaskError(
                        spec.key, _description(specs[spec.key]), _description(spec), places
                    )
                specs[spec.key] = spec
                self._used_indices.add(spec.index)
                self._key_of_name[spec.name] = spec.key
        except BaseException:
            self._used_indices, self._key_of_name = before, names
            raise
        self.varying.update(dict.fromkeys(varying))
        self.reserve_indices(len(configurations))
        self._known_indices.update((spec.key, spec.index) for spec in specs.values())  # if it is made again
        return list(specs.values())

    def _readable_names(
        self, listed: Sequence[Mapping[str, Any]], keys: Sequence[str | None], varying: Sequence[str]
    ) -> list[str]:
        """Makes the names of a space's configurations, all in one form.

        They have the parameters that differ in the space, and those that the names of the run's other tasks
        have. They have all, the differing ones first, if one would be blank or the name of a task outside of
        the space. Other processes that share the run may have another space, so all are in the usual order.
        """
        if not varying or self.is_shared:
            return list(map(_display_name_or_blank, listed))
        among = {*varying, *self._shown_in_names([name for name in listed[0] if name not in varying])}
        names = [_display_name_or_blank(flat, among) for flat in listed]
        of_others = (self._key_of_name.get(name, key) != key for name, key in zip(names, keys, strict=True))
        if all(names) and not any(of_others):
            return names
        return [_display_name_or_blank(flat, first=varying) for flat in listed]

    def _shown_in_names(self, params: Iterable[str]) -> list[str]:
        """Returns the parameters that names of the run's tasks contain."""
        return [param for param in params if any(has_parameter(name, param) for name in self._key_of_name)]

    def _free_index(self, key: str, index: int) -> int:
        """Returns the index that the key had in an earlier run, else `index`, or the next free one."""
        if key in self._known_indices:
            return self._known_indices[key]
        return index if index not in self._used_indices else 1 + max(self._used_indices)

    def refuse_duplicate(self, spec: TaskSpec) -> None:
        """Raises `DuplicateTaskError` if the run has a task with this key."""
        if spec.key in self._specs_by_key:
            raise DuplicateTaskError(spec.key, _description(self._specs_by_key[spec.key]), _description(spec))

    def add(self, specs: Iterable[TaskSpec]) -> None:
        """Adds the specs of tasks that were opened."""
        for spec in specs:
            self._specs_by_key[spec.key] = spec
            self._used_indices.add(spec.index)
            self._key_of_name[spec.name] = spec.key
            self._known_names[spec.key] = spec.name


def _flat(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Checks, flattens and copies parameters."""
    if params is not None and not isinstance(params, Mapping):
        raise ArgumentError("params", params, _params_expected(params))
    flat = copied_parameters(flatten(params or {}))
    for name, value in flat.items():
        stored_json(value, name, lenient=True)  # also with key=, what cannot be stored is refused
    return flat


def _display_name_or_blank(
    flat: Mapping[str, Any], among: Collection[str] | None = None, first: Collection[str] = ()
) -> str:
    try:
        return display_name(flat, short=True, among=among, first=first)
    except ParameterError:  # key= was given for parameters that have no key of their own
        return ""


def _description(spec: TaskSpec) -> str:
    return (
        f"the task {spec.name!r} ({shown(dict(spec.params))})" if spec.params else f"the task {spec.name!r}"
    )


def _params_expected(given: Any) -> str:
    name = shown(given) if isinstance(given, str) else "'baseline'"
    return f"a dict of parameter to value, task({{'lr': 0.1}}); without parameters write task(name={name})"
