"""Draw the layers of a network, with shapes and histograms of the weights."""

from typing import Any, Self

import numpy as np

from sknn.inspection.axes import import_pyplot
from sknn.inspection.network_summary import (
    KindSummary,
    LayerSummary,
    NetworkSummary,
    TensorSummary,
    format_shape,
    summary,
)

COLOUR = "#0072B2"
FAINT = "#767676"
HISTOGRAM_HEIGHT = 0.8  # lines
LINE_INCHES = 0.25
KIND_LINES = 2  # of the title of a kind, with the space around it
# Positions on a horizontal axis from 0 to about 100: the histograms, and the right ends of the columns of numbers.
HISTOGRAM_RANGE = (42.0, 62.0)
COLUMN_ENDS = {"parameters": 75.0, "mean": 82.0, "std": 88.0, "max": 94.0, "near 0": 101.0}
TEXT: dict[str, Any] = {"va": "center", "fontsize": "small"}


class NetworkDisplay:
    """The layers of a network from the input downwards, with a histogram of each trained tensor.

    A histogram covers the weights of all members, from minus to plus the largest absolute weight of the tensor ('max').
    A spike at 0 means weights without effect. The numbers beside it are those of `summary`. If an ensemble has members
    of several kinds, the layers of each kind stand below a line with its number of members and its weight.

    Parameters
    ----------
    network : NetworkSummary
        The result of `sknn.inspection.summary`.

    Raises
    ------
    TypeError
        If `network` is not a NetworkSummary.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        The outlines of the histograms, one for each tensor. With several kinds, their labels begin with the kind.

    See Also
    --------
    summary : The same as a table.
    TrainingCurveDisplay : The losses and metrics of the training.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import NeuralClassifier
    >>> from sknn.inspection import NetworkDisplay
    >>> clf = NeuralClassifier(hidden_layer_sizes=(8,), ensemble_size=1, max_iter=5, random_state=0)
    >>> clf = clf.fit(*load_iris(return_X_y=True))
    >>> display = NetworkDisplay.from_estimator(clf)
    >>> [line.get_label() for line in display.lines_]
    ['layers.0.weight', 'layers.0.bias', 'layers.0.scale', 'layers.3.weight', 'layers.3.bias']
    """

    ax_: Any
    figure_: Any

    def __init__(self, network: NetworkSummary) -> None:
        if not isinstance(network, NetworkSummary):
            raise TypeError(
                f"network must be the result of sknn.inspection.summary(estimator), got a {type(network).__name__}; "
                "use NetworkDisplay.from_estimator(estimator) to draw the network of an estimator."
            )
        self.network = network

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None, *, ax: Any = None, color: Any = COLOUR) -> Self:
        """Draw the network of an estimator.

        Parameters
        ----------
        estimator : NeuralClassifier or NeuralRegressor
            Fitted; also a pipeline that ends in one, or a search whose best estimator is one.
        X : like the X of its `fit`, optional
            Rows that show the output shapes of a custom `module`.
        ax, color
            As in `plot`.

        Returns
        -------
        NetworkDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        return cls(summary(estimator, X)).plot(ax, color=color)

    def plot(self, ax: Any = None, *, color: Any = COLOUR) -> Self:
        """Draw the layers.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default axes of a new figure, with a height for the number of layers.
        color : matplotlib colour, default='#0072B2'
            Colour of the histograms.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_pyplot(f"{type(self).__name__}.plot")
        kinds = self.network.kinds
        heights = [sum(1 + len(layer.tensors) for layer in kind.layers) for kind in kinds]
        n_lines = sum(heights) + (KIND_LINES * len(kinds) if len(kinds) > 1 else 0)
        if ax is None:
            ax = plt.subplots(figsize=(7.5, LINE_INCHES * n_lines + 0.8), layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_: list[Any] = []
        line = 0
        for kind, height in zip(kinds, heights, strict=True):
            if len(kinds) > 1:
                _write_kind(ax, line, kind)
                line += KIND_LINES
            prefix = f"{kind.kind}: " if len(kinds) > 1 else ""
            self.lines_ += _draw_layers(ax, line, kind.layers, prefix, color)
            _draw_zero(ax, line, line + height)
            line += height
        _finish(ax, n_lines, self.network.title)
        return self


def _write_kind(ax: Any, line: int, kind: KindSummary) -> None:
    """Write a kind's title above its layers."""
    ax.plot([0, COLUMN_ENDS["near 0"]], [line] * 2, color=FAINT, linewidth=0.6)
    ax.text(0, line + 0.8, kind.title, **TEXT, style="italic")


def _draw_layers(ax: Any, line: int, layers: list[LayerSummary], prefix: str, color: Any) -> list[Any]:
    """Draw layers from this line downwards, and return the outlines of their histograms."""
    outlines = []
    for layer in layers:
        _write_layer(ax, line, layer)
        for tensor_line, tensor in enumerate(layer.tensors, line + 1):
            label = f"{prefix}{layer.name}.{tensor.name}"
            outlines.append(_draw_tensor(ax, tensor_line, tensor, label, color))
        line += 1 + len(layer.tensors)
    return outlines


def _write_layer(ax: Any, line: int, layer: LayerSummary) -> None:
    """Write a layer's name, kind and output shape; faint if it has no trained tensors."""
    shape = "" if layer.output_shape is None else f" → {format_shape(layer.output_shape)}"
    style = {"weight": "bold"} if layer.tensors else {"color": FAINT}
    ax.text(0, line, f"{layer.name}  {layer.short_kind}{shape}", **TEXT, **style)


def _draw_tensor(ax: Any, line: int, tensor: TensorSummary, label: str, color: Any) -> Any:
    """Draw a tensor's shape, histogram and statistics, and return the histogram's outline."""
    ax.text(3, line, f"{tensor.name}  {format_shape(tensor.shape)}", **TEXT)
    statistics = [f"{value:.3f}" for value in (tensor.mean, tensor.std, tensor.largest)]
    cells = [f"{tensor.n_parameters:,}", *statistics, f"{tensor.near_zero:.1%}"]
    for cell, end in zip(cells, COLUMN_ENDS.values(), strict=True):
        ax.text(end, line, cell, ha="right", **TEXT)
    bottom, shares = line + HISTOGRAM_HEIGHT / 2, tensor.histogram / tensor.histogram.max()
    x, y = np.linspace(*HISTOGRAM_RANGE, len(shares) + 1), bottom - HISTOGRAM_HEIGHT * np.append(shares, shares[-1])
    ax.fill_between(x, bottom, y, step="post", color=color, alpha=0.35, linewidth=0)
    return ax.plot(x, y, drawstyle="steps-post", color=color, linewidth=0.9, label=label)[0]


def _draw_zero(ax: Any, first: int, end: int) -> None:
    """Draw the line at 0 through the histograms."""
    ax.plot([sum(HISTOGRAM_RANGE) / 2] * 2, [first - 0.5, end - 0.5], color=FAINT, linewidth=0.6, zorder=0)


def _finish(ax: Any, n_lines: int, title: str) -> None:
    """Write the titles of the picture and its columns, and hide the axes."""
    for column, end in COLUMN_ENDS.items():
        ax.text(end, -1, column, ha="right", color=FAINT, **TEXT)
    ticks = np.linspace(*HISTOGRAM_RANGE, 3)
    for label, x in zip(["-max", "0", "+max"], ticks, strict=True):
        ax.text(x, -1, label, ha="center", color=FAINT, **TEXT)
    ax.set(xlim=(0, COLUMN_ENDS["near 0"]), ylim=(n_lines - 0.3, -1.5))
    ax.set_title(title, loc="left", fontsize="medium")
    ax.set_axis_off()
