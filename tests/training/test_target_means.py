"""Target means: their values, that no row sees its own target, and that they change nothing else."""

import io
import pickle

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import TargetEncoder
from skorch.callbacks import Callback

import sknn
from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.model_selection import GridSearchCV
from sknn.network.embeddings import MEAN_FOLDS, CategoricalEmbedding
from sknn.training import target_means as module
from sknn.training.table import Table
from sknn.training.target_means import means_of_feature, noise_ratio, random_folds, target_means
from tests.common import ALIKE, QUICK, TINY

N = 300
MEANS = QUICK | {"target_means": True}


class Failing(Callback):
    """Fails in the first epoch."""

    def on_epoch_end(self, net, **kwargs):
        raise ZeroDivisionError


def data(n=N, n_levels=20, seed=0, spread=1.0):
    """Return a table with a category and a number, and a target that depends on both."""
    random = np.random.default_rng(seed)
    levels, x = random.integers(0, n_levels, n), random.normal(size=n)
    y = spread * random.normal(size=n_levels)[levels] + 0.5 * x + random.normal(size=n)
    return pd.DataFrame({"city": [f"city {level:04}" for level in levels], "x": x}), y


def squashed(means):
    return means / np.sqrt(1 + means**2)


def table_of(codes, y, weight=None):
    target = torch.as_tensor(y, dtype=torch.float64).reshape(len(y), -1)
    codes = torch.as_tensor(codes)
    folds = random_folds(len(y), 0)
    weight = None if weight is None else torch.as_tensor(weight, dtype=torch.float64)
    return Table(torch.zeros(len(y), 1), codes, target, weight, fold=folds)


@pytest.fixture
def fixed_ratio(monkeypatch):
    """Shrink as if each level had 3 rows more."""
    monkeypatch.setattr(module, "noise_ratio", lambda y, *_: y.new_full(y.shape[1:], 3.0))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_means_are_those_of_scikit_learns_target_encoder(fixed_ratio, n_classes):
    random = np.random.default_rng(0)
    codes, classes = random.integers(0, 9, (N, 2)), random.integers(0, n_classes, N)
    y = np.eye(n_classes)[classes] if n_classes > 2 else classes[:, None].astype(float)
    means = target_means(CategoricalEmbedding([9, 9], y.shape[1]), table_of(codes, y), torch.arange(N))
    encoder = TargetEncoder(smooth=3.0, target_type="binary" if n_classes == 2 else "multiclass").fit(codes, classes)
    expected = np.concatenate(encoder.encodings_).reshape(2, y.shape[1], 9).transpose(0, 2, 1).reshape(18, -1)
    np.testing.assert_allclose(means[:18], squashed((expected - y.mean(0)) / y.std(0)), atol=1e-12)


def test_a_row_sees_the_mean_of_the_other_folds(fixed_ratio):
    random = np.random.default_rng(1)
    codes, y, weight = random.integers(0, 5, N), random.normal(size=N), random.integers(1, 4, N)
    table = table_of(codes[:, None], y, weight)
    means = target_means(CategoricalEmbedding([5], 1), table, torch.arange(N)).view(MEAN_FOLDS + 1, 5)
    mean, std = np.average(y, weights=weight), np.sqrt(np.cov(y, fweights=weight, ddof=0))
    for i in range(N):
        others = (codes == codes[i]) & (table.fold.numpy() != table.fold[i].item())
        expected = (weight[others] * (y[others] - mean)).sum() / std / (weight[others].sum() + 3)
        assert means[table.fold[i], codes[i]].item() == pytest.approx(squashed(expected), abs=1e-12)


def test_a_row_of_weight_k_counts_as_k_rows():
    random = np.random.default_rng(2)
    codes, y, weight = random.integers(0, 5, (N, 1)), random.normal(size=N), random.integers(1, 4, N)
    weighted, repeated = table_of(codes, y, weight), table_of(codes.repeat(weight, 0), y.repeat(weight))
    repeated.fold = weighted.fold.repeat_interleave(torch.as_tensor(weight))
    layer = CategoricalEmbedding([5], 1)
    actual = target_means(layer, weighted, torch.arange(N))
    np.testing.assert_allclose(actual, target_means(layer, repeated, torch.arange(len(repeated))), rtol=1e-9)


