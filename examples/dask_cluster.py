"""The same function on a Dask cluster: a local one here; use `Client("scheduler:8786")` for another."""

from __future__ import annotations

import sys

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from clearml_taskgroup import GroupTask, TaskGroup

SPACE = {"C": [0.01, 1.0], "seed": range(3)}


def fit(task: GroupTask) -> float:
    """Trains one model and returns its accuracy."""
    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images / 16, labels, random_state=task.params["seed"], stratify=labels
    )
    model = LogisticRegression(C=task.params["C"], max_iter=500).fit(x_train, y_train)
    accuracy = float(model.score(x_test, y_test))
    task.report({"accuracy": accuracy}, split="test")
    return accuracy


def main() -> None:
    """Starts a cluster and runs the sweep on it."""
    try:
        from distributed import Client
    except ImportError:
        sys.exit("this example needs Dask: pip install distributed")
    with (
        Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client,
        TaskGroup("digits", "dask-cluster", template="{metric}/{split}", tags=["example"]) as group,
    ):
        mapped = group.map(fit, SPACE, executor=client.get_executor())

    print([result.value for result in mapped])
    print(group.results().aggregate(over="seed"))


if __name__ == "__main__":
    main()
