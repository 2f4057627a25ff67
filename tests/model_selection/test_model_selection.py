"""Searches and cross-validations: the results are those of scikit-learn."""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import loguniform
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import GroupKFold, PredefinedSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn import NeuralRegressor
from sknn.model_selection import GridSearchCV, cross_validate
from tests.model_selection.common import (
    CLF,
    GRID,
    IGNORE_NOT_FINITE,
    MODULES,
    PIPE,
    PIPE_GRID,
    SMALL,
    X,
    assert_equal_results,
    y,
)

LABELS = np.array(["malignant", "benign"])[y]


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("estimator", "grid", "fit_params"),
    [
        (CLF, GRID, {}),
        (CLF, {"label_smoothing": [0.0, 0.1], "class_weight": [None, "balanced", {"benign": 3.0}]}, {}),
        (CLF, {"early_stopping": [True, False], "validation_fraction": [0.1, 0.3]}, {}),
        (CLF, {"n_iter_no_change": [1, 5], "tol": [0.0, 10.0], "random_state": [0, 1]}, {}),
        (CLF, {"hidden_layer_sizes": [(8,), (4, 4)], "activation": ["relu", "tanh"], "max_iter": [2, 3]}, {}),
        (CLF, GRID, {"sample_weight": np.random.default_rng(0).uniform(0, 2, len(y))}),
        (PIPE, PIPE_GRID, {}),
        (PIPE, {"scale__with_mean": [True, False], "net__weight_decay": [0.0, 0.1]}, {}),
        (make_pipeline(SelectKBest(), CLF), {"selectkbest__k": [3, 5], "neuralclassifier__dropout": [0.1, 0.2]}, {}),
        (PIPE, {"net": [CLF, LogisticRegression(), clone(CLF).set_params(solver="lbfgs")]}, {}),
        (Pipeline([("none", "passthrough"), ("inner", PIPE)]), {"inner__net__alpha": [0.0, 1.0]}, {}),
        (LogisticRegression(), {"C": [0.1, 1.0]}, {}),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else ",".join(value) if value else "",
)
@pytest.mark.filterwarnings("ignore:Maximum iterations", "ignore:lbfgs failed", "ignore:lbfgs ended")
def test_results_equal_those_of_scikit_learn_to_the_last_bit(estimator, grid, fit_params):
    settings = {"scoring": "neg_log_loss", "cv": 3, "return_train_score": True}
    expected, actual = (
        module.GridSearchCV(estimator, grid, **settings).fit(X, LABELS, **fit_params) for module in MODULES
    )
    assert_equal_results(actual.cv_results_, expected.cv_results_)
    assert actual.best_params_ == expected.best_params_ or "net" in grid
    assert actual.best_score_ == expected.best_score_
    np.testing.assert_array_equal(actual.predict_proba(X), expected.predict_proba(X))


def test_results_for_a_regressor():
    X, y = load_diabetes(return_X_y=True)
    grid = {"learning_rate_init": [1e-3, 1e-2], "hidden_layer_sizes": [(8,), (5, 5)]}
    expected, actual = (module.GridSearchCV(NeuralRegressor(**SMALL), grid, cv=3).fit(X, y) for module in MODULES)
    assert_equal_results(actual.cv_results_, expected.cv_results_)
    assert actual.n_features_in_ == 10


def test_folds_of_a_raw_table_have_different_categories():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"number": X[:, 0], "city": rng.choice([f"c{i}" for i in range(30)], len(X)), "few": y})
    frame.loc[:5, "number"] = np.nan
    expected, actual = (module.GridSearchCV(CLF, {"alpha": [0, 1]}, cv=4).fit(frame, LABELS) for module in MODULES)
    assert_equal_results(actual.cv_results_, expected.cv_results_)
    assert actual.feature_names_in_.tolist() == ["number", "city", "few"]


@pytest.mark.slow
def test_a_column_transformer_with_n_jobs_before_the_network():
    frame = pd.DataFrame({"a": X[:, 0], "b": np.where(y, "u", "v")})
    steps = make_column_transformer((OneHotEncoder(), ["b"]), (StandardScaler(), ["a"]), n_jobs=2)
    pipe = Pipeline([("columns", steps), ("net", CLF)])
    expected, actual = (module.GridSearchCV(pipe, {"net__alpha": [0, 1]}, cv=2).fit(frame, y) for module in MODULES)
    assert_equal_results(actual.cv_results_, expected.cv_results_)


