"""Solvers on the parameter buffer, with a learning rate for each member.

A solver is a `torch.optim.Optimizer`. A member's learning rate is the product of three factors:

    base rate          the member's `learning_rate_init`; never changes
    multiplier         the member's own reductions: divided at a plateau, 0 once stopped; see `set_multipliers`
    schedule factor    shared by all members; see `schedule_factor`

`param_groups[0]["lr"]` shows the first base rate times the schedule factor. torch's schedulers and skorch's
`LRScheduler` may set it; this changes the schedule factor.

One member and many members use the same calls, so a member's result does not depend on the others.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from sknn.network.base import EnsembleNetwork, Entry

CLIP_EPSILON = 1e-6  # torch's, to avoid a division by 0


@dataclass
class MemberOptions:
    """A solver's options that may differ between members, one value for each.

    `alphas` are scikit-learn's L2 penalties: alpha * parameters / (sum of the batch's row weights) is added to the
    gradient. `weight_decays` are decoupled (arXiv 1711.05101) and multiplied by the learning rate. `max_norms` limit
    the norms of the gradients; they are infinite for members without a limit.
    """

    learning_rates: list[float]
    alphas: list[float]
    weight_decays: list[float]
    max_norms: list[float]

    def of(self, members: slice) -> "MemberOptions":
        """Return the options of some members."""
        return MemberOptions(*(getattr(self, field.name)[members] for field in fields(self)))


@dataclass(slots=True)
class MemberViews:
    """Views of the buffer rows of consecutive members.

    `lr`, `decay` and `l2` hold a factor for each parameter: the learning rate without the schedule factor, `lr` times
    the weight decay, and alpha. `decay` and `l2` are None if all of them are 0.
    """

    members: slice
    params: Tensor
    grads: Tensor
    lr: Tensor
    decay: Tensor | None
    l2: Tensor | None
    buffers: dict[str, Tensor]


def add_product(target: Tensor, a: Tensor, b: Tensor, factor: float | Tensor) -> Tensor:
    """Add a * b * factor to `target`; in a CUDA graph, `factor` is a tensor, as its value changes between replays."""
    if isinstance(factor, Tensor):
        return target.addcmul_(a, b * factor)
    return target.addcmul_(a, b, value=factor)


def row_sums(t: Tensor) -> Tensor:
    """Return the sums of rows, (M, length) -> (M,).

    Sum in two halves: torch's threads split a single long sum, which changes its last bits.
    """
    return t.view(len(t), 2, -1).sum(2).sum(1)


class EnsembleOptimizer(torch.optim.Optimizer):
    """Base class of the solvers.

    Parameters
    ----------
    network : EnsembleNetwork
    options : MemberOptions
    use_lr_scales : bool
        Whether each parameter's learning rate is multiplied by its `lr_scale`.

    Attributes
    ----------
    base_rates, multipliers : list of float
        Two factors of each member's learning rate; see the top of this file.
    steps : list of int
        Steps that each member has taken.
    generation : int
        Increases when new tensors replace those that a step reads; CUDA graphs of the old ones are then invalid.
    """

    state_names: tuple[str, ...] = ()  # buffers that a saved state holds
    scratch_names: tuple[str, ...] = ()  # buffers that each step overwrites before it reads them

    def __init__(self, network: EnsembleNetwork, options: MemberOptions, use_lr_scales: bool = False) -> None:
        self.network, self.use_lr_scales = network, use_lr_scales
        self.generation = 0
        self._coefficients: dict[str, Tensor] = {}  # the tensors behind `lr`, `decay` and `l2` of `MemberViews`
        self._views: dict[tuple[int, int], MemberViews] = {}
        self._grad_buffer: Tensor | None = None  # of the network, when the views were made
        self.steps = [0] * network.n_members
        param_buffer = network.param_buffer
        with torch.no_grad():
            self.base_rates = [float(rate) for rate in options.learning_rates]
            self.multipliers = [1.0] * network.n_members
            self.alphas = param_buffer.new_tensor(options.alphas)[:, None]
            self.weight_decays = param_buffer.new_tensor(options.weight_decays)[:, None]
            self.max_norms = param_buffer.new_tensor(options.max_norms)[:, None]
            self._has_l2, self._has_decay = any(options.alphas), any(options.weight_decays)
            self._clips = not all(map(math.isinf, options.max_norms))
            scratch = (*self.scratch_names, *(["scratch"] if self._has_l2 or self._clips else []))
            self.buffers = {name: torch.zeros_like(param_buffer) for name in (*self.state_names, *scratch)}
        super().__init__(list(network.parameters()), {"lr": self.base_rates[0]})
        self.schedule_factor = 1.0
        self.refresh()

    @property
    def parts(self) -> list["EnsembleOptimizer"]:
        """The optimizers of the network's parts."""
        return [self]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Append the only group. torch's own method imports torch's compiler, which takes more than a second."""
        self.param_groups.append(param_group)

    # --- Learning rates ---------------------------------------------------------------------------------------------

    @property
    def schedule_factor(self) -> float:
        """The factor that was set last or, if a scheduler has changed the rate in `param_groups`, rate / base rate."""
        lr = self.param_groups[0]["lr"]
        is_own = lr == self.base_rates[0] * self._schedule_factor  # exact; the quotient may be rounded
        return self._schedule_factor if is_own else lr / self.base_rates[0]

    @schedule_factor.setter
    def schedule_factor(self, factor: float) -> None:
        self._schedule_factor = factor
        self.param_groups[0]["lr"] = self.base_rates[0] * factor

    def set_multipliers(self, multipliers: Sequence[float]) -> None:
        """Set each member's multiplier of its base rate."""
        self.multipliers = list(multipliers)
        self.refresh()

    def learning_rate(self, member: int) -> float:
        """Return a member's current learning rate."""
        return self.base_rates[member] * self.multipliers[member] * self.schedule_factor

    def refresh(self) -> None:
        """Compute the factors of each parameter, after a change of multipliers or of the network.

        The network may have been moved, or some of its parameters frozen. New values overwrite the old ones, so that
        captured steps read them. If the gradient buffer or the shapes have changed, new tensors are made and
        `generation` increases.
        """
        network = self.network
        with torch.no_grad():
            rates = [base * multiplier for base, multiplier in zip(self.base_rates, self.multipliers, strict=True)]
            lr = network.param_buffer.new_tensor(rates)[:, None]
            if self.use_lr_scales:
                lr = lr * network.column_values(lambda entry: entry.lr_scale)
            if any(network.is_frozen(entry) for entry in network.entries):
                is_free = network.column_mask(lambda entry: not network.is_frozen(entry))
                lr = lr * is_free
                if "velocity" in self.buffers:  # it would go on moving a frozen parameter
                    self.buffers["velocity"].mul_(is_free)
            is_decayed = network.column_mask(lambda entry: entry.decayed)
            coefficients = {"lr": lr}
            if self._has_decay:
                coefficients["decay"] = lr * self.weight_decays * is_decayed
            if self._has_l2:
                coefficients["l2"] = self.alphas * is_decayed
            if self._fits(coefficients):
                for name, values in coefficients.items():
                    self._coefficients[name].copy_(values)
                return
            self._coefficients = {name: values.clone() for name, values in coefficients.items()}
        self._grad_buffer, self._views = network.grad_buffer, {}
        self.generation += 1

    def _fits(self, coefficients: dict[str, Tensor]) -> bool:
        """Return whether the gradient buffer and the shapes of the coefficients are unchanged."""
        shapes = {name: values.shape for name, values in self._coefficients.items()}
        is_same_buffer = self._grad_buffer is self.network.grad_buffer
        return is_same_buffer and shapes == {name: values.shape for name, values in coefficients.items()}

    # --- Steps ------------------------------------------------------------------------------------------------------

    def add_l2_gradient(self, inverse_weight: Tensor | float, members: slice) -> Tensor | None:
        """Add the gradient of a batch's L2 term; `inverse_weight` is 1 / (sum of the batch's row weights).

        Return alpha times the sum of the squared weights, (M,), or None without an L2 term. The L2 term is 0.5 *
        `inverse_weight` * the returned value.
        """
        views = self.views(members)
        if views.l2 is None:
            return None
        l2_gradient = torch.mul(views.l2, views.params, out=views.buffers["scratch"])
        if isinstance(inverse_weight, Tensor):
            views.grads.addcmul_(l2_gradient, inverse_weight[:, None])
        else:
            views.grads.add_(l2_gradient, alpha=inverse_weight)
        return row_sums(l2_gradient.mul_(views.params))

    def clip(self, members: slice) -> None:
        """Shorten each member's gradient to the member's `max_norm`, as `torch.nn.utils.clip_grad_norm_` does.

        A gradient that is NaN stays NaN, and does not change the other members.
        """
        if not self._clips:
            return
        views = self.views(members)
        norms = row_sums(torch.mul(views.grads, views.grads, out=views.buffers["scratch"])).sqrt_()[:, None]
        shares = self.max_norms[members] / (norms + CLIP_EPSILON)
        views.grads.mul_(torch.where(shares < 1, shares, 1.0))

    def step(self, closure: Any = None) -> Any:
        """Take a step with all members, which must have taken the same number of steps."""
        if closure is not None:
            raise ValueError("the solvers of sknn take no closure: call network.gradients before step().")
        self.advance(slice(0, self.network.n_members))

    def advance(self, members: slice) -> None:
        """Take a step with these members, which must have taken the same number of steps."""
        self.apply(members, *self.count_step(members))

    def count_step(self, members: slice) -> tuple[float, float]:
        """Count a step of these members; return its schedule factor, and this factor times the bias correction."""
        self._opt_called = True  # torch's schedulers check that the solver has stepped before them
        step = self.steps[members.start] + 1
        for m in range(members.start, members.stop):
            self.steps[m] = step
        factor = self.schedule_factor
        return factor, factor * self.bias_correction(step)

    def bias_correction(self, step: int) -> float:
        """Return the bias correction of step number `step`."""
        return 1.0

    def apply(self, members: slice, schedule_factor: float | Tensor, step_size: float | Tensor) -> None:
        """Move these members' parameters by their gradients, with the scalars of `count_step`."""
        views = self.views(members)
        if views.decay is not None:
            add_product(views.params, views.params, views.decay, -schedule_factor)
        self.move(views, step_size)

    def views(self, members: slice) -> MemberViews:
        """Return views of these members' rows, from the cache if possible."""
        key = (members.start, members.stop)
        if key not in self._views:
            decay, l2 = self._coefficients.get("decay"), self._coefficients.get("l2")
            self._views[key] = MemberViews(
                members,
                self.network.param_buffer[members],
                self.network.grad_buffer[members],
                self._coefficients["lr"][members],
                None if decay is None else decay[members],
                None if l2 is None else l2[members],
                {name: buffer[members] for name, buffer in self.buffers.items()},
            )
        return self._views[key]

    def move(self, views: MemberViews, step_size: float | Tensor) -> None:
        """Move parameters by their gradients, with `lr` times `step_size` as learning rate."""
        raise NotImplementedError(type(self).__name__)

    # --- State ------------------------------------------------------------------------------------------------------

    def select(self, members: list[int]) -> None:
        """Keep these members only. Call it after the network's own `select`."""
        with torch.no_grad():
            self.alphas, self.weight_decays = self.alphas[members], self.weight_decays[members]
            self.max_norms = self.max_norms[members]
            self.buffers = {name: buffer[members] for name, buffer in self.buffers.items()}
        self.steps = [self.steps[m] for m in members]
        factor = self.schedule_factor
        self.base_rates = [self.base_rates[m] for m in members]
        self.param_groups[0]["params"] = list(self.network.parameters())
        self.schedule_factor = factor
        self.set_multipliers([self.multipliers[m] for m in members])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to 0. They stay views of the network's gradient buffer."""
        with torch.no_grad():
            self.network.grad_buffer.zero_()

    def state_dict(self) -> dict[str, Any]:
        return {
            "state": {name: self.buffers[name] for name in self.state_names},
            "param_groups": [
                {
                    "lr": self.param_groups[0]["lr"],
                    "schedule_factor": self._schedule_factor,
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
        self.schedule_factor = group["schedule_factor"]
        self.set_multipliers(group["multipliers"])
        self.param_groups[0]["lr"] = group["lr"]


class SGD(EnsembleOptimizer):
    """Gradient descent with (Nesterov's) momentum, in scikit-learn's form: the velocity includes the learning rate."""

    state_names = ("velocity",)

    def __init__(
        self,
        network: EnsembleNetwork,
        options: MemberOptions,
        momentum: float = 0.9,
        nesterov: bool = True,
        use_lr_scales: bool = False,
    ) -> None:
        self.momentum, self.nesterov = momentum, nesterov
        super().__init__(network, options, use_lr_scales)

    def move(self, views: MemberViews, step_size: float | Tensor) -> None:
        velocity = add_product(views.buffers["velocity"].mul_(self.momentum), views.grads, views.lr, -step_size)
        if self.nesterov:
            add_product(views.params.add_(velocity, alpha=self.momentum), views.grads, views.lr, -step_size)
        else:
            views.params.add_(velocity)


class Adam(EnsembleOptimizer):
    """Adam (arXiv 1412.6980) in scikit-learn's form, with epsilon added before the bias correction.

    torch's fused kernel writes the direction to a buffer. An infinite step count turns off the kernel's bias
    correction. With a learning rate and a weight decay of 1, the kernel multiplies the buffer by 1 - 1 * 1 = 0 first.
    One multiplication then applies the learning rates and the bias correction.
    """

    state_names = ("exp_avg", "exp_avg_sq")
    scratch_names = ("direction",)

    def __init__(
        self,
        network: EnsembleNetwork,
        options: MemberOptions,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        use_lr_scales: bool = False,
    ) -> None:
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self._infinite_step = torch.tensor(math.inf, device=network.param_buffer.device)
        super().__init__(network, options, use_lr_scales)

    def bias_correction(self, step: int) -> float:
        return math.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)

    def move(self, views: MemberViews, step_size: float | Tensor) -> None:
        buffers = views.buffers
        direction = buffers["direction"]
        torch._fused_adamw_(
            [direction],
            [views.grads],
            [buffers["exp_avg"]],
            [buffers["exp_avg_sq"]],
            [],
            [self._infinite_step],
            lr=1.0,
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=1.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )
        add_product(views.params, direction, views.lr, step_size)


class TorchOptimizer(EnsembleOptimizer):
    """Uses any `torch.optim.Optimizer` class: each member has its own optimizer, on views of its buffer row."""

    def __init__(
        self, network: EnsembleNetwork, options: MemberOptions, optimizer: type[torch.optim.Optimizer]
    ) -> None:
        self.optimizer = optimizer
        self._optimizers = []
        for m, lr in enumerate(options.learning_rates):
            params = [torch.nn.Parameter(t) for t in self._member_views(network, network.param_buffer, m)]
            self._optimizers.append(optimizer(params, lr=float(lr)))  # type: ignore[call-arg]
        super().__init__(network, options)

    @staticmethod
    def _member_views(network: EnsembleNetwork, buffer: Tensor, m: int) -> list[Tensor]:
        return [network.view(buffer, entry)[m] for entry in _trained(network)]

    def move(self, views: MemberViews, step_size: float | Tensor) -> None:
        network = self.network
        for m in range(views.members.start, views.members.stop):
            optimizer = self._optimizers[m]
            params = [p for group in optimizer.param_groups for p in group["params"]]
            values = self._member_views(network, network.param_buffer, m)
            grads = self._member_views(network, network.grad_buffer, m)
            for entry, p, value, grad in zip(_trained(network), params, values, grads, strict=True):
                p.data, p.grad = value, None if network.is_frozen(entry) else grad
            for group in optimizer.param_groups:
                group["lr"] = self.base_rates[m] * self.multipliers[m] * step_size
            optimizer.step()

    def select(self, members: list[int]) -> None:
        self._optimizers = [self._optimizers[m] for m in members]
        super().select(members)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"optimizers": [copy.deepcopy(inner.state_dict()) for inner in self._optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for optimizer, state in zip(self._optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)


def _trained(network: EnsembleNetwork) -> list[Entry]:
    return [entry for entry in network.entries if entry.trained]
