"""Forged attributes of sknn's classes are refused by `save` and `load`, by name."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sknn import NeuralClassifier, NeuralRegressor, load, save
from sknn.persistence import InvalidFileError, checks
from sknn.persistence.sknn_checks import check_sknn_object
from tests.common import TINY

N = 30
X = np.random.default_rng(0).normal(size=(N, 3))
FRAME = pd.DataFrame(X, columns=["u", "v", "w"]).assign(city=["Oslo", "Rome", None] * 10, code=["a", "b"] * 15)
LABELS = np.array(["p", "q", "r"])[np.arange(N) % 3]


class Normed(nn.Sequential):
    """A module with a mask of infinities, like that of attention, which is not checked."""

    def __init__(self, in_features, out_features):
        super().__init__(nn.Linear(in_features, 2), nn.BatchNorm1d(2), nn.Linear(2, out_features))
        self.register_buffer("mask", torch.tensor([-torch.inf, 0.0]))


MODELS = {
    "classifier": NeuralClassifier(**TINY).fit(FRAME, LABELS),
    "multilabel": NeuralClassifier(**TINY).fit(X, (X > 0).astype(int)),
    "regressor": NeuralRegressor(**TINY | {"ensemble_size": 2}).fit(FRAME, X[:, 0]),
    "single": NeuralRegressor(**TINY, precision="float32").fit(X, X[:, 0]),
    "quantile": NeuralRegressor(**TINY, scaling="quantile").fit(X, X[:, :2]),
    "module": NeuralRegressor(**TINY, module=Normed).fit(X, X[:, 0]),
}


@pytest.mark.parametrize("name", MODELS)
def test_fitted_estimators_pass(name, tmp_path):
    check_sknn_object(MODELS[name])
    save(MODELS[name], tmp_path / "model.sknn")
    params = {"module": Normed} if name == "module" else {}
    assert type(load(tmp_path / "model.sknn", **params)) is type(MODELS[name])


def floats(*values):
    return np.array(values, dtype=float)


FORGED = [
    ("classifier", "_features.scaling", "other", "scaling of a FeatureEncoder has to be one of"),
    ("classifier", "_features.max_one_hot", 8.0, "max_one_hot of a FeatureEncoder has to be an integer of at least 0"),
    ("classifier", "_features.dtype", np.int64, "dtype of a FeatureEncoder has to be float32 or float64"),
    ("classifier", "_features.numeric_", np.array([2, 1, 0]), "numeric_ .* has to be increasing indices"),
    ("classifier", "_features.numeric_", np.array([0, 1, 3]), "numeric_ .* the columns that are not in categorical_"),
    ("classifier", "_features.numeric_", floats(0, 1, 2), "numeric_ .* has to be increasing indices"),
    ("classifier", "_features.levels_", [["Oslo"]], "levels_ .* a list of different strings for each"),
    ("classifier", "_features.levels_", [["a", "a"], ["b"]], "levels_ .* a list of different strings for each"),
    ("classifier", "_features.levels_", [["a", 3], ["b"]], "levels_ .* a list of different strings for each"),
    ("classifier", "_features.scaler_", None, "scaler_ of a FeatureEncoder has to be a ColumnScaler"),
    ("classifier", "_features.missing_", np.array([3]), "missing_ of a FeatureEncoder .* indices into numeric_"),
    ("classifier", "_features.scaler_.fill", floats(0, 1, np.nan), "fill of a ColumnScaler has to be finite float64"),
    ("classifier", "_features.scaler_.center", floats(0, 1), "center of a ColumnScaler has to be 3 finite float64"),
    ("classifier", "_features.scaler_.scale", np.ones(3, np.float32), "scale of a ColumnScaler has to be 3 finite"),
    ("classifier", "_features.scaler_.scale", floats(1, -1, 1), "scale of a ColumnScaler has to be at least 0"),
    ("classifier", "_features.scaler_.clip", 1, "clip of a ColumnScaler has to be True or False"),
    ("quantile", "_features.scaler_.references", np.ones((1, 3)), "references .* has to be None or increasing"),
    ("quantile", "_features.scaler_.references", -np.arange(6.0).reshape(2, 3), "references .* None or increasing"),
    ("classifier", "_target.kind_", "other", "kind_ of a ClassEncoder has to be one of"),
    ("classifier", "_target.kind_", "binary", "classes_ of a ClassEncoder has to be classes of a binary target"),
    ("multilabel", "_target.classes_", np.array([0, 2, 3]), "classes_ .* has to be classes of a multilabel target"),
    ("classifier", "_target.classes_", np.array(["q", "p", "r"]), "classes_ .* has to be different labels"),
    ("classifier", "_target.classes_", np.array([1, "a", 2], dtype=object), "classes_ .* has to be different labels"),
    ("classifier", "_target.classes_", np.array([[1], [2]]), "classes_ .* has to be different labels"),
    ("classifier", "classes_", np.array(["p", "q", "s"]), "classes_ of a NeuralClassifier has to be the classes"),
    ("classifier", "_label_weights", floats(1, 2), "_label_weights of a NeuralClassifier has to be None or a finite"),
    ("classifier", "n_features_in_", 5.0, "n_features_in_ of a NeuralClassifier has to be an integer above 0"),
    ("classifier", "n_features_in_", 4, "n_features_in_ of a NeuralClassifier has to be 5, the number of columns"),
    ("classifier", "feature_names_in_", np.array(list("uvwxx"), dtype=object), "feature_names_in_ .* 5 different"),
    ("classifier", "target_name_", 5, "target_name_ of a NeuralClassifier has to be a string"),
    ("classifier", "_features", None, "_features of a NeuralClassifier has to be a FeatureEncoder"),
    ("classifier", "_target", MODELS["regressor"]._target, "_target of a NeuralClassifier has to be a ClassEncoder"),
    ("classifier", "_built_with", {"loss": "log_loss"}, "_built_with .* the parameters of its trained network"),
    ("regressor", "_target", MODELS["classifier"]._target, "_target of a NeuralRegressor has to be a ValueEncoder"),
    ("regressor", "_target_ndim", 3, "_target_ndim of a NeuralRegressor has to be 1 or 2"),
    ("regressor", "_target.scaled", 1, "scaled of a ValueEncoder has to be True or False"),
    ("regressor", "_target.positive", "negative", "positive of a ValueEncoder has to be None, 'zero or more'"),
    ("regressor", "_target.center_", floats(np.inf), "center_ of a ValueEncoder has to be finite float64 numbers"),
    ("regressor", "_target.scale_", floats(1, 1), "scale_ of a ValueEncoder has to be 1 finite float64 numbers"),
    ("regressor", "_target.scale_", floats(0), "scale_ of a ValueEncoder has to be above 0"),
    ("regressor", "net_.member_states_", [], "member_states_ of a TrainingNet has to be a state for each member"),
    ("regressor", "net_.member_states_.0.rows_seen", -1, "rows_seen of a MemberState has to be an integer"),
    ("regressor", "net_.member_states_.1.epochs", 0.5, "epochs of a MemberState has to be an integer"),
    ("regressor", "net_.member_states_.1.failed", 2, "failed of a MemberState has to be True or False"),
    ("regressor", "net_.member_states_.0.unconverged", 0, "unconverged of a MemberState has to be True or False"),
    ("regressor", "net_.member_states_.0.diverged_in", "late", "diverged_in of a MemberState has to be None or an"),
    ("regressor", "net_.member_history_", {"x": {}}, "member_history_ of a TrainingNet has to be a dict from epochs"),
    ("regressor", "net_.keeps_optimizer", None, "keeps_optimizer of a TrainingNet has to be True or False"),
    ("regressor", "net_.stopped_by_", "x", "stopped_by_ of a TrainingNet has to be None, 'user' or 'callback'"),
    ("regressor", "net_.member_states_.0.best_score", None, "best_score of a MemberState has to be a number"),
    ("regressor", "net_.member_states_.1.best_epoch", 1.5, "best_epoch of a MemberState has to be an integer"),
    ("regressor", "net_.member_states_.1.epochs_without_improvement", -1, "epochs_without_improvement of a Member"),
]  # fmt: skip


def forged(name, attribute, value):
    """Return a copy of a model with another value of an attribute."""
    est = copy.deepcopy(MODELS[name])
    owner, *others = [est, *attribute.split(".")[:-1]]
    for part in others:
        owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
    setattr(owner, attribute.rpartition(".")[2], value)
    return est


@pytest.mark.parametrize(("name", "attribute", "value", "message"), FORGED)
def test_forged_attributes_are_refused_by_save_and_load(name, attribute, value, message, tmp_path, monkeypatch):
    est = forged(name, attribute, value)
    with pytest.raises(TypeError, match=rf"could not be loaded again: .*{message}"):
        save(est, tmp_path / "model.sknn")
    with monkeypatch.context() as context:
        for name_of_check in ("check_sknn_object", "check_sklearn_estimator"):  # as someone who forges a file does
            context.setattr(checks, name_of_check, lambda obj: None)
        save(est, tmp_path / "model.sknn")

    with pytest.raises(InvalidFileError, match=f"{message}|is inconsistent"):
        load(tmp_path / "model.sknn")


def refused_weights(name, change, tmp_path):
    """Return the error message of saving a copy with changed weights."""
    est = copy.deepcopy(MODELS[name])
    with torch.no_grad():
        change(est.module_)
    with pytest.raises(TypeError) as caught:
        save(est, tmp_path / "model.sknn")
    return str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["regressor", "module"])
def test_weights_that_are_not_finite_are_refused(name, value, tmp_path):
    message = refused_weights(name, lambda network: next(network.parameters()).fill_(value), tmp_path)
    assert "module_ of a TrainingNet has to be a network of finite numbers; correct it, and save again" in message


def test_a_negative_variance_is_refused(tmp_path):
    norm = lambda network: network.members[0].get_submodule("1")  # noqa: E731
    assert "finite numbers" in refused_weights("module", lambda network: norm(network).running_var.fill_(-1), tmp_path)
    assert "finite numbers" in refused_weights(
        "module", lambda network: norm(network).running_mean.fill_(torch.inf), tmp_path
    )


def test_weights_that_overflow_in_a_prediction_are_refused(tmp_path):
    message = refused_weights("single", lambda network: network.param_buffer.fill_(1e38), tmp_path)
    assert "a NeuralRegressor predicts " in message
    assert "for a row of missing values" in message


def test_a_fitted_estimator_without_its_net_is_refused(tmp_path):
    est = copy.deepcopy(MODELS["classifier"])
    del est.__dict__["net_"]
    with pytest.raises(ValueError, match="net_ of a NeuralClassifier has to be its trained network"):
        check_sknn_object(est)


def test_an_estimator_that_is_not_fitted_passes():
    check_sknn_object(NeuralClassifier())
