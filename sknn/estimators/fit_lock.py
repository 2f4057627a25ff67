"""An estimator is fitted by one thread at a time: a second one is told so, in place of meeting half-made attributes."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

_fitting: dict[int, int] = {}  # the id of each estimator that is being fitted, and the thread that does it

if hasattr(os, "register_at_fork"):  # the threads of the parent are not there in a child
    os.register_at_fork(after_in_child=_fitting.clear)


@contextlib.contextmanager
def fit_lock(estimator: Any) -> Iterator[None]:
    """Refuse a fit of an estimator that another thread is fitting.

    Raises
    ------
    RuntimeError
        With the way out.
    """
    mine = threading.get_ident()
    is_outermost = id(estimator) not in _fitting
    if _fitting.setdefault(id(estimator), mine) != mine:  # one step, which no other thread can divide
        raise RuntimeError(
            f"This {type(estimator).__name__} is being fitted by another thread, and an estimator is fitted by one "
            "thread at a time. Fit a copy in each thread: sklearn.base.clone(estimator).fit(X, y)."
        )
    try:
        yield
    finally:
        if is_outermost:
            _fitting.pop(id(estimator), None)
