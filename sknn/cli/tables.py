"""Read and write tables: .csv and .parquet files."""

from pathlib import Path
from typing import Any


def read_table(path: Path) -> Any:
    """Return the table of a .csv or .parquet file as a pandas frame."""
    suffix = _suffix(path)
    return getattr(_import_pandas(), READERS[suffix])(path)


def write_table(frame: Any, path: Path) -> None:
    """Write a pandas frame without its index to a .csv or .parquet file."""
    getattr(frame, WRITERS[_suffix(path)])(path, index=False)


def _suffix(path: Path) -> str:
    if path.suffix not in READERS:
        raise ValueError(f"{path}: the name of a table has to end in {' or '.join(READERS)}")
    return path.suffix


def _import_pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("Tables need pandas; install it with: pip install 'sknn[pandas]'") from error
    return pd


READERS = {".csv": "read_csv", ".parquet": "read_parquet"}
WRITERS = {".csv": "to_csv", ".parquet": "to_parquet"}
