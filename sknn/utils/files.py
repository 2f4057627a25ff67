"""Paths, and files that are written as a whole or not at all."""

import contextlib
import hashlib
import os
import platform
import re
import secrets
import shutil
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def as_path(path: Any) -> Path:
    """Return the path of a file.

    Raises
    ------
    TypeError
        If `path` is not a path.
    IsADirectoryError
        If it is the path of a folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"path={path!r} has to be the path of a file, a str or a pathlib.Path; got {type(path).__name__}."
        )
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(
            f"path={str(path)!r} is a folder; use the path of a file, such as {str(file / 'model.sknn')!r}."
        )
    return file


def write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file beside `path` and rename it, so that `path` is always the whole old or new file.

    The next write to `path` on the same host removes the temporary file of a process that was killed.
    """
    target = Path(os.path.realpath(path))  # replace the target of a link, not the link
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(target.parent)!r}; create it first.")
    _remove_abandoned(target)
    with _create_temporary(target) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows can't rename an open file
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(target, file.name)
            os.replace(file.name, target)
        except BaseException:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)


# --- Temporary files ----------------------------------------------------------------------------------------------
# A process locks its temporary file while it writes. The system releases the lock when the process ends, however it
# ends, so a temporary file that can be locked is abandoned. Process ids (which are reused) and ages of files are not
# needed. Locks may not reach other hosts of a shared disk, so the name holds the host, and files of other hosts are
# kept.


def _prefix(target: Path) -> str:
    """Return the start of the names of temporary files on this host; 16 hexadecimal digits and '.tmp' follow."""
    start = target.name.encode(errors="ignore")[:100].decode(errors="ignore")  # file systems limit names to ~250 bytes
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    return f".{start}.{host}."


def _create_temporary(target: Path) -> IO[bytes]:
    """Create and lock a file beside the target."""
    while True:
        file = open(target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.tmp"), "xb")  # noqa: SIM115
        with contextlib.suppress(OSError):  # a file system without locks, where _remove_abandoned can't lock either
            _lock(file.fileno())
        if os.path.exists(file.name):
            return file
        file.close()  # another process removed it as abandoned before it was locked


def _remove_abandoned(target: Path) -> None:
    """Remove temporary files that ended processes of this host left beside the target."""
    if fcntl is None:
        return
    pattern = re.escape(_prefix(target)) + r"[0-9a-f]{16}\.tmp"
    names: list[str] = []
    with contextlib.suppress(OSError):  # a folder that can be written but not listed
        names = [name for name in os.listdir(target.parent) if re.fullmatch(pattern, name)]
    for name in names:
        with contextlib.suppress(OSError):  # locked, already removed, or without permission to remove it
            _remove_unless_locked(target.parent / name)


def _remove_unless_locked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        _lock(descriptor, fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, flags: int = 0) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)


def _sync_folder(folder: Path) -> None:
    """Write the new name to the disk, too, where folders can be opened (not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
