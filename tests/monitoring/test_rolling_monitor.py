"""A window of time that moves with a clock."""

import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sknn.monitoring import DriftMonitor, RollingMonitor

quick = settings(max_examples=60, deadline=None, derandomize=True)
TOTAL = DriftMonitor.from_reference({"x": np.arange(100.0)})


class Clock:
    """A clock that the test sets."""

    now = 1_000_000.0

    def __call__(self):
        return self.now


def rolling_monitor(**kwargs):
    clock = Clock()
    return RollingMonitor(TOTAL.empty(), **{"window_seconds": 60, "parts": 6, "clock": clock} | kwargs), clock


@quick
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), max_size=30))
def test_the_window_holds_the_rows_of_its_last_parts(steps):
    rolling, clock = rolling_monitor()
    times = []
    for seconds, n_rows in steps:
        clock.now += seconds
        rolling.update({"x": np.arange(n_rows)})
        times += [clock.now] * n_rows
    started = (clock.now // 10 - 5) * 10  # of the oldest of six parts of ten seconds

    assert rolling.window().n_rows == sum(time >= started for time in times)
    assert rolling.total.n_rows == len(times)
    assert len(rolling._ring) <= 6


def test_the_window_empties_without_updates():
    rolling, clock = rolling_monitor()
    rolling.update({"x": [1, 2]})
    clock.now += 60

    assert (rolling.window().n_rows, rolling.total.n_rows) == (0, 2)


def test_a_clock_that_is_set_back_loses_no_rows():
    rolling, clock = rolling_monitor()
    rolling.update({"x": [1]})
    clock.now -= 3600
    rolling.update({"x": [2]})

    assert rolling.window().n_rows == 2


def test_a_sum_does_not_change_with_later_rows():
    rolling, _ = rolling_monitor()
    window = rolling.update({"x": [1]}).window()
    rolling.update({"x": [1]})

    assert window.n_rows == 1


def test_json_keeps_the_window_and_old_rows_leave_it():
    rolling, clock = rolling_monitor()
    rolling.update({"x": [1, 2]})
    clock.now += 30
    rolling.update({"x": [3]})
    text = rolling.to_json()
    copy = RollingMonitor.from_json(text, clock)

    assert copy.to_json() == text
    assert copy.window().to_json() == rolling.window().to_json()
    clock.now += 30
    assert (copy.window().n_rows, copy.total.n_rows) == (1, 3)
    with pytest.raises(ValueError, match="format=7, not 1"):
        RollingMonitor.from_json(json.dumps(json.loads(text) | {"format": 7}))


def test_threads_count_exactly():
    rolling, clock = rolling_monitor()

    def count():
        for _ in range(100):
            clock.now += 0.001
            rolling.update({"x": [1, 2]})

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (rolling.window().n_rows, rolling.total.n_rows) == (1200, 1200)


@pytest.mark.parametrize(("name", "way"), [("window_seconds", "greater than 0"), ("parts", "at least 1")])
def test_wrong_arguments_are_named(name, way):
    with pytest.raises(ValueError, match=f"^{name}=0 has to be {way}.$"):
        rolling_monitor(**{name: 0})
