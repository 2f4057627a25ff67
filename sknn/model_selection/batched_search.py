"""A mixin for scikit-learn's searches: joint training, and groups in `cv_results_`."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from sknn.model_selection.joblib_backend import batched_fits
from sknn.model_selection.tasks import UNFINISHED


class BatchedSearch:
    """A mixin for scikit-learn's searches: joint training, and groups in `cv_results_`."""

    _keeps_finished = True

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        with batched_fits(self._keeps_finished):
            return super().fit(X, y, **params)  # type: ignore[misc]

    def _format_results(
        self, candidate_params: Sequence[dict], n_splits: int, out: Sequence[dict], more_results: Any = None
    ) -> dict[str, Any]:
        results = super()._format_results(candidate_params, n_splits, out, more_results)  # type: ignore[misc]
        groups = [result.get("group", "") for result in out[::n_splits]]
        indices = {group: i for i, group in enumerate(dict.fromkeys(g for g in groups if g != UNFINISHED))}
        indices[UNFINISHED] = -1
        results["group"] = np.array([indices[group] for group in groups])
        return results
