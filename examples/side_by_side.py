"""Several models trained side by side in one loop: all of their tasks are open at once."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from clearml_taskgroup import TaskGroup


def main() -> None:
    """Trains one classifier for each configuration, alternating after each epoch."""
    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(images, labels, random_state=0)
    classes = np.unique(labels)
    with TaskGroup("digits", "side-by-side") as group:
        tasks = group.tasks({"loss": ["hinge", "log_loss", "modified_huber"], "alpha": [0.0001, 0.01]})
        models = [SGDClassifier(**task.params, random_state=0) for task in tasks]
        for epoch in range(5):
            for task, model in zip(tasks, models, strict=True):
                model.partial_fit(x_train, y_train, classes=classes)
                task.report({"accuracy": model.score(x_test, y_test)}, epoch, split="test")
    print(group.results())


if __name__ == "__main__":
    main()
