"""Activations, losses, links and precisions in the graph, against the estimator."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_regression

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.export.check import run_graph
from sknn.export.onnx.inputs import infer_inputs
from sknn.network.activations import ACTIVATIONS
from tests.common import ALIKE

SMALL = {"hidden_layer_sizes": (8, 6), "max_iter": 2, "random_state": 0, "ensemble_size": 2}
X, Y = make_regression(80, 5, noise=5.0, random_state=0)
NEW = make_regression(40, 5, random_state=1)[0] * 3


def outputs(est, X=X, new=NEW, **options):
    return run_graph(to_onnx(est, X, **options), new, infer_inputs(X))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_in_both_precisions(activation, precision):
    reg = NeuralRegressor(activation=activation, precision=precision, **SMALL).fit(X, Y)
    (values,) = outputs(reg)

    assert values.dtype == precision
    exact = precision == "float64" and activation != "gelu"  # ONNX Runtime computes Erf in single precision only
    np.testing.assert_allclose(values[:, 0], reg.predict(NEW), rtol=1e-12 if exact else 2e-6, atol=0 if exact else 1e-4)


def log_cosh(z, y):
    return (z - y).cosh().log()


@pytest.mark.parametrize(
    "loss",
    [
        {"loss": "squared_error"},
        {"loss": "absolute_error"},
        {"loss": "huber"},
        {"loss": "quantile", "quantile": 0.3},
        {"loss": "quantile", "quantile": (0.2, 0.8)},
        {"loss": "poisson"},
        {"loss": "gamma"},
        {"loss": log_cosh},
    ],
    ids=lambda loss: str(loss.get("quantile", getattr(loss["loss"], "__name__", loss["loss"]))),
)
@pytest.mark.parametrize("scaling", ["auto", None])
def test_every_loss_of_the_regressor(loss, scaling):
    y = np.exp(Y / 200) * (1000 if scaling else 1)
    reg = NeuralRegressor(scaling=scaling, **loss, **SMALL).fit(X, y)
    (values,) = outputs(reg)

    np.testing.assert_allclose(values, reg.predict(NEW).reshape(40, -1), rtol=1e-5, atol=1e-6)
    assert (np.diff(values) >= 0).all()


def focal(z, y):
    p = torch.sigmoid(z)
    return -(y * (1 - p) ** 2 * torch.log(p) + (1 - y) * p**2 * torch.log(1 - p))


@pytest.mark.parametrize("y", [(Y > 0).astype(int), np.digitize(Y, [-50, 50])], ids=["binary", "multiclass"])
def test_a_custom_loss_keeps_the_link_of_the_classifier(y):
    clf = NeuralClassifier(loss=lambda z, y: focal(z, y).sum(-1), **SMALL).fit(X, y)

    np.testing.assert_allclose(outputs(clf)[1], clf.predict_proba(NEW), atol=1e-6)


@pytest.mark.parametrize("solver", ["lbfgs", "adam", "sgd"])
def test_every_solver_and_precision(solver):
    clf = NeuralClassifier(solver=solver, scaling="standard", learning_rate="cosine", **SMALL)
    clf.fit(X, Y > 0) if solver != "lbfgs" else clf.set_params(max_iter=500, tol=1e-2).fit(X, Y > 0)
    p = outputs(clf)[1]

    assert p.dtype == (np.float64 if solver == "lbfgs" else np.float32)
    np.testing.assert_allclose(p, clf.predict_proba(NEW), atol=1e-6)


def test_bfloat16_products_become_float32_products():
    clf = NeuralClassifier(precision="bfloat16", scaling="robust", **SMALL).fit(X, Y > 0)
    p = outputs(clf)[1]

    assert p.dtype == np.float32
    np.testing.assert_allclose(p, clf.predict_proba(NEW), atol=0.02)


@pytest.mark.parametrize("center", [0, 1e4, 1e9])
def test_a_target_far_from_0_keeps_the_digits_of_its_deviations(center):
    y = center + Y / Y.std()
    reg = NeuralRegressor(**SMALL).fit(X, y)
    (values,) = outputs(reg)

    assert values.dtype == (np.float64 if center else np.float32)
    np.testing.assert_allclose(values[:, 0], reg.predict(NEW), rtol=0, atol=1e-5)


@pytest.mark.parametrize("embedding", ["periodic", "piecewise_linear"])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_numeric_embeddings_without_any_other_column(embedding, members, precision):
    reg = NeuralRegressor(numeric_embedding=embedding, precision=precision, **SMALL | {"ensemble_size": members})
    reg.fit(X, Y)

    np.testing.assert_allclose(outputs(reg)[0][:, 0], reg.predict(NEW), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("members", [1, 2])
def test_a_table_with_embedded_categories_only(members):
    words = np.array([f"level {i}" for i in np.random.default_rng(0).integers(0, 12, 80)], dtype=object)[:, None]
    clf = NeuralClassifier(**SMALL | {"ensemble_size": members}).fit(words, Y > 0)
    new = np.array([["level 3"], ["never seen"], [None]], dtype=object)

    np.testing.assert_allclose(outputs(clf, words, new)[1], clf.predict_proba(new), atol=1e-6)


def test_batch_norm_is_folded_into_the_previous_layer():
    reg = NeuralRegressor(batch_norm=True, **SMALL).fit(X, Y)
    program = to_onnx(reg, X)

    np.testing.assert_allclose(
        run_graph(program, NEW, infer_inputs(X))[0][:, 0], reg.predict(NEW), rtol=1e-5, atol=1e-4
    )
    assert "BatchNormalization" not in {node.op_type for node in program.graph.node}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("parameters", [{}, ALIKE | {"numeric_embedding": "piecewise_linear"}], ids=["kinds", "alike"])
def test_bins_of_few_values_and_of_nearly_equal_values(parameters, dtype):
    rng = np.random.default_rng(0)
    nearly_equal = 0.3 + 1e-7 * rng.integers(0, 50, 80)
    X = np.column_stack([np.repeat(3.0, 80), np.arange(80) % 2, np.arange(80) % 5, nearly_equal]).astype(dtype)
    new = np.vstack([X, np.array([[9, 1, 4, 1], [-9, -7, 2.5, -1], [3, 0.5, 99, 0.3]], dtype)])
    reg = NeuralRegressor(**SMALL | parameters).fit(X, Y)

    np.testing.assert_allclose(outputs(reg, X, new)[0][:, 0], reg.predict(new), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_members_of_several_kinds_are_weighed_as_the_estimator_does(early_stopping):
    clf = NeuralClassifier(early_stopping=early_stopping, **SMALL | {"ensemble_size": 5}).fit(X, Y > 0)
    program = to_onnx(clf, X)

    assert [part.n_members for part in clf.module_.parts] == [3, 2]
    assert len(set(clf.member_weights_)) == (2 if early_stopping else 1)
    np.testing.assert_allclose(run_graph(program, NEW, infer_inputs(X))[1], clf.predict_proba(NEW), atol=1e-6)
    assert ("ReduceMean" in operators(program)) == (not early_stopping)


def operators(program):
    return [node.op_type for node in program.graph.node]


def test_what_kinds_have_in_common_is_in_the_graph_once():
    clf = NeuralClassifier(numeric_embedding="piecewise_linear", **SMALL | {"ensemble_size": 6}).fit(X, Y > 0)
    program = to_onnx(clf, X)
    sizes = [tuple(constant.dims) for constant in program.graph.initializer]

    assert [part.kind for part in clf.module_.parts] == ["piecewise linear", "batch norm, piecewise linear"]
    assert operators(program).count("Min") == 1
    assert sizes.count((5, 1, 48)) == 4  # start, rate, floor and ceiling of the bins, for all members
    assert sizes.count((3, 5, 48, 8)) == 2
    assert len(sizes) == len({(*constant.dims, constant.raw_data) for constant in program.graph.initializer})


def test_members_of_one_kind_add_no_node():
    plain = [
        operators(to_onnx(NeuralClassifier(**SMALL | ALIKE | {"ensemble_size": m}).fit(X, Y > 0), X)) for m in (2, 3)
    ]

    assert plain[0] == plain[1]
    assert len(plain[0]) <= 27
    assert not {"ReduceSum", "Unsqueeze", "Expand"} & set(plain[0])


def test_a_single_network_on_an_array_is_a_few_nodes():
    clf = NeuralClassifier(hidden_layer_sizes=(64, 32), ensemble_size=1, max_iter=1, random_state=0).fit(X, Y > 0)

    assert len(to_onnx(clf, X).graph.node) <= 22
