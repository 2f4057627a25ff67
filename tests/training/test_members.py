"""The state of a member: scores count towards early stopping, and parts of the state can be reset."""

import math

import pytest

from sknn.training.members import EARLY_STOPPING, LAST_FIT, MemberState


def update_all(scores, tol=0.0):
    """Return the state after these scores, and whether each was the best so far."""
    state = MemberState()
    return state, [state.update(score, tol, epoch) for epoch, score in enumerate(scores, 1)]


def test_the_first_score_is_the_best_one():
    state, is_best = update_all([-5.0])
    assert is_best == [True]
    assert (state.best_score, state.best_epoch, state.epochs_without_improvement) == (-5.0, 1, 0)


def test_the_best_score_and_its_epoch_are_kept():
    state, is_best = update_all([1.0, 3.0, 2.0, 2.5])
    assert is_best == [True, True, False, False]
    assert (state.best_score, state.best_epoch, state.epochs_without_improvement) == (3.0, 2, 2)


def test_the_first_of_equal_scores_is_the_best():
    state, is_best = update_all([1.0, 1.0])
    assert is_best == [True, False]
    assert (state.best_epoch, state.epochs_without_improvement) == (1, 0)


def test_a_gain_below_tol_is_the_best_score_but_no_improvement():
    state, is_best = update_all([1.0, 1.25, 1.5, 2.5], tol=0.5)
    assert is_best == [True, True, True, True]
    assert state.epochs_without_improvement == 0
    state, _ = update_all([1.0, 1.25, 1.5], tol=0.5)
    assert state.epochs_without_improvement == 2


@pytest.mark.parametrize("tol", [0.0, 0.5])
def test_a_nan_score_is_neither_the_best_nor_an_improvement(tol):
    state, is_best = update_all([math.nan, 1.0, math.nan], tol)
    assert is_best == [False, True, False]
    assert (state.best_score, state.best_epoch, state.epochs_without_improvement) == (1.0, 2, 1)


def trained_state():
    return MemberState(7, 3, True, True, 700, 0.5, 4, 2)


def test_reset_for_a_new_fit_keeps_the_rows_and_the_early_stopping():
    state = trained_state()
    state.reset(LAST_FIT)
    assert state == MemberState(rows_seen=700, best_score=0.5, best_epoch=4, epochs_without_improvement=2)


def test_reset_for_a_new_solver_keeps_the_last_fit():
    state = trained_state()
    state.reset(EARLY_STOPPING)
    assert state == MemberState(epochs=7, diverged_in=3, failed=True, unconverged=True, rows_seen=700)
