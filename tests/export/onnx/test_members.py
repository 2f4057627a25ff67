"""The option `members`: each member's predictions in the graph are those that the member gives on its own."""

import copy

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.export.check import run_graph
from sknn.export.onnx.inputs import infer_inputs
from tests.common import ALIKE, SMALL

X = np.random.default_rng(0).normal(size=(60, 3))
CODES = np.digitize(X[:, 0], [-0.5, 0.5])
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "e": ["u", "v", None] * 20})
MIXED = SMALL | dict.fromkeys(ALIKE, "auto")
THREE = MIXED | {"ensemble_size": 3}


def outputs(model, X=X, **options):
    """Return the outputs by name."""
    program = to_onnx(model, X, **{"members": True} | options)
    names = [output.name for output in program.graph.output]
    return dict(zip(names, run_graph(program, X, infer_inputs(X)), strict=True))


def weighted_mean(members, model):
    """Return the mean over the members of what they predict (n, members, K)."""
    est = getattr(model, "best_estimator_", model)
    while hasattr(est, "steps"):
        est = est.steps[-1][1]
    return np.average(members, axis=1, weights=est.member_weights_)


def alone(model, m):
    """Return a copy of a model whose network has the parameters of member m only."""
    model = copy.deepcopy(model)
    (model.steps[-1][1] if hasattr(model, "steps") else model).net_.module_.select([m])
    return model


def stack_members(model, X, n_members, method):
    """Return the predictions (n, members, K) of members that predict one after the other."""
    predictions = [getattr(alone(model, m), method)(X) for m in range(n_members)]
    return np.stack([p.reshape(len(p), -1) for p in predictions], axis=1)


@pytest.mark.parametrize("ensemble_size", [1, 3])
@pytest.mark.parametrize(
    ("parameters", "y"),
    [
        ({}, CODES),
        ({}, X[:, 0] > 0),
        ({}, X > 0),
        ({"numeric_embedding": "periodic"}, CODES),
        ({"precision": "float64"}, CODES),
        (ALIKE, CODES),
    ],
    ids=["multiclass", "binary", "multilabel", "embedding", "double", "alike"],
)
def test_the_probabilities_are_the_weighted_mean_of_what_each_member_gives(parameters, y, ensemble_size):
    clf = NeuralClassifier(**MIXED | {"ensemble_size": ensemble_size} | parameters).fit(FRAME, y)
    found = outputs(clf, FRAME)

    expected = stack_members(clf, FRAME, ensemble_size, "predict_proba")
    assert found["member_probabilities"].shape == (60, ensemble_size, expected.shape[2])
    assert found["member_probabilities"].dtype == found["probabilities"].dtype
    np.testing.assert_allclose(found["member_probabilities"], expected, atol=1e-6)
    np.testing.assert_allclose(weighted_mean(found["member_probabilities"], clf), found["probabilities"], atol=1e-6)
    np.testing.assert_allclose(weighted_mean(found["member_probabilities"], clf), clf.predict_proba(FRAME), atol=1e-6)
    if ensemble_size > 1:
        assert np.ptp(found["member_probabilities"], axis=1).max() > 0.01


@pytest.mark.parametrize("ensemble_size", [1, 3])
@pytest.mark.parametrize(
    ("parameters", "y"),
    [
        ({}, X[:, 0] * 50),
        ({}, X[:, 0] + 1e6),
        ({}, X),
        ({"loss": "quantile", "quantile": (0.1, 0.5, 0.9)}, X[:, 0]),
        ({"loss": "poisson"}, CODES + 1.0),
    ],
    ids=["one", "far", "outputs", "quantiles", "poisson"],
)
def test_the_values_are_the_weighted_mean_of_what_each_member_gives_in_the_unit_of_y(parameters, y, ensemble_size):
    reg = NeuralRegressor(**MIXED | {"ensemble_size": ensemble_size} | parameters).fit(X, y)
    found = outputs(reg)

    expected = stack_members(reg, X, ensemble_size, "predict")
    atol = 1e-5 * np.ptp(y)
    assert found["member_values"].shape == (60, ensemble_size, expected.shape[2])
    assert found["member_values"].dtype == found["variable"].dtype
    np.testing.assert_allclose(found["member_values"], expected, atol=atol, rtol=1e-7)
    np.testing.assert_allclose(weighted_mean(found["member_values"], reg), found["variable"], atol=atol, rtol=1e-7)


