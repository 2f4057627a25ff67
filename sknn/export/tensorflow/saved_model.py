"""A whole pipeline as a TensorFlow SavedModel: its ONNX graph, node by node in functions of TensorFlow."""

import json
import keyword
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sknn.export.check import LOW_PRECISION, TOLERANCE, differences, some_rows
from sknn.export.onnx.categories import categories_of
from sknn.export.onnx.export import to_onnx
from sknn.export.onnx.inputs import feeds, inputs_of
from sknn.export.onnx.metadata import KEY
from sknn.export.onnx.steps import columns_of_fit, plain, steps_of
from sknn.export.synthetic import sample_of
from sknn.export.tensorflow.operators import FUNCTIONS, TENSOR_TYPES

SIGNATURE = "serving_default"
EXTRA = Path("assets.extra", "sknn.json")  # where the format keeps what TensorFlow itself does not read


def to_saved_model(model: Any, X_sample: Any, path: str | os.PathLike) -> dict[str, str]:
    """Write a fitted estimator, or a whole pipeline, as a TensorFlow SavedModel: raw columns in, predictions out.

    The ONNX graph that `to_onnx` makes is translated operator by operator.  The result is loaded again and compared
    with the model before it gets its place.

    Parameters
    ----------
    model : estimator
        A fitted `NeuralClassifier` or `NeuralRegressor`, or a `Pipeline` or search that holds one: as in `to_onnx`.
    X_sample : frame or array of shape (n_samples, n_features), or None
        Rows like those that the model will get.  A frame gives an input per column, of shape (n, 1) and the column's
        type; an array gives a single input, ``X``.  A missing string is ``""``.  With None they are made up, which
        works for a lone estimator: numbers are float64 then, and categories strings.
    path : str or path-like
        A folder that does not exist yet.

    Returns
    -------
    dict of str to str
        The name of each input in the signature, by the name of its column.  They differ where a column's name is no
        Python name, which TensorFlow asks for: ``"mean radius"`` is ``mean_radius`` there.

    Raises
    ------
    ImportError
        Without the packages of the extras `tensorflow` and `onnx`.
    FileExistsError
        If there is something at `path`.
    NotFittedError, ValueError
        As `to_onnx`; and if the graph needs an operator that is not translated, or if the SavedModel does not do what
        the model does.

    See Also
    --------
    to_onnx : The graph that is translated.

    Notes
    -----
    The signature ``serving_default`` returns ``label`` and ``probabilities`` of a classifier, ``variable`` of a
    regressor.  What `to_onnx` tells about the model, and the names of the inputs, stand in ``assets.extra/sknn.json``.

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
    X = sample_of(model) if X_sample is None else columns_of_fit(model, X_sample)
    program = to_onnx(model, X_sample)
    _refuse_unknown_operators(program.graph)
    names = signature_names([value.name for value in program.graph.input])
    parent = Path(path).absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    rows, inputs = some_rows(X), inputs_of(X, categories_of(plain(model), X.shape[1]))
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        saved = Path(folder, "model")
        _save(tf, program.graph, names, saved)
        _describe(program, names, saved)
        _verify(model, rows, _predictions(tf, saved, program.graph, names, feeds(rows, inputs)))
        saved.rename(path)
    return names


def signature_names(names: list[str]) -> dict[str, str]:
    """A Python name for each, all different, in letters that TensorFlow takes.

    >>> signature_names(["mean radius", "mean-radius", "class", "2nd", "age"])
    {'mean radius': 'mean_radius', 'mean-radius': 'mean_radius_2', 'class': 'class_', '2nd': 'column_2nd', 'age': 'age'}
    """
    kept = [name for name in names if _python_name(name) == name]
    given = dict(zip(kept, kept, strict=True))
    for name in names:
        if name not in given:
            plain, n = _python_name(name), 1
            while (new := plain if n == 1 else f"{plain}_{n}") in given.values():
                n += 1
            given[name] = new
    return {name: given[name] for name in names}


def _python_name(name: str) -> str:
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    plain = plain if re.match("[a-zA-Z]", plain) else f"column_{plain}"
    return f"{plain}_" if keyword.iskeyword(plain) or plain == "self" else plain


def _import_tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError("to_saved_model needs tensorflow; install it with: pip install 'sknn[tensorflow]'") from error
    return tensorflow


def _refuse_unknown_operators(graph: Any) -> None:
    unknown = sorted({node.op_type for node in graph.node} - set(FUNCTIONS))
    if unknown:
        raise ValueError(
            f"The ONNX graph of the model needs operators that are not translated to TensorFlow: {', '.join(unknown)}. "
            "Use to_onnx and ONNX Runtime, or replace the step of the pipeline that they come from."
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
    """Add a node's outputs to the values."""
    from onnx import helper

    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    attributes = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
    inputs = [values[name] if name else None for name in node.input]
    try:
        outputs = FUNCTIONS[node.op_type](tf, *inputs, **attributes)
    except Exception as error:  # an attribute or a type that the translation does not know
        raise ValueError(
            f"The ONNX node {node.name!r} ({node.op_type}) cannot be translated to TensorFlow: {error}"
        ) from error
    values.update(zip(node.output, outputs if isinstance(outputs, tuple) else (outputs,), strict=False))


def _constant(tf: Any, tensor: Any) -> Any:
    from onnx import numpy_helper

    return tf.constant(numpy_helper.to_array(tensor))


def _spec(tf: Any, value: Any, name: str) -> Any:
    kind = value.type.tensor_type
    sizes = [size.dim_value or None for size in kind.shape.dim]
    return tf.TensorSpec([None, *sizes[1:]], TENSOR_TYPES[kind.elem_type], name)


def _describe(program: Any, names: dict[str, str], path: Path) -> None:
    metadata = json.loads(next(entry.value for entry in program.metadata_props if entry.key == KEY))
    (path / EXTRA).parent.mkdir()
    (path / EXTRA).write_text(json.dumps(metadata | {"signature_names": names}))


def _predictions(
    tf: Any, path: Path, graph: Any, names: Mapping[str, str], rows: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """What the SavedModel gives for rows, in the order of the graph's outputs."""
    loaded = tf.saved_model.load(str(path))  # has to live as long as its signature is called
    results = loaded.signatures[SIGNATURE](**{names[name]: tf.constant(values) for name, values in rows.items()})
    outputs = [results[value.name].numpy() for value in graph.output]
    return [_decoded(values) if values.dtype == object else values for values in outputs]


def _decoded(texts: np.ndarray) -> np.ndarray:
    return np.array([text.decode() for text in texts])


def _verify(model: Any, X: Any, outputs: list[np.ndarray]) -> None:
    is_low = any(getattr(step, "precision", "") == "bfloat16" for _, step in steps_of(model))
    found = differences(model, X, outputs, LOW_PRECISION if is_low else TOLERANCE)
    if found is not None:
        raise ValueError(f"The SavedModel does not do what the model does: {found}")
