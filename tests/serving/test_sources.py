"""Where a model comes from: files of both kinds, and what is refused."""

import hashlib

import pytest

import sknn
from sknn import NeuralClassifier, OnnxPredictor
from sknn.serving.sources import find_version_number, read_model
from tests.common import TINY, quietly
from tests.serving.common import customers


def test_an_onnx_file_has_its_stem_as_name_and_its_digest_as_version(churn_file):
    file = read_model(str(churn_file))
    digest = hashlib.sha256(churn_file.read_bytes()).hexdigest()
    assert (file.name, file.version, file.digest) == ("churn", digest[:12], digest)


def test_a_saved_estimator_is_exported_with_its_members(tmp_path):
    X, y = customers(50)
    model = quietly(NeuralClassifier(**TINY).fit, X, y)
    sknn.save(model, tmp_path / "churn.sknn")
    file = read_model(str(tmp_path / "churn.sknn"))
    assert file.name == "churn"
    assert OnnxPredictor(file.graph).predict_proba_members(X).shape == (50, 1, 2)
    assert read_model(str(tmp_path / "churn.sknn")).digest == file.digest


@pytest.mark.parametrize("source", ["model.pkl", "churn", "models/churn", ""])
def test_something_else_is_refused(source):
    with pytest.raises(ValueError, match=r"is no \.onnx file, no \.sknn file, and no models:/NAME@ALIAS"):
        read_model(source)


@pytest.mark.parametrize("name", ["none.onnx", "none.sknn"])
def test_a_missing_file_is_an_error(tmp_path, name):
    with pytest.raises(FileNotFoundError):
        read_model(str(tmp_path / name))


def test_a_file_has_no_alias_to_follow():
    assert find_version_number("churn.onnx") is None
