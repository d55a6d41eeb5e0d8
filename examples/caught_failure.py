"""One configuration runs out of memory: its task fails, the others continue."""

from __future__ import annotations

from clearml_taskgroup import TaskGroup


def train(batch_size: int) -> float:
    """Stands for a training that needs more memory for larger batches."""
    if batch_size > 1000:
        raise MemoryError(f"cannot allocate {batch_size} samples")
    return 1 - 1 / batch_size


def main() -> None:
    """Sweeps over batch sizes, one of them too large."""
    with TaskGroup("my_project", "batch-sizes", catch=(MemoryError,)) as group:
        for task in group.sweep({"batch_size": [32, 1024, 256]}):
            with task:
                task.report({"accuracy": train(**task.params)}, split="test")
    print(group.results())
    for failure in group.failures:
        print(f"{failure.task} failed: {failure.exception!r}")


if __name__ == "__main__":
    main()
