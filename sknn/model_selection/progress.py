"""What a search tells while it runs: how many fits are done, and the best score so far."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from sknn.utils.warnings import warn


class Progress:
    """The fits of a search that are done, shown as a bar if the search is verbose.

    Parameters
    ----------
    calls : sequence of dict
        The arguments of scikit-learn's calls, one for each fit.
    """

    def __init__(self, calls: Sequence[dict[str, Any]]) -> None:
        self.candidates = [call.get("candidate_progress") for call in calls]
        self.verbose = any(call.get("verbose", 0) for call in calls)
        self.scores: dict[int, list[float]] = defaultdict(list)  # of each candidate
        self.folds = max((call["split_progress"][1] for call in calls if call.get("split_progress")), default=1)
        self.best: tuple[float, int] | None = None
        self.groups: set[Any] = set()
        self.bar: Any = None

    def __enter__(self) -> Self:
        if self.verbose:
            self.bar = make_bar(len(self.candidates))
        return self

    def __exit__(self, *error: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, place: int, result: Any) -> None:
        """Note the result of one fit."""
        candidate = self.candidates[place]
        score = result.get("test_scores") if isinstance(result, dict) else None
        if candidate is not None:
            self.scores[candidate[0]].append(score if isinstance(score, float | int) else np.nan)
            self._compare(candidate[0])
        if self.bar is not None:
            self._show(result)

    def _show(self, result: Any) -> None:
        if isinstance(result, dict):
            self.groups.add(result.get("group"))
            self.bar.set_description(f"{len(self.groups)} group{'s' * (len(self.groups) > 1)}", refresh=False)
        if self.best is not None:
            self.bar.set_postfix(best=f"{self.best[0]:.4g}", candidate=self.best[1], refresh=False)
        self.bar.update()

    def _compare(self, candidate: int) -> None:
        scores = self.scores[candidate]
        mean = float(np.mean(scores)) if len(scores) == self.folds else np.nan
        if np.isfinite(mean) and (self.best is None or mean > self.best[0]):
            self.best = mean, candidate

    @property
    def n_finished(self) -> int:
        """Candidates that have the scores of all folds."""
        return len(self._finished())

    def _finished(self) -> list[int]:
        return sorted(candidate for candidate, scores in self.scores.items() if len(scores) == self.folds)

    def warn_of_interrupt(self) -> None:
        """Say which candidates are finished."""
        finished = self._finished()
        total = max(candidate[1] for candidate in self.candidates if candidate)
        warn(
            f"Search interrupted by user: {len(finished)} of {total} candidates are finished "
            f"({', '.join(map(str, finished))}); the scores of the others are NaN."
        )


def make_bar(total: int) -> Any:
    """A bar over fits, by tqdm; where it is missing, nothing is shown."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, unit="fit", file=sys.stdout)
