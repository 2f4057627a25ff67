"""The curves of a training: losses, metrics, learning rate, and where members were best."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from sknn.history.curves import PARTS, Curve, TrainingCurves, part_of
from sknn.inspection.axes import given_panels, new_panels, pyplot
from sknn.inspection.estimators import fitted_network

# Colours that colour-blind readers can tell apart (Okabe and Ito, https://jfly.uni-koeln.de/color).
COLOURS = {"train": "#0072B2", "valid": "#D55E00"}
OTHER_COLOUR = "#444444"
STYLES = {"train": "--", "valid": "-"}
FINDING_COLOURS = {"overfitting": "#E69F00", "divergence": "#CC79A7", "flat": "#999999"}
LONG = 1000  # epochs from which on matplotlib's search for a free place for the legend is slow


class TrainingCurveDisplay:
    """Curves of a training, from its records.

    Thin lines are members, which end where their training did; a thick one is their mean, in which a member that has
    stopped keeps its last value.  A dot marks the epoch whose weights a member kept: that of its smallest validation
    loss, or of its largest 'valid_score' where a score was watched.

    Parameters
    ----------
    records : list of dict, or DataFrame
        A record per epoch, as in `history_` of an estimator, or its `history_frame()`.
    n_iter : int, optional
        Epochs of the last fit, where there were several (`warm_start`, `partial_fit`): a member's best epoch is looked
        for among these.  By default among all.

    Attributes
    ----------
    ax_ : matplotlib Axes, or ndarray of Axes
        Several, if `kind` was a list or 'all'.
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        The means, panel by panel.
    member_lines_ : list of matplotlib Line2D
        The members; empty with one member.
    best_lines_ : list of matplotlib Line2D
        The dots of best epochs; empty without validation.

    See Also
    --------
    NetworkDisplay : The layers and their weights.
    sklearn.model_selection.LearningCurveDisplay : Scores against the number of rows.

    Examples
    --------
    >>> from sknn.inspection import TrainingCurveDisplay
    >>> records = [{"train_loss": 0.7, "valid_loss": 0.6}, {"train_loss": 0.4, "valid_loss": 0.5}]
    >>> display = TrainingCurveDisplay(records).plot()
    >>> [line.get_label() for line in display.lines_]
    ['training', 'validation']
    """

    ax_: Any
    figure_: Any

    def __init__(self, records: Iterable[Mapping[str, Any]], *, n_iter: int | None = None) -> None:
        self.records, self.n_iter = list(records) if isinstance(records, Iterator) else records, n_iter

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        kind: str | list[str] = "loss",
        ax: Any = None,
        name: str | None = None,
        members: bool = True,
        line_kw: dict[str, Any] | None = None,
        member_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the training of an estimator.

        Parameters
        ----------
        estimator : NeuralClassifier or NeuralRegressor
            Fitted; also a pipeline that ends in one, or a search whose best estimator is one.
        kind, ax, name, members, line_kw, member_kw
            As in `plot`.

        Returns
        -------
        TrainingCurveDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ValueError
            If it has weights, but no training (`sknn.from_sklearn`), and as in `plot`.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        network = fitted_network(estimator)
        display = cls(network.history_, n_iter=network.n_iter_)
        return display.plot(ax, kind=kind, name=name, members=members, line_kw=line_kw, member_kw=member_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str | list[str] = "loss",
        name: str | None = None,
        members: bool = True,
        line_kw: dict[str, Any] | None = None,
        member_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, or array-like of Axes
            One for each panel; by default a new figure.
        kind : str or list of str, default='loss'
            'loss', a metric ('accuracy'), 'learning_rate', or whatever else is recorded; a list of such for as many
            panels; 'all' for losses, metrics, learning rate and what callbacks recorded.
        name : str, optional
            Put before the labels, to tell several trainings on the same axes apart.
        members : bool, default=True
            Whether to draw a thin line for each member.
        line_kw, member_kw : dict, optional
            For matplotlib's `plot` of the means and of the members.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If `records` are none, `kind` no names, or `ax` no axes.
        ValueError
            For records without a training, a `kind` that is not recorded, and if `ax` has not one axes for each panel.
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        curves = TrainingCurves(self.records)
        panels = self._panels(curves, kind)
        axes = new_panels(plt, len(panels)) if ax is None else given_panels(ax, panels)
        self.ax_ = np.array(axes) if kind == "all" or not isinstance(kind, str) else axes[0]
        self.figure_ = axes[0].figure
        self.lines_: list[Any] = []
        self.member_lines_: list[Any] = []
        self.best_lines_: list[Any] = []
        for panel, each in zip(panels, axes, strict=True):
            for record in curves.panels()[panel]:
                self._draw_curve(each, curves, record, name, line_kw or {}, (member_kw or {}) if members else None)
            colour = (line_kw or {}).get("color", COLOURS["valid"])
            if panel == "loss":
                _shade_gap(each, curves, _named("gap", name), colour)
            self._mark_best(each, curves, f"valid_{panel}", name, colour)
            _shade_findings(each, curves)
            _finish(each, panel, curves)
        return self

    @staticmethod
    def _panels(curves: TrainingCurves, kind: str | list[str]) -> list[str]:
        if kind == "all":
            return curves.main_panels()
        if not isinstance(kind, str | Iterable):
            raise TypeError(f"kind={kind!r} must be a name, such as 'loss' or 'accuracy', a list of names, or 'all'.")
        panels, known = [kind] if isinstance(kind, str) else list(kind), curves.panels()
        wrong: list[Any] = [panel for panel in panels if panel not in known] if panels else [kind]
        if wrong:
            raise ValueError(
                f"kind={wrong[0]!r} is not recorded; there are {', '.join(map(repr, known))}, or 'all'. "
                "The estimator's parameter metrics says what to record."
            )
        return panels

    def _draw_curve(
        self,
        ax: Any,
        curves: TrainingCurves,
        record: str,
        name: str | None,
        line_kw: dict[str, Any],
        member_kw: dict[str, Any] | None,
    ) -> None:
        """The mean, and unless `member_kw` is None the members."""
        curve, part = curves.curve(record), part_of(record)
        style: dict[str, Any] = {"color": COLOURS[part], "linestyle": STYLES[part]} if part else {"color": OTHER_COLOUR}
        style |= {"marker": "o", "markersize": 4} if len(curves.epochs) == 1 else {}
        thick = style | {"label": _label(curves, part, name), "linewidth": 2.0, "zorder": 3} | line_kw
        self.lines_ += ax.plot(curves.epochs, curve.mean, **thick)
        if member_kw is not None and curve.members.shape[1]:
            thin = {**style, "color": thick["color"], "linestyle": "-", "linewidth": 0.8, "alpha": 0.4, **member_kw}
            self.member_lines_ += ax.plot(curves.epochs, curve.members, **thin)

    def _mark_best(self, ax: Any, curves: TrainingCurves, record: str, name: str | None, colour: Any) -> None:
        """A dot where each member's kept weights are from."""
        best = curves.best_epochs(self.n_iter)
        if record not in curves.names or not any(best):
            return
        curve = curves.curve(record)
        x, y = zip(*_points(curves, curve, best), strict=True)
        label = f"best epoch: {x[0]}" if len(best) == 1 else "best epoch of each member"
        style = {"color": colour, "markeredgecolor": "black", "markersize": 6, "zorder": 4}
        self.best_lines_ += ax.plot(x, y, "o", label=_named(label, name), **style)


