"""The steps of a chunk recorded once and replayed: CUDA graphs.

On a GPU a small network's step is some twenty-five kernels of a few microseconds, and launching them one by one from
Python takes longer than they do.  A recording launches all of a chunk's steps at once.  It reads and writes the memory
that it was made with, so everything that differs from one time to the next has to be copied there before a replay: the
rows, their noise and weights, and the numbers of each step (learning rate, bias correction), which are on the host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sknn.batches import Batch, Chunk
from sknn.network.flat import FlatNetwork
from sknn.network.mlp import MLP
from sknn.network.optimizers import FlatOptimizer, TorchOptimizer

MOST_RECORDINGS = 16
STEPS_AT_ONCE = 64  # of one recording

# Takes a step on a batch with the given numbers, one pair for each of the batch's runs of members.
StepWith = Callable[[Batch, list[Any]], dict[str, Any]]


def can_record(network: Any, optimizer: FlatOptimizer, loss: Any) -> bool:
    """Whether a step consists of kernels alone: no autograd, and nothing of a user's that might look at a value."""
    built_in = isinstance(network, MLP) and not isinstance(optimizer, TorchOptimizer) and not hasattr(loss, "function")
    return built_in and network.flat.device.type == "cuda"


def record(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Run once to warm up, then record; return what replays the recording, and what `run` returned in it."""
    warm_up = torch.cuda.Stream()
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        run()
    torch.cuda.current_stream().wait_stream(warm_up)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph.replay, result


@dataclass
class Recording:
    """One chunk's steps: the memory they read, and what they return."""

    chunk: Chunk
    numbers: Tensor
    replay: Callable[[], None]
    steps: list[dict[str, Any]]
    kept: Any  # memory that the recording writes to, and that nobody else may free


class CapturedSteps:
    """Takes the steps of chunks by replaying recordings, one for each shape of chunk.

    Parameters
    ----------
    network : FlatNetwork
    optimizer : FlatOptimizer
    step_with : callable
        Takes one step on a batch, with numbers that are tensors.
    count : callable
        The numbers of a run's next step on the host, which it counts: (run, batch) -> (factor, size).
    """

    def __init__(
        self,
        network: FlatNetwork,
        optimizer: FlatOptimizer,
        step_with: StepWith,
        count: Callable[[slice, Batch], tuple[float, float]],
    ) -> None:
        self.network, self.optimizer, self.step_with, self.count = network, optimizer, step_with, count
        self.recordings: dict[Any, Recording] = {}

    def take(self, chunk: Chunk) -> list[dict[str, Any]]:
        """Take the chunk's steps; what it returns is overwritten by the next chunk of the same shape."""
        batches = list(chunk.batches())
        numbers = [[self.count(run, batch) for run in chunk.runs] for batch in batches]
        runs = tuple((run.start, run.stop) for run in chunk.runs)
        key = tuple(chunk.shapes), chunk.members.start, runs, self.network.flat.data_ptr(), self.optimizer.generation
        recording = self.recordings.get(key)
        if recording is None:
            if len(self.recordings) >= MOST_RECORDINGS:
                self.recordings.clear()
            recording = self.recordings[key] = self._record(chunk, batches)
        else:
            recording.chunk.copy_from(chunk)
        recording.numbers.copy_(torch.tensor(numbers))
        recording.replay()
        return recording.steps

    def _record(self, chunk: Chunk, batches: list[Batch]) -> Recording:
        numbers = self.network.flat.new_zeros(len(batches), len(chunk.runs), 2)
        given = [[tuple(pair) for pair in step] for step in numbers]
        state = [self.network.flat, *self.optimizer.buffers.values()]
        before = [t.clone() for t in state]
        replay, steps = record(lambda: [self.step_with(*pair) for pair in zip(batches, given, strict=True)])
        for t, value in zip(state, before, strict=True):  # what the warming up has changed
            t.copy_(value)
        return Recording(chunk, numbers, replay, steps, (batches, self.network.bound_layers()))
