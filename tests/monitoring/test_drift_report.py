"""Reports: drifts of known size are found, and no drift is found where there is none."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from sknn.monitoring import DriftMonitor
from sknn.monitoring.statistics import holm

CITIES, SHARES = np.array(["Bern", "Lima", "Oslo", "Rome"]), np.array([0.4, 0.3, 0.2, 0.1])


def numbers(rng, n, shift=0.0, scale=1.0):
    return {"x": rng.normal(shift, scale, size=n)}


def cities(rng, n, moved=0.0):
    """Return a category in which a share of the rows has moved from the first level to the last one."""
    return {"x": rng.choice(CITIES, size=n, p=SHARES + moved * np.array([-1, 0, 0, 1]))}


def share_of_alarms(table, n_rows, n_windows=200, **drift):
    rng = np.random.default_rng(0)
    monitor = DriftMonitor.from_reference(table(rng, 5000))
    windows = (monitor.empty().update(table(rng, n_rows, **drift)) for _ in range(n_windows))
    return np.mean([bool(window.report().drifted) for window in windows])


# --- Power and false alarms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "n_rows", "drift"),
    [
        (numbers, 200, {"shift": 0.5}),
        (numbers, 1000, {"shift": 0.4}),
        (numbers, 500, {"scale": 1.5}),
        (cities, 200, {"moved": 0.2}),
        (cities, 1000, {"moved": 0.15}),
    ],
    ids=["shift of 0.5 in 200 rows", "shift of 0.4 in 1000", "scale of 1.5 in 500", "20 % in 200", "15 % in 1000"],
)
def test_a_drift_is_found_in_nine_of_ten_windows(table, n_rows, drift):
    assert share_of_alarms(table, n_rows, **drift) >= 0.9


@pytest.mark.parametrize(("table", "drift"), [(numbers, {"shift": 0.1}), (cities, {"moved": 0.02})])
def test_a_small_drift_is_no_alarm_however_many_rows_show_it(table, drift):
    assert share_of_alarms(table, 20_000, n_windows=20, **drift) == 0


def mixed(rng, n):
    """Return ten columns of different kinds: continuous, counts, with spikes, with missing values, categories."""
    columns = {f"normal{j}": rng.normal(size=n) for j in range(4)}
    columns |= {"count": rng.poisson(2, size=n), "spike": rng.normal(size=n) * rng.integers(0, 2, size=n)}
    columns["gaps"] = np.where(rng.random(n) < 0.1, np.nan, rng.exponential(size=n))
    rare = rng.zipf(1.5, size=n).clip(max=60).astype(str)
    return columns | {"city": cities(rng, n)["x"], "rare": rare, "flag": rng.random(n) < 0.02}


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [40, 150, 1000])
def test_without_drift_the_share_of_false_alarms_is_at_most_alpha(n_rows):
    """Over 500 windows, each with a reference of its own. A column alarms if it is significant, whatever its effect."""
    rng, alarms, drifted, n_windows, alpha = np.random.default_rng(n_rows), 0, 0, 500, 0.05
    for window in range(n_windows):
        if window % 10 == 0:
            monitor = DriftMonitor.from_reference(mixed(rng, 2000))
        report = monitor.empty().update(mixed(rng, n_rows)).report(alpha)
        alarms += min(column.p_adjusted for column in report.columns) <= alpha
        drifted += bool(report.drifted)
    # The largest number that is likely (99 %) if the share is alpha.
    assert drifted <= alarms <= scipy.stats.binom.ppf(0.99, n_windows, alpha)


# --- What a report says -------------------------------------------------------------------------------------------


def a_report(**kwargs):
    rng = np.random.default_rng(0)
    same, moved = rng.normal(size=(2, 2000))
    train = pd.DataFrame({"same": same, "moved": moved, "city": cities(rng, 2000)["x"]})
    live = train[:500].assign(moved=moved[:500] + 1, city=["Kiev"] * 250 + [None] * 250)
    return DriftMonitor.from_reference(train).update(live).report(**kwargs)


def test_columns_are_sorted_by_effect_with_their_missing_and_unseen_shares():
    city, moved, same = a_report().columns

    assert [city.name, moved.name, same.name] == ["city", "moved", "same"]
    assert (city.missing, city.reference_missing, city.unseen, city.kolmogorov_smirnov) == (0.5, 0, 0.5, None)
    assert (moved.missing, moved.unseen) == (0, None)
    assert (city.drifted, moved.drifted, same.drifted) == (True, True, False)


def test_the_effects_on_numbers_are_those_of_the_rows():
    """Except for what the bins hide: less than the width of a bin."""
    rng = np.random.default_rng(0)
    train, live = rng.uniform(size=20_000), rng.beta(2, 1, size=20_000)
    (column,) = DriftMonitor.from_reference({"x": train}).update({"x": live}).report().columns

    assert column.kolmogorov_smirnov == pytest.approx(scipy.stats.ks_2samp(train, live).statistic, abs=0.01)
    expected = scipy.stats.wasserstein_distance(train, live) / train.std()
    assert column.wasserstein == pytest.approx(expected, abs=0.02)


def test_the_p_values_are_adjusted_by_the_chosen_method():
    report = a_report()

    assert [column.p_adjusted for column in report.columns] == pytest.approx(
        holm(np.array([column.p_value for column in report.columns])).tolist()
    )
    assert a_report(correction="benjamini-hochberg").columns[2].p_adjusted <= report.columns[2].p_adjusted


def test_the_verdict_names_the_columns():
    assert a_report().verdict == "2 of 3 columns have drifted: city, moved."
    rng = np.random.default_rng(0)
    monitor = DriftMonitor.from_reference(numbers(rng, 500))
    assert monitor.report().verdict == "No rows yet."
    assert monitor.update(numbers(rng, 500)).report().verdict == "No drift."


def test_a_report_is_a_table_and_plain_data():
    report = a_report()
    lines, data = str(report).splitlines(), report.to_dict()

    assert lines[0] == report.verdict
    assert lines[1].split() == ["column", "kind", "PSI", "JS", "KS", "shift", "missing", "unseen", "p"]
    assert lines[2].split()[:2] == ["city", "category"]
    assert lines[2].endswith("50.0 %  50.0 %  < 0.001  drifted")
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["drifted"], data["n_rows"], data["reference_rows"]) == (["city", "moved"], 500, 2000)


def test_no_rows_and_a_single_row_are_no_drift():
    monitor = DriftMonitor.from_reference(mixed(np.random.default_rng(0), 200))

    for n_rows in (0, 1):
        report = monitor.update(mixed(np.random.default_rng(1), n_rows)).report()
        assert report.drifted == []
        assert (n_rows > 0) == any(column.psi > 0 for column in report.columns)


@pytest.mark.parametrize(
    "reference", [[2.0] * 50, [np.nan] * 50, [1e308, -1e308] * 25, [5e-324, 0.0] * 25, [np.inf] * 50]
)
@pytest.mark.parametrize("live", [[2.0] * 50, [3.0] * 50, [np.nan] * 50, [np.inf] * 50, [-1e308] * 50])
def test_extreme_numbers_have_finite_effects(reference, live):
    report = DriftMonitor.from_reference({"x": reference}).update({"x": live}).report()
    (column,) = report.columns

    assert (column.psi >= 0.1) == column.drifted
    assert not column.drifted or reference != live
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_column_that_was_constant_and_now_varies_has_drifted():
    monitor = DriftMonitor.from_reference({"x": [2.0] * 100})

    assert monitor.update({"x": np.linspace(1.9, 2.1, 100)}).report().drifted == ["x"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0}, r"^alpha=0 has to be between 0 and 1.$"),
        ({"correction": "bonferroni"}, r"^correction='bonferroni' has to be one of \['holm', 'benjamini-hochberg'\].$"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        a_report(**arguments)
