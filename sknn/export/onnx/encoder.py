"""`FeatureEncoder` as an ONNX graph: scaling, missing values, categories."""

from dataclasses import dataclass

import numpy as np

from sknn.export.onnx.columns import GraphColumns
from sknn.export.onnx.graph import Graph
from sknn.preprocessing.features import FeatureEncoder
from sknn.preprocessing.scaling import QUANTILE_MARGIN, ROBUST_CLIP, ColumnScaler

FAR_OUT = 1e6  # beyond it the smooth clip is at its limit, and squares of float32 stay finite
BLOCK = 32  # quantiles are searched in blocks, then within one
# Wichura's AS 241 (Applied Statistics 37, 1988): numerators and denominators of the normal quantile function, by powers
# of 0.180625 - q^2 near the middle and of sqrt(-log(p)) - 1.6 in the tails, exact to 1e-16.
MIDDLE = np.array([
    [3.3871328727963666080, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3],
    [1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3],
])  # fmt: skip
TAILS = np.array([
    [1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4],
    [1.0, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9],
])  # fmt: skip


@dataclass
class GraphEncoded:
    """The encoded table as names of tensors; None where there are no such columns."""

    numeric: str | None  # scaled numbers
    others: str | None  # indicators of missing values, one-hot levels
    codes: str | None  # int64 levels of the embedded categories, each feature's after those of the one before


def encode(graph: Graph, encoder: FeatureEncoder, columns: GraphColumns) -> GraphEncoded:
    """Write the encoder's graph."""
    for j, levels in zip(encoder.categorical_, encoder.levels_, strict=True):
        if "" in levels:
            raise ValueError(
                f"Column {columns.names[j]!r} has the empty string as a category, which stands for a missing value in "
                "ONNX, whose strings are never missing. Name that category, or make it missing, before fit."
            )
    numeric, missing = _numeric(graph, encoder, columns)
    others = [part for part in (missing, *_one_hot(graph, encoder, columns)) if part is not None]
    return GraphEncoded(numeric, graph.concat(others) if others else None, _codes(graph, encoder, columns))


def _numeric(graph: Graph, encoder: FeatureEncoder, columns: GraphColumns) -> tuple[str | None, str | None]:
    """Scaled numbers, and indicators of missing values."""
    if not len(encoder.numeric_):
        return None, None
    raw = columns.numbers(encoder.numeric_)
    if any(columns.columns[j].kind == "f" for j in encoder.numeric_):
        is_missing = graph("IsNaN", raw)
        scaled = _scaled(graph, encoder.scaler_, graph("Where", is_missing, encoder.scaler_.fill, raw))
    else:
        is_missing, scaled = graph("IsNaN", raw) if len(encoder.missing_) else "", _scaled(graph, encoder.scaler_, raw)
    if not len(encoder.missing_):
        return scaled, None
    if len(encoder.missing_) < len(encoder.numeric_):
        is_missing = graph("Gather", is_missing, encoder.missing_, axis=1)
    return scaled, graph.cast(is_missing, graph.dtype)


def _scaled(graph: Graph, scaler: ColumnScaler, x: str) -> str:
    if scaler.references is not None:
        return graph.cast(_normal_quantiles(graph, _levels(graph, x, scaler.references)), graph.dtype)
    if scaler.center.any():
        x = graph("Sub", x, scaler.center)
    if (scaler.scale != 1).any():
        x = graph("Mul", x, scaler.scale)
    if not scaler.clip:
        return graph.cast(x, graph.dtype)
    x = graph.cast(graph("Clip", x, -FAR_OUT, FAR_OUT), graph.dtype)
    square = graph("Mul", graph("Mul", x, x), graph.number(ROBUST_CLIP**-2))
    return graph("Div", x, graph("Sqrt", graph("Add", square, graph.number(1))))


def _levels(graph: Graph, x: str, references: np.ndarray) -> str:
    """Where numbers (n, d) lie among their columns' references (q, d), from 0 to 1, in float64.

    The last reference that is not above a number is found by counting, among the first ones of blocks and then within a
    block.  A number equal to several references lies in the middle of their levels, one between two is interpolated.
    """
    tables, first_of_blocks = _search_tables(references)
    d = references.shape[1]
    wide = graph("Unsqueeze", x, [2])  # (n, d, 1)
    block = graph("ReduceSum", _not_above(graph, first_of_blocks, wide), [2], keepdims=0)  # 0 .. n_blocks - 1
    n_blocks = first_of_blocks.shape[1] + 1
    row = graph("Add", block, np.arange(d) * n_blocks)
    within = graph("ReduceSum", _not_above(graph, graph("Gather", tables["reference"], row), wide), [2], keepdims=0)
    place = graph("Add", graph("Mul", row, np.array(BLOCK)), within)  # counts the references, so 0 is below them all
    place = graph("Add", place, np.arange(d))  # a column has a place more than references
    start, level, rate, tie = (graph("Gather", tables[name], place) for name in ("start", "level", "rate", "tie"))
    beyond = graph("Sub", x, start)
    between = graph("Add", level, graph("Mul", beyond, rate))
    return graph("Where", graph("Equal", beyond, np.array(0.0)), tie, between)


