"""What every test of a display asks: no figure and no setting outlives it."""

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def pyplot_as_it_was():
    """Settings are left alone; figures are those of one test."""
    plt.close("all")
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before
