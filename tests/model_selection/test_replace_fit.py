"""The replacement of an estimator's `fit`."""

import pytest
from sklearn.linear_model import LogisticRegression

from sknn.model_selection.replace_fit import replace_fit


def test_the_replacement_is_called_once_and_sees_the_real_methods():
    estimator, calls = LogisticRegression(), []

    def fit(*args, **kwargs):
        calls.append((args, kwargs, {"fit", "set_params"} & set(vars(estimator))))

    with replace_fit(estimator, fit):
        assert estimator.set_params(C=5) is estimator
        assert estimator.C == 1
        assert estimator.fit(1, y=2) is estimator
        assert calls == [((1,), {"y": 2}, set())]
        estimator.set_params(C=5).fit([[0.0], [1.0]], [0, 1])
    assert (estimator.C, len(calls)) == (5, 1)
    assert estimator.predict([[1.0]]) == [1]


def test_the_real_methods_are_restored_without_a_call_or_after_an_error():
    estimator = LogisticRegression()
    with replace_fit(estimator, print):
        pass
    assert not {"fit", "set_params"} & set(vars(estimator))
    with pytest.raises(ZeroDivisionError), replace_fit(estimator, lambda: 1 / 0):
        estimator.fit()
    assert not {"fit", "set_params"} & set(vars(estimator))
