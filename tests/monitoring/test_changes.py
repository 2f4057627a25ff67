"""What has changed, in words."""

import numpy as np
import pytest

from sknn.monitoring import DriftMonitor

NORMAL = np.random.default_rng(0).normal(size=4000)
CITIES = ["Bern"] * 50 + ["Oslo"] * 30 + ["Rome"] * 20


def changes(reference, live):
    (column,) = DriftMonitor.from_reference({"x": reference}).update({"x": live}).report().columns
    return column.changes


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (NORMAL + 0.5, ["higher by 0.5 standard deviations"]),
        (NORMAL - 0.5, ["lower by 0.5 standard deviations"]),
        (NORMAL * 0.5, ["less spread out"]),
        (NORMAL * 1.5, ["more spread out"]),
        (np.where(np.arange(4000) % 4, NORMAL, np.nan), ["missing 0 % → 25 %"]),
        (np.full(4000, np.nan), ["missing 0 % → 100 %"]),
        (NORMAL + 0.01, []),
    ],
    ids=["higher", "lower", "narrow", "wide", "missing", "all missing", "little"],
)
def test_changes_of_numbers(live, expected):
    assert changes(NORMAL, live) == expected


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (["Bern"] * 60 + ["Oslo"] * 5 + ["Rome"] * 35, ["Oslo 30 % → 5.0 %", "Rome 20 % → 35 %"]),
        (
            ["Bern"] * 35 + ["Oslo"] * 30 + ["Rome"] * 15 + ["Lima"] * 20,
            ["unseen levels 0 % → 20 %", "Bern 50 % → 35 %", "Rome 20 % → 15 %"],
        ),
        ([None] * 100, ["missing 0 % → 100 %", "Bern 50 % → 0 %", "Oslo 30 % → 0 %"]),
        (CITIES, []),
    ],
    ids=["levels", "unseen", "missing", "none"],
)
def test_changes_of_categories(live, expected):
    assert changes(CITIES * 20, live * 20) == expected


def test_a_change_that_may_be_chance_is_not_told():
    assert changes(CITIES, ["Bern", "Bern", "Rome"]) == []
