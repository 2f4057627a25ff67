"""The multilayer perceptron: layers over one parameter buffer, with a hand-written backward."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
    Tensors,
)
from sknn.network.products import FEW_ROWS, numpy_products

MAX_CACHED = 16  # entries in each cache (bound layers, parameter views)


@dataclass(slots=True)
class BoundLayers:
    """Forward and backward of each layer, for some members and one batch size; see `Layer.bind`."""

    numeric: Forward | None
    categorical: Forward | None
    embedding_backwards: list[tuple[Backward, slice]]  # with the columns of the first linear layer's input
    forwards: list[tuple[Forward, bool]]  # from the first layer to the last, and whether it takes noise
    backwards: list[Backward]  # from the last layer to the first


class MLP(EnsembleNetwork):
    """M networks of one shape. A hidden layer is linear, batch norm, activation, dropout.

    Parameters
    ----------
    n_members : int
    n_numeric : int
        Number of numeric columns in the encoded table. The numeric embedding takes the first `n_embedded` of them.
    n_outputs : int
    hidden : tuple of int
    activation : str
    dropout : tuple of float, one per hidden layer
        If any rate is positive, every hidden layer gets noise, so a layer's noise does not depend on the other rates.
    batch_norm : bool
    numeric_embedding : {None, 'periodic', 'piecewise_linear'}
    n_embedded : int
    input_scale : bool
        Whether learned factors multiply the inputs of the first hidden layer.
    weight_init : {'glorot', 'normal'}
        Distribution of the initial weights: 'glorot' is scikit-learn's, 'normal' is described in `Linear`.
    n_levels : tuple of int
        Levels of each embedded category.
    n_means : int
        Values of a level that are means of the target; see `CategoricalEmbedding`.
    dtype : torch.dtype
        Type of the parameters.
    product_dtype : torch.dtype, optional
        Type of the matrix products, if it differs.

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
        n_means: int = 0,
        input_scale: bool = False,
        weight_init: str = "glorot",
        dtype: torch.dtype = torch.float32,
        product_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.init_args = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        self.normalises_batches = batch_norm
        self.n_embedded = n_embedded if numeric_embedding else 0
        self.numeric = NUMERIC_EMBEDDINGS[numeric_embedding](n_embedded) if numeric_embedding and n_embedded else None
        self.categorical = CategoricalEmbedding(list(n_levels), n_means) if n_levels else None
        width = n_numeric
        if self.numeric is not None:
            width += self.numeric.out_features - n_embedded
        if self.categorical is not None:
            width += self.categorical.out_features
        self.layers: Any = nn.ModuleList()
        gain = {"normal": None, "glorot": 2.0 if activation == "logistic" else 6.0}[weight_init]
        linears = chain([ScaledLinear] if input_scale and hidden else [], repeat(Linear))
        for size, rate in zip(hidden, dropout or (0.0,) * len(hidden), strict=True):
            self.layers.append(next(linears)(width, size, gain=gain, product_dtype=product_dtype))
            if batch_norm:
                self.layers.append(BatchNorm(size))
            self.layers.append(Activation(activation))
            if any(dropout):
                self.layers.append(Dropout(size, rate))
            width = size
        self.layers.append(OutputLinear(width, n_outputs, gain, product_dtype))
        self._layer_tuple: tuple[Any, ...] = tuple(self.layers)  # iterating over a ModuleList is slow
        self._module_tuple: tuple[Any, ...] = tuple(self.modules())
        self.entries, length = allocate(
            (layer, name, shape, name not in layer.statistics, name in layer.decayed, layer.lr_scales.get(name, 1.0))
            for layer in self._all_layers()
            for name, shape in layer.shapes.items()
        )
        self.bind_views(torch.zeros(n_members, length, dtype=dtype))

    @property
    def kind(self) -> str:  # type: ignore[override]
        settings = [
            "batch norm" if self.normalises_batches else "",
            (self.init_args["numeric_embedding"] or "").replace("_", " ") if self.numeric is not None else "",
            "target means" if self.has_target_means else "",
        ]
        return ", ".join(filter(None, settings)) or "plain"

    def _all_layers(self) -> list[Layer]:
        return [layer for layer in (self.numeric, self.categorical, *self.layers) if layer is not None]

    def reset(self, generators: list[torch.Generator], edges: list[Tensor] | None = None) -> None:
        """Draw each member's initial weights from its own CPU generator, and set the bins of a piecewise embedding."""
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
        self._bound_layers: dict[tuple[int, ...], BoundLayers] = {}
        self._param_views: dict[tuple[int, int], list[Tensors]] = {}

    def _bind(self, members: slice, rows: int) -> BoundLayers:
        """Return the layers bound to these members and to batches of `rows` rows, from the cache if possible."""
        key = (members.start, members.stop, rows, torch.get_num_threads())
        bound = self._bound_layers.get(key)
        if bound is None:
            if len(self._bound_layers) >= MAX_CACHED:
                self._bound_layers.clear()
            bound = self._bound_layers[key] = self._bind_anew(members, rows)
        return bound

    def _bind_anew(self, members: slice, rows: int) -> BoundLayers:
        layers = self._all_layers()
        forwards: dict[Any, Forward] = {}
        backwards: dict[Any, Backward] = {}
        views = zip(layers, self._params(members), self._views(self.grad_buffer, members), strict=True)
        for layer, params, grads in views:
            first, last = layer is layers[0], layer is layers[-1]
            forwards[layer], backwards[layer] = layer.bind(params, grads, rows, not first, reuse_output=not last)
        embeddings = []
        if self.numeric is not None:
            embeddings.append((backwards[self.numeric], slice(0, self.numeric.out_features)))
        if self.categorical is not None:
            embeddings.append((backwards[self.categorical], slice(-self.categorical.out_features, None)))
        return BoundLayers(
            forwards.get(self.numeric),
            forwards.get(self.categorical),
            embeddings,
            [(forwards[layer], isinstance(layer, Dropout)) for layer in self.layers],
            [backwards[layer] for layer in reversed(self.layers)],
        )

    def bound_layers(self) -> list[BoundLayers]:
        return list(self._bound_layers.values())

    def release(self) -> None:
        self._bound_layers.clear()

    def _params(self, members: slice) -> list[Tensors]:
        """Return views of these members' parameters for each layer, from the cache if possible."""
        key = (members.start, members.stop)
        if key not in self._param_views:
            if len(self._param_views) >= MAX_CACHED:
                self._param_views.clear()
            self._param_views[key] = self._views(self.param_buffer, members)
        return self._param_views[key]

    def _views(self, buffer: Tensor, members: slice) -> list[Tensors]:
        """Return views of a buffer for each layer."""
        return [
            tuple(self.view(buffer, entry, members) for entry in self.entries if entry.owner is layer)
            for layer in self._all_layers()
        ]

    def train(self, mode: bool = True) -> Self:
        for module in self._module_tuple:  # called twice an epoch; nn.Module's own `train` takes as long as a step
            object.__setattr__(module, "training", mode)
        return self

    @property
    def has_target_means(self) -> bool:
        return self.categorical is not None and self.categorical.n_means > 0

    def preparation_key(self) -> bytes | None:
        bins = b""
        if isinstance(self.numeric, PiecewiseLinearEmbedding):
            bins = torch.stack([self.numeric.start[0], self.numeric.rate[0]]).cpu().numpy().tobytes()
        return (b"folds" * self.has_target_means + bins) or None

    def prepare(self, x: Inputs) -> Inputs:
        numeric, codes = x.numeric, x.codes
        if isinstance(self.numeric, PiecewiseLinearEmbedding):
            embedded, others = numeric[..., : self.n_embedded], numeric[..., self.n_embedded :]
            numeric = torch.cat([self.numeric.prepare(embedded), others], -1)
        if codes is not None and x.fold is not None and self.has_target_means:
            codes = codes + x.fold.unsqueeze(-1) * self.categorical.total_levels  # type: ignore[union-attr]
        return Inputs(numeric, codes)

    def gradients(
        self, x: Inputs, noise: Sequence[Tensor], gradient: Callable[[Tensor], Tensor], members: slice
    ) -> Tensor:
        bound = self._bind(members, x.numeric.shape[1])
        noises = iter(noise)
        z = x.numeric
        if bound.embedding_backwards:
            categorical = bound.categorical and partial(bound.categorical, noise=next(noises, None))
            z = self._embed(x, bound.numeric, categorical)
        for forward, takes_noise in bound.forwards:
            z = forward(z, next(noises, None)) if takes_noise else forward(z)
        grad: Any = gradient(z)
        for backward in bound.backwards:
            grad = backward(grad)
        for backward, columns in bound.embedding_backwards:
            backward(grad[..., columns])
        return z

    def outputs(self, x: Inputs, members: slice = slice(None), param_buffer: Tensor | None = None) -> Tensor:
        params = iter(self._params(members) if param_buffer is None else self._views(param_buffer, members))
        z = x.numeric
        if self.numeric is not None or self.categorical is not None:
            numeric = self.numeric and partial(self.numeric.run, params=next(params))
            categorical = self.categorical and partial(self.categorical.run, params=next(params))
            z = self._embed(x, numeric, categorical)
        for layer in self._layer_tuple:
            z = layer.run(z, next(params))
        return z

    def forward(self, numeric: Tensor, codes: Tensor | None = None) -> Tensor:
        """Return raw outputs (M, B, K), before the link. The rows are (B, d), for all members, or (M, B, d)."""
        if numeric.dim() == 2:
            numeric = numeric.expand(self.n_members, *numeric.shape)
        if codes is not None and codes.dim() == 2:
            codes = codes.expand(self.n_members, *codes.shape)
        z = self._embed(Inputs(numeric, codes), self.numeric, self.categorical)
        for layer in self.layers:
            z = layer(z)
        return z

    def _embed(self, x: Inputs, numeric: Forward | None, categorical: Forward | None) -> Tensor:
        """Return the input of the first linear layer: embedded columns, other columns, embedded categories."""
        if numeric is None and categorical is None:
            return x.numeric
        parts = [x.numeric[..., self.n_embedded :]]
        if numeric is not None:
            parts.insert(0, numeric(x.numeric[..., : self.n_embedded]))
        if categorical is not None:
            parts.append(categorical(x.codes))
        return torch.cat(parts, 2)

    def compute_context(self, rows: int) -> contextlib.AbstractContextManager:
        by_numpy = self.param_buffer.device.type == "cpu" and self.init_args["product_dtype"] is None
        return numpy_products() if by_numpy and rows >= FEW_ROWS else contextlib.nullcontext()

    def dropout_rates(self) -> list[tuple[int, float]]:
        return [(layer.width, layer.rate) for layer in self.layers if isinstance(layer, Dropout)]

    def category_dropout(self) -> list[tuple[int, float]]:
        return [] if self.categorical is None else [(self.categorical.width, self.categorical.rate)]

    def linears(self) -> list[tuple[Entry, Entry]]:
        """Return the (weight, bias) entries of the linear layers, from input to output."""
        return [
            tuple(e for e in self.entries if e.owner is layer)[:2]  # type: ignore[misc]
            for layer in self.layers
            if isinstance(layer, Linear)
        ]

    def __reduce__(self) -> tuple:
        values = self.param_buffer.detach().cpu().numpy().copy()
        frozen = [i for i, entry in enumerate(self.entries) if self.is_frozen(entry)]
        return _restore_mlp, (self.init_args | {"n_members": self.n_members}, values, self.training, frozen)


def _restore_mlp(init_args: dict, values: np.ndarray, training: bool, frozen: list[int]) -> MLP:
    network = MLP(**init_args).train(training)
    network.bind_views(torch.from_numpy(values.copy()))
    for i in frozen:
        network.parameter_of(network.entries[i]).requires_grad_(False)
    return network
