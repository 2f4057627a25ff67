"""Axes for displays: new ones or the caller's. matplotlib is imported when it is needed."""

from typing import Any

import numpy as np


def import_pyplot(caller: str) -> Any:
    """Return matplotlib.pyplot, or raise an ImportError that says how to install it."""
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError(f"{caller} needs matplotlib; install it with: pip install 'sknn[plot]'") from error
    return plt


def new_axes(plt: Any, n: int) -> list[Any]:
    """Return n axes on a new figure, in rows of two."""
    columns = min(n, 2)
    rows = -(-n // columns)
    size = (5.2 * columns, 3.2 * rows + 0.4)
    axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")[1]
    for unused in axes.flat[n:]:
        unused.remove()
    return list(axes.flat[:n])


def check_axes(ax: Any, panels: list[str]) -> list[Any]:
    """Return the caller's axes, one for each panel."""
    axes = list(np.ravel(ax))
    if not all(hasattr(each, "plot") for each in axes):
        raise TypeError(f"ax={ax!r} must be axes of matplotlib, or a list or array of them.")
    if len(axes) != len(panels):
        raise ValueError(
            f"ax holds {len(axes)} axes for {len(panels)} panels ({', '.join(panels)}); pass one for each."
        )
    return axes
