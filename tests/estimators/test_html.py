"""The HTML of an estimator in a notebook has descriptions and no dead links."""

import re

import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.fixes import parse_version

from sknn import NeuralClassifier, NeuralRegressor

X, y = load_iris(return_X_y=True)
SMALL = dict(hidden_layer_sizes=(4,), ensemble_size=2, max_iter=3, random_state=0)
DESCRIBED = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"), reason="needs scikit-learn 1.9"
)


class Derived(NeuralClassifier):
    """A subclass with its own docstring.

    Parameters
    ----------
    alpha : float
        Its own description.
    """


ESTIMATORS = {
    "new": NeuralClassifier(**SMALL),
    "regressor": NeuralRegressor(**SMALL),
    "fitted": NeuralClassifier(**SMALL).fit(X, y),
    "step": make_pipeline(StandardScaler(), NeuralClassifier(**SMALL)).fit(X, y)[-1:],
    "derived": Derived(**SMALL),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_link_leads_to_scikit_learns_documentation(name):
    html = estimator_html_repr(ESTIMATORS[name])
    targets = re.findall(r"href=[\"']([^\"']*)", html)
    assert [target for target in targets if not target.startswith("https://scikit-learn.org/")] == []
    if name != "step":  # the pipeline itself is an estimator of scikit-learn
        assert targets == []
        assert '<a class="sk-estimator-doc-link' not in html


@DESCRIBED
@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_parameter_has_a_tooltip_with_its_description(name):
    html = estimator_html_repr(ESTIMATORS[name])
    assert html.count('class="param-doc-description"') >= (1 if name == "derived" else 30)
    first_words = "Its own description." if name == "derived" else "Units of each hidden layer"
    entry = r'<a class="param-doc-link"[^>]*>[^<]*<span class="param-doc-description"[^>]*>[^<]*<br><br>'
    assert re.search(entry + first_words, html)


@DESCRIBED
def test_fitted_attributes_are_described():
    html = estimator_html_repr(ESTIMATORS["fitted"])
    assert "A record for each epoch; `history_frame()` returns it as a table." in html
