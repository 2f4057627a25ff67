"""`metrics` and `scoring` against scikit-learn's scores of the rows that each member held out."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    d2_pinball_score,
    f1_score,
    fbeta_score,
    log_loss,
    make_scorer,
    max_error,
    mean_absolute_error,
    mean_pinball_loss,
    mean_squared_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from sknn import NeuralClassifier, NeuralRegressor
from tests.common import ALIKE, WeightRecorder

N = 120
SMALL = {
    "hidden_layer_sizes": (10,),
    "ensemble_size": 2,
    "max_iter": 3,
    "random_state": 0,
    "scaling": "robust",
    "device": "cpu",
    "n_threads": 1,
    **ALIKE,
}
WEIGHT = np.random.default_rng(0).uniform(0.1, 3, N)
BINARY = make_classification(N, 6, flip_y=0.3, random_state=0)
MULTICLASS = make_classification(N, 6, n_informative=4, n_classes=3, flip_y=0.3, random_state=0)
MULTILABEL = make_multilabel_classification(N, 6, n_classes=3, random_state=0)
_X, _y = make_regression(N, 6, noise=30, random_state=0)
ONE_OUTPUT = _X, 1000 * _y + 5000
_X, _y = make_regression(N, 6, n_targets=2, noise=30, random_state=0)
TWO_OUTPUTS = _X, _y * [10, 1000] + [0, 5000]
with_and_without_weights = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])


def fit_and_record(cls, data, weight=None, **params):
    """Return the fitted estimator, the data of its training, and the weights at the start and after each epoch."""
    recorder = WeightRecorder()
    est = cls(**SMALL | params, callbacks=[recorder]).fit(*data, sample_weight=weight)
    return est, recorder.recorded.data, recorder.recorded.weights


def outputs(est, param_buffer, data, rows, m):
    """Return a member's raw outputs, by numpy: SiLU between linear layers."""
    network, x = est.module_, data.table.numeric[rows].numpy().astype(np.float64)
    for weight, bias in network.linears():
        z = x @ network.view(param_buffer, weight)[m].numpy() + network.view(param_buffer, bias)[m].numpy()
        x = z / (1 + np.exp(-z))
    return z


def probabilities(z, kind):
    if kind == "multiclass":
        e = np.exp(z - z.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)
    p = 1 / (1 + np.exp(-z))
    return np.hstack([1 - p, p]) if kind == "binary" else p


def labels(p, kind):
    return (p > 0.5).astype(int) if kind == "multilabel" else p.argmax(1)


def beta_scorer(estimator, X, y):
    return fbeta_score(y, estimator.predict(X), beta=2)


def weighted_scorer(estimator, X, y, sample_weight=None):
    return fbeta_score(y, estimator.predict(X), beta=2, sample_weight=sample_weight)


# kind of classification, scoring name, and the same score computed from true labels, predicted labels, p and weights
CLASSIFIER_SCORES = [
    ("binary", "accuracy", lambda y, label, p, w: accuracy_score(y, label, sample_weight=w)),
    ("binary", "roc_auc", lambda y, label, p, w: roc_auc_score(y, p[:, 1], sample_weight=w)),
    ("binary", "log_loss", lambda y, label, p, w: log_loss(y, p, sample_weight=w)),
    ("binary", "neg_log_loss", lambda y, label, p, w: -log_loss(y, p, sample_weight=w)),
    ("binary", "f1", lambda y, label, p, w: f1_score(y, label, sample_weight=w)),
    ("binary", "average_precision", lambda y, label, p, w: average_precision_score(y, p[:, 1], sample_weight=w)),
    ("multiclass", "accuracy", lambda y, label, p, w: accuracy_score(y, label, sample_weight=w)),
    ("multiclass", "log_loss", lambda y, label, p, w: log_loss(y, p, sample_weight=w)),
    ("multiclass", "balanced_accuracy", lambda y, label, p, w: balanced_accuracy_score(y, label, sample_weight=w)),
    ("multiclass", "roc_auc_ovr", lambda y, label, p, w: roc_auc_score(y, p, multi_class="ovr", sample_weight=w)),
    ("multilabel", "accuracy", lambda y, label, p, w: accuracy_score(y, label, sample_weight=w)),
    ("multilabel", "f1_macro", lambda y, label, p, w: f1_score(y, label, average="macro", sample_weight=w)),
]
TABLES = {"binary": BINARY, "multiclass": MULTICLASS, "multilabel": MULTILABEL}


def scoring_ids(value):
    return value if isinstance(value, str) else ""


