"""Estimators fit raw tables, predict labels, probabilities, values and quantiles, and work in scikit-learn's tools."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    make_classification,
    make_multilabel_classification,
)
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import d2_pinball_score, get_scorer, mean_pinball_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.fixes import parse_version

from sknn import NeuralClassifier, NeuralRegressor
from tests.common import QUICK, TINY


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True, as_frame=True, scaled=False)


def raw_table(n=400, seed=0):
    """Return a table of numbers, strings, a category, booleans and missing values, with labels and values."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["Rome", "Oslo", "Lima"], n)
    grade = rng.choice(list("abcdefghijkl"), n)
    frame = pd.DataFrame(
        {
            "income": rng.lognormal(10, 1, n),
            "age": rng.integers(18, 90, n),
            "city": city,
            "grade": pd.Categorical(grade),
            "member": rng.random(n) < 0.5,
        }
    )
    signal = np.log(frame["income"]) - 10 + (city == "Rome") + 0.3 * (grade < "e") + frame["member"] - 1
    frame.loc[rng.random(n) < 0.1, "income"] = np.nan
    frame.loc[rng.random(n) < 0.1, "city"] = None
    return frame, np.where(signal + rng.normal(0, 0.3, n) > 0, "yes", "no"), signal.to_numpy()


# --- Tables -------------------------------------------------------------------------------------------------------


def test_a_classifier_fits_a_raw_frame():
    X, y, _ = raw_table()
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    clf = NeuralClassifier(hidden_layer_sizes=(64,), ensemble_size=4, random_state=0).fit(X_train, y_train)
    assert clf.score(X_test, y_test) > 0.8
    assert set(clf.predict(X_test)) == {"yes", "no"}
    assert clf.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(clf.predict_proba(X_test).sum(1), 1)
    np.testing.assert_allclose(np.exp(clf.predict_log_proba(X_test)), clf.predict_proba(X_test))
    assert clf.feature_names_in_.tolist() == X.columns.tolist()


def test_a_regressor_fits_a_raw_frame():
    X, _, y = raw_table()
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    reg = NeuralRegressor(hidden_layer_sizes=(64,), ensemble_size=4, random_state=0).fit(X_train, y_train)
    assert reg.score(X_test, y_test) > 0.7


@pytest.mark.parametrize("series", [pd.Series, pl.Series])
def test_the_name_of_the_target_is_remembered_until_the_next_fit(series):
    X, y = np.arange(20.0)[:, None], [0, 1] * 10
    named = series(y, name="churn") if series is pd.Series else series("churn", y)
    clf = NeuralClassifier(**TINY).fit(X, named)

    assert clf.target_name_ == "churn"
    assert not hasattr(clf.fit(X, y), "target_name_")


def test_pandas_polars_and_object_arrays_give_the_same_model():
    X, y, _ = raw_table()
    X["grade"] = X["grade"].astype(object)
    as_polars = pl.from_pandas(X)
    as_objects = X.astype(object).to_numpy()
    expected = NeuralClassifier(**QUICK).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(NeuralClassifier(**QUICK).fit(as_polars, y).predict_proba(as_polars), expected)
    np.testing.assert_array_equal(NeuralClassifier(**QUICK).fit(as_objects, y).predict_proba(as_objects), expected)


def test_unseen_categories_and_newly_missing_values_are_predicted():
    X, y, _ = raw_table()
    X["age"] = X["age"].astype(float)
    clf = NeuralClassifier(**QUICK).fit(X, y)
    new = X.head(3).copy()
    new["city"] = ["Atlantis", None, "Rome"]
    new["grade"] = pd.Categorical(["z", None, "a"])
    new["age"] = np.nan
    assert np.isfinite(clf.predict_proba(new)).all()


def test_levels_are_recognised_in_a_column_of_another_type():
    X, y, _ = raw_table()
    X["age"] = X["age"] // 10
    clf = NeuralClassifier(**QUICK, categorical_features=["age", "city", "grade", "member"]).fit(X, y)
    as_text = X.astype({"age": float, "member": object}).astype({"age": str, "member": str})
    np.testing.assert_array_equal(clf.predict_proba(as_text), clf.predict_proba(X))


