"""A sweep that ClearML agents can run: `QUEUE=default python agents.py` submits it, else it runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator

from clearml_taskgroup import TaskGroup


def train(learning_rate: float) -> Iterator[float]:
    """Stands for a training: gives a loss for each epoch."""
    loss = 1.0
    for _ in range(5):
        loss *= 1 - 3 * learning_rate
        yield loss


def main() -> None:
    """Runs or submits the sweep; an agent starts this script as well, and runs its own point alone."""
    with TaskGroup("my_project", "at-agents", template="{metric}/{split}") as group:
        for task in group.sweep({"learning_rate": [0.01, 0.1]}, queue=os.environ.get("QUEUE")):
            with task:
                for epoch, loss in enumerate(train(**task.params)):
                    task.report({"loss": loss}, epoch, split="val")
        results = group.wait(timeout=3600)  # for the agents, if any; progress is told on the way
    print(results)
    if not group.at_agent:  # where there is the one point alone
        print("best:", results.best("loss", mode="min", split="val"))


if __name__ == "__main__":
    main()
