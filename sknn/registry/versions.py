"""Find a version of a registered model by its number or an alias."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sknn.registry.store import open_client, registry_errors

MODEL_DIGEST, DATA_DIGEST, TRAINING_DIGEST = "sknn.model_digest", "sknn.data_digest", "sknn.training_digest"
MODEL_URI = re.compile(r"models:/(?P<name>[^/@:]+)(?:@(?P<alias>[^/@:]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model.

    Parameters
    ----------
    name : str
        The registered model's name.
    version : int
        Its number; a registered version never changes its files.
    alias : str or None
        The alias by which it was found.
    digest : str or None
        The digest of its model file; None if sknn has not registered it.
    data_digest, training_digest : str or None
        The digests of the held-out rows, and of the training rows.
    uri : str
        ``"models:/name/version"``, which names this version for ever, while an alias moves.
    tags : mapping of str to str
        All tags of the version.
    tracking_uri : str or None
        The registry in which it was found; None for MLflow's current one.
    """

    name: str
    version: int
    alias: str | None
    digest: str | None
    data_digest: str | None
    training_digest: str | None
    uri: str
    tags: Mapping[str, str] = field(repr=False, hash=False)
    tracking_uri: str | None = None


def find_version(uri: str, *, tracking_uri: str | None = None) -> ModelVersion:
    """Return a version of a registered model.

    Parameters
    ----------
    uri : str
        ``"models:/name@alias"`` or ``"models:/name/3"``.
    tracking_uri : str, optional
        The registry, for example ``"sqlite:///mlflow.db"`` or ``"http://mlflow:5000"``; by default MLflow's current one
        (`mlflow.set_tracking_uri`, or the environment variable MLFLOW_TRACKING_URI).

    Returns
    -------
    ModelVersion

    Raises
    ------
    ImportError
        If MLflow is not installed.
    ValueError
        If `uri` has another form; if the registry has no such file, model, alias or version.
    ConnectionError
        If the registry does not answer. MLflow tries several times first, for minutes with a server; the environment
        variables MLFLOW_HTTP_REQUEST_MAX_RETRIES and MLFLOW_HTTP_REQUEST_TIMEOUT shorten it.

    Notes
    -----
    A call is one query of the registry, a few milliseconds with SQLite. A service calls it every few seconds to follow
    an alias, and downloads the model only if the version has changed.
    """
    parts = _parse_uri(uri)
    client = open_client("find_version", tracking_uri)
    name, alias = parts["name"], parts["alias"]
    try:
        with registry_errors(f"{uri!r} can't be read"):
            if alias is None:
                found = client.get_model_version(name, parts["version"])
            else:
                found = client.get_model_version_by_alias(name, alias)
    except ValueError as error:
        raise ValueError(f"{uri!r} does not exist: {_describe_model(client, name)}") from error
    return make_version(found, alias, tracking_uri)


def make_version(found: Any, alias: str | None, tracking_uri: str | None) -> ModelVersion:
    """Return the description of MLflow's own ModelVersion."""
    tags, number = dict(found.tags), int(found.version)
    return ModelVersion(
        name=found.name,
        version=number,
        alias=alias,
        digest=tags.get(MODEL_DIGEST),
        data_digest=tags.get(DATA_DIGEST),
        training_digest=tags.get(TRAINING_DIGEST),
        uri=f"models:/{found.name}/{number}",
        tags=MappingProxyType(tags),
        tracking_uri=tracking_uri,
    )


def _describe_model(client: Any, name: str) -> str:
    """Return what the registry has under this name, for an error."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = sorted(client.get_registered_model(name).aliases)
    except MlflowException:
        return f"the registry has no model {name!r}; register it with sknn.registry.register."
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name='{name}'"))
    return f"the model {name!r} has the versions {versions} and the aliases {aliases}; give one of them."


def _parse_uri(uri: str) -> dict[str, Any]:
    match = MODEL_URI.fullmatch(uri)
    if match is None:
        raise ValueError(
            f"uri={uri!r} is not the URI of a registered model; give models:/NAME@ALIAS or models:/NAME/3."
        )
    return match.groupdict()
