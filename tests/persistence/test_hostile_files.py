"""Mutated files: each is refused by one class of error, in bounded memory, or predicts; none runs anything."""

import json
import subprocess
import sys

import pytest

from tests.common import PATIENCE

PROCESSES = 2
MANY = pytest.param(10_500, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])


@pytest.fixture(scope="module", params=[1_000, MANY])
def count(request):
    return request.param


@pytest.fixture(scope="module")
def found(count):
    """What became of so many files, put together from a few processes with seeds of their own."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.persistence.fuzz", str(count // PROCESSES)]
    running = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for seed in range(PROCESSES)
    ]
    try:
        ended = [(process, *process.communicate(timeout=max(PATIENCE, count / 10))) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, _, errors in ended:
        assert process.returncode == 0, errors.decode()[-3000:]  # -6 or -11: the interpreter crashed
    return [json.loads(output) for _, output, _ in ended]


def total(found, part):
    return sum(n for result in found for name, n in result["results"].items() if part in name)


def test_so_many_files_were_tried(found, count):
    assert total(found, "") == count


def test_each_is_loaded_or_refused_by_one_class_of_error(found):
    assert [result["others"] for result in found] == [{}] * PROCESSES


def test_none_runs_code(found):
    assert [result["heard"] for result in found] == [{}] * PROCESSES


def test_none_takes_much_memory(found):
    assert max(result["grown_mb"] for result in found) < 200


def test_files_of_every_kind_of_mutation_get_far(found, count):
    """Else the test would test the digest only."""
    for kind in ("document", "arrays"):
        assert total(found, f"network: {kind}: loaded, predicts") > 0.01 * count
        assert total(found, f"network: {kind}: refused") > 0.05 * count
        assert total(found, f"pipeline: {kind}: loaded, predicts") > 0
    assert total(found, "bytes: loaded") == 0  # no damage goes unseen


def failures(found, is_pipeline):
    names = ("NeuralClassifier", "NeuralRegressor")
    return [text for result in found for text in result["failures"] if text.startswith(names) != is_pipeline]


def test_a_network_that_loads_predicts_numbers_that_are_finite(found):
    """Or refuses rows with other columns than the file tells."""
    assert failures(found, is_pipeline=False) == []
    assert total(found, "network: document: loaded, does not predict") == 0
    assert total(found, "refuses the rows") < 0.1 * total(found, "loaded, predicts")


def test_hardly_a_pipeline_that_loads_does_not_predict(found):
    """Of scikit-learn's steps not every attribute is checked."""
    assert len(failures(found, is_pipeline=True)) < 0.03 * total(found, "pipeline: ")
