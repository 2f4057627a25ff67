"""Pictures of two distributions over the cells of a column: small SVG, which takes its colours from the page.

Numbers have a vertical pair of bars for each bin, categories a horizontal pair for each level. The classes `reference`
and `live` colour the bars.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from sknn.monitoring.cells import MISSING, OTHER, UNSEEN
from sknn.monitoring.changes import percent
from sknn.monitoring.drift_report import ColumnDrift

WIDTH = 340
BARS_HEIGHT, LABEL_HEIGHT = 64, 16  # of numbers
ROW_HEIGHT, LABEL_WIDTH = 19, 110  # of categories
MAX_LEVELS = 6  # that have bars of their own
LETTER = 6  # the mean width of a letter
GAP = 12  # before the cells that are not bins


@dataclass(frozen=True)
class Cell:
    """A cell with its two shares."""

    name: str
    reference: float
    live: float

    @property
    def title(self) -> str:
        return f"{self.name}: {percent(self.reference)} in the reference, {percent(self.live)} now"


def picture(column: ColumnDrift) -> str:
    """Return a picture of the shares of the reference and of the counted rows."""
    cells = [Cell(name, *shares) for name, shares in column.shares.items() if any(shares)]
    height, shapes = (_vertical_bars if column.kind == "number" else _horizontal_bars)(cells)
    label = escape(f"{column.name}: the shares of rows in the reference and now")
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" role="img" aria-label="{label}">'
        f"{''.join(shapes)}</svg>"
    )


def _rectangle(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _group(cell: Cell, shapes: Iterable[str]) -> str:
    """Return the shapes of a cell, with a text that appears under the pointer."""
    return f"<g><title>{escape(cell.title)}</title>{''.join(shapes)}</g>"


# --- Numbers ------------------------------------------------------------------------------------------------------


def _vertical_bars(cells: Sequence[Cell]) -> tuple[float, list[str]]:
    """Return the height, and the bars of bins, those of missing values at the right."""
    gap = GAP if any(cell.name == MISSING for cell in cells) else 0
    width = min((WIDTH - gap) / max(len(cells), 1), WIDTH / 8)
    largest = max((max(cell.reference, cell.live) for cell in cells), default=1)
    shapes, labels = [], []
    for i, cell in enumerate(cells):
        x = i * width + gap * (cell.name == MISSING)
        shapes.append(_group(cell, [*_pair(cell, x, width, largest), _rectangle("touch", x, 0, width, BARS_HEIGHT)]))
        low, is_range, _ = cell.name.partition("..")
        if low != "-inf":
            labels.append((x if is_range else x + width / 2, low))
    end = len(cells) * width + gap
    axis = f'<path class="axis" d="M0 {BARS_HEIGHT}H{end:.1f}"/>'
    return BARS_HEIGHT + LABEL_HEIGHT, [*shapes, axis, *_labels_that_fit(labels)]


def _pair(cell: Cell, x: float, width: float, largest: float) -> list[str]:
    """Return the bar of the reference, and at its right that of the counted rows."""
    bars = (("reference", cell.reference, x + width * 0.1), ("live", cell.live, x + width * 0.5))
    heights = [BARS_HEIGHT * share / largest for _, share, _ in bars]
    return [
        _rectangle(kind, left, BARS_HEIGHT - height, width * 0.4, height)
        for (kind, _, left), height in zip(bars, heights, strict=True)
    ]


def _labels_that_fit(labels: Sequence[tuple[float, str]]) -> list[str]:
    """Return the labels below an axis: the last one, and each other one that has space left of it."""
    if not labels:
        return []
    *others, (x, text) = labels
    half = LETTER * len(text) / 2
    x = min(x, WIDTH - half)
    texts, start, end, shown = [_text(x, BARS_HEIGHT + 12, text, "middle")], 0.0, x - half - LETTER, text
    for x, text in others:
        half = LETTER * len(text) / 2
        if start <= x - half and x + half <= end and text != shown:
            texts.append(_text(x, BARS_HEIGHT + 12, text, "middle"))
            start, shown = x + half + LETTER, text
    return texts


# --- Categories ---------------------------------------------------------------------------------------------------


def _horizontal_bars(cells: Sequence[Cell]) -> tuple[float, list[str]]:
    """Return the height, and the bars of the most frequent levels, of all others together, and of missing values."""
    rows = _summarise(cells)
    largest = max((max(cell.reference, cell.live) for cell in rows), default=1)
    space = WIDTH - LABEL_WIDTH - 44
    shapes = [_row(cell, i * ROW_HEIGHT, space / largest) for i, cell in enumerate(rows)]
    return max(len(rows), 1) * ROW_HEIGHT + 2, shapes


def _row(cell: Cell, y: float, scale: float) -> str:
    """Return the name of a level, its two bars, and its share now."""
    n_letters = int(LABEL_WIDTH / LETTER) - 1
    name = cell.name if len(cell.name) <= n_letters else f"{cell.name[: n_letters - 1]}…"
    shapes = [
        _rectangle("reference", LABEL_WIDTH, y + 3, scale * cell.reference, 6),
        _rectangle("live", LABEL_WIDTH, y + 10, scale * cell.live, 6),
        _text(LABEL_WIDTH - 8, y + 13, name, "end"),
        _text(LABEL_WIDTH + scale * max(cell.reference, cell.live) + 6, y + 13, percent(cell.live), "start"),
    ]
    return _group(cell, shapes)


def _summarise(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells with the largest shares; rarer levels are added up."""
    special = [cell for cell in cells if cell.name in (MISSING, UNSEEN, OTHER)]
    levels = [cell for cell in cells if cell.name not in (MISSING, UNSEEN, OTHER)]
    by_size = sorted(levels, key=lambda cell: -max(cell.reference, cell.live))
    rest = by_size[MAX_LEVELS:]
    if len(rest) < 2:
        return by_size + special
    together = Cell(f"{len(rest)} rarer levels", sum(c.reference for c in rest), sum(c.live for c in rest))
    return [*by_size[:MAX_LEVELS], together, *special]
