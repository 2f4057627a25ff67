"""Downloading a version: the graph if there is one, and errors that say what is wrong."""

import dataclasses
import shutil
from pathlib import Path

import pytest

import sknn
from sknn.registry import download, find_version, register
from tests.registry.models import rows


def held_files(store, name):
    """The folder in which the store holds the files of version 1."""
    import mlflow

    return Path(mlflow.MlflowClient(store, store).get_model_version_download_uri(name, "1").removeprefix("file://"))


@pytest.fixture
def version(store, name, model_files):
    return register(model_files[0], name, data_digest="d", sknn_path=model_files[1], tracking_uri=store)


def test_the_graph_is_preferred_and_has_its_own_bytes(version, model_files, tmp_path, capfd):
    path = download(version, tmp_path / "new" / "folder")

    assert path.suffix == ".onnx"
    assert path.is_relative_to(tmp_path)
    assert path.read_bytes() == model_files[0].read_bytes()
    assert capfd.readouterr() == ("", "")  # no progress bar


def test_without_a_graph_it_is_the_estimator(version, store, name, tmp_path):
    (held_files(store, name) / "model.onnx").unlink()
    path = download(version, tmp_path)
    table, _ = rows()

    assert path.suffix == ".sknn"
    assert set(sknn.load(path).predict(table)) <= {"no", "yes"}


def test_a_version_with_neither_is_an_error_that_says_what_it_holds(version, store, name, tmp_path):
    for suffix in (".onnx", ".sknn"):
        (held_files(store, name) / f"model{suffix}").unlink()

    with pytest.raises(ValueError) as error:
        download(version, tmp_path)
    assert str(error.value) == (
        f"models:/{name}/1 holds no .onnx or .sknn file, only MLmodel, conda.yaml, python_env.yaml, requirements.txt; "
        "register the model with sknn.registry.register."
    )


def test_a_changed_graph_is_refused(version, store, name, tmp_path):
    with open(held_files(store, name) / "model.onnx", "ab") as file:
        file.write(b"\0")

    with pytest.raises(ValueError, match=r"was registered with sha256:.*: someone has changed it"):
        download(version, tmp_path)


def test_lost_files_are_an_error(version, store, name, tmp_path):
    shutil.rmtree(held_files(store, name))

    # A ConnectionError of old versions of MLflow, which do not say why.
    with pytest.raises((ValueError, ConnectionError), match=f"The files of models:/{name}/1 can't be downloaded: "):
        download(version, tmp_path)


def test_a_deleted_version_is_an_error(version, tmp_path):
    with pytest.raises(ValueError, match=r"can't be downloaded: .*version=99.* not found"):
        download(dataclasses.replace(version, version=99), tmp_path)


def test_a_version_of_mlflows_own_logging_is_downloaded_too(store, name, model_files, tmp_path, monkeypatch):
    import mlflow.onnx
    import onnx

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with mlflow.start_run(experiment_id="0"):  # a test before may have left another store's experiment active
        graph = onnx.load(model_files[0])
        mlflow.onnx.log_model(graph, name="model", pip_requirements=["onnxruntime"], registered_model_name=name)

    path = download(find_version(f"models:/{name}/1"), tmp_path)
    table, _ = rows()
    expected = sknn.OnnxPredictor(model_files[0]).predict_proba(table)
    assert (sknn.OnnxPredictor(path).predict_proba(table) == expected).all()
