"""`to_saved_model`: translate the ONNX graph of a pipeline to a TensorFlow SavedModel, node by node."""

import json
import keyword
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sknn.export.check import find_difference, rows_to_check
from sknn.export.onnx.categories import find_categories
from sknn.export.onnx.conversion import tolerance
from sknn.export.onnx.export import to_onnx
from sknn.export.onnx.inputs import infer_inputs, make_feed
from sknn.export.onnx.steps import columns_of_fit, unwrap
from sknn.export.synthetic import synthetic_table
from sknn.export.tensorflow.operators import FUNCTIONS, TENSOR_TYPES
from sknn.onnx_predictor.predictor import METADATA_KEY

SIGNATURE = "serving_default"
METADATA_FILE = Path("assets.extra", "sknn.json")  # the format has this folder for files that TensorFlow ignores


def to_saved_model(model: Any, X_sample: Any, path: str | os.PathLike) -> dict[str, str]:
    """Export a fitted estimator, or a whole pipeline, as a TensorFlow SavedModel: raw columns in, predictions out.

    The ONNX graph of `to_onnx` is translated operator by operator. The SavedModel is loaded again and compared with the
    model before it is moved to `path`.

    Parameters
    ----------
    model : estimator
        A fitted `NeuralClassifier` or `NeuralRegressor`, or a `Pipeline` or search that holds one: as in `to_onnx`.
    X_sample : frame or array of shape (n_samples, n_features), or None
        Rows like those that the model will get. A frame gives an input per column, of shape (n, 1) and the column's
        type; an array gives a single input, ``X``. A missing string is ``""``. With None, rows are synthetic: this
        works for an estimator without a pipeline, whose inputs are then float64 for numeric columns and strings for
        categories.
    path : str or path-like
        The folder to write, which must not exist yet.

    Returns
    -------
    dict of str to str
        The name of each input in the signature, by the name of its column. They differ where the column's name is not a
        Python name, which TensorFlow needs: ``"mean radius"`` becomes ``mean_radius``.

    Raises
    ------
    ImportError
        If packages of the extras `tensorflow` and `onnx` are missing.
    FileExistsError
        If `path` exists.
    NotFittedError, ValueError
        As in `to_onnx`; also if the graph needs an operator that is not translated, or if the SavedModel's predictions
        differ from the model's.

    See Also
    --------
    to_onnx : The graph that is translated.

    Notes
    -----
    The signature ``serving_default`` returns ``label`` and ``probabilities`` for a classifier, ``variable`` for a
    regressor. The file ``assets.extra/sknn.json`` holds the metadata of `to_onnx` and the names of the inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn import NeuralClassifier
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> clf = NeuralClassifier(hidden_layer_sizes=4, max_iter=1, random_state=0).fit(X, X[:, 0] > 0)
    >>> to_saved_model(clf, X, "model")  # doctest: +SKIP
    {'X': 'X'}
    """
    tf = _import_tensorflow()
    if os.path.lexists(path):
        raise FileExistsError(f"path={os.fspath(path)!r} exists; remove it, or give another.")
    model = getattr(model, "best_estimator_", model)
    X = synthetic_table(model) if X_sample is None else columns_of_fit(model, X_sample)
    program = to_onnx(model, X_sample)
    _check_operators(program.graph)
    names = signature_names([value.name for value in program.graph.input])
    parent = Path(path).absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    rows, inputs = rows_to_check(X), infer_inputs(X, find_categories(unwrap(model), X.shape[1]))
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        saved = Path(folder, "model")
        _save(tf, program.graph, names, saved)
        _write_metadata(program, names, saved)
        _verify(model, rows, _predictions(tf, saved, program.graph, names, make_feed(rows, inputs)))
        saved.rename(path)
    return names


