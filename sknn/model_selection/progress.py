"""The progress of a search: how many fits are finished, and the best score so far."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from sknn.utils.warnings import warn


class Progress:
    """The finished fits of a search, shown in a progress bar if the search is verbose.

    Parameters
    ----------
    calls : sequence of dict
        The arguments of scikit-learn's calls, one call for each fit.
    """

    def __init__(self, calls: Sequence[dict[str, Any]]) -> None:
        self.candidates = [call.get("candidate_progress") for call in calls]  # (candidate, number of candidates)
        self.verbose = any(call.get("verbose", 0) for call in calls)
        self.scores: dict[int, list[float]] = defaultdict(list)  # by candidate
        self.n_folds = max((call["split_progress"][1] for call in calls if call.get("split_progress")), default=1)
        self.best: tuple[float, int] | None = None  # mean score, candidate
        self.groups: set[Any] = set()
        self.bar: Any = None

    def __enter__(self) -> Self:
        if self.verbose:
            self.bar = make_bar(len(self.candidates))
        return self

    def __exit__(self, *error: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, index: int, result: Any) -> None:
        """Record the result of one fit."""
        candidate = self.candidates[index]
        if candidate is not None:
            score = result.get("test_scores")
            self.scores[candidate[0]].append(score if isinstance(score, float | int) else np.nan)
            self._compare(candidate[0])
        if self.bar is not None:
            self._show(result)

    def _compare(self, candidate: int) -> None:
        scores = self.scores[candidate]
        mean = float(np.mean(scores)) if len(scores) == self.n_folds else np.nan
        if np.isfinite(mean) and (self.best is None or mean > self.best[0]):
            self.best = mean, candidate

    def _show(self, result: Any) -> None:
        if isinstance(result, dict):
            self.groups.add(result.get("group"))
            self.bar.set_description(f"{len(self.groups)} group{'s' * (len(self.groups) > 1)}", refresh=False)
        if self.best is not None:
            self.bar.set_postfix(best=f"{self.best[0]:.4g}", candidate=self.best[1], refresh=False)
        self.bar.update()

    @property
    def finished(self) -> list[int]:
        """The candidates with scores of all folds."""
        return sorted(candidate for candidate, scores in self.scores.items() if len(scores) == self.n_folds)

    def warn_of_interrupt(self) -> None:
        """Warn that the search was interrupted, and name the finished candidates."""
        total = max(candidate[1] for candidate in self.candidates if candidate)
        warn(
            f"Search interrupted by user: {len(self.finished)} of {total} candidates are finished "
            f"({', '.join(map(str, self.finished))}); the scores of the others are NaN."
        )


def make_bar(total: int) -> Any:
    """Return a tqdm progress bar over fits, or None if tqdm is not installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, unit="fit", file=sys.stdout)
