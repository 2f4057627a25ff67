"""What a training has made of each member of a network."""

import math
from dataclasses import dataclass, fields


@dataclass
class MemberState:
    """One member's training: its last fit, and what it has reached over all fits.

    Attributes
    ----------
    epochs : int
        Epochs of the last fit.
    diverged_in : int or None
        The epoch of the last fit in which the loss became NaN or infinite.
    failed : bool
        Whether it diverged before any epoch with a finite loss, so that there are no weights to go back to.
    unconverged : bool
        Whether it was still improving when the last fit ended.
    rows_seen : int
        Rows trained on.
    best_score : float
        The best value of what early stopping watches; larger is better.
    best_epoch : int
        The epoch of `best_score`; -1 before the first epoch.
    epochs_without_improvement : int
    weight : float
        The member's share of the predictions, relative to the weights of the other members.
    """

    epochs: int = 0
    diverged_in: int | None = None
    failed: bool = False
    unconverged: bool = False
    rows_seen: int = 0
    best_score: float = -math.inf
    best_epoch: int = -1
    epochs_without_improvement: int = 0
    weight: float = 1.0

    def reset(self, names: tuple[str, ...]) -> None:
        """Set these attributes to their defaults."""
        for field in fields(self):
            if field.name in names:
                setattr(self, field.name, field.default)

    def update(self, score: float, tol: float, epoch: int) -> bool:
        """Take an epoch's score into account; return whether it is the best so far."""
        improves = score >= self.best_score + tol
        self.epochs_without_improvement = 0 if improves else self.epochs_without_improvement + 1
        if not score > self.best_score:  # also if it is NaN
            return False
        self.best_score, self.best_epoch = score, epoch
        return True


LAST_FIT = ("epochs", "diverged_in", "failed", "unconverged")  # what each fit starts anew
EARLY_STOPPING = ("best_score", "best_epoch", "epochs_without_improvement")  # what a new solver starts anew
