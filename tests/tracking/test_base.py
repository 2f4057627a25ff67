"""What every tracker does: it follows a fit to its end, however that comes, and does it no harm."""

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
from sknn.tracking.base import Tracker, parameters_of, plain, values_of
from tests.common import SMALL

X, Y = make_classification(60, 5, random_state=0)


class Diary(Tracker):
    """Writes a line per event into a file; `fails_at` names an event at which the disk is full."""

    tool = "The diary"

    def __init__(self, path, fails_at=None, is_ours=True):
        self.path, self.fails_at, self.is_ours = path, fails_at, is_ours

    def note(self, event):
        with Path(self.path).open("a") as file:
            file.write(f"{event}\n")
        if event == self.fails_at:
            raise OSError("the disk is full")

    def open(self, estimator):
        self.is_ours_ = self.is_ours
        self.note("open")

    def describe(self, estimator, X, y):
        self.note(f"describe {type(estimator).__name__} {len(X)} {len(y)}")

    def write(self, epoch, values, net):
        self.note(f"epoch {epoch}")

    def conclude(self, estimator, X, y):
        self.note(f"conclude {estimator.n_iter_}")

    def close(self, failed):
        self.note(f"close failed={failed}")


class StopsInEpochTwo(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise self.error


WHOLE = ["open", "describe NeuralClassifier 60 60", *[f"epoch {k}" for k in (1, 2, 3, 4)]]
WHOLE += ["conclude 4", "close failed=False"]


@pytest.fixture
def diary(tmp_path):
    return tmp_path / "diary.txt"


def events(diary):
    return diary.read_text().splitlines()


def test_a_tracker_follows_a_fit_from_its_first_line_to_its_last(diary):
    NeuralClassifier(**SMALL, callbacks=[Diary(diary)]).fit(X, Y)
    assert events(diary) == WHOLE


def test_two_fits_with_the_same_callback_are_two_runs(diary):
    clf = NeuralClassifier(**SMALL, callbacks=[Diary(diary)])
    before = dict(vars(clf.callbacks[0]))
    clf.fit(X, Y).fit(X, Y)
    assert events(diary) == WHOLE + WHOLE
    assert vars(clf.callbacks[0]) == before


def test_a_tracker_may_be_named_or_given_as_its_class(diary, monkeypatch):
    monkeypatch.setattr(Diary, "__init__", lambda self: vars(self).update(path=diary, fails_at=None, is_ours=True))
    NeuralClassifier(**SMALL, callbacks=[("mine", Diary())]).fit(X, Y)
    NeuralClassifier(**SMALL, callbacks=[Diary]).fit(X, Y)
    assert events(diary) == WHOLE + WHOLE


def test_a_tracker_changes_nothing_in_the_network(diary):
    tracked = NeuralClassifier(**SMALL, callbacks=[Diary(diary)]).fit(X, Y)
    assert torch.equal(tracked.module_.param_buffer, NeuralClassifier(**SMALL).fit(X, Y).module_.param_buffer)


def test_a_training_that_fails_closes_the_run_as_failed(diary):
    clf = NeuralClassifier(**SMALL, callbacks=[Diary(diary), StopsInEpochTwo(RuntimeError("no more"))])
    with pytest.raises(RuntimeError, match="no more"):
        clf.fit(X, Y)
    assert events(diary) == [*WHOLE[:4], "close failed=True"]
    assert not hasattr(clf, "net_")


def test_a_training_that_diverges_closes_the_run_as_failed(diary):
    reg = NeuralRegressor(**SMALL, solver="sgd", learning_rate_init=1e30, callbacks=[Diary(diary)])
    with pytest.raises(ValueError, match="became NaN or infinite in epoch 1"):
        reg.fit(X, X[:, 0])
    assert events(diary)[-1] == "close failed=True"


def test_data_that_is_refused_closes_the_run_as_failed(diary):
    with pytest.raises(ValueError, match="contains infinity"):
        NeuralClassifier(**SMALL, callbacks=[Diary(diary)]).fit(np.where(X > 1, np.inf, X), Y)
    assert events(diary) == [*WHOLE[:2], "close failed=True"]


@pytest.mark.usefixtures("ctrl_c_raises")
def test_a_training_that_is_interrupted_or_stops_early_has_come_to_its_end(diary):
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        NeuralClassifier(**SMALL, callbacks=[Diary(diary), Interrupted()]).fit(X, Y)
    assert events(diary) == [*WHOLE[:3], "conclude 1", "close failed=False"]
    diary.unlink()
    stop = EarlyStopping("train_loss", patience=2, threshold=1000, threshold_mode="abs")
    NeuralClassifier(**SMALL, callbacks=[Diary(diary), stop]).fit(X, Y)
    assert events(diary) == [*WHOLE[:5], "conclude 3", "close failed=False"]


class Interrupted(Callback):
    """Ctrl-C in the second epoch."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            signal.raise_signal(signal.SIGINT)


def test_a_run_that_cannot_be_opened_is_an_error_before_the_training(diary):
    with pytest.raises(OSError, match="the disk is full"):
        NeuralClassifier(**SMALL, callbacks=[Diary(diary, fails_at="open")]).fit(X, Y)
    assert events(diary) == ["open"]


@pytest.mark.parametrize("event", WHOLE[1:])
def test_what_goes_wrong_later_is_warned_of_and_the_fit_is_kept(diary, event):
    clf = NeuralClassifier(**SMALL, callbacks=[Diary(diary, fails_at=event)])
    with pytest.warns(UserWarning, match=r"The diary did not take everything: OSError\('the disk is full'\)"):
        clf.fit(X, Y)
    assert events(diary) == WHOLE
    assert clf.n_iter_ == 4


def test_partial_fit_concludes_nothing_and_describes_itself_once_in_a_run_of_the_users(diary):
    clf = NeuralClassifier(**SMALL, callbacks=[Diary(diary, is_ours=False)])
    for _ in range(2):
        clf.partial_fit(X, Y, classes=[0, 1])
    close = "close failed=False"
    assert events(diary) == [*WHOLE[:3], close, "open", "epoch 2", close]


def test_a_warm_start_counts_its_epochs_on(diary):
    clf = NeuralClassifier(**SMALL, warm_start=True, callbacks=[Diary(diary)]).fit(X, Y)
    clf.set_params(max_iter=2).fit(X, Y)
    assert [event for event in events(diary)[8:] if event.startswith("epoch")] == ["epoch 5", "epoch 6"]


def test_lbfgs_tells_its_iterations(diary):
    clf = NeuralClassifier(**SMALL | {"max_iter": 3, "ensemble_size": 1}, solver="lbfgs", callbacks=[Diary(diary)])
    with pytest.warns(ConvergenceWarning):
        clf.fit(X, Y)
    assert [event for event in events(diary) if event.startswith("epoch")] == ["epoch 1", "epoch 2", "epoch 3"]


def test_each_fit_of_a_search_is_a_run(diary):
    clf = NeuralClassifier(**SMALL, callbacks=[Diary(diary)])
    GridSearchCV(clf, {"dropout": [0.0, 0.5]}, cv=2).fit(X, Y)
    assert events(diary).count("close failed=False") == 5


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
    twin = duplicate(clf).callbacks[0]
    assert type(twin) is type(tracker)
    assert twin is not tracker
    assert vars(twin) == vars(tracker)


def test_a_fitted_estimator_with_a_tracker_is_pickled_without_its_run(diary):
    clf = NeuralClassifier(**SMALL, callbacks=[Diary(diary)]).fit(X, Y)
    for twin in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
        np.testing.assert_array_equal(twin.predict_proba(X), clf.predict_proba(X))
        twin.fit(X, Y)
    assert events(diary) == WHOLE * 3


# --- What is written ------------------------------------------------------------------------------------------------


def test_values_have_the_names_and_numbers_of_the_history():
    clf = NeuralClassifier(**SMALL, metrics=["accuracy"]).fit(X, Y)
    values = values_of(clf.net_.history[-1])
    names = {"train_loss", "valid_loss", "gap", "train_accuracy", "valid_accuracy", "learning_rate"}
    names |= {"seconds", "rows_per_second"}
    assert values.keys() == names
    assert all(values[name] == clf.history_[-1][name] for name in names)
    assert values_of(clf.history_[-1]) == values


def test_parameters_are_those_of_all_estimators_in_an_estimator():
    clf = NeuralClassifier(class_weight={0: 1, 1: np.float64(2)}, callbacks=[WandbTracker()], solver=torch.optim.SGD)
    params = parameters_of(make_pipeline(StandardScaler(), clf))
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
def test_plain_values_can_be_written_down_and_are_as_plain_as_can_be(value):
    once = plain(value)
    assert isinstance(json.dumps(once), str)
    assert repr(plain(once)) == repr(once)
