"""The weights of an ensemble's members. They differ if the members are of several kinds."""

from typing import Any

import numpy as np


def differing_weights(est: Any) -> np.ndarray | None:
    """Return the members' shares in the predictions of a fitted estimator; None if all members count equally."""
    weights = est.member_weights_
    return None if (weights == weights[0]).all() else weights