@with_and_without_weights
@pytest.mark.parametrize(("kind", "name", "score"), CLASSIFIER_SCORES, ids=scoring_ids)
def test_a_validation_metric_is_scikit_learns_score_of_the_held_out_rows(kind, name, score, weight):
    y = TABLES[kind][1]
    est, data, weights = fit_and_record(NeuralClassifier, TABLES[kind], weight, metrics=[name])
    for row, param_buffer in zip(est.history_, weights[1:], strict=True):
        expected = []
        for m, rows in enumerate(data.valid_rows):
            p = probabilities(outputs(est, param_buffer, data, rows, m), kind)
            expected.append(score(y[rows], labels(p, kind), p, None if weight is None else weight[rows]))
        np.testing.assert_allclose(row[f"member_valid_{name}"], expected, rtol=1e-4)
        assert row[f"valid_{name}"] == pytest.approx(np.mean(expected), rel=1e-4)


@with_and_without_weights
@pytest.mark.parametrize(("kind", "name", "score"), CLASSIFIER_SCORES, ids=scoring_ids)
def test_a_training_metric_is_computed_from_the_outputs_of_the_steps(kind, name, score, weight):
    """With one batch and no dropout, these are the outputs of the weights before the epoch."""
    y, one_step = TABLES[kind][1], {"batch_size": N, "dropout": 0.0}
    est, data, weights = fit_and_record(NeuralClassifier, TABLES[kind], weight, metrics=[name], **one_step)
    for row, param_buffer in zip(est.history_, weights[:-1], strict=True):
        for m, rows in enumerate(data.train_rows):
            p = probabilities(outputs(est, param_buffer, data, rows, m), kind)
            expected = score(y[rows], labels(p, kind), p, None if weight is None else weight[rows])
            assert row[f"member_train_{name}"][m] == pytest.approx(expected, rel=1e-4)


@with_and_without_weights
@pytest.mark.parametrize(
    ("scoring", "score"),
    [
        (None, lambda y, label, p, w: accuracy_score(y, label, sample_weight=w)),
        ("roc_auc", lambda y, label, p, w: roc_auc_score(y, p[:, 1], sample_weight=w)),
        ("neg_log_loss", lambda y, label, p, w: -log_loss(y, p, sample_weight=w)),
        (weighted_scorer, lambda y, label, p, w: fbeta_score(y, label, beta=2, sample_weight=w)),
        (make_scorer(fbeta_score, beta=2), lambda y, label, p, w: fbeta_score(y, label, beta=2, sample_weight=w)),
        (
            make_scorer(log_loss, response_method="predict_proba", greater_is_better=False),
            lambda y, label, p, w: -log_loss(y, p, sample_weight=w),
        ),
    ],
    ids=["None", "table", "name", "callable", "make_scorer", "make_scorer of probabilities"],
)
def test_early_stopping_watches_the_score_of_the_held_out_rows(scoring, score, weight):
    y = BINARY[1]
    settings = {"scoring": scoring, "max_iter": 25, "n_iter_no_change": 3, "learning_rate_init": 0.02}
    est, data, weights = fit_and_record(NeuralClassifier, BINARY, weight, **settings | {"ensemble_size": 1})
    rows, valid_weight = data.valid_rows[0], None if weight is None else weight[data.valid_rows[0]]
    expected = []
    for param_buffer in weights[1:]:
        p = probabilities(outputs(est, param_buffer, data, rows, 0), "binary")
        expected.append(score(y[rows], p.argmax(1), p, valid_weight))
    np.testing.assert_allclose(est.validation_scores_, expected, rtol=1e-4)
    assert est.best_validation_score_ == pytest.approx(max(expected), rel=1e-4)
    # `index` finds the first of the best epochs; scores of few rows are often equal.
    assert torch.equal(est.module_.param_buffer, weights[1 + est.validation_scores_.index(max(est.validation_scores_))])


def test_multilabel_rows_with_one_label_each_are_scored_as_multilabel():
    """Their accuracy is that of all labels, and not that of the most probable label."""
    X, y = MULTICLASS
    indicators = np.eye(3, dtype=int)[y]
    est = NeuralClassifier(**SMALL | {"ensemble_size": 1}, metrics="accuracy", scoring="accuracy")
    est.fit(X, indicators, X_val=X[:50], y_val=indicators[:50])
    best = int(np.argmax([row["valid_score"] for row in est.history_]))
    assert est.history_[best]["valid_accuracy"] == pytest.approx(est.score(X[:50], indicators[:50]))
    most_probable = est.predict_proba(X[:50]).argmax(1)
    assert accuracy_score(y[:50], most_probable) > est.score(X[:50], indicators[:50])


