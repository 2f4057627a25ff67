"""Learning-rate schedules.

Some compute a factor from the share of the training that is done. Two react to a plateau instead, separately for each
member: `adaptive` (scikit-learn's: divide by 5, and stop once the rate is tiny) and `reduce_on_plateau` (torch's:
divide by 10).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

# As torch's OneCycleLR: up from 1/25 to 1 in the first 30 % of the training, then down to 1/10,000 of the start.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4 / 25
ONE_CYCLE_WARM_UP = 0.3


def cosine(t: float) -> float:
    """Half a cosine from 1 to 0 (arXiv 1608.03983, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * t))


def one_cycle(t: float) -> float:
    """Half a cosine up to 1, then half a cosine down (arXiv 1708.07120)."""
    if t < ONE_CYCLE_WARM_UP:
        return 1 + (ONE_CYCLE_START - 1) * cosine(t / ONE_CYCLE_WARM_UP)
    return ONE_CYCLE_END + (1 - ONE_CYCLE_END) * cosine((t - ONE_CYCLE_WARM_UP) / (1 - ONE_CYCLE_WARM_UP))


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule.

    Attributes
    ----------
    by_progress : callable or None
        Maps the share of the training done, in [0, 1], to the schedule factor. It is called before every step.
    plateau_divisor : float or None
        Divides the rate of a member that stops improving. The member then trains on.
    min_rate : float
        A member that stops improving at this rate, or a lower one, ends its training.
    open_ended : bool
        Whether reaching `max_iter` means that the training has not converged, and so causes a warning.
    """

    by_progress: Callable[[float], float] | None = None
    plateau_divisor: float | None = None
    min_rate: float = 0.0
    open_ended: bool = True


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(),
    "invscaling": Schedule(),  # set at the end of each epoch, by the function `invscaling`
    "adaptive": Schedule(plateau_divisor=5.0, min_rate=1e-6),
    "reduce_on_plateau": Schedule(plateau_divisor=10.0, min_rate=1e-8),
    "cosine": Schedule(by_progress=cosine, open_ended=False),
    "one_cycle": Schedule(by_progress=one_cycle, open_ended=False),
}


def invscaling(rows_seen: int, power_t: float) -> float:
    """Return the factor of scikit-learn's inverse scaling, after training on this number of rows."""
    return 1 / (rows_seen + 1) ** power_t
