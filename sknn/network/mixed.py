"""Members of different shapes as one network with one optimizer: a part for each shape, on the same rows."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sknn.network.base import EnsembleNetwork, Network
from sknn.network.optimizers import EnsembleOptimizer, MemberOptions


class MixedNetwork(Network):
    """Several networks with the same inputs and outputs. Their members are numbered part after part.

    Parameters
    ----------
    parts : sequence of EnsembleNetwork
    """

    def __init__(self, parts: Sequence[EnsembleNetwork]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(parts)

    @property
    def parts(self) -> list[EnsembleNetwork]:
        return list(self.networks)  # type: ignore[arg-type]

    def select(self, members: list[int]) -> None:
        """Keep these members only, and the parts that have any."""
        kept = []
        for part, numbers in zip(self.parts, self.members_of_parts(), strict=True):
            own = [m - numbers.start for m in members if numbers.start <= m < numbers.stop]
            if own:
                part.select(own)
                kept.append(part)
        self.networks = nn.ModuleList(kept)

    def snapshot(self) -> Callable[[], None]:
        networks, restores = self.networks, [part.snapshot() for part in self.parts]

        def restore() -> None:
            self.networks = networks
            for restore_part in restores:
                restore_part()

        return restore

    def forward(self, numeric: Tensor, codes: Tensor | None = None) -> Tensor:
        """Return raw outputs (M, B, K), before the link, of rows (B, d)."""
        return torch.cat([part(numeric, codes) for part in self.parts])

    def compute_context(self, rows: int) -> contextlib.AbstractContextManager:
        return self.parts[0].compute_context(rows)

    def release(self) -> None:
        for part in self.parts:
            part.release()


class MixedOptimizer(torch.optim.Optimizer):
    """An optimizer for each part of a mixed network. Its parameter groups are those of the parts.

    Parameters
    ----------
    parts : list of EnsembleOptimizer
    """

    _opt_called = True  # torch's schedulers check that the solver has stepped before them; its parts do so themselves

    def __init__(self, parts: list[EnsembleOptimizer]) -> None:
        self.parts = parts
        super().__init__([part.param_groups[0] for part in self.parts], {})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Append the group of a part."""
        self.param_groups.append(param_group)

    @property
    def steps(self) -> list[int]:
        """Steps that each member has taken."""
        return [n for part in self.parts for n in part.steps]

    def refresh(self) -> None:
        """See `EnsembleOptimizer.refresh`."""
        for part in self.parts:
            part.refresh()

    def step(self, closure: Any = None) -> Any:
        """Take a step with all members."""
        for part in self.parts:
            part.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to 0."""
        for part in self.parts:
            part.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


@dataclass(frozen=True)
class Solver:
    """Makes the optimizer of a network.

    Attributes
    ----------
    make : callable
        Takes the network of some members and their `options`.
    options : MemberOptions
        Those of all members.
    """

    make: Callable[..., EnsembleOptimizer]
    options: MemberOptions

    def __call__(self, network: Network) -> Any:
        optimizers = [
            self.make(part, options=self.options.of(members))
            for part, members in zip(network.parts, network.members_of_parts(), strict=True)
        ]
        return MixedOptimizer(optimizers) if isinstance(network, MixedNetwork) else optimizers[0]