def test_each_fitted_estimator_warns_once_of_a_column_of_unseen_levels():
    X, y, _ = raw_table()
    clf = NeuralClassifier(**QUICK).fit(X, y)
    new = X.assign(grade=X["grade"].astype(str).str.upper())
    for _ in range(2):
        with pytest.warns(UserWarning, match="^Column 'grade' holds no level that was seen in fit: its values"):
            clf.predict_proba(new)
        clf.predict_proba(new)
        clf.fit(X, y)
    with pytest.warns(UserWarning, match="^Column 'grade' holds no level that was seen in fit: its values"):
        NeuralClassifier(**QUICK).fit(X, y, X_val=new, y_val=y)


@pytest.mark.parametrize("sparse_type", [sp.csr_matrix, sp.csc_array, sp.coo_matrix])
def test_sparse_and_dense_tables_give_the_same_predictions(sparse_type):
    X, y = load_digits(return_X_y=True)
    X, y = X[:300] / 16, y[:300]
    params = QUICK | dict(scaling=None)
    dense = NeuralClassifier(**params).fit(X, y)
    sparse = NeuralClassifier(**params).fit(sparse_type(X), y)
    np.testing.assert_allclose(sparse.predict_proba(sparse_type(X)), dense.predict_proba(X), atol=1e-6)
    assert sparse.score(sparse_type(X), y) > 0.8


def test_integers_and_booleans_are_numeric():
    X, y = load_digits(return_X_y=True)
    X, y = X[:300], y[:300]
    expected = NeuralClassifier(**QUICK).fit(X, y).predict_proba(X)
    for dtype in (np.int8, np.uint16, np.int64, np.float32, object):
        np.testing.assert_allclose(
            NeuralClassifier(**QUICK).fit(X.astype(dtype), y).predict_proba(X), expected, rtol=1e-5
        )
    assert NeuralClassifier(**QUICK).fit(X > 8, y).score(X > 8, y) > 0.7


@pytest.mark.parametrize(
    "labels",
    [[5, 7], [-1.0, 2.0], [True, False], ["b", "a"], pd.Categorical(["x", "y"], categories=["y", "x"])],
    ids=repr,
)
def test_predicted_labels_have_the_values_and_the_type_of_y(cancer, labels):
    X, y = cancer
    named = pd.Series(labels).to_numpy()[y.to_numpy()] if not isinstance(labels, pd.Categorical) else labels.take(y)
    clf = NeuralClassifier(**QUICK).fit(X, named)
    predicted = clf.predict(X)
    assert (predicted == np.asarray(named)).mean() > 0.95
    assert predicted.dtype == clf.classes_.dtype


def test_predictions_have_the_dtype_of_the_table(cancer, diabetes):
    X, y = cancer
    clf = NeuralClassifier(**QUICK).fit(X, y)
    assert clf.predict_proba(X).dtype == np.float64
    clf.fit(X.to_numpy(np.float32), y)
    assert clf.predict_proba(X.to_numpy(np.float32)).dtype == np.float32
    X, y = diabetes
    reg = NeuralRegressor(**QUICK).fit(X.to_numpy(np.float32), y)
    assert reg.predict(X.to_numpy(np.float32)).dtype == np.float32
    assert reg.predict(X.to_numpy()).dtype == np.float64


def test_a_classifier_predicts_several_labels_per_row():
    X, y = make_multilabel_classification(300, n_classes=4, random_state=0)
    clf = NeuralClassifier(**QUICK | dict(max_iter=60)).fit(X, y)
    assert clf.predict(X).shape == clf.predict_proba(X).shape == (300, 4)
    assert (clf.predict(X) == y).mean() > 0.8
    assert clf.out_activation_ == "logistic"
    np.testing.assert_array_equal(clf.predict(X), (clf.predict_proba(X) > 0.5).astype(int))


def test_predictions_have_the_dimensions_of_y(diabetes):
    X, y = diabetes
    vector = NeuralRegressor(**QUICK).fit(X, y).predict(X)
    column = NeuralRegressor(**QUICK).fit(X, y.to_frame()).predict(X)
    two_columns = NeuralRegressor(**QUICK).fit(X, np.column_stack([y, -y])).predict(X)
    assert (vector.shape, column.shape, two_columns.shape) == ((442,), (442, 1), (442, 2))
    np.testing.assert_array_equal(vector, column[:, 0])


