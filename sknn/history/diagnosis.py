"""Diagnose a training from its losses: overfitting, divergence, or a loss that does not change."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

WINDOW = 5  # epochs over which losses are averaged
# A loss has risen if it is above its lowest value by this share of its decrease since the first epoch, and by this
# share of the lowest value (for trainings that hardly improve after the first epoch). A training loss fluctuates more.
VALID_RISE, TRAIN_RISE = (0.1, 0.02), (0.5, 0.1)
FLAT = 2e-3  # relative to the first losses: dropout and the order of rows cause changes of this size
WARNING_PATIENCE = 15  # epochs without improvement before a warning; more than the default of n_iter_no_change

ADVICE = {
    "overfitting": (
        "The validation loss rises while the training loss falls: the network overfits the training rows. "
        "Try more dropout, a larger weight_decay or alpha, fewer units (hidden_layer_sizes), a larger ensemble_size, "
        "or stop earlier (a smaller n_iter_no_change)."
    ),
    "divergence": (
        "The training loss rises instead of falling. Try a smaller learning_rate_init, max_grad_norm=1.0, or "
        "scaling='auto'."
    ),
    "flat": (
        "The training loss has not changed since the first epochs. If the scores are good, the network needs no "
        "further epochs, and a smaller max_iter suffices. If not, try a larger learning_rate_init, another activation, "
        "scaling='auto' if it is off, or less alpha and dropout; or the columns may not determine the target."
    ),
}


class TrainingWarning(UserWarning):
    """The losses of a training show a problem; the message says what to try."""


def diagnose(records: Sequence[dict[str, Any]]) -> list[str | None]:
    """Diagnose each epoch from its losses and earlier ones.

    From the tenth epoch on, the diagnosis uses losses averaged over the last 5 epochs. It is

    - 'divergence' if the training loss is NaN or infinite, or is above its lowest value by half of its decrease since
      the first epoch, and by 10 % of the lowest value;
    - 'flat' if the training loss differs from that of the first 5 epochs by less than 0.2 %;
    - 'overfitting' if the validation loss is above its lowest value by a tenth of its decrease, and by 2 % of the
      lowest value, while the training loss has fallen further.

    NaN and infinity are a divergence in earlier epochs, too.

    Parameters
    ----------
    records : sequence of dict
        With 'train_loss' and, if rows were held out, 'valid_loss', as in `history_`.

    Returns
    -------
    list of {None, 'overfitting', 'divergence', 'flat'}
        One for each epoch.

    Examples
    --------
    >>> falling = [1 / epoch for epoch in range(1, 31)]
    >>> rising = falling[:10] + [0.1 + 0.02 * epoch for epoch in range(20)]
    >>> diagnoses = diagnose([{"train_loss": t, "valid_loss": v} for t, v in zip(falling, rising)])
    >>> diagnoses.index("overfitting"), diagnoses[-1], diagnoses[10]
    (18, 'overfitting', None)
    """
    train = _moving_average(records, "train_loss")
    valid = _moving_average(records, "valid_loss")
    best_train, best_valid = _best_so_far(train), _best_so_far(valid)
    diagnoses: list[str | None] = []
    for i, record in enumerate(records):
        is_early = i + 1 < 2 * WINDOW
        if not math.isfinite(record.get("train_loss", 0.0)):
            diagnoses.append("divergence")
        elif is_early or not train:
            diagnoses.append(None)
        elif _has_risen(train, i, best_train[i], *TRAIN_RISE):
            diagnoses.append("divergence")
        elif abs(train[i] - train[WINDOW - 1]) < FLAT * abs(train[WINDOW - 1]):
            diagnoses.append("flat")
        elif valid and _has_risen(valid, i, best_valid[i], *VALID_RISE) and train[i] < train[best_valid[i]]:
            diagnoses.append("overfitting")
        else:
            diagnoses.append(None)
    return diagnoses


def _moving_average(records: Sequence[dict[str, Any]], name: str) -> list[float]:
    """Return a loss averaged over the last epochs, at each epoch; an empty list if a record lacks the loss."""
    losses = [record[name] for record in records if name in record]
    if len(losses) < len(records):
        return []
    windows = (losses[max(0, i + 1 - WINDOW) : i + 1] for i in range(len(losses)))
    return [sum(window) / len(window) for window in windows]


def _best_so_far(losses: Sequence[float]) -> list[int]:
    """Return, for each epoch, the index of the lowest loss up to it."""
    best: list[int] = []
    for i, loss in enumerate(losses):
        best.append(best[-1] if i and not loss < losses[best[-1]] else i)
    return best


def _has_risen(losses: Sequence[float], i: int, best: int, share_of_decrease: float, share_of_lowest: float) -> bool:
    """Return whether the loss of epoch i is clearly above the lowest one before it."""
    lowest = losses[best]
    return losses[i] - lowest > max(share_of_decrease * (losses[0] - lowest), share_of_lowest * abs(lowest))


def find_advice(diagnoses: Sequence[str | None], epochs_without_improvement: Sequence[int]) -> str | None:
    """Return what to try against the diagnosis of the last epoch, or None.

    Parameters
    ----------
    diagnoses : sequence of {None, 'overfitting', 'divergence', 'flat'}
        One for each epoch.
    epochs_without_improvement : sequence of int
        One for each member; 0 if early stopping ended its training. Overfitting is ignored unless this number is above
        15 for most members: early stopping waits some epochs for a better one, and then restores the best.
    """
    last = diagnoses[-1] if diagnoses else None
    if last is None or (last == "overfitting" and median(epochs_without_improvement) <= WARNING_PATIENCE):
        return None
    return ADVICE[last]
