"""Draw the curves of a training: losses, metrics, learning rate, and the best epochs of members."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from sknn.history.curves import PARTS, Curve, TrainingCurves, part_of
from sknn.inspection.axes import check_axes, import_pyplot, new_axes
from sknn.inspection.fitted_estimator import find_fitted_estimator

# Colours that colour-blind readers can distinguish (Okabe and Ito, https://jfly.uni-koeln.de/color).
COLOURS = {"train": "#0072B2", "valid": "#D55E00"}
OTHER_COLOUR = "#444444"
STYLES = {"train": "--", "valid": "-"}
DIAGNOSIS_COLOURS = {"overfitting": "#E69F00", "divergence": "#CC79A7", "flat": "#999999"}
LONG = 1000  # epochs from which matplotlib's search for the best place of the legend is slow


class TrainingCurveDisplay:
    """The curves of a training, from its records.

    A thin line is a member, and ends with its training. A thick line is the mean of all members, in which a member that
    has stopped keeps its last value. A dot marks the epoch whose weights a member kept: that with its smallest
    validation loss, or with its largest 'valid_score' if a score was monitored. If members are of different kinds, each
    kind has its colour of lines and dots.

    Parameters
    ----------
    records : list of dict, or DataFrame
        A record for each epoch: `history_` of an estimator, or its `history_frame()`.
    n_iter : int, optional
        Number of epochs of the last fit, after several (`warm_start`, `partial_fit`): a member's best epoch is one of
        these. By default one of all epochs.
    kinds : sequence of str, optional
        The kind of each member, as in the column 'kind' of an estimator's `members_`. By default all are alike.

    Attributes
    ----------
    ax_ : matplotlib Axes, or ndarray of Axes
        An array if `kind` was a list or 'all'.
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        The means, in the order of the panels.
    member_lines_ : list of matplotlib Line2D
        The members; empty for a single member.
    best_lines_ : list of matplotlib Line2D
        The dots of the best epochs, for each kind; empty without validation.

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

    def __init__(
        self, records: Iterable[Mapping[str, Any]], *, n_iter: int | None = None, kinds: Sequence[str] | None = None
    ) -> None:
        self.records = list(records) if isinstance(records, Iterator) else records
        self.n_iter, self.kinds = n_iter, kinds

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
            If it has no training (after `sknn.from_sklearn`), and as in `plot`.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        fitted = find_fitted_estimator(estimator)
        display = cls(fitted.history_, n_iter=fitted.n_iter_, kinds=fitted.module_.kinds)
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
            'loss', a metric ('accuracy'), 'learning_rate', or another recorded value; a list for several panels; 'all'
            for losses, metrics, learning rate and values that callbacks recorded.
        name : str, optional
            A prefix of the labels, to distinguish several trainings on the same axes.
        members : bool, default=True
            Whether to draw a thin line for each member.
        line_kw, member_kw : dict, optional
            Arguments of matplotlib's `plot` for the means and for the members. With a 'color' in `line_kw`, members of
            all kinds have this colour.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If `records`, `kind` or `ax` is not of one of these types.
        ValueError
            If the records hold no training loss, `kind` is not recorded, the number of axes is not that of the panels,
            or the number of `kinds` is not that of the members.
        ImportError
            If matplotlib is not installed.
        """
        plt = import_pyplot(f"{type(self).__name__}.plot")
        curves = TrainingCurves(self.records, None if "color" in (line_kw or {}) else self.kinds)
        panels = self._panels(curves, kind)
        axes = new_axes(plt, len(panels)) if ax is None else check_axes(ax, panels)
        self.ax_ = np.array(axes) if kind == "all" or not isinstance(kind, str) else axes[0]
        self.figure_ = axes[0].figure
        self.lines_: list[Any] = []
        self.member_lines_: list[Any] = []
        self.best_lines_: list[Any] = []
        colour = (line_kw or {}).get("color", COLOURS["valid"])
        for panel, panel_ax in zip(panels, axes, strict=True):
            n_lines = len(self.member_lines_) + len(self.best_lines_)
            for record in curves.panels()[panel]:
                self._draw_curve(panel_ax, curves, record, name, line_kw or {}, (member_kw or {}) if members else None)
            if panel == "loss":
                _shade_gap(panel_ax, curves, _prefix("gap", name), colour)
            self._mark_best(panel_ax, curves, f"valid_{panel}", name, colour)
            if len(self.member_lines_) + len(self.best_lines_) > n_lines:
                _name_kinds(panel_ax, curves, name)
            _shade_diagnoses(panel_ax, curves)
            _finish(panel_ax, panel, curves)
        return self

    @staticmethod
    def _panels(curves: TrainingCurves, kind: str | list[str]) -> list[str]:
        if kind == "all":
            return curves.main_panels()
        if not isinstance(kind, str | Iterable):
            raise TypeError(f"kind={kind!r} must be a name, such as 'loss' or 'accuracy', a list of names, or 'all'.")
        panels, known = [kind] if isinstance(kind, str) else list(kind), curves.panels()
        unknown: list[Any] = [panel for panel in panels if panel not in known] if panels else [kind]
        if unknown:
            raise ValueError(
                f"kind={unknown[0]!r} is not recorded; use one of {', '.join(map(repr, known))}, or 'all'. Set the "
                "estimator's parameter metrics to record more metrics."
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
        """Draw the mean and, unless `member_kw` is None, the members."""
        curve, part = curves.curve(record), part_of(record)
        style: dict[str, Any] = {"color": COLOURS[part], "linestyle": STYLES[part]} if part else {"color": OTHER_COLOUR}
        style |= {"marker": "o", "markersize": 4} if len(curves.epochs) == 1 else {}
        thick = style | {"label": _label(curves, part, name), "linewidth": 2.0, "zorder": 3} | line_kw
        self.lines_ += ax.plot(curves.epochs, curve.mean, **thick)
        differ = bool((np.abs(curve.members - curve.mean[:, None]) > 0).any())
        if member_kw is not None and differ:
            thin = {**style, "color": thick["color"], "linewidth": 0.8, "alpha": 0.6}
            for members, colour in _groups(curves, thick["color"]):
                of_group = thin | {"color": colour} | member_kw
                self.member_lines_ += ax.plot(curves.epochs, curve.members[:, members], **of_group)

    def _mark_best(self, ax: Any, curves: TrainingCurves, record: str, name: str | None, colour: Any) -> None:
        """Draw a dot at the best epoch of each member, whose weights it kept."""
        best = curves.best_epochs(self.n_iter)
        if record not in curves.names or not any(best):
            return
        points = _points(curves, curves.curve(record), best)
        style = {"markeredgecolor": "black", "markersize": 6, "zorder": 4}
        for members, colour_of_group in _groups(curves, colour):
            x, y = points[members].T
            self.best_lines_ += ax.plot(x, y, "o", color=colour_of_group, **style)
        label = f"best epoch: {points[0, 0]:.0f}" if len(best) == 1 else "best epoch of each member"
        of_all = ax.plot([], [], "o", color="white", **style) if curves.kinds else self.best_lines_[-1:]
        of_all[0].set_label(_prefix(label, name))


def _groups(curves: TrainingCurves, colour: Any) -> list[tuple[list[int], Any]]:
    """Return the members that have the same colour, and this colour: that of their kind, if they differ in kind."""
    return [(kind.members, kind.colour) for kind in curves.kinds] or [([*range(curves.n_members)], colour)]


def _label(curves: TrainingCurves, part: str | None, name: str | None) -> str:
    """Return the label of a curve; '_' hides it from the legend if the axis names it."""
    label = PARTS[part] if part else ""
    if part and curves.n_members > 1:
        label += f", mean of {curves.n_members}"
    return _prefix(label, name) or "_"


def _prefix(label: str, name: str | None) -> str:
    return ": ".join(filter(None, [name, label]))


def _points(curves: TrainingCurves, curve: Curve, best: list[int | None]) -> np.ndarray:
    """Return the epoch and the value of each member at its best epoch, (n_members, 2); NaN if it has none."""
    values = curve.members if curve.members.shape[1] else curve.mean[:, None]
    row = {int(epoch): i for i, epoch in enumerate(curves.epochs)}
    points = [(np.nan, np.nan) if epoch is None else (epoch, values[row[epoch], m]) for m, epoch in enumerate(best)]
    return np.array(points)


def _name_kinds(ax: Any, curves: TrainingCurves, name: str | None) -> None:
    """Add the kinds of members to the legend."""
    for kind in curves.kinds:
        ax.plot([], [], color=kind.colour, linewidth=1.2, label=_prefix(str(kind), name))


def _shade_gap(ax: Any, curves: TrainingCurves, label: str, colour: Any) -> None:
    """Shade the area between the training and the validation loss."""
    if "valid_loss" in curves.names:
        train, valid = curves.curve("train_loss").mean, curves.curve("valid_loss").mean
        ax.fill_between(curves.epochs, train, valid, color=colour, alpha=0.12, linewidth=0, label=label)


def _shade_diagnoses(ax: Any, curves: TrainingCurves) -> None:
    """Shade the epochs with a diagnosis."""
    for diagnosis, first, last in curves.diagnoses():
        colour = DIAGNOSIS_COLOURS.get(diagnosis, OTHER_COLOUR)
        label = f"{diagnosis}: epochs {first} to {last}" if last > first else f"{diagnosis}: epoch {first}"
        ax.axvspan(first - 0.5, last + 0.5, color=colour, alpha=0.2, linewidth=0, zorder=0, label=label)


def _finish(ax: Any, panel: str, curves: TrainingCurves) -> None:
    """Label the axes, and add a legend if there are labelled curves."""
    from matplotlib.ticker import MaxNLocator

    ax.set(xlabel="epoch", ylabel=panel.replace("_", " "))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    if ax.get_legend_handles_labels()[1]:
        location = "best" if len(curves.epochs) < LONG else "upper right"
        ax.legend(loc=location, framealpha=0.7, edgecolor="none", fontsize="small")
