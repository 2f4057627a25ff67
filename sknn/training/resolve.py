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
)  # (largest number of rows, batch size)
AUTO_MEMBERS = 8
AUTO_DROPOUT = 0.15  # of members without batch norm

Seed = tuple[int, int]  # of the estimator, and the member's number


def hidden_sizes(est: Any) -> tuple[int, ...]:
    """Return the units of each hidden layer."""
    sizes = np.atleast_1d(np.asarray(est.hidden_layer_sizes))
    if sizes.size and (sizes.dtype.kind not in "iu" or sizes.ndim != 1 or (sizes <= 0).any()):
        raise ValueError(
            f"hidden_layer_sizes={est.hidden_layer_sizes!r}: hidden_layer_sizes must be > 0, whole numbers, one per "
            "hidden layer, for example (256, 256)."
        )
    return tuple(int(size) for size in sizes)


def dropout_rates(est: Any, batch_norm: bool) -> tuple[float, ...]:
    """Return the rate of each hidden layer, for members with or without batch norm."""
    n = len(hidden_sizes(est))
    if isinstance(est.dropout, str):
        return (0.0 if batch_norm else AUTO_DROPOUT,) * n
    rates = np.asarray(est.dropout, dtype=float)
    if rates.ndim and len(rates) != n:
        raise ValueError(
            f"dropout={est.dropout!r} has {len(rates)} rates for {n} hidden layers; give one rate, or one for each."
        )
    if ((rates < 0) | (rates >= 1)).any():
        raise ValueError(f"dropout={est.dropout!r} must be in [0, 1): it is the fraction of units left out.")
    return tuple(float(rate) for rate in np.broadcast_to(rates, n))


def batch_size(est: Any, n_rows: int) -> int:
    """Return the rows of a batch."""
    size = est.batch_size
    if size == "auto":
        size = next(auto for limit, auto in AUTO_BATCH if n_rows <= limit)
    return min(n_rows, int(size))


def is_double(precision: str, solver: Any) -> bool:
    """Return whether the network computes in float64; L-BFGS does by default, as its line search needs the digits."""
    return precision == "float64" or (precision == "auto" and solver == "lbfgs")


def precision(est: Any, device: torch.device) -> Precision:
    """Return the types in which the network computes."""
    double = is_double(est.precision, est.solver) and device.type != "mps"
    return resolve_precision("float64" if double else est.precision, device)


def ensemble_size(est: Any) -> int:
    """Return the number of members."""
    return AUTO_MEMBERS if est.ensemble_size == "auto" else int(est.ensemble_size)


def member_seeds(est: Any, n_members: int) -> list[Seed]:
    """Return the seed of each member."""
    seed = int(check_random_state(est.random_state).randint(np.iinfo(np.int32).max))
    return [(seed, member) for member in range(n_members)]
