"""Networks whose parameters are views of one buffer, with a row for each member.

With one buffer for the parameters and one for the gradients, an optimizer's step is one call, a copy of a member is a
row, and removing members is a selection of rows. Moving or copying a module (`.to`, `deepcopy`, `pickle`) would
silently separate the views from their buffer, so `EnsembleNetwork` binds them again afterwards.
"""

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn

from sknn.network.products import padded


@dataclass(slots=True)
class Inputs:
    """A network's inputs: `numeric` (M, B, d), and the codes (M, B, c) of embedded categories.

    `fold` is the fold of each training row, for target means; `prepare` puts it into the codes.
    """

    numeric: Tensor
    codes: Tensor | None = None
    fold: Tensor | None = None

    def split(self, function: Callable[[Tensor], list[Tensor]]) -> list["Inputs"]:
        """Split both tensors by a function, and return an `Inputs` for each part."""
        numeric = function(self.numeric)
        return list(map(Inputs, numeric, [None] * len(numeric) if self.codes is None else function(self.codes)))

    def unbind(self) -> list["Inputs"]:
        """Return views of the batches along the leading axis."""
        return self.split(lambda t: list(t.unbind()))

    def for_members(self, n: int) -> "Inputs":
        """Return rows (B, ...) expanded to n members."""
        codes = None if self.codes is None else self.codes.expand(n, *self.codes.shape)
        return Inputs(self.numeric.expand(n, *self.numeric.shape), codes)