# --- Losses -------------------------------------------------------------------------------------------------------


def test_quantiles_do_not_cross_and_are_calibrated():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (1500, 1))
    y = np.sin(2 * X[:, 0]) + rng.normal(0, 0.2 + 0.2 * np.abs(X[:, 0]))
    params = QUICK | dict(hidden_layer_sizes=(64,), max_iter=60)
    reg = NeuralRegressor(loss="quantile", quantile=(0.1, 0.5, 0.9), **params).fit(X[:1000], y[:1000])
    q = reg.predict(X[1000:])
    assert q.shape == (500, 3)
    assert (np.diff(q, axis=1) >= 0).all()
    np.testing.assert_allclose((y[1000:, None] <= q).mean(0), [0.1, 0.5, 0.9], atol=0.06)
    expected = np.mean([d2_pinball_score(y[1000:], q[:, i], alpha=a) for i, a in enumerate((0.1, 0.5, 0.9))])
    assert reg.score(X[1000:], y[1000:]) == pytest.approx(expected)
    upper = NeuralRegressor(loss="quantile", quantile=0.9, **params).fit(X[:1000], y[:1000]).predict(X[1000:])
    assert upper.shape == (500,)
    assert mean_pinball_loss(y[1000:], upper, alpha=0.9) < 1.2 * mean_pinball_loss(y[1000:], q[:, 2], alpha=0.9)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson", "gamma"])
def test_a_regressor_learns_with_every_loss(diabetes, loss):
    X, y = diabetes
    reg = NeuralRegressor(loss=loss, **QUICK | dict(max_iter=60)).fit(X, y)
    assert reg.score(X, y) > 0.4
    if loss in ("poisson", "gamma"):
        assert (reg.predict(X) > 0).all()


def test_a_callable_loss_equals_the_built_in_one(diabetes, cancer):
    X, y = diabetes
    built_in = NeuralRegressor(**QUICK).fit(X, y, sample_weight=np.arange(1, 443))
    custom = NeuralRegressor(loss=lambda z, y: 0.5 * (z - y) ** 2, **QUICK).fit(X, y, sample_weight=np.arange(1, 443))
    np.testing.assert_allclose(custom.predict(X), built_in.predict(X), rtol=1e-4)
    X, y = cancer
    cross_entropy = torch.nn.BCEWithLogitsLoss(reduction="none")
    custom = NeuralClassifier(loss=cross_entropy, **QUICK).fit(X, y)
    np.testing.assert_allclose(custom.predict_proba(X), NeuralClassifier(**QUICK).fit(X, y).predict_proba(X), atol=1e-3)


def test_a_callable_loss_that_returns_a_mean_is_refused(diabetes):
    X, y = diabetes
    with pytest.raises(ValueError, match=r"has to return one loss per row.*got \(\).*reduction='none'"):
        NeuralRegressor(loss=torch.nn.MSELoss(), **QUICK).fit(X, y)


def test_scaling_none_does_not_scale_the_target(diabetes):
    X, y = diabetes
    reg = NeuralRegressor(**QUICK | dict(scaling=None)).fit(X, y)
    assert reg.loss_curve_[0] > 1000  # half the squared error of y itself


@pytest.mark.parametrize("options", [{}, {"numeric_embedding": "periodic"}, {"batch_norm": True}, {"scaling": None}])
def test_training_in_bfloat16_scores_as_well_as_in_float32(cancer, options):
    X, y = cancer
    params = QUICK | dict(max_iter=20) | options
    float32, bfloat16 = (
        NeuralClassifier(**params | dict(precision=name)).fit(X, y) for name in ("float32", "bfloat16")
    )
    assert not np.array_equal(float32.predict_proba(X), bfloat16.predict_proba(X))
    assert bfloat16.score(X, y) > float32.score(X, y) - 0.02


def test_the_input_tags_allow_sparse_missing_and_categorical_values():
    for est in (NeuralClassifier(), NeuralRegressor()):
        tags = est.__sklearn_tags__().input_tags
        assert (tags.sparse, tags.allow_nan, tags.string, tags.categorical) == (True, True, True, True)
        assert not tags.three_d_array


