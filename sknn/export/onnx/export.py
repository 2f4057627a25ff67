"""`to_onnx`: export an estimator or a pipeline as one ONNX graph, which is checked against it."""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from sknn.estimators.base import BaseNeural
from sknn.estimators.pipelines import final_estimator
from sknn.export.check import rows_to_check
from sknn.export.onnx.card import describe_training
from sknn.export.onnx.categories import find_categories
from sknn.export.onnx.conversion import convert_model
from sknn.export.onnx.example import describe_example
from sknn.export.onnx.inputs import infer_inputs
from sknn.export.onnx.metadata import describe_model, describe_sample
from sknn.export.onnx.steps import columns_of_fit, unwrap
from sknn.export.synthetic import synthetic_table
from sknn.export.weights import differing_weights
from sknn.monitoring.reference import member_spread
from sknn.onnx_predictor.predictor import METADATA_KEY, OnnxPredictor
from sknn.preprocessing.tables import is_frame
from sknn.utils.files import as_path, write_atomically

OPSETS = range(15, 23)
DEFAULT_OPSET = 18  # the oldest in which torch writes custom modules; ONNX Runtime reads it since 1.14
PACKAGES = ("onnx", "onnxruntime", "skl2onnx")


def to_onnx(
    model: Any,
    X_sample: Any = None,
    *,
    target_opset: int = DEFAULT_OPSET,
    options: Mapping[str, Any] | None = None,
    path: str | os.PathLike | None = None,
    members: bool = False,
) -> Any:
    """Export a fitted estimator, or a whole pipeline, as one ONNX graph: raw columns in, predictions out.

    Before the graph is returned, ONNX Runtime predicts rows of the sample, and the result is compared with the model's.

    Parameters
    ----------
    model : estimator
        A fitted `NeuralClassifier` or `NeuralRegressor`, a `Pipeline` that holds one, a search over either (its best
        estimator is taken), or anything else that skl2onnx converts.
    X_sample : frame or array of shape (n_samples, n_features), optional
        Rows like those that the graph will get. The names and types of its columns become those of the graph's inputs,
        the graph's metadata summarise it, and up to 256 of its rows are used for the comparison. So the training table
        is the best sample. Without a sample, rows are synthetic: this works for an estimator without a pipeline, its
        inputs are float64 for numeric columns and strings for categories, and there is no summary.
    target_opset : int, default=18
        Version of ONNX's operators, 15 to 22. 18 is the oldest in which torch writes custom modules.
    options : dict, optional
        Options of skl2onnx by name: `zipmap` (False by default), `nocl` and `output_class_labels` for the classifier,
        and `step__option` for a step.
    path : str or path-like, optional
        A file to write the graph to. If the export fails, an existing file stays as it was.
    members : bool, default=False
        Whether the graph has another output with each member's prediction, of shape (n, members, K):
        `member_probabilities` for a classifier with K classes or labels, `member_values` for a regressor with K outputs
        or quantiles. Their mean, weighted by the estimator's `member_weights_`, is the prediction. The last step has to
        be one of sknn's estimators.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    ImportError
        If packages of the extra `onnx` are missing.
    NotFittedError
        If the model is not fitted.
    ValueError
        If the sample does not fit the model, is sparse or empty; if the opset is out of range; if `members` is given
        for a model without members; if skl2onnx has no converter for a step; or if the graph's predictions differ from
        the model's. The message names the first step that differs. Values may differ by 1e-5 times the sum of their
        size and the mean size of their column.

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
    model = unwrap(model)
    final = final_estimator(model)
    check_is_fitted(final)
    _check_members(final, members)
    X = synthetic_table(model) if X_sample is None else X_sample
    _check_request(X, target_opset, options or {})
    file = None if path is None else as_path(path)
    (model.predict if hasattr(model, "predict") else model.transform)(rows_to_check(X))  # raises the model's errors
    X = columns_of_fit(model, X)
    rows, inputs = rows_to_check(X), infer_inputs(X, find_categories(model, X.shape[1]))
    program = convert_model(model, rows, inputs, target_opset, dict(options or {}), members)
    outputs = [output.name for output in program.graph.output]
    spread = _spread(program, X, differing_weights(final)) if members and X_sample is not None else None
    data = None if X_sample is None else describe_sample(model, X, inputs, spread)
    others = describe_example(model, program, rows, inputs, data)
    others["card"] = describe_training(model, final, None if data is None else data["n_rows"])
    description = describe_model(model, final, X, inputs, outputs, data, others)
    program.metadata_props.add(key=METADATA_KEY, value=description)
    if file is not None:
        write_atomically(file, program.SerializeToString())
    return program


def _require_packages() -> None:
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(f"to_onnx needs {', '.join(missing)}; install it with: pip install 'sknn[onnx]'")


def _spread(program: Any, X: Any, weights: np.ndarray | None) -> np.ndarray | None:
    """Return how far the members disagree about each row, as the graph has it; None if it fails on the rows."""
    try:
        members = OnnxPredictor(program.SerializeToString()).run(X).members
    except ValueError:
        return None
    return None if members is None else member_spread(members, weights)


def _check_members(final: Any, members: bool) -> None:
    if members and not isinstance(final, BaseNeural):
        raise ValueError(
            f"members=True, and the last step is a {type(final).__name__}, which has no members of sknn; only a "
            "NeuralClassifier or NeuralRegressor has them, alone or as the last step of a pipeline."
        )


def _check_request(X: Any, opset: int, options: Mapping[str, Any]) -> None:
    if sp.issparse(X):
        raise ValueError(
            "X_sample is sparse, and ONNX takes dense tensors; give X_sample.toarray(), or some rows of it."
        )
    if not is_frame(X) and not hasattr(X, "dtype"):
        raise ValueError(
            f"X_sample has to be a frame or an array, so that its columns have types; got {type(X).__name__}."
        )
    if X.shape[0] < 1:
        raise ValueError("X_sample is empty; give rows of the training table.")
    if opset not in OPSETS:
        raise ValueError(f"target_opset={opset!r} has to be in {OPSETS[0]} to {OPSETS[-1]}.")
    if not all(isinstance(name, str) for name in options):
        raise ValueError(f"options={options!r} go by name here: {{'nocl': True}}, or {{'step__option': value}}.")
