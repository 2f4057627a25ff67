"""Predictions of an exported model by ONNX Runtime and numpy: neither torch nor scikit-learn is imported."""

import itertools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from types import MethodType
from typing import Any

import numpy as np

METADATA_KEY = "sknn"
AGAIN = "export it again with sknn.export.to_onnx."
TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
MISSING_TYPES = ("NoneType", "NAType", "NaTType")
NUMBER_TYPES = (Real, np.bool_, Decimal)


@dataclass(frozen=True)
class Input:
    """One input of the graph: a tensor of rows."""

    name: str
    dtype: Any
    shape: tuple[int | None, ...]  # of a row

    @property
    def width(self) -> int | None:
        """Columns; None if the graph leaves them open."""
        return self.shape[0]


class _OnlyOfClassifiers:
    """A method that other models don't have, as `sklearn.utils.metaestimators.available_if` makes it."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __get__(self, predictor: Any, owner: type | None = None) -> Callable:
        if predictor is None:
            return self.function
        if not predictor._probabilities:
            name = self.function.__name__
            raise AttributeError(f"This {type(predictor).__name__!r} holds a regressor, which has no {name!r}")
        return MethodType(self.function, predictor)


class OnnxPredictor:
    """A fitted estimator or pipeline that was exported by `sknn.export.to_onnx`, ready to predict.

    It needs ONNX Runtime and numpy only, starts in a fraction of a second, and predicts a row in microseconds.  Models
    that skl2onnx has made work too, with fewer attributes, as they carry no metadata.

    Parameters
    ----------
    model : str, path-like or bytes
        An ONNX file, or its content.
    n_threads : int, default=1
        Threads of one prediction.  One is fastest for a few rows, and leaves the others to other requests; a call for
        many thousand rows gains by more.

    Attributes
    ----------
    metadata : dict
        What `to_onnx` has written about the model; empty for a model of another origin.
    classes_ : ndarray of shape (n_classes,)
        Labels in the order of `predict_proba`'s columns.  Only a classifier with metadata has it.
    n_features_in_ : int
        Columns that a row has.  Missing if the graph leaves it open.
    feature_names_in_ : ndarray of str
        Names of the columns, if the model was fitted on a table with names.

    Raises
    ------
    ImportError
        If ONNX Runtime is not installed.
    OSError
        If the file can't be read.
    ValueError
        If `model` is not an ONNX model that ONNX Runtime can run, or is none of a predictor: without inputs or outputs,
        or with metadata that are damaged.  `predict` and `predict_proba` raise it, too, whatever is wrong with the rows
        or with the graph, so that ``except ValueError`` is enough for models of any origin.

    See Also
    --------
    sknn.export.to_onnx : Which makes the file.

    Notes
    -----
    Of a table with names, the columns are picked by name, in whatever order they come; columns that the model does not
    know are ignored, since they cannot change a prediction, and one that it lacks is an error.  An array's columns are
    taken in the order of the fit.  None, NaN and pandas' NA are missing: NaN among numbers, the empty string among
    strings.

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

    def __init__(self, model: str | os.PathLike | bytes, n_threads: int = 1) -> None:
        self._session = _start_session(model, n_threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if not inputs or not outputs:
            raise ValueError(
                f"The model has {len(inputs)} inputs and {len(outputs)} outputs, and a prediction needs one of each at "
                f"least; {AGAIN}"
            )
        self.metadata = _metadata_of(self._session)
        self._inputs = [_describe(node) for node in inputs]
        self._value = outputs[0].name
        # Of skl2onnx's classifiers; with zipmap="columns" each class has an output of its own.
        is_classifier = outputs[0].name.rstrip("_") in ("label", "output_label")
        kinds = [(node.type, len(node.shape)) for node in outputs]
        same = [node.name for node, kind in zip(outputs[1:], kinds[1:], strict=True) if kind == kinds[1]]
        self._probabilities = same if is_classifier else []
        self._set_attributes()

    def _set_attributes(self) -> None:
        widths = [node.width for node in self._inputs]
        if None not in widths:
            self.n_features_in_ = sum(width for width in widths if width is not None)
        names = self._known_names()
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)
            if len(names) != getattr(self, "n_features_in_", len(names)):
                raise ValueError(
                    f"The model's inputs take {self.n_features_in_} columns, and its metadata name {len(names)} of "
                    f"them; {AGAIN}"
                )
        if self.metadata.get("classes") is not None:
            self.classes_ = np.array(self.metadata["classes"])

    def _known_names(self) -> list[str] | None:
        """Names of the columns: those of an input each, or of one wide input if the metadata tells."""
        if not self.metadata.get("named", True):  # the model was fitted on an array
            return None
        if len(self._inputs) > 1 and all(node.width == 1 for node in self._inputs):
            return [node.name for node in self._inputs]
        return [feature["name"] for feature in self.metadata.get("features") or []]

    def predict(self, X: Any) -> np.ndarray:
        """Labels or values of rows.

        Parameters
        ----------
        X : pandas or polars frame, dict of columns, list of dicts, or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) if there are several

        Raises
        ------
        ValueError
            If columns are missing, or hold what the model cannot take; if the graph fails on the rows.
        """
        values = self._run([self._value], X)[0]
        if not isinstance(values, np.ndarray):
            raise ValueError(f"The model's output {self._value!r} is no tensor; {AGAIN}")
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        return values.astype(str) if values.dtype == object else values

    @_OnlyOfClassifiers
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class.

        Parameters
        ----------
        X : pandas or polars frame, dict of columns, list of dicts, or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; if multilabel, of each label on its own.

        Raises
        ------
        AttributeError
            If the model is a regressor.
        ValueError
            If columns are missing, or hold what the model cannot take; if the graph fails on the rows.
        """
        outputs = self._run(self._probabilities, X)
        if isinstance(outputs[0], list):  # a dict a row: what skl2onnx makes unless it is told otherwise
            p = np.array([list(row.values()) for row in outputs[0]], dtype=np.float32)
        else:
            p = outputs[0] if len(outputs) == 1 else np.column_stack(outputs)
        if p.ndim != 2 or p.dtype.kind != "f" or p.shape[1] != len(getattr(self, "classes_", p[0])):
            raise ValueError(
                f"The model's output {self._probabilities} is no table of a probability per class; {AGAIN}"
            )
        return p

    def _run(self, names: list[str], X: Any) -> list[Any]:
        """These outputs, which have an entry for each row."""
        feed = self._feed(X)
        n_rows = len(next(iter(feed.values())))
        try:
            outputs = self._session.run(names, feed)
        except Exception as error:  # ONNX Runtime has a dozen of its own for this
            raise ValueError(_why_not(error, feed)) from error
        for name, output in zip(names, outputs, strict=True):
            n = len(output) if isinstance(output, list) or getattr(output, "ndim", 0) > 0 else 0
            if n != n_rows:
                raise ValueError(f"The model's output {name!r} has {n} rows for {n_rows} rows of X; {AGAIN}")
        return outputs

    # --- From a table to the graph's inputs ---------------------------------------------------------------------------

    def _feed(self, X: Any) -> dict[str, np.ndarray]:
        if isinstance(X, list) and X and all(isinstance(row, Mapping) for row in X):
            return self._feed_columns(self._columns_of_records(X))
        if isinstance(X, Mapping) or hasattr(X, "columns"):
            return self._feed_columns(X)
        return self._feed_array(X)

    def _feed_array(self, X: Any) -> dict[str, np.ndarray]:
        if type(X) is not np.ndarray:
            X = _as_array(X)
        self._check_shape(X)
        if len(self._inputs) == 1:
            node = self._inputs[0]
            return {node.name: _as_tensor(X, node.dtype, node.name)}
        feed, start = {}, 0
        for node in self._inputs:
            stop = start + (node.width or 0)
            feed[node.name] = _as_tensor(X[:, start:stop], node.dtype, node.name)
            start = stop
        return feed

    def _check_shape(self, X: np.ndarray) -> None:
        rank = 1 + len(self._inputs[0].shape)
        if X.ndim != rank:
            raise ValueError(
                f"Expected a {rank}D array, got one of {X.ndim} dimensions with shape {X.shape}. For a single row, "
                "give a table of one row: X.reshape(1, -1) of an array, frame.iloc[[0]] of a frame."
            )
        if not len(X):
            raise ValueError(f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required.")
        wanted = (getattr(self, "n_features_in_", None),) if rank == 2 else self._inputs[0].shape
        if any(want is not None and want != got for want, got in zip(wanted, X.shape[1:], strict=True)):
            if rank > 2:
                raise ValueError(f"X has rows of shape {X.shape[1:]}, but the model takes rows of shape {wanted}.")
            raise ValueError(
                f"X has {X.shape[1]} features, but OnnxPredictor is expecting {wanted[0]} features as input."
            )

    def _feed_columns(self, X: Any) -> dict[str, np.ndarray]:
        keys = {str(key): key for key in (X if isinstance(X, Mapping) else X.columns)}
        names = self._names()
        missing = [name for name in names if name not in keys]
        if missing:
            raise ValueError(f"X lacks columns that the model was fitted with: {missing}. It has {list(keys)}.")
        feed, left = {}, iter(names)
        for node in self._inputs:
            chosen = itertools.islice(left, node.width)
            columns = [_as_column(X[keys[name]], node.dtype, name) for name in chosen]
            if not columns:
                raise ValueError(f"No column of X is left for the model's input {node.name!r}; {AGAIN}")
            feed[node.name] = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
        lengths = {len(rows) for rows in feed.values()}
        if len(lengths) > 1:
            raise ValueError(f"The columns of X have different lengths: {sorted(lengths)}.")
        return feed

    def _columns_of_records(self, records: list) -> dict[str, list]:
        for i, record in enumerate(records):
            missing = [name for name in self._names() if name not in record]
            if missing:
                raise ValueError(
                    f"Row {i} of X lacks columns that the model was fitted with: {missing}; give None if a value is "
                    "missing."
                )
        return {name: [record[name] for record in records] for name in self._names()}

    def _names(self) -> list[str]:
        if not hasattr(self, "feature_names_in_"):
            n = getattr(self, "n_features_in_", "its")
            raise ValueError(
                f"X has named columns, but the model was fitted without names; give an array of {n} columns in the "
                "order of the fit (frame.to_numpy())."
            )
        return self.feature_names_in_.tolist()


def _start_session(model: str | os.PathLike | bytes, n_threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "OnnxPredictor needs onnxruntime; install it with: pip install 'sknn[onnx]' (or onnxruntime alone)"
        ) from error
    if not isinstance(model, bytes):
        with open(model, "rb"):  # a missing file is Python's own error
            model = os.fspath(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, and need not be printed as well
    try:
        return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"], enable_fallback=False)
    except Exception as error:  # ONNX Runtime has a dozen of its own for this
        what = f"{len(model)} bytes" if isinstance(model, bytes) else repr(model)
        raise ValueError(
            f"model={what} is not an ONNX model that ONNX Runtime {onnxruntime.__version__} can run: {error}"
        ) from error


def _metadata_of(session: Any) -> dict[str, Any]:
    try:
        told = json.loads(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The model's metadata {METADATA_KEY!r} are no JSON: {error}; {AGAIN}") from error
    if not isinstance(told, dict):
        raise ValueError(f"The model's metadata {METADATA_KEY!r} are a {type(told).__name__}, not a dict; {AGAIN}")
    wrong = [key for key, is_right in METADATA.items() if told.get(key) is not None and not is_right(told[key])]
    if wrong:
        raise ValueError(f"The model's metadata {METADATA_KEY!r} are damaged, in {', '.join(wrong)}; {AGAIN}")
    return told


def _are_labels(classes: Any) -> bool:
    return isinstance(classes, list) and any(
        all(isinstance(label, kinds) for label in classes) for kinds in (str, bool, int | float)
    )


def _are_features(features: Any) -> bool:
    return isinstance(features, list) and all(
        isinstance(feature, dict) and isinstance(feature.get("name"), str) for feature in features
    )


METADATA: dict[str, Callable[[Any], bool]] = {  # what is read here
    "named": lambda named: isinstance(named, bool),
    "features": _are_features,
    "classes": _are_labels,
}


def _why_not(error: Exception, feed: dict[str, np.ndarray]) -> str:
    """What is wrong with rows that ONNX Runtime has refused."""
    for name, tensor in feed.items():
        broken = [text for text in tensor.flat if not _is_utf8(text)] if tensor.dtype == np.object_ else []
        if broken:
            return f"Column {name!r} holds {broken[0]!r}, which has no form in UTF-8 (a lone surrogate); replace it."
    return f"ONNX Runtime cannot run the model on these rows: {error}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _describe(node: Any) -> Input:
    if node.type not in TYPES:
        raise ValueError(f"The model's input {node.name!r} is a {node.type}; OnnxPredictor knows {sorted(TYPES)}.")
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape[1:])
    return Input(node.name, TYPES[node.type], shape or (None,))


def _as_array(X: Any) -> np.ndarray:
    array = np.asarray(X)
    return np.array(X, dtype=object) if array.dtype.kind in "US" else array  # numbers beside strings stay numbers


def _as_column(values: Any, dtype: Any, name: str) -> np.ndarray:
    """A column of a frame, a dict or a list, as a tensor of shape (n, 1)."""
    array = _values_of(values, exact=dtype is np.object_)
    if array.ndim == 2 and hasattr(values, "columns"):
        raise ValueError(f"X has {array.shape[1]} columns called {name!r}; which is meant?")
    if array.ndim != 1:
        raise ValueError(
            f"Column {name!r} has shape {array.shape}; expected one value per row. For a single row, give lists of one "
            "value."
        )
    if not len(array):
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return _as_tensor(array, dtype, name)[:, None]


def _values_of(values: Any, exact: bool) -> np.ndarray:
    """An array of a column; `exact` if integers beside missing values are to keep the digits that a float loses."""
    if exact and hasattr(values, "to_list") and str(values.dtype).lower().startswith(("int", "uint")):
        return np.array(values.to_list(), dtype=object)
    return values.to_numpy() if hasattr(values, "to_numpy") else _as_array(values)


def _as_tensor(values: np.ndarray, dtype: Any, name: str) -> np.ndarray:
    if dtype is np.object_ and values.dtype.kind in "mM":
        raise ValueError(f"Column {name!r} held categories in fit, and has the dtype {values.dtype} now.")
    if dtype is np.object_:
        return _as_texts(values)
    if values.dtype == dtype:
        numbers = values
    else:
        numbers = _as_numbers(values, name)
        with np.errstate(over="ignore", invalid="ignore"):
            converted = numbers.astype(dtype)
        if converted.dtype.kind != "f" and not (converted == numbers).all():
            raise ValueError(
                f"Column {name!r} holds values that the model's type for it, {np.dtype(dtype)}, cannot hold: missing "
                "ones, or fractions; export the model with a sample in which this column is float64."
            )
        numbers = converted
    if numbers.dtype.kind == "f" and np.isinf(numbers).any():
        raise ValueError(
            f"Column {name!r} contains infinity or a value too large for {np.dtype(dtype)}; clip it, or give NaN if "
            "the model was fitted with missing values."
        )
    return numbers


def _as_numbers(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind in "fiub":
        return values
    objects = values.ravel().tolist() if values.dtype == object else [values.dtype.name]
    wrong = next(
        (v for v in objects if isinstance(v, str | bytes) or not (hasattr(v, "__float__") or _is_missing(v))), None
    )
    if wrong is not None:
        raise ValueError(f"Column {name!r} held numbers in fit, and holds something else now: {wrong!r}.")
    numbers = [np.nan if _is_missing(value) else float(value) for value in objects]
    return np.array(numbers, dtype=np.float64).reshape(values.shape)


def _as_texts(values: np.ndarray) -> np.ndarray:
    """Strings, "" for missing; 3 and 3.0 are both "3", as where the estimator reads categories."""
    texts = ["" if _is_missing(value) else _as_text(value) for value in values.ravel().tolist()]
    return np.array(texts, dtype=object).reshape(values.shape)


def _as_text(value: Any) -> str:
    if isinstance(value, str) or not isinstance(value, NUMBER_TYPES):
        return str(value)
    number: Any = value
    return str(int(number)) if float(number).is_integer() else str(float(number))


def _is_missing(value: Any) -> bool:
    if isinstance(value, NUMBER_TYPES):
        return bool(value != value)
    return type(value).__name__ in MISSING_TYPES
