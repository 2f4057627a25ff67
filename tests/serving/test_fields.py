"""The fields of a model: from its metadata, or from its inputs if it has none."""

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from sknn import OnnxPredictor
from sknn.serving.fields import describe_fields
from tests.serving.common import customers


def test_ranges_and_categories_are_those_of_the_training_data(churn_file):
    age, income, city = describe_fields(OnnxPredictor(churn_file))
    X, _ = customers()
    assert (age.name, age.kind) == ("age", "number")
    np.testing.assert_allclose([age.low, age.middle, age.high], X["age"].quantile([0, 0.5, 1]), rtol=1e-6)
    np.testing.assert_allclose(income.high, X["income"].max())
    assert (city.kind, city.levels, city.n_levels) == ("category", ("Oslo", "Rome", "Bern"), 3)
    assert age.may_be_missing
    assert city.may_be_missing


def test_columns_of_an_array_have_numbers(price_file):
    assert [field.name for field in describe_fields(OnnxPredictor(price_file))] == ["x0", "x1", "x2"]


def test_a_graph_without_metadata_has_the_names_of_its_inputs():
    X = np.zeros((3, 2), dtype=np.float32)
    graph = to_onnx(LinearRegression().fit(X, X[:, 0]), X).SerializeToString()
    fields = describe_fields(OnnxPredictor(graph))
    assert [(field.name, field.kind, field.low) for field in fields] == [
        ("X_0", "number", None),
        ("X_1", "number", None),
    ]


def test_a_model_of_images_is_refused(tmp_path):
    from onnx import TensorProto, helper

    node = helper.make_node("Identity", ["image"], ["same"])
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3, 8, 8]) for name in ("image", "same")]
    graph = helper.make_graph([node], "images", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(
        ValueError, match=r"needs a model of tables, and this model's inputs are 'image': \[None, 3, 8, 8\]"
    ):
        describe_fields(OnnxPredictor(model.SerializeToString()))
