"""`python -m clearml_taskgroup`: the command, where it is not on the path."""

from __future__ import annotations

from ._cli import main

main()
