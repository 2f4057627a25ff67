"""A network's layers as a table: shapes, numbers of parameters, and how the trained weights are spread."""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sknn.inspection.estimators import fitted_network
from sknn.network.base import EnsembleNetwork, Entry
from sknn.network.custom import CustomNetwork
from sknn.network.mlp import MLP

NEAR_ZERO = 0.01  # of the root mean square: of normally spread weights 0.8 % are below it
BINS = 41  # odd, so that the middle one is around 0
TITLES = ["layer", "kind", "output", "tensor", "shape", "parameters", "mean", "std", "near 0"]
WIDEST = 30  # letters of a kind
TEXTS = 5  # of the columns are texts, the others numbers


@dataclass(frozen=True)
class TensorSummary:
    """A trained tensor of a layer.

    `shape` and `n_parameters` are of one member, the statistics over all.  `near_zero` is the share of weights below
    1 % of the tensor's root mean square; `histogram` counts them in equal bins from -`largest` to `largest`, the
    largest absolute weight.
    """

    name: str
    shape: tuple[int, ...]
    n_parameters: int
    mean: float
    std: float
    near_zero: float
    largest: float
    histogram: np.ndarray

    def cells(self) -> list[str]:
        """What a table shows of it."""
        numbers = [f"{self.n_parameters:,}", f"{self.mean:.4f}", f"{self.std:.4f}", f"{self.near_zero:.1%}"]
        return [self.name, shape_text(self.shape), *numbers]


@dataclass(frozen=True)
class LayerSummary:
    """A layer: its name in `module_`, what it is, the shape of what it makes of a row, and what it has learned."""

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    tensors: list[TensorSummary]

    @property
    def n_parameters(self) -> int:
        """Trained numbers of one member."""
        return sum(tensor.n_parameters for tensor in self.tensors)

    @property
    def short_kind(self) -> str:
        """Its kind, cut where it would push everything else aside."""
        return self.kind if len(self.kind) <= WIDEST else f"{self.kind[: WIDEST - 3]}..."

    def lines(self) -> list[list[str]]:
        """Its lines in a table, with its own cells in the first."""
        own = [self.name, self.short_kind, shape_text(self.output_shape)]
        if not self.tensors:
            return [own + [""] * (len(TITLES) - len(own))]
        return [(["", "", ""] if i else own) + tensor.cells() for i, tensor in enumerate(self.tensors)]


@dataclass(frozen=True, repr=False)
class NetworkSummary:
    """What a network consists of; `str` makes a table of it.

    Attributes
    ----------
    estimator : str
        The estimator's class.
    n_members : int
    out_activation : str
        What turns the last layer's outputs into predictions.
    layers : list of LayerSummary
        Each with `name`, `kind`, `output_shape` (None if it is not known), `n_parameters`, and `tensors`; these with
        `name`, `shape`, `n_parameters`, `mean`, `std`, `near_zero`, `largest` and `histogram`.
    n_fixed : int
        Numbers of one member that are not trained: running means, bin edges.
    n_parameters : int
        Numbers of one member that are.
    """

    estimator: str
    n_members: int
    out_activation: str
    layers: list[LayerSummary]
    n_fixed: int

    @property
    def n_parameters(self) -> int:
        return sum(layer.n_parameters for layer in self.layers)

    @property
    def title(self) -> str:
        """The estimator, its members, and how many parameters they have."""
        each = f"{self.n_parameters:,} parameters"
        if self.n_members == 1:
            return f"{self.estimator}: {each}"
        return f"{self.estimator}: {self.n_members} members of {each}, {self.n_members * self.n_parameters:,} in all"

    def __str__(self) -> str:
        titles, *lines = _aligned([TITLES, *(line for layer in self.layers for line in layer.lines())])
        rule = "-" * max(map(len, [titles, *lines]))
        fixed = f"Not trained: {self.n_fixed:,} numbers. " if self.n_fixed else ""
        notes = f"Output: {self.out_activation}. {fixed}Near 0: below {NEAR_ZERO:.0%} of the root mean square."
        return "\n".join([self.title, rule, titles, rule, *lines, rule, notes])

    __repr__ = __str__


