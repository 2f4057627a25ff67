"""Choose the rows that each member trains on, and those that it is validated on."""

from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from sknn.training.plan import TrainingSet
from sknn.training.resolve import Seed
from sknn.training.table import Table


def split(est: Any, table: Table, n_rows: int, seeds: list[Seed], holds_out: bool) -> TrainingSet:
    """Return the training and validation rows of each member.

    The first `n_rows` of the table are for training. Any rows after them are for validation; without these, each
    member holds out some of its training rows if `holds_out`.
    """
    device = table.target.device
    train, valid = [torch.arange(n_rows, device=device)] * len(seeds), []
    n_held = n_held_out(n_rows, est.validation_fraction) if holds_out and est.solver != "lbfgs" else 0
    if n_rows < len(table):
        valid = [torch.arange(n_rows, len(table), device=device)] * len(seeds)
    elif n_held:
        strata = est._strata(table.target)
        parts = [hold_out(n_rows, n_held, strata, seed) for seed in seeds]
        train, valid = ([torch.from_numpy(part[i]).to(device) for part in parts] for i in (0, 1))
    return TrainingSet(table, train, valid, est._labels)


def n_held_out(n_rows: int, fraction: float) -> int:
    """Return the number of rows to hold out; 0 if the fraction is less than half a row, or leaves none to train on."""
    n = round(fraction * n_rows)
    return n if n < n_rows else 0


def hold_out(n_rows: int, n_held: int, strata: np.ndarray | None, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
    """Return rows to train on and rows to validate on, stratified if every class can be in both."""
    if strata is not None:
        counts = np.bincount(strata)
        counts = counts[counts > 0]
        if counts.min() < 2 or min(n_held, n_rows - n_held) < len(counts):
            strata = None
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    train, held = train_test_split(np.arange(n_rows), test_size=n_held, random_state=number, stratify=strata)
    return np.sort(train), np.sort(held)
