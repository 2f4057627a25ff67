"""Registering a model: what the version holds, and what is refused."""

import os
import sys

import numpy as np
import pytest

import sknn
from sknn.registry import file_digest, find_version, register
from tests.common import printed, python
from tests.registry.models import rows


def test_a_version_remembers_its_data_metrics_and_origin(store, name, model_files):
    version = register(
        model_files[0],
        name,
        data_digest="sha256:held",
        training_digest="sha256:train",
        metrics={"log_loss": 0.25},
        tags={"author": "me"},
        tracking_uri=store,
    )

    assert (version.name, version.version, version.alias) == (name, 1, None)
    assert version.uri == f"models:/{name}/1"
    assert dict(version.tags) == {
        "sknn.model_digest": file_digest(model_files[0]),
        "sknn.data_digest": "sha256:held",
        "sknn.training_digest": "sha256:train",
        "sknn.metric.log_loss": "0.25",
        "sknn.version": sknn.__version__,
        "author": "me",
    }
    assert find_version(version.uri, tracking_uri=store) == version


def test_the_next_version_has_the_next_number(store, name, model_files):
    versions = [register(model_files[0], name, data_digest="d", tracking_uri=store).version for _ in range(3)]

    assert versions == [1, 2, 3]


def test_a_version_belongs_to_the_run_that_trained_it(store, name, model_files):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=store, registry_uri=store)
    run = client.create_run(client.create_experiment(name)).info.run_id

    register(model_files[0], name, data_digest="d", run_id=run, tracking_uri=store)

    assert client.get_model_version(name, "1").run_id == run


def test_mlflow_itself_predicts_with_a_version(store, name, model_files):
    import mlflow.pyfunc

    table, _ = rows()
    register(model_files[0], name, data_digest="d", tracking_uri=store)
    location = mlflow.MlflowClient(store, store).get_model_version_download_uri(name, "1")
    predicted = mlflow.pyfunc.load_model(location).predict(
        {column: table[[column]].to_numpy(object if column == "postcode" else float) for column in table}
    )

    np.testing.assert_array_equal(predicted["label"], sknn.OnnxPredictor(model_files[0]).predict(table))


def test_held_out_rows_that_were_trained_on_are_refused(store, name, model_files):
    with pytest.raises(ValueError, match="are both sha256:1; hold out other rows than those trained on"):
        register(model_files[0], name, data_digest="sha256:1", training_digest="sha256:1", tracking_uri=store)


def test_a_file_that_is_no_graph_is_refused_and_leaves_no_version(store, name, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("hello")

    with pytest.raises(ValueError, match=r"model\.onnx' is not an ONNX graph"):
        register(path, name, data_digest="d", tracking_uri=store)
    with pytest.raises(ValueError, match=f"the registry has no model '{name}'"):
        find_version(f"models:/{name}/1", tracking_uri=store)


def test_a_name_that_mlflow_refuses_is_an_error(store, model_files):
    with pytest.raises(ValueError, match=r"'a/b' can't be registered: .*[Ii]nvalid"):
        register(model_files[0], "a/b", data_digest="d", tracking_uri=store)


def test_importing_the_registry_imports_neither_mlflow_nor_torch():
    heavy = ("torch", "sklearn", "scipy", "pandas", "mlflow", "onnx")

    assert printed("-c", f"import sknn.registry, sys\nprint(*[m for m in {heavy} if m in sys.modules])").strip() == ""


@pytest.mark.parametrize(
    "call",
    ["find_version('models:/a@b')", "register('m.onnx', 'a', data_digest='d')"],
)
def test_without_mlflow_the_error_names_the_extra(call, tmp_path):
    (tmp_path / "mlflow.py").write_text("raise ImportError('no')")
    done = python("-c", f"from sknn.registry import *\n{call}", env=os.environ | {"PYTHONPATH": str(tmp_path)})

    assert "needs MLflow; install it with: pip install 'sknn[mlflow]'" in done.stderr


@pytest.mark.parametrize("package", ["onnx", "pandas"])
def test_without_what_mlflows_onnx_format_needs_the_error_names_the_extras(package, model_files, store, monkeypatch):
    for module in [package, "mlflow.onnx"]:
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails

    with pytest.raises(ImportError) as error:
        register(model_files[0], "unheard", data_digest="d", tracking_uri=store)
    assert str(error.value) == (
        f"register needs {package}; install what it needs with: pip install 'sknn[mlflow,onnx,pandas]'"
    )
