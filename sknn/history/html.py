"""The losses of a training as HTML: a small SVG picture, made without matplotlib.

Text and axes take the colour of the page, and the lines are neither light nor dark, so that the picture suits light and
dark pages. It loads no other files.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from sknn.history.curves import PARTS, TrainingCurves
from sknn.history.kinds import MemberKind

WIDTH, HEIGHT = 480, 180
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 24, 32  # around the curves
LINE = 16  # of the legend
COLOURS = {"train": "#2b8cc4", "valid": "#e0702b"}
DASHES = {"train": ' stroke-dasharray="6 3"', "valid": ""}
STYLE = "display: block; max-width: 100%; height: auto; font: 11px sans-serif"


class Frame:
    """Coordinates of epochs and losses in the picture."""

    def __init__(self, epochs: np.ndarray, values: np.ndarray) -> None:
        self.epochs = float(epochs[0]), float(epochs[-1])
        self.values = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)

    def x(self, epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * _share(epoch, *self.epochs)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(value, *self.values)


def training_html(
    records: Iterable[Mapping[str, Any]],
    n_iter: int,
    kinds: Sequence[str] | None = None,
    weights: Sequence[float] | np.ndarray | None = None,
) -> str:
    """Return a picture of the losses, with the best epochs among the last `n_iter`, as HTML.

    If the members are of several `kinds`, the picture also has the means of each kind, and a list of the kinds with the
    sums of their `weights`.
    """
    curves = TrainingCurves(records, kinds, weights)
    names = {part: f"{part}_loss" for part in PARTS if f"{part}_loss" in curves.names}
    means = {part: curves.curve(name).mean for part, name in names.items()}
    of_kinds = [
        (kind, part, curves.mean_of(name, kind.members)) for kind in curves.kinds for part, name in names.items()
    ]
    values = np.concatenate([*means.values(), *(values for *_, values in of_kinds)])
    frame = Frame(curves.epochs, values[np.isfinite(values)])
    lines = [_line(frame, curves.epochs, values, part, kind.colour, 1.0) for kind, part, values in of_kinds]
    lines += [_line(frame, curves.epochs, values, part, COLOURS[part]) for part, values in means.items()]
    best = _colours_of_best_epochs(curves, n_iter)
    legend = _legend(list(means), len(best), "currentColor" if curves.kinds else COLOURS["valid"])
    shapes = [*_axes(frame), *lines, *_best_epochs(frame, best), *legend, *_kinds(curves.kinds)]
    summary, height = _summary(curves, means), HEIGHT + LINE * len(curves.kinds)
    return (
        f'<details open="open" class="sknn-training"><summary>{summary}</summary>'
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" style="{STYLE}" '
        f'fill="currentColor" role="img" aria-label="{summary}">{"".join(shapes)}</svg></details>'
    )


def _colours_of_best_epochs(curves: TrainingCurves, n_iter: int) -> list[tuple[int, str]]:
    """Return each best epoch of a member, and its colour: that of the member's kind, if they differ in kind."""
    colours = {member: kind.colour for kind in curves.kinds for member in kind.members}
    best = enumerate(curves.best_epochs(n_iter))
    return sorted({(epoch, colours.get(member, COLOURS["valid"])) for member, epoch in best if epoch is not None})


def _share(value: float, low: float, high: float) -> float:
    """Return where a value lies between low (0) and high (1); 0.5 if they are equal."""
    width = high / 2 - low / 2  # halves, since the difference of the largest floats overflows
    return (value / 2 - low / 2) / width if width > 0 else 0.5


def _summary(curves: TrainingCurves, losses: dict[str, np.ndarray]) -> str:
    n = len(curves.epochs)
    members = f" of {curves.n_members} members" if curves.n_members > 1 else ""
    ends = [f"{PARTS[part]} {values[-1]:.3g}" for part, values in losses.items() if np.isfinite(values[-1])]
    return f"{n} epoch{'s' if n > 1 else ''}{members}" + (f"; last loss: {', '.join(ends)}" if ends else "")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _axes(frame: Frame) -> list[str]:
    """Draw the axes, with the first and last epoch and the smallest and largest loss."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    path = f'<path d="M{LEFT - 8} {TOP}V{bottom + 8}H{right}" fill="none" stroke="currentColor" stroke-opacity="0.5"/>'
    first, *last = sorted(set(frame.epochs))
    epochs = [_text(frame.x(epoch), bottom + 22, f"{epoch:g}", "middle") for epoch in last]
    values = [_text(LEFT - 12, frame.y(value) + 4, f"{value:.3g}", "end") for value in sorted(set(frame.values))]
    return [path, _text(frame.x(first), bottom + 22, f"epoch {first:g}", "middle"), *epochs, *values]


def _line(frame: Frame, epochs: np.ndarray, values: np.ndarray, part: str, colour: str, width: float = 2.0) -> str:
    """Draw a curve with gaps at missing values; a single value is a dot, because the line has round ends."""
    commands, is_connected = [], False
    for epoch, value in zip(epochs, values, strict=True):
        if is_finite := bool(np.isfinite(value)):
            point = f"{frame.x(epoch):.1f} {frame.y(value):.1f}"
            commands.append(f"L{point}" if is_connected else f"M{point}h0")
        is_connected = is_finite
    return f'<path d="{"".join(commands)}" {_stroke(part, colour, width if len(epochs) > 1 else 3 * width)}/>'


def _stroke(part: str, colour: str, width: float = 2.0) -> str:
    return f'fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linecap="round"{DASHES[part]}'


def _best_epochs(frame: Frame, best: list[tuple[int, str]]) -> list[str]:
    """Draw a triangle on the axis for each best epoch and colour, those of the same epoch side by side."""
    bottom, shapes, n_drawn = HEIGHT - BOTTOM + 8, [], Counter[int]()
    for epoch, colour in best:
        x = frame.x(epoch) + 6 * n_drawn[epoch]
        shapes.append(f'<path d="M{x:.1f} {bottom - 7}l4 7h-8z" fill="{colour}"/>')
        n_drawn[epoch] += 1
    return shapes


def _legend(parts: list[str], n_best: int, triangle_colour: str) -> list[str]:
    """Draw the legend above the curves."""
    shapes = []
    for i, part in enumerate(parts):
        x = LEFT + 110 * i
        line = f'<path d="M{x} 12h24" {_stroke(part, COLOURS[part])}/>'
        shapes += [line, _text(x + 30, 16, f"{PARTS[part]} loss", "start")]
    if n_best:
        x = LEFT + 110 * len(parts)
        triangle = f'<path d="M{x + 12} 8l4 7h-8z" fill="{triangle_colour}"/>'
        shapes += [triangle, _text(x + 22, 16, "best epoch" + "s" * (n_best > 1), "start")]
    return shapes


def _kinds(kinds: list[MemberKind]) -> list[str]:
    """List the kinds of members below the curves."""
    shapes = []
    for i, kind in enumerate(kinds):
        y = HEIGHT + LINE * i
        line = f'<path d="M{LEFT} {y}h24" {_stroke("valid", kind.colour)}/>'
        shapes += [line, _text(LEFT + 30, y + 4, escape(str(kind)), "start")]
    return shapes
