"""scikit-learn's estimator checks, for both estimators in several configurations."""

import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknn import NeuralClassifier, NeuralRegressor

pytestmark = [
    # The checks fit noise, with unsuitable parameters.
    pytest.mark.filterwarnings("ignore::sknn.TrainingWarning"),
    # Their tables are tiny.
    pytest.mark.filterwarnings("ignore:.*hasn't converged yet:sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:lbfgs ended:sklearn.exceptions.ConvergenceWarning"),
]

DRAWS = "repeating a row changes which rows are held out and which batches are drawn"
DRAWN = {
    "check_sample_weight_equivalence_on_dense_data": DRAWS,
    "check_sample_weight_equivalence_on_sparse_data": DRAWS,
}


class TwoLayers(torch.nn.Module):
    """A custom module, for tables."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.hidden = torch.nn.Linear(in_features, 16)
        self.norm = torch.nn.LayerNorm(16)
        self.out = torch.nn.Linear(16, out_features)

    def forward(self, x):
        return self.out(torch.relu(self.norm(self.hidden(x))))


SMALL = dict(hidden_layer_sizes=(32,), ensemble_size=2, max_iter=40)
CONFIGURATIONS = {
    "defaults": ({}, DRAWN),
    "small": (SMALL, DRAWN),
    # With one batch of all rows, only the initial weights are random. The checks compare to 1e-7.
    "full_batch": (
        dict(
            ensemble_size=1,
            hidden_layer_sizes=(32,),
            batch_size=10**6,
            early_stopping=False,
            dropout=0.0,
            max_iter=100,
            precision="float64",
        ),
        {},
    ),
    # The checks round the data of an estimator that takes categories. Few rows of few distinct values are soon
    # memorised, with probabilities of 1.
    "lbfgs": (dict(solver="lbfgs", hidden_layer_sizes=(20,), ensemble_size=1, max_iter=30), {}),
    "ensemble_with_batch_norm": (
        SMALL | dict(ensemble_size=5, batch_norm=True, activation="relu", scaling="standard"),
        DRAWN,
    ),
    "periodic": (SMALL | dict(numeric_embedding="periodic"), DRAWN),
    "piecewise_linear": (SMALL | dict(numeric_embedding="piecewise_linear", scaling="quantile"), DRAWN),
    "custom_module": (SMALL | dict(module=TwoLayers, learning_rate_init=0.02), DRAWN),
    "sgd": (
        SMALL
        | dict(solver="sgd", learning_rate="one_cycle", learning_rate_init=0.03, early_stopping=False, dropout=0.0),
        DRAWN,
    ),
}


FAST = ("small", "full_batch", "lbfgs")  # "small" is the defaults with a smaller network, in a quarter of their time
EXPECTED = {
    repr(cls(**params)): expected
    for params, expected in CONFIGURATIONS.values()
    for cls in (NeuralClassifier, NeuralRegressor)
}


def checks_of(names):
    """Return all checks of both estimators in these configurations, with those that are expected to fail."""
    estimators = [cls(**CONFIGURATIONS[name][0]) for name in names for cls in (NeuralClassifier, NeuralRegressor)]
    return parametrize_with_checks(estimators, expected_failed_checks=lambda estimator: EXPECTED[repr(estimator)])


@pytest.mark.sample(3)
@checks_of(FAST)
def test_the_estimator_passes_the_check(estimator, check):
    check(estimator)


@pytest.mark.slow
@checks_of([name for name in CONFIGURATIONS if name not in FAST])
def test_the_estimator_passes_the_check_in_every_configuration(estimator, check):
    check(estimator)
