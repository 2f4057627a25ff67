"""`OnnxPredictor`: predict with an exported model."""

import json
import os
from collections.abc import Callable
from types import MethodType
from typing import Any

import numpy as np

from sknn.onnx_predictor.outputs import (
    MULTILABEL_THRESHOLD,
    ModelOutput,
    Outputs,
    as_probabilities,
    as_values,
    describe_output,
    find_outputs,
)
from sknn.onnx_predictor.rows import EXPORT_AGAIN, ModelInput, RowReader, describe_input, is_utf8
from sknn.onnx_predictor.self_check import blank_row, check_finite, check_outputs

METADATA_KEY = "sknn"
# Rows of one run. The intermediate results for 100,000 rows at once, of six members with 256 units, take 1.6 GB and do
# not fit into the processor's cache, so that the run takes 2.6 times as long.
BLOCK_ROWS = 512


class _ClassifierMethod:
    """A method that only classifiers have, like those of `sklearn.utils.metaestimators.available_if`."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __get__(self, predictor: Any, owner: type | None = None) -> Callable:
        if predictor is None:
            return self.function
        if not predictor._names.probabilities:
            name = self.function.__name__
            raise AttributeError(f"This {type(predictor).__name__!r} holds a regressor, which has no {name!r}")
        return MethodType(self.function, predictor)


class OnnxPredictor:
    """A predictor for a model that was exported by `sknn.export.to_onnx`.

    It needs only ONNX Runtime and numpy, starts in a fraction of a second, and predicts a row in microseconds. Models
    exported by skl2onnx work too, but with fewer attributes, since they have no metadata.

    Parameters
    ----------
    model : str, path-like or bytes
        An ONNX file, or its content.
    n_threads : int, default=1
        Threads of one prediction. One is fastest for a few rows, and leaves the other cores to other requests. More
        threads are faster for many thousand rows.

    Attributes
    ----------
    metadata : dict
        The description that `to_onnx` has written; empty for other models.
    classes_ : ndarray of shape (n_classes,)
        Labels in the order of `predict_proba`'s columns. Only a classifier with metadata has this attribute.
    n_features_in_ : int
        The number of columns of a table. Absent if the graph does not declare it.
    feature_names_in_ : ndarray of str
        Names of the columns. Absent if the model was fitted on a table without names.
    member_weights_ : ndarray of shape (n_members,), or None
        The share of each member in the predictions of an ensemble; None if all members count equally.

    Raises
    ------
    ImportError
        If ONNX Runtime is not installed.
    OSError
        If the file can't be read.
    ValueError
        If ONNX Runtime cannot run `model`, or if it has no inputs, no outputs, or damaged metadata. `predict` and
        `predict_proba` also raise only ValueError for wrong rows and for graphs that fail, so that
        ``except ValueError`` is enough for models of any origin.

    See Also
    --------
    sknn.export.to_onnx : Export a model.

    Notes
    -----
    In a table with names, columns are found by name. They may have any order, and further columns are ignored. A
    missing column is an error. An array has its columns in the order of the fit. None, NaN and pandas' NA are missing
    values. They become NaN in a numeric column, and "" in a category.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skl2onnx import to_onnx
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X /= X.max(axis=0)
    >>> clf = LogisticRegression().fit(X, y)
    >>> predictor = OnnxPredictor(to_onnx(clf, X[:1].astype('float32')).SerializeToString())
    >>> bool((predictor.predict(X) == clf.predict(X)).all())
    True
    >>> predictor.predict_proba(X[:3]).shape
    (3, 2)
    """

    classes_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray
    member_weights_: np.ndarray | None

    def __init__(self, model: str | os.PathLike | bytes, n_threads: int = 1) -> None:
        self._session = _start_session(model, n_threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if not inputs or not outputs:
            raise ValueError(
                f"The model has {len(inputs)} inputs and {len(outputs)} outputs, and a prediction needs one of each at "
                f"least; {EXPORT_AGAIN}"
            )
        self.metadata = _read_metadata(self._session)
        self._names = find_outputs(outputs)
        self._outputs = [describe_output(node) for node in outputs]
        self._all_names = [node.name for node in outputs]
        model_inputs = [describe_input(node) for node in inputs]
        self._reader = RowReader(model_inputs, _column_names(model_inputs, self.metadata))
        self._set_attributes()

    def _set_attributes(self) -> None:
        names, n_features = self._reader.names, self._reader.n_features
        if n_features is not None:
            self.n_features_in_ = n_features
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
            if n_features not in (None, len(names)):
                raise ValueError(
                    f"The model's inputs take {n_features} columns, and its metadata name {len(names)} of them; "
                    f"{EXPORT_AGAIN}"
                )
        if self.metadata.get("classes") is not None:
            self.classes_ = np.array(self.metadata["classes"])
        weights = self.metadata.get("member_weights")
        self.member_weights_ = None if weights is None else np.array(weights, dtype=float)
        for output in self._outputs:
            if output.name == self._names.members and weights and output.shape[1] not in (None, len(weights)):
                raise ValueError(
                    f"The model has {output.shape[1]} members, and its metadata name {len(weights)} weights; "
                    f"{EXPORT_AGAIN}"
                )

    def predict(self, X: Any) -> np.ndarray:
        """Return the labels or values of rows.

        Parameters
        ----------
        X : pandas or polars frame, dict of columns, list of dicts, or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) if there are several

        Raises
        ------
        ValueError
            If columns are missing, or hold values that the model cannot take; if the graph fails on the rows.
        """
        name = self._names.values
        return as_values(name, self._run([name], X)[name])

    @_ClassifierMethod
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : pandas or polars frame, dict of columns, list of dicts, or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. For a multilabel model, the independent probabilities of the labels.

        Raises
        ------
        AttributeError
            If the model is a regressor.
        ValueError
            If columns are missing, or hold values that the model cannot take; if the graph fails on the rows.
        """
        return self._as_probabilities(self._run(self._names.probabilities, X))

    def predict_members(self, X: Any) -> np.ndarray:
        """Return the labels or values that each member of the ensemble predicts.

        The mean of a regressor's members, weighted by `member_weights_`, is `predict`.

        Parameters
        ----------
        X : pandas or polars frame, dict of columns, list of dicts, or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_members), or (n_samples, n_members, n_outputs) if there are several

        Raises
        ------
        ValueError
            If the model was exported without `members=True`, and as in `predict`.
        """
        name = self._require_members()
        members = self._run([name], X)[name]
        if not self._names.probabilities:
            return members[:, :, 0] if members.shape[2] == 1 else members
        if self.metadata.get("task") == "multilabel":
            return (members > MULTILABEL_THRESHOLD).astype(np.int64)
        return self.classes_[members.argmax(axis=2)]

    @_ClassifierMethod
    def predict_proba_members(self, X: Any) -> np.ndarray:
        """Return the probability of each class that each member of the ensemble predicts.

        Their mean, weighted by `member_weights_`, is `predict_proba`:
        ``np.average(members, axis=1, weights=predictor.member_weights_)``.

        Parameters
        ----------
        X : pandas or polars frame, dict of columns, list of dicts, or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_members, n_classes)

        Raises
        ------
        AttributeError
            If the model is a regressor.
        ValueError
            If the model was exported without `members=True`, and as in `predict`.
        """
        name = self._require_members()
        return self._run([name], X)[name]

    def run(self, X: Any) -> Outputs:
        """Return everything that the graph says about rows, from one run of it.

        Parameters
        ----------
        X : pandas or polars frame, dict of columns, list of dicts, or array-like of shape (n_samples, n_features)

        Returns
        -------
        Outputs
            `values` as from `predict`; `probabilities` as from `predict_proba`, or None for a regressor; `members` of
            shape (n_samples, n_members, n_classes or n_outputs), or None if the graph has no such output; `raw` with
            all outputs by name, as the graph gives them.

        Raises
        ------
        ValueError
            As in `predict`.
        """
        names = self._names
        raw = self._run(self._all_names, X)
        p = self._as_probabilities(raw) if names.probabilities else None
        members = None if names.members is None else raw[names.members]
        return Outputs(as_values(names.values, raw[names.values]), p, members, raw)

    def self_check(self) -> None:
        """Run the model's example, and compare the outputs with those that it gave when it was exported.

        Numbers may differ by the metadata's `tolerance`: 0.001 times the sum of their size and the mean size of the
        output's column. A model without an example runs one row of zeros and empty strings, and its outputs have to be
        finite.

        Raises
        ------
        ValueError
            If an output differs or is not finite, or if the graph fails.
        """
        example = self.metadata.get("example")
        if example is None:
            check_finite(self._run_tensors(self._all_names, blank_row(self._reader.inputs)))
            return
        outputs = self._run(self._all_names, np.array([list(example.values())], dtype=object))
        check_finite(outputs)
        try:
            check_outputs(outputs, self.metadata.get("expected") or {}, self.metadata.get("tolerance") or {})
        except TypeError as error:
            raise ValueError(f"The model's metadata 'expected' or 'tolerance' are damaged; {EXPORT_AGAIN}") from error

    @property
    def inputs(self) -> list[ModelInput]:
        """The inputs of the graph, in its order."""
        return self._reader.inputs

    @property
    def outputs(self) -> list[ModelOutput]:
        """The outputs of the graph, in its order."""
        return self._outputs

    def _as_probabilities(self, outputs: dict[str, Any]) -> np.ndarray:
        classes, names = getattr(self, "classes_", None), self._names.probabilities
        return as_probabilities(names, [outputs[name] for name in names], None if classes is None else len(classes))

    def _require_members(self) -> str:
        if self._names.members is None:
            raise ValueError(
                "The model has no output with the predictions of its members; export it again with "
                "sknn.export.to_onnx(..., members=True)."
            )
        return self._names.members

    def _run(self, names: list[str], X: Any) -> dict[str, Any]:
        """Return these outputs by name."""
        return self._run_tensors(names, self._reader.read(X))

    def _run_tensors(self, names: list[str], feed: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return these outputs by name, from one block of rows after the other."""
        n_rows = len(next(iter(feed.values())))
        starts = range(0, n_rows, BLOCK_ROWS)
        blocks = [self._run_block(names, feed if n_rows <= BLOCK_ROWS else _rows(feed, start)) for start in starts]
        if len(blocks) == 1:
            return blocks[0]
        joined = self._names.of_rows
        return {name: _join([block[name] for block in blocks]) if name in joined else blocks[0][name] for name in names}

    def _run_block(self, names: list[str], feed: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return these outputs by name, after checking that they have an entry for each row."""
        try:
            outputs = dict(zip(names, self._session.run(names, feed), strict=True))
        except Exception as error:  # ONNX Runtime has many exception types
            raise ValueError(_explain_error(error, feed)) from error
        n_rows = len(next(iter(feed.values())))
        for name in self._names.of_rows & outputs.keys():
            output = outputs[name]
            n = len(output) if isinstance(output, list) or getattr(output, "ndim", 0) > 0 else 0
            if n != n_rows:
                raise ValueError(f"The model's output {name!r} has {n} rows for {n_rows} rows of X; {EXPORT_AGAIN}")
        return outputs


def _rows(feed: dict[str, np.ndarray], start: int) -> dict[str, np.ndarray]:
    """Return a block of rows."""
    return {name: tensor[start : start + BLOCK_ROWS] for name, tensor in feed.items()}


def _join(parts: list[Any]) -> Any:
    """Return an output of all rows from those of the blocks; an output that is no tensor is a list."""
    return [row for part in parts for row in part] if isinstance(parts[0], list) else np.concatenate(parts)


def _start_session(model: str | os.PathLike | bytes, n_threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "OnnxPredictor needs onnxruntime; install it with: pip install 'sknn[onnx]' (or onnxruntime alone)"
        ) from error
    if not isinstance(model, bytes):
        with open(model, "rb"):  # raises FileNotFoundError if it is missing
            model = os.fspath(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, and need not be logged as well
    try:
        return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"], enable_fallback=False)
    except Exception as error:  # ONNX Runtime has many exception types
        source = f"{len(model)} bytes" if isinstance(model, bytes) else repr(model)
        raise ValueError(
            f"model={source} is not an ONNX model that ONNX Runtime {onnxruntime.__version__} can run: {error}"
        ) from error


def _read_metadata(session: Any) -> dict[str, Any]:
    try:
        metadata = json.loads(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The model's metadata {METADATA_KEY!r} are not JSON: {error}; {EXPORT_AGAIN}") from error
    if not isinstance(metadata, dict):
        raise ValueError(
            f"The model's metadata {METADATA_KEY!r} are a {type(metadata).__name__}, not a dict; {EXPORT_AGAIN}"
        )
    wrong = [key for key, is_valid in METADATA_CHECKS.items() if not is_valid(metadata.get(key))]
    if wrong:
        raise ValueError(f"The model's metadata {METADATA_KEY!r} are damaged, in {', '.join(wrong)}; {EXPORT_AGAIN}")
    return metadata


def _column_names(inputs: list[ModelInput], metadata: dict[str, Any]) -> list[str] | None:
    """Return the names of the columns: those of the inputs if each is one column, else those of the metadata."""
    if not metadata.get("named", True):  # the model was fitted on an array
        return None
    if len(inputs) > 1 and all(target.width == 1 for target in inputs):
        return [target.name for target in inputs]
    return [feature["name"] for feature in metadata.get("features") or []] or None


def _are_labels(classes: Any) -> bool:
    return classes is None or (
        isinstance(classes, list)
        and any(all(isinstance(label, types) for label in classes) for types in (str, bool, int | float))
    )


def _are_features(features: Any) -> bool:
    return features is None or (
        isinstance(features, list)
        and all(isinstance(feature, dict) and isinstance(feature.get("name"), str) for feature in features)
    )


def _are_shares(weights: Any) -> bool:
    return weights is None or (
        isinstance(weights, list)
        and all(isinstance(weight, int | float) and 0 <= weight <= 1 for weight in weights)
        and sum(weights) > 0
    )


def _is_object(value: Any) -> bool:
    return value is None or isinstance(value, dict)


METADATA_CHECKS: dict[str, Callable[[Any], bool]] = {  # for the entries that are read here; each may be missing
    "named": lambda named: named is None or isinstance(named, bool),
    "features": _are_features,
    "classes": _are_labels,
    "member_weights": _are_shares,
    "example": _is_object,
    "expected": _is_object,
    "tolerance": _is_object,
}


def _explain_error(error: Exception, feed: dict[str, np.ndarray]) -> str:
    """Explain why ONNX Runtime has refused rows."""
    for name, tensor in feed.items():
        broken = [text for text in tensor.flat if not is_utf8(text)] if tensor.dtype == np.object_ else []
        if broken:
            return f"Column {name!r} holds {broken[0]!r}, which UTF-8 cannot encode (a lone surrogate); replace it."
    return f"ONNX Runtime cannot run the model on these rows: {error}"
