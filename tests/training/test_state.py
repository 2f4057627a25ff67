"""Every way of keeping a fitted estimator: the same predictions to the last bit, no data, and training that goes on."""

import copy
import functools
import pickle
import threading
import warnings

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import skops.io
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from skorch.callbacks import Callback, EpochTimer, Freezer
from torch import nn

import sknn
from sknn import NeuralClassifier, NeuralRegressor
from sknn.persistence import TRUSTED_TYPES
from sknn.training.state import move_net

pytestmark = pytest.mark.filterwarnings("ignore:.*holds no level that was seen in fit")  # on purpose

N = 40
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(N, 4))
CODES = (np.arange(N) % 12).astype(str)
VALUES = NUMBERS[:, 0] + RNG.normal(size=N)
MIXED = pd.DataFrame(
    {
        "number": np.where(np.arange(N) % 5, NUMBERS[:, 0], np.nan),
        "city": pd.Categorical.from_codes(np.arange(N) % 3 - (np.arange(N) % 7 == 0), ["Oslo", "Rome", "Bern"]),
        "code": CODES,
        "flag": NUMBERS[:, 1] > 0,
    }
)
UNSEEN = MIXED.assign(city=["Rome", *["Paris"] * (N - 1)], code=[None, *CODES[1:]])
TINY = dict(hidden_layer_sizes=(5,), max_iter=2, ensemble_size=1, batch_size=20, random_state=0, n_threads=1)


