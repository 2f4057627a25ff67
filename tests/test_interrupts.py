"""Ctrl-C at any line of a fit: it ends with a usable model, or goes through and leaves things as they were."""

import pytest

from tests.common import python
from tests.interrupts import CASES


def check(case, n_places, seed):
    done = python("-m", "tests.interrupts", case, n_places, seed)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{case}: {n_places} places\n"


@pytest.mark.parametrize("case", CASES)
def test_an_interrupt_is_never_lost_and_never_turns_into_another_error(case):
    check(case, 25, 0)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_an_interrupt_at_a_hundred_lines(case):
    check(case, 100, 1)
