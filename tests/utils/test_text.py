"""Text for terminals."""

import pytest

from sknn.utils.text import align, did_you_mean


def test_texts_are_aligned_left_and_numbers_right():
    lines = [["name", "kind", "rows"], ["a", "number", "1"], ["long name", "", "1000"]]

    assert align(lines, 2) == ["name       kind    rows", "a          number     1", "long name          1000"]


@pytest.mark.parametrize(
    ("name", "names", "text"),
    [
        ("Chrun", ["age", "churn"], " Did you mean 'churn'?"),
        ("churn", ["Churn"], " Did you mean 'Churn'?"),
        ("churn", ["age", "zip"], ""),
        ("churn", [], ""),
    ],
)
def test_the_nearest_name_is_suggested(name, names, text):
    assert did_you_mean(name, names) == text
