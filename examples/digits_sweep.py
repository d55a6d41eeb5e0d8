"""A sweep on scikit-learn's digits: 2 parameters × 5 seeds, 45 tasks in one process.

Each task trains a small network for several epochs and reports loss and accuracy for both splits;
at the end the configurations are compared as mean ± standard deviation over the seeds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from clearml_taskgroup import Metric, TaskGroup

EPOCHS = 6
SPACE = {"hidden": [8, 16, 64], "learning_rate": [0.001, 0.01, 0.1], "seed": range(5)}
SPLITS = ("train", "val")

Scores = dict[str, dict[str, float]]


def train(hidden: int, learning_rate: float, seed: int) -> Iterator[Scores]:
    """Trains for some epochs and yields split → metric → value after each."""
    images, labels = load_digits(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(images / 16, labels, random_state=seed, stratify=labels)
    data = {"train": (x_train, y_train), "val": (x_val, y_val)}
    model = MLPClassifier((hidden,), learning_rate_init=learning_rate, batch_size=64, random_state=seed)
    for _ in range(EPOCHS):
        model.partial_fit(x_train, y_train, classes=np.unique(labels))
        yield {
            split: {"loss": log_loss(y, model.predict_proba(x)), "accuracy": model.score(x, y)}
            for split, (x, y) in data.items()
        }


def main() -> None:
    """Runs the sweep and prints the results."""
    with TaskGroup(
        "digits",
        "network-sweep",
        template="{metric}/{split}",
        metrics=[Metric("loss", mode="min"), Metric("accuracy", mode="max")],
        tags=["example"],
    ) as group:
        sweep = group.sweep(SPACE, progress=True)
        print(f"{len(sweep)} tasks, one after another …")
        for task in sweep:
            with task, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn warns that training has not converged
                for epoch, scores in enumerate(train(**task.params)):
                    task.report(scores, epoch, levels=("split", "metric"))

    results = group.results()
    configurations = results.aggregate(over="seed")
    print(configurations.sort("accuracy", split="val"))
    print()
    print("best configuration:", configurations.best("accuracy", split="val"))
    print("best single task:  ", results.best("accuracy", split="val"))
    print(f"{len(group)} tasks; the data is in {group.where}, the run log is {group.record_path}")


if __name__ == "__main__":
    main()
