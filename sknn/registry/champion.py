"""The alias `champion`: which version it names, moving it safely, and moving it back."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sknn.registry.store import open_client, registry_errors
from sknn.registry.versions import ModelVersion, find_version

CHAMPION, PREVIOUS = "champion", "previous"
FORMER = "sknn.former_champions"  # a tag of the registered model: a JSON list of versions, the latest last
CLAIM, CLAIM_SECONDS = "sknn.claim.", 60.0  # moving an alias takes milliseconds
MAX_FORMER = 100  # a tag of MLflow has limited length


def champion_of(client: Any, name: str) -> int | None:
    """Return the champion's version, or None."""
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else int(version)


def move_champion(client: Any, name: str, *, expected: int | None, version: int) -> None:
    """Make a version the champion, if the champion is still the expected one."""
    with _claim(client, name):
        _check_champion(client, name, expected)
        former = [old for old in former_champions(client, name) if old != expected]
        _write_former(client, name, former if expected is None else [*former, expected])
        client.set_registered_model_alias(name, CHAMPION, str(version))


def rollback(name: str, *, tracking_uri: str | None = None) -> ModelVersion:
    """Make the former champion the champion again.

    Parameters
    ----------
    name : str
        The registered model's name.
    tracking_uri : str, optional
        The registry; by default MLflow's current one.

    Returns
    -------
    ModelVersion
        The champion now.

    Raises
    ------
    ImportError
        If MLflow is not installed.
    ValueError
        If there is no such model, no champion, or no former champion.
    ConnectionError
        If the registry does not answer.
    RuntimeError
        If another process moves the champion at the same time.

    Notes
    -----
    Several calls in a row go back one champion each. A version that was rolled back is not a former champion. Deleted
    versions are passed over.
    """
    client = open_client("rollback", tracking_uri)
    with registry_errors(f"{name!r} can't be rolled back"), _claim(client, name):
        champion = champion_of(client, name)
        known = {int(version.version) for version in client.search_model_versions(f"name='{name}'")}
        former = [old for old in former_champions(client, name) if old in known and old != champion]
        if champion is None or not former:
            raise ValueError(f"{name!r} has no former champion to go back to; its champion is {_describe(champion)}.")
        client.set_registered_model_alias(name, CHAMPION, str(former[-1]))
        _write_former(client, name, former[:-1])
        client.set_model_version_tag(name, str(champion), f"sknn.rollback.{now()}", f"to version {former[-1]}")
    return find_version(f"models:/{name}@{CHAMPION}", tracking_uri=tracking_uri)


def former_champions(client: Any, name: str) -> list[int]:
    """Return the versions that were champions before, the latest last."""
    return json.loads(client.get_registered_model(name).tags.get(FORMER, "[]"))


def now() -> str:
    """Return the time as text, for the names of tags."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_former(client: Any, name: str, former: list[int]) -> None:
    """Remember the former champions; the alias `previous` shows the latest to people."""
    client.set_registered_model_tag(name, FORMER, json.dumps(former[-MAX_FORMER:]))
    if former:
        client.set_registered_model_alias(name, PREVIOUS, str(former[-1]))
    elif PREVIOUS in client.get_registered_model(name).aliases:
        client.delete_registered_model_alias(name, PREVIOUS)


def _check_champion(client: Any, name: str, expected: int | None) -> None:
    champion = champion_of(client, name)
    if champion != expected:
        raise RuntimeError(
            f"The champion of {name!r} is {_describe(champion)} now, and was {_describe(expected)} when the comparison "
            "began; compare again."
        )


@contextlib.contextmanager
def _claim(client: Any, name: str) -> Iterator[None]:
    """Hold the right to move the champion, or raise RuntimeError.

    MLflow has no locks. Everyone first writes a claim of their own and then reads those of the others, so of two at
    least one sees the other and gives up. The claim of a process that was killed expires.
    """
    key = CLAIM + uuid.uuid4().hex
    client.set_registered_model_tag(name, key, repr(time.time()))
    try:
        tags = client.get_registered_model(name).tags
        others = [tags[other] for other in tags if other.startswith(CLAIM) and other != key]
        if any(time.time() - float(since) < CLAIM_SECONDS for since in others):
            raise RuntimeError(f"Another process moves the champion of {name!r}; try again in a minute.")
        yield
    finally:
        client.delete_registered_model_tag(name, key)


def _describe(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
