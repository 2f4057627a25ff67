"""The service without HTTP: a reload puts another model into service, and only one that works."""

import json
import threading

import pytest

from sknn.serving.options import ServingOptions
from sknn.serving.service import PredictionService
from tests.serving.common import RECORD, export_churn


@pytest.fixture
def model_path(tmp_path):
    return export_churn(tmp_path / "churn.onnx")


@pytest.fixture
def service(model_path, tmp_path):
    return PredictionService(ServingOptions(str(model_path), state=tmp_path / "state.json"))


def predict(service, n=1):
    deployment = service.deployment
    columns = deployment.model.schema.read(json.dumps([RECORD] * n).encode())
    return deployment.predict(columns)


def test_a_reload_of_the_same_file_keeps_the_counts(service):
    predict(service, 5)
    before = service.deployment
    assert not service.reload()
    assert service.deployment is before


def test_a_reload_puts_another_model_into_service(service, model_path):
    predict(service, 5)
    before = service.deployment
    export_churn(model_path, seed=1)
    assert service.reload()
    assert service.deployment.model.version != before.model.version
    assert service.deployment.monitor.total().n_rows == 0
    assert predict(service).values.shape == (1,)
    assert before.model.predict(before.model.schema.read(json.dumps([RECORD]).encode())).values.shape == (1,)


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_damaged_model_is_refused_and_the_old_one_stays(service, model_path, content, caplog):
    before = service.deployment
    model_path.write_bytes(content)
    assert not service.reload()
    assert service.deployment is before
    assert b"sknn_last_reload_failed 1.0" in service.metrics.text()
    assert "reload refused" in caplog.text
    export_churn(model_path, seed=1)
    assert service.reload()
    assert b"sknn_last_reload_failed 0.0" in service.metrics.text()


def test_a_model_that_fails_its_self_check_is_refused(service, model_path, monkeypatch):
    from sknn.onnx_predictor import OnnxPredictor

    def fail(predictor):
        raise ValueError("the example gives another prediction")

    export_churn(model_path, seed=1)
    before = service.deployment
    monkeypatch.setattr(OnnxPredictor, "self_check", fail)
    assert not service.reload()
    assert service.deployment is before


def test_a_file_that_is_gone_is_refused(service, model_path):
    model_path.unlink()
    assert not service.reload()
    assert predict(service).values.shape == (1,)


def test_predictions_go_on_while_models_change(service, model_path):
    """Each request has one model from its beginning to its end."""
    stop, errors, n_predictions = threading.Event(), [], [0]

    def ask():
        while not stop.is_set():
            try:
                predict(service)
                n_predictions[0] += 1
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for seed in (1, 2, 3):
        export_churn(model_path, seed=seed)
        assert service.reload()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert n_predictions[0] > 0


def test_counts_are_restored_by_the_next_process(service, model_path, tmp_path):
    predict(service, 7)
    service.save()
    again = PredictionService(ServingOptions(str(model_path), state=tmp_path / "state.json"))
    assert again.deployment.monitor.total().n_rows == 7


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "{",
        lambda text: "[" * 100_000,
        lambda text: json.dumps(json.loads(text) | {"monitor": 5}),
        lambda text: changed_monitor(text, total=None),
        lambda text: changed_monitor(text, total={"counts": []}),
        lambda text: changed_monitor(text, reference={}),
        lambda text: changed_monitor(text, ring=[]),
    ],
)
def test_a_damaged_state_is_no_reason_not_to_serve(service, model_path, tmp_path, caplog, damage):
    service.save()
    (tmp_path / "state.json").write_text(damage((tmp_path / "state.json").read_text()))
    service = PredictionService(ServingOptions(str(model_path), state=tmp_path / "state.json"))
    assert predict(service).values.shape == (1,)
    assert "counts not restored" in caplog.text
    assert service.deployment.monitor.report().n_rows == 1


def changed_monitor(text, **entries):
    """The state with other entries of the monitor."""
    state = json.loads(text)
    return json.dumps(state | {"monitor": json.dumps(json.loads(state["monitor"]) | entries)})


def test_a_save_that_fails_in_any_way_is_tried_again(service, monkeypatch, caplog):
    """An exception would end the task that saves every few seconds."""
    with monkeypatch.context() as patch:
        patch.setattr("sknn.serving.live_monitor.json.dumps", lambda *arguments: 1 / 0)
        service.save()
    assert "counts not saved" in caplog.text
    service.save()
    assert service.options.state.exists()


def test_a_registry_that_fails_in_any_way_is_asked_again(service, monkeypatch, caplog):
    monkeypatch.setattr("sknn.serving.service.find_version_number", lambda source: 1 / 0)
    assert not service.reload_if_alias_moved()
    assert "registry not reached" in caplog.text


def test_a_state_that_can_not_be_written_is_logged(model_path, tmp_path, caplog):
    service = PredictionService(ServingOptions(str(model_path), state=tmp_path / "none" / "state.json"))
    service.save()
    assert "counts not saved" in caplog.text
