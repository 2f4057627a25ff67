"""The multilayer perceptron: layers over one flat buffer, with a forward and a backward written by hand."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sknn.network.base import EnsembleNetwork, Entry, Inputs, allocate
from sknn.network.embeddings import (
    NUMERIC_EMBEDDINGS,
    CategoricalEmbedding,
    NumericEmbedding,
    PiecewiseLinearEmbedding,
)
from sknn.network.layers import (
    Activation,
    Backward,
    BatchNorm,
    Dropout,
    Forward,
    Layer,
    Linear,
    OutputLinear,
    ScaledLinear,
    Views,
)
from sknn.network.products import FEW_ROWS, beside_numpy

MOST_BOUND = 16  # pairs of members and batch size whose bound layers, with their memory, are kept


@dataclass(slots=True)
class Bound:
    """The parts of the network bound to some members and to a batch size: each one's forward and backward."""

    numeric: tuple[Forward, Backward] | None
    categorical: tuple[Forward, Backward] | None
    forwards: list[tuple[Forward, bool]]  # of the layers, and whether each takes noise
    backwards: list[Backward]  # from the last layer to the first


class MLP(EnsembleNetwork):
    """Members (M networks of one shape) of hidden layers: linear, batch norm, activation, dropout.

    Parameters
    ----------
    n_members : int
    n_numeric : int
        Columns of the encoded table that are numbers; the first `n_embedded` of them go through the numeric embedding.
    n_outputs : int
    hidden : tuple of int
    activation : str
    dropout : tuple of float, one per hidden layer
        All have a place for noise if one has a rate, so that a layer's noise does not depend on the others' rates.
    batch_norm : bool
    numeric_embedding : {None, 'periodic', 'piecewise_linear'}
    n_embedded : int
    input_scale : bool
        Whether the inputs of the first of several layers are multiplied by learned numbers.
    initial : {'glorot', 'normal'}
        How the weights start: as in scikit-learn, or see `Linear`.
    n_levels : tuple of int
        Levels of each category that is embedded.
    dtype : torch.dtype
        Of the parameters.
    product_dtype : torch.dtype, optional
        Of the matrix products, where it differs.

    Examples
    --------
    >>> import torch
    >>> network = MLP(n_members=3, n_numeric=5, n_outputs=2, hidden=(8, 4))
    >>> network(torch.zeros(10, 5)).shape
    torch.Size([3, 10, 2])
    """

    numeric: NumericEmbedding | None
    categorical: CategoricalEmbedding | None

    def __init__(
        self,
        n_members: int,
        n_numeric: int,
        n_outputs: int,
        hidden: tuple[int, ...],
        activation: str = "relu",
        dropout: tuple[float, ...] = (),
        batch_norm: bool = False,
        numeric_embedding: str | None = None,
        n_embedded: int = 0,
        n_levels: tuple[int, ...] = (),
        input_scale: bool = False,
        initial: str = "glorot",
        dtype: torch.dtype = torch.float32,
        product_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        self.n_embedded = n_embedded if numeric_embedding else 0
        self.numeric = NUMERIC_EMBEDDINGS[numeric_embedding](n_embedded) if numeric_embedding and n_embedded else None
        self.categorical = CategoricalEmbedding(list(n_levels)) if n_levels else None
        width = n_numeric
        if self.numeric is not None:
            width += self.numeric.out_features - n_embedded
        if self.categorical is not None:
            width += self.categorical.out_features
        self.layers: Any = nn.ModuleList()
        gain = {"normal": None, "glorot": 2.0 if activation == "logistic" else 6.0}[initial]
        kinds = chain([ScaledLinear] if input_scale and hidden else [], repeat(Linear))
        for size, rate in zip(hidden, dropout or (0.0,) * len(hidden), strict=True):
            self.layers.append(next(kinds)(width, size, gain=gain, product_dtype=product_dtype))
            if batch_norm:
                self.layers.append(BatchNorm(size))
            self.layers.append(Activation(activation))
            if any(dropout):
                self.layers.append(Dropout(size, rate))
            width = size
        self.layers.append(OutputLinear(width, n_outputs, gain, product_dtype))
        self._sequence: tuple[Any, ...] = tuple(self.layers)  # a ModuleList is slow to go through
        self._modules_of_all: tuple[Any, ...] = tuple(self.modules())
        self.entries, length = allocate(
            (layer, name, shape, name not in layer.statistics, name in layer.decayed, layer.lr_scales.get(name, 1.0))
            for layer in self._all_layers()
            for name, shape in layer.shapes.items()
        )
        self.bind_views(torch.zeros(n_members, length, dtype=dtype))

    def _all_layers(self) -> list[Layer]:
        return [layer for layer in (self.numeric, self.categorical, *self.layers) if layer is not None]

    def reset(self, generators: list[torch.Generator], edges: list[Tensor] | None = None) -> None:
        """Draw each member's initial weights from its own CPU generator; set the bins of a piecewise embedding."""
        with torch.no_grad():
            for m, generator in enumerate(generators):
                row = torch.zeros(1, self.param_buffer.shape[1], dtype=self.param_buffer.dtype)
                for layer in self._all_layers():
                    params = {e.name: self.view(row, e)[0] for e in self.entries if e.owner is layer}
                    layer.reset(params, generator)
                    if isinstance(layer, PiecewiseLinearEmbedding) and edges is not None:
                        layer.set_bins(params, edges)
                self.load_row(m, row[0])

    def bind_views(self, param_buffer: Tensor) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self.param_buffer, self.grad_buffer = param_buffer, torch.zeros_like(param_buffer)
            for entry in self.entries:
                value = self.view(self.param_buffer, entry)
                if not entry.trained:
                    entry.owner.register_buffer(entry.name, value)
                    continue
                frozen = entry.name in entry.owner._parameters and self.is_frozen(entry)
                parameter = nn.Parameter(value, requires_grad=not frozen)
                parameter.grad = self.view(self.grad_buffer, entry)
                entry.owner.register_parameter(entry.name, parameter)
        self._bound: dict[tuple[int, ...], Bound] = {}
        self._params_of: dict[tuple[int, int], list[Views]] = {}

    def _bound_to(self, members: slice, rows: int) -> Bound:
        """The layers bound to these members and to batches of so many rows, once."""
        key = (members.start, members.stop, rows, torch.get_num_threads())
        bound = self._bound.get(key)
        if bound is None:
            if len(self._bound) >= MOST_BOUND:
                self._bound.clear()
            bound = self._bound[key] = self._bind(members, rows)
        return bound

    def bound_layers(self) -> list[Bound]:
        """All that are bound now, with the memory they write to."""
        return list(self._bound.values())

    def release(self) -> None:
        self._bound.clear()

    def _bind(self, members: slice, rows: int) -> Bound:
        layers, pairs = self._all_layers(), {}
        views = zip(layers, self._params(members), self._views(self.grad_buffer, members), strict=True)
        for layer, params, grads in views:
            first, last = layer is layers[0], layer is layers[-1]
            pairs[layer] = layer.bind(params, grads, rows, needs_input_grad=not first, reuse_output=not last)
        return Bound(
            None if self.numeric is None else pairs[self.numeric],
            None if self.categorical is None else pairs[self.categorical],
            [(pairs[layer][0], isinstance(layer, Dropout)) for layer in self.layers],
            [pairs[layer][1] for layer in reversed(self.layers)],
        )

    def _params(self, members: slice) -> list[Views]:
        """Views of these members' parameters for each layer, made once."""
        key = (members.start, members.stop)
        if key not in self._params_of:
            if len(self._params_of) >= MOST_BOUND:
                self._params_of.clear()
            self._params_of[key] = self._views(self.param_buffer, members)
        return self._params_of[key]

    def _views(self, buffer: Tensor, members: slice) -> list[Views]:
        """Views of a buffer for each layer."""
        return [
            tuple(self.view(buffer, entry, members) for entry in self.entries if entry.owner is layer)
            for layer in self._all_layers()
        ]

    def train(self, mode: bool = True) -> Self:
        for module in self._modules_of_all:  # twice an epoch; nn.Module's own way takes as long as a step
            object.__setattr__(module, "training", mode)
        return self

    def gradients(
        self, x: Inputs, noise: Sequence[Tensor], gradient: Callable[[Tensor], Tensor], members: slice
    ) -> Tensor:
        bound = self._bound_to(members, x.numeric.shape[1])
        factors = iter(noise)
        z = x.numeric if bound.numeric is None and bound.categorical is None else self._embed(x, bound, factors)
        for forward, takes_noise in bound.forwards:
            z = forward(z, next(factors, None)) if takes_noise else forward(z)
        grad: Any = gradient(z)  # None where nobody wants the input's
        for backward in bound.backwards:
            grad = backward(grad)
        if grad is not None:
            self._embed_back(grad, bound)
        return z

    def _embed(self, x: Inputs, bound: Bound, factors: Iterator[Tensor]) -> Tensor:
        return self._join(
            x.numeric,
            None if bound.numeric is None else bound.numeric[0](x.numeric[..., : self.n_embedded]),
            None if bound.categorical is None else bound.categorical[0](x.codes, next(factors, None)),
        )

    def _embed_back(self, grad: Tensor, bound: Bound) -> None:
        if self.categorical is not None and bound.categorical is not None:
            bound.categorical[1](grad[..., grad.shape[2] - self.categorical.out_features :])
        if self.numeric is not None and bound.numeric is not None:
            bound.numeric[1](grad[..., : self.numeric.out_features])

    def computing(self, rows: int) -> contextlib.AbstractContextManager:
        on_numpys_side = self.param_buffer.device.type == "cpu" and self.config["product_dtype"] is None
        return beside_numpy() if on_numpys_side and rows >= FEW_ROWS else contextlib.nullcontext()

    def outputs(self, x: Inputs, members: slice = slice(None), param_buffer: Tensor | None = None) -> Tensor:
        each = iter(self._params(members) if param_buffer is None else self._views(param_buffer, members))
        z = x.numeric
        if self.numeric is not None or self.categorical is not None:
            z = self._join(
                z,
                None if self.numeric is None else self.numeric.run(z[..., : self.n_embedded], next(each))[0],
                None if self.categorical is None else self.categorical.run(x.codes, next(each))[0],  # type: ignore[arg-type]
            )
        for layer in self._sequence:
            z = layer.run(z, next(each))[0]
        return z

    def forward(self, numeric: Tensor, codes: Tensor | None = None) -> Tensor:
        """Raw outputs (M, B, K), before the link, of encoded rows: (B, d) for all members, or (M, B, d)."""
        if numeric.dim() == 2:
            numeric = numeric.expand(self.n_members, *numeric.shape)
        if codes is not None and codes.dim() == 2:
            codes = codes.expand(self.n_members, *codes.shape)
        x = self._join(
            numeric,
            None if self.numeric is None else self.numeric(numeric[..., : self.n_embedded]),
            None if self.categorical is None else self.categorical(codes),
        )
        for layer in self.layers:
            x = layer(x)
        return x

    def _join(self, numeric: Tensor, embedded: Tensor | None, categories: Tensor | None) -> Tensor:
        """Place the parts of the first linear layer's input side by side."""
        if embedded is None and categories is None:
            return numeric
        parts = [embedded, numeric[..., self.n_embedded :], categories]
        return torch.cat([part for part in parts if part is not None], 2)

    def dropout_rates(self) -> list[tuple[int, float]]:
        return [(layer.width, layer.rate) for layer in self.layers if isinstance(layer, Dropout)]

    def level_dropout(self) -> list[tuple[int, float]]:
        return [] if self.categorical is None else [(self.categorical.width, self.categorical.rate)]

    def linears(self) -> list[tuple[Entry, Entry]]:
        """The (weight, bias) entries of the linear layers, from input to output."""
        return [
            tuple(e for e in self.entries if e.owner is layer)[:2]  # type: ignore[misc]
            for layer in self.layers
            if isinstance(layer, Linear)
        ]

    def __reduce__(self) -> tuple:
        values = self.param_buffer.detach().cpu().numpy().copy()
        frozen = [i for i, entry in enumerate(self.entries) if self.is_frozen(entry)]
        return _restore_mlp, (self.config | {"n_members": self.n_members}, values, self.training, frozen)


def _restore_mlp(config: dict, values: np.ndarray, training: bool, frozen: list[int]) -> MLP:
    network = MLP(**config).train(training)
    network.bind_views(torch.from_numpy(values.copy()))
    for i in frozen:
        network.parameter_of(network.entries[i]).requires_grad_(False)
    return network