# --- Weights ------------------------------------------------------------------------------------------------------

FULL_BATCH = dict(
    hidden_layer_sizes=(16,),
    ensemble_size=2,
    batch_size=10**6,
    early_stopping=False,
    dropout=0.0,
    max_iter=20,
    precision="float64",
    random_state=0,
)


@pytest.mark.parametrize("embedding", [None, "piecewise_linear"])
@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
def test_a_row_of_weight_k_counts_as_k_copies(cancer, scaling, embedding):
    X, y = (a.to_numpy() for a in cancer)
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    params = FULL_BATCH | dict(scaling=scaling, learning_rate_init=1e-4, numeric_embedding=embedding, batch_norm=False)
    weighted = NeuralClassifier(**params).fit(X, y, sample_weight=weight)
    repeated = NeuralClassifier(**params).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-7)


def test_class_weight_equals_a_sample_weight_for_each_class(cancer):
    X, y = cancer
    by_class = NeuralClassifier(class_weight={0: 3.0, 1: 0.5}, **QUICK).fit(X, y)
    by_row = NeuralClassifier(**QUICK)
    by_row.fit(X, y, sample_weight=np.where(y == 0, 3.0, 0.5))
    # The scaler uses sample weights but not class weights.
    by_row_unscaled = NeuralClassifier(scaling=None, **QUICK).fit(X, y, sample_weight=np.where(y == 0, 3.0, 0.5))
    by_class_unscaled = NeuralClassifier(scaling=None, class_weight={0: 3.0, 1: 0.5}, **QUICK).fit(X, y)
    np.testing.assert_allclose(by_class_unscaled.predict_proba(X), by_row_unscaled.predict_proba(X), atol=1e-6)
    assert by_class.predict_proba(X)[:, 0].mean() > NeuralClassifier(**QUICK).fit(X, y).predict_proba(X)[:, 0].mean()


def test_balanced_class_weights_raise_the_probability_of_a_rare_class(cancer):
    X, y = cancer
    rows = np.r_[np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:20]]
    X, y = X.iloc[rows, :3], y.iloc[rows]
    plain = NeuralClassifier(**QUICK).fit(X, y).predict_proba(X)[:, 0].mean()
    balanced = NeuralClassifier(class_weight="balanced", **QUICK).fit(X, y).predict_proba(X)[:, 0].mean()
    assert balanced > 2 * plain


def test_label_smoothing_keeps_probabilities_away_from_0_and_1(cancer):
    X, y = cancer
    params = QUICK | dict(max_iter=60)
    plain = NeuralClassifier(**params).fit(X, y).predict_proba(X).max(1).mean()
    smoothed = NeuralClassifier(label_smoothing=0.3, **params).fit(X, y).predict_proba(X).max(1).mean()
    assert smoothed < 0.9 < plain


# --- Validation rows, ensembles, attributes -----------------------------------------------------------------------


def test_x_val_replaces_held_out_rows(cancer):
    X, y = cancer
    clf = NeuralClassifier(**QUICK).fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    assert len(clf.validation_scores_) == clf.n_iter_
    assert clf.t_ == 400 * clf.n_iter_  # all rows of X are training rows
    held_out = NeuralClassifier(**QUICK).fit(X[:400], y[:400])
    assert held_out.t_ == 340 * held_out.n_iter_


def test_no_row_is_held_out_without_early_stopping(cancer):
    X, y = cancer
    clf = NeuralClassifier(early_stopping=False, **QUICK).fit(X, y)
    assert clf.validation_scores_ is None
    assert clf.best_validation_score_ is None
    assert clf.best_loss_ == min(clf.loss_curve_)
    assert "valid_loss" not in clf.history_[-1]


