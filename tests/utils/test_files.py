"""Writing a file: afterwards it is the whole old or the whole new one, even if the process is killed."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sknn.utils import files
from sknn.utils.files import as_path, write_atomically

# Run only one file of the package, so that the processes start quickly.
WRITER = """
import itertools, runpy, sys
from pathlib import Path

write_atomically = runpy.run_path(sys.argv[1])["write_atomically"]
for i in itertools.count():
    write_atomically(Path(sys.argv[2]), bytes([i % 256]) * 300_000)
    if i == 0:
        print("ready", flush=True)
"""


def test_a_killed_process_leaves_a_whole_file(tmp_path):
    path, rng = tmp_path / "model.sknn", np.random.default_rng(0)
    path.write_bytes(b"old" * 100_000)
    seen = set()
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, files.__file__, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"ready\n"
        for _ in range(5):  # there is a whole file at every moment
            time.sleep(rng.uniform(0, 0.01))
            content = path.read_bytes()
            assert len(content) == 300_000
            assert len(set(content)) == 1 or content == b"old" * 100_000
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        content = path.read_bytes()
        assert len(content) == 300_000
        seen.add(content[:1])
    assert b"o" not in seen  # the processes did write
    assert all(
        file == path or (file.name.startswith(".model.sknn.") and file.suffix == ".tmp") for file in tmp_path.iterdir()
    )


# Stops after writing the temporary file, before renaming it.
HALTED = """
import os, runpy, sys, time
from pathlib import Path

def halt(descriptor):
    print("written", flush=True)
    time.sleep(600)

write_atomically = runpy.run_path(sys.argv[1])["write_atomically"]
os.fsync = halt
write_atomically(Path(sys.argv[2]), b"half" * 100)
"""


@contextlib.contextmanager
def halted_writer(path):
    """Yield a process that stopped in the middle of a write, and its temporary file."""
    before = set(path.parent.glob(".*.tmp"))
    writer = subprocess.Popen([sys.executable, "-c", HALTED, files.__file__, str(path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline() == b"written\n"
        (temporary,) = set(path.parent.glob(".*.tmp")) - before
        yield writer, temporary
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


def kill(writer):
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL


@pytest.mark.parametrize("name", ["model.sknn", "[a]*?.sknn", "m" * 250, "\U0001f600" * 60])
def test_the_next_write_removes_the_temporary_files_of_killed_processes(name, tmp_path):
    path = tmp_path / name
    for _ in range(2):
        with halted_writer(path) as (writer, temporary):
            kill(writer)
            assert temporary.exists()

    write_atomically(path, b"new")

    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("stop", [signal.SIGCONT, signal.SIGSTOP], ids=["running", "stopped"])
def test_the_temporary_file_of_a_living_process_is_kept(stop, tmp_path):
    path = tmp_path / "model.sknn"
    with halted_writer(path) as (writer, temporary):
        writer.send_signal(stop)
        write_atomically(path, b"new")
        assert temporary.read_bytes() == b"half" * 100
        kill(writer)
    write_atomically(path, b"new")
    assert not temporary.exists()


def test_temporary_files_of_other_targets_hosts_and_programs_are_kept(tmp_path):
    path, other = tmp_path / "model.sknn", tmp_path / "model.sknn.old"
    with halted_writer(other) as (writer, other_temporary):
        kill(writer)
    with halted_writer(path) as (writer, temporary):
        kill(writer)
    host = temporary.name.split(".")[-3]
    foreign = [temporary.with_name(temporary.name.replace(host, "0" * 8)), tmp_path / ".model.sknn.tmp"]
    temporary.rename(foreign[0])
    foreign[1].write_bytes(b"")

    write_atomically(path, b"new")

    assert sorted(tmp_path.iterdir()) == sorted([path, other_temporary, *foreign])


# Writes many times, and so removes abandoned files many times.
BUSY = """
import runpy, sys
from pathlib import Path

write_atomically = runpy.run_path(sys.argv[1])["write_atomically"]
for i in range(300):
    write_atomically(Path(sys.argv[2]), bytes([i % 256]) * 1000)
"""


def test_concurrent_writers_do_not_remove_each_others_files(tmp_path):
    command = [sys.executable, "-c", BUSY, files.__file__, str(tmp_path / "model.sknn")]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    errors = [writer.communicate(timeout=300)[1].decode() for writer in writers]
    assert errors == [""] * 4
    assert list(tmp_path.iterdir()) == [tmp_path / "model.sknn"]


class FailedError(Exception):
    pass


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_only_the_old_file(step, tmp_path, monkeypatch):
    def fail(*args):
        raise FailedError

    path = tmp_path / "model.sknn"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(FailedError):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_synced_before_the_name(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_atomically(tmp_path / "model.sknn", b"new")
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.skipif(os.name != "posix", reason="file modes exist on POSIX only")
def test_the_file_has_the_default_mode_or_that_of_the_replaced_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "new", b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "plain").chmod(0o640)
    write_atomically(tmp_path / "plain", b"x")
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.sknn").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "model.sknn")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "model.sknn").read_bytes() == b"new"


def test_a_name_of_the_maximum_length(tmp_path):
    path = tmp_path / ("m" * 250 + ".sknn")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("path", [3, None, b"model", ["model"], open])
def test_a_value_that_is_not_a_path_is_refused(path):
    with pytest.raises(TypeError, match=r"^path=.* has to be the path of a file, a str or a pathlib\.Path; got "):
        as_path(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"is a folder; use the path of a file, such as '.*model\.sknn'"):
        as_path(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*nowhere'; create it first"):
        write_atomically(tmp_path / "nowhere" / "model.sknn", b"")


def test_strings_and_path_objects_give_the_same_path():
    assert as_path("a/model.sknn") == as_path(Path("a/model.sknn")) == Path("a/model.sknn")
