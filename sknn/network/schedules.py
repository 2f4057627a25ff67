"""Learning-rate schedules.

Most are a factor of the share of the training that is done.  Two answer to a plateau instead, each member by itself:
`adaptive` (scikit-learn's: divide by 5, and stop once the rate is tiny), `reduce_on_plateau` (torch's: divide by 10).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

ONE_CYCLE_START = 1 / 25  # torch's OneCycleLR: from a 25th up to the top in the first 30 %,
ONE_CYCLE_END = 1e-4 / 25  # then down to a 10,000th of the start
ONE_CYCLE_WARM_UP = 0.3


def cosine(t: float) -> float:
    """Half a cosine from 1 to 0 (arXiv 1608.03983, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * t))


def one_cycle(t: float) -> float:
    """Up and down again along two half cosines (arXiv 1708.07120)."""
    if t < ONE_CYCLE_WARM_UP:
        return 1 + (ONE_CYCLE_START - 1) * cosine(t / ONE_CYCLE_WARM_UP)
    return ONE_CYCLE_END + (1 - ONE_CYCLE_END) * cosine((t - ONE_CYCLE_WARM_UP) / (1 - ONE_CYCLE_WARM_UP))


@dataclass(frozen=True)
class Schedule:
    """How the learning rate goes.

    Attributes
    ----------
    by_share : callable or None
        Factor for the share of the training done, in [0, 1], set before every step.
    plateau_divisor : float or None
        What a member's rate is divided by when it stops improving, in place of stopping.
    smallest : float
        A member whose rate has come down to this stops after all.
    open_ended : bool
        Whether the training has converged only if it stopped by itself, so that reaching `max_iter` is worth a warning.
    """

    by_share: Callable[[float], float] | None = None
    plateau_divisor: float | None = None
    smallest: float = 0.0
    open_ended: bool = True


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(),
    "invscaling": Schedule(),  # by the number of rows seen, at each epoch's end: see `invscaling`
    "adaptive": Schedule(plateau_divisor=5.0, smallest=1e-6),
    "reduce_on_plateau": Schedule(plateau_divisor=10.0, smallest=1e-8),
    "cosine": Schedule(by_share=cosine, open_ended=False),
    "one_cycle": Schedule(by_share=one_cycle, open_ended=False),
}


def invscaling(rows_seen: int, power_t: float) -> float:
    """scikit-learn's inverse scaling, from the number of rows trained on so far."""
    return 1 / (rows_seen + 1) ** power_t
