"""The built-in network as an ONNX graph: embeddings, then a product, a bias and an activation per layer.

Learned input scales, batch norm and an affine map of the outputs are folded into the weights of the linear layers. With
several members of one shape, every tensor has a leading members axis; with one, there is no such axis. The outputs of
members of different shapes are joined along it.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from sknn.export.onnx.encoder import GraphEncoded
from sknn.export.onnx.graph import Graph
from sknn.network.activations import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from sknn.network.embeddings import NumericEmbedding, PeriodicEmbedding
from sknn.network.layers import BATCH_NORM_EPSILON, Activation, BatchNorm, Linear, ScaledLinear
from sknn.network.mlp import MLP

Affine = tuple[np.ndarray, np.ndarray]  # weight, bias: x @ weight + bias


def _silu(graph: Graph, x: str) -> str:
    return graph("Mul", x, graph("Sigmoid", x))


def _gelu(graph: Graph, x: str) -> str:
    share = graph("Mul", x, graph.array(math.sqrt(0.5)))
    if graph.dtype == np.float64:  # ONNX Runtime computes Erf in single precision only
        share = graph.cast(graph("Erf", graph.cast(share, np.float32)), np.float64)
    else:
        share = graph("Erf", share)
    return graph("Mul", graph("Mul", x, graph.array(0.5)), graph("Add", share, graph.array(1)))


def _mish(graph: Graph, x: str) -> str:
    return graph("Mul", x, graph("Tanh", graph("Softplus", x)))


def _selu(graph: Graph, x: str) -> str:
    """Write SELU with other operators: the constants of ONNX's operator are float32."""
    below = graph("Mul", graph("Elu", graph("Min", x, graph.array(0))), graph.array(SELU_ALPHA))
    return graph("Mul", graph("Add", graph("Relu", x), below), graph.array(SELU_SCALE))


def _leaky_relu(graph: Graph, x: str) -> str:
    return graph("Max", x, graph("Mul", x, graph.array(LEAKY_SLOPE)))


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda graph, x: x,
    "logistic": lambda graph, x: graph("Sigmoid", x),
    "tanh": lambda graph, x: graph("Tanh", x),
    "relu": lambda graph, x: graph("Relu", x),
    "silu": _silu,
    "gelu": _gelu,
    "elu": lambda graph, x: graph("Elu", x),
    "selu": _selu,
    "mish": _mish,
    "leaky_relu": _leaky_relu,
}


def members_outputs(graph: Graph, parts: Sequence[MLP], encoded: GraphEncoded, affine: Affine) -> str:
    """Write the outputs ((members,) n, K) of the members of all parts, after an affine map."""
    outputs = [mlp_outputs(graph, part, encoded, affine) for part in parts]
    if len(parts) == 1:
        return outputs[0]
    with_axis = [
        z if part.n_members > 1 else graph("Unsqueeze", z, [0]) for part, z in zip(parts, outputs, strict=True)
    ]
    return graph.concat(with_axis, axis=0)


def mlp_outputs(graph: Graph, network: MLP, encoded: GraphEncoded, affine: Affine) -> str:
    """Write the outputs ((members,) n, K) of members of one shape, after an affine map."""
    first, *others = _folded_layers(network)
    activation = next((layer.name for layer in network.layers if isinstance(layer, Activation)), "identity")
    x, order = _inputs(graph, network, encoded)
    layers = [(first[0][..., order, :], first[1]), *others]
    weight, bias = layers.pop()
    for layer in layers:
        x = ACTIVATIONS[activation](graph, _linear(graph, x, layer))
    return _linear(graph, x, (weight @ affine[0], bias @ affine[0] + affine[1]))


def layer_arrays(network: MLP, layer: nn.Module) -> dict[str, np.ndarray]:
    """Return a layer's parameters and statistics by name, as float64, with a members axis if there are several."""
    views = {e.name: network.view(network.param_buffer, e) for e in network.entries if e.owner is layer}
    arrays = {name: view.detach().cpu().double().numpy() for name, view in views.items()}
    return {name: array[0] if len(array) == 1 else array for name, array in arrays.items()}


def _folded_layers(network: MLP) -> list[Affine]:
    """Return the weight and bias of each linear layer, with its input scale and batch norm folded in."""
    affines: list[Affine] = []
    for layer in network.layers:
        arrays = layer_arrays(network, layer)
        if isinstance(layer, Linear):
            scale = arrays["scale"] if isinstance(layer, ScaledLinear) else 1.0
            affines.append((arrays["weight"] * scale, arrays["bias"]))
        elif isinstance(layer, BatchNorm):
            weight, bias = affines.pop()
            factor = arrays["weight"] / np.sqrt(arrays["running_var"] + BATCH_NORM_EPSILON)
            affines.append((weight * factor, (bias - arrays["running_mean"]) * factor + arrays["bias"]))
    return affines