def test_members_of_a_custom_module():
    module = lambda d, k: torch.nn.Sequential(torch.nn.Linear(d, 4), torch.nn.Tanh(), torch.nn.Linear(4, k))  # noqa: E731
    clf = NeuralClassifier(module=module, ensemble_size=2, max_iter=2, random_state=0).fit(X, CODES)
    found = outputs(clf)

    assert found["member_probabilities"].shape == (60, 2, 3)
    np.testing.assert_allclose(found["member_probabilities"], stack_members(clf, X, 2, "predict_proba"), atol=1e-6)


def test_members_of_the_last_step_of_a_pipeline():
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["e"]))
    frame = FRAME.fillna({"e": "?"})
    clf = make_pipeline(columns, NeuralClassifier(**THREE)).fit(frame, CODES)
    found = outputs(clf, frame)

    np.testing.assert_allclose(found["member_probabilities"], stack_members(clf, frame, 3, "predict_proba"), atol=1e-5)
    reg = make_pipeline(StandardScaler(), NeuralRegressor(**THREE)).fit(X, X[:, 0])
    np.testing.assert_allclose(outputs(reg)["member_values"], stack_members(reg, X, 3, "predict"), atol=1e-5)


def test_members_of_a_pipeline_in_a_pipeline_and_of_a_search():
    inner = make_pipeline(StandardScaler(), NeuralClassifier(**THREE))
    nested = make_pipeline(StandardScaler(), inner).fit(X, CODES)
    search = GridSearchCV(NeuralClassifier(**THREE), {"alpha": [0.1]}, cv=2).fit(X, CODES)

    for model in (nested, search):
        members = outputs(model)["member_probabilities"]
        np.testing.assert_allclose(weighted_mean(members, model), model.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["label", "probabilities", "member_probabilities"]),
        ({"output_class_labels": True}, ["label", "probabilities", "class_labels", "member_probabilities"]),
        ({"zipmap": True}, ["output_label", "output_probability", "member_probabilities"]),
        ({"zipmap": "columns"}, ["output_label", "i0", "i1", "i2", "member_probabilities"]),
        ({"nocl": True}, ["label", "probabilities", "member_probabilities"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("in_pipeline", [False, True])
def test_the_option_goes_with_those_of_skl2onnx(options, names, in_pipeline):
    clf = NeuralClassifier(**THREE)
    clf = (make_pipeline(StandardScaler(), clf) if in_pipeline else clf).fit(X, CODES)
    found = outputs(clf, options=options)

    assert list(found) == names
    np.testing.assert_allclose(weighted_mean(found["member_probabilities"], clf), clf.predict_proba(X), atol=1e-5)


def test_the_output_declares_its_shape_in_an_old_opset_too():
    for opset in (15, 22):
        (*_, value) = to_onnx(NeuralClassifier(**THREE).fit(X, CODES), X, members=True, target_opset=opset).graph.output
        shape = value.type.tensor_type.shape.dim

        assert (value.name, [d.dim_value for d in shape][1:]) == ("member_probabilities", [3, 3])
        assert not shape[0].HasField("dim_value")


def test_the_option_adds_one_node_to_the_graph():
    clf = NeuralClassifier(**THREE).fit(FRAME, CODES)
    plain, more = to_onnx(clf, FRAME), to_onnx(clf, FRAME, members=True)

    assert [output.name for output in plain.graph.output] == ["label", "probabilities"]
    ops = [[node.op_type for node in program.graph.node] for program in (plain, more)]
    assert sorted(ops[1]) == sorted([*ops[0], "Transpose"])
    onnx.checker.check_model(more)


def test_a_column_may_have_the_name_of_the_output():
    frame = FRAME.rename(columns={"a": "member_probabilities"})
    found = outputs(NeuralClassifier(**THREE).fit(frame, CODES), frame)

    assert list(found) == ["label", "probabilities", "member_probabilities_"]


def test_a_model_without_members_is_refused():
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, CODES)

    with pytest.raises(
        ValueError, match="members=True, and the last step is a LogisticRegression, which has no members"
    ):
        to_onnx(model, X, members=True)
