"""Two tasks open at once, with the task's name in the name of the curve.

The template has no `/`, so the metric is the title: one plot for accuracy, with a curve for each task.
"""

from __future__ import annotations

from clearml_taskgroup import TaskGroup


def main() -> None:
    """Reports to two tasks alternately."""
    with TaskGroup("my_project", "two-tasks", template="task_{task}_{metric}") as group:
        first = group.task(name="baseline")
        second = group.task(name="augmented")
        for epoch in range(5):
            first.report({"accuracy": 0.80 + 0.01 * epoch}, epoch)
            second.report({"accuracy": 0.84 + 0.01 * epoch}, epoch)
    print(*first.metric("accuracy"))
    print(*second.metric("accuracy"))
    print(group.results())


if __name__ == "__main__":
    main()