def _linear(graph: Graph, x: str, affine: Affine) -> str:
    weight, bias = graph.array(affine[0]), graph.array(affine[1])
    if weight.ndim == 2:
        return graph("Gemm", x, weight, bias[0])
    return graph("Add", graph("MatMul", x, weight), bias)


def _inputs(graph: Graph, network: MLP, encoded: GraphEncoded) -> tuple[str, np.ndarray]:
    """Write the first layer's input. Return its name, and for each of its columns the row of the layer's weight."""
    parts = [part for part in (encoded.numeric, encoded.indicators) if part is not None]
    order = np.arange(network.layers[0].in_features)
    members = network.n_members
    embedded = []
    if network.numeric is not None and encoded.numeric is not None:
        embedding, d = network.numeric, network.n_embedded
        embedded.append(_embed_numeric(graph, layer_arrays(network, embedding), embedding, encoded.numeric, members))
        if embedding.keeps_number:  # the network has each value after its embedding; the graph has all values last
            rows = order[: embedding.out_features].reshape(d, -1)
            order = np.concatenate([rows[:, :-1].ravel(), rows[:, -1], order[embedding.out_features :]])
        else:
            parts = parts[1:]
    categories = []
    if network.categorical is not None:
        arrays = layer_arrays(network, network.categorical)
        weight = arrays["weight"]
        if "means" in arrays:  # the first block; the others are for training rows
            weight = np.concatenate([weight, arrays["means"][..., : network.categorical.total_levels, :]], -1)
        categories.append(_embed_codes(graph, weight, encoded.codes, network.categorical.out_features))
    if members > 1 and (embedded or categories):  # repeat the inputs that members share, to concatenate them
        parts = [graph("Expand", graph.concat(parts), np.array([members, 1, 1]))] if parts else []
    return graph.concat([*embedded, *parts, *categories]), order


def _embed_codes(graph: Graph, weight: np.ndarray, codes: str | None, width: int) -> str:
    vectors = graph("Gather", graph.array(weight), codes, axis=weight.ndim - 2)  # ((members,) n, features, 8)
    return graph("Reshape", vectors, [0] * (weight.ndim - 1) + [width])


def _embed_numeric(
    graph: Graph, arrays: dict[str, np.ndarray], embedding: NumericEmbedding, x: str, members: int
) -> str:
    """Write `NumericEmbedding.run`: ((members,) n, features * width)."""
    columns = graph("Unsqueeze", graph("Transpose", x, perm=[1, 0]), [2])  # (features, n, 1)
    expand = _waves if isinstance(embedding, PeriodicEmbedding) else _bins
    terms = expand(graph, columns, arrays)  # ((members,) features, n, terms)
    vectors = graph("Add", graph("MatMul", terms, graph.array(arrays["weight"])), graph.array(arrays["bias"]))
    rows = graph("Transpose", vectors, perm=[1, 0, 2] if members == 1 else [0, 2, 1, 3])
    return graph("Reshape", rows, [0] * (1 if members == 1 else 2) + [embedding.n_features * embedding.width])


def _waves(graph: Graph, columns: str, arrays: dict[str, np.ndarray]) -> str:
    frequency, phase = (graph.array(2 * math.pi * arrays[name]) for name in ("frequency", "phase"))
    return graph("Cos", graph("Add", graph("Mul", columns, frequency), phase))


def _bins(graph: Graph, columns: str, arrays: dict[str, np.ndarray]) -> str:
    """Write the share of each bin (features, n, bins); all members have the same bins."""
    start, rate = (arrays[name].reshape(-1, *arrays[name].shape[-2:])[0] for name in ("start", "rate"))
    ceiling = (rate > 0).astype(float)  # the share of a bin that the feature does not need is 0
    ceiling[np.arange(len(rate)), np.count_nonzero(rate, axis=1) - 1] = np.inf
    floor = np.zeros_like(rate)
    floor[:, 0] = -np.inf
    start, rate, floor, ceiling = (graph.array(bounds[:, None]) for bounds in (start, rate, floor, ceiling))
    return graph("Min", graph("Max", graph("Mul", graph("Sub", columns, start), rate), floor), ceiling)