def test_folds_are_equally_large_and_rows_for_validation_have_none():
    folds = random_folds(101, 7)
    assert folds[101:].tolist() == [0] * 7
    assert sorted(np.bincount(folds[:101])[1:]) == [20, 20, 20, 20, 21]


@pytest.mark.parametrize(("within", "between"), [(1.0, 1.0), (2.0, 0.5), (1.0, 3.0)])
def test_the_ratio_of_variances_is_estimated_without_bias(within, between):
    random, n_levels = np.random.default_rng(0), 20_000
    codes = np.concatenate([np.arange(n_levels), random.integers(0, n_levels, 100_000)])
    y = between * random.normal(size=n_levels)[codes] + within * random.normal(size=len(codes))
    y = torch.as_tensor(y - y.mean())[:, None]
    ratio = noise_ratio(y, torch.ones(len(y), dtype=torch.float64), torch.as_tensor(codes), n_levels)
    assert ratio.item() == pytest.approx(within**2 / between**2, rel=0.1)


@pytest.mark.parametrize(
    ("codes", "y"),
    [([1, 1, 1, 1], [0.5, -0.5, 1.0, -1.0]), ([1, 2, 3, 4], [1.0, -1.0, 2.0, -2.0]), ([1, 1, 2, 2], [0.0] * 4)],
    ids=["one level", "levels of one row", "a constant target"],
)
def test_means_are_finite(codes, y):
    y, codes = torch.tensor(y, dtype=torch.float64)[:, None], torch.tensor(codes)
    means = means_of_feature(y, torch.ones(4, dtype=torch.float64), codes, random_folds(4, 0), 6)
    assert means.isfinite().all()
    assert not means[:, [0, 5]].any()  # levels without rows have the mean of all rows


def test_held_out_rows_are_in_no_mean_of_their_member():
    X, y = data()
    settings = TINY | ALIKE | {"ensemble_size": 3, "target_means": True, "scaling": None}
    reg = NeuralRegressor(**settings).fit(X, y)
    held_out = [rows.numpy() for rows in reg.net_._held_out]
    for m, rows in enumerate(held_out):
        changed = y.copy()
        changed[rows] += 100.0
        again = NeuralRegressor(**settings).fit(X, changed)
        same = [
            torch.equal(a.means[k], b.means[k])
            for a, b in zip(categorical(reg), categorical(again), strict=True)
            for k in range(len(a.means))
        ]
        assert same == [k == m for k in range(3)]


def categorical(est):
    return [part.categorical for part in est.module_.parts if part.categorical.n_means]


def test_a_column_of_noise_with_1000_levels_adds_nothing():
    random = np.random.default_rng(0)
    X, y = data(2000, n_levels=10, spread=0.5)
    noise = pd.DataFrame({"noise": [f"level {i}" for i in random.integers(0, 1000, 2000)], "x": X["x"]})
    settings = MEANS | {"max_iter": 10, "ensemble_size": 4}
    reg = NeuralRegressor(**settings).fit(noise[:1400], y[:1400])
    assert all(abs(layer.means).mean() < 0.2 for layer in categorical(reg))  # of levels that differ: near 1
    rows, unit = slice(1400, None), y[:1400].var()
    error = np.mean((reg.predict(noise[rows]) - y[rows]) ** 2) / unit
    validation_error = -2 * reg.best_validation_score_
    without = NeuralRegressor(**settings).fit(noise[["x"]][:1400], y[:1400])
    error_without = np.mean((without.predict(noise[["x"]][rows]) - y[rows]) ** 2) / unit
    assert error == pytest.approx(error_without, rel=0.05)
    assert validation_error > error * 0.9  # held-out rows give the column no credit that it does not deserve