def signature_names(names: list[str]) -> dict[str, str]:
    """Map each name to a Python name that TensorFlow accepts. The new names differ from each other.

    >>> signature_names(["mean radius", "mean-radius", "class", "2nd", "age"])
    {'mean radius': 'mean_radius', 'mean-radius': 'mean_radius_2', 'class': 'class_', '2nd': 'column_2nd', 'age': 'age'}
    """
    kept = [name for name in names if _python_name(name) == name]
    new_names = dict(zip(kept, kept, strict=True))
    for name in names:
        if name not in new_names:
            stem, n = _python_name(name), 1
            while (new := stem if n == 1 else f"{stem}_{n}") in new_names.values():
                n += 1
            new_names[name] = new
    return {name: new_names[name] for name in names}


def _python_name(name: str) -> str:
    new = re.sub(r"\W", "_", name, flags=re.ASCII)
    new = new if re.match("[a-zA-Z]", new) else f"column_{new}"
    return f"{new}_" if keyword.iskeyword(new) or new == "self" else new


def _import_tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError("to_saved_model needs tensorflow; install it with: pip install 'sknn[tensorflow]'") from error
    return tensorflow


def _check_operators(graph: Any) -> None:
    unknown = sorted({node.op_type for node in graph.node} - set(FUNCTIONS))
    if unknown:
        raise ValueError(
            f"The ONNX graph of the model needs operators that are not translated to TensorFlow: {', '.join(unknown)}. "
            "Use to_onnx and ONNX Runtime, or replace the step of the pipeline that needs them."
        )


def _save(tf: Any, graph: Any, names: Mapping[str, str], path: Path) -> None:
    constants = {tensor.name: _constant(tf, tensor) for tensor in graph.initializer}
    specs = [_spec(tf, value, names[value.name]) for value in graph.input]

    def predict(*tensors: Any) -> dict[str, Any]:
        values = constants | dict(zip(names, tensors, strict=True))
        for node in graph.node:
            _run(tf, node, values)
        return {value.name: tf.identity(values[value.name], value.name) for value in graph.output}

    module = tf.Module()
    module.predict = tf.function(predict, input_signature=specs, autograph=False)
    tf.saved_model.save(module, str(path), signatures={SIGNATURE: module.predict})


def _run(tf: Any, node: Any, values: dict[str, Any]) -> None:
    """Compute the outputs of a node, and add them to the values."""
    from onnx import helper

    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    attributes = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
    inputs = [values[name] if name else None for name in node.input]
    try:
        outputs = FUNCTIONS[node.op_type](tf, *inputs, **attributes)
    except Exception as error:  # an attribute or a type that the translation does not support
        raise ValueError(
            f"The ONNX node {node.name!r} ({node.op_type}) cannot be translated to TensorFlow: {error}"
        ) from error
    values.update(zip(node.output, outputs if isinstance(outputs, tuple) else (outputs,), strict=False))


def _constant(tf: Any, tensor: Any) -> Any:
    from onnx import numpy_helper

    return tf.constant(numpy_helper.to_array(tensor))


def _spec(tf: Any, value: Any, name: str) -> Any:
    tensor_type = value.type.tensor_type
    sizes = [size.dim_value or None for size in tensor_type.shape.dim]
    return tf.TensorSpec([None, *sizes[1:]], TENSOR_TYPES[tensor_type.elem_type], name)


def _write_metadata(program: Any, names: dict[str, str], path: Path) -> None:
    metadata = json.loads(next(entry.value for entry in program.metadata_props if entry.key == METADATA_KEY))
    (path / METADATA_FILE).parent.mkdir()
    (path / METADATA_FILE).write_text(json.dumps(metadata | {"signature_names": names}))


def _predictions(
    tf: Any, path: Path, graph: Any, names: Mapping[str, str], rows: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Return the SavedModel's outputs for rows, in the order of the graph's outputs."""
    loaded = tf.saved_model.load(str(path))  # keep a reference: the signature needs it
    results = loaded.signatures[SIGNATURE](**{names[name]: tf.constant(values) for name, values in rows.items()})
    outputs = [results[value.name].numpy() for value in graph.output]
    return [np.array([text.decode() for text in a]) if a.dtype == object else a for a in outputs]


def _verify(model: Any, X: Any, outputs: list[np.ndarray]) -> None:
    difference = find_difference(model, X, outputs, tolerance(model))
    if difference is not None:
        raise ValueError(f"The SavedModel does not do what the model does: {difference}")
