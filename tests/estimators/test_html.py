"""What a notebook shows of an estimator: descriptions, and no link that leads nowhere."""

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
    parse_version(sklearn.__version__) < parse_version("1.9"), reason="scikit-learn 1.9 brought descriptions"
)


class Derived(NeuralClassifier):
    """A class of the user's, with a docstring of its own.

    Parameters
    ----------
    alpha : float
        Of a description of its own.
    """


SHOWN = {
    "new": NeuralClassifier(**SMALL),
    "regressor": NeuralRegressor(**SMALL),
    "fitted": NeuralClassifier(**SMALL).fit(X, y),
    "step": make_pipeline(StandardScaler(), NeuralClassifier(**SMALL)).fit(X, y)[-1:],
    "derived": Derived(**SMALL),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_no_link_leads_nowhere(kind):
    html = estimator_html_repr(SHOWN[kind])
    targets = re.findall(r"href=[\"']([^\"']*)", html)
    assert [target for target in targets if not target.startswith("https://scikit-learn.org/")] == []
    if kind != "step":  # the pipeline around it is scikit-learn's
        assert targets == []
        assert '<a class="sk-estimator-doc-link' not in html


@DESCRIBED
@pytest.mark.parametrize("kind", SHOWN)
def test_every_parameter_is_described_where_the_pointer_is(kind):
    html = estimator_html_repr(SHOWN[kind])
    assert html.count('class="param-doc-description"') >= (1 if kind == "derived" else 30)
    words = "Of a description of its own." if kind == "derived" else "Units of each hidden layer"
    entry = r'<a class="param-doc-link"[^>]*>[^<]*<span class="param-doc-description"[^>]*>[^<]*<br><br>'
    assert re.search(entry + words, html)


@DESCRIBED
def test_attributes_are_described_too():
    html = estimator_html_repr(SHOWN["fitted"])
    assert "A record per epoch; `history_frame()` makes a table of it." in html