def test_randomized_search():
    space = {"learning_rate_init": loguniform(1e-3, 1e-1), "dropout": [0.0, 0.2, 0.5]}
    settings = {"n_iter": 5, "random_state": 3, "cv": 3}
    expected, actual = (module.RandomizedSearchCV(CLF, space, **settings).fit(X, y) for module in MODULES)
    assert_equal_results(actual.cv_results_, expected.cv_results_)


@pytest.mark.parametrize("resource", ["n_samples", "max_iter"])
@pytest.mark.parametrize("name", ["HalvingGridSearchCV", "HalvingRandomSearchCV"])
def test_halving_searches(name, resource):
    grid = {"learning_rate_init": [1e-3, 3e-3, 1e-2, 3e-2]}
    limits = {"min_resources": 60} if resource == "n_samples" else {"min_resources": 1, "max_resources": 4}
    settings = {"resource": resource, "cv": 2, "factor": 2, "random_state": 0, **limits}
    expected, actual = (getattr(module, name)(CLF, grid, **settings).fit(X, y) for module in MODULES)
    assert_equal_results(actual.cv_results_, expected.cv_results_)
    assert actual.n_resources_ == expected.n_resources_
    assert actual.best_params_ == expected.best_params_


def test_cross_validation():
    settings = {"cv": 4, "scoring": ["accuracy", "roc_auc"]}
    settings |= {"return_train_score": True, "return_estimator": True, "return_indices": True}
    expected, actual = (module.cross_validate(PIPE, X, y, **settings) for module in MODULES)
    assert expected.keys() == actual.keys()
    for name in [name for name in expected if name.startswith(("test", "train"))]:
        np.testing.assert_array_equal(expected[name], actual[name])
    for expected_estimator, estimator in zip(expected["estimator"], actual["estimator"], strict=True):
        np.testing.assert_array_equal(expected_estimator.predict_proba(X), estimator.predict_proba(X))
        assert "fit" not in vars(estimator)  # the real method is restored
        assert clone(estimator).get_params().keys() == expected_estimator.get_params().keys()
    np.testing.assert_array_equal(*(module.cross_val_score(CLF, X, y, cv=3) for module in MODULES))
    for method in ("predict", "predict_proba"):
        np.testing.assert_array_equal(
            *(module.cross_val_predict(PIPE, X, LABELS, cv=3, method=method) for module in MODULES)
        )


def test_groups_and_splitters_are_used():
    groups = np.arange(len(y)) % 5
    settings = {"cv": GroupKFold(5), "groups": groups}
    np.testing.assert_array_equal(*(module.cross_val_score(CLF, X, y, **settings) for module in MODULES))
    searches = [module.GridSearchCV(CLF, {"alpha": [0, 1]}, cv=GroupKFold(5)) for module in MODULES]
    expected, actual = (search.fit(X, y, groups=groups) for search in searches)
    assert_equal_results(actual.cv_results_, expected.cv_results_)
    assert actual.n_splits_ == 5


def test_classes_and_functions_have_the_signatures_and_documentation_of_scikit_learn():
    for name in ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"):
        base, cls = (getattr(module, name) for module in MODULES)
        assert issubclass(cls, base)
        assert str(inspect.signature(cls)) == str(inspect.signature(base))
        assert "param" in cls.__doc__
        assert "single training" in cls.__doc__
    for name in ("cross_validate", "cross_val_score", "cross_val_predict"):
        expected, actual = (str(inspect.signature(getattr(module, name))) for module in MODULES)
        assert actual == expected
    search = GridSearchCV(CLF, GRID)
    assert is_classifier(search)
    assert "NeuralClassifier" in search._repr_html_()
    assert clone(search).get_params()["param_grid"] == GRID


def test_predict_before_fit_is_an_error():
    with pytest.raises(NotFittedError):
        GridSearchCV(CLF, GRID).predict(X)


