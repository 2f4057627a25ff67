"""What a user's module draws at random comes from a generator of its member, and torch's global one is left alone.

torch marks every operation that draws (`torch.Tag.nondeterministic_seeded`), and a dispatch mode sees the operations of
one thread only.  So a member's turn hands its generator to each of them, and nothing that threads share is touched.
"""

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode

States = dict[str, Tensor]  # of generators, by device; that of the CPU is always there

GLOBAL_GENERATORS: dict[str, Callable[[torch.device], torch.Generator]] = {
    "cpu": lambda device: torch.default_generator,
    "cuda": lambda device: torch.cuda.default_generators[device.index],
    "mps": lambda device: torch.mps._get_default_mps_generator(),
}
RATES = ("dropout_p", "dropout")  # arguments without which a fused kernel draws nothing


class GeneratorMode(TorchDispatchMode):
    """Inside, what this thread draws comes from generators of its own: one for each device, of one seed.

    Parameters
    ----------
    seed : int

    Raises
    ------
    RuntimeError
        Inside, if something is drawn in a part of a module that `torch.utils.checkpoint` is to compute again.

    Notes
    -----
    On a CPU the numbers are those that torch's global generator gives after `torch.manual_seed(seed)`.

    Numbers that come from numpy, from Python's `random`, or from a generator that the module names itself are left
    alone.  A GPU's fused kernels, such as those for attention, take no generator: for one with dropout, the GPU's
    global generator is put into this one's state while the kernel is started.

    Examples
    --------
    >>> import torch
    >>> with GeneratorMode(0):
    ...     first = torch.rand(3)
    >>> with GeneratorMode(0):
    ...     again = torch.rand(3)
    >>> torch.equal(first, again)
    True
    """

    supports_higher_order_operators = True  # they are called as they are

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generators = {"cpu": torch.Generator().manual_seed(seed)}

    def __enter__(self) -> Self:
        _push_mode(self)  # and no more: the base class also sets flags that threads share
        return self

    def __exit__(self, *_: object) -> None:
        _pop_mode()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the base class would import torch's compiler to that end; see the end of this file

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        draw = way_to_draw(func)
        if draw is None:
            return func(*args, **(kwargs or {}))
        names = (argument.name for argument in func._schema.arguments)
        return draw(self, dict(zip(names, args, strict=False)) | (kwargs or {}))

    def generator(self, device: torch.device) -> torch.Generator:
        """The generator for what is drawn on a device."""
        if str(device) not in self.generators:
            seed = self.generators["cpu"].initial_seed()
            self.generators[str(device)] = torch.Generator(device).manual_seed(seed)
        return self.generators[str(device)]

    @property
    def states(self) -> States:
        """How far each generator has come."""
        return {device: generator.get_state() for device, generator in self.generators.items()}

    @classmethod
    def going_on(cls, states: States) -> Self:
        """Draws that go on from there; those of a GPU that is not here begin anew."""
        draws = cls(0)
        for device, state in states.items():
            if device != "cpu" and not torch.get_device_module(device).is_available():
                continue
            draws.generators[device] = torch.Generator(device)
            draws.generators[device].set_state(state)
        return draws


Draw = Callable[[GeneratorMode, dict[str, Any]], Any]  # called with the arguments of the operation by name


@functools.cache
def way_to_draw(func: Any) -> Draw | None:
    """How an operation comes to draw from a generator of ours; None if it draws nothing."""
    if torch.Tag.nondeterministic_seeded not in getattr(func, "tags", ()):
        return None
    with_generator = _overload_with_generator(func)
    if with_generator is not None:
        return functools.partial(_draw, with_generator)
    if func is torch.ops.aten.native_dropout.default:
        return _drop_out
    return functools.partial(_draw_in_parts if func._can_decompose() else _draw_in_our_state, func)


def _overload_with_generator(func: Any) -> Any:
    """The operation itself, or its twin that takes a generator besides; None if there is no such thing."""
    packet = func.overloadpacket
    for other in (func, *(getattr(packet, name) for name in packet.overloads())):
        types = _types(other)
        if types.pop("generator", None) and types == {k: v for k, v in _types(func).items() if k != "generator"}:
            return other
    return None


def _types(func: Any) -> dict[str, str]:
    return {argument.name: str(argument.type) for argument in func._schema.arguments}


def _draw(func: Any, draws: GeneratorMode, given: dict[str, Any]) -> Any:
    device = _device_of(given)
    if given.get("generator") is not None or device.type not in GLOBAL_GENERATORS:
        return func(**given)
    _refuse_to_draw_again()
    return func(**given | {"generator": draws.generator(device)})


def _drop_out(draws: GeneratorMode, given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Like `native_dropout`, which takes no generator: the result, and which numbers are kept."""
    x, p = given["input"], given["p"]
    if given["train"] is False:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    with draws:
        factors = torch.empty_like(x).bernoulli_(1 - p)
    return x * factors.div(1 - p or 1.0), factors.bool()


def _draw_in_parts(func: Any, draws: GeneratorMode, given: dict[str, Any]) -> Any:
    """For an operation that is made of others."""
    with draws:
        return func.decompose(**given)


_one_at_a_time = threading.Lock()


def _draw_in_our_state(func: Any, draws: GeneratorMode, given: dict[str, Any]) -> Any:
    """For a kernel that draws from the global generator and from no other."""
    rates = [given.get(arg.name, arg.default_value) for arg in func._schema.arguments if arg.name in RATES]
    device = _device_of(given)
    if (rates and not any(rates)) or device.type not in GLOBAL_GENERATORS:
        return func(**given)
    _refuse_to_draw_again()
    ours, common = draws.generator(device), GLOBAL_GENERATORS[device.type](device)
    with _one_at_a_time:
        before = common.get_state()
        common.set_state(ours.get_state())
        try:
            return func(**given)
        finally:
            ours.set_state(common.get_state())
            common.set_state(before)


def _refuse_to_draw_again() -> None:
    """Refuse what the backward pass would compute again, where no generator of ours is at hand."""
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "torch.utils.checkpoint":
            raise RuntimeError(
                "module draws random numbers (dropout, say) in a part that torch.utils.checkpoint computes again in "
                "the backward pass, where they would be other numbers. Leave that part out of the checkpoint, or draw "
                "before it."
            )
        frame = frame.f_back


def _device_of(given: dict[str, Any]) -> torch.device:
    """Where an operation draws: on the device that it names, or that of its tensors."""
    device = given.get("device")
    if device is None:
        device = next((value.device for value in given.values() if isinstance(value, Tensor)), torch.device("cpu"))
    return torch.device("cuda", torch.cuda.current_device()) if device == torch.device("cuda") else device


# Where a module is compiled, the compiler leaves the mode's own functions alone.
_compiler = torch._C._dynamo.eval_frame
_leave_alone = _compiler._FrameAction.SKIP
_compiler.set_code_exec_strategy(
    GeneratorMode.__torch_dispatch__.__code__, _compiler._FrameExecStrategy(_leave_alone, _leave_alone)
)
