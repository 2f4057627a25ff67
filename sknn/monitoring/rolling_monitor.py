"""`RollingMonitor`: the rows of the last minutes or hours."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from sknn.monitoring.drift_monitor import DriftMonitor, read_document

FORMAT = 1  # of the JSON text


class RollingMonitor:
    """A monitor of a moving window of time: a ring of monitors, one for each part of the window.

    The oldest part is dropped as a whole, so the window holds the rows of the last `window_seconds`, less a part at
    most. Several threads can share it.

    Parameters
    ----------
    monitor : DriftMonitor
        Its reference is used, and it counts all rows, those that have left the window, too.
    window_seconds : float, default=3600
    parts : int, default=60
    clock : callable, default=time.time
        Returns the time in seconds. If it is set back, rows count into the latest part until it catches up.

    Attributes
    ----------
    total : DriftMonitor
        The monitor that counts all rows.

    Examples
    --------
    >>> import numpy as np
    >>> seconds = [0.0]
    >>> total = DriftMonitor.from_reference({"age": np.arange(100.0)})
    >>> rolling = RollingMonitor(total, window_seconds=60, parts=6, clock=lambda: seconds[0])
    >>> rolling.update({"age": [30, 40]}).window().n_rows
    2
    >>> seconds[0] = 60.0
    >>> rolling.update({"age": [50]}).window().n_rows, total.n_rows
    (1, 3)
    """

    def __init__(
        self,
        monitor: DriftMonitor,
        window_seconds: float = 3600,
        parts: int = 60,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not window_seconds > 0:
            raise ValueError(f"window_seconds={window_seconds!r} has to be greater than 0.")
        if not parts >= 1:
            raise ValueError(f"parts={parts!r} has to be at least 1.")
        self.total, self.window_seconds, self.parts = monitor, window_seconds, parts
        self._clock = clock
        self._ring: dict[int, DriftMonitor] = {}  # by the number of the part since the clock's zero
        self._lock = threading.Lock()

    def update(self, X: Any, predictions: Any = None, spread: Any = None) -> "RollingMonitor":
        """Count rows, as `DriftMonitor.update` does.

        Parameters
        ----------
        X : table
        predictions, spread : array-like, optional

        Returns
        -------
        RollingMonitor
            The monitor itself.
        """
        rows = self.total.empty().update(X, predictions, spread)
        with self._lock:
            now = self._drop_old_parts()
            self._ring.setdefault(now, self.total.empty()).merge(rows)
            self.total.merge(rows)
        return self

    def window(self) -> DriftMonitor:
        """Return the rows of the window.

        Returns
        -------
        DriftMonitor
            A sum, to which later rows are not added.
        """
        result = self.total.empty()
        with self._lock:
            self._drop_old_parts()
            for part in self._ring.values():
                result.merge(part)
        return result

    def to_json(self) -> str:
        """Return the reference and the counts as JSON text.

        Returns
        -------
        str
        """
        with self._lock:
            ring = {number: part._rows_as_data() for number, part in self._ring.items()}
            total = self.total._rows_as_data()
        settings = {"window_seconds": self.window_seconds, "parts": self.parts}
        return json.dumps(
            {"format": FORMAT, **settings, "reference": self.total.reference, "total": total, "ring": ring}
        )

    @classmethod
    def from_json(cls, text: str, clock: Callable[[], float] = time.time) -> "RollingMonitor":
        """Return the monitor that `to_json` has written. Rows that have left the window by now are dropped from it.

        Parameters
        ----------
        text : str
        clock : callable, default=time.time

        Returns
        -------
        RollingMonitor

        Raises
        ------
        ValueError
            If the text is not one of `to_json`.
        """
        document = read_document(text, FORMAT)
        rolling = cls(DriftMonitor(document["reference"]), document["window_seconds"], document["parts"], clock)
        rolling.total._add_data(document["total"])
        for number, data in document["ring"].items():
            part = rolling._ring[int(number)] = rolling.total.empty()
            part._add_data(data)
        return rolling

    def _drop_old_parts(self) -> int:
        """Return the number of the current part."""
        now = max([int(self._clock() * self.parts // self.window_seconds), *self._ring])
        self._ring = {number: part for number, part in self._ring.items() if number > now - self.parts}
        return now
