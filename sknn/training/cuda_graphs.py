"""Capture the steps of a chunk as a CUDA graph, and replay it.

On a GPU a small network's step is some twenty-five kernels of a few microseconds each, and launching them one by one
from Python takes longer than running them. A graph launches all steps of a chunk at once. It reads and writes the
memory with which it was captured. So before a replay, everything that differs is copied there: the rows, their noise
and weights, and the scalars of each step (learning rate, bias correction), which are computed on the host.
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

# Takes a step on a batch, given a pair of scalars for each of the batch's step groups.
StepWith = Callable[[Batch, list[Any]], dict[str, Any]]


def can_capture(network: Any, optimizer: EnsembleOptimizer, loss: Any) -> bool:
    """Return whether a step only launches kernels: without autograd, and without a user's code that reads values."""
    built_in = isinstance(network, MLP) and not isinstance(optimizer, TorchOptimizer) and not hasattr(loss, "function")
    return built_in and network.param_buffer.device.type == "cuda"


def capture(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Capture the kernels that `run` launches, without running them.

    Return a function that replays them, and the result of `run`.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the GPU at the same time
        result = run()
    return graph.replay, result


@dataclass
class Capture:
    """The captured steps of a chunk: the memory that they read, and their results."""

    chunk: Chunk
    step_scalars: Tensor
    replay: Callable[[], None]
    steps: list[dict[str, Any]]
    kept: Any  # memory that the graph writes to, which must not be freed


class CudaGraphSteps:
    """Takes the steps of chunks.

    The first chunk of a shape is run step by step, the second is captured, and the others are replayed.

    Parameters
    ----------
    network : EnsembleNetwork
    optimizer : EnsembleOptimizer
    step_with : callable
        Takes one step on a batch, given its scalars.
    count : callable
        Counts the next step of a step group and returns its scalars: (group, batch) -> (schedule factor, step size).
    """

    def __init__(
        self,
        network: EnsembleNetwork,
        optimizer: EnsembleOptimizer,
        step_with: StepWith,
        count: Callable[[slice, Batch], tuple[float, float]],
    ) -> None:
        self.network, self.optimizer, self.step_with, self.count = network, optimizer, step_with, count
        self.captures: dict[Any, Capture | None] = {}  # None for a shape that came once
        self.state: Any = None

    def take(self, chunk: Chunk) -> list[dict[str, Any]]:
        """Take the chunk's steps and return their results, which the next chunk of the same shape overwrites."""
        self._drop_outdated()
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
        """Return the scalars in pinned memory, so that the copy to the device does not stop the host."""
        t = torch.tensor(step_scalars, dtype=self.network.param_buffer.dtype)
        return t.pin_memory() if self.network.param_buffer.is_cuda else t

    def _drop_outdated(self) -> None:
        """Drop the captures if the network or the optimizer has new memory, or if there are too many."""
        state = self.network.param_buffer.data_ptr(), self.network.grad_buffer.data_ptr(), self.optimizer.generation
        if state != self.state or len(self.captures) > MOST_CAPTURES:
            self.captures.clear()
            self.state = state


def _device_of(network: EnsembleNetwork) -> Any:
    """Return a context in which the network's device is current: a graph captures the current device's stream."""
    device = network.param_buffer.device
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