class Net(nn.Module):
    """With a batch norm, whose count of batches is no float, and dropout, which draws."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(in_features, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(4, out_features)

    def forward(self, x):
        return self.head(self.body(x))


def convolutional(in_features, out_features):
    return nn.Sequential(nn.Conv2d(in_features[0], 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, out_features))


TARGETS = {
    "binary": (NeuralClassifier, np.where(VALUES > 0, 1, -1).astype(np.int8), {}),
    "multiclass": (NeuralClassifier, np.digitize(VALUES, [-1, 1]), dict(class_weight={0: 2.0})),
    "string labels": (NeuralClassifier, np.where(VALUES > 0, "up", "down").astype(object), dict(label_smoothing=0.1)),
    "multilabel": (NeuralClassifier, (NUMBERS[:, :3] > 0).astype(int), {}),
    "regressor": (NeuralRegressor, VALUES, dict(metrics=["r2"])),
    "multi-output": (NeuralRegressor, NUMBERS[:, :2] * 5, dict(loss="huber", batch_norm=True)),
    "quantiles": (NeuralRegressor, VALUES, dict(loss="quantile", quantile=(0.1, 0.5, 0.9))),
}
TABLES = {
    "numeric": (NUMBERS, NUMBERS, dict(solver="lbfgs")),
    "mixed": (MIXED, UNSEEN, dict(scaling="quantile")),
    "sparse": (sp.csr_array(np.where(NUMBERS > 0, NUMBERS, 0)), sp.csr_array(NUMBERS.clip(-1, 1)), dict(solver="sgd")),
    "ensemble": (NUMBERS, NUMBERS.astype(np.float32), dict(ensemble_size=3, solver=torch.optim.RMSprop)),
    "embeddings": (MIXED, UNSEEN, dict(numeric_embedding="piecewise_linear", ensemble_size=2)),
    "module": (MIXED, UNSEEN, dict(module=Net, ensemble_size=2)),
}
OWN_CODE = [f"{Net.__module__}.Net", f"{Net.__module__}.convolutional", "torch.optim.rmsprop.RMSprop"]


def through_sknn(est, folder):
    sknn.save(est, folder / "model.sknn")
    return sknn.load(folder / "model.sknn", **({"module": est.module} if est.module else {}))


def through_joblib(est, folder):
    joblib.dump(est, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


def through_skops(est, folder):
    skops.io.dump(est, folder / "model.skops")
    return skops.io.load(folder / "model.skops", trusted=[*TRUSTED_TYPES, *OWN_CODE])


WAYS = {
    "sknn": through_sknn,
    "pickle": lambda est, folder: pickle.loads(pickle.dumps(est)),
    "joblib": through_joblib,
    "cloudpickle": lambda est, folder: cloudpickle.loads(cloudpickle.dumps(est)),
    "deepcopy": lambda est, folder: copy.deepcopy(est),
    "skops": through_skops,
}


@functools.cache
def fitted(target, table):
    """Each cell of the matrix is fitted once."""
    cls, y, params = TARGETS[target]
    X, _, more = TABLES[table]
    return quietly(cls(**TINY | params | more).fit, X, y)


def quietly(function, *args):
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # two iterations are a few for lbfgs
        return function(*args)


def predictions(est, X):
    return [getattr(est, name)(X) for name in ("predict", "predict_proba") if hasattr(est, name)]


def assert_same(one, other, X):
    for ours, theirs in zip(predictions(one, X), predictions(other, X), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("target", TARGETS)
def test_predictions_are_the_same_to_the_last_bit(target, table, way, tmp_path):
    est = fitted(target, table)
    restored = WAYS[way](est, tmp_path)
    assert_same(restored, est, TABLES[table][1])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("table", TABLES)
def test_all_that_a_fit_leaves_survives(table, way, tmp_path):
    est = fitted("multiclass", table)
    restored = WAYS[way](est, tmp_path)
    assert restored.get_params() == est.get_params()
    assert restored.history_ == est.history_
    for name in [name for name in dir(est) if name.endswith("_") and not name.startswith("_")]:
        if name not in ("net_", "module_") and hasattr(est, name):
            np.testing.assert_equal(getattr(restored, name), getattr(est, name))
    assert (restored.net_.epochs_, restored.net_.rows_seen_) == (est.net_.epochs_, est.net_.rows_seen_)
    assert type(restored.net_) is type(est.net_)
    assert not restored.module_.training


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("table", ["sparse", "ensemble", "embeddings", "module"])
def test_partial_fit_goes_on_as_if_nothing_had_been(table, way, tmp_path):
    X, _, params = TABLES[table]
    y = TARGETS["binary"][1]
    est = NeuralClassifier(**TINY | params).partial_fit(X, y, classes=[-1, 1])
    restored = WAYS[way](est, tmp_path)
    for one in (est, restored):
        one.partial_fit(X, y)
    assert torch.equal(restored.module_.param_buffer, est.module_.param_buffer)
    assert restored.history_[-1]["train_loss"] == est.history_[-1]["train_loss"]


@pytest.mark.parametrize("way", WAYS)
def test_a_warm_start_goes_on_as_if_nothing_had_been(way, tmp_path):
    X, _, params = TABLES["module"]
    y = TARGETS["regressor"][1]
    est = NeuralRegressor(warm_start=True, **TINY | params).fit(X, y)
    restored = WAYS[way](est, tmp_path)
    for one in (est, restored):
        one.fit(X, y)
    assert torch.equal(restored.module_.param_buffer, est.module_.param_buffer)


@pytest.mark.parametrize("way", WAYS)
def test_frozen_parameters_stay_frozen(way, tmp_path):
    est = NeuralRegressor(**TINY, callbacks=[Freezer("layers.0.*")]).fit(NUMBERS, VALUES)
    est.set_params(callbacks=None)
    restored = WAYS[way](est, tmp_path)
    frozen = {name for name, p in restored.module_.named_parameters() if not p.requires_grad}
    assert frozen == {"layers.0.scale", "layers.0.weight", "layers.0.bias"}


@pytest.mark.parametrize("way", WAYS)
def test_rows_of_more_dimensions(way, tmp_path):
    images = np.random.default_rng(0).normal(size=(N, 1, 3, 3))
    est = NeuralRegressor(module=convolutional, **TINY).fit(images, VALUES)
    assert_same(WAYS[way](est, tmp_path), est, images)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "sknn"])
def test_an_estimator_that_is_not_fitted_stays_so(way, tmp_path):
    restored = WAYS[way](NeuralClassifier(alpha=0.5), tmp_path)
    assert restored.alpha == 0.5
    assert not hasattr(restored, "net_")


@pytest.mark.parametrize("way", WAYS)
def test_parameters_that_were_changed_after_the_fit_do_not_change_the_network(way, tmp_path):
    est = NeuralRegressor(**TINY, loss="quantile", quantile=(0.2, 0.8)).fit(NUMBERS, VALUES)
    est.set_params(hidden_layer_sizes=(9, 9), solver="lbfgs", batch_norm=True)
    restored = WAYS[way](est, tmp_path)
    assert_same(restored, est, NUMBERS)
    assert restored.get_params() == est.get_params()


@pytest.mark.parametrize(
    ("cls", "y", "params"),
    [
        (NeuralClassifier, VALUES > 0, dict(hidden_layer_sizes=(256, 256), ensemble_size=2)),
        (NeuralClassifier, VALUES > 0, dict()),
        (NeuralRegressor, VALUES, dict(hidden_layer_sizes=(300,), max_iter=40, early_stopping=False)),
        (NeuralRegressor, VALUES, dict(numeric_embedding="periodic", batch_norm=True)),
        (NeuralRegressor, VALUES, dict(module=Net, ensemble_size=12)),
        (NeuralRegressor, VALUES, dict(solver="lbfgs", precision="float32", hidden_layer_sizes=(64,))),
    ],
)
@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
def test_a_pickle_holds_weights_and_little_else(cls, y, params, dumps):
    X = np.random.default_rng(0).normal(size=(2000, 30))
    wide = dict(max_iter=1, random_state=0, n_threads=1)
    est = quietly(cls(**wide | params).fit, X, np.resize(y, 2000))
    weights = 4 * sum(p.numel() for p in est.module_.parameters())
    assert len(dumps(est)) < 1.2 * weights + 50_000


def test_a_file_of_joblib_is_as_small(tmp_path):
    est = NeuralRegressor(max_iter=1, random_state=0).fit(np.resize(NUMBERS, (1500, 4)), np.resize(VALUES, 1500))
    joblib.dump(est, tmp_path / "model.joblib")
    weights = 4 * sum(p.numel() for p in est.module_.parameters())
    assert (tmp_path / "model.joblib").stat().st_size < 1.2 * weights + 50_000


def test_the_state_is_plain_data():
    plain = {type(None), bool, int, float, str, list, tuple, dict, np.ndarray}

    def kinds(value):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return {type(value)}.union(*(kinds(item) for item in inner))

    for target in TARGETS:
        for table in TABLES:
            assert kinds(fitted(target, table).__getstate__()["_net"]) <= plain
    est = NeuralClassifier(**TINY).partial_fit(NUMBERS, VALUES > 0, classes=[False, True])
    assert kinds(est.__getstate__()["_net"]) <= plain


def test_numbers_that_do_not_fit_the_network_are_refused():
    state = fitted("regressor", "ensemble").__getstate__()
    state["_net"] = copy.deepcopy(state["_net"])
    name, array = next(iter(state["_net"]["arrays"].items()))
    state["_net"]["arrays"][name] = array[:, :1]
    with pytest.raises(ValueError, match=rf"^{name} has to be float32 of shape \(3, .*; got float32 of shape \(3, 1"):
        NeuralRegressor().__setstate__(state)


def test_a_network_that_does_not_fit_the_encoders_is_refused():
    state = fitted("regressor", "embeddings").__getstate__()
    state["_net"] = copy.deepcopy(state["_net"])
    state["_net"]["network"]["n_levels"] = (99,)
    with pytest.raises(ValueError, match=r"the encoders and the target need a network of sizes .* it has .*\(99,\)"):
        NeuralRegressor().__setstate__(state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("table", TABLES)
def test_what_a_gpu_trained_predicts_the_same_there_and_runs_on_a_cpu(table, tmp_path):
    X, new, params = TABLES[table]
    est = quietly(NeuralRegressor(**TINY | params | dict(device="cuda")).fit, X, VALUES)
    given = {"module": Net} if est.module else {}
    sknn.save(est, tmp_path / "model.sknn")
    assert_same(sknn.load(tmp_path / "model.sknn", **given), est, new)
    assert_same(copy.deepcopy(est), est, new)
    on_cpu = sknn.load(tmp_path / "model.sknn", device="cpu", **given)
    assert on_cpu.device_.type == "cpu"
    np.testing.assert_allclose(on_cpu.predict(new), est.predict(new), rtol=1e-3, atol=1e-4)
    unpickled = pickle.loads(pickle.dumps(est))
    assert unpickled.device_.type == "cpu"
    assert_same(unpickled, on_cpu, new)


class Logger(Callback):
    """Holds what no pickle takes."""

    def __init__(self):
        self.lock = threading.Lock()


def test_a_callback_that_is_left_out_of_a_copy_is_named():
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    clf = NeuralClassifier(4, max_iter=1, random_state=0, callbacks=[EpochTimer(), ("log", Logger())]).fit(X, y)
    with pytest.warns(UserWarning, match=r"callbacks Logger can't be pickled.*set_params\(callbacks="):
        data = pickle.dumps(clf)
    assert [type(callback) for callback in pickle.loads(data).callbacks] == [EpochTimer]


def test_a_network_that_is_moved_predicts_and_trains_on():
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    settings = {"hidden_layer_sizes": 4, "random_state": 0}
    moved, left = (NeuralClassifier(**settings).partial_fit(X, y, classes=[0, 1]) for _ in range(2))
    assert moved.to_device("cpu") is moved
    np.testing.assert_array_equal(moved.predict_proba(X), left.predict_proba(X))
    np.testing.assert_array_equal(moved.partial_fit(X, y).predict_proba(X), left.partial_fit(X, y).predict_proba(X))


def test_a_network_goes_to_the_device_that_is_named():
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    clf = NeuralClassifier(4, max_iter=1, random_state=0)
    with pytest.raises(NotFittedError):
        clf.to_device("cpu")
    clf.fit(X, y)
    with pytest.raises(ValueError, match="device='tpu' is unknown"):
        clf.to_device("tpu")
    move_net(clf.net_, torch.device("meta"))  # which every machine has
    assert clf.device_.type == "meta"
