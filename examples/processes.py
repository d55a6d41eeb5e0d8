"""A sweep on two processes: for each configuration, a function at the top level of this script is called.

Return values come back in the order of the space; an exception fails its own task only.
"""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.model_selection import KFold
from sklearn.svm import SVC

from clearml_taskgroup import GroupTask, TaskGroup

FOLDS = 3
SPACE = {"C": [0.1, 1, 10, -1], "kernel": ["linear", "rbf"]}


def fit(task: GroupTask) -> int:
    """Trains on each fold and returns the number of support vectors."""
    images, labels = load_digits(return_X_y=True)
    vectors = 0
    for fold, (train, test) in enumerate(KFold(FOLDS, shuffle=True, random_state=0).split(images)):
        model = SVC(**task.params).fit(images[train][::2], labels[train][::2])
        task.report({"accuracy": model.score(images[test], labels[test])}, fold, split="test")
        vectors += int(model.n_support_.sum())
    return vectors


def main() -> None:
    """Runs the sweep and prints the results."""
    with TaskGroup("digits", "svm-processes", template="{metric}/{split}", tags=["example"]) as group:
        mapped = group.map(fit, SPACE, workers=2)

    for result in mapped:
        print(f"{result.task!s:<20} {result.task.status:<10} {result.value or result.error}")
    print(group.results().best("accuracy", split="test", mode="max", of="mean"))


if __name__ == "__main__":  # each process imports this script to find `fit`
    main()
