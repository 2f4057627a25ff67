"""Draw curves as lines of text, for a terminal: in Braille characters, or in ASCII where they can't be printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LOG_RATIO = 10  # curves whose largest value is more than this many times the smallest are drawn on a log scale
WARM_UP = 0.1  # of the epochs: their values, often far above the others, do not count in a linear scale
BRAILLE = 0x2800
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # the bits of a Braille character's dots


@dataclass(frozen=True)
class Style:
    """The characters of a chart; each holds `dots` (rows, columns) of a curve."""

    dots: tuple[int, int]
    tick: str
    side: str
    corner: str
    base: str


UNICODE = Style((4, 2), "┤", "│", "└", "─")
ASCII = Style((1, 1), "+", "|", "+", "-")
MARKS = ".o*x"  # of the curves in ASCII


def draw_curves(
    curves: Mapping[str, Sequence[float] | np.ndarray],
    width: int = 60,
    height: int = 10,
    encoding: str | None = "utf-8",
) -> list[str]:
    """Return a chart of curves as lines of text.

    Parameters
    ----------
    curves : mapping of str to sequence of float
        The values of each curve by its label, one for each epoch; NaN is left out, and so are values of the first
        tenth of the epochs above those of the others. The first curve is dashed, and each label stands at the end of
        its curve.
    width, height : int
        Characters of the chart, without its labels.
    encoding : str, optional
        The encoding of the terminal.

    Returns
    -------
    list of str

    Examples
    --------
    >>> curves = {"training": [1.0, 0.7, 0.5, 0.4, 0.3], "validation": [1.0, 0.8, 0.7, 0.7, 0.8]}
    >>> for line in draw_curves(curves, width=20, height=5, encoding="ascii"):
    ...     print(line)
       1 +ooo
         |  .ooooo         ooo validation 0.8
         |     ...ooooooooo
         |         ......
     0.3 +               ..... training 0.3
         +--------------------
          1                  5 epoch
    """
    style = UNICODE if _can_print(encoding) else ASCII
    known = {label: np.asarray(values, dtype=float) for label, values in curves.items()}
    low, high = _limits(known)
    is_log = low > 0 and high > LOG_RATIO * low
    if not is_log:
        low, high = _limits(known, WARM_UP)
    rows, columns = height * style.dots[0], width * style.dots[1]
    canvases = [_trace(_heights(values, low, high, is_log), rows, columns) for values in known.values()]
    lines = _braille(canvases) if style is UNICODE else _characters(canvases)
    labels = _end_labels(known, canvases, style.dots[0], height)
    ticks = {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    margin = max(map(len, ticks.values())) + 1
    drawn = [
        f"{ticks.get(i, ''):>{margin}} {style.tick if i in ticks else style.side}{line.rstrip()} {labels.get(i, '')}"
        for i, line in enumerate(lines)
    ]
    n_epochs = str(max(map(len, known.values())))
    axis = f"{'':{margin}} {style.corner}{style.base * width}"
    numbers = f"{'':{margin}}  1{n_epochs:>{width - 1}}"
    return [*(line.rstrip() for line in drawn), axis, numbers + (" epoch, log scale" if is_log else " epoch")]


def _can_print(encoding: str | None) -> bool:
    """Return whether an encoding has the characters of `UNICODE`."""
    try:
        f"{UNICODE.tick}{chr(BRAILLE)}".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _limits(curves: Mapping[str, np.ndarray], warm_up: float = 0) -> tuple[float, float]:
    """Return the smallest and the largest value after the first share `warm_up` of the epochs."""
    values = np.concatenate([values[round(warm_up * len(values)) :] for values in curves.values()])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _heights(values: np.ndarray, low: float, high: float, is_log: bool) -> np.ndarray:
    """Return values as shares of the height, from 0 at `low` to 1 at `high`, and NaN above."""
    if is_log:
        values, low, high = np.log(values), float(np.log(low)), float(np.log(high))
    shares = (values - low) / (high - low) if high > low else values * 0 + 0.5
    return np.where(shares <= 1, shares, np.nan)


def _trace(heights: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the dots (rows, columns) of a curve, joined from column to column."""
    canvas = np.zeros((rows, columns), dtype=bool)
    positions = np.interp(np.linspace(0, len(heights) - 1, columns), np.arange(len(heights)), heights)
    previous = None
    for j, position in enumerate(positions):
        row = round((1 - position) * (rows - 1)) if np.isfinite(position) else None
        if row is not None:
            start = row if previous is None else previous + np.sign(row - previous)
            canvas[min(start, row) : max(start, row) + 1, j] = True
        previous = row
    return canvas


def _braille(canvases: list[np.ndarray]) -> list[str]:
    """Return the lines of all curves; the first one is dashed: every other character is left out."""
    dashed = canvases[0] & (np.arange(canvases[0].shape[1]) // 2 % 2 == 0)
    dots = np.logical_or.reduce([dashed if len(canvases) > 1 else canvases[0], *canvases[1:]])
    rows, columns = DOTS.shape
    cells = dots.reshape(len(dots) // rows, rows, -1, columns).transpose(0, 2, 1, 3)
    codes = (cells * DOTS).sum((2, 3))
    return ["".join(chr(BRAILLE + code) if code else " " for code in line) for line in codes]


def _characters(canvases: list[np.ndarray]) -> list[str]:
    """Return the lines of all curves, each with its own mark; the later ones lie on top."""
    marks = np.full(canvases[0].shape, " ")
    for canvas, mark in zip(canvases, MARKS, strict=False):
        marks[canvas] = mark
    return ["".join(line) for line in marks]


def _end_labels(
    curves: Mapping[str, np.ndarray], canvases: list[np.ndarray], n_dots: int, height: int
) -> dict[int, str]:
    """Return the label of each curve by the line that it stands on: that of the curve's end, or a free one near it."""
    labels: dict[int, str] = {}
    for (label, values), canvas in zip(curves.items(), canvases, strict=True):
        finite = values[np.isfinite(values)]
        if len(finite):
            end = int(np.flatnonzero(canvas[:, np.flatnonzero(canvas.any(0))[-1]])[-1]) // n_dots
            row = min((i for i in range(height) if i not in labels), key=lambda i: abs(i - end))
            labels[row] = f"{label} {finite[-1]:.3g}"
    return labels
