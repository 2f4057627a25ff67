"""The HTML of an estimator in a notebook: scikit-learn's representation, and the training below it."""

import re
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from sknn import NeuralClassifier, from_sklearn
from sknn.history.html import COLOURS, HEIGHT, WIDTH, training_html
from sknn.history.kinds import KIND_COLOURS
from tests.common import ALIKE

X, y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": 8, "max_iter": 6, "random_state": 0}
CURVE = 'class="sknn-training"'


def html_of(estimator):
    return estimator._repr_mimebundle_()["text/html"]


def picture(records, n_iter=100, kinds=None, weights=None):
    """Return the summary above the picture, and the SVG element."""
    box = ElementTree.fromstring(training_html(records, n_iter, kinds, weights))
    return box.find("summary").text, box.find("{*}svg")


def texts_of(svg):
    return [text.text for text in svg.findall("{*}text")]


def points_of(path):
    return np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", path.get("d")), dtype=float).reshape(-1, 2)


def curves_of(svg):
    """Return the points of the training and validation loss, without the lines of the legend."""
    lines = [svg.findall(f"{{*}}path[@stroke='{colour}']") for colour in COLOURS.values()]
    return [points_of(paths[0]) for paths in lines if paths]


def of_losses(train, valid=None):
    rows = [{"epoch": i, "train_loss": loss} for i, loss in enumerate(train, 1)]
    return rows if valid is None else [row | {"valid_loss": loss} for row, loss in zip(rows, valid, strict=True)]


@pytest.fixture(scope="module")
def clf():
    return NeuralClassifier(**SMALL, ensemble_size=2).fit(X, y)


def test_scikit_learns_representation_comes_first_and_unchanged(clf):
    html, sklearn_html = html_of(clf), estimator_html_repr(clf)
    ids = re.compile(r"sk-(container|estimator)-id-\d+")

    assert ids.sub("", html.partition('<details open="open" ' + CURVE)[0]) == ids.sub("", sklearn_html)
    assert "hidden_layer_sizes" in sklearn_html


def test_the_training_is_shown_once_below_it(clf):
    html = html_of(clf)

    assert html.count(CURVE) == 1
    assert clf._repr_html_().count(CURVE) == 1
    assert f"<summary>{clf.n_iter_} epochs of 2 members; last loss: training {clf.loss_:.3g}, validation " in html


def test_the_plain_text_is_scikit_learns(clf):
    assert clf._repr_mimebundle_()["text/plain"] == repr(clf)


def test_without_diagrams_there_is_no_html(clf):
    with sklearn.config_context(display="text"):
        assert not hasattr(clf, "_repr_html_")
        assert "text/html" not in clf._repr_mimebundle_()


def test_an_estimator_without_a_training_has_no_curve():
    with warnings.catch_warnings(action="ignore"):  # five epochs are not enough to converge
        mlp = MLPClassifier((4,), max_iter=5, random_state=0).fit(X, y)

    assert CURVE not in html_of(NeuralClassifier())
    assert CURVE not in html_of(from_sklearn(mlp))


def test_pipelines_and_searches_have_scikit_learns_representation(clf):
    pipe = make_pipeline(StandardScaler(), NeuralClassifier(**SMALL, ensemble_size=1)).fit(X, y)
    search = GridSearchCV(NeuralClassifier(**SMALL, ensemble_size=1), {"dropout": [0.0]}, cv=2).fit(X, y)

    for each in (pipe, search):
        assert CURVE not in html_of(each)
        assert "NeuralClassifier" in html_of(each)
    assert CURVE in html_of(pipe[-1])


@pytest.mark.parametrize("solver", ["lbfgs", "adamw"])
def test_the_picture_of_every_solver_is_well_formed(solver):
    clf = NeuralClassifier(**SMALL, solver=solver, ensemble_size=1)
    with warnings.catch_warnings(action="ignore"):  # six iterations are not enough to converge
        clf.fit(X, y)
    summary, svg = picture(clf.history_, clf.n_iter_)

    assert summary.startswith(f"{len(clf.history_)} epochs; last loss: training")
    assert len(curves_of(svg)) == (1 if solver == "lbfgs" else 2)


def test_lines_go_through_the_losses():
    _, svg = picture(of_losses([4.0, 2.0, 1.0], [3.0, 2.5, 4.0]))
    train, valid = curves_of(svg)

    lowest, highest = train[2, 1], train[0, 1]
    np.testing.assert_allclose((lowest - train[:, 1]) / (lowest - highest), [1, 1 / 3, 0], atol=1e-3)
    np.testing.assert_allclose((lowest - valid[:, 1]) / (lowest - highest), [2 / 3, 0.5, 1], atol=1e-3)
    np.testing.assert_allclose(np.diff(train[:, 0]), (train[2, 0] - train[0, 0]) / 2)


