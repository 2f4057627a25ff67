"""The built-in network as an ONNX graph: embeddings, then a product, a bias and an activation per layer.

What is linear is multiplied out before: learned scales of the inputs, batch norm, and what the caller asks to be done
to the outputs.  Of several members every tensor has a leading axis; a single one does without.
"""

import math
from collections.abc import Callable

import numpy as np
from torch import nn

from sknn.export.onnx.encoder import GraphEncoded
from sknn.export.onnx.graph import Graph
from sknn.network.activations import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from sknn.network.embeddings import NumericEmbedding, PeriodicEmbedding
from sknn.network.layers import BATCH_NORM_EPSILON, Activation, BatchNorm, Linear, ScaledLinear
from sknn.network.mlp import MLP

Affine = tuple[np.ndarray, np.ndarray]  # x @ first + second


def _silu(graph: Graph, x: str) -> str:
    return graph("Mul", x, graph("Sigmoid", x))


def _gelu(graph: Graph, x: str) -> str:
    share = graph("Mul", x, graph.number(math.sqrt(0.5)))
    if graph.dtype == np.float64:  # ONNX Runtime has Erf in single precision only
        share = graph.cast(graph("Erf", graph.cast(share, np.float32)), np.float64)
    else:
        share = graph("Erf", share)
    return graph("Mul", graph("Mul", x, graph.number(0.5)), graph("Add", share, graph.number(1)))


def _mish(graph: Graph, x: str) -> str:
    return graph("Mul", x, graph("Tanh", graph("Softplus", x)))


def _selu(graph: Graph, x: str) -> str:
    """From parts, since the operator's own constants are float32."""
    below = graph("Mul", graph("Elu", graph("Min", x, graph.number(0))), graph.number(SELU_ALPHA))
    return graph("Mul", graph("Add", graph("Relu", x), below), graph.number(SELU_SCALE))


def _leaky_relu(graph: Graph, x: str) -> str:
    return graph("Max", x, graph("Mul", x, graph.number(LEAKY_SLOPE)))


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


def mlp_outputs(graph: Graph, network: MLP, encoded: GraphEncoded, after: Affine) -> str:
    """The network's outputs ((members,) n, K), multiplied by a matrix and shifted: `z @ after[0] + after[1]`."""
    first, *others = _multiply_out(network)
    activation = next((layer.name for layer in network.layers if isinstance(layer, Activation)), "identity")
    x, order = _inputs(graph, network, encoded)
    layers = [(first[0][..., order, :], first[1]), *others]
    weight, bias = layers.pop()
    for affine in layers:
        x = ACTIVATIONS[activation](graph, _product(graph, x, affine))
    return _product(graph, x, (weight @ after[0], bias @ after[0] + after[1]))


def parameters(network: MLP, layer: nn.Module) -> dict[str, np.ndarray]:
    """A layer's numbers by name, float64; with the members axis if there are several."""
    views = {e.name: network.view(network.param_buffer, e) for e in network.entries if e.owner is layer}
    arrays = {name: view.detach().cpu().double().numpy() for name, view in views.items()}
    return {name: array[0] if len(array) == 1 else array for name, array in arrays.items()}


def _multiply_out(network: MLP) -> list[Affine]:
    """Weight and bias of each linear layer, with what belongs to it."""
    affines: list[Affine] = []
    for layer in network.layers:
        numbers = parameters(network, layer)
        if isinstance(layer, Linear):
            scale = numbers["scale"] if isinstance(layer, ScaledLinear) else 1.0
            affines.append((numbers["weight"] * scale, numbers["bias"]))
        elif isinstance(layer, BatchNorm):
            weight, bias = affines.pop()
            factor = numbers["weight"] / np.sqrt(numbers["running_var"] + BATCH_NORM_EPSILON)
            affines.append((weight * factor, (bias - numbers["running_mean"]) * factor + numbers["bias"]))
    return affines


def _product(graph: Graph, x: str, affine: Affine) -> str:
    weight, bias = graph.number(affine[0]), graph.number(affine[1])
    if weight.ndim == 2:
        return graph("Gemm", x, weight, bias[0])
    return graph("Add", graph("MatMul", x, weight), bias)


def _inputs(graph: Graph, network: MLP, encoded: GraphEncoded) -> tuple[str, np.ndarray]:
    """The first layer's input, and which of its rows each column belongs to."""
    parts = [part for part in (encoded.numeric, encoded.others) if part is not None]
    order = np.arange(network.layers[0].in_features)
    members = network.n_members
    embedded = []
    if network.numeric is not None and encoded.numeric is not None:
        embedding, d = network.numeric, network.n_embedded
        embedded.append(_embed_numbers(graph, parameters(network, embedding), embedding, encoded.numeric, members))
        if embedding.keeps_number:  # beside each number's embedding there, after all of them here
            places = order[: embedding.out_features].reshape(d, -1)
            order = np.concatenate([places[:, :-1].ravel(), places[:, -1], order[embedding.out_features :]])
        else:
            parts = parts[1:]
    categories = []
    if network.categorical is not None:
        weight = parameters(network, network.categorical)["weight"]
        categories.append(_embed_codes(graph, weight, encoded.codes, network.categorical.out_features))
    if members > 1 and (embedded or categories):  # what all members share is repeated, to stand beside what they don't
        parts = [graph("Expand", graph.concat(parts), np.array([members, 1, 1]))] if parts else []
    return graph.concat([*embedded, *parts, *categories]), order


def _embed_codes(graph: Graph, weight: np.ndarray, codes: str | None, width: int) -> str:
    vectors = graph("Gather", graph.number(weight), codes, axis=weight.ndim - 2)  # ((members,) n, features, 8)
    return graph("Reshape", vectors, [0] * (weight.ndim - 1) + [width])


def _embed_numbers(
    graph: Graph, numbers: dict[str, np.ndarray], embedding: NumericEmbedding, x: str, members: int
) -> str:
    """See `NumericEmbedding.run`: ((members,) n, features * width)."""
    columns = graph("Unsqueeze", graph("Transpose", x, perm=[1, 0]), [2])  # (features, n, 1)
    expand = _waves if isinstance(embedding, PeriodicEmbedding) else _bins
    terms = expand(graph, columns, numbers)  # ((members,) features, n, terms)
    vectors = graph("Add", graph("MatMul", terms, graph.number(numbers["weight"])), graph.number(numbers["bias"]))
    rows = graph("Transpose", vectors, perm=[1, 0, 2] if members == 1 else [0, 2, 1, 3])
    return graph("Reshape", rows, [0] * (1 if members == 1 else 2) + [embedding.n_features * embedding.width])


def _waves(graph: Graph, columns: str, numbers: dict[str, np.ndarray]) -> str:
    frequency, phase = (graph.number(2 * math.pi * numbers[name]) for name in ("frequency", "phase"))
    return graph("Cos", graph("Add", graph("Mul", columns, frequency), phase))


def _bins(graph: Graph, columns: str, numbers: dict[str, np.ndarray]) -> str:
    start, rate, floor, ceiling = (graph.number(numbers[name]) for name in ("start", "rate", "floor", "ceiling"))
    return graph("Min", graph("Max", graph("Mul", graph("Sub", columns, start), rate), floor), ceiling)
