"""`python -m clearml_taskgroup`: the command, where it is not on the path."""

from ._cli import main

main()
