"""A callback that ends a training within a time budget."""

import time

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from skorch.callbacks import Callback

from sknn import NeuralClassifier
from sknn.callbacks import TimeBudget

X, y = load_breast_cancer(return_X_y=True)
ENDLESS = {
    "hidden_layer_sizes": 8,
    "max_iter": 1000,
    "n_iter_no_change": np.inf,
    "ensemble_size": 1,
    "random_state": 0,
}


class Pause(Callback):
    """Makes every epoch take at least a tenth of a second."""

    def on_epoch_begin(self, net, **kwargs):
        time.sleep(0.1)


class SlowEpochs(TimeBudget):
    """A time budget for which each epoch takes a second."""

    def on_epoch_end(self, net, **kwargs):
        self.started_ -= 1
        self.epoch_started_ -= 1
        super().on_epoch_end(net, **kwargs)


def test_a_training_ends_before_an_epoch_that_would_exceed_the_budget():
    clf = NeuralClassifier(**ENDLESS, callbacks=[SlowEpochs(5.5)]).fit(X, y)

    assert clf.n_iter_ == 5


def test_the_first_epoch_is_always_trained():
    assert NeuralClassifier(**ENDLESS, callbacks=[TimeBudget(1e-9)]).fit(X, y).n_iter_ == 1


def test_the_best_model_so_far_is_kept():
    clf = NeuralClassifier(**ENDLESS, learning_rate="constant", callbacks=[SlowEpochs(15)]).fit(X, y)
    losses = [record["valid_loss"] for record in clf.history_]
    same = NeuralClassifier(**ENDLESS | {"max_iter": int(np.argmin(losses)) + 1}, learning_rate="constant")
    with pytest.warns(match="Maximum iterations"):
        same.fit(X, y)

    assert np.argmin(losses) < len(losses) - 1
    np.testing.assert_array_equal(clf.predict_proba(X), same.predict_proba(X))


def test_real_seconds_count():
    clf = NeuralClassifier(**ENDLESS, callbacks=[Pause(), TimeBudget(0.35)]).fit(X, y)

    assert 1 <= clf.n_iter_ <= 3  # fewer on a slow machine, never more


def test_each_fit_has_the_whole_budget():
    clf = NeuralClassifier(**ENDLESS, callbacks=[SlowEpochs(3.5)])

    assert clf.fit(X, y).n_iter_ == clf.fit(X, y).n_iter_ == 3
    assert not [name for name in vars(clf.callbacks[0]) if name.endswith("_")]


def test_a_divergence_in_the_only_epoch_is_an_error():
    clf = NeuralClassifier(**ENDLESS | {"solver": "sgd", "learning_rate_init": 1e30, "scaling": None})

    with pytest.raises(ValueError, match="loss became NaN or infinite in epoch 1"):
        clf.set_params(callbacks=[TimeBudget(1e-9)]).fit(X * 1e10, y)


def test_lbfgs_is_refused():
    with pytest.raises(ValueError, match=r"TimeBudget does not work with solver='lbfgs'.* use max_iter or max_fun"):
        NeuralClassifier(solver="lbfgs", callbacks=[TimeBudget(1)]).fit(X, y)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "5", None])
def test_a_budget_that_is_not_positive_is_refused(seconds):
    with pytest.raises(ValueError, match="of TimeBudget must be a positive number of seconds"):
        NeuralClassifier(**ENDLESS, callbacks=[TimeBudget(seconds)]).fit(X, y)
