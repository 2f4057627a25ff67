"""An estimator as an ONNX graph: encoding, network, link, weighted mean over members, then labels or values."""

from typing import Any

import numpy as np
import torch

from sknn.estimators.base import BaseNeural
from sknn.estimators.classifier import NeuralClassifier
from sknn.export.onnx.columns import GraphColumns
from sknn.export.onnx.custom import custom_outputs
from sknn.export.onnx.encoder import encode
from sknn.export.onnx.graph import Graph
from sknn.export.onnx.network import Affine, members_outputs
from sknn.export.weights import differing_weights
from sknn.network.custom import CustomNetwork
from sknn.network.losses import BinaryCrossEntropy, CallableLoss, Gamma, Loss, Pinball, Poisson, SoftmaxCrossEntropy
from sknn.onnx_predictor.rows import is_utf8

FAR_FROM_0 = 100  # standard deviations of y; with a larger mean, float32 has too few digits for the deviations

LINKS: dict[type[Loss], Any] = {
    SoftmaxCrossEntropy: lambda graph, z: graph("Softmax", z, axis=-1),
    BinaryCrossEntropy: lambda graph, z: graph("Sigmoid", z),
    Poisson: lambda graph, z: graph("Exp", z),
    Gamma: lambda graph, z: graph("Exp", z),
}


def is_double(est: BaseNeural) -> bool:
    """Return whether the network computes in float64."""
    return est.net_.module_.dtype == torch.float64


def needs_double_values(est: Any) -> bool:
    """Return whether values are float64: for a float64 network, or if y is far from 0 or out of float32's range."""
    if isinstance(est, NeuralClassifier):
        return False
    is_far = bool((np.abs(est._target.center_) > FAR_FROM_0 * est._target.scale_).any())
    return is_double(est) or is_far or not est._target.fits_float32


def feature_names(est: Any) -> list[Any]:
    """Return the names of the columns, or their indices if they have none."""
    return list(getattr(est, "feature_names_in_", range(est.n_features_in_)))


def write_predictions(graph: Graph, est: Any, variables: list[Any], members_output: str | None = None) -> str:
    """Write the probabilities (n, K) of the classes, or the values (n, K).

    They are the weighted mean of the members' probabilities or values (n, members, K), which are written to
    `members_output`.
    """
    link, (weight, bias) = _link(est.net_.criterion_), _output_affine(est)
    decodes_in_double = needs_double_values(est) and not is_double(est)
    identity = np.eye(len(bias)), np.zeros(len(bias))
    z = _outputs(graph, est, variables, identity if decodes_in_double else (weight, bias))
    p = z if link is None else link(graph, z)
    n_members, weights = est.net_.module_.n_members, differing_weights(est)
    if members_output is not None:
        by_row = graph("Transpose", p, perm=[1, 0, 2]) if n_members > 1 else graph("Unsqueeze", p, [1])
        graph.rename(_in_double(graph, est, by_row) if decodes_in_double else by_row, members_output)
    if n_members > 1:
        p = graph.mean(p, 0) if weights is None else graph.weighted_mean(p, weights)
    return _in_double(graph, est, p) if decodes_in_double else p


def _in_double(graph: Graph, est: Any, values: str) -> str:
    """Write scaled values in the unit of y, as float64."""
    scale, center = _target_scale(est)
    return graph("Add", graph("Mul", graph.cast(values, np.float64), scale), center)


def write_labels(graph: Graph, est: Any, p: str, classes: np.ndarray | None, output: str) -> None:
    """Write the labels of probabilities, or the indices of the classes if `classes` is None."""
    if est._target.kind_ == "multilabel":
        graph.cast(graph("Greater", p, graph.array(0.5)), np.int64, output)
    elif classes is None:
        graph("ArgMax", p, axis=1, keepdims=0, output=output)
    else:
        graph("Gather", classes, graph("ArgMax", p, axis=1, keepdims=0), output=output)


def onnx_classes(classes: np.ndarray) -> np.ndarray:
    """Return class labels in a type of ONNX: strings, int64, bool or float64."""
    if classes.dtype.kind == "u" and classes.max() > np.iinfo(np.int64).max:
        raise ValueError(f"Class label {classes.max()} does not fit in ONNX's int64; encode the labels before fit.")
    if classes.dtype.kind in "iub":
        return classes.astype(bool if classes.dtype.kind == "b" else np.int64)
    if classes.dtype.kind == "f":
        return classes.astype(np.float64)
    if not all(isinstance(label, str) for label in classes.tolist()):
        raise ValueError(f"Class labels have to be strings, or numbers of one type, in ONNX; got {classes.tolist()}.")
    broken = next((label for label in classes.tolist() if not is_utf8(label)), None)
    if broken is not None:
        raise ValueError(
            f"Class label {broken!r} cannot be encoded in UTF-8 (a lone surrogate), as ONNX's strings are; encode the "
            "labels before fit."
        )
    return classes.astype(str)


def _outputs(graph: Graph, est: Any, variables: list[Any], affine: Affine) -> str:
    """Write the network's outputs ((members,) n, K) after an affine map."""
    network = est.net_.module_
    if est._features is None:  # rows of more than two dimensions
        x = graph.cast(variables[0].full_name, graph.dtype)
        return _apply_affine(graph, custom_outputs(graph, network, x, tuple(variables[0].type.shape[1:])), affine)
    columns = GraphColumns(graph, variables, est.n_features_in_, feature_names(est))
    plan = est._features.plan
    encoded = encode(graph, plan, columns)
    if not isinstance(network, CustomNetwork):
        return members_outputs(graph, network.parts, encoded, affine)
    parts = [part for part in (encoded.numeric, encoded.indicators) if part is not None]
    z = custom_outputs(graph, network, graph.concat(parts), (plan.n_numeric,))
    return _apply_affine(graph, z, affine)


def _apply_affine(graph: Graph, z: str, affine: Affine) -> str:
    weight, bias = graph.array(affine[0]), graph.array(affine[1])
    z = z if np.array_equal(weight, np.eye(len(weight))) else graph("MatMul", z, weight)
    return graph("Add", z, bias) if bias.any() else z


def _output_affine(est: Any) -> Affine:
    """Return the affine map of the network's outputs before the link, which also undoes the scaling of y."""
    k = est._network_outputs()
    if isinstance(est, NeuralClassifier):  # logistic(-z) and logistic(z) are the probabilities of the two classes
        return (np.array([[-1.0, 1.0]]), np.zeros(2)) if est._target.kind_ == "binary" else (np.eye(k), np.zeros(k))
    scale, center = _target_scale(est)
    if isinstance(est.net_.criterion_, Poisson | Gamma):  # y is divided by its mean and not centred: add its log
        return np.eye(k), np.log(scale)
    return np.diag(scale), center


def _target_scale(est: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and the center of each output of a regressor."""
    k = est._network_outputs()
    return np.broadcast_to(est._target.scale_, k), np.broadcast_to(est._target.center_, k)


def _link(loss: Loss) -> Any:
    """Return a function that writes the loss's link; None for the identity."""
    if isinstance(loss, CallableLoss):
        return _link(loss.default)
    if isinstance(loss, Pinball) and len(loss.quantiles) > 1:
        return lambda graph, z: graph.sorted(z, len(loss.quantiles))
    return LINKS.get(type(loss))
