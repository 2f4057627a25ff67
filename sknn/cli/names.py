"""Find the name that a user meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ' Did you mean ...?' with the name that is most like this one, or '' if there is none.

    >>> did_you_mean("Chrun", ["age", "churn"])
    " Did you mean 'churn'?"
    """
    by_lower_case = {str(other).lower(): str(other) for other in names}
    nearest = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return f" Did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""
