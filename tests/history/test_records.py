"""The records of a training: their content, their order, and the DataFrame of them."""

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from sknn import NeuralClassifier
from sknn.history.records import make_frame

X, y = load_breast_cancer(return_X_y=True)
SMALL = {"hidden_layer_sizes": 8, "max_iter": 4, "random_state": 0}


@pytest.fixture(scope="module")
def pair():
    return NeuralClassifier(**SMALL, ensemble_size=2, metrics=["accuracy", "gradient_norm"]).fit(X, y)


def test_a_record_has_losses_metrics_rates_and_times_in_this_order(pair):
    names = [name for name in pair.history_[0] if not name.startswith("member_")]

    assert names == [
        *("epoch", "train_loss", "valid_loss", "gap", "train_accuracy", "valid_accuracy", "gradient_norm"),
        *("learning_rate", "seconds", "rows_per_second", "diagnosis"),
    ]


def test_each_value_is_the_mean_over_members(pair):
    for record in pair.history_:
        for name in ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "gradient_norm"):
            assert record[name] == pytest.approx(np.mean(record[f"member_{name}"]))


def test_rows_per_second_counts_the_training_rows_of_all_members(pair):
    n_trained = len(X) - round(0.15 * len(X))

    for record in pair.history_:
        assert record["rows_per_second"] * record["seconds"] == pytest.approx(2 * n_trained)


def test_the_gap_is_the_validation_loss_over_the_training_loss(pair):
    assert [r["gap"] for r in pair.history_] == [r["valid_loss"] / r["train_loss"] for r in pair.history_]


def test_the_gradient_norm_is_the_length_of_a_gradient_descent_step():
    def after_a_step(rate):
        clf = NeuralClassifier(solver="sgd", momentum=0, learning_rate="constant", learning_rate_init=rate, alpha=3.0)
        clf.set_params(**SMALL | {"max_iter": 1}, batch_size=len(X), ensemble_size=1, early_stopping=False, dropout=0)
        clf.set_params(metrics="gradient_norm", precision="float64", n_iter_no_change=np.inf, warm_start=False)
        with pytest.warns(match="Maximum iterations"):
            return clf.fit(X, y)

    one, two = after_a_step(1e-3), after_a_step(3e-3)
    step = (two.module_.param_buffer - one.module_.param_buffer).norm().item() / 2e-3

    assert one.history_[0]["gradient_norm"] == pytest.approx(step, rel=1e-9)


def test_the_gradient_norm_is_a_mean_over_steps_and_only_recorded_on_request():
    clf = NeuralClassifier(**SMALL, ensemble_size=1, metrics="gradient_norm", batch_size=100)
    with_norm = clf.fit(X, y).history_
    without = NeuralClassifier(**SMALL, ensemble_size=1, batch_size=100).fit(X, y)

    assert 0 < with_norm[-1]["gradient_norm"] < 10
    assert "gradient_norm" not in without.history_[0]
    assert [r["train_loss"] for r in with_norm] == [r["train_loss"] for r in without.history_]


def test_lbfgs_records_seconds_and_rows_of_each_iteration():
    clf = NeuralClassifier(solver="lbfgs", hidden_layer_sizes=4, ensemble_size=2, random_state=0, max_iter=500)
    history = clf.fit(X, y).history_

    assert len(history) == clf.n_iter_
    assert all(record["seconds"] > 0 for record in history)
    assert history[0]["rows_per_second"] * history[0]["seconds"] == pytest.approx(2 * len(X))


def test_the_frame_has_a_row_per_epoch(pair):
    frame = pair.history_frame()

    assert frame.index.name == "epoch"
    assert frame.index.tolist() == [1, 2, 3, 4]
    assert not [name for name in frame if name.startswith("member_")]
    assert frame["train_loss"].tolist() == [record["train_loss"] for record in pair.history_]


def test_the_frame_of_members_has_a_row_per_epoch_and_member(pair):
    frame = pair.history_frame(members=True)

    assert frame.index.names == ["epoch", "member"]
    assert frame.shape[0] == 8
    assert frame.loc[(3, 1), "valid_loss"] == pair.history_[2]["member_valid_loss"][1]
    pd.testing.assert_series_equal(
        frame["train_loss"].groupby("epoch").mean(), pair.history_frame()["train_loss"], rtol=1e-12
    )


def test_a_single_network_is_member_0():
    clf = NeuralClassifier(**SMALL, ensemble_size=1).fit(X, y)

    frame = clf.history_frame(members=True)

    assert frame.index.tolist() == [(epoch, 0) for epoch in range(1, 5)]
    assert frame["train_loss"].tolist() == clf.loss_curve_


def test_the_frame_of_no_epochs_is_empty():
    assert make_frame([]).empty
    assert make_frame([], members=True).empty


def test_history_survives_a_pickle(pair):
    assert pickle.loads(pickle.dumps(pair)).history_ == pair.history_


def test_without_pandas_the_frame_names_the_extra(pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match=r"history_frame needs pandas; install it with: pip install 'sknn\[pandas\]'"):
        pair.history_frame()


def test_before_fit_there_is_no_history():
    with pytest.raises(AttributeError, match="has no history_ before fit"):
        NeuralClassifier().history_frame()
