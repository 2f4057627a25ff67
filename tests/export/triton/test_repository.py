"""A model repository: its files, its versions, and what it refuses to overwrite."""

import os

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from sknn import NeuralClassifier, NeuralRegressor, OnnxPredictor
from sknn.export import to_triton
from sknn.export.triton import repository
from tests.common import TINY

rng = np.random.default_rng(0)
FRAME = pd.DataFrame({"size": rng.normal(size=60), "city": rng.choice(["Oslo", "Rome", None], 60)})
LABELS = rng.choice(["u", "v"], 60)
MODEL = NeuralClassifier(**TINY | {"ensemble_size": 2}).fit(FRAME, LABELS)
OTHER = NeuralClassifier(**{**TINY, "random_state": 1}).fit(FRAME, LABELS)
THREE_CLASSES = NeuralClassifier(**TINY).fit(FRAME, rng.choice(["u", "v", "w"], 60))


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def config_of(folder):
    return text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())


def test_a_repository_holds_a_graph_with_the_models_predictions(tmp_path):
    written = to_triton(MODEL, FRAME, tmp_path / "new" / "models", name="churn")

    assert written == tmp_path / "new" / "models" / "churn" / "1"
    assert files(tmp_path) == ["new/models/churn/1/model.onnx", "new/models/churn/config.pbtxt"]
    predicted = OnnxPredictor(written / "model.onnx").predict_proba(FRAME)
    np.testing.assert_allclose(predicted, MODEL.predict_proba(FRAME), atol=1e-6)


def test_the_configuration_has_the_name_of_the_folder_and_the_defaults(tmp_path):
    config = config_of(to_triton(MODEL, FRAME, tmp_path, name="churn").parent)

    assert (config.name, config.max_batch_size) == ("churn", 1024)
    assert config.dynamic_batching.max_queue_delay_microseconds == 500


def test_the_configuration_has_the_given_parameters_and_the_release_that_the_graph_needs(tmp_path):
    written = to_triton(MODEL, None, tmp_path, max_batch_size=8, queue_delay=0, target_opset=22)

    config = config_of(written.parent)
    assert (config.name, config.max_batch_size) == ("model", 8)
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    first_line = (written.parent / "config.pbtxt").read_text().partition("\n")[0]
    assert first_line == "# Written by sknn. Needs Triton 25.03 (ONNX Runtime 1.21.0) or later."


def test_a_model_with_the_same_inputs_and_outputs_becomes_the_next_version(tmp_path):
    to_triton(MODEL, FRAME, tmp_path, max_batch_size=8)
    config = tmp_path / "model" / "config.pbtxt"
    config.write_text(config.read_text() + "# edited\n")

    written = to_triton(OTHER, FRAME, tmp_path)

    assert written == tmp_path / "model" / "2"
    assert files(tmp_path) == ["model/1/model.onnx", "model/2/model.onnx", "model/config.pbtxt"]
    assert config.read_text().endswith("# edited\n")
    for version, model in (("1", MODEL), ("2", OTHER)):
        predicted = OnnxPredictor(tmp_path / "model" / version / "model.onnx").predict_proba(FRAME)
        np.testing.assert_allclose(predicted, model.predict_proba(FRAME), atol=1e-6)


def test_the_next_version_follows_the_largest_number_and_ignores_other_folders(tmp_path):
    to_triton(MODEL, FRAME, tmp_path)
    (tmp_path / "model" / "1").rename(tmp_path / "model" / "9")
    for name in ("10", "x", "011"):
        (tmp_path / "model" / name).mkdir()

    assert to_triton(OTHER, FRAME, tmp_path).name == "11"


def test_several_models_share_a_repository(tmp_path):
    to_triton(MODEL, FRAME, tmp_path, name="a")
    to_triton(THREE_CLASSES, FRAME, tmp_path, name="b.2-x_")

    assert sorted(os.listdir(tmp_path)) == ["a", "b.2-x_"]


@pytest.mark.parametrize(
    ("model", "sample", "difference"),
    [
        (THREE_CLASSES, FRAME, r"outputs: 'probabilities' was TYPE_FP32 \[2\] and is TYPE_FP32 \[3\]"),
        (
            NeuralRegressor(**TINY).fit(FRAME, FRAME["size"]),
            FRAME,
            r"outputs: 'variable' was none and is TYPE_FP32 \[1\]",
        ),
        (
            NeuralClassifier(**TINY).fit(FRAME[["city"]], LABELS),
            FRAME[["city"]],
            r"inputs: 'size' was TYPE_FP64 \[1\] and is none",
        ),
    ],
    ids=["classes", "task", "columns"],
)
def test_a_model_with_other_inputs_or_outputs_is_not_the_next_version(model, sample, difference, tmp_path):
    to_triton(MODEL, FRAME, tmp_path)

    with pytest.raises(FileExistsError, match=f"is a model with other {difference}; remove it, or give another `name`"):
        to_triton(model, sample, tmp_path)

    assert files(tmp_path) == ["model/1/model.onnx", "model/config.pbtxt"]


def test_a_file_or_another_folder_is_not_overwritten(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder" / "1").mkdir(parents=True)
    (tmp_path / "folder" / "config.pbtxt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name in ("file", "folder", "link"):
        with pytest.raises(
            FileExistsError, match=f"{name}' exists, and is not a model of Triton with config.pbtxt and"
        ):
            to_triton(MODEL, FRAME, tmp_path, name=name)
    with pytest.raises(FileExistsError, match="file' is a file; give the folder of a model repository"):
        to_triton(MODEL, FRAME, tmp_path / "file")

    assert files(tmp_path) == ["file", "folder/config.pbtxt"]


@pytest.mark.parametrize("exists", [False, True], ids=["first version", "next version"])
def test_a_failed_export_leaves_the_repository_as_it_was(exists, tmp_path, monkeypatch):
    def write_half(folder, data):
        write(folder, data[: len(data) // 2])
        raise OSError("No space left on device")

    if exists:
        to_triton(MODEL, FRAME, tmp_path)
    before, write = files(tmp_path), repository._write_version
    monkeypatch.setattr(repository, "_write_version", write_half)

    with pytest.raises(OSError, match="No space left"):
        to_triton(OTHER, FRAME, tmp_path)

    assert files(tmp_path) == before
    assert os.listdir(tmp_path) == (["model"] if exists else [])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "my model", "größe", "a\n", 3, None])
def test_a_name_that_is_no_folder_or_address_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"^name=.* has to consist of letters, digits, '_', '-' and '\.'"):
        to_triton(MODEL, FRAME, tmp_path, name=name)


@pytest.mark.parametrize(("parameter", "least"), [("max_batch_size", 1), ("queue_delay", 0)])
@pytest.mark.parametrize("value", [-1, 0.5, True, "8", None, 2**31])
def test_invalid_numbers_are_refused(parameter, least, value, tmp_path):
    with pytest.raises(ValueError) as raised:
        to_triton(MODEL, FRAME, tmp_path, **{parameter: value})

    assert str(raised.value) == f"{parameter}={value!r} has to be an int of at least {least} and below 2**31."


def test_a_path_for_the_graph_is_refused(tmp_path):
    with pytest.raises(TypeError, match="multiple values for argument 'path'"):
        to_triton(MODEL, FRAME, tmp_path, path=tmp_path / "model.onnx")
