"""Choose the rows that each member trains on, and those that it is validated on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sknn.training.plan import TrainingSet
from sknn.training.table import Table


def split(est: Any, table: Table, n_rows: int, seed: int, sizes: Sequence[int], holds_out: bool) -> TrainingSet:
    """Return the training and validation rows of each member.

    The first `n_rows` of the table are for training. Any rows after them are for validation; without these, each
    member holds out some of its training rows if `holds_out`. `sizes` are the numbers of members of each kind. Members
    with the same number in their kinds hold out the same rows, so that the kinds can be compared.
    """
    device, n_members = table.target.device, sum(sizes)
    train, valid = [torch.arange(n_rows, device=device)] * n_members, []
    n_held = n_held_out(n_rows, est.validation_fraction) if holds_out and est.solver != "lbfgs" else 0
    if n_rows < len(table):
        valid = [torch.arange(n_rows, len(table), device=device)] * n_members
    elif n_held:
        order = stratified_order(n_rows, est._strata(table.target), seed)
        parts = [hold_out(order, n_held, number) for size in sizes for number in range(size)]
        train, valid = ([torch.from_numpy(part[i]).to(device) for part in parts] for i in (0, 1))
    return TrainingSet(table, train, valid, est._labels, n_rows)


def n_held_out(n_rows: int, fraction: float) -> int:
    """Return the number of rows to hold out; 0 if the fraction is less than half a row, or leaves none to train on."""
    n = round(fraction * n_rows)
    return n if n < n_rows else 0


def stratified_order(n_rows: int, strata: np.ndarray | None, seed: int) -> np.ndarray:
    """Return a random order of the rows in which those of each class are evenly spaced.

    So neighbouring rows hold every class in its proportion, whatever their number.

    >>> strata = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    >>> order = stratified_order(8, strata, seed=0)
    >>> [int(strata[order[start : start + 4]].sum()) for start in (0, 4)]
    [1, 1]
    """
    random = np.random.default_rng(np.random.SeedSequence(seed))
    order = random.permutation(n_rows)
    if strata is None:
        return order
    places = np.empty(n_rows)
    for stratum in np.unique(strata):
        rows = order[strata[order] == stratum]
        places[rows] = (np.arange(len(rows)) + random.random()) / len(rows)
    return order[np.argsort(places[order], kind="stable")]


def hold_out(order: np.ndarray, n_held: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that member `number` of its kind trains on, and those that it holds out, each sorted.

    The members hold out one stretch of the order after the other. After its end they go on from its beginning.
    """
    held = np.zeros(len(order), dtype=bool)
    held[order[np.arange(number * n_held, (number + 1) * n_held) % len(order)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
