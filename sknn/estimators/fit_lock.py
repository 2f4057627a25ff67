"""Let one thread at a time fit an estimator; a second one gets an error, and does not see unfinished attributes."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

_fitting: dict[int, int] = {}  # by the id of each estimator that is being fitted, the id of its thread

if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_fitting.clear)


@contextlib.contextmanager
def fit_lock(estimator: Any) -> Iterator[None]:
    """Refuse to fit an estimator while another thread is fitting it.

    Raises
    ------
    RuntimeError
        If another thread is fitting the estimator.
    """
    thread = threading.get_ident()
    is_outermost = id(estimator) not in _fitting
    if _fitting.setdefault(id(estimator), thread) != thread:  # setdefault is atomic
        raise RuntimeError(
            f"This {type(estimator).__name__} is being fitted by another thread, and an estimator is fitted by one "
            "thread at a time. Fit a copy in each thread: sklearn.base.clone(estimator).fit(X, y)."
        )
    try:
        yield
    finally:
        if is_outermost:
            _fitting.pop(id(estimator), None)
