"""Bad input: errors name the parameter or the data, the value, and the way out."""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import GradientNormClipping

from sknn import NeuralClassifier, NeuralRegressor
from tests.common import ALIKE

QUICK = dict(hidden_layer_sizes=(8,), ensemble_size=2, max_iter=3, random_state=0, n_threads=1)
X, y = load_breast_cancer(return_X_y=True)
X, y = X[:120], y[:120]


def raises(text, error=ValueError):
    return pytest.raises(error, match=re.escape(text))


# --- Tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_in_a_table_is_refused(value):
    bad = X.copy()
    bad[3, 2] = value
    text = "Input X contains infinity or a value too large for dtype('float64'), in column 2."
    with raises(text):
        NeuralClassifier(**QUICK).fit(bad, y)
    with raises(text):
        NeuralClassifier(**QUICK).fit(pd.DataFrame(bad), y)
    with raises(text):
        NeuralClassifier(**QUICK).fit(X, y).predict(bad)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (np.empty((0, 3)), "0 sample(s)"),
        (np.empty((3, 0)), "0 feature(s)"),
        (pd.DataFrame({"a": []}), "0 sample(s)"),
        (pd.DataFrame(index=range(3)), "0 feature(s)"),
        (np.zeros(3), "Expected 2D array, got 1D array instead"),
        (np.zeros((3, 2), dtype=complex), "Complex data not supported"),
    ],
    ids=["no rows", "no columns", "frame without rows", "frame without columns", "one dimension", "complex"],
)
def test_unusable_tables_are_refused(table, text):
    with raises(text):
        NeuralClassifier(**QUICK).fit(table, np.arange(len(table)) % 2)


def test_a_column_of_dates_is_refused():
    frame = pd.DataFrame({"when": pd.date_range("2020-01-01", periods=120), "x": X[:, 0]})
    with raises("Column 'when' has the dtype datetime64"):
        NeuralClassifier(**QUICK).fit(frame, y)


def test_duplicate_column_names_are_refused():
    frame = pd.DataFrame(X[:, :3], columns=["a", "b", "a"])
    with raises("X has several columns named ['a']; give each a name of its own"):
        NeuralClassifier(**QUICK).fit(frame, y)
    clf = NeuralClassifier(**QUICK).fit(frame.set_axis(["a", "b", "c"], axis=1), y)
    with raises("X has several columns named ['a']; give each a name of its own"):
        clf.predict(frame)


def test_a_table_of_missing_values_gives_a_constant_prediction():
    frame = pd.DataFrame({"a": pd.Series([None] * 120, dtype="str"), "b": pd.Categorical([None] * 120)})
    clf = NeuralClassifier(**QUICK | dict(early_stopping=False, max_iter=20, learning_rate_init=0.05)).fit(frame, y)
    p = clf.predict_proba(pd.DataFrame({"a": ["x", None], "b": ["y", "z"]}))[:, 1]
    assert p[0] == p[1] == pytest.approx(y.mean(), abs=0.05)