def test_coefs_have_a_dimension_for_several_members_only(cancer):
    X, y = cancer
    single = NeuralClassifier(**QUICK | dict(ensemble_size=1, hidden_layer_sizes=(16, 8))).fit(X, y)
    assert [w.shape for w in single.coefs_] == [(30, 16), (16, 8), (8, 1)]
    assert [b.shape for b in single.intercepts_] == [(16,), (8,), (1,)]
    several = NeuralClassifier(**QUICK | dict(ensemble_size=3)).fit(X, y)
    assert [w.shape for w in several.coefs_] == [(3, 30, 16), (3, 16, 1)]
    assert [b.shape for b in several.intercepts_] == [(3, 16), (3, 1)]
    assert isinstance(several.n_iter_, int)
    assert several.n_layers_ == 3
    record = several.history_[0]
    assert record["train_loss"] == pytest.approx(np.mean(record["member_train_loss"]))
    assert record["gap"] == pytest.approx(record["valid_loss"] / record["train_loss"])
    assert record["seconds"] > 0
    assert pd.DataFrame(several.history_)["epoch"].tolist() == list(range(1, several.n_iter_ + 1))


def test_an_ensemble_predicts_the_mean_of_its_members(cancer):
    X, y = cancer
    clf = NeuralClassifier(**QUICK | dict(ensemble_size=3, scaling=None)).fit(X, y)
    with torch.no_grad():
        members = torch.sigmoid(clf.module_(torch.tensor(X.to_numpy(), dtype=torch.float32)))
    assert members.shape == (3, 569, 1)
    np.testing.assert_allclose(clf.predict_proba(X)[:, 1], members.mean(0)[:, 0].numpy(), atol=1e-5)


def test_a_larger_ensemble_has_the_same_first_members(cancer):
    X, y = cancer
    small = NeuralClassifier(**QUICK).fit(X, y)
    large = NeuralClassifier(**QUICK | dict(ensemble_size=4)).fit(X, y)
    for actual, expected in zip(large.coefs_, small.coefs_, strict=True):
        np.testing.assert_array_equal(actual[:2], expected)


# --- Copies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copier", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_copies_predict_the_same(cancer, copier):
    X, y = cancer
    clf = NeuralClassifier(**QUICK).fit(X, y)
    copied = copier(clf)
    np.testing.assert_array_equal(copied.predict_proba(X), clf.predict_proba(X))
    assert copied.history_ == clf.history_
    assert clone(copied).get_params() == clf.get_params()


def test_a_pickle_is_little_larger_than_its_weights(cancer):
    X, y = cancer
    clf = NeuralClassifier(random_state=0, max_iter=1).fit(pd.concat([X] * 3), pd.concat([y] * 3))
    assert len(pickle.dumps(clf)) < 1.2 * clf.module_.n_values * 4 + 50_000


def test_a_joblib_file_predicts_the_same(cancer, tmp_path):
    X, y = cancer
    clf = NeuralClassifier(**QUICK).fit(X, y)
    joblib.dump(clf, tmp_path / "model.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model.joblib").predict(X), clf.predict(X))


# --- Inside scikit-learn ------------------------------------------------------------------------------------------


def test_pipelines_work_in_grid_search_and_cross_validation(cancer):
    X, y = cancer
    pipe = make_pipeline(StandardScaler(), NeuralClassifier(**QUICK))
    search = GridSearchCV(pipe, {"neuralclassifier__dropout": [0.0, 0.3]}, cv=3, scoring="roc_auc").fit(X, y)
    assert search.best_score_ > 0.97
    assert cross_val_score(pipe, X, y, cv=3).min() > 0.9
    parallel = cross_val_score(pipe, X, y, cv=3, n_jobs=2)
    np.testing.assert_array_equal(parallel, cross_val_score(pipe, X, y, cv=3))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda est: CalibratedClassifierCV(est, cv=3),
        lambda est: BaggingClassifier(est, n_estimators=3, random_state=0),
        lambda est: StackingClassifier([("net", est), ("logistic", LogisticRegression(max_iter=5000))], cv=3),
        lambda est: AdaBoostClassifier(est, n_estimators=3, random_state=0),
    ],
    ids=["calibrated", "bagging", "stacking", "adaboost"],
)
def test_meta_estimators_fit_a_classifier(cancer, wrap):
    X, y = cancer
    X = StandardScaler().set_output(transform="pandas").fit_transform(X)
    assert wrap(NeuralClassifier(**QUICK)).fit(X[:400], y[:400]).score(X[400:], y[400:]) > 0.9


