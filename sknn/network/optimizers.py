"""Solvers on flat buffers, with a learning rate for each member.

A solver is a `torch.optim.Optimizer`, so that torch's schedulers and skorch's `LRScheduler` can drive
`param_groups[0]["lr"]`.  Each member's base rate stands in the vector `rates`; what a step applies is

    rates * factor,    factor = 1 or the value of our own schedule, or lr / learning_rate if somebody else set `lr`.

The same calls serve one member and many, so that a member's result does not depend on its company.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sknn.network.flat import Entry, FlatNetwork


@dataclass
class Rates:
    """What a solver takes for each member.

    `alphas` are scikit-learn's L2 terms, added to the gradient after division by the batch's weight sum;
    `weight_decays` are decoupled (arXiv 1711.05101) and multiplied by the learning rate.
    """

    learning_rates: list[float]
    alphas: list[float]
    weight_decays: list[float]


class FlatOptimizer(torch.optim.Optimizer):
    """Base class of the solvers.

    Parameters
    ----------
    network : FlatNetwork
    rates : Rates
    """

    state_names: tuple[str, ...] = ()

    def __init__(self, network: FlatNetwork, rates: Rates) -> None:
        self.network = network
        self.factor = 1.0
        self.steps = [0] * network.n_members
        flat = network.flat
        with torch.no_grad():
            self.base_rates = [float(rate) for rate in rates.learning_rates]
            self.multipliers = [1.0] * network.n_members
            self.alphas = flat.new_tensor(rates.alphas)[:, None]
            self.weight_decays = flat.new_tensor(rates.weight_decays)[:, None]
            self.buffers = {name: torch.zeros_like(flat) for name in self.state_names}
        super().__init__(list(network.parameters()), {"lr": self.base_rates[0]})
        self._own_lr = self.base_rates[0]
        self.set_multipliers(self.multipliers)

    def refresh(self) -> None:
        """Read from the network which columns are trained and decayed; to be called when that may have changed."""
        network = self.network
        with torch.no_grad():
            decayed = network.column_mask(lambda entry: entry.decayed)
            self._l2 = self.alphas * decayed if bool((self.alphas > 0).any()) else None
            self._effective_rates = self.rates
            if any(network.is_frozen(entry) for entry in network.entries):
                self._effective_rates = self.rates * network.column_mask(lambda entry: not network.is_frozen(entry))
            self._decay = None
            if bool((self.weight_decays > 0).any()):
                self._decay = self._effective_rates * self.weight_decays * decayed

    def schedule(self, factor: float) -> None:
        """Set the schedule's factor, and show the learning rate it gives in `param_groups`."""
        self.factor = factor
        self._own_lr = self.param_groups[0]["lr"] = self.base_rates[0] * self.multipliers[0] * factor

    def current_factor(self) -> float:
        lr = self.param_groups[0]["lr"]
        return self.factor if lr == self._own_lr else lr / (self.base_rates[0] * self.multipliers[0])

    def set_multipliers(self, multipliers: Sequence[float]) -> None:
        """Multiply each member's base rate, for good: schedules that depend on what a member has been through."""
        self.multipliers = list(multipliers)
        products = [base * multiplier for base, multiplier in zip(self.base_rates, self.multipliers, strict=True)]
        with torch.no_grad():
            self.rates = self.network.flat.new_tensor(products)[:, None]
        self.schedule(self.factor)
        self.refresh()

    def rate_of(self, member: int) -> float:
        return self.base_rates[member] * self.multipliers[member] * self.current_factor()

    def penalise(self, weight_sums: Tensor | float, members: slice) -> Tensor | None:
        """Add the L2 term's gradient; return its part of the batch's loss, (M,), or None where there is none."""
        if self._l2 is None:
            return None
        flat = self.network.flat[members]
        pull = self._l2[members] * flat
        penalty = (pull * flat).sum(1).mul_(0.5)
        if isinstance(weight_sums, Tensor):
            self.network.flat_grad[members] += pull / weight_sums[:, None]
        else:
            self.network.flat_grad[members].add_(pull, alpha=1 / weight_sums)
        return penalty / weight_sums

    @torch.no_grad()
    def step(self, closure: Any = None, members: slice = slice(None)) -> None:
        """Move these members, which have taken the same number of steps, by their gradients."""
        if closure is not None:
            raise ValueError("the flat solvers take no closure: call network.gradients before step().")
        chosen = range(self.network.n_members)[members]
        self.steps[chosen.start : chosen.stop] = [self.steps[chosen.start] + 1] * len(chosen)
        factor = self.current_factor()
        if self._decay is not None:
            flat = self.network.flat[members]
            flat.addcmul_(flat, self._decay[members], value=-factor)
        self.move(members, factor, self.steps[chosen.start])

    def move(self, members: slice, factor: float, step: int) -> None:
        raise NotImplementedError(type(self).__name__)

    def select(self, members: list[int]) -> None:
        """Keep these members only; to be called after the network's own `select`."""
        with torch.no_grad():
            self.alphas, self.weight_decays = self.alphas[members], self.weight_decays[members]
            self.buffers = {name: buffer[members] for name, buffer in self.buffers.items()}
        self.steps = [self.steps[m] for m in members]
        factor = self.current_factor()
        self.base_rates = [self.base_rates[m] for m in members]
        self.param_groups[0]["params"] = list(self.network.parameters())
        self.factor = factor
        self.set_multipliers([self.multipliers[m] for m in members])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to 0; their memory is the network's, and stays."""
        with torch.no_grad():
            self.network.flat_grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        return {
            "state": dict(self.buffers),
            "param_groups": [
                {
                    "lr": self.param_groups[0]["lr"],
                    "factor": self.factor,
                    "steps": list(self.steps),
                    "multipliers": list(self.multipliers),
                }
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        group = state_dict["param_groups"][0]
        with torch.no_grad():
            for name, buffer in state_dict["state"].items():
                self.buffers[name].copy_(torch.as_tensor(buffer))
        self.steps, self.factor = list(group["steps"]), group["factor"]
        self.set_multipliers(group["multipliers"])
        self.param_groups[0]["lr"] = group["lr"]


class SGD(FlatOptimizer):
    """Gradient descent with (Nesterov's) momentum, in scikit-learn's form: the velocity holds the learning rate."""

    state_names = ("velocity",)

    def __init__(self, network: FlatNetwork, rates: Rates, momentum: float = 0.9, nesterov: bool = True) -> None:
        self.momentum, self.nesterov = momentum, nesterov
        super().__init__(network, rates)

    def move(self, members: slice, factor: float, step: int) -> None:
        flat, grad = self.network.flat[members], self.network.flat_grad[members]
        rates, velocity = self._effective_rates[members], self.buffers["velocity"][members]
        velocity.mul_(self.momentum).addcmul_(grad, rates, value=-factor)
        if self.nesterov:
            flat.add_(velocity, alpha=self.momentum).addcmul_(grad, rates, value=-factor)
        else:
            flat.add_(velocity)


class Adam(FlatOptimizer):
    """Adam (arXiv 1412.6980) in scikit-learn's form, with epsilon added before the bias correction.

    With an infinite step count torch's fused call leaves its own bias correction out, and with rate 1 into a zeroed
    buffer it gives the direction, so that a member's rate and the correction are applied by one product.
    """

    state_names = ("exp_avg", "exp_avg_sq", "direction")

    def __init__(
        self,
        network: FlatNetwork,
        rates: Rates,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self._forever = torch.tensor(math.inf, device=network.flat.device)
        super().__init__(network, rates)

    def move(self, members: slice, factor: float, step: int) -> None:
        direction = self.buffers["direction"][members].zero_()
        torch._fused_adam_(
            [direction],
            [self.network.flat_grad[members]],
            [self.buffers["exp_avg"][members]],
            [self.buffers["exp_avg_sq"][members]],
            [],
            [self._forever],
            lr=1.0,
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )
        correction = math.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        self.network.flat[members].addcmul_(direction, self._effective_rates[members], value=factor * correction)


class TorchOptimizer(FlatOptimizer):
    """Any `torch.optim.Optimizer` class: one of its optimisers per member, on views of the member's row."""

    def __init__(self, network: FlatNetwork, rates: Rates, optimizer: type[torch.optim.Optimizer]) -> None:
        self.optimizer = optimizer
        self._each = [
            optimizer([torch.nn.Parameter(t) for t in self._views(network, m)], lr=float(rate))  # type: ignore[call-arg]
            for m, rate in enumerate(rates.learning_rates)
        ]
        super().__init__(network, rates)

    @staticmethod
    def _views(network: FlatNetwork, m: int, buffer: Tensor | None = None) -> list[Tensor]:
        buffer = network.flat if buffer is None else buffer
        return [network.view(buffer, entry)[m] for entry in network.entries if entry.trained]

    def _trained(self) -> list[Entry]:
        return [entry for entry in self.network.entries if entry.trained]

    def move(self, members: slice, factor: float, step: int) -> None:
        for m in range(self.network.n_members)[members]:
            inner = self._each[m]
            params = [p for group in inner.param_groups for p in group["params"]]
            values = self._views(self.network, m)
            gradients = self._views(self.network, m, self.network.flat_grad)
            for entry, p, value, gradient in zip(self._trained(), params, values, gradients, strict=True):
                p.data, p.grad = value, None if self.network.is_frozen(entry) else gradient
            for group in inner.param_groups:
                group["lr"] = self.base_rates[m] * self.multipliers[m] * factor
            inner.step()

    def select(self, members: list[int]) -> None:
        self._each = [self._each[m] for m in members]
        super().select(members)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"each": [copy.deepcopy(inner.state_dict()) for inner in self._each]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for inner, state in zip(self._each, state_dict["each"], strict=True):
            inner.load_state_dict(state)
