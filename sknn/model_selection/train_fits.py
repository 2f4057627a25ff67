"""Train the networks of several fits jointly."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sknn.model_selection.fits import Fit
from sknn.network.metrics import Metric
from sknn.training.joint import train_jointly
from sknn.training.scoring import ScorerMetric


def train_fits(fits: Sequence[Fit]) -> None:
    """Train the networks of fits of one group jointly; if memory is short, train one half after the other.

    A single fit is not trained here but in `Fit.result`, where scikit-learn treats an exception as a failure of the
    candidate. Here an exception may concern no candidate, such as a time-out raised by a signal handler. It ends the
    search.
    """
    fits = [fit for fit in fits if fit.error is None]
    if len(fits) < 2:
        return
    start = time.perf_counter()
    try:
        with contextlib.ExitStack() as stack:
            for fit in fits:
                stack.enter_context(_store_scorer_errors(fit))
            stack.enter_context(fits[0].compute_context())
            train_jointly([fit.net for fit in fits], [fit.data for fit in fits])
    except MemoryError:
        half = len(fits) // 2
        train_fits(fits[:half])
        train_fits(fits[half:])
        return
    for fit in fits:
        fit.is_trained = True
        fit.seconds += (time.perf_counter() - start) / len(fits)


@contextlib.contextmanager
def _store_scorer_errors(fit: Fit) -> Iterator[None]:
    """Store an error of the fit's scorers in the fit, so that the training of the other fits continues."""
    if fit.task.raises_errors:
        yield
        return
    plan = fit.net.plan
    fit.net.plan = replace(
        plan,
        stopping_scores=_without_errors(plan.stopping_scores, fit),
        metrics={name: _without_errors(metrics, fit) for name, metrics in plan.metrics.items()},
    )
    try:
        yield
    finally:
        fit.net.plan = plan


def _without_errors(metrics: list[Metric], fit: Fit) -> list[Metric]:
    """Return the metrics of a fit's members, with NaN in place of a scorer's error; tensor metrics raise none."""
    if not metrics or not isinstance(metrics[0], ScorerMetric):
        return metrics
    metric = metrics[0]  # the same for all members

    def score(p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        if fit.error is None:
            try:
                return metric(p, y, weight)
            except Exception as error:
                fit.error = error
        return torch.full((len(p),), torch.nan, dtype=torch.float64, device=p.device)

    return [score] * len(metrics)