def test_meta_estimators_fit_a_regressor(diabetes):
    X, y = diabetes
    reg = NeuralRegressor(**QUICK | dict(max_iter=60))
    assert TransformedTargetRegressor(reg, func=np.log, inverse_func=np.exp).fit(X, y).score(X, y) > 0.3
    assert VotingRegressor([("a", reg)]).fit(X, y).score(X, y) > 0.4


def test_a_pipeline_with_a_column_transformer_passes_frames_on():
    X, y, _ = raw_table()
    to_log = FunctionTransformer(np.log, feature_names_out="one-to-one")
    pipe = make_pipeline(
        make_column_transformer((to_log, ["income"]), remainder="passthrough", verbose_feature_names_out=False),
        NeuralClassifier(**QUICK),
    ).set_output(transform="pandas")
    pipe.fit(X, y)
    assert pipe[-1].feature_names_in_.tolist() == ["income", "age", "city", "grade", "member"]
    assert pipe.score(X, y) > 0.7


def test_permutation_importance_finds_the_most_important_column():
    X, y, _ = raw_table()
    clf = NeuralClassifier(hidden_layer_sizes=(64,), ensemble_size=2, random_state=0, n_threads=1).fit(X, y)
    importance = permutation_importance(clf, X, y, n_repeats=3, random_state=0).importances_mean
    assert X.columns[importance.argmax()] == "income"


def test_metadata_routing_passes_sample_weight_to_fit(cancer):
    X, y = cancer
    weight = np.random.default_rng(0).uniform(0.1, 2, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        est = NeuralClassifier(**QUICK).set_fit_request(sample_weight=True)
        pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), est)
        plain = get_scorer("accuracy").set_score_request(sample_weight=False)
        scores = cross_val_score(pipe, X, y, cv=3, scoring=plain, params={"sample_weight": weight})
    assert scores.min() > 0.85


@pytest.mark.parametrize("ensemble_size", [1, 3])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_numpys_error_state_does_not_affect_a_fit_and_is_not_changed(ensemble_size, solver, cancer):
    X, y = cancer
    with np.errstate(all="raise"):
        clf = NeuralClassifier(**QUICK | {"ensemble_size": ensemble_size, "solver": solver, "alpha": 0.0})
        clf.fit(X * 1e-30, y).predict_proba(X)
        assert set(np.geterr().values()) == {"raise"}


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="needs scikit-learn 1.9")
def test_the_html_display_describes_the_parameters(cancer):
    X, y = cancer
    html = NeuralClassifier(**QUICK).fit(X, y)._repr_html_()
    assert "ensemble_size" in html
    assert "whose predictions are averaged" in html.replace("\n", " ")


def test_roc_auc_can_be_computed_with_string_labels():
    X, y, _ = raw_table()
    clf = NeuralClassifier(**QUICK | dict(max_iter=40)).fit(X, y)
    assert roc_auc_score(y, clf.predict_proba(X)[:, 1]) > 0.85


# --- Custom modules ------------------------------------------------------------------------------------------------


