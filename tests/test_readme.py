"""The README: every Python block runs as typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block_runs_as_typed(block: str, tmp_path: Path) -> None:
    """Each Python block of the README runs in an empty folder, without a warning or an error."""
    script = tmp_path / "script.py"
    script.write_text(block)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLEARML_")}
    environment |= {
        "CLEARML_CACHE_DIR": str(tmp_path / "cache"),
        "CLEARML_CONFIG_FILE": str(tmp_path / "clearml.conf"),
    }
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr


def test_readme_has_its_blocks() -> None:
    """The README shows code for each of its main parts."""
    assert len(BLOCKS) >= 7
