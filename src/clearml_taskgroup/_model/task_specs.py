"""What a user asks for → task specs: key, names, place in the space; doubles are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ..errors import ArgumentError, DuplicateTaskError, ParameterError
from .identity import canonical_task_name, display_name, flatten, task_key
from .name_template import fill_task_name
from .specs import TaskSpec


@attrs.define
class Specs:
    """The specs of one run's tasks.

    Args:
        group: The group's name.
        task_name: The template of the ClearML tasks' names.
    """

    group: str
    task_name: str
    _taken: dict[str, TaskSpec] = attrs.field(factory=dict)
    _names: dict[str, str] = attrs.field(factory=dict)
    _next_index: int = 0
    _kept: dict[str, int] = attrs.field(factory=dict)
    _places: set[int] = attrs.field(factory=set)

    def keep(self, places: Mapping[str, int]) -> None:
        """Keeps the places that keys had in an earlier run, so that no other task gets one of them."""
        self._kept.update(places)
        self._places.update(places.values())

    def reserve(self, count: int) -> None:
        """Sets places in the space aside."""
        self._next_index += count

    def one(
        self,
        params: Mapping[str, Any] | None,
        *,
        index: int | None = None,
        name: str | None = None,
        key: str | None = None,
        tags: Iterable[str] = (),
    ) -> TaskSpec:
        """Makes the spec of one task; nothing is taken by it yet.

        Raises:
            ArgumentError: Neither parameters nor name nor key were given.
            ParameterError: A parameter cannot be part of an identity.
            ServerNameError: A ClearML server would refuse the task's name.
        """
        if params is not None and not isinstance(params, Mapping):
            raise ArgumentError("params", params, "a dict of parameter → value")
        for what, text in (("name", name), ("key", key)):
            if text is not None and (not isinstance(text, str) or not text.strip()):
                raise ArgumentError(what, text, "text that is not blank")
        flat = flatten(params or {})
        if key is None:
            key = task_key(flat) if flat else name
        if key is None:
            raise ArgumentError("params", None, "a dict, {'C': 1}, or instead name='baseline' or key='…'")
        name = name or _readable(flat) or key
        if self._names.get(name, key) != key:
            name = f"{name}~{key}"
        index = self._place(key, self._next_index if index is None else index)
        return TaskSpec(key, name, self.task_name_of(name, key, index), index, 1, flat, checked_tags(tags))

    def task_name_of(self, name: str, key: str, index: int) -> str:
        """Gives the name of a ClearML task.

        Raises:
            ServerNameError: A ClearML server would refuse it.
        """
        fields = {"group": self.group, "task": name, "key": key, "index": str(index)}
        return canonical_task_name(fill_task_name(self.task_name, fields))

    def many(self, points: list[dict[str, Any]]) -> list[TaskSpec]:
        """Makes the specs of a space's points, checked against each other and what is taken.

        Their places in the space are set aside, unless they are refused.

        Raises:
            DuplicateTaskError: Two of them have the same key, or one is taken.
        """
        specs: dict[str, TaskSpec] = {}
        before, names, first = set(self._places), dict(self._names), self._next_index
        try:
            for offset, point in enumerate(points):
                spec = self.one(point, index=first + offset)
                self.refuse_double(spec)
                if spec.key in specs:
                    places = 1 + list(specs).index(spec.key), 1 + offset
                    raise DuplicateTaskError(spec.key, _shown(specs[spec.key]), _shown(spec), places)
                specs[spec.key] = spec
                self._places.add(spec.index)
                self._names[spec.name] = spec.key
        except BaseException:
            self._places, self._names = before, names
            raise
        self.reserve(len(points))
        return list(specs.values())

    def _place(self, key: str, place: int) -> int:
        """Gives a key the place that it had, else the one asked for, or where that is taken the next."""
        if key in self._kept:
            return self._kept[key]
        return place if place not in self._places else 1 + max(self._places)

    def refuse_double(self, spec: TaskSpec) -> None:
        """Checks that the run has no task with this key.

        Raises:
            DuplicateTaskError: It has.
        """
        if spec.key in self._taken:
            raise DuplicateTaskError(spec.key, _shown(self._taken[spec.key]), _shown(spec))

    def take(self, specs: Iterable[TaskSpec]) -> None:
        """Notes that tasks have been opened."""
        for spec in specs:
            self._taken[spec.key] = spec
            self._places.add(spec.index)
            self._names[spec.name] = spec.key


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Checks tags: several texts, not one.

    Raises:
        ArgumentError: They are a bare string, or not all text.
    """
    if isinstance(tags, str):
        raise ArgumentError("tags", tags, f"a list of texts, [{tags!r}]")
    listed = tuple(tags)
    for tag in listed:
        if not isinstance(tag, str) or not tag.strip():
            raise ArgumentError("tags", listed, "texts that are not blank")
    return listed


def _readable(flat: Mapping[str, Any]) -> str:
    try:
        return display_name(flat, short=True)
    except ParameterError:  # with key= given, parameters need not be an identity
        return ""


def _shown(spec: TaskSpec) -> str:
    return f"the task {spec.name!r} ({dict(spec.params)!r})" if spec.params else f"the task {spec.name!r}"
