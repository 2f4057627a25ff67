"""The base class of trackers: it logs a whole fit, however it ends, and its errors do not end the fit."""

import copy
import json
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping

from sknn import NeuralClassifier, NeuralRegressor
from sknn.callbacks import MLflowTracker, TensorBoardTracker, WandbTracker
from sknn.tracking.base import Tracker, fit_results, numeric_record, plain_params, to_plain
from tests.common import ALIKE, SMALL

X, Y = make_classification(60, 5, random_state=0)


class FileTracker(Tracker):
    """Writes a line for each event to a file; raises an error at the event `fails_at`."""

    tool = "The file tracker"

    def __init__(self, path, fails_at=None, owns_run=True):
        self.path, self.fails_at, self.owns_run = path, fails_at, owns_run

    def write_event(self, event):
        with Path(self.path).open("a") as file:
            file.write(f"{event}\n")
        if event == self.fails_at:
            raise OSError("the disk is full")

    def open(self, estimator):
        self.owns_run_ = self.owns_run
        self.write_event("open")

    def write_description(self, estimator, X, y):
        self.write_event(f"description {type(estimator).__name__} {len(X)} {len(y)}")

    def write_epoch(self, epoch, values, net):
        self.write_event(f"epoch {epoch}")

    def write_results(self, estimator, X, y):
        self.write_event(f"results {estimator.n_iter_}")

    def close(self, failed):
        self.write_event(f"close failed={failed}")


class StopsInEpochTwo(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise self.error


ALL_EVENTS = ["open", "description NeuralClassifier 60 60", *[f"epoch {k}" for k in (1, 2, 3, 4)]]
ALL_EVENTS += ["results 4", "close failed=False"]


@pytest.fixture
def log_file(tmp_path):
    return tmp_path / "log_file.txt"


def events(log_file):
    return log_file.read_text().splitlines()


def test_a_tracker_logs_a_fit_from_beginning_to_end(log_file):
    NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file)]).fit(X, Y)
    assert events(log_file) == ALL_EVENTS


def test_two_fits_with_the_same_callback_are_two_runs(log_file):
    clf = NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file)])
    before = dict(vars(clf.callbacks[0]))
    clf.fit(X, Y).fit(X, Y)
    assert events(log_file) == ALL_EVENTS + ALL_EVENTS
    assert vars(clf.callbacks[0]) == before


def test_a_tracker_can_have_a_name_or_be_a_class(log_file, monkeypatch):
    monkeypatch.setattr(
        FileTracker, "__init__", lambda self: vars(self).update(path=log_file, fails_at=None, owns_run=True)
    )
    NeuralClassifier(**SMALL, callbacks=[("mine", FileTracker())]).fit(X, Y)
    NeuralClassifier(**SMALL, callbacks=[FileTracker]).fit(X, Y)
    assert events(log_file) == ALL_EVENTS + ALL_EVENTS


def test_a_tracker_does_not_change_the_training(log_file):
    tracked = NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file)]).fit(X, Y)
    assert torch.equal(tracked.module_.param_buffer, NeuralClassifier(**SMALL).fit(X, Y).module_.param_buffer)


def test_a_failed_training_closes_the_run_as_failed(log_file):
    clf = NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file), StopsInEpochTwo(RuntimeError("no more"))])
    with pytest.raises(RuntimeError, match="no more"):
        clf.fit(X, Y)
    assert events(log_file) == [*ALL_EVENTS[:4], "close failed=True"]
    assert not hasattr(clf, "net_")


def test_a_training_that_diverges_closes_the_run_as_failed(log_file):
    reg = NeuralRegressor(**SMALL, solver="sgd", learning_rate_init=1e30, callbacks=[FileTracker(log_file)])
    with pytest.raises(ValueError, match="became NaN or infinite in epoch 1"):
        reg.fit(X, X[:, 0])
    assert events(log_file)[-1] == "close failed=True"


def test_invalid_data_closes_the_run_as_failed(log_file):
    with pytest.raises(ValueError, match="contains infinity"):
        NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file)]).fit(np.where(X > 1, np.inf, X), Y)
    assert events(log_file) == [*ALL_EVENTS[:2], "close failed=True"]


@pytest.mark.usefixtures("ctrl_c_raises")
def test_an_interrupted_or_stopped_training_is_a_finished_run(log_file):
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file), Interrupted()]).fit(X, Y)
    assert events(log_file) == [*ALL_EVENTS[:3], "results 1", "close failed=False"]
    log_file.unlink()
    stop = EarlyStopping("train_loss", patience=2, threshold=1000, threshold_mode="abs")
    NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file), stop]).fit(X, Y)
    assert events(log_file) == [*ALL_EVENTS[:5], "results 3", "close failed=False"]


