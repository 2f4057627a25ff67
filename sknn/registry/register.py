"""Register an ONNX graph as a version of a model."""

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sknn.registry.digests import file_digest
from sknn.registry.store import open_client, registry_errors
from sknn.registry.versions import DATA_DIGEST, MODEL_DIGEST, TRAINING_DIGEST, ModelVersion, make_version

REQUIREMENTS = ("onnx", "onnxruntime", "numpy")


def register(
    onnx_path: str | os.PathLike,
    name: str,
    *,
    data_digest: str,
    training_digest: str | None = None,
    sknn_path: str | os.PathLike | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    run_id: str | None = None,
    tracking_uri: str | None = None,
) -> ModelVersion:
    """Register an exported model as the next version of a registered model.

    Parameters
    ----------
    onnx_path : str or path-like
        A file that `sknn.export.to_onnx` has written.
    name : str
        The registered model's name, which is created if it does not exist.
    data_digest : str
        The digest of the held-out rows (`file_digest`). `promote` compares the version on these rows only.
    training_digest : str, optional
        The digest of the training rows.
    sknn_path : str or path-like, optional
        The file of the estimator, written by `sknn.save`, to keep beside the graph.
    metrics, tags : mapping, optional
        Further tags of the version; a metric's tag is ``sknn.metric.NAME``.
    run_id : str, optional
        The run of MLflow that has trained the model.
    tracking_uri : str, optional
        The registry; by default MLflow's current one.

    Returns
    -------
    ModelVersion

    Raises
    ------
    ImportError
        If MLflow, onnx or pandas is not installed.
    ValueError
        If the file is no ONNX graph; if the held-out rows are the training rows; if MLflow refuses the name.
    ConnectionError
        If the registry does not answer.

    Notes
    -----
    The version has MLflow's ONNX format, so `mlflow.pyfunc.load_model` and `mlflow models serve` load it too. It holds
    no pickle.
    """
    if data_digest == training_digest:
        raise ValueError(
            f"data_digest and training_digest are both {data_digest}; hold out other rows than those trained on."
        )
    client = open_client("register", tracking_uri, create=True)
    version_tags = _tags(onnx_path, data_digest, training_digest, metrics or {}, tags or {})
    with tempfile.TemporaryDirectory() as scratch, registry_errors(f"{name!r} can't be registered"):
        folder = _write_mlflow_model(onnx_path, sknn_path, Path(scratch, "model"))
        location = _log_files(client, name, folder, run_id)
        _ensure_model(client, name)
        # The location and not the model's id, which MLflow looks up in its current store, whatever the client's is.
        version = client.create_model_version(name, location, run_id, tags=version_tags, await_creation_for=None)
    return make_version(version, None, tracking_uri)


def _tags(
    onnx_path: Any, data_digest: str, training_digest: str | None, metrics: Mapping[str, float], tags: Mapping[str, str]
) -> dict[str, str]:
    digests = {MODEL_DIGEST: file_digest(onnx_path), DATA_DIGEST: data_digest}
    if training_digest is not None:
        digests[TRAINING_DIGEST] = training_digest
    values = {f"sknn.metric.{name}": repr(float(value)) for name, value in metrics.items()}
    return {**tags, **digests, **values, "sknn.version": sys.modules["sknn"].__version__}


def _write_mlflow_model(onnx_path: Any, sknn_path: Any, folder: Path) -> Path:
    """Write a folder in MLflow's ONNX format, with the graph's own bytes."""
    try:
        import mlflow.onnx  # which imports pandas
        import onnx
    except ImportError as error:
        raise ImportError(
            f"register needs {error.name}; install what it needs with: pip install 'sknn[mlflow,onnx,pandas]'"
        ) from error
    try:
        graph = onnx.load(onnx_path)
    except Exception as error:  # protobuf has its own types of errors
        raise ValueError(f"onnx_path={os.fspath(onnx_path)!r} is not an ONNX graph: {error}") from error
    requirements = [f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS]
    mlflow.onnx.save_model(graph, folder, pip_requirements=requirements, save_as_external_data=False)
    shutil.copyfile(onnx_path, folder / "model.onnx")
    if sknn_path is not None:
        shutil.copyfile(sknn_path, folder / "model.sknn")
    return folder


def _log_files(client: Any, name: str, folder: Path, run_id: str | None) -> str:
    """Store the files of a model in the run's experiment, or the default one; return their location."""
    experiment = "0" if run_id is None else client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, name, source_run_id=run_id)
    client.log_model_artifacts(model.model_id, os.fspath(folder))
    client.finalize_logged_model(model.model_id, "READY")
    return model.artifact_location


def _ensure_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
