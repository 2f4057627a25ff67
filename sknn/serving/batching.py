"""Predict requests together that arrive at the same time."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sknn.serving.records import Columns
from sknn.serving.served_model import Predictions

MAX_ROWS = 256  # of one run, during which the event loop takes no requests


@dataclass(frozen=True)
class Request:
    """The rows of a request, and its answer to come."""

    columns: Columns
    n_rows: int
    answer: "asyncio.Future[Predictions]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """Collects the rows of the requests that the event loop has read, and predicts them in one run of the graph.

    The run begins as soon as the loop has gone through the requests that are there: none waits for later ones.

    Parameters
    ----------
    predict : callable
        Returns the predictions for columns.
    """

    def __init__(self, predict: Callable[[Columns], Predictions]) -> None:
        self._predict = predict
        self._waiting: list[Request] = []

    async def predict(self, columns: Columns) -> Predictions:
        """Return the predictions for the rows of a request; see `ServedModel.predict` for the errors."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        request = Request(columns, len(next(iter(columns.values()))))
        self._waiting.append(request)
        return await request.answer

    def _run(self) -> None:
        n = _count_that_fit(self._waiting)
        batch, self._waiting = self._waiting[:n], self._waiting[n:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        batch = [request for request in batch if not request.answer.done()]  # a client may have left
        if not self._answer(batch):
            for request in batch:  # one of them is at fault, and the others can be answered
                self._answer([request])

    def _answer(self, batch: Sequence[Request]) -> bool:
        """Predict requests, and return whether they are answered: with an error if there is only one."""
        if not batch:
            return True
        try:
            predictions = self._predict(_join([request.columns for request in batch]))
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            return len(batch) == 1
        start = 0
        for request in batch:
            request.answer.set_result(predictions.rows(start, start + request.n_rows))
            start += request.n_rows
        return True


def _count_that_fit(requests: Sequence[Request]) -> int:
    """Return how many of the first requests have `MAX_ROWS` rows together; at least one."""
    ends = np.cumsum([request.n_rows for request in requests])
    return max(1, int(np.searchsorted(ends, MAX_ROWS, side="right")))


def _join(parts: Sequence[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
