"""Mutated files: each is refused by one class of error or predicts, with bounded memory and without running code."""

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
def reports(count):
    """Return the results for so many files, from a few processes with different seeds."""
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


def total(reports, part):
    return sum(n for result in reports for name, n in result["results"].items() if part in name)


def test_all_files_were_tried(reports, count):
    assert total(reports, "") == count


def test_each_file_is_loaded_or_refused_by_one_class_of_error(reports):
    assert [result["others"] for result in reports] == [{}] * PROCESSES


def test_no_file_runs_code(reports):
    assert [result["events"] for result in reports] == [{}] * PROCESSES


def test_no_file_takes_much_memory(reports):
    assert max(result["grown_mb"] for result in reports) < 200


def test_mutations_of_every_kind_pass_the_digest(reports, count):
    """Otherwise the other tests would only test the digest."""
    for kind in ("document", "arrays"):
        assert total(reports, f"network: {kind}: loaded, predicts") > 0.01 * count
        assert total(reports, f"network: {kind}: refused") > 0.05 * count
        assert total(reports, f"pipeline: {kind}: loaded, predicts") > 0
    assert total(reports, "bytes: loaded") == 0  # all damage is detected


def failures(reports, is_pipeline):
    names = ("NeuralClassifier", "NeuralRegressor")
    return [text for result in reports for text in result["failures"] if text.startswith(names) != is_pipeline]


def test_a_loaded_network_makes_finite_predictions(reports):
    """Or it refuses rows that lack the columns of the file."""
    assert failures(reports, is_pipeline=False) == []
    assert total(reports, "network: document: loaded, does not predict") == 0
    assert total(reports, "refuses the rows") < 0.1 * total(reports, "loaded, predicts")


def test_nearly_every_loaded_pipeline_predicts(reports):
    """Not all attributes of scikit-learn's estimators are checked."""
    assert len(failures(reports, is_pipeline=True)) < 0.03 * total(reports, "pipeline: ")
