"""Copies, pickles and files of fitted estimators: exact predictions, no training data, and resumed training."""

import copy
import functools
import pickle
import threading

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import skops.io
import torch
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EpochTimer, Freezer
from torch import nn

import sknn
from sknn import NeuralClassifier, NeuralRegressor
from sknn.persistence import TRUSTED_TYPES
from sknn.training.state import move_net
from tests.common import quietly

pytestmark = pytest.mark.filterwarnings("ignore:.*holds no level that was seen in fit")  # as in UNSEEN

N = 40
RNG = np.random.default_rng(0)
NUMERIC = RNG.normal(size=(N, 4))
CODES = (np.arange(N) % 12).astype(str)
VALUES = NUMERIC[:, 0] + RNG.normal(size=N)
MIXED = pd.DataFrame(
    {
        "number": np.where(np.arange(N) % 5, NUMERIC[:, 0], np.nan),
        "city": pd.Categorical.from_codes(np.arange(N) % 3 - (np.arange(N) % 7 == 0), ["Oslo", "Rome", "Bern"]),
        "code": CODES,
        "flag": NUMERIC[:, 1] > 0,
    }
)
UNSEEN = MIXED.assign(city=["Rome", *["Paris"] * (N - 1)], code=[None, *CODES[1:]])
TINY = dict(hidden_layer_sizes=(5,), max_iter=2, ensemble_size=1, batch_size=20, random_state=0, n_threads=1)


class Net(nn.Module):
    """A module with batch norm, which counts batches in an integer, and dropout, which needs a generator."""

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
    "multilabel": (NeuralClassifier, (NUMERIC[:, :3] > 0).astype(int), {}),
    "regressor": (NeuralRegressor, VALUES, dict(metrics=["r2"])),
    "multi-output": (NeuralRegressor, NUMERIC[:, :2] * 5, dict(loss="huber", batch_norm=True)),
    "quantiles": (NeuralRegressor, VALUES, dict(loss="quantile", quantile=(0.1, 0.5, 0.9))),
}
TABLES = {
    "numeric": (NUMERIC, NUMERIC, dict(solver="lbfgs")),
    "mixed": (MIXED, UNSEEN, dict(scaling="quantile")),
    "sparse": (sp.csr_array(np.where(NUMERIC > 0, NUMERIC, 0)), sp.csr_array(NUMERIC.clip(-1, 1)), dict(solver="sgd")),
    "ensemble": (NUMERIC, NUMERIC.astype(np.float32), dict(ensemble_size=3, solver=torch.optim.RMSprop)),
    "embeddings": (MIXED, UNSEEN, dict(numeric_embedding="piecewise_linear", ensemble_size=2)),
    "module": (MIXED, UNSEEN, dict(module=Net, ensemble_size=2)),
}
CUSTOM_TYPES = [f"{Net.__module__}.Net", f"{Net.__module__}.convolutional", "torch.optim.rmsprop.RMSprop"]


def sknn_copy(est, folder):
    sknn.save(est, folder / "model.sknn")
    return sknn.load(folder / "model.sknn", **({"module": est.module} if est.module else {}))


