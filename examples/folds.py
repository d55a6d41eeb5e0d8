"""Cross-validation in one task that trains all folds: the fold is context, the epoch is the iteration.

To compare configurations over the folds, or to resume single folds, give each fold a task instead, with
`fold` as a parameter: `group.sweep({"alpha": [0.001, 0.01], "fold": range(5)})`. Then `group.results()` has
`compare("accuracy", over="fold")`.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import StratifiedKFold

from clearml_taskgroup import TaskGroup


def main() -> None:
    """Trains on five folds and reports every epoch of each."""
    images, labels = load_digits(return_X_y=True)
    with TaskGroup("digits", "folds", template="{metric}/fold {fold}") as group:
        with group.task({"alpha": 0.001}) as task:
            folds = StratifiedKFold(5, shuffle=True, random_state=0).split(images, labels)
            for fold, (train, test) in enumerate(folds):
                curve = task.bind(fold=fold)
                model = SGDClassifier(loss="log_loss", alpha=task.params["alpha"], random_state=fold)
                for epoch in range(5):
                    model.partial_fit(images[train], labels[train], classes=np.unique(labels))
                    curve.report({"accuracy": model.score(images[test], labels[test])}, epoch)
    for fold in range(5):
        print(fold, group.results()[0].value("accuracy", fold=fold, of="max"))


if __name__ == "__main__":
    main()
