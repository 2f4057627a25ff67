"""Log a fit to TensorBoard: curves, histograms of the weights, the graph, and hyperparameters with results."""

import itertools
import threading
import time
import warnings
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sknn.network.base import Network
from sknn.tracking.base import Tracker, errors_as_warnings, fit_results, kind_tag, plain_params

BINS = 50  # TensorBoard draws 30; torch's default of 1,500 takes five times as long
FLUSH_SECONDS = 10  # so that TensorBoard shows a running fit
_trace_lock = threading.Lock()  # jit.trace confuses the layers of networks that are traced in two threads


class TensorBoardTracker(Tracker):
    """Logs each fit to a folder for TensorBoard.

    View it with `tensorboard --logdir runs`. It shows the losses, metrics and learning rate of every epoch (for an
    ensemble their means over members), the distributions of the weights (for each kind of members, if they differ), the
    network's graph, and, in the tab HPARAMS, the parameters of every fit with its last values.

    Parameters
    ----------
    log_dir : str or path, default='runs'
        The folder that holds the runs.
    name : str, optional
        The run's folder in `log_dir`. By default each fit creates one, named after the time and the estimator. With a
        name all fits write to the same folder: use it for `partial_fit` and `warm_start`, which continue the epochs.
    histograms_every : int, default=10
        Write histograms in the first epoch and every so many epochs after it; 0 for none. All histograms of a small
        network take about 2 ms, so with the default they take about 0.2 ms per epoch. With solver='lbfgs' all
        histograms show the final weights, because callbacks are called after the last iteration.
    graph : bool, default=True
        Whether to draw the network's graph.

    Raises
    ------
    ImportError
        In `fit`, if TensorBoard is not installed.
    ValueError
        In `fit`, if `histograms_every` is not a number of epochs.

    Notes
    -----
    skorch's `TensorBoard` writes to a `SummaryWriter` of your own.
    """

    tool = "TensorBoard"
    writer_: Any

    def __init__(
        self, log_dir: Any = "runs", name: str | None = None, histograms_every: int = 10, graph: bool = True
    ) -> None:
        self.log_dir, self.name, self.histograms_every, self.graph = log_dir, name, histograms_every, graph

    def open(self, estimator: Any) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoardTracker needs TensorBoard; install it with: pip install 'sknn[tensorboard]'"
            ) from error
        if not (isinstance(self.histograms_every, Integral) and self.histograms_every >= 0):
            raise ValueError(
                f"histograms_every={self.histograms_every!r} of TensorBoardTracker must be a number of epochs (an "
                "integer), or 0 for no histograms."
            )
        folder = Path(self.log_dir)
        folder = folder / self.name if self.name else create_folder(folder, type(estimator).__name__)
        self.writer_ = SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS)
        self.last_values_: dict[str, float] = {}

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        if self.graph and not net.history:
            inputs = X.table.inputs(X.train_rows[0][:2])
            tensors = [tensor for tensor in (inputs.numeric, inputs.codes) if tensor is not None]
            # torch's writer draws a graph with jit.trace, which is deprecated and fails for some modules of users.
            with errors_as_warnings(self.tool), _trace_lock, warnings.catch_warnings(action="ignore"):
                self.writer_.add_graph(TraceableNetwork(net.module_), tensors)

    def write_epoch(self, epoch: int, values: dict[str, float], net: Any) -> None:
        self.last_values_ = {make_tag(name): value for name, value in values.items()}
        for tag, value in self.last_values_.items():
            self.writer_.add_scalar(tag, value, epoch)
        if self.histograms_every and (epoch - 1) % self.histograms_every == 0:
            for name, weights in named_weights(net.module_):
                self.writer_.add_histogram(name, weights.detach(), epoch, bins=BINS)

    def write_results(self, estimator: Any, X: Any, y: Any) -> None:
        from torch.utils.tensorboard.summary import hparams

        results = fit_results(estimator)
        for name, value in results.items():
            self.writer_.add_scalar(name, value, len(estimator.history_))
        # The writer's add_hparams would create a folder for each call, and write the values at another step.
        params = {name: to_hparam(value) for name, value in plain_params(estimator).items()}
        for summary in hparams(params, self.last_values_ | results):
            self.writer_.file_writer.add_summary(summary)

    def close(self, failed: bool) -> None:
        self.writer_.close()


class TraceableNetwork(nn.Module):
    """A network that is traced with torch's plain operations for autograd, instead of the kernels for training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            return self.network(*inputs)


def create_folder(parent: Path, name: str) -> Path:
    """Create a folder that no other fit writes to, even if several processes begin at the same time."""
    stem = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{name}"
    for number in itertools.count(1):
        folder = parent / (stem if number == 1 else f"{stem}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def named_weights(network: Network) -> Iterator[tuple[str, Tensor]]:
    """Yield each parameter with its name; if there are several kinds of members, the kind stands in front."""
    for part in network.parts:
        prefix = f"{kind_tag(part.kind)}/" if len(network.parts) > 1 else ""
        for name, weights in part.named_parameters():
            yield prefix + name, weights


def make_tag(name: str) -> str:
    """Return TensorBoard's tag of a value; training and validation curves of a metric are shown together."""
    prefix, _, rest = name.partition("_")
    if prefix in ("train", "valid") and rest:
        return f"{rest}/{prefix}"
    return f"training/{name}" if name in ("learning_rate", "seconds", "rows_per_second") else name


def to_hparam(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
