"""`TorchEncoder` against `FeatureEncoder`."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sknn.export.torch.encoder import TorchEncoder, raw_tensors
from sknn.preprocessing.features import FeatureEncoder


@settings(max_examples=40, deadline=None)
@given(
    scaling=st.sampled_from([None, "standard", "robust", "quantile"]),
    seen=st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")) | st.just(3.0), min_size=2, max_size=20),
    new=st.lists(st.floats(-1e7, 1e7) | st.just(float("nan")), min_size=1, max_size=10),
)
def test_values_are_scaled_as_by_the_encoder(scaling, seen, new):
    encoder = FeatureEncoder(scaling, dtype=np.float64).fit(np.array(seen)[:, None])
    X = np.array([*seen, *new])[:, None]
    encoded, _ = TorchEncoder(encoder)(*raw_tensors(encoder, X))

    np.testing.assert_allclose(encoded.numpy(), encoder.transform(X).numeric, rtol=1e-9, atol=1e-9)


def test_a_table_becomes_values_and_codes():
    table = pd.DataFrame({"city": ["b", None, "a", "?"], "n": [1.5, np.nan, 2, 3], "size": ["S", "M", "L", "S"]})
    encoder = FeatureEncoder().fit(table.iloc[:3])
    numbers, codes = raw_tensors(encoder, table)

    np.testing.assert_array_equal(numbers.numpy(), table[["n"]])
    assert codes.tolist() == [[2, 3], [0, 2], [1, 1], [0, 3]]


@pytest.mark.parametrize("n_levels", [0, 1, 2, 3, 8, 9])
def test_categories_are_encoded_as_by_the_encoder(n_levels):
    levels = [f"level {i}" for i in range(n_levels)]
    table = pd.DataFrame({"c": [*levels, None, "unseen"], "three": (["p", "q", "r"] * 4)[: n_levels + 2]})
    table["c"] = table["c"].astype("category")  # without a level, a column of objects is numeric
    encoder = FeatureEncoder(dtype=np.float64).fit(table.iloc[: n_levels + 1])
    expected = encoder.transform(table)
    numbers, codes = TorchEncoder(encoder)(*raw_tensors(encoder, table))

    np.testing.assert_array_equal(numbers.numpy(), expected.numeric)
    assert (codes is None) == (expected.codes.shape[1] == 0)
    if codes is not None:
        np.testing.assert_array_equal(codes.numpy(), expected.codes)


def test_levels_in_another_type_have_the_same_codes():
    fitted = pd.DataFrame({"n": [7, 8, 9, 7], "b": [True, False, True, True]}).astype("category")
    encoder = FeatureEncoder().fit(fitted)
    expected = raw_tensors(encoder, fitted)[1]
    assert expected.tolist() == [[1, 2], [2, 1], [3, 2], [1, 2]]
    for new in (fitted.astype(str), fitted.astype(int).astype(str), fitted.astype(float).astype(str)):
        assert raw_tensors(encoder, new)[1].equal(expected)


def test_a_code_out_of_range_is_unknown():
    encoder = FeatureEncoder(dtype=np.float64).fit(pd.DataFrame({"c": list("abc")}))
    numbers, _ = TorchEncoder(encoder)(torch.zeros(4, 0), torch.tensor([[-1], [0], [4], [3]]))

    assert numbers.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
