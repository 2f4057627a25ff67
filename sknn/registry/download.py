"""Download the model file of a registered version."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sknn.registry.digests import file_digest, shorten
from sknn.registry.store import open_client, registry_errors
from sknn.registry.versions import ModelVersion

SUFFIXES = (".onnx", ".sknn")  # the first is preferred: it needs neither torch nor scikit-learn
PROGRESS_BAR = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"


def download(version: ModelVersion, folder: str | os.PathLike) -> Path:
    """Download the files of a version, and return the path of its model file.

    Parameters
    ----------
    version : ModelVersion
        What `find_version` or `register` has returned.
    folder : str or path-like
        A folder for the files; created if it does not exist. Use one folder for each version.

    Returns
    -------
    Path
        The ``.onnx`` file, or the ``.sknn`` file if there is no ONNX graph.

    Raises
    ------
    ImportError
        If MLflow is not installed.
    ValueError
        If the version holds neither; if its files are lost; if the digest of the graph is not the registered one.
    ConnectionError
        If the registry, or the place of its files, does not answer.
    """
    client = open_client("download", version.tracking_uri)
    from mlflow.artifacts import download_artifacts

    Path(folder).mkdir(parents=True, exist_ok=True)
    with registry_errors(f"The files of {version.uri} can't be downloaded"), _no_progress_bar():
        try:
            # The location, because MLflow looks up a "models:/" URI in its current store, whatever the client's is.
            location = client.get_model_version_download_uri(version.name, str(version.version))
            root = Path(download_artifacts(location, dst_path=os.fspath(folder), tracking_uri=version.tracking_uri))
        except OSError as error:
            raise ConnectionError(f"The files of {version.uri} can't be downloaded: {error}") from error
    return _check_digest(_model_file(version, root), version)


def _model_file(version: ModelVersion, root: Path) -> Path:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    for suffix in SUFFIXES:
        for path in files:
            if path.suffix == suffix:
                return path
    held = ", ".join(path.relative_to(root).as_posix() for path in files) or "nothing"
    raise ValueError(
        f"{version.uri} holds no {' or '.join(SUFFIXES)} file, only {held}; register the model with "
        f"sknn.registry.register."
    )


def _check_digest(path: Path, version: ModelVersion) -> Path:
    if version.digest is not None and path.suffix == ".onnx" and file_digest(path) != version.digest:
        raise ValueError(
            f"The file {path.name} of {version.uri} has the digest {shorten(file_digest(path))}, and was registered "
            f"with {shorten(version.digest)}: someone has changed it; register the model again."
        )
    return path


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    before = os.environ.get(PROGRESS_BAR)
    os.environ[PROGRESS_BAR] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[PROGRESS_BAR]
        else:
            os.environ[PROGRESS_BAR] = before
