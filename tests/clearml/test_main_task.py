"""The script's own `Task.init` task, which somebody has stopped."""

from __future__ import annotations

from clearml_taskgroup._clearml.main_task import keep_status


def test_clearml_gives_a_stopped_task_no_other_status() -> None:
    """Each method that it calls as the script ends does nothing."""
    called = []

    class Task:
        def mark_completed(self, *args: object, **named: object) -> str:
            called.append(args)
            return "done"

        mark_failed = mark_stopped = stopped = close = mark_completed

    task = Task()
    keep_status(task)
    for method in (task.mark_completed, task.mark_failed, task.mark_stopped, task.stopped):
        assert method("why", force=True) is None
    assert not called
    assert task.close() == "done"