def _not_above(graph: Graph, references: str | np.ndarray, wide: str) -> str:
    return graph.cast(graph("LessOrEqual", references, wide), np.int64)


def _search_tables(references: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Blocks of references, and for each count of references that are not above a number how to go on from there."""
    q, d = references.shape
    n_blocks = -(-q // BLOCK)
    padded = np.full((d, n_blocks * BLOCK), np.inf)
    padded[:, :q] = references.T
    grid = np.linspace(0, 1, q)
    shape = (d, padded.shape[1] + 1)
    start, level, rate, tie = np.zeros(shape), np.ones(shape), np.zeros(shape), np.ones(shape)
    for j, column in enumerate(references.T):
        width = np.diff(column)
        first, last = np.searchsorted(column, column, "left"), np.searchsorted(column, column, "right") - 1
        start[j, 1 : q + 1], level[j, 1 : q + 1] = column, grid
        rate[j, 1:q] = np.divide(np.diff(grid), width, out=np.zeros(q - 1), where=width >= np.finfo(float).tiny)
        tie[j, 1 : q + 1] = (grid[first] + grid[last]) / 2
        start[j, 0], level[j, 0], tie[j, 0] = column[0], 0, 0
    blocks = {"reference": padded.reshape(d * n_blocks, BLOCK)}
    tables = {"start": start, "level": level, "rate": rate, "tie": tie}
    return blocks | {name: table.ravel() for name, table in tables.items()}, padded[:, BLOCK::BLOCK]


def _normal_quantiles(graph: Graph, levels: str) -> str:
    """The normal distribution's quantiles of levels between 0 and 1, in float64."""
    p = graph("Clip", levels, QUANTILE_MARGIN, 1 - QUANTILE_MARGIN)
    q = graph("Sub", p, np.array(0.5))
    middle = graph("Mul", q, _ratio(graph, MIDDLE, graph("Sub", np.array(0.180625), graph("Mul", q, q))))
    tail = graph("Min", p, graph("Sub", np.array(1.0), p))
    distance = graph("Sub", graph("Sqrt", graph("Neg", graph("Log", tail))), np.array(1.6))
    outer = graph("Mul", graph("Sign", q), _ratio(graph, TAILS, distance))
    is_middle = graph("LessOrEqual", graph("Abs", q), np.array(0.425))
    return graph("Where", is_middle, middle, outer)


def _ratio(graph: Graph, polynomials: np.ndarray, x: str) -> str:
    """One polynomial by the other."""
    powers = graph("Pow", graph("Unsqueeze", x, [2]), np.arange(8.0))
    above, below = (graph("MatMul", powers, coefficients) for coefficients in polynomials)
    return graph("Div", above, below)


def _one_hot(graph: Graph, encoder: FeatureEncoder, columns: GraphColumns) -> list[str]:
    """Columns for the levels of categories that are not embedded, in the encoder's order."""
    few = [(j, levels) for j, levels in zip(encoder.categorical_, encoder.levels_, strict=True)]
    few = [(j, levels) for j, levels in few if len(levels) <= encoder.max_one_hot]
    one = [(j, levels) for j, levels in few if len(levels) in (0, 2)]  # one column: of 0, or of -1, 0 and 1
    others = [(j, levels) for j, levels in few if len(levels) not in (0, 2)]
    parts = [columns.lookup(j, levels, np.array([1.0, -1.0])[: len(levels)], 0.0) for j, levels in one]
    if others:
        parts.append(_level_columns(graph, others, columns))
    owners = [j for j, _ in one] + [j for j, levels in others for _ in levels]
    order = np.argsort(owners, kind="stable")
    return parts if (np.diff(order) > 0).all() else [graph("Gather", graph.concat(parts), order, axis=1)]


def _level_columns(graph: Graph, categories: list[tuple[int, list[str]]], columns: GraphColumns) -> str:
    """A column of 0 and 1 for each level: all categories' codes, repeated for each level, against the levels' codes."""
    codes = [columns.lookup(j, levels, np.arange(1.0, len(levels) + 1), 0.0) for j, levels in categories]
    repeated = np.repeat(np.arange(len(codes)), [len(levels) for _, levels in categories])
    wanted = [code for _, levels in categories for code in range(1, len(levels) + 1)]
    spread = graph("Gather", graph.concat(codes), repeated, axis=1)
    return graph.cast(graph("Equal", spread, graph.number([wanted])), graph.dtype)


def _codes(graph: Graph, encoder: FeatureEncoder, columns: GraphColumns) -> str | None:
    """Codes of the categories that are embedded, (n, c)."""
    parts, start = [], 0
    for j, levels in zip(encoder.categorical_, encoder.levels_, strict=True):
        if len(levels) > encoder.max_one_hot:
            parts.append(columns.lookup(j, levels, np.arange(start + 1, start + 1 + len(levels)), start))
            start += len(levels) + 1
    return graph.concat(parts) if parts else None
