"""`to_onnx`: a whole pipeline as one ONNX graph that has been checked against it."""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from sknn.export.check import some_rows
from sknn.export.onnx.categories import categories_of
from sknn.export.onnx.conversion import converted
from sknn.export.onnx.inputs import inputs_of
from sknn.export.onnx.metadata import KEY, describe, summary_of
from sknn.export.onnx.steps import columns_of_fit, final_of, plain
from sknn.export.synthetic import sample_of
from sknn.persistence.files import as_path, write_atomically
from sknn.preprocessing.tables import is_frame

OPSETS = range(15, 23)
DEFAULT_OPSET = 18  # the oldest that torch writes custom modules in; ONNX Runtime reads it since 1.14
PACKAGES = ("onnx", "onnxruntime", "skl2onnx")


def to_onnx(
    model: Any,
    X_sample: Any = None,
    *,
    target_opset: int = DEFAULT_OPSET,
    options: Mapping[str, Any] | None = None,
    path: str | os.PathLike | None = None,
) -> Any:
    """Write a fitted estimator, or a whole pipeline, as one ONNX graph: raw columns in, predictions out.

    The graph is run by ONNX Runtime on rows of the sample and compared with the model before it is handed out.

    Parameters
    ----------
    model : estimator
        A fitted `NeuralClassifier` or `NeuralRegressor`, a `Pipeline` that holds one, a search over either (its best
        estimator is taken), or anything else that skl2onnx converts.
    X_sample : frame or array of shape (n_samples, n_features), optional
        Rows like those that the graph will get. Its columns' names and types are those of the graph's inputs; it is
        summarised in the graph's metadata, so that the training table is the best sample; and up to 256 of its rows are
        predicted both ways. Without it rows are made up, which works for a lone estimator: numbers are float64 then,
        categories strings, and there is no summary.
    target_opset : int, default=18
        Version of ONNX's operators, 15 to 22. 18 is the oldest that torch writes custom modules in.
    options : dict, optional
        As in skl2onnx, by name: `zipmap` (False here by default), `nocl` and `output_class_labels` of the classifier,
        and those of a step as `step__option`.
    path : str or path-like, optional
        A file to write the graph to; it is replaced as a whole, or left as it was.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    ImportError
        Without the packages of the extra `onnx`.
    NotFittedError
        If the model is not fitted.
    ValueError
        For a sample that does not fit the model, or is sparse or empty; for an opset out of range; for a step that
        skl2onnx has no converter for; and if the graph does not do what the model does, naming the first step that
        differs. Numbers may differ by 1e-5 of their own size plus their column's mean size.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import NeuralClassifier
    >>> from sknn.export import to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = NeuralClassifier(hidden_layer_sizes=(8,), max_iter=2, random_state=0).fit(X, y)
    >>> [output.name for output in to_onnx(clf, X).graph.output]
    ['label', 'probabilities']
    """
    _require_packages()
    model = plain(model)
    check_is_fitted(final_of(model))
    X = sample_of(model) if X_sample is None else X_sample
    _check_request(X, target_opset, options or {})
    file = None if path is None else as_path(path)
    (model.predict if hasattr(model, "predict") else model.transform)(some_rows(X))  # its own complaints come first
    X = columns_of_fit(model, X)
    rows, inputs = some_rows(X), inputs_of(X, categories_of(model, X.shape[1]))
    program = converted(model, rows, inputs, target_opset, dict(options or {}))
    outputs = [output.name for output in program.graph.output]
    data = None if X_sample is None else summary_of(model, X, inputs)
    program.metadata_props.add(key=KEY, value=describe(model, final_of(model), X, inputs, outputs, data))
    if file is not None:
        write_atomically(file, program.SerializeToString())
    return program


def _require_packages() -> None:
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(f"to_onnx needs {', '.join(missing)}; install it with: pip install 'sknn[onnx]'")


def _check_request(X: Any, opset: int, options: Mapping[str, Any]) -> None:
    if sp.issparse(X):
        raise ValueError(
            "X_sample is sparse, and ONNX takes dense tensors; give X_sample.toarray(), or some rows of it."
        )
    if not is_frame(X) and not hasattr(X, "dtype"):
        raise ValueError(
            f"X_sample has to be a frame or an array, whose types the graph takes; got {type(X).__name__}."
        )
    if X.shape[0] < 1:
        raise ValueError("X_sample is empty; give rows of the training table.")
    if opset not in OPSETS:
        raise ValueError(f"target_opset={opset!r} has to be in {OPSETS[0]} to {OPSETS[-1]}.")
    if not all(isinstance(name, str) for name in options):
        raise ValueError(f"options={options!r} go by name here: {{'nocl': True}}, or {{'step__option': value}}.")
