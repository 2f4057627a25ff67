"""Divide a search into rounds, so that it ends in time."""

import time
from collections.abc import Sequence

import numpy as np

TRAINING = 0.95  # share of the time for the rounds; the rest is for the weights
LATER = 1.1  # factor of the foreseen time: a round may take longer than the rounds before


class TimeLimit:
    """The time of a search, and what its candidates have cost.

    Parameters
    ----------
    seconds : float or None
        The time from the construction of this object; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.started, self.seconds = time.perf_counter(), seconds
        self.costs: list[float] = []

    def n_candidates(self, n_left: int) -> int:
        """Return how many of the candidates that are left to train next.

        Without a limit, these are all. Else it is one, then at most as many as before, so that the costs are known
        before most of the time is spent.
        """
        if self.seconds is None or not self.costs:
            return n_left if self.seconds is None else min(1, n_left)
        mean, most = float(np.mean(self.costs)), max(self.costs)
        left = TRAINING * self.seconds - (time.perf_counter() - self.started)
        affordable = 1 + (left / LATER - most) // mean if left / LATER >= most else 0
        return int(min(affordable, len(self.costs), n_left))

    def add_round(self, seconds: float, fit_times: Sequence[float]) -> None:
        """Store the seconds of a round, divided among its candidates by their times of fitting."""
        shares = np.asarray(fit_times) / np.sum(fit_times)
        self.costs += (seconds * shares).tolist()