def summary(estimator: Any, X: Any = None) -> NetworkSummary:
    """The layers of a fitted estimator's network: shapes, parameters, and statistics of the weights.

    Parameters
    ----------
    estimator : NeuralClassifier or NeuralRegressor
        Fitted; also a pipeline that ends in one, or a search whose best estimator is one.
    X : like the X of the network's `fit`, optional
        With a custom `module`, the output shapes of its layers are those that its first row gets; without, they are not
        known.  The built-in network does not need it.

    Returns
    -------
    NetworkSummary
        `print` shows it as a table.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If there is no network in it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import NeuralClassifier
    >>> from sknn.inspection import summary
    >>> clf = NeuralClassifier(hidden_layer_sizes=(8,), ensemble_size=2, max_iter=5, random_state=0)
    >>> clf = clf.fit(*load_iris(return_X_y=True))
    >>> print(summary(clf).title)
    NeuralClassifier: 2 members of 71 parameters, 142 in all
    """
    fitted = fitted_network(estimator)
    network = fitted.module_
    shapes = _output_shapes(network, None if X is None else _first_row(fitted, X))
    body, tensors = _body(network), _tensors_of_layers(network)
    layers = [
        LayerSummary(name or "module", _kind(layer, bool(tensors.get(name))), shapes.get(name), tensors.get(name, []))
        for name, layer in body.named_modules()
        if name in tensors or not list(layer.children())
    ]
    fixed = sum(int(np.prod(entry.shape)) for entry in network.entries if not entry.trained)
    return NetworkSummary(type(fitted).__name__, network.n_members, fitted.out_activation_, layers, fixed)


def _body(network: EnsembleNetwork) -> nn.Module:
    """The module whose layers are those of a member."""
    return network.members[0] if isinstance(network, CustomNetwork) else network


def _kind(layer: nn.Module, has_tensors: bool) -> str:
    """A layer's class, and what sets it apart if its tensors do not."""
    details = "" if has_tensors else layer.extra_repr()
    return f"{type(layer).__name__}({details})" if details else type(layer).__name__


def _tensors_of_layers(network: EnsembleNetwork) -> dict[str, list[TensorSummary]]:
    """What each layer has learned, by its name."""
    names = {layer: name for name, layer in network.named_modules()}
    tensors: dict[str, list[TensorSummary]] = {}
    for entry in network.entries:
        if entry.trained:
            owner, _, own_name = entry.name.rpartition(".")
            layer = owner if isinstance(network, CustomNetwork) else names[entry.owner]
            tensors.setdefault(layer, []).append(_tensor(network, entry, own_name))
    return tensors


def _tensor(network: EnsembleNetwork, entry: Entry, name: str) -> TensorSummary:
    values = network.view(network.param_buffer.detach(), entry).double().cpu().numpy()
    size = np.abs(values)
    largest = float(size.max(initial=0))
    return TensorSummary(
        f"{name} (frozen)" if network.is_frozen(entry) else name,
        entry.shape,
        int(np.prod(entry.shape)),
        mean=float(values.mean()),
        std=float(values.std()),
        near_zero=float((size <= NEAR_ZERO * np.sqrt(np.mean(values**2))).mean()),
        largest=largest,
        histogram=np.histogram(values, BINS, (-(largest or 1.0), largest or 1.0))[0],
    )


def _first_row(fitted: Any, X: Any) -> Tensor:
    """The numbers of the first encoded row."""
    numbers = fitted._encode(fitted._check_X(X[:1], reset=False)).numeric
    return torch.from_numpy(numbers.toarray() if sp.issparse(numbers) else numbers)


def _output_shapes(network: EnsembleNetwork, row: Tensor | None) -> dict[str, tuple[int, ...]]:
    """The shape that each layer makes of a row, by its name; found out with a copy, which nobody else looks at."""
    copied = copy.deepcopy(network).eval()
    axes = 1 if isinstance(network, CustomNetwork) else 2  # members and rows, before those of a row
    if isinstance(copied, MLP):
        n_categories = len(copied.config["n_levels"])
        codes = torch.zeros(1, n_categories, dtype=torch.int64, device=copied.param_buffer.device)
        inputs = [copied.param_buffer.new_zeros(1, copied.config["n_numeric"]), *([codes] if n_categories else [])]
    elif row is not None:
        inputs = [row.to(copied.param_buffer)]
    else:
        return {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in _body(copied).named_modules():
        layer.register_forward_hook(partial(_note_shape, shapes, name, axes))
    with torch.inference_mode():
        _body(copied)(*inputs)
    return shapes


def _note_shape(shapes: dict, name: str, axes: int, layer: nn.Module, inputs: Any, output: Any) -> None:
    first = output[0] if isinstance(output, tuple) else output  # a recurrent layer gives its state, too
    if isinstance(first, Tensor):
        shapes[name] = tuple(first.shape[axes:])


def shape_text(shape: tuple[int, ...] | None) -> str:
    """A shape as a reader writes it."""
    return "" if shape is None else " x ".join(map(str, shape))


def _aligned(lines: list[list[str]]) -> list[str]:
    """Lines of a table: texts to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < TEXTS else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