def test_a_callable_without_sample_weight_is_called_without_it():
    """scikit-learn does the same."""
    est, data, weights = fit_and_record(NeuralClassifier, BINARY, WEIGHT, scoring=beta_scorer, ensemble_size=1)
    rows = data.valid_rows[0]
    p = probabilities(outputs(est, weights[-1], data, rows, 0), "binary")
    assert est.validation_scores_[-1] == pytest.approx(fbeta_score(BINARY[1][rows], p.argmax(1), beta=2))


def test_a_scorer_whose_metric_takes_no_weights_is_called_without_them():
    est, data, weights = fit_and_record(NeuralRegressor, ONE_OUTPUT, WEIGHT, scoring="neg_max_error", ensemble_size=1)
    rows, y = data.valid_rows[0], ONE_OUTPUT[1]
    assert est.validation_scores_[-1] == pytest.approx(
        -max_error(y[rows], values(est, weights[-1], data, y, 0, WEIGHT)), rel=1e-3
    )


def test_a_callable_metric_is_recorded_under_its_name():
    est, _, _ = fit_and_record(NeuralClassifier, BINARY, metrics=[beta_scorer])
    assert {"train_beta_scorer", "valid_beta_scorer"} <= est.history_[-1].keys()


def test_metrics_may_be_one_name_and_need_no_validation_rows():
    est = NeuralClassifier(**SMALL, metrics="accuracy", early_stopping=False).fit(*BINARY)
    assert "train_accuracy" in est.history_[-1]
    assert "valid_accuracy" not in est.history_[-1]


def test_several_metrics_are_recorded_and_do_not_change_the_training():
    names = ["accuracy", "roc_auc", "f1", "log_loss"]
    est = NeuralClassifier(**SMALL, metrics=names).fit(*BINARY)
    plain = NeuralClassifier(**SMALL).fit(*BINARY)
    assert {f"{part}_{name}" for part in ("train", "valid") for name in names} <= est.history_[-1].keys()
    assert torch.equal(est.module_.param_buffer, plain.module_.param_buffer)


def test_the_error_for_an_unknown_metric_names_it():
    with pytest.raises(ValueError, match="accuracyy"):
        NeuralClassifier(**SMALL, metrics=["accuracyy"]).fit(*BINARY)
    with pytest.raises(ValueError, match="accuracyy"):
        NeuralClassifier(**SMALL, scoring="accuracyy").fit(*BINARY)


def test_a_scorer_gets_the_original_labels():
    X, y = BINARY
    names = np.array(["no", "yes"])[y]
    seen = set()

    def scorer(estimator, X, y):
        seen.update(y.tolist(), estimator.predict(X).tolist(), estimator.classes_.tolist())
        return 0.0

    est = NeuralClassifier(**SMALL, scoring=scorer).fit(X, names)
    assert seen == {"no", "yes"} == set(est.classes_)


def test_class_weights_count_in_validation_metrics():
    settings = {"class_weight": {0: 1.0, 1: 5.0}, "metrics": ["accuracy"], "ensemble_size": 1}
    est, data, weights = fit_and_record(NeuralClassifier, BINARY, **settings)
    rows = data.valid_rows[0]
    y = BINARY[1][rows]
    label = outputs(est, weights[-1], data, rows, 0)[:, 0] > 0
    expected = accuracy_score(y, label, sample_weight=np.where(y == 1, 5.0, 1.0))
    assert est.history_[-1]["valid_accuracy"] == pytest.approx(expected, rel=1e-5)


# --- Regressors -------------------------------------------------------------------------------------------------------


def values(est, param_buffer, data, y, m, weight=None):
    """Return a member's predictions of the rows it held out, in the unit of y, which is scaled over all rows."""
    rows = data.valid_rows[m]
    mean = np.average(y, axis=0, weights=weight)
    std = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weight))
    p = outputs(est, param_buffer, data, rows, m) * std + mean
    return p[:, 0] if y.ndim == 1 else p


REGRESSOR_SCORES = [
    ("r2", lambda y, p, w: r2_score(y, p, sample_weight=w)),
    ("rmse", lambda y, p, w: root_mean_squared_error(y, p, sample_weight=w)),
    ("neg_mean_absolute_error", lambda y, p, w: -mean_absolute_error(y, p, sample_weight=w)),
    ("neg_mean_squared_error", lambda y, p, w: -mean_squared_error(y, p, sample_weight=w)),
]