class SmallConvolution(torch.nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.convolution = torch.nn.Conv2d(in_features[0], 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.drop = torch.nn.Dropout(0.2)
        self.out = torch.nn.Linear(8 * 4 * 4, out_features)

    def forward(self, x):
        x = torch.nn.functional.max_pool2d(torch.relu(self.norm(self.convolution(x))), 2)
        return self.out(self.drop(x.flatten(1)))


def test_a_custom_module_classifies_images():
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 1, 8, 8).astype(np.float32) / 16
    before = torch.get_rng_state()
    params = dict(module=SmallConvolution, ensemble_size=2, max_iter=15, learning_rate_init=0.01, random_state=0)
    clf = NeuralClassifier(**params).fit(X[:1200], y[:1200])
    assert clf.score(X[1200:], y[1200:]) > 0.92
    assert torch.equal(before, torch.get_rng_state())
    repeated = NeuralClassifier(**params).fit(X[:1200], y[:1200])
    np.testing.assert_array_equal(repeated.predict_proba(X), clf.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(X), clf.predict_proba(X))


def test_a_custom_module_classifies_a_raw_table():
    X, y, _ = raw_table()
    clf = NeuralClassifier(module=torch.nn.Linear, ensemble_size=2, learning_rate_init=0.05, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.75
    with pytest.raises(AttributeError, match="a custom module has no coefs_"):
        _ = clf.coefs_


def test_a_custom_module_classifies_token_ids():
    class Words(torch.nn.Module):
        def __init__(self, in_features, out_features):
            super().__init__()
            self.words = torch.nn.Embedding(20, 8)
            self.out = torch.nn.Linear(8, out_features)

        def forward(self, x):
            return self.out(self.words(x.long()).mean(1))

    rng = np.random.default_rng(0)
    X = rng.integers(0, 20, (400, 12))
    y = (X < 5).sum(1) > 3
    params = dict(module=Words, scaling=None, ensemble_size=1, learning_rate_init=0.05, random_state=0)
    assert NeuralClassifier(**params).fit(X, y).score(X, y) > 0.85


@pytest.mark.parametrize("table_type", ["array", "frame", "sparse"])
def test_predictions_do_not_depend_on_how_many_rows_are_predicted_at_once(table_type, monkeypatch, cancer):
    X, y = cancer
    table = {"array": X.to_numpy(), "frame": X, "sparse": sp.csr_matrix(X)}[table_type]
    clf = NeuralClassifier(**QUICK).fit(table, y)
    expected = clf.predict_proba(table)
    monkeypatch.setattr("sknn.estimators.prediction.ENCODED_VALUES", 1)
    monkeypatch.setattr("sknn.estimators.prediction.MIN_ROWS", 100)
    monkeypatch.setattr("sknn.estimators.prediction.PREDICTED_VALUES", 1)
    np.testing.assert_allclose(clf.predict_proba(table), expected, atol=1e-12)


def test_a_float32_table_that_needs_no_scaling_is_not_copied(cancer):
    X = np.ascontiguousarray(cancer[0], dtype=np.float32)
    clf = NeuralClassifier(**QUICK | {"scaling": None, "max_iter": 1}).fit(X, cancer[1])
    assert clf._encode(X).numeric is X
    X.flags.writeable = False  # as joblib's memory maps are
    assert clf.predict(X).shape == (len(X),)


def test_a_fitted_network_keeps_its_number_of_members():
    X, y = make_classification(200, random_state=0)
    settings = {"hidden_layer_sizes": 4, "max_iter": 1, "random_state": 0}
    clf = NeuralClassifier(**settings, warm_start=True).fit(X[:100], y[:100])
    assert clf.module_.n_members == 8
    assert clf.fit(X, y).module_.n_members == 8
    clf = NeuralClassifier(**settings).partial_fit(X[:100], y[:100], classes=[0, 1])
    assert clf.partial_fit(X, y).module_.n_members == 8


@pytest.fixture(scope="module")
def cities():
    """Return a table whose target depends on a column of twenty levels only, the target, and a row of a new level."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"city": rng.choice([f"city {i}" for i in range(20)], 400), "size": rng.normal(size=400)})
    new = pd.DataFrame({"city": ["elsewhere"], "size": [0.0]})
    return X, (X["city"].str[-1].astype(int) > 4).astype(int), new


@pytest.mark.filterwarnings("ignore:Column 'city' holds no level")
def test_an_unseen_level_of_an_embedded_column_is_predicted_as_an_average_one(cities):
    """This holds for every seed, since an untrained vector would give a random prediction."""
    X, y, new = cities
    for seed in range(2):
        clf = NeuralClassifier(32, random_state=seed).fit(X, y)
        assert clf.score(X, y) > 0.99
        assert clf.predict_proba(new)[0, 1] == pytest.approx(y.mean(), abs=0.15)


@pytest.mark.filterwarnings(
    "ignore:Column 'city' holds no level", "ignore:lbfgs ended:sklearn.exceptions.ConvergenceWarning"
)
def test_with_lbfgs_the_vector_of_an_unseen_level_is_zero(cities):
    X, y, _ = cities
    clf = NeuralClassifier(8, solver="lbfgs", max_iter=5, ensemble_size=2, random_state=0).fit(X, y)
    weight = clf.module_.categorical.weight.detach()
    assert (weight[:, 0] == 0).all()
    assert (weight[:, 1:] != 0).any(2).all()
