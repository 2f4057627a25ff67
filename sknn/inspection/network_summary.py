"""A table of a network's layers: shapes, numbers of parameters, and statistics of the trained weights."""

import copy
import math
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sknn.inspection.fitted_estimator import find_fitted_estimator
from sknn.network.base import EnsembleNetwork, Entry
from sknn.network.custom import CustomNetwork
from sknn.network.mlp import MLP
from sknn.utils.text import align

NEAR_ZERO = 0.01  # relative to the root mean square; 0.8 % of normally distributed weights are below it
BINS = 41  # odd, so that the middle one contains 0
TITLES = ["layer", "kind", "output", "tensor", "shape", "parameters", "mean", "std", "near 0"]
MAX_KIND_LENGTH = 30
N_TEXT_COLUMNS = 5  # the other columns hold numbers


@dataclass(frozen=True)
class TensorSummary:
    """A trained tensor of a layer.

    `shape` and `n_parameters` are those of one member, the statistics those of all members. `near_zero` is the share of
    weights below 1 % of the tensor's root mean square. `largest` is the largest absolute weight. `histogram` counts the
    weights in equal bins from -`largest` to `largest`.
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
        """Return its cells in a table."""
        statistics = [f"{self.mean:.4f}", f"{self.std:.4f}", f"{self.near_zero:.1%}"]
        return [self.name, format_shape(self.shape), f"{self.n_parameters:,}", *statistics]


@dataclass(frozen=True)
class LayerSummary:
    """A layer: its name in `module_`, its kind, its output shape for a row, and its trained tensors."""

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    tensors: list[TensorSummary]

    @property
    def n_parameters(self) -> int:
        """Trained parameters of one member."""
        return sum(tensor.n_parameters for tensor in self.tensors)

    @property
    def short_kind(self) -> str:
        """The kind, cut if it is too long for a table."""
        return self.kind if len(self.kind) <= MAX_KIND_LENGTH else f"{self.kind[: MAX_KIND_LENGTH - 3]}..."

    def lines(self) -> list[list[str]]:
        """Return its lines in a table, one for each tensor, with the cells of the layer in the first."""
        cells = [self.name, self.short_kind, format_shape(self.output_shape)]
        if not self.tensors:
            return [cells + [""] * (len(TITLES) - len(cells))]
        return [(["", "", ""] if i else cells) + tensor.cells() for i, tensor in enumerate(self.tensors)]


@dataclass(frozen=True)
class KindSummary:
    """The members of one kind.

    `weight` is their share of the predictions. `layers`, `n_parameters` and `n_fixed`, the number of values that are
    not trained (running means, bin edges), are those of one member.
    """

    kind: str
    n_members: int
    weight: float
    layers: list[LayerSummary]
    n_fixed: int

    @property
    def n_parameters(self) -> int:
        """Trained parameters of one member."""
        return sum(layer.n_parameters for layer in self.layers)

    @property
    def title(self) -> str:
        """The kind, its numbers of members and parameters, and its weight."""
        members = f"{self.n_members} member{'' if self.n_members == 1 else 's'}"
        return f"{self.kind}: {members} of {self.n_parameters:,} parameters, weight {self.weight:.2f}"

    def lines(self) -> list[list[str]]:
        """Return the lines of its layers in a table."""
        return [line for layer in self.layers for line in layer.lines()]


@dataclass(frozen=True, repr=False)
class NetworkSummary:
    """The layers of a network; `str` returns a table of them.

    Attributes
    ----------
    estimator : str
        The estimator's class.
    out_activation : str
        The function that turns the last layer's outputs into predictions.
    kinds : list of KindSummary
        An entry for each kind of members; one if all members are alike. Each has `kind`, `n_members`, `weight` (its
        share of the predictions), and of one member `layers`, `n_parameters` and `n_fixed` (the number of values that
        are not trained, such as running means and bin edges).
    layers : list of LayerSummary
        Those of the first kind, then those of the next. Each has `name`, `kind`, `output_shape` (None if unknown),
        `n_parameters`, and `tensors`; each tensor has `name`, `shape`, `n_parameters`, `mean`, `std`, `near_zero`,
        `largest` and `histogram`.
    n_members : int
    total_parameters, total_fixed : int
        Trained and other values of all members.
    """

    estimator: str
    out_activation: str
    kinds: list[KindSummary]

    @property
    def layers(self) -> list[LayerSummary]:
        return [layer for kind in self.kinds for layer in kind.layers]

    @property
    def n_members(self) -> int:
        return sum(kind.n_members for kind in self.kinds)

    @property
    def total_parameters(self) -> int:
        return sum(kind.n_members * kind.n_parameters for kind in self.kinds)

    @property
    def total_fixed(self) -> int:
        return sum(kind.n_members * kind.n_fixed for kind in self.kinds)

    @property
    def title(self) -> str:
        """The estimator, and its numbers of members and parameters."""
        if self.n_members == 1:
            return f"{self.estimator}: {self.total_parameters:,} parameters"
        of_each = f" of {self.kinds[0].n_parameters:,} parameters" if len(self.kinds) == 1 else ""
        noun = "" if of_each else " parameters"
        return f"{self.estimator}: {self.n_members} members{of_each}, {self.total_parameters:,}{noun} in all"

    def __str__(self) -> str:
        lines = [kind.lines() for kind in self.kinds]
        titles, *aligned = align([TITLES, *(line for lines_of_kind in lines for line in lines_of_kind)], N_TEXT_COLUMNS)
        separator, rest = "-" * max(map(len, [titles, *aligned])), iter(aligned)
        table = [titles, separator]
        for kind, lines_of_kind in zip(self.kinds, lines, strict=True):
            heading = [kind.title, separator] if len(self.kinds) > 1 else []
            table += [*heading, *islice(rest, len(lines_of_kind)), separator]
        notes = f"Output: {self.out_activation}. {self._fixed()}Near 0: below {NEAR_ZERO:.0%} of the root mean square."
        return "\n".join([self.title, separator, *table, notes])

    __repr__ = __str__

    def _fixed(self) -> str:
        """Return a sentence about the values that are not trained, if there are any."""
        if not self.total_fixed:
            return ""
        n = f"{self.kinds[0].n_fixed:,} values" if len(self.kinds) == 1 else f"{self.total_fixed:,} values in all"
        return f"Not trained: {n}. "


def summary(estimator: Any, X: Any = None) -> NetworkSummary:
    """Summarise the layers of a fitted estimator's network: shapes, parameters, and statistics of the weights.

    Parameters
    ----------
    estimator : NeuralClassifier or NeuralRegressor
        Fitted; also a pipeline that ends in one, or a search whose best estimator is one.
    X : like the X of its `fit`, optional
        Rows, the first of which shows the output shapes of a custom `module`; without X they are unknown. The built-in
        network does not need it.

    Returns
    -------
    NetworkSummary
        Printed as a table.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator has no network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import NeuralClassifier
    >>> from sknn.inspection import summary
    >>> clf = NeuralClassifier(hidden_layer_sizes=(8,), ensemble_size=2, max_iter=5, random_state=0)
    >>> clf = clf.fit(*load_iris(return_X_y=True))
    >>> print(summary(clf).title)
    NeuralClassifier: 2 members, 1,978 parameters in all
    >>> [kind.kind for kind in summary(clf).kinds]
    ['batch norm', 'piecewise linear']
    """
    fitted = find_fitted_estimator(estimator)
    network, row = fitted.module_, None if X is None else _first_row(fitted, X)
    kinds = [
        _summarise_kind(part, float(fitted.member_weights_[members].sum()), row)
        for part, members in zip(network.parts, network.members_of_parts(), strict=True)
    ]
    return NetworkSummary(type(fitted).__name__, fitted.out_activation_, kinds)


def _summarise_kind(network: EnsembleNetwork, weight: float, row: Tensor | None) -> KindSummary:
    """Summarise the members of one kind, given their weight."""
    shapes, tensors = _output_shapes(network, row), _summarise_tensors(network)
    layers = [
        LayerSummary(name or "module", _kind(layer, name in tensors), shapes.get(name), tensors.get(name, []))
        for name, layer in _member_module(network).named_modules()
        if name in tensors or not any(layer.children())
    ]
    n_fixed = sum(math.prod(entry.shape) for entry in network.entries if not entry.trained)
    return KindSummary(network.kind, network.n_members, weight, layers, n_fixed)


def _member_module(network: EnsembleNetwork) -> nn.Module:
    """Return the module that holds the layers of a member."""
    return network.members[0] if isinstance(network, CustomNetwork) else network


def _kind(layer: nn.Module, has_tensors: bool) -> str:
    """Return a layer's class, with its settings if it has no trained tensors."""
    details = "" if has_tensors else layer.extra_repr()
    return f"{type(layer).__name__}({details})" if details else type(layer).__name__