@with_and_without_weights
@pytest.mark.parametrize("table", [ONE_OUTPUT, TWO_OUTPUTS], ids=["one output", "two outputs"])
@pytest.mark.parametrize(("name", "score"), REGRESSOR_SCORES, ids=scoring_ids)
def test_the_metrics_of_a_regressor_are_in_the_unit_of_y(name, score, table, weight):
    y = table[1]
    scoring = "loss" if name == "rmse" else name  # early stopping does not watch an error, of which less is better
    est, data, weights = fit_and_record(NeuralRegressor, table, weight, metrics=[name], scoring=scoring)
    for m, rows in enumerate(data.valid_rows):
        p = values(est, weights[-1], data, y, m, weight)
        expected = score(y[rows], p, None if weight is None else weight[rows])
        assert est.history_[-1][f"member_valid_{name}"][m] == pytest.approx(expected, rel=1e-3)
        if scoring == name:
            assert est.history_[-1]["member_valid_score"][m] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("scoring", [None, make_scorer(r2_score), "r2"], ids=["None", "make_scorer", "name"])
def test_the_default_score_of_a_regressor_is_r2(scoring):
    est, data, weights = fit_and_record(NeuralRegressor, ONE_OUTPUT, scoring=scoring)
    y = ONE_OUTPUT[1]
    for param_buffer, actual in zip(weights[1:], est.validation_scores_, strict=True):
        scores = [r2_score(y[rows], values(est, param_buffer, data, y, m)) for m, rows in enumerate(data.valid_rows)]
        assert actual == pytest.approx(np.mean(scores), rel=1e-3)


def test_scores_are_computed_after_the_inverse_of_a_log_link():
    X, y = ONE_OUTPUT
    counts = np.random.default_rng(0).poisson(np.exp((y - y.mean()) / y.std()) * 3)
    est, data, weights = fit_and_record(NeuralRegressor, (X, counts), loss="poisson", metrics=["rmse"])
    for m, rows in enumerate(data.valid_rows):
        p = np.exp(outputs(est, weights[-1], data, rows, m))[:, 0] * counts.mean()
        expected = root_mean_squared_error(counts[rows], p)
        assert est.history_[-1]["member_valid_rmse"][m] == pytest.approx(expected, rel=1e-4)


@with_and_without_weights
@pytest.mark.parametrize("quantile", [0.3, (0.1, 0.5, 0.9)])
def test_the_default_score_of_a_quantile_regressor_is_d2_pinball(quantile, weight):
    y = ONE_OUTPUT[1]
    settings = {"loss": "quantile", "quantile": quantile, "scoring": None}
    est, data, weights = fit_and_record(NeuralRegressor, ONE_OUTPUT, weight, **settings)
    quantiles = np.atleast_1d(quantile)
    mean = np.average(y, weights=weight)
    std = np.sqrt(np.average((y - mean) ** 2, weights=weight))
    for m, rows in enumerate(data.valid_rows):
        p = np.sort(outputs(est, weights[-1], data, rows, m), axis=1) * std + mean
        w = None if weight is None else weight[rows]
        scores = [
            d2_pinball_score(y[rows], column, alpha=q, sample_weight=w)
            for q, column in zip(quantiles, p.T, strict=True)
        ]
        assert est.history_[-1]["member_valid_score"][m] == pytest.approx(np.mean(scores), abs=1e-3)


def test_a_quantile_regressor_accepts_a_pinball_scorer():
    scorer = make_scorer(mean_pinball_loss, alpha=0.3, greater_is_better=False)
    est, data, weights = fit_and_record(NeuralRegressor, ONE_OUTPUT, loss="quantile", quantile=0.3, scoring=scorer)
    y = ONE_OUTPUT[1]
    for m, rows in enumerate(data.valid_rows):
        expected = -mean_pinball_loss(y[rows], values(est, weights[-1], data, y, m), alpha=0.3)
        assert est.history_[-1]["member_valid_score"][m] == pytest.approx(expected, rel=1e-3)


def test_with_several_quantiles_a_scorer_gets_the_original_y():
    shapes = set()

    def scorer(estimator, X, y):
        shapes.add((y.ndim, estimator.predict(X).shape[1]))
        return 0.0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NeuralRegressor(**SMALL, loss="quantile", quantile=(0.1, 0.9), scoring=scorer).fit(*ONE_OUTPUT)
    assert shapes == {(1, 2)}
