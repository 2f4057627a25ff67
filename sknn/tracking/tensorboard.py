"""A fit in TensorBoard: curves, distributions of the weights, the graph, and hyperparameters beside their results."""

import itertools
import threading
import time
import warnings
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sknn.tracking.base import Tracker, at_most_a_warning, parameters_of, results_of

BINS = 50  # TensorBoard draws 30; torch's own bins are 1,500, and cost five times as much
FLUSH_SECONDS = 10  # so that a running fit can be looked at
_one_trace_at_a_time = threading.Lock()  # jit.trace mixes up the layers of networks that two threads trace


class TensorBoardTracker(Tracker):
    """Writes each fit into a folder for TensorBoard.

    Look at it with `tensorboard --logdir runs`.  There are the losses, metrics and the learning rate of every epoch
    (of an ensemble their means over members), the distributions of the weights, the network's graph, and, in the tab
    HPARAMS, the parameters of every fit beside its last values.

    Parameters
    ----------
    log_dir : str or path, default='runs'
        The folder that holds the runs.
    name : str, optional
        The run's folder in `log_dir`.  By default each fit makes one, named by the time and the estimator.  With a name
        all fits write into one: for `partial_fit` and `warm_start`, whose epochs count on.
    histograms_every : int, default=10
        Epochs from one set of histograms to the next, beginning with the first; 0 for none.  A set costs some 2 ms for
        a small network: the default keeps the mean per epoch far below that.  With solver='lbfgs', whose iterations are
        told of when they are over, all sets are of the final weights.
    graph : bool, default=True
        Whether to draw the network's graph.

    Raises
    ------
    ImportError
        Out of `fit`, if TensorBoard is not installed.
    ValueError
        Out of `fit`, if `histograms_every` is no number of epochs.

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
                f"histograms_every={self.histograms_every!r} of TensorBoardTracker must be a whole number of epochs, "
                "or 0 for no histograms."
            )
        folder = Path(self.log_dir)
        folder = folder / self.name if self.name else new_folder(folder, type(estimator).__name__)
        self.writer_ = SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS)
        self.last_: dict[str, float] = {}

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        if self.graph and not net.history:
            inputs = X.table.inputs(X.train_rows[0][:2])
            given = [part for part in (inputs.numeric, inputs.codes) if part is not None]
            # A module of the user's may do what cannot be traced.  torch's writer knows no other way to draw a graph
            # than jit.trace, which is deprecated.
            with at_most_a_warning(self.tool), _one_trace_at_a_time, warnings.catch_warnings(action="ignore"):
                self.writer_.add_graph(Drawn(net.module_), given)

    def write(self, epoch: int, values: dict[str, float], net: Any) -> None:
        self.last_ = {tag_of(name): value for name, value in values.items()}
        for tag, value in self.last_.items():
            self.writer_.add_scalar(tag, value, epoch)
        if self.histograms_every and (epoch - 1) % self.histograms_every == 0:
            for name, weights in net.module_.named_parameters():
                self.writer_.add_histogram(name, weights.detach(), epoch, bins=BINS)

    def conclude(self, estimator: Any, X: Any, y: Any) -> None:
        from torch.utils.tensorboard.summary import hparams

        results = results_of(estimator)
        for name, value in results.items():
            self.writer_.add_scalar(name, value, len(estimator.history_))
        # The writer's own add_hparams makes a folder for each call, and writes the values at a step of their own.
        params = {name: as_hparam(value) for name, value in parameters_of(estimator).items()}
        for summary in hparams(params, self.last_ | results):
            self.writer_.file_writer.add_summary(summary)

    def close(self, failed: bool) -> None:
        self.writer_.close()


class Drawn(nn.Module):
    """A network as its graph is drawn: by the plain operations that autograd sees, not the kernels of a training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            return self.network(*inputs)


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder that no other fit writes to, also if several processes begin at once."""
    stem = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{name}"
    for number in itertools.count(1):
        folder = parent / (stem if number == 1 else f"{stem}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("there are more numbers")


def tag_of(name: str) -> str:
    """Where TensorBoard shows a value: training and validation curves of one metric are neighbours."""
    prefix, _, rest = name.partition("_")
    if prefix in ("train", "valid") and rest:
        return f"{rest}/{prefix}"
    return f"training/{name}" if name in ("learning_rate", "seconds", "rows_per_second") else name


def as_hparam(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
