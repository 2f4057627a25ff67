"""A callback that ends a training if its Optuna trial is not promising."""

import optuna
import pytest
from sklearn.datasets import load_iris

from sknn import NeuralClassifier
from sknn.callbacks import OptunaPruning

optuna.logging.set_verbosity(optuna.logging.WARNING)
SMALL = {"hidden_layer_sizes": 8, "ensemble_size": 1, "max_iter": 12, "random_state": 0}


def run(pruner, rates=(0.03, 1e-8), **callback):
    def objective(trial):
        rate = trial.suggest_float("learning_rate_init", 1e-8, 0.1)
        pruning = OptunaPruning(trial, **callback)
        clf = NeuralClassifier(**SMALL, learning_rate_init=rate, callbacks=[pruning])
        return clf.fit(*load_iris(return_X_y=True)).history_[-1]["valid_loss"]

    study = optuna.create_study(pruner=pruner)
    for rate in rates:
        study.enqueue_trial({"learning_rate_init": rate})
    study.optimize(objective, len(rates))
    return study


def test_every_epoch_is_reported_and_a_bad_trial_is_pruned():
    study = run(optuna.pruners.ThresholdPruner(upper=1.0, n_warmup_steps=4))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert [len(trial.intermediate_values) for trial in study.trials] == [12, 4]
    assert study.best_trial.intermediate_values[12] == study.best_value


def test_a_value_that_is_not_recorded_is_refused():
    with pytest.raises(KeyError, match=r"monitor='valid_auc' is not recorded; use one of epoch, train_loss, valid"):
        run(optuna.pruners.NopPruner(), monitor="valid_auc")
