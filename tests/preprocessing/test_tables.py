"""Tables that are refused before the fit."""

import numpy as np
import pandas as pd
import pytest

from sknn.preprocessing.tables import check_table


def test_duplicate_column_names_are_refused():
    X = pd.DataFrame(np.eye(4), columns=["a", "b", "a", 3])
    message = r"^X has several columns named \['a'\]; give each a name of its own"
    with pytest.raises(ValueError, match=message):
        check_table(X)
    with pytest.raises(ValueError, match=r"^X has several columns named \[0, 1\]; "):
        check_table(pd.DataFrame(np.eye(4), columns=[0, 1, 0, 1]))


@pytest.mark.parametrize("X", [np.ones(3), np.ones(3, dtype=object), np.ones((2, 2, 2)), 3.0])
def test_arrays_of_other_dimensions_are_refused(X):
    with pytest.raises(ValueError, match=r"Expected 2D array|dim 3"):
        check_table(X)
