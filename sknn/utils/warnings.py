"""Warn at the line of the user's code, by default once for each line."""

import sys
import warnings
from types import FrameType
from typing import Any

# Packages between the user's line and the warning: a fit may run in a pipeline or a search, for example.
LIBRARIES = ("sknn", "sklearn", "skorch", "joblib", "contextlib", "concurrent", "threading")

_shown: set[tuple[str, str, int]] = set()  # message, file and line of warnings that were shown by default


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line outside of libraries, by default once for each line, as Python does.

    Python's own record of shown warnings is reset by every `warnings.catch_warnings`, which scikit-learn and joblib use
    in every fit, so a loop of fits would repeat the warning. If a filter of the user's says "always", "error" or
    "ignore", this function does not suppress anything.
    """
    frame = _user_frame(sys._getframe(1))
    file, line, module = frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", "")
    key = message, file, line
    if _find_action(message, category, module, line) == "default":
        if key in _shown:
            return
        _shown.add(key)
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, file, line, module, registry)


def _user_frame(frame: FrameType) -> FrameType:
    """Return the nearest frame outside of libraries, or the outermost one (in a worker process)."""
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in LIBRARIES:
        frame = frame.f_back
    return frame


def _find_action(message: str, category: type[Warning], module: str, line: int) -> str:
    """Return the action of the filter that Python would apply."""
    for action, text, filter_category, filter_module, filter_line in warnings.filters:
        matches = _matches(text, message) and _matches(filter_module, module) and filter_line in (0, line)
        if matches and issubclass(category, filter_category):
            return action
    return warnings.defaultaction  # type: ignore[attr-defined]


def _matches(pattern: Any, value: str) -> bool:
    """Return whether a filter's pattern (a string in Python's own filters, else a regex or None) matches."""
    return pattern is None or (pattern == value if isinstance(pattern, str) else bool(pattern.match(value)))