def test_missing_extra_or_reordered_columns_are_refused():
    frame = pd.DataFrame(X[:, :3], columns=["a", "b", "c"])
    clf = NeuralClassifier(**QUICK).fit(frame, y)
    with raises("Feature names seen at fit time, yet now missing:\n- c"):
        clf.predict(frame[["a", "b"]])
    with raises("Feature names unseen at fit time:\n- d"):
        clf.predict(frame.assign(d=1))
    with raises("Feature names must be in the same order as they were in fit"):
        clf.predict(frame[["b", "a", "c"]])
    with raises("X has 2 features, but NeuralClassifier is expecting 3 features"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        clf.predict(X[:, :2])


def test_strings_in_a_numeric_column_are_refused_by_predict():
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    clf = NeuralClassifier(**QUICK).fit(frame, y)
    with raises("Column 'a' held numbers in fit"):
        clf.predict(pd.DataFrame({"a": ["x"], "b": [1.0]}))


def test_an_unfitted_estimator_is_refused():
    with pytest.raises(AttributeError, match="NeuralClassifier has no history_ before fit"):
        _ = NeuralClassifier().history_
    with pytest.raises(Exception, match="is not fitted yet"):
        NeuralClassifier().predict(X)


# --- Targets and weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (np.linspace(0, 1, 120), "Unknown label type: continuous"),
        (np.r_[y[:-1].astype(float), np.nan], "Input y contains NaN"),
        (None, "requires y to be passed, but the target y is None"),
        (y[:-1], "inconsistent numbers of samples"),
        (np.column_stack([y, y + np.arange(120) % 3]), "multiclass-multioutput"),
    ],
    ids=["continuous", "nan", "none", "short", "multioutput"],
)
def test_unusable_targets_are_refused(target, text):
    with raises(text):
        NeuralClassifier(**QUICK).fit(X, target)


def test_targets_outside_the_range_of_a_loss_are_refused():
    X, y = load_diabetes(return_X_y=True)
    with raises("y holds -1, but this loss needs values zero or more"):
        NeuralRegressor(loss="poisson", **QUICK).fit(X, np.r_[-1, y[1:]])
    with raises("y holds 0, but this loss needs values above zero"):
        NeuralRegressor(loss="gamma", **QUICK).fit(X, np.r_[0, y[1:]])
    with raises("Input y contains infinity"):
        NeuralRegressor(**QUICK).fit(X, np.r_[np.inf, y[1:]])


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        (-np.ones(120), "Negative values in data passed to `sample_weight`"),
        (np.zeros(120), "at least one"),
        (np.ones(119), "sample_weight.shape == (119,), expected (120,)"),
        (np.full(120, np.nan), "contains NaN"),
    ],
    ids=["negative", "zero", "short", "nan"],
)
def test_unusable_weights_are_refused(weight, text):
    with raises(text):
        NeuralClassifier(**QUICK).fit(X, y, sample_weight=weight)


def test_x_val_without_y_val_is_refused_and_vice_versa():
    with raises("the target y_val is None"):
        NeuralClassifier(**QUICK).fit(X, y, X_val=X)
    with raises("y_val was given without X_val"):
        NeuralClassifier(**QUICK).fit(X, y, y_val=y)


NAMED = pd.DataFrame(X[:, :3], columns=["a", "b", "c"])


@pytest.mark.parametrize(
    ("table", "validation", "difference"),
    [
        (X, X[:, :5], "X_val has 5 columns without names, and X has 30 columns without names"),
        (X[:, :3], NAMED, "X_val has the columns ['a', 'b', 'c'], and X has 3 columns without names"),
        (NAMED, X[:, :3], "X_val has 3 columns without names, and X has the columns ['a', 'b', 'c']"),
        (NAMED, NAMED[["a", "b"]], "X_val has the columns ['a', 'b'], and X has the columns ['a', 'b', 'c']"),
        (NAMED, NAMED[["b", "a", "c"]], "X_val has the columns ['b', 'a', 'c'], and X has the columns ['a', 'b', 'c']"),
        (NAMED, NAMED.rename(columns={"c": "d"}), "X_val has the columns ['a', 'b', 'd'], and X has the columns"),
        (pd.DataFrame(X), pd.DataFrame(X)[[0, 1]], "X_val has 2 columns without names, and X has 30 columns without"),
        (sp.csr_array(X), sp.csr_array(X[:, :2]), "X_val has 2 columns without names, and X has 30 columns without"),
        (X.tolist(), X[:, :2].tolist(), "X_val has 2 columns without names, and X has 30 columns without names"),
    ],
    ids=["number", "names", "no names", "fewer", "order", "other", "numbered", "sparse", "lists"],
)
def test_validation_rows_with_other_columns_are_refused(table, validation, difference):
    with raises(difference) as error:
        NeuralClassifier(**QUICK).fit(table, y, X_val=validation, y_val=y)
    assert "In a Pipeline, only X goes through the steps before" in str(error.value)
    assert "transform_input=['X_val']" in str(error.value)