def _summarise_tensors(network: EnsembleNetwork) -> dict[str, list[TensorSummary]]:
    """Return the trained tensors of each layer, by its name."""
    names = {layer: name for name, layer in network.named_modules()}
    tensors: dict[str, list[TensorSummary]] = {}
    for entry in network.entries:
        if entry.trained:
            owner, _, tensor_name = entry.name.rpartition(".")
            layer = owner if isinstance(network, CustomNetwork) else names[entry.owner]
            tensors.setdefault(layer, []).append(_summarise_tensor(network, entry, tensor_name))
    return tensors


def _summarise_tensor(network: EnsembleNetwork, entry: Entry, name: str) -> TensorSummary:
    values = network.view(network.param_buffer.detach(), entry).double().cpu().numpy()
    magnitudes = np.abs(values)
    largest = float(magnitudes.max(initial=0))
    return TensorSummary(
        f"{name} (frozen)" if network.is_frozen(entry) else name,
        entry.shape,
        int(np.prod(entry.shape)),
        mean=float(values.mean()),
        std=float(values.std()),
        near_zero=float((magnitudes <= NEAR_ZERO * np.sqrt(np.mean(values**2))).mean()),
        largest=largest,
        histogram=np.histogram(values, BINS, (-(largest or 1.0), largest or 1.0))[0],
    )


