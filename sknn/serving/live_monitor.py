"""The rows that a model has predicted, counted beside its training data, and kept over a restart.

Counting a row alone costs as much as predicting it, so rows are collected, and counted many at once.
"""

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sknn.monitoring import DriftMonitor, DriftReport, RollingMonitor
from sknn.serving.records import Columns
from sknn.serving.served_model import Predictions, ServedModel
from sknn.utils.files import write_atomically

MAX_WAITING = 1000  # rows
MAX_CLASSES = 100  # that are counted


class LiveMonitor:
    """The counts of one model.

    Parameters
    ----------
    model : ServedModel
    window : float
        Drift is that of the last so many seconds.
    """

    def __init__(self, model: ServedModel, window: float) -> None:
        self._digest, self._window = model.digest, window
        self._has_few_classes = model.classes is not None and len(model.classes) <= MAX_CLASSES
        # Each class has a zero from the start, because Prometheus can't see a growth from nothing.
        self._classes: Counter[str] = Counter(dict.fromkeys(model.classes or (), 0) if self._has_few_classes else ())
        self._waiting: list[tuple[Columns, Predictions]] = []
        self._n_waiting = self._n_rows = 0
        self._lock = threading.Lock()
        self._rolling: RollingMonitor | None = None  # of a model that does not describe its training data
        if model.predictor.metadata.get("data"):
            self._rolling = RollingMonitor(DriftMonitor.from_onnx(model.predictor), window)

    def add(self, columns: Columns, predictions: Predictions) -> None:
        """Collect rows."""
        with self._lock:
            self._waiting.append((columns, predictions))
            self._n_waiting += len(predictions.values)
            is_full = self._n_waiting >= MAX_WAITING
        if is_full:
            self.count()

    def count(self) -> None:
        """Count the rows that were collected."""
        with self._lock:
            waiting, self._waiting, self._n_waiting = self._waiting, [], 0
        if not waiting:
            return
        values = np.concatenate([predictions.values for _, predictions in waiting])
        with self._lock:
            self._n_rows += len(values)
            if self._has_few_classes and values.ndim == 1:
                self._classes.update(map(str, values.tolist()))
        if self._rolling is not None:
            columns = {name: np.concatenate([rows[name] for rows, _ in waiting]) for name in waiting[0][0]}
            spreads: list[Any] = [predictions.spread for _, predictions in waiting]
            self._rolling.update(columns, values, None if spreads[0] is None else np.concatenate(spreads))

    def count_by_class(self) -> dict[str, int]:
        """Return the predicted rows of each class since the start; empty for a regressor, and beyond 100 classes."""
        self.count()
        with self._lock:
            return dict(self._classes)

    def n_rows(self) -> int:
        """Return how many rows were counted: all of them, or those since the start if the model has no monitor."""
        total = self.total()
        return self._n_rows if total is None else total.n_rows

    def total(self) -> DriftMonitor | None:
        """Return the counts of all rows, also of those before a restart."""
        self.count()
        return None if self._rolling is None else self._rolling.total

    def report(self) -> DriftReport | None:
        """Return the drift of the window."""
        self.count()
        return None if self._rolling is None else self._rolling.window().report()

    def save(self, path: Path) -> None:
        """Write the counts. A process that is killed meanwhile leaves the file as it was."""
        self.count()
        if self._rolling is None:
            return
        text = json.dumps({"digest": self._digest, "monitor": self._rolling.to_json()})
        write_atomically(path, text.encode())

    def restore(self, path: Path) -> bool:
        """Read the counts, and return whether they are this model's.

        Raises
        ------
        OSError
            If the file can't be read.
        ValueError
            If it is damaged. Damage of some kinds raises other errors.
        """
        if self._rolling is None or not path.exists():
            return False
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["digest"] != self._digest:
            return False
        rolling = RollingMonitor.from_json(document["monitor"])
        if rolling.total.reference != self._rolling.total.reference:
            raise ValueError("the counts were made with another description of the training data")
        if rolling.window_seconds == self._window:
            self._rolling = rolling
        else:
            self._rolling.total.merge(rolling.total)
        return True
