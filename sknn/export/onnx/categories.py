"""The categories that a model's steps have seen in the fit, by the columns of its table."""

from collections.abc import Callable
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline

from sknn.estimators.base import BaseNeural
from sknn.export.onnx.passthrough import parts_of, passes
from sknn.preprocessing.levels import as_level, is_missing


def categories_of(model: Any, n_columns: int) -> dict[int, list[str]]:
    """The levels of each column that held categories in the fit, as far as the steps tell; some may occur twice."""
    found = {j: _levels([model], j) for j in range(n_columns)}
    return {j: levels for j, levels in found.items() if levels is not None}


def _levels(steps: list[Any], j: int) -> list[str] | None:
    """The levels of column j of what goes into these steps; None if none of them takes it for a category."""
    if not steps:
        return None
    step, *later = steps
    if passes(step):
        return _levels(later, j)
    reader = next((reader for kind, reader in READERS.items() if isinstance(step, kind)), _of_categories)
    return reader(step, later, j)


def _of_network(est: Any, later: list[Any], j: int) -> list[str] | None:
    if est._features is None:  # rows of more than two dimensions
        return None
    return dict(zip(est._features.categorical_.tolist(), est._features.levels_, strict=True)).get(j)


def _of_pipeline(pipeline: Any, later: list[Any], j: int) -> list[str] | None:
    return _levels([step for _, step in pipeline.steps] + later, j)


def _of_columns(transformer: Any, later: list[Any], j: int) -> list[str] | None:
    for (name, *_), step, places in parts_of(transformer):
        if j in places and step != "drop":
            k = places.index(j)
            passed = passes(step)
            levels = _levels(later, transformer.output_indices_[name].start + k) if passed else _levels([step], k)
            if levels is not None:
                return levels
    return None


def _of_union(union: Any, later: list[Any], j: int) -> list[str] | None:
    found = (_levels([step], j) for _, step in union.transformer_list if step != "drop")
    return next((levels for levels in found if levels is not None), None)


def _of_imputer(imputer: Any, later: list[Any], j: int) -> list[str] | None:
    value = imputer.statistics_[j]
    if not isinstance(value, str):
        return None
    is_dropped = [is_missing(statistic) and not imputer.keep_empty_features for statistic in imputer.statistics_[:j]]
    return [value, *(_levels(later, j - sum(is_dropped)) or [])]


def _of_categories(step: Any, later: list[Any], j: int) -> list[str] | None:
    """Of one of scikit-learn's encoders, which keep categories; other steps take numbers."""
    if not hasattr(step, "categories_"):
        return None
    return [as_level(value) for value in step.categories_[j].tolist() if not is_missing(value)]


READERS: dict[type, Callable[[Any, list[Any], int], list[str] | None]] = {
    BaseNeural: _of_network,
    Pipeline: _of_pipeline,
    ColumnTransformer: _of_columns,
    FeatureUnion: _of_union,
    SimpleImputer: _of_imputer,
}
