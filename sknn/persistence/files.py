"""Files on disk: written whole or not at all, and read whole."""

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

    A process that is killed leaves its temporary file, which the next write to `path` on the same host removes.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(target.parent)!r}; make it first.")
    _remove_abandoned(target)
    with _new_temporary(target) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no file that is open
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(target, file.name)
            os.replace(file.name, target)
        except BaseException:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)


# --- Temporary files ----------------------------------------------------------------------------------------------
# A temporary file is locked as long as its process lives and writes it: the system itself gives the lock back when a
# process dies, whichever way.  So a file that can be locked is nobody's, and neither the number of a process, which is
# given again, nor the age of a file has to be judged.  Locks do not reach all other hosts of a shared disk, so the
# host is in the name, and files of other hosts are left alone.


def _prefix(target: Path) -> str:
    """How the temporary files of a target begin on this host; 16 digits and '.tmp' follow."""
    start = target.name.encode(errors="ignore")[:100].decode(errors="ignore")  # a file system takes some 250 bytes
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    return f".{start}.{host}."


def _new_temporary(target: Path) -> IO[bytes]:
    """A new file beside the target, locked."""
    while True:
        file = open(target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.tmp"), "xb")  # noqa: SIM115
        with contextlib.suppress(OSError):  # a file system without locks, where nothing is removed either
            _lock(file.fileno())
        if os.path.exists(file.name):
            return file
        file.close()  # another write took it for abandoned before it was locked


def _remove_abandoned(target: Path) -> None:
    """Remove the temporary files of writes to the same target by processes of this host that are dead."""
    if fcntl is None:
        return
    pattern = re.escape(_prefix(target)) + r"[0-9a-f]{16}\.tmp"
    names: list[str] = []
    with contextlib.suppress(OSError):  # a folder that can be written and not listed
        names = [name for name in os.listdir(target.parent) if re.fullmatch(pattern, name)]
    for name in names:
        with contextlib.suppress(OSError):  # locked by its process, removed by another one, or not ours to remove
            _remove_unless_locked(target.parent / name)


def _remove_unless_locked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        _lock(descriptor, fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int = 0) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk, too, where folders can be opened (not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
