"""Read and write tables: .csv and .parquet files.

A CSV file does not say what its columns hold, so pandas guesses: numbers, True and False, or text. Two rules make a
guess safe: a column in which a number starts with a 0 (007) is text, and for a model's columns the model says what they
hold. Otherwise a code would lose its zeros, or be a number in one file and a category in another.
"""

import contextlib
import mmap
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sknn.utils.text import did_you_mean

OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
PADDED_NUMBER = r"[+-]?0\d"  # the start of 007
PADDED_CELL = re.compile(rb'[,"\r\n]' + PADDED_NUMBER.encode())
NUMBER, CATEGORY = "number", "category"
N_SHOWN = 20  # columns in an error


def read_table(path: Path, kinds: Mapping[str, str] | None = None) -> Any:
    """Return the table of a .csv or .parquet file as a pandas frame.

    Parameters
    ----------
    path : Path
    kinds : mapping of str to {'number', 'category'}, optional
        What columns have to hold, by their names: a category is read as text, as it is written. Other columns are
        guessed.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ImportError
        If pandas or pyarrow is not installed.
    OSError
        If the file can't be read.
    ValueError
        If the file is not such a table, has no rows, or holds something else than a number in a column of numbers.
    """
    read, kinds = READERS[check_suffix(path)], kinds or {}
    pandas = _import_pandas()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a file in it")
    frame = read(pandas, path, kinds)
    _check_names(path, list(frame.columns))
    if not len(frame):
        raise ValueError(f"{path} has the names of columns and no rows")
    for name in frame.columns:
        if kinds.get(name) == NUMBER:
            frame[name] = _as_numbers(frame[name], path)
    return frame


def write_table(frame: Any, path: Path) -> None:
    """Write a pandas frame without its index to a .csv or .parquet file, as a whole or not at all."""
    from sknn.utils.files import write_atomically

    write_atomically(path, WRITERS[check_suffix(path)](frame))


def check_suffix(path: Path) -> str:
    """Return the suffix of a table's path, or raise an error if it is another one than those of tables."""
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"{path}: the name of a table has to end in {' or '.join(READERS)}")
    return suffix


def require_column(path: Path, names: list[str], name: str) -> None:
    """Raise an error if a table has no column of this name."""
    if name not in names:
        shown = ", ".join(names[:N_SHOWN]) + f" and {len(names) - N_SHOWN} more" * (len(names) > N_SHOWN)
        raise ValueError(f"{path} has no column {name!r}.{did_you_mean(name, names)} It has {shown}")


def _import_pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("Tables need pandas; install it with: pip install 'sknn[cli]'") from error
    return pd


# --- CSV ----------------------------------------------------------------------------------------------------------


def _read_csv(pandas: Any, path: Path, kinds: Mapping[str, str]) -> Any:
    with _explained(pandas, path):
        names = pandas.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
        _check_header(path, names)
        texts: dict[str, Any] = {name: str for name, kind in kinds.items() if kind == CATEGORY}
        frame = pandas.read_csv(path, dtype=texts, index_col=False, low_memory=False)
        guessed = [name for name in frame.select_dtypes("number").columns if name not in kinds]
        if guessed and _has_padded_number(path):
            cells = pandas.read_csv(path, usecols=guessed, dtype=str, index_col=False)
            padded = [name for name in guessed if cells[name].str.match(PADDED_NUMBER).any()]
            frame[padded] = cells[padded]
    return frame


@contextlib.contextmanager
def _explained(pandas: Any, path: Path) -> Iterator[None]:
    """Raise the errors of pandas as one sentence that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # of cells that would be left out
            yield
    except pandas.errors.EmptyDataError:
        raise ValueError(f"{path} is empty") from None
    except pandas.errors.ParserWarning:
        raise ValueError(f"{path} has rows with more cells than it has names of columns") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8; save it as 'CSV UTF-8', or as Parquet") from None
    except pandas.errors.ParserError as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise ValueError(f"{path} is not a CSV table: {reason}") from None


def _check_header(path: Path, names: list[str]) -> None:
    if any("\0" in name for name in names):
        raise ValueError(f"{path} is not a text file")
    found = [text for separator, text in OTHER_SEPARATORS.items() if separator in names[0]]
    if len(names) == 1 and found:
        raise ValueError(f"{path} separates its columns by {found[0]} instead of commas; save it with commas")
    _check_names(path, names)


def _check_names(path: Path, names: list[str]) -> None:
    duplicates = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if duplicates:
        raise ValueError(f"{path} has several columns called {duplicates[0]!r}; rename all but one")


def _has_padded_number(path: Path) -> bool:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return PADDED_CELL.search(data) is not None


# --- Parquet ------------------------------------------------------------------------------------------------------


def _read_parquet(pandas: Any, path: Path, kinds: Mapping[str, str]) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow; install it with: pip install 'sknn[cli]'") from error
    try:
        frame = pandas.read_parquet(path, engine="pyarrow")
    except pa.ArrowInvalid:
        raise ValueError(f"{path} is not a Parquet file, or it is damaged") from None
    frame = frame.reset_index(drop=all(name is None for name in frame.index.names))
    return frame.set_axis(frame.columns.astype(str), axis=1)


# --- Numbers ------------------------------------------------------------------------------------------------------


def first_that_is_no_number(column: Any) -> int | None:
    """Return the position of the first text in a pandas column that is not a number, or None."""
    import pandas as pd

    wrong = (pd.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy()
    return int(wrong.argmax()) if wrong.any() else None


def _as_numbers(column: Any, path: Path) -> Any:
    """Return a column in which texts are numbers; other types are kept."""
    import pandas as pd

    if not (pd.api.types.is_string_dtype(column) or column.dtype == object):
        return column
    row = first_that_is_no_number(column)
    if row is not None:
        raise ValueError(
            f"column {column.name!r} of {path} has to hold numbers, and holds {column.iloc[row]!r} in row {row + 1}; "
            "leave the cell empty if the number is missing"
        )
    return pd.to_numeric(column)


READERS = {".csv": _read_csv, ".parquet": _read_parquet}
WRITERS: dict[str, Callable[[Any], bytes]] = {
    ".csv": lambda frame: frame.to_csv(index=False).encode(),
    ".parquet": lambda frame: frame.to_parquet(index=False),
}