def test_target_means_help_where_levels_are_many_and_differ():
    X, y = data(1500, n_levels=300, spread=2.0)
    errors = {}
    for means in (False, True):
        reg = NeuralRegressor(**QUICK | {"target_means": means, "ensemble_size": 4}).fit(X[:1000], y[:1000])
        errors[means] = np.mean((reg.predict(X[1000:]) - y[1000:]) ** 2)
    assert errors[True] < 0.95 * errors[False]


@pytest.mark.parametrize("kind", ["regressor", "binary", "classes", "outputs"])
def test_saved_pickled_and_exported_models_predict_the_same(tmp_path, kind):
    X, y = data()
    X.loc[3, "city"] = None
    estimator, target = NeuralRegressor(**MEANS), y
    if kind == "outputs":
        target = np.column_stack([y, -y])
    elif kind != "regressor":
        estimator, target = NeuralClassifier(**MEANS), np.digitize(y, [0.0] if kind == "binary" else [-0.5, 0.5])
    estimator.fit(X, target)
    new = pd.concat([X[:50], pd.DataFrame({"city": ["elsewhere", None], "x": [0.1, np.nan]})], ignore_index=True)
    predict = "predict" if kind in ("regressor", "outputs") else "predict_proba"
    expected = getattr(estimator, predict)(new)
    sknn.save(estimator, tmp_path / "model.sknn")
    for copy in (sknn.load(tmp_path / "model.sknn"), pickle.loads(pickle.dumps(estimator))):
        np.testing.assert_array_equal(getattr(copy, predict)(new), expected)
    session = onnxruntime.InferenceSession(to_onnx(estimator).SerializeToString())
    inputs = {"city": new[["city"]].fillna("").to_numpy(dtype=object), "x": new[["x"]].to_numpy()}
    outputs = session.run(None, inputs)
    np.testing.assert_allclose(np.squeeze(outputs[-1]), np.squeeze(expected), rtol=1e-4, atol=1e-5)


def test_a_search_gives_the_means_and_weights_of_single_fits():
    X, y = data()
    search = GridSearchCV(NeuralRegressor(**MEANS), {"learning_rate_init": [0.01, 0.03]}, cv=2, scoring="r2")
    search.fit(X, y)
    single = NeuralRegressor(**MEANS | search.best_params_).fit(X, y)
    np.testing.assert_array_equal(search.best_estimator_.predict(X), single.predict(X))
    half = N // 2
    reg = NeuralRegressor(**MEANS | search.best_params_).fit(X[half:], y[half:])
    best = search.cv_results_["split0_test_score"][search.best_index_]
    assert reg.score(X[:half], y[:half]) == pytest.approx(best, abs=1e-12)


def test_partial_fit_keeps_the_means_of_its_first_rows_and_a_warm_start_takes_new_ones():
    X, y = data()
    reg = NeuralRegressor(**TINY | {"target_means": True}).partial_fit(X, y)
    before = categorical(reg)[0].means.clone()
    assert before.any()
    reg.partial_fit(X, -y)
    assert torch.equal(categorical(reg)[0].means, before)
    warm = NeuralRegressor(**TINY | {"target_means": True, "warm_start": True, "early_stopping": False}).fit(X, y)
    before = categorical(warm)[0].means.clone()
    warm.fit(X, -y)
    torch.testing.assert_close(categorical(warm)[0].means, -before)


def test_a_failed_warm_start_restores_the_means():
    X, y = data()
    reg = NeuralRegressor(**TINY | {"target_means": True, "warm_start": True}).fit(X, y)
    buffer = io.BytesIO()
    torch.save([layer.means for layer in categorical(reg)], buffer)
    with pytest.raises(ZeroDivisionError):
        reg.set_params(callbacks=[Failing()]).fit(X, y * 3)
    buffer.seek(0)
    for layer, means in zip(categorical(reg), torch.load(buffer), strict=True):
        assert torch.equal(layer.means, means)
