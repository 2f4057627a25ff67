"""Files on disk: written whole or not at all, and read whole."""

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any


def as_path(path: Any) -> Path:
    """The file that `path` names.

    Raises
    ------
    TypeError
        If it names none.
    IsADirectoryError
        If it names a folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"path={path!r} has to be the name of a file, as a str or a pathlib.Path; got {type(path).__name__}."
        )
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(
            f"path={str(path)!r} is a folder; name a file in it, such as {str(file / 'model.sknn')!r}."
        )
    return file


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one beside it; whatever happens, `path` is the old file or the new one.

    A process that is killed leaves the temporary file, whose name begins with a dot and ends with '.tmp'.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(target.parent)!r}; make it first.")
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk, too, where folders can be opened (not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
