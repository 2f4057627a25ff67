"""The steps of a chunk recorded once and replayed: CUDA graphs.

On a GPU a small network's step is some twenty-five kernels of a few microseconds, and launching them one by one from
Python takes longer than they do.  A recording launches all of a chunk's steps at once.  It reads and writes the memory
that it was made with, so everything that differs from one time to the next has to be copied there before a replay: the
rows, their noise and weights, and the scalars of each step (learning rate, bias correction), which are on the host.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sknn.network.base import EnsembleNetwork
from sknn.network.mlp import MLP
from sknn.network.optimizers import EnsembleOptimizer, TorchOptimizer
from sknn.training.batches import Batch, Chunk

MOST_CAPTURES = 16
STEPS_AT_ONCE = 64  # of one recording

# Takes a step on a batch with the given step_scalars, one pair for each of the batch's runs of members.
StepWith = Callable[[Batch, list[Any]], dict[str, Any]]


def can_capture(network: Any, optimizer: EnsembleOptimizer, loss: Any) -> bool:
    """Whether a step consists of kernels alone: no autograd, and nothing of a user's that might look at a value."""
    built_in = isinstance(network, MLP) and not isinstance(optimizer, TorchOptimizer) and not hasattr(loss, "function")
    return built_in and network.param_buffer.device.type == "cuda"


def capture(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Record what `run` launches, without its taking effect; return what replays it, and what `run` returned."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the GPU meanwhile
        result = run()
    return graph.replay, result


@dataclass
class Capture:
    """One chunk's steps: the memory they read, and what they return."""

    chunk: Chunk
    step_scalars: Tensor
    replay: Callable[[], None]
    steps: list[dict[str, Any]]
    kept: Any  # memory that the recording writes to, and that nobody else may free


class CudaGraphSteps:
    """Takes the steps of chunks: the first of a shape one by one, the second recorded, the others replayed.

    Parameters
    ----------
    network : EnsembleNetwork
    optimizer : EnsembleOptimizer
    step_with : callable
        Takes one step on a batch, with given scalars.
    count : callable
        The scalars of a run's next step, which it counts: (run, batch) -> (factor, size).
    """

    def __init__(
        self,
        network: EnsembleNetwork,
        optimizer: EnsembleOptimizer,
        step_with: StepWith,
        count: Callable[[slice, Batch], tuple[float, float]],
    ) -> None:
        self.network, self.optimizer, self.step_with, self.count = network, optimizer, step_with, count
        self.captures: dict[Any, Capture | None] = {}  # None for a shape that was seen once
        self.state: Any = None

    def take(self, chunk: Chunk) -> list[dict[str, Any]]:
        """Take the chunk's steps; what it returns is overwritten by the next chunk of the same shape."""
        self._forget_if_replaced()
        batches = list(chunk.batches())
        step_scalars = [[self.count(run, batch) for run in chunk.step_groups] for batch in batches]
        key = tuple(chunk.shapes), chunk.members.start, tuple((run.start, run.stop) for run in chunk.step_groups)
        if key not in self.captures:
            self.captures[key] = None
            return self._steps(batches, step_scalars)
        capture = self.captures[key]
        if capture is None:
            with _device_of(self.network):
                capture = self.captures[key] = self._capture(chunk, batches)
        else:
            capture.chunk.copy_from(chunk)
        capture.step_scalars.copy_(self._on_host(step_scalars), non_blocking=True)
        capture.replay()
        return capture.steps

    def _steps(self, batches: list[Batch], step_scalars: list[Any]) -> list[dict[str, Any]]:
        return [self.step_with(batch, given) for batch, given in zip(batches, step_scalars, strict=True)]

    def _capture(self, chunk: Chunk, batches: list[Batch]) -> Capture:
        step_scalars = self.network.param_buffer.new_zeros(len(batches), len(chunk.step_groups), 2)
        given = [[tuple(pair) for pair in step] for step in step_scalars]
        replay, steps = capture(lambda: self._steps(batches, given))
        return Capture(chunk, step_scalars, replay, steps, (batches, self.network.bound_layers()))

    def _on_host(self, step_scalars: list[Any]) -> Tensor:
        """The scalars in memory from which the device can take them while the host goes on."""
        t = torch.tensor(step_scalars, dtype=self.network.param_buffer.dtype)
        return t.pin_memory() if self.network.param_buffer.is_cuda else t

    def _forget_if_replaced(self) -> None:
        """Drop recordings of memory that is no longer the network's, or the solver's."""
        state = self.network.param_buffer.data_ptr(), self.network.grad_buffer.data_ptr(), self.optimizer.generation
        if state != self.state or len(self.captures) > MOST_CAPTURES:
            self.captures.clear()
            self.state = state


def _device_of(network: EnsembleNetwork) -> Any:
    """Makes the network's device the current one, whose stream a recording listens to."""
    device = network.param_buffer.device
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
