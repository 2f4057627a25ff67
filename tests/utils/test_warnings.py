"""Warnings of a fit: at the user's line, also through pipelines and wrappers, and once for each line."""

import inspect
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import NeuralClassifier
from sknn.utils.warnings import warn

X, Y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
EARLY = {"hidden_layer_sizes": 4, "max_iter": 2, "learning_rate": "constant", "ensemble_size": 1, "random_state": 0}


def line_of_call():
    return inspect.currentframe().f_back.f_lineno


def wrapped(fit):
    """Wrap a function as decorators of libraries do."""

    def wrapper(*args):
        return fit(*args)

    return wrapper


@pytest.mark.parametrize(
    "fit",
    [
        NeuralClassifier(**EARLY).fit,
        lambda X, y: NeuralClassifier(**EARLY).partial_fit(X, y, classes=[0, 1]).set_params(warm_start=True).fit(X, y),
        make_pipeline(StandardScaler(), make_pipeline(NeuralClassifier(**EARLY))).fit,
    ],
    ids=["fit", "warm start", "pipelines"],
)
def test_a_fit_warns_at_the_users_line(fit):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(X, Y)
        line = line_of_call() - 1
    (warning,) = caught
    assert warning.category is ConvergenceWarning
    assert warning.filename == __file__
    assert warning.lineno == line or "lambda" in inspect.getsource(fit)


def test_a_wrapper_around_fit_does_not_move_the_line_into_a_library():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrapped(NeuralClassifier(**EARLY).fit)(X, Y)
    assert [w.filename for w in caught] == [__file__]


LOOP = """
import warnings, numpy as np
from sknn import NeuralClassifier
X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
clf = NeuralClassifier(4, max_iter=2, learning_rate="constant", ensemble_size=1)
for _ in range(5):
    clf.fit(X, y)
    with warnings.catch_warnings():  # resets Python's record of shown warnings
        pass
clf.fit(X, y)
"""


@pytest.mark.sample(3)
@pytest.mark.parametrize(("filters", "times"), [([], 2), (["-W", "always"], 6), (["-W", "ignore"], 0)])
def test_a_loop_of_fits_warns_once_for_each_line_unless_filters_differ(filters, times):
    run = subprocess.run([sys.executable, *filters, "-c", LOOP], capture_output=True, text=True, check=True)
    assert run.stderr.count("ConvergenceWarning: Maximum iterations") == times


def test_a_users_error_filter_raises():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning):
            NeuralClassifier(**EARLY).fit(X, Y)


def test_a_filter_matches_message_and_module():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.filterwarnings("always", message="loud", module=__name__)
        for _ in range(3):
            warn("loud message")
            warn("quiet message")
    assert [str(w.message) for w in caught].count("loud message") == 3
    assert [str(w.message) for w in caught].count("quiet message") == 1
