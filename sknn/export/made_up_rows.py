"""Rows such as a fitted estimator might see, made up from what its encoder knows."""

from typing import Any

import numpy as np

from sknn._encoding import ColumnScaler, FeatureEncoder

MISSING_SHARE = 0.05
SPREAD = 1.5  # in units of a column's scale: some rows beyond what the fit saw


def made_up_rows(encoder: FeatureEncoder, n_rows: int) -> np.ndarray:
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
    if scaler.references is not None:
        low, high = scaler.references[0], scaler.references[-1]
        return low + random.uniform(-0.1, 1.1, (n_rows, len(low))) * (high - low)
    width = np.divide(1.0, scaler.scale, out=np.zeros_like(scaler.scale), where=scaler.scale != 0)
    return scaler.center + SPREAD * random.standard_normal((n_rows, len(width))) * width
