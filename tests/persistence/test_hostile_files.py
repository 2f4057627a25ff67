"""Ten thousand mutated files: each is loaded or refused by one class of error, in bounded memory, and runs nothing."""

import json
import subprocess
import sys

import pytest

COUNT = 10_500
PROCESSES = 2


@pytest.fixture(scope="module")
def found():
    """What became of the files, put together from a few processes with seeds of their own."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.persistence.fuzz", str(COUNT // PROCESSES)]
    running = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for seed in range(PROCESSES)
    ]
    ended = [(process, *process.communicate(timeout=500)) for process in running]
    for process, _, errors in ended:
        assert process.returncode == 0, errors.decode()[-3000:]  # -6 or -11: the interpreter crashed
    return [json.loads(output) for _, output, _ in ended]


def total(found, part):
    return sum(n for result in found for name, n in result["results"].items() if part in name)


def test_ten_thousand_files_were_tried(found):
    assert total(found, "") >= 10_000


def test_each_is_loaded_or_refused_by_one_class_of_error(found):
    assert [result["others"] for result in found] == [{}] * PROCESSES


def test_none_runs_code(found):
    assert [result["heard"] for result in found] == [{}] * PROCESSES


def test_none_takes_much_memory(found):
    assert max(result["grown_mb"] for result in found) < 200


def test_files_of_every_kind_of_mutation_get_far(found):
    """Else the test would test the digest only."""
    for kind in ("document", "arrays"):
        assert total(found, f"{kind}: loaded, predicts") > 100
        assert total(found, f"{kind}: refused") > 500
    assert total(found, "loaded, does not predict") > 50
    assert total(found, "bytes: loaded") == 0  # no damage goes unseen