class Interrupted(Callback):
    """Presses Ctrl-C in the second epoch."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            signal.raise_signal(signal.SIGINT)


def test_an_error_in_opening_the_run_is_raised_before_the_training(log_file):
    with pytest.raises(OSError, match="the disk is full"):
        NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file, fails_at="open")]).fit(X, Y)
    assert events(log_file) == ["open"]


@pytest.mark.parametrize("event", ALL_EVENTS[1:])
def test_a_later_error_is_a_warning_and_the_fit_is_kept(log_file, event):
    clf = NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file, fails_at=event)])
    with pytest.warns(UserWarning, match=r"The file tracker did not log everything: OSError\('the disk is full'\)"):
        clf.fit(X, Y)
    assert events(log_file) == ALL_EVENTS
    assert clf.n_iter_ == 4


def test_partial_fits_in_a_users_run_write_one_description_and_no_results(log_file):
    clf = NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file, owns_run=False)])
    for _ in range(2):
        clf.partial_fit(X, Y, classes=[0, 1])
    close = "close failed=False"
    assert events(log_file) == [*ALL_EVENTS[:3], close, "open", "epoch 2", close]


def test_a_warm_start_continues_the_count_of_epochs(log_file):
    clf = NeuralClassifier(**SMALL, warm_start=True, callbacks=[FileTracker(log_file)]).fit(X, Y)
    clf.set_params(max_iter=2).fit(X, Y)
    assert [event for event in events(log_file)[8:] if event.startswith("epoch")] == ["epoch 5", "epoch 6"]


def test_lbfgs_logs_its_iterations(log_file):
    clf = NeuralClassifier(
        **SMALL | {"max_iter": 3, "ensemble_size": 1}, solver="lbfgs", callbacks=[FileTracker(log_file)]
    )
    with pytest.warns(ConvergenceWarning):
        clf.fit(X, Y)
    assert [event for event in events(log_file) if event.startswith("epoch")] == ["epoch 1", "epoch 2", "epoch 3"]


def test_each_fit_of_a_search_is_a_run(log_file):
    clf = NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file)])
    GridSearchCV(clf, {"dropout": [0.0, 0.5]}, cv=2).fit(X, Y)
    assert events(log_file).count("close failed=False") == 5


@pytest.mark.parametrize(
    "tracker",
    [
        TensorBoardTracker("here", "name", 3, False),
        WandbTracker("p", "n", {"mode": "offline"}),
        MLflowTracker("e", "n"),
    ],
    ids=lambda tracker: tracker.tool,
)
@pytest.mark.parametrize("duplicate", [clone, copy.deepcopy, lambda clf: pickle.loads(pickle.dumps(clf))])
def test_an_estimator_with_a_tracker_can_be_cloned_copied_and_pickled(tracker, duplicate):
    clf = NeuralClassifier(callbacks=[tracker])
    copied = duplicate(clf).callbacks[0]
    assert type(copied) is type(tracker)
    assert copied is not tracker
    assert vars(copied) == vars(tracker)


def test_a_fitted_estimator_with_a_tracker_is_pickled_without_its_run(log_file):
    clf = NeuralClassifier(**SMALL, callbacks=[FileTracker(log_file)]).fit(X, Y)
    for copied in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
        np.testing.assert_array_equal(copied.predict_proba(X), clf.predict_proba(X))
        copied.fit(X, Y)
    assert events(log_file) == ALL_EVENTS * 3


# --- Values and parameters ------------------------------------------------------------------------------------------


def test_values_have_the_names_and_values_of_the_history():
    clf = NeuralClassifier(**SMALL, metrics=["accuracy"]).fit(X, Y)
    values = numeric_record(clf.net_.history[-1])
    names = {"train_loss", "valid_loss", "gap", "train_accuracy", "valid_accuracy", "learning_rate"}
    names |= {"seconds", "rows_per_second"}
    assert values.keys() == names
    assert all(values[name] == clf.history_[-1][name] for name in names)
    assert numeric_record(clf.history_[-1]) == values


def test_parameters_include_those_of_nested_estimators():
    clf = NeuralClassifier(class_weight={0: 1, 1: np.float64(2)}, callbacks=[WandbTracker()], solver=torch.optim.SGD)
    params = plain_params(make_pipeline(StandardScaler(), clf))
    assert params["standardscaler__with_mean"] is True
    assert params["neuralclassifier__class_weight"] == {"0": 1, "1": 2.0}
    assert params["neuralclassifier__callbacks"] == ["WandbTracker"]
    assert params["neuralclassifier__solver"] == "SGD"
    assert params["steps"] == [["standardscaler", "StandardScaler"], ["neuralclassifier", "NeuralClassifier"]]


odd = st.sampled_from([np.float32(1.5), np.arange(3), len, StandardScaler, StandardScaler(), np.random.RandomState(0)])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | odd,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers() | st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(anything)
def test_plain_values_are_json_and_stay_the_same(value):
    plain = to_plain(value)
    assert isinstance(json.dumps(plain), str)
    assert repr(to_plain(plain)) == repr(plain)


def test_the_results_of_a_fit_hold_the_weights_of_kinds_that_differ():
    params = {"hidden_layer_sizes": (6,), "max_iter": 4, "random_state": 0, "ensemble_size": 3}
    mixed, alike = NeuralClassifier(**params).fit(X, Y), NeuralClassifier(**params, **ALIKE).fit(X, Y)
    weights = {name: value for name, value in fit_results(mixed).items() if name.startswith("weight_")}
    assert weights == {
        "weight_batch_norm": pytest.approx(mixed.member_weights_[:2].sum()),
        "weight_piecewise_linear": pytest.approx(mixed.member_weights_[2]),
    }
    assert fit_results(alike).keys() == {"n_iter", "best_validation_score"}
