"""Three metrics × three splits from one nested dict, in one call."""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, precision_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

from clearml_taskgroup import TaskGroup


def main() -> None:
    """Evaluates a tree on three splits."""
    images, labels = load_digits(return_X_y=True)
    x_train, x_rest, y_train, y_rest = train_test_split(images, labels, test_size=0.4, random_state=0)
    x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=0.5, random_state=0)
    model = DecisionTreeClassifier(max_depth=8, random_state=0).fit(x_train, y_train)
    splits = {"train": (x_train, y_train), "val": (x_val, y_val), "test": (x_test, y_test)}

    scores = {}
    for split, (x, y) in splits.items():
        predicted = model.predict(x)
        scores[split] = {
            "accuracy": accuracy_score(y, predicted),
            "precision": precision_score(y, predicted, average="macro"),
            "recall": recall_score(y, predicted, average="macro"),
        }

    with TaskGroup("digits", "evaluation", template="{metric}/{split}") as group:
        with group.task({"max_depth": 8}) as task:
            task.report(scores, iteration=0, levels=("split", "metric"))
    for split in splits:
        print(split, *task.metric("accuracy", split=split), group.results()[0].value("accuracy", split=split))


if __name__ == "__main__":
    main()
