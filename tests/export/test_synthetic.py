"""Synthetic rows have the columns of the fit, and use everything that an encoder has seen."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.pipeline import make_pipeline

from sknn import NeuralClassifier
from sknn.export.synthetic import N_ROWS, synthetic_rows, synthetic_table
from sknn.preprocessing.features import FeatureEncoder
from tests.common import TINY

rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "far": rng.normal(1e6, 1, 60),
        "city": rng.choice(["Oslo", "Rome"], 60),
        "constant": 3,
        "code": rng.integers(0, 5, 60),
    }
)


@pytest.mark.parametrize("scaling", [None, "standard", "robust", "quantile"])
def test_values_lie_around_those_of_the_fit_and_some_are_missing(scaling):
    column = rng.normal(1e6, 1, (200, 1))
    rows = synthetic_rows(FeatureEncoder(scaling).fit(column).plan, 400)

    assert rows.dtype == np.float64
    assert 0 < np.isnan(rows).mean() < 0.2
    encoded = FeatureEncoder(scaling).fit(column).transform(rows).numeric
    assert encoded.std() > 0.3
    assert np.isfinite(encoded).all()


@pytest.mark.parametrize("scaling", [None, "robust", "quantile"])
def test_values_around_the_largest_numbers_are_finite(scaling):
    column = np.linspace(-1, 1, 100)[:, None] * np.finfo(float).max
    rows = synthetic_rows(FeatureEncoder(scaling, dtype=np.float64).fit(column).plan)

    assert not np.isinf(rows).any()
    assert np.isnan(rows).any()


def test_every_level_and_a_missing_value_occur():
    levels = [f"level {i}" for i in range(20)]
    rows = synthetic_rows(FeatureEncoder().fit(np.array(levels, dtype=object)[:, None]).plan)

    assert set(rows[:, 0]) == {*levels, None}


def test_synthetic_rows_are_deterministic():
    encoder = FeatureEncoder().fit(rng.normal(size=(20, 3)))

    np.testing.assert_array_equal(synthetic_rows(encoder.plan, 5), synthetic_rows(encoder.plan, 5))


def test_a_frame_has_the_names_and_types_of_the_fit():
    estimator = NeuralClassifier(categorical_features=["city", "code"], **TINY).fit(FRAME, FRAME["city"])
    sample = synthetic_table(estimator)

    assert sample.columns.tolist() == FRAME.columns.tolist()
    assert [pd.api.types.is_numeric_dtype(sample[name]) for name in sample] == [True, False, True, False]
    assert set(sample["code"].dropna()) == {"0", "1", "2", "3", "4"}
    assert sample["constant"].dropna().eq(3).all()
    assert estimator.predict(sample).shape == (N_ROWS,)


def test_synthetic_rows_after_a_sparse_fit():
    X = sp.csr_array(rng.random((40, 5)) * (rng.random((40, 5)) < 0.3))
    estimator = NeuralClassifier(**TINY).fit(X, np.arange(40) % 2)

    assert synthetic_table(estimator).shape == (N_ROWS, 5)


def test_a_pipeline_does_not_know_its_columns():
    with pytest.raises(ValueError, match="A Pipeline does not know the types of its columns; give some rows"):
        synthetic_table(make_pipeline(NeuralClassifier()))
