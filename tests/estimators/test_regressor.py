"""Targets that are not numeric, targets of any size, and weights of any size."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import d2_pinball_score, r2_score

from sknn import NeuralClassifier, NeuralRegressor, OnnxPredictor
from sknn.export import to_onnx, to_torch_program

SMALL = dict(hidden_layer_sizes=(16,), ensemble_size=2, max_iter=25, learning_rate_init=0.02, random_state=0)
SMALL |= dict(n_threads=1)
X = np.random.default_rng(0).normal(size=(150, 3))
VALUES = X[:, 0] + np.abs(X[:, 1]) - 0.2
LIMIT = np.finfo(np.float64).max


def raises(text, error=ValueError):
    return pytest.raises(error, match=f"^{re.escape(text)}")


# --- Values that are not numeric ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (["no", "ok"] * 75, "y holds 'no', which is not a number; a regressor takes numbers, NeuralClassifier labels."),
        (np.array(["no", 1.5] * 75, dtype=object), "y holds 'no', which is not a number"),
        (["1.5", "2"] * 75, "y holds '1.5', which is not a number"),
        (pd.Series(["1.5", "2"] * 75), "y holds '1.5', which is not a number"),
        (np.array(["2020-01-01"] * 150, dtype="datetime64[D]"), "y holds datetime.date(2020, 1, 1), which is not a"),
        (np.array([1, 10**400] * 75, dtype=object), "y holds a number that is too large for float64; divide y."),
        (np.full((150, 2), "a"), "y holds 'a', which is not a number"),
        (VALUES + 1j, "Complex data not supported"),
    ],
    ids=["labels", "objects", "digits", "series", "dates", "huge", "columns", "complex"],
)
def test_values_that_are_not_numeric_are_refused(y, text):
    with raises(text):
        NeuralRegressor(**SMALL).fit(X, y)
    reg = NeuralRegressor(**SMALL)
    with raises(text):
        reg.fit(X, VALUES, X_val=X, y_val=y)
    assert not hasattr(reg, "net_")


@pytest.mark.parametrize("sparse_type", [sp.csr_array, sp.csc_matrix, sp.coo_array])
@pytest.mark.parametrize("columns", [1, 2])
def test_the_error_for_sparse_values_names_the_argument(sparse_type, columns):
    with raises("Sparse data was passed for y, but dense data is required. Use '.toarray()'", TypeError):
        NeuralRegressor(**SMALL).fit(X, sparse_type(X[:, :columns]))
    with raises("Sparse data was passed for y_val, but dense data is required. Use '.toarray()'", TypeError):
        NeuralRegressor(**SMALL).fit(X, X[:, :columns], X_val=X, y_val=sparse_type(X[:, :columns]))


def test_y_may_have_any_numeric_type():
    expected = NeuralRegressor(**SMALL).fit(X, np.round(VALUES)).predict(X)
    integers = np.round(VALUES).astype(int)
    for y in (
        integers,
        integers.astype(object),
        integers.astype(np.float32),
        pd.Series(integers, dtype="Int64"),
        integers.tolist(),
    ):
        np.testing.assert_array_equal(NeuralRegressor(**SMALL).fit(X, y).predict(X), expected)
    NeuralRegressor(**SMALL).fit(X, VALUES > 0)


# --- Values of any size -------------------------------------------------------------------------------------------

SIZES = [2.0**-1000, 2.0**-900, 2.0**-520, 2.0**-130, 2.0**130, 2.0**520, 2.0**900, 2.0**1020]


@pytest.mark.sample(5)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma"])
def test_predictions_scale_exactly_with_y(size, loss):
    """The sizes are powers of two, so that nothing is rounded."""
    y = np.abs(VALUES) + 0.1 if loss in ("poisson", "gamma") else VALUES
    reg = NeuralRegressor(loss=loss, **SMALL | dict(metrics=[] if loss == "quantile" else ["r2", "rmse"]))
    plain = reg.fit(X, y).predict(X)
    curve, score, last = reg.loss_curve_, reg.score(X, y), reg.history_[-1]
    with np.errstate(all="raise", under="ignore"):
        reg.fit(X, size * y)
        predicted = reg.predict(X)
    assert reg.loss_curve_ == curve
    np.testing.assert_array_equal(predicted, size * plain)
    assert score > 0.3
    assert reg.score(X, size * y) == score
    if loss != "quantile":
        assert (reg.history_[-1]["valid_r2"], reg.history_[-1]["train_r2"]) == (last["valid_r2"], last["train_r2"])
        assert reg.history_[-1]["valid_rmse"] == pytest.approx(size * last["valid_rmse"], rel=1e-6)


@pytest.mark.parametrize("scale", [1e154, 1e200, 1e300, 1e-154, 1e-300])
def test_outputs_may_have_very_different_sizes(scale):
    y = np.column_stack([VALUES, scale * X[:, 2]])
    reg = NeuralRegressor(**SMALL, metrics=["rmse"]).fit(X, y)
    assert r2_score(VALUES, reg.predict(X)[:, 0]) > 0.3
    assert reg.score(X, y) > 0.5
    assert np.isfinite(reg.history_[-1]["valid_rmse"])


@pytest.mark.parametrize("scaling", ["auto", "standard"])
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")  # scikit-learn sums y to find NaN
def test_values_near_the_limits_of_float64_are_fitted(scaling):
    y = np.where(VALUES > 0, LIMIT / 3, -LIMIT / 3)
    reg = NeuralRegressor(**SMALL | dict(scaling=scaling)).fit(X, y)
    assert np.isfinite(reg.predict(X)).all()
    assert reg.score(X, y) > 0.3


@pytest.mark.parametrize("size", [1e-300, 1e-40, 1e40, 1e300])
def test_predictions_are_float64_if_the_values_do_not_fit_in_float32(size):
    X32 = X.astype(np.float32)
    reg = NeuralRegressor(**SMALL).fit(X32, size * VALUES)
    assert reg.predict(X32).dtype == np.float64
    assert reg.score(X32, size * VALUES) > 0.3
    assert NeuralRegressor(**SMALL).fit(X32, 1e30 * VALUES).predict(X32).dtype == np.float32


@pytest.mark.parametrize(("scaling", "size"), [(None, 1e38), (None, 1e154), (None, 1e300), (None, 1e-50)])
@pytest.mark.parametrize("name", ["y", "y_val"])
@pytest.mark.filterwarnings("ignore::sknn.TrainingWarning")  # such a training does not improve
def test_the_error_for_unscaled_values_that_are_too_large_or_small_names_y(scaling, size, name):
    reg = NeuralRegressor(**SMALL | dict(scaling=scaling))
    rows = (X, size * VALUES) if name == "y" else (X, VALUES, None, X, size * VALUES)
    too = "large for their squares" if size > 1 else "small"
    with pytest.raises(ValueError, match=rf"^y holds values up to [\d.e+-]+, which are too {too} .* float32"):
        reg.fit(*rows)
    double = NeuralRegressor(**SMALL | dict(scaling=scaling, precision="float64"))
    if 1e-50 < size < 1e154:
        double.fit(*rows)  # the squares of the values fit in float64


def test_values_far_from_those_of_the_first_fit_are_refused():
    reg = NeuralRegressor(**SMALL).partial_fit(X, VALUES)
    for size in (1e30, LIMIT):
        with raises("y holds values up to "):
            reg.partial_fit(X, np.full(150, size))
        with raises("y holds values up to "):
            NeuralRegressor(**SMALL).fit(X, VALUES, X_val=X, y_val=np.full(150, size))


@pytest.mark.sample(3)
@pytest.mark.parametrize("loss", ["squared_error", "gamma"])
@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e200])
def test_models_of_values_of_any_size_are_exported_and_pickled(size, loss):
    y = size * (np.abs(VALUES) + 0.1)
    reg = NeuralRegressor(loss=loss, **SMALL).fit(X, y)
    expected = reg.predict(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reg)).predict(X), expected)
    np.testing.assert_allclose(OnnxPredictor(to_onnx(reg, X).SerializeToString()).predict(X), expected, rtol=1e-4)
    program = to_torch_program(reg, X).module()
    np.testing.assert_allclose(program(torch.from_numpy(X)).numpy(), expected, rtol=1e-4)


def test_scores_equal_those_of_scikit_learn():
    reg = NeuralRegressor(**SMALL).fit(X, VALUES)
    weight = np.arange(1.0, 151)
    assert reg.score(X, VALUES) == r2_score(VALUES, reg.predict(X))
    assert reg.score(X, VALUES, weight) == r2_score(VALUES, reg.predict(X), sample_weight=weight)
    reg = NeuralRegressor(loss="quantile", quantile=0.3, **SMALL).fit(X, VALUES)
    assert reg.score(X, VALUES) == d2_pinball_score(VALUES, reg.predict(X), alpha=0.3)
    assert NeuralRegressor(**SMALL).fit(X, VALUES).score(X, 1e-300 * VALUES) < -1e100
    with pytest.raises(ValueError, match="Input contains NaN"):
        reg.score(X, np.full(150, np.nan))


# --- Weights of any size ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2.0**-1000, 2.0**-130, 2.0**130, 2.0**1000])
@pytest.mark.parametrize("cls", [NeuralClassifier, NeuralRegressor])
def test_only_the_ratios_of_sample_weights_matter(cls, size):
    y = VALUES > 0 if cls is NeuralClassifier else VALUES
    weight = np.random.default_rng(1).uniform(0.5, 2, 150)
    est = cls(**SMALL, metrics=["accuracy" if cls is NeuralClassifier else "r2"])
    expected = est.fit(X, y, sample_weight=weight, X_val=X, y_val=y, sample_weight_val=weight).predict(X)
    curves = est.loss_curve_, est.validation_scores_
    with np.errstate(all="raise", under="ignore"):
        est.fit(X, y, sample_weight=size * weight, X_val=X, y_val=y, sample_weight_val=weight / size)
    np.testing.assert_array_equal(est.predict(X), expected)
    assert (est.loss_curve_, est.validation_scores_) == curves


@pytest.mark.parametrize("size", [2.0**-130, 2.0**130])
def test_only_the_ratios_of_class_weights_matter(size):
    y = VALUES > 0
    expected = NeuralClassifier(**SMALL, class_weight={True: 3.0}).fit(X, y).predict_proba(X)
    weights = {False: size, True: 3 * size}
    clf = NeuralClassifier(**SMALL, class_weight=weights).fit(X, y, sample_weight=np.full(150, size))
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-4)


def test_rows_with_tiny_weights_have_no_effect():
    weight, y = np.ones(150), VALUES.copy()
    weight[:30], y[:30] = 1e-39, 100
    reg = NeuralRegressor(**SMALL | dict(early_stopping=False)).fit(X, y, sample_weight=weight)
    assert np.abs(reg.predict(X)).max() < 10
