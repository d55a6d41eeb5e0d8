"""README and documentation: every block of code runs as typed, and prints what the page shows."""

from __future__ import annotations

import contextlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import clearml_taskgroup
from clearml_taskgroup import figures
from tests.loopback import LoopbackServer
from tests.support.doc_pages import Block, Reader, blocks_of, is_shown, problems_of, run_page
from tests.support.paths import REPOSITORY

README = REPOSITORY / "README.md"
PAGES = sorted(path for path in (REPOSITORY / "docs").rglob("*.md") if "_build" not in path.parts)


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """What runs the pages."""
    reader = Reader()
    yield reader
    reader.close()


RUNNING = [page for page in [README, *PAGES] if blocks_of(page.read_text())]
RUNNING.append(README.with_name("CONTRIBUTING.md"))


def as_case(page: Path) -> Any:
    """A test's case for a page; those of docs/ take two minutes and run with the slow tests."""
    slow = [pytest.mark.slow] if page.is_relative_to(REPOSITORY / "docs") else []
    return pytest.param(page, id=str(page.relative_to(REPOSITORY)), marks=slow)


@pytest.mark.parametrize("page", [as_case(page) for page in RUNNING])
def test_page_runs_as_typed(reader: Reader, page: Path, tmp_path: Path) -> None:
    """A page's blocks run from top to bottom in an empty folder and print what it shows."""
    text = page.read_text()
    with contextlib.ExitStack() as stack:
        environment: dict[str, str] = {}
        if "<!-- page: with a server -->" in text:
            server = stack.enter_context(LoopbackServer())
            environment = server.environment()
        problems = run_page(reader, text, tmp_path, environment, apart=page == README)
    assert not problems, "\n\n".join(problems)


def test_commands_exist() -> None:
    """Commands and options that a page names are there, also where the page does not run them."""
    import click

    from clearml_taskgroup._cli import main

    named = [
        (page, shlex.split(command, comments=True))
        for page in [README, *PAGES]
        for block in blocks_of(page.read_text())
        for command in block.commands
    ]
    checked = 0
    for page, words in named:
        if words[0] != "clearml-taskgroup":
            continue
        command: click.Command = main
        if len(words) > 1 and not words[1].startswith("-"):
            assert isinstance(main, click.Group)
            assert words[1] in main.commands, (page, words)
            command = main.commands[words[1]]
        options = {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
        options |= {"-h", "--help"}
        assert {word for word in words if re.match("--?[a-z]", word)} <= options, (page, words)
        checked += 1
    assert checked >= 5


def test_reference_has_all_public_names() -> None:
    reference = "\n".join(page.read_text() for page in (REPOSITORY / "docs" / "reference").glob("*.md"))
    for name in clearml_taskgroup.__all__:
        if not name.startswith("_"):
            assert re.search(rf"clearml_taskgroup\.{name}$", reference, re.M), name


def public_functions() -> Iterator[tuple[str, Any]]:
    """The functions and methods that the reference shows, with their names."""
    for name in clearml_taskgroup.__all__:
        owner = getattr(clearml_taskgroup, name)
        for attribute in dir(owner) if inspect.isclass(owner) else ():
            found = inspect.getattr_static(owner, attribute)
            function = getattr(found, "__func__", found)
            ours = inspect.isfunction(function) and function.__module__.startswith("clearml_taskgroup")
            if ours and not attribute.startswith("_"):
                yield f"{name}.{attribute}", function
    for name in figures.__all__:
        yield f"figures.{name}", getattr(figures, name)


def test_docstrings_name_all_arguments() -> None:
    """The docstring of each public function has a line for each of its arguments."""
    checked = 0
    for name, function in public_functions():
        _, _, arguments = (inspect.getdoc(function) or "").partition("Args:\n")
        for parameter in inspect.signature(function).parameters:
            if parameter != "self":
                assert re.search(rf"^ +\**{parameter}: ", arguments, re.M), (name, parameter)
                checked += 1
    assert checked >= 50


def test_every_guide_has_code() -> None:
    """README, tutorial and guides show code that runs."""
    for page in [README, REPOSITORY / "docs" / "tutorial.md", *(REPOSITORY / "docs" / "guides").glob("*.md")]:
        if page.name == "index.md":
            continue
        assert any(block.kind == "python" for block in blocks_of(page.read_text())), page


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\n", False),
        ("a\n", "a\nb\n", False),
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a b\nc\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a.c\n", "abc\n", False),
        ("a\n", "ClearML TaskGroup: no ClearML server is configured\na\n", True),
    ],
)
def test_what_a_page_shows_is_compared(shown: str, output: str, same: bool) -> None:
    """What a page shows is all that is printed; only … stands for anything."""
    assert is_shown(shown, output) == same


@pytest.mark.slow
def test_faults_of_a_page_are_found(reader: Reader, tmp_path: Path) -> None:
    """An error, a warning, another output, another exit code are each told with their line."""
    warning = Block("python", "", 3)
    assert list(problems_of(warning, "x.py:1: UserWarning: look"))
    assert list(problems_of(Block("python", "", 3, says="warns DriftWarning"), ""))
    assert not list(problems_of(Block("python", "", 3, says="warns UserWarning"), "UserWarning: look"))
    assert list(problems_of(Block("python", "", 3, shown="b\n"), "a\n"))
    page = "```python\nx = 1\nprint(x)\n```\n\n```text\n1\n```\n\n```python\n{}\n```\n"
    for code, told in {"raise OSError(x)": "OSError: 1", "raise SystemExit(3)": "ended with 3"}.items():
        folder = tmp_path / told
        folder.mkdir()
        assert told in "\n".join(run_page(reader, page.format(code), folder, {}))


def test_blocks_of_the_readme_stand_alone(reader: Reader, tmp_path: Path) -> None:
    """A block of the README that needs another one is found."""
    page = "```python\nx = 1\n```\n\n```python\nprint(x)\n```\n"
    assert "NameError" in "\n".join(run_page(reader, page, tmp_path, {}, apart=True))
