"""Solvers on flat buffers, with a learning rate for each member.

A solver is a `torch.optim.Optimizer`, so that torch's schedulers and skorch's `LRScheduler` can drive
`param_groups[0]["lr"]`.  A member's learning rate is the product of three numbers, each with one owner:

    base rate        the member's `learning_rate_init`
    multiplier       what the member has been through: divided at a plateau, 0 at rest; set by `set_multipliers`
    schedule         the same for all members: `lr` in `param_groups[0]` over the first base rate, which our own
                     schedule sets by `schedule`, and a scheduler of torch by itself

The same calls serve one member and many, so that a member's result does not depend on its company.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sknn.network.base import EnsembleNetwork, Entry

CLIPPED_NORM_OFFSET = 1e-6  # torch's, which keeps it from dividing by 0


@dataclass
class Rates:
    """What a solver takes for each member.

    `alphas` are scikit-learn's L2 terms, added to the gradient after division by the batch's weight sum;
    `weight_decays` are decoupled (arXiv 1711.05101) and multiplied by the learning rate; `max_norms` are the longest
    gradients, infinite where they are not clipped.
    """

    learning_rates: list[float]
    alphas: list[float]
    weight_decays: list[float]
    max_norms: list[float]


@dataclass(slots=True)
class Part:
    """Views of what belongs to some neighbouring members, a row each; `decay` and `l2` are None where all are 0."""

    members: slice
    param_buffer: Tensor
    grad: Tensor
    rates: Tensor
    decay: Tensor | None
    l2: Tensor | None
    buffers: dict[str, Tensor]


def add_product(target: Tensor, a: Tensor, b: Tensor, by: float | Tensor) -> Tensor:
    """target += a * b * by; `by` is a tensor in a recorded step, whose next replay takes another number."""
    return target.addcmul_(a, b * by) if isinstance(by, Tensor) else target.addcmul_(a, b, value=by)


def row_sums(t: Tensor) -> Tensor:
    """Sums of rows, (M, length) -> (M,), in two halves: torch's threads share out a lone sum, and change its bits."""
    return t.view(len(t), 2, -1).sum(2).sum(1)


