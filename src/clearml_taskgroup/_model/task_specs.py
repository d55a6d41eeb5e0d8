"""From the arguments of `group.task` and search spaces to task specs; duplicate keys are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from .._text import is_storable, shown
from ..errors import ArgumentError, DuplicateTaskError, ParameterError
from .arguments import checked_tags
from .display_name import display_name
from .identity import canonical_task_name, flatten, task_key
from .name_template import fill_task_name
from .parameter_json import copied_parameters, stored_json
from .specs import TaskSpec


@attrs.define
class TaskSpecs:
    """Creates the specs of one run's tasks: keys, names and indices, each unique in the run.

    Args:
        group: The group's name.
        task_name: The template of the ClearML tasks' names.
    """

    group: str
    task_name: str
    _specs_by_key: dict[str, TaskSpec] = attrs.field(factory=dict)
    _key_of_name: dict[str, str] = attrs.field(factory=dict)
    _next_index: int = 0
    _earlier_indices: dict[str, int] = attrs.field(factory=dict)
    _used_indices: set[int] = attrs.field(factory=set)

    def keep_indices(self, indices: Mapping[str, int]) -> None:
        """Keeps the indices that keys had in an earlier run: no other task gets one of them."""
        self._earlier_indices.update(indices)
        self._used_indices.update(indices.values())

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
        if params is not None and not isinstance(params, Mapping):
            raise ArgumentError("params", params, "a dict of parameter to value")
        for what, text in (("name", name), ("key", key)):
            if text is not None and (not isinstance(text, str) or not text.strip() or not is_storable(text)):
                raise ArgumentError(what, text, "text that is not blank and has no lone surrogates")
        flat = copied_parameters(flatten(params or {}))
        for name_, value in flat.items():
            stored_json(value, name_, lenient=True)  # also with key=, what cannot be stored is refused
        if key is None:
            key = task_key(flat) if flat else name
        if key is None:
            raise ArgumentError("params", None, "a dict, {'C': 1}, or instead name='baseline' or key='…'")
        name = name or _display_name_or_blank(flat) or key
        if self._key_of_name.get(name, key) != key:
            name = f"{name}~{key}"
        index = self._free_index(key, self._next_index if index is None else index)
        return TaskSpec(key, name, self.task_name_of(name, key, index), index, 1, flat, checked_tags(tags))

    def task_name_of(self, name: str, key: str, index: int) -> str:
        """Returns the name of a ClearML task.

        Raises:
            ServerNameError: A ClearML server would refuse it.
        """
        fields = {"group": self.group, "task": name, "key": key, "index": str(index)}
        return canonical_task_name(fill_task_name(self.task_name, fields))

    def make_all(self, configurations: list[dict[str, Any]]) -> list[TaskSpec]:
        """Creates the specs of a search space's configurations, without adding them.

        Their indices are reserved, unless an error is raised.

        Raises:
            DuplicateTaskError: Two of them have the same key, or the run has a task with the key of one.
        """
        specs: dict[str, TaskSpec] = {}
        before, names, first = set(self._used_indices), dict(self._key_of_name), self._next_index
        try:
            for offset, params in enumerate(configurations):
                spec = self.make(params, index=first + offset)
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
        self.reserve_indices(len(configurations))
        return list(specs.values())

    def _free_index(self, key: str, index: int) -> int:
        """Returns the index that the key had in an earlier run, else `index`, or the next free one."""
        if key in self._earlier_indices:
            return self._earlier_indices[key]
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


def _display_name_or_blank(flat: Mapping[str, Any]) -> str:
    try:
        return display_name(flat, short=True)
    except ParameterError:  # key= was given for parameters that have no key of their own
        return ""


def _description(spec: TaskSpec) -> str:
    return (
        f"the task {spec.name!r} ({shown(dict(spec.params))})" if spec.params else f"the task {spec.name!r}"
    )
