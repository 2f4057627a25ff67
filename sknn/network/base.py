"""Networks whose every number lies in one flat buffer, a row per member.

One buffer for the parameters and one for the gradients turn an optimiser's step into one call, a member's copy into a
row, and its removal into a selection of rows.  What PyTorch moves or copies by itself (`.to`, `deepcopy`, `pickle`)
would silently separate the views from their buffer; `EnsembleNetwork` ties them again after each.
"""

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from sknn.network.products import padded


@dataclass(slots=True)
class Inputs:
    """What a network takes: `numeric` (M, B, d), and codes (M, B, c) of the categories that are embedded."""

    numeric: Tensor
    codes: Tensor | None = None

    def of_each(self, parts: Callable[[Tensor], list[Tensor]]) -> list["Inputs"]:
        """What `parts` makes of the numeric columns and of the codes."""
        numeric = parts(self.numeric)
        return list(map(Inputs, numeric, [None] * len(numeric) if self.codes is None else parts(self.codes)))

    def unbind(self) -> list["Inputs"]:
        """The batches of a leading axis, as views."""
        return self.of_each(lambda t: list(t.unbind()))

    def for_members(self, n: int) -> "Inputs":
        """Rows (B, ...) that every member is to see."""
        codes = None if self.codes is None else self.codes.expand(n, *self.codes.shape)
        return Inputs(self.numeric.expand(n, *self.numeric.shape), codes)


@dataclass(frozen=True)
class Entry:
    """One named tensor of a member: where it lies in the member's row, and how it is treated.

    `lr_scale` is what a solver that goes by kinds of parameters multiplies the learning rate by.
    """

    owner: nn.Module
    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    trained: bool = True
    decayed: bool = False
    lr_scale: float = 1.0


def allocate(tensors: Iterable[tuple[nn.Module, str, tuple[int, ...], bool, bool, float]]) -> tuple[list[Entry], int]:
    """Give each (owner, name, shape, trained, decayed, lr_scale) its aligned place in a row; also return its length."""
    entries, start = [], 0
    for owner, name, shape, trained, decayed, lr_scale in tensors:
        stop = start + torch.Size(shape).numel()
        entries.append(Entry(owner, name, shape, start, stop, trained, decayed, lr_scale))
        start = padded(stop)
    return entries, start


class EnsembleNetwork(nn.Module):
    """Base class of the networks that `TrainingNet` trains.

    Attributes
    ----------
    param_buffer, grad_buffer : Tensor of shape (M, row length)
        All parameters of all members, and their gradients.  Statistics (running means, bin edges) lie in `param_buffer`
        too, with a gradient that stays 0, so that they are copied, restored and selected along with the weights.
    """

    param_buffer: Tensor
    grad_buffer: Tensor
    entries: list[Entry]
    can_shrink = True  # whether members can leave while the others train on

    @property
    def n_members(self) -> int:
        return self.param_buffer.shape[0]

    def column_mask(self, treated: Callable[[Entry], bool]) -> Tensor:
        """A (row length,) tensor with 1 where `treated(entry)` holds and 0 elsewhere."""
        return self.column_values(lambda entry: float(treated(entry)))

    def column_values(self, value: Callable[[Entry], float]) -> Tensor:
        """A (row length,) tensor with each entry's value, and 0 between the entries."""
        values = self.param_buffer.new_zeros(self.param_buffer.shape[1])
        for entry in self.entries:
            values[entry.start : entry.stop] = value(entry)
        return values

    def view(self, buffer: Tensor, entry: Entry, members: slice = slice(None)) -> Tensor:
        """The entry's part of a (M, row length) buffer, (M, *shape)."""
        part = buffer[members, entry.start : entry.stop]
        return part.view(part.shape[0], *entry.shape)

    def is_frozen(self, entry: Entry) -> bool:
        """Whether somebody (skorch's Freezer) has asked that the entry be left as it is."""
        return entry.trained and not self.parameter_of(entry).requires_grad

    def parameter_of(self, entry: Entry) -> Tensor:
        return getattr(entry.owner, entry.name)

    @abstractmethod
    def bind_views(self, param_buffer: Tensor) -> None:
        """Make `param_buffer` the buffer, and every parameter a view of it."""

    @abstractmethod
    def gradients(
        self, x: Inputs, noise: Sequence[Tensor], gradient: Callable[[Tensor], Tensor], members: slice
    ) -> Tensor:
        """Run a batch forward and backward.

        Write the parameters' gradients into `grad_buffer[members]`, given that of the output, and return the output.
        """

    @abstractmethod
    def outputs(self, x: Inputs, members: slice = slice(None), param_buffer: Tensor | None = None) -> Tensor:
        """These members' outputs (M, B, K), in the mode (training or evaluation) that the network is in.

        With `param_buffer`, by the numbers there (in another precision, say) in place of the network's own.
        """

    def bound_layers(self) -> list[Any]:
        """What `gradients` has made for its own use, and writes to."""
        return []

    def release(self) -> None:
        """Let go of it; to be called when a training ends."""

    def computing(self, rows: int) -> contextlib.AbstractContextManager:
        """In which the network computes with at most so many rows at once."""
        return contextlib.nullcontext()

    def dropout_rates(self) -> list[tuple[int, float]]:
        """Width and rate of each dropout layer, which expects noise from the training loop."""
        return []

    def level_dropout(self) -> list[tuple[int, float]]:
        """Width and rate of the embedding of categories, whose noise comes before that of the dropout layers."""
        return []

    def select(self, members: list[int]) -> None:
        """Keep these members only."""
        self.bind_views(self.param_buffer[members])

    def snapshot(self) -> Callable[[], None]:
        """A function that brings the network back to what it is now, with as many members."""
        param_buffer = self.param_buffer.detach().clone()
        is_trained = {name: p.requires_grad for name, p in self.named_parameters()}
        counters = {name: b.clone() for name, b in self.named_buffers() if not b.is_floating_point()}

        def restore() -> None:
            self.bind_views(param_buffer)
            for name, trained in is_trained.items():
                self.get_parameter(name).requires_grad_(trained)
            for name, counter in counters.items():
                self.get_buffer(name).copy_(counter)

        return restore

    def load_row(self, member: int, row: Tensor) -> None:
        with torch.no_grad():
            self.param_buffer[member] = row

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Copies of the tensors, which share no memory with the buffer (safetensors insists on that)."""
        state = super().state_dict(*args, **kwargs)
        for name, value in state.items():
            state[name] = value.detach().clone()
        return state

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Copy values into the buffer; `assign` would part the parameters from it."""
        if assign:
            raise ValueError("assign=True is not supported: the parameters are views of one buffer; copy into them.")
        return super().load_state_dict(state_dict, strict)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self.bind_views(fn(self.param_buffer.detach()))
        return self

    def __deepcopy__(self, memo: dict) -> Self:
        copy = self.__reduce__()
        restored = copy[0](*copy[1])
        memo[id(self)] = restored
        return restored.to(self.param_buffer.device)

    def __reduce__(self) -> tuple:
        raise NotImplementedError(type(self).__name__)
