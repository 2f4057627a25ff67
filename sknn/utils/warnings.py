"""Warnings at the line of the user's that led to them, and there only once."""

import sys
import warnings
from types import FrameType
from typing import Any

# Packages that stand between a user's line and ours: a fit in a pipeline or a search is asked for by the user's line.
BETWEEN = ("sknn", "sklearn", "skorch", "joblib", "contextlib", "concurrent", "threading")

_given: set[tuple[str, str, int]] = set()  # message, file and line of the warnings that were shown by default


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line that is not of a library; by default once a line, as Python means it.

    Python forgets which lines have warned whenever anyone enters `warnings.catch_warnings`, as scikit-learn and joblib
    do in every fit, so that a loop of fits would repeat one warning for each.  Filters of the user's go first: with
    "always", "error" or "ignore" nothing is held back.
    """
    frame = _users_frame(sys._getframe(1))
    file, line, module = frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", "")
    key = message, file, line
    if _is_by_default(message, category, module, line):
        if key in _given:
            return
        _given.add(key)
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, file, line, module, registry)


def _users_frame(frame: FrameType) -> FrameType:
    """The nearest frame outside of `BETWEEN`; the outermost if there is none, as in a worker process."""
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        frame = frame.f_back
    return frame


def _fits(pattern: Any, value: str) -> bool:
    """As Python compares: a filter of its own has a string, one of the user's a regular expression, or either None."""
    return pattern is None or (pattern == value if isinstance(pattern, str) else bool(pattern.match(value)))


def _is_by_default(message: str, category: type[Warning], module: str, line: int) -> bool:
    """Whether the filter that decides says "default": once for each line."""
    for action, text, kind, where, its_line in warnings.filters:
        fits = _fits(text, message) and _fits(where, module) and issubclass(category, kind) and its_line in (0, line)
        if fits:
            return action == "default"
    return warnings.defaultaction == "default"  # type: ignore[attr-defined]