def test_axes_and_legend_have_labels():
    _, svg = picture(of_losses([4.0, 2.0, 1.0], [3.0, 2.5, 4.5]))

    assert texts_of(svg) == ["epoch 1", "3", "1", "4.5", "training loss", "validation loss", "best epoch"]


def test_a_triangle_marks_each_best_epoch_of_the_last_fit():
    records = of_losses([4.0, 3.0, 2.0, 1.0], [0.5, 3.0, 2.0, 4.0])
    _, svg = picture(records, n_iter=3)
    triangle, in_legend = svg.findall(f"{{*}}path[@fill='{COLOURS['valid']}']")

    assert points_of(triangle)[0, 0] == curves_of(svg)[0][2, 0]
    assert points_of(in_legend)[0, 1] < points_of(triangle)[0, 1]


def of_members(*epochs):
    """Return records with the validation losses of several members in each epoch."""
    return [
        {"epoch": i, "train_loss": 1.0, "valid_loss": np.mean(losses)}
        | {"member_train_loss": [1.0 / i] * len(losses), "member_valid_loss": list(losses)}
        for i, losses in enumerate(epochs, 1)
    ]


def test_each_kind_has_lines_triangles_and_a_line_in_the_list_in_its_colour():
    records = of_members((4.0, 3.0, 2.0), (2.0, 2.0, 1.0), (3.0, 1.0, 1.5))
    _, svg = picture(records, kinds=["a", "a", "<b>"], weights=[0.25, 0.25, 0.5])
    valid = curves_of(svg)[1]
    slope = (valid[1, 1] - valid[0, 1]) / (5 / 3 - 3)  # of the height between the first two means

    assert texts_of(svg)[-5:] == [
        "training loss",
        "validation loss",
        "best epochs",
        "a: 2 members, weight 0.50",
        "<b>: 1 member, weight 0.50",
    ]
    at_epoch = valid[:, 0].tolist()
    best_of_kinds = [at_epoch[1], at_epoch[2]], [at_epoch[1] + 6]  # both have a member whose best epoch is the second
    for colour, losses, best in zip(KIND_COLOURS, ([3.5, 2, 2], [2, 1, 1.5]), best_of_kinds, strict=False):
        train_line, valid_line, in_list = svg.findall(f"{{*}}path[@stroke='{colour}']")
        assert train_line.get("stroke-dasharray") == "6 3"
        assert valid_line.get("stroke-dasharray") is None
        np.testing.assert_allclose(points_of(valid_line)[:, 1], valid[0, 1] + slope * (np.array(losses) - 3), atol=0.2)
        triangles = [points_of(path)[0, 0] for path in svg.findall(f"{{*}}path[@fill='{colour}']")]
        assert triangles == best
        assert float(in_list.get("d").split()[1].split("h")[0]) < float(svg.get("viewBox").split()[3])


def test_an_estimator_shows_its_kinds_and_their_weights(clf):
    kinds = re.findall(r">([^<>]*: 1 member, weight [^<]*)<", html_of(clf))

    assert kinds == [
        f"{kind}: 1 member, weight {weight:.2f}"
        for kind, weight in zip(clf.module_.kinds, clf.member_weights_, strict=True)
    ]


def test_members_that_are_alike_are_not_listed():
    html = html_of(NeuralClassifier(**SMALL, **ALIKE, ensemble_size=2).fit(X, y))

    assert CURVE in html
    assert "weight 0.50" not in html
    assert not any(colour in html for colour in KIND_COLOURS)


def test_a_curve_has_gaps_at_losses_that_are_not_finite():
    _, svg = picture(of_losses([2.0, 1.0, np.nan, np.inf, 1.5, 1.0]))
    path = svg.findall(f"{{*}}path[@stroke='{COLOURS['train']}']")[0].get("d")

    assert re.sub(r"[\d. ]", "", path) == "MhLMhL"


def test_a_single_epoch_is_a_dot():
    summary, svg = picture(of_losses([2.0]))

    assert summary == "1 epoch; last loss: training 2"
    assert svg.find(f"{{*}}path[@stroke='{COLOURS['train']}']").get("stroke-width") == "6"


def test_the_picture_loads_nothing_and_uses_the_colour_of_the_page(clf):
    html = training_html(clf.history_, clf.n_iter_)

    assert re.findall(r"https?://[^\"]+", html) == ["http://www.w3.org/2000/svg"]
    assert not {"href", "src", "<script", "url("} & set(re.findall(r"href|src|<script|url\(", html))
    assert 'fill="currentColor"' in html


LOSSES = st.floats(width=64)


@given(st.lists(st.tuples(LOSSES, LOSSES), min_size=1, max_size=5))
def test_curves_of_arbitrary_losses_lie_in_the_picture(pairs):
    _, svg = picture(of_losses(*zip(*pairs, strict=True)))

    for curve in curves_of(svg):
        assert (curve >= 0).all()
        assert (curve <= [WIDTH, HEIGHT]).all()
        assert np.isfinite(curve).all()
