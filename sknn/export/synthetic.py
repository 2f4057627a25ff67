"""Synthetic rows, like those that a fitted estimator may get, from the statistics of its encoder."""

from typing import Any

import numpy as np

from sknn.estimators.base import BaseNeural
from sknn.preprocessing.encoding import EncodingPlan
from sknn.preprocessing.scaling import ColumnScaler

N_ROWS = 64
MISSING_SHARE = 0.05
LARGEST = np.finfo(np.float64).max
SPREAD = 1.5  # in units of a column's scale, so that some values lie beyond those of the fit


def synthetic_table(model: Any) -> Any:
    """Return a table with the columns of the fit: numeric ones as float64, categories as strings.

    Raises
    ------
    ValueError
        If the model does not know its columns: a pipeline, whose first step does not store their types, or an estimator
        of rows with more than two dimensions.
    ImportError
        If the columns have names, and pandas is not installed.
    """
    if not isinstance(model, BaseNeural) or model._features is None:
        raise ValueError(
            f"A {type(model).__name__} does not know the types of its columns; give some rows of the training table as "
            "a sample."
        )
    plan = model._features.plan
    rows = synthetic_rows(plan)
    if not hasattr(model, "feature_names_in_"):
        return rows
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "Columns with names need pandas; install it with: pip install 'sknn[pandas]', or give a sample."
        ) from error
    names = pd.Index(model.feature_names_in_, dtype=object)  # a column of objects can hold any string
    dtypes = dict.fromkeys(model.feature_names_in_[plan.numeric], np.float64)
    return pd.DataFrame(rows, columns=names, dtype=object).astype(dtypes)


def synthetic_rows(plan: EncodingPlan, n_rows: int = N_ROWS) -> np.ndarray:
    """Return rows that use all of an encoding: values around each center, every level if they fit in, missing values.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        float64; objects if there are categories, whose values are strings and None.
    """
    random = np.random.default_rng(0)
    n_features = len(plan.numeric) + len(plan.categories)
    rows: Any = np.empty((n_rows, n_features), dtype=object if plan.categories else np.float64)
    with np.errstate(over="ignore"):
        values = np.clip(_values_around_center(plan.scaler, n_rows, random), -LARGEST, LARGEST)
    rows[:, plan.numeric] = np.where(random.random(values.shape) < MISSING_SHARE, np.nan, values)
    for category in plan.categories:
        choices = np.array([*category.levels, None], dtype=object)
        rows[:, category.index] = choices[(np.arange(n_rows) + random.integers(len(choices))) % len(choices)]
    return rows


def _values_around_center(scaler: ColumnScaler, n_rows: int, random: np.random.Generator) -> np.ndarray:
    if scaler.references is not None:
        low, high = scaler.references[0], scaler.references[-1]
        share = random.uniform(-0.1, 1.1, (n_rows, len(low)))
        return low * (1 - share) + high * share
    width = np.divide(1.0, scaler.scale, out=np.zeros_like(scaler.scale), where=scaler.scale != 0)
    return scaler.center + SPREAD * random.standard_normal((n_rows, len(width))) * width
