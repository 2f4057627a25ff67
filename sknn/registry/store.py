"""The connection to MLflow's registry, and its errors in plain words."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow has the second for an unknown alias


def open_client(caller: str, tracking_uri: str | None, create: bool = False) -> Any:
    """Return a client of the registry at this URI, by default MLflow's current one.

    MLflow creates a SQLite file that does not exist. Only `register` may do so, because a misspelt path would
    otherwise look like an empty registry.
    """
    try:
        import mlflow
    except ImportError as error:
        raise ImportError(f"{caller} needs MLflow; install it with: pip install 'sknn[mlflow]'") from error
    uri = tracking_uri or mlflow.get_registry_uri()
    if not create and uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise ValueError(
            f"The registry {uri!r} does not exist; give the right tracking URI, or set MLFLOW_TRACKING_URI."
        )
    with registry_errors(f"The registry {uri!r} can't be opened"):
        return mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@contextlib.contextmanager
def registry_errors(problem: str) -> Iterator[None]:
    """Raise ValueError for a name that does not exist, ConnectionError for a store that does not answer."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        kind = ValueError if error.error_code in NOT_FOUND else ConnectionError
        raise kind(f"{problem}: {error.message}") from error
    except SQLAlchemyError as error:
        raise ConnectionError(f"{problem}: {error}") from error
