"""The plan of an encoding: each column is planned once, where the encoder and the network expect it."""

import numpy as np
import pandas as pd
import pytest

from sknn.network.embeddings import CategoricalEmbedding
from sknn.preprocessing.features import FeatureEncoder

COLUMNS = {"size": [0.5, np.nan], "weight": [1.0, 2.0], "none": [None, None]} | {
    f"{n} levels": [f"{i:02}" for i in range(n)] for n in (1, 2, 3, 8, 9, 20)
}


def fit(names):
    """Fit an encoder on the columns of these names, in this order."""
    rows = {name: [*COLUMNS[name]] * 20 for name in names}
    frame = pd.DataFrame({name: values[:20] for name, values in rows.items()})
    frame = frame.astype({name: "category" for name in names if name not in ("size", "weight")})
    return FeatureEncoder().fit(frame), frame


@pytest.mark.parametrize("names", [list(COLUMNS), list(COLUMNS)[::-1], ["weight"], ["9 levels"]], ids=len)
def test_the_columns_of_a_plan_do_not_overlap_and_leave_no_gap(names):
    encoder, frame = fit(names)
    plan = encoder.plan
    start = len(plan.numeric) + len(plan.missing)
    planned = [np.arange(start), *(np.arange(plan.n_numeric)[category.columns] for category in plan.one_hot)]

    np.testing.assert_array_equal(np.concatenate(planned), np.arange(plan.n_numeric))
    assert encoder.transform(frame).numeric.shape[1] == plan.n_numeric
    assert [category.index for category in plan.categories] == encoder.categorical_.tolist()


def test_an_embedded_category_starts_at_its_row_of_the_embedding():
    encoder, _ = fit(["20 levels", "2 levels", "9 levels", "size"])

    starts = CategoricalEmbedding(encoder.n_levels_).starts.tolist()
    assert [category.start for category in encoder.plan.embedded] == starts == [0, 21]


def test_only_categories_of_up_to_two_levels_are_a_single_column():
    encoder, _ = fit(["none", "1 levels", "2 levels", "3 levels"])
    values = [category.values for category in encoder.plan.categories]

    assert [None if v is None else v.tolist() for v in values] == [[0], [0, 1], [0, 1, -1], None]
    assert [category.width for category in encoder.plan.categories] == [1, 1, 1, 3]
