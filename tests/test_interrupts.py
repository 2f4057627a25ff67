"""Ctrl-C at any line of a fit: the fit returns a usable model, or raises KeyboardInterrupt and changes nothing."""

import pytest

from tests.common import python
from tests.interrupts import CASES


def check(case, n_interrupts, seed):
    done = python("-m", "tests.interrupts", case, n_interrupts, seed)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{case}: {n_interrupts} interrupts\n"


@pytest.mark.parametrize("case", list(CASES)[:1])
def test_an_interrupt_is_never_lost_and_never_becomes_another_error(case):
    check(case, 25, 0)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_an_interrupt_at_a_hundred_lines(case):
    check(case, 100, 1)