def test_validation_rows_may_come_in_another_container():
    for table, validation in [
        (NAMED, pl.from_pandas(NAMED)),
        (X, X.tolist()),
        (X, sp.csr_array(X)),
        (X, pd.DataFrame(X)),
    ]:
        clf = NeuralClassifier(**QUICK).fit(table, y, X_val=validation, y_val=y)
        assert clf.validation_scores_


@pytest.mark.parametrize("routing", [False, True])
def test_a_pipeline_that_does_not_transform_validation_rows_is_refused(routing):
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    with sklearn.config_context(enable_metadata_routing=routing):
        net = NeuralClassifier(**QUICK)
        if routing:
            net.set_fit_request(X_val=True, y_val=True)
        pipeline, prefix = make_pipeline(StandardScaler(), net), "" if routing else "neuralclassifier__"
        with raises("X_val has the columns ['mean radius', ") as error:
            pipeline.fit(X[:300], y[:300], **{f"{prefix}X_val": X[300:], f"{prefix}y_val": y[300:]})
        assert "and 27 others, and X has 30 columns without names" in str(error.value)


def test_a_pipeline_can_transform_validation_rows():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    train, valid = (X[:300], y[:300]), (X[300:], y[300:])
    with sklearn.config_context(enable_metadata_routing=True):
        net = NeuralClassifier(**QUICK).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), net, transform_input=["X_val"])
        pipeline.fit(*train, X_val=valid[0], y_val=valid[1])
    scaler = StandardScaler().fit(X[:300])
    expected = NeuralClassifier(**QUICK).fit(
        scaler.transform(X[:300]), y[:300], X_val=scaler.transform(X[300:]), y_val=y[300:]
    )
    assert pipeline[-1].validation_scores_ == expected.validation_scores_


# --- Parameters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"activation": "relo"}, "Did you mean activation='relu'?"),
        ({"solver": "adamn"}, "Did you mean solver="),
        ({"learning_rate": "cosin"}, "Did you mean learning_rate='cosine'?"),
        ({"scaling": "robst"}, "Did you mean scaling='robust'?"),
        ({"numeric_embedding": "periodc"}, "Did you mean numeric_embedding='periodic'?"),
        ({"precision": "float23"}, "Did you mean precision='float32'?"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"dropout": (0.1, 0.2)}, "has 2 rates for 1 hidden layers"),
        ({"dropout": (1.5,)}, "must be in [0, 1)"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must be > 0"),
        ({"hidden_layer_sizes": (8.5,)}, "whole numbers"),
        ({"ensemble_size": 0}, "The 'ensemble_size' parameter"),
        ({"max_iter": 0}, "The 'max_iter' parameter"),
        ({"device": "gpu"}, "device='gpu' is unknown; use one of auto, cpu, cuda"),
        ({"device": "cuda:7"}, "device='cuda:7' is not on this machine"),
        ({"scoring": "acuracy"}, "'acuracy' is not a valid scoring value"),
        ({"metrics": ["acuracy"]}, "'acuracy' is not a valid scoring value"),
        ({"categorical_features": ["a"]}, "but X has no column names"),
        ({"categorical_features": [99]}, "indices go from 0 to 29"),
        ({"class_weight": "balance"}, "Did you mean class_weight='balanced'?"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_invalid_parameters_are_refused(params, text):
    with raises(text):
        NeuralClassifier(**QUICK | params).fit(X, y)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"solver": torch.optim.SGD([torch.zeros(1, requires_grad=True)])}, "The 'solver' parameter"),
        ({"solver": print}, "must be a name, or a torch.optim.Optimizer class"),
        ({"module": torch.nn.Linear(3, 1)}, "got an instance of Linear"),
        ({"module": lambda x: x}, "has to accept two arguments"),
        ({"module": lambda i, o: 3}, "got int"),
    ],
    ids=["solver instance", "solver function", "module instance", "module signature", "module result"],
)
def test_objects_of_the_wrong_type_are_refused(params, text):
    with pytest.raises((TypeError, ValueError), match=re.escape(text)):
        NeuralClassifier(**QUICK | params).fit(X, y)


