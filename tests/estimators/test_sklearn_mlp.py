"""scikit-learn's own tests of its MLP, with the estimators that `from_sklearn` makes of its classes in their place."""

import importlib.util
from unittest.mock import patch

import numpy as np
import pytest
from sklearn import neural_network

from sknn import from_sklearn

THEIRS = "sklearn.neural_network.tests.test_mlp"
if importlib.util.find_spec("sklearn.neural_network.tests") is None:
    pytest.skip("scikit-learn is installed without its tests", allow_module_level=True)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),  # they are no errors there
    pytest.mark.filterwarnings("ignore::sknn.TrainingWarning"),
    pytest.mark.filterwarnings("ignore:The training loss became NaN:UserWarning"),
    pytest.mark.usefixtures("numpys_global_seed"),
]

INSIDE = "it sets or reads what is inside of their class"
HOLD_OUT = "how many rows are held out, and what is too few, is decided in another way"
LEFT_OUT = {
    "test_fit": INSIDE,
    "test_gradient": INSIDE,
    "test_learning_rate_warmstart": INSIDE,
    "test_adaptive_learning_rate": INSIDE,
    "test_n_iter_no_change": INSIDE,
    "test_n_iter_no_change_inf": INSIDE,
    "test_nonfinite_params": "the error says it in other words",
    "test_verbose_sgd": "a fit prints other lines",
    "test_early_stopping_stratified": HOLD_OUT,
    "test_minimum_input_sample_size": HOLD_OUT,
    "test_lbfgs_regression_maxfun": "from our initial weights it converges within the 10 evaluations",
    "test_warm_start": "a warm start takes rows of some of the classes only, as partial_fit does",
    "test_mlp_partial_fit_after_fit": "partial_fit holds no rows out, so early_stopping=True does it no harm",
    "test_mlp_param_dtypes[MLPClassifier-float32]": "the type is a parameter, precision, and not that of X",
    "test_mlp_param_dtypes[MLPRegressor-float32]": "the type is a parameter, precision, and not that of X",
}


class MLPClassifier(neural_network.MLPClassifier):
    """Called like theirs, and makes ours."""

    def __new__(cls, *args, **params):
        return from_sklearn(neural_network.MLPClassifier(*args, **params), precision="float64")


class MLPRegressor(neural_network.MLPRegressor):
    """Called like theirs, and makes ours."""

    def __new__(cls, *args, **params):
        return from_sklearn(neural_network.MLPRegressor(*args, **params), precision="float64")


def their_tests():
    """The functions of a copy of their module that has imported our classes."""
    spec = importlib.util.find_spec(THEIRS)
    module = importlib.util.module_from_spec(spec)
    with patch.multiple(neural_network, MLPClassifier=MLPClassifier, MLPRegressor=MLPRegressor):
        spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


TESTS = their_tests()
globals().update(TESTS)  # where pytest finds them


@pytest.fixture(autouse=True)
def leave_out(request):
    for name in (request.node.name, request.node.originalname):
        if name in LEFT_OUT:
            pytest.skip(LEFT_OUT[name])


@pytest.fixture
def numpys_global_seed():
    """Some of theirs draw from it."""
    before = np.random.get_state()
    np.random.seed(0)
    yield
    np.random.set_state(before)


@pytest.fixture
def global_random_seed():
    """A fixture of theirs."""
    return 0


def test_what_is_left_out_is_there():
    assert {name.partition("[")[0] for name in LEFT_OUT} <= set(TESTS)