def _first_row(fitted: Any, X: Any) -> Tensor:
    """Return the numeric columns of the first row, encoded."""
    numeric = fitted._encode(fitted._check_X(X[:1], reset=False)).numeric
    return torch.from_numpy(numeric.toarray() if sp.issparse(numeric) else numeric)


def _output_shapes(network: EnsembleNetwork, row: Tensor | None) -> dict[str, tuple[int, ...]]:
    """Return the output shape of each layer for a row, by its name, from a prediction of a copy of the network."""
    copied = copy.deepcopy(network).eval()
    n_axes = 1 if isinstance(network, CustomNetwork) else 2  # leading axes to drop: (members and) rows
    if isinstance(copied, MLP):
        n_categories = len(copied.init_args["n_levels"])
        codes = torch.zeros(1, n_categories, dtype=torch.int64, device=copied.param_buffer.device)
        inputs = [copied.param_buffer.new_zeros(1, copied.init_args["n_numeric"]), *([codes] if n_categories else [])]
    elif row is not None:
        inputs = [row.to(copied.param_buffer)]
    else:
        return {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in _member_module(copied).named_modules():
        layer.register_forward_hook(partial(_record_shape, shapes, name, n_axes))
    with torch.inference_mode():
        _member_module(copied)(*inputs)
    return shapes


def _record_shape(shapes: dict, name: str, n_axes: int, layer: nn.Module, inputs: Any, output: Any) -> None:
    first = output[0] if isinstance(output, tuple) else output  # a recurrent layer returns its state, too
    if isinstance(first, Tensor):
        shapes[name] = tuple(first.shape[n_axes:])


def format_shape(shape: tuple[int, ...] | None) -> str:
    """Return a shape as text, such as '4 x 8'."""
    return "" if shape is None else " x ".join(map(str, shape))
