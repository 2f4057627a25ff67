"""The last predictions by their ids, to which true labels are added when they become known."""

import math
import reprlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from sknn.preprocessing.levels import as_level
from sknn.serving.served_model import Predictions, ServedModel

MAX_PREDICTIONS = 100_000  # that wait for their labels
MAX_NUMBERS = 4_000_000  # that are kept of them: 16 MB
MAX_LABELS = 10_000  # of which the scores are made
N_BINS = 10  # of the calibration error


class RecentPredictions:
    """The last predictions of a model, and the scores of those whose true labels are known.

    The memory is constant: the oldest predictions are forgotten, and with them the chance to report their labels.

    Parameters
    ----------
    model : ServedModel
    window : float
        Scores are those of the labels that arrived in the last so many seconds, and of 10,000 labels at most.
    clock : callable, default=time.monotonic
        Returns the time in seconds.

    Attributes
    ----------
    n_labels, n_correct : int
        How many true labels have arrived, and how many of them are the predicted class.
    """

    def __init__(self, model: ServedModel, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._model, self._window, self._clock = model, window, clock
        self._prefix = secrets.token_hex(4)  # ids of another process, or of another model, are unknown here
        self._n_predictions = 0
        self._rows: np.ndarray | None = None  # probabilities, or values, in a ring
        self._is_labelled: np.ndarray
        self._labelled: deque[tuple[float, np.ndarray, Any]] = deque(maxlen=MAX_LABELS)  # time, outputs, true label
        self._codes = {name: j for j, name in enumerate(model.classes or [])}
        self._lock = threading.Lock()
        self.n_labels = self.n_correct = 0

    def add(self, predictions: Predictions) -> list[str]:
        """Keep predictions, and return their ids."""
        outputs = predictions.values if predictions.probabilities is None else predictions.probabilities
        outputs = outputs.reshape(len(outputs), -1)
        with self._lock:
            if self._rows is None:
                capacity = max(1, min(MAX_PREDICTIONS, MAX_NUMBERS // outputs.shape[1]))
                self._rows = np.full((capacity, outputs.shape[1]), np.nan, dtype=np.float32)
                self._is_labelled = np.ones(capacity, dtype=bool)
            first, self._n_predictions = self._n_predictions, self._n_predictions + len(outputs)
            self._write(outputs)
        return [f"{self._prefix}-{number}" for number in range(first, self._n_predictions)]

    def add_label(self, prediction_id: str, label: Any) -> str | None:
        """Add the true label of a prediction. Return why it is not counted, or None if it is.

        Raises
        ------
        ValueError
            If `label` is no class of the model, or no number for a regressor.
        """
        true = self._read_label(label)
        with self._lock:
            number = self._number(prediction_id)
            if number is None:
                return "unknown or too old"
            slot = number % len(self._rows)  # type: ignore[arg-type]
            if self._is_labelled[slot]:
                return "labelled already"
            self._is_labelled[slot] = True
            outputs = self._rows[slot].copy()  # type: ignore[index]
            self._labelled.append((self._clock(), outputs, true))
            self.n_labels += 1
            self.n_correct += self._model.classes is not None and int(outputs.argmax() == true)
        return None

    def check_label(self, label: Any) -> None:
        """Raise a ValueError if `label` is no class of the model, or no number for a regressor."""
        self._read_label(label)

    def scores(self) -> dict[str, float]:
        """Return the live scores, by name; empty if no label has arrived within the window."""
        start = self._clock() - self._window
        with self._lock:
            labelled = [(outputs, true) for time, outputs, true in self._labelled if time >= start]
        if not labelled:
            return {}
        outputs, true = (np.array(part) for part in zip(*labelled, strict=True))
        if self._model.classes is None:
            errors = np.abs(outputs - true.reshape(outputs.shape))
            return {
                "mean_absolute_error": float(errors.mean()),
                "root_mean_squared_error": float((errors**2).mean() ** 0.5),
            }
        return _classification_scores(outputs.astype(np.float64), true)

    def _write(self, outputs: np.ndarray) -> None:
        """Write the latest predictions into the ring; the end of a long batch if it does not fit."""
        rows: Any = self._rows
        outputs = outputs[-len(rows) :]
        slot = (self._n_predictions - len(outputs)) % len(rows)
        n_before_end = len(rows) - slot
        for start, part in ((slot, outputs[:n_before_end]), (0, outputs[n_before_end:])):
            rows[start : start + len(part)] = part
            self._is_labelled[start : start + len(part)] = False

    def _read_label(self, label: Any) -> Any:
        if self._model.classes is None:
            n_outputs = 1 if self._rows is None else self._rows.shape[1]
            values = label if isinstance(label, list) else [label]
            if len(values) != n_outputs or not all(_is_finite(value) for value in values):
                expected = "a finite number" if n_outputs == 1 else f"a list of {n_outputs} finite numbers"
                raise ValueError(f"label={reprlib.repr(label)} is not {expected}")
            return values
        if self._model.task == "multilabel":
            raise ValueError("the model gives several labels to a row, and the service can't score those")
        names = () if isinstance(label, list | dict) else (str(label), as_level(label))  # 1, 1.0 and "1" are the same
        code = next((self._codes[name] for name in names if name in self._codes), None)
        if code is None:
            classes = self._model.classes
            raise ValueError(f"label={reprlib.repr(label)} is no class of the model; its classes are {classes}")
        return code

    def _number(self, prediction_id: str) -> int | None:
        """Return the number of a prediction that is still kept."""
        prefix, _, digits = prediction_id.rpartition("-")
        if prefix != self._prefix or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            return None
        number = int(digits)
        is_kept = self._rows is not None and self._n_predictions - len(self._rows) <= number < self._n_predictions
        return number if is_kept else None


def _is_finite(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(value)
    except (TypeError, OverflowError):  # no number, or an integer that no float holds
        return False


def _classification_scores(probabilities: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Return the accuracy, the log loss, and the expected calibration error over bins of equal width.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    is_correct = probabilities.argmax(axis=1) == true
    confidence = probabilities.max(axis=1)
    p_true = np.take_along_axis(probabilities, true[:, None], axis=1)
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, weights=is_correct - confidence, minlength=N_BINS)
    return {
        "accuracy": float(is_correct.mean()),
        "log_loss": float(-np.log(np.maximum(p_true, np.finfo(np.float32).tiny)).mean()),
        "calibration_error": float(np.abs(gaps).sum() / len(true)),
    }
