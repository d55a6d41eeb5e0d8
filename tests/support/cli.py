"""Help for tests of the command: it is run in this process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

from clearml_taskgroup._cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator


def command(*arguments: object, answer: str | None = None) -> Result:
    """Runs the command.

    Args:
        *arguments: What stands behind `clearml-taskgroup`.
        answer: What is typed in.
    """
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=answer)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def told(*arguments: object, code: int) -> str:
    """Runs the command, which must fail with one line on stderr and nothing on stdout; gives the line."""
    result = command(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    *usage, line = result.stderr.splitlines()
    assert not usage or usage[0].startswith("Usage: ")
    assert line.startswith("Error: ")
    return line


def as_json(*arguments: object, code: int = 0) -> Any:
    """Runs the command with `--json`; gives what it prints, which must be JSON and nothing else."""
    result = command(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (code, "")
    found = json.loads(result.stdout)
    assert not [key for key in _keys(found) if key.startswith("_")], "private names are no output"
    return found


def _keys(value: Any) -> Iterator[str]:
    items = value.items() if isinstance(value, dict) else [("", one) for one in value]
    for key, item in items:
        yield key
        if isinstance(item, (dict, list)):
            yield from _keys(item)


def as_json_error(*arguments: object, code: int) -> str:
    """Runs the command with `--json`, which must fail: one line on stderr, the same as JSON on stdout."""
    result = command(*arguments, "--json")
    (text,) = json.loads(result.stdout).values()
    assert result.exit_code == code
    assert result.stderr.splitlines()[-1] == f"Error: {text}"
    return str(text)
