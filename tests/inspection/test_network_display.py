"""The display of a network: a line for each layer and tensor, and histograms of the weights."""

import sys

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from torch import nn

from sknn import NeuralClassifier
from sknn.inspection import NetworkDisplay, summary
from tests.common import ALIKE

X, y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": (8, 4), "max_iter": 2, "ensemble_size": 2, "random_state": 0}


@pytest.fixture(scope="module")
def clf():
    return NeuralClassifier(**SMALL, **ALIKE).fit(X, y)


@pytest.fixture(scope="module")
def mixed():
    return NeuralClassifier(**SMALL).fit(X, y)


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_layers_and_tensors_are_lines_from_the_input_downwards(clf):
    display = NetworkDisplay.from_estimator(clf)
    left = [(text.get_position()[1], text.get_text()) for text in display.ax_.texts if text.get_position()[0] < 5]

    assert [y for y, _ in left] == list(range(len(left)))
    assert [text for _, text in left[:5]] == [
        "layers.0  ScaledLinear → 8",
        "weight  4 x 8",
        "bias  1 x 8",
        "scale  4 x 1",
        "layers.1  Activation(silu) → 8",
    ]
    assert display.ax_.yaxis_inverted()


def test_outlines_have_the_shape_of_the_histograms(clf):
    network = summary(clf)
    display = NetworkDisplay(network).plot()
    tensor, line = network.layers[0].tensors[0], display.lines_[0]

    heights = line.get_ydata().max() - line.get_ydata()[:-1]
    np.testing.assert_allclose(heights / heights.max(), tensor.histogram / tensor.histogram.max(), atol=1e-12)
    assert line.get_label() == "layers.0.weight"
    assert len(display.lines_) == sum(len(layer.tensors) for layer in network.layers)


def test_statistics_stand_beside_the_histograms(clf):
    weight = summary(clf).layers[0].tensors[0]

    texts = texts_of(NetworkDisplay.from_estimator(clf).ax_)
    assert {"parameters", "mean", "std", "max", "near 0", "-max", "+max"} <= set(texts)
    assert {"32", f"{weight.mean:.3f}", f"{weight.std:.3f}", f"{weight.near_zero:.1%}"} <= set(texts)


def test_the_title_names_the_estimator(clf):
    assert NetworkDisplay.from_estimator(clf).ax_.get_title(loc="left") == summary(clf).title


def test_kinds_of_members_stand_one_below_the_other(mixed):
    network, display = summary(mixed), NetworkDisplay.from_estimator(mixed)
    lines = {text.get_text(): text.get_position()[1] for text in display.ax_.texts}

    first, second = (lines[kind.title] for kind in network.kinds)
    assert first < lines["layers.1  BatchNorm → 8"] < second < lines["numeric  PiecewiseLinearEmbedding → 32"]
    assert display.ax_.get_title(loc="left") == network.title
    assert [line.get_label() for line in display.lines_] == [
        f"{kind.kind}: {layer.name}.{tensor.name}"
        for kind in network.kinds
        for layer in kind.layers
        for tensor in layer.tensors
    ]


@pytest.mark.parametrize("estimator", ["clf", "mixed"])
def test_texts_do_not_overlap(estimator, request):
    display = NetworkDisplay.from_estimator(request.getfixturevalue(estimator))
    display.figure_.draw_without_rendering()
    boxes = [text.get_window_extent() for text in display.ax_.texts]

    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]]
    assert not any(a.overlaps(b) for a, b in pairs)
    assert all(display.figure_.bbox.x0 <= box.x0 and box.x1 <= display.figure_.bbox.x1 for box in boxes)


def test_it_is_drawn_on_the_callers_axes_in_the_callers_colour(clf):
    figure, ax = plt.subplots()
    display = NetworkDisplay.from_estimator(clf, ax=ax, color="green")

    assert (display.ax_, display.figure_) == (ax, figure)
    assert {line.get_color() for line in display.lines_} == {"green"}
    assert plt.get_fignums() == [figure.number]


def test_a_custom_module_is_drawn_with_output_shapes_if_rows_are_passed():
    clf = NeuralClassifier(module=nn.Linear, ensemble_size=1, max_iter=1, random_state=0).fit(X, y)

    assert "module  Linear" in texts_of(NetworkDisplay.from_estimator(clf).ax_)
    assert "module  Linear → 3" in texts_of(NetworkDisplay.from_estimator(clf, X).ax_)


def test_an_estimator_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        NetworkDisplay.from_estimator(NeuralClassifier())
    assert plt.get_fignums() == []


def test_without_matplotlib_the_extra_is_named(clf, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(ImportError, match=r"NetworkDisplay.plot needs matplotlib; .* pip install 'sknn\[plot\]'"):
        NetworkDisplay(summary(clf)).plot()


def test_an_estimator_instead_of_a_summary_is_refused_with_advice():
    with pytest.raises(
        TypeError, match=r"network must be the result of .*summary\(estimator\), got a NeuralClassifier"
    ):
        NetworkDisplay(NeuralClassifier())
