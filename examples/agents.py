"""A sweep for ClearML agents: `QUEUE=default python agents.py` submits it; without QUEUE it runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator

from clearml_taskgroup import TaskGroup


def train(learning_rate: float) -> Iterator[float]:
    """Stands for a training: yields a loss for each epoch."""
    loss = 1.0
    for _ in range(5):
        loss *= 1 - 3 * learning_rate
        yield loss


def main() -> None:
    """Runs or submits the sweep; an agent also starts this script, and runs only its own configuration."""
    with TaskGroup("my_project", "at-agents", template="{metric}/{split}") as group:
        for task in group.sweep({"learning_rate": [0.01, 0.1]}, queue=os.environ.get("QUEUE")):
            with task:
                for epoch, loss in enumerate(train(**task.params)):
                    task.report({"loss": loss}, epoch, split="val")
        results = group.wait(timeout=3600)  # waits for the agents, if any, and logs the progress
    print(results)
    if not group.at_agent:  # an agent has the results of its own configuration only
        print("best:", results.best("loss", mode="min", split="val"))


if __name__ == "__main__":
    main()
