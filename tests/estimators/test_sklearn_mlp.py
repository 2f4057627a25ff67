"""Run scikit-learn's own tests of its MLP with the estimators that `from_sklearn` converts the MLP to."""

import importlib.util
from unittest.mock import patch

import numpy as np
import pytest
from sklearn import neural_network

from sknn import from_sklearn

SKLEARN_TESTS = "sklearn.neural_network.tests.test_mlp"
if importlib.util.find_spec("sklearn.neural_network.tests") is None:
    pytest.skip("scikit-learn is installed without its tests", allow_module_level=True)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),  # no errors in scikit-learn's tests
    pytest.mark.filterwarnings("ignore::sknn.TrainingWarning"),
    pytest.mark.filterwarnings("ignore:The training loss became NaN:UserWarning"),
    pytest.mark.usefixtures("numpys_global_seed"),
]

PRIVATE = "it sets or reads private attributes of scikit-learn's class"
HOLD_OUT = "the number of held-out rows and its minimum are defined in another way"
SKIPPED = {
    "test_fit": PRIVATE,
    "test_gradient": PRIVATE,
    "test_learning_rate_warmstart": PRIVATE,
    "test_adaptive_learning_rate": PRIVATE,
    "test_n_iter_no_change": PRIVATE,
    "test_n_iter_no_change_inf": PRIVATE,
    "test_nonfinite_params": "the error message has other words",
    "test_verbose_sgd": "a fit prints other lines",
    "test_early_stopping_stratified": HOLD_OUT,
    "test_minimum_input_sample_size": HOLD_OUT,
    "test_lbfgs_regression_maxfun": "from the initial weights of sknn it converges within 10 evaluations",
    "test_warm_start": "a warm start accepts rows of some of the classes only, as partial_fit does",
    "test_mlp_partial_fit_after_fit": "partial_fit holds no rows out, so it accepts early_stopping=True",
    "test_mlp_param_dtypes[MLPClassifier-float32]": "the parameter precision sets the dtype of the weights, not X",
    "test_mlp_param_dtypes[MLPRegressor-float32]": "the parameter precision sets the dtype of the weights, not X",
}


class MLPClassifier(neural_network.MLPClassifier):
    """Called like scikit-learn's class, but returns an estimator of sknn."""

    def __new__(cls, *args, **params):
        return from_sklearn(neural_network.MLPClassifier(*args, **params), precision="float64")


class MLPRegressor(neural_network.MLPRegressor):
    """Called like scikit-learn's class, but returns an estimator of sknn."""

    def __new__(cls, *args, **params):
        return from_sklearn(neural_network.MLPRegressor(*args, **params), precision="float64")


def sklearn_tests():
    """Return the test functions of a copy of scikit-learn's module that has imported the classes above."""
    spec = importlib.util.find_spec(SKLEARN_TESTS)
    module = importlib.util.module_from_spec(spec)
    with patch.multiple(neural_network, MLPClassifier=MLPClassifier, MLPRegressor=MLPRegressor):
        spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


TESTS = sklearn_tests()
globals().update(TESTS)  # pytest finds them in the globals


@pytest.fixture(autouse=True)
def skip_some(request):
    for name in (request.node.name, request.node.originalname):
        if name in SKIPPED:
            pytest.skip(SKIPPED[name])


@pytest.fixture
def numpys_global_seed():
    """Seed numpy's global generator, from which some of scikit-learn's tests draw."""
    before = np.random.get_state()
    np.random.seed(0)
    yield
    np.random.set_state(before)


@pytest.fixture
def global_random_seed():
    """Replace a fixture of scikit-learn."""
    return 0


def test_every_skipped_test_exists():
    assert {name.partition("[")[0] for name in SKIPPED} <= set(TESTS)
