"""The encoding of a table as an ONNX graph: scaling, missing values, categories."""

from dataclasses import dataclass

import numpy as np

from sknn.export.onnx.columns import GraphColumns
from sknn.export.onnx.graph import Graph
from sknn.preprocessing.encoding import Category, EncodingPlan
from sknn.preprocessing.scaling import CLIP_INPUT_LIMIT, QUANTILE_MARGIN, ROBUST_CLIP, ColumnScaler

BLOCK_SIZE = 32  # quantile references are searched by block, then within a block
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
    """The encoded table as names of tensors; None where there are no such columns.

    Attributes
    ----------
    numeric : str or None
        Scaled numeric columns.
    indicators : str or None
        Indicators of missing values, then one-hot levels.
    codes : str or None
        int64 codes of the embedded categories: row indices into the embedding's weight.
    """

    numeric: str | None
    indicators: str | None
    codes: str | None


def encode(graph: Graph, plan: EncodingPlan, columns: GraphColumns) -> GraphEncoded:
    """Write the encoding of a table."""
    for category in plan.categories:
        if "" in category.levels:
            raise ValueError(
                f"Column {columns.names[category.index]!r} has the empty string as a category, which means missing in "
                "ONNX, where a string cannot be missing. Rename that category, or make it missing, before fit."
            )
    numeric, missing = _numeric(graph, plan, columns)
    indicators = [*([missing] if missing else []), *_one_hot(graph, plan.one_hot, columns)]
    return GraphEncoded(numeric, graph.concat(indicators) if indicators else None, _codes(graph, plan, columns))


def _numeric(graph: Graph, plan: EncodingPlan, columns: GraphColumns) -> tuple[str | None, str | None]:
    """Write the scaled columns and the indicators of missing values."""
    if not len(plan.numeric):
        return None, None
    raw = columns.numeric(plan.numeric)
    can_be_missing = any(columns.columns[j].dtype_kind == "f" for j in plan.numeric)
    is_missing = graph("IsNaN", raw) if can_be_missing or len(plan.missing) else ""
    scaled = _scaled(graph, plan.scaler, graph("Where", is_missing, plan.scaler.fill, raw) if can_be_missing else raw)
    if not len(plan.missing):
        return scaled, None
    if len(plan.missing) < len(plan.numeric):
        is_missing = graph("Gather", is_missing, plan.missing, axis=1)
    return scaled, graph.cast(is_missing, graph.dtype)


def _scaled(graph: Graph, scaler: ColumnScaler, x: str) -> str:
    """Write `ColumnScaler.transform`, without the replacement of missing values.

    The operations are the same and in double, so that the results are, too: a column of nearly equal values has bins
    that are as narrow as the rounding of a float.
    """
    if scaler.references is not None:
        return graph.cast(_normal_quantiles(graph, _quantile_levels(graph, x, scaler.references)), graph.dtype)
    if scaler.center.any():
        x = graph("Sub", x, scaler.center)
    if (scaler.scale != 1).any():
        x = graph("Mul", x, scaler.scale)
    if not scaler.clip:
        return graph.cast(x, graph.dtype)
    x = graph("Clip", x, -CLIP_INPUT_LIMIT, CLIP_INPUT_LIMIT)
    share = graph("Div", x, np.array(ROBUST_CLIP))
    size = graph("Sqrt", graph("Add", graph("Mul", share, share), np.array(1.0)))
    return graph.cast(graph("Div", x, size), graph.dtype)


def _quantile_levels(graph: Graph, x: str, references: np.ndarray) -> str:
    """Write the quantile levels, 0 to 1 in float64, of values (n, d) among references (q, d).

    The last reference <= a value is found by counting: first the blocks that start <= the value, then the references in
    the last of these blocks. A value equal to several references gets the middle of their levels; values
    between two references are interpolated.
    """
    tables, first_of_blocks = _search_tables(references)
    d = references.shape[1]
    wide = graph("Unsqueeze", x, [2])  # (n, d, 1)
    block = graph("ReduceSum", _not_above(graph, first_of_blocks, wide), [2], keepdims=0)  # 0 .. n_blocks - 1
    n_blocks = first_of_blocks.shape[1] + 1
    row = graph("Add", block, np.arange(d) * n_blocks)
    within = graph("ReduceSum", _not_above(graph, graph("Gather", tables["reference"], row), wide), [2], keepdims=0)
    index = graph("Add", graph("Mul", row, np.array(BLOCK_SIZE)), within)  # the number of references <= the value
    index = graph("Add", index, np.arange(d))  # a column's table has an entry more than references, for 0 of them
    start, level, rate, tie = (graph("Gather", tables[name], index) for name in ("start", "level", "rate", "tie"))
    beyond = graph("Sub", x, start)
    between = graph("Add", level, graph("Mul", beyond, rate))
    return graph("Where", graph("Equal", beyond, np.array(0.0)), tie, between)


