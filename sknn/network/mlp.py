"""The multilayer perceptron: layers over one flat buffer, with a forward and a backward written by hand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sknn.network.embeddings import (
    NUMERIC_EMBEDDINGS,
    CategoricalEmbedding,
    NumericEmbedding,
    PiecewiseLinearEmbedding,
)
from sknn.network.flat import Entry, FlatNetwork, Inputs, lay_out
from sknn.network.layers import Activation, BatchNorm, Dropout, Layer, Linear, Views


@dataclass(slots=True)
class Plan:
    """For some members, views of each layer's parameters and of their gradients."""

    params: list[Views]
    grads: list[Views]


class MLP(FlatNetwork):
    """Members (M networks of one shape) of hidden layers: linear, batch norm, activation, dropout.

    Parameters
    ----------
    n_members : int
    n_numbers : int
        Columns of the encoded table that are numbers; the first `n_embedded` of them go through the numeric embedding.
    n_outputs : int
    hidden : tuple of int
    activation : str
    dropout : tuple of float, one per hidden layer
    batch_norm : bool
    numeric_embedding : {None, 'periodic', 'piecewise_linear'}
    n_embedded : int
    n_levels : tuple of int
        Levels of each category that is embedded.
    dtype : torch.dtype
        Of the parameters.
    product_dtype : torch.dtype, optional
        Of the matrix products, where it differs.

    Examples
    --------
    >>> import torch
    >>> network = MLP(n_members=3, n_numbers=5, n_outputs=2, hidden=(8, 4))
    >>> network(torch.zeros(10, 5)).shape
    torch.Size([3, 10, 2])
    """

    numeric: NumericEmbedding | None
    categorical: CategoricalEmbedding | None

    def __init__(
        self,
        n_members: int,
        n_numbers: int,
        n_outputs: int,
        hidden: tuple[int, ...],
        activation: str = "relu",
        dropout: tuple[float, ...] = (),
        batch_norm: bool = False,
        numeric_embedding: str | None = None,
        n_embedded: int = 0,
        n_levels: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float32,
        product_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        self.n_embedded = n_embedded if numeric_embedding else 0
        self.numeric = NUMERIC_EMBEDDINGS[numeric_embedding](n_embedded) if numeric_embedding and n_embedded else None
        self.categorical = CategoricalEmbedding(list(n_levels)) if n_levels else None
        width = n_numbers
        if self.numeric is not None:
            width += self.numeric.out_features - n_embedded
        if self.categorical is not None:
            width += self.categorical.out_features
        self.layers: Any = nn.ModuleList()
        gain = 2.0 if activation == "logistic" else 6.0  # as in scikit-learn
        for size, rate in zip(hidden, dropout or (0.0,) * len(hidden), strict=True):
            self.layers.append(Linear(width, size, gain, product_dtype))
            if batch_norm:
                self.layers.append(BatchNorm(size))
            self.layers.append(Activation(activation))
            if rate:
                self.layers.append(Dropout(size, rate))
            width = size
        self.layers.append(Linear(width, n_outputs, gain, product_dtype))
        self._sequence: tuple[Any, ...] = tuple(self.layers)  # a ModuleList is slow to go through
        self._is_dropout = tuple(isinstance(layer, Dropout) for layer in self.layers)
        self.entries, length = lay_out(
            (layer, name, shape, name not in layer.statistics, name in layer.decayed)
            for layer in self._all_layers()
            for name, shape in layer.shapes.items()
        )
        self.tie(torch.zeros(n_members, length, dtype=dtype))

    def _all_layers(self) -> list[Layer]:
        return [layer for layer in (self.numeric, self.categorical, *self.layers) if layer is not None]

    def reset(self, generators: list[torch.Generator], edges: list[Tensor] | None = None) -> None:
        """Draw each member's initial weights from its own CPU generator; set the bins of a piecewise embedding."""
        with torch.no_grad():
            for m, generator in enumerate(generators):
                row = torch.zeros(1, self.flat.shape[1], dtype=self.flat.dtype)
                for layer in self._all_layers():
                    params = {e.name: self.view(row, e)[0] for e in self.entries if e.owner is layer}
                    layer.reset(params, generator)
                    if isinstance(layer, PiecewiseLinearEmbedding) and edges is not None:
                        layer.set_bins(params, edges)
                self.load_row(m, row[0])

    def tie(self, flat: Tensor) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self.flat, self.flat_grad = flat, torch.zeros_like(flat)
            for entry in self.entries:
                value = self.view(self.flat, entry)
                if not entry.trained:
                    entry.owner.register_buffer(entry.name, value)
                    continue
                frozen = entry.name in entry.owner._parameters and self.is_frozen(entry)
                parameter = nn.Parameter(value, requires_grad=not frozen)
                parameter.grad = self.view(self.flat_grad, entry)
                entry.owner.register_parameter(entry.name, parameter)
        self._plans: dict[tuple[int | None, int | None], Plan] = {}

    def _plan(self, members: slice) -> Plan:
        """Views of these members' parameters and gradients for each layer, made once."""
        key = (members.start, members.stop)
        if key not in self._plans:
            self._plans[key] = Plan(self._views(self.flat, members), self._views(self.flat_grad, members))
        return self._plans[key]

    def _views(self, buffer: Tensor, members: slice) -> list[Views]:
        """Views of a buffer for each layer."""
        return [
            tuple(self.view(buffer, entry, members) for entry in self.entries if entry.owner is layer)
            for layer in self._all_layers()
        ]

    def gradients(
        self, x: Inputs, noise: Sequence[Tensor], gradient: Callable[[Tensor], Tensor], members: slice
    ) -> Tensor:
        plan = self._plan(members)
        z, tape = self._run(x, plan.params, iter(noise))
        self._run_back(gradient(z), tape, plan)
        return z

    def outputs(self, x: Inputs, members: slice = slice(None), flat: Tensor | None = None) -> Tensor:
        params = self._plan(members).params if flat is None else self._views(flat, members)
        return self._run(x, params, iter(()))[0]

    def forward(self, numbers: Tensor, codes: Tensor | None = None) -> Tensor:
        """Raw outputs (M, B, K), before the link, of encoded rows: (B, d) for all members, or (M, B, d)."""
        if numbers.dim() == 2:
            numbers = numbers.expand(self.n_members, *numbers.shape)
        if codes is not None and codes.dim() == 2:
            codes = codes.expand(self.n_members, *codes.shape)
        x = self._join(
            numbers,
            None if self.numeric is None else self.numeric(numbers[..., : self.n_embedded]),
            None if self.categorical is None else self.categorical(codes),
        )
        for layer in self.layers:
            x = layer(x)
        return x

    def _join(self, numbers: Tensor, embedded: Tensor | None, categories: Tensor | None) -> Tensor:
        """Place the parts of the first linear layer's input side by side."""
        if embedded is None and categories is None:
            return numbers
        parts = [embedded, numbers[..., self.n_embedded :], categories]
        return torch.cat([part for part in parts if part is not None], 2)

    def _run(self, x: Any, params: list[Views], noise: Iterator[Tensor]) -> tuple[Tensor, list[Any]]:
        """Forward; also return what each layer saved, in order."""
        each, tape, embedded, categories = iter(params), [], None, None
        if self.numeric is not None:
            embedded, saved = self.numeric.run(x.numbers[..., : self.n_embedded], next(each))
            tape.append(saved)
        if self.categorical is not None:
            categories, saved = self.categorical.run(x.codes, next(each))
            tape.append(saved)
        z = self._join(x.numbers, embedded, categories)
        for layer, is_dropout in zip(self._sequence, self._is_dropout, strict=True):
            z, saved = layer.run(z, next(each), next(noise, None) if is_dropout else None)
            tape.append(saved)
        return z, tape

    def _run_back(self, grad: Tensor, tape: list[Any], plan: Plan) -> None:
        """Backward: write every layer's gradients, from that of the output."""
        layers, params, grads = self._sequence, plan.params, plan.grads
        first = len(params) - len(layers)
        for i in range(len(params) - 1, first - 1, -1):
            grad = layers[i - first].backward(grad, tape[i], params[i], grads[i], i > 0)
        if self.categorical is not None:
            columns = grad[..., grad.shape[2] - self.categorical.out_features :]
            self.categorical.backward(columns, tape[first - 1], params[first - 1], grads[first - 1], False)
        if self.numeric is not None:
            self.numeric.backward(grad[..., : self.numeric.out_features], tape[0], params[0], grads[0], False)

    def dropout_rates(self) -> list[tuple[int, float]]:
        return [(layer.width, layer.rate) for layer in self.layers if isinstance(layer, Dropout)]

    def linears(self) -> list[tuple[Entry, Entry]]:
        """The (weight, bias) entries of the linear layers, from input to output."""
        return [
            tuple(e for e in self.entries if e.owner is layer)  # type: ignore[misc]
            for layer in self.layers
            if isinstance(layer, Linear)
        ]

    def __reduce__(self) -> tuple:
        numbers = self.flat.detach().cpu().numpy().copy()
        frozen = [i for i, entry in enumerate(self.entries) if self.is_frozen(entry)]
        return _restore_mlp, (self.config | {"n_members": self.n_members}, numbers, self.training, frozen)


def _restore_mlp(config: dict, numbers: np.ndarray, training: bool, frozen: list[int]) -> MLP:
    network = MLP(**config).train(training)
    network.tie(torch.from_numpy(numbers.copy()))
    for i in frozen:
        network.parameter_of(network.entries[i]).requires_grad_(False)
    return network
