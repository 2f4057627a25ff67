"""Search spaces."""

import pytest
from scipy.stats import kstest, uniform
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import NeuralClassifier, NeuralRegressor
from sknn.model_selection import search_space


def test_names_are_the_parameters_of_the_estimator_with_the_prefix_of_its_steps():
    assert "label_smoothing" not in search_space(NeuralRegressor(), 100)
    assert "alpha" in search_space(NeuralClassifier(solver="adam"), 100)
    pipe = make_pipeline(StandardScaler(), NeuralClassifier())
    names = set(search_space(make_pipeline(StandardScaler(), pipe), 100))
    prefix = "pipeline__neuralclassifier__"
    assert names == {prefix + name for name in ("dropout", "label_smoothing", "learning_rate_init", "weight_decay")}


@pytest.mark.parametrize(("n_samples", "max_dropout"), [(100, 0.6), (2_000, 0.6), (2_001, 0.4), (10**6, 0.25)])
def test_the_range_of_dropout_is_smaller_for_more_rows(n_samples, max_dropout):
    dropout = search_space(NeuralClassifier(), n_samples)["dropout"]
    assert kstest(dropout.rvs(500, random_state=0), uniform(0, max_dropout).cdf).pvalue > 0.01
    optuna = search_space(NeuralClassifier(), n_samples, kind="optuna")["dropout"]
    assert (optuna.low, optuna.high) == (0, max_dropout)


def test_scipy_and_optuna_get_the_same_ranges():
    scipy, optuna = (search_space(NeuralClassifier(), 500, kind=kind) for kind in ("scipy", "optuna"))
    assert scipy.keys() == optuna.keys()
    for name, distribution in scipy.items():
        assert distribution.support() == pytest.approx((optuna[name].low, optuna[name].high))
        assert optuna[name].log == (distribution.dist.name == "loguniform")


def test_architectures_are_choices_beside_narrower_ranges():
    pipe = make_pipeline(StandardScaler(), NeuralClassifier())
    wide, narrow = search_space(pipe, 500), search_space(pipe, 500, architecture=True)
    added = {"hidden_layer_sizes", "batch_norm", "numeric_embedding", "target_means"}
    assert set(narrow) - set(wide) == {f"neuralclassifier__{name}" for name in added}
    assert set(wide) - set(narrow) == {"neuralclassifier__label_smoothing"}
    for name in ("learning_rate_init", "weight_decay"):
        (low, high), (least, most) = (space[f"neuralclassifier__{name}"].support() for space in (narrow, wide))
        assert least < low < high < most
    optuna = search_space(NeuralRegressor(), 500, kind="optuna", architecture=True)
    assert set(optuna["numeric_embedding"].choices) == {None, "piecewise_linear"}
    assert "hidden_layer_sizes" not in optuna


def test_invalid_arguments_are_errors():
    with pytest.raises(TypeError, match="LogisticRegression"):
        search_space(LogisticRegression(), 100)
    with pytest.raises(ValueError, match="kind='hyperopt'"):
        search_space(NeuralClassifier(), 100, kind="hyperopt")
    with pytest.raises(ValueError, match="n_samples=0"):
        search_space(NeuralClassifier(), 0)


def test_without_optuna_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna.distributions", None)
    with pytest.raises(ImportError, match=r"sknn\[optuna\]"):
        search_space(NeuralClassifier(), 100, kind="optuna")
