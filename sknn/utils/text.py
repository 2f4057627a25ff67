"""Lay out text for a terminal, and find the name that a user meant."""

import difflib
from collections.abc import Iterable, Sequence


def align(lines: Sequence[Sequence[str]], n_texts: int = 1) -> list[str]:
    """Return the lines of a table: the first `n_texts` columns are texts and aligned left, the others right.

    >>> align([["row", "size"], ["a", "10"]])
    ['row  size', 'a      10']
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < n_texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the name that is most like this one, or "" if there is none.

    >>> did_you_mean("Chrun", ["age", "churn"])
    " Did you mean 'churn'?"
    """
    by_lower_case = {other.lower(): other for other in names}
    nearest = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return f" Did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""
