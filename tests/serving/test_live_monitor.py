"""The counts of the rows: exact whatever the batches and threads, and kept over a restart."""

import json
import threading

import numpy as np
import pytest

from sknn import OnnxPredictor
from sknn.monitoring import DriftMonitor
from sknn.serving.live_monitor import LiveMonitor
from sknn.serving.options import ServingOptions
from sknn.serving.served_model import load_served_model
from tests.serving.common import customers, export_churn

ROWS = customers(60, seed=1)[0]
COLUMNS = {
    "age": ROWS["age"].to_numpy(),
    "income": ROWS["income"].to_numpy(),
    "city": ROWS["city"].to_numpy(dtype=object),
}


def part(rows):
    return {name: values[rows] for name, values in COLUMNS.items()}


@pytest.fixture(scope="module")
def model(churn_file):
    return load_served_model(ServingOptions(str(churn_file)))


def add(monitor, model, rows):
    monitor.add(part(rows), model.predict(part(rows)))


def test_the_counts_are_those_of_one_table(model, churn_file):
    monitor = LiveMonitor(model, window=3600)
    for start, stop in ((0, 1), (1, 2), (2, 30), (30, 60)):
        add(monitor, model, slice(start, stop))
    predictions = model.predict(COLUMNS)
    whole = DriftMonitor.from_onnx(OnnxPredictor(churn_file)).update(COLUMNS, predictions.values, predictions.spread)
    assert monitor.total().n_rows == 60
    assert monitor.total().counts == whole.counts


def test_threads_lose_no_rows(model):
    monitor = LiveMonitor(model, window=3600)
    threads = [
        threading.Thread(target=lambda: [add(monitor, model, slice(0, 30)) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monitor.total().n_rows == 4 * 50 * 30
    assert monitor.report().n_rows == 4 * 50 * 30


def test_the_counts_survive_a_restart(model, tmp_path):
    path = tmp_path / "state.json"
    before = LiveMonitor(model, window=3600)
    add(before, model, slice(0, 60))
    before.save(path)
    after = LiveMonitor(model, window=3600)
    assert after.restore(path)
    assert after.total().counts == before.total().counts
    assert after.report().n_rows == 60
    add(after, model, slice(0, 60))
    assert after.total().n_rows == 120
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_another_window_keeps_the_total(model, tmp_path):
    before = LiveMonitor(model, window=3600)
    add(before, model, slice(0, 60))
    before.save(tmp_path / "state.json")
    after = LiveMonitor(model, window=60)
    assert after.restore(tmp_path / "state.json")
    assert after.total().n_rows == 60


def test_counts_of_another_model_are_not_taken(model, tmp_path):
    before = LiveMonitor(model, window=3600)
    add(before, model, slice(0, 60))
    before.save(tmp_path / "state.json")
    other = LiveMonitor(
        load_served_model(ServingOptions(str(export_churn(tmp_path / "churn.onnx", seed=1)))), window=3600
    )
    assert not other.restore(tmp_path / "state.json")
    assert other.total().n_rows == 0


def test_there_is_nothing_to_restore_at_first(model, tmp_path):
    assert not LiveMonitor(model, window=3600).restore(tmp_path / "state.json")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"digest": "x"})])
def test_a_damaged_file_is_an_error_that_the_service_can_catch(model, tmp_path, content):
    path = tmp_path / "state.json"
    path.write_text(content.replace('"x"', json.dumps(model.digest)))
    with pytest.raises((ValueError, KeyError, TypeError)):
        LiveMonitor(model, window=3600).restore(path)


def test_a_save_that_fails_leaves_the_file_as_it_was(model, tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    monitor = LiveMonitor(model, window=3600)
    monitor.save(path)
    before = path.read_text()
    add(monitor, model, slice(0, 60))
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        monitor.save(path)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_a_model_without_a_description_of_its_data_is_served_without_a_monitor(tmp_path):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    graph = to_onnx(LogisticRegression().fit(X, X[:, 0] > 0), X, options={"zipmap": False})
    (tmp_path / "linear.onnx").write_bytes(graph.SerializeToString())
    model = load_served_model(ServingOptions(str(tmp_path / "linear.onnx")))
    monitor = LiveMonitor(model, window=60)
    columns = {field.name: X[:, j] for j, field in enumerate(model.fields)}
    monitor.add(columns, model.predict(columns))
    assert monitor.total() is None
    assert monitor.report() is None
    monitor.save(tmp_path / "state.json")
    assert not (tmp_path / "state.json").exists()