def joblib_copy(est, folder):
    joblib.dump(est, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


def skops_copy(est, folder):
    skops.io.dump(est, folder / "model.skops")
    return skops.io.load(folder / "model.skops", trusted=[*TRUSTED_TYPES, *CUSTOM_TYPES])


COPIERS = {
    "sknn": sknn_copy,
    "pickle": lambda est, folder: pickle.loads(pickle.dumps(est)),
    "joblib": joblib_copy,
    "cloudpickle": lambda est, folder: cloudpickle.loads(cloudpickle.dumps(est)),
    "deepcopy": lambda est, folder: copy.deepcopy(est),
    "skops": skops_copy,
}


@functools.cache
def fitted(target, table):
    """Return the estimator of this target and table, which is fitted once."""
    cls, y, params = TARGETS[target]
    X, _, table_params = TABLES[table]
    return quietly(cls(**TINY | params | table_params).fit, X, y)


def predictions(est, X):
    return [getattr(est, name)(X) for name in ("predict", "predict_proba") if hasattr(est, name)]


def assert_same_predictions(copied, est, X):
    for actual, expected in zip(predictions(copied, X), predictions(est, X), strict=True):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("copier", COPIERS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_copy_predicts_the_same_to_the_last_bit(target, table, copier, tmp_path):
    est = fitted(target, table)
    restored = COPIERS[copier](est, tmp_path)
    assert_same_predictions(restored, est, TABLES[table][1])


@pytest.mark.parametrize("copier", COPIERS)
@pytest.mark.parametrize("table", TABLES)
def test_a_copy_has_all_fitted_attributes(table, copier, tmp_path):
    est = fitted("multiclass", table)
    restored = COPIERS[copier](est, tmp_path)
    assert restored.get_params() == est.get_params()
    assert restored.history_ == est.history_
    for name in [name for name in dir(est) if name.endswith("_") and not name.startswith("_")]:
        if name not in ("net_", "module_", "members_") and hasattr(est, name):
            np.testing.assert_equal(getattr(restored, name), getattr(est, name))
    assert restored.members_.equals(est.members_)
    assert (restored.net_.epochs_, restored.net_.rows_seen_) == (est.net_.epochs_, est.net_.rows_seen_)
    assert type(restored.net_) is type(est.net_)
    assert not restored.module_.training


@pytest.mark.parametrize("copier", COPIERS)
@pytest.mark.parametrize("table", ["sparse", "ensemble", "embeddings", "module"])
def test_partial_fit_of_a_copy_continues_exactly(table, copier, tmp_path):
    X, _, params = TABLES[table]
    y = TARGETS["binary"][1]
    est = NeuralClassifier(**TINY | params).partial_fit(X, y, classes=[-1, 1])
    restored = COPIERS[copier](est, tmp_path)
    for estimator in (est, restored):
        estimator.partial_fit(X, y)
    assert torch.equal(restored.module_.param_buffer, est.module_.param_buffer)
    assert restored.history_[-1]["train_loss"] == est.history_[-1]["train_loss"]


@pytest.mark.parametrize("copier", COPIERS)
def test_a_warm_start_of_a_copy_continues_exactly(copier, tmp_path):
    X, _, params = TABLES["module"]
    y = TARGETS["regressor"][1]
    est = NeuralRegressor(warm_start=True, **TINY | params).fit(X, y)
    restored = COPIERS[copier](est, tmp_path)
    for estimator in (est, restored):
        estimator.fit(X, y)
    assert torch.equal(restored.module_.param_buffer, est.module_.param_buffer)


@pytest.mark.parametrize("copier", COPIERS)
def test_frozen_parameters_stay_frozen(copier, tmp_path):
    est = NeuralRegressor(**TINY, callbacks=[Freezer("layers.0.*")]).fit(NUMERIC, VALUES)
    est.set_params(callbacks=None)
    restored = COPIERS[copier](est, tmp_path)
    frozen = {name for name, p in restored.module_.named_parameters() if not p.requires_grad}
    assert frozen == {"layers.0.scale", "layers.0.weight", "layers.0.bias"}


@pytest.mark.parametrize("copier", COPIERS)
def test_a_copy_predicts_rows_of_more_dimensions(copier, tmp_path):
    images = np.random.default_rng(0).normal(size=(N, 1, 3, 3))
    est = NeuralRegressor(module=convolutional, **TINY).fit(images, VALUES)
    assert_same_predictions(COPIERS[copier](est, tmp_path), est, images)


@pytest.mark.parametrize("copier", [name for name in COPIERS if name != "sknn"])
def test_a_copy_of_an_unfitted_estimator_is_unfitted(copier, tmp_path):
    restored = COPIERS[copier](NeuralClassifier(alpha=0.5), tmp_path)
    assert restored.alpha == 0.5
    assert not hasattr(restored, "net_")


@pytest.mark.parametrize("copier", COPIERS)
def test_parameters_changed_after_the_fit_do_not_change_the_network_of_a_copy(copier, tmp_path):
    est = NeuralRegressor(**TINY, loss="quantile", quantile=(0.2, 0.8)).fit(NUMERIC, VALUES)
    est.set_params(hidden_layer_sizes=(9, 9), solver="lbfgs", batch_norm=True)
    restored = COPIERS[copier](est, tmp_path)
    assert_same_predictions(restored, est, NUMERIC)
    assert restored.get_params() == est.get_params()


@pytest.mark.sample(4)
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
def test_a_pickle_is_little_larger_than_its_weights(cls, y, params, dumps):
    X = np.random.default_rng(0).normal(size=(2000, 30))
    settings = dict(max_iter=1, random_state=0, n_threads=1)
    est = quietly(cls(**settings | params).fit, X, np.resize(y, 2000))
    weights = 4 * sum(p.numel() for p in est.module_.parameters())
    assert len(dumps(est)) < 1.2 * weights + 50_000


def test_a_joblib_file_is_little_larger_than_its_weights(tmp_path):
    est = NeuralRegressor(max_iter=1, random_state=0).fit(np.resize(NUMERIC, (1500, 4)), np.resize(VALUES, 1500))
    joblib.dump(est, tmp_path / "model.joblib")
    weights = 4 * sum(p.numel() for p in est.module_.parameters())
    assert (tmp_path / "model.joblib").stat().st_size < 1.2 * weights + 50_000


def test_the_pickled_state_is_plain_data():
    plain = {type(None), bool, int, float, str, list, tuple, dict, np.ndarray}

    def types(value):
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return {type(value)}.union(*(types(item) for item in items))

    for target in TARGETS:
        for table in TABLES:
            assert types(fitted(target, table).__getstate__()["_net"]) <= plain
    est = NeuralClassifier(**TINY).partial_fit(NUMERIC, VALUES > 0, classes=[False, True])
    assert types(est.__getstate__()["_net"]) <= plain


def test_arrays_that_do_not_fit_the_network_are_refused():
    state = fitted("regressor", "ensemble").__getstate__()
    state["_net"] = copy.deepcopy(state["_net"])
    [arrays, *_] = [part["arrays"] for part in state["_net"]["parts"]]
    name, array = next(iter(arrays.items()))
    arrays[name] = array[:, :1]
    with pytest.raises(ValueError, match=rf"^{name} has to be float32 of shape \(2, .*; got float32 of shape \(2, 1"):
        NeuralRegressor().__setstate__(state)


def test_a_network_that_does_not_fit_the_encoders_is_refused():
    state = fitted("regressor", "embeddings").__getstate__()
    state["_net"] = copy.deepcopy(state["_net"])
    state["_net"]["parts"][0]["network"]["n_levels"] = (99,)
    with pytest.raises(ValueError, match=r"the encoders and the target need a network of sizes .* it has .*\(99,\)"):
        NeuralRegressor().__setstate__(state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("table", TABLES)
def test_a_model_trained_on_a_gpu_predicts_the_same_there_and_runs_on_a_cpu(table, tmp_path):
    X, new, params = TABLES[table]
    est = quietly(NeuralRegressor(**TINY | params | dict(device="cuda")).fit, X, VALUES)
    module = {"module": Net} if est.module else {}
    sknn.save(est, tmp_path / "model.sknn")
    assert_same_predictions(sknn.load(tmp_path / "model.sknn", **module), est, new)
    assert_same_predictions(copy.deepcopy(est), est, new)
    on_cpu = sknn.load(tmp_path / "model.sknn", device="cpu", **module)
    assert on_cpu.device_.type == "cpu"
    np.testing.assert_allclose(on_cpu.predict(new), est.predict(new), rtol=1e-3, atol=1e-4)
    unpickled = pickle.loads(pickle.dumps(est))
    assert unpickled.device_.type == "cpu"
    assert_same_predictions(unpickled, on_cpu, new)


class Logger(Callback):
    """Holds an object that cannot be pickled."""

    def __init__(self):
        self.lock = threading.Lock()


def test_a_warning_names_the_callbacks_that_cannot_be_pickled():
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    clf = NeuralClassifier(4, max_iter=1, random_state=0, callbacks=[EpochTimer(), ("log", Logger())]).fit(X, y)
    with pytest.warns(UserWarning, match=r"callbacks Logger can't be pickled.*set_params\(callbacks="):
        data = pickle.dumps(clf)
    assert [type(callback) for callback in pickle.loads(data).callbacks] == [EpochTimer]


def test_a_moved_network_predicts_and_resumes():
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    settings = {"hidden_layer_sizes": 4, "random_state": 0}
    moved, unmoved = (NeuralClassifier(**settings).partial_fit(X, y, classes=[0, 1]) for _ in range(2))
    assert moved.to_device("cpu") is moved
    np.testing.assert_array_equal(moved.predict_proba(X), unmoved.predict_proba(X))
    np.testing.assert_array_equal(moved.partial_fit(X, y).predict_proba(X), unmoved.partial_fit(X, y).predict_proba(X))


def test_to_device_moves_the_network_and_refuses_unknown_devices():
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    clf = NeuralClassifier(4, max_iter=1, random_state=0)
    with pytest.raises(NotFittedError):
        clf.to_device("cpu")
    clf.fit(X, y)
    with pytest.raises(ValueError, match="device='tpu' is unknown"):
        clf.to_device("tpu")
    move_net(clf.net_, torch.device("meta"))  # every machine has this device
    assert clf.device_.type == "meta"
