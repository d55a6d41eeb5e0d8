"""Pages of Markdown, run as a reader types them.

A page is one sitting in an empty folder: its blocks run from top to bottom, in one process.

- ``python`` runs; all of a page's blocks share one namespace, those of the README have one each. A block
  that begins with a file's name (``# train.py``) is saved under it instead; so is a ``yaml`` block.
- ``console`` runs line by line, but for the README's: this package's command, ``python`` and ``pytest``.
  Commands that install something or set a shell up are not run.
- ``text`` beneath one of these is what it prints, in full; ``…`` stands for anything.
- ``py`` is Python that is not run: other people's, or with frameworks that the tests do not install.

A comment above a block says what else is expected: ``<!-- warns DriftWarning -->``,
``<!-- exits 1 -->``, ``<!-- not run -->``. ``<!-- page: with a server -->`` anywhere gives the page a server.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

KINDS = ("python", "console", "text", "py", "ini", "yaml")
RUNS = ("clearml-taskgroup", "python", "pytest")
NOT_RUN = ("pip", "make", "export", "clearml-init", "clearml-agent", "cd", "git")
MARK = "\x1e"
PATIENCE = 120.0
"""Seconds that a page may take."""

_FENCE = re.compile(r"^(?:<!-- (?P<says>[^\n]*) -->\n)?```(?P<kind>[^\n{]+)\n(?P<code>.*?)^```$", re.M | re.S)
_ANY = re.compile(
    r"…|\d{4}-\d\d-\d\d \d\d:\d\d|\b\d+\.\d+s\b|\b(?:file|https?)://\S+?(?=[\s\"]|$)"
    r"|\b(?:offline-)?[0-9a-f]{32}\b|^[0-9a-f]{12}(?=  )|(?<=\()[0-9a-f]{12}(?=\))"
)
_FILE = re.compile(r"# ([\w-]+\.(?:py|yaml))\n")


@attrs.frozen
class Block:
    """One block of code on a page.

    Attributes:
        line: The line of its first line of code.
        shown: What the page says that it prints; None if it does not say.
        says: The comment above it.
    """

    kind: str
    code: str
    line: int
    says: str = ""
    shown: str | None = None

    @property
    def file(self) -> str | None:
        """The name under which a reader saves it, if it says one."""
        named = _FILE.match(self.code) if self.kind in ("python", "yaml") else None
        return named.group(1) if named else None

    @property
    def commands(self) -> list[str]:
        """The lines of a console block, those that go on in the next line put together."""
        return self.code.replace("\\\n", "").splitlines() if self.kind == "console" else []

    def expects(self, word: str) -> str | None:
        """What the comment above it says after a word."""
        found = re.search(rf"\b{word}\b ?(\S*)", self.says)
        return found.group(1) if found else None


def blocks_of(text: str) -> list[Block]:
    """Finds the blocks of a page that run, each with what it is said to print."""
    found: list[Block] = []
    for match in _FENCE.finditer(text):
        kind, code = match["kind"].strip(), match["code"]
        assert kind in KINDS, f"```{kind}: one of {KINDS}, so that it is clear what runs"
        line = text.count("\n", 0, match.start("code")) + 1
        if kind in ("python", "console", "yaml"):
            found.append(Block(kind, code, line, match["says"] or ""))
        elif kind == "text":
            assert found, f"line {line}: a text block is what the block above it prints"
            assert found[-1].shown is None, f"line {line}: a second text block"
            found[-1] = attrs.evolve(found[-1], shown=code)
    return found


@attrs.define
class Reader:
    """A process that runs pages, each in a child of its own.

    To import ClearML takes most of a second, so it is done once. It has one thread, numpy's included: newer
    Pythons warn of forks beside others.
    """

    _process: subprocess.Popen[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "PYTEST_"))
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=own | {"PATH": path, "PYTHONUNBUFFERED": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def read(self, **page: Any) -> int:
        """Runs one page; gives how its process ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(page), file=self._process.stdin, flush=True)
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            os.killpg(self._process.pid, signal.SIGKILL)
        return int(self._process.stdout.readline() or -1)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def run_page(
    reader: Reader, text: str, folder: Path, environment: Mapping[str, str], *, apart: bool = False
) -> list[str]:
    """Runs a page in a folder.

    Args:
        reader: What runs it.
        text: The page.
        folder: An empty folder; the reader's home is made in it, too.
        environment: Variables beside those of this process that are not ClearML's.
        apart: Whether each block has a namespace of its own, and commands are not run: for the README.

    Returns:
        What is wrong with it, a text each; none if all is as the page says.
    """
    ran = [block for block in blocks_of(text) if block.expects("not") is None]
    if apart:
        ran = [block for block in ran if block.kind == "python"]
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    settings = home / "clearml.conf"
    settings.write_text("sdk.development.report_use_subprocess: false\n")
    # A copy, because the folder of the script is what a task's provenance is detected from.
    shutil.copy(__file__, folder / "page.py")
    status = reader.read(
        steps=[attrs.asdict(block) | {"file": block.file, "commands": _run_of(block)} for block in ran],
        apart=apart,
        script=str(folder / "page.py"),
        folder=str(work),
        output=str(folder / "output.txt"),
        environment={"HOME": str(home), "CLEARML_CONFIG_FILE": str(settings), **environment},
    )
    said = (folder / "output.txt").read_text()
    problems = [] if status == 0 else [f"it ended with {status}:\n{said[-3000:]}"]
    for block, output in zip(ran, said.split(MARK)[1:], strict=False):
        problems += [f"line {block.line}: {problem}" for problem in problems_of(block, output)]
    return problems


