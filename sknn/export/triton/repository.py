"""`to_triton`: write a fitted model into a model repository of the Triton Inference Server."""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from sknn.export.onnx.export import to_onnx
from sknn.export.triton.config import describe_model, tensor_type
from sknn.export.triton.runtimes import can_be_fused, find_runtime

CONFIG, GRAPH = "config.pbtxt", "model.onnx"  # the names that Triton looks for
MAX_BATCH_SIZE = 1024  # rows: one thread computes them in milliseconds
QUEUE_DELAY = 500  # microseconds


def to_triton(
    model: Any,
    X_sample: Any,
    path: str | os.PathLike,
    *,
    name: str = "model",
    max_batch_size: int = MAX_BATCH_SIZE,
    queue_delay: int = QUEUE_DELAY,
    **parameters: Any,
) -> Path:
    """Export a fitted estimator, or a whole pipeline, into a model repository of the Triton Inference Server.

    The graph is that of `to_onnx`, which compares it with the model. Triton runs it with its own ONNX Runtime.

    Parameters
    ----------
    model : estimator
        A fitted `NeuralClassifier` or `NeuralRegressor`, or a `Pipeline` or search that holds one: as in `to_onnx`.
    X_sample : frame or array of shape (n_samples, n_features), or None
        Rows like those that the model will get: as in `to_onnx`.
    path : str or path-like
        The folder of the model repository. It is created if it does not exist.
    name : str, default="model"
        The model's name in the repository and in requests: letters, digits, ``_``, ``-`` and ``.``.
    max_batch_size : int, default=1024
        The largest number of rows in a request, and in a batch that Triton makes of several requests.
    queue_delay : int, default=500
        Microseconds that a request waits for others, so that they are computed as one batch.
    **parameters : Any
        Further parameters of `to_onnx`, such as `target_opset`.

    Returns
    -------
    Path
        The folder of the written version, ``path/name/1``. If the repository has a model of this name with the same
        inputs and outputs, the new one becomes its next version. Its ``config.pbtxt`` stays as it is.

    Raises
    ------
    ImportError
        If packages of the extra `onnx` are missing.
    FileExistsError
        If the repository has something else with this name: a file, a folder that is not a model of ONNX Runtime, or a
        model with other inputs or outputs.
    NotFittedError, ValueError
        As in `to_onnx`; also if `name`, `max_batch_size` or `queue_delay` is invalid, or if no release of Triton runs
        the graph.

    See Also
    --------
    to_onnx : The graph that is written.

    Notes
    -----
    The new folder is written beside its place and renamed, so Triton sees the whole version or none. The first line of
    ``config.pbtxt`` says which release of Triton the graph needs.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn import NeuralClassifier
    >>> from sknn.export import to_triton
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> clf = NeuralClassifier(hidden_layer_sizes=4, max_iter=1, random_state=0).fit(X, X[:, 0] > 0)
    >>> to_triton(clf, X, "repository", name="signs").as_posix()  # doctest: +SKIP
    'repository/signs/1'
    """
    _check_parameters(name, max_batch_size, queue_delay)
    folder = Path(path, name)
    _check_place(folder)
    program = to_onnx(model, X_sample, **parameters)
    runtime = find_runtime(program)
    comment = f"Written by sknn. Needs Triton {runtime.triton} (ONNX Runtime {runtime.onnxruntime}) or later."
    config = describe_model(program.graph, name, max_batch_size, queue_delay, comment, can_be_fused(program))
    data = program.SerializeToString()
    if folder.exists():
        return _add_version(folder, program.graph, data)
    return _create(folder, config, data)


def _check_parameters(name: Any, max_batch_size: Any, queue_delay: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise ValueError(
            f"name={name!r} has to consist of letters, digits, '_', '-' and '.': it names a folder, and is part of "
            "Triton's addresses."
        )
    for key, value, least in (("max_batch_size", max_batch_size, 1), ("queue_delay", queue_delay, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:  # an int32 of Triton
            raise ValueError(f"{key}={value!r} has to be an int of at least {least} and below 2**31.")


def _check_place(folder: Path) -> None:
    """Raise an error if a model can't be written to a folder."""
    repository = folder.parent
    if repository.exists() and not repository.is_dir():
        raise FileExistsError(f"path={str(repository)!r} is a file; give the folder of a model repository.")
    if not os.path.lexists(folder):
        return
    if not (folder / CONFIG).is_file() or not any((folder / str(n) / GRAPH).is_file() for n in _versions(folder)):
        raise FileExistsError(
            f"{str(folder)!r} exists, and is not a model of Triton with {CONFIG} and {GRAPH}; remove it, or give "
            "another `name`."
        )


def _versions(folder: Path) -> list[int]:
    """Return the versions of a model in ascending order. As in Triton, other folders are none."""
    return sorted(int(path.name) for path in folder.iterdir() if re.fullmatch("[1-9][0-9]*", path.name))


def _create(folder: Path, config: str, data: bytes) -> Path:
    """Write a model with its first version."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        new = Path(temporary, folder.name)
        new.mkdir()
        (new / CONFIG).write_text(config, encoding="utf-8")
        _write_version(new / "1", data)
        new.rename(folder)
    return folder / "1"


def _add_version(folder: Path, graph: Any, data: bytes) -> Path:
    """Write the next version of a model with the same inputs and outputs."""
    import onnx

    latest = max(n for n in _versions(folder) if (folder / str(n) / GRAPH).is_file())
    old = onnx.load(folder / str(latest) / GRAPH, load_external_data=False).graph
    for kind, old_values, values in (("input", old.input, graph.input), ("output", old.output, graph.output)):
        before, now = ({value.name: tensor_type(kind, value) for value in group} for group in (old_values, values))
        if before != now:
            raise FileExistsError(
                f"{str(folder)!r} is a model with other {kind}s: {_difference(before, now)}; remove it, or give "
                "another `name`."
            )
    version = folder / str(_versions(folder)[-1] + 1)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        _write_version(Path(temporary, "new"), data)
        Path(temporary, "new").rename(version)
    return version


def _write_version(folder: Path, data: bytes) -> None:
    folder.mkdir()
    (folder / GRAPH).write_bytes(data)


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the first input or output that differs, in words."""
    name = next(name for name in [*now, *before] if before.get(name) != now.get(name))
    old, new = ("none" if types is None else f"{types[0]} {types[1]}" for types in (before.get(name), now.get(name)))
    return f"{name!r} was {old} and is {new}"
