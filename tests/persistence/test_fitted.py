"""What the attributes of our own fitted classes have to be: forged ones are refused on both ways, by name."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sknn import NeuralClassifier, NeuralRegressor, load, save
from sknn.persistence import InvalidFileError, classes
from sknn.persistence.fitted import check_fitted
from tests.common import TINY

N = 30
X = np.random.default_rng(0).normal(size=(N, 3))
FRAME = pd.DataFrame(X, columns=["u", "v", "w"]).assign(city=["Oslo", "Rome", None] * 10, code=["a", "b"] * 15)
LABELS = np.array(["p", "q", "r"])[np.arange(N) % 3]


class Normed(nn.Sequential):
    """With a mask of infinities, as attention has, which is not checked."""

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
def test_what_a_fit_gives_passes(name, tmp_path):
    check_fitted(MODELS[name])
    save(MODELS[name], tmp_path / "model.sknn")
    given = {"module": Normed} if name == "module" else {}
    assert type(load(tmp_path / "model.sknn", **given)) is type(MODELS[name])


def numbers(*values):
    return np.array(values, dtype=float)


FORGED = [
    ("classifier", "_features.scaling", "other", "scaling of a FeatureEncoder has to be one of"),
    ("classifier", "_features.max_one_hot", 8.0, "max_one_hot of a FeatureEncoder has to be a whole number"),
    ("classifier", "_features.dtype", np.int64, "dtype of a FeatureEncoder has to be float32 or float64"),
    ("classifier", "_features.numeric_", np.array([2, 1, 0]), "numeric_ .* has to be increasing whole numbers"),
    ("classifier", "_features.numeric_", np.array([0, 1, 3]), "numeric_ .* has to be the columns that categorical_"),
    ("classifier", "_features.numeric_", numbers(0, 1, 2), "numeric_ .* has to be increasing whole numbers"),
    ("classifier", "_features.levels_", [["Oslo"]], "levels_ .* has to be a list of strings for each"),
    ("classifier", "_features.levels_", [["a", "a"], ["b"]], "levels_ .* has to be a list of strings for each"),
    ("classifier", "_features.levels_", [["a", 3], ["b"]], "levels_ .* has to be a list of strings for each"),
    ("classifier", "_features.scaler_", None, "scaler_ of a FeatureEncoder has to be a ColumnScaler"),
    ("classifier", "_features.missing_", np.array([3]), "missing_ of a FeatureEncoder has to be places in numeric_"),
    ("classifier", "_features.scaler_.fill", numbers(0, 1, np.nan), "fill of a ColumnScaler has to be finite float64"),
    ("classifier", "_features.scaler_.center", numbers(0, 1), "center of a ColumnScaler has to be 3 finite float64"),
    ("classifier", "_features.scaler_.scale", np.ones(3, np.float32), "scale of a ColumnScaler has to be 3 finite"),
    ("classifier", "_features.scaler_.scale", numbers(1, -1, 1), "scale of a ColumnScaler has to be 0 or more"),
    ("classifier", "_features.scaler_.clip", 1, "clip of a ColumnScaler has to be True or False"),
    ("quantile", "_features.scaler_.references", np.ones((1, 3)), "references .* has to be None or increasing"),
    ("quantile", "_features.scaler_.references", -np.arange(6.0).reshape(2, 3), "references .* None or increasing"),
    ("classifier", "_target.kind_", "other", "kind_ of a ClassEncoder has to be one of"),
    ("classifier", "_target.kind_", "binary", "classes_ of a ClassEncoder has to be those of a binary target"),
    ("multilabel", "_target.classes_", np.array([0, 2, 3]), "classes_ .* has to be those of a multilabel target"),
    ("classifier", "_target.classes_", np.array(["q", "p", "r"]), "classes_ .* has to be different labels"),
    ("classifier", "_target.classes_", np.array([1, "a", 2], dtype=object), "classes_ .* has to be different labels"),
    ("classifier", "_target.classes_", np.array([[1], [2]]), "classes_ .* has to be different labels"),
    ("classifier", "classes_", np.array(["p", "q", "s"]), "classes_ of a NeuralClassifier has to be the classes"),
    ("classifier", "_label_weights", numbers(1, 2), "_label_weights of a NeuralClassifier has to be None or a finite"),
    ("classifier", "n_features_in_", 5.0, "n_features_in_ of a NeuralClassifier has to be a whole number above 0"),
    ("classifier", "n_features_in_", 4, "n_features_in_ of a NeuralClassifier has to be 5, the columns of its encoder"),
    ("classifier", "feature_names_in_", np.array(list("uvwxx"), dtype=object), "feature_names_in_ .* 5 different"),
    ("classifier", "_features", None, "_features of a NeuralClassifier has to be a FeatureEncoder"),
    ("classifier", "_target", MODELS["regressor"]._target, "_target of a NeuralClassifier has to be a ClassEncoder"),
    ("classifier", "_built_with", {"loss": "log_loss"}, "_built_with .* the parameters that its network"),
    ("regressor", "_target", MODELS["classifier"]._target, "_target of a NeuralRegressor has to be a ValueEncoder"),
    ("regressor", "_target_ndim", 3, "_target_ndim of a NeuralRegressor has to be 1 or 2"),
    ("regressor", "_target.scaled", 1, "scaled of a ValueEncoder has to be True or False"),
    ("regressor", "_target.positive", "negative", "positive of a ValueEncoder has to be None or what a loss asks"),
    ("regressor", "_target.center_", numbers(np.inf), "center_ of a ValueEncoder has to be finite float64 numbers"),
    ("regressor", "_target.scale_", numbers(1, 1), "scale_ of a ValueEncoder has to be 1 finite float64 numbers"),
    ("regressor", "_target.scale_", numbers(0), "scale_ of a ValueEncoder has to be above 0"),
    ("regressor", "net_.member_states_", [], "member_states_ of a TrainingNet has to be a state for each member"),
    ("regressor", "net_.member_states_.0.rows_seen", -1, "rows_seen of a MemberState has to be a whole number"),
    ("regressor", "net_.member_states_.1.epochs", 0.5, "epochs of a MemberState has to be a whole number"),
    ("regressor", "net_.member_states_.1.failed", 2, "failed of a MemberState has to be True or False"),
    ("regressor", "net_.member_states_.0.unconverged", 0, "unconverged of a MemberState has to be True or False"),
    ("regressor", "net_.member_states_.0.diverged_in", "late", "diverged_in of a MemberState has to be None or a"),
    ("regressor", "net_.member_history_", {"x": {}}, "member_history_ of a TrainingNet has to be records by epoch"),
    ("regressor", "net_.keeps_optimizer", None, "keeps_optimizer of a TrainingNet has to be True or False"),
    ("regressor", "net_.stopped_by_", "x", "stopped_by_ of a TrainingNet has to be None, 'user' or 'callback'"),
    ("regressor", "net_.member_states_.0.best_score", None, "best_score of a MemberState has to be a number"),
    ("regressor", "net_.member_states_.1.best_epoch", 1.5, "best_epoch of a MemberState has to be a whole number"),
    ("regressor", "net_.member_states_.1.epochs_without_improvement", -1, "epochs_without_improvement of a Member"),
]  # fmt: skip


def forged(name, attribute, value):
    """A copy with another attribute somewhere in it."""
    est = copy.deepcopy(MODELS[name])
    owner, *others = [est, *attribute.split(".")[:-1]]
    for part in others:
        owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
    setattr(owner, attribute.rpartition(".")[2], value)
    return est


@pytest.mark.parametrize(("name", "attribute", "value", "message"), FORGED)
def test_forged_attributes_are_refused_on_both_ways(name, attribute, value, message, tmp_path, monkeypatch):
    est = forged(name, attribute, value)
    with pytest.raises(TypeError, match=rf"can't be loaded again: .*{message}"):
        save(est, tmp_path / "model.sknn")
    with monkeypatch.context() as context:
        for name_of_check in ("check_fitted", "check_step"):  # as whoever forges a file would
            context.setattr(classes, name_of_check, lambda made: None)
        save(est, tmp_path / "model.sknn")

    with pytest.raises(InvalidFileError, match=f"{message}|does not fit together"):
        load(tmp_path / "model.sknn")


def refused_weights(name, change, tmp_path):
    """What is said on saving a copy with changed weights."""
    est = copy.deepcopy(MODELS[name])
    with torch.no_grad():
        change(est.module_)
    with pytest.raises(TypeError) as caught:
        save(est, tmp_path / "model.sknn")
    return str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["regressor", "module"])
def test_a_network_of_other_numbers_is_refused(name, value, tmp_path):
    message = refused_weights(name, lambda network: next(network.parameters()).fill_(value), tmp_path)
    assert "module_ of a TrainingNet has to be a network of finite numbers; mend that, and save again" in message


def test_so_is_a_variance_below_0(tmp_path):
    norm = lambda network: network.members[0].get_submodule("1")  # noqa: E731
    assert "finite numbers" in refused_weights("module", lambda network: norm(network).running_var.fill_(-1), tmp_path)
    assert "finite numbers" in refused_weights(
        "module", lambda network: norm(network).running_mean.fill_(torch.inf), tmp_path
    )


def test_numbers_that_overflow_in_a_prediction_are_refused(tmp_path):
    message = refused_weights("single", lambda network: network.param_buffer.fill_(1e38), tmp_path)
    assert "a NeuralRegressor predicts " in message
    assert "for a row without any value" in message


def test_a_network_that_lost_its_net_is_refused(tmp_path):
    est = copy.deepcopy(MODELS["classifier"])
    del est.__dict__["net_"]
    with pytest.raises(ValueError, match="net_ of a NeuralClassifier has to be the network that was fitted"):
        check_fitted(est)


def test_an_estimator_that_is_not_fitted_passes():
    check_fitted(NeuralClassifier())
