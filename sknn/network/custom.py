"""Networks of a user's `torch.nn.Module`, trained by autograd on the same buffer as the built-in network."""

import contextlib
import copy
import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sknn.network.base import EnsembleNetwork, Entry, Inputs, allocate
from sknn.network.generator_mode import GeneratorMode, GeneratorStates


class CustomNetwork(EnsembleNetwork):
    """A module for each member, called with rows (B, ...).

    Parameters
    ----------
    modules : list of nn.Module
        Modules of one architecture. Their parameters and floating-point buffers become views of one buffer.
    dtype : torch.dtype
    in_features : int, tuple of int or None
        First argument of the module factory; needed to build such modules again.

    Notes
    -----
    In training, a module's random operations (dropout) use its member's generator; see `GeneratorMode`. In a
    prediction, they use torch's global generator, as in any module.
    """

    normalises_batches = True  # it may
    can_shrink = False  # removing modules during a training is not supported

    def __init__(
        self,
        modules: list[nn.Module],
        dtype: torch.dtype = torch.float32,
        in_features: int | tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.members = nn.ModuleList(module.to(dtype) for module in modules)
        self.generator_modes: list[GeneratorMode] | None = None
        first = self.members[0]
        tensors: list[tuple[str, Tensor, bool]] = [(name, p, True) for name, p in first.named_parameters()]
        tensors += [(name, b, False) for name, b in first.named_buffers() if b.is_floating_point()]
        self.entries, length = allocate(
            (first, name, tuple(t.shape), trained, trained and t.dim() > 1, 1.0) for name, t, trained in tensors
        )
        param_buffer = torch.zeros(len(modules), length, dtype=dtype)
        for m, module in enumerate(self.members):
            for entry in self.entries:
                self.view(param_buffer, entry)[m] = _get_tensor(module, entry.name).detach()
        self.bind_views(param_buffer)

    def seed(self, seeds: list[int]) -> None:
        """Give each member a random generator with its own seed."""
        self.generator_modes = [GeneratorMode(seed) for seed in seeds]

    def select(self, members: list[int]) -> None:
        self.members = nn.ModuleList(self.members[m] for m in members)
        if self.generator_modes is not None:
            self.generator_modes = [self.generator_modes[m] for m in members]
        super().select(members)

    def snapshot(self) -> Callable[[], None]:
        restore_params, states = super().snapshot(), self._generator_states()

        def restore() -> None:
            restore_params()
            self._restore_generators(states)

        return restore

    def parameter_of(self, entry: Entry) -> Tensor:
        return _get_tensor(self.members[0], entry.name)

    def bind_views(self, param_buffer: Tensor) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self.param_buffer, self.grad_buffer = param_buffer, torch.zeros_like(param_buffer)
            for m, module in enumerate(self.members):
                for entry in self.entries:
                    tensor = _get_tensor(module, entry.name)
                    tensor.data = self.view(param_buffer, entry)[m]
                    if entry.trained:
                        tensor.grad = self.view(self.grad_buffer, entry)[m]

    def gradients(
        self, x: Inputs, noise: Sequence[Tensor], gradient: Callable[[Tensor], Tensor], members: slice
    ) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            indices = range(self.n_members)[members]
            # Copy, because autograd cannot save inference tensors, and a module may write into its input.
            z = torch.stack([self._member_output(m, x.numeric[i].clone()) for i, m in enumerate(indices)])
            with torch.no_grad():
                self.grad_buffer[members].zero_()
                grad = gradient(z.detach()).clone()
            z.backward(grad)
        return z.detach()

    def outputs(self, x: Inputs, members: slice = slice(None), param_buffer: Tensor | None = None) -> Tensor:
        z = []
        for i, m in enumerate(range(self.n_members)[members]):
            tensors = {} if param_buffer is None else {e.name: self.view(param_buffer, e)[m] for e in self.entries}
            z.append(torch.func.functional_call(self.members[m], tensors, (x.numeric[i].clone(),)))
        return torch.stack(z)

    def forward(self, numeric: Tensor) -> Tensor:
        """Return raw outputs (M, B, K) of all members for rows (B, ...)."""
        return torch.stack([module(numeric) for module in self.members])

    def _member_output(self, m: int, rows: Tensor) -> Tensor:
        with contextlib.nullcontext() if self.generator_modes is None else self.generator_modes[m]:
            return self.members[m](rows)

    def __reduce__(self) -> tuple:
        modules = []
        for module in self.members:
            memo = {id(p): _detached(p) for p in (*module.parameters(), *module.buffers())}
            modules.append(copy.deepcopy(module, memo))
        return _restore_custom, (
            modules,
            self.param_buffer.dtype,
            self.in_features,
            self.training,
            self._generator_states(),
        )

    def _generator_states(self) -> list[GeneratorStates] | None:
        return None if self.generator_modes is None else [mode.states for mode in self.generator_modes]

    def _restore_generators(self, states: list[GeneratorStates] | None) -> None:
        self.generator_modes = (
            None if states is None else [GeneratorMode.from_states(member_states) for member_states in states]
        )


def _restore_custom(
    modules: list[nn.Module],
    dtype: torch.dtype,
    in_features: int | tuple[int, ...] | None,
    training: bool,
    states: list[GeneratorStates] | None,
) -> CustomNetwork:
    network = CustomNetwork(modules, dtype, in_features).train(training)
    network._restore_generators(states)
    return network


def build_module(
    factory: Callable[..., nn.Module], in_features: int | tuple[int, ...], out_features: int, seed: int
) -> nn.Module:
    """Return `factory(in_features, out_features)`, with initial weights drawn from this seed."""
    with GeneratorMode(seed):
        module = factory(in_features, out_features)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module={factory!r} has to return a torch.nn.Module when called as module(in_features, out_features); "
            f"got {type(module).__name__}."
        )
    if not any(p.requires_grad for p in module.parameters()):
        raise ValueError(f"module={factory!r} returned a module without parameters to train.")
    return module


def check_factory(factory: Callable[..., nn.Module]) -> None:
    """Raise an error if `factory` cannot be called with two sizes, before any data is processed."""
    if isinstance(factory, nn.Module):
        raise TypeError(
            "module has to be a class or function that builds the network, called as module(in_features, "
            f"out_features) at fit; got an instance of {type(factory).__name__}. Pass the class, or a function that "
            "returns a new instance."
        )
    try:
        inspect.signature(factory).bind(1, 1)
    except TypeError as error:
        raise TypeError(
            f"module={factory!r} has to accept two arguments, module(in_features, out_features): {error}."
        ) from error


def _get_tensor(module: nn.Module, path: str) -> Tensor:
    *parents, name = path.split(".")
    for parent in parents:
        module = getattr(module, parent)
    return getattr(module, name)


def _detached(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU that shares no memory with the buffer."""
    value = tensor.detach().cpu().clone()
    return nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value
