"""Installs the dependency group `frameworks`; notes in a file what cannot be installed, and goes on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.support.paths import REPOSITORY

PACKAGE = ("--editable", ".", "--group", "test")


def main(missing: Path) -> None:
    """Installs all at once, or one by one if that fails; `missing` gets a line for each that is not there."""
    missing.write_text("")
    if pip(*PACKAGE, "--group", "frameworks") is None:
        return
    if (reason := pip(*PACKAGE)) is not None:
        raise SystemExit(reason)
    groups = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["dependency-groups"]
    torch, *others = groups["frameworks"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints, missing.open("a") as file:
        constraints.write(torch)  # else a framework brings another torch, with gigabytes for CUDA
        constraints.flush()
        for one in (torch, *others):
            if (reason := pip("--constraint", constraints.name, one)) is not None:
                print(f"{one}: {reason}", file=file)


def pip(*arguments: str) -> str | None:
    """Installs these; gives the last line of the error if that fails."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return None if done.returncode == 0 else (errors or ["ERROR: pip failed"])[-1]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