def _not_above(graph: Graph, references: str | np.ndarray, wide: str) -> str:
    return graph.cast(graph("LessOrEqual", references, wide), np.int64)


def _search_tables(references: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the search tables, and the first reference of each block except the first block.

    "reference" holds the references by block. The other tables are indexed by the number of references <= a value. They
    hold the last of these references ("start"), its level ("level"), the slope to the next one ("rate"), and the level
    of a value equal to it ("tie").
    """
    q, d = references.shape
    n_blocks = -(-q // BLOCK_SIZE)
    padded = np.full((d, n_blocks * BLOCK_SIZE), np.inf)
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
    blocks = {"reference": padded.reshape(d * n_blocks, BLOCK_SIZE)}
    tables = {"start": start, "level": level, "rate": rate, "tie": tie}
    return blocks | {name: table.ravel() for name, table in tables.items()}, padded[:, BLOCK_SIZE::BLOCK_SIZE]


def _normal_quantiles(graph: Graph, levels: str) -> str:
    """Write the normal distribution's quantiles of levels between 0 and 1, in float64."""
    p = graph("Clip", levels, QUANTILE_MARGIN, 1 - QUANTILE_MARGIN)
    q = graph("Sub", p, np.array(0.5))
    middle = graph("Mul", q, _ratio(graph, MIDDLE, graph("Sub", np.array(0.180625), graph("Mul", q, q))))
    tail = graph("Min", p, graph("Sub", np.array(1.0), p))
    distance = graph("Sub", graph("Sqrt", graph("Neg", graph("Log", tail))), np.array(1.6))
    outer = graph("Mul", graph("Sign", q), _ratio(graph, TAILS, distance))
    is_middle = graph("LessOrEqual", graph("Abs", q), np.array(0.425))
    return graph("Where", is_middle, middle, outer)


def _ratio(graph: Graph, polynomials: np.ndarray, x: str) -> str:
    """Write the quotient of two polynomials."""
    powers = graph("Pow", graph("Unsqueeze", x, [2]), np.arange(8.0))
    numerator, denominator = (graph("MatMul", powers, coefficients) for coefficients in polynomials)
    return graph("Div", numerator, denominator)


def _one_hot(graph: Graph, categories: list[Category], columns: GraphColumns) -> list[str]:
    """Write the columns of categories that are not embedded, as tensors in the order of the plan."""
    if not categories:
        return []
    single = [category for category in categories if category.values is not None]
    several = [category for category in categories if category.values is None]
    parts = [columns.lookup(c.index, c.levels, np.asarray(c.values, dtype=float)) for c in single]
    if several:
        parts.append(_level_columns(graph, several, columns))
    written = np.concatenate([np.arange(c.columns.start, c.columns.stop) for c in [*single, *several]])
    order = np.argsort(written)
    return parts if (np.diff(order) > 0).all() else [graph("Gather", graph.concat(parts), order, axis=1)]


def _level_columns(graph: Graph, categories: list[Category], columns: GraphColumns) -> str:
    """Write a column of 0 and 1 for each level: compare the category's codes with the level's code."""
    codes = [columns.lookup(c.index, c.levels, np.arange(len(c.levels) + 1.0)) for c in categories]
    repeats = np.repeat(np.arange(len(codes)), [c.width for c in categories])
    repeated = graph("Gather", graph.concat(codes), repeats, axis=1)
    level_codes = np.concatenate([c.level_codes for c in categories])
    return graph.cast(graph("Equal", repeated, graph.array([level_codes])), graph.dtype)


def _codes(graph: Graph, plan: EncodingPlan, columns: GraphColumns) -> str | None:
    """Write the codes of embedded categories (n, c), as rows of the embedding's table."""
    parts = [columns.lookup(c.index, c.levels, c.start + np.arange(len(c.levels) + 1)) for c in plan.embedded]
    return graph.concat(parts) if parts else None