@pytest.mark.parametrize("quantile", [(0.9, 0.1), (0.0, 0.5), 1.5, (0.5, 0.5)], ids=str)
def test_invalid_quantiles_are_refused(quantile):
    with raises("must hold increasing numbers between 0 and 1"):
        NeuralRegressor(loss="quantile", quantile=quantile, **QUICK).fit(X, X[:, 0])


def test_several_quantiles_with_several_outputs_are_refused():
    with raises("holds several quantiles, which works for one output only"):
        NeuralRegressor(loss="quantile", quantile=(0.1, 0.9), **QUICK).fit(X, X[:, :2])


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("acc", "accuracy"),
        ("auc", "roc_auc"),
        ("logloss", "log_loss"),
        ("f1_score", "f1"),
        ("MSE", "neg_mean_squared_error"),
        ("mae", "neg_mean_absolute_error"),
        ("r2_score", "r2"),
        ("balanced_acuracy", "balanced_accuracy"),
    ],
)
def test_metric_names_of_other_libraries_get_a_suggestion(name, suggestion):
    for params in ({"metrics": [name]}, {"metrics": name}, {"scoring": name}):
        with raises(f"{name!r} is not a valid scoring value") as error:
            NeuralClassifier(**QUICK | params).fit(X, y)
        assert str(error.value).endswith(f" Did you mean {suggestion!r}?")


# --- During training ----------------------------------------------------------------------------------------------


def test_a_loss_that_is_never_finite_is_an_error():
    with raises("The training loss became NaN or infinite in epoch 1. Try a smaller learning_rate_init"):
        NeuralRegressor(loss=lambda z, y: (z - y).square() * torch.nan, **QUICK).fit(X, X[:, 0])


def test_a_loss_that_becomes_nan_keeps_the_best_weights():
    calls = []

    def nan_after_60_calls(z, y):
        calls.append(1)
        return (z - y).square() * (torch.nan if len(calls) > 60 else 1.0)

    params = QUICK | dict(max_iter=200, ensemble_size=1, early_stopping=False)
    with pytest.warns(UserWarning, match="became NaN or infinite.*weights of the best epoch before are kept"):
        reg = NeuralRegressor(loss=nan_after_60_calls, **params).fit(X, X[:, 0])
    assert np.isfinite(reg.predict(X)).all()
    assert 1 < reg.n_iter_ < 200


def test_divergence_names_the_parameter_that_prevents_it():
    params = QUICK | dict(solver="sgd", learning_rate_init=1.0, scaling=None, max_iter=5, early_stopping=False)
    with pytest.raises(ValueError, match=r"became NaN or infinite.*max_grad_norm=1\.0"):
        NeuralRegressor(**params).fit(X, 1e4 * X[:, 0])
    clipped = NeuralRegressor(max_grad_norm=1e-3, **params).fit(X, 1e4 * X[:, 0])
    assert np.isfinite(clipped.predict(X)).all()


def test_gradient_clipping_prevents_divergence():
    params = QUICK | dict(solver="sgd", learning_rate_init=1.0, scaling=None, max_iter=5, early_stopping=False)
    with pytest.raises(ValueError, match="became NaN or infinite"):
        NeuralRegressor(**params).fit(X, 1e4 * X[:, 0])
    clipped = NeuralRegressor(callbacks=[GradientNormClipping(1e-3)], **params).fit(X, 1e4 * X[:, 0])
    assert np.isfinite(clipped.predict(X)).all()


