"""The ensemble search: its models, its weights, and its predictions, which no other part computes."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_diabetes, make_multilabel_classification
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, PredefinedSplit, StratifiedKFold
from sklearn.model_selection import cross_val_score as sklearn_cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import NeuralClassifier, NeuralRegressor, OnnxPredictor, load, save
from sknn.export import to_onnx
from sknn.model_selection import EnsembleSearchCV, cross_val_score
from sknn.model_selection.ensemble_search import TimeLimit
from sknn.training.net import TrainingNet
from tests.model_selection.common import PIPE, SMALL, X, y

SINGLE = SMALL | {"ensemble_size": "auto"}
CLF, REG = NeuralClassifier(**SINGLE), NeuralRegressor(**SINGLE)
SPACE = {"dropout": [0.0, 0.2, 0.4], "learning_rate_init": [1e-3, 1e-2, 3e-2], "batch_norm": [True, False]}
LABELS = np.array(["malignant", "benign"])[y]
X_REG, Y_REG = load_diabetes(return_X_y=True)
X_REG, Y_REG = X_REG[:200], Y_REG[:200]


def search_of(estimator=CLF, space=SPACE, **settings):
    return EnsembleSearchCV(estimator, space, **{"n_iter": 4, "cv": 3, "random_state": 0} | settings)


@pytest.fixture(scope="module")
def fitted():
    return search_of().fit(X, LABELS)


def raw_table():
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    frame.loc[::7, "c0"] = np.nan
    return frame.assign(city=np.array(["Rome", "Oslo", "Bern"])[np.arange(len(y)) % 3])


# --- What it computes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", [False, True])
def test_models_equal_those_of_a_loop_over_candidates_and_folds(pipeline):
    estimator = make_pipeline(StandardScaler(), CLF) if pipeline else CLF
    prefix = "neuralclassifier__" if pipeline else ""
    folds = list(StratifiedKFold(3).split(X, LABELS))
    space = {prefix + name: values for name, values in SPACE.items()}
    search = search_of(estimator, space, cv=folds).fit(X, LABELS)
    expected = np.zeros((len(X), 2))
    weights = []
    for parameters, weight in zip(search.cv_results_["params"], search.weights_, strict=True):
        for train, test in folds:
            model = clone(estimator).set_params(**parameters)
            if pipeline:
                scaler = StandardScaler().fit(X[train])
                network = model[-1].fit(
                    scaler.transform(X[train]), LABELS[train], X_val=scaler.transform(X[test]), y_val=LABELS[test]
                )
                expected[test] += weight * network.predict_proba(scaler.transform(X[test]))
            else:
                model.fit(X[train], LABELS[train], X_val=X[test], y_val=LABELS[test])
                expected[test] += weight * model.predict_proba(X[test])
        weights += [weight / 3] * 3 if weight else []
    np.testing.assert_allclose(search.oof_predictions_, expected, rtol=1e-12)
    np.testing.assert_allclose(search.best_estimator_.weights, weights)
    mean = sum(w * model.predict_proba(X) for w, model in zip(weights, search.estimators_, strict=True))
    np.testing.assert_allclose(search.predict_proba(X), mean, rtol=1e-12)
    np.testing.assert_array_equal(search.predict(X), search.classes_[mean.argmax(1)])


def test_weights_are_those_of_greedy_selection_by_log_loss():
    folds = list(StratifiedKFold(3).split(X, LABELS))
    search = search_of(cv=folds).fit(X, LABELS)
    candidates = []
    for parameters in search.cv_results_["params"]:
        p = np.zeros((len(X), 2))
        for train, test in folds:
            model = clone(CLF).set_params(**parameters)
            p[test] = model.fit(X[train], LABELS[train], X_val=X[test], y_val=LABELS[test]).predict_proba(X[test])
        candidates.append(p)
    counts, total = np.zeros(len(candidates)), np.zeros((len(X), 2))
    for n in range(1, 26):
        losses = [log_loss(LABELS, (total + p) / n) for p in candidates]
        counts[np.argmin(losses)] += 1
        total += candidates[np.argmin(losses)]
    equal = (counts > 0) / (counts > 0).sum()
    np.testing.assert_allclose(search.weights_, (counts / 25 * len(X) + equal * 50) / (len(X) + 50))
    np.testing.assert_allclose(search.losses_, [log_loss(LABELS, p) for p in candidates], rtol=1e-6)
    assert search.weights_.sum() == pytest.approx(1)


def test_no_model_has_seen_the_rows_that_it_predicts():
    """A column that numbers the rows can be learned by heart: it separates the classes of seen rows only."""
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(150, 30)), rng.integers(0, 2, 150)
    overfitting = {"max_iter": 60, "learning_rate_init": 0.02, "early_stopping": False, "dropout": 0.0}
    search = search_of(clone(CLF).set_params(hidden_layer_sizes=64, **overfitting), {"alpha": [0.0, 1e-9]}, n_iter=2)
    search.fit(noise, labels)
    assert search.score(noise, labels) > 0.85
    assert (search.oof_predictions_.argmax(1) == labels).mean() < 0.65


def test_the_loss_of_a_regressor_weighs_its_candidates():
    search = search_of(REG).fit(X_REG, Y_REG)
    error = np.mean((search.oof_predictions_ - Y_REG) ** 2)
    assert (
        error <= min(search.losses_) * 2 * Y_REG.var() * 1.001
    )  # the loss is half the error, in units of y's variance
    assert search.score(X_REG, Y_REG) == pytest.approx(
        1 - np.mean((search.predict(X_REG) - Y_REG) ** 2) / Y_REG.var(), rel=1e-6
    )


# --- Targets ------------------------------------------------------------------------------------------------------

Y_LABELS = make_multilabel_classification(len(X), n_classes=3, random_state=0)[1]


@pytest.mark.parametrize(
    ("estimator", "X", "y", "shape"),
    [
        (CLF, X, Y_LABELS, (3,)),
        (CLF, X, np.arange(len(X)) % 4, (4,)),
        (REG, X_REG, np.c_[Y_REG, -(Y_REG**2)], (2,)),
        (clone(REG).set_params(loss="quantile", quantile=(0.1, 0.5, 0.9)), X_REG, Y_REG, (3,)),
        (clone(REG).set_params(loss="poisson"), X_REG, Y_REG, ()),
        (clone(REG).set_params(loss="huber", delta=0.5), X_REG, Y_REG * 1e6, ()),
        (make_pipeline(StandardScaler(), CLF), X, LABELS, (2,)),
    ],
    ids=["multilabel", "multiclass", "outputs", "quantiles", "poisson", "huber", "pipeline"],
)
def test_every_target_is_predicted_saved_and_exported(estimator, X, y, shape, tmp_path):
    space = {f"neuralclassifier__{name}": v for name, v in SPACE.items()} if hasattr(estimator, "steps") else SPACE
    search = search_of(estimator, space).fit(X, y)
    method = "predict_proba" if is_classifier(search) else "predict"
    predicted = getattr(search, method)(X)
    assert search.oof_predictions_.shape == (len(X), *shape) == predicted.shape
    assert np.isfinite(search.losses_).all()
    assert np.isfinite(search.score(X, y))
    save(search.best_estimator_, tmp_path / "model.sknn")
    for copy in (load(tmp_path / "model.sknn"), pickle.loads(pickle.dumps(search))):
        np.testing.assert_array_equal(getattr(copy, method)(X), predicted)
        np.testing.assert_array_equal(copy.predict(X), search.predict(X))
        assert copy.score(X, y) == search.score(X, y)
    outputs = OnnxPredictor(to_onnx(search, X).SerializeToString())
    np.testing.assert_allclose(getattr(outputs, method)(X).reshape(predicted.shape), predicted, rtol=2e-4, atol=1e-6)
    assert (outputs.predict(X) == search.predict(X)).mean() > 0.99 or not is_classifier(search)


def test_a_raw_table_with_strings_is_searched_and_exported():
    frame = raw_table()
    search = search_of(n_iter=3).fit(frame, LABELS)
    assert search.feature_names_in_.tolist() == list(frame.columns)
    graph = OnnxPredictor(to_onnx(search, frame).SerializeToString())
    unseen = frame.assign(city=np.where(np.arange(len(X)) % 2, "Kyiv", "Rome"))
    np.testing.assert_allclose(graph.predict_proba(unseen), search.predict_proba(unseen), atol=1e-5)


def test_texts_pass_through_the_steps_before_the_network():
    texts = [f"word{i % 5} word{i % 3}" for i in range(90)]
    search = search_of(make_pipeline(TfidfVectorizer(), CLF), {"neuralclassifier__dropout": [0.0, 0.2]}, n_iter=2)
    labels = [i % 3 for i in range(90)]
    assert search.fit(texts, labels).predict(texts[:2]).shape == (2,)


def test_a_label_that_a_fold_lacks_has_the_probability_0_there(tmp_path):
    labels = np.where(np.arange(len(X)) == 0, "rare", LABELS)
    with pytest.warns(UserWarning, match="least populated class"):
        search = search_of(n_iter=2).fit(X, labels)
    assert search.classes_.tolist() == ["benign", "malignant", "rare"]
    assert {len(model.classes_) for model in search.estimators_} == {2, 3}
    assert search.oof_predictions_[0, 2] == 0
    p = search.predict_proba(X)
    np.testing.assert_allclose(p.sum(1), 1)
    save(search.best_estimator_, tmp_path / "model.sknn")
    np.testing.assert_array_equal(load(tmp_path / "model.sknn").predict_proba(X), p)
    graph = OnnxPredictor(to_onnx(search, X).SerializeToString())
    np.testing.assert_allclose(graph.predict_proba(X), p, atol=1e-6)


# --- Weights of rows, groups and splits ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sample_weight", "net__sample_weight"])
def test_rows_of_weight_0_count_nowhere(name):
    estimator = CLF if name == "sample_weight" else PIPE
    space = {"alpha": [0.0, 0.1]} if name == "sample_weight" else {"net__alpha": [0.0, 0.1]}
    kept = np.arange(len(X)) % 4 > 0
    folds = np.arange(len(X)) % 3
    noisy = np.where(kept, LABELS, LABELS[::-1])
    search = search_of(estimator, space, cv=PredefinedSplit(folds), n_iter=2)
    weighted = clone(search).fit(X, noisy, **{name: kept.astype(float)})
    if estimator is CLF:  # the scaler of the pipeline is fitted to all rows
        alone = clone(search).set_params(cv=PredefinedSplit(folds[kept])).fit(X[kept], noisy[kept])
        np.testing.assert_allclose(weighted.losses_, alone.losses_)
        np.testing.assert_allclose(weighted.predict_proba(X), alone.predict_proba(X))
    assert (weighted.losses_ != clone(search).fit(X, noisy).losses_).all()


def test_groups_reach_the_splitter():
    groups = np.arange(len(X)) // 20
    search = search_of(cv=GroupKFold(3), n_iter=2).fit(X, LABELS, groups=groups)
    assert np.isfinite(search.oof_predictions_).all()


def test_rows_that_no_fold_tests_have_no_prediction_and_no_influence():
    folds = np.where(np.arange(len(X)) < 60, -1, np.arange(len(X)) % 2)
    search = search_of(cv=PredefinedSplit(folds), n_iter=2).fit(X, LABELS)
    assert np.isnan(search.oof_predictions_[:60]).all()
    assert np.isfinite(search.oof_predictions_[60:]).all()
    p = search.oof_predictions_[60:]
    assert log_loss(LABELS[60:], p) <= search.losses_.min() * 1.05


def test_folds_of_a_number_are_shuffled_and_the_same_in_all_rounds(monkeypatch):
    monkeypatch.setattr(TimeLimit, "n_candidates", lambda self, n_left: min(1, n_left))
    in_rounds = search_of(n_iter=3, time_limit=60).fit(X, LABELS)
    monkeypatch.undo()
    np.testing.assert_array_equal(in_rounds.predict_proba(X), search_of(n_iter=3).fit(X, LABELS).predict_proba(X))
    ordered = np.argsort(LABELS, kind="stable")
    assert search_of(REG, n_iter=1).fit(X[ordered], y[ordered].astype(float)).best_score_ > 0.3


# --- Candidates, failures and time --------------------------------------------------------------------------------


def test_the_first_candidate_has_the_estimators_own_settings(fitted):
    assert fitted.cv_results_["params"][0] == {"ensemble_size": 2}
    assert all(parameters["ensemble_size"] == 1 for parameters in fitted.cv_results_["params"][1:])
    own = search_of(clone(CLF).set_params(ensemble_size=2)).fit(X, LABELS)
    assert own.cv_results_["params"][0] == {}
    assert {model.module_.n_members for model in own.estimators_} == {2}


def test_one_candidate_is_the_mean_of_its_fold_models():
    search = search_of(n_iter=1).fit(X, LABELS)
    assert search.weights_.tolist() == [1]
    p = np.mean([model.predict_proba(X) for model in search.estimators_], axis=0)
    np.testing.assert_allclose(search.predict_proba(X), p)


def test_the_default_space_is_search_space_with_architectures():
    search = EnsembleSearchCV(clone(REG).set_params(max_iter=1), n_iter=3, cv=2, random_state=0).fit(X_REG, Y_REG)
    assert {"batch_norm", "numeric_embedding", "dropout"} <= set(search.cv_results_["params"][1])


@pytest.mark.parametrize(
    ("estimator", "table"),
    [(CLF, scipy.sparse.csr_array(X)), (CLF, np.tile(X, 13)), (make_pipeline(StandardScaler(), CLF), X)],
    ids=["sparse", "wide", "pipeline"],
)
def test_the_default_space_has_no_embeddings_where_they_may_be_impossible_or_slow(estimator, table):
    search = EnsembleSearchCV(estimator, n_iter=2, cv=2, random_state=0).fit(table, LABELS)
    assert not any("numeric_embedding" in name for name in search.cv_results_["params"][1])
    assert np.isfinite(search.losses_).all()


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_a_candidate_that_fails_has_no_weight():
    space = [{"batch_size": [-1]}]
    with pytest.warns(FitFailedWarning):
        search = search_of(space=space, n_iter=2).fit(X, LABELS)
    assert search.weights_.tolist() == [1, 0]
    assert np.isnan(search.losses_[1])
    assert np.isnan(search.cv_results_["mean_test_score"][1])
    with pytest.raises(ValueError, match="batch_size"):
        search_of(space=space, n_iter=2, error_score="raise").fit(X, LABELS)


def test_without_time_only_the_first_candidate_is_trained():
    with warnings.catch_warnings(action="error"):
        search = search_of(time_limit=1e-3).fit(X, LABELS)
    assert search.weights_.tolist() == [1, 0, 0, 0]
    assert search.cv_results_["group"].tolist() == [0, -1, -1, -1]
    assert np.isnan(search.cv_results_["mean_test_score"][1:]).all()
    assert search.best_index_ == 0
    assert len(search.estimators_) == 3


def test_rounds_are_foreseen_from_those_before(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("sknn.model_selection.time_limit.time.perf_counter", lambda: now[0])
    limit = TimeLimit(20.0)
    assert limit.n_candidates(30) == 1
    now[0] += 1
    limit.add_round(1.0, [0.5])
    assert limit.n_candidates(30) == 1  # no more than before
    now[0] += 3
    limit.add_round(3.0, [1.0])
    assert limit.costs == [1.0, 3.0]
    assert limit.n_candidates(30) == 2
    now[0] += 6
    limit.add_round(6.0, [1.0, 2.0])
    assert limit.costs == [1.0, 3.0, 2.0, 4.0]
    assert limit.n_candidates(30) == 2  # 9 seconds are left, a tenth in reserve: 4 for the costliest, 2.5 for others
    assert limit.n_candidates(1) == 1
    now[0] += 6.5
    assert limit.n_candidates(30) == 0
    assert TimeLimit(None).n_candidates(30) == 30


@pytest.mark.usefixtures("ctrl_c_raises")
@pytest.mark.parametrize("in_rounds", [False, True])
def test_after_ctrl_c_the_ensemble_is_that_of_the_finished_candidates(in_rounds, monkeypatch):
    train, trainings = TrainingNet.run_single_epoch, []

    def interrupted(self, *args, **kwargs):
        if self not in trainings:
            trainings.append(self)
        if len(trainings) == 2:
            raise KeyboardInterrupt
        return train(self, *args, **kwargs)

    monkeypatch.setattr(TrainingNet, "run_single_epoch", interrupted)
    if in_rounds:
        monkeypatch.setattr(TimeLimit, "n_candidates", lambda self, n_left: min(1, n_left))
    search = search_of(space={"hidden_layer_sizes": [(4,), (5,), (6,)]})
    with pytest.warns(UserWarning, match="Search interrupted by user: (1 of 4|.*the first 1 candidates)"):
        search.fit(X, LABELS)
    assert search.weights_.tolist() == [1, 0, 0, 0]
    assert search.cv_results_["group"].tolist() == [0, -1, -1, -1]


# --- As an estimator of scikit-learn ------------------------------------------------------------------------------


@pytest.mark.slow
def test_random_state_and_n_jobs(fitted):
    for search in (clone(fitted), search_of(n_jobs=2)):
        np.testing.assert_array_equal(search.fit(X, LABELS).predict_proba(X), fitted.predict_proba(X))
        np.testing.assert_array_equal(search.weights_, fitted.weights_)
    assert (search_of(random_state=1).fit(X, LABELS).oof_predictions_ != fitted.oof_predictions_).any()


def test_networks_that_are_not_trained_jointly_are_weighed_too():
    search = search_of(clone(CLF).set_params(warm_start=True), n_iter=2).fit(X, LABELS)
    assert np.isfinite(search.losses_).all()


def test_fitted_attributes(fitted):
    board = fitted.leaderboard_
    assert board["rank"].tolist() == [1, 2, 3, 4]
    assert board["score"].is_monotonic_decreasing
    assert board.index[0] == fitted.best_index_
    assert {"score", "loss", "weight", "seconds", "dropout", "batch_norm"} <= set(board.columns)
    np.testing.assert_array_equal(board["weight"].sort_index(), fitted.weights_)
    assert fitted.best_score_ == fitted.cv_results_["mean_test_score"].max()
    assert fitted.best_params_ == fitted.cv_results_["params"][fitted.best_index_]
    assert len(fitted.estimators_) == 3 * (fitted.weights_ > 0).sum()
    assert fitted.n_features_in_ == X.shape[1]
    assert fitted.classes_.tolist() == ["benign", "malignant"]
    np.testing.assert_array_equal(np.exp(fitted.predict_log_proba(X)).round(6), fitted.predict_proba(X).round(6))


def test_leaderboard_without_pandas_names_the_extra(fitted, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(AttributeError, match=r"sknn\[pandas\]"):
        _ = fitted.leaderboard_
    assert not hasattr(fitted, "leaderboard_")


def test_it_behaves_like_a_search_of_scikit_learn(fitted):
    search = search_of()
    assert "EnsembleSearchCV" in repr(search)
    assert "EnsembleSearchCV" in fitted._repr_html_()
    assert str(clone(search).get_params()) == str(search.get_params())
    assert is_classifier(search)
    assert is_regressor(search_of(REG))
    assert not hasattr(search_of(REG), "predict_proba")
    with pytest.raises(NotFittedError):
        search.predict(X)
    assert clone(fitted.best_estimator_) is fitted.best_estimator_
    outer = {"cv": 2, "scoring": "neg_log_loss"}
    nested = [score(search_of(n_iter=2), X, LABELS, **outer) for score in (cross_val_score, sklearn_cross_val_score)]
    np.testing.assert_array_equal(*nested)


def test_scoring(fitted):
    search = search_of(scoring="neg_log_loss").fit(X, LABELS)
    assert search.score(X, LABELS) == pytest.approx(-log_loss(LABELS, search.predict_proba(X)))
    assert fitted.score(X, LABELS) == np.mean(fitted.predict(X) == LABELS)
    np.testing.assert_array_equal(search.weights_, fitted.weights_)
    with pytest.raises(ValueError, match="several scores; give one"):
        search_of(scoring=["accuracy", "neg_log_loss"]).fit(X, LABELS)


def test_invalid_arguments_are_errors():
    with pytest.raises(TypeError, match="LogisticRegression"):
        EnsembleSearchCV(LogisticRegression(), {"C": [1.0, 2.0]}).fit(X, LABELS)
    with pytest.raises(ValueError, match="time_limit"):
        search_of(time_limit=-1.0).fit(X, LABELS)
    with pytest.raises(ValueError, match="n_iter"):
        search_of(n_iter=0).fit(X, LABELS)
