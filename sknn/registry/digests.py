"""Digests of files: they say which rows a model was trained and compared on, without storing the rows."""

import hashlib
from os import PathLike


def file_digest(path: str | PathLike) -> str:
    """Return the digest of a file's content.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    str
        ``"sha256:"`` and 64 hexadecimal digits. Two files have the same digest if their bytes are the same.

    Raises
    ------
    OSError
        If the file can't be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     size = Path(folder, "heldout.csv").write_text("age,left\\n30,no\\n")
    ...     file_digest(Path(folder, "heldout.csv"))[:20]
    'sha256:17fc698640cfa'
    """
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def shorten(digest: str) -> str:
    """Return the start of a digest, which is enough to tell files apart by eye."""
    return digest[:19]
