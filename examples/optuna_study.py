"""An Optuna study, a task for each trial: pruned trials are stopped, the best is stored on the parent."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from clearml_taskgroup import GroupTask, Metric, TaskGroup

try:
    import optuna
except ModuleNotFoundError:
    raise SystemExit("this example needs Optuna: pip install 'clearml-taskgroup[optuna]'") from None

EPOCHS = 5


def objective(trial: optuna.Trial, task: GroupTask) -> float:
    """Trains a small network and returns its accuracy on the validation split."""
    model = MLPClassifier(
        (trial.suggest_int("hidden", 4, 64, log=True),),
        learning_rate_init=trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        random_state=0,
    )
    images, labels = load_digits(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(images / 16, labels, random_state=0, stratify=labels)
    accuracy = 0.0
    for epoch in range(EPOCHS):
        model.partial_fit(x_train, y_train, classes=np.unique(labels))
        accuracy = float(model.score(x_val, y_val))
        task.report({"loss": model.loss_}, epoch, split="train")
        trial.report(accuracy, epoch)  # also a curve of the task
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def main() -> None:
    """Runs the study and prints the results."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    metrics = [Metric("accuracy", mode="max"), Metric("loss", mode="min")]
    with TaskGroup("digits", "optuna-study", template="{metric}/{split}", metrics=metrics) as group:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns that training has not converged
            study.optimize(group.objective(objective, metric="accuracy", split="val"), n_trials=12)
    print(group.results())
    print("best:", group.results().best("accuracy", split="val"))
    print("Optuna says:", study.best_value, study.best_params)


if __name__ == "__main__":
    main()
