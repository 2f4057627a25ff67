"""Rows such as a fitted estimator might see, made up from what it knows about its columns."""

from typing import Any

import numpy as np

from sknn.estimators.base import BaseNeural
from sknn.preprocessing.features import FeatureEncoder
from sknn.preprocessing.scaling import ColumnScaler

ROWS = 64
MISSING_SHARE = 0.05
LARGEST = np.finfo(np.float64).max
SPREAD = 1.5  # in units of a column's scale: some rows beyond what the fit saw


def sample_of(model: Any) -> Any:
    """A table with the columns of the fit, for an export without a sample: numbers as float64, categories as strings.

    Raises
    ------
    ValueError
        If the model does not know its columns: a pipeline, whose first step asks for no types, or rows of more than two
        dimensions.
    ImportError
        If the columns have names, and there is no pandas to give them.
    """
    if not isinstance(model, BaseNeural) or model._features is None:
        raise ValueError(
            f"A {type(model).__name__} does not know the types of its columns; give some rows of the training table as "
            "a sample."
        )
    rows = synthetic_rows(model._features, ROWS)
    if not hasattr(model, "feature_names_in_"):
        return rows
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "Columns with names need pandas; install it with: pip install 'sknn[pandas]', or give a sample of your own."
        ) from error
    names = pd.Index(model.feature_names_in_, dtype=object)  # whatever strings they, and the categories, are
    numbers = dict.fromkeys(model.feature_names_in_[model._features.numeric_], np.float64)
    return pd.DataFrame(rows, columns=names, dtype=object).astype(numbers)


def synthetic_rows(encoder: FeatureEncoder, n_rows: int) -> np.ndarray:
    """Rows that try out an encoder: numbers around their centre, every level that fits in, missing values.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        float64, or objects if there are categories, whose levels are strings and None.
    """
    random = np.random.default_rng(0)
    n_features = len(encoder.numeric_) + len(encoder.categorical_)
    rows: Any = np.empty((n_rows, n_features), dtype=object if len(encoder.categorical_) else np.float64)
    numbers = _numbers(encoder.scaler_, n_rows, random)
    rows[:, encoder.numeric_] = np.where(random.random(numbers.shape) < MISSING_SHARE, np.nan, numbers)
    for j, levels in zip(encoder.categorical_, encoder.levels_, strict=True):
        choices = np.array([*levels, None], dtype=object)
        rows[:, j] = choices[(np.arange(n_rows) + random.integers(len(choices))) % len(choices)]
    return rows


def _numbers(scaler: ColumnScaler, n_rows: int, random: np.random.Generator) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.clip(_around(scaler, n_rows, random), -LARGEST, LARGEST)


def _around(scaler: ColumnScaler, n_rows: int, random: np.random.Generator) -> np.ndarray:
    if scaler.references is not None:
        low, high = scaler.references[0], scaler.references[-1]
        share = random.uniform(-0.1, 1.1, (n_rows, len(low)))
        return low * (1 - share) + high * share
    width = np.divide(1.0, scaler.scale, out=np.zeros_like(scaler.scale), where=scaler.scale != 0)
    return scaler.center + SPREAD * random.standard_normal((n_rows, len(width))) * width