def problems_of(block: Block, output: str) -> Iterator[str]:
    """Compares what a block printed with what its page says."""
    warned = set(re.findall(r"\b\w*Warning\b", output))
    expected = block.expects("warns")
    if expected is not None and expected not in warned:
        yield f"it does not give the {expected}:\n{output}"
    if warned - {expected} - set(re.findall(r"\w+", block.shown or "")):
        yield f"it warns:\n{output}"
    if "Traceback" in output and "Traceback" not in (block.shown or ""):
        yield f"it prints a traceback:\n{output}"
    if block.shown is not None and not is_shown(block.shown, output):
        yield f"it prints\n{output}\nbut the page shows\n{block.shown}"


def is_shown(shown: str, output: str) -> bool:
    """Tells whether a page shows what was printed.

    Moments, durations, addresses and ids of tasks and runs differ each time, so a page shows some. A run's
    first digits are known by the table or brackets that they stand in. The line that tells of offline mode
    may be left out.
    """
    lines = [line.rstrip() for line in output.strip().splitlines()]
    if not shown.startswith("ClearML TaskGroup: no ClearML server"):
        lines = [line for line in lines if not line.startswith("ClearML TaskGroup: no ClearML server")]
    pattern = "".join(_pattern(line.rstrip()) for line in shown.strip().splitlines())
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _pattern(line: str) -> str:
    if line.strip() == "…":
        return r"(?:.*\n)*?"
    pieces = _ANY.split(line)
    return r"[^\n]*?".join(map(re.escape, pieces)) + r"\n"


def _run_of(block: Block) -> list[str]:
    commands = []
    for command in block.commands:
        word = shlex.split(command, comments=True)[0]
        assert word in RUNS + NOT_RUN, f"line {block.line}: {word!r} is neither run nor known"
        if word in RUNS:
            commands.append(command)
    return commands


def serve() -> None:
    """Runs the pages that are asked for, each in a child."""
    import clearml  # noqa: F401

    import clearml_taskgroup._cli
    import clearml_taskgroup._group  # noqa: F401

    for line in sys.stdin:
        page = json.loads(line)
        child = os.fork()
        if not child:
            wait_for_uploads(page)
            run(page["steps"], page["apart"])
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def wait_for_uploads(page: Mapping[str, Any]) -> None:
    """Makes this process one that was started in the reader's folder."""
    output = os.open(page["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    # A line at a time: a print's text and its end of line would else let a thread's words in between.
    sys.stdout.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
    os.environ.update(page["environment"])
    os.chdir(page["folder"])
    sys.path[0] = page["folder"]
    sys.argv = [page["script"]]
    sys.modules["__main__"].__file__ = page["script"]


def run(steps: Sequence[Mapping[str, Any]], apart: bool) -> None:
    """Runs the steps of a page; ends at the first that fails.

    All of its Python blocks run in one child, and each command in one, as a shell has it.
    """
    asked, answered = os.pipe(), os.pipe()
    reader = os.fork()
    if not reader:
        os.close(asked[1])
        run_blocks(steps, apart, asked[0], answered[1])
        return
    os.close(answered[1])
    for number, step in enumerate(steps):
        print(MARK, end="", flush=True)
        if step["file"]:
            Path(step["file"]).write_text(step["code"])
        elif step["kind"] == "python":
            os.write(asked[1], bytes([number]))
            if not os.read(answered[0], 1):
                break
        for command in step["commands"]:
            said = re.search(r"exits (\d+)", step["says"])
            child = os.fork()
            if not child:
                run_command(shlex.split(command))
                return
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status != (int(said.group(1)) if said else 0):
                sys.exit(f"{command!r} ended with {status}")
    os.close(asked[1])
    status = os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1])
    if status:
        sys.exit(f"a block ended with {status}")


def run_blocks(steps: Sequence[Mapping[str, Any]], apart: bool, asked: int, answered: int) -> None:
    """Runs the Python blocks that it is asked for, until nobody asks any more."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    while number := os.read(asked, 1):
        step = steps[number[0]]
        code = compile("\n" * (step["line"] - 1) + step["code"], "page", "exec")
        exec(code, {"__name__": "__main__"} if apart else namespace)
        os.write(answered, number)


def run_command(words: list[str]) -> None:
    """Does what a shell would do."""
    from clearml_taskgroup._cli import main

    if words[0] == "python":
        # Python itself makes the script's path absolute; workers find it by that.
        sys.argv = [os.path.abspath(words[1]), *words[2:]]
        runpy.run_path(sys.argv[0], run_name="__main__")
    elif words[0] == "clearml-taskgroup":
        main(words[1:], prog_name=words[0])
    else:
        sys.exit(subprocess.run(words).returncode)


if __name__ == "__main__":
    serve()
