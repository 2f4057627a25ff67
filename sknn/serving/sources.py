"""Where a served model comes from: an ONNX file, a saved estimator, or a version in an MLflow registry."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

REGISTRY = "models:/"


@dataclass(frozen=True)
class ModelFile:
    """The content of a model.

    Attributes
    ----------
    graph : bytes
        The ONNX graph.
    name : str
        The registered model's name, or the file's stem.
    version : str
        The version in the registry; for a file, the first 12 digits of the digest.
    digest : str
        The SHA-256 digest of the graph, in hexadecimal digits.
    """

    graph: bytes
    name: str
    version: str
    digest: str


def read_model(source: str) -> ModelFile:
    """Return the model of ``models:/NAME@ALIAS``, an .onnx file or a .sknn file.

    Raises
    ------
    ValueError
        If `source` is none of these; if the file is damaged; if the registry has no such version.
    OSError
        If the file can't be read, or the registry does not answer.
    ImportError
        If a registry needs MLflow, or a .sknn file needs ONNX, and it is not installed.
    """
    if source.startswith(REGISTRY):
        return _read_version(source)
    path = Path(source)
    if path.suffix not in (".onnx", ".sknn"):
        raise ValueError(f"MODEL {source!r} is no .onnx file, no .sknn file, and no models:/NAME@ALIAS of a registry")
    return _describe(_read_graph(path), path.stem)


def find_version_number(source: str) -> str | None:
    """Return the version to which an alias points now; None if `source` is a file."""
    if not source.startswith(REGISTRY):
        return None
    from sknn.registry import find_version

    return str(find_version(source).version)


def _read_version(uri: str) -> ModelFile:
    from sknn.registry import download, find_version

    version = find_version(uri)
    with tempfile.TemporaryDirectory(prefix="sknn-serve-") as folder:
        graph = _read_graph(download(version, folder))
    return _describe(graph, version.name, str(version.version))


def _read_graph(path: Path) -> bytes:
    return path.read_bytes() if path.suffix == ".onnx" else _export(path)


def _export(path: Path) -> bytes:
    """Return the graph of a saved estimator, with its members as an output."""
    import sknn
    from sknn.export import to_onnx

    return to_onnx(sknn.load(path, device="cpu"), members=True).SerializeToString()


def _describe(graph: bytes, name: str, version: str | None = None) -> ModelFile:
    digest = hashlib.sha256(graph).hexdigest()
    return ModelFile(graph, name, version or digest[:12], digest)
