"""`DriftMonitor`: count rows in the cells of a reference, and compare the two."""

import json
import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from sknn.monitoring.cells import PARTS, monitored_columns
from sknn.monitoring.drift_report import DriftReport, compare
from sknn.monitoring.reference import count_rows, describe_table, output_columns
from sknn.monitoring.tables import read_columns
from sknn.onnx_predictor import OnnxPredictor

FORMAT = 1  # of the JSON text


class DriftMonitor:
    """A count of rows, by bin of each numeric column and by level of each category, beside those of a reference.

    The memory is constant, whatever the number of rows. Counts of several processes add up exactly (`merge`). Several
    threads can share a monitor.

    Parameters
    ----------
    reference : dict
        The description of a table that `from_reference` makes. `to_onnx` writes it into the metadata of a graph, as the
        entry "data".

    Attributes
    ----------
    reference : dict
    n_rows : int
        The number of rows that were counted.
    counts : dict of dict
        The number of rows in each cell of each column, by the names of the column and the cell. Cells are named
        "3.5..7" (a bin: 3.5 <= x < 7), "0" (a bin of this value alone), by the level of a category, "missing",
        "unseen" (a level that the reference does not have), and "other" (a level that it does not list, because there
        are more than 100).
    reference_shares : dict of dict
        The share of the reference's rows in each cell.

    See Also
    --------
    RollingMonitor : Counts the rows of the last minutes or hours.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> train = {"age": rng.normal(40, 10, 1000), "city": rng.choice(["Oslo", "Rome"], 1000)}
    >>> monitor = DriftMonitor.from_reference(train)
    >>> live = {"age": rng.normal(48, 10, 500), "city": rng.choice(["Oslo", "Rome"], 500)}
    >>> print(monitor.update(live).report())
    1 of 2 columns has drifted: age.
    column  kind        PSI     JS     KS  shift  missing  unseen        p
    age     number    0.839  0.371  0.344  0.839    0.0 %          < 0.001  drifted
    city    category  0.000  0.005                  0.0 %   0.0 %    0.827
    """

    def __init__(self, reference: Mapping[str, Any]) -> None:
        self.reference = dict(reference)
        self._columns = monitored_columns(self.reference)
        self._counts = {name: np.zeros(len(column.shares), np.int64) for name, column in self._columns.items()}
        self._n_rows = 0
        self._lock = threading.Lock()

    @classmethod
    def from_reference(cls, X: Any, predictions: Any = None, spread: Any = None) -> "DriftMonitor":
        """Return a monitor whose reference is a table.

        Parameters
        ----------
        X : pandas or polars frame, pyarrow table, dict of columns, or array of shape (n_rows, n_columns)
            The rows that a model was trained on, or others that are as they should be. Strings, categories and open
            types that hold something else than numbers are categories; all others are numbers. None, NaN and "" are
            missing values.
        predictions : array-like of shape (n_rows,) or (n_rows, n_outputs), optional
            The model's predictions for these rows: labels, or values as floats.
        spread : array-like of shape (n_rows,), optional
            How far the members of an ensemble disagree about each row; see `member_spread`.

        Returns
        -------
        DriftMonitor

        Raises
        ------
        ValueError
            If the table has no rows, or holds values that are neither numbers nor categories. The message names the
            column.
        """
        return cls(describe_table(X, predictions, spread))

    @classmethod
    def from_estimator(cls, model: Any, X: Any) -> "DriftMonitor":
        """Return a monitor whose reference is a table and a model's predictions for it.

        Parameters
        ----------
        model : estimator
            Any fitted estimator or pipeline.
        X : table
            Best are rows that the model has not been trained on, for which its predictions are like those to come.

        Returns
        -------
        DriftMonitor
        """
        return cls.from_reference(X, model.predict(X))

    @classmethod
    def from_onnx(cls, model: str | os.PathLike | bytes | OnnxPredictor) -> "DriftMonitor":
        """Return a monitor whose reference is the table that a model was exported with.

        Parameters
        ----------
        model : str, path-like, bytes or OnnxPredictor
            A file of `sknn.export.to_onnx`, its content, or the predictor that has loaded it.

        Returns
        -------
        DriftMonitor

        Raises
        ------
        ValueError
            If the model's metadata do not describe a table in this way.
        """
        metadata = (model if isinstance(model, OnnxPredictor) else OnnxPredictor(model)).metadata
        data = metadata.get("data")
        if data is None:
            raise ValueError(
                "The model does not describe the rows that it was trained on; export it again with them: "
                "to_onnx(model, X_train)."
            )
        if metadata.get("format", 1) < 2:
            raise ValueError("The model was exported by an sknn that did not describe bins; export it again.")
        try:
            return cls(data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"The model's description of its data is damaged ({error!r}); export it again.") from error

    # --- Counting -------------------------------------------------------------------------------------------------

    def update(self, X: Any, predictions: Any = None, spread: Any = None) -> "DriftMonitor":
        """Count rows.

        Parameters
        ----------
        X : pandas or polars frame, pyarrow table, dict of columns, or array of shape (n_rows, n_columns)
            Columns are found by name. What the reference does not describe is not counted: further columns, and
            predictions or spread if it has none.
        predictions : array-like of shape (n_rows,) or (n_rows, n_outputs), optional
        spread : array-like of shape (n_rows,), optional

        Returns
        -------
        DriftMonitor
            The monitor itself.

        Raises
        ------
        ValueError
            If a column is missing, or holds strings where the reference holds numbers. Nothing is counted then.
        """
        n_rows, counts = self._count(X, {"predictions": predictions, "spread": spread})
        self._add(n_rows, counts)
        return self

    def merge(self, other: "DriftMonitor") -> "DriftMonitor":
        """Add the counts of another monitor with the same reference.

        Parameters
        ----------
        other : DriftMonitor

        Returns
        -------
        DriftMonitor
            The monitor itself.

        Raises
        ------
        ValueError
            If the references differ.
        """
        if self.reference is not other.reference and self.reference != other.reference:
            raise ValueError(f"The monitors have different references: {_first_difference(self, other)}.")
        self._add(*other._snapshot())
        return self

    def reset(self) -> None:
        """Forget all rows."""
        with self._lock:
            self._n_rows = 0
            self._counts = {name: np.zeros_like(counts) for name, counts in self._counts.items()}

    def empty(self) -> "DriftMonitor":
        """Return a monitor with the same reference that has counted no rows yet.

        Returns
        -------
        DriftMonitor
        """
        monitor = object.__new__(type(self))
        monitor.__dict__.update(self.__dict__, _lock=threading.Lock())
        monitor.reset()
        return monitor

    def _count(self, X: Any, outputs: Mapping[str, Any]) -> tuple[int, dict[str, np.ndarray]]:
        """Return the number of rows, and the rows in each cell of each column."""
        described = self._names("columns")
        columns = read_columns(X, described) if described else {}
        n_rows = count_rows(X, columns)
        for part, values in outputs.items():
            names = self._names(part)
            if names and values is not None:
                columns |= _select_outputs(values, part, names, n_rows)
        return n_rows, {name: self._columns[name].count(values) for name, values in columns.items()}

    def _names(self, part: str) -> list[str]:
        return [name for name, column in self._columns.items() if column.part == part]

    def _add(self, n_rows: int, counts: Mapping[str, np.ndarray]) -> None:
        with self._lock:
            self._n_rows += n_rows
            for name, rows in counts.items():
                self._counts[name] += rows

    def _snapshot(self) -> tuple[int, dict[str, np.ndarray]]:
        with self._lock:
            return self._n_rows, {name: counts.copy() for name, counts in self._counts.items()}

    # --- Results --------------------------------------------------------------------------------------------------

    @property
    def n_rows(self) -> int:
        return self._n_rows

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return {name: self._columns[name].by_cell(rows) for name, rows in self._snapshot()[1].items()}

    @property
    def reference_shares(self) -> dict[str, dict[str, float]]:
        return {name: column.by_cell(column.shares) for name, column in self._columns.items()}

    def report(self, alpha: float = 0.05, correction: str = "holm") -> DriftReport:
        """Compare the counted rows with the reference.

        Parameters
        ----------
        alpha : float, default=0.05
            The share of false alarms: of reports with an alarm although nothing has changed ("holm"), or of columns
            among those that a report calls drifted ("benjamini-hochberg").
        correction : {"holm", "benjamini-hochberg"}, default="holm"
            How the p-values of many columns are adjusted.

        Returns
        -------
        DriftReport
            Sorted by effect. A column has drifted if its difference is significant, and its PSI at least 0.1.

        Raises
        ------
        ValueError
            If an argument has another value.
        """
        n_rows, counts = self._snapshot()
        pairs = [(column, counts[name]) for name, column in self._columns.items()]
        return compare(pairs, n_rows, self.reference["n_rows"], alpha, correction)

    # --- Text -----------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return the reference and the counts as JSON text.

        Returns
        -------
        str
        """
        return json.dumps({"format": FORMAT, "reference": self.reference, **self._rows_as_data()})

    @classmethod
    def from_json(cls, text: str) -> "DriftMonitor":
        """Return the monitor that `to_json` has written.

        Parameters
        ----------
        text : str

        Returns
        -------
        DriftMonitor

        Raises
        ------
        ValueError
            If the text is not one of `to_json`.
        """
        document = read_document(text, FORMAT)
        monitor = cls(document["reference"])
        monitor._add_data(document)
        return monitor

    def _rows_as_data(self) -> dict[str, Any]:
        """Return what was counted as plain data for JSON."""
        n_rows, counts = self._snapshot()
        return {"n_rows": n_rows, "counts": {name: rows.tolist() for name, rows in counts.items()}}

    def _add_data(self, data: Mapping[str, Any]) -> None:
        """Add what was counted, given as plain data."""
        counts = {name: np.array(rows, dtype=np.int64) for name, rows in data["counts"].items()}
        if {name: c.shape for name, c in counts.items()} != {name: c.shape for name, c in self._counts.items()}:
            raise ValueError("The counts do not belong to the cells of the reference.")
        self._add(data["n_rows"], counts)


def read_document(text: str, version: int) -> dict[str, Any]:
    """Return the document that a monitor has written as JSON."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"The text is not JSON: {error}.") from None
    found = document.get("format") if isinstance(document, dict) else None
    if found != version:
        raise ValueError(f"The text is not a monitor that this version of sknn reads: format={found!r}, not {version}.")
    return document


def _select_outputs(values: Any, part: str, names: list[str], n_rows: int) -> dict[str, Any]:
    """Return the outputs of a model under the names that the reference has for them."""
    outputs = list(output_columns(values, part, taken=()).values())
    if len(outputs) != len(names) or len(outputs[0]) != n_rows:
        expected = (n_rows,) if len(names) == 1 else (n_rows, len(names))
        raise ValueError(f"{part} have the shape {np.shape(values)}; expected {expected}.")
    return dict(zip(names, outputs, strict=True))


def _first_difference(monitor: DriftMonitor, other: DriftMonitor) -> str:
    for part in PARTS:
        mine, theirs = ({d["name"]: d for d in m.reference.get(part, ())} for m in (monitor, other))
        for name in {**mine, **theirs}:
            if mine.get(name) != theirs.get(name):
                return f"column {name!r} differs"
    return f"{monitor.reference['n_rows']} and {other.reference['n_rows']} rows"
