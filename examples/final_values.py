"""Final values only: values that are reported without an iteration are single values of their task."""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.model_selection import ParameterGrid, cross_val_score
from sklearn.svm import SVC

from clearml_taskgroup import TaskGroup


def main() -> None:
    """Scores the configurations of a scikit-learn grid."""
    images, labels = load_digits(return_X_y=True)
    grid = ParameterGrid([{"kernel": ["rbf"], "C": [1, 10]}, {"kernel": ["linear"], "C": [1]}])
    with TaskGroup("digits", "svm-grid", template="{metric}") as group:
        for task in group.sweep(grid):
            with task:
                scores = cross_val_score(SVC(**task.params), images, labels, cv=3)
                task.report({"accuracy": scores.mean(), "accuracy_std": scores.std()})
    print(group.results())
    print("best:", group.results().best("accuracy", mode="max"))


if __name__ == "__main__":
    main()
