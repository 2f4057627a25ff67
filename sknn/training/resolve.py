"""Resolve the parameters that take several forms: "auto", a single value, or one for each layer."""

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from sknn.utils.device import Precision, resolve_precision

AUTO_BATCH = (
    (256, 16),
    (512, 32),
    (1024, 64),
    (8192, 128),
    (30_000, 256),
    (np.inf, 512),
)  # up to so many rows, this batch size
AUTO_SMALL, AUTO_MEMBERS_OF_SMALL, AUTO_MEMBERS = 1024, 12, 6  # rows of a small table, and networks in an ensemble

Seed = tuple[int, int]  # of the estimator, and the member's number


def hidden_sizes(est: Any) -> tuple[int, ...]:
    sizes = np.atleast_1d(np.asarray(est.hidden_layer_sizes))
    if sizes.size and (sizes.dtype.kind not in "iu" or sizes.ndim != 1 or (sizes <= 0).any()):
        raise ValueError(
            f"hidden_layer_sizes={est.hidden_layer_sizes!r}: hidden_layer_sizes must be > 0, whole numbers, one per "
            "hidden layer, for example (256, 256)."
        )
    return tuple(int(size) for size in sizes)


def dropout_rates(est: Any) -> tuple[float, ...]:
    """A rate per hidden layer."""
    n, given = len(hidden_sizes(est)), np.asarray(est.dropout, dtype=float)
    if given.ndim and len(given) != n:
        raise ValueError(
            f"dropout={est.dropout!r} has {len(given)} rates for {n} hidden layers; give one rate, or one for each."
        )
    if ((given < 0) | (given >= 1)).any():
        raise ValueError(f"dropout={est.dropout!r} must be in [0, 1): it is the fraction of units left out.")
    return tuple(float(rate) for rate in np.broadcast_to(given, n))


def batch_size(est: Any, n_rows: int) -> int:
    wanted = est.batch_size
    if wanted == "auto":
        wanted = next(size for limit, size in AUTO_BATCH if n_rows <= limit)
    return min(n_rows, int(wanted))


def wants_double(precision: str, solver: Any) -> bool:
    """A line search needs more digits than float32 has."""
    return precision == "float64" or (precision == "auto" and solver == "lbfgs")


def precision(est: Any, device: torch.device) -> Precision:
    is_double = wants_double(est.precision, est.solver) and device.type != "mps"
    return resolve_precision("float64" if is_double else est.precision, device)


def ensemble_size(est: Any, n_rows: int | None) -> int:
    """Members of a network for so many training rows, or (None) for rows that come bit by bit."""
    if est.ensemble_size != "auto":
        return int(est.ensemble_size)
    is_small = n_rows is not None and n_rows <= AUTO_SMALL
    return AUTO_MEMBERS_OF_SMALL if is_small else AUTO_MEMBERS


def member_seeds(est: Any, n_members: int) -> list[Seed]:
    seed = int(check_random_state(est.random_state).randint(np.iinfo(np.int32).max))
    return [(seed, member) for member in range(n_members)]