@dataclass(frozen=True)
class Entry:
    """One named tensor of a member: its position in the member's row, and its treatment in training.

    `lr_scale` is a factor of the learning rate, for solvers that use it.
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
    """Return an aligned entry for each (owner, name, shape, trained, decayed, lr_scale), and the length of a row."""
    entries, start = [], 0
    for owner, name, shape, trained, decayed, lr_scale in tensors:
        stop = start + torch.Size(shape).numel()
        entries.append(Entry(owner, name, shape, start, stop, trained, decayed, lr_scale))
        start = padded(stop)
    return entries, start


class Network(nn.Module):
    """Base class of the networks that `TrainingNet` trains: members in one part, or in several of different shapes."""

    @property
    @abstractmethod
    def parts(self) -> list["EnsembleNetwork"]:
        """The networks whose members have the same shape, and are computed together."""

    @property
    def n_members(self) -> int:
        return sum(part.n_members for part in self.parts)

    def members_of_parts(self) -> list[slice]:
        """Return the numbers of each part's members."""
        stops = list(accumulate(part.n_members for part in self.parts))
        return [slice(start, stop) for start, stop in pairwise([0, *stops])]

    @property
    def kinds(self) -> list[str]:
        """The kind of each member."""
        return [part.kind for part in self.parts for _ in range(part.n_members)]

    @property
    def device(self) -> torch.device:
        return self.parts[0].param_buffer.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return self.parts[0].param_buffer.dtype

    @property
    def n_values(self) -> int:
        """The number of parameters and statistics of all members."""
        return sum(part.param_buffer.numel() for part in self.parts)

    @property
    def n_bytes(self) -> int:
        """The memory that they take."""
        return self.n_values * self.dtype.itemsize

    def outputs_of_rows(self, x: Inputs, param_buffers: Sequence[Tensor] | None = None) -> Tensor:
        """Return all members' outputs (M, B, K) of encoded rows (B, ...), in the network's mode.

        With `param_buffers`, one for each part, use the parameters there, which may have another precision.
        """
        buffers: Sequence[Tensor | None] = param_buffers or [None] * len(self.parts)
        outputs = [
            part.outputs(part.prepare(x).for_members(part.n_members), param_buffer=params)
            for part, params in zip(self.parts, buffers, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    @abstractmethod
    def select(self, members: list[int]) -> None:
        """Keep these members only."""

    @abstractmethod
    def snapshot(self) -> Callable[[], None]:
        """Return a function that restores the network's current state, including its number of members."""

    def release(self) -> None:
        """Free the memory of bound layers; call it at the end of a training."""

    def compute_context(self, rows: int) -> contextlib.AbstractContextManager:
        """Return a context for computing with at most this number of rows at once."""
        return contextlib.nullcontext()

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return copies of the tensors, because safetensors does not save tensors that share memory."""
        state = super().state_dict(*args, **kwargs)
        for name, value in state.items():
            state[name] = value.detach().clone()
        return state

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Copy values into the buffers; `assign=True` would replace their views."""
        if assign:
            raise ValueError("assign=True is not supported: the parameters are views of one buffer; copy into them.")
        return super().load_state_dict(state_dict, strict)


class EnsembleNetwork(Network):
    """Members of one shape.

    Attributes
    ----------
    param_buffer, grad_buffer : Tensor of shape (M, row length)
        All parameters of all members, and their gradients. `param_buffer` also holds the statistics (running means,
        bin edges), whose gradients stay 0, so that they are copied, restored and selected along with the weights.
    """

    param_buffer: Tensor
    grad_buffer: Tensor
    entries: list[Entry]
    can_shrink = True  # whether members can be removed during a training
    kind = "module"  # the settings in which its members may differ from those of other parts, in words
    normalises_batches = False  # whether batches of a single row have to be avoided

    @property
    def parts(self) -> list["EnsembleNetwork"]:
        return [self]

    @property
    def n_members(self) -> int:
        return self.param_buffer.shape[0]

    def column_mask(self, condition: Callable[[Entry], bool]) -> Tensor:
        """Return a (row length,) tensor with 1 for entries that meet the condition, and 0 elsewhere."""
        return self.column_values(lambda entry: float(condition(entry)))

    def column_values(self, value: Callable[[Entry], float]) -> Tensor:
        """Return a (row length,) tensor with each entry's value, and 0 between the entries."""
        values = self.param_buffer.new_zeros(self.param_buffer.shape[1])
        for entry in self.entries:
            values[entry.start : entry.stop] = value(entry)
        return values

    def view(self, buffer: Tensor, entry: Entry, members: slice = slice(None)) -> Tensor:
        """Return an entry's part of a (M, row length) buffer as a view (M, *shape)."""
        part = buffer[members, entry.start : entry.stop]
        return part.view(part.shape[0], *entry.shape)

    def is_frozen(self, entry: Entry) -> bool:
        """Return whether training leaves the entry unchanged, as after skorch's Freezer or `requires_grad_(False)`."""
        return entry.trained and not self.parameter_of(entry).requires_grad

    def parameter_of(self, entry: Entry) -> Tensor:
        return getattr(entry.owner, entry.name)

    @abstractmethod
    def bind_views(self, param_buffer: Tensor) -> None:
        """Make `param_buffer` the network's buffer, and every parameter a view of it."""

    def preparation_key(self) -> bytes | None:
        """Return what `prepare` depends on; None if it changes nothing."""
        return None

    def prepare(self, x: Inputs) -> Inputs:
        """Return rows in the form that `gradients` and `outputs` take: with what no training changes computed once."""
        return x

    @abstractmethod
    def gradients(
        self, x: Inputs, noise: Sequence[Tensor], gradient: Callable[[Tensor], Tensor], members: slice
    ) -> Tensor:
        """Run a batch forward and backward, and return the output.

        `gradient` computes the loss's gradient from the output. The parameters' gradients go into
        `grad_buffer[members]`.
        """

    @abstractmethod
    def outputs(self, x: Inputs, members: slice = slice(None), param_buffer: Tensor | None = None) -> Tensor:
        """Return these members' outputs (M, B, K), in the network's mode (training or evaluation).

        With `param_buffer`, use the parameters there, which may have another precision.
        """

    def bound_layers(self) -> list[Any]:
        """Return the objects that hold the memory `gradients` writes to."""
        return []

    def dropout_rates(self) -> list[tuple[int, float]]:
        """Return width and rate of each dropout layer. The training loop draws the noise for them."""
        return []

    def category_dropout(self) -> list[tuple[int, float]]:
        """Return width and rate of the categorical embedding, whose noise comes before that of the dropout layers."""
        return []

    def select(self, members: list[int]) -> None:
        self.bind_views(self.param_buffer[members])

    def snapshot(self) -> Callable[[], None]:
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

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self.bind_views(fn(self.param_buffer.detach()))
        return self

    def __deepcopy__(self, memo: dict) -> Self:
        restore, args = self.__reduce__()
        copy = restore(*args).to(self.param_buffer.device)
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> tuple:
        raise NotImplementedError(type(self).__name__)