def test_a_module_with_a_wrong_output_shape_is_refused():
    for module in (lambda i, o: torch.nn.Linear(i, o + 2), lambda i, o: torch.nn.Sequential(torch.nn.Flatten(0))):
        with pytest.raises(ValueError, match=r"gives an output of shape .*this target needs|without parameters"):
            NeuralRegressor(module=module, **QUICK).fit(X, X[:, 0])


def test_images_with_missing_values_are_refused():
    images = np.zeros((40, 1, 4, 4))
    images[3] = np.nan

    def flatten_and_linear(in_features, out_features):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, out_features))

    with raises("Input X contains NaN"):
        NeuralClassifier(module=flatten_and_linear, **QUICK).fit(images, y[:40])


def test_a_module_that_writes_into_its_input_does_not_change_the_users_array():
    def inplace(in_features, out_features):
        return torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Flatten(), torch.nn.Linear(16, out_features))

    images = np.random.default_rng(0).normal(size=(80, 1, 4, 4)).astype(np.float32)
    before = images.copy()
    clf = NeuralClassifier(module=inplace, precision="float32", **QUICK).fit(images, y[:80])
    clf.predict_proba(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", ["log_loss", "rmse"])
def test_scoring_by_a_metric_for_which_lower_is_better_is_refused(name):
    with raises(f"scoring='{name}' is better where it is smaller; use scoring='loss'"):
        NeuralRegressor(scoring=name, **QUICK).fit(X, X[:, 0])


def test_metrics_that_do_not_fit_the_target_are_refused():
    with raises("'roc_auc' does not apply to this kind of target; for several classes use 'roc_auc_ovr'"):
        NeuralClassifier(metrics=["roc_auc"], **QUICK).fit(X, np.arange(120) % 3)
    with raises("'rmse' does not apply to this kind of target"):
        NeuralClassifier(metrics=["rmse"], **QUICK).fit(X, y)
    with raises("Did you mean 'accuracy'?"):
        NeuralClassifier(metrics=["acuracy"], **QUICK).fit(X, y)


def test_activation_names_of_other_libraries_get_a_suggestion():
    with raises("Did you mean activation='silu'?"):
        NeuralClassifier(activation="swish", **QUICK).fit(X, y)
    with raises("Did you mean activation='relu'?"):
        NeuralClassifier(activation="ReLU", **QUICK).fit(X, y)


def test_numeric_columns_stay_numeric_beside_strings_in_lists():
    rows = [[0.1 * i, "ab"[i % 2]] for i in range(60)]
    clf = NeuralClassifier(**QUICK | ALIKE).fit(rows, [i // 30 for i in range(60)])
    assert clf.module_.layers[0].in_features == 2


@pytest.mark.parametrize("units", [(10**7, 10**7), (10**10, 10**10), (3 * 10**5, 3 * 10**5)], ids=str)
def test_a_network_larger_than_memory_is_refused_before_allocation(units):
    params = QUICK | dict(hidden_layer_sizes=units, ensemble_size="auto")
    text = (
        rf"^hidden_layer_sizes={re.escape(str(units))} with ensemble_size='auto' makes 8 networks of [\d,]+ weights; "
        r"these and their gradients take [\d,]+ GB, and the device has \d+ GB. Use fewer units, or a smaller "
        r"ensemble_size\.$"
    )
    with pytest.raises(MemoryError, match=text):
        NeuralClassifier(**params).fit(X, y)


def test_out_of_memory_suggests_a_batch_size():
    class Greedy(torch.nn.Module):
        def __init__(self, in_features, out_features):
            super().__init__()
            self.out = torch.nn.Linear(in_features, out_features)

        def forward(self, x):
            torch.empty(1 << 60)  # raises the allocator's own error
            return self.out(x)

    with raises("batch_size=16 and ensemble_size=2 does not fit in the device's memory. Try batch_size=8", MemoryError):
        NeuralClassifier(module=Greedy, **QUICK).fit(X, y)