class EnsembleOptimizer(torch.optim.Optimizer):
    """Base class of the solvers.

    Parameters
    ----------
    network : EnsembleNetwork
    rates : Rates
    use_lr_scales : bool
        Whether each parameter multiplies the learning rate by the `lr_scale` of its kind.
    """

    state_names: tuple[str, ...] = ()
    scratch_names: tuple[str, ...] = ()  # of buffers that every step overwrites before it reads them

    def __init__(self, network: EnsembleNetwork, rates: Rates, use_lr_scales: bool = False) -> None:
        self.network, self.use_lr_scales = network, use_lr_scales
        self.generation = 0  # grows when the tensors that a step reads are replaced by others
        self._tables: dict[str, Tensor] = {}
        self._parts: dict[tuple[int, int], Part] = {}
        self._gradients: Tensor | None = None
        self.steps = [0] * network.n_members
        param_buffer = network.param_buffer
        with torch.no_grad():
            self.base_rates = [float(rate) for rate in rates.learning_rates]
            self.multipliers = [1.0] * network.n_members
            self.alphas = param_buffer.new_tensor(rates.alphas)[:, None]
            self.weight_decays = param_buffer.new_tensor(rates.weight_decays)[:, None]
            self.max_norms = param_buffer.new_tensor(rates.max_norms)[:, None]
            self._has_l2, self._has_decay = any(rates.alphas), any(rates.weight_decays)
            self._clips = not all(map(math.isinf, rates.max_norms))
            scratch = (*self.scratch_names, *(["scratch"] if self._has_l2 or self._clips else []))
            self.buffers = {name: torch.zeros_like(param_buffer) for name in (*self.state_names, *scratch)}
        super().__init__(list(network.parameters()), {"lr": self.base_rates[0]})
        self.schedule(1.0)
        self.set_multipliers(self.multipliers)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the one group there is.  torch's own way imports its compiler, for more than a second."""
        self.param_groups.append(param_group)

    def refresh(self) -> None:
        """Read from the network which columns are trained and decayed; to be called when that may have changed.

        New numbers go where the old ones were, so that recorded steps find them; only what does not fit there makes a
        new `generation`.
        """
        network = self.network
        with torch.no_grad():
            rates = self.rates
            if self.use_lr_scales:
                rates = rates * network.column_values(lambda entry: entry.lr_scale)
            if any(network.is_frozen(entry) for entry in network.entries):
                moving = network.column_mask(lambda entry: not network.is_frozen(entry))
                rates = rates * moving
                if "velocity" in self.buffers:  # which would carry a frozen parameter on
                    self.buffers["velocity"].mul_(moving)
            decayed = network.column_mask(lambda entry: entry.decayed)
            tables = {"rates": rates}
            if self._has_decay:
                tables["decay"] = rates * self.weight_decays * decayed
            if self._has_l2:
                tables["l2"] = self.alphas * decayed
            if self._fits(tables):
                for name, table in tables.items():
                    self._tables[name].copy_(table)
                return
            self._tables = {name: table.clone() for name, table in tables.items()}
        self._gradients, self._parts = network.grad_buffer, {}
        self.generation += 1

    def _fits(self, tables: dict[str, Tensor]) -> bool:
        """Whether the parts that were made are of the network as it is, and of tables of these shapes."""
        shapes = {name: table.shape for name, table in self._tables.items()}
        return self._gradients is self.network.grad_buffer and shapes == {n: t.shape for n, t in tables.items()}

    def schedule(self, factor: float) -> None:
        """Set the schedule's factor, and show the learning rate that it gives in `param_groups`."""
        self._own_factor = factor
        self._own_lr = self.param_groups[0]["lr"] = self.base_rates[0] * factor

    @property
    def factor(self) -> float:
        """The schedule's factor: the one that `schedule` has set, unless somebody else has set `lr` since."""
        lr = self.param_groups[0]["lr"]
        return self._own_factor if lr == self._own_lr else lr / self.base_rates[0]

    def set_multipliers(self, multipliers: Sequence[float]) -> None:
        """Multiply each member's base rate, for good: schedules that depend on what a member has been through."""
        self.multipliers = list(multipliers)
        products = [base * multiplier for base, multiplier in zip(self.base_rates, self.multipliers, strict=True)]
        with torch.no_grad():
            self.rates = self.network.param_buffer.new_tensor(products)[:, None]
        self.refresh()

    def rate_of(self, member: int) -> float:
        return self.base_rates[member] * self.multipliers[member] * self.factor

    def add_l2_gradient(self, per_weight: Tensor | float, members: slice) -> Tensor | None:
        """Add the gradient of a batch's L2 term; `per_weight` is 1 over the batch's weight.

        Return alpha times the sum of the squared weights, (M,), or None where there is no term: half of that, times
        `per_weight`, is the term itself.
        """
        part = self.part(members)
        if part.l2 is None:
            return None
        l2_gradient = torch.mul(part.l2, part.param_buffer, out=part.buffers["scratch"])
        if isinstance(per_weight, Tensor):
            part.grad.addcmul_(l2_gradient, per_weight[:, None])
        else:
            part.grad.add_(l2_gradient, alpha=per_weight)
        return row_sums(l2_gradient.mul_(part.param_buffer))

    def clip(self, members: slice) -> None:
        """Shorten each member's gradient to its own longest one, as `torch.nn.utils.clip_grad_norm_` does.

        A gradient that is NaN stays NaN, and leaves the other members alone.
        """
        if not self._clips:
            return
        part = self.part(members)
        norms = row_sums(torch.mul(part.grad, part.grad, out=part.buffers["scratch"])).sqrt_()[:, None]
        shares = self.max_norms[members] / (norms + CLIPPED_NORM_OFFSET)
        part.grad.mul_(torch.where(shares < 1, shares, 1.0))

    def step(self, closure: Any = None) -> Any:
        """Move all members, which have to have taken the same number of steps, by their gradients."""
        if closure is not None:
            raise ValueError("the flat solvers take no closure: call network.gradients before step().")
        self.advance(slice(0, self.network.n_members))

    def advance(self, members: slice) -> None:
        """Move these members, which have taken the same number of steps, by their gradients."""
        self.apply(members, *self.count(members))

    def count(self, members: slice) -> tuple[float, float]:
        """Count a step of these members, and return what it takes: the schedule's factor, and the step's size."""
        self._opt_called = True  # torch's schedulers ask whether the solver has stepped before them
        step = self.steps[members.start] + 1
        for m in range(members.start, members.stop):
            self.steps[m] = step
        factor = self.factor
        return factor, factor * self.correction(step)

    def correction(self, step: int) -> float:
        """What the `step`-th step is multiplied by."""
        return 1.0

    def apply(self, members: slice, factor: float | Tensor, size: float | Tensor) -> None:
        """Move these members by their gradients, with numbers from `count`."""
        part = self.part(members)
        if part.decay is not None:
            add_product(part.param_buffer, part.param_buffer, part.decay, -factor)
        self.move(part, size)

    def part(self, members: slice) -> Part:
        """Views of all that belongs to some members, made once."""
        key = (members.start, members.stop)
        if key not in self._parts:
            network = self.network
            self._parts[key] = Part(
                members,
                network.param_buffer[members],
                network.grad_buffer[members],
                self._tables["rates"][members],
                self._tables["decay"][members] if self._has_decay else None,
                self._tables["l2"][members] if self._has_l2 else None,
                {name: buffer[members] for name, buffer in self.buffers.items()},
            )
        return self._parts[key]

    def move(self, part: Part, size: float | Tensor) -> None:
        """Move some members by their gradients, by `rates` times `size`."""
        raise NotImplementedError(type(self).__name__)

    def select(self, members: list[int]) -> None:
        """Keep these members only; to be called after the network's own `select`."""
        with torch.no_grad():
            self.alphas, self.weight_decays = self.alphas[members], self.weight_decays[members]
            self.max_norms = self.max_norms[members]
            self.buffers = {name: buffer[members] for name, buffer in self.buffers.items()}
        self.steps = [self.steps[m] for m in members]
        factor = self.factor
        self.base_rates = [self.base_rates[m] for m in members]
        self.param_groups[0]["params"] = list(self.network.parameters())
        self.schedule(factor)
        self.set_multipliers([self.multipliers[m] for m in members])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to 0; their memory is the network's, and stays."""
        with torch.no_grad():
            self.network.grad_buffer.zero_()

    def state_dict(self) -> dict[str, Any]:
        return {
            "state": {name: self.buffers[name] for name in self.state_names},
            "param_groups": [
                {
                    "lr": self.param_groups[0]["lr"],
                    "factor": self._own_factor,
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
        self.steps = list(group["steps"])
        self.schedule(group["factor"])
        self.set_multipliers(group["multipliers"])
        self.param_groups[0]["lr"] = group["lr"]


class SGD(EnsembleOptimizer):
    """Gradient descent with (Nesterov's) momentum, in scikit-learn's form: the velocity holds the learning rate."""

    state_names = ("velocity",)

    def __init__(
        self,
        network: EnsembleNetwork,
        rates: Rates,
        momentum: float = 0.9,
        nesterov: bool = True,
        use_lr_scales: bool = False,
    ) -> None:
        self.momentum, self.nesterov = momentum, nesterov
        super().__init__(network, rates, use_lr_scales)

    def move(self, part: Part, size: float | Tensor) -> None:
        velocity = add_product(part.buffers["velocity"].mul_(self.momentum), part.grad, part.rates, -size)
        if self.nesterov:
            add_product(part.param_buffer.add_(velocity, alpha=self.momentum), part.grad, part.rates, -size)
        else:
            part.param_buffer.add_(velocity)


class Adam(EnsembleOptimizer):
    """Adam (arXiv 1412.6980) in scikit-learn's form, with epsilon added before the bias correction.

    With an infinite step count torch's fused call leaves its own bias correction out, and with rate 1 and decay 1
    it replaces what was in a buffer by the direction, so that a member's rate and the correction are one product.
    """

    state_names = ("exp_avg", "exp_avg_sq")
    scratch_names = ("direction",)

    def __init__(
        self,
        network: EnsembleNetwork,
        rates: Rates,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        use_lr_scales: bool = False,
    ) -> None:
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self._forever = torch.tensor(math.inf, device=network.param_buffer.device)
        super().__init__(network, rates, use_lr_scales)

    def correction(self, step: int) -> float:
        return math.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)

    def move(self, part: Part, size: float | Tensor) -> None:
        buffers = part.buffers
        direction = buffers["direction"]
        torch._fused_adamw_(
            [direction],
            [part.grad],
            [buffers["exp_avg"]],
            [buffers["exp_avg_sq"]],
            [],
            [self._forever],
            lr=1.0,
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=1.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )
        add_product(part.param_buffer, direction, part.rates, size)


class TorchOptimizer(EnsembleOptimizer):
    """Any `torch.optim.Optimizer` class: one of its optimisers per member, on views of the member's row."""

    def __init__(self, network: EnsembleNetwork, rates: Rates, optimizer: type[torch.optim.Optimizer]) -> None:
        self.optimizer = optimizer
        self._each = [
            optimizer([torch.nn.Parameter(t) for t in self._views(network, m)], lr=float(rate))  # type: ignore[call-arg]
            for m, rate in enumerate(rates.learning_rates)
        ]
        super().__init__(network, rates)

    @staticmethod
    def _views(network: EnsembleNetwork, m: int, buffer: Tensor | None = None) -> list[Tensor]:
        buffer = network.param_buffer if buffer is None else buffer
        return [network.view(buffer, entry)[m] for entry in network.entries if entry.trained]

    def _trained(self) -> list[Entry]:
        return [entry for entry in self.network.entries if entry.trained]

    def move(self, part: Part, size: float | Tensor) -> None:
        for m in range(part.members.start, part.members.stop):
            inner = self._each[m]
            params = [p for group in inner.param_groups for p in group["params"]]
            values = self._views(self.network, m)
            gradients = self._views(self.network, m, self.network.grad_buffer)
            for entry, p, value, gradient in zip(self._trained(), params, values, gradients, strict=True):
                p.data, p.grad = value, None if self.network.is_frozen(entry) else gradient
            for group in inner.param_groups:
                group["lr"] = self.base_rates[m] * self.multipliers[m] * size
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
