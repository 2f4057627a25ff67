"""Replace the `fit` of an estimator for one call."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def replace_fit(estimator: Any, fit: Callable) -> Iterator[None]:
    """Let the next call of `estimator.fit` call `fit`, and `estimator.set_params` do nothing until then.

    scikit-learn calls `set_params` with a candidate's parameters, then `fit`, then the scorers. A scorer may check the
    estimator's class, pickle it, clone it or fit it again, and `cross_validate` may return it. A wrapper around the
    estimator would be visible there. So both methods are replaced on the instance. The real ones are restored before
    `fit` runs, or on exit if it was not called.
    """

    def fit_once(*args: Any, **kwargs: Any) -> Any:
        restore()
        fit(*args, **kwargs)
        return estimator

    def restore() -> None:
        vars(estimator).pop("fit", None)
        vars(estimator).pop("set_params", None)

    estimator.fit, estimator.set_params = fit_once, lambda **_: estimator
    try:
        yield
    finally:
        restore()