def _label(curves: TrainingCurves, part: str | None, name: str | None) -> str:
    """What a legend calls a curve; '_', which it leaves out, for one that its axis names."""
    what = PARTS[part] if part else ""
    if part and curves.n_members > 1:
        what += f", mean of {curves.n_members}"
    return _named(what, name) or "_"


def _named(what: str, name: str | None) -> str:
    return ": ".join(filter(None, [name, what]))


def _points(curves: TrainingCurves, curve: Curve, best: list[int | None]) -> list[tuple[int, float]]:
    """Epoch and value of each member at its best epoch."""
    each = curve.members if curve.members.shape[1] else curve.mean[:, None]
    row = {int(epoch): i for i, epoch in enumerate(curves.epochs)}
    return [(epoch, each[row[epoch], m]) for m, epoch in enumerate(best) if epoch is not None]


def _shade_gap(ax: Any, curves: TrainingCurves, label: str, colour: Any) -> None:
    """The area between the losses of training and validation."""
    if "valid_loss" in curves.names:
        train, valid = curves.curve("train_loss").mean, curves.curve("valid_loss").mean
        ax.fill_between(curves.epochs, train, valid, color=colour, alpha=0.12, linewidth=0, label=label)


def _shade_findings(ax: Any, curves: TrainingCurves) -> None:
    """The epochs with a diagnosis."""
    for diagnosis, first, last in curves.findings():
        colour = FINDING_COLOURS.get(diagnosis, OTHER_COLOUR)
        label = f"{diagnosis}: epochs {first} to {last}" if last > first else f"{diagnosis}: epoch {first}"
        ax.axvspan(first - 0.5, last + 0.5, color=colour, alpha=0.2, linewidth=0, zorder=0, label=label)


def _finish(ax: Any, panel: str, curves: TrainingCurves) -> None:
    """Names of axes, whole epochs, and a legend where there is something to tell apart."""
    from matplotlib.ticker import MaxNLocator

    ax.set(xlabel="epoch", ylabel=panel.replace("_", " "))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    if ax.get_legend_handles_labels()[1]:
        place = "best" if len(curves.epochs) < LONG else "upper right"
        ax.legend(loc=place, framealpha=0.7, edgecolor="none", fontsize="small")
