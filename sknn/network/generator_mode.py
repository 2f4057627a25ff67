"""A dispatch mode that makes random operations use a member's generator in place of torch's global one.

torch marks every random operation (`torch.Tag.nondeterministic_seeded`), and a dispatch mode sees the operations of one
thread only. So the mode passes its generator to each of them, and changes no state that threads share.
"""

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode

GeneratorStates = dict[str, Tensor]  # states of generators by device; always includes the CPU

GLOBAL_GENERATORS: dict[str, Callable[[torch.device], torch.Generator]] = {
    "cpu": lambda device: torch.default_generator,
    "cuda": lambda device: torch.cuda.default_generators[device.index],
    "mps": lambda device: torch.mps._get_default_mps_generator(),
}
DROPOUT_ARGUMENTS = ("dropout_p", "dropout")  # a fused kernel draws nothing if these are 0


class GeneratorMode(TorchDispatchMode):
    """A context in which this thread's random operations use the mode's generators: one for each device, of one seed.

    Parameters
    ----------
    seed : int

    Raises
    ------
    RuntimeError
        Inside, if a part of a module that `torch.utils.checkpoint` computes again draws random numbers.

    Notes
    -----
    On a CPU, the numbers are the same as with torch's global generator after `torch.manual_seed(seed)`.

    The mode does not change numbers from numpy, from Python's `random`, or from a generator that the module passes
    itself. A GPU's fused kernels, such as those for attention, take no generator. While such a kernel with dropout is
    launched, the GPU's global generator has the state of the mode's generator.

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

    supports_higher_order_operators = True  # they are called unchanged

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generators = {"cpu": torch.Generator().manual_seed(seed)}

    def __enter__(self) -> Self:
        _push_mode(self)  # the base class also sets flags that threads share
        return self

    def __exit__(self, *_: object) -> None:
        _pop_mode()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the base class would import torch's compiler for this; see the end of this file

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        draw = find_draw_function(func)
        if draw is None:
            return func(*args, **(kwargs or {}))
        names = (argument.name for argument in func._schema.arguments)
        return draw(self, dict(zip(names, args, strict=False)) | (kwargs or {}))

    def generator(self, device: torch.device) -> torch.Generator:
        """Return the generator for a device."""
        if str(device) not in self.generators:
            seed = self.generators["cpu"].initial_seed()
            self.generators[str(device)] = torch.Generator(device).manual_seed(seed)
        return self.generators[str(device)]

    @property
    def states(self) -> GeneratorStates:
        """The current state of each generator."""
        return {device: generator.get_state() for device, generator in self.generators.items()}

    @classmethod
    def from_states(cls, states: GeneratorStates) -> Self:
        """Return a mode that continues from these states. States of a GPU that is not available are ignored."""
        mode = cls(0)
        for device, state in states.items():
            if device != "cpu" and not torch.get_device_module(device).is_available():
                continue
            mode.generators[device] = torch.Generator(device)
            mode.generators[device].set_state(state)
        return mode


DrawFunction = Callable[[GeneratorMode, dict[str, Any]], Any]  # takes the operation's arguments by name


@functools.cache
def find_draw_function(func: Any) -> DrawFunction | None:
    """Return the function that runs an operation with the mode's generator; None if the operation is not random."""
    if torch.Tag.nondeterministic_seeded not in getattr(func, "tags", ()):
        return None
    with_generator = _overload_with_generator(func)
    if with_generator is not None:
        return functools.partial(_draw, with_generator)
    if func is torch.ops.aten.native_dropout.default:
        return _drop_out
    return functools.partial(_draw_decomposed if func._can_decompose() else _draw_with_global_generator, func)


def _overload_with_generator(func: Any) -> Any:
    """Return the overload of an operation with the same arguments and a generator; None if there is none."""
    packet = func.overloadpacket
    for overload in (func, *(getattr(packet, name) for name in packet.overloads())):
        types = _argument_types(overload)
        if types.pop("generator", None) and types == {
            k: v for k, v in _argument_types(func).items() if k != "generator"
        }:
            return overload
    return None


def _argument_types(func: Any) -> dict[str, str]:
    return {argument.name: str(argument.type) for argument in func._schema.arguments}


def _draw(func: Any, mode: GeneratorMode, args: dict[str, Any]) -> Any:
    device = _find_device(args)
    if args.get("generator") is not None or device.type not in GLOBAL_GENERATORS:
        return func(**args)
    _check_checkpoint()
    return func(**args | {"generator": mode.generator(device)})


def _drop_out(mode: GeneratorMode, args: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the result and the mask of `native_dropout`, which itself takes no generator."""
    x, p = args["input"], args["p"]
    if args["train"] is False:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    with mode:
        factors = torch.empty_like(x).bernoulli_(1 - p)
    return x * factors.div(1 - p or 1.0), factors.bool()


def _draw_decomposed(func: Any, mode: GeneratorMode, args: dict[str, Any]) -> Any:
    """Run an operation as the sequence of other operations that it consists of."""
    with mode:
        return func.decompose(**args)


_global_generator_lock = threading.Lock()


def _draw_with_global_generator(func: Any, mode: GeneratorMode, args: dict[str, Any]) -> Any:
    """Run a kernel that can only use the global generator, with the state of the mode's generator."""
    rates = [args.get(arg.name, arg.default_value) for arg in func._schema.arguments if arg.name in DROPOUT_ARGUMENTS]
    device = _find_device(args)
    if (rates and not any(rates)) or device.type not in GLOBAL_GENERATORS:
        return func(**args)
    _check_checkpoint()
    generator, global_generator = mode.generator(device), GLOBAL_GENERATORS[device.type](device)
    with _global_generator_lock:
        before = global_generator.get_state()
        global_generator.set_state(generator.get_state())
        try:
            return func(**args)
        finally:
            generator.set_state(global_generator.get_state())
            global_generator.set_state(before)


def _check_checkpoint() -> None:
    """Raise an error inside `torch.utils.checkpoint`, whose backward pass would draw other numbers."""
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "torch.utils.checkpoint":
            raise RuntimeError(
                "module draws random numbers (for example dropout) inside torch.utils.checkpoint, which would draw "
                "different numbers when it computes that part again in the backward pass. Leave that part out of the "
                "checkpoint, or draw before it."
            )
        frame = frame.f_back


def _find_device(args: dict[str, Any]) -> torch.device:
    """Return the device of an operation: the one in its arguments, or that of its tensors."""
    device = args.get("device")
    if device is None:
        device = next((value.device for value in args.values() if isinstance(value, Tensor)), torch.device("cpu"))
    return torch.device("cuda", torch.cuda.current_device()) if device == torch.device("cuda") else device


# If a module is compiled, torch's compiler skips the mode's own function.
_compiler = torch._C._dynamo.eval_frame
_skip = _compiler._FrameAction.SKIP
_compiler.set_code_exec_strategy(GeneratorMode.__torch_dispatch__.__code__, _compiler._FrameExecStrategy(_skip, _skip))
