"""The layers of a network, each with its shape and how its weights are spread."""

from typing import Any, Self

import numpy as np

from sknn.inspection.axes import pyplot
from sknn.inspection.network_summary import LayerSummary, NetworkSummary, TensorSummary, shape_text, summary

COLOUR = "#0072B2"
FAINT = "#767676"
HEIGHT = 0.8  # of a histogram, where a line of text has 1
INCHES = 0.25  # of a line
BAND = (42.0, 62.0)  # from where to where histograms go, of a width of 100
ENDS = {"parameters": 75.0, "mean": 82.0, "std": 88.0, "max": 94.0, "near 0": 101.0}  # of the columns of numbers
TEXT: dict[str, Any] = {"va": "center", "fontsize": "small"}


class NetworkDisplay:
    """The layers of a network from the input downwards, with a histogram of each trained tensor.

    A histogram goes from minus the tensor's largest absolute weight ('max') to plus that, over all members.  A spike at
    0 is weights that do nothing; the numbers beside it are those of `summary`.

    Parameters
    ----------
    network : NetworkSummary
        As `sknn.inspection.summary` gives it.

    Raises
    ------
    TypeError
        If `network` is none.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        The outlines of the histograms, one for each tensor.

    See Also
    --------
    summary : The same as a table.
    TrainingCurveDisplay : How the training went.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import NeuralClassifier
    >>> from sknn.inspection import NetworkDisplay
    >>> clf = NeuralClassifier(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(*load_iris(return_X_y=True))
    >>> display = NetworkDisplay.from_estimator(clf)
    >>> [line.get_label() for line in display.lines_]
    ['layers.0.weight', 'layers.0.bias', 'layers.0.scale', 'layers.3.weight', 'layers.3.bias']
    """

    ax_: Any
    figure_: Any

    def __init__(self, network: NetworkSummary) -> None:
        if not isinstance(network, NetworkSummary):
            raise TypeError(
                f"network must be what sknn.inspection.summary(estimator) gives, got a {type(network).__name__}; of an "
                "estimator draw it by NetworkDisplay.from_estimator(estimator)."
            )
        self.network = network

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None, *, ax: Any = None, color: Any = COLOUR) -> Self:
        """Draw the network of an estimator.

        Parameters
        ----------
        estimator : NeuralClassifier or NeuralRegressor
            Fitted; also a pipeline that ends in one, or a search whose best estimator is one.
        X : like the X of the network's `fit`, optional
            Shows what shapes the layers of a custom `module` make of a row.
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
        pyplot(f"{cls.__name__}.from_estimator")
        return cls(summary(estimator, X)).plot(ax, color=color)

    def plot(self, ax: Any = None, *, color: Any = COLOUR) -> Self:
        """Draw the layers.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            By default that of a new figure, as high as the layers ask for.
        color : matplotlib colour, default='#0072B2'
            Of the histograms.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        layers = self.network.layers
        n_lines = sum(1 + len(layer.tensors) for layer in layers)
        if ax is None:
            ax = plt.subplots(figsize=(7.5, INCHES * n_lines + 0.8), layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_: list[Any] = []
        line = 0
        for layer in layers:
            _write_layer(ax, line, layer)
            for place, tensor in enumerate(layer.tensors, line + 1):
                self.lines_.append(_draw_tensor(ax, place, layer, tensor, color))
            line += 1 + len(layer.tensors)
        _finish(ax, n_lines, self.network.title)
        return self


def _write_layer(ax: Any, line: int, layer: LayerSummary) -> None:
    """A layer's name, kind and output; one that learns nothing is faint."""
    shape = "" if layer.output_shape is None else f" → {shape_text(layer.output_shape)}"
    style = {"weight": "bold"} if layer.tensors else {"color": FAINT}
    ax.text(0, line, f"{layer.name}  {layer.short_kind}{shape}", **TEXT, **style)


def _draw_tensor(ax: Any, line: int, layer: LayerSummary, tensor: TensorSummary, color: Any) -> Any:
    """A tensor's shape, histogram and numbers."""
    ax.text(3, line, f"{tensor.name}  {shape_text(tensor.shape)}", **TEXT)
    of_weights = [f"{value:.3f}" for value in (tensor.mean, tensor.std, tensor.largest)]
    numbers = [f"{tensor.n_parameters:,}", *of_weights, f"{tensor.near_zero:.1%}"]
    for number, end in zip(numbers, ENDS.values(), strict=True):
        ax.text(end, line, number, ha="right", **TEXT)
    bottom, shares = line + HEIGHT / 2, tensor.histogram / tensor.histogram.max()
    x, y = np.linspace(*BAND, len(shares) + 1), bottom - HEIGHT * np.append(shares, shares[-1])
    ax.fill_between(x, bottom, y, step="post", color=color, alpha=0.35, linewidth=0)
    return ax.plot(x, y, drawstyle="steps-post", color=color, linewidth=0.9, label=f"{layer.name}.{tensor.name}")[0]


def _finish(ax: Any, n_lines: int, title: str) -> None:
    """Heads of the columns, the line at 0, and nothing of an axis."""
    for head, end in ENDS.items():
        ax.text(end, -1, head, ha="right", color=FAINT, **TEXT)
    places = np.linspace(*BAND, 3)
    for head, place in zip(["-max", "0", "+max"], places, strict=True):
        ax.text(place, -1, head, ha="center", color=FAINT, **TEXT)
    ax.plot([places[1]] * 2, [-0.5, n_lines - 0.5], color=FAINT, linewidth=0.6, zorder=0)
    ax.set(xlim=(0, ENDS["near 0"]), ylim=(n_lines - 0.3, -1.5))
    ax.set_title(title, loc="left", fontsize="medium")
    ax.set_axis_off()
