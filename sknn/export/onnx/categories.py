"""Find the categories that the steps of a fitted model have seen, by column of the table."""

from collections.abc import Callable
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline

from sknn.estimators.base import BaseNeural
from sknn.estimators.frozen_ensemble import FrozenEnsemble
from sknn.export.onnx.steps import fitted_transformers, is_passthrough
from sknn.preprocessing.levels import as_level, is_missing


def find_categories(model: Any, n_columns: int) -> dict[int, list[str]]:
    """Return the levels of the columns that are categories for some step. A level may occur twice."""
    found = {j: _find_levels([model], j) for j in range(n_columns)}
    return {j: levels for j, levels in found.items() if levels is not None}


def _find_levels(steps: list[Any], j: int) -> list[str] | None:
    """Return the levels of column j of the input of these steps; None if it is a category for none of them."""
    if not steps:
        return None
    step, *later = steps
    if is_passthrough(step):
        return _find_levels(later, j)
    find = next((find for cls, find in LEVEL_FINDERS.items() if isinstance(step, cls)), _encoder_levels)
    return find(step, later, j)


def _network_levels(est: Any, later: list[Any], j: int) -> list[str] | None:
    if est._features is None:  # rows of more than two dimensions
        return None
    return next((category.levels for category in est._features.plan.categories if category.index == j), None)


def _pipeline_levels(pipeline: Any, later: list[Any], j: int) -> list[str] | None:
    return _find_levels([step for _, step in pipeline.steps] + later, j)


def _column_transformer_levels(transformer: Any, later: list[Any], j: int) -> list[str] | None:
    for (name, *_), step, indices in fitted_transformers(transformer):
        if j in indices and step != "drop":
            k = indices.index(j)
            if is_passthrough(step):
                levels = _find_levels(later, transformer.output_indices_[name].start + k)
            else:
                levels = _find_levels([step], k)
            if levels is not None:
                return levels
    return None


def _union_levels(union: Any, later: list[Any], j: int) -> list[str] | None:
    found = (_find_levels([step], j) for _, step in union.transformer_list if step != "drop")
    return next((levels for levels in found if levels is not None), None)


def _merged_levels(models: list[Any], j: int) -> list[str] | None:
    """Return the levels that any of the models knows; a fold may lack some."""
    found = [levels for model in models if (levels := _find_levels([model], j)) is not None]
    return list(dict.fromkeys(level for levels in found for level in levels)) if found else None


def _imputer_levels(imputer: Any, later: list[Any], j: int) -> list[str] | None:
    value = imputer.statistics_[j]
    if not isinstance(value, str):
        return None
    is_dropped = [is_missing(statistic) and not imputer.keep_empty_features for statistic in imputer.statistics_[:j]]
    return [value, *(_find_levels(later, j - sum(is_dropped)) or [])]


def _encoder_levels(step: Any, later: list[Any], j: int) -> list[str] | None:
    """Return the categories of one of scikit-learn's encoders. Other steps take numeric columns."""
    if not hasattr(step, "categories_"):
        return None
    return [as_level(value) for value in step.categories_[j].tolist() if not is_missing(value)]


LEVEL_FINDERS: dict[type, Callable[[Any, list[Any], int], list[str] | None]] = {
    BaseNeural: _network_levels,
    FrozenEnsemble: lambda ensemble, later, j: _merged_levels(ensemble.estimators, j),
    Pipeline: _pipeline_levels,
    ColumnTransformer: _column_transformer_levels,
    FeatureUnion: _union_levels,
    SimpleImputer: _imputer_levels,
}