@pytest.mark.parametrize("refit", ["recall", lambda results: 1, False])
def test_several_scores_and_values_of_refit(refit):
    scoring = {"recall": make_scorer(recall_score), "accuracy": "accuracy"}
    settings = {"scoring": scoring, "refit": refit, "cv": 2}
    expected, actual = (module.GridSearchCV(CLF, {"alpha": [0, 1, 9]}, **settings).fit(X, y) for module in MODULES)
    assert_equal_results(actual.cv_results_, expected.cv_results_)
    assert actual.multimetric_
    assert actual.scorer_.keys() == scoring.keys()
    assert hasattr(actual, "best_estimator_") == (refit is not False)
    if refit is not False:
        assert actual.best_index_ == expected.best_index_
        np.testing.assert_array_equal(actual.predict(X), expected.predict(X))


def test_refit_must_name_one_of_several_scores():
    with pytest.raises(ValueError, match="refit"):
        GridSearchCV(CLF, GRID, scoring=["accuracy", "recall"], refit=True).fit(X, y)


@IGNORE_NOT_FINITE
def test_failed_candidates_get_the_error_score():
    grid = {"learning_rate_init": [0.01, -1.0], "hidden_layer_sizes": [(8,)]}
    with pytest.warns(FitFailedWarning, match="2 fits failed"):
        search = GridSearchCV(CLF, grid, cv=2).fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert search.best_params_["learning_rate_init"] == 0.01
    with pytest.raises(ValueError, match="learning_rate_init"):
        GridSearchCV(CLF, grid, cv=2, error_score="raise").fit(X, y)
    with pytest.raises(ValueError, match="All the 2 fits failed"):
        GridSearchCV(CLF, {"learning_rate_init": [-1.0]}, cv=2).fit(X, y)


@IGNORE_NOT_FINITE
def test_only_the_candidate_that_diverges_fails():
    grid = {"learning_rate_init": [0.01, 1e30]}
    clf = clone(CLF).set_params(scaling=None)
    with pytest.warns(FitFailedWarning, match="became NaN"):
        search = GridSearchCV(clf, grid, cv=2, error_score=-7).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[1] == -7
    assert scores[0] > 0


def test_the_error_for_an_unknown_parameter_names_it():
    with pytest.raises(ValueError, match="learning_rate_int"):
        GridSearchCV(CLF, {"learning_rate_int": [1]}).fit(X, y)


@IGNORE_NOT_FINITE
def test_candidates_with_a_failing_step_get_the_error_score():
    pipe = Pipeline([("pca", PCA()), ("net", CLF)])
    with pytest.warns(FitFailedWarning, match="n_components"):
        search = GridSearchCV(pipe, {"pca__n_components": [2, 500]}, cv=2).fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]


def test_only_the_fits_fail_whose_scorer_fails():
    def undefined_on_twelve_rows(estimator, X, y):
        if len(y) == 12:
            raise ValueError("twelve rows")
        return estimator.score(X, y)

    rows = slice(0, 140)
    folds = PredefinedSplit(np.repeat([0, 1, 2], [20, 60, 60]))
    clf = clone(CLF).set_params(scoring=undefined_on_twelve_rows, validation_fraction=0.15)
    with pytest.warns(FitFailedWarning, match="1 fits failed|2 fits failed"):
        scores = cross_validate(clf, X[rows], y[rows], cv=folds)["test_score"]
    assert np.isnan(scores).any()
    assert np.isfinite(scores).any()


def test_a_scorer_gets_an_ordinary_estimator():
    def refit_score(estimator, X, y):
        assert not {"fit", "set_params"} & set(vars(estimator))
        restored = pickle.loads(pickle.dumps(estimator))
        return restored.set_params(max_iter=1).fit(X, y).score(X, y)

    np.testing.assert_array_equal(*(module.cross_val_score(CLF, X, y, cv=2, scoring=refit_score) for module in MODULES))


def test_a_pipeline_from_texts():
    documents = [["a"] * (k % 3 + 1) + ["b"] * (k % 5) for k in range(60)]
    pipe = make_pipeline(FeatureHasher(8, input_type="string"), CLF)
    labels = np.arange(60) % 2
    np.testing.assert_array_equal(*(module.cross_val_score(pipe, documents, labels, cv=3) for module in MODULES))
