"""Promote a version to champion, only if it is better on the held-out rows."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sknn.registry.champion import champion_of, move_champion, now
from sknn.registry.decision import Decision
from sknn.registry.digests import shorten
from sknn.registry.download import download
from sknn.registry.losses import METRICS, choose_metric, losses_of
from sknn.registry.store import open_client, registry_errors
from sknn.registry.versions import ModelVersion, find_version

MIN_ROWS = 20  # below, the bootstrap promotes equal models more often than asked for


def promote(
    name: str,
    X: Any,
    y: Any,
    *,
    challenger: int,
    data_digest: str,
    metric: str | None = None,
    alpha: float = 0.05,
    dry_run: bool = False,
    tracking_uri: str | None = None,
) -> Decision:
    """Make a version the champion, if it is better than the champion on the same held-out rows.

    Parameters
    ----------
    name : str
        The registered model's name.
    X, y : table, array-like
        The held-out rows and their target.
    challenger : int
        The version to promote.
    data_digest : str
        The digest of the file that X and y were read from (`file_digest`). It has to be the one that the challenger was
        registered with.
    metric : {"log_loss", "accuracy", "squared_error", "absolute_error"}, optional
        By default ``"log_loss"`` for a classifier, ``"squared_error"`` for a regressor.
    alpha : float, default=0.05
        The share of challengers that are no better, and are promoted nevertheless.
    dry_run : bool, default=False
        Whether to leave the registry as it is.
    tracking_uri : str, optional
        The registry; by default MLflow's current one.

    Returns
    -------
    Decision

    Raises
    ------
    ImportError
        If MLflow is not installed.
    ValueError
        If there is no such version; if it is the champion already; if the digest is unknown or another; if the metric
        does not suit the models; if there are too few rows, or rows without a target.
    ConnectionError
        If the registry does not answer.
    RuntimeError
        If the champion has changed since the comparison began, or another process moves it at the same time.

    Notes
    -----
    The difference of the mean losses is tested by a paired bootstrap over the rows, that of the accuracies by McNemar's
    exact test. Without a champion, the challenger has to beat the constant prediction that is best for these rows.

    The version gets a tag with the record of the decision. The former champion has the alias ``previous``.
    """
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha={alpha} has to be between 0 and 0.5; 0.05 is usual.")
    client = open_client("promote", tracking_uri)
    version = find_version(f"models:/{name}/{challenger}", tracking_uri=tracking_uri)
    _check_digest(version, data_digest)
    target = _check_target(y)
    with registry_errors(f"{name!r} can't be promoted"):
        champion = champion_of(client, name)
        if champion == challenger:
            raise ValueError(f"{version.uri} is the champion already; give another version as challenger.")
        rival = None if champion is None else find_version(f"models:/{name}/{champion}", tracking_uri=tracking_uri)
        decision = _compare(version, rival, X, target, metric, alpha, dry_run)
        if not dry_run:
            if decision.promoted:
                move_champion(client, name, expected=champion, version=challenger)
            client.set_model_version_tag(name, str(challenger), f"sknn.decision.{now()}", decision.to_json())
    return decision


def _check_digest(version: ModelVersion, data_digest: str) -> None:
    if version.data_digest is None:
        raise ValueError(
            f"{version.uri} has no digest of held-out rows, so it may have been trained on these (digest "
            f"{shorten(data_digest)}); register it with sknn.registry.register."
        )
    if version.data_digest != data_digest:
        raise ValueError(
            f"The rows have the digest {shorten(data_digest)}, and {version.uri} was registered with "
            f"{shorten(version.data_digest)}; give the file that was held out from its training."
        )


def _check_target(y: Any) -> np.ndarray:
    target = np.asarray(y)
    if target.ndim != 1 or len(target) < MIN_ROWS:
        raise ValueError(f"y has shape {target.shape}; a comparison needs one target and at least {MIN_ROWS} rows.")
    is_missing = np.array([value is None or value != value for value in target.tolist()])
    if is_missing.any():
        raise ValueError(f"The target of row {int(is_missing.argmax())} is missing; leave such rows out.")
    return target


def _compare(
    challenger: ModelVersion,
    champion: ModelVersion | None,
    X: Any,
    y: np.ndarray,
    metric: str | None,
    alpha: float,
    dry_run: bool,
) -> Decision:
    model = _load(challenger)
    metric = choose_metric(metric, model)
    kind = METRICS[metric]
    losses = losses_of(metric, model, challenger.uri, X, y)
    other = kind.constant(y) if champion is None else losses_of(metric, _load(champion), champion.uri, X, y)
    comparison = kind.compare(losses, other, alpha=alpha)
    return Decision(
        name=challenger.name,
        challenger=challenger.version,
        champion=None if champion is None else champion.version,
        promoted=comparison.p_value <= alpha,
        dry_run=dry_run,
        metric=metric,
        challenger_value=kind.value(losses),
        champion_value=kind.value(other),
        comparison=comparison,
        alpha=alpha,
        n_rows=len(y),
        data_digest=challenger.data_digest or "",
        same_data=champion is None or champion.data_digest == challenger.data_digest,
    )


def _load(version: ModelVersion) -> Any:
    """Return the model of a version: its graph, or its estimator if there is no graph."""
    with tempfile.TemporaryDirectory() as folder:
        path = download(version, folder)
        return LOADERS[path.suffix](path)


def _load_graph(path: Path) -> Any:
    from sknn.onnx_predictor import OnnxPredictor

    return OnnxPredictor(path)


def _load_estimator(path: Path) -> Any:
    from sknn.persistence import load

    return load(path, device="cpu")


LOADERS = {".onnx": _load_graph, ".sknn": _load_estimator}
