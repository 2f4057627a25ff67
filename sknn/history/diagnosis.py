"""What is wrong with a training, from its losses: overfitting, divergence, or a loss that does not change."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

WINDOW = 5  # epochs, over which losses are averaged
# A loss has risen if it has lost this share of what it had gained, and this share of its lowest value: for trainings
# that gain next to nothing after their first epoch.  A training loss swings more while it still falls.
VALID_RISE, TRAIN_RISE = (0.1, 0.02), (0.5, 0.1)
FLAT = 2e-3  # of the first losses: dropout and the order of the rows make that much of a difference
WARNING_PATIENCE = 15  # epochs without improvement: more than the default of n_iter_no_change

ADVICE = {
    "overfitting": (
        "The validation loss rises while the training loss falls: the network learns its rows by heart. "
        "Try more dropout, a larger weight_decay or alpha, fewer units (hidden_layer_sizes), a larger ensemble_size, "
        "or stop earlier (a smaller n_iter_no_change)."
    ),
    "divergence": (
        "The training loss rises instead of falling. Try a smaller learning_rate_init, max_grad_norm=1.0, or "
        "scaling='auto'."
    ),
    "flat": (
        "The training loss has not changed since the first epochs. If the scores are good, the network has learned "
        "what there is, and a smaller max_iter does. If not, try a larger learning_rate_init, another activation, "
        "scaling='auto' if it is off, less alpha and dropout; or the columns do not tell the target."
    ),
}


class TrainingWarning(UserWarning):
    """A training went wrong in a way that its losses show; the message has advice."""


def diagnose(records: Sequence[dict[str, Any]]) -> list[str | None]:
    """What each epoch shows, from its own losses and those before it.

    With losses averaged over the last 5 epochs, an epoch from the tenth on shows

    - 'divergence' if its training loss is NaN or infinite, or has lost half of what it had gained since the first
      epoch, and at least 10 % of its lowest value;
    - 'flat' if its training loss differs from that of the first 5 epochs by less than 0.2 %;
    - 'overfitting' if its validation loss has lost a tenth of what it had gained, and at least 2 % of its lowest value,
      while the training loss went on falling.

    Parameters
    ----------
    records : sequence of dict
        With 'train_loss' and, if rows were held out, 'valid_loss', as in `history_`.

    Returns
    -------
    list of {None, 'overfitting', 'divergence', 'flat'}
        Of each epoch.

    Examples
    --------
    >>> falling = [1 / epoch for epoch in range(1, 31)]
    >>> rising = falling[:10] + [0.1 + 0.02 * epoch for epoch in range(20)]
    >>> findings = diagnose([{"train_loss": t, "valid_loss": v} for t, v in zip(falling, rising)])
    >>> findings.index("overfitting"), findings[-1], findings[10]
    (18, 'overfitting', None)
    """
    train = _averaged(records, "train_loss")
    valid = _averaged(records, "valid_loss")
    best_train, best_valid = _best_so_far(train), _best_so_far(valid)
    findings: list[str | None] = []
    for i, record in enumerate(records):
        is_early = i + 1 < 2 * WINDOW
        if not math.isfinite(record.get("train_loss", 0.0)):
            findings.append("divergence")
        elif is_early or not train:
            findings.append(None)
        elif _has_risen(train, i, best_train[i], *TRAIN_RISE):
            findings.append("divergence")
        elif abs(train[i] - train[WINDOW - 1]) < FLAT * abs(train[WINDOW - 1]):
            findings.append("flat")
        elif valid and _has_risen(valid, i, best_valid[i], *VALID_RISE) and train[i] < train[best_valid[i]]:
            findings.append("overfitting")
        else:
            findings.append(None)
    return findings


def _averaged(records: Sequence[dict[str, Any]], name: str) -> list[float]:
    """The mean loss of the last epochs, at each epoch; empty if it is not always known."""
    losses = [record[name] for record in records if name in record]
    if len(losses) < len(records):
        return []
    parts = (losses[max(0, i + 1 - WINDOW) : i + 1] for i in range(len(losses)))
    return [sum(part) / len(part) for part in parts]


def _best_so_far(losses: Sequence[float]) -> list[int]:
    """At each epoch, the one with the lowest loss up to it."""
    best: list[int] = []
    for i, loss in enumerate(losses):
        best.append(best[-1] if i and not loss < losses[best[-1]] else i)
    return best


def _has_risen(losses: Sequence[float], i: int, best: int, of_gain: float, of_lowest: float) -> bool:
    """Whether epoch i is clearly worse than the best one before it."""
    lowest = losses[best]
    return losses[i] - lowest > max(of_gain * (losses[0] - lowest), of_lowest * abs(lowest))


def advice(findings: Sequence[str | None], waited: Sequence[int]) -> str | None:
    """What to try against what the last epochs show, or None.

    Parameters
    ----------
    findings : sequence of {None, 'overfitting', 'divergence', 'flat'}
        Of each epoch.
    waited : sequence of int
        Epochs for which each member has gone on without improvement; 0 where early stopping ended its training.  Of
        overfitting there is only something to say if most members did for more than 15: early stopping waits some
        epochs for a better one, and then restores the best.
    """
    last = findings[-1] if findings else None
    if last is None or (last == "overfitting" and median(waited) <= WARNING_PATIENCE):
        return None
    return ADVICE[last]
