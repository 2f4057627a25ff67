"""Where displays draw: matplotlib, asked for when it is needed, and axes of ours or of the caller."""

from typing import Any

import numpy as np


def pyplot(caller: str) -> Any:
    """matplotlib.pyplot, or an ImportError that tells how to install it."""
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError(f"{caller} needs matplotlib; install it with: pip install 'sknn[plot]'") from error
    return plt


def new_panels(plt: Any, n: int) -> list[Any]:
    """So many axes on a new figure, in rows of two."""
    columns = min(n, 2)
    rows = -(-n // columns)
    size = (5.2 * columns, 3.2 * rows + 0.4)
    axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")[1]
    for spare in axes.flat[n:]:
        spare.remove()
    return list(axes.flat[:n])


def given_panels(ax: Any, names: list[str]) -> list[Any]:
    """The caller's axes, one for each of these panels."""
    axes = list(np.ravel(ax))
    if not all(hasattr(each, "plot") for each in axes):
        raise TypeError(f"ax={ax!r} must be axes of matplotlib, or several of them in a list or an array.")
    if len(axes) != len(names):
        raise ValueError(f"ax holds {len(axes)} axes for {len(names)} panels ({', '.join(names)}); pass one for each.")
    return axes
