"""Lay out text for a terminal."""

from collections.abc import Sequence


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
