"""The weights that an export needs are those of the estimator's predictions."""

import numpy as np
import pytest

from sknn import NeuralRegressor
from sknn.export.weights import differing_weights
from tests.common import ALIKE, SMALL

X = np.random.default_rng(0).normal(size=(60, 3))


@pytest.mark.parametrize(
    "parameters", [ALIKE, {"early_stopping": False}, {"ensemble_size": 1}], ids=["one kind", "no scores", "one member"]
)
def test_members_that_count_equally_need_no_weights(parameters):
    kinds = SMALL | dict.fromkeys(ALIKE, "auto") | {"ensemble_size": 3}

    assert differing_weights(NeuralRegressor(**kinds | parameters).fit(X, X[:, 0])) is None


def test_the_weights_of_several_kinds():
    reg = NeuralRegressor(**SMALL | dict.fromkeys(ALIKE, "auto") | {"ensemble_size": 3}).fit(X, X[:, 0])
    weights = differing_weights(reg)

    np.testing.assert_array_equal(weights, reg.member_weights_)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] == weights[1] != weights[2]
