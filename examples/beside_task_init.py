"""A group next to the script's own `Task.init`: that task is the parent, and the group never closes it."""

from __future__ import annotations

from typing import Any

from clearml import Task

from clearml_taskgroup import TaskGroup


def main() -> None:
    """Opens a group while a main task is open, and continues with the main task afterwards."""
    main_task: Any = Task.init("my_project", "the script", auto_connect_frameworks=False)
    with TaskGroup("my_project", "beside-task-init") as group:
        for task in group.sweep({"seed": range(3)}):
            with task:
                task.report({"score": 1 / (1 + task.params["seed"])}, iteration=0)
    main_task.get_logger().report_text("the group has ended, the main task continues")
    print("the parent is the main task:", group.parent_id == main_task.id)
    print(group.results())
    main_task.close()


if __name__ == "__main__":
    main()
