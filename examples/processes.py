"""A sweep on two processes: each point is a call of a function at the top level of this script.

What a function gives comes back, in the order of the space; what it raises fails its own task.
"""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.model_selection import KFold
from sklearn.svm import SVC

from clearml_taskgroup import GroupTask, TaskGroup

FOLDS = 3
SPACE = {"C": [0.1, 1, 10, -1], "kernel": ["linear", "rbf"]}


def fit(task: GroupTask) -> int:
    """Trains on each fold; gives how many support vectors there were."""
    images, labels = load_digits(return_X_y=True)
    vectors = 0
    for fold, (train, test) in enumerate(KFold(FOLDS, shuffle=True, random_state=0).split(images)):
        model = SVC(**task.params).fit(images[train][::2], labels[train][::2])
        task.report({"accuracy": model.score(images[test], labels[test])}, fold, split="test")
        vectors += int(model.n_support_.sum())
    return vectors


def main() -> None:
    """Runs the sweep and prints what came out."""
    with TaskGroup("digits", "svm-processes", template="{metric}/{split}", tags=["example"]) as group:
        mapped = group.map(fit, SPACE, workers=2)

    for point in mapped:
        print(f"{point.task!s:<20} {point.task.status:<10} {point.value or point.error}")
    print(group.results().best("accuracy", split="test", mode="max", of="mean"))


if __name__ == "__main__":  # each process imports this script to find `fit`
    main()
