"""Curves as lines of text."""

import numpy as np
import pytest

from sknn.history.text import draw_curves

CURVES = {"training": [1.0, 0.6, 0.4, 0.3], "validation": [1.0, 0.8, 0.7, 0.9]}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", None])
def test_a_chart_fits_its_encoding_and_labels_the_ends(encoding):
    lines = draw_curves(CURVES, width=20, height=6, encoding=encoding)

    "\n".join(lines).encode(encoding or "ascii")
    assert len(lines) == 8
    assert any(line.endswith("validation 0.9") for line in lines)
    assert lines[5].endswith("training 0.3")
    assert lines[-1].endswith("4 epoch")


def test_a_large_range_is_drawn_on_a_log_scale():
    assert draw_curves({"training": np.geomspace(1, 1e-3, 5)})[-1].endswith("log scale")


def test_large_first_values_do_not_flatten_the_rest():
    lines = draw_curves({"training": [5.0, 4.0, *np.linspace(1, 0.8, 18)]}, width=40, height=5, encoding="ascii")

    assert lines[0].startswith("   1 +")
    assert lines[4].startswith(" 0.8 +")
    assert all("...." in line for line in lines[:5])


@pytest.mark.parametrize(
    "values", [[1.0, 1.0], [np.inf, 1.0, 0.5], [3.0, -1.0], [np.nan, 1.0, 2.0], [np.nan, np.nan], [1.0]]
)
def test_equal_and_missing_values_are_drawn(values):
    assert len(draw_curves({"training": values}, height=4)) == 6
